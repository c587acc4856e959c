//! The chain over HTTP, as `counterparties_tfchain::protocol` defines it, and controls for tests:
//!
//! | request | effect |
//! |---|---|
//! | `GET /_control/counts` | [`crate::ledger::Counts`] |
//! | `POST /_control/clock` `{"advance_ms": n}` | sets the chain's clock forward |
//! | `POST /_control/blocks` `{"count": n}` | seals n blocks |
//! | `POST /_control/pool` `{"held": true}` | transactions stay in the pool until `false` |
//! | `POST /_control/bridge` `{"returns": n}` | the bridge pays each n-th deposit back, chosen by its hash; 0: none |

use crate::chain::Chain;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use counterparties_tfchain::AccountId32;
use counterparties_tfchain::protocol::{Extrinsic, RpcError, Submission};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for news in one request.
const LONGEST_WAIT_MS: u64 = 30_000;

type Shared = State<Arc<Chain>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wait {
    after: u32,
    wait_ms: u64,
}

impl Wait {
    fn duration(&self) -> Duration {
        Duration::from_millis(self.wait_ms.min(LONGEST_WAIT_MS))
    }
}

/// The routes.
pub fn router(chain: Arc<Chain>) -> Router {
    Router::new()
        .route(
            "/v1/chain",
            get(|State(c): Shared| async move { Json(c.info()) }),
        )
        .route("/v1/finalized", get(finalized))
        .route("/v1/headers/{number}", get(header))
        .route("/v1/blocks", get(blocks))
        .route("/v1/accounts/{account}", get(account))
        .route("/v1/extrinsics", post(submit))
        .route("/v1/extrinsics/{hash}", get(status))
        .route(
            "/_control/counts",
            get(|State(c): Shared| async move { Json(c.counts()) }),
        )
        .route("/_control/clock", post(clock))
        .route("/_control/blocks", post(seal))
        .route("/_control/pool", post(pool))
        .route("/_control/bridge", post(bridge))
        .with_state(chain)
}

fn not_found(what: &str) -> Response {
    (StatusCode::NOT_FOUND, what.to_owned()).into_response()
}

async fn finalized(State(chain): Shared, Query(wait): Query<Wait>) -> Response {
    let head = if wait.wait_ms == 0 {
        chain.finalized()
    } else {
        chain.finalized_after(wait.after, wait.duration()).await
    };
    Json(head).into_response()
}

async fn header(State(chain): Shared, Path(number): Path<u32>) -> Response {
    chain.header(number).map_or_else(
        || not_found("no such finalized block"),
        |h| Json(h).into_response(),
    )
}

#[derive(Debug, Deserialize)]
struct Range {
    from: u32,
    to: u32,
}

async fn blocks(State(chain): Shared, Query(range): Query<Range>) -> Response {
    Json(chain.blocks(range.from, range.to)).into_response()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    node: Option<u32>,
    hash: Option<String>,
}

async fn account(
    State(chain): Shared,
    Path(account): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let bad = |what: &str| (StatusCode::BAD_REQUEST, what.to_owned()).into_response();
    let Ok(account) = account.parse::<AccountId32>() else {
        return bad("not an SS58 account");
    };
    let contract = match (wanted.node, wanted.hash) {
        (Some(node), Some(hash)) => {
            let Some(hash) = hex::decode(hash).ok().and_then(|h| h.try_into().ok()) else {
                return bad("not a hash");
            };
            Some((node, hash))
        }
        _ => None,
    };
    Json(chain.account(&account, contract)).into_response()
}

async fn submit(
    State(chain): Shared,
    Query(wait): Query<Wait>,
    Json(body): Json<Submission>,
) -> Response {
    let extrinsic = Extrinsic::from_hex(&body.extrinsic).map_err(|e| RpcError {
        code: 1010,
        message: "Invalid Transaction".to_owned(),
        data: e.to_string(),
    });
    match extrinsic.and_then(|extrinsic| chain.submit(extrinsic)) {
        Ok(hash) => match chain.status(&hash, wait.duration()).await {
            Some(status) => Json(status).into_response(),
            None => not_found("not known"),
        },
        Err(error) => (StatusCode::BAD_REQUEST, Json(error)).into_response(),
    }
}

async fn status(
    State(chain): Shared,
    Path(hash): Path<String>,
    Query(wait): Query<Wait>,
) -> Response {
    match chain.status(&hash, wait.duration()).await {
        Some(status) => Json(status).into_response(),
        None => not_found("not known"),
    }
}

#[derive(Debug, Deserialize)]
struct Clock {
    advance_ms: i64,
}

async fn clock(State(chain): Shared, Json(clock): Json<Clock>) -> StatusCode {
    chain.advance_clock(clock.advance_ms);
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
struct Count {
    count: u32,
}

async fn seal(State(chain): Shared, Json(count): Json<Count>) -> StatusCode {
    chain.seal_blocks(count.count.min(10_000));
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
struct BridgeControl {
    returns: u32,
}

async fn bridge(State(chain): Shared, Json(control): Json<BridgeControl>) -> StatusCode {
    chain.return_deposits(control.returns);
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
struct Pool {
    held: bool,
}

async fn pool(State(chain): Shared, Json(pool): Json<Pool>) -> StatusCode {
    chain.hold(pool.held);
    StatusCode::NO_CONTENT
}
