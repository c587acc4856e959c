//! Events of the `unmatched` topic: outside facts that name nothing of ours.

use crate::schema::event_set;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

event_set! {
    /// Any event of the `unmatched` topic.
    UnmatchedEvent, "unmatched", [
        StripeEventUnmatched,
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
