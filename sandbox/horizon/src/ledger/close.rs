//! Closing ledgers: fees first, then each transaction in turn.

use super::history::{Header, History, TxRecord};
use super::state::{Account, Moment, State};
use super::validity::{self, BASE_FEE, Checker, Refused};
use crate::address::Address;
use crate::envelope::{Hash, Submission, network_id};
use crate::ops;
use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use stellar_base::xdr::{Limits, TransactionResult, TransactionResultResult, WriteXdr};

/// The first ledger's sequence.
pub const FIRST_LEDGER: u32 = 60_000_000;
/// All there is: 100 billion XLM, in stroops.
pub const TOTAL_COINS: i64 = 1_000_000_000_000_000_000;

/// A network: its state now and its history.
#[derive(Debug)]
pub struct Ledger {
    /// SHA-256 of the passphrase.
    pub network: Hash,
    /// As of the last closed ledger.
    pub state: State,
    /// All closed ledgers.
    pub history: History,
    last: Header,
}

impl Ledger {
    /// A new network at [`FIRST_LEDGER`]; the root account, whose seed is SHA-256 of the
    /// passphrase, holds everything. `now` is in Unix seconds.
    pub fn new(passphrase: &str, now: u64) -> Self {
        let network = network_id(passphrase);
        let root = Address(SigningKey::from_bytes(&network).verifying_key().to_bytes());
        let at = Moment { ledger: FIRST_LEDGER, time: now };
        let mut state = State { now: at, ..State::default() };
        state.set_account(root, Some(Account::new(TOTAL_COINS, 0)));
        state.keep();
        let last = Header {
            at,
            hash: Sha256::digest(network).into(),
            previous: [0; 32],
            succeeded: 0,
            failed: 0,
            operations: 0,
            all_operations: 0,
            fee_pool: 0,
        };
        let mut history = History::default();
        history.add_ledger(last.clone());
        Self { network, state, history, last }
    }

    /// The newest ledger.
    pub fn last(&self) -> &Header {
        &self.last
    }

    fn next(&self, now: u64) -> Moment {
        Moment { ledger: self.last.at.ledger + 1, time: now.max(self.last.at.time) }
    }

    /// Whether a transaction may wait for the next ledger.
    ///
    /// # Errors
    /// With the result that is told at once; nothing is consumed.
    pub fn check(&mut self, submission: &Submission, now: u64) -> Result<(), Box<TransactionResult>> {
        self.state.now = self.next(now);
        validity::check(&self.state, submission)
    }

    /// Closes a ledger with these transactions, which were checked when they were queued.
    pub fn close(&mut self, submissions: &[Arc<Submission>], now: u64) -> Vec<Arc<TxRecord>> {
        let at = self.next(now);
        self.state.now = at;
        let charged: Vec<_> = submissions.iter().map(|submission| self.charge(submission)).collect();
        self.state.keep();
        let mut header = Header {
            at,
            hash: [0; 32],
            previous: self.last.hash,
            succeeded: 0,
            failed: 0,
            operations: 0,
            all_operations: 0,
            fee_pool: self.last.fee_pool,
        };
        let mut digest = Sha256::new();
        digest.update(header.previous);
        digest.update(at.ledger.to_be_bytes());
        digest.update(at.time.to_be_bytes());
        let mut records = Vec::with_capacity(submissions.len());
        for ((order, submission), (fee, payer_balance)) in (1_i64..).zip(submissions).zip(charged) {
            let result = self.apply(submission);
            let successful = matches!(result, TransactionResultResult::TxSuccess(_));
            let result = validity::result_of(submission, fee, result);
            let operations = u32::try_from(submission.tx.operations.len()).unwrap_or_default();
            header.fee_pool += fee;
            header.all_operations += operations;
            if successful {
                header.succeeded += 1;
                header.operations += operations;
            } else {
                header.failed += 1;
            }
            digest.update(submission.id());
            digest.update(result.to_xdr(Limits::none()).unwrap_or_default());
            let token = (i64::from(at.ledger) << 32) | (order << 12);
            let submission = Arc::clone(submission);
            let record = Arc::new(TxRecord { submission, result, successful, at, token, payer_balance });
            self.history.add_tx(&record);
            records.push(record);
        }
        header.hash = digest.finalize().into();
        self.history.add_ledger(header.clone());
        self.last = header;
        records
    }

    /// Takes the fee: what it comes to at the base fee, or what is there. It is kept whatever follows.
    fn charge(&mut self, submission: &Submission) -> (i64, (i64, i64)) {
        let due = submission.fee_units() * BASE_FEE;
        let Some(payer) = self.state.account_mut(Address::of(submission.fee_account())) else { return (0, (0, 0)) };
        let before = payer.balance;
        let fee = due.min(before);
        payer.balance -= fee;
        (fee, (before, before - fee))
    }

    fn apply(&mut self, submission: &Submission) -> TransactionResultResult {
        let mut checker = Checker::new(&submission.signatures);
        let checked = validity::check_transaction(&self.state, submission, &mut checker, true);
        if let Err(Refused { result, takes_sequence: false }) = checked {
            return result;
        }
        let now = self.state.now;
        if let Some(source) = self.state.account_mut(submission.source()) {
            source.sequence = submission.tx.seq_num.0;
            source.sequence_at = Some(now);
        }
        self.state.keep();
        let checked = checked.and_then(|()| validity::check_operations(&self.state, submission, &mut checker, true));
        if let Err(Refused { result, .. }) = checked {
            return result;
        }
        let start = self.state.mark();
        let (mut results, mut all_succeeded) = (Vec::new(), true);
        for operation in submission.tx.operations.iter() {
            let mark = self.state.mark();
            let source = validity::operation_source(submission, operation);
            let result = ops::apply(&mut self.state, source, &operation.body);
            if !ops::succeeded(&result) {
                all_succeeded = false;
                self.state.undo_to(mark);
            }
            results.push(result);
        }
        if all_succeeded {
            self.state.keep();
            return TransactionResultResult::TxSuccess(results.try_into().unwrap_or_default());
        }
        self.state.undo_to(start);
        self.state.keep();
        validity::failed(results)
    }
}
