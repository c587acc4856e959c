//! What happened: ledgers, transactions and operations in their order, found by account and hash.

use super::state::Moment;
use crate::address::Address;
use crate::envelope::{Hash, Submission};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use stellar_base::xdr::{
    AccountMergeResult, ClaimAtom, InnerTransactionResultResult, Limits, Operation, OperationBody, OperationResult,
    OperationResultTr, PathPaymentStrictReceiveResult, PathPaymentStrictSendResult, TransactionResult,
    TransactionResultResult, WriteXdr,
};

/// A closed ledger.
#[derive(Debug, Clone)]
pub struct Header {
    /// Sequence and closing time.
    pub at: Moment,
    /// Of this ledger.
    pub hash: Hash,
    /// Of the one before.
    pub previous: Hash,
    /// Transactions that succeeded.
    pub succeeded: u32,
    /// Transactions that were charged and failed.
    pub failed: u32,
    /// Operations of those that succeeded.
    pub operations: u32,
    /// Operations of all.
    pub all_operations: u32,
    /// Fees collected so far, in stroops.
    pub fee_pool: i64,
}

/// A transaction that a ledger took, successful or not.
#[derive(Debug)]
pub struct TxRecord {
    /// As submitted.
    pub submission: Arc<Submission>,
    /// What came of it.
    pub result: TransactionResult,
    /// Whether its operations took effect.
    pub successful: bool,
    /// The ledger.
    pub at: Moment,
    /// Its place in all history: ledger, then order in it.
    pub token: i64,
    /// Balance of the fee's payer before and after the fee, in stroops.
    pub payer_balance: (i64, i64),
}

impl TxRecord {
    /// The operations' results; none when it failed before them.
    pub fn operation_results(&self) -> &[OperationResult] {
        operation_results(&self.result)
    }
}

/// Base64 of a value; empty if it could not be written, which a value that was read can.
pub fn base64_xdr(value: &impl WriteXdr) -> String {
    value.to_xdr(Limits::none()).map(|bytes| STANDARD.encode(bytes)).unwrap_or_default()
}

/// The operations' results inside a transaction's; none when it failed before them.
pub fn operation_results(result: &TransactionResult) -> &[OperationResult] {
    match &result.result {
        TransactionResultResult::TxSuccess(results) | TransactionResultResult::TxFailed(results) => results,
        TransactionResultResult::TxFeeBumpInnerSuccess(pair) | TransactionResultResult::TxFeeBumpInnerFailed(pair) => {
            match &pair.result.result {
                InnerTransactionResultResult::TxSuccess(results) | InnerTransactionResultResult::TxFailed(results) => {
                    results
                }
                _ => &[],
            }
        }
        _ => &[],
    }
}

/// An operation of a transaction that a ledger took.
#[derive(Debug, Clone)]
pub struct OpRecord {
    /// Its transaction.
    pub tx: Arc<TxRecord>,
    /// Its place in the transaction, from 0.
    pub index: usize,
    /// Its place in all history, and its id.
    pub token: i64,
}

impl OpRecord {
    /// What was asked for.
    pub fn operation(&self) -> Option<&Operation> {
        self.tx.submission.tx.operations.get(self.index)
    }

    /// What came of it.
    pub fn result(&self) -> Option<&OperationResult> {
        self.tx.operation_results().get(self.index)
    }

    /// What a path payment cost or brought, as its result says, in stroops.
    pub fn path_amount(&self) -> Option<i64> {
        let Some(OperationResult::OpInner(result)) = self.result() else { return None };
        match (result, &self.operation()?.body) {
            (
                OperationResultTr::PathPaymentStrictReceive(PathPaymentStrictReceiveResult::Success(success)),
                OperationBody::PathPaymentStrictReceive(op),
            ) => {
                // The first hop's offers come first; without any, both assets are the same.
                let Some(ClaimAtom::OrderBook(first)) = success.offers.first() else { return Some(op.dest_amount) };
                let paid = success.offers.iter().filter_map(|claim| match claim {
                    ClaimAtom::OrderBook(claim) if claim.asset_sold == first.asset_sold => Some(claim.amount_bought),
                    _ => None,
                });
                Some(paid.sum())
            }
            (
                OperationResultTr::PathPaymentStrictSend(PathPaymentStrictSendResult::Success(success)),
                OperationBody::PathPaymentStrictSend(_),
            ) => Some(success.last.amount),
            (OperationResultTr::AccountMerge(AccountMergeResult::Success(balance)), _) => Some(*balance),
            _ => None,
        }
    }

    /// Whether it moves money in Horizon's sense.
    pub fn is_payment(&self) -> bool {
        self.operation().is_some_and(|operation| {
            matches!(
                operation.body,
                OperationBody::CreateAccount(_)
                    | OperationBody::Payment(_)
                    | OperationBody::PathPaymentStrictReceive(_)
                    | OperationBody::PathPaymentStrictSend(_)
                    | OperationBody::AccountMerge(_)
            )
        })
    }

    fn participants(&self) -> BTreeSet<Address> {
        let mut who = BTreeSet::new();
        let Some(operation) = self.operation() else { return who };
        who.insert(super::validity::operation_source(&self.tx.submission, operation));
        match &operation.body {
            OperationBody::CreateAccount(op) => drop(who.insert(Address::from(&op.destination))),
            OperationBody::Payment(op) => drop(who.insert(Address::of(&op.destination))),
            OperationBody::PathPaymentStrictReceive(op) => drop(who.insert(Address::of(&op.destination))),
            OperationBody::PathPaymentStrictSend(op) => drop(who.insert(Address::of(&op.destination))),
            OperationBody::AccountMerge(to) => drop(who.insert(Address::of(to))),
            _ => {}
        }
        who
    }

    /// Sellers whose offers it took: they take part in the transaction, not in the operation.
    fn sellers(&self) -> Vec<Address> {
        let claims = match self.result() {
            Some(OperationResult::OpInner(OperationResultTr::PathPaymentStrictReceive(
                PathPaymentStrictReceiveResult::Success(success),
            ))) => success.offers.as_slice(),
            Some(OperationResult::OpInner(OperationResultTr::PathPaymentStrictSend(
                PathPaymentStrictSendResult::Success(success),
            ))) => success.offers.as_slice(),
            _ => &[],
        };
        let seller = |claim: &ClaimAtom| match claim {
            ClaimAtom::OrderBook(claim) => Some(Address::from(&claim.seller_id)),
            _ => None,
        };
        claims.iter().filter_map(seller).collect()
    }
}

/// Where a page starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// At the beginning of the order that is asked for.
    Start,
    /// After this token.
    After(i64),
    /// After all there is now.
    Now,
}

/// Which part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Where it starts.
    pub cursor: Cursor,
    /// Newest first.
    pub descending: bool,
    /// At most so many.
    pub limit: usize,
}

/// A list in history's order, as places in a table.
type Places = Vec<usize>;

/// Everything that was recorded.
#[derive(Debug, Default)]
pub struct History {
    headers: Vec<Header>,
    txs: Vec<Arc<TxRecord>>,
    ops: Vec<OpRecord>,
    by_hash: HashMap<Hash, usize>,
    all_payments: Places,
    txs_of: HashMap<Address, Places>,
    ops_of: HashMap<Address, Places>,
    payments_of: HashMap<Address, Places>,
}

impl History {
    /// Records a closed ledger.
    pub fn add_ledger(&mut self, header: Header) {
        self.headers.push(header);
    }

    /// Records a transaction and its operations.
    pub fn add_tx(&mut self, tx: &Arc<TxRecord>) {
        let place = self.txs.len();
        self.txs.push(Arc::clone(tx));
        self.by_hash.insert(tx.submission.id(), place);
        self.by_hash.insert(tx.submission.hash, place);
        let mut who: BTreeSet<_> = [tx.submission.source(), Address::of(tx.submission.fee_account())].into();
        for index in 0..tx.submission.tx.operations.len() {
            let token = tx.token + i64::try_from(index).unwrap_or_default() + 1;
            let op = OpRecord { tx: Arc::clone(tx), index, token };
            let (is_payment, participants, at) = (op.is_payment(), op.participants(), self.ops.len());
            who.extend(op.sellers());
            self.ops.push(op);
            if is_payment {
                self.all_payments.push(at);
            }
            for address in participants {
                who.insert(address);
                self.ops_of.entry(address).or_default().push(at);
                if is_payment {
                    self.payments_of.entry(address).or_default().push(at);
                }
            }
        }
        for address in who {
            self.txs_of.entry(address).or_default().push(place);
        }
    }

    /// The ledger with this sequence.
    pub fn ledger(&self, sequence: u32) -> Option<&Header> {
        let first = self.headers.first()?.at.ledger;
        self.headers.get(usize::try_from(sequence.checked_sub(first)?).ok()?)
    }

    /// The oldest ledger.
    pub fn first_ledger(&self) -> Option<&Header> {
        self.headers.first()
    }

    /// The newest ledger.
    pub fn last_ledger(&self) -> Option<&Header> {
        self.headers.last()
    }

    /// By inner or outer hash.
    pub fn tx(&self, hash: &Hash) -> Option<&Arc<TxRecord>> {
        self.by_hash.get(hash).and_then(|place| self.txs.get(*place))
    }

    /// The operation with this id.
    pub fn op(&self, token: i64) -> Option<&OpRecord> {
        self.ops.binary_search_by_key(&token, |op| op.token).ok().and_then(|place| self.ops.get(place))
    }

    /// The operations of a transaction.
    pub fn ops_of_tx(&self, tx: &TxRecord) -> &[OpRecord] {
        let start = self.ops.partition_point(|op| op.token <= tx.token);
        let end = start + tx.submission.tx.operations.len();
        self.ops.get(start..end).unwrap_or(&[])
    }

    /// Whether the account ever took part in anything.
    pub fn knows(&self, address: Address) -> bool {
        self.txs_of.contains_key(&address)
    }

    /// A page of ledgers.
    pub fn ledgers(&self, page: Page) -> Vec<&Header> {
        let token = |at: usize| self.headers.get(at).map_or(0, |header| ledger_token(header.at.ledger));
        List::All(self.headers.len()).walk(page, token).filter_map(|at| self.headers.get(at)).take(page.limit).collect()
    }

    /// A page of transactions, of all or of one account.
    pub fn txs(&self, of: Option<Address>, with_failed: bool, page: Page) -> Vec<&Arc<TxRecord>> {
        let list = match of {
            Some(address) => List::Places(self.txs_of.get(&address).map_or(&[], Vec::as_slice)),
            None => List::All(self.txs.len()),
        };
        let token = |at: usize| self.txs.get(at).map_or(0, |tx| tx.token);
        let found = list.walk(page, token).filter_map(|at| self.txs.get(at));
        found.filter(|tx| with_failed || tx.successful).take(page.limit).collect()
    }

    /// A page of operations, of all or of one account; only payments if so asked.
    pub fn ops(&self, of: Option<Address>, payments: bool, with_failed: bool, page: Page) -> Vec<&OpRecord> {
        let list = match (of, payments) {
            (Some(address), true) => List::Places(self.payments_of.get(&address).map_or(&[], Vec::as_slice)),
            (Some(address), false) => List::Places(self.ops_of.get(&address).map_or(&[], Vec::as_slice)),
            (None, true) => List::Places(&self.all_payments),
            (None, false) => List::All(self.ops.len()),
        };
        let token = |at: usize| self.ops.get(at).map_or(0, |op| op.token);
        let found = list.walk(page, token).filter_map(|at| self.ops.get(at));
        found.filter(|op| with_failed || op.tx.successful).take(page.limit).collect()
    }
}

/// A ledger's place in all history.
pub fn ledger_token(sequence: u32) -> i64 {
    i64::from(sequence) << 32
}

/// Places in a table, in history's order.
#[derive(Clone, Copy)]
enum List<'a> {
    All(usize),
    Places(&'a [usize]),
}

impl<'a> List<'a> {
    fn length(self) -> usize {
        match self {
            Self::All(length) => length,
            Self::Places(places) => places.len(),
        }
    }

    fn at(self, index: usize) -> usize {
        match self {
            Self::All(_) => index,
            Self::Places(places) => places.get(index).copied().unwrap_or(usize::MAX),
        }
    }

    /// How many entries have a token for which `is_before` holds, which is so for the first ones.
    fn count(self, is_before: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.length());
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.at(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The places from the page's start on, in its order; `token` is the entry's at a place.
    fn walk(self, page: Page, token: impl Fn(usize) -> i64) -> impl Iterator<Item = usize> + 'a {
        let (from, to) = match (page.descending, page.cursor) {
            (false, Cursor::After(cursor)) => (self.count(|at| token(at) <= cursor), self.length()),
            (true, Cursor::After(cursor)) => (0, self.count(|at| token(at) < cursor)),
            (false, Cursor::Now) => (self.length(), self.length()),
            (false, Cursor::Start) | (true, Cursor::Start | Cursor::Now) => (0, self.length()),
        };
        let count = to.saturating_sub(from);
        (0..count).map(move |step| self.at(if page.descending { to - 1 - step } else { from + step }))
    }
}
