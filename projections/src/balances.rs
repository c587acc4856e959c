//! Read model `balances`: what users' accounts on TFChain held, and how long that pays for their
//! contracts. From topic `deployments`.

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::deployments::DeploymentEvent;
use events::ids::UserId;
use events::money::{Amount, Tft};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::collections::BTreeMap;

/// The balance of a user's account. Amounts serialise as integers of 10^-7 units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Whose account.
    pub user_id: UserId,
    /// What was free.
    pub balance: Amount<Tft>,
    /// What the contracts cost in a day, at what they were billed lately.
    pub spent_per_day: Amount<Tft>,
    /// How long the balance pays for that; `None` when they cost nothing.
    pub lasts_seconds: Option<i64>,
    /// Whether it lasts for less than it should.
    pub low: bool,
    /// When it was read.
    pub observed_at: DateTime<Utc>,
    /// Offset of the latest event.
    pub version: i64,
}

impl FromRow<'_, PgRow> for Balance {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let amount = |column: &str| {
            let minor: i64 = row.try_get(column)?;
            Amount::from_minor(minor).map_err(|_| db::unreadable(column, &minor.to_string()))
        };
        Ok(Self {
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            balance: amount("balance")?,
            spent_per_day: amount("spent_per_day")?,
            lasts_seconds: row.try_get("lasts_seconds")?,
            low: row.try_get("low")?,
            observed_at: row.try_get("observed_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// The balance of a user's account; `None` before it was read once.
///
/// # Errors
/// When Postgres does not answer.
pub async fn get(pool: &PgPool, user: UserId) -> Result<Option<Balance>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM balances WHERE user_id = $1")
        .bind(user.uuid())
        .fetch_optional(pool)
        .await
}

/// Takes the latest of the fresh entries for each user.
pub(crate) async fn apply(tx: &mut PgConnection, fresh: &[&Entry]) -> Result<(), sqlx::Error> {
    let mut latest: BTreeMap<UserId, Balance> = BTreeMap::new();
    for entry in fresh {
        let AnyEvent::Deployment(event) = &entry.event else {
            continue;
        };
        let DeploymentEvent::UserBalanceAssessed(e) = event.as_ref() else {
            continue;
        };
        let balance = Balance {
            user_id: e.user_id,
            balance: e.balance,
            spent_per_day: e.spent_per_day,
            lasts_seconds: e.lasts_seconds,
            low: e.low,
            observed_at: e.observed_at.to_datetime().unwrap_or_default(),
            version: entry.place.offset,
        };
        latest.insert(e.user_id, balance);
    }
    if latest.is_empty() {
        return Ok(());
    }
    let rows: Vec<Balance> = latest.into_values().collect();
    sqlx::query(
        "INSERT INTO balances SELECT * FROM jsonb_populate_recordset(NULL::balances, $1)
         ON CONFLICT (user_id) DO UPDATE SET
            (balance, spent_per_day, lasts_seconds, low, observed_at, version) =
            (EXCLUDED.balance, EXCLUDED.spent_per_day, EXCLUDED.lasts_seconds, EXCLUDED.low,
             EXCLUDED.observed_at, EXCLUDED.version)",
    )
    .bind(db::rows(&rows)?)
    .execute(tx)
    .await
    .map(|_| ())
}
