//! Transactions as documents.

use super::ask::{Ask, parse_hash};
use super::problem::Problem;
use super::{Net, document, time};
use crate::address::Address;
use crate::envelope::{Hash, Signatures};
use crate::ledger::history::{TxRecord, base64_xdr};
use crate::ledger::validity::preconditions;
use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use stellar_base::xdr::{LedgerEntryChanges, Memo, MuxedAccount, Transaction, TransactionMeta, TransactionMetaV2};

/// `GET /transactions/{hash}`, by inner or outer hash.
pub async fn transaction(State(node): State<Net>, Path(hash): Path<String>, ask: Ask) -> Result<Response, Problem> {
    let hash = parse_hash(&hash)?;
    let ledger = node.read();
    let tx = ledger.history.tx(&hash).ok_or_else(Problem::not_found)?;
    Ok(document(&render(tx, Some(hash), &ask.base)))
}

/// Writes `<name>` and, of a muxed account, `<name>_muxed` and `<name>_muxed_id`.
pub fn party(into: &mut Map<String, Value>, name: &str, account: &MuxedAccount) {
    into.insert(name.to_owned(), Address::of(account).to_string().into());
    if let MuxedAccount::MuxedEd25519(muxed) = account {
        into.insert(format!("{name}_muxed"), account.to_string().into());
        into.insert(format!("{name}_muxed_id"), muxed.id.to_string().into());
    }
}

fn signatures(signatures: &Signatures) -> Value {
    signatures.list.iter().map(|one| Value::from(STANDARD.encode(one.signature.0.as_slice()))).collect()
}

fn memo(into: &mut Map<String, Value>, memo: &Memo) {
    let (kind, text) = match memo {
        Memo::None => ("none", None),
        Memo::Text(text) => {
            into.insert("memo_bytes".to_owned(), STANDARD.encode(text.as_slice()).into());
            ("text", Some(text.to_utf8_string_lossy()))
        }
        Memo::Id(id) => ("id", Some(id.to_string())),
        Memo::Hash(hash) => ("hash", Some(STANDARD.encode(hash.0))),
        Memo::Return(hash) => ("return", Some(STANDARD.encode(hash.0))),
    };
    into.insert("memo_type".to_owned(), kind.into());
    if let Some(text) = text {
        into.insert("memo".to_owned(), text.into());
    }
}

fn conditions(into: &mut Map<String, Value>, tx: &Transaction) {
    let cond = preconditions(&tx.cond);
    let mut shown = Map::new();
    if let Some(bounds) = &cond.time_bounds {
        let mut both = Map::from_iter([("min_time".to_owned(), Value::from(bounds.min_time.0.to_string()))]);
        into.insert("valid_after".to_owned(), time(bounds.min_time.0).into());
        if bounds.max_time.0 > 0 {
            into.insert("valid_before".to_owned(), time(bounds.max_time.0).into());
            both.insert("max_time".to_owned(), bounds.max_time.0.to_string().into());
        }
        shown.insert("timebounds".to_owned(), both.into());
    }
    if let Some(bounds) = &cond.ledger_bounds {
        let mut both = Map::from_iter([("min_ledger".to_owned(), Value::from(bounds.min_ledger))]);
        if bounds.max_ledger > 0 {
            both.insert("max_ledger".to_owned(), bounds.max_ledger.into());
        }
        shown.insert("ledgerbounds".to_owned(), both.into());
    }
    if let Some(lowest) = &cond.min_seq_num {
        shown.insert("min_account_sequence".to_owned(), lowest.0.to_string().into());
    }
    if cond.min_seq_age.0 > 0 {
        shown.insert("min_account_sequence_age".to_owned(), cond.min_seq_age.0.to_string().into());
    }
    if cond.min_seq_ledger_gap > 0 {
        shown.insert("min_account_sequence_ledger_gap".to_owned(), cond.min_seq_ledger_gap.into());
    }
    if !shown.is_empty() {
        into.insert("preconditions".to_owned(), shown.into());
    }
}

/// A transaction as Horizon shows it. `by` is the hash that it was asked for by; with the inner
/// one of a fee-bump, the inner one is shown. Lists give none.
pub fn render(tx: &TxRecord, by: Option<Hash>, base: &str) -> Value {
    let submission = &tx.submission;
    let shows_inner = by == Some(submission.hash);
    let id = hex::encode(if shows_inner { submission.hash } else { submission.id() });
    let source = submission.source();
    let mut all = Map::new();
    memo(&mut all, &submission.tx.memo);
    let link = |path: String| json!({ "href": format!("{base}{path}") });
    let list = |path: String| json!({ "href": format!("{base}{path}{{?cursor,limit,order}}"), "templated": true });
    let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    put(
        "_links",
        json!({
            "self": link(format!("/transactions/{id}")),
            "account": link(format!("/accounts/{source}")),
            "ledger": link(format!("/ledgers/{}", tx.at.ledger)),
            "operations": list(format!("/transactions/{id}/operations")),
            "effects": list(format!("/transactions/{id}/effects")),
            "precedes": link(format!("/transactions?order=asc&cursor={}", tx.token)),
            "succeeds": link(format!("/transactions?order=desc&cursor={}", tx.token)),
            "transaction": link(format!("/transactions/{id}")),
        }),
    );
    put("id", id.clone().into());
    put("paging_token", tx.token.to_string().into());
    put("successful", tx.successful.into());
    put("hash", id.into());
    put("ledger", tx.at.ledger.into());
    put("created_at", time(tx.at.time).into());
    party(&mut all, "source_account", &submission.tx.source_account);
    let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    put("source_account_sequence", submission.tx.seq_num.0.to_string().into());
    party(&mut all, "fee_account", submission.fee_account());
    let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    put("fee_charged", tx.result.fee_charged.to_string().into());
    put("max_fee", submission.max_fee().to_string().into());
    put("operation_count", submission.tx.operations.len().into());
    put("envelope_xdr", submission.xdr.clone().into());
    put("result_xdr", base64_xdr(&tx.result).into());
    put("result_meta_xdr", base64_xdr(&TransactionMeta::V2(TransactionMetaV2::default())).into());
    put("fee_meta_xdr", base64_xdr(&LedgerEntryChanges::default()).into());
    let outer = submission.bump.as_ref().map_or(&submission.signatures, |bump| &bump.signatures);
    put("signatures", signatures(if shows_inner { &submission.signatures } else { outer }));
    conditions(&mut all, &submission.tx);
    if let Some(bump) = &submission.bump {
        all.insert(
            "fee_bump_transaction".to_owned(),
            json!({ "hash": hex::encode(bump.hash), "signatures": signatures(&bump.signatures) }),
        );
        all.insert(
            "inner_transaction".to_owned(),
            json!({
                "hash": hex::encode(submission.hash),
                "signatures": signatures(&submission.signatures),
                "max_fee": submission.tx.fee.to_string(),
            }),
        );
    }
    all.into()
}
