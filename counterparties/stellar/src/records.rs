//! Horizon's JSON, decoded record by record: one that is strange spoils no page.

use crate::claimable;
use crate::ids::{AccountId, AssetId, PathAsset};
use crate::port::{
    AccountView, PaymentRecord, PaymentView, PaymentsPage, ReadError, TransactionView,
};
use events::money::{Amount, Usdc};
use events::time::Timestamp;
use serde_json::Value;

/// A record of a list of transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// It was understood.
    Read(Box<TransactionView>),
    /// It was not: it may be anybody's, ours too.
    Unread(String),
}

/// A page of transactions and where the next one begins; `None` at the end of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionsPage {
    /// Newest first.
    pub records: Vec<Listed>,
    /// Cursor of the next page.
    pub next: Option<String>,
}

fn malformed(what: impl Into<String>) -> ReadError {
    ReadError::Malformed(what.into())
}

/// The records of a page.
pub(crate) fn records(page: &Value) -> Result<&Vec<Value>, ReadError> {
    page["_embedded"]["records"]
        .as_array()
        .ok_or_else(|| malformed("a page without records"))
}

pub(crate) fn text<'a>(record: &'a Value, field: &str) -> Result<&'a str, ReadError> {
    record[field]
        .as_str()
        .ok_or_else(|| malformed(format!("{field} is missing")))
}

/// Horizon writes large numbers as text, small ones as numbers.
pub(crate) fn number(record: &Value, field: &str) -> Result<i64, ReadError> {
    let value = &record[field];
    value
        .as_i64()
        .or_else(|| value.as_str().and_then(|t| t.parse().ok()))
        .ok_or_else(|| malformed(format!("{field} is no number")))
}

pub(crate) fn ledger_number(record: &Value, field: &str) -> Result<u32, ReadError> {
    u32::try_from(number(record, field)?).map_err(|_| malformed(format!("{field} is no ledger")))
}

pub(crate) fn time(record: &Value, field: &str) -> Result<Timestamp, ReadError> {
    Timestamp::parse(text(record, field)?).ok_or_else(|| malformed(format!("{field} is no time")))
}

/// An amount in 10^-7 units. All assets of Stellar have seven decimals, so any of ours reads them.
pub(crate) fn amount(record: &Value, field: &str) -> Result<i64, ReadError> {
    Amount::<Usdc>::parse(text(record, field)?)
        .map(Amount::minor)
        .map_err(|e| malformed(format!("{field}: {e}")))
}

pub(crate) fn account_id(record: &Value, field: &str) -> Result<AccountId, ReadError> {
    text(record, field)?
        .parse()
        .map_err(|_| malformed(format!("{field} is no account")))
}

pub(crate) fn asset(record: &Value, prefix: &str) -> Result<PathAsset, ReadError> {
    if record[format!("{prefix}asset_type")] == "native" {
        return Ok(PathAsset::Native);
    }
    let code = text(record, &format!("{prefix}asset_code"))?.to_owned();
    let issuer = account_id(record, &format!("{prefix}asset_issuer"))?;
    Ok(PathAsset::Credit(AssetId { code, issuer }))
}

pub(crate) fn account(record: &Value, ledger: u32) -> Result<AccountView, ReadError> {
    let mut balances = Vec::new();
    for balance in record["balances"].as_array().into_iter().flatten() {
        // Pool shares have no code and no issuer; nothing here holds any.
        if let Ok(asset) = asset(balance, "") {
            balances.push((asset, amount(balance, "balance")?));
        }
    }
    let sequence_ledger = match &record["sequence_ledger"] {
        Value::Null => None,
        _ => Some(ledger_number(record, "sequence_ledger")?),
    };
    Ok(AccountView {
        sequence: number(record, "sequence")?,
        sequence_ledger,
        balances,
        ledger,
    })
}

pub(crate) fn transaction(record: &Value) -> Result<TransactionView, ReadError> {
    Ok(TransactionView {
        hash: text(record, "hash")?.to_owned(),
        inner_hash: record["inner_transaction"]["hash"]
            .as_str()
            .map(ToOwned::to_owned),
        source_account: account_id(record, "source_account")?,
        sequence: number(record, "source_account_sequence")?,
        successful: record["successful"]
            .as_bool()
            .ok_or_else(|| malformed("successful is missing"))?,
        memo_type: record["memo_type"].as_str().unwrap_or("none").to_owned(),
        memo: record["memo"].as_str().map(ToOwned::to_owned),
        ledger: ledger_number(record, "ledger")?,
        created_at: time(record, "created_at")?,
        fee_charged: number(record, "fee_charged")?,
        result: text(record, "result_xdr")?.to_owned(),
        paging_token: record["paging_token"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    })
}

/// The token of the last record, from which the next page begins. A page whose last record has
/// none cannot be paged on from.
fn last_token(records: &[Value]) -> Result<Option<String>, ReadError> {
    records
        .last()
        .map(|last| text(last, "paging_token").map(ToOwned::to_owned))
        .transpose()
}

pub(crate) fn transactions(page: &Value) -> Result<TransactionsPage, ReadError> {
    let records = records(page)?;
    let listed = records.iter().map(|record| match transaction(record) {
        Ok(view) => Listed::Read(Box::new(view)),
        Err(error) => Listed::Unread(error.to_string()),
    });
    Ok(TransactionsPage {
        records: listed.collect(),
        next: last_token(records)?,
    })
}

/// What an account's operations brought it: all but those that can bring nothing.
pub(crate) fn payments(
    page: &Value,
    account: &AccountId,
    asked: Option<&str>,
    limit: u8,
) -> Result<PaymentsPage, ReadError> {
    let records = records(page)?;
    let read = records.iter().filter_map(|record| {
        let read = match record["type"].as_str() {
            Some(kind) if claimable::brings_nothing(kind) => return None,
            Some("create_claimable_balance") => match claimable::created(record, account) {
                Ok(None) => return None,
                Ok(Some(view)) => Ok(PaymentRecord::SetAside(Box::new(view))),
                Err(error) => Err(error),
            },
            _ => payment(record).map(|view| PaymentRecord::Read(Box::new(view))),
        };
        Some(read.unwrap_or_else(|error| PaymentRecord::Unread {
            why: error.to_string(),
            raw: record.clone(),
        }))
    });
    // A record without a token does not end the reading: it is met again until one with a token
    // follows it.
    let token = |record: &Value| record["paging_token"].as_str().map(ToOwned::to_owned);
    let last = records.iter().rev().find_map(token);
    Ok(PaymentsPage {
        records: read.collect(),
        full: records.len() >= usize::from(limit),
        cursor: last.or_else(|| asked.map(ToOwned::to_owned)),
    })
}

fn payment(record: &Value) -> Result<PaymentView, ReadError> {
    let kind = text(record, "type")?;
    let (from, to, asset, amount) = match kind {
        "payment" | "path_payment_strict_receive" | "path_payment_strict_send" => (
            account_id(record, "from")?,
            account_id(record, "to")?,
            asset(record, "")?,
            amount(record, "amount")?,
        ),
        "create_account" => (
            account_id(record, "funder")?,
            account_id(record, "account")?,
            PathAsset::Native,
            amount(record, "starting_balance")?,
        ),
        // Merges and contract calls move money, too, but do not say here what and whose.
        other => {
            return Err(malformed(format!(
                "operation {other} does not tell what was paid"
            )));
        }
    };
    let to_muxed_id = match &record["to_muxed_id"] {
        Value::Null => None,
        id => Some(
            id.as_str()
                .and_then(|t| t.parse().ok())
                .or_else(|| id.as_u64())
                .ok_or_else(|| malformed("to_muxed_id"))?,
        ),
    };
    let transaction = &record["transaction"];
    Ok(PaymentView {
        id: text(record, "id")?.to_owned(),
        paging_token: text(record, "paging_token")?.to_owned(),
        kind: kind.to_owned(),
        transaction_hash: text(record, "transaction_hash")?.to_owned(),
        successful: record["transaction_successful"]
            .as_bool()
            .ok_or_else(|| malformed("transaction_successful is missing"))?,
        created_at: time(record, "created_at")?,
        from,
        to,
        to_muxed_id,
        asset,
        amount,
        memo_type: text(transaction, "memo_type")?.to_owned(),
        memo: transaction["memo"].as_str().map(ToOwned::to_owned),
        source_account: account_id(transaction, "source_account")?,
        sequence: number(transaction, "source_account_sequence")?,
    })
}

/// Whether a page's first record shows that `lane` was created: then a list is whole.
pub(crate) fn begins_with_creation(page: &Value, lane: &AccountId) -> Result<bool, ReadError> {
    let first = records(page)?.first();
    Ok(first.is_some_and(|r| r["type"] == "create_account" && r["account"] == lane.as_str()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use super::*;
    use serde_json::json;

    const A: &str = "GBOVQKJYHXRR3DX6NOX2RRYFRCUMSADGDESTDNBDS6CDVLGVESRTAC47";

    fn paid() -> Value {
        json!({
            "id": "7", "paging_token": "7", "type": "payment", "transaction_hash": "ab", "transaction_successful": true,
            "created_at": "2026-11-23T10:00:00Z", "from": A, "to": A, "to_muxed_id": "18446744073709551615",
            "asset_type": "credit_alphanum4", "asset_code": "USDC", "asset_issuer": A, "amount": "1.0000001",
            "transaction": {"memo_type": "text", "memo": "twin_1", "source_account": A, "source_account_sequence": "9"},
        })
    }

    fn page(records: &[Value]) -> Value {
        json!({"_embedded": {"records": records}})
    }

    #[test]
    fn a_payment_is_read_with_its_transaction() {
        let read = payments(&page(&[paid()]), &A.parse().unwrap(), None, 2).unwrap();
        let [PaymentRecord::Read(view)] = read.records.as_slice() else {
            panic!("{read:?}")
        };
        assert_eq!(
            (view.amount, view.to_muxed_id, view.sequence),
            (10_000_001, Some(u64::MAX), 9)
        );
        assert_eq!(view.asset.to_string(), format!("USDC:{A}"));
        assert_eq!(read.cursor.as_deref(), Some("7"));
    }

    #[test]
    fn a_strange_payment_spoils_no_page_and_is_kept() {
        let mut nameless = paid();
        nameless["asset_issuer"] = Value::Null;
        let merge = json!({"id": "8", "paging_token": "8", "type": "account_merge"});
        let read = payments(
            &page(&[nameless.clone(), paid(), merge]),
            &A.parse().unwrap(),
            Some("1"),
            3,
        )
        .unwrap();
        let kinds: Vec<bool> = read
            .records
            .iter()
            .map(|r| matches!(r, PaymentRecord::Read(_)))
            .collect();
        assert_eq!(kinds, [false, true, false]);
        assert!(matches!(&read.records[0], PaymentRecord::Unread { raw, .. } if *raw == nameless));
        assert_eq!(read.cursor.as_deref(), Some("8"));
    }

    #[test]
    fn what_brings_nothing_is_left_out_but_counts_for_the_cursor_and_the_page() {
        let of = |kind: &str, token: &str| json!({"id": token, "paging_token": token, "type": kind, "source_account": A});
        let page = page(&[
            of("manage_sell_offer", "7"),
            of("claim_claimable_balance", "8"),
            of("set_options", "9"),
        ]);
        let read = payments(&page, &A.parse().unwrap(), Some("1"), 3).unwrap();
        assert_eq!((read.records.len(), read.full), (0, true));
        assert_eq!(read.cursor.as_deref(), Some("9"));
    }

    #[test]
    fn a_claimable_balance_for_others_is_not_ours_and_a_strange_one_is_kept() {
        let balance = |claimants: Value| json!({"id": "8", "paging_token": "8", "type": "create_claimable_balance", "claimants": claimants});
        let others = balance(json!([{"destination": "GB", "predicate": {"unconditional": true}}]));
        let strange = balance(json!([{"destination": A, "predicate": {"after": "1"}}]));
        let read = payments(&page(&[others, strange]), &A.parse().unwrap(), None, 9).unwrap();
        assert!(
            matches!(read.records.as_slice(), [PaymentRecord::Unread { why, .. }] if why.contains("condition"))
        );
    }

    #[test]
    fn a_page_without_tokens_stays_where_it_was() {
        for records in [vec![], vec![json!({"type": "payment"})]] {
            let read = payments(&page(&records), &A.parse().unwrap(), Some("5"), 9).unwrap();
            assert_eq!(read.cursor.as_deref(), Some("5"));
            assert_eq!(read.records.len(), records.len());
        }
        assert!(payments(&json!({}), &A.parse().unwrap(), None, 9).is_err());
    }
}
