//! Lists: of transactions, operations, payments, offers and ledgers, by pages or as a stream.

use crate::envelope::Key;
use crate::history::History;
use crate::http::{Answer, base, hal, parse_account, parse_hash};
use crate::paging::{ListQuery, Page};
use crate::problem::Problem;
use crate::records;
use crate::render;
use crate::replica::View;
use crate::service::Service;
use crate::state::BalanceHash;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures::stream;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::convert::Infallible;

/// What a list is of.
#[derive(Debug, Clone)]
pub(crate) enum List {
    Transactions(Of),
    Operations(Of),
    Payments(Of),
    Offers(Key),
    Ledgers,
}

/// Whose transactions or operations.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    All,
    Account(Key),
    Balance(BalanceHash),
    /// Index of a transaction.
    Transaction(usize),
}

impl Of {
    /// Indices of operations.
    fn operations(self, history: &History) -> Cow<'_, [usize]> {
        match self {
            Self::All => (0..history.operations.len()).collect(),
            Self::Account(key) => history.operations_of(&key).into(),
            Self::Balance(id) => history.operations_on(&id).into(),
            Self::Transaction(tx) => {
                let all = &history.operations;
                let from = all.partition_point(|op| op.tx < tx);
                let until = all.partition_point(|op| op.tx <= tx);
                (from..until).collect()
            }
        }
    }

    /// Indices of transactions.
    fn transactions(self, history: &History) -> Cow<'_, [usize]> {
        match self {
            Self::All => (0..history.transactions.len()).collect(),
            Self::Account(key) => history.transactions_of(&key).into(),
            Self::Balance(_) => {
                let mut list: Vec<usize> = self
                    .operations(history)
                    .iter()
                    .map(|op| history.operations[*op].tx)
                    .collect();
                list.dedup();
                list.into()
            }
            Self::Transaction(tx) => vec![tx].into(),
        }
    }
}

impl List {
    /// A page of records, each with its paging token.
    fn records(&self, service: &Service, base: &str, page: &Page, view: View) -> Vec<(i64, Value)> {
        service.with(|network| {
            let history = network.history();
            match self {
                List::Transactions(of) => {
                    let list = of.transactions(history);
                    let id_of = |index: usize| history.transactions[index].id;
                    let keep = |index: usize| {
                        view.has(id_of(index))
                            && (page.include_failed || history.transactions[index].successful)
                    };
                    let shown = |index: usize| {
                        let record = &history.transactions[index];
                        (record.id, render::transaction(base, record, false))
                    };
                    let picked = page.pick(&list, id_of, keep);
                    picked.into_iter().map(shown).collect()
                }
                List::Operations(of) | List::Payments(of) => {
                    let list = of.operations(history);
                    let id_of = |index: usize| history.operations[index].id;
                    let tx_of = |index: usize| &history.transactions[history.operations[index].tx];
                    let all = matches!(self, List::Operations(_));
                    let keep = |index: usize| {
                        view.has(id_of(index))
                            && (all || history.operations[index].payment)
                            && (page.include_failed || tx_of(index).successful)
                    };
                    let shown = |index: usize| {
                        let record = &history.operations[index];
                        let shown = records::operation(base, record, tx_of(index), page.join);
                        (record.id, shown)
                    };
                    let picked = page.pick(&list, id_of, keep);
                    picked.into_iter().map(shown).collect()
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

    pub(crate) fn answer(
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

pub(crate) async fn account_transactions(
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
        |key| List::Transactions(Of::Account(key)),
        &query,
        &headers,
    )
    .await
}

pub(crate) async fn account_payments(
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
        |key| List::Payments(Of::Account(key)),
        &query,
        &headers,
    )
    .await
}

pub(crate) async fn account_offers(
    State(service): State<Service>,
    view: View,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    account_list(service, view, &id, "offers", List::Offers, &query, &headers).await
}

pub(crate) async fn transactions(
    State(service): State<Service>,
    view: View,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    List::Transactions(Of::All).answer(service, view, "/transactions", &query, &headers)
}

pub(crate) async fn payments(
    State(service): State<Service>,
    view: View,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    List::Payments(Of::All).answer(service, view, "/payments", &query, &headers)
}

pub(crate) async fn ledgers(
    State(service): State<Service>,
    view: View,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    List::Ledgers.answer(service, view, "/ledgers", &query, &headers)
}

pub(crate) async fn account_operations(
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
        "operations",
        |key| List::Operations(Of::Account(key)),
        &query,
        &headers,
    )
    .await
}

pub(crate) async fn operations(
    State(service): State<Service>,
    view: View,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    List::Operations(Of::All).answer(service, view, "/operations", &query, &headers)
}

pub(crate) async fn transaction_operations(
    State(service): State<Service>,
    view: View,
    Path(hash): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    let bytes = parse_hash(&hash)?;
    let found = service.with(|network| {
        let index = network.history().index(&bytes)?;
        let id = network.history().transactions.get(index)?.id;
        view.has(id).then_some(index)
    });
    let index = found.ok_or_else(Problem::not_found)?;
    let path = format!("/transactions/{hash}/operations");
    List::Operations(Of::Transaction(index)).answer(service, view, &path, &query, &headers)
}
