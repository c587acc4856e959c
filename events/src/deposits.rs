//! Events of the `deposits` topic: what is paid to our account on Stellar, and the credit of twins.
//!
//! Two kinds of aggregates share the topic: a deposit, keyed by Horizon's operation id, and the
//! credit of a twin, keyed by `twin-<id>`. It has one partition, so its order is the ledger's.

pub use crate::claims::{
    BalanceClaimed, BalanceLapsed, ClaimFailed, ClaimRequested, ClaimWindow,
    ClaimableBalanceCreated,
};
pub use crate::dead_letters::DeadLetterReleased;
use crate::ids::{EventId, PurchaseId, TwinId, UserId};
pub use crate::lanes::LanesOpened;
use crate::money::{Amount, Portion, Usdc};
use crate::schema::event_set;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

event_set! {
    /// Any event of the `deposits` topic.
    DepositEvent, "deposits", [
        LanesOpened,
        AccountOpened,
        PaymentReceived,
        PaymentUnreadable,
        ClaimableBalanceCreated,
        ClaimRequested,
        BalanceClaimed,
        ClaimFailed,
        BalanceLapsed,
        UsdcDeposited,
        DepositUnmatched,
        CreditBooked,
        CreditRefused,
        FundsWanted,
        FundsGranted,
        FundsExpired,
        DepositAssigned,
        DepositReturnOrdered,
        PartReturnWanted,
        DepositReturnRequested,
        DepositReturned,
        DepositReturnFailed,
        PartReturned,
        DepositAlarmed,
        TimerFired,
        DeadLetterReleased,
    ]
}

/// Key of the credit of a twin.
#[must_use]
pub fn credit_key(twin: TwinId) -> String {
    format!("twin-{twin}")
}

/// Why USDC is added to a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CreditReason {
    /// It was deposited.
    Deposit,
    /// An operator said whose the deposit was.
    Assigned,
    /// A swap needed less than was set aside for it.
    Leftover,
    /// A purchase was given up whose USDC has no sender to go back to.
    Refund,
}

/// The deposits that name a twin belong to this user from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountOpened {
    /// The twin on TFChain; with `twin-` before it also the record key.
    pub twin_id: TwinId,
    /// Whose twin it is.
    pub user_id: UserId,
}

/// Somebody paid something to the deposit account on Stellar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentReceived {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// payment, path_payment_strict_receive, …, as Horizon calls it.
    pub kind: String,
    /// Account that paid, G….
    pub from: String,
    /// Id within our account, where its muxed address was paid.
    pub muxed_id: Option<String>,
    /// native or CODE:ISSUER.
    pub asset: String,
    /// In 10^-7 units.
    pub amount: i64,
    /// none, text, id, hash or return.
    pub memo_type: String,
    /// The memo as Horizon writes it.
    pub memo: Option<String>,
    /// Hash of the payment's transaction, hex.
    pub transaction: String,
    /// Ledger number.
    pub ledger: i64,
    /// When the ledger closed.
    pub closed_at: Timestamp,
}

/// Horizon lists something about the deposit account that we cannot read; it is kept as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentUnreadable {
    /// Horizon's id of the record, or its paging token; also the record key.
    pub deposit_id: String,
    /// What is wrong with it.
    pub problem: String,
    /// The record as received.
    pub raw: String,
}

/// A payment is USDC for a twin; it is offered to the twin's credit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsdcDeposited {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// The twin that the payment or an operator names.
    pub twin_id: TwinId,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// Account that paid, G….
    pub from: String,
    /// Hash of the payment's transaction, hex.
    pub transaction: String,
}

/// A payment to the deposit account that is nobody's credit; it waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositUnmatched {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// wrong_asset, wrong_issuer, no_memo, bad_memo, unknown_twin or unreadable.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
    /// Account that paid; empty where unknown.
    pub from: String,
    /// native or CODE:ISSUER; empty where unknown.
    pub asset: String,
    /// In 10^-7 units.
    pub amount: i64,
    /// Hash of the payment's transaction, hex; empty where unknown.
    pub transaction: String,
    /// Where it came as a claimable balance: its id, 72 hex digits.
    pub balance_id: Option<String>,
}

/// USDC is added to the credit of a twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditBooked {
    /// Whose credit; with `twin-` before it also the record key.
    pub twin_id: TwinId,
    /// The deposit that it came with; null for what a card payment left over.
    pub deposit_id: Option<String>,
    /// The purchase that gave it back.
    pub purchase_id: Option<PurchaseId>,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// Why.
    pub reason: CreditReason,
}

/// Nobody is known by the twin that a deposit names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditRefused {
    /// The twin.
    pub twin_id: TwinId,
    /// The deposit; in its own aggregate also the record key.
    pub deposit_id: String,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
}

/// A purchase waits for USDC of its buyer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundsWanted {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// Who buys.
    pub user_id: UserId,
    /// Whose credit pays; with `twin-` before it also the record key.
    pub twin_id: TwinId,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// After this it waits no more.
    pub until: Timestamp,
}

/// Credit of the twin pays for a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundsGranted {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// Whose credit pays.
    pub twin_id: TwinId,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// Where it came from, adding up to the amount.
    pub portions: Vec<Portion>,
}

/// The purchase waits no more: its time is over and the credit does not suffice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundsExpired {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// Whose credit did not suffice.
    pub twin_id: TwinId,
    /// The credit at that moment. In 10^-7 units.
    pub credit: Amount<Usdc>,
}

/// An operator says whose an unmatched deposit is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositAssigned {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// Whose credit it becomes.
    pub twin_id: TwinId,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When.
    pub assigned_at: Timestamp,
}

/// An operator sends an unmatched deposit back, or tries a return that had failed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositReturnOrdered {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When.
    pub ordered_at: Timestamp,
}

/// A purchase that was given up sends back what it took of a deposit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReturnWanted {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// Why the purchase is given up.
    pub reason: String,
}

/// What came with a deposit is to be paid back to its sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositReturnRequested {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// The purchase that gives its part back; null for the whole deposit.
    pub purchase_id: Option<PurchaseId>,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Account that paid, G….
    pub destination: String,
    /// native or CODE:ISSUER.
    pub asset: String,
    /// In 10^-7 units.
    pub amount: i64,
    /// Hash of the payment that is answered, hex: the memo of the return.
    pub deposit_transaction: String,
    /// maxTime of the transaction.
    pub deadline: Timestamp,
}

/// The return is in a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositReturned {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// The purchase that gave its part back.
    pub purchase_id: Option<PurchaseId>,
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

/// This return did not happen and never will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositReturnFailed {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// The purchase that gives its part back.
    pub purchase_id: Option<PurchaseId>,
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

/// The part of a purchase is back at the sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReturned {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// Hash of the return, hex.
    pub transaction: String,
}

/// A deposit needs a person to look at it; nothing is closed by this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositAlarmed {
    /// Horizon's id of the operation that paid it; also the record key.
    pub deposit_id: String,
    /// return_failed, claim_failed, overdrawn, not_assignable, not_returnable or not_creditable.
    pub alarm: String,
    /// What to look at, with ids and hashes.
    pub detail: String,
}

/// A timer of a deposit or of a twin's credit became due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFired {
    /// The aggregate; also the record key.
    pub key: String,
    /// Name of the timer.
    pub timer: String,
    /// When it was due.
    pub due: Timestamp,
}
