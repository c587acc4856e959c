//! What the API asks of the outside. The `gridway` binary wires the real counterparties in.

use async_trait::async_trait;
use events::ids::{DeploymentId, PurchaseId};
use events::money::{Amount, Tft, Usdc};
use events::time::Timestamp;

/// Cost of buying an exact amount of TFT, as the market stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapQuote {
    /// What it costs.
    pub usdc: Amount<Usdc>,
    /// Intermediate assets, each `native` or `CODE:ISSUER`.
    pub path: Vec<String>,
    /// The ledger that the quote was read at.
    pub ledger: i64,
}

/// Why there is no quote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// The market does not sell that much.
    #[error("the market does not hold that much TFT at present")]
    NoPath,
    /// The market could not be asked.
    #[error("the market could not be asked: {0}")]
    Unavailable(String),
}

/// Asks the market.
#[async_trait]
pub trait Quoter: Send + Sync {
    /// What exactly `tft` would cost now.
    ///
    /// # Errors
    /// See [`QuoteError`].
    async fn quote(&self, tft: Amount<Tft>) -> Result<SwapQuote, QuoteError>;
}

/// A counterparty did not answer; for the log, not for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Reads what the payer's browser needs. Nothing that it gives may be stored or logged.
#[async_trait]
pub trait PaymentSecrets: Send + Sync {
    /// The client secret of a PaymentIntent, as Stripe holds it.
    ///
    /// # Errors
    /// When Stripe does not give it.
    async fn client_secret(&self, intent_id: &str) -> Result<String, Unavailable>;
}

/// Why a webhook is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    /// No signature came with it.
    #[error("the Stripe-Signature header is missing")]
    Missing,
    /// The signature header cannot be read.
    #[error("the Stripe-Signature header is malformed: {0}")]
    Malformed(String),
    /// Signed with another secret, or changed on the way.
    #[error("no signature matches: wrong secret, or the body was changed")]
    WrongSignature,
    /// Signed too long ago or in the future.
    #[error("{0}")]
    WrongTime(String),
    /// Signed by Stripe, yet no JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
}

/// What a verified Stripe event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeFacts {
    /// Our purchase, where the object's metadata name one.
    pub purchase_id: Option<PurchaseId>,
    /// `evt_…`; empty when the event has no id.
    pub stripe_event_id: String,
    /// Such as `payment_intent.succeeded`.
    pub event_type: String,
    /// Stripe's time of the event.
    pub created: Timestamp,
    /// Whether real money is meant.
    pub livemode: bool,
    /// Id of the object in the event.
    pub object_id: Option<String>,
    /// The PaymentIntent concerned.
    pub intent_id: Option<String>,
    /// Minor units as sent.
    pub amount: Option<i64>,
    /// Minor units as sent.
    pub amount_received: Option<i64>,
    /// Minor units as sent.
    pub amount_refunded: Option<i64>,
    /// Lower-case code as sent.
    pub currency: Option<String>,
    /// Status as sent.
    pub status: Option<String>,
    /// Failure code.
    pub failure_code: Option<String>,
    /// The event as received, client secrets removed.
    pub raw: String,
}

/// Verifies Stripe's webhooks.
#[async_trait]
pub trait WebhookVerifier: Send + Sync {
    /// Believes a webhook, from the bytes exactly as received, and reads its facts.
    ///
    /// # Errors
    /// See [`WebhookRefusal`].
    fn verify(&self, body: &[u8], header: Option<&str>) -> Result<StripeFacts, WebhookRefusal>;

    /// The purchase of an intent whose event does not name it (a dispute, say). By default
    /// nobody knows, and the event goes to the unmatched ones.
    ///
    /// # Errors
    /// When Stripe does not answer; the webhook is then refused for now, and Stripe sends it again.
    async fn purchase_of(&self, intent_id: &str) -> Result<Option<PurchaseId>, Unavailable> {
        let _ = intent_id;
        Ok(None)
    }
}

/// Hash of a deployment's id, version and data: 64 hex digits, unique per node.
pub type DeploymentHash = fn(DeploymentId, i32, &str) -> String;
