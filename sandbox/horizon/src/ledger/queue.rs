//! Transactions that wait for the next ledger: one for each source account.

use super::close::Ledger;
use super::history::TxRecord;
use super::validity::{self, BASE_FEE};
use crate::address::Address;
use crate::envelope::Submission;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use stellar_base::xdr::{TransactionResult, TransactionResultResult};

/// How many times the pending fee a replacement must offer.
const REPLACEMENT: i128 = 10;

/// What became of a submission.
#[derive(Debug)]
pub enum Queued {
    /// A ledger took it before.
    Recorded(Arc<TxRecord>),
    /// It waits for the next ledger, or did already.
    Pending,
    /// The account has another one waiting; this one is not kept.
    TryAgainLater,
    /// It is invalid; nothing is consumed.
    Invalid(Box<TransactionResult>),
}

/// What waits for the next ledger.
#[derive(Debug, Default)]
pub struct Queue {
    /// In the order of arrival.
    waiting: BTreeMap<u64, Arc<Submission>>,
    by_source: HashMap<Address, u64>,
    /// Stroops that waiting transactions may cost their payer.
    fees: HashMap<Address, i64>,
    arrivals: u64,
}

impl Queue {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Queues a transaction if it is valid and its account has none waiting. `now` is in Unix seconds.
    pub fn submit(&mut self, ledger: &mut Ledger, submission: &Arc<Submission>, now: u64) -> Queued {
        if let Some(record) = ledger.history.tx(&submission.id()) {
            return Queued::Recorded(Arc::clone(record));
        }
        let source = submission.source();
        let pending = self.by_source.get(&source).and_then(|arrival| self.waiting.get(arrival)).cloned();
        if let Some(pending) = &pending {
            if pending.id() == submission.id() {
                return Queued::Pending;
            }
            if let Some(answer) = beside(pending, submission) {
                return answer;
            }
        }
        if let Err(result) = ledger.check(submission, now) {
            return Queued::Invalid(result);
        }
        let payer = Address::of(submission.fee_account());
        let promised = self.fees.get(&payer).copied().unwrap_or(0);
        let freed = pending.as_ref().filter(|old| Address::of(old.fee_account()) == payer).map_or(0, |old| old.max_fee());
        let at_hand = ledger.state.account(payer).map_or(0, |account| account.spendable());
        if at_hand < promised - freed + submission.max_fee() {
            let result = validity::outer(0, TransactionResultResult::TxInsufficientBalance);
            return Queued::Invalid(Box::new(result));
        }
        if let Some(arrival) = self.by_source.remove(&source) {
            self.forget(arrival);
        }
        self.arrivals += 1;
        self.waiting.insert(self.arrivals, Arc::clone(submission));
        self.by_source.insert(source, self.arrivals);
        *self.fees.entry(payer).or_default() += submission.max_fee();
        Queued::Pending
    }

    fn forget(&mut self, arrival: u64) {
        let Some(old) = self.waiting.remove(&arrival) else { return };
        if let Some(fees) = self.fees.get_mut(&Address::of(old.fee_account())) {
            *fees -= old.max_fee();
        }
    }

    /// All that waits, in the order of arrival, for a ledger to take.
    pub fn drain(&mut self) -> Vec<Arc<Submission>> {
        self.by_source.clear();
        self.fees.clear();
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}

/// What is said of other content while the account has one waiting; `None` when it may replace it.
fn beside(pending: &Submission, submission: &Submission) -> Option<Queued> {
    let Some(bump) = &submission.bump else { return Some(Queued::TryAgainLater) };
    let (old, new) = (pending.tx.seq_num.0, submission.tx.seq_num.0);
    if new < old {
        let result = validity::result_of(submission, 0, TransactionResultResult::TxBadSeq);
        return Some(Queued::Invalid(Box::new(result)));
    }
    if new > old {
        return Some(Queued::TryAgainLater);
    }
    let offered = i128::from(bump.fee) * i128::from(pending.fee_units());
    let asked = REPLACEMENT * i128::from(pending.max_fee()) * i128::from(submission.fee_units());
    if offered < asked {
        let least = submission.fee_units() * BASE_FEE;
        let result = validity::outer(least, TransactionResultResult::TxInsufficientFee);
        return Some(Queued::Invalid(Box::new(result)));
    }
    None
}
