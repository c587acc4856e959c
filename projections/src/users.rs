//! Read model `users`: who is registered and which twin is theirs. From topic `users`.

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::ids::{TwinId, UserId};
use events::time::Timestamp;
use events::users::UserEvent;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A registered user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// When the registration was accepted.
    pub registered_at: DateTime<Utc>,
    /// The twin, once it exists in a finalized block.
    pub twin_id: Option<TwinId>,
    /// SS58 address of the account on TFChain.
    pub account: Option<String>,
    /// TFChain block of the twin.
    pub twin_block: Option<i64>,
    /// What last went wrong, for people.
    pub detail: Option<String>,
    /// Time of the latest event.
    pub updated_at: DateTime<Utc>,
    /// Offset of the latest event in the user's partition.
    pub version: i64,
}

impl FromRow<'_, PgRow> for User {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: UserId::from_uuid(row.try_get("id")?),
            registered_at: row.try_get("registered_at")?,
            twin_id: row
                .try_get::<Option<i64>, _>("twin_id")?
                .map(|n| db::small("twin_id", n).map(TwinId))
                .transpose()?,
            account: row.try_get("account")?,
            twin_block: row.try_get("twin_block")?,
            detail: row.try_get("detail")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// The user, or `None` when nobody of that id is registered.
///
/// # Errors
/// When Postgres does not answer.
pub async fn get(pool: &PgPool, id: UserId) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM users WHERE id = $1")
        .bind(id.uuid())
        .fetch_optional(pool)
        .await
}

/// The row after an event. An event of a user whose registration is not in the log has no row.
fn fold(row: Option<User>, event: &UserEvent, time: Timestamp, offset: i64) -> Option<User> {
    let updated_at = time.to_datetime().unwrap_or_default();
    let mut user = if let Some(user) = row {
        user
    } else {
        let UserEvent::UserRegistered(e) = event else {
            return None;
        };
        User {
            id: e.user_id,
            registered_at: e.registered_at.to_datetime().unwrap_or(updated_at),
            twin_id: None,
            account: None,
            twin_block: None,
            detail: None,
            updated_at,
            version: offset,
        }
    };
    match event {
        UserEvent::UserRegistered(_)
        | UserEvent::TwinRequested(_)
        | UserEvent::RoleGranted(_)
        | UserEvent::RoleRevoked(_)
        | UserEvent::TimerFired(_)
        | UserEvent::DeadLetterReleased(_) => {}
        UserEvent::TwinCreated(e) => {
            user.twin_id = Some(e.twin_id);
            user.account = Some(e.account.clone());
            user.twin_block = Some(e.block);
            user.detail = None;
        }
        UserEvent::TwinFailed(e) => user.detail = Some(e.detail.clone()),
    }
    user.updated_at = updated_at;
    user.version = offset;
    Some(user)
}

fn user_of(event: &UserEvent) -> Option<UserId> {
    Some(match event {
        UserEvent::UserRegistered(e) => e.user_id,
        UserEvent::TwinRequested(e) => e.user_id,
        UserEvent::TwinCreated(e) => e.user_id,
        UserEvent::TwinFailed(e) => e.user_id,
        UserEvent::RoleGranted(e) => e.user_id,
        UserEvent::RoleRevoked(e) => e.user_id,
        UserEvent::TimerFired(e) => e.user_id,
        UserEvent::DeadLetterReleased(_) => return None,
    })
}

/// Folds the fresh entries; gives the ids of the users that changed.
pub(crate) async fn apply(
    tx: &mut PgConnection,
    fresh: &[&Entry],
) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let entries: Vec<(&Entry, &UserEvent, Uuid)> = fresh
        .iter()
        .filter_map(|entry| {
            let AnyEvent::User(event) = &entry.event else {
                return None;
            };
            user_of(event).map(|id| (*entry, event, id.uuid()))
        })
        .collect();
    if entries.is_empty() {
        return Ok(BTreeSet::new());
    }
    let ids: BTreeSet<Uuid> = entries.iter().map(|(.., id)| *id).collect();
    let mut rows: BTreeMap<Uuid, User> =
        sqlx::query_as::<_, User>("SELECT * FROM users WHERE id = ANY($1)")
            .bind(ids.iter().copied().collect::<Vec<_>>())
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .map(|user| (user.id.uuid(), user))
            .collect();
    for (entry, event, id) in entries {
        if let Some(user) = fold(
            rows.remove(&id),
            event,
            entry.envelope.time,
            entry.place.offset,
        ) {
            rows.insert(id, user);
        }
    }
    let changed: Vec<User> = rows.into_values().collect();
    sqlx::query(
        "INSERT INTO users SELECT * FROM jsonb_populate_recordset(NULL::users, $1)
         ON CONFLICT (id) DO UPDATE SET
            (twin_id, account, twin_block, detail, updated_at, version) =
            (EXCLUDED.twin_id, EXCLUDED.account, EXCLUDED.twin_block, EXCLUDED.detail,
             EXCLUDED.updated_at, EXCLUDED.version)",
    )
    .bind(db::rows(&changed)?)
    .execute(tx)
    .await?;
    Ok(changed.iter().map(|user| user.id.uuid()).collect())
}
