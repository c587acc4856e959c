//! Read models `notifications`, `notification_preferences` and `webhook_endpoint_states`: who was told
//! what, what they want to be told, and how their endpoints are. From topic `notifications`.

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::ids::{EndpointId, EventId, NotificationId, UserId};
use events::notifications::{Channel, Choice, Figure, NotificationEvent};
use events::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// How far a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// An attempt is under way.
    Sending,
    /// An attempt has failed, another one follows.
    Waiting,
    /// The counterparty has taken it.
    Delivered,
    /// It is given up.
    Failed,
    /// The counterparty will never take it, or there is nobody to tell.
    Refused,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Sending,
        Self::Waiting,
        Self::Delivered,
        Self::Failed,
        Self::Refused,
    ];

    /// As tables and answers name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number.
    pub attempt: i32,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// HTTP status of a webhook's receiver.
    pub status: Option<i32>,
    /// Why it was not taken; `None` when it was.
    pub code: Option<String>,
}

/// What one person is told of one event by one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// Which.
    pub id: NotificationId,
    /// Who.
    pub user_id: UserId,
    /// What happened.
    pub kind: String,
    /// By which channel.
    pub channel: Channel,
    /// To which endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// The event that it tells of.
    pub source_event_id: EventId,
    /// In which language.
    pub language: String,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// When it happened.
    pub happened_at: DateTime<Utc>,
    /// How far it is.
    pub state: State,
    /// Attempts that have ended.
    pub attempts: Vec<Attempt>,
    /// Why it was not taken, or is given up.
    pub code: Option<String>,
    /// When the next attempt is due.
    pub next_at: Option<DateTime<Utc>>,
    /// When it was first requested.
    pub created_at: DateTime<Utc>,
    /// Time of the latest event.
    pub updated_at: DateTime<Utc>,
    /// Offset of the latest event.
    pub version: i64,
}

/// A column that holds JSON or a word.
fn parsed<T: serde::de::DeserializeOwned>(column: &str, value: Value) -> Result<T, sqlx::Error> {
    let shown = value.to_string();
    serde_json::from_value(value).map_err(|_| db::unreadable(column, &shown))
}

impl FromRow<'_, PgRow> for Notification {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let endpoint: Option<Uuid> = row.try_get("endpoint_id")?;
        Ok(Self {
            id: NotificationId::from_uuid(row.try_get("id")?),
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            kind: row.try_get("kind")?,
            channel: parsed("channel", Value::String(row.try_get("channel")?))?,
            endpoint_id: endpoint.map(EndpointId::from_uuid),
            source_event_id: EventId::from_uuid(row.try_get("source_event_id")?),
            language: row.try_get("language")?,
            figures: parsed("figures", row.try_get("figures")?)?,
            happened_at: row.try_get("happened_at")?,
            state: parsed("state", Value::String(row.try_get("state")?))?,
            attempts: parsed("attempts", row.try_get("attempts")?)?,
            code: row.try_get("code")?,
            next_at: row.try_get("next_at")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// What a person wants to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preferences {
    /// Who.
    pub user_id: UserId,
    /// Language of their texts.
    pub language: String,
    /// Where they want something else than is usual.
    pub choices: Vec<Choice>,
    /// When they last chose.
    pub updated_at: DateTime<Utc>,
    /// Offset of that.
    pub version: i64,
}

impl FromRow<'_, PgRow> for Preferences {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            language: row.try_get("language")?,
            choices: parsed("choices", row.try_get("choices")?)?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// How a webhook endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointState {
    /// Which.
    pub id: EndpointId,
    /// Whose.
    pub user_id: UserId,
    /// `active`, `disabled` or `removed`.
    pub state: String,
    /// Why it is disabled: `failing` or `gone`.
    pub reason: Option<String>,
    /// Its first failure after its last success.
    pub failing_since: Option<DateTime<Utc>>,
    /// Time of the latest event that changed it.
    pub updated_at: DateTime<Utc>,
    /// Offset of that event.
    pub version: i64,
}

impl FromRow<'_, PgRow> for EndpointState {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: EndpointId::from_uuid(row.try_get("id")?),
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            state: row.try_get("state")?,
            reason: row.try_get("reason")?,
            failing_since: row.try_get("failing_since")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// A notification, or `None`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn get(pool: &PgPool, id: NotificationId) -> Result<Option<Notification>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM notifications WHERE id = $1")
        .bind(id.uuid())
        .fetch_optional(pool)
        .await
}

/// Notifications of a user, or everybody's, or of an endpoint, the latest first.
///
/// # Errors
/// When Postgres does not answer.
pub async fn list(
    pool: &PgPool,
    user: Option<UserId>,
    endpoint: Option<EndpointId>,
    after: Option<NotificationId>,
    limit: i64,
) -> Result<Vec<Notification>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM notifications
          WHERE ($1::uuid IS NULL OR user_id = $1)
            AND ($2::uuid IS NULL OR endpoint_id = $2)
            AND ($3::uuid IS NULL OR (created_at, id) < (SELECT created_at, id FROM notifications WHERE id = $3))
          ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(user.map(|id| id.uuid()))
    .bind(endpoint.map(|id| id.uuid()))
    .bind(after.map(|id| id.uuid()))
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// What a person chose, or `None` when they never did.
///
/// # Errors
/// When Postgres does not answer.
pub async fn preferences(pool: &PgPool, user: UserId) -> Result<Option<Preferences>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM notification_preferences WHERE user_id = $1")
        .bind(user.uuid())
        .fetch_optional(pool)
        .await
}

/// How these endpoints are; one that the log does not tell of yet is left out.
///
/// # Errors
/// When Postgres does not answer.
pub async fn endpoints(
    pool: &PgPool,
    ids: &[EndpointId],
) -> Result<Vec<EndpointState>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(EndpointId::uuid).collect();
    sqlx::query_as("SELECT * FROM webhook_endpoint_states WHERE id = ANY($1)")
        .bind(ids)
        .fetch_all(pool)
        .await
}

fn instant(time: Timestamp) -> DateTime<Utc> {
    time.to_datetime().unwrap_or_default()
}

/// The person that an event is about.
pub(crate) fn user_of(event: &NotificationEvent) -> Option<UserId> {
    Some(match event {
        NotificationEvent::NoticeRaised(e) => e.user_id,
        NotificationEvent::PreferencesSet(e) => e.user_id,
        NotificationEvent::PhoneVerified(e) => e.user_id,
        NotificationEvent::PhoneRemoved(e) => e.user_id,
        NotificationEvent::WebhookEndpointAdded(e) => e.user_id,
        NotificationEvent::WebhookEndpointRemoved(e) => e.user_id,
        NotificationEvent::WebhookEndpointEnabled(e) => e.user_id,
        NotificationEvent::WebhookEndpointDisabled(e) => e.user_id,
        NotificationEvent::ResendRequested(e) => e.user_id,
        NotificationEvent::NotificationRequested(e) => e.user_id,
        NotificationEvent::NotificationDelivered(e) => e.user_id,
        NotificationEvent::NotificationAttemptFailed(e) => e.user_id,
        NotificationEvent::NotificationRefused(e) => e.user_id,
        NotificationEvent::NotificationFailed(e) => e.user_id,
        NotificationEvent::TimerFired(e) => e.user_id,
        NotificationEvent::OperatorAdded(_)
        | NotificationEvent::OperatorRemoved(_)
        | NotificationEvent::OperatorsNoticeRaised(_)
        | NotificationEvent::DeadLetterReleased(_) => return None,
    })
}

/// The notification that an event is about.
fn notification_of(event: &NotificationEvent) -> Option<NotificationId> {
    match event {
        NotificationEvent::NotificationRequested(e) => Some(e.notification_id),
        NotificationEvent::NotificationDelivered(e) => Some(e.notification_id),
        NotificationEvent::NotificationAttemptFailed(e) => Some(e.notification_id),
        NotificationEvent::NotificationRefused(e) => Some(e.notification_id),
        NotificationEvent::NotificationFailed(e) => Some(e.notification_id),
        _ => None,
    }
}

/// The row after an event; one whose request is not in the log has none.
fn fold(
    row: Option<Notification>,
    event: &NotificationEvent,
    time: Timestamp,
    version: i64,
) -> Option<Notification> {
    let mut row = match (row, event) {
        (Some(row), _) => row,
        (None, NotificationEvent::NotificationRequested(e)) => Notification {
            id: e.notification_id,
            user_id: e.user_id,
            kind: e.kind.clone(),
            channel: e.channel,
            endpoint_id: e.endpoint_id,
            source_event_id: e.source_event_id,
            language: e.language.clone(),
            figures: e.figures.clone(),
            happened_at: instant(e.happened_at),
            state: State::Sending,
            attempts: Vec::new(),
            code: None,
            next_at: None,
            created_at: instant(time),
            updated_at: instant(time),
            version,
        },
        (None, _) => return None,
    };
    let mut ended = |attempt, at, status, code: Option<&String>| {
        row.attempts.push(Attempt {
            attempt,
            at: instant(at),
            status,
            code: code.cloned(),
        });
    };
    match event {
        NotificationEvent::NotificationRequested(_) => {
            row.state = State::Sending;
            row.next_at = None;
        }
        NotificationEvent::NotificationDelivered(e) => {
            ended(e.attempt, e.delivered_at, e.status, None);
            row.state = State::Delivered;
            row.code = None;
            row.next_at = None;
        }
        NotificationEvent::NotificationAttemptFailed(e) => {
            ended(e.attempt, e.failed_at, e.status, Some(&e.code));
            row.state = if e.next_at.is_some() {
                State::Waiting
            } else {
                State::Failed
            };
            row.code = Some(e.code.clone());
            row.next_at = e.next_at.map(instant);
        }
        NotificationEvent::NotificationRefused(e) => {
            ended(e.attempt, e.refused_at, None, Some(&e.code));
            row.state = State::Refused;
            row.code = Some(e.code.clone());
            row.next_at = None;
        }
        NotificationEvent::NotificationFailed(e) => {
            row.state = State::Failed;
            row.code = Some(e.reason.clone());
            row.next_at = None;
        }
        _ => {}
    }
    row.updated_at = instant(time);
    row.version = version;
    Some(row)
}

/// How an endpoint is after an event; `None` when it is about none.
fn endpoint(event: &NotificationEvent, time: Timestamp, version: i64) -> Option<EndpointState> {
    let row = |id, user_id, state: &str, reason: Option<&String>, since| EndpointState {
        id,
        user_id,
        state: state.to_owned(),
        reason: reason.cloned(),
        failing_since: since,
        updated_at: instant(time),
        version,
    };
    Some(match event {
        NotificationEvent::WebhookEndpointAdded(e) => {
            row(e.endpoint_id, e.user_id, "active", None, None)
        }
        NotificationEvent::WebhookEndpointEnabled(e) => {
            row(e.endpoint_id, e.user_id, "active", None, None)
        }
        NotificationEvent::WebhookEndpointRemoved(e) => {
            row(e.endpoint_id, e.user_id, "removed", None, None)
        }
        NotificationEvent::WebhookEndpointDisabled(e) => {
            let since = Some(instant(e.failing_since));
            let (id, user) = (e.endpoint_id, e.user_id);
            row(id, user, "disabled", Some(&e.reason), since)
        }
        _ => return None,
    })
}

/// Folds the fresh entries; gives the ids of what changed: notifications, endpoints and people.
pub(crate) async fn apply(
    tx: &mut PgConnection,
    fresh: &[&Entry],
) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let entries: Vec<(&Entry, &NotificationEvent)> = fresh
        .iter()
        .filter_map(|entry| {
            let AnyEvent::Notification(event) = &entry.event else {
                return None;
            };
            Some((*entry, &**event))
        })
        .collect();
    let mut changed = BTreeSet::new();
    if entries.is_empty() {
        return Ok(changed);
    }
    let mut chosen: BTreeMap<Uuid, Preferences> = BTreeMap::new();
    let mut endpoints: BTreeMap<Uuid, EndpointState> = BTreeMap::new();
    for (entry, event) in &entries {
        let (time, version) = (entry.envelope.time, entry.place.offset);
        if let NotificationEvent::PreferencesSet(e) = event {
            let row = Preferences {
                user_id: e.user_id,
                language: e.language.clone(),
                choices: e.choices.clone(),
                updated_at: instant(e.set_at),
                version,
            };
            chosen.insert(e.user_id.uuid(), row);
        }
        if let Some(row) = endpoint(event, time, version) {
            endpoints.insert(row.id.uuid(), row);
        }
    }
    let ids: BTreeSet<Uuid> = entries
        .iter()
        .filter_map(|(_, event)| notification_of(event).map(|id| id.uuid()))
        .collect();
    let mut rows: BTreeMap<Uuid, Notification> =
        sqlx::query_as::<_, Notification>("SELECT * FROM notifications WHERE id = ANY($1)")
            .bind(ids.into_iter().collect::<Vec<_>>())
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .map(|row| (row.id.uuid(), row))
            .collect();
    for (entry, event) in &entries {
        let Some(id) = notification_of(event) else {
            continue;
        };
        let (time, version) = (entry.envelope.time, entry.place.offset);
        if let Some(row) = fold(rows.remove(&id.uuid()), event, time, version) {
            rows.insert(id.uuid(), row);
        }
    }
    changed.extend(rows.keys().chain(chosen.keys()).chain(endpoints.keys()));
    write(
        tx,
        rows.into_values(),
        chosen.into_values(),
        endpoints.into_values(),
    )
    .await?;
    Ok(changed)
}

async fn write(
    tx: &mut PgConnection,
    rows: impl Iterator<Item = Notification>,
    chosen: impl Iterator<Item = Preferences>,
    endpoints: impl Iterator<Item = EndpointState>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO notifications SELECT * FROM jsonb_populate_recordset(NULL::notifications, $1)
         ON CONFLICT (id) DO UPDATE SET (state, attempts, code, next_at, updated_at, version) =
            (EXCLUDED.state, EXCLUDED.attempts, EXCLUDED.code, EXCLUDED.next_at,
             EXCLUDED.updated_at, EXCLUDED.version)",
    )
    .bind(db::rows(&rows.collect::<Vec<_>>())?)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO notification_preferences
         SELECT * FROM jsonb_populate_recordset(NULL::notification_preferences, $1)
         ON CONFLICT (user_id) DO UPDATE SET (language, choices, updated_at, version) =
            (EXCLUDED.language, EXCLUDED.choices, EXCLUDED.updated_at, EXCLUDED.version)",
    )
    .bind(db::rows(&chosen.collect::<Vec<_>>())?)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO webhook_endpoint_states
         SELECT * FROM jsonb_populate_recordset(NULL::webhook_endpoint_states, $1)
         ON CONFLICT (id) DO UPDATE SET (state, reason, failing_since, updated_at, version) =
            (EXCLUDED.state, EXCLUDED.reason, EXCLUDED.failing_since, EXCLUDED.updated_at,
             EXCLUDED.version)",
    )
    .bind(db::rows(&endpoints.collect::<Vec<_>>())?)
    .execute(tx)
    .await
    .map(|_| ())
}
