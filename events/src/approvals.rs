//! Events of the `approvals` topic, keyed by approval id: what operators do with other people's
//! money and with records that cannot be read, and who agreed to it.

use crate::ids::{ApprovalId, EventId, TwinId, UserId};
use crate::schema::event_set;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

event_set! {
    /// Any event of the `approvals` topic.
    ApprovalEvent, "approvals", [
        ApprovalRequested,
        ApprovalGranted,
        ApprovalRejected,
        ApprovalExpired,
        ApprovalUsed,
    ]
}

/// What an operator may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OperatorAction {
    /// A dead letter is read again.
    Redrive,
    /// A dead letter is passed over.
    Discard,
    /// An unmatched deposit goes back to its sender.
    DepositReturn,
    /// An unmatched deposit becomes a twin's credit.
    DepositAssignment,
    /// A purchase is given up and its charge goes back.
    PurchaseRefund,
    /// The treasury pays to an account of ours.
    TreasuryTransfer,
}

/// An operator wants something done that may need a second person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRequested {
    /// The approval; also the record key.
    pub approval_id: ApprovalId,
    /// What is to be done.
    pub action: OperatorAction,
    /// What it is done to: `processor/partition/offset` of a dead letter, a deposit's id, a
    /// purchase's, or what is paid by the treasury.
    pub target: String,
    /// The twin whose credit a deposit becomes.
    pub twin_id: Option<TwinId>,
    /// How much is moved, in minor units of the asset; `None` where nobody can say.
    pub amount: Option<i64>,
    /// `USDC`, `XLM`, `TFT` or `CODE:ISSUER` in 10^-7 units, or a currency of ISO 4217.
    pub asset: Option<String>,
    /// The most of the asset that one person may move alone, in minor units; `None`: no such sum
    /// is set.
    pub threshold: Option<i64>,
    /// Whether somebody else must agree.
    pub second_person: bool,
    /// Who asks.
    pub asked_by: UserId,
    /// Why, in the operator's words.
    pub reason: String,
    /// Until when somebody may agree.
    pub expires_at: Timestamp,
    /// When.
    pub requested_at: Timestamp,
}

/// What was asked for is done: the event that makes it happen follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalGranted {
    /// The approval; also the record key.
    pub approval_id: ApprovalId,
    /// Who agreed: somebody else than who asked, where a second person was needed.
    pub by: UserId,
    /// Whether a second person was needed.
    pub second_person: bool,
    /// Id of the event that makes it happen; `None` where an operator does it by hand:
    /// [`ApprovalUsed`] follows.
    pub effect_id: Option<EventId>,
    /// Topic of that event.
    pub effect_topic: Option<String>,
    /// When.
    pub granted_at: Timestamp,
}

/// A second person does not agree: nothing happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRejected {
    /// The approval; also the record key.
    pub approval_id: ApprovalId,
    /// Who.
    pub by: UserId,
    /// Why, in their words.
    pub reason: String,
    /// When.
    pub rejected_at: Timestamp,
}

/// Nobody agreed in time: nothing happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalExpired {
    /// The approval; also the record key.
    pub approval_id: ApprovalId,
    /// Until when somebody could have agreed.
    pub expired_at: Timestamp,
}

/// What was agreed to is being done by hand, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalUsed {
    /// The approval; also the record key.
    pub approval_id: ApprovalId,
    /// Who does it.
    pub by: String,
    /// How much is moved, in minor units of the asset.
    pub amount: i64,
    /// When.
    pub used_at: Timestamp,
}
