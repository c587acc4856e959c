//! Passwords: Argon2id, off the threads that answer requests, a few at a time.

use argon2::password_hash::{
    Error as HashError, PasswordHash, PasswordHasher, PasswordVerifier, SaltString,
};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// OWASP's parameters for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes at a time: each takes a core and 19 MiB.
const AT_ONCE: usize = 2;
/// Nobody waits longer for their turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// Why a password was neither hashed nor verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many at once.
    #[error("too many passwords are being verified")]
    Busy,
    /// A fault of ours.
    #[error("{0}")]
    Fault(String),
}

fn fault(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Fault(error.to_string())
}

/// Hashes and verifies passwords.
#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// Verified against where there is no account, so that it takes as long.
    nobody: Arc<String>,
}

impl Passwords {
    /// Ready to work.
    ///
    /// # Errors
    /// When chance or the parameters fail: a fault of ours.
    pub fn new() -> Result<Self, PasswordError> {
        Ok(Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            nobody: Arc::new(hash_now("nobody has this password")?),
        })
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, PasswordError> {
        tokio::time::timeout(TURN_WITHIN, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| PasswordError::Busy)?
            .map_err(fault)
    }

    /// The hash of a password, as it is kept (PHC string).
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let turn = self.turn().await?;
        tokio::task::spawn_blocking(move || {
            let hash = hash_now(&password);
            drop(turn);
            hash
        })
        .await
        .map_err(fault)?
    }

    /// Whether it is the password of `kept`; without one it takes as long and is not.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn verify(
        &self,
        password: String,
        kept: Option<String>,
    ) -> Result<bool, PasswordError> {
        let turn = self.turn().await?;
        let known = kept.is_some();
        let kept = kept.unwrap_or_else(|| self.nobody.as_str().to_owned());
        tokio::task::spawn_blocking(move || {
            let matches = matches(&password, &kept);
            drop(turn);
            Ok(matches? && known)
        })
        .await
        .map_err(fault)?
    }
}

fn argon2id() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(fault)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_now(password: &str) -> Result<String, PasswordError> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(fault)?;
    let salt = SaltString::encode_b64(&salt).map_err(fault)?;
    let hash = argon2id()?
        .hash_password(password.as_bytes(), &salt)
        .map_err(fault)?;
    Ok(hash.to_string())
}

/// Whether `kept` is the hash of the password. The costs come from it, so that older hashes stay
/// good when ours change.
fn matches(password: &str, kept: &str) -> Result<bool, PasswordError> {
    let kept = PasswordHash::new(kept).map_err(fault)?;
    match argon2id()?.verify_password(password.as_bytes(), &kept) {
        Ok(()) => Ok(true),
        Err(HashError::Password) => Ok(false),
        Err(error) => Err(fault(error)),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn a_password_is_verified_by_its_hash_only() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let verify = |password: &str, kept: Option<&String>| {
            passwords.verify(password.to_owned(), kept.cloned())
        };
        assert!(verify("correct horse", Some(&hash)).await.unwrap());
        assert!(!verify("correct horsf", Some(&hash)).await.unwrap());
        assert!(!verify("nobody has this password", None).await.unwrap());
        // What is not of this form is a fault, not a wrong password.
        for broken in [hash.replace("argon2id", "md5"), hash.replace("m=", "x=")] {
            assert!(
                verify("correct horse", Some(&broken)).await.is_err(),
                "{broken}"
            );
        }
        let again = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert_ne!(hash, again);
    }
}
