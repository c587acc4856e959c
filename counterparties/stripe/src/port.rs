//! The port: what Gridway asks of a card processor.

use async_trait::async_trait;
use events::ids::{EventId, PurchaseId, UserId};
use events::money::Fiat;
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use std::fmt;

/// A PaymentIntent to be created, as recorded in `PaymentIntentRequested`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentPlan {
    /// The purchase that is paid; goes into the metadata as `purchase_id`.
    pub purchase: PurchaseId,
    /// Who pays; goes into the metadata as `user_id`.
    pub user: UserId,
    /// The request event; its id is the idempotency key and the metadata's `request_id`.
    pub request: EventId,
    /// What is charged.
    pub amount: Fiat,
    /// When the request was recorded (the event's own time). The key counts from here.
    pub requested_at: Timestamp,
}

/// What Stripe shows of a PaymentIntent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentProof {
    /// `pi_…`.
    pub intent_id: String,
    /// Stripe's status, such as `requires_payment_method` or `succeeded`.
    pub status: String,
    /// The amount as Stripe holds it; compare it with the plan.
    pub amount: Fiat,
    /// Whether real money is meant.
    pub livemode: bool,
}

/// A refund to be made, as recorded in `CompensationRequested`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundPlan {
    /// The purchase that is compensated; goes into the metadata as `purchase_id`.
    pub purchase: PurchaseId,
    /// The request event; its id is the idempotency key and the metadata's `request_id`.
    pub request: EventId,
    /// The PaymentIntent whose charge is refunded, `pi_…`.
    pub intent_id: String,
    /// How much goes back.
    pub amount: Fiat,
    /// When the request was recorded (the event's own time). The key counts from here.
    pub requested_at: Timestamp,
}

/// What Stripe shows of a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundProof {
    /// `re_…`.
    pub refund_id: String,
    /// `succeeded`, `pending` or `requires_action`. The last two are on their way and may
    /// still fail days later, which Stripe tells by a webhook (`refund.failed`).
    pub status: String,
    /// How much goes back.
    pub amount: Fiat,
}

/// Lets a browser pay one PaymentIntent. It is a secret of the payer: it is answered over TLS
/// and never logged or stored, so it has neither `Display` nor a telling `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(String);

impl ClientSecret {
    pub(crate) fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself, `pi_…_secret_…`.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(hidden)")
    }
}

/// A read that gave no answer to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripeReadError {
    /// Stripe says that there is no such object.
    #[error("Stripe knows no such object: {0}")]
    Missing(String),
    /// Stripe does not take what was sent along, such as an e-mail address that is none.
    #[error("{0}")]
    Refused(String),
    /// Stripe cannot be reached, refuses our key, limits us, or answered what cannot be read:
    /// try again later.
    #[error("Stripe cannot be read at the moment: {0}")]
    Unavailable(String),
}

/// What Gridway asks of a card processor. After [`Attempt::Unknown`] only the matching `find_…`
/// of the same plan may follow.
#[async_trait]
pub trait Cards: Send + Sync {
    /// Creates the PaymentIntent, with automatic payment methods.
    async fn create_intent(&self, plan: &IntentPlan) -> Attempt<IntentProof>;

    /// Looks for the PaymentIntent of this request. That it is `Absent` does not say that it may be
    /// sent: once Stripe may have forgotten the request's key (after 24 h, less a margin), no attempt
    /// sends it any more.
    async fn find_intent(&self, plan: &IntentPlan) -> Find<IntentProof>;

    /// Refunds (part of) the charge of a PaymentIntent. A refund that Stripe shows as `failed`
    /// or `canceled` is `Refused`; `pending` and `requires_action` count as landed, with their
    /// status.
    async fn create_refund(&self, plan: &RefundPlan) -> Attempt<RefundProof>;

    /// Looks for the refund of this request; `Absent` as in [`Cards::find_intent`].
    async fn find_refund(&self, plan: &RefundPlan) -> Find<RefundProof>;

    /// The client secret of a PaymentIntent, for the payer's browser.
    async fn client_secret(&self, intent_id: &str) -> Result<ClientSecret, StripeReadError>;

    /// Has Stripe send the receipt of this PaymentIntent to an address, and gives the client secret.
    /// Sent twice, it is as sent once.
    async fn receipt_to(
        &self,
        intent_id: &str,
        email: &str,
    ) -> Result<ClientSecret, StripeReadError>;

    /// The purchase that a PaymentIntent belongs to, from its metadata; `None` when it is not
    /// one of ours. For facts that name only the intent.
    async fn purchase_of(&self, intent_id: &str) -> Result<Option<PurchaseId>, StripeReadError>;
}
