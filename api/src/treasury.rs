//! What our accounts hold, for operators.

use crate::contract::Routes;
use crate::ports::Holding;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::wait::CaughtUp;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use events::money::{Amount, Usdc};
use events::time::Timestamp;
use projections::treasury::{Crossing, Lane, Spent, crossings, lanes, spent};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::routes;

/// The days whose spending says how long a balance lasts.
const WINDOW_DAYS: i64 = 7;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show))
}

/// What our accounts hold.
#[derive(Serialize, ToSchema)]
struct Treasury {
    /// When the networks were asked.
    read_at: Option<DateTime<Utc>>,
    /// The days whose spending says how long a balance lasts.
    window_days: i64,
    spent: SpentView,
    holdings: Vec<HoldingView>,
    /// The payment lanes of each hand.
    lanes: Vec<LanesView>,
}

/// What purchases spent in the window.
#[derive(Serialize, ToSchema)]
#[schema(as = TreasurySpent)]
struct SpentView {
    /// USDC, decimal with seven places.
    usdc: String,
    /// Fees on Stellar.
    fee_stroops: i64,
}

/// What an account holds of an asset. Amounts are decimal with seven places.
#[derive(Serialize, ToSchema)]
#[schema(as = TreasuryHolding)]
struct HoldingView {
    /// Such as `treasury/USDC`.
    holding: String,
    account: String,
    /// `native`, `CODE:ISSUER`, or TFT of TFChain.
    asset: String,
    /// What it is; without it `problem` says why that is not known.
    balance: Option<String>,
    /// The least that it should be.
    threshold: Option<String>,
    /// Whether it is less.
    low: bool,
    /// Whole days that it lasts if it is spent as in the window; none where nothing was spent.
    days_of_cover: Option<i64>,
    problem: Option<String>,
    /// What last rang, if anything ever did.
    alarm: Option<Alarm>,
}

/// The latest crossing of a threshold.
#[derive(Serialize, ToSchema)]
#[schema(as = TreasuryAlarm)]
struct Alarm {
    /// Whether it was downwards.
    ringing: bool,
    since: DateTime<Utc>,
    /// The balance at the crossing.
    balance_then: Option<String>,
    /// Crossings until now.
    crossings: i64,
}

/// The payment lanes of a hand. Amounts are lumens, decimal with seven places.
#[derive(Serialize, ToSchema)]
#[schema(as = TreasuryLanes)]
struct LanesView {
    /// swaps, handoffs, returns or claims.
    hand: String,
    /// How many it has.
    lanes: usize,
    /// What the poorest holds.
    lowest: Option<String>,
    threshold: Option<String>,
    /// The accounts that hold less.
    low: Vec<String>,
    /// How many of them rang.
    ringing: usize,
    /// How many could not be read.
    unreadable: usize,
}

/// Shows what our accounts hold.
///
/// Balances are as the networks show them now: what they should be, how long they last, and which
/// rang.
#[utoipa::path(
    get,
    path = "/treasury",
    operation_id = "showTreasury",
    params(CaughtUp),
    responses((status = 200, description = "The balances.", body = Treasury))
)]
async fn show(State(state): State<ApiState>, _: CaughtUp) -> Result<Json<Treasury>, Problem> {
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
    let holdings = others
        .iter()
        .map(|holding| view(holding, rang.get(&holding.name), spent))
        .collect();
    Ok(Json(Treasury {
        read_at: now.to_datetime(),
        window_days: WINDOW_DAYS,
        spent: SpentView {
            usdc: spent.usdc.to_string(),
            fee_stroops: spent.fee_stroops,
        },
        holdings,
        lanes: by_hand(&lanes, &of_lanes, &rang),
    }))
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

fn view(holding: &Holding, rang: Option<&Crossing>, spent: Spent) -> HoldingView {
    let a_window = match holding.name.as_str() {
        "treasury/USDC" => spent.usdc.minor(),
        "treasury/XLM" => spent.fee_stroops,
        _ => 0,
    };
    let balance = holding.balance.as_ref().ok().copied();
    HoldingView {
        holding: holding.name.clone(),
        account: holding.account.clone(),
        asset: holding.asset.clone(),
        balance: balance.and_then(amount),
        threshold: amount(holding.threshold),
        low: low(holding),
        days_of_cover: balance.and_then(|balance| days_of_cover(balance, a_window)),
        problem: holding.balance.as_ref().err().cloned(),
        alarm: rang.map(alarm),
    }
}

fn alarm(crossing: &Crossing) -> Alarm {
    Alarm {
        ringing: crossing.low,
        since: crossing.observed_at,
        balance_then: amount(crossing.balance),
        crossings: crossing.crossing,
    }
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
fn by_hand(lanes: &[Lane], read: &[Holding], rang: &BTreeMap<String, Crossing>) -> Vec<LanesView> {
    let mut hands: BTreeMap<&str, Vec<&Holding>> = BTreeMap::new();
    for lane in lanes {
        let held = read.iter().find(|holding| holding.account == lane.account);
        hands.entry(&lane.executor).or_default().extend(held);
    }
    hands
        .into_iter()
        .map(|(hand, held)| {
            let known = held.iter().filter_map(|h| h.balance.as_ref().ok().copied());
            let wanting = held
                .iter()
                .filter(|holding| low(holding))
                .map(|holding| holding.account.clone())
                .collect();
            let ringing = held
                .iter()
                .filter(|h| rang.get(&h.name).is_some_and(|c| c.low));
            LanesView {
                hand: hand.to_owned(),
                lanes: held.len(),
                lowest: known.min().and_then(amount),
                threshold: held.first().and_then(|h| amount(h.threshold)),
                low: wanting,
                ringing: ringing.count(),
                unreadable: held.iter().filter(|h| h.balance.is_err()).count(),
            }
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
