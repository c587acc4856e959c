//! JSON-RPC over WebSocket at `/`, and controls for tests:
//!
//! | request | effect |
//! |---|---|
//! | `GET /_control/counts` | [`crate::tally::Counts`] |
//! | `POST /_control/clock` `{"advance_ms": n}` | sets the chain's clock forward |
//! | `POST /_control/blocks` `{"count": n}` | seals n blocks |
//! | `POST /_control/pool` `{"held": true, "drop_each": n}` | transactions stay in the pool until `false`; each n-th, chosen by its hash, is dropped from it, 0: none |
//! | `POST /_control/bridge` `{"returns": n}` | the bridge pays each n-th deposit back, chosen by its hash; 0: none |
//! | `POST /_control/fork` `{"depth": n, "lose": false}` | other blocks take the place of the last n that are not final; their transactions go back to the pool, or are lost |
//! | `POST /_control/restart` `{"down_ms": n}` | the node stops and comes back: connections and pool are lost |
//! | `POST /_control/upgrade` `{"spec": n, "change": "nothing"}` | another runtime from the next block on; `indices` moves the pallets, `field` renames a field of a call |
//! | `POST /_control/contract` `{"does": "bill", "contract": n, "amount": m}` | what the chain does by itself: `bill`, `start_grace`, `end_grace`, `out_of_funds` |
//!
//! Faults are armed as at every stand-in, for calls by the path `/rpc/<method>` and the method `RPC`.

use crate::chain::Chain;
use crate::ledger::OfItself;
use crate::rpc::connection;
use crate::runtime::Change;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use sandbox_kit::Faults;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

type Shared = State<(Arc<Chain>, Faults)>;

/// Blocks that are sealed in one request, at most.
const MOST_BLOCKS: u32 = 10_000;

/// The routes. `faults` are those that [`sandbox_kit::serve_with`] lets tests arm.
pub fn router(chain: Arc<Chain>, faults: Faults) -> Router {
    Router::new()
        .route("/", get(upgrade_connection))
        .route(
            "/_control/counts",
            get(|State((c, _)): Shared| async move { Json(c.counts()) }),
        )
        .route("/_control/clock", post(clock))
        .route("/_control/blocks", post(seal))
        .route("/_control/pool", post(pool))
        .route("/_control/bridge", post(bridge))
        .route("/_control/fork", post(fork))
        .route("/_control/restart", post(restart))
        .route("/_control/upgrade", post(upgrade))
        .route("/_control/contract", post(contract))
        .with_state((chain, faults))
}

async fn upgrade_connection(
    State((chain, faults)): Shared,
    headers: HeaderMap,
    ws: WebSocketUpgrade,
) -> Response {
    if chain.is_down() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let spared = headers.contains_key(sandbox_kit::CALM);
    ws.on_upgrade(move |socket| connection::serve(socket, chain, faults, spared))
}

#[derive(Debug, Deserialize)]
struct Clock {
    advance_ms: i64,
}

async fn clock(State((chain, _)): Shared, Json(clock): Json<Clock>) -> StatusCode {
    chain.advance_clock(clock.advance_ms);
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
struct Count {
    count: u32,
}

async fn seal(State((chain, _)): Shared, Json(count): Json<Count>) -> StatusCode {
    chain.seal_blocks(count.count.min(MOST_BLOCKS));
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
struct Pool {
    held: Option<bool>,
    drop_each: Option<u32>,
}

async fn pool(State((chain, _)): Shared, Json(pool): Json<Pool>) -> StatusCode {
    if let Some(each) = pool.drop_each {
        chain.drop_transactions(each);
    }
    if let Some(held) = pool.held {
        chain.hold(held);
    }
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
struct BridgeControl {
    returns: u32,
}

async fn bridge(State((chain, _)): Shared, Json(control): Json<BridgeControl>) -> StatusCode {
    chain.return_deposits(control.returns);
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
struct Fork {
    depth: u32,
    #[serde(default)]
    lose: bool,
}

async fn fork(State((chain, _)): Shared, Json(fork): Json<Fork>) -> Response {
    Json(serde_json::json!({ "retracted": chain.fork(fork.depth, fork.lose) })).into_response()
}

#[derive(Debug, Deserialize)]
struct Restart {
    #[serde(default)]
    down_ms: u64,
}

async fn restart(State((chain, _)): Shared, Json(restart): Json<Restart>) -> StatusCode {
    chain.restart(Duration::from_millis(restart.down_ms));
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
struct Upgrade {
    spec: u32,
    #[serde(default)]
    change: Change,
}

async fn upgrade(State((chain, _)): Shared, Json(upgrade): Json<Upgrade>) -> StatusCode {
    chain.upgrade(upgrade.spec, upgrade.change);
    StatusCode::NO_CONTENT
}

async fn contract(State((chain, _)): Shared, Json(act): Json<OfItself>) -> Response {
    match chain.of_itself(act) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::CONFLICT, error).into_response(),
    }
}
