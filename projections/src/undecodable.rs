//! Records that are no event of their topic: kept to be looked at, skipped by every read model.

use crate::batch::Place;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, Row};

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// What is wrong with it, for people.
    pub reason: String,
    /// When it was met.
    pub seen_at: DateTime<Utc>,
}

/// The records that could not be read, the latest first, at most `limit`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn list(pool: &PgPool, limit: i64) -> Result<Vec<Undecodable>, sqlx::Error> {
    sqlx::query(
        r#"SELECT topic, partition, "offset", reason, seen_at FROM undecodable
            ORDER BY seen_at DESC, topic, partition, "offset" DESC LIMIT $1"#,
    )
    .bind(limit)
    .fetch_all(pool)
    .await?
    .iter()
    .map(|row| {
        Ok(Undecodable {
            topic: row.try_get("topic")?,
            partition: row.try_get("partition")?,
            offset: row.try_get("offset")?,
            reason: row.try_get("reason")?,
            seen_at: row.try_get("seen_at")?,
        })
    })
    .collect()
}

pub(crate) async fn insert(
    tx: &mut PgConnection,
    records: &[(Place, &str)],
) -> Result<(), sqlx::Error> {
    if records.is_empty() {
        return Ok(());
    }
    let topics: Vec<&str> = records.iter().map(|(p, _)| p.topic).collect();
    let partitions: Vec<i32> = records.iter().map(|(p, _)| p.partition).collect();
    let offsets: Vec<i64> = records.iter().map(|(p, _)| p.offset).collect();
    let reasons: Vec<String> = records
        .iter()
        .map(|(_, reason)| reason.replace('\0', "\u{fffd}"))
        .collect();
    sqlx::query(
        r#"INSERT INTO undecodable (topic, partition, "offset", reason)
           SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[])
           ON CONFLICT DO NOTHING"#,
    )
    .bind(&topics)
    .bind(&partitions)
    .bind(&offsets)
    .bind(&reasons)
    .execute(tx)
    .await?;
    Ok(())
}
