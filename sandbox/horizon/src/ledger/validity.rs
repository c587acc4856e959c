//! Whether a transaction may enter a ledger: fee, time bounds, sequence (CAP-21), signatures.
//! The order of the checks is stellar-core's, as it decides which code is told.

use super::state::{Account, State};
use crate::address::Address;
use crate::envelope::{Signatures, Submission};
use crate::ops;
use stellar_base::xdr::{
    InnerTransactionResult, InnerTransactionResultExt, InnerTransactionResultPair, InnerTransactionResultResult,
    Operation, OperationResult, Preconditions, PreconditionsV2, TransactionResult, TransactionResultExt,
    TransactionResultResult,
};

/// Stroops for each operation.
pub const BASE_FEE: i64 = 100;

/// What kept a transaction from being applied, and how far it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The result of the (inner) transaction.
    pub result: TransactionResultResult,
    /// In a ledger, it takes its sequence number all the same.
    pub takes_sequence: bool,
}

fn before_sequence(result: TransactionResultResult) -> Refused {
    Refused { result, takes_sequence: false }
}

fn after_sequence(result: TransactionResultResult) -> Refused {
    Refused { result, takes_sequence: true }
}

/// Preconditions in their widest form.
pub fn preconditions(cond: &Preconditions) -> PreconditionsV2 {
    match cond {
        Preconditions::None => PreconditionsV2::default(),
        Preconditions::Time(bounds) => PreconditionsV2 { time_bounds: Some(bounds.clone()), ..PreconditionsV2::default() },
        Preconditions::V2(all) => all.clone(),
    }
}

/// Where accounts that are made in this ledger start.
pub fn starting_sequence(ledger: u32) -> i64 {
    i64::from(ledger) << 32
}

/// Whether an account at `current` may not use `wanted` in `ledger`.
pub fn is_bad_sequence(current: i64, wanted: i64, lowest: Option<i64>, ledger: u32) -> bool {
    if wanted == starting_sequence(ledger) {
        return true;
    }
    match lowest {
        Some(lowest) => current < lowest || current >= wanted,
        None => current.checked_add(1) != Some(wanted),
    }
}

/// Matches signatures with keys, and remembers which were of use.
#[derive(Debug)]
pub struct Checker<'a> {
    signatures: &'a Signatures,
    used: Vec<bool>,
}

impl<'a> Checker<'a> {
    /// Over these signatures, none of them used yet.
    pub fn new(signatures: &'a Signatures) -> Self {
        Self { signatures, used: vec![false; signatures.list.len()] }
    }

    fn weighs(&mut self, mut signers: Vec<(Address, u8)>, needed: u8) -> bool {
        let mut weight = 0_u32;
        for index in 0..self.used.len() {
            let Some(at) = signers.iter().position(|(key, _)| self.signatures.is_by(index, *key)) else { continue };
            if let Some(used) = self.used.get_mut(index) {
                *used = true;
            }
            weight += u32::from(signers.swap_remove(at).1);
            if weight >= u32::from(needed) {
                return true;
            }
        }
        false
    }

    /// Whether the account's signers reach a threshold.
    pub fn account(&mut self, address: Address, account: &Account, level: ops::Level) -> bool {
        let mut signers: Vec<_> = account.signers.iter().map(|(key, weight)| (*key, *weight)).collect();
        if account.master_weight > 0 {
            signers.push((address, account.master_weight));
        }
        self.weighs(signers, account.thresholds[level as usize])
    }

    /// Whether the key itself signed, for an account that does not exist yet.
    pub fn key(&mut self, address: Address) -> bool {
        self.weighs(vec![(address, 1)], 0)
    }

    /// Whether each signature was of use.
    pub fn all_used(&self) -> bool {
        self.used.iter().all(|used| *used)
    }
}

/// The checks on the (inner) transaction itself, without its operations.
///
/// `fee` is what must be at hand for the fee: none in a ledger, where it is taken before, and
/// none inside a fee-bump. `in_ledger` says that the transaction is being applied.
///
/// # Errors
/// With the code, and whether the sequence number is taken.
pub fn check_transaction(
    state: &State,
    submission: &Submission,
    checker: &mut Checker<'_>,
    in_ledger: bool,
) -> Result<(), Refused> {
    use TransactionResultResult as R;
    let tx = &submission.tx;
    let alone = submission.bump.is_none();
    let cond = preconditions(&tx.cond);
    let now = state.now;
    if tx.operations.is_empty() {
        return Err(before_sequence(R::TxMissingOperation));
    }
    if let Some(bounds) = &cond.time_bounds {
        if bounds.min_time.0 > now.time {
            return Err(before_sequence(R::TxTooEarly));
        }
        if bounds.max_time.0 > 0 && bounds.max_time.0 < now.time {
            return Err(before_sequence(R::TxTooLate));
        }
    }
    if let Some(bounds) = &cond.ledger_bounds {
        if bounds.min_ledger > now.ledger {
            return Err(before_sequence(R::TxTooEarly));
        }
        if bounds.max_ledger > 0 && bounds.max_ledger <= now.ledger {
            return Err(before_sequence(R::TxTooLate));
        }
    }
    if alone && i64::from(tx.fee) < submission.fee_units() * BASE_FEE {
        return Err(before_sequence(R::TxInsufficientFee));
    }
    let source = submission.source();
    let Some(account) = state.account(source) else { return Err(before_sequence(R::TxNoAccount)) };
    let lowest = cond.min_seq_num.as_ref().map(|lowest| lowest.0);
    if is_bad_sequence(account.sequence, tx.seq_num.0, lowest, now.ledger) {
        return Err(before_sequence(R::TxBadSeq));
    }
    let used = account.sequence_at.unwrap_or_default();
    if now.time.saturating_sub(used.time) < cond.min_seq_age.0
        || now.ledger.saturating_sub(used.ledger) < cond.min_seq_ledger_gap
    {
        return Err(after_sequence(R::TxBadMinSeqAgeOrGap));
    }
    // Extra signers (CAP-21) are not modelled: nobody can fulfil them here.
    if !cond.extra_signers.is_empty() || !checker.account(source, account, ops::Level::Low) {
        return Err(after_sequence(R::TxBadAuth));
    }
    if alone && !in_ledger && account.spendable() < i64::from(tx.fee) {
        return Err(after_sequence(R::TxInsufficientBalance));
    }
    Ok(())
}

/// Whether the account of an operation exists and signed for it.
fn check_operation_source(
    state: &State,
    source: Address,
    operation: &Operation,
    checker: &mut Checker<'_>,
    in_ledger: bool,
) -> Option<OperationResult> {
    let signed = match state.account(source) {
        Some(account) => checker.account(source, account, ops::level(&operation.body)),
        None if in_ledger || operation.source_account.is_none() => return Some(OperationResult::OpNoAccount),
        None => checker.key(source),
    };
    (!signed).then_some(OperationResult::OpBadAuth)
}

/// Whose operation it is.
pub fn operation_source(submission: &Submission, operation: &Operation) -> Address {
    operation.source_account.as_ref().map_or_else(|| submission.source(), Address::of)
}

/// The checks on operations that need no holdings: signatures and form. The first that fails ends it.
///
/// # Errors
/// With `tx_failed` and the operation's code, or `tx_bad_auth_extra`.
pub fn check_operations(
    state: &State,
    submission: &Submission,
    checker: &mut Checker<'_>,
    in_ledger: bool,
) -> Result<(), Refused> {
    let operations = &submission.tx.operations;
    for (index, operation) in operations.iter().enumerate() {
        let source = operation_source(submission, operation);
        let wrong = check_operation_source(state, source, operation, checker, in_ledger)
            .or_else(|| ops::malformed(source, &operation.body));
        if let Some(wrong) = wrong {
            let mut results: Vec<_> = operations.iter().map(|operation| ops::blank(&operation.body)).collect();
            results[index] = wrong;
            return Err(after_sequence(failed(results)));
        }
    }
    if checker.all_used() { Ok(()) } else { Err(after_sequence(TransactionResultResult::TxBadAuthExtra)) }
}

/// `tx_failed` with the operations' results.
pub fn failed(results: Vec<OperationResult>) -> TransactionResultResult {
    // At most 100, as many as operations.
    TransactionResultResult::TxFailed(results.try_into().unwrap_or_default())
}

/// Whether a transaction may be queued for the next ledger.
///
/// # Errors
/// With the result that is told at once; nothing is consumed.
pub fn check(state: &State, submission: &Submission) -> Result<(), Box<TransactionResult>> {
    use TransactionResultResult as R;
    let fail = |result| Err(Box::new(result_of(submission, 0, result)));
    if let Some(bump) = &submission.bump {
        let least = submission.fee_units() * BASE_FEE;
        let inner_units = submission.fee_units() - 1;
        // The fee-bump must not pay less for an operation than the inner one offered.
        let bid = i128::from(bump.fee) * i128::from(inner_units);
        if bump.fee < least || bid < i128::from(submission.tx.fee) * i128::from(submission.fee_units()) {
            return Err(Box::new(outer(least, R::TxInsufficientFee)));
        }
        let payer = Address::of(&bump.fee_source);
        let Some(account) = state.account(payer) else { return Err(Box::new(outer(0, R::TxNoAccount))) };
        let mut checker = Checker::new(&bump.signatures);
        if !checker.account(payer, account, ops::Level::Low) {
            return Err(Box::new(outer(0, R::TxBadAuth)));
        }
        if account.spendable() < bump.fee {
            return Err(Box::new(outer(0, R::TxInsufficientBalance)));
        }
        if !checker.all_used() {
            return Err(Box::new(outer(0, R::TxBadAuthExtra)));
        }
    }
    let mut checker = Checker::new(&submission.signatures);
    check_transaction(state, submission, &mut checker, false)
        .and_then(|()| check_operations(state, submission, &mut checker, false))
        .or_else(|refused| fail(refused.result))
}

/// A result that is not wrapped as a fee-bump's.
pub fn outer(fee_charged: i64, result: TransactionResultResult) -> TransactionResult {
    TransactionResult { fee_charged, result, ext: TransactionResultExt::V0 }
}

/// The result of a submission from that of its (inner) transaction.
pub fn result_of(submission: &Submission, fee_charged: i64, result: TransactionResultResult) -> TransactionResult {
    if submission.bump.is_none() {
        return outer(fee_charged, result);
    }
    let succeeded = matches!(result, TransactionResultResult::TxSuccess(_));
    let pair = InnerTransactionResultPair {
        transaction_hash: stellar_base::xdr::Hash(submission.hash),
        result: InnerTransactionResult { fee_charged: 0, result: inner(result), ext: InnerTransactionResultExt::V0 },
    };
    outer(
        fee_charged,
        if succeeded {
            TransactionResultResult::TxFeeBumpInnerSuccess(pair)
        } else {
            TransactionResultResult::TxFeeBumpInnerFailed(pair)
        },
    )
}

fn inner(result: TransactionResultResult) -> InnerTransactionResultResult {
    use InnerTransactionResultResult as I;
    use TransactionResultResult as R;
    match result {
        R::TxSuccess(results) => I::TxSuccess(results),
        R::TxFailed(results) => I::TxFailed(results),
        R::TxTooEarly => I::TxTooEarly,
        R::TxTooLate => I::TxTooLate,
        R::TxMissingOperation => I::TxMissingOperation,
        R::TxBadSeq => I::TxBadSeq,
        R::TxBadAuth => I::TxBadAuth,
        R::TxInsufficientBalance => I::TxInsufficientBalance,
        R::TxNoAccount => I::TxNoAccount,
        R::TxInsufficientFee => I::TxInsufficientFee,
        R::TxBadAuthExtra => I::TxBadAuthExtra,
        R::TxNotSupported => I::TxNotSupported,
        R::TxBadSponsorship => I::TxBadSponsorship,
        R::TxBadMinSeqAgeOrGap => I::TxBadMinSeqAgeOrGap,
        R::TxMalformed => I::TxMalformed,
        R::TxSorobanInvalid => I::TxSorobanInvalid,
        R::TxInternalError | R::TxFeeBumpInnerSuccess(_) | R::TxFeeBumpInnerFailed(_) => I::TxInternalError,
    }
}
