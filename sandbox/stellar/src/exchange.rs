//! Crossing offers: the network's arithmetic (stellar-core `OfferExchange`, protocol 10 and later).

use crate::envelope::{Key, account_id};
use crate::state::{Offer, State};
use stellar_base::xdr::{Asset, ClaimAtom, ClaimOfferAtom};

/// How a crossing rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// An offer against an offer.
    Normal,
    /// A path payment with a fixed amount at its end.
    StrictReceive,
}

/// Why a conversion is impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversionError {
    /// The book holds too little.
    TooFewOffers,
    /// The next offer is the payer's own.
    CrossSelf,
}

/// What one crossing moves. "Wheat" is what the standing offer sells, "sheep" what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exchange {
    wheat: i64,
    sheep: i64,
    wheat_stays: bool,
}

fn wide(value: i64) -> u128 {
    u128::try_from(value).unwrap_or(0)
}

fn narrow(value: u128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn exchange(
    offer: &Offer,
    wheat_send: i64,
    wheat_receive: i64,
    sheep_send: i64,
    sheep_receive: i64,
    rounding: Rounding,
) -> Exchange {
    let (n, d) = (
        wide(i64::from(offer.n)).max(1),
        wide(i64::from(offer.d)).max(1),
    );
    let wheat_value = (wide(wheat_send) * n).min(wide(sheep_receive) * d);
    let sheep_value = (wide(sheep_send) * d).min(wide(wheat_receive) * n);
    let wheat_stays = wheat_value > sheep_value;
    let (wheat, sheep) = if wheat_stays {
        if n > d || rounding == Rounding::StrictReceive {
            let wheat = sheep_value / n;
            (wheat, (wheat * n).div_ceil(d))
        } else {
            let sheep = sheep_value / d;
            (sheep * d / n, sheep)
        }
    } else if n > d {
        let wheat = wheat_value / n;
        (wheat, wheat * n / d)
    } else {
        let sheep = wheat_value / d;
        ((sheep * d).div_ceil(n), sheep)
    };
    Exchange {
        wheat: narrow(wheat),
        sheep: narrow(sheep),
        wheat_stays,
    }
}

/// The amount that an offer can hold: at a price below 1 it shrinks to what a whole number of stroops buys.
pub fn adjust(offer: &Offer, wheat_send: i64, sheep_receive: i64) -> i64 {
    exchange(
        offer,
        wheat_send,
        i64::MAX,
        i64::MAX,
        sheep_receive,
        Rounding::Normal,
    )
    .wheat
    .min(wheat_send)
}

/// What an offer brings if all of it is taken: its buying liability, in stroops.
pub fn proceeds(offer: &Offer) -> i64 {
    exchange(
        offer,
        offer.amount,
        i64::MAX,
        i64::MAX,
        i64::MAX,
        Rounding::Normal,
    )
    .sheep
}

/// What a conversion moved.
#[derive(Debug, Default)]
pub struct Converted {
    /// Stroops given.
    pub sheep: i64,
    /// Stroops got.
    pub wheat: i64,
    /// One claim for each offer crossed.
    pub claims: Vec<ClaimAtom>,
}

/// How far a conversion may go.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most to give, in stroops.
    pub sheep: i64,
    /// Most to get, in stroops.
    pub wheat: i64,
    /// Offers dearer than (n, d) are left alone.
    pub price: Option<(i32, i32)>,
    /// How to round.
    pub rounding: Rounding,
}

/// Gives `sheep` for `wheat` over the order book on behalf of `taker`, whose own balances are not touched.
///
/// # Errors
/// With strict receive when the book holds too little; when an offer is the taker's own.
pub fn convert(
    state: &mut State,
    taker: &Key,
    sheep: &Asset,
    wheat: &Asset,
    limits: Limits,
    now: (u32, u64),
) -> Result<Converted, ConversionError> {
    let mut done = Converted::default();
    while done.wheat < limits.wheat && done.sheep < limits.sheep {
        let Some(offer) = state
            .book(wheat, sheep)
            .first()
            .map(|offer| (*offer).clone())
        else {
            break;
        };
        if let Some((n, d)) = limits.price
            && i64::from(offer.n) * i64::from(d) > i64::from(n) * i64::from(offer.d)
        {
            break;
        }
        if offer.seller == *taker {
            return Err(ConversionError::CrossSelf);
        }
        // The offer's own liabilities do not stand against itself.
        state.set_offer(offer.id, None);
        let can_sell = state
            .spendable(&offer.seller, wheat)
            .unwrap_or(0)
            .min(offer.amount);
        let can_buy = state.receivable(&offer.seller, sheep).unwrap_or(0);
        let amount = adjust(&offer, can_sell, can_buy);
        let (wheat_left, sheep_left) = (limits.wheat - done.wheat, limits.sheep - done.sheep);
        let crossed = exchange(
            &offer,
            amount,
            wheat_left,
            sheep_left,
            can_buy,
            limits.rounding,
        );
        if crossed.wheat == 0 && crossed.wheat_stays {
            state.set_offer(offer.id, Some(offer));
            break;
        }
        let moved = state.add(&offer.seller, wheat, -crossed.wheat, now)
            && state.add(&offer.seller, sheep, crossed.sheep, now);
        if !moved {
            continue;
        }
        done.wheat += crossed.wheat;
        done.sheep = done.sheep.saturating_add(crossed.sheep);
        done.claims.push(ClaimAtom::OrderBook(ClaimOfferAtom {
            seller_id: account_id(&offer.seller),
            offer_id: offer.id,
            asset_sold: wheat.clone(),
            amount_sold: crossed.wheat,
            asset_bought: sheep.clone(),
            amount_bought: crossed.sheep,
        }));
        if crossed.wheat_stays {
            let can_sell = state
                .spendable(&offer.seller, wheat)
                .unwrap_or(0)
                .min(amount - crossed.wheat);
            let can_buy = state.receivable(&offer.seller, sheep).unwrap_or(0);
            let rest = adjust(&offer, can_sell, can_buy);
            if rest > 0 {
                state.set_offer(
                    offer.id,
                    Some(Offer {
                        amount: rest,
                        modified: now,
                        ..offer
                    }),
                );
            }
            break;
        }
    }
    if limits.rounding == Rounding::StrictReceive && done.wheat < limits.wheat {
        return Err(ConversionError::TooFewOffers);
    }
    Ok(done)
}
