//! The transactional outbox: events that became true with rows in Postgres, on their way to the log.
//!
//! A row is put in the transaction that makes it true. One relay at a time (an advisory lock)
//! appends what is not flagged and flags it. Rows are found by the flag, not by a number that was
//! reached: numbers are given before a commit, so a later number may be seen before an earlier one.
//! A relay that dies between append and flag appends again; the id is the same, so that is an echo.

use crate::log::{Append, AppendError, Logged};
use crate::state::ApiState;
use events::applications::NodeApplicationEvent;
use events::approvals::ApprovalEvent;
use events::dead_letters::{DeadLetterReleased, Release};
use events::deployments::DeploymentEvent;
use events::deposits::DepositEvent;
use events::ids::EventId;
use events::purchases::PurchaseEvent;
use events::schema::EventSet;
use events::time::Timestamp;
use events::topics;
use events::treasury::TreasuryEvent;
use events::users::UserEvent;
use serde_json::json;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The relay's advisory lock, of all processes on this database.
const LOCK: i64 = 0x6772_6964_6f75_7462;
const BATCH: i64 = 100;
/// What another process put is found at the latest then.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Puts an event with the rows that make it true. One key's rows must be put under a lock of that
/// key's own row, so that their numbers follow their commits.
///
/// # Errors
/// When Postgres does not answer, or the event has no form in JSON.
pub(crate) async fn put<E: EventSet>(
    tx: &mut PgConnection,
    id: EventId,
    key: &str,
    event: &E,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    put_into(tx, id, (key, None), event, now).await
}

/// Puts an event for a certain partition of its topic.
///
/// # Errors
/// As [`put`].
pub(crate) async fn put_into<E: EventSet>(
    tx: &mut PgConnection,
    id: EventId,
    (key, partition): (&str, Option<i32>),
    event: &E,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let body = event
        .to_json()
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "INSERT INTO outbox (event_id, topic, key, type, event, created_at, partition)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(id.uuid())
    .bind(E::TOPIC)
    .bind(key)
    .bind(event.name())
    .bind(body)
    .bind(now.to_datetime().unwrap_or_default())
    .bind(partition)
    .execute(tx)
    .await
    .map(|_| ())
}

/// Puts the note of a release, which stands with the dead letters.
///
/// # Errors
/// When Postgres does not answer.
pub(crate) async fn put_note(
    tx: &mut PgConnection,
    release: EventId,
    key: &str,
    event: &DeadLetterReleased,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let action = match event.action {
        Release::Redrive => "REDRIVE",
        Release::Discard => "DISCARD",
    };
    let headers = json!({
        "dl_release": action, "dl_offset": event.offset.to_string(), "dl_by": event.by,
        "dl_reason": event.reason, "dl_event": release,
    });
    sqlx::query(
        "INSERT INTO outbox (event_id, topic, key, type, event, created_at, partition)
         VALUES ($1, $2, $3, 'note', $4, $5, $6) ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(EventId::derive(&["note", &release.to_string()]).uuid())
    .bind(topics::dead_letters(&event.processor))
    .bind(key)
    .bind(headers)
    .bind(now.to_datetime().unwrap_or_default())
    .bind(event.partition)
    .execute(tx)
    .await
    .map(|_| ())
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("row {0} of the outbox is not an event: {1}")]
    Unreadable(i64, String),
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
        // In order: what comes after a failed one waits for it.
        if let Err(error) = append(state, row, seq).await {
            outcome = Err(error);
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

/// Appends the event of a row.
async fn append(state: &ApiState, row: &PgRow, seq: i64) -> Result<(), RelayError> {
    let topic: String = row.try_get("topic")?;
    match topic.as_str() {
        UserEvent::TOPIC => append_as::<UserEvent>(state, row, seq).await,
        NodeApplicationEvent::TOPIC => append_as::<NodeApplicationEvent>(state, row, seq).await,
        ApprovalEvent::TOPIC => append_as::<ApprovalEvent>(state, row, seq).await,
        PurchaseEvent::TOPIC => append_as::<PurchaseEvent>(state, row, seq).await,
        DeploymentEvent::TOPIC => append_as::<DeploymentEvent>(state, row, seq).await,
        DepositEvent::TOPIC => append_as::<DepositEvent>(state, row, seq).await,
        TreasuryEvent::TOPIC => append_as::<TreasuryEvent>(state, row, seq).await,
        notes if notes.ends_with(topics::DEAD_LETTERS) => {
            let headers: BTreeMap<String, String> =
                serde_json::from_value(row.try_get("event")?)
                    .map_err(|error| RelayError::Unreadable(seq, error.to_string()))?;
            let partition: Option<i32> = row.try_get("partition")?;
            let key: String = row.try_get("key")?;
            let place = (notes, partition.unwrap_or(0), key.as_str());
            state.log.note(place, &headers).await?;
            Ok(())
        }
        other => Err(RelayError::Unreadable(
            seq,
            format!("{other} does not go through the outbox"),
        )),
    }
}

async fn append_as<E: Logged>(state: &ApiState, row: &PgRow, seq: i64) -> Result<(), RelayError> {
    let name: String = row.try_get("type")?;
    let key: String = row.try_get("key")?;
    let event = match E::from_json(&name, row.try_get("event")?) {
        Some(Ok(event)) => event,
        Some(Err(error)) => return Err(RelayError::Unreadable(seq, error.to_string())),
        None => {
            let cause = format!("{} has no event {name}", E::TOPIC);
            return Err(RelayError::Unreadable(seq, cause));
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
    state
        .log
        .append_to(append, row.try_get("partition")?)
        .await?;
    Ok(())
}
