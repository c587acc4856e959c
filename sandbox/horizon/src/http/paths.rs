//! Quotes from the order book.

use super::ask::Ask;
use super::problem::Problem;
use super::{Net, state_document};
use crate::address;
use crate::ledger::state::Offer;
use crate::ledger::trade;
use crate::stroops::{show, show_price};
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};
use stellar_base::xdr::{Asset, Price};

fn named(asset: &Asset) -> Value {
    let mut all = Map::new();
    address::name(&mut all, "", asset);
    all.into()
}

fn record(from: &Asset, paid: i64, to: &Asset, got: i64, via: &[Asset]) -> Value {
    let mut all = Map::new();
    address::name(&mut all, "source_", from);
    all.insert("source_amount".to_owned(), show(paid).into());
    address::name(&mut all, "destination_", to);
    all.insert("destination_amount".to_owned(), show(got).into());
    all.insert("path".to_owned(), via.iter().map(named).collect());
    all.into()
}

/// `GET /paths/strict-receive`: what it costs to deliver exactly that much.
pub async fn strict_receive(State(node): State<Net>, ask: Ask) -> Result<Response, Problem> {
    let (wanted, amount) = (ask.asset("destination_")?, ask.amount("destination_amount")?);
    let (account, listed) = (ask.account("source_account")?, ask.assets("source_assets")?);
    let ledger = node.read();
    let state = &ledger.state;
    let sources = match (account, listed) {
        (None, Some(assets)) => assets,
        (Some(account), None) => {
            let holder = state.account(account).ok_or_else(Problem::not_found)?;
            holder.lines.keys().cloned().chain([Asset::Native]).collect()
        }
        _ => return Err(Problem::bad_request("source_assets", "The request requires either a list of source assets or a source account. Both fields cannot be present.")),
    };
    let mut ways = trade::ways_to_receive(state, &wanted, amount, &sources);
    if let Some(account) = account {
        ways.retain(|way| way.cost <= state.can_give(account, &way.from));
    }
    let records = ways.iter().map(|way| record(&way.from, way.cost, &wanted, amount, &way.via));
    Ok(state_document(&Ask::whole(records.collect()), ledger.last().at.ledger))
}

/// `GET /paths/strict-send`: what exactly that much brings.
pub async fn strict_send(State(node): State<Net>, ask: Ask) -> Result<Response, Problem> {
    let (sent, amount) = (ask.asset("source_")?, ask.amount("source_amount")?);
    let (account, listed) = (ask.account("destination_account")?, ask.assets("destination_assets")?);
    let ledger = node.read();
    let state = &ledger.state;
    let wanted = match (account, listed) {
        (None, Some(assets)) => assets,
        (Some(account), None) => {
            let holder = state.account(account).ok_or_else(Problem::not_found)?;
            holder.lines.keys().cloned().chain([Asset::Native]).collect()
        }
        _ => return Err(Problem::bad_request("destination_assets", "The request requires either a list of destination assets or a destination account. Both fields cannot be present.")),
    };
    let ways = trade::ways_to_send(state, &sent, amount, &wanted);
    let records = ways.iter().map(|way| record(&sent, amount, &way.to, way.proceeds, &way.via));
    Ok(state_document(&Ask::whole(records.collect()), ledger.last().at.ledger))
}

fn levels<'a>(offers: impl Iterator<Item = &'a Offer>, most: usize, turned: bool) -> Value {
    let mut levels: Vec<(Price, i64)> = Vec::new();
    for offer in offers {
        match levels.last_mut() {
            Some((price, amount)) if *price == offer.price => *amount = amount.saturating_add(offer.amount),
            _ => levels.push((offer.price.clone(), offer.amount)),
        }
    }
    let level = |(price, amount): (Price, i64)| {
        let price = if turned { Price { n: price.d, d: price.n } } else { price };
        json!({ "price_r": { "n": price.n, "d": price.d }, "price": show_price(&price), "amount": show(amount) })
    };
    levels.into_iter().take(most).map(level).collect()
}

/// `GET /order_book`.
pub async fn order_book(State(node): State<Net>, ask: Ask) -> Result<Response, Problem> {
    let (selling, buying, page) = (ask.asset("selling_")?, ask.asset("buying_")?, ask.page()?);
    let ledger = node.read();
    let book = json!({
        "bids": levels(ledger.state.book(&buying, &selling), page.limit, true),
        "asks": levels(ledger.state.book(&selling, &buying), page.limit, false),
        "base": named(&selling),
        "counter": named(&buying),
    });
    Ok(state_document(&book, ledger.last().at.ledger))
}
