//! The transactional outbox: events that became true with rows in Postgres, on their way to the log.
//!
//! A row is put in the transaction that makes it true. One relay at a time (an advisory lock)
//! appends what is not flagged and flags it. Rows are found by the flag, not by a number that was
//! reached: numbers are given before a commit, so a later number may be seen before an earlier one.
//! A relay that dies between append and flag appends again; the id is the same, so that is an echo.

use crate::log::{Append, AppendError};
use crate::state::ApiState;
use events::ids::EventId;
use events::schema::EventSet;
use events::time::Timestamp;
use events::users::{RoleGranted, RoleRevoked, UserEvent, UserRegistered};
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, Row};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The relay's advisory lock, of all processes on this database.
const LOCK: i64 = 0x6772_6964_6f75_7462;
const BATCH: i64 = 100;
/// What another process put is found at the latest then.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Puts an event of the topic `users` with the rows that make it true. One key's rows must be
/// put under a lock of that key's own row, so that their numbers follow their commits.
///
/// # Errors
/// When Postgres does not answer, or the event is not one that goes this way.
pub(crate) async fn put(
    tx: &mut PgConnection,
    id: EventId,
    key: &str,
    event: &UserEvent,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let body = match event {
        UserEvent::UserRegistered(e) => json(e),
        UserEvent::RoleGranted(e) => json(e),
        UserEvent::RoleRevoked(e) => json(e),
        UserEvent::TwinRequested(_)
        | UserEvent::TwinCreated(_)
        | UserEvent::TwinFailed(_)
        | UserEvent::TimerFired(_)
        | UserEvent::DeadLetterReleased(_) => Err(sqlx::Error::Encode(
            format!("{} does not go through the outbox", event.name()).into(),
        )),
    }?;
    sqlx::query(
        "INSERT INTO outbox (event_id, topic, key, type, event, created_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(id.uuid())
    .bind(UserEvent::TOPIC)
    .bind(key)
    .bind(event.name())
    .bind(body)
    .bind(now.to_datetime().unwrap_or_default())
    .execute(tx)
    .await
    .map(|_| ())
}

fn json<T: Serialize>(event: &T) -> Result<Value, sqlx::Error> {
    serde_json::to_value(event).map_err(|e| sqlx::Error::Encode(e.into()))
}

fn read(name: &str, body: Value) -> Result<UserEvent, serde_json::Error> {
    match name {
        "UserRegistered" => serde_json::from_value::<UserRegistered>(body).map(Into::into),
        "RoleGranted" => serde_json::from_value::<RoleGranted>(body).map(Into::into),
        "RoleRevoked" => serde_json::from_value::<RoleRevoked>(body).map(Into::into),
        other => Err(serde::de::Error::custom(format!(
            "{other} does not go through the outbox"
        ))),
    }
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("row {0} of the outbox is not an event: {1}")]
    Unreadable(i64, serde_json::Error),
}

/// Appends what is in the outbox, until `stop`.
pub(crate) async fn relay(state: ApiState, stop: CancellationToken) {
    let mut failing = false;
    loop {
        match drain(&state).await {
            Ok(full) => {
                failing = false;
                if full {
                    continue;
                }
            }
            // Said once, not twice a second.
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "events wait in the outbox");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = state.outbox.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Appends one batch; whether there may be more.
async fn drain(state: &ApiState) -> Result<bool, RelayError> {
    let open: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM outbox WHERE NOT appended)")
        .fetch_one(&state.pool)
        .await?;
    if !open {
        return Ok(false);
    }
    let mut tx = state.pool.begin().await?;
    let ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut *tx)
        .await?;
    if !ours {
        return Ok(false);
    }
    let rows = sqlx::query("SELECT * FROM outbox WHERE NOT appended ORDER BY seq LIMIT $1")
        .bind(BATCH)
        .fetch_all(&mut *tx)
        .await?;
    let mut appended: Vec<i64> = Vec::new();
    let mut outcome = Ok(());
    for row in &rows {
        let seq: i64 = row.try_get("seq")?;
        let key: String = row.try_get("key")?;
        let name: String = row.try_get("type")?;
        let event = match read(&name, row.try_get("event")?) {
            Ok(event) => event,
            Err(error) => {
                outcome = Err(RelayError::Unreadable(seq, error));
                break;
            }
        };
        let append = Append {
            id: EventId::from_uuid(row.try_get::<Uuid, _>("event_id")?),
            correlation: key.clone(),
            key,
            trace: None,
            time: state.now(),
            event,
        };
        // In order: what comes after a failed one waits for it.
        if let Err(error) = state.log.append(append).await {
            outcome = Err(error.into());
            break;
        }
        appended.push(seq);
    }
    sqlx::query("UPDATE outbox SET appended = true WHERE seq = ANY($1)")
        .bind(&appended)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    outcome?;
    Ok(i64::try_from(rows.len()).unwrap_or(0) == BATCH)
}
