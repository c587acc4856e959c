//! Offers: selling, buying, passive.

use super::accounts::add_subentry;
use crate::address::{self, Address};
use crate::ledger::exchange::{self, Limits, Round};
use crate::ledger::state::{Offer, Short, State};
use crate::ledger::trade::{self, End, Order};
use stellar_base::xdr::{
    Asset, ClaimAtom, CreatePassiveSellOfferOp, ManageBuyOfferOp, ManageBuyOfferResult, ManageOfferSuccessResult,
    ManageOfferSuccessResultOffer, ManageSellOfferOp, ManageSellOfferResult, OfferEntry, OfferEntryExt, Price,
};

const PASSIVE_FLAG: u32 = 1;

/// What the three operations have in common.
struct Wish<'a> {
    selling: &'a Asset,
    buying: &'a Asset,
    /// Of what is bought for what is sold.
    price: Price,
    amount: Side,
    id: i64,
    passive: bool,
}

/// Which side the amount fixes.
#[derive(Clone, Copy)]
enum Side {
    Selling(i64),
    Buying(i64),
}

impl Side {
    fn amount(self) -> i64 {
        match self {
            Self::Selling(amount) | Self::Buying(amount) => amount,
        }
    }

    /// What is left to give and to take after that much was given and taken.
    fn left(self, can_give: i64, given: i64, can_take: i64, taken: i64) -> (i64, i64) {
        match self {
            Self::Selling(amount) => (can_give.min(amount - given), can_take),
            Self::Buying(amount) => (can_give, can_take.min(amount - taken)),
        }
    }
}

fn is_malformed(selling: &Asset, buying: &Asset, price: &Price, amount: i64, id: i64) -> bool {
    !address::is_valid(selling)
        || !address::is_valid(buying)
        || selling == buying
        || price.n <= 0
        || price.d <= 0
        || amount < 0
        || id < 0
        || (id == 0 && amount == 0)
}

pub fn sell_malformed(op: &ManageSellOfferOp) -> Option<ManageSellOfferResult> {
    is_malformed(&op.selling, &op.buying, &op.price, op.amount, op.offer_id).then_some(ManageSellOfferResult::Malformed)
}

pub fn passive_malformed(op: &CreatePassiveSellOfferOp) -> Option<ManageSellOfferResult> {
    is_malformed(&op.selling, &op.buying, &op.price, op.amount, 0).then_some(ManageSellOfferResult::Malformed)
}

pub fn buy_malformed(op: &ManageBuyOfferOp) -> Option<ManageBuyOfferResult> {
    is_malformed(&op.selling, &op.buying, &op.price, op.buy_amount, op.offer_id)
        .then_some(ManageBuyOfferResult::Malformed)
}

pub fn sell(state: &mut State, source: Address, op: &ManageSellOfferOp) -> ManageSellOfferResult {
    let wish = Wish {
        selling: &op.selling,
        buying: &op.buying,
        price: op.price.clone(),
        amount: Side::Selling(op.amount),
        id: op.offer_id,
        passive: false,
    };
    manage(state, source, wish).map_or_else(sell_code, ManageSellOfferResult::Success)
}

pub fn passive(state: &mut State, source: Address, op: &CreatePassiveSellOfferOp) -> ManageSellOfferResult {
    let wish = Wish {
        selling: &op.selling,
        buying: &op.buying,
        price: op.price.clone(),
        amount: Side::Selling(op.amount),
        id: 0,
        passive: true,
    };
    manage(state, source, wish).map_or_else(sell_code, ManageSellOfferResult::Success)
}

pub fn buy(state: &mut State, source: Address, op: &ManageBuyOfferOp) -> ManageBuyOfferResult {
    let wish = Wish {
        selling: &op.selling,
        buying: &op.buying,
        // Told as what is sold for what is bought.
        price: Price { n: op.price.d, d: op.price.n },
        amount: Side::Buying(op.buy_amount),
        id: op.offer_id,
        passive: false,
    };
    manage(state, source, wish).map_or_else(buy_code, ManageBuyOfferResult::Success)
}

/// Why an offer cannot be placed.
enum Refusal {
    Sell(Short),
    Buy(Short),
    LineFull,
    Underfunded,
    CrossSelf,
    NotFound,
    LowReserve,
}

fn sell_code(refusal: Refusal) -> ManageSellOfferResult {
    use ManageSellOfferResult as R;
    match refusal {
        Refusal::Sell(Short::NoLine | Short::NoAccount) => R::SellNoTrust,
        Refusal::Sell(Short::NotAuthorized) => R::SellNotAuthorized,
        Refusal::Sell(Short::Amount) | Refusal::Underfunded => R::Underfunded,
        Refusal::Buy(Short::NoLine | Short::NoAccount) => R::BuyNoTrust,
        Refusal::Buy(Short::NotAuthorized) => R::BuyNotAuthorized,
        Refusal::Buy(Short::Amount) | Refusal::LineFull => R::LineFull,
        Refusal::CrossSelf => R::CrossSelf,
        Refusal::NotFound => R::NotFound,
        Refusal::LowReserve => R::LowReserve,
    }
}

fn buy_code(refusal: Refusal) -> ManageBuyOfferResult {
    use ManageBuyOfferResult as R;
    match refusal {
        Refusal::Sell(Short::NoLine | Short::NoAccount) => R::SellNoTrust,
        Refusal::Sell(Short::NotAuthorized) => R::SellNotAuthorized,
        Refusal::Sell(Short::Amount) | Refusal::Underfunded => R::Underfunded,
        Refusal::Buy(Short::NoLine | Short::NoAccount) => R::BuyNoTrust,
        Refusal::Buy(Short::NotAuthorized) => R::BuyNotAuthorized,
        Refusal::Buy(Short::Amount) | Refusal::LineFull => R::LineFull,
        Refusal::CrossSelf => R::CrossSelf,
        Refusal::NotFound => R::NotFound,
        Refusal::LowReserve => R::LowReserve,
    }
}

fn success(claims: Vec<ClaimAtom>, offer: ManageOfferSuccessResultOffer) -> ManageOfferSuccessResult {
    ManageOfferSuccessResult { offers_claimed: claims.try_into().unwrap_or_default(), offer }
}

fn manage(state: &mut State, source: Address, wish: Wish<'_>) -> Result<ManageOfferSuccessResult, Refusal> {
    let deletes = wish.amount.amount() == 0;
    if !deletes {
        state.holds(source, wish.selling).map_err(Refusal::Sell)?;
        state.holds(source, wish.buying).map_err(Refusal::Buy)?;
    }
    let old = if wish.id == 0 { None } else { state.offer(wish.id).cloned() };
    match &old {
        Some(offer) if offer.seller == source => state.promise(offer, -1),
        Some(_) => return Err(Refusal::NotFound),
        None if wish.id != 0 => return Err(Refusal::NotFound),
        None => {
            let counted = state.account_mut(source).is_some_and(add_subentry);
            if !counted {
                return Err(Refusal::LowReserve);
            }
        }
    }
    if let (Some(offer), true) = (&old, deletes) {
        trade::remove(state, offer);
        return Ok(success(Vec::new(), ManageOfferSuccessResultOffer::Deleted));
    }
    if old.is_some() {
        // It must not be met by its own new terms.
        state.set_offer(wish.id, None);
    }
    let passive = old.as_ref().map_or(wish.passive, |old| old.passive);
    let claims = fill(state, source, &wish, passive)?;
    rest(state, source, wish, old, passive, claims)
}

struct Filled {
    claims: Vec<ClaimAtom>,
    given: i64,
    taken: i64,
    stays: bool,
}

fn fill(state: &mut State, source: Address, wish: &Wish<'_>, passive: bool) -> Result<Filled, Refusal> {
    let (can_give, can_take) = (state.can_give(source, wish.selling), state.can_take(source, wish.buying));
    let (wheat_send, sheep_receive) = match wish.amount {
        Side::Selling(amount) => (amount, i64::MAX),
        Side::Buying(amount) => (i64::MAX, amount),
    };
    let limits = Limits { wheat_send, wheat_receive: i64::MAX, sheep_send: i64::MAX, sheep_receive };
    let worth = exchange::raw(&wish.price, limits, Round::Normal);
    if can_take < worth.sheep {
        return Err(Refusal::LineFull);
    }
    if can_give < worth.wheat {
        return Err(Refusal::Underfunded);
    }
    let (most_given, most_taken) = wish.amount.left(can_give, 0, can_take, 0);
    if most_taken == 0 {
        return Err(Refusal::LineFull);
    }
    let order = Order {
        taker: source,
        sheep: wish.selling,
        most_sheep: most_given,
        wheat: wish.buying,
        most_wheat: most_taken,
        round: Round::Normal,
        limit: Some((Price { n: wish.price.d, d: wish.price.n }, passive)),
    };
    let taken = trade::take(state, &order, 0);
    let stays = match taken.end {
        End::OwnOffer => return Err(Refusal::CrossSelf),
        End::Filled => false,
        End::Partial | End::TooMany | End::PriceError => true,
    };
    if taken.wheat > 0 {
        state.give_to(source, wish.buying, taken.wheat).map_err(|_| Refusal::LineFull)?;
        state.take_from(source, wish.selling, taken.sheep).map_err(|_| Refusal::Underfunded)?;
    }
    Ok(Filled { claims: taken.claims, given: taken.sheep, taken: taken.wheat, stays })
}

fn rest(
    state: &mut State,
    source: Address,
    wish: Wish<'_>,
    old: Option<Offer>,
    passive: bool,
    filled: Filled,
) -> Result<ManageOfferSuccessResult, Refusal> {
    let amount = if filled.stays {
        let (can_give, can_take) = (state.can_give(source, wish.selling), state.can_take(source, wish.buying));
        let (give, take) = wish.amount.left(can_give, filled.given, can_take, filled.taken);
        exchange::adjusted(&wish.price, give, take)
    } else {
        0
    };
    if amount <= 0 {
        if let Some(account) = state.account_mut(source) {
            account.subentries = account.subentries.saturating_sub(1);
        }
        return Ok(success(filled.claims, ManageOfferSuccessResultOffer::Deleted));
    }
    let id = if old.is_some() { wish.id } else { state.next_offer() };
    let offer = Offer {
        id,
        seller: source,
        selling: wish.selling.clone(),
        buying: wish.buying.clone(),
        amount,
        price: wish.price,
        passive,
        modified: state.now,
    };
    let entry = OfferEntry {
        seller_id: source.id(),
        offer_id: id,
        selling: offer.selling.clone(),
        buying: offer.buying.clone(),
        amount,
        price: offer.price.clone(),
        flags: if passive { PASSIVE_FLAG } else { 0 },
        ext: OfferEntryExt::V0,
    };
    state.promise(&offer, 1);
    state.set_offer(id, Some(offer));
    let kind = if old.is_some() {
        ManageOfferSuccessResultOffer::Updated(entry)
    } else {
        ManageOfferSuccessResultOffer::Created(entry)
    };
    Ok(success(filled.claims, kind))
}
