//! JSON web tokens, as far as we need them: signed with Ed25519 by us, verified with one algorithm,
//! which the key decides and never the token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ED25519, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Why a text is not a token that can be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not three parts of base64 and JSON.
    #[error("not a JSON web token")]
    Malformed,
    /// Its header names another algorithm than its key has.
    #[error("its algorithm is not its key's")]
    Algorithm,
    /// It asks for extensions that we do not understand.
    #[error("it has critical extensions")]
    Critical,
    /// The signature is not its key's.
    #[error("its signature is wrong")]
    Signature,
    /// What it claims cannot be read.
    #[error("its claims cannot be read: {0}")]
    Claims(String),
}

/// What stands before the claims.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Header {
    alg: String,
    /// The key.
    pub kid: Option<String>,
    /// What kind of token it is.
    pub typ: Option<String>,
    crit: Option<Value>,
}

/// What a key verifies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// RSA-PSS with SHA-256.
    Ps256,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

/// A public key with its one algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Bytes {
    /// 32 bytes of Ed25519, or an uncompressed point of P-256.
    Plain(Vec<u8>),
    /// Modulus and exponent, big-endian.
    Rsa(Vec<u8>, Vec<u8>),
}

/// A key of a JWK set, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct Jwk {
    kty: String,
    /// Its name.
    pub kid: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    r#use: Option<String>,
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

impl VerifyingKey {
    /// An Ed25519 key.
    #[must_use]
    pub fn ed25519(public: &[u8; 32]) -> Self {
        Self {
            algorithm: Algorithm::EdDsa,
            bytes: Bytes::Plain(public.to_vec()),
        }
    }

    /// The key of a JWK; `None` for one that does not verify with an algorithm of [`Algorithm`].
    /// Symmetric keys are not among them.
    #[must_use]
    pub fn of(jwk: &Jwk) -> Option<Self> {
        if jwk.r#use.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let part = |part: &Option<String>| part.as_deref().and_then(decode);
        let algorithm = match (jwk.kty.as_str(), jwk.crv.as_deref(), jwk.alg.as_deref()) {
            ("RSA", None, None | Some("RS256")) => Algorithm::Rs256,
            ("RSA", None, Some("PS256")) => Algorithm::Ps256,
            ("EC", Some("P-256"), None | Some("ES256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519"), None | Some("EdDSA" | "Ed25519")) => Algorithm::EdDsa,
            _ => return None,
        };
        let bytes = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => Bytes::Rsa(part(&jwk.n)?, part(&jwk.e)?),
            Algorithm::EdDsa => Bytes::Plain(part(&jwk.x)?),
            Algorithm::Es256 => {
                let (x, y) = (part(&jwk.x)?, part(&jwk.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                Bytes::Plain([&[4], x.as_slice(), y.as_slice()].concat())
            }
        };
        Some(Self { algorithm, bytes })
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let plain = |algorithm: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature)
        };
        let rsa = |parameters, n: &[u8], e: &[u8]| {
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
        };
        match (self.algorithm, &self.bytes) {
            (Algorithm::EdDsa, Bytes::Plain(key)) => plain(&ED25519, key).is_ok(),
            (Algorithm::Es256, Bytes::Plain(key)) => plain(&ECDSA_P256_SHA256_FIXED, key).is_ok(),
            (Algorithm::Rs256, Bytes::Rsa(n, e)) => rsa(&RSA_PKCS1_2048_8192_SHA256, n, e).is_ok(),
            (Algorithm::Ps256, Bytes::Rsa(n, e)) => rsa(&RSA_PSS_2048_8192_SHA256, n, e).is_ok(),
            (Algorithm::EdDsa | Algorithm::Es256, Bytes::Rsa(..))
            | (Algorithm::Rs256 | Algorithm::Ps256, Bytes::Plain(_)) => false,
        }
    }
}

/// The header of a token. Nothing in it is proven.
///
/// # Errors
/// [`BadToken::Malformed`].
pub fn header(token: &str) -> Result<Header, BadToken> {
    token
        .split('.')
        .next()
        .and_then(decode)
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or(BadToken::Malformed)
}

/// What a token claims, if the key signed it. Issuer, audience and time are for the caller to judge.
///
/// # Errors
/// See [`BadToken`].
pub fn verify<T: DeserializeOwned>(token: &str, key: &VerifyingKey) -> Result<T, BadToken> {
    let header = header(token)?;
    if header.alg != key.algorithm.name() {
        return Err(BadToken::Algorithm);
    }
    if header.crit.is_some() {
        return Err(BadToken::Critical);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
    let (_, payload) = message.split_once('.').ok_or(BadToken::Malformed)?;
    let signature = decode(signature).ok_or(BadToken::Malformed)?;
    let payload = decode(payload).ok_or(BadToken::Malformed)?;
    if !key.verifies(message.as_bytes(), &signature) {
        return Err(BadToken::Signature);
    }
    serde_json::from_slice(&payload).map_err(|error| BadToken::Claims(error.to_string()))
}

/// A token with these claims.
///
/// # Errors
/// When the claims cannot be written as JSON.
pub fn sign<T: Serialize>(
    key: &Ed25519KeyPair,
    kid: &str,
    typ: &str,
    claims: &T,
) -> Result<String, serde_json::Error> {
    let header = json!({ "alg": "EdDSA", "typ": typ, "kid": kid });
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?)
    );
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    Ok(format!("{message}.{signature}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn jwk(value: Value) -> Option<VerifyingKey> {
        VerifyingKey::of(&serde_json::from_value(value).unwrap())
    }

    /// RFC 8037, appendix A.4 and A.5.
    #[test]
    fn the_example_of_rfc_8037_is_verified() {
        let key = jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})).unwrap();
        let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        // Its payload is a text and no JSON: the signature was right.
        assert!(matches!(
            verify::<Value>(token, &key),
            Err(BadToken::Claims(_))
        ));
        let forged = token.replace("hgyY0il", "hgyY0im");
        assert_eq!(verify::<Value>(&forged, &key), Err(BadToken::Signature));
    }

    /// RFC 7515, appendix A.2 and A.3.
    #[test]
    fn the_examples_of_rfc_7515_are_verified() {
        let rsa = jwk(json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"})).unwrap();
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        assert_eq!(verify::<Value>(token, &rsa).unwrap()["iss"], "joe");
        let ec = jwk(json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})).unwrap();
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        assert_eq!(verify::<Value>(token, &ec).unwrap()["iss"], "joe");
        // The key decides: what says RS256 is not verified with another key's algorithm.
        assert_eq!(verify::<Value>(token, &rsa), Err(BadToken::Algorithm));
    }

    #[test]
    fn keys_of_other_kinds_are_left_out() {
        for other in [
            json!({"kty": "oct", "k": "AAAA", "alg": "HS256"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "AAAA"}),
            json!({"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
            json!({"kty": "RSA", "n": "AAAA"}),
            json!({"kty": "RSA", "n": "AAAA", "e": "AQAB", "alg": "RS1"}),
            json!({"kty": "RSA", "n": "AAAA", "e": "AQAB", "use": "enc"}),
        ] {
            assert_eq!(jwk(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        let key = VerifyingKey::ed25519(&[7; 32]);
        let critical = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","crit":["b64"]}"#);
        for (text, why) in [
            ("", BadToken::Malformed),
            ("a.b.c", BadToken::Malformed),
            ("eyJhbGciOiJFZERTQSJ9", BadToken::Malformed),
            ("eyJhbGciOiJFZERTQSJ9.e30", BadToken::Malformed),
            ("eyJhbGciOiJFZERTQSJ9.e30.*", BadToken::Malformed),
            ("eyJhbGciOiJub25lIn0.e30.", BadToken::Algorithm),
            ("eyJhbGciOiJFZERTQSJ9.e30.", BadToken::Signature),
            (&format!("{critical}.e30.AA"), BadToken::Critical),
        ] {
            assert_eq!(verify::<Value>(text, &key), Err(why), "{text}");
        }
    }
}
