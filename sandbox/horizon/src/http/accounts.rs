//! Accounts and offers as documents.

use super::ask::{Ask, parse_account};
use super::problem::Problem;
use super::{Net, lists, state_document, time};
use crate::address::{self, Address};
use crate::ledger::state::{Account, Offer};
use crate::stroops::{show, show_price};
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use stellar_base::xdr::Asset;

/// `GET /accounts/{id}`; as a stream, each time that it changed.
pub async fn account(State(node): State<Net>, Path(id): Path<String>, ask: Ask) -> Result<Response, Problem> {
    let address = parse_account("account_id", &id)?;
    if ask.stream {
        let base = ask.base.clone();
        let now = Arc::new(move |ledger: &crate::ledger::close::Ledger| {
            ledger.state.account(address).map(|account| render(address, account, &base))
        });
        return Ok(lists::stream_of_one(node, now));
    }
    let ledger = node.read();
    let account = ledger.state.account(address).ok_or_else(Problem::not_found)?;
    Ok(state_document(&render(address, account, &ask.base), ledger.last().at.ledger))
}

/// `GET /offers/{id}`.
pub async fn offer(State(node): State<Net>, Path(id): Path<String>, ask: Ask) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| Problem::bad_request("offer_id", "offer_id: must be a number"))?;
    let ledger = node.read();
    let offer = ledger.state.offer(id).ok_or_else(Problem::not_found)?;
    Ok(state_document(&render_offer(offer, &ask.base), ledger.last().at.ledger))
}

fn render(address: Address, account: &Account, base: &str) -> Value {
    let link = |path: &str| json!({ "href": format!("{base}/accounts/{address}{path}") });
    let list = |path: &str| json!({ "href": format!("{base}/accounts/{address}/{path}{{?cursor,limit,order}}"), "templated": true });
    let mut all = json!({
        "_links": {
            "self": link(""),
            "transactions": list("transactions"),
            "operations": list("operations"),
            "payments": list("payments"),
            "effects": list("effects"),
            "offers": list("offers"),
            "trades": list("trades"),
            "data": { "href": format!("{base}/accounts/{address}/data/{{key}}"), "templated": true },
        },
        "id": address.to_string(),
        "account_id": address.to_string(),
        "sequence": account.sequence.to_string(),
    });
    if let Some(used) = account.sequence_at {
        all["sequence_ledger"] = used.ledger.into();
        all["sequence_time"] = used.time.to_string().into();
    }
    all["subentry_count"] = account.subentries.into();
    if !account.home_domain.is_empty() {
        all["home_domain"] = account.home_domain.clone().into();
    }
    all["last_modified_ledger"] = account.modified.ledger.into();
    all["last_modified_time"] = time(account.modified.time).into();
    let [low, medium, high] = account.thresholds;
    all["thresholds"] = json!({ "low_threshold": low, "med_threshold": medium, "high_threshold": high });
    let flag = |bit: u32| account.flags & bit != 0;
    all["flags"] = json!({
        "auth_required": flag(1),
        "auth_revocable": flag(2),
        "auth_immutable": flag(4),
        "auth_clawback_enabled": flag(8),
    });
    all["balances"] = balances(account);
    let other = account.signers.iter().map(|(key, weight)| (*key, *weight));
    let signers = other.chain([(address, account.master_weight)]);
    let signer = |(key, weight): (Address, u8)| json!({ "weight": weight, "key": key.to_string(), "type": "ed25519_public_key" });
    all["signers"] = signers.map(signer).collect();
    all["data"] = json!({});
    all["num_sponsoring"] = 0.into();
    all["num_sponsored"] = 0.into();
    all["paging_token"] = address.to_string().into();
    all
}

fn balances(account: &Account) -> Value {
    let line = |(asset, line): (&Asset, &crate::ledger::state::Line)| {
        let mut all = Map::new();
        let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
        put("balance", show(line.balance).into());
        put("limit", show(line.limit).into());
        put("buying_liabilities", show(line.liabilities.buying).into());
        put("selling_liabilities", show(line.liabilities.selling).into());
        put("last_modified_ledger", line.modified.ledger.into());
        put("is_authorized", line.authorized.into());
        put("is_authorized_to_maintain_liabilities", line.authorized.into());
        address::name(&mut all, "", asset);
        Value::from(all)
    };
    let native = json!({
        "balance": show(account.balance),
        "buying_liabilities": show(account.liabilities.buying),
        "selling_liabilities": show(account.liabilities.selling),
        "asset_type": "native",
    });
    account.lines.iter().map(line).chain([native]).collect()
}

/// An offer as Horizon shows it.
pub fn render_offer(offer: &Offer, base: &str) -> Value {
    let asset = |asset: &Asset| {
        let mut all = Map::new();
        address::name(&mut all, "", asset);
        Value::from(all)
    };
    json!({
        "_links": {
            "self": { "href": format!("{base}/offers/{}", offer.id) },
            "offer_maker": { "href": format!("{base}/accounts/{}", offer.seller) },
        },
        "id": offer.id.to_string(),
        "paging_token": offer.id.to_string(),
        "seller": offer.seller.to_string(),
        "selling": asset(&offer.selling),
        "buying": asset(&offer.buying),
        "amount": show(offer.amount),
        "price_r": { "n": offer.price.n, "d": offer.price.d },
        "price": show_price(&offer.price),
        "last_modified_ledger": offer.modified.ledger,
        "last_modified_time": time(offer.modified.time),
    })
}
