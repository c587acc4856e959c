//! Lists, as pages and as event streams.

use super::ask::{Ask, parse_account, parse_hash};
use super::problem::Problem;
use super::{Net, accounts, document, ledgers as ledger_docs, op, state_document, tx};
use crate::address::Address;
use crate::ledger::close::Ledger;
use crate::ledger::history::{Cursor, Page};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Streams are ended after this, as Horizon ends them; the client connects again.
const STREAM_TIME: Duration = Duration::from_secs(55);
const HELLO: &str = "retry: 1000\nevent: open\ndata: \"hello\"\n\n";
const BYE: &str = "retry: 10\nevent: close\ndata: \"byebye\"\n\n";

/// What a list shows for a page.
type Fetch = Arc<dyn Fn(&Ledger, Page) -> Vec<Value> + Send + Sync>;
/// What a document shows now, if it is there.
type Look = Arc<dyn Fn(&Ledger) -> Option<Value> + Send + Sync>;

fn answer(node: Net, ask: &Ask, fetch: Fetch) -> Result<Response, Problem> {
    let page = ask.page()?;
    if ask.stream {
        return Ok(stream(node, page, fetch));
    }
    let records = fetch(&node.read(), page);
    Ok(document(&ask.collection(page, records)))
}

fn transactions_of(node: Net, ask: &Ask, of: Option<Address>) -> Result<Response, Problem> {
    let (failed, base) = (ask.include_failed()?, ask.base.clone());
    let fetch = move |ledger: &Ledger, page| {
        ledger.history.txs(of, failed, page).into_iter().map(|one| tx::render(one, None, &base)).collect()
    };
    answer(node, ask, Arc::new(fetch))
}

fn operations_of(node: Net, ask: &Ask, of: Option<Address>, payments: bool) -> Result<Response, Problem> {
    let (failed, join, base) = (ask.include_failed()?, ask.join()?, ask.base.clone());
    let fetch = move |ledger: &Ledger, page| {
        ledger.history.ops(of, payments, failed, page).into_iter().map(|one| op::render(one, join, &base)).collect()
    };
    answer(node, ask, Arc::new(fetch))
}

/// An account of which the history knows.
fn known(node: &Net, id: &str) -> Result<Option<Address>, Problem> {
    let address = parse_account("account_id", id)?;
    let ledger = node.read();
    if ledger.history.knows(address) || ledger.state.account(address).is_some() {
        return Ok(Some(address));
    }
    Err(Problem::not_found())
}

/// `GET /transactions`.
pub async fn transactions(State(node): State<Net>, ask: Ask) -> Result<Response, Problem> {
    transactions_of(node, &ask, None)
}

/// `GET /operations`.
pub async fn operations(State(node): State<Net>, ask: Ask) -> Result<Response, Problem> {
    operations_of(node, &ask, None, false)
}

/// `GET /payments`.
pub async fn payments(State(node): State<Net>, ask: Ask) -> Result<Response, Problem> {
    operations_of(node, &ask, None, true)
}

/// `GET /accounts/{id}/transactions`.
pub async fn account_transactions(State(node): State<Net>, Path(id): Path<String>, ask: Ask) -> Result<Response, Problem> {
    let of = known(&node, &id)?;
    transactions_of(node, &ask, of)
}

/// `GET /accounts/{id}/operations`.
pub async fn account_operations(State(node): State<Net>, Path(id): Path<String>, ask: Ask) -> Result<Response, Problem> {
    let of = known(&node, &id)?;
    operations_of(node, &ask, of, false)
}

/// `GET /accounts/{id}/payments`.
pub async fn account_payments(State(node): State<Net>, Path(id): Path<String>, ask: Ask) -> Result<Response, Problem> {
    let of = known(&node, &id)?;
    operations_of(node, &ask, of, true)
}

fn operations_in(node: Net, ask: &Ask, hash: &str, payments: bool) -> Result<Response, Problem> {
    let (hash, join, base) = (parse_hash(hash)?, ask.join()?, ask.base.clone());
    if node.read().history.tx(&hash).is_none() {
        return Err(Problem::not_found());
    }
    let fetch = move |ledger: &Ledger, page: Page| {
        let Some(tx) = ledger.history.tx(&hash) else { return Vec::new() };
        let mut found: Vec<_> = ledger.history.ops_of_tx(tx).iter().collect();
        found.retain(|op| !payments || op.is_payment());
        part(found, page, |op| op.token).into_iter().map(|one| op::render(one, join, &base)).collect()
    };
    answer(node, ask, Arc::new(fetch))
}

/// `GET /transactions/{hash}/operations`.
pub async fn transaction_operations(State(node): State<Net>, Path(hash): Path<String>, ask: Ask) -> Result<Response, Problem> {
    operations_in(node, &ask, &hash, false)
}

/// `GET /transactions/{hash}/payments`.
pub async fn transaction_payments(State(node): State<Net>, Path(hash): Path<String>, ask: Ask) -> Result<Response, Problem> {
    operations_in(node, &ask, &hash, true)
}

/// `GET /ledgers`.
pub async fn ledgers(State(node): State<Net>, ask: Ask) -> Result<Response, Problem> {
    let base = ask.base.clone();
    let fetch = move |ledger: &Ledger, page| {
        ledger.history.ledgers(page).into_iter().map(|header| ledger_docs::render(header, &base)).collect()
    };
    answer(node, &ask, Arc::new(fetch))
}

/// The page's part of a list that is in the order of its tokens.
fn part<T>(mut list: Vec<T>, page: Page, token: impl Fn(&T) -> i64) -> Vec<T> {
    if page.descending {
        list.reverse();
    }
    match page.cursor {
        Cursor::Start => {}
        Cursor::After(cursor) if page.descending => list.retain(|one| token(one) < cursor),
        Cursor::After(cursor) => list.retain(|one| token(one) > cursor),
        Cursor::Now => list.clear(),
    }
    list.truncate(page.limit);
    list
}

fn offers_of(node: &Net, ask: &Ask, seller: Option<Address>) -> Result<Response, Problem> {
    let page = ask.page()?;
    let ledger = node.read();
    let offers: Vec<_> = match seller {
        Some(seller) => ledger.state.offers_of(seller).collect(),
        None => ledger.state.offers().collect(),
    };
    let records = part(offers, page, |offer| offer.id).into_iter().map(|offer| accounts::render_offer(offer, &ask.base));
    Ok(state_document(&ask.collection(page, records.collect()), ledger.last().at.ledger))
}

/// `GET /accounts/{id}/offers`.
pub async fn account_offers(State(node): State<Net>, Path(id): Path<String>, ask: Ask) -> Result<Response, Problem> {
    let seller = parse_account("account_id", &id)?;
    offers_of(&node, &ask, Some(seller))
}

/// `GET /offers`.
pub async fn offers(State(node): State<Net>, ask: Ask) -> Result<Response, Problem> {
    let seller = ask.account("seller")?;
    offers_of(&node, &ask, seller)
}

struct Stream {
    node: Net,
    fetch: Fetch,
    page: Page,
    closings: watch::Receiver<u32>,
    end: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Hello,
    Records,
    Done,
}

fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream; charset=utf-8"));
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
    response
}

fn stream(node: Net, mut page: Page, fetch: Fetch) -> Response {
    page.descending = false;
    if page.cursor == Cursor::Now {
        // All that stands now is at most in the newest ledger.
        page.cursor = Cursor::After(crate::ledger::history::ledger_token(node.read().last().at.ledger + 1) - 1);
    }
    let closings = node.closings();
    let stream = Stream { node, fetch, page, closings, end: Instant::now() + STREAM_TIME, stage: Stage::Hello };
    event_stream(Body::from_stream(futures::stream::unfold(stream, |stream| async move { next(stream).await })))
}

async fn next(mut stream: Stream) -> Option<(Result<String, Infallible>, Stream)> {
    match stream.stage {
        Stage::Hello => {
            stream.stage = Stage::Records;
            return Some((Ok(HELLO.to_owned()), stream));
        }
        Stage::Done => return None,
        Stage::Records => {}
    }
    loop {
        stream.closings.mark_unchanged();
        let records = if stream.page.limit == 0 { Vec::new() } else { (stream.fetch)(&stream.node.read(), stream.page) };
        if !records.is_empty() {
            let mut text = String::new();
            for record in &records {
                let token = record["paging_token"].as_str().unwrap_or_default();
                text.push_str(&format!("id: {token}\ndata: {record}\n\n"));
                if let Ok(token) = token.parse() {
                    stream.page.cursor = Cursor::After(token);
                }
            }
            stream.page.limit = stream.page.limit.saturating_sub(records.len());
            return Some((Ok(text), stream));
        }
        let waited = tokio::time::timeout_at(stream.end, stream.closings.changed());
        if stream.page.limit == 0 || !matches!(waited.await, Ok(Ok(()))) {
            stream.stage = Stage::Done;
            return Some((Ok(BYE.to_owned()), stream));
        }
    }
}

/// A document each time that it changed.
pub fn stream_of_one(node: Net, look: Look) -> Response {
    let last = std::sync::Mutex::new(Value::Null);
    let fetch = move |ledger: &Ledger, _: Page| {
        let Some(now) = look(ledger) else { return Vec::new() };
        match last.lock() {
            Ok(mut last) if *last != now => {
                *last = now.clone();
                vec![now]
            }
            _ => Vec::new(),
        }
    };
    let page = Page { cursor: Cursor::Start, descending: false, limit: usize::MAX };
    stream(node, page, Arc::new(fetch))
}
