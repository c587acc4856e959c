//! Whether a user's account pays for their contracts: it is read when they are billed, and held
//! against what they were billed since it was read last.

use super::{Out, Rules};
use crate::state::Account;
use events::deployments::{
    ContractBilled, UserBalanceAssessed, UserBalanceObserved, UserBalanceRequested,
};
use events::money::{Amount, Tft};
use events::time::Timestamp;
use pipeline::Decision;
use std::time::Duration;

const DAY: i64 = 24 * 3_600 * 1_000;

/// A contract came to be. What earlier ones cost says nothing of it.
pub(super) fn began(account: &mut Account, now: Timestamp) {
    if account.spent.is_zero() {
        account.since = Some(now);
    }
}

pub(super) fn billed(
    rules: &Rules,
    account: &mut Account,
    bill: &ContractBilled,
    now: Timestamp,
) -> Out {
    // What does not fit stays at the most that does.
    let spent = account.spent.checked_add(bill.amount);
    account.spent = spent.unwrap_or(account.spent);
    // By the chain's time: bills of hours come at once when the chain could not be read for so long.
    let at = bill.billed_at.unwrap_or(now);
    let since = *account.since.get_or_insert(at);
    if account.asked.is_some() || at.millis_since(since) < millis(rules.balance_every) {
        return Decision::nothing();
    }
    let request = UserBalanceRequested {
        user_id: bill.user_id,
        spent: account.spent,
        spent_from: since,
        spent_until: at,
    };
    (account.spent, account.since) = (Amount::ZERO, Some(at));
    account.asked = Some(request.clone());
    Decision::nothing().and(request)
}

pub(super) fn observed(rules: &Rules, account: &mut Account, event: &UserBalanceObserved) -> Out {
    let (Some(asked), Some(balance)) = (account.asked.take(), event.balance) else {
        return Decision::nothing();
    };
    let over = asked.spent_until.millis_since(asked.spent_from);
    let lasts = scaled(balance.minor(), over, asked.spent.minor()).filter(|_| over > 0);
    let threshold = millis(rules.balance_lasts);
    Decision::nothing().and(UserBalanceAssessed {
        user_id: event.user_id,
        balance,
        spent_per_day: per_day(asked.spent, over),
        lasts_seconds: lasts.map(|ms| ms / 1_000),
        threshold_seconds: threshold / 1_000,
        low: lasts.is_some_and(|ms| ms < threshold),
        observed_at: event.observed_at,
    })
}

fn per_day(spent: Amount<Tft>, over: i64) -> Amount<Tft> {
    scaled(spent.minor(), DAY, over)
        .and_then(|minor| Amount::from_minor(minor).ok())
        .unwrap_or(spent)
}

/// `a * b / c`, rounded down, at most what fits; `None` when `c` is not positive.
fn scaled(a: i64, b: i64, c: i64) -> Option<i64> {
    let product = i128::from(a) * i128::from(b);
    (c > 0).then(|| i64::try_from(product / i128::from(c)).unwrap_or(i64::MAX))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
