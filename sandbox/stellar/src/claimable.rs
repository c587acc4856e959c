//! The routes of claimable balances. They are as of now, whatever replica answers.

use crate::balances;
use crate::http::{Answer, base, hal, parse_account};
use crate::lists::{List, Of};
use crate::paging::ListQuery;
use crate::problem::Problem;
use crate::records;
use crate::replica::View;
use crate::service::Service;
use crate::state::BalanceHash;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write;

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    claimant: Option<String>,
    sponsor: Option<String>,
    asset: Option<String>,
    cursor: Option<String>,
    order: Option<String>,
    limit: Option<String>,
}

/// Where a page begins: the ledger of a balance, and its id.
fn parse_cursor(cursor: &str) -> Option<(u32, BalanceHash)> {
    let (ledger, id) = cursor.split_once('-')?;
    Some((ledger.parse().ok()?, balances::read(id)?))
}

fn parse_id(id: &str) -> Result<BalanceHash, Problem> {
    balances::read(id).ok_or_else(|| Problem::bad_request("id", "Invalid claimable balance ID"))
}

pub(crate) async fn list(
    State(service): State<Service>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Answer {
    let page = ListQuery::ordered(wanted.order.clone(), wanted.limit.clone()).page(0, None)?;
    let claimant = wanted.claimant.as_deref().map(parse_account).transpose()?;
    let sponsor = wanted.sponsor.as_deref().map(parse_account).transpose()?;
    let given = wanted.cursor.as_deref().filter(|cursor| !cursor.is_empty());
    let cursor = match given {
        None => None,
        Some(text) => Some(
            parse_cursor(text)
                .ok_or_else(|| Problem::bad_request("cursor", "The cursor is not valid"))?,
        ),
    };
    let base = base(&headers);
    let records = service.with(|network| {
        let mut all = network.state().claimable_balances();
        all.retain(|(id, balance)| {
            let place = (balance.modified.0, *id);
            let behind = cursor.is_none_or(|cursor| {
                if page.descending {
                    place < cursor
                } else {
                    place > cursor
                }
            });
            let claims = |key| {
                let mut claimants = balance.claimants.iter().map(balances::claimant);
                claimants.any(|(claimant, _)| claimant == key)
            };
            behind
                && claimant.is_none_or(claims)
                && sponsor.is_none_or(|key| balance.sponsor == key)
                && wanted
                    .asset
                    .as_ref()
                    .is_none_or(|asset| records::asset_name(&balance.asset) == *asset)
        });
        if page.descending {
            all.reverse();
        }
        all.truncate(page.limit);
        all.iter()
            .map(|(id, balance)| records::claimable_balance(&base, id, balance))
            .collect::<Vec<_>>()
    });
    let mut filters = String::new();
    for (name, value) in [
        ("asset", &wanted.asset),
        ("claimant", &wanted.claimant),
        ("sponsor", &wanted.sponsor),
    ] {
        if let Some(value) = value {
            let _ = write!(filters, "{name}={value}&");
        }
    }
    let token = |record: Option<&serde_json::Value>| {
        let token = record.and_then(|record| record["paging_token"].as_str());
        token.or(given).unwrap_or_default().to_owned()
    };
    let href = |cursor: &str, descending| {
        let order = if descending { "desc" } else { "asc" };
        let limit = page.limit;
        json!({ "href": format!("{base}/claimable_balances?{filters}cursor={cursor}&limit={limit}&order={order}") })
    };
    Ok(hal(&json!({
        "_links": {
            "self": href(given.unwrap_or_default(), page.descending),
            "next": href(&token(records.last()), page.descending),
            "prev": href(&token(records.first()), !page.descending),
        },
        "_embedded": { "records": records },
    })))
}

pub(crate) async fn show(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let id = parse_id(&id)?;
    let base = base(&headers);
    let found = service.with(|network| {
        let balance = network.state().claimable_balance(&id)?;
        Some(records::claimable_balance(&base, &id, balance))
    });
    found
        .map(|found| hal(&found))
        .ok_or_else(Problem::not_found)
}

/// What happened to a balance is there when the balance is not any more.
fn known(service: &Service, id: &str) -> Result<Of, Problem> {
    let id = parse_id(id)?;
    let known = service.with(|network| !network.history().operations_on(&id).is_empty());
    if known {
        Ok(Of::Balance(id))
    } else {
        Err(Problem::not_found())
    }
}

pub(crate) async fn operations(
    State(service): State<Service>,
    view: View,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    let of = known(&service, &id)?;
    let path = format!("/claimable_balances/{id}/operations");
    List::Operations(of).answer(service, view, &path, &query, &headers)
}

pub(crate) async fn transactions(
    State(service): State<Service>,
    view: View,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    let of = known(&service, &id)?;
    let path = format!("/claimable_balances/{id}/transactions");
    List::Transactions(of).answer(service, view, &path, &query, &headers)
}
