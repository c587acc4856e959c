//! Read models `treasury_crossings` and `lanes`: which of our accounts hold less than they should,
//! and which accounts are payment lanes. From topics `treasury`, `purchases` and `deposits`.

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::lanes::LanesOpened;
use events::money::{Amount, Usdc};
use events::schema::EventSet;
use events::time::Timestamp;
use events::treasury::TreasuryEvent;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::collections::BTreeMap;

/// The last crossing of a holding's threshold. Amounts serialise as integers of 10^-7 units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Crossing {
    /// What is held and where, such as `treasury/USDC`.
    pub holding: String,
    /// The account.
    pub account: String,
    /// The asset.
    pub asset: String,
    /// Whether it fell below its threshold; else it is enough again.
    pub low: bool,
    /// What it held then.
    pub balance: i64,
    /// The threshold.
    pub threshold: i64,
    /// How often it was crossed so far.
    pub crossing: i64,
    /// When it was read.
    pub observed_at: DateTime<Utc>,
    /// Offset of the event.
    pub version: i64,
}

impl FromRow<'_, PgRow> for Crossing {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            holding: row.try_get("holding")?,
            account: row.try_get("account")?,
            asset: row.try_get("asset")?,
            low: row.try_get("low")?,
            balance: row.try_get("balance")?,
            threshold: row.try_get("threshold")?,
            crossing: row.try_get("crossing")?,
            observed_at: row.try_get("observed_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// A payment lane that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// Its account, `G…`.
    pub account: String,
    /// The hand that owns it.
    pub executor: String,
    /// Topic of the partition that it belongs to.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Epoch of its opening.
    pub epoch: i32,
    /// When its first opening was verified.
    pub opened_at: DateTime<Utc>,
    /// Offset of that opening.
    pub version: i64,
}

impl FromRow<'_, PgRow> for Lane {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            account: row.try_get("account")?,
            executor: row.try_get("executor")?,
            topic: row.try_get("topic")?,
            partition: row.try_get("partition")?,
            epoch: row.try_get("epoch")?,
            opened_at: row.try_get("opened_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// The last crossing of each holding that ever crossed its threshold.
///
/// # Errors
/// When Postgres does not answer.
pub async fn crossings(pool: &PgPool) -> Result<Vec<Crossing>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM treasury_crossings ORDER BY holding")
        .fetch_all(pool)
        .await
}

/// Every lane, those of earlier epochs included.
///
/// # Errors
/// When Postgres does not answer.
pub async fn lanes(pool: &PgPool) -> Result<Vec<Lane>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM lanes ORDER BY executor, topic, partition, epoch, account")
        .fetch_all(pool)
        .await
}

/// What purchases have spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// By swaps.
    pub usdc: Amount<Usdc>,
    /// Network fees of those that are accounted, in stroops.
    pub fee_stroops: i64,
}

/// What purchases that were made at `since` or later have spent.
///
/// # Errors
/// When Postgres does not answer.
pub async fn spent(pool: &PgPool, since: Timestamp) -> Result<Spent, sqlx::Error> {
    let row = sqlx::query(
        "SELECT coalesce(sum(usdc_spent), 0)::bigint AS usdc,
                coalesce(sum(fee_stroops), 0)::bigint AS fees
           FROM purchases WHERE created_at >= $1",
    )
    .bind(since.to_datetime().unwrap_or_default())
    .fetch_one(pool)
    .await?;
    let usdc: i64 = row.try_get("usdc")?;
    Ok(Spent {
        usdc: Amount::from_minor(usdc).map_err(|_| db::unreadable("usdc", &usdc.to_string()))?,
        fee_stroops: row.try_get("fees")?,
    })
}

fn crossing(event: &TreasuryEvent, version: i64) -> Option<Crossing> {
    let time = |at: Timestamp| at.to_datetime().unwrap_or_default();
    match event {
        TreasuryEvent::TreasuryBalanceLow(e) => Some(Crossing {
            holding: e.holding.clone(),
            account: e.account.clone(),
            asset: e.asset.clone(),
            low: true,
            balance: e.balance,
            threshold: e.threshold,
            crossing: i64::from(e.crossing),
            observed_at: time(e.observed_at),
            version,
        }),
        TreasuryEvent::TreasuryBalanceRestored(e) => Some(Crossing {
            holding: e.holding.clone(),
            account: e.account.clone(),
            asset: e.asset.clone(),
            low: false,
            balance: e.balance,
            threshold: e.threshold,
            crossing: i64::from(e.crossing),
            observed_at: time(e.observed_at),
            version,
        }),
        TreasuryEvent::DeadLetterReleased(_) => None,
    }
}

fn opening(event: &AnyEvent) -> Option<&LanesOpened> {
    match event {
        AnyEvent::Purchase(event) => event.opening(),
        AnyEvent::Deposit(event) => event.opening(),
        AnyEvent::Deployment(_)
        | AnyEvent::User(_)
        | AnyEvent::Treasury(_)
        | AnyEvent::Notification(_)
        | AnyEvent::Application(_)
        | AnyEvent::Approval(_) => None,
    }
}

/// Folds the fresh entries.
pub(crate) async fn apply(tx: &mut PgConnection, fresh: &[&Entry]) -> Result<(), sqlx::Error> {
    let mut crossed: BTreeMap<String, Crossing> = BTreeMap::new();
    let mut opened: BTreeMap<String, Lane> = BTreeMap::new();
    for entry in fresh {
        let version = entry.place.offset;
        if let AnyEvent::Treasury(event) = &entry.event
            && let Some(crossing) = crossing(event, version)
        {
            crossed.insert(crossing.holding.clone(), crossing);
        }
        let Some(opening) = opening(&entry.event) else {
            continue;
        };
        for account in &opening.accounts {
            // A later opening of the same epoch names the same lanes again.
            opened.entry(account.clone()).or_insert_with(|| Lane {
                account: account.clone(),
                executor: opening.executor.clone(),
                topic: entry.place.topic.to_owned(),
                partition: entry.place.partition,
                epoch: opening.epoch,
                opened_at: opening.opened_at.to_datetime().unwrap_or_default(),
                version,
            });
        }
    }
    if !crossed.is_empty() {
        let rows: Vec<Crossing> = crossed.into_values().collect();
        sqlx::query(
            "INSERT INTO treasury_crossings
             SELECT * FROM jsonb_populate_recordset(NULL::treasury_crossings, $1)
             ON CONFLICT (holding) DO UPDATE SET
                (account, asset, low, balance, threshold, crossing, observed_at, version) =
                (EXCLUDED.account, EXCLUDED.asset, EXCLUDED.low, EXCLUDED.balance,
                 EXCLUDED.threshold, EXCLUDED.crossing, EXCLUDED.observed_at, EXCLUDED.version)",
        )
        .bind(db::rows(&rows)?)
        .execute(&mut *tx)
        .await?;
    }
    if !opened.is_empty() {
        let rows: Vec<Lane> = opened.into_values().collect();
        sqlx::query(
            "INSERT INTO lanes SELECT * FROM jsonb_populate_recordset(NULL::lanes, $1)
             ON CONFLICT (account) DO NOTHING",
        )
        .bind(db::rows(&rows)?)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
