//! How far the projections have folded each partition, and who may move it.

use crate::batch::{Moves, Writer};
use sqlx::{PgConnection, PgPool, Row};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// The one projection process folds all read models under this name.
pub const READ_MODELS: &str = "read-models";

/// A place in the log, as the token `topic:partition:offset`. Whoever appended a command there can
/// have a query wait until the read models have passed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset of the record.
    pub offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

/// A text that is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected topic:partition:offset, such as purchases:3:1024")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let mut parts = text.rsplitn(3, ':');
        let mut next = || parts.next().ok_or(InvalidPosition);
        let (offset, partition, topic) = (next()?, next()?, next()?);
        let position = Self {
            topic: topic.to_owned(),
            partition: partition.parse().map_err(|_| InvalidPosition)?,
            offset: offset.parse().map_err(|_| InvalidPosition)?,
        };
        if position.topic.is_empty() || position.partition < 0 || position.offset < 0 {
            return Err(InvalidPosition);
        }
        Ok(position)
    }
}

/// Whether the read models hold everything up to and including the record at `position`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn passed(pool: &PgPool, position: &Position) -> Result<bool, sqlx::Error> {
    let row = sqlx::query(
        "SELECT next_offset FROM projection_offsets
          WHERE projection = $1 AND topic = $2 AND partition = $3",
    )
    .bind(READ_MODELS)
    .bind(&position.topic)
    .bind(position.partition)
    .fetch_optional(pool)
    .await?;
    match row {
        Some(row) => Ok(row.try_get::<i64, _>("next_offset")? > position.offset),
        None => Ok(false),
    }
}

/// What a process owns after it took the projection over.
#[derive(Debug)]
pub(crate) struct Taken {
    pub epoch: i64,
    pub next: HashMap<(&'static str, i32), i64>,
}

/// Takes the projection over: raises its epoch, so that whoever wrote before is turned away, and
/// reads from where to go on (0 the first time).
pub(crate) async fn take_over(
    pool: &PgPool,
    projection: &str,
    partitions: &[(&'static str, i32)],
) -> Result<Taken, sqlx::Error> {
    let topics: Vec<&str> = partitions.iter().map(|(t, _)| *t).collect();
    let numbers: Vec<i32> = partitions.iter().map(|(_, p)| *p).collect();
    let mut tx = pool.begin().await?;
    // Two that start at once take their turns here, not row by row.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("projections.{projection}"))
        .execute(&mut *tx)
        .await?;
    let epoch: i64 = sqlx::query(
        "SELECT coalesce(max(epoch), 0) + 1 AS epoch FROM projection_offsets WHERE projection = $1",
    )
    .bind(projection)
    .fetch_one(&mut *tx)
    .await?
    .try_get("epoch")?;
    let rows = sqlx::query(
        "INSERT INTO projection_offsets (projection, topic, partition, next_offset, epoch)
         SELECT $1, u.topic, u.partition, 0, $4
           FROM unnest($2::text[], $3::int[]) AS u(topic, partition)
         ON CONFLICT (projection, topic, partition)
         DO UPDATE SET epoch = EXCLUDED.epoch, updated_at = now()
         RETURNING topic, partition, next_offset",
    )
    .bind(projection)
    .bind(&topics)
    .bind(&numbers)
    .bind(epoch)
    .fetch_all(&mut *tx)
    .await?;
    let mut next = HashMap::new();
    for row in rows {
        let topic: String = row.try_get("topic")?;
        let partition: i32 = row.try_get("partition")?;
        if let Some(key) = partitions
            .iter()
            .find(|(t, p)| *t == topic && *p == partition)
        {
            next.insert(*key, row.try_get("next_offset")?);
        }
    }
    tx.commit().await?;
    Ok(Taken { epoch, next })
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    Moved,
    AlreadyThere,
    Fenced,
}

/// Moves the offsets by compare-and-set: only from where this writer believes they are, and only
/// under its own epoch.
pub(crate) async fn advance(
    tx: &mut PgConnection,
    writer: &Writer,
    moves: &Moves,
) -> Result<Advance, sqlx::Error> {
    let topics: Vec<&str> = moves.keys().map(|(t, _)| *t).collect();
    let partitions: Vec<i32> = moves.keys().map(|(_, p)| *p).collect();
    let from: Vec<i64> = moves.values().map(|(from, _)| *from).collect();
    let to: Vec<i64> = moves.values().map(|(_, to)| *to).collect();
    let moved = sqlx::query(
        "UPDATE projection_offsets o SET next_offset = u.next, updated_at = now()
           FROM unnest($3::text[], $4::int[], $5::bigint[], $6::bigint[])
                AS u(topic, partition, prior, next)
          WHERE o.projection = $1 AND o.epoch = $2 AND o.topic = u.topic
            AND o.partition = u.partition AND o.next_offset = u.prior",
    )
    .bind(&writer.projection)
    .bind(writer.epoch)
    .bind(&topics)
    .bind(&partitions)
    .bind(&from)
    .bind(&to)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if usize::try_from(moved).is_ok_and(|n| n == moves.len()) {
        return Ok(Advance::Moved);
    }
    let there: i64 = sqlx::query(
        "SELECT count(*) AS there FROM projection_offsets o
           JOIN unnest($3::text[], $4::int[], $5::bigint[]) AS u(topic, partition, next)
             ON o.topic = u.topic AND o.partition = u.partition AND o.next_offset = u.next
          WHERE o.projection = $1 AND o.epoch = $2",
    )
    .bind(&writer.projection)
    .bind(writer.epoch)
    .bind(&topics)
    .bind(&partitions)
    .bind(&to)
    .fetch_one(&mut *tx)
    .await?
    .try_get("there")?;
    if moved == 0 && usize::try_from(there).is_ok_and(|n| n == moves.len()) {
        Ok(Advance::AlreadyThere)
    } else {
        Ok(Advance::Fenced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_goes_through_text() {
        let position: Result<Position, _> = "purchases:3:1024".parse();
        assert_eq!(
            position.as_ref().map(ToString::to_string),
            Ok("purchases:3:1024".to_owned())
        );
        for text in [
            "",
            "a",
            "a:1",
            ":1:2",
            "a:-1:2",
            "a:1:-2",
            "a:b:c",
            "a:1:9999999999999999999",
        ] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }
}
