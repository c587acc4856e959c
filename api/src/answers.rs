//! Answers of commands, kept for a day: who sends a command again gets what they were told.
//!
//! A command is a route for certain roles that changes something ([`rules::is_command`]). Its key
//! is bound here to its content while it is being carried out, so that of two at once one is told
//! to wait, and afterwards to its answer. None of this keeps an effect from happening twice: the
//! handlers do, with ids derived from user and key. So what stands here may be lost, and is written
//! without waiting for the disk; an answer is written while its caller reads it. Who asks again in
//! that moment gets it from here, or from another process the advice to ask once more.
//!
//! An answer that holds a secret (`Cache-Control: no-store`) is not kept; the handler makes it anew
//! from the aggregate, as it does for whoever prefers to wait for the outcome, and for a key that
//! is older than a day.

use crate::auth::{Principal, rules};
use crate::body;
use crate::idempotency::{self, Key};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::together::{self, Write};
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use events::ids::UserId;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool, Row};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer is given again.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// A process that died leaves its commands locked for so long.
const LEASE: TimeDelta = TimeDelta::seconds(5);
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Answers are small; a larger one is made anew.
const LARGEST: usize = 64 * 1024;
const KEPT_HEADERS: [HeaderName; 3] = [
    header::CONTENT_TYPE,
    header::LOCATION,
    HeaderName::from_static("consistency-token"),
];

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
    };
    let waits = parts.headers.contains_key("prefer");
    let request = Request::from_parts(parts, Body::from(bytes));
    match bound.look(state, state.datetime()).await? {
        Found::Kept(response) if !waits => Ok(idempotency::mark(response, true)),
        // Made anew: the command was carried out, this only asks what became of it.
        Found::Kept(_) | Found::Secret => Ok(idempotency::mark(next.run(request).await, true)),
        Found::Running => Err(Problem::new(
            Kind::CommandInProgress,
            "this command is being carried out; ask again in a moment",
        )),
        Found::Ours(lease) => {
            // It goes on when the caller does not wait for it.
            let state = state.clone();
            let running =
                tokio::spawn(async move { bound.run(&state, lease, next.run(request)).await });
            running.await.map_err(|error| {
                tracing::error!(%error, "a command's handler panicked");
                Problem::new(Kind::Internal, "the command was not carried out to its end")
            })
        }
    }
}

/// A command as it is told from others: method, address and content, not its spelling.
fn fingerprint(parts: &Parts, body: &Bytes) -> Vec<u8> {
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
    hash.finalize().to_vec()
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
    fingerprint: Vec<u8>,
}

enum Found {
    /// The command is ours to carry out, until the lease ends.
    Ours(DateTime<Utc>),
    /// Somebody carries it out.
    Running,
    /// It was answered so.
    Kept(Response),
    /// It was answered, and the answer was not kept.
    Secret,
}

impl Bound {
    async fn look(&self, state: &ApiState, now: DateTime<Utc>) -> Result<Found, Problem> {
        if let Some(sent) = state.sent.get(self.user, &self.key) {
            self.same(&sent.fingerprint)?;
            return Ok(match &sent.body {
                Some(body) => Found::Kept(response(sent.status, &sent.headers, body.clone())),
                None => Found::Secret,
            });
        }
        let lease = now + LEASE;
        let begun = Begun {
            user: self.user,
            key: self.key.clone(),
            fingerprint: self.fingerprint.clone(),
            lease,
            at: now,
        };
        if state.begun.write(begun).await? {
            return Ok(Found::Ours(lease));
        }
        let pool = &state.quick;
        let row = sqlx::query("SELECT * FROM command_answers WHERE user_id = $1 AND key = $2")
            .bind(self.user.uuid())
            .bind(&self.key)
            .fetch_optional(pool)
            .await?;
        // Gone in this instant: the command failed.
        let Some(row) = row else {
            return Ok(Found::Running);
        };
        let created: DateTime<Utc> = row.try_get("created_at")?;
        let until: DateTime<Utc> = row.try_get("lease_until")?;
        let status: Option<i16> = row.try_get("status")?;
        let old = created + KEPT <= now;
        if !old {
            self.same(row.try_get("fingerprint")?)?;
        }
        match status {
            Some(status) if !old => {
                let Some(body) = row.try_get::<Option<Vec<u8>>, _>("body")? else {
                    return Ok(Found::Secret);
                };
                Ok(Found::Kept(response(
                    status,
                    &row.try_get("headers")?,
                    body.into(),
                )))
            }
            None if until > now => Ok(Found::Running),
            _ => self.take_over(pool, (created, until), now).await,
        }
    }

    /// Refuses a key that stands for another command.
    fn same(&self, fingerprint: &[u8]) -> Result<(), Problem> {
        if fingerprint == self.fingerprint {
            return Ok(());
        }
        Err(Problem::new(
            Kind::IdempotencyKeyReused,
            "this Idempotency-Key was used for a command with another content; take a new one",
        ))
    }

    /// Of several who see that a lease has ended, one takes the command over.
    async fn take_over(
        &self,
        pool: &PgPool,
        (created, until): (DateTime<Utc>, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<Found, Problem> {
        let lease = now + LEASE;
        let taken = sqlx::query(
            "UPDATE command_answers
                SET fingerprint = $5, lease_until = $6, created_at = $7,
                    status = NULL, headers = NULL, body = NULL
              WHERE user_id = $1 AND key = $2 AND created_at = $3 AND lease_until = $4",
        )
        .bind(self.user.uuid())
        .bind(&self.key)
        .bind(created)
        .bind(until)
        .bind(&self.fingerprint)
        .bind(lease)
        .bind(now)
        .execute(pool)
        .await?
        .rows_affected();
        Ok(if taken == 1 {
            Found::Ours(lease)
        } else {
            Found::Running
        })
    }

    async fn run(
        &self,
        state: &ApiState,
        mut lease: DateTime<Utc>,
        handler: impl Future<Output = Response>,
    ) -> Response {
        let mut handler = std::pin::pin!(handler);
        let response = loop {
            tokio::select! {
                response = &mut handler => break response,
                () = tokio::time::sleep(RENEW_EVERY) => {
                    let next = state.datetime() + LEASE;
                    match self.renew(&state.quick, lease, next).await {
                        Ok(()) => lease = next,
                        Err(error) => tracing::warn!(%error, "a command's lease is not renewed"),
                    }
                }
            }
        };
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            self.give_back(&state.quick, lease).await;
            return Response::from_parts(parts, body);
        }
        let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
            self.give_back(&state.quick, lease).await;
            return Problem::new(Kind::Internal, "the answer could not be written").into_response();
        };
        let answered = Arc::new(self.answered(parts.status, &parts.headers, &bytes));
        state.sent.insert(&answered);
        let state = state.clone();
        tokio::spawn(async move {
            if let Err(error) = state.answered.write(Arc::clone(&answered)).await {
                tracing::warn!(%error, "an answer is not kept; who repeats the command gets one made anew");
            }
            state.sent.remove(&answered);
        });
        Response::from_parts(parts, Body::from(bytes))
    }

    async fn renew(
        &self,
        pool: &PgPool,
        lease: DateTime<Utc>,
        next: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE command_answers SET lease_until = $4
              WHERE user_id = $1 AND key = $2 AND lease_until = $3",
        )
        .bind(self.user.uuid())
        .bind(&self.key)
        .bind(lease)
        .bind(next)
        .execute(pool)
        .await
        .map(|_| ())
    }

    /// The command failed: its key is free again, here. What it has bound for good, if anything,
    /// the handler knows.
    async fn give_back(&self, pool: &PgPool, lease: DateTime<Utc>) {
        let gone = sqlx::query(
            "DELETE FROM command_answers
              WHERE user_id = $1 AND key = $2 AND lease_until = $3 AND status IS NULL",
        )
        .bind(self.user.uuid())
        .bind(&self.key)
        .bind(lease)
        .execute(pool)
        .await;
        if let Err(error) = gone {
            tracing::warn!(%error, "a failed command stays locked until its lease ends");
        }
    }

    fn answered(&self, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Answered {
        let secret = headers
            .get(header::CACHE_CONTROL)
            .is_some_and(|value| value.as_bytes() == b"no-store");
        let kept: Map<String, Value> = KEPT_HEADERS
            .iter()
            .filter_map(|name| Some((name, headers.get(name)?.to_str().ok()?)))
            .map(|(name, value)| (name.to_string(), value.into()))
            .collect();
        Answered {
            user: self.user,
            key: self.key.clone(),
            fingerprint: self.fingerprint.clone(),
            status: i16::try_from(status.as_u16()).unwrap_or(200),
            headers: Value::Object(kept),
            body: (!secret && body.len() <= LARGEST).then(|| body.clone()),
        }
    }
}

/// A command that somebody begins to carry out.
pub(crate) struct Begun {
    user: UserId,
    key: String,
    fingerprint: Vec<u8>,
    lease: DateTime<Utc>,
    at: DateTime<Utc>,
}

impl Write for Begun {
    /// Whether nobody had begun it.
    type Wrote = bool;
    const APART: Duration = Duration::from_millis(5);

    fn about(&self) -> (UserId, &str) {
        (self.user, &self.key)
    }

    async fn write(connection: &mut PgConnection, rows: &[Self]) -> Result<Vec<bool>, sqlx::Error> {
        let (users, keys) = together::names(rows);
        let fingerprints: Vec<&[u8]> = rows.iter().map(|row| &row.fingerprint[..]).collect();
        let leases: Vec<DateTime<Utc>> = rows.iter().map(|row| row.lease).collect();
        let times: Vec<DateTime<Utc>> = rows.iter().map(|row| row.at).collect();
        let new = sqlx::query_as(
            "INSERT INTO command_answers (user_id, key, fingerprint, lease_until, created_at)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::timestamptz[], $5::timestamptz[])
             ON CONFLICT DO NOTHING RETURNING user_id, key",
        )
        .bind(users)
        .bind(keys)
        .bind(fingerprints)
        .bind(leases)
        .bind(times)
        .fetch_all(connection)
        .await?;
        Ok(together::among(rows, new))
    }
}

/// What a command was answered; without a body it is made anew.
pub(crate) struct Answered {
    user: UserId,
    key: String,
    fingerprint: Vec<u8>,
    status: i16,
    headers: Value,
    body: Option<Bytes>,
}

/// Answers that were sent and do not stand in Postgres yet.
#[derive(Default)]
pub(crate) struct Sent(Mutex<HashMap<(UserId, String), Arc<Answered>>>);

impl Sent {
    fn get(&self, user: UserId, key: &str) -> Option<Arc<Answered>> {
        self.0.lock().get(&(user, key.to_owned())).cloned()
    }

    fn insert(&self, answered: &Arc<Answered>) {
        let about = (answered.user, answered.key.clone());
        self.0.lock().insert(about, Arc::clone(answered));
    }

    fn remove(&self, answered: &Answered) {
        let about = (answered.user, answered.key.clone());
        self.0.lock().remove(&about);
    }
}

impl Write for Arc<Answered> {
    type Wrote = ();
    /// Nobody waits for it.
    const APART: Duration = Duration::from_millis(30);

    fn about(&self) -> (UserId, &str) {
        (self.user, &self.key)
    }

    async fn write(connection: &mut PgConnection, rows: &[Self]) -> Result<Vec<()>, sqlx::Error> {
        let (users, keys) = together::names(rows);
        let statuses: Vec<i16> = rows.iter().map(|row| row.status).collect();
        let headers: Vec<&Value> = rows.iter().map(|row| &row.headers).collect();
        let bodies: Vec<Option<&[u8]>> = rows.iter().map(|row| row.body.as_deref()).collect();
        sqlx::query(
            "UPDATE command_answers AS a SET status = n.status, headers = n.headers, body = n.body
               FROM unnest($1::uuid[], $2::text[], $3::int2[], $4::jsonb[], $5::bytea[])
                    AS n (user_id, key, status, headers, body)
              WHERE a.user_id = n.user_id AND a.key = n.key",
        )
        .bind(users)
        .bind(keys)
        .bind(statuses)
        .bind(headers)
        .bind(bodies)
        .execute(connection)
        .await?;
        Ok(vec![(); rows.len()])
    }
}

fn response(status: i16, headers: &Value, body: Bytes) -> Response {
    let status = u16::try_from(status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::OK);
    let mut response = (status, body).into_response();
    let fields = headers.as_object().into_iter().flatten();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in fields {
        let parsed = name.parse::<HeaderName>().ok().zip(
            value
                .as_str()
                .and_then(|value| HeaderValue::from_str(value).ok()),
        );
        if let Some((name, value)) = parsed {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Forgets answers that are not given any more.
pub(crate) async fn sweep(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    sqlx::query("DELETE FROM command_answers WHERE created_at <= $1")
        .bind(now - KEPT)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(method: &str, path: &str, body: &str) -> Vec<u8> {
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
