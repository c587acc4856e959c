//! What was closed: ledgers, transactions, operations, and the lists of each account.

use crate::balances::claimant;
use crate::envelope::{Key, Submitted, key_of, key_of_id};
use crate::operations::claims;
use crate::state::BalanceHash;
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use stellar_base::xdr::{
    ClaimAtom, ClaimableBalanceId, CreateClaimableBalanceResult, Hash,
    InnerTransactionResultResult, OperationBody, OperationResult, OperationResultTr as Tr,
    TransactionResult, TransactionResultResult,
};

/// A closed ledger.
#[derive(Debug, Clone)]
pub struct LedgerRecord {
    /// Its number.
    pub sequence: u32,
    /// Its hash and that of the one before.
    pub hash: [u8; 32],
    /// Hash of the ledger before.
    pub prev_hash: [u8; 32],
    /// Closing time, Unix seconds.
    pub closed_at: u64,
    /// Transactions that succeeded.
    pub successful: u32,
    /// Transactions that failed at application.
    pub failed: u32,
    /// Operations of successful transactions.
    pub operations: u32,
}

/// A transaction in a ledger.
#[derive(Debug)]
pub struct TxRecord {
    /// Its cursor: ledger << 32 | place << 12.
    pub id: i64,
    /// Its ledger.
    pub ledger: u32,
    /// The ledger's closing time, Unix seconds.
    pub closed_at: u64,
    /// What was submitted.
    pub submitted: Submitted,
    /// What the network said.
    pub result: TransactionResult,
    /// Whether it succeeded.
    pub successful: bool,
}

/// An operation in a transaction.
#[derive(Debug, Clone, Copy)]
pub struct OperationRecord {
    /// Its cursor: the transaction's, plus the operation's place from 1.
    pub id: i64,
    /// Index of the transaction in [`History::transactions`].
    pub tx: usize,
    /// Index of the operation in the transaction.
    pub operation: usize,
    /// Whether it is a payment: it moves value to an account.
    pub payment: bool,
}

/// All that was closed since the start, in order.
#[derive(Debug, Default)]
pub struct History {
    /// Ledgers, ascending without gaps.
    pub ledgers: Vec<LedgerRecord>,
    /// Transactions, ascending by id.
    pub transactions: Vec<TxRecord>,
    /// Operations, ascending by id.
    pub operations: Vec<OperationRecord>,
    by_hash: HashMap<[u8; 32], usize>,
    transactions_of: HashMap<Key, Vec<usize>>,
    operations_of: HashMap<Key, Vec<usize>>,
    operations_on: HashMap<BalanceHash, Vec<usize>>,
}

/// Results of a transaction's operations; none if it did not come to them.
pub fn operation_results(result: &TransactionResult) -> &[OperationResult] {
    match &result.result {
        TransactionResultResult::TxSuccess(ops) | TransactionResultResult::TxFailed(ops) => ops,
        TransactionResultResult::TxFeeBumpInnerSuccess(pair)
        | TransactionResultResult::TxFeeBumpInnerFailed(pair) => match &pair.result.result {
            InnerTransactionResultResult::TxSuccess(ops)
            | InnerTransactionResultResult::TxFailed(ops) => ops,
            _ => &[],
        },
        _ => &[],
    }
}

/// The account that an operation works for.
pub fn operation_source(submitted: &Submitted, operation: usize) -> Key {
    let op = submitted.tx.operations.get(operation);
    op.and_then(|op| op.source_account.as_ref())
        .map_or_else(|| submitted.source(), key_of)
}

fn operation_participants(
    submitted: &Submitted,
    index: usize,
    body: &OperationBody,
) -> BTreeSet<Key> {
    let mut keys = BTreeSet::from([operation_source(submitted, index)]);
    match body {
        OperationBody::CreateAccount(op) => drop(keys.insert(key_of_id(&op.destination))),
        OperationBody::Payment(op) => drop(keys.insert(key_of(&op.destination))),
        OperationBody::PathPaymentStrictReceive(op) => drop(keys.insert(key_of(&op.destination))),
        OperationBody::CreateClaimableBalance(op) => {
            keys.extend(op.claimants.iter().map(|c| claimant(c).0));
        }
        _ => {}
    }
    keys
}

/// The claimable balance that an operation created or claimed.
fn balance_of(body: &OperationBody, result: Option<&OperationResult>) -> Option<BalanceHash> {
    let ClaimableBalanceId::ClaimableBalanceIdTypeV0(Hash(id)) = match (body, result?) {
        (
            _,
            OperationResult::OpInner(Tr::CreateClaimableBalance(
                CreateClaimableBalanceResult::Success(id),
            )),
        ) => id,
        (OperationBody::ClaimClaimableBalance(op), _) => &op.balance_id,
        _ => return None,
    };
    Some(*id)
}

fn is_payment(body: &OperationBody) -> bool {
    matches!(
        body,
        OperationBody::CreateAccount(_)
            | OperationBody::Payment(_)
            | OperationBody::PathPaymentStrictReceive(_)
    )
}

impl History {
    /// Adds a ledger after the last one.
    pub fn add_ledger(&mut self, sequence: u32, closed_at: u64) {
        let prev_hash = self.ledgers.last().map_or([0; 32], |ledger| ledger.hash);
        let mut digest = Sha256::new_with_prefix(prev_hash);
        digest.update(sequence.to_be_bytes());
        digest.update(closed_at.to_be_bytes());
        let hash = digest.finalize().into();
        self.ledgers.push(LedgerRecord {
            sequence,
            hash,
            prev_hash,
            closed_at,
            successful: 0,
            failed: 0,
            operations: 0,
        });
    }

    /// Adds a transaction to the last ledger and to the lists of everybody who takes part.
    pub fn add_transaction(
        &mut self,
        submitted: Submitted,
        result: TransactionResult,
        successful: bool,
    ) {
        let Some(ledger) = self.ledgers.last_mut() else {
            return;
        };
        let place = i64::from(ledger.successful + ledger.failed + 1);
        let operations = submitted.tx.operations.len();
        if successful {
            ledger.successful += 1;
            ledger.operations += u32::try_from(operations).unwrap_or(0);
        } else {
            ledger.failed += 1;
        }
        let id = (i64::from(ledger.sequence) << 32) | (place << 12);
        let index = self.transactions.len();
        let mut participants = BTreeSet::from([submitted.source(), submitted.fee_source()]);
        for (i, op) in submitted.tx.operations.iter().enumerate() {
            let keys = operation_participants(&submitted, i, &op.body);
            for key in &keys {
                let list = self.operations_of.entry(*key).or_default();
                list.push(self.operations.len());
            }
            if let Some(balance) = balance_of(&op.body, operation_results(&result).get(i)) {
                let list = self.operations_on.entry(balance).or_default();
                list.push(self.operations.len());
            }
            self.operations.push(OperationRecord {
                id: id + i64::try_from(i).unwrap_or(0) + 1,
                tx: index,
                operation: i,
                payment: is_payment(&op.body),
            });
            participants.extend(keys);
        }
        if successful {
            for claim in operation_results(&result).iter().flat_map(claims) {
                if let ClaimAtom::OrderBook(claim) = claim {
                    participants.insert(key_of_id(&claim.seller_id));
                }
            }
        }
        for key in participants {
            self.transactions_of.entry(key).or_default().push(index);
        }
        self.by_hash.insert(submitted.hash, index);
        self.by_hash.insert(submitted.outer_hash(), index);
        let (ledger, closed_at) = (ledger.sequence, ledger.closed_at);
        self.transactions.push(TxRecord {
            id,
            ledger,
            closed_at,
            submitted,
            result,
            successful,
        });
    }

    /// A transaction by its hash, inner or outer.
    pub fn find(&self, hash: &[u8; 32]) -> Option<&TxRecord> {
        self.index(hash)
            .and_then(|index| self.transactions.get(index))
    }

    /// Its index in [`History::transactions`].
    pub fn index(&self, hash: &[u8; 32]) -> Option<usize> {
        self.by_hash.get(hash).copied()
    }

    /// A ledger by its number.
    pub fn ledger(&self, sequence: u32) -> Option<&LedgerRecord> {
        let first = self.ledgers.first()?.sequence;
        self.ledgers
            .get(usize::try_from(sequence.checked_sub(first)?).ok()?)
    }

    /// Indices of an account's transactions, ascending.
    pub fn transactions_of(&self, key: &Key) -> &[usize] {
        self.transactions_of.get(key).map_or(&[], Vec::as_slice)
    }

    /// Indices of the operations that an account takes part in, ascending.
    pub fn operations_of(&self, key: &Key) -> &[usize] {
        self.operations_of.get(key).map_or(&[], Vec::as_slice)
    }

    /// Indices of the operations on a claimable balance, ascending; empty if there never was one.
    pub fn operations_on(&self, balance: &BalanceHash) -> &[usize] {
        self.operations_on.get(balance).map_or(&[], Vec::as_slice)
    }

    /// An operation by its id.
    pub fn operation(&self, id: i64) -> Option<&OperationRecord> {
        let place = self.operations.binary_search_by_key(&id, |op| op.id).ok()?;
        self.operations.get(place)
    }
}
