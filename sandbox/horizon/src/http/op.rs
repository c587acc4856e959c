//! Operations as documents.

use super::ask::Ask;
use super::problem::Problem;
use super::tx::{self, party};
use super::{Net, document, time};
use crate::address::{self, Address};
use crate::ledger::history::OpRecord;
use crate::stroops;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value, json};
use stellar_base::xdr::{
    Asset, ChangeTrustAsset, MuxedAccount, OperationBody, Price, SetOptionsOp,
};

/// `GET /operations/{id}`.
pub async fn operation(State(node): State<Net>, Path(id): Path<String>, ask: Ask) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| Problem::bad_request("id", "id: must be a number"))?;
    let join = ask.join()?;
    let ledger = node.read();
    let op = ledger.history.op(id).ok_or_else(Problem::not_found)?;
    Ok(document(&render(op, join, &ask.base)))
}

/// An operation as Horizon shows it, with its transaction inside if `join` is set.
pub fn render(op: &OpRecord, join: bool, base: &str) -> Value {
    let mut all = Map::new();
    let Some(operation) = op.operation() else { return all.into() };
    let submission = &op.tx.submission;
    let source = operation.source_account.as_ref().unwrap_or(&submission.tx.source_account);
    let hash = hex::encode(submission.id());
    let link = |path: String| json!({ "href": format!("{base}{path}") });
    all.insert(
        "_links".to_owned(),
        json!({
            "self": link(format!("/operations/{}", op.token)),
            "transaction": link(format!("/transactions/{hash}")),
            "effects": link(format!("/operations/{}/effects", op.token)),
            "succeeds": link(format!("/effects?order=desc&cursor={}", op.token)),
            "precedes": link(format!("/effects?order=asc&cursor={}", op.token)),
        }),
    );
    let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    put("id", op.token.to_string().into());
    put("paging_token", op.token.to_string().into());
    put("transaction_successful", op.tx.successful.into());
    party(&mut all, "source_account", source);
    let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    put("type", kind(&operation.body).into());
    put("type_i", (operation.body.discriminant() as i32).into());
    put("created_at", time(op.tx.at.time).into());
    put("transaction_hash", hash.into());
    if join {
        put("transaction", tx::render(&op.tx, None, base));
    }
    details(&mut all, op, source, &operation.body);
    all.into()
}

/// `PathPaymentStrictReceive` → `path_payment_strict_receive`.
fn kind(body: &OperationBody) -> String {
    let mut word = String::new();
    for (index, letter) in body.name().char_indices() {
        if index > 0 && letter.is_ascii_uppercase() {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

fn path(assets: &[Asset]) -> Value {
    let one = |asset: &Asset| {
        let mut all = Map::new();
        address::name(&mut all, "", asset);
        Value::from(all)
    };
    assets.iter().map(one).collect()
}

fn details(all: &mut Map<String, Value>, op: &OpRecord, source: &MuxedAccount, body: &OperationBody) {
    let amount = |stroops: i64| Value::from(stroops::show(stroops));
    let from_to = |all: &mut Map<String, Value>, to: &MuxedAccount| {
        party(all, "from", source);
        party(all, "to", to);
    };
    match body {
        OperationBody::CreateAccount(o) => {
            all.insert("starting_balance".to_owned(), amount(o.starting_balance));
            party(all, "funder", source);
            all.insert("account".to_owned(), Address::from(&o.destination).to_string().into());
        }
        OperationBody::Payment(o) => {
            address::name(all, "", &o.asset);
            from_to(all, &o.destination);
            all.insert("amount".to_owned(), amount(o.amount));
        }
        OperationBody::PathPaymentStrictReceive(o) => {
            address::name(all, "", &o.dest_asset);
            from_to(all, &o.destination);
            all.insert("amount".to_owned(), amount(o.dest_amount));
            all.insert("path".to_owned(), path(&o.path));
            all.insert("source_amount".to_owned(), amount(op.path_amount().unwrap_or(0)));
            all.insert("source_max".to_owned(), amount(o.send_max));
            address::name(all, "source_", &o.send_asset);
        }
        OperationBody::PathPaymentStrictSend(o) => {
            address::name(all, "", &o.dest_asset);
            from_to(all, &o.destination);
            all.insert("amount".to_owned(), amount(op.path_amount().unwrap_or(0)));
            all.insert("path".to_owned(), path(&o.path));
            all.insert("source_amount".to_owned(), amount(o.send_amount));
            all.insert("destination_min".to_owned(), amount(o.dest_min));
            address::name(all, "source_", &o.send_asset);
        }
        OperationBody::ManageSellOffer(o) => offer(all, &o.selling, &o.buying, &o.price, o.amount, o.offer_id),
        OperationBody::ManageBuyOffer(o) => {
            offer(all, &o.selling, &o.buying, &o.price, o.buy_amount, o.offer_id);
        }
        OperationBody::CreatePassiveSellOffer(o) => {
            offer(all, &o.selling, &o.buying, &o.price, o.amount, 0);
        }
        OperationBody::ChangeTrust(o) => {
            let asset = match &o.line {
                ChangeTrustAsset::CreditAlphanum4(a) => Asset::CreditAlphanum4(a.clone()),
                ChangeTrustAsset::CreditAlphanum12(a) => Asset::CreditAlphanum12(a.clone()),
                ChangeTrustAsset::Native | ChangeTrustAsset::PoolShare(_) => Asset::Native,
            };
            address::name(all, "", &asset);
            all.insert("limit".to_owned(), amount(o.limit));
            if let Some(issuer) = address::issuer(&asset) {
                all.insert("trustee".to_owned(), issuer.to_string().into());
            }
            party(all, "trustor", source);
        }
        OperationBody::AccountMerge(to) => {
            party(all, "account", source);
            party(all, "into", to);
        }
        OperationBody::BumpSequence(o) => drop(all.insert("bump_to".to_owned(), o.bump_to.0.to_string().into())),
        OperationBody::SetOptions(o) => options(all, o),
        // Others are never taken into a ledger.
        _ => {}
    }
}

fn offer(all: &mut Map<String, Value>, selling: &Asset, buying: &Asset, price: &Price, amount: i64, id: i64) {
    all.insert("amount".to_owned(), stroops::show(amount).into());
    all.insert("price".to_owned(), stroops::show_price(price).into());
    all.insert("price_r".to_owned(), json!({ "n": price.n, "d": price.d }));
    address::name(all, "buying_", buying);
    address::name(all, "selling_", selling);
    all.insert("offer_id".to_owned(), id.to_string().into());
}

fn options(all: &mut Map<String, Value>, op: &SetOptionsOp) {
    if let Some(domain) = &op.home_domain {
        all.insert("home_domain".to_owned(), domain.0.to_utf8_string_lossy().into());
    }
    for (name, value) in [
        ("master_key_weight", op.master_weight),
        ("low_threshold", op.low_threshold),
        ("med_threshold", op.med_threshold),
        ("high_threshold", op.high_threshold),
    ] {
        if let Some(value) = value {
            all.insert(name.to_owned(), value.into());
        }
    }
    if let Some(signer) = &op.signer {
        all.insert("signer_key".to_owned(), signer.key.to_string().into());
        all.insert("signer_weight".to_owned(), signer.weight.into());
    }
}
