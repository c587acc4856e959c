//! The route that finds ways from one asset to another.

use crate::http::{Answer, hal_at, parse_account};
use crate::problem::Problem;
use crate::render;
use crate::service::Service;
use crate::state::issuer;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use stellar_base::xdr::{AccountId, AlphaNum4, AlphaNum12, Asset, AssetCode4, AssetCode12};

#[derive(Debug, Deserialize)]
pub(crate) struct PathsQuery {
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

pub(crate) async fn paths(
    State(service): State<Service>,
    Query(query): Query<PathsQuery>,
) -> Answer {
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
