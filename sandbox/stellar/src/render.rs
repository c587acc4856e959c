//! Horizon's JSON for accounts, offers, ledgers and transactions.

use crate::envelope::{Key, account_id, key_of, to_base64};
use crate::history::{LedgerRecord, TxRecord};
use crate::network::{BASE_FEE, Path};
use crate::state::{BASE_RESERVE, Offer, State};
use crate::surge::Statistics;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};
use stellar_base::xdr::{Asset, DecoratedSignature, Memo, MuxedAccount, Preconditions};

/// Protocol that the stand-in claims.
pub const PROTOCOL: u32 = 23;

/// Stroops as a decimal with seven places.
pub fn amount(stroops: i64) -> String {
    let (whole, rest) = (
        stroops.unsigned_abs() / 10_000_000,
        stroops.unsigned_abs() % 10_000_000,
    );
    format!("{}{whole}.{rest:07}", if stroops < 0 { "-" } else { "" })
}

/// Stroops of a decimal with at most seven places; `None` if it is none or too large.
pub fn parse_amount(text: &str) -> Option<i64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(rest) || rest.len() > 7 || (whole.is_empty() && rest.is_empty()) {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let rest: i64 = format!("{rest:0<7}").parse().ok()?;
    whole.checked_mul(10_000_000)?.checked_add(rest)
}

/// Unix seconds as RFC 3339 in UTC.
pub fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|s| DateTime::from_timestamp(s, 0));
    time.map_or_else(String::new, |time| {
        time.to_rfc3339_opts(SecondsFormat::Secs, true)
    })
}

fn code(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches('\0')
        .to_owned()
}

/// Puts `<prefix>asset_type` and, unless native, code and issuer into an object.
pub fn put_asset(object: &mut Map<String, Value>, prefix: &str, asset: &Asset) {
    let (kind, rest) = match asset {
        Asset::Native => ("native", None),
        Asset::CreditAlphanum4(a) => ("credit_alphanum4", Some((code(&a.asset_code.0), &a.issuer))),
        Asset::CreditAlphanum12(a) => (
            "credit_alphanum12",
            Some((code(&a.asset_code.0), &a.issuer)),
        ),
    };
    object.insert(format!("{prefix}asset_type"), kind.into());
    if let Some((code, issuer)) = rest {
        object.insert(format!("{prefix}asset_code"), code.into());
        object.insert(format!("{prefix}asset_issuer"), issuer.to_string().into());
    }
}

pub(crate) fn asset(asset: &Asset) -> Value {
    let mut object = Map::new();
    put_asset(&mut object, "", asset);
    Value::Object(object)
}

pub(crate) fn put_account(
    object: &mut Map<String, Value>,
    name: &str,
    muxed_name: &str,
    account: &MuxedAccount,
) {
    object.insert(
        name.to_owned(),
        account_id(&key_of(account)).to_string().into(),
    );
    if let MuxedAccount::MuxedEd25519(muxed) = account {
        object.insert(format!("{muxed_name}_muxed"), account.to_string().into());
        object.insert(
            format!("{muxed_name}_muxed_id"),
            muxed.id.to_string().into(),
        );
    }
}

pub(crate) fn link(base: &str, path: &str) -> Value {
    json!({ "href": format!("{base}{path}") })
}

pub(crate) fn template(base: &str, path: &str) -> Value {
    json!({ "href": format!("{base}{path}"), "templated": true })
}

/// The root document.
pub fn root(base: &str, passphrase: &str, latest: &LedgerRecord, elder: u32) -> Value {
    json!({
        "_links": {
            "account": template(base, "/accounts/{account_id}"),
            "accounts": template(base, "/accounts{?signer,sponsor,asset,liquidity_pool,cursor,limit,order}"),
            "account_transactions": template(base, "/accounts/{account_id}/transactions{?cursor,limit,order}"),
            "claimable_balances": template(base, "/claimable_balances{?asset,sponsor,claimant,cursor,limit,order}"),
            "assets": template(base, "/assets{?asset_code,asset_issuer,cursor,limit,order}"),
            "effects": template(base, "/effects{?cursor,limit,order}"),
            "fee_stats": link(base, "/fee_stats"),
            "ledger": template(base, "/ledgers/{sequence}"),
            "ledgers": template(base, "/ledgers{?cursor,limit,order}"),
            "offer": template(base, "/offers/{offer_id}"),
            "offers": template(base, "/offers{?selling,buying,seller,sponsor,cursor,limit,order}"),
            "operation": template(base, "/operations/{id}"),
            "operations": template(base, "/operations{?cursor,limit,order,include_failed}"),
            "order_book": template(base, "/order_book{?selling_asset_type,selling_asset_code,selling_asset_issuer,buying_asset_type,buying_asset_code,buying_asset_issuer,limit}"),
            "payments": template(base, "/payments{?cursor,limit,order,include_failed}"),
            "self": link(base, ""),
            "strict_receive_paths": template(base, "/paths/strict-receive{?source_assets,source_account,destination_account,destination_asset_type,destination_asset_issuer,destination_asset_code,destination_amount}"),
            "strict_send_paths": template(base, "/paths/strict-send{?destination_account,destination_assets,source_asset_type,source_asset_issuer,source_asset_code,source_amount}"),
            "trade_aggregations": template(base, "/trade_aggregations{?base_asset_type}"),
            "trades": template(base, "/trades{?base_asset_type}"),
            "transaction": template(base, "/transactions/{hash}"),
            "transactions": template(base, "/transactions{?cursor,limit,order}"),
        },
        "horizon_version": "sandbox",
        "core_version": "sandbox",
        "ingest_latest_ledger": latest.sequence,
        "history_latest_ledger": latest.sequence,
        "history_latest_ledger_closed_at": time(latest.closed_at),
        "history_elder_ledger": elder,
        "core_latest_ledger": latest.sequence,
        "network_passphrase": passphrase,
        "current_protocol_version": PROTOCOL,
        "supported_protocol_version": PROTOCOL,
        "core_supported_protocol_version": PROTOCOL,
    })
}

/// Fee statistics as of a ledger.
pub fn fee_stats(latest: u32, statistics: &Statistics) -> Value {
    let distribution = |rates: &[i64]| {
        let at = |percent: usize| {
            let place = (rates.len() * percent).div_ceil(100).saturating_sub(1);
            rates.get(place).copied().unwrap_or(BASE_FEE)
        };
        let mode = rates
            .chunk_by(|a, b| a == b)
            .max_by_key(|run| run.len())
            .and_then(<[i64]>::first)
            .copied()
            .unwrap_or(BASE_FEE);
        let mut fees = Map::new();
        for (name, rate) in [("max", at(100)), ("min", at(0)), ("mode", mode)] {
            fees.insert(name.to_owned(), rate.to_string().into());
        }
        for percent in [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99] {
            fees.insert(format!("p{percent}"), at(percent).to_string().into());
        }
        fees
    };
    json!({
        "last_ledger": latest.to_string(),
        "last_ledger_base_fee": BASE_FEE.to_string(),
        "ledger_capacity_usage": format!("{}.{:02}", statistics.usage / 100, statistics.usage % 100),
        "fee_charged": distribution(&statistics.charged),
        "max_fee": distribution(&statistics.offered),
    })
}

/// An account; `None` if there is none.
pub fn account(base: &str, state: &State, key: &Key, ledger: u32) -> Option<Value> {
    let account = state.account_after(key, ledger)?;
    let id = account_id(key).to_string();
    let mut balances = Vec::new();
    for (held, line) in &account.trustlines {
        let (buying, selling) = state.liabilities(key, held);
        let mut balance = Map::new();
        balance.insert("balance".to_owned(), amount(line.balance).into());
        balance.insert("limit".to_owned(), amount(line.limit).into());
        balance.insert("buying_liabilities".to_owned(), amount(buying).into());
        balance.insert("selling_liabilities".to_owned(), amount(selling).into());
        balance.insert("last_modified_ledger".to_owned(), line.modified.into());
        balance.insert("is_authorized".to_owned(), true.into());
        balance.insert(
            "is_authorized_to_maintain_liabilities".to_owned(),
            true.into(),
        );
        put_asset(&mut balance, "", held);
        balances.push(Value::Object(balance));
    }
    let (buying, selling) = state.liabilities(key, &Asset::Native);
    balances.push(json!({
        "balance": amount(account.balance),
        "buying_liabilities": amount(buying),
        "selling_liabilities": amount(selling),
        "asset_type": "native",
    }));
    let own = |list: &str| {
        template(
            base,
            &format!("/accounts/{id}/{list}{{?cursor,limit,order}}"),
        )
    };
    let mut object = json!({
        "_links": {
            "self": link(base, &format!("/accounts/{id}")),
            "transactions": own("transactions"),
            "operations": own("operations"),
            "payments": own("payments"),
            "effects": own("effects"),
            "offers": own("offers"),
            "trades": own("trades"),
            "data": template(base, &format!("/accounts/{id}/data/{{key}}")),
        },
        "id": id,
        "account_id": id,
        "sequence": account.sequence.to_string(),
    });
    if let Some((ledger, at)) = account.sequence_used {
        object["sequence_ledger"] = ledger.into();
        object["sequence_time"] = at.to_string().into();
    }
    let rest = json!({
        "subentry_count": account.subentries(),
        "last_modified_ledger": account.modified.0,
        "last_modified_time": time(account.modified.1),
        "thresholds": { "low_threshold": 0, "med_threshold": 0, "high_threshold": 0 },
        "flags": { "auth_required": false, "auth_revocable": false, "auth_immutable": false, "auth_clawback_enabled": false },
        "balances": balances,
        "signers": [{ "weight": 1, "key": id, "type": "ed25519_public_key" }],
        "data": {},
        "num_sponsoring": account.sponsoring,
        "num_sponsored": 0,
        "paging_token": id,
    });
    merge(&mut object, rest);
    Some(object)
}

pub(crate) fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// An offer.
pub fn offer(base: &str, offer: &Offer) -> Value {
    let seller = account_id(&offer.seller).to_string();
    let (n, d) = (
        u128::try_from(offer.n).unwrap_or(0),
        u128::try_from(offer.d).unwrap_or(1).max(1),
    );
    let price = (n * 10_000_000 + d / 2) / d;
    json!({
        "_links": {
            "self": link(base, &format!("/offers/{}", offer.id)),
            "offer_maker": link(base, &format!("/accounts/{seller}")),
        },
        "id": offer.id.to_string(),
        "paging_token": offer.id.to_string(),
        "seller": seller,
        "selling": asset(&offer.selling),
        "buying": asset(&offer.buying),
        "amount": amount(offer.amount),
        "price_r": { "n": offer.n, "d": offer.d },
        "price": format!("{}.{:07}", price / 10_000_000, price % 10_000_000),
        "last_modified_ledger": offer.modified.0,
        "last_modified_time": time(offer.modified.1),
    })
}

/// A ledger.
pub fn ledger(base: &str, ledger: &LedgerRecord) -> Value {
    let number = ledger.sequence;
    let own = |list: &str| {
        template(
            base,
            &format!("/ledgers/{number}/{list}{{?cursor,limit,order}}"),
        )
    };
    json!({
        "_links": {
            "self": link(base, &format!("/ledgers/{number}")),
            "transactions": own("transactions"),
            "operations": own("operations"),
            "payments": own("payments"),
            "effects": own("effects"),
        },
        "id": hex::encode(ledger.hash),
        "paging_token": (i64::from(number) << 32).to_string(),
        "hash": hex::encode(ledger.hash),
        "prev_hash": hex::encode(ledger.prev_hash),
        "sequence": number,
        "successful_transaction_count": ledger.successful,
        "failed_transaction_count": ledger.failed,
        "operation_count": ledger.operations,
        "tx_set_operation_count": ledger.operations,
        "closed_at": time(ledger.closed_at),
        "total_coins": "50001806812.4665430",
        "fee_pool": "0.0000000",
        "base_fee_in_stroops": BASE_FEE,
        "base_reserve_in_stroops": BASE_RESERVE,
        "max_tx_set_size": 1000,
        "protocol_version": PROTOCOL,
        "header_xdr": "",
    })
}

fn signatures(signatures: &[DecoratedSignature]) -> Value {
    signatures
        .iter()
        .map(|s| Value::from(STANDARD.encode(s.signature.0.as_slice())))
        .collect()
}

fn preconditions(cond: &Preconditions) -> Option<Value> {
    let bounds = |b: &stellar_base::xdr::TimeBounds| {
        let mut object = json!({ "min_time": b.min_time.0.to_string() });
        if b.max_time.0 != 0 {
            object["max_time"] = b.max_time.0.to_string().into();
        }
        object
    };
    match cond {
        Preconditions::None => None,
        Preconditions::Time(b) => Some(json!({ "timebounds": bounds(b) })),
        Preconditions::V2(v2) => {
            let mut object = json!({});
            if let Some(b) = &v2.time_bounds {
                object["timebounds"] = bounds(b);
            }
            if let Some(b) = &v2.ledger_bounds {
                object["ledgerbounds"] =
                    json!({ "min_ledger": b.min_ledger, "max_ledger": b.max_ledger });
            }
            if let Some(number) = &v2.min_seq_num {
                object["min_account_sequence"] = number.0.to_string().into();
            }
            if v2.min_seq_age.0 != 0 {
                object["min_account_sequence_age"] = v2.min_seq_age.0.to_string().into();
            }
            if v2.min_seq_ledger_gap != 0 {
                object["min_account_sequence_ledger_gap"] = v2.min_seq_ledger_gap.into();
            }
            Some(object)
        }
    }
}

/// A transaction, under its outer hash or, if `inner` and it is a fee-bump, its inner one.
pub fn transaction(base: &str, record: &TxRecord, inner: bool) -> Value {
    let submitted = &record.submitted;
    let tx = &submitted.tx;
    let outer = hex::encode(submitted.outer_hash());
    let hash = if inner {
        hex::encode(submitted.hash)
    } else {
        outer.clone()
    };
    let source = account_id(&submitted.source()).to_string();
    let mut object = Map::new();
    let (memo_type, memo) = match &tx.memo {
        Memo::None => ("none", None),
        Memo::Text(text) => {
            object.insert(
                "memo_bytes".to_owned(),
                STANDARD.encode(text.as_slice()).into(),
            );
            (
                "text",
                Some(String::from_utf8_lossy(text.as_slice()).into_owned()),
            )
        }
        Memo::Id(id) => ("id", Some(id.to_string())),
        Memo::Hash(hash) => ("hash", Some(STANDARD.encode(hash.0))),
        Memo::Return(hash) => ("return", Some(STANDARD.encode(hash.0))),
    };
    if let Some(memo) = memo {
        object.insert("memo".to_owned(), memo.into());
    }
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put(
        "_links",
        json!({
            "self": link(base, &format!("/transactions/{hash}")),
            "account": link(base, &format!("/accounts/{source}")),
            "ledger": link(base, &format!("/ledgers/{}", record.ledger)),
            "operations": template(base, &format!("/transactions/{hash}/operations{{?cursor,limit,order}}")),
            "effects": template(base, &format!("/transactions/{hash}/effects{{?cursor,limit,order}}")),
            "precedes": link(base, &format!("/transactions?order=asc&cursor={}", record.id)),
            "succeeds": link(base, &format!("/transactions?order=desc&cursor={}", record.id)),
            "transaction": link(base, &format!("/transactions/{hash}")),
        }),
    );
    put("id", hash.clone().into());
    put("paging_token", record.id.to_string().into());
    put("successful", record.successful.into());
    put("hash", hash.into());
    put("ledger", record.ledger.into());
    put("created_at", time(record.closed_at).into());
    put_account(&mut object, "source_account", "account", &tx.source_account);
    let payer = submitted
        .bump
        .as_ref()
        .map_or(&tx.source_account, |bump| &bump.fee_source);
    put_account(&mut object, "fee_account", "fee_account", payer);
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("source_account_sequence", tx.seq_num.0.to_string().into());
    put("fee_charged", record.result.fee_charged.to_string().into());
    put("max_fee", submitted.max_fee().to_string().into());
    put("operation_count", tx.operations.len().into());
    put("envelope_xdr", submitted.envelope_xdr.clone().into());
    put("result_xdr", to_base64(&record.result).into());
    // Empty lists of changes: nobody here reads what a transaction did to each entry.
    put("result_meta_xdr", "AAAAAgAAAAAAAAAAAAAAAA==".into());
    put("fee_meta_xdr", "AAAAAA==".into());
    put("memo_type", memo_type.into());
    let shown = submitted
        .bump
        .as_ref()
        .filter(|_| !inner)
        .map_or(&submitted.signatures, |bump| &bump.signatures);
    put("signatures", signatures(shown));
    if let Some(bounds) = submitted.time_bounds() {
        put("valid_after", time(bounds.min_time.0).into());
        if bounds.max_time.0 != 0 {
            put("valid_before", time(bounds.max_time.0).into());
        }
    }
    if let Some(preconditions) = preconditions(&tx.cond) {
        put("preconditions", preconditions);
    }
    if let Some(bump) = &submitted.bump {
        put(
            "fee_bump_transaction",
            json!({ "hash": outer, "signatures": signatures(&bump.signatures) }),
        );
        put(
            "inner_transaction",
            json!({
                "hash": hex::encode(submitted.hash),
                "signatures": signatures(&submitted.signatures),
                "max_fee": tx.fee.to_string(),
            }),
        );
    }
    Value::Object(object)
}

/// A path.
pub fn path(path: &Path, wanted: &Asset, wanted_amount: i64) -> Value {
    let mut object = Map::new();
    put_asset(&mut object, "source_", &path.source);
    object.insert("source_amount".to_owned(), amount(path.cost).into());
    put_asset(&mut object, "destination_", wanted);
    object.insert(
        "destination_amount".to_owned(),
        amount(wanted_amount).into(),
    );
    object.insert("path".to_owned(), path.via.iter().map(asset).collect());
    Value::Object(object)
}
