//! `Idempotency-Key`: the same key and command lead to the same aggregate, however often they come.

use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::together::{self, Write};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::ids::{EventId, UserId};
use events::time::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool, Row};
use std::time::Duration;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use uuid::Uuid;

const HEADER: &str = "idempotency-key";

/// The key of a command, 1 to 255 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    text: String,
    leased: bool,
}

/// Says of a request that no other with its key is carried out meanwhile, and that none of other
/// content will be, whatever becomes of this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leased;

impl Key {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Id of the event that a command with this key appends: the same however often it is sent.
    pub(crate) fn event_id(&self, user: UserId) -> EventId {
        EventId::derive(&["command", &user.to_string(), &self.text])
    }

    fn parse(value: &[u8]) -> Result<Self, Problem> {
        let printable = value.iter().all(|b| (b' '..=b'~').contains(b));
        let text = std::str::from_utf8(value).ok().map(str::trim);
        match text {
            Some(text) if printable && (1..=255).contains(&text.len()) => Ok(Self {
                text: text.to_owned(),
                leased: false,
            }),
            _ => Err(Problem::new(
                Kind::IdempotencyKeyInvalid,
                "an Idempotency-Key has 1 to 255 printable ASCII characters",
            )),
        }
    }
}

impl Key {
    /// The key of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Err(Problem::new(
                Kind::IdempotencyKeyMissing,
                "send an Idempotency-Key that is new for each command and the same when you send it again",
            ));
        };
        if values.next().is_some() {
            return Err(Problem::new(
                Kind::IdempotencyKeyInvalid,
                "a command has one Idempotency-Key",
            ));
        }
        Self::parse(value.as_bytes())
    }
}

impl FromRequestParts<ApiState> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let leased = parts.extensions.get::<Leased>().is_some();
        Self::of(&parts.headers).map(|key| Self { leased, ..key })
    }
}

impl IntoParams for Key {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut key = crate::contract::header(
            "Idempotency-Key",
            "New for each command, the same when it is sent again: then the first answer comes again.",
        );
        key.required = Required::True;
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(255))
            .pattern(Some("^[!-~]([ -~]*[!-~])?$"))
            .build();
        key.schema = Some(schema.into());
        vec![key]
    }
}

/// A command as it is told from others: route and content, not its spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    route: &'static str,
    hash: [u8; 32],
}

impl Fingerprint {
    /// The hash.
    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.hash
    }

    pub(crate) fn of<T: Serialize>(route: &'static str, command: &T) -> Result<Self, Problem> {
        let body = serde_json::to_vec(command).map_err(|error| {
            tracing::error!(%error, route, "a command cannot be written as JSON");
            Problem::new(Kind::Internal, "the command could not be read back")
        })?;
        let mut hash = Sha256::new();
        hash.update(route.as_bytes());
        hash.update([0]);
        hash.update(&body);
        Ok(Self {
            route,
            hash: hash.finalize().into(),
        })
    }
}

/// A key that stands for no other command than this one, as [`look`] has seen.
pub(crate) struct Looked<'a> {
    user: UserId,
    key: &'a Key,
    command: &'a Fingerprint,
    /// When the key was first used for it; `None` when it is new.
    pub first: Option<Timestamp>,
}

/// Looks what the key stands for.
///
/// # Errors
/// When it stands for another command, or Postgres does not answer.
pub(crate) async fn look<'a>(
    pool: &PgPool,
    user: UserId,
    key: &'a Key,
    command: &'a Fingerprint,
) -> Result<Looked<'a>, Problem> {
    let first = bound_at(pool, user, key, command).await?;
    Ok(Looked {
        user,
        key,
        command,
        first,
    })
}

async fn bound_at(
    pool: &PgPool,
    user: UserId,
    key: &Key,
    command: &Fingerprint,
) -> Result<Option<Timestamp>, Problem> {
    let row = sqlx::query(
        "SELECT body_hash, created_at FROM idempotency_keys WHERE user_id = $1 AND key = $2",
    )
    .bind(user.uuid())
    .bind(key.as_str())
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    if row.try_get::<Vec<u8>, _>("body_hash")? != command.hash {
        return Err(Problem::new(
            Kind::IdempotencyKeyReused,
            "this Idempotency-Key was used for a command with another content; take a new one",
        ));
    }
    Ok(Some(Timestamp::from(
        row.try_get::<DateTime<Utc>, _>("created_at")?,
    )))
}

/// A key that is bound to its command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    /// When it was bound: the command's own time, the same on every repetition.
    pub at: Timestamp,
    /// Whether it was bound before.
    pub hit: bool,
}

/// A key and the command that it is to stand for.
pub(crate) struct Binding {
    user: UserId,
    key: String,
    route: &'static str,
    hash: [u8; 32],
    aggregate: Uuid,
    at: DateTime<Utc>,
}

impl Write for Binding {
    /// Whether the key was free.
    type Wrote = bool;
    const APART: Duration = Duration::from_millis(2);

    fn about(&self) -> (UserId, &str) {
        (self.user, &self.key)
    }

    async fn write(connection: &mut PgConnection, rows: &[Self]) -> Result<Vec<bool>, sqlx::Error> {
        let (users, keys) = together::names(rows);
        let routes: Vec<&str> = rows.iter().map(|row| row.route).collect();
        let hashes: Vec<&[u8]> = rows.iter().map(|row| &row.hash[..]).collect();
        let aggregates: Vec<Uuid> = rows.iter().map(|row| row.aggregate).collect();
        let times: Vec<DateTime<Utc>> = rows.iter().map(|row| row.at).collect();
        let bound = sqlx::query_as(
            "INSERT INTO idempotency_keys (user_id, key, route, body_hash, aggregate, created_at)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::timestamptz[])
             ON CONFLICT DO NOTHING RETURNING user_id, key",
        )
        .bind(users)
        .bind(keys)
        .bind(routes)
        .bind(hashes)
        .bind(aggregates)
        .bind(times)
        .fetch_all(connection)
        .await?;
        Ok(together::among(rows, bound))
    }
}

/// Binds the key to the command, to be done before the first append.
///
/// # Errors
/// When it stands for another command, or Postgres does not answer.
pub(crate) async fn claim(
    state: &ApiState,
    user: UserId,
    key: &Key,
    command: &Fingerprint,
    aggregate: Uuid,
    now: Timestamp,
) -> Result<Claim, Problem> {
    let row = Binding {
        user,
        key: key.text.clone(),
        route: command.route,
        hash: command.hash,
        aggregate,
        at: now.to_datetime().unwrap_or_default(),
    };
    if state.bindings.write(row).await? {
        return Ok(Claim {
            at: now,
            hit: false,
        });
    }
    let bound = bound_at(&state.pool, user, key, command).await?;
    let at = bound.unwrap_or(now);
    Ok(Claim { at, hit: true })
}

impl Looked<'_> {
    /// Binds the key to a command that is nothing but an event whose id derives from user and key,
    /// and appends that event, given the command's time, at once with it: neither waits for the
    /// other. The look comes first, because the event of a key that stands for another command
    /// would be a fact where its topic has none.
    ///
    /// So it may be appended, and the key not bound when this process dies. The lease, without
    /// which this appends after the binding, keeps other content away from the key until it is
    /// bound. What decides by money or prices binds first: [`claim`].
    ///
    /// # Errors
    /// As [`claim`], and those of the append.
    pub(crate) async fn append_claimed<T, A>(
        self,
        state: &ApiState,
        aggregate: Uuid,
        append: impl FnOnce(Timestamp) -> A,
    ) -> Result<(Claim, T), Problem>
    where
        A: Future<Output = Result<T, Problem>>,
    {
        if let Some(at) = self.first {
            return Ok((Claim { at, hit: true }, append(at).await?));
        }
        let now = state.now();
        let bound = claim(state, self.user, self.key, self.command, aggregate, now);
        if self.key.leased {
            let (claim, appended) = tokio::join!(bound, append(now));
            return Ok((claim?, appended?));
        }
        let claim = bound.await?;
        Ok((claim, append(claim.at).await?))
    }
}

/// Whether a command of this user on `route` made the aggregate, known before the log is folded.
pub(crate) async fn made(
    pool: &PgPool,
    user: UserId,
    route: &str,
    aggregate: Uuid,
) -> Result<bool, sqlx::Error> {
    sqlx::query(
        "SELECT 1 FROM idempotency_keys WHERE aggregate = $1 AND user_id = $2 AND route = $3",
    )
    .bind(aggregate)
    .bind(user.uuid())
    .bind(route)
    .fetch_optional(pool)
    .await
    .map(|row| row.is_some())
}

const HIT: HeaderName = HeaderName::from_static("idempotency-hit");

/// Marks the answer to a repeated command.
pub(crate) fn mark(mut response: Response, hit: bool) -> Response {
    if hit {
        let yes = HeaderValue::from_static("true");
        response.headers_mut().insert(HIT, yes);
    }
    response
}

/// Whether the answer is marked as one to a repeated command.
pub(crate) fn is_marked(response: &Response) -> bool {
    response.headers().contains_key(HIT)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_printable_ascii_of_bounded_length() {
        assert_eq!(Key::parse(b"order-17").unwrap().as_str(), "order-17");
        assert_eq!(Key::parse(&[b'x'; 255]).unwrap().as_str().len(), 255);
        for bad in [
            &b""[..],
            b"  ",
            b"a\tb",
            "größe".as_bytes(),
            b"a\x7f",
            &[b'x'; 256],
        ] {
            let problem = Key::parse(bad).unwrap_err();
            assert_eq!(problem.kind(), Kind::IdempotencyKeyInvalid);
        }
    }

    #[test]
    fn a_fingerprint_tells_route_and_content_apart() {
        let of = |route, body| Fingerprint::of(route, &body).unwrap();
        assert_eq!(
            of("quotes", json!({"tft": "1"})),
            of("quotes", json!({"tft": "1"}))
        );
        assert_ne!(
            of("quotes", json!({"tft": "1"})),
            of("quotes", json!({"tft": "2"}))
        );
        assert_ne!(
            of("quotes", json!({"tft": "1"})),
            of("users", json!({"tft": "1"}))
        );
    }
}
