//! Taking offers from the book, and quoting what it would cost.

use super::exchange::{self, Limits, Round};
use super::state::{Offer, State};
use crate::address::Address;
use stellar_base::xdr::{Asset, ClaimAtom, ClaimOfferAtom, Price};

/// Most offers that one operation may take.
const MOST_OFFERS: usize = 1_000;

/// What a taker wants of the book.
#[derive(Debug)]
pub struct Order<'a> {
    /// Who takes.
    pub taker: Address,
    /// What is paid.
    pub sheep: &'a Asset,
    /// Most that is paid, in stroops.
    pub most_sheep: i64,
    /// What is wanted.
    pub wheat: &'a Asset,
    /// Most that is wanted, in stroops.
    pub most_wheat: i64,
    /// Rounding.
    pub round: Round,
    /// Offers dearer than this stay; with `true`, those of the same price too.
    pub limit: Option<(Price, bool)>,
}

/// Why taking offers ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// One of the two amounts is reached.
    Filled,
    /// The book has no more, or none cheap enough.
    Partial,
    /// The next offer is the taker's own.
    OwnOffer,
    /// More than 1,000 offers.
    TooMany,
    /// The rounding would be unfair.
    PriceError,
}

/// What was taken.
#[derive(Debug)]
pub struct Taken {
    /// Paid, in stroops.
    pub sheep: i64,
    /// Got, in stroops.
    pub wheat: i64,
    /// Offer by offer.
    pub claims: Vec<ClaimAtom>,
    /// Why it ended.
    pub end: End,
}

fn is_dearer(price: &Price, limit: &Price, or_same: bool) -> bool {
    let left = i64::from(price.n) * i64::from(limit.d);
    let right = i64::from(limit.n) * i64::from(price.d);
    left > right || (or_same && left == right)
}

/// Takes offers, best first. The sellers' holdings change; the taker's are the caller's business.
pub fn take(state: &mut State, order: &Order<'_>, already: usize) -> Taken {
    let mut taken = Taken { sheep: 0, wheat: 0, claims: Vec::new(), end: End::Partial };
    loop {
        let (wheat_left, sheep_left) = (order.most_wheat - taken.wheat, order.most_sheep - taken.sheep);
        if wheat_left <= 0 || sheep_left <= 0 {
            taken.end = End::Filled;
            return taken;
        }
        let Some(offer) = state.book(order.wheat, order.sheep).next().cloned() else { return taken };
        if order.limit.as_ref().is_some_and(|(limit, or_same)| is_dearer(&offer.price, limit, *or_same)) {
            return taken;
        }
        if offer.seller == order.taker {
            taken.end = End::OwnOffer;
            return taken;
        }
        if already + taken.claims.len() >= MOST_OFFERS {
            taken.end = End::TooMany;
            return taken;
        }
        let Some((wheat, sheep, stays)) = cross(state, offer, wheat_left, sheep_left, order.round, &mut taken.claims)
        else {
            taken.end = End::PriceError;
            return taken;
        };
        taken.wheat += wheat;
        taken.sheep += sheep;
        if stays {
            let done = taken.wheat >= order.most_wheat || taken.sheep >= order.most_sheep;
            taken.end = if done { End::Filled } else { End::Partial };
            // What stays means that the taker's side is used up, be it for a rest too small to trade.
            return taken;
        }
    }
}

fn cross(
    state: &mut State,
    mut offer: Offer,
    wheat_left: i64,
    sheep_left: i64,
    round: Round,
    claims: &mut Vec<ClaimAtom>,
) -> Option<(i64, i64, bool)> {
    state.promise(&offer, -1);
    let limits = Limits {
        wheat_send: offer.amount.min(state.can_give(offer.seller, &offer.selling)),
        wheat_receive: wheat_left,
        sheep_send: sheep_left,
        sheep_receive: state.can_take(offer.seller, &offer.buying),
    };
    let exchange = exchange::exchange(&offer.price, limits, round).ok()?;
    // Both were bounded by what the seller can take and give.
    state.give_to(offer.seller, &offer.buying, exchange.sheep).ok()?;
    state.take_from(offer.seller, &offer.selling, exchange.wheat).ok()?;
    claims.push(ClaimAtom::OrderBook(ClaimOfferAtom {
        seller_id: offer.seller.id(),
        offer_id: offer.id,
        asset_sold: offer.selling.clone(),
        amount_sold: exchange.wheat,
        asset_bought: offer.buying.clone(),
        amount_bought: exchange.sheep,
    }));
    let rest = if exchange.wheat_stays { offer.amount - exchange.wheat } else { 0 };
    let can_give = rest.min(state.can_give(offer.seller, &offer.selling));
    offer.amount = exchange::adjusted(&offer.price, can_give, state.can_take(offer.seller, &offer.buying));
    if offer.amount > 0 {
        offer.modified = state.now;
        state.promise(&offer, 1);
        state.set_offer(offer.id, Some(offer));
    } else {
        remove(state, &offer);
    }
    Some((exchange.wheat, exchange.sheep, exchange.wheat_stays))
}

/// Removes an offer whose promises are taken back already.
pub fn remove(state: &mut State, offer: &Offer) {
    state.set_offer(offer.id, None);
    if let Some(seller) = state.account_mut(offer.seller) {
        seller.subentries = seller.subentries.saturating_sub(1);
    }
}

/// What the book wants in sheep for exactly that much wheat; `None` when it holds too little.
pub fn cost(state: &State, wheat: &Asset, amount: i64, sheep: &Asset) -> Option<i64> {
    let (mut left, mut cost) = (amount, 0_i64);
    for offer in state.book(wheat, sheep) {
        let limits =
            Limits { wheat_send: offer.amount, wheat_receive: left, sheep_send: i64::MAX, sheep_receive: i64::MAX };
        let part = exchange::exchange(&offer.price, limits, Round::StrictReceive).ok()?;
        left -= part.wheat;
        cost = cost.checked_add(part.sheep)?;
        if left == 0 {
            return Some(cost);
        }
        if part.wheat_stays {
            return None;
        }
    }
    None
}

/// What the book gives in wheat for exactly that much sheep; `None` when it takes less.
pub fn proceeds(state: &State, sheep: &Asset, amount: i64, wheat: &Asset) -> Option<i64> {
    let (mut left, mut got) = (amount, 0_i64);
    for offer in state.book(wheat, sheep) {
        let limits =
            Limits { wheat_send: offer.amount, wheat_receive: i64::MAX, sheep_send: left, sheep_receive: i64::MAX };
        let part = exchange::exchange(&offer.price, limits, Round::StrictSend).ok()?;
        left -= part.sheep;
        got = got.checked_add(part.wheat)?;
        if left == 0 {
            return Some(got);
        }
        if part.wheat_stays {
            return None;
        }
    }
    None
}

/// A way from one asset to another, with what it costs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// What is paid.
    pub from: Asset,
    /// Paid, in stroops.
    pub cost: i64,
    /// Assets in between, in the payment's order.
    pub via: Vec<Asset>,
}

/// Ways to get exactly `amount` of `wanted` for one of `sources`, over at most two assets in
/// between; by source, cheapest first. (Horizon goes over up to four.)
pub fn ways_to_receive(state: &State, wanted: &Asset, amount: i64, sources: &[Asset]) -> Vec<Way> {
    let mut found = Vec::new();
    let mut open = vec![Way { from: wanted.clone(), cost: amount, via: Vec::new() }];
    for _ in 0..4 {
        found.extend(open.iter().filter(|way| sources.contains(&way.from)).cloned());
        let mut next = Vec::new();
        for way in &open {
            for asset in state.taken_for(&way.from) {
                if asset == *wanted || asset == way.from || way.via.contains(&asset) {
                    continue;
                }
                let Some(cost) = cost(state, &way.from, way.cost, &asset) else { continue };
                let mut via = way.via.clone();
                if way.from != *wanted {
                    via.insert(0, way.from.clone());
                }
                next.push(Way { from: asset, cost, via });
            }
        }
        open = next;
    }
    found.sort();
    found
}

/// A way from one asset to another, with what it brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yield {
    /// What arrives.
    pub to: Asset,
    /// Arrives, in stroops.
    pub proceeds: i64,
    /// Assets in between, in the payment's order.
    pub via: Vec<Asset>,
}

/// Ways to send exactly `amount` of `sent` so that one of `wanted` arrives, over at most two
/// assets in between; by what arrives, best first.
pub fn ways_to_send(state: &State, sent: &Asset, amount: i64, wanted: &[Asset]) -> Vec<Yield> {
    let mut found = Vec::new();
    let mut open = vec![Yield { to: sent.clone(), proceeds: amount, via: Vec::new() }];
    for _ in 0..4 {
        found.extend(open.iter().filter(|way| wanted.contains(&way.to)).cloned());
        let mut next = Vec::new();
        for way in &open {
            for asset in state.given_for(&way.to) {
                if asset == *sent || asset == way.to || way.via.contains(&asset) {
                    continue;
                }
                let Some(proceeds) = proceeds(state, &way.to, way.proceeds, &asset) else { continue };
                let mut via = way.via.clone();
                if way.to != *sent {
                    via.push(way.to.clone());
                }
                next.push(Yield { to: asset, proceeds, via });
            }
        }
        open = next;
    }
    found.sort_by(|a, b| (&a.to, b.proceeds, &a.via).cmp(&(&b.to, a.proceeds, &b.via)));
    found
}
