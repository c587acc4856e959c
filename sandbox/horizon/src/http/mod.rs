//! Horizon's HTTP interface.

mod accounts;
mod ask;
mod ledgers;
mod lists;
mod op;
mod paths;
mod problem;
mod submit;
mod tx;

use crate::node::Node;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use problem::Problem;
use serde_json::Value;
use std::sync::Arc;

/// Larger than any envelope, encoded as a form.
const MAX_BODY_BYTES: usize = 256 * 1024;

type Net = Arc<Node>;

/// The network as routes.
pub fn router(node: Net) -> Router {
    Router::new()
        .route("/", get(ledgers::root))
        .route("/fee_stats", get(ledgers::fee_stats))
        .route("/ledgers", get(lists::ledgers))
        .route("/ledgers/{sequence}", get(ledgers::ledger))
        .route("/accounts/{id}", get(accounts::account))
        .route("/accounts/{id}/transactions", get(lists::account_transactions))
        .route("/accounts/{id}/operations", get(lists::account_operations))
        .route("/accounts/{id}/payments", get(lists::account_payments))
        .route("/accounts/{id}/offers", get(lists::account_offers))
        .route("/transactions", get(lists::transactions).post(submit::submit))
        .route("/transactions/{hash}", get(tx::transaction))
        .route("/transactions/{hash}/operations", get(lists::transaction_operations))
        .route("/transactions/{hash}/payments", get(lists::transaction_payments))
        .route("/operations", get(lists::operations))
        .route("/operations/{id}", get(op::operation))
        .route("/payments", get(lists::payments))
        .route("/offers", get(lists::offers))
        .route("/offers/{id}", get(accounts::offer))
        .route("/order_book", get(paths::order_book))
        .route("/paths/strict-receive", get(paths::strict_receive))
        .route("/paths", get(paths::strict_receive))
        .route("/paths/strict-send", get(paths::strict_send))
        .fallback(|| async { Problem::not_found() })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(node)
}

/// A document in Horizon's media type.
fn document(value: &Value) -> Response {
    let mut response = value.to_string().into_response();
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/hal+json; charset=utf-8"));
    response
}

/// The same, for what shows a state: with the ledger that it is of.
fn state_document(value: &Value, ledger: u32) -> Response {
    let mut response = document(value);
    response.headers_mut().insert("latest-ledger", HeaderValue::from(ledger));
    response
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or_default();
    chrono::DateTime::from_timestamp(seconds, 0)
        .map(|time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}
