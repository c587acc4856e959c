//! Answers that are kept in Postgres, for a day.

use super::KEPT;
use crate::together::{self, Write};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use events::ids::UserId;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use sqlx::{PgConnection, PgPool, Row};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Answers are small; a larger one is made anew.
const LARGEST: usize = 64 * 1024;
const HEADERS: [HeaderName; 3] = [
    header::CONTENT_TYPE,
    header::LOCATION,
    HeaderName::from_static("consistency-token"),
];

/// What a command was answered; without a body it is made anew.
pub(crate) struct Answered {
    pub(super) user: UserId,
    pub(super) key: String,
    pub(super) fingerprint: [u8; 32],
    pub(super) at: DateTime<Utc>,
    status: i16,
    headers: Value,
    body: Option<Bytes>,
}

impl Answered {
    pub(super) fn new(
        (user, key): (UserId, &str),
        fingerprint: [u8; 32],
        at: DateTime<Utc>,
        (status, headers, body): (StatusCode, &HeaderMap, &Bytes),
    ) -> Self {
        let secret = headers
            .get(header::CACHE_CONTROL)
            .is_some_and(|value| value.as_bytes() == b"no-store");
        let kept: Map<String, Value> = HEADERS
            .iter()
            .filter_map(|name| Some((name, headers.get(name)?.to_str().ok()?)))
            .map(|(name, value)| (name.to_string(), value.into()))
            .collect();
        Self {
            user,
            key: key.to_owned(),
            fingerprint,
            at,
            status: i16::try_from(status.as_u16()).unwrap_or(200),
            headers: Value::Object(kept),
            body: (!secret && body.len() <= LARGEST).then(|| body.clone()),
        }
    }

    /// The answer, if it was kept as a whole.
    pub(super) fn response(&self) -> Option<Response> {
        let body = self.body.clone()?;
        let status = u16::try_from(self.status)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::OK);
        let mut response = (status, body).into_response();
        let fields = self.headers.as_object().into_iter().flatten();
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
        Some(response)
    }
}

/// The answer to the command with this key, unless it is too old to be given.
pub(super) async fn find(
    pool: &PgPool,
    (user, key): (UserId, &str),
    now: DateTime<Utc>,
) -> Result<Option<Answered>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT fingerprint, created_at, status, headers, body
           FROM command_answers WHERE user_id = $1 AND key = $2 AND created_at > $3",
    )
    .bind(user.uuid())
    .bind(key)
    .bind(now - KEPT)
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let fingerprint: Vec<u8> = row.try_get("fingerprint")?;
    Ok(Some(Answered {
        user,
        key: key.to_owned(),
        // Of another length it is no command's, and equals none.
        fingerprint: fingerprint.try_into().unwrap_or_default(),
        at: row.try_get("created_at")?,
        status: row.try_get("status")?,
        headers: row.try_get("headers")?,
        body: row.try_get::<Option<Vec<u8>>, _>("body")?.map(Bytes::from),
    }))
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
        let fingerprints: Vec<&[u8]> = rows.iter().map(|row| &row.fingerprint[..]).collect();
        let times: Vec<DateTime<Utc>> = rows.iter().map(|row| row.at).collect();
        let statuses: Vec<i16> = rows.iter().map(|row| row.status).collect();
        let headers: Vec<&Value> = rows.iter().map(|row| &row.headers).collect();
        let bodies: Vec<Option<&[u8]>> = rows.iter().map(|row| row.body.as_deref()).collect();
        sqlx::query(
            "INSERT INTO command_answers (user_id, key, fingerprint, created_at, status, headers, body)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::timestamptz[],
                                  $5::int2[], $6::jsonb[], $7::bytea[])
             ON CONFLICT (user_id, key) DO UPDATE
                SET fingerprint = excluded.fingerprint, created_at = excluded.created_at,
                    status = excluded.status, headers = excluded.headers, body = excluded.body",
        )
        .bind(users)
        .bind(keys)
        .bind(fingerprints)
        .bind(times)
        .bind(statuses)
        .bind(headers)
        .bind(bodies)
        .execute(connection)
        .await?;
        Ok(vec![(); rows.len()])
    }
}

/// Answers that were sent and do not stand in Postgres yet.
#[derive(Default)]
pub(crate) struct Sent(Mutex<HashMap<(UserId, String), Arc<Answered>>>);

fn name(answered: &Answered) -> (UserId, String) {
    (answered.user, answered.key.clone())
}

impl Sent {
    pub(super) fn get(&self, user: UserId, key: &str) -> Option<Arc<Answered>> {
        self.0.lock().get(&(user, key.to_owned())).cloned()
    }

    pub(super) fn insert(&self, answered: &Arc<Answered>) {
        self.0.lock().insert(name(answered), Arc::clone(answered));
    }

    pub(super) fn remove(&self, answered: &Answered) {
        self.0.lock().remove(&name(answered));
    }
}

/// Forgets answers that are not given any more.
pub(crate) async fn sweep(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    sqlx::query("DELETE FROM command_answers WHERE created_at <= $1")
        .bind(now - KEPT)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
}
