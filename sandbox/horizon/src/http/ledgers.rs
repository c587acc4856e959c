//! The network itself: its root document, ledgers, fees.

use super::ask::Ask;
use super::problem::Problem;
use super::{Net, document, time};
use crate::ledger::close::{Ledger, TOTAL_COINS};
use crate::ledger::history::{Header, ledger_token};
use crate::ledger::state::BASE_RESERVE;
use crate::ledger::validity::BASE_FEE;
use crate::stroops::show;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

/// The protocol whose rules hold.
const PROTOCOL: u32 = 19;
/// Operations that a ledger is said to take; it is not enforced.
const MOST_OPERATIONS: u32 = 1_000;

/// `GET /`.
pub async fn root(State(node): State<Net>, ask: Ask) -> Response {
    let ledger = node.read();
    let (last, first) = (ledger.last().at, ledger.history.first_ledger().map_or(0, |header| header.at.ledger));
    let base = &ask.base;
    let link = |path: &str| json!({ "href": format!("{base}{path}") });
    let list = |path: &str| json!({ "href": format!("{base}{path}"), "templated": true });
    document(&json!({
        "_links": {
            "account": list("/accounts/{account_id}"),
            "account_transactions": list("/accounts/{account_id}/transactions{?cursor,limit,order}"),
            "fee_stats": link("/fee_stats"),
            "ledger": list("/ledgers/{sequence}"),
            "ledgers": list("/ledgers{?cursor,limit,order}"),
            "offers": list("/offers{?selling,buying,seller,sponsor,cursor,limit,order}"),
            "operation": list("/operations/{id}"),
            "operations": list("/operations{?cursor,limit,order,include_failed}"),
            "payments": list("/payments{?cursor,limit,order,include_failed}"),
            "self": link("/"),
            "strict_receive_paths": list("/paths/strict-receive{?source_assets,source_account,destination_account,destination_asset_type,destination_asset_issuer,destination_asset_code,destination_amount}"),
            "transaction": list("/transactions/{hash}"),
            "transactions": list("/transactions{?cursor,limit,order}"),
        },
        "horizon_version": concat!("sandbox-", env!("CARGO_PKG_VERSION")),
        "core_version": concat!("sandbox-", env!("CARGO_PKG_VERSION")),
        "ingest_latest_ledger": last.ledger,
        "history_latest_ledger": last.ledger,
        "history_latest_ledger_closed_at": time(last.time),
        "history_elder_ledger": first,
        "core_latest_ledger": last.ledger,
        "network_passphrase": node.passphrase,
        "current_protocol_version": PROTOCOL,
        "supported_protocol_version": PROTOCOL,
        "core_supported_protocol_version": PROTOCOL,
    }))
}

/// `GET /fee_stats`. Fees never rise here, so all percentiles are the base fee.
pub async fn fee_stats(State(node): State<Net>) -> Response {
    let ledger = node.read();
    let fee = BASE_FEE.to_string();
    let spread: Value = ["max", "min", "mode", "p10", "p20", "p30", "p40", "p50", "p60", "p70", "p80", "p90", "p95", "p99"]
        .into_iter()
        .map(|name| (name.to_owned(), Value::from(fee.clone())))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let last = ledger.last();
    let hundredths = (u64::from(last.all_operations) * 100 / u64::from(MOST_OPERATIONS)).min(100);
    document(&json!({
        "last_ledger": last.at.ledger.to_string(),
        "last_ledger_base_fee": fee,
        "ledger_capacity_usage": format!("{}.{:02}", hundredths / 100, hundredths % 100),
        "fee_charged": spread,
        "max_fee": spread,
    }))
}

/// `GET /ledgers/{sequence}`.
pub async fn ledger(State(node): State<Net>, Path(sequence): Path<String>, ask: Ask) -> Result<Response, Problem> {
    let wrong = || Problem::bad_request("ledger_id", "ledger_id: must be a number");
    let sequence = sequence.parse().map_err(|_| wrong())?;
    let ledger: &Ledger = &node.read();
    let header = ledger.history.ledger(sequence).ok_or_else(Problem::not_found)?;
    Ok(document(&render(header, &ask.base)))
}

/// A ledger as Horizon shows it.
pub fn render(header: &Header, base: &str) -> Value {
    let (sequence, hash) = (header.at.ledger, hex::encode(header.hash));
    let list = |name: &str| {
        json!({ "href": format!("{base}/ledgers/{sequence}/{name}{{?cursor,limit,order}}"), "templated": true })
    };
    json!({
        "_links": {
            "self": { "href": format!("{base}/ledgers/{sequence}") },
            "transactions": list("transactions"),
            "operations": list("operations"),
            "payments": list("payments"),
            "effects": list("effects"),
        },
        "id": hash,
        "paging_token": ledger_token(sequence).to_string(),
        "hash": hash,
        "prev_hash": hex::encode(header.previous),
        "sequence": sequence,
        "successful_transaction_count": header.succeeded,
        "failed_transaction_count": header.failed,
        "operation_count": header.operations,
        "tx_set_operation_count": header.all_operations,
        "closed_at": time(header.at.time),
        "total_coins": show(TOTAL_COINS),
        "fee_pool": show(header.fee_pool),
        "base_fee_in_stroops": BASE_FEE,
        "base_reserve_in_stroops": BASE_RESERVE,
        "max_tx_set_size": MOST_OPERATIONS,
        "protocol_version": PROTOCOL,
        "header_xdr": "",
    })
}
