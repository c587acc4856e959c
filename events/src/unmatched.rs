//! Events of the `unmatched` topic: outside facts that name nothing of ours.

use crate::schema::event_set;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

event_set! {
    /// Any event of the `unmatched` topic.
    UnmatchedEvent, "unmatched", [
        StripeEventUnmatched,
        DepositUnmatched,
    ]
}

/// A verified Stripe event that names no purchase of ours; an operator looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripeEventUnmatched {
    /// evt_…; also the record key.
    pub stripe_event_id: String,
    /// Event type.
    pub event_type: String,
    /// Created.
    pub created: Timestamp,
    /// Whether real money is meant.
    pub livemode: bool,
    /// Object id.
    pub object_id: Option<String>,
    /// The PaymentIntent, pi_….
    pub intent_id: Option<String>,
    /// The event as received, without client secrets and what tells of the payer.
    pub raw: String,
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
