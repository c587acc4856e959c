//! Who calls and what they may do. All rules are in [`rules`].

pub mod accounts;
mod guard;
pub mod oidc;
pub mod passwords;
mod principal;
mod routes;
pub mod rules;
mod service;
pub mod sessions;
pub mod tokens;

pub(crate) use guard::guard;
pub(crate) use principal::{Caller, Principal, Proof, Reader};
pub(crate) use routes::routes;
pub use service::{InvalidTokens, Service, Tokens as ServiceTokens};
pub(crate) use sessions::{Down, hash as token_hash, secret};

use crate::problem::{Kind, Problem};
use oidc::Oidc;
use passwords::{PasswordError, Passwords};
use sessions::Sessions;
use std::time::Duration;
use tokens::Tokens;

/// How many requests are taken. Windows are a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From a user.
    pub user: u32,
    /// From an address, whoever sends them.
    pub address: u32,
    /// From an address to the routes of login and sign-up.
    pub guest: u32,
}

/// The window of all limits.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// What authentication is made of.
pub struct Auth {
    /// Signs and verifies access tokens.
    pub tokens: Tokens,
    /// Sessions and limits.
    pub sessions: Sessions,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Another issuer, if there is one.
    pub oidc: Option<Oidc>,
    /// Fixed tokens, if there are any.
    pub service: ServiceTokens,
    /// How many requests are taken.
    pub limits: Limits,
    /// How many proxies stand before us and append to `X-Forwarded-For`.
    pub proxies: usize,
    /// Where people reach the console; links in mails begin with it.
    pub public_url: String,
}

impl From<Down> for Problem {
    fn from(down: Down) -> Self {
        tracing::error!(%down, "a request was refused: Redis does not answer");
        Self::new(
            Kind::SessionsUnavailable,
            "sessions cannot be looked up for now, so nobody is let in, logged in or out; try again later",
        )
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::new(
                Kind::Busy,
                "too many passwords are being verified; try again in a moment",
            ),
            PasswordError::Fault(cause) => {
                tracing::error!(cause, "a password could not be hashed");
                Self::new(Kind::Internal, "the password could not be verified")
            }
        }
    }
}

/// A secret that is new, as text.
pub(crate) fn fresh_secret() -> Result<String, Problem> {
    secret().map_err(|error| {
        tracing::error!(%error, "the system gives no randomness");
        Problem::new(Kind::Internal, "no secret could be made")
    })
}
