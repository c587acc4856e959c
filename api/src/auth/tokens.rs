//! Access tokens: JWT signed with Ed25519, and the keys that verify them.
//!
//! Keys follow from a secret seed and the time: key *n* of a seed is derived with HKDF from it and
//! the number of the period. So every API process has the same keys, they change without anybody
//! doing anything, and nothing is kept. A leaked seed is replaced by putting another before it.

use super::rules::Role;
use super::sessions::hash;
use ed25519_dalek::SigningKey;
use events::ids::UserId;
use hkdf::Hkdf;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What an access token says it is (RFC 9068), so that no other JWT is taken for one.
const TYPE: &str = "at+jwt";
/// Clocks of two machines differ.
const LEEWAY: Duration = Duration::from_secs(5);
/// Verified tokens that are remembered.
const REMEMBERED: usize = 10_000;

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// For whom.
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Not before.
    pub nbf: i64,
    /// Not after.
    pub exp: i64,
    /// The session.
    pub sid: String,
    /// As what.
    pub roles: Vec<Role>,
}

/// Seeds that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSeeds {
    /// There is none.
    #[error("at least one seed is needed: 64 hex digits")]
    None,
    /// One is not 64 hex digits.
    #[error("seed {0} is not 64 hex digits")]
    NotHex(usize),
}

/// Why a token is not believed; for the log, callers are told less.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// Its header is not of one of ours.
    #[error("not a token of ours")]
    NotOurs,
    /// Signature, issuer, audience or time.
    #[error("{0}")]
    Invalid(String),
    /// A key could not be used: a fault of ours.
    #[error("a key cannot be used: {0}")]
    Key(String),
}

impl From<jsonwebtoken::errors::Error> for Disbelief {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// What stands before the 32 bytes of an Ed25519 secret in PKCS#8 (RFC 8410, section 7).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

struct Key {
    kid: String,
    signing: EncodingKey,
    verifying: DecodingKey,
    jwk: Jwk,
}

impl Key {
    fn derive(seed: &[u8; 32], period: i64) -> Result<Self, jsonwebtoken::errors::Error> {
        let mut secret = [0_u8; 32];
        // 32 bytes are always within what HKDF gives.
        let _ = Hkdf::<Sha256>::new(Some(b"gridway access tokens"), seed)
            .expand(&period.to_be_bytes(), &mut secret);
        let public = SigningKey::from_bytes(&secret).verifying_key();
        let verifying = DecodingKey::from_ed_der(public.as_bytes());
        let mut jwk = Jwk::from_decoding_key(&verifying, Some(Algorithm::EdDSA))?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            kid,
            signing: EncodingKey::from_ed_der(&[&PKCS8[..], &secret].concat()),
            verifying,
            jwk,
        })
    }
}

/// The keys of one period: its own, the one before (whose tokens are still about) and the next
/// (for whoever fetches them rarely, and for clocks that are ahead).
struct Ring {
    period: i64,
    signing: Arc<Key>,
    known: HashMap<String, Arc<Key>>,
    jwks: JwkSet,
}

/// Signs and verifies access tokens.
pub struct Tokens {
    seeds: Vec<[u8; 32]>,
    period: Duration,
    issuer: String,
    audience: String,
    pepper: String,
    validation: Validation,
    ring: RwLock<Arc<Ring>>,
    verified: RwLock<HashMap<String, Arc<Claims>>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({} seeds hidden)", self.seeds.len())
    }
}

impl Tokens {
    /// From seeds of 64 hex digits, separated by commas: the first signs, all verify. A key signs
    /// for `period`.
    ///
    /// # Errors
    /// See [`InvalidSeeds`].
    pub fn new(
        seeds: &str,
        period: Duration,
        issuer: &str,
        audience: &str,
    ) -> Result<Self, InvalidSeeds> {
        let mut read = Vec::new();
        for (index, text) in seeds
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .enumerate()
        {
            let mut seed = [0_u8; 32];
            hex::decode_to_slice(text, &mut seed).map_err(|_| InvalidSeeds::NotHex(index + 1))?;
            read.push(seed);
        }
        let first = read.first().ok_or(InvalidSeeds::None)?;
        let pepper = hash(&format!("pepper\0{}", hex::encode(first)));
        let ring = Ring::of(&read, 0).map_err(|_| InvalidSeeds::None)?;
        // One algorithm, whatever a token says. Its time is compared by `in_time`, with our clock.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self {
            pepper,
            seeds: read,
            period,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            validation,
            ring: RwLock::new(Arc::new(ring)),
            verified: RwLock::default(),
        })
    }

    fn ring(&self, now: i64) -> Arc<Ring> {
        let seconds = i64::try_from(self.period.as_secs())
            .unwrap_or(i64::MAX)
            .max(1);
        let period = now.div_euclid(seconds);
        let current = Arc::clone(&self.ring.read());
        if current.period == period {
            return current;
        }
        let Ok(fresh) = Ring::of(&self.seeds, period).map(Arc::new) else {
            return current;
        };
        *self.ring.write() = Arc::clone(&fresh);
        fresh
    }

    /// A token good from `now` (seconds) for `lifetime`.
    ///
    /// # Errors
    /// [`Disbelief::Key`]: a fault of ours.
    pub fn sign(
        &self,
        user: UserId,
        session: &str,
        roles: &[Role],
        now: i64,
        lifetime: Duration,
    ) -> Result<String, Disbelief> {
        let ring = self.ring(now);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: user,
            iat: now,
            nbf: now,
            exp: now.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX)),
            sid: session.to_owned(),
            roles: roles.to_vec(),
        };
        let key = &ring.signing;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, &claims, &key.signing)
            .map_err(|e| Disbelief::Key(e.to_string()))
    }

    /// What a token says, if it is one of ours and good at `now` (seconds).
    ///
    /// # Errors
    /// See [`Disbelief`].
    pub fn verify(&self, token: &str, now: i64) -> Result<Arc<Claims>, Disbelief> {
        let name = hash(token);
        let remembered = self.verified.read().get(&name).cloned();
        if let Some(claims) = remembered {
            return in_time(&claims, now).map(|()| claims);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Disbelief::NotOurs)?;
        let kid = header.kid.unwrap_or_default();
        let ring = self.ring(now);
        let key = ring.known.get(&kid).ok_or(Disbelief::NotOurs)?;
        if header.typ.as_deref() != Some(TYPE) {
            return Err(Disbelief::Invalid("not an access token".to_owned()));
        }
        if header.crit.is_some() {
            return Err(Disbelief::Invalid("it has critical extensions".to_owned()));
        }
        let claims =
            jsonwebtoken::decode::<Claims>(token, &key.verifying, &self.validation)?.claims;
        in_time(&claims, now)?;
        let claims = Arc::new(claims);
        let mut verified = self.verified.write();
        if verified.len() >= REMEMBERED {
            verified.retain(|_, claims| claims.exp > now);
        }
        if verified.len() < REMEMBERED {
            verified.insert(name, Arc::clone(&claims));
        }
        Ok(claims)
    }

    /// A secret that follows from the first seed: attempts are counted under hashes made with it.
    #[must_use]
    pub fn pepper(&self) -> &str {
        &self.pepper
    }

    /// The public keys, as `/.well-known/jwks.json` shows them.
    #[must_use]
    pub fn jwks(&self, now: i64) -> JwkSet {
        self.ring(now).jwks.clone()
    }
}

fn in_time(claims: &Claims, now: i64) -> Result<(), Disbelief> {
    let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or(0);
    if now >= claims.exp {
        return Err(Disbelief::Invalid("it has expired".to_owned()));
    }
    if claims.nbf > now.saturating_add(leeway) {
        return Err(Disbelief::Invalid("it is not good yet".to_owned()));
    }
    Ok(())
}

impl Ring {
    fn of(seeds: &[[u8; 32]], period: i64) -> Result<Self, jsonwebtoken::errors::Error> {
        let mut keys = Vec::new();
        for seed in seeds {
            for d in [0, -1, 1] {
                keys.push(Arc::new(Key::derive(seed, period.saturating_add(d))?));
            }
        }
        let signing = keys
            .first()
            .map(Arc::clone)
            .ok_or(jsonwebtoken::errors::ErrorKind::InvalidEddsaKey)?;
        Ok(Self {
            period,
            signing,
            jwks: JwkSet {
                keys: keys.iter().map(|key| key.jwk.clone()).collect(),
            },
            known: keys.into_iter().map(|key| (key.kid.clone(), key)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: i64 = 1_800_000_000;

    fn tokens(seed: &str) -> Tokens {
        Tokens::new(seed, DAY, "https://gridway.test", "gridway").unwrap()
    }

    fn seed(digit: &str) -> String {
        digit.repeat(64)
    }

    fn anna() -> UserId {
        UserId::derive(&["anna"])
    }

    fn signed(tokens: &Tokens, now: i64) -> String {
        tokens
            .sign(anna(), "s1", &[Role::User], now, Duration::from_secs(600))
            .unwrap()
    }

    #[test]
    fn what_is_signed_is_believed_until_it_expires() {
        let ours = tokens(&seed("a"));
        let token = signed(&ours, NOW);
        let claims = ours.verify(&token, NOW).unwrap();
        assert_eq!((claims.sub, claims.sid.as_str()), (anna(), "s1"));
        // Remembered or not, the time is looked at.
        for tokens in [&ours, &tokens(&seed("a"))] {
            assert!(tokens.verify(&token, NOW + 599).is_ok());
            assert!(tokens.verify(&token, NOW + 600).is_err());
            assert!(tokens.verify(&token, NOW - 6).is_err());
        }
    }

    #[test]
    fn keys_change_and_the_last_ones_tokens_stay_good() {
        let ours = tokens(&seed("a"));
        let late = NOW - NOW % 86_400 + 86_399;
        let token = signed(&ours, late);
        let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let next = signed(&ours, late + 1);
        assert_ne!(kid(&token), kid(&next));
        assert!(tokens(&seed("a")).verify(&token, late + 1).is_ok());
        // Two periods later its key is no longer known.
        assert_eq!(
            tokens(&seed("a")).verify(&token, late + 2 * 86_400),
            Err(Disbelief::NotOurs)
        );
    }

    #[test]
    fn a_replaced_seed_verifies_and_does_not_sign() {
        let both = tokens(&format!("{},{}", seed("b"), seed("a")));
        assert!(both.verify(&signed(&tokens(&seed("a")), NOW), NOW).is_ok());
        assert!(tokens(&seed("a")).verify(&signed(&both, NOW), NOW).is_err());
    }

    #[test]
    fn other_issuers_audiences_types_and_algorithms_are_not_believed() {
        let ours = tokens(&seed("a"));
        let other = |issuer, audience| {
            signed(
                &Tokens::new(&seed("a"), DAY, issuer, audience).unwrap(),
                NOW,
            )
        };
        assert!(
            ours.verify(&other("https://evil.test", "gridway"), NOW)
                .is_err()
        );
        assert!(
            ours.verify(&other("https://gridway.test", "other"), NOW)
                .is_err()
        );

        let token = signed(&ours, NOW);
        let (_, rest) = token.split_once('.').unwrap();
        let (payload, _) = rest.split_once('.').unwrap();
        let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
        let forged = |header: Value, signature: &str| {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            format!("{header}.{payload}.{signature}")
        };
        for alg in ["none", "None", "HS256", "EdDSA"] {
            let header = json!({"alg": alg, "kid": kid, "typ": TYPE});
            assert!(
                ours.verify(&forged(header.clone(), ""), NOW).is_err(),
                "{alg}"
            );
            assert!(ours.verify(&forged(header, "AAAA"), NOW).is_err(), "{alg}");
        }
        // HMAC with the public key as its secret, the classic confusion.
        let key = ours.ring(NOW);
        let public = key.signing.verifying.try_get_as_bytes().unwrap();
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(kid);
        let claims = ours.verify(&token, NOW).unwrap();
        let confused =
            jsonwebtoken::encode(&header, &*claims, &EncodingKey::from_secret(public)).unwrap();
        assert!(ours.verify(&confused, NOW).is_err());
    }

    /// RFC 8037, appendix A.3: the thumbprint is the key's name.
    #[test]
    fn the_published_keys_name_and_describe_themselves() {
        let jwks = serde_json::to_value(tokens(&seed("a")).jwks(NOW)).unwrap();
        let keys = jwks["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 3);
        for key in keys {
            assert_eq!(
                (&key["kty"], &key["crv"], &key["alg"], &key["use"]),
                (
                    &json!("OKP"),
                    &json!("Ed25519"),
                    &json!("EdDSA"),
                    &json!("sig")
                )
            );
            assert_eq!(key["kid"].as_str().unwrap().len(), 43);
            // Nothing secret is among them.
            assert!(key.get("d").is_none());
        }
    }

    #[test]
    fn seeds_are_read_and_not_shown() {
        let made = |seeds: &str| Tokens::new(seeds, DAY, "i", "a");
        assert_eq!(made("").err(), Some(InvalidSeeds::None));
        assert_eq!(
            made(&format!("{},abc", seed("a"))).err(),
            Some(InvalidSeeds::NotHex(2))
        );
        assert!(!format!("{:?}", tokens(&seed("a"))).contains("aaaa"));
    }
}
