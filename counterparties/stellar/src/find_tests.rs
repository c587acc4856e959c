#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;
use crate::ids::{AccountId, SecretKey};
use crate::outcome::foreign_total;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use events::time::Timestamp;
use std::sync::Mutex;
use stellar_base::xdr::{
    Limits, OperationResult, OperationResultTr, PathPaymentStrictReceiveResult, TransactionResult,
    TransactionResultExt, TransactionResultResult as Outcome, WriteXdr,
};

const BASE: i64 = 1 << 62;

fn lane() -> AccountId {
    SecretKey::from_seed(&[1; 32]).account()
}

fn stranger() -> AccountId {
    SecretKey::from_seed(&[2; 32]).account()
}

/// Ours has number `BASE + 5`.
fn ours() -> SignedTransaction {
    SignedTransaction {
        envelope: String::new(),
        hash: "ours".to_owned(),
        lane: lane(),
        sequence: BASE + 5,
        base: BASE,
        deadline: 1_000,
    }
}

fn success() -> Outcome {
    Outcome::TxSuccess(Vec::new().try_into().unwrap())
}

fn failure(result: PathPaymentStrictReceiveResult) -> Outcome {
    let operation = OperationResult::OpInner(OperationResultTr::PathPaymentStrictReceive(result));
    Outcome::TxFailed(vec![operation].try_into().unwrap())
}

fn view(
    hash: &str,
    source: AccountId,
    sequence: i64,
    ledger: u32,
    result: Outcome,
) -> TransactionView {
    let successful = matches!(result, Outcome::TxSuccess(_));
    let result = TransactionResult {
        fee_charged: 100,
        result,
        ext: TransactionResultExt::V0,
    };
    TransactionView {
        hash: hash.to_owned(),
        inner_hash: None,
        source_account: source,
        sequence,
        successful,
        memo_type: "none".to_owned(),
        memo: None,
        ledger,
        created_at: Timestamp::from_seconds(900),
        fee_charged: 100,
        result: STANDARD.encode(result.to_xdr(Limits::none()).unwrap()),
        paging_token: "1".to_owned(),
    }
}

fn listed(hash: &str, sequence: i64, ledger: u32, result: Outcome) -> Listed {
    Listed::Read(Box::new(view(hash, lane(), sequence, ledger, result)))
}

fn dust(ledger: u32) -> Listed {
    Listed::Read(Box::new(view("dust", stranger(), 77, ledger, success())))
}

/// An account whose number was set in ledger 50.
fn account(sequence: i64) -> AccountView {
    AccountView {
        sequence,
        sequence_ledger: Some(50),
        balances: Vec::new(),
        ledger: 60,
    }
}

fn search(current: i64, records: &[Listed], whole: bool) -> Found {
    let (ours, account) = (ours(), account(current));
    let mut search = Search::new(&ours, &account);
    for record in records {
        if let Some(found) = search.take(record) {
            return found;
        }
    }
    search.end(whole)
}

#[test]
fn our_hash_tells_by_its_result() {
    let landed = search(BASE + 5, &[listed("ours", BASE + 5, 50, success())], false);
    assert!(
        matches!(landed, Find::Landed(l) if l.ledger == 50 && l.sequence == BASE + 5 && l.fee_charged == 100)
    );
    for (result, code) in [
        (
            PathPaymentStrictReceiveResult::OverSendmax,
            "op_over_source_max",
        ),
        (
            PathPaymentStrictReceiveResult::TooFewOffers,
            "op_too_few_offers",
        ),
        (
            PathPaymentStrictReceiveResult::Underfunded,
            "op_underfunded",
        ),
    ] {
        let refused = search(
            BASE + 5,
            &[listed("ours", BASE + 5, 50, failure(result))],
            false,
        );
        assert!(
            matches!(&refused, Find::Refused(r) if r.code == code && r.evidence == "ours"),
            "{refused:?}"
        );
    }
    let fenced = search(
        BASE + 9,
        &[listed("ours", BASE + 5, 50, Outcome::TxBadSeq)],
        false,
    );
    assert!(matches!(fenced, Find::NeverWill(_)), "{fenced:?}");
}

#[test]
fn a_fee_bump_of_ours_is_ours() {
    let mut bump = view("outer", lane(), BASE + 5, 50, success());
    bump.inner_hash = Some("ours".to_owned());
    let found = search(BASE + 5, &[Listed::Read(Box::new(bump))], false);
    assert!(matches!(found, Find::Landed(l) if l.hash == "outer"));
}

#[test]
fn a_foreign_transaction_at_our_number_stops_the_lane_and_is_counted() {
    let before = foreign_total();
    for result in [
        success(),
        failure(PathPaymentStrictReceiveResult::OverSendmax),
    ] {
        let found = search(BASE + 5, &[listed("other", BASE + 5, 50, result)], true);
        assert!(
            matches!(&found, Find::Pending(why) if why.contains("foreign")),
            "{found:?}"
        );
    }
    assert!(foreign_total() >= before + 2);
    // Fenced, it was never executed: ours may well have been.
    let records = [
        listed("other", BASE + 5, 50, Outcome::TxBadSeq),
        listed("ours", BASE + 5, 50, success()),
    ];
    assert!(matches!(search(BASE + 5, &records, false), Find::Landed(_)));
    // On an ordinary account others have their own numbers.
    let ours = SignedTransaction { base: 0, ..ours() };
    let account = account(BASE + 5);
    let found = Search::new(&ours, &account).take(&listed("other", BASE + 5, 50, success()));
    assert!(matches!(found, Some(Find::NeverWill(_))));
}

#[test]
fn a_passed_number_never_will_if_the_list_shows_both_ends() {
    let above = || listed("next", BASE + 8, 50, success());
    let below = || listed("last", BASE + 4, 40, success());
    assert!(matches!(
        search(BASE + 8, &[above(), below()], false),
        Find::NeverWill(_)
    ));
    assert!(matches!(
        search(BASE + 8, &[above()], true),
        Find::NeverWill(_)
    ));
    // The end of what this Horizon keeps is not the beginning of the lane.
    assert!(matches!(
        search(BASE + 8, &[above()], false),
        Find::Pending(_)
    ));
}

#[test]
fn a_list_older_than_the_account_proves_nothing() {
    let below = || listed("last", BASE + 4, 40, success());
    assert!(matches!(
        search(BASE + 8, &[below()], true),
        Find::Pending(_)
    ));
    assert!(matches!(
        search(BASE + 8, &[dust(49), below()], true),
        Find::Pending(_)
    ));
    // A bump by another account set the number: any record of its ledger shows the list has it.
    assert!(matches!(
        search(BASE + 8, &[dust(50), below()], true),
        Find::NeverWill(_)
    ));
}

#[test]
fn a_fenced_record_below_ours_is_no_proof_of_what_came_before() {
    let records = [
        listed("zombie", BASE + 3, 50, Outcome::TxBadSeq),
        listed("ours", BASE + 5, 50, success()),
    ];
    assert!(matches!(search(BASE + 5, &records, true), Find::Landed(_)));
}

#[test]
fn what_cannot_be_read_may_be_ours() {
    let records = [
        Listed::Unread("strange".to_owned()),
        listed("next", BASE + 8, 50, success()),
        listed("last", BASE + 4, 40, success()),
    ];
    assert!(matches!(search(BASE + 8, &records, true), Find::Pending(_)));
    let records = [
        Listed::Unread("strange".to_owned()),
        listed("ours", BASE + 5, 50, success()),
    ];
    assert!(matches!(search(BASE + 5, &records, true), Find::Landed(_)));
    let mut broken = view("ours", lane(), BASE + 5, 50, Outcome::TxBadSeq);
    broken.result = "?".to_owned();
    assert!(matches!(
        search(BASE + 5, &[Listed::Read(Box::new(broken))], true),
        Find::Pending(_)
    ));
    let mut broken = view("other", lane(), BASE + 4, 40, success());
    broken.result = "?".to_owned();
    let records = [
        listed("next", BASE + 8, 50, success()),
        Listed::Read(Box::new(broken)),
        listed("last", BASE + 3, 39, success()),
    ];
    assert!(matches!(search(BASE + 8, &records, true), Find::Pending(_)));
}

/// A Horizon whose replicas are at different heights: each reading of the lane comes from the next.
struct Replicas {
    closed: (u32, Timestamp),
    lanes: Mutex<Vec<AccountView>>,
}

impl LaneReads for Replicas {
    async fn lane(&self, _: &AccountId) -> Result<Option<AccountView>, ReadError> {
        let mut lanes = self.lanes.lock().unwrap();
        Ok(Some(lanes.remove(0)))
    }

    async fn last_ledger(&self) -> Result<(u32, Timestamp), ReadError> {
        Ok(self.closed)
    }

    async fn transactions_desc(
        &self,
        _: &AccountId,
        _: Option<&str>,
        _: u64,
    ) -> Result<TransactionsPage, ReadError> {
        Err(ReadError::Unreachable(
            "not asked in these tests".to_owned(),
        ))
    }

    async fn shows_creation(&self, _: &AccountId) -> Result<bool, ReadError> {
        Ok(true)
    }
}

/// What is found of a number that is free, when ledger 100 closed at `closed` (seconds; the
/// deadline is 1000) and the lane is read again at a ledger, with a number.
async fn after(closed: i64, (ledger, sequence): (u32, i64)) -> Found {
    let first = account(BASE + 4);
    let again = AccountView {
        ledger,
        ..account(sequence)
    };
    let horizon = Replicas {
        closed: (100, Timestamp::from_seconds(closed)),
        lanes: Mutex::new(vec![first, again]),
    };
    find(&horizon, &ours()).await.unwrap()
}

#[tokio::test]
async fn a_free_number_may_be_tried_until_a_ledger_closed_after_the_deadline() {
    assert!(matches!(after(1_000, (100, BASE + 4)).await, Find::Absent));
    assert!(matches!(
        after(1_001, (100, BASE + 4)).await,
        Find::NeverWill(_)
    ));
}

#[tokio::test]
async fn a_replica_that_has_not_seen_that_ledger_proves_nothing() {
    assert!(matches!(
        after(1_001, (99, BASE + 4)).await,
        Find::Pending(_)
    ));
    assert!(matches!(
        after(1_001, (100, BASE + 5)).await,
        Find::Pending(_)
    ));
}
