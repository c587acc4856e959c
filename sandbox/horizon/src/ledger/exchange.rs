//! How much changes hands when an order takes an offer, rounded as protocol 10 and later do.
//!
//! The offer's seller gives *wheat* and gets *sheep* at a price of n/d sheep for one wheat.
//! Rounding favours the side whose order stays in the book. (stellar-core, `OfferExchange.cpp`.)

use stellar_base::xdr::Price;

/// Which rule of rounding applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// An offer meets an offer: neither may do worse than its price by more than 1 %.
    Normal,
    /// A path payment that fixes what arrives.
    StrictReceive,
    /// A path payment that fixes what is sent.
    StrictSend,
}

/// The most that each side can move, in stroops.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Wheat that the offer can give.
    pub wheat_send: i64,
    /// Wheat that the taker can take.
    pub wheat_receive: i64,
    /// Sheep that the taker can give.
    pub sheep_send: i64,
    /// Sheep that the offer's seller can take.
    pub sheep_receive: i64,
}

/// What changes hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Wheat that the taker gets.
    pub wheat: i64,
    /// Sheep that the taker pays.
    pub sheep: i64,
    /// The offer is not used up.
    pub wheat_stays: bool,
}

/// The exchange would break the protocol's invariants; it does not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceError;

fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn up(value: i128, by: i128) -> i128 {
    (value + by - 1) / by
}

/// What changes hands, before the bounds on the error of the price.
pub fn raw(price: &Price, limits: Limits, round: Round) -> Exchange {
    let (n, d) = (i128::from(price.n), i128::from(price.d));
    let (wheat_send, wheat_receive) = (i128::from(limits.wheat_send), i128::from(limits.wheat_receive));
    let (sheep_send, sheep_receive) = (i128::from(limits.sheep_send), i128::from(limits.sheep_receive));
    let wheat_value = (wheat_send * n).min(sheep_receive * d);
    let sheep_value = (sheep_send * d).min(wheat_receive * n);
    let wheat_stays = wheat_value > sheep_value;
    let (wheat, sheep) = match (wheat_stays, round) {
        (true, Round::StrictSend) => (sheep_value / n, sheep_send.min(sheep_receive)),
        (true, Round::StrictReceive) => (sheep_value / n, up(sheep_value / n * n, d)),
        (true, Round::Normal) if n > d => (sheep_value / n, up(sheep_value / n * n, d)),
        (true, Round::Normal) => (sheep_value / d * d / n, sheep_value / d),
        (false, _) if n > d => (wheat_value / n, wheat_value / n * n / d),
        (false, _) => (up(wheat_value / d * d, n), wheat_value / d),
    };
    Exchange { wheat: narrow(wheat), sheep: narrow(sheep), wheat_stays }
}

/// Whether the price that comes out is within 1 % of the offer's (or in its favour, if it may be).
fn within_bound(price: &Price, wheat: i64, sheep: i64, may_favour_wheat: bool) -> bool {
    let wheat_value = i128::from(price.n) * i128::from(wheat);
    let sheep_value = i128::from(price.d) * i128::from(sheep);
    (may_favour_wheat && sheep_value > wheat_value) || (100 * (wheat_value - sheep_value)).abs() <= wheat_value
}

/// What changes hands.
///
/// # Errors
/// When a path payment would pay a price outside the bounds.
pub fn exchange(price: &Price, limits: Limits, round: Round) -> Result<Exchange, PriceError> {
    let raw = raw(price, limits, round);
    let none = Exchange { wheat: 0, sheep: 0, ..raw };
    if raw.wheat > 0 && raw.sheep > 0 {
        return match round {
            Round::Normal if within_bound(price, raw.wheat, raw.sheep, false) => Ok(raw),
            Round::Normal => Ok(none),
            _ if within_bound(price, raw.wheat, raw.sheep, true) => Ok(raw),
            _ => Err(PriceError),
        };
    }
    match round {
        Round::StrictSend if raw.sheep == 0 => Err(PriceError),
        Round::StrictSend => Ok(raw),
        _ => Ok(none),
    }
}

/// The amount that an offer may stand with, so that it is worth a whole number of stroops.
pub fn adjusted(price: &Price, wheat_send: i64, sheep_receive: i64) -> i64 {
    let limits = Limits { wheat_send, wheat_receive: i64::MAX, sheep_send: i64::MAX, sheep_receive };
    exchange(price, limits, Round::Normal).map_or(0, |exchange| exchange.wheat)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn price(n: i32, d: i32) -> Price {
        Price { n, d }
    }

    #[test]
    fn what_stands_is_worth_a_whole_number_of_stroops() {
        assert_eq!(adjusted(&price(3, 7), 1_000_000_000_000, i64::MAX), 999_999_999_999);
        assert_eq!(adjusted(&price(202, 10_000), 10_000_000_000, i64::MAX), 10_000_000_000);
        assert_eq!(adjusted(&price(21, 1_000), 999_499_999_999_997, i64::MAX), 999_499_999_999_953);
        assert_eq!(adjusted(&price(7, 3), 1_000, i64::MAX), 1_000);
        assert_eq!(adjusted(&price(7, 3), 1_000, 700), 300);
    }

    #[test]
    fn a_strict_receive_takes_exactly_what_it_wants_and_pays_rounded_up() {
        let limits = Limits { wheat_send: 1_000_000_000_000, wheat_receive: 100_000_001, sheep_send: i64::MAX, sheep_receive: i64::MAX };
        let got = exchange(&price(21, 1_000), limits, Round::StrictReceive).unwrap();
        assert_eq!(got, Exchange { wheat: 100_000_001, sheep: 2_100_001, wheat_stays: true });
    }

    #[test]
    fn an_offer_that_is_used_up_gives_all_of_it() {
        let limits = Limits { wheat_send: 10_000_000_000, wheat_receive: 15_000_000_003, sheep_send: i64::MAX, sheep_receive: i64::MAX };
        let got = exchange(&price(202, 10_000), limits, Round::StrictReceive).unwrap();
        assert_eq!(got, Exchange { wheat: 10_000_000_000, sheep: 202_000_000, wheat_stays: false });
    }

    #[test]
    fn two_offers_that_would_trade_too_far_off_their_price_do_not() {
        let limits = Limits { wheat_send: 1_000, wheat_receive: 2, sheep_send: i64::MAX, sheep_receive: i64::MAX };
        // 2 wheat at 3/2 is 3 sheep, exact; 1 wheat is 1.5 sheep, 33 % off when rounded up.
        assert_eq!(exchange(&price(3, 2), limits, Round::Normal).unwrap().wheat, 2);
        let one = Limits { wheat_receive: 1, ..limits };
        assert_eq!(exchange(&price(3, 2), one, Round::Normal).unwrap().wheat, 0);
        assert_eq!(exchange(&price(3, 2), one, Round::StrictReceive).unwrap().sheep, 2);
    }

    #[test]
    fn a_strict_send_gives_all_of_it_and_gets_rounded_down() {
        let limits = Limits { wheat_send: i64::MAX, wheat_receive: i64::MAX, sheep_send: 10, sheep_receive: i64::MAX };
        let got = exchange(&price(3, 7), limits, Round::StrictSend).unwrap();
        assert_eq!(got, Exchange { wheat: 23, sheep: 10, wheat_stays: true });
    }
}
