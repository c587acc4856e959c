//! What our accounts hold, for operators.

use crate::auth::Operator;
use crate::ports::Holding;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::wait::CaughtUp;
use axum::Json;
use axum::extract::State;
use events::money::{Amount, Usdc};
use events::time::Timestamp;
use projections::treasury::{Crossing, Lane, Spent, crossings, lanes, spent};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The days whose spending says how long a balance lasts.
const WINDOW_DAYS: i64 = 7;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// `GET /treasury`: balances as the networks show them now, what they should be, how long they
/// last, and which rang.
pub(crate) async fn show(
    State(state): State<ApiState>,
    _: Operator,
    _: CaughtUp,
) -> Result<Json<Value>, Problem> {
    let now = state.now();
    let lanes = lanes(&state.pool).await?;
    let since = Timestamp(now.0 - WINDOW_DAYS * DAY_MS);
    let spent = spent(&state.pool, since).await?;
    let rang: BTreeMap<String, Crossing> = crossings(&state.pool)
        .await?
        .into_iter()
        .map(|crossing| (crossing.holding.clone(), crossing))
        .collect();
    let (of_lanes, others): (Vec<Holding>, Vec<Holding>) = state
        .treasury
        .holdings(&lanes)
        .await
        .into_iter()
        .partition(|holding| holding.name.starts_with("lane/"));
    let holdings: Vec<Value> = others
        .iter()
        .map(|holding| view(holding, rang.get(&holding.name), spent))
        .collect();
    Ok(Json(json!({
        "read_at": now.to_datetime(),
        "window_days": WINDOW_DAYS,
        "spent": { "usdc": spent.usdc.to_string(), "fee_stroops": spent.fee_stroops },
        "holdings": holdings,
        "lanes": by_hand(&lanes, &of_lanes, &rang),
    })))
}

/// Seven decimals, whatever the asset.
fn amount(units: i64) -> Option<String> {
    let amount = Amount::<Usdc>::from_minor(units).ok();
    amount.map(|amount| amount.to_string())
}

fn low(holding: &Holding) -> bool {
    let balance = holding.balance.as_ref();
    balance.is_ok_and(|balance| *balance < holding.threshold)
}

fn view(holding: &Holding, rang: Option<&Crossing>, spent: Spent) -> Value {
    let a_window = match holding.name.as_str() {
        "treasury/USDC" => spent.usdc.minor(),
        "treasury/XLM" => spent.fee_stroops,
        _ => 0,
    };
    let balance = holding.balance.as_ref().ok().copied();
    json!({
        "holding": holding.name,
        "account": holding.account,
        "asset": holding.asset,
        "balance": balance.and_then(amount),
        "threshold": amount(holding.threshold),
        "low": low(holding),
        "days_of_cover": balance.and_then(|balance| days_of_cover(balance, a_window)),
        "problem": holding.balance.as_ref().err(),
        "alarm": rang.map(alarm),
    })
}

fn alarm(crossing: &Crossing) -> Value {
    json!({
        "ringing": crossing.low,
        "since": crossing.observed_at,
        "balance_then": amount(crossing.balance),
        "crossings": crossing.crossing,
    })
}

/// Whole days that a balance lasts if it is spent as in the last window; `None`: nothing was spent.
fn days_of_cover(balance: i64, spent_in_window: i64) -> Option<i64> {
    if spent_in_window <= 0 {
        return None;
    }
    let days = i128::from(balance.max(0)) * i128::from(WINDOW_DAYS) / i128::from(spent_in_window);
    Some(i64::try_from(days).unwrap_or(i64::MAX))
}

/// The lanes of each hand: how many there are, the poorest, and those that want lumens.
fn by_hand(lanes: &[Lane], read: &[Holding], rang: &BTreeMap<String, Crossing>) -> Vec<Value> {
    let mut hands: BTreeMap<&str, Vec<&Holding>> = BTreeMap::new();
    for lane in lanes {
        let held = read.iter().find(|holding| holding.account == lane.account);
        hands.entry(&lane.executor).or_default().extend(held);
    }
    hands
        .into_iter()
        .map(|(hand, held)| {
            let known = held.iter().filter_map(|h| h.balance.as_ref().ok().copied());
            let wanting: Vec<&str> = held
                .iter()
                .filter(|holding| low(holding))
                .map(|holding| holding.account.as_str())
                .collect();
            let ringing = held
                .iter()
                .filter(|h| rang.get(&h.name).is_some_and(|c| c.low));
            json!({
                "hand": hand,
                "lanes": held.len(),
                "lowest": known.min().and_then(amount),
                "threshold": held.first().and_then(|h| amount(h.threshold)),
                "low": wanting,
                "ringing": ringing.count(),
                "unreadable": held.iter().filter(|h| h.balance.is_err()).count(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cover_is_counted_in_whole_days_and_only_where_something_is_spent() {
        assert_eq!(days_of_cover(700, 70), Some(70));
        assert_eq!(days_of_cover(699, 700), Some(6));
        assert_eq!(days_of_cover(-5, 700), Some(0));
        assert_eq!(days_of_cover(700, 0), None);
        assert_eq!(days_of_cover(i64::MAX, 1), Some(i64::MAX));
    }
}
