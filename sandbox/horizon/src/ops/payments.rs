//! Payments, plain and through the book.

use crate::address::{self, Address};
use crate::ledger::exchange::Round;
use crate::ledger::state::{Short, State};
use crate::ledger::trade::{self, End, Order, Taken};
use stellar_base::xdr::{
    Asset, ClaimAtom, MuxedAccount, PathPaymentStrictReceiveOp, PathPaymentStrictReceiveResult as Receive,
    PathPaymentStrictReceiveResultSuccess, PathPaymentStrictSendOp, PathPaymentStrictSendResult as Send,
    PathPaymentStrictSendResultSuccess, PaymentOp, PaymentResult, SimplePaymentResult,
};

pub fn malformed(op: &PaymentOp) -> Option<PaymentResult> {
    (op.amount <= 0 || !address::is_valid(&op.asset)).then_some(PaymentResult::Malformed)
}

pub fn receive_malformed(op: &PathPaymentStrictReceiveOp) -> Option<Receive> {
    let valid = address::is_valid(&op.send_asset)
        && address::is_valid(&op.dest_asset)
        && op.path.iter().all(address::is_valid)
        && op.dest_amount > 0
        && op.send_max > 0;
    (!valid).then_some(Receive::Malformed)
}

pub fn send_malformed(op: &PathPaymentStrictSendOp) -> Option<Send> {
    let valid = address::is_valid(&op.send_asset)
        && address::is_valid(&op.dest_asset)
        && op.path.iter().all(address::is_valid)
        && op.send_amount > 0
        && op.dest_min > 0;
    (!valid).then_some(Send::Malformed)
}

/// An issuer may get its own asset back though its account is gone.
fn destination_is_missing(state: &State, to: Address, sent: &Asset, got: &Asset) -> bool {
    let burns = sent == got && address::issuer(got) == Some(to);
    !burns && state.account(to).is_none()
}

pub fn pay(state: &mut State, source: Address, op: &PaymentOp) -> PaymentResult {
    let to = Address::of(&op.destination);
    if destination_is_missing(state, to, &op.asset, &op.asset) {
        return PaymentResult::NoDestination;
    }
    if to == source && op.asset == Asset::Native {
        // To oneself: core lets it pass without looking at the amount.
        return PaymentResult::Success;
    }
    match state.give_to(to, &op.asset, op.amount) {
        Ok(()) => {}
        Err(Short::NoAccount) => return PaymentResult::NoDestination,
        Err(Short::NoLine) => return PaymentResult::NoTrust,
        Err(Short::NotAuthorized) => return PaymentResult::NotAuthorized,
        Err(Short::Amount) => return PaymentResult::LineFull,
    }
    match state.take_from(source, &op.asset, op.amount) {
        Ok(()) => PaymentResult::Success,
        Err(Short::NoAccount | Short::NoLine) => PaymentResult::SrcNoTrust,
        Err(Short::NotAuthorized) => PaymentResult::SrcNotAuthorized,
        Err(Short::Amount) => PaymentResult::Underfunded,
    }
}

fn last(to: &MuxedAccount, asset: &Asset, amount: i64) -> SimplePaymentResult {
    SimplePaymentResult { destination: Address::of(to).id(), asset: asset.clone(), amount }
}

pub fn receive(state: &mut State, source: Address, op: &PathPaymentStrictReceiveOp) -> Receive {
    let to = Address::of(&op.destination);
    if op.path.is_empty() && destination_is_missing(state, to, &op.send_asset, &op.dest_asset)
        || !op.path.is_empty() && state.account(to).is_none()
    {
        return Receive::NoDestination;
    }
    match state.give_to(to, &op.dest_asset, op.dest_amount) {
        Ok(()) => {}
        Err(Short::NoAccount) => return Receive::NoDestination,
        Err(Short::NoLine) => return Receive::NoTrust,
        Err(Short::NotAuthorized) => return Receive::NotAuthorized,
        Err(Short::Amount) => return Receive::LineFull,
    }
    // From the last hop to the first, so that each knows how much the next one needs.
    let mut claims: Vec<ClaimAtom> = Vec::new();
    let (mut wanted, mut needed) = (&op.dest_asset, op.dest_amount);
    for paid in op.path.iter().rev().chain([&op.send_asset]) {
        if paid == wanted {
            continue;
        }
        let order = Order {
            taker: source,
            sheep: paid,
            most_sheep: i64::MAX,
            wheat: wanted,
            most_wheat: needed,
            round: Round::StrictReceive,
            limit: None,
        };
        let taken = trade::take(state, &order, claims.len());
        match taken.end {
            End::OwnOffer => return Receive::OfferCrossSelf,
            End::Filled if taken.wheat == needed => {}
            End::Filled | End::Partial | End::TooMany | End::PriceError => return Receive::TooFewOffers,
        }
        claims = joined(taken.claims, claims);
        (wanted, needed) = (paid, taken.sheep);
    }
    if needed > op.send_max {
        return Receive::OverSendmax;
    }
    match state.take_from(source, &op.send_asset, needed) {
        Ok(()) => {}
        Err(Short::NoAccount | Short::NoLine) => return Receive::SrcNoTrust,
        Err(Short::NotAuthorized) => return Receive::SrcNotAuthorized,
        Err(Short::Amount) => return Receive::Underfunded,
    }
    Receive::Success(PathPaymentStrictReceiveResultSuccess {
        offers: claims.try_into().unwrap_or_default(),
        last: last(&op.destination, &op.dest_asset, op.dest_amount),
    })
}

fn joined(mut first: Vec<ClaimAtom>, then: Vec<ClaimAtom>) -> Vec<ClaimAtom> {
    first.extend(then);
    first
}

pub fn send(state: &mut State, source: Address, op: &PathPaymentStrictSendOp) -> Send {
    let to = Address::of(&op.destination);
    if op.path.is_empty() && destination_is_missing(state, to, &op.send_asset, &op.dest_asset)
        || !op.path.is_empty() && state.account(to).is_none()
    {
        return Send::NoDestination;
    }
    match state.take_from(source, &op.send_asset, op.send_amount) {
        Ok(()) => {}
        Err(Short::NoAccount | Short::NoLine) => return Send::SrcNoTrust,
        Err(Short::NotAuthorized) => return Send::SrcNotAuthorized,
        Err(Short::Amount) => return Send::Underfunded,
    }
    let mut claims: Vec<ClaimAtom> = Vec::new();
    let (mut held, mut amount) = (&op.send_asset, op.send_amount);
    for got in op.path.iter().chain([&op.dest_asset]) {
        if got == held {
            continue;
        }
        let order = Order {
            taker: source,
            sheep: held,
            most_sheep: amount,
            wheat: got,
            most_wheat: i64::MAX,
            round: Round::StrictSend,
            limit: None,
        };
        let Taken { sheep, wheat, claims: new, end } = trade::take(state, &order, claims.len());
        match end {
            End::OwnOffer => return Send::OfferCrossSelf,
            End::Filled if sheep == amount => {}
            End::Filled | End::Partial | End::TooMany | End::PriceError => return Send::TooFewOffers,
        }
        claims.extend(new);
        (held, amount) = (got, wheat);
    }
    if amount < op.dest_min {
        return Send::UnderDestmin;
    }
    match state.give_to(to, &op.dest_asset, amount) {
        Ok(()) => {}
        Err(Short::NoAccount) => return Send::NoDestination,
        Err(Short::NoLine) => return Send::NoTrust,
        Err(Short::NotAuthorized) => return Send::NotAuthorized,
        Err(Short::Amount) => return Send::LineFull,
    }
    Send::Success(PathPaymentStrictSendResultSuccess {
        offers: claims.try_into().unwrap_or_default(),
        last: last(&op.destination, &op.dest_asset, amount),
    })
}
