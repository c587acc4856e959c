//! What a Stripe event says, and the one way in which it becomes a fact of ours.
//!
//! Whoever hears of a Stripe event — the webhook route, the reconciler — reads it into
//! [`StripeFacts`] and appends what these give under [`StripeFacts::id`]. So whoever comes second
//! appends an echo, field by field.

use crate::ids::{EventId, PurchaseId};
use crate::purchases::StripeEventReceived;
use crate::time::Timestamp;
use crate::unmatched::StripeEventUnmatched;

/// What a Stripe event says, as it says it: nothing is judged here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeFacts {
    /// Our purchase, where the object's metadata name one. A charge carries its intent's
    /// metadata, a dispute does not: Stripe has to be asked for the intent.
    pub purchase_id: Option<PurchaseId>,
    /// `evt_…`; of an event without an id, a hash of its content.
    pub stripe_event_id: String,
    /// Such as `payment_intent.succeeded`; empty when the event names none.
    pub event_type: String,
    /// Stripe's time of the event.
    pub created: Timestamp,
    /// Whether real money is meant.
    pub livemode: bool,
    /// Id of the object in the event: `pi_…`, `ch_…`, `re_…`, `dp_…`.
    pub object_id: Option<String>,
    /// The PaymentIntent: the object itself, or the one that it names.
    pub intent_id: Option<String>,
    /// The object's `amount`, minor units. Of a refund: what goes back.
    pub amount: Option<i64>,
    /// The intent's `amount_received`, minor units.
    pub amount_received: Option<i64>,
    /// The charge's `amount_refunded` so far, minor units.
    pub amount_refunded: Option<i64>,
    /// Lower-case code as sent.
    pub currency: Option<String>,
    /// The object's status.
    pub status: Option<String>,
    /// The intent's `last_payment_error.code`, the charge's `failure_code` or the refund's
    /// `failure_reason`.
    pub failure_code: Option<String>,
    /// The event as JSON, without client secrets and what tells of the payer, at any depth.
    pub raw: String,
    /// The request of ours that the object's metadata name: it is of our making.
    pub request_id: Option<EventId>,
}

impl StripeFacts {
    /// Identity of the fact: Stripe's own, whoever heard of it.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId::derive(&["stripe", &self.stripe_event_id])
    }

    /// The fact of this purchase.
    #[must_use]
    pub fn received(self, purchase_id: PurchaseId) -> StripeEventReceived {
        StripeEventReceived {
            purchase_id,
            stripe_event_id: self.stripe_event_id,
            event_type: self.event_type,
            created: self.created,
            livemode: self.livemode,
            object_id: self.object_id,
            intent_id: self.intent_id,
            amount: self.amount,
            amount_received: self.amount_received,
            amount_refunded: self.amount_refunded,
            currency: self.currency,
            status: self.status,
            failure_code: self.failure_code,
            raw: self.raw,
            request_id: self.request_id,
        }
    }

    /// The fact of nobody whom we know.
    #[must_use]
    pub fn unmatched(self) -> StripeEventUnmatched {
        StripeEventUnmatched {
            stripe_event_id: self.stripe_event_id,
            event_type: self.event_type,
            created: self.created,
            livemode: self.livemode,
            object_id: self.object_id,
            intent_id: self.intent_id,
            raw: self.raw,
        }
    }
}
