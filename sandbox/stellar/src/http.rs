//! Horizon's routes.

use crate::envelope::{Key, decode, key_of_id};
use crate::paging::{ListQuery, Page};
use crate::problem::Problem;
use crate::render;
use crate::replica::{Replicas, View};
use crate::service::{Ended, Service};
use crate::surge::Surge;
use axum::body::Body;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use stellar_base::xdr::AccountId;

/// The routes of one network.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/fee_stats", get(fee_stats))
        .route("/accounts/{id}", get(account))
        .route("/accounts/{id}/transactions", get(account_transactions))
        .route("/accounts/{id}/payments", get(account_payments))
        .route("/accounts/{id}/offers", get(account_offers))
        .route("/transactions", get(transactions).post(submit))
        .route("/payments", get(payments))
        .route("/transactions/{hash}", get(transaction))
        .route("/paths/strict-receive", get(crate::paths::paths))
        .route("/ledgers", get(ledgers))
        .route("/ledgers/{sequence}", get(ledger))
        .route("/_control/replicas", post(replicas))
        .route("/_control/surge", post(surge))
        .route("/_control/freeze", post(freeze))
        .fallback(|| async { Problem::not_found() })
        .with_state(service)
}

pub(crate) type Answer = Result<Response, Problem>;

fn base(headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("http://{host}")
}

fn hal(value: &Value) -> Response {
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

/// What a list is of.
#[derive(Debug, Clone)]
enum List {
    Transactions(Option<Key>),
    Payments(Option<Key>),
    Offers(Key),
    Ledgers,
}

impl List {
    /// A page of records, each with its paging token.
    fn records(&self, service: &Service, base: &str, page: &Page, view: View) -> Vec<(i64, Value)> {
        service.with(|network| {
            let history = network.history();
            match self {
                List::Transactions(key) => {
                    let all: Vec<usize>;
                    let list = if let Some(key) = key {
                        history.transactions_of(key)
                    } else {
                        all = (0..history.transactions.len()).collect();
                        &all
                    };
                    let id_of = |index: usize| history.transactions[index].id;
                    let keep = |index: usize| {
                        view.has(id_of(index))
                            && (page.include_failed || history.transactions[index].successful)
                    };
                    let picked = page.pick(list, id_of, keep);
                    picked
                        .into_iter()
                        .map(|index| {
                            (
                                id_of(index),
                                render::transaction(base, &history.transactions[index], false),
                            )
                        })
                        .collect()
                }
                List::Payments(key) => {
                    let all: Vec<usize>;
                    let list = if let Some(key) = key {
                        history.payments_of(key)
                    } else {
                        all = (0..history.payments.len()).collect();
                        &all
                    };
                    let id_of = |index: usize| history.payments[index].id;
                    let tx_of = |index: usize| &history.transactions[history.payments[index].tx];
                    let picked = page.pick(list, id_of, |index| {
                        view.has(id_of(index)) && (page.include_failed || tx_of(index).successful)
                    });
                    picked
                        .into_iter()
                        .map(|index| {
                            (
                                id_of(index),
                                render::payment(
                                    base,
                                    &history.payments[index],
                                    tx_of(index),
                                    page.join,
                                ),
                            )
                        })
                        .collect()
                }
                List::Offers(key) => {
                    let offers = network.state().offers_of(key);
                    page.pick(&offers, |offer| offer.id, |_| true)
                        .into_iter()
                        .map(|offer| (offer.id, render::offer(base, offer)))
                        .collect()
                }
                List::Ledgers => {
                    let list: Vec<usize> = (0..history.ledgers.len()).collect();
                    let id_of = |index: usize| i64::from(history.ledgers[index].sequence) << 32;
                    let picked = page.pick(&list, id_of, |index| view.has(id_of(index)));
                    picked
                        .into_iter()
                        .map(|index| (id_of(index), render::ledger(base, &history.ledgers[index])))
                        .collect()
                }
            }
        })
    }

    fn answer(
        self,
        service: Service,
        view: View,
        path: &str,
        query: &ListQuery,
        headers: &HeaderMap,
    ) -> Answer {
        let base = base(headers);
        let accepts = headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .unwrap_or("");
        let streaming = accepts.contains("text/event-stream");
        let resume = headers
            .get("last-event-id")
            .and_then(|id| id.to_str().ok())
            .filter(|_| streaming);
        // Everything of the last ledger is before its end.
        let last = (i64::from(view.0 + 1) << 32) - 1;
        let page = query.page(last, resume)?;
        if streaming {
            return Ok(self.stream(service, base, page));
        }
        let records = self.records(&service, &base, &page, view);
        let given = page
            .cursor
            .map_or_else(String::new, |cursor| cursor.to_string());
        let first = records
            .first()
            .map_or_else(|| given.clone(), |(id, _)| id.to_string());
        let last = records
            .last()
            .map_or_else(|| given.clone(), |(id, _)| id.to_string());
        let href = |cursor: &str, descending| json!({ "href": format!("{base}{path}?{}", page.query(cursor, descending)) });
        Ok(hal(&json!({
            "_links": {
                "self": href(&given, page.descending),
                "next": href(&last, page.descending),
                "prev": href(&first, !page.descending),
            },
            "_embedded": { "records": records.into_iter().map(|(_, record)| record).collect::<Vec<_>>() },
        })))
    }

    /// Server-sent events: what is there, then what comes, until the limit is reached.
    fn stream(self, service: Service, base: String, page: Page) -> Response {
        struct Feed {
            list: List,
            service: Service,
            base: String,
            page: Page,
            waiting: VecDeque<String>,
            closed: tokio::sync::watch::Receiver<u32>,
            over: bool,
        }
        let hello = "retry: 1000\nevent: open\ndata: \"hello\"\n\n".to_owned();
        let closed = service.closed();
        let feed = Feed {
            list: self,
            service,
            base,
            page,
            waiting: VecDeque::from([hello]),
            closed,
            over: false,
        };
        let events = stream::unfold(feed, |mut feed| async move {
            loop {
                if let Some(event) = feed.waiting.pop_front() {
                    return Some((Ok::<_, Infallible>(event), feed));
                }
                if feed.over {
                    return None;
                }
                if feed.page.limit == 0 {
                    feed.waiting
                        .push_back("retry: 10\nevent: close\ndata: \"byebye\"\n\n".to_owned());
                    feed.over = true;
                    continue;
                }
                feed.closed.borrow_and_update();
                let records =
                    feed.list
                        .records(&feed.service, &feed.base, &feed.page, View(u32::MAX));
                if records.is_empty() {
                    if feed.closed.changed().await.is_err() {
                        return None;
                    }
                    continue;
                }
                feed.page.limit -= records.len().min(feed.page.limit);
                for (id, record) in records {
                    feed.page.cursor = Some(id);
                    feed.waiting
                        .push_back(format!("id: {id}\ndata: {record}\n\n"));
                }
            }
        });
        let mut response = Response::new(Body::from_stream(events));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream; charset=utf-8"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

async fn account_list(
    service: Service,
    view: View,
    id: &str,
    name: &str,
    list: fn(Key) -> List,
    query: &ListQuery,
    headers: &HeaderMap,
) -> Answer {
    let key = parse_account(id)?;
    // Bad parameters are told before a missing account.
    query.page(0, None)?;
    if service.with(|network| network.state().account_after(&key, view.0).is_none()) {
        return Err(Problem::not_found());
    }
    list(key).answer(
        service,
        view,
        &format!("/accounts/{id}/{name}"),
        query,
        headers,
    )
}

async fn account_transactions(
    State(service): State<Service>,
    view: View,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    account_list(
        service,
        view,
        &id,
        "transactions",
        |key| List::Transactions(Some(key)),
        &query,
        &headers,
    )
    .await
}

async fn account_payments(
    State(service): State<Service>,
    view: View,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    account_list(
        service,
        view,
        &id,
        "payments",
        |key| List::Payments(Some(key)),
        &query,
        &headers,
    )
    .await
}

async fn account_offers(
    State(service): State<Service>,
    view: View,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    account_list(service, view, &id, "offers", List::Offers, &query, &headers).await
}

async fn transactions(
    State(service): State<Service>,
    view: View,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    List::Transactions(None).answer(service, view, "/transactions", &query, &headers)
}

async fn payments(
    State(service): State<Service>,
    view: View,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    List::Payments(None).answer(service, view, "/payments", &query, &headers)
}

async fn ledgers(
    State(service): State<Service>,
    view: View,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    List::Ledgers.answer(service, view, "/ledgers", &query, &headers)
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
    let bytes = hex::decode(&hash)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let bytes = bytes.ok_or_else(|| {
        Problem::bad_request(
            "tx_id",
            "Transaction hash must be a hex-encoded, lowercase SHA-256 hash",
        )
    })?;
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
