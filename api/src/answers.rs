//! Answers of commands, kept for a day: who sends a command again gets what they were told.
//!
//! A command is a route for certain roles that changes something ([`rules::is_command`]). While it
//! is being carried out its key is leased in Redis ([`leases`]), so that of two at once one is told
//! to wait; its answer is kept in Postgres ([`kept`]), and Redis says that it is there. None of this
//! keeps an effect from happening twice: the handlers do, with ids derived from user and key. So it
//! may all be lost. An answer is written while its caller reads it, without waiting for the disk:
//! who asks again in that moment gets it from here, or from another process the advice to ask once
//! more. A command that Redis has forgotten is carried out again; when its handler then says that it
//! has known the key, or refuses what it once took, the answer that was kept is given instead.
//!
//! An answer that holds a secret (`Cache-Control: no-store`) is not kept; the handler makes it anew
//! from the aggregate, as it does for whoever prefers to wait for the outcome, and for a key that
//! is older than a day.

mod kept;
mod leases;

pub(crate) use kept::{Answered, Sent, sweep};
pub(crate) use leases::Leases;

use crate::auth::{Principal, rules};
use crate::body;
use crate::idempotency::{self, Key};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use events::ids::UserId;
use leases::{Lease, Taken};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer is given again.
const KEPT: TimeDelta = TimeDelta::hours(24);
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// Around every route: commands go through once at a time, and are answered the same again.
pub(crate) async fn keep(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let command = request
        .extensions()
        .get::<MatchedPath>()
        .is_some_and(|path| rules::is_command(request.method(), path.as_str()));
    let user = request.extensions().get::<Principal>().map(|p| p.user);
    match user {
        Some(user) if command => match carry_out(&state, user, request, next).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        },
        _ => next.run(request).await,
    }
}

async fn carry_out(
    state: &ApiState,
    user: UserId,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let key = Key::of(&parts.headers)?;
    let limit = parts
        .extensions
        .get::<MatchedPath>()
        .map_or(body::COMMAND_LIMIT, |path| body::limit(path.as_str()));
    let bytes = body::bytes(&parts.headers, body, limit).await?;
    let bound = Bound {
        user,
        key: key.as_str().to_owned(),
        fingerprint: fingerprint(&parts, &bytes),
        at: state.datetime(),
    };
    let waits = parts.headers.contains_key("prefer");
    let request = Request::from_parts(parts, Body::from(bytes));
    // From here on it goes on when the caller does not wait for it.
    let state = state.clone();
    let running = tokio::spawn(async move { bound.carry_out(&state, waits, request, next).await });
    running.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a command's handler panicked");
        let detail = "the command was not carried out to its end";
        Err(Problem::new(Kind::Internal, detail))
    })
}

/// A command as it is told from others: method, address and content, not its spelling.
fn fingerprint(parts: &Parts, body: &Bytes) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(parts.method.as_str());
    hash.update([0]);
    hash.update(parts.uri.path());
    hash.update([0]);
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        hash.update(sorted(value).to_string());
    } else {
        hash.update(body);
    }
    hash.finalize().into()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<(String, Value)> =
                map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// A user's key, bound to a command.
struct Bound {
    user: UserId,
    key: String,
    fingerprint: [u8; 32],
    /// When it was asked.
    at: DateTime<Utc>,
}

enum Found {
    /// The command is ours to carry out. Without a lease when Redis is down, for those whom it does
    /// not keep out.
    Ours(Option<Lease>),
    /// Somebody carries it out.
    Running,
    /// It was answered so.
    Kept(Arc<Answered>),
}

impl Bound {
    async fn carry_out(
        &self,
        state: &ApiState,
        waits: bool,
        mut request: Request,
        next: Next,
    ) -> Result<Response, Problem> {
        match self.look(state).await? {
            // Made anew: the command was carried out, this only asks what became of it.
            Found::Kept(answered) => Ok(idempotency::mark(
                match answered.response() {
                    Some(response) if !waits => response,
                    _ => next.run(request).await,
                },
                true,
            )),
            Found::Running => Err(Problem::new(
                Kind::CommandInProgress,
                "this command is being carried out; ask again in a moment",
            )),
            Found::Ours(lease) => {
                if lease.is_some() {
                    request.extensions_mut().insert(idempotency::Leased);
                }
                Ok(self.run(state, lease, waits, next.run(request)).await)
            }
        }
    }

    async fn look(&self, state: &ApiState) -> Result<Found, Problem> {
        if let Some(sent) = state.sent.get(self.user, &self.key) {
            self.same(&hex::encode(sent.fingerprint))?;
            return Ok(Found::Kept(sent));
        }
        let mut seen = None;
        // Twice: what says that there is an answer may be wrong, once.
        for _ in 0..2 {
            let ours = hex::encode(self.fingerprint);
            let taken = state.leases.take(self.user, &self.key, &ours, seen).await;
            match taken {
                Ok(Taken::Ours(lease)) => return Ok(Found::Ours(Some(lease))),
                Ok(Taken::Running(fingerprint)) => {
                    self.same(&fingerprint)?;
                    return Ok(Found::Running);
                }
                Ok(Taken::Answered(answered)) => {
                    if let Some(kept) = self.kept(state).await? {
                        self.same(&answered.fingerprint)?;
                        return Ok(Found::Kept(kept));
                    }
                    seen = Some(answered);
                }
                Err(down) => {
                    tracing::warn!(%down, "a command is carried out without a lease");
                    return Ok(match self.kept(state).await? {
                        Some(kept) => {
                            self.same(&hex::encode(kept.fingerprint))?;
                            Found::Kept(kept)
                        }
                        None => Found::Ours(None),
                    });
                }
            }
        }
        Ok(Found::Running)
    }

    async fn kept(&self, state: &ApiState) -> Result<Option<Arc<Answered>>, sqlx::Error> {
        let about = (self.user, self.key.as_str());
        let found = kept::find(&state.quick, about, self.at).await?;
        Ok(found.map(Arc::new))
    }

    /// Refuses a key that stands for another command.
    fn same(&self, fingerprint: &str) -> Result<(), Problem> {
        if fingerprint == hex::encode(self.fingerprint) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::IdempotencyKeyReused,
            "this Idempotency-Key was used for a command with another content; take a new one",
        ))
    }

    async fn run(
        &self,
        state: &ApiState,
        lease: Option<Lease>,
        waits: bool,
        handler: impl Future<Output = Response>,
    ) -> Response {
        let mut handler = std::pin::pin!(handler);
        let response = loop {
            tokio::select! {
                response = &mut handler => break response,
                () = tokio::time::sleep(RENEW_EVERY) => if let Some(lease) = &lease
                    && let Err(down) = state.leases.renew(lease).await
                {
                    tracing::warn!(%down, "a command's lease is not renewed");
                },
            }
        };
        let failed = !response.status().is_success();
        if (failed || idempotency::is_marked(&response))
            && let Some(first) = self.first(state).await
        {
            // Redis has forgotten it, or it would not have been carried out again.
            say_answered(state, &first, lease).await;
            let asked_anew = waits && !failed;
            let first = first.response().filter(|_| !asked_anew);
            return idempotency::mark(first.unwrap_or(response), true);
        }
        if failed {
            if response.status().is_server_error() {
                leave(state, lease).await;
            } else {
                give_back(state, lease).await;
            }
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
            leave(state, lease).await;
            return Problem::new(Kind::Internal, "the answer could not be written").into_response();
        };
        let about = (self.user, self.key.as_str());
        let told = (parts.status, &parts.headers, &bytes);
        let answered = Arc::new(Answered::new(about, self.fingerprint, self.at, told));
        state.sent.insert(&answered);
        tokio::spawn(keep_answer(state.clone(), answered, lease));
        Response::from_parts(parts, Body::from(bytes))
    }

    /// What this command was answered before, if that is kept.
    async fn first(&self, state: &ApiState) -> Option<Arc<Answered>> {
        match self.kept(state).await {
            Ok(kept) => kept.filter(|kept| kept.fingerprint == self.fingerprint),
            Err(error) => {
                tracing::warn!(%error, "what the command was answered before is not known");
                None
            }
        }
    }
}

/// Writes an answer that was sent. Without it the command is free again: who repeats it gets an
/// answer made anew.
async fn keep_answer(state: ApiState, answered: Arc<Answered>, lease: Option<Lease>) {
    match state.answered.write(Arc::clone(&answered)).await {
        Ok(()) => say_answered(&state, &answered, lease).await,
        Err(error) => {
            tracing::warn!(%error, "an answer is not kept; who repeats the command gets one made anew");
            leave(&state, lease).await;
        }
    }
    state.sent.remove(&answered);
}

async fn say_answered(state: &ApiState, answered: &Answered, lease: Option<Lease>) {
    let Some(lease) = lease else { return };
    let fingerprint = hex::encode(answered.fingerprint);
    let kept = (answered.at + KEPT - state.datetime()).to_std();
    let said = state
        .leases
        .answered(&lease, &fingerprint, kept.unwrap_or_default());
    if let Err(down) = said.await {
        tracing::warn!(%down, "Redis does not know of an answer; the command's handler will");
    }
}

/// Nobody knows how far the command came: only the same one may follow.
async fn leave(state: &ApiState, lease: Option<Lease>) {
    let Some(lease) = lease else { return };
    if let Err(down) = state.leases.leave(&lease).await {
        tracing::warn!(%down, "a failed command stays locked until its lease ends");
    }
}

/// The command was refused: its key is free again, here. What it has bound for good, if anything,
/// the handler knows.
async fn give_back(state: &ApiState, lease: Option<Lease>) {
    let Some(lease) = lease else { return };
    if let Err(down) = state.leases.give_back(&lease).await {
        tracing::warn!(%down, "the key of a command that was refused stays with it");
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(method: &str, path: &str, body: &str) -> [u8; 32] {
        let request = Request::builder().method(method).uri(path);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        fingerprint(&parts, &Bytes::from(body.to_owned()))
    }

    #[test]
    fn a_command_is_told_from_others_by_what_it_says() {
        let first = of("POST", "/quotes", r#"{"tft":"1","currency":"USD"}"#);
        assert_eq!(
            first,
            of("POST", "/quotes", r#" { "currency" : "USD", "tft":"1" } "#)
        );
        for (method, path, body) in [
            ("POST", "/quotes", r#"{"tft":"2","currency":"USD"}"#),
            ("POST", "/quotes", r#"{"tft":1,"currency":"USD"}"#),
            ("POST", "/deployments", r#"{"tft":"1","currency":"USD"}"#),
            ("PUT", "/quotes", r#"{"tft":"1","currency":"USD"}"#),
            ("POST", "/quotes", "{"),
            ("POST", "/quotes", ""),
        ] {
            assert_ne!(first, of(method, path, body), "{method} {path} {body}");
        }
    }
}
