//! Read model `purchases`: one row per purchase, with the proofs of each leg. From topic `purchases`.

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::ids::{PurchaseId, QuoteId, TwinId, UserId};
use events::money::{Amount, Asset, Currency, Fiat, Tft, Usdc};
use events::purchases::{Funding, PurchaseEvent, PurchaseOutcome, PurchaseRequested};
use events::time::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// How far a purchase has come, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The command was accepted.
    Opened,
    /// The PaymentIntent stands at Stripe.
    AwaitingPayment,
    /// USDC is to come.
    AwaitingDeposit,
    /// The charge is ours.
    Paid,
    /// Money came that is not what was asked for; an operator looks at it.
    Quarantined,
    /// The TFT is bought.
    Swapped,
    /// The TFT is on its way over the bridge.
    HandedOff,
    /// The TFT arrived at the twin.
    Settled,
    /// The charge is being refunded.
    Refunding,
    /// The charge was refunded.
    Refunded,
    /// Nobody paid.
    NotPaid,
    /// A dispute was lost: the bank took the charge back, and nothing was delivered.
    Lost,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 12] = [
        Self::Opened,
        Self::AwaitingPayment,
        Self::AwaitingDeposit,
        Self::Paid,
        Self::Quarantined,
        Self::Swapped,
        Self::HandedOff,
        Self::Settled,
        Self::Refunding,
        Self::Refunded,
        Self::NotPaid,
        Self::Lost,
    ];

    /// As it is written in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::AwaitingPayment => "awaiting_payment",
            Self::AwaitingDeposit => "awaiting_deposit",
            Self::Paid => "paid",
            Self::Quarantined => "quarantined",
            Self::Swapped => "swapped",
            Self::HandedOff => "handed_off",
            Self::Settled => "settled",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
            Self::NotPaid => "not_paid",
            Self::Lost => "lost",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A purchase. Amounts serialise as integers of minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Purchase {
    /// The purchase.
    pub id: PurchaseId,
    /// Who buys.
    pub user_id: UserId,
    /// The twin that receives the TFT.
    pub twin_id: TwinId,
    /// The accepted quote.
    pub quote_id: QuoteId,
    /// How far it has come.
    pub state: State,
    /// What arrives at the twin.
    pub tft: Amount<Tft>,
    /// What the swap may cost at most.
    pub usdc_cap: Amount<Usdc>,
    /// What swaps have cost so far.
    pub usdc_spent: Amount<Usdc>,
    /// What the card is charged, in the currency's minor unit.
    pub charge_minor: i64,
    /// Currency of the charge.
    pub currency: Currency,
    /// The PaymentIntent, `pi_…`.
    pub intent_id: Option<String>,
    /// Hash of the swap on Stellar.
    pub swap_tx: Option<String>,
    /// Hash of the latest payment to the bridge.
    pub handoff_tx: Option<String>,
    /// TFChain block of the mint.
    pub mint_block: Option<i64>,
    /// The refund, `re_…`.
    pub refund_id: Option<String>,
    /// The latest alarm.
    pub alarm: Option<String>,
    /// What last happened out of the ordinary, for people.
    pub detail: Option<String>,
    /// When the command was accepted.
    pub created_at: DateTime<Utc>,
    /// Time of the latest event.
    pub updated_at: DateTime<Utc>,
    /// Offset of the latest event in the purchase's partition.
    pub version: i64,
    /// How it is paid: `card` or `usdc`.
    pub funding: String,
    /// What is paid by USDC.
    pub usdc_due: Option<Amount<Usdc>>,
    /// Until when a purchase by USDC waits for it.
    pub fund_until: Option<DateTime<Utc>>,
    /// What was set aside for the swap and not spent: the buyer's credit.
    pub leftover: Option<Amount<Usdc>>,
    /// What the swap cost above the quote, in 10^-7 units; below zero if it was cheaper.
    pub slippage: Option<i64>,
    /// Network fees.
    pub fee_stroops: Option<i64>,
}

impl Purchase {
    /// What the card is charged.
    #[must_use]
    pub const fn charge(&self) -> Fiat {
        Fiat {
            minor: self.charge_minor,
            currency: self.currency,
        }
    }
}

fn optional_amount<A: Asset>(row: &PgRow, column: &str) -> Result<Option<Amount<A>>, sqlx::Error> {
    let minor: Option<i64> = row.try_get(column)?;
    minor
        .map(|n| Amount::from_minor(n).map_err(|_| db::unreadable(column, &n.to_string())))
        .transpose()
}

pub(crate) fn amount<A: Asset>(row: &PgRow, column: &str) -> Result<Amount<A>, sqlx::Error> {
    let minor: i64 = row.try_get(column)?;
    Amount::from_minor(minor).map_err(|_| db::unreadable(column, &minor.to_string()))
}

impl FromRow<'_, PgRow> for Purchase {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let state: String = row.try_get("state")?;
        let currency: String = row.try_get("currency")?;
        Ok(Self {
            id: PurchaseId::from_uuid(row.try_get("id")?),
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            twin_id: TwinId(db::small("twin_id", row.try_get("twin_id")?)?),
            quote_id: QuoteId::from_uuid(row.try_get("quote_id")?),
            state: State::parse(&state).ok_or_else(|| db::unreadable("state", &state))?,
            tft: amount(row, "tft")?,
            usdc_cap: amount(row, "usdc_cap")?,
            usdc_spent: amount(row, "usdc_spent")?,
            charge_minor: row.try_get("charge_minor")?,
            currency: Currency::parse(&currency)
                .ok_or_else(|| db::unreadable("currency", &currency))?,
            intent_id: row.try_get("intent_id")?,
            swap_tx: row.try_get("swap_tx")?,
            handoff_tx: row.try_get("handoff_tx")?,
            mint_block: row.try_get("mint_block")?,
            refund_id: row.try_get("refund_id")?,
            alarm: row.try_get("alarm")?,
            detail: row.try_get("detail")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
            funding: row.try_get("funding")?,
            usdc_due: optional_amount(row, "usdc_due")?,
            fund_until: row.try_get("fund_until")?,
            leftover: optional_amount(row, "leftover")?,
            slippage: row.try_get("slippage")?,
            fee_stroops: row.try_get("fee_stroops")?,
        })
    }
}

/// The purchase, or `None`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn get(pool: &PgPool, id: PurchaseId) -> Result<Option<Purchase>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM purchases WHERE id = $1")
        .bind(id.uuid())
        .fetch_optional(pool)
        .await
}

/// The purchases of a user, or of everybody, the latest first: at most `limit` of those after the
/// row `after`, whoever's that is.
///
/// # Errors
/// When Postgres does not answer.
pub async fn list(
    pool: &PgPool,
    user: Option<UserId>,
    after: Option<PurchaseId>,
    limit: i64,
) -> Result<Vec<Purchase>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM purchases
          WHERE ($1::uuid IS NULL OR user_id = $1)
            AND ($2::uuid IS NULL OR (created_at, id) < (SELECT created_at, id FROM purchases WHERE id = $2))
          ORDER BY created_at DESC, id DESC LIMIT $3",
    )
    .bind(user.map(|id| id.uuid()))
    .bind(after.map(|id| id.uuid()))
    .bind(limit)
    .fetch_all(pool)
    .await
}

fn opened(e: &PurchaseRequested, time: DateTime<Utc>, offset: i64) -> Purchase {
    Purchase {
        id: e.purchase_id,
        user_id: e.user_id,
        twin_id: e.twin_id,
        quote_id: e.quote_id,
        state: State::Opened,
        tft: e.tft,
        usdc_cap: e.usdc_cap,
        usdc_spent: Amount::ZERO,
        charge_minor: e.charge.minor,
        currency: e.charge.currency,
        intent_id: None,
        swap_tx: None,
        handoff_tx: None,
        mint_block: None,
        refund_id: None,
        alarm: None,
        detail: None,
        created_at: e.requested_at.to_datetime().unwrap_or(time),
        updated_at: time,
        version: offset,
        funding: match e.funding {
            Funding::Card => "card",
            Funding::Usdc => "usdc",
        }
        .to_owned(),
        usdc_due: e.usdc_due,
        fund_until: None,
        leftover: None,
        slippage: None,
        fee_stroops: None,
    }
}

/// The row after an event; `None` when the event says nothing of a purchase whose beginning is in
/// the log. The policy has decided already: this only writes down what the events say.
fn fold(
    row: Option<Purchase>,
    event: &PurchaseEvent,
    at: Timestamp,
    offset: i64,
) -> Option<Purchase> {
    let time = at.to_datetime().unwrap_or_default();
    let mut p = if let Some(purchase) = row {
        purchase
    } else {
        let PurchaseEvent::PurchaseRequested(e) = event else {
            return None;
        };
        opened(e, time, offset)
    };
    match event {
        PurchaseEvent::LanesOpened(_)
        | PurchaseEvent::PurchaseRequested(_)
        | PurchaseEvent::PaymentIntentRequested(_)
        | PurchaseEvent::SwapRequested(_)
        | PurchaseEvent::HandoffRequested(_)
        | PurchaseEvent::TimerFired(_)
        | PurchaseEvent::DeadLetterReleased(_) => {}
        PurchaseEvent::PaymentIntentCreated(e) => {
            p.intent_id = Some(e.intent_id.clone());
            if p.state == State::Opened {
                p.state = State::AwaitingPayment;
            }
        }
        PurchaseEvent::StripeEventReceived(e) => {
            if let Some(code) = &e.failure_code {
                p.detail = Some(format!("{}: {code}", e.event_type));
            } else if p.state == State::AwaitingPayment {
                match e.event_type.as_str() {
                    "payment_intent.processing" => {
                        p.detail = Some("the payment is being processed".to_owned());
                    }
                    "payment_intent.requires_action" => {
                        p.detail = Some("the bank asks the payer to confirm it".to_owned());
                    }
                    _ => {}
                }
            }
        }
        PurchaseEvent::UserPaid(e) => {
            p.intent_id = Some(e.intent_id.clone());
            p.state = State::Paid;
            p.detail = None;
        }
        PurchaseEvent::FundsRequested(e) => {
            p.state = State::AwaitingDeposit;
            p.fund_until = e.until.to_datetime();
        }
        PurchaseEvent::PurchaseFunded(_) => {
            if p.state == State::AwaitingDeposit || p.state == State::Opened {
                p.state = State::Paid;
                p.detail = None;
            }
        }
        PurchaseEvent::PurchaseUnfunded(e) => p.detail = Some(e.detail.clone()),
        PurchaseEvent::UsdcCompensationRequested(e) => {
            if matches!(p.state, State::Paid | State::Swapped | State::HandedOff) {
                p.state = State::Refunding;
            }
            p.detail = Some(e.reason.clone());
        }
        PurchaseEvent::UsdcCompensationFailed(e) => p.detail = Some(e.detail.clone()),
        PurchaseEvent::UsdcCompensationSettled(e) => p.refund_id = Some(e.transaction.clone()),
        PurchaseEvent::PurchaseAccounted(e) => {
            p.leftover = Some(e.leftover);
            p.slippage = Some(e.slippage);
            p.fee_stroops = Some(e.network_fee_stroops);
        }
        PurchaseEvent::PaymentQuarantined(e) => {
            p.state = State::Quarantined;
            p.detail = Some(e.reason.clone());
        }
        PurchaseEvent::SwapCompleted(e) => {
            if e.rest.is_zero() {
                p.state = State::Swapped;
            }
            p.swap_tx = Some(e.transaction.clone());
            p.usdc_spent = p
                .usdc_spent
                .checked_add(e.usdc_spent)
                .unwrap_or(p.usdc_spent);
            p.detail = None;
        }
        PurchaseEvent::TftSentToBridge(e) => {
            // The bridge's answer may stand before the payment's own outcome.
            if p.state == State::Swapped {
                p.state = State::HandedOff;
                p.handoff_tx = Some(e.transaction.clone());
                p.detail = None;
            }
        }
        PurchaseEvent::HandoffSettled(e) => {
            p.state = State::Settled;
            p.handoff_tx = Some(e.transaction.clone());
            p.mint_block = Some(e.block);
            p.detail = None;
        }
        PurchaseEvent::HandoffReturned(_) => {
            p.state = State::Swapped;
            p.detail = Some("the bridge sent the TFT back".to_owned());
        }
        PurchaseEvent::CompensationRequested(e) => {
            // A second payment of a purchase that goes on is refunded beside it.
            if is_own(p.intent_id.as_deref(), &e.intent_id) && p.state != State::Settled {
                p.state = State::Refunding;
            }
            p.detail = Some(e.reason.clone());
        }
        PurchaseEvent::CompensationSettled(e) => {
            if is_own(p.intent_id.as_deref(), &e.intent_id) {
                p.refund_id = Some(e.refund_id.clone());
                if p.state == State::Refunding {
                    p.state = State::Refunded;
                }
            }
        }
        PurchaseEvent::PaymentIntentFailed(e) => p.detail = Some(e.detail.clone()),
        PurchaseEvent::SwapFailed(e) => p.detail = Some(e.detail.clone()),
        PurchaseEvent::HandoffFailed(e) => p.detail = Some(e.detail.clone()),
        PurchaseEvent::CompensationFailed(e) => p.detail = Some(e.detail.clone()),
        PurchaseEvent::PurchaseEnded(e) => {
            p.state = match e.outcome {
                PurchaseOutcome::Settled => State::Settled,
                PurchaseOutcome::Refunded => State::Refunded,
                PurchaseOutcome::NotPaid => State::NotPaid,
                PurchaseOutcome::Lost => State::Lost,
            };
            p.detail = Some(e.detail.clone());
        }
        PurchaseEvent::RefundOrdered(e) => {
            p.detail = Some(format!("a refund is ordered: {}", e.reason));
        }
        PurchaseEvent::LossBooked(e) => {
            p.detail = Some(format!("a loss of {}: {}", e.amount, e.reason));
        }
        PurchaseEvent::PurchaseAlarmed(e) => {
            p.alarm = Some(e.alarm.clone());
            p.detail = Some(e.detail.clone());
        }
    }
    p.updated_at = time;
    p.version = offset;
    Some(p)
}

/// Whether an intent is the purchase's own rather than one that paid it once more.
fn is_own(own: Option<&str>, intent: &str) -> bool {
    own.is_none_or(|own| own == intent)
}

/// The purchase that an event is about; `None` for one about the partition.
pub(crate) fn purchase_of(event: &PurchaseEvent) -> Option<PurchaseId> {
    Some(match event {
        PurchaseEvent::LanesOpened(_) => return None,
        PurchaseEvent::PurchaseRequested(e) => e.purchase_id,
        PurchaseEvent::PaymentIntentRequested(e) => e.purchase_id,
        PurchaseEvent::PaymentIntentCreated(e) => e.purchase_id,
        PurchaseEvent::PaymentIntentFailed(e) => e.purchase_id,
        PurchaseEvent::StripeEventReceived(e) => e.purchase_id,
        PurchaseEvent::UserPaid(e) => e.purchase_id,
        PurchaseEvent::PaymentQuarantined(e) => e.purchase_id,
        PurchaseEvent::FundsRequested(e) => e.purchase_id,
        PurchaseEvent::PurchaseFunded(e) => e.purchase_id,
        PurchaseEvent::PurchaseUnfunded(e) => e.purchase_id,
        PurchaseEvent::UsdcCompensationRequested(e) => e.purchase_id,
        PurchaseEvent::UsdcCompensationSettled(e) => e.purchase_id,
        PurchaseEvent::UsdcCompensationFailed(e) => e.purchase_id,
        PurchaseEvent::PurchaseAccounted(e) => e.purchase_id,
        PurchaseEvent::SwapRequested(e) => e.purchase_id,
        PurchaseEvent::SwapCompleted(e) => e.purchase_id,
        PurchaseEvent::SwapFailed(e) => e.purchase_id,
        PurchaseEvent::HandoffRequested(e) => e.purchase_id,
        PurchaseEvent::TftSentToBridge(e) => e.purchase_id,
        PurchaseEvent::HandoffFailed(e) => e.purchase_id,
        PurchaseEvent::HandoffSettled(e) => e.purchase_id,
        PurchaseEvent::HandoffReturned(e) => e.purchase_id,
        PurchaseEvent::CompensationRequested(e) => e.purchase_id,
        PurchaseEvent::CompensationSettled(e) => e.purchase_id,
        PurchaseEvent::CompensationFailed(e) => e.purchase_id,
        PurchaseEvent::PurchaseEnded(e) => e.purchase_id,
        PurchaseEvent::PurchaseAlarmed(e) => e.purchase_id,
        PurchaseEvent::LossBooked(e) => e.purchase_id,
        PurchaseEvent::RefundOrdered(e) => e.purchase_id,
        PurchaseEvent::TimerFired(e) => e.purchase_id,
        PurchaseEvent::DeadLetterReleased(_) => return None,
    })
}

/// Folds the fresh entries; gives the ids of the purchases that changed.
pub(crate) async fn apply(
    tx: &mut PgConnection,
    fresh: &[&Entry],
) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let entries: Vec<(&Entry, &PurchaseEvent, Uuid)> = fresh
        .iter()
        .filter_map(|entry| {
            let AnyEvent::Purchase(event) = &entry.event else {
                return None;
            };
            purchase_of(event).map(|id| (*entry, event.as_ref(), id.uuid()))
        })
        .collect();
    if entries.is_empty() {
        return Ok(BTreeSet::new());
    }
    let ids: BTreeSet<Uuid> = entries.iter().map(|(.., id)| *id).collect();
    let mut rows: BTreeMap<Uuid, Purchase> =
        sqlx::query_as::<_, Purchase>("SELECT * FROM purchases WHERE id = ANY($1)")
            .bind(ids.iter().copied().collect::<Vec<_>>())
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .map(|purchase| (purchase.id.uuid(), purchase))
            .collect();
    for (entry, event, id) in entries {
        if let Some(p) = fold(
            rows.remove(&id),
            event,
            entry.envelope.time,
            entry.place.offset,
        ) {
            rows.insert(id, p);
        }
    }
    let changed: Vec<Purchase> = rows.into_values().collect();
    sqlx::query(
        "INSERT INTO purchases SELECT * FROM jsonb_populate_recordset(NULL::purchases, $1)
         ON CONFLICT (id) DO UPDATE SET
            (state, usdc_spent, intent_id, swap_tx, handoff_tx, mint_block, refund_id, alarm,
             detail, updated_at, version, fund_until, leftover, slippage, fee_stroops) =
            (EXCLUDED.state, EXCLUDED.usdc_spent, EXCLUDED.intent_id, EXCLUDED.swap_tx,
             EXCLUDED.handoff_tx, EXCLUDED.mint_block, EXCLUDED.refund_id, EXCLUDED.alarm,
             EXCLUDED.detail, EXCLUDED.updated_at, EXCLUDED.version, EXCLUDED.fund_until,
             EXCLUDED.leftover, EXCLUDED.slippage, EXCLUDED.fee_stroops)",
    )
    .bind(db::rows(&changed)?)
    .execute(tx)
    .await?;
    Ok(changed.iter().map(|p| p.id.uuid()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_go_through_text() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("elsewhere"), None);
    }
}
