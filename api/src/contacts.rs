//! Where people are told, for those who tell them: rows that no event has.

use chrono::{DateTime, Utc};
use events::ids::{EndpointId, UserId};
use events::time::Timestamp;
use sqlx::{PgPool, Row};

/// A webhook endpoint, for whoever sends to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointAddress {
    /// Where to.
    pub url: String,
    /// Generations of its secret that sign now, the newest first.
    pub generations: Vec<i32>,
}

/// The verified address of mail of a user.
///
/// # Errors
/// When Postgres does not answer.
pub async fn email(pool: &PgPool, user: UserId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT email FROM accounts WHERE user_id = $1 AND verified_at IS NOT NULL")
        .bind(user.uuid())
        .fetch_optional(pool)
        .await
}

/// The verified phone number of a user.
///
/// # Errors
/// When Postgres does not answer.
pub async fn phone(pool: &PgPool, user: UserId) -> Result<Option<String>, sqlx::Error> {
    let number = "SELECT number FROM phones WHERE user_id = $1 AND number IS NOT NULL";
    sqlx::query_scalar(number)
        .bind(user.uuid())
        .fetch_optional(pool)
        .await
}

/// An endpoint that was not removed.
///
/// # Errors
/// When Postgres does not answer.
pub async fn endpoint(
    pool: &PgPool,
    id: EndpointId,
    now: Timestamp,
) -> Result<Option<EndpointAddress>, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM webhook_endpoints WHERE id = $1 AND removed_at IS NULL")
        .bind(id.uuid())
        .fetch_optional(pool)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let generation: i32 = row.try_get("generation")?;
    let until: Option<DateTime<Utc>> = row.try_get("previous_until")?;
    let now = now.to_datetime().unwrap_or_default();
    let mut generations = vec![generation];
    if until.is_some_and(|until| until > now) {
        generations.push(generation - 1);
    }
    Ok(Some(EndpointAddress {
        url: row.try_get("url")?,
        generations,
    }))
}
