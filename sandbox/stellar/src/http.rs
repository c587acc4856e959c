//! Horizon's routes.

use crate::claimable;
use crate::envelope::{Key, decode, key_of_id};
use crate::lists;
use crate::paging::ListQuery;
use crate::problem::Problem;
use crate::records;
use crate::render;
use crate::replica::{Replicas, View};
use crate::service::{Ended, Service};
use crate::surge::Surge;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;
use stellar_base::xdr::AccountId;

/// The routes of one network.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/fee_stats", get(fee_stats))
        .route("/accounts/{id}", get(account))
        .route(
            "/accounts/{id}/transactions",
            get(lists::account_transactions),
        )
        .route("/accounts/{id}/operations", get(lists::account_operations))
        .route("/accounts/{id}/payments", get(lists::account_payments))
        .route("/accounts/{id}/offers", get(lists::account_offers))
        .route("/claimable_balances", get(claimable::list))
        .route("/claimable_balances/{id}", get(claimable::show))
        .route(
            "/claimable_balances/{id}/operations",
            get(claimable::operations),
        )
        .route(
            "/claimable_balances/{id}/transactions",
            get(claimable::transactions),
        )
        .route("/operations", get(lists::operations))
        .route("/operations/{id}", get(operation))
        .route("/transactions", get(lists::transactions).post(submit))
        .route("/payments", get(lists::payments))
        .route("/transactions/{hash}", get(transaction))
        .route(
            "/transactions/{hash}/operations",
            get(lists::transaction_operations),
        )
        .route("/paths/strict-receive", get(crate::paths::paths))
        .route("/ledgers", get(lists::ledgers))
        .route("/ledgers/{sequence}", get(ledger))
        .route("/_control/replicas", post(replicas))
        .route("/_control/surge", post(surge))
        .route("/_control/freeze", post(freeze))
        .fallback(|| async { Problem::not_found() })
        .with_state(service)
}

pub(crate) type Answer = Result<Response, Problem>;

pub(crate) fn base(headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("http://{host}")
}

pub(crate) fn hal(value: &Value) -> Response {
    let mut response = value.to_string().into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/hal+json; charset=utf-8"),
    );
    response
}

/// With the number of the ledger that the answer is from.
pub(crate) fn hal_at(value: &Value, ledger: u32) -> Response {
    let mut response = hal(value);
    response.headers_mut().insert(
        HeaderName::from_static("latest-ledger"),
        HeaderValue::from(ledger),
    );
    response
}

pub(crate) fn parse_account(id: &str) -> Result<Key, Problem> {
    let id: Result<AccountId, _> = id.parse();
    id.map(|id| key_of_id(&id)).map_err(|_| {
        Problem::bad_request(
            "account_id",
            "Account ID must start with `G` and contain 56 alphanum characters",
        )
    })
}

async fn replicas(State(service): State<Service>, Json(replicas): Json<Replicas>) -> StatusCode {
    service.asked().replicas = replicas;
    StatusCode::NO_CONTENT
}

async fn root(State(service): State<Service>, View(at): View, headers: HeaderMap) -> Answer {
    service.with(|network| {
        let history = network.history();
        let (Some(first), Some(last)) = (history.ledgers.first(), history.ledger(at)) else {
            return Err(Problem::not_found());
        };
        Ok(hal(&render::root(
            &base(&headers),
            service.passphrase(),
            last,
            first.sequence,
        )))
    })
}

async fn fee_stats(State(service): State<Service>, View(at): View) -> Response {
    let statistics = service.with(|network| network.door().statistics(at));
    Json(render::fee_stats(at, &statistics)).into_response()
}

async fn surge(State(service): State<Service>, Json(surge): Json<Surge>) -> StatusCode {
    service.with(|network| network.door().surge = surge);
    StatusCode::NO_CONTENT
}

/// Whether ledgers close.
#[derive(Debug, Deserialize)]
struct Freeze {
    frozen: bool,
}

async fn freeze(State(service): State<Service>, Json(freeze): Json<Freeze>) -> StatusCode {
    service.freeze(freeze.frozen);
    StatusCode::NO_CONTENT
}

async fn account(
    State(service): State<Service>,
    View(at): View,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let key = parse_account(&id)?;
    let account =
        service.with(|network| render::account(&base(&headers), network.state(), &key, at));
    account
        .map(|account| hal_at(&account, at))
        .ok_or_else(Problem::not_found)
}

async fn ledger(
    State(service): State<Service>,
    View(at): View,
    Path(sequence): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let sequence: u32 = sequence.parse().map_err(|_| {
        Problem::bad_request("ledger_id", "Ledger ID must be an integer higher than 0")
    })?;
    let base = base(&headers);
    let ledger = service.with(|network| {
        network
            .history()
            .ledger(sequence)
            .filter(|ledger| ledger.sequence <= at)
            .map(|ledger| render::ledger(&base, ledger))
    });
    ledger
        .map(|ledger| hal(&ledger))
        .ok_or_else(Problem::not_found)
}

async fn transaction(
    State(service): State<Service>,
    view: View,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let bytes = parse_hash(&hash)?;
    let base = base(&headers);
    let found = service.with(|network| {
        let record = network.history().find(&bytes);
        record.filter(|record| view.has(record.id)).map(|record| {
            render::transaction(&base, record, record.submitted.outer_hash() != bytes)
        })
    });
    found
        .map(|found| hal(&found))
        .ok_or_else(Problem::not_found)
}

async fn operation(
    State(service): State<Service>,
    view: View,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    let id: i64 = id
        .parse()
        .map_err(|_| Problem::bad_request("id", "Operation ID must be an integer"))?;
    let join = query.page(0, None)?.join;
    let base = base(&headers);
    let found = service.with(|network| {
        let history = network.history();
        let record = history.operation(id).filter(|_| view.has(id))?;
        let transaction = history.transactions.get(record.tx)?;
        Some(records::operation(&base, record, transaction, join))
    });
    found
        .map(|found| hal(&found))
        .ok_or_else(Problem::not_found)
}

/// A hash in a path.
pub(crate) fn parse_hash(hash: &str) -> Result<[u8; 32], Problem> {
    let bytes = hex::decode(hash)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.ok_or_else(|| {
        Problem::bad_request(
            "tx_id",
            "Transaction hash must be a hex-encoded, lowercase SHA-256 hash",
        )
    })
}

#[derive(Debug, Deserialize)]
struct Submit {
    #[serde(default)]
    tx: String,
}

async fn submit(
    State(service): State<Service>,
    headers: HeaderMap,
    Form(form): Form<Submit>,
) -> Answer {
    let Some(submitted) = decode(&form.tx, service.network_id()) else {
        return Err(Problem::malformed(&form.tx));
    };
    let hash = submitted.outer_hash();
    match service.submit(submitted).await {
        Ended::Refused(result) => Err(Problem::failed(&hex::encode(hash), &form.tx, &result)),
        Ended::TimedOut => Err(Problem::timeout(&hex::encode(hash), &form.tx)),
        Ended::InLedger => service.with(|network| {
            let Some(record) = network.history().find(&hash) else {
                return Err(Problem::timeout(&hex::encode(hash), &form.tx));
            };
            if record.successful {
                Ok(hal(&render::transaction(&base(&headers), record, false)))
            } else {
                Err(Problem::failed(
                    &hex::encode(hash),
                    &form.tx,
                    &record.result,
                ))
            }
        }),
    }
}
