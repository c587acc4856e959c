//! Claimable balances: what somebody set aside for an account, until it claims it.
//!
//! Whether an account may claim depends on the closing time of the ledger alone, so its condition is
//! the same as a list of times ([`Window`]), which nobody needs Stellar's language to read.

use crate::ids::AccountId;
use crate::port::{ClaimableView, ReadError};
use crate::records;
use crate::results::Applied;
use crate::signing::{SignError, bounded};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use stellar_base::xdr;

/// Operations that bring an account nothing, though it or somebody else touches it by them. What a
/// claim brings is known of whoever claims.
const BRING_NOTHING: [&str; 18] = [
    "set_options",
    "change_trust",
    "allow_trust",
    "set_trust_line_flags",
    "manage_data",
    "manage_offer",
    "manage_sell_offer",
    "manage_buy_offer",
    "create_passive_offer",
    "create_passive_sell_offer",
    "bump_sequence",
    "claim_claimable_balance",
    "clawback_claimable_balance",
    "begin_sponsoring_future_reserves",
    "end_sponsoring_future_reserves",
    "revoke_sponsorship",
    "extend_footprint_ttl",
    "restore_footprint",
];

/// Whether an operation of this type brings an account nothing.
pub(crate) fn brings_nothing(kind: &str) -> bool {
    BRING_NOTHING.contains(&kind)
}

/// A claimable balance's id: the hash of the operation that created it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BalanceId(pub [u8; 32]);

/// The text is no id of a claimable balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a claimable balance: expected 8 zeros and 64 hex digits")]
pub struct InvalidBalanceId;

impl BalanceId {
    /// The operation that takes what it holds.
    pub(crate) const fn claim(&self) -> xdr::OperationBody {
        let balance_id = xdr::ClaimableBalanceId::ClaimableBalanceIdTypeV0(xdr::Hash(self.0));
        xdr::OperationBody::ClaimClaimableBalance(xdr::ClaimClaimableBalanceOp { balance_id })
    }
}

/// As Horizon writes it: the type of the id, then the hash.
impl fmt::Display for BalanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00000000{}", hex::encode(self.0))
    }
}

impl FromStr for BalanceId {
    type Err = InvalidBalanceId;
    fn from_str(text: &str) -> Result<Self, InvalidBalanceId> {
        let hash = text.strip_prefix("00000000").ok_or(InvalidBalanceId)?;
        let bytes = hex::decode(hash).map_err(|_| InvalidBalanceId)?;
        bytes.try_into().map(Self).map_err(|_| InvalidBalanceId)
    }
}

/// A time span in which something may be claimed, by the closing times of ledgers, Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From this on; `None`: from its creation.
    pub from: Option<i64>,
    /// Before this; `None`: for ever.
    pub until: Option<i64>,
}

/// The condition under which an account may claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicate {
    /// At any time.
    Unconditional,
    /// Before this closing time, Unix seconds.
    Before(i64),
    /// Before so many seconds have passed since the ledger in which it was created closed.
    BeforeWithin(i64),
    /// When the other does not hold.
    Not(Box<Predicate>),
    /// When both hold.
    And(Box<(Predicate, Predicate)>),
    /// When one holds.
    Or(Box<(Predicate, Predicate)>),
}

/// Half-open spans of closing times, ascending and apart from each other. The ends of the range
/// stand for "always before" and "always after".
type Spans = Vec<(i64, i64)>;

fn complement(spans: &Spans) -> Spans {
    let mut outside = Vec::with_capacity(spans.len() + 1);
    let mut from = i64::MIN;
    for (begin, end) in spans {
        if from < *begin {
            outside.push((from, *begin));
        }
        from = *end;
    }
    if from < i64::MAX {
        outside.push((from, i64::MAX));
    }
    outside
}

fn intersection(left: &Spans, right: &Spans) -> Spans {
    let pairs = left.iter().flat_map(|l| right.iter().map(move |r| (l, r)));
    pairs
        .map(|(l, r)| (l.0.max(r.0), l.1.min(r.1)))
        .filter(|(from, until)| from < until)
        .collect()
}

impl Predicate {
    /// When it holds, for a balance that was created in a ledger that closed at `created`.
    #[must_use]
    pub fn windows(&self, created: i64) -> Vec<Window> {
        let bound = |end: i64, none: i64| Some(end).filter(|end| *end != none);
        self.spans(created)
            .into_iter()
            .map(|(from, until)| Window {
                from: bound(from, i64::MIN),
                until: bound(until, i64::MAX),
            })
            .collect()
    }

    fn spans(&self, created: i64) -> Spans {
        let before = |end: i64| vec![(i64::MIN, end)];
        match self {
            Self::Unconditional => before(i64::MAX),
            Self::Before(end) => before(*end),
            Self::BeforeWithin(seconds) => before(created.saturating_add(*seconds)),
            Self::Not(inner) => complement(&inner.spans(created)),
            Self::And(both) => intersection(&both.0.spans(created), &both.1.spans(created)),
            // Neither is missing: the complement of what neither holds in.
            Self::Or(both) => {
                let (left, right) = (both.0.spans(created), both.1.spans(created));
                complement(&intersection(&complement(&left), &complement(&right)))
            }
        }
    }

    pub(crate) fn xdr(&self) -> Result<xdr::ClaimPredicate, SignError> {
        let two = |both: &(Self, Self)| {
            let list = vec![both.0.xdr()?, both.1.xdr()?];
            bounded(list, "a predicate")
        };
        Ok(match self {
            Self::Unconditional => xdr::ClaimPredicate::Unconditional,
            Self::Before(end) => xdr::ClaimPredicate::BeforeAbsoluteTime(*end),
            Self::BeforeWithin(seconds) => xdr::ClaimPredicate::BeforeRelativeTime(*seconds),
            Self::Not(inner) => xdr::ClaimPredicate::Not(Some(Box::new(inner.xdr()?))),
            Self::And(both) => xdr::ClaimPredicate::And(two(both)?),
            Self::Or(both) => xdr::ClaimPredicate::Or(two(both)?),
        })
    }

    /// Reads what Horizon writes; `None` when it is something else.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let seconds = |value: &Value| {
            let text = || value.as_str().and_then(|text| text.parse().ok());
            value.as_i64().or_else(text)
        };
        let two = |value: &Value| {
            let [left, right] = value.as_array()?.as_slice() else {
                return None;
            };
            Some(Box::new((Self::read(left)?, Self::read(right)?)))
        };
        let object = value.as_object()?;
        // A time in the far future is no calendar day, so its number goes before its text.
        if let Some(epoch) = object.get("abs_before_epoch") {
            return seconds(epoch).map(Self::Before);
        }
        let (name, inner) = object.iter().next()?;
        match name.as_str() {
            "unconditional" if *inner == true => Some(Self::Unconditional),
            "abs_before" => {
                let time = events::time::Timestamp::parse(inner.as_str()?)?;
                Some(Self::Before(time.seconds()))
            }
            "rel_before" => seconds(inner).map(Self::BeforeWithin),
            "not" => Some(Self::Not(Box::new(Self::read(inner)?))),
            "and" => two(inner).map(Self::And),
            "or" => two(inner).map(Self::Or),
            _ => None,
        }
    }
}

/// The claimable balance that an operation created for `account`; `None` if that may not claim it.
pub(crate) fn created(
    record: &Value,
    account: &AccountId,
) -> Result<Option<ClaimableView>, ReadError> {
    let malformed = |what: &str| ReadError::Malformed(what.to_owned());
    let claimants = record["claimants"]
        .as_array()
        .ok_or_else(|| malformed("claimants are missing"))?;
    let ours = |claimant: &&Value| claimant["destination"] == account.as_str();
    let Some(claimant) = claimants.iter().find(ours) else {
        return Ok(None);
    };
    let predicate = &claimant["predicate"];
    let condition = Predicate::read(predicate)
        .ok_or_else(|| malformed("the condition of the claimable balance is none"))?;
    let transaction = &record["transaction"];
    let id = records::text(record, "id")?;
    let created_at = records::time(record, "created_at")?;
    Ok(Some(ClaimableView {
        balance: balance_of(id, records::text(transaction, "result_xdr")?)
            .ok_or_else(|| malformed("the result does not tell the claimable balance's id"))?,
        id: id.to_owned(),
        paging_token: records::text(record, "paging_token")?.to_owned(),
        transaction_hash: records::text(record, "transaction_hash")?.to_owned(),
        successful: record["transaction_successful"]
            .as_bool()
            .ok_or_else(|| malformed("transaction_successful is missing"))?,
        created_at,
        from: records::account_id(record, "source_account")?,
        asset: records::text(record, "asset")?
            .parse()
            .map_err(|_| malformed("asset is none"))?,
        amount: records::amount(record, "amount")?,
        claimable: condition.windows(created_at.seconds()),
        predicate: predicate.to_string(),
        memo_type: records::text(transaction, "memo_type")?.to_owned(),
        memo: transaction["memo"].as_str().map(ToOwned::to_owned),
    }))
}

/// The balance that an operation created, by its transaction's result. The lowest 12 bits of an
/// operation's id are its place, from 1.
fn balance_of(operation: &str, result: &str) -> Option<BalanceId> {
    let place = usize::try_from(operation.parse::<i64>().ok()? & 0xfff).ok()?;
    let applied = Applied::read(result)?;
    match applied.operations.get(place.checked_sub(1)?)? {
        xdr::OperationResult::OpInner(xdr::OperationResultTr::CreateClaimableBalance(
            xdr::CreateClaimableBalanceResult::Success(
                xdr::ClaimableBalanceId::ClaimableBalanceIdTypeV0(hash),
            ),
        )) => Some(BalanceId(hash.0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use serde_json::json;

    fn windows(predicate: &Value) -> Vec<(Option<i64>, Option<i64>)> {
        let read = Predicate::read(predicate).unwrap();
        let windows = read.windows(1_000);
        windows.iter().map(|w| (w.from, w.until)).collect()
    }

    fn before(seconds: i64) -> Value {
        json!({"abs_before": "1970-01-01T00:00:00Z", "abs_before_epoch": seconds.to_string()})
    }

    #[test]
    fn a_condition_is_a_list_of_times() {
        let always = json!({"unconditional": true});
        for (predicate, expected) in [
            (always.clone(), vec![(None, None)]),
            (before(50), vec![(None, Some(50))]),
            (
                json!({"abs_before": "1970-01-01T00:01:00Z"}),
                vec![(None, Some(60))],
            ),
            // Relative to the ledger that created it.
            (json!({"rel_before": "60"}), vec![(None, Some(1_060))]),
            (
                json!({"rel_before": "9223372036854775807"}),
                vec![(None, None)],
            ),
            (json!({"not": before(50)}), vec![(Some(50), None)]),
            (json!({"not": {"not": before(50)}}), vec![(None, Some(50))]),
            (json!({"not": always}), vec![]),
            (
                json!({"and": [{"not": before(50)}, before(90)]}),
                vec![(Some(50), Some(90))],
            ),
            (json!({"and": [{"not": before(90)}, before(50)]}), vec![]),
            (
                json!({"and": [always, {"not": {"rel_before": "5"}}]}),
                vec![(Some(1_005), None)],
            ),
            (
                json!({"or": [before(50), {"not": before(90)}]}),
                vec![(None, Some(50)), (Some(90), None)],
            ),
            // What touches is one.
            (
                json!({"or": [before(50), {"not": before(50)}]}),
                vec![(None, None)],
            ),
            (
                json!({"and": [{"or": [before(50), {"not": before(90)}]}, {"and": [{"not": before(20)}, before(95)]}]}),
                vec![(Some(20), Some(50)), (Some(90), Some(95))],
            ),
        ] {
            assert_eq!(windows(&predicate), expected, "{predicate}");
        }
    }

    #[test]
    fn what_is_no_condition_is_none() {
        for predicate in [
            json!({}),
            json!(null),
            json!({"unconditional": false}),
            json!({"not": null}),
            json!({"and": [{"unconditional": true}]}),
            json!({"or": [{"unconditional": true}, {}]}),
            json!({"rel_before": "soon"}),
            json!({"abs_before": "soon"}),
            json!({"after": "1"}),
        ] {
            assert_eq!(Predicate::read(&predicate), None, "{predicate}");
        }
    }

    #[test]
    fn an_id_is_written_as_horizon_writes_it() {
        let text = format!("00000000{}", "ab".repeat(32));
        let id: BalanceId = text.parse().unwrap();
        assert_eq!((id.0, id.to_string()), ([0xab; 32], text));
        for wrong in [
            "",
            "00000000",
            "00000001",
            &"ab".repeat(36),
            &"00".repeat(35),
        ] {
            assert_eq!(wrong.parse::<BalanceId>(), Err(InvalidBalanceId), "{wrong}");
        }
    }
}
