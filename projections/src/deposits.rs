//! Read model `deposits`: what was paid to our account on Stellar, and what became of it. From
//! topic `deposits`.

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::deposits::{ClaimableBalanceCreated, DepositEvent, PaymentReceived, PaymentUnreadable};
use events::ids::TwinId;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::collections::{BTreeMap, BTreeSet};

/// Where a deposit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was seen; nothing is decided yet, or it filled the treasury.
    Received,
    /// It is set aside in a claimable balance: no deposit until it is claimed.
    SetAside,
    /// It was set aside and will never be ours.
    Lapsed,
    /// It is a twin's credit.
    Credited,
    /// It waits for an operator.
    Unmatched,
    /// It is being sent back.
    Returning,
    /// It is back at its sender.
    Returned,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Received,
        Self::SetAside,
        Self::Lapsed,
        Self::Credited,
        Self::Unmatched,
        Self::Returning,
        Self::Returned,
    ];

    /// As it is written in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::SetAside => "set_aside",
            Self::Lapsed => "lapsed",
            Self::Credited => "credited",
            Self::Unmatched => "unmatched",
            Self::Returning => "returning",
            Self::Returned => "returned",
        }
    }

    /// Reads it back; `None` for another text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A deposit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deposit {
    /// Horizon's operation id.
    pub id: String,
    /// Who paid; empty where unknown.
    pub sender: String,
    /// `native` or `CODE:ISSUER`; empty where unknown.
    pub asset: String,
    /// In 10^-7 units of the asset.
    pub amount: i64,
    /// `none`, `text`, `id`, `hash` or `return`.
    pub memo_type: String,
    /// The memo as Horizon writes it.
    pub memo: Option<String>,
    /// Id within our account, where its muxed address was paid.
    pub muxed_id: Option<String>,
    /// Hash of its transaction; empty where unknown.
    pub transaction: String,
    /// Ledger.
    pub ledger: i64,
    /// When that ledger closed.
    pub closed_at: Option<DateTime<Utc>>,
    /// Where it stands.
    pub state: State,
    /// Why it is unmatched.
    pub reason: Option<String>,
    /// A sentence for people.
    pub detail: Option<String>,
    /// Whose credit it is.
    pub twin_id: Option<TwinId>,
    /// What of it went back, in 10^-7 units.
    pub returned: i64,
    /// Hash of the latest return.
    pub return_tx: Option<String>,
    /// The latest alarm.
    pub alarm: Option<String>,
    /// What an operator said last, and who.
    pub operator: Option<String>,
    /// Time of the latest event.
    pub updated_at: DateTime<Utc>,
    /// Offset of the latest event.
    pub version: i64,
    /// The claimable balance that it came as, 72 hex digits.
    pub balance_id: Option<String>,
    /// Hash of the transaction that claimed it.
    pub claim_tx: Option<String>,
}

impl FromRow<'_, PgRow> for Deposit {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let state: String = row.try_get("state")?;
        Ok(Self {
            id: row.try_get("id")?,
            sender: row.try_get("sender")?,
            asset: row.try_get("asset")?,
            amount: row.try_get("amount")?,
            memo_type: row.try_get("memo_type")?,
            memo: row.try_get("memo")?,
            muxed_id: row.try_get("muxed_id")?,
            transaction: row.try_get("transaction")?,
            ledger: row.try_get("ledger")?,
            closed_at: row.try_get("closed_at")?,
            state: State::parse(&state).ok_or_else(|| db::unreadable("state", &state))?,
            reason: row.try_get("reason")?,
            detail: row.try_get("detail")?,
            twin_id: row
                .try_get::<Option<i64>, _>("twin_id")?
                .map(|n| db::small("twin_id", n).map(TwinId))
                .transpose()?,
            returned: row.try_get("returned")?,
            return_tx: row.try_get("return_tx")?,
            alarm: row.try_get("alarm")?,
            operator: row.try_get("operator")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
            balance_id: row.try_get("balance_id")?,
            claim_tx: row.try_get("claim_tx")?,
        })
    }
}

/// The deposit, or `None`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn get(pool: &PgPool, id: &str) -> Result<Option<Deposit>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM deposits WHERE id = $1")
        .bind(id)
        .fetch_optional(pool)
        .await
}

/// Deposits in a state (`None`: in any), the oldest first, at most `limit`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn list(
    pool: &PgPool,
    state: Option<State>,
    limit: i64,
) -> Result<Vec<Deposit>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM deposits WHERE $1::text IS NULL OR state = $1
         ORDER BY ledger, id LIMIT $2",
    )
    .bind(state.map(State::as_str))
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// The deposits that are a twin's credit, the latest first: at most `limit` of those after the row
/// `after`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn of_twin(
    pool: &PgPool,
    twin: TwinId,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Deposit>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM deposits
          WHERE twin_id = $1
            AND ($2::text IS NULL OR (ledger, id) < (SELECT ledger, id FROM deposits WHERE id = $2))
          ORDER BY ledger DESC, id DESC LIMIT $3",
    )
    .bind(i64::from(twin.0))
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await
}

fn received(e: &PaymentReceived, at: DateTime<Utc>, offset: i64) -> Deposit {
    Deposit {
        id: e.deposit_id.clone(),
        sender: e.from.clone(),
        asset: e.asset.clone(),
        amount: e.amount,
        memo_type: e.memo_type.clone(),
        memo: e.memo.clone(),
        muxed_id: e.muxed_id.clone(),
        transaction: e.transaction.clone(),
        ledger: e.ledger,
        closed_at: e.closed_at.to_datetime(),
        state: State::Received,
        reason: None,
        detail: None,
        twin_id: None,
        returned: 0,
        return_tx: None,
        alarm: None,
        operator: None,
        updated_at: at,
        version: offset,
        balance_id: None,
        claim_tx: None,
    }
}

fn set_aside(e: &ClaimableBalanceCreated, at: DateTime<Utc>, offset: i64) -> Deposit {
    Deposit {
        id: e.deposit_id.clone(),
        sender: e.from.clone(),
        asset: e.asset.clone(),
        amount: e.amount,
        memo_type: e.memo_type.clone(),
        memo: e.memo.clone(),
        muxed_id: None,
        transaction: e.transaction.clone(),
        ledger: e.ledger,
        closed_at: e.closed_at.to_datetime(),
        state: State::SetAside,
        reason: None,
        detail: None,
        twin_id: None,
        returned: 0,
        return_tx: None,
        alarm: None,
        operator: None,
        updated_at: at,
        version: offset,
        balance_id: Some(e.balance_id.clone()),
        claim_tx: None,
    }
}

fn unreadable(e: &PaymentUnreadable, at: DateTime<Utc>, offset: i64) -> Deposit {
    Deposit {
        id: e.deposit_id.clone(),
        sender: String::new(),
        asset: String::new(),
        amount: 0,
        memo_type: "none".to_owned(),
        memo: None,
        muxed_id: None,
        transaction: String::new(),
        ledger: 0,
        closed_at: None,
        state: State::Unmatched,
        reason: Some("unreadable".to_owned()),
        detail: Some(e.problem.clone()),
        twin_id: None,
        returned: 0,
        return_tx: None,
        alarm: None,
        operator: None,
        updated_at: at,
        version: offset,
        balance_id: None,
        claim_tx: None,
    }
}

/// The row after an event; the policy has decided already, this writes down what the events say.
fn fold(
    row: Option<Deposit>,
    event: &DepositEvent,
    at: DateTime<Utc>,
    offset: i64,
) -> Option<Deposit> {
    let mut d = match (row, event) {
        (Some(deposit), _) => deposit,
        (None, DepositEvent::PaymentReceived(e)) => received(e, at, offset),
        (None, DepositEvent::PaymentUnreadable(e)) => unreadable(e, at, offset),
        (None, DepositEvent::ClaimableBalanceCreated(e)) => set_aside(e, at, offset),
        (None, _) => return None,
    };
    match event {
        DepositEvent::BalanceClaimed(e) => {
            // Whose it is comes after it.
            d.state = State::Received;
            d.claim_tx = Some(e.transaction.clone());
            (d.reason, d.detail) = (None, None);
        }
        DepositEvent::ClaimFailed(e) => d.detail = Some(e.detail.clone()),
        DepositEvent::BalanceLapsed(e) => {
            d.state = State::Lapsed;
            d.reason = Some(e.reason.clone());
            d.detail = Some(e.detail.clone());
        }
        DepositEvent::UsdcDeposited(e) => {
            d.state = State::Credited;
            d.twin_id = Some(e.twin_id);
            (d.reason, d.detail) = (None, None);
        }
        DepositEvent::DepositUnmatched(e) => {
            d.state = State::Unmatched;
            d.twin_id = None;
            d.reason = Some(e.reason.clone());
            d.detail = Some(e.detail.clone());
        }
        DepositEvent::DepositAssigned(e) => {
            d.operator = Some(format!("{}: {}", e.by, e.reason));
        }
        DepositEvent::DepositReturnOrdered(e) => {
            d.operator = Some(format!("{}: {}", e.by, e.reason));
        }
        DepositEvent::DepositReturnRequested(e) => {
            if e.purchase_id.is_none() {
                d.state = State::Returning;
            }
        }
        DepositEvent::DepositReturned(e) => {
            d.returned = d.returned.saturating_add(e.amount);
            d.return_tx = Some(e.transaction.clone());
            if e.purchase_id.is_none() {
                d.state = State::Returned;
            }
        }
        DepositEvent::DepositReturnFailed(e) => d.detail = Some(e.detail.clone()),
        DepositEvent::DepositAlarmed(e) => {
            d.alarm = Some(e.alarm.clone());
            d.detail = Some(e.detail.clone());
        }
        DepositEvent::LanesOpened(_)
        | DepositEvent::AccountOpened(_)
        | DepositEvent::PaymentReceived(_)
        | DepositEvent::PaymentUnreadable(_)
        | DepositEvent::ClaimableBalanceCreated(_)
        | DepositEvent::ClaimRequested(_)
        | DepositEvent::CreditBooked(_)
        | DepositEvent::CreditRefused(_)
        | DepositEvent::FundsWanted(_)
        | DepositEvent::FundsGranted(_)
        | DepositEvent::FundsExpired(_)
        | DepositEvent::PartReturnWanted(_)
        | DepositEvent::PartReturned(_)
        | DepositEvent::TimerFired(_)
        | DepositEvent::DeadLetterReleased(_) => {}
    }
    d.updated_at = at;
    d.version = offset;
    Some(d)
}

/// Folds the fresh entries. An aggregate of the topic is a deposit if its key is one's id.
pub(crate) async fn apply(tx: &mut PgConnection, fresh: &[&Entry]) -> Result<(), sqlx::Error> {
    let entries: Vec<(&Entry, &DepositEvent)> = fresh
        .iter()
        .filter_map(|entry| {
            let AnyEvent::Deposit(event) = &entry.event else {
                return None;
            };
            Some((*entry, event.as_ref()))
        })
        .collect();
    if entries.is_empty() {
        return Ok(());
    }
    let ids: BTreeSet<String> = entries
        .iter()
        .map(|(entry, _)| entry.envelope.subject.clone())
        .collect();
    let mut rows: BTreeMap<String, Deposit> =
        sqlx::query_as::<_, Deposit>("SELECT * FROM deposits WHERE id = ANY($1)")
            .bind(ids.into_iter().collect::<Vec<_>>())
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .map(|deposit| (deposit.id.clone(), deposit))
            .collect();
    for (entry, event) in entries {
        let key = &entry.envelope.subject;
        let at = entry.envelope.time.to_datetime().unwrap_or_default();
        if let Some(row) = fold(rows.remove(key), event, at, entry.place.offset) {
            rows.insert(key.clone(), row);
        }
    }
    let changed: Vec<Deposit> = rows.into_values().collect();
    sqlx::query(
        "INSERT INTO deposits SELECT * FROM jsonb_populate_recordset(NULL::deposits, $1)
         ON CONFLICT (id) DO UPDATE SET
            (state, reason, detail, twin_id, returned, return_tx, alarm, operator, updated_at,
             version, claim_tx) =
            (EXCLUDED.state, EXCLUDED.reason, EXCLUDED.detail, EXCLUDED.twin_id,
             EXCLUDED.returned, EXCLUDED.return_tx, EXCLUDED.alarm, EXCLUDED.operator,
             EXCLUDED.updated_at, EXCLUDED.version, EXCLUDED.claim_tx)",
    )
    .bind(db::rows(&changed)?)
    .execute(tx)
    .await
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_go_through_text() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("lost"), None);
    }
}
