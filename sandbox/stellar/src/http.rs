//! Horizon's routes.

use crate::envelope::{Key, decode, key_of_id};
use crate::paging::{ListQuery, Page};
use crate::problem::Problem;
use crate::render;
use crate::service::{Ended, Service};
use crate::state::issuer;
use axum::body::Body;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use stellar_base::xdr::{AccountId, AlphaNum4, AlphaNum12, Asset, AssetCode4, AssetCode12};

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
        .route("/paths/strict-receive", get(paths))
        .route("/ledgers", get(ledgers))
        .route("/ledgers/{sequence}", get(ledger))
        .fallback(|| async { Problem::not_found() })
        .with_state(service)
}

type Answer = Result<Response, Problem>;

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
fn hal_at(value: &Value, ledger: u32) -> Response {
    let mut response = hal(value);
    response.headers_mut().insert(
        HeaderName::from_static("latest-ledger"),
        HeaderValue::from(ledger),
    );
    response
}

fn parse_account(id: &str) -> Result<Key, Problem> {
    let id: Result<AccountId, _> = id.parse();
    id.map(|id| key_of_id(&id)).map_err(|_| {
        Problem::bad_request(
            "account_id",
            "Account ID must start with `G` and contain 56 alphanum characters",
        )
    })
}

async fn root(State(service): State<Service>, headers: HeaderMap) -> Answer {
    service.with(|network| {
        let ledgers = &network.history().ledgers;
        let (Some(first), Some(last)) = (ledgers.first(), ledgers.last()) else {
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

async fn fee_stats(State(service): State<Service>) -> Response {
    Json(render::fee_stats(service.with(|network| network.latest()))).into_response()
}

async fn account(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let key = parse_account(&id)?;
    let (account, ledger) = service.with(|network| {
        (
            render::account(&base(&headers), network.state(), &key),
            network.latest(),
        )
    });
    account
        .map(|account| hal_at(&account, ledger))
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
    fn records(&self, service: &Service, base: &str, page: &Page) -> Vec<(i64, Value)> {
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
                        page.include_failed || history.transactions[index].successful
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
                        page.include_failed || tx_of(index).successful
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
                    let picked = page.pick(&list, id_of, |_| true);
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
        let last = (i64::from(service.with(|network| network.latest()) + 1) << 32) - 1;
        let page = query.page(last, resume)?;
        if streaming {
            return Ok(self.stream(service, base, page));
        }
        let records = self.records(&service, &base, &page);
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
                let records = feed.list.records(&feed.service, &feed.base, &feed.page);
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
    id: &str,
    name: &str,
    list: fn(Key) -> List,
    query: &ListQuery,
    headers: &HeaderMap,
) -> Answer {
    let key = parse_account(id)?;
    // Bad parameters are told before a missing account.
    query.page(0, None)?;
    if service.with(|network| network.state().account(&key).is_none()) {
        return Err(Problem::not_found());
    }
    list(key).answer(service, &format!("/accounts/{id}/{name}"), query, headers)
}

async fn account_transactions(
    State(service): State<Service>,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    account_list(
        service,
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
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    account_list(
        service,
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
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    account_list(service, &id, "offers", List::Offers, &query, &headers).await
}

async fn transactions(
    State(service): State<Service>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    List::Transactions(None).answer(service, "/transactions", &query, &headers)
}

async fn payments(
    State(service): State<Service>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    List::Payments(None).answer(service, "/payments", &query, &headers)
}

async fn ledgers(
    State(service): State<Service>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    List::Ledgers.answer(service, "/ledgers", &query, &headers)
}

async fn ledger(
    State(service): State<Service>,
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
            .map(|ledger| render::ledger(&base, ledger))
    });
    ledger
        .map(|ledger| hal(&ledger))
        .ok_or_else(Problem::not_found)
}

async fn transaction(
    State(service): State<Service>,
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
        network.history().find(&bytes).map(|record| {
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

#[derive(Debug, Deserialize)]
struct PathsQuery {
    source_account: Option<String>,
    source_assets: Option<String>,
    destination_amount: Option<String>,
    destination_asset_type: Option<String>,
    destination_asset_code: Option<String>,
    destination_asset_issuer: Option<String>,
}

fn parse_asset(code: &str, issuer: &str) -> Option<Asset> {
    let issuer: AccountId = issuer.parse().ok()?;
    let bytes = code.as_bytes();
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    if bytes.len() <= 4 {
        let mut asset_code = [0; 4];
        asset_code[..bytes.len()].copy_from_slice(bytes);
        Some(Asset::CreditAlphanum4(AlphaNum4 {
            asset_code: AssetCode4(asset_code),
            issuer,
        }))
    } else if bytes.len() <= 12 {
        let mut asset_code = [0; 12];
        asset_code[..bytes.len()].copy_from_slice(bytes);
        Some(Asset::CreditAlphanum12(AlphaNum12 {
            asset_code: AssetCode12(asset_code),
            issuer,
        }))
    } else {
        None
    }
}

async fn paths(State(service): State<Service>, Query(query): Query<PathsQuery>) -> Answer {
    let wanted = match query.destination_asset_type.as_deref() {
        Some("native") => Some(Asset::Native),
        Some("credit_alphanum4" | "credit_alphanum12") => {
            let (code, issuer) = (
                query.destination_asset_code.as_deref(),
                query.destination_asset_issuer.as_deref(),
            );
            parse_asset(code.unwrap_or(""), issuer.unwrap_or(""))
        }
        _ => None,
    };
    let wanted = wanted.ok_or_else(|| {
        Problem::bad_request(
            "destination_asset_type",
            "Asset type must be native, credit_alphanum4 or credit_alphanum12",
        )
    })?;
    let amount = query
        .destination_amount
        .as_deref()
        .and_then(render::parse_amount)
        .filter(|amount| *amount > 0);
    let amount = amount
        .ok_or_else(|| Problem::bad_request("destination_amount", "Amount must be positive"))?;
    let (sources, holder) = match (&query.source_account, &query.source_assets) {
        (Some(account), None) => {
            let key = parse_account(account)?;
            let assets = service.with(|network| {
                let account = network.state().account(&key)?;
                Some(
                    account
                        .trustlines
                        .keys()
                        .cloned()
                        .chain([Asset::Native])
                        .collect::<Vec<_>>(),
                )
            });
            (assets.ok_or_else(Problem::not_found)?, Some(key))
        }
        (None, Some(assets)) => {
            let parse = |text: &str| match text.split_once(':') {
                None if text == "native" => Some(Asset::Native),
                Some((code, issuer)) => parse_asset(code, issuer),
                None => None,
            };
            let parsed: Option<Vec<Asset>> = assets.split(',').map(parse).collect();
            (
                parsed.ok_or_else(|| Problem::bad_request("source_assets", "not valid"))?,
                None,
            )
        }
        _ => {
            return Err(Problem::bad_request(
                "source_assets",
                "The request requires either a list of source assets or a source account.",
            ));
        }
    };
    let (records, ledger) = service.with(|network| {
        let mut paths = network.paths(&sources, &wanted, amount);
        if let Some(holder) = holder {
            // An account is shown only what it can pay: its whole balance counts, reserve and offers aside.
            paths.retain(|path| {
                let account = network.state().account(&holder);
                let held = account.map_or(0, |account| match &path.source {
                    Asset::Native => account.balance,
                    asset if issuer(asset) == Some(holder) => i64::MAX,
                    asset => account.trustlines.get(asset).map_or(0, |line| line.balance),
                });
                held >= path.cost
            });
        }
        let records: Vec<Value> = paths
            .iter()
            .map(|path| render::path(path, &wanted, amount))
            .collect();
        (records, network.latest())
    });
    Ok(hal_at(
        &json!({ "_embedded": { "records": records } }),
        ledger,
    ))
}
