//! An external OpenID Connect issuer (Auth0, Keycloak and the like), by configuration.
//!
//! Discovery, then its JWKS, kept and fetched again when a token names a key that is not known.
//! A token is believed with exactly the algorithm of its key, and one of those below.

use super::rules::{AT_SIGN_UP, Role};
use events::ids::UserId;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::time::Instant;

/// How long the issuer may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Tokens with unknown keys make nobody fetch more often.
const FETCH_EVERY: Duration = Duration::from_secs(10);
/// Keys are fetched again after this, so that withdrawn ones end.
const KEEP: Duration = Duration::from_secs(3_600);

/// Who issues tokens besides us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// Issuer, exactly as its tokens name it.
    pub issuer: String,
    /// Our audience there.
    pub audience: String,
    /// Claim with the roles, an array of their names; without one everybody is a user.
    pub roles_claim: Option<String>,
}

/// What a token of the issuer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outsider {
    pub user: UserId,
    pub roles: Vec<Role>,
    pub issued: i64,
    pub expires: i64,
    pub email: Option<String>,
    pub email_verified: bool,
}

/// Why a token of the issuer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("{0}")]
    Invalid(String),
    #[error("the issuer does not answer: {0}")]
    Unavailable(String),
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
    email: Option<String>,
    #[serde(default)]
    email_verified: bool,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// What the issuer may sign with. Never a shared secret.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

/// A key with its one algorithm.
#[derive(Clone)]
struct VerifyingKey {
    key: DecodingKey,
    algorithm: Algorithm,
}

#[derive(Default)]
struct Fetched {
    keys: HashMap<String, VerifyingKey>,
    at: Option<Instant>,
}

/// The issuer.
pub struct Oidc {
    settings: OidcSettings,
    client: reqwest::Client,
    fetched: RwLock<Arc<Fetched>>,
    fetching: tokio::sync::Mutex<()>,
}

impl Oidc {
    /// The issuer, asked when its first token comes.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(settings: OidcSettings) -> Result<Self, reqwest::Error> {
        Ok(Self {
            settings,
            client: reqwest::Client::builder().timeout(WITHIN).build()?,
            fetched: RwLock::default(),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// What a token says, if the issuer signed it for us and it is good at `now` (seconds).
    pub(crate) async fn verify(&self, token: &str, now: i64) -> Result<Outsider, NotTaken> {
        let invalid = |error: &dyn std::fmt::Display| NotTaken::Invalid(error.to_string());
        let header = jsonwebtoken::decode_header(token).map_err(|e| invalid(&e))?;
        if header.crit.is_some() {
            return Err(invalid(&"it has critical extensions"));
        }
        let kid = header.kid.ok_or_else(|| invalid(&"it names no key"))?;
        let key = self
            .key(&kid)
            .await?
            .ok_or_else(|| invalid(&"its key is not one of the issuer's"))?;
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Compared below, with our own clock.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &validation)
            .map_err(|e| invalid(&e))?
            .claims;
        if now >= claims.exp {
            return Err(invalid(&"it has expired"));
        }
        if claims.nbf.is_some_and(|nbf| nbf > now + 5) {
            return Err(invalid(&"it is not good yet"));
        }
        Ok(Outsider {
            user: UserId::derive(&["oidc", &self.settings.issuer, &claims.sub]),
            roles: self.roles(&claims.more),
            issued: claims.iat,
            expires: claims.exp,
            email: claims.email,
            email_verified: claims.email_verified,
        })
    }

    fn roles(&self, claims: &Map<String, Value>) -> Vec<Role> {
        let Some(name) = &self.settings.roles_claim else {
            return vec![AT_SIGN_UP];
        };
        let named = claims.get(name).and_then(Value::as_array);
        let mut roles: Vec<Role> = named
            .into_iter()
            .flatten()
            .filter_map(|role| role.as_str()?.parse().ok())
            .collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }

    async fn key(&self, kid: &str) -> Result<Option<VerifyingKey>, NotTaken> {
        let known = Arc::clone(&*self.fetched.read().await);
        let age = known.at.map(|at| at.elapsed());
        match (known.keys.get(kid), age) {
            (Some(key), Some(age)) if age < KEEP => return Ok(Some(key.clone())),
            (None, Some(age)) if age < FETCH_EVERY => return Ok(None),
            _ => {}
        }
        // One fetches, the others wait for it.
        let _turn = self.fetching.lock().await;
        let now = Arc::clone(&*self.fetched.read().await);
        if now.at != known.at {
            return Ok(now.keys.get(kid).cloned());
        }
        let keys = self.fetch().await.map_err(|error| {
            tracing::error!(%error, issuer = self.settings.issuer, "the issuer's keys cannot be fetched");
            NotTaken::Unavailable(error)
        })?;
        let key = keys.get(kid).cloned();
        *self.fetched.write().await = Arc::new(Fetched {
            keys,
            at: Some(Instant::now()),
        });
        Ok(key)
    }

    async fn fetch(&self) -> Result<HashMap<String, VerifyingKey>, String> {
        let text = |error: reqwest::Error| error.without_url().to_string();
        let get = |url: String| async move {
            self.client
                .get(url)
                .send()
                .await
                .and_then(reqwest::Response::error_for_status)
                .map_err(text)
        };
        let address = format!(
            "{}/.well-known/openid-configuration",
            self.settings.issuer.trim_end_matches('/')
        );
        let discovery: Discovery = get(address).await?.json().await.map_err(text)?;
        if discovery.issuer != self.settings.issuer {
            return Err(format!(
                "its discovery names another issuer: {}",
                discovery.issuer
            ));
        }
        let body = get(discovery.jwks_uri).await?.bytes().await.map_err(text)?;
        let set: JwkSet = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
        Ok(set.keys.into_iter().filter_map(usable).collect())
    }
}

/// A key that we can verify with, by its name. One of another kind, for another use or without a
/// certain algorithm is left out.
fn usable(key: Value) -> Option<(String, VerifyingKey)> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let usage = jwk.common.public_key_use.as_ref();
    if usage.is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
        (_, Some(named)) => Algorithm::try_from(named).ok()?,
        (AlgorithmParameters::RSA(_), None) => Algorithm::RS256,
        (AlgorithmParameters::EllipticCurve(curve), None) if curve.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        (AlgorithmParameters::OctetKeyPair(_), None) => Algorithm::EdDSA,
        (_, None) => return None,
    };
    // A shared secret is none of these, and so is a key whose kind is not its algorithm's.
    let fits = matches!(
        (&jwk.algorithm, algorithm),
        (
            AlgorithmParameters::RSA(_),
            Algorithm::RS256 | Algorithm::PS256
        ) | (AlgorithmParameters::EllipticCurve(_), Algorithm::ES256)
            | (AlgorithmParameters::OctetKeyPair(_), Algorithm::EdDSA)
    );
    if !fits || !ALGORITHMS.contains(&algorithm) {
        return None;
    }
    let verifying = VerifyingKey {
        key: DecodingKey::from_jwk(&jwk).ok()?,
        algorithm,
    };
    Some((jwk.common.key_id?, verifying))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_of_other_kinds_are_left_out() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let ours = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k"});
        assert!(usable(ours).is_some());
        let p256 = json!({"kty": "EC", "crv": "P-256", "kid": "k",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
        assert_eq!(
            usable(p256).map(|(_, key)| key.algorithm),
            Some(Algorithm::ES256)
        );
        for other in [
            json!({"kty": "oct", "k": "AAAA", "alg": "HS256", "kid": "k"}),
            json!({"kty": "oct", "k": "AAAA", "alg": "RS256", "kid": "k"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "HS256", "kid": "k"}),
            json!({"kty": "OKP", "crv": "X25519", "x": x, "kid": "k"}),
            json!({"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA", "kid": "k"}),
            json!({"kty": "RSA", "n": "AAAA", "kid": "k"}),
            json!({"kty": "RSA", "n": "AAAA", "e": "AQAB", "alg": "RS384", "kid": "k"}),
            json!({"kty": "RSA", "n": "AAAA", "e": "AQAB", "use": "enc", "kid": "k"}),
        ] {
            assert!(usable(other.clone()).is_none(), "{other}");
        }
    }
}
