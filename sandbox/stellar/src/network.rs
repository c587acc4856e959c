//! The ledger state machine: submission, closing, quotes. Pure: time is passed in.

use crate::balances::balance_hash;
use crate::envelope::{Key, SignatureCheck, Submitted};
use crate::history::{History, operation_source};
use crate::operations::{Closing, apply, cost_of, refusal, succeeded, untried};
use crate::state::{Account, State};
pub use crate::surge::BASE_FEE;
use crate::surge::{Door, Waiting};
use std::collections::HashSet;
use stellar_base::xdr::{
    Asset, Hash, InnerTransactionResult, InnerTransactionResultExt, InnerTransactionResultPair,
    InnerTransactionResultResult as Inner, OperationResult, Preconditions, TransactionResult,
    TransactionResultExt, TransactionResultResult as Outer,
};

/// The ledger that a network starts with.
pub const FIRST_LEDGER: u32 = 60_000_000;
/// The root account's XLM at the start, in stroops.
pub const ROOT_BALANCE: i64 = 50_000_000_000 * 10_000_000;

/// What became of a submission.
#[derive(Debug)]
pub enum Submission {
    /// It waits for the next ledger, now or already before.
    Pending,
    /// It is in a ledger already.
    Known,
    /// It is invalid; nothing was consumed.
    Refused(Box<TransactionResult>),
    /// Another transaction of the account waits, or this envelope is banned; it was not taken.
    TryAgainLater,
}

/// A network: what is, what was, and what waits.
#[derive(Debug)]
pub struct Network {
    state: State,
    history: History,
    pending: Vec<Waiting>,
    door: Door,
}

fn refused(fee_charged: i64, result: Outer) -> TransactionResult {
    TransactionResult {
        fee_charged,
        result,
        ext: TransactionResultExt::V0,
    }
}

/// Puts an inner result where it belongs: inside the fee-bump's, if there is one.
fn finished(submitted: &Submitted, fee_charged: i64, inner: Inner) -> TransactionResult {
    if submitted.bump.is_some() {
        let good = matches!(inner, Inner::TxSuccess(_));
        let pair = InnerTransactionResultPair {
            transaction_hash: Hash(submitted.hash),
            result: InnerTransactionResult {
                fee_charged: 0,
                result: inner,
                ext: InnerTransactionResultExt::V0,
            },
        };
        return refused(
            fee_charged,
            if good {
                Outer::TxFeeBumpInnerSuccess(pair)
            } else {
                Outer::TxFeeBumpInnerFailed(pair)
            },
        );
    }
    let result = match inner {
        Inner::TxSuccess(ops) => Outer::TxSuccess(ops),
        Inner::TxFailed(ops) => Outer::TxFailed(ops),
        Inner::TxTooEarly => Outer::TxTooEarly,
        Inner::TxTooLate => Outer::TxTooLate,
        Inner::TxMissingOperation => Outer::TxMissingOperation,
        Inner::TxBadSeq => Outer::TxBadSeq,
        Inner::TxBadAuth => Outer::TxBadAuth,
        Inner::TxInsufficientBalance => Outer::TxInsufficientBalance,
        Inner::TxNoAccount => Outer::TxNoAccount,
        Inner::TxInsufficientFee => Outer::TxInsufficientFee,
        Inner::TxBadAuthExtra => Outer::TxBadAuthExtra,
        Inner::TxInternalError => Outer::TxInternalError,
        Inner::TxNotSupported => Outer::TxNotSupported,
        Inner::TxBadSponsorship => Outer::TxBadSponsorship,
        Inner::TxBadMinSeqAgeOrGap => Outer::TxBadMinSeqAgeOrGap,
        Inner::TxMalformed => Outer::TxMalformed,
        Inner::TxSorobanInvalid => Outer::TxSorobanInvalid,
    };
    refused(fee_charged, result)
}

fn failed(operations: Vec<OperationResult>) -> Inner {
    operations
        .try_into()
        .map_or(Inner::TxInternalError, Inner::TxFailed)
}

impl Network {
    /// A network with nothing but its root account, its first ledger closed at `now` (Unix seconds).
    pub fn new(root: Key, now: u64) -> Self {
        let mut state = State::default();
        state.put_account(
            root,
            Account {
                balance: ROOT_BALANCE,
                modified: (FIRST_LEDGER, now),
                ..Account::default()
            },
        );
        state.commit(FIRST_LEDGER);
        let mut history = History::default();
        history.add_ledger(FIRST_LEDGER, now);
        Self {
            state,
            history,
            pending: Vec::new(),
            door: Door::default(),
        }
    }

    /// Who gets into a ledger, and at what price.
    pub fn door(&mut self) -> &mut Door {
        &mut self.door
    }

    /// Accounts and offers as of the last ledger.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was closed.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Number of the last ledger.
    pub fn latest(&self) -> u32 {
        self.history
            .ledgers
            .last()
            .map_or(FIRST_LEDGER, |ledger| ledger.sequence)
    }

    /// Takes a transaction for the next ledger, or says why not.
    pub fn submit(&mut self, submitted: Submitted, now: u64) -> Submission {
        if self.history.find(&submitted.outer_hash()).is_some() {
            return Submission::Known;
        }
        let (source, outer) = (submitted.source(), submitted.outer_hash());
        if self.door.bans(&outer, self.latest()) {
            return Submission::TryAgainLater;
        }
        let waits = |other: &Waiting| other.submitted.source() == source;
        if let Some(place) = self.pending.iter().position(waits) {
            let other = &self.pending[place].submitted;
            if other.outer_hash() == outer {
                return Submission::Pending;
            }
            if submitted.bump.is_none() {
                return Submission::TryAgainLater;
            }
            if submitted.tx.seq_num.0 < other.tx.seq_num.0 {
                return Submission::Refused(Box::new(finished(&submitted, 0, Inner::TxBadSeq)));
            }
            if i128::from(submitted.max_fee()) * i128::from(other.fee_operations())
                < 10 * i128::from(other.max_fee()) * i128::from(submitted.fee_operations())
            {
                // What would be needed is in `fee_charged`.
                return Submission::Refused(Box::new(refused(
                    other.max_fee().saturating_mul(10),
                    Outer::TxInsufficientFee,
                )));
            }
            return match self.validate(&submitted, now) {
                Ok(()) => {
                    self.pending[place] = Waiting::new(submitted);
                    Submission::Pending
                }
                Err(result) => Submission::Refused(result),
            };
        }
        if let Err(result) = self.validate(&submitted, now) {
            return Submission::Refused(result);
        }
        let latest = self.latest();
        match self.door.admit(&submitted, &mut self.pending, latest) {
            Ok(()) => {
                self.pending.push(Waiting::new(submitted));
                Submission::Pending
            }
            Err(needed) => {
                let refusal = if submitted.bump.is_some() {
                    refused(needed, Outer::TxInsufficientFee)
                } else {
                    finished(&submitted, needed, Inner::TxInsufficientFee)
                };
                Submission::Refused(Box::new(refusal))
            }
        }
    }

    /// Whether a transaction, by its outer hash, waits for the next ledger.
    pub fn is_pending(&self, hash: &[u8; 32]) -> bool {
        self.pending
            .iter()
            .any(|other| other.submitted.outer_hash() == *hash)
    }

    fn validate(&self, submitted: &Submitted, now: u64) -> Result<(), Box<TransactionResult>> {
        let min_fee = BASE_FEE.saturating_mul(submitted.fee_operations());
        if let Some(bump) = &submitted.bump {
            let refuse = |result| Err(Box::new(refused(min_fee, result)));
            let inner_operations = submitted.fee_operations() - 1;
            let rate_too_low = i128::from(bump.fee) * i128::from(inner_operations.max(1))
                < i128::from(submitted.tx.fee) * i128::from(submitted.fee_operations());
            if bump.fee < min_fee || rate_too_low {
                return refuse(Outer::TxInsufficientFee);
            }
            let payer = submitted.fee_source();
            if self.state.account(&payer).is_none() {
                return refuse(Outer::TxNoAccount);
            }
            let mut check = SignatureCheck::new(bump.hash, &bump.signatures);
            if !check.signed_by(&payer) {
                return refuse(Outer::TxBadAuth);
            }
            if self.state.spendable(&payer, &Asset::Native).unwrap_or(0) < bump.fee {
                return refuse(Outer::TxInsufficientBalance);
            }
            if !check.all_used() {
                return refuse(Outer::TxBadAuthExtra);
            }
        }
        self.validate_inner(submitted, now, min_fee)
            .map_err(|inner| Box::new(finished(submitted, min_fee, inner)))
    }

    fn validate_inner(&self, submitted: &Submitted, now: u64, min_fee: i64) -> Result<(), Inner> {
        let (tx, source) = (&submitted.tx, submitted.source());
        if tx.operations.is_empty() {
            return Err(Inner::TxMissingOperation);
        }
        if let Some(bounds) = submitted.time_bounds() {
            if bounds.min_time.0 > now {
                return Err(Inner::TxTooEarly);
            }
            if bounds.max_time.0 != 0 && bounds.max_time.0 < now {
                return Err(Inner::TxTooLate);
            }
        }
        if let Preconditions::V2(v2) = &tx.cond
            && let Some(bounds) = &v2.ledger_bounds
        {
            let next = self.latest() + 1;
            if bounds.min_ledger > next {
                return Err(Inner::TxTooEarly);
            }
            if bounds.max_ledger != 0 && bounds.max_ledger <= next {
                return Err(Inner::TxTooLate);
            }
        }
        if submitted.bump.is_none() && i64::from(tx.fee) < min_fee {
            return Err(Inner::TxInsufficientFee);
        }
        let Some(account) = self.state.account(&source) else {
            return Err(Inner::TxNoAccount);
        };
        if !self.sequence_fits(submitted, account) {
            return Err(Inner::TxBadSeq);
        }
        if let Preconditions::V2(v2) = &tx.cond {
            let (ledger, time) = account.sequence_used.unwrap_or((0, 0));
            let gap = self.latest() + 1 - ledger;
            if now.saturating_sub(time) < v2.min_seq_age.0 || gap < v2.min_seq_ledger_gap {
                return Err(Inner::TxBadMinSeqAgeOrGap);
            }
        }
        let mut check = SignatureCheck::new(submitted.hash, &submitted.signatures);
        if !check.signed_by(&source) {
            return Err(Inner::TxBadAuth);
        }
        if submitted.bump.is_none()
            && self.state.spendable(&source, &Asset::Native).unwrap_or(0) < i64::from(tx.fee)
        {
            return Err(Inner::TxInsufficientBalance);
        }
        for (index, op) in tx.operations.iter().enumerate() {
            let op_source = operation_source(submitted, index);
            let refusal = if check.signed_by(&op_source) {
                refusal(&op_source, &op.body)
            } else {
                Some(OperationResult::OpBadAuth)
            };
            if let Some(refusal) = refusal {
                // The network stops at the first; the others stand as if they were good.
                let mut results: Vec<OperationResult> =
                    tx.operations.iter().map(|op| untried(&op.body)).collect();
                results[index] = refusal;
                return Err(failed(results));
            }
        }
        if check.all_used() {
            Ok(())
        } else {
            Err(Inner::TxBadAuthExtra)
        }
    }

    /// CAP-21: with minSeqNum any number above the account's fits, if the account's is at least that;
    /// without it only the next. The first number of the ledger to come is nobody's.
    fn sequence_fits(&self, submitted: &Submitted, account: &Account) -> bool {
        let number = submitted.tx.seq_num.0;
        if number < 0 || number == i64::from(self.latest() + 1) << 32 {
            return false;
        }
        match &submitted.tx.cond {
            Preconditions::V2(v2) if v2.min_seq_num.is_some() => {
                let min = v2.min_seq_num.as_ref().map_or(0, |number| number.0);
                account.sequence >= min && account.sequence < number
            }
            _ => account.sequence.checked_add(1) == Some(number),
        }
    }

    /// Closes a ledger at `now` (Unix seconds) with everything that waits and finds a place. What
    /// expired in the meantime is dropped without a trace.
    pub fn close(&mut self, now: u64) -> u32 {
        let now = self
            .history
            .ledgers
            .last()
            .map_or(now, |ledger| now.max(ledger.closed_at));
        let closing = Closing {
            ledger: self.latest() + 1,
            time: now,
        };
        let expired = |s: &Submitted| {
            s.time_bounds()
                .is_some_and(|b| b.max_time.0 != 0 && b.max_time.0 < now)
        };
        self.pending.retain(|waiting| !expired(&waiting.submitted));
        let (set, price) = self.door.open(&mut self.pending, closing.ledger);
        let fees: Vec<i64> = set
            .iter()
            .map(|submitted| self.charge(submitted, price, closing))
            .collect();
        let mut results = Vec::with_capacity(set.len());
        for (submitted, fee) in set.into_iter().zip(fees) {
            let inner = self.apply(&submitted, closing);
            let successful = matches!(inner, Inner::TxSuccess(_));
            let result = finished(&submitted, fee, inner);
            results.push((submitted, result, successful));
        }
        self.state.commit(closing.ledger);
        self.history.add_ledger(closing.ledger, now);
        for (submitted, result, successful) in results {
            self.history.add_transaction(submitted, result, successful);
        }
        closing.ledger
    }

    fn charge(&mut self, submitted: &Submitted, price: i64, closing: Closing) -> i64 {
        let payer = submitted.fee_source();
        let held = self
            .state
            .account(&payer)
            .map_or(0, |account| account.balance);
        let fee = price
            .saturating_mul(submitted.fee_operations())
            .min(submitted.max_fee())
            .min(held);
        self.state
            .add(&payer, &Asset::Native, -fee, (closing.ledger, closing.time));
        fee
    }

    fn apply(&mut self, submitted: &Submitted, closing: Closing) -> Inner {
        let source = submitted.source();
        let Some(account) = self.state.account(&source) else {
            return Inner::TxNoAccount;
        };
        // Another transaction of this ledger may have bumped it meanwhile.
        if !self.sequence_fits(submitted, account) {
            return Inner::TxBadSeq;
        }
        if let Some(account) = self.state.account_mut(&source) {
            account.sequence = submitted.tx.seq_num.0;
            account.sequence_used = Some((closing.ledger, closing.time));
            account.modified = (closing.ledger, closing.time);
        }
        let mark = self.state.mark();
        let operations = submitted.tx.operations.iter().enumerate();
        let results: Vec<OperationResult> = operations
            .map(|(index, op)| {
                apply(
                    &mut self.state,
                    &operation_source(submitted, index),
                    &op.body,
                    || {
                        let place = u32::try_from(index).unwrap_or(u32::MAX);
                        balance_hash(&source, submitted.tx.seq_num.0, place)
                    },
                    closing,
                )
            })
            .collect();
        if results.iter().all(succeeded) {
            return results
                .try_into()
                .map_or(Inner::TxInternalError, Inner::TxSuccess);
        }
        self.state.roll_back(mark);
        failed(results)
    }

    /// Ways to turn one of `sources` into `amount` stroops of `wanted`, direct or over one asset,
    /// with what each costs; cheapest first for each source. Leaves everything as it is.
    pub fn paths(&mut self, sources: &[Asset], wanted: &Asset, amount: i64) -> Vec<Path> {
        let nobody = [0; 32];
        let takes: Vec<Asset> = self.state.bought_with(wanted);
        let mut found = Vec::new();
        for source in sources.iter().collect::<HashSet<_>>() {
            let mut vias: Vec<Vec<Asset>> = vec![Vec::new()];
            vias.extend(
                takes
                    .iter()
                    .filter(|via| *via != source)
                    .map(|via| vec![via.clone()]),
            );
            if source == wanted {
                vias.truncate(1);
            }
            for via in vias {
                let hops: Vec<&Asset> = via.iter().rev().chain([source]).collect();
                let mark = self.state.mark();
                let cost = cost_of(&mut self.state, &nobody, wanted, amount, &hops, (0, 0));
                self.state.roll_back(mark);
                if let Ok((cost, _)) = cost {
                    found.push(Path {
                        source: source.clone(),
                        cost,
                        via,
                    });
                }
            }
        }
        found.sort_by(|a, b| {
            (&a.source, a.cost, a.via.len()).cmp(&(&b.source, b.cost, b.via.len()))
        });
        found
    }
}

/// A way from one asset to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// What is given.
    pub source: Asset,
    /// How much of it, in stroops.
    pub cost: i64,
    /// Assets in between.
    pub via: Vec<Asset>,
}
