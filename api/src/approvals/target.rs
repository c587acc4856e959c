//! What an approval is about: whether there is anything to be done, and how much it moves.

use super::rules::{Sum, minor};
use crate::ports::Letter;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use events::approvals::OperatorAction;
use events::ids::{PurchaseId, TwinId};
use events::topics;
use projections::deposits::State as DepositState;
use projections::purchases::State as PurchaseState;
use sqlx::PgPool;

/// What is asked for.
pub(super) struct Wish<'a> {
    pub action: OperatorAction,
    pub target: &'a str,
    pub twin: Option<TwinId>,
    pub amount: Option<&'a str>,
    pub asset: Option<&'a str>,
}

/// What it is about, once that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// How much is moved; `None` where nobody can say.
    pub sum: Option<Sum>,
    /// Topic of the event that makes it happen; `None` where an operator does it by hand.
    pub topic: Option<String>,
    /// Its key.
    pub key: String,
    /// Its partition, where that does not follow from the key.
    pub partition: Option<i32>,
}

fn nothing(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::NothingToApprove, detail)
}

/// Finds what is asked for.
pub(super) async fn find(state: &ApiState, wish: &Wish<'_>) -> Result<Target, Problem> {
    let assigns = wish.action == OperatorAction::DepositAssignment;
    if assigns != wish.twin.is_some() {
        return Err(Problem::field(
            "twin_id",
            "an assignment says whose the deposit becomes, and nothing else does",
        ));
    }
    let transfer = wish.action == OperatorAction::TreasuryTransfer;
    if transfer != (wish.amount.is_some() && wish.asset.is_some())
        || !transfer && (wish.amount.is_some() || wish.asset.is_some())
    {
        return Err(Problem::field(
            "amount",
            "a transfer of the treasury says how much of which asset, and nothing else does",
        ));
    }
    match wish.action {
        OperatorAction::Redrive | OperatorAction::Discard => letter(state, wish.target).await,
        OperatorAction::DepositReturn | OperatorAction::DepositAssignment => {
            deposit(state, wish.target).await
        }
        OperatorAction::PurchaseRefund => purchase(state, wish.target).await,
        OperatorAction::TreasuryTransfer => transfer_of(wish),
    }
}

/// Processor, partition and offset of a dead letter.
pub(super) fn place(target: &str) -> Option<(&str, i32, i64)> {
    let mut parts = target.split('/');
    let place = (
        parts.next()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some(place)
}

async fn letter(state: &ApiState, target: &str) -> Result<Target, Problem> {
    let (processor, partition, offset) = place(target).ok_or_else(|| {
        Problem::field(
            "target",
            "a dead letter is processor/partition/offset, as `gridway deadletters list` shows it",
        )
    })?;
    let found = state
        .dead_letters
        .find(processor, partition, offset)
        .await
        .map_err(|error| {
            tracing::error!(%error, "dead letters cannot be read");
            Problem::new(
                Kind::LogUnavailable,
                "the dead letters cannot be read for now; try again later",
            )
        })?;
    let Letter {
        topic,
        key,
        discarded,
    } = found.ok_or_else(|| nothing("there is no such dead letter"))?;
    if discarded {
        return Err(nothing("it was discarded before; that cannot be undone"));
    }
    let sum = letter_sum(&state.pool, &topic, &key).await?;
    Ok(Target {
        sum,
        topic: Some(topic),
        key,
        partition: Some(partition),
    })
}

/// What is at stake where a dead letter of `topic` with this key is released: the charge of the
/// purchase that waits behind it; `None` where nobody can say.
///
/// # Errors
/// When Postgres does not answer.
pub async fn letter_sum(pool: &PgPool, topic: &str, key: &str) -> Result<Option<Sum>, sqlx::Error> {
    if topic != topics::PURCHASES.name {
        return Ok(None);
    }
    let Ok(id) = key.parse::<PurchaseId>() else {
        return Ok(None);
    };
    let purchase = projections::purchases::get(pool, id).await?;
    Ok(purchase.as_ref().map(charge))
}

fn charge(purchase: &projections::purchases::Purchase) -> Sum {
    match purchase.usdc_due {
        Some(due) => Sum {
            asset: "USDC".to_owned(),
            minor: due.minor(),
        },
        None => Sum {
            asset: purchase.currency.code().to_owned(),
            minor: purchase.charge_minor,
        },
    }
}

async fn deposit(state: &ApiState, target: &str) -> Result<Target, Problem> {
    let deposit = projections::deposits::get(&state.pool, target)
        .await?
        .ok_or_else(|| nothing("there is no such deposit"))?;
    if !waits(&deposit) {
        return Err(nothing(format!(
            "the deposit is {}: nothing of it waits for an operator",
            deposit.state.as_str()
        )));
    }
    let ours = format!(
        "{}:{}",
        state.deposits.asset_code, state.deposits.asset_issuer
    );
    Ok(Target {
        sum: Some(deposit_sum(&deposit, &ours)),
        topic: Some(topics::DEPOSITS.name.to_owned()),
        key: deposit.id,
        partition: None,
    })
}

/// Whether anything of a deposit waits for an operator.
pub fn waits(deposit: &projections::deposits::Deposit) -> bool {
    // Held parts of purchases belong to a deposit that is somebody's credit.
    let held = deposit.state == DepositState::Credited && deposit.alarm.is_some();
    held || matches!(
        deposit.state,
        DepositState::Unmatched | DepositState::Returning
    )
}

/// What a deposit holds; `usdc` is the asset that counts as USDC.
pub fn deposit_sum(deposit: &projections::deposits::Deposit, usdc: &str) -> Sum {
    let asset = match deposit.asset.as_str() {
        "native" => "XLM",
        asset if asset == usdc => "USDC",
        other => other,
    };
    Sum {
        asset: asset.to_owned(),
        minor: deposit.amount,
    }
}

async fn purchase(state: &ApiState, target: &str) -> Result<Target, Problem> {
    let id: PurchaseId = target
        .parse()
        .map_err(|_| Problem::field("target", "the id of a purchase"))?;
    let purchase = projections::purchases::get(&state.pool, id)
        .await?
        .ok_or_else(|| nothing("there is no such purchase"))?;
    match purchase.state {
        PurchaseState::Paid | PurchaseState::Swapped => Ok(Target {
            sum: Some(charge(&purchase)),
            topic: Some(topics::PURCHASES.name.to_owned()),
            key: id.to_string(),
            partition: None,
        }),
        PurchaseState::Opened
        | PurchaseState::AwaitingPayment
        | PurchaseState::AwaitingDeposit
        | PurchaseState::Quarantined
        | PurchaseState::HandedOff
        | PurchaseState::Settled
        | PurchaseState::Refunding
        | PurchaseState::Refunded
        | PurchaseState::NotPaid
        | PurchaseState::Lost => Err(nothing(format!(
            "the purchase is {}: only what is paid and not handed off can be given back",
            purchase.state.as_str()
        ))),
    }
}

fn transfer_of(wish: &Wish<'_>) -> Result<Target, Problem> {
    let (asset, amount) = (
        wish.asset.unwrap_or_default(),
        wish.amount.unwrap_or_default(),
    );
    if wish.target != LANES {
        return Err(Problem::field("target", "the treasury pays to lanes"));
    }
    let minor = minor(asset, amount)
        .filter(|minor| *minor > 0)
        .ok_or_else(|| Problem::field("amount", "a decimal sum of XLM, USDC, TFT or a currency"))?;
    Ok(Target {
        sum: Some(Sum {
            asset: asset.to_owned(),
            minor,
        }),
        topic: None,
        key: wish.target.to_owned(),
        partition: None,
    })
}

/// What is paid by `gridway lanes top-up`.
pub const LANES: &str = "lanes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_named_by_three_parts() {
        assert_eq!(place("purchases/3/4711"), Some(("purchases", 3, 4711)));
        for wrong in [
            "",
            "purchases",
            "purchases/3",
            "purchases/x/1",
            "a/1/2/3",
            "a/1/-",
        ] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
