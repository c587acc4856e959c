//! Events of the `deposits` topic about claimable balances: USDC that somebody set aside for our
//! account on Stellar, and that is ours only once it is claimed.

use crate::ids::EventId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// When a claimable balance may be claimed. Both ends are the ledger's closing times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimWindow {
    /// From this on; null: from its creation.
    pub from: Option<Timestamp>,
    /// Before this; null: for ever.
    pub until: Option<Timestamp>,
}

/// Somebody created a claimable balance that our account may claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimableBalanceCreated {
    /// Horizon's id of the operation that created it; also the record key.
    pub deposit_id: String,
    /// The balance, 72 hex digits.
    pub balance_id: String,
    /// Account that set it aside, G….
    pub from: String,
    /// native or CODE:ISSUER.
    pub asset: String,
    /// In 10^-7 units.
    pub amount: i64,
    /// When our account may claim it, oldest first, without overlaps; empty: never.
    pub claimable: Vec<ClaimWindow>,
    /// The condition for our account, JSON as Horizon writes it.
    pub predicate: String,
    /// none, text, id, hash or return: of the transaction that created it.
    pub memo_type: String,
    /// The memo as Horizon writes it.
    pub memo: Option<String>,
    /// Hash of the transaction that created it, hex.
    pub transaction: String,
    /// Ledger number.
    pub ledger: i64,
    /// When the ledger closed.
    pub closed_at: Timestamp,
}

/// A claimable balance is to be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequested {
    /// Horizon's id of the operation that created it; also the record key.
    pub deposit_id: String,
    /// The balance, 72 hex digits.
    pub balance_id: String,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// What it holds, in 10^-7 units.
    pub amount: i64,
    /// maxTime of the transaction.
    pub deadline: Timestamp,
}

/// The claim is in a ledger: what the balance held is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceClaimed {
    /// Horizon's id of the operation that created it; also the record key.
    pub deposit_id: String,
    /// The balance, 72 hex digits.
    pub balance_id: String,
    /// The request that this answers.
    pub request_id: EventId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Hash, hex.
    pub transaction: String,
    /// Ledger number.
    pub ledger: i64,
    /// The lane account, G….
    pub lane: String,
    /// Sequence number on the lane.
    pub sequence: i64,
    /// In 10^-7 units.
    pub amount: i64,
    /// Network fee.
    pub fee_stroops: i64,
}

/// This claim did not happen and never will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimFailed {
    /// Horizon's id of the operation that created it; also the record key.
    pub deposit_id: String,
    /// The balance, 72 hex digits.
    pub balance_id: String,
    /// The request that this answers.
    pub request_id: EventId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Code of the network, or never_landed.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// Hash of the failed transaction, where there is one.
    pub transaction: Option<String>,
}

/// A claimable balance will never be ours, so it was no deposit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceLapsed {
    /// Horizon's id of the operation that created it; also the record key.
    pub deposit_id: String,
    /// The balance, 72 hex digits.
    pub balance_id: String,
    /// taken_back: it is there no more. expired: our account may claim it no more. left: an operator leaves it.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
}
