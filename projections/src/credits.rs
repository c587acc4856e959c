//! Read model `credits`: the USDC credit of twins. From topic `deposits`.

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::deposits::{DepositEvent, credit_key};
use events::ids::{TwinId, UserId};
use events::money::{Amount, Usdc};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::collections::{BTreeMap, BTreeSet};

/// The credit of a twin. Amounts serialise as integers of 10^-7 units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Credit {
    /// The twin.
    pub twin_id: TwinId,
    /// Whose it is.
    pub user_id: Option<UserId>,
    /// All that was ever added.
    pub booked: Amount<Usdc>,
    /// All that paid for purchases.
    pub spent: Amount<Usdc>,
    /// Time of the latest event.
    pub updated_at: DateTime<Utc>,
    /// Offset of the latest event.
    pub version: i64,
}

impl Credit {
    /// What is left.
    #[must_use]
    pub fn balance(&self) -> Amount<Usdc> {
        self.booked.checked_sub(self.spent).unwrap_or(Amount::ZERO)
    }
}

impl FromRow<'_, PgRow> for Credit {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let amount = |column: &str| {
            let minor: i64 = row.try_get(column)?;
            Amount::from_minor(minor).map_err(|_| db::unreadable(column, &minor.to_string()))
        };
        Ok(Self {
            twin_id: TwinId(db::small("twin_id", row.try_get("twin_id")?)?),
            user_id: row
                .try_get::<Option<uuid::Uuid>, _>("user_id")?
                .map(UserId::from_uuid),
            booked: amount("booked")?,
            spent: amount("spent")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// The credit of a twin; `None` when nothing was ever said of it.
///
/// # Errors
/// When Postgres does not answer.
pub async fn get(pool: &PgPool, twin: TwinId) -> Result<Option<Credit>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM credits WHERE twin_id = $1")
        .bind(i64::from(twin.0))
        .fetch_optional(pool)
        .await
}

/// What happens to a credit.
enum Change {
    /// It is known whose it is.
    Owned(UserId),
    Booked(Amount<Usdc>),
    Refused(Amount<Usdc>),
    Spent(Amount<Usdc>),
}

/// The twin whose credit an event changes, and how; the aggregate's key says whether it is a
/// credit.
fn change_of(event: &DepositEvent) -> Option<(TwinId, Change)> {
    match event {
        DepositEvent::AccountOpened(e) => Some((e.twin_id, Change::Owned(e.user_id))),
        DepositEvent::FundsWanted(e) => Some((e.twin_id, Change::Owned(e.user_id))),
        DepositEvent::CreditBooked(e) => Some((e.twin_id, Change::Booked(e.amount))),
        DepositEvent::CreditRefused(e) => Some((e.twin_id, Change::Refused(e.amount))),
        DepositEvent::FundsGranted(e) => Some((e.twin_id, Change::Spent(e.amount))),
        DepositEvent::LanesOpened(_)
        | DepositEvent::PaymentReceived(_)
        | DepositEvent::PaymentUnreadable(_)
        | DepositEvent::ClaimableBalanceCreated(_)
        | DepositEvent::ClaimRequested(_)
        | DepositEvent::BalanceClaimed(_)
        | DepositEvent::ClaimFailed(_)
        | DepositEvent::BalanceLapsed(_)
        | DepositEvent::UsdcDeposited(_)
        | DepositEvent::DepositUnmatched(_)
        | DepositEvent::FundsExpired(_)
        | DepositEvent::DepositAssigned(_)
        | DepositEvent::DepositReturnOrdered(_)
        | DepositEvent::PartReturnWanted(_)
        | DepositEvent::DepositReturnRequested(_)
        | DepositEvent::DepositReturned(_)
        | DepositEvent::DepositReturnFailed(_)
        | DepositEvent::PartReturned(_)
        | DepositEvent::DepositAlarmed(_)
        | DepositEvent::TimerFired(_)
        | DepositEvent::DeadLetterReleased(_) => None,
    }
}

fn fold(credit: &mut Credit, change: Change) {
    let plus = |sum: Amount<Usdc>, more: Amount<Usdc>| sum.checked_add(more).unwrap_or(sum);
    match change {
        Change::Owned(user) => {
            credit.user_id.get_or_insert(user);
        }
        Change::Booked(amount) => credit.booked = plus(credit.booked, amount),
        Change::Refused(amount) => {
            credit.booked = credit.booked.checked_sub(amount).unwrap_or(credit.booked);
        }
        Change::Spent(amount) => credit.spent = plus(credit.spent, amount),
    }
}

/// Folds the fresh entries.
pub(crate) async fn apply(tx: &mut PgConnection, fresh: &[&Entry]) -> Result<(), sqlx::Error> {
    let entries: Vec<(&Entry, TwinId, Change)> = fresh
        .iter()
        .filter_map(|entry| {
            let AnyEvent::Deposit(event) = &entry.event else {
                return None;
            };
            // The same event may stand in the deposit's own aggregate, too.
            let (twin, change) = change_of(event)?;
            let own = entry.envelope.subject == credit_key(twin);
            own.then_some((*entry, twin, change))
        })
        .collect();
    if entries.is_empty() {
        return Ok(());
    }
    let twins: BTreeSet<i64> = entries
        .iter()
        .map(|(_, twin, _)| i64::from(twin.0))
        .collect();
    let mut rows: BTreeMap<TwinId, Credit> =
        sqlx::query_as::<_, Credit>("SELECT * FROM credits WHERE twin_id = ANY($1)")
            .bind(twins.into_iter().collect::<Vec<_>>())
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .map(|credit| (credit.twin_id, credit))
            .collect();
    for (entry, twin, change) in entries {
        let at = entry.envelope.time.to_datetime().unwrap_or_default();
        let credit = rows.entry(twin).or_insert_with(|| Credit {
            twin_id: twin,
            user_id: None,
            booked: Amount::ZERO,
            spent: Amount::ZERO,
            updated_at: at,
            version: entry.place.offset,
        });
        fold(credit, change);
        credit.updated_at = at;
        credit.version = entry.place.offset;
    }
    let changed: Vec<Credit> = rows.into_values().collect();
    sqlx::query(
        "INSERT INTO credits SELECT * FROM jsonb_populate_recordset(NULL::credits, $1)
         ON CONFLICT (twin_id) DO UPDATE SET
            (user_id, booked, spent, updated_at, version) =
            (EXCLUDED.user_id, EXCLUDED.booked, EXCLUDED.spent, EXCLUDED.updated_at,
             EXCLUDED.version)",
    )
    .bind(db::rows(&changed)?)
    .execute(tx)
    .await
    .map(|_| ())
}
