//! The caller, as handlers are given them. [`super::guard`](fn@super::guard) has let them in.

use super::rules::{self, Role};
use super::service::Service;
use super::tokens::Claims;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use events::ids::UserId;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The user.
    pub user: UserId,
    /// As what.
    pub roles: Vec<Role>,
    /// How we know.
    pub proof: Proof,
}

/// How we know who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A session of ours.
    Session(String),
    /// A token of the external issuer: its hash, and until when it is good (seconds).
    Outside {
        token: String,
        expires: i64,
        email: Option<String>,
        email_verified: bool,
    },
    /// A service token.
    Service,
}

impl Principal {
    pub(crate) fn of_claims(claims: &Claims) -> Self {
        Self {
            user: claims.sub,
            roles: claims.roles.clone(),
            proof: Proof::Session(claims.sid.clone()),
        }
    }

    pub(crate) fn of_service(service: &Service) -> Self {
        Self {
            user: service.user,
            roles: service.roles.clone(),
            proof: Proof::Service,
        }
    }
}

impl Principal {
    /// Refuses whose address nobody has verified: a twin costs money.
    pub(crate) fn may_register(&self) -> Result<(), Problem> {
        match self.proof {
            Proof::Outside {
                email_verified: false,
                ..
            } => Err(Problem::new(
                Kind::EmailNotVerified,
                "verify your e-mail address with your issuer",
            )),
            Proof::Outside { .. } | Proof::Session(_) | Proof::Service => Ok(()),
        }
    }
}

fn nobody() -> Problem {
    Problem::new(Kind::Unauthorized, "send a token: Authorization: Bearer …")
}

impl FromRequestParts<ApiState> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(nobody)
    }
}

/// The user who makes a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller(pub UserId);

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let principal = parts.extensions.get::<Principal>().ok_or_else(nobody)?;
        Ok(Self(principal.user))
    }
}

/// Who reads, and whether they see what is not theirs.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    /// The user.
    pub user: UserId,
    roles: Vec<Role>,
}

impl Reader {
    #[cfg(test)]
    pub(crate) const fn new(user: UserId, roles: Vec<Role>) -> Self {
        Self { user, roles }
    }

    /// Whether they may see an object of `owner`.
    pub(crate) fn may_see(&self, owner: UserId) -> bool {
        rules::may_see(self.user, &self.roles, owner)
    }

    /// Whether they have this role.
    pub(crate) fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether they see everything.
    pub(crate) fn sees_all(&self) -> bool {
        rules::sees_all(&self.roles)
    }
}

impl FromRequestParts<ApiState> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let principal = parts.extensions.get::<Principal>().ok_or_else(nobody)?;
        Ok(Self {
            user: principal.user,
            roles: principal.roles.clone(),
        })
    }
}
