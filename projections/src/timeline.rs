//! Read model `timeline`: every event, where it stands and what caused it. From all topics.
//!
//! It is also what tells a fact from its echo: the first record of an event id in a partition is
//! written here, a later one is not, and only what was written is folded any further.

use crate::batch::{AnyEvent, Entry, Place};
use crate::{db, facts, notifications, progress, purchases};
use chrono::{DateTime, Utc};
use events::ids::{EventId, PurchaseId, UserId};
use events::schema::{EventSet, full_name};
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

/// One event of a purchase's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Identity of the event.
    pub event_id: EventId,
    /// Full record name, such as `gridway.purchases.SwapCompleted`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it was appended.
    pub time: DateTime<Utc>,
    /// Who appended it.
    pub source: String,
    /// The event that caused it.
    pub causation: Option<EventId>,
    /// Amounts, hashes and ids, for people.
    pub facts: Value,
}

impl FromRow<'_, PgRow> for Moment {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            topic: row.try_get("topic")?,
            partition: row.try_get("partition")?,
            offset: row.try_get("offset")?,
            event_id: EventId::from_uuid(row.try_get("event_id")?),
            event_type: row.try_get("type")?,
            time: row.try_get("time")?,
            source: row.try_get("source")?,
            causation: row
                .try_get::<Option<Uuid>, _>("causation")?
                .map(EventId::from_uuid),
            facts: row.try_get("facts")?,
        })
    }
}

/// Every event of a purchase, also those of the deployments that wait for it, in the order in
/// which they happened: by time, but never against the order of a partition.
///
/// # Errors
/// When Postgres does not answer.
pub async fn of(pool: &PgPool, purchase: PurchaseId) -> Result<Vec<Moment>, sqlx::Error> {
    about(pool, purchase.uuid()).await
}

/// Every event that belongs to an aggregate, in the order in which they happened.
///
/// # Errors
/// When Postgres does not answer.
pub async fn about(pool: &PgPool, aggregate: Uuid) -> Result<Vec<Moment>, sqlx::Error> {
    // Clocks of two machines differ; within a partition the offset says what came first. What
    // falls on the same millisecond flows from users over purchases to deployments.
    sqlx::query_as(
        r#"SELECT * FROM (
               SELECT *, max("time") OVER (PARTITION BY topic, partition ORDER BY "offset") AS seen
                 FROM timeline WHERE correlation = $1) AS t
            ORDER BY seen, topic DESC, partition, "offset""#,
    )
    .bind(aggregate)
    .fetch_all(pool)
    .await
}

/// Whether this event of what belongs to an aggregate is folded.
///
/// # Errors
/// When Postgres does not answer.
pub async fn holds(pool: &PgPool, aggregate: Uuid, event: EventId) -> Result<bool, sqlx::Error> {
    sqlx::query("SELECT 1 FROM timeline WHERE correlation = $1 AND event_id = $2 LIMIT 1")
        .bind(aggregate)
        .bind(event.uuid())
        .fetch_optional(pool)
        .await
        .map(|row| row.is_some())
}

/// How far somebody has read: the offset of the last event of each partition, -1 before the first.
pub type Places = BTreeMap<(String, i32), i64>;

/// Where the read models stand: the end of every partition that they have folded.
///
/// # Errors
/// When Postgres does not answer.
pub async fn ends(pool: &PgPool) -> Result<Places, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT topic, partition, next_offset FROM projection_offsets WHERE projection = $1",
    )
    .bind(progress::READ_MODELS)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let next: i64 = row.try_get("next_offset")?;
            Ok(((row.try_get("topic")?, row.try_get("partition")?), next - 1))
        })
        .collect()
}

/// The next events after `places`, at most `limit`, in an order that never goes against that of a
/// partition: all, or those of a user. When these were all, also how far the reading went.
///
/// # Errors
/// When Postgres does not answer.
pub async fn after(
    pool: &PgPool,
    places: &Places,
    user: Option<UserId>,
    limit: i64,
) -> Result<(Vec<Moment>, Option<Places>), sqlx::Error> {
    // Read first: what is written between the two statements is left for the next time.
    let ends = ends(pool).await?;
    let mut topics = Vec::new();
    let mut partitions = Vec::new();
    let mut offsets = Vec::new();
    for ((topic, partition), end) in &ends {
        let at = places
            .get(&(topic.clone(), *partition))
            .copied()
            .unwrap_or(-1);
        if at < *end {
            topics.push(topic.as_str());
            partitions.push(*partition);
            offsets.push(at);
        }
    }
    if topics.is_empty() {
        return Ok((Vec::new(), None));
    }
    let moments: Vec<Moment> = sqlx::query_as(
        r#"SELECT * FROM (
               SELECT t.*, max(t."time") OVER (PARTITION BY t.topic, t.partition ORDER BY t."offset") AS seen
                 FROM timeline t
                 JOIN unnest($1::text[], $2::int[], $3::bigint[]) AS c(topic, partition, place)
                   ON t.topic = c.topic AND t.partition = c.partition AND t."offset" > c.place
                WHERE $4::uuid IS NULL OR t.correlation = $4
                   OR EXISTS (SELECT 1 FROM purchases p WHERE p.id = t.correlation AND p.user_id = $4)
                   OR EXISTS (SELECT 1 FROM deployments d WHERE d.id = t.correlation AND d.user_id = $4)
                   OR EXISTS (SELECT 1 FROM node_applications a WHERE a.id = t.correlation AND a.applicant_id = $4)
                   OR EXISTS (SELECT 1 FROM deployments d WHERE d.batch_id = t.correlation AND d.user_id = $4)
             ) AS t
            ORDER BY seen, topic DESC, partition, "offset" LIMIT $5"#,
    )
    .bind(&topics)
    .bind(&partitions)
    .bind(&offsets)
    .bind(user.map(|user| user.uuid()))
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let all = i64::try_from(moments.len()).is_ok_and(|n| n < limit);
    Ok((moments, all.then_some(ends)))
}

#[derive(Serialize)]
struct NewRow<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    event_id: EventId,
    #[serde(rename = "type")]
    event_type: String,
    time: DateTime<Utc>,
    source: &'a str,
    causation: Option<EventId>,
    correlation: Option<Uuid>,
    facts: Value,
}

fn row(entry: &Entry) -> NewRow<'_> {
    let name = match &entry.event {
        AnyEvent::Purchase(event) => event.name(),
        AnyEvent::Deployment(event) => event.name(),
        AnyEvent::User(event) => event.name(),
        AnyEvent::Deposit(event) => event.name(),
        AnyEvent::Treasury(event) => event.name(),
        AnyEvent::Notification(event) => event.name(),
        AnyEvent::Application(event) => event.name(),
        AnyEvent::Approval(event) => event.name(),
    };
    // An event of a purchase belongs to it, whatever its header says; one that tells somebody of
    // something to whoever is told, not to what it tells of.
    let own = match &entry.event {
        AnyEvent::Purchase(event) => purchases::purchase_of(event).map(|id| Some(id.uuid())),
        AnyEvent::Notification(event) => Some(notifications::user_of(event).map(|id| id.uuid())),
        AnyEvent::Deployment(_)
        | AnyEvent::User(_)
        | AnyEvent::Deposit(_)
        | AnyEvent::Treasury(_)
        | AnyEvent::Application(_)
        | AnyEvent::Approval(_) => None,
    };
    let correlation = own.unwrap_or_else(|| {
        let header = entry.envelope.correlation.as_deref()?;
        Uuid::parse_str(header).ok()
    });
    NewRow {
        topic: entry.place.topic,
        partition: entry.place.partition,
        offset: entry.place.offset,
        event_id: entry.envelope.id,
        event_type: full_name(entry.place.topic, name),
        time: entry.envelope.time.to_datetime().unwrap_or_default(),
        source: &entry.envelope.source,
        causation: entry.envelope.causation,
        correlation,
        facts: facts::of(&entry.event),
    }
}

/// Writes the entries down and gives those that were not there before, in their order: the echoes
/// are left out, whether the fact stands in the table or earlier in the same batch.
pub(crate) async fn insert<'a>(
    tx: &mut PgConnection,
    entries: &[&'a Entry],
) -> Result<Vec<&'a Entry>, sqlx::Error> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut in_batch = HashSet::new();
    let first: Vec<&Entry> = entries
        .iter()
        .copied()
        .filter(|e| in_batch.insert((e.place.topic, e.place.partition, e.envelope.id)))
        .collect();
    let rows: Vec<NewRow<'_>> = first.iter().map(|entry| row(entry)).collect();
    let written: HashSet<(String, i32, i64)> = sqlx::query(
        r#"INSERT INTO timeline SELECT * FROM jsonb_populate_recordset(NULL::timeline, $1)
           ON CONFLICT DO NOTHING
           RETURNING topic, partition, "offset""#,
    )
    .bind(db::rows(&rows)?)
    .fetch_all(tx)
    .await?
    .iter()
    .map(|row| {
        Ok((
            row.try_get("topic")?,
            row.try_get("partition")?,
            row.try_get("offset")?,
        ))
    })
    .collect::<Result<_, sqlx::Error>>()?;
    let fresh =
        |place: Place| written.contains(&(place.topic.to_owned(), place.partition, place.offset));
    Ok(first.into_iter().filter(|e| fresh(e.place)).collect())
}
