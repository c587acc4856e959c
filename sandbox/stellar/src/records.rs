//! Horizon's JSON for operations and claimable balances.

use crate::balances::{claimant, written};
use crate::envelope::account_id;
use crate::history::{OperationRecord, TxRecord, operation_results, operation_source};
use crate::operations::{claims, trusted_asset};
use crate::render::{amount, asset, link, put_account, put_asset, template, time, transaction};
use crate::state::{BalanceHash, ClaimableBalance, issuer};
use serde_json::{Map, Value, json};
use stellar_base::xdr::{
    Asset, ClaimAtom, ClaimPredicate, ClaimableBalanceId, Claimant, Hash, MuxedAccount,
    OperationBody,
};

/// An operation; with its transaction if `join`.
pub fn operation(base: &str, payment: &OperationRecord, record: &TxRecord, join: bool) -> Value {
    let submitted = &record.submitted;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    let (id, hash) = (payment.id.to_string(), hex::encode(submitted.outer_hash()));
    put(
        "_links",
        json!({
            "self": link(base, &format!("/operations/{id}")),
            "transaction": link(base, &format!("/transactions/{hash}")),
            "effects": link(base, &format!("/operations/{id}/effects")),
            "succeeds": link(base, &format!("/effects?order=desc&cursor={id}")),
            "precedes": link(base, &format!("/effects?order=asc&cursor={id}")),
        }),
    );
    put("id", id.clone().into());
    put("paging_token", id.into());
    put("transaction_successful", record.successful.into());
    put("created_at", time(record.closed_at).into());
    put("transaction_hash", hash.into());
    if join {
        put("transaction", transaction(base, record, false));
    }
    let Some(op) = submitted.tx.operations.get(payment.operation) else {
        return Value::Object(object);
    };
    let plain = MuxedAccount::Ed25519(stellar_base::xdr::Uint256(operation_source(
        submitted,
        payment.operation,
    )));
    let source = op
        .source_account
        .as_ref()
        .or(Some(&submitted.tx.source_account))
        .unwrap_or(&plain);
    put_account(&mut object, "source_account", "source_account", source);
    let body = &op.body;
    put_kind(&mut object, body);
    match body {
        OperationBody::PathPaymentStrictReceive(op) => {
            let result = operation_results(&record.result).get(payment.operation);
            let claims = result.map_or(&[][..], claims);
            let paid = if !record.successful {
                0
            } else if claims.is_empty() {
                op.dest_amount
            } else {
                paid_in(claims, &op.send_asset, &op.path, &op.dest_asset)
            };
            object.insert("source_amount".to_owned(), amount(paid).into());
            put_payment(&mut object, body, source);
        }
        OperationBody::CreateAccount(_) | OperationBody::Payment(_) => {
            put_payment(&mut object, body, source);
        }
        other => put_other(&mut object, other, source),
    }
    Value::Object(object)
}

/// The type of an operation, as a word and as a number.
fn put_kind(object: &mut Map<String, Value>, body: &OperationBody) {
    let (name, number) = match body {
        OperationBody::CreateAccount(_) => ("create_account", 0),
        OperationBody::Payment(_) => ("payment", 1),
        OperationBody::PathPaymentStrictReceive(_) => ("path_payment_strict_receive", 2),
        OperationBody::ManageSellOffer(_) => ("manage_sell_offer", 3),
        OperationBody::ChangeTrust(_) => ("change_trust", 6),
        OperationBody::BumpSequence(_) => ("bump_sequence", 11),
        OperationBody::CreateClaimableBalance(_) => ("create_claimable_balance", 14),
        OperationBody::ClaimClaimableBalance(_) => ("claim_claimable_balance", 15),
        _ => return,
    };
    object.insert("type".to_owned(), name.into());
    object.insert("type_i".to_owned(), number.into());
}

/// What a payment moves, and between whom.
fn put_payment(object: &mut Map<String, Value>, body: &OperationBody, source: &MuxedAccount) {
    match body {
        OperationBody::CreateAccount(op) => {
            object.insert(
                "starting_balance".to_owned(),
                amount(op.starting_balance).into(),
            );
            put_account(object, "funder", "funder", source);
            object.insert("account".to_owned(), op.destination.to_string().into());
        }
        OperationBody::Payment(op) => {
            put_asset(object, "", &op.asset);
            put_account(object, "from", "from", source);
            put_account(object, "to", "to", &op.destination);
            object.insert("amount".to_owned(), amount(op.amount).into());
        }
        OperationBody::PathPaymentStrictReceive(op) => {
            put_asset(object, "", &op.dest_asset);
            put_account(object, "from", "from", source);
            put_account(object, "to", "to", &op.destination);
            object.insert("amount".to_owned(), amount(op.dest_amount).into());
            object.insert("path".to_owned(), op.path.iter().map(asset).collect());
            object.insert("source_max".to_owned(), amount(op.send_max).into());
            put_asset(object, "source_", &op.send_asset);
        }
        _ => {}
    }
}

/// What any other operation does.
fn put_other(object: &mut Map<String, Value>, body: &OperationBody, source: &MuxedAccount) {
    match body {
        OperationBody::ManageSellOffer(op) => {
            object.insert("amount".to_owned(), amount(op.amount).into());
            object.insert("offer_id".to_owned(), op.offer_id.to_string().into());
            let price = json!({ "n": op.price.n, "d": op.price.d });
            object.insert("price_r".to_owned(), price);
            object.insert("price".to_owned(), decimal(op.price.n, op.price.d).into());
            put_asset(object, "selling_", &op.selling);
            put_asset(object, "buying_", &op.buying);
        }
        OperationBody::ChangeTrust(op) => {
            if let Some(asset) = trusted_asset(&op.line) {
                put_asset(object, "", &asset);
                if let Some(issuer) = issuer(&asset) {
                    object.insert("trustee".to_owned(), account_id(&issuer).to_string().into());
                }
            }
            object.insert("limit".to_owned(), amount(op.limit).into());
            put_account(object, "trustor", "trustor", source);
        }
        OperationBody::BumpSequence(op) => {
            object.insert("bump_to".to_owned(), op.bump_to.0.to_string().into());
        }
        OperationBody::CreateClaimableBalance(op) => {
            object.insert("asset".to_owned(), asset_name(&op.asset).into());
            object.insert("amount".to_owned(), amount(op.amount).into());
            object.insert("claimants".to_owned(), claimants(&op.claimants));
        }
        OperationBody::ClaimClaimableBalance(op) => {
            let ClaimableBalanceId::ClaimableBalanceIdTypeV0(Hash(id)) = &op.balance_id;
            object.insert("balance_id".to_owned(), written(id).into());
            put_account(object, "claimant", "claimant", source);
        }
        _ => {}
    }
}

/// A price as Horizon writes it.
fn decimal(n: i32, d: i32) -> String {
    let part = |part: i32| u128::try_from(part).unwrap_or(1);
    let (n, d) = (part(n), part(d).max(1));
    let price = (n * 10_000_000 + d / 2) / d;
    format!("{}.{:07}", price / 10_000_000, price % 10_000_000)
}

/// An asset in one text.
pub fn asset_name(asset: &Asset) -> String {
    let mut parts = Map::new();
    put_asset(&mut parts, "", asset);
    let part = |name: &str| parts.get(name).and_then(Value::as_str);
    match (part("asset_code"), part("asset_issuer")) {
        (Some(code), Some(issuer)) => format!("{code}:{issuer}"),
        _ => "native".to_owned(),
    }
}

/// Who may claim, and on what condition.
fn claimants(claimants: &[Claimant]) -> Value {
    claimants
        .iter()
        .map(|one| {
            let (key, condition) = claimant(one);
            json!({ "destination": account_id(&key).to_string(), "predicate": predicate(condition) })
        })
        .collect()
}

fn predicate(condition: &ClaimPredicate) -> Value {
    let two = |two: &[ClaimPredicate]| two.iter().map(predicate).collect::<Value>();
    match condition {
        ClaimPredicate::Unconditional => json!({ "unconditional": true }),
        ClaimPredicate::And(inner) => json!({ "and": two(inner) }),
        ClaimPredicate::Or(inner) => json!({ "or": two(inner) }),
        ClaimPredicate::Not(inner) => {
            json!({ "not": inner.as_ref().map_or(Value::Null, |inner| predicate(inner)) })
        }
        ClaimPredicate::BeforeAbsoluteTime(at) => json!({
            "abs_before": time(u64::try_from(*at).unwrap_or(0)),
            "abs_before_epoch": at.to_string(),
        }),
        ClaimPredicate::BeforeRelativeTime(seconds) => {
            json!({ "rel_before": seconds.to_string() })
        }
    }
}

/// A claimable balance's paging token.
pub fn balance_token(id: &BalanceHash, balance: &ClaimableBalance) -> String {
    format!("{}-{}", balance.modified.0, written(id))
}

/// A claimable balance.
pub fn claimable_balance(base: &str, id: &BalanceHash, balance: &ClaimableBalance) -> Value {
    let name = written(id);
    let own = |list: &str| {
        template(
            base,
            &format!("/claimable_balances/{name}/{list}{{?cursor,limit,order}}"),
        )
    };
    json!({
        "_links": {
            "self": link(base, &format!("/claimable_balances/{name}")),
            "transactions": own("transactions"),
            "operations": own("operations"),
        },
        "id": name,
        "asset": asset_name(&balance.asset),
        "amount": amount(balance.amount),
        "sponsor": account_id(&balance.sponsor).to_string(),
        "last_modified_ledger": balance.modified.0,
        "last_modified_time": time(balance.modified.1),
        "claimants": claimants(&balance.claimants),
        "flags": { "clawback_enabled": false },
        "paging_token": balance_token(id, balance),
    })
}

/// What the first hop's claims took of the asset sent.
fn paid_in(claims: &[ClaimAtom], send: &Asset, path: &[Asset], dest: &Asset) -> i64 {
    let first = path.iter().find(|hop| *hop != send).unwrap_or(dest);
    claims
        .iter()
        .map_while(|claim| match claim {
            ClaimAtom::OrderBook(c) if c.asset_bought == *send && c.asset_sold == *first => {
                Some(c.amount_bought)
            }
            _ => None,
        })
        .sum()
}
