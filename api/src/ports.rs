//! What the API asks of the outside. The `gridway` binary wires the real counterparties in.

use async_trait::async_trait;
use events::applications::WalletNetwork;
use events::ids::{DeploymentId, EndpointId, EventId, PurchaseId};
use events::money::{Amount, Tft, Usdc};
use events::outcome::Attempt;
use events::stripe::StripeFacts;
use events::time::Timestamp;
use projections::treasury::Lane;
use std::sync::Arc;

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

/// Why a payer's client secret is not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSecret {
    /// Stripe does not take the address of the receipt; with Stripe's words.
    #[error("{0}")]
    Email(String),
    /// Stripe does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// Reads what the payer's browser needs. Nothing that it gives may be stored or logged.
#[async_trait]
pub trait PaymentSecrets: Send + Sync {
    /// The client secret of a PaymentIntent, as Stripe holds it. Where an address is given, Stripe
    /// sends the receipt there.
    ///
    /// # Errors
    /// When Stripe does not give it.
    async fn client_secret(
        &self,
        intent_id: &str,
        receipt_email: Option<&str>,
    ) -> Result<String, NoSecret>;
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
    /// It names an object that Stripe does not show for now.
    #[error("Stripe does not show what the notification is about: {0}")]
    Unavailable(String),
}

/// Verifies Stripe's webhooks.
#[async_trait]
pub trait WebhookVerifier: Send + Sync {
    /// Believes a webhook, from the bytes exactly as received, and reads its facts; those of a thin
    /// notification from the object that it names.
    ///
    /// # Errors
    /// See [`WebhookRefusal`].
    async fn verify(
        &self,
        body: &[u8],
        header: Option<&str>,
    ) -> Result<StripeFacts, WebhookRefusal>;

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

/// The network that a text is an account's address of, checksum included; `None` for another text.
pub type WalletNetworkOf = fn(&str) -> Option<WalletNetwork>;

/// Where deposits of USDC go.
#[derive(Debug, Clone)]
pub struct DepositPlace {
    /// The account, `G…`.
    pub account: String,
    /// Code of the asset that is taken.
    pub asset_code: String,
    /// Its issuer.
    pub asset_issuer: String,
    /// Passphrase of the network.
    pub passphrase: String,
    /// The account's muxed address for an id, `M…`.
    pub muxed: fn(&str, u32) -> Option<String>,
}

/// What one of our accounts holds of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Such as `treasury/USDC`; of a lane `lane/<hand>/<account>`.
    pub name: String,
    /// The account.
    pub account: String,
    /// `native`, `CODE:ISSUER`, or TFT of TFChain.
    pub asset: String,
    /// The least that it should be, in 10^-7 units; 0: anything is enough.
    pub threshold: i64,
    /// What it is, in 10^-7 units, or why that is not known.
    pub balance: Result<i64, String>,
}

/// Reads what our accounts hold.
#[async_trait]
pub trait TreasuryBook: Send + Sync {
    /// All of them, lanes included, at the networks. Answers within some seconds; what could not
    /// be read by then says so.
    async fn holdings(&self, lanes: &[Lane]) -> Vec<Holding>;
}

/// A record that a processor could not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The topic that it stands in.
    pub topic: String,
    /// Its key.
    pub key: String,
    /// Whether it was passed over for good.
    pub discarded: bool,
}

/// Reads what processors could not.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// The dead letter of a processor at a place of its topic.
    ///
    /// # Errors
    /// When Kafka does not answer.
    async fn find(
        &self,
        processor: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Option<Letter>, Unavailable>;
}

/// One mail to one person, in plain text. Neither the recipient nor the text may be logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Identity of the mail, the same each time it is sent.
    pub id: EventId,
    /// Address of the recipient.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// When it was written.
    pub at: Timestamp,
}

/// Sends mail.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends one mail, once.
    async fn send(&self, mail: &Mail) -> Attempt<()>;
}

/// Sends text messages. Neither the number nor the text may be logged.
#[async_trait]
pub trait Texter: Send + Sync {
    /// Sends one message, once.
    async fn send(&self, id: EventId, to: &str, text: &str) -> Attempt<()>;
}

/// A kind of what people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticeKind {
    /// Its name.
    pub name: &'static str,
    /// Whether whoever chose nothing is told of it, by mail, text message and webhook.
    pub usual: [bool; 3],
}

/// Whether an address will do; else a sentence for people.
pub type UrlCheck = Arc<dyn Fn(&str) -> Result<(), &'static str> + Send + Sync>;

/// What people are told, and how.
pub struct Notices {
    /// Every kind.
    pub kinds: Vec<NoticeKind>,
    /// The languages that there are, the usual one first.
    pub languages: Vec<&'static str>,
    /// The secret of a webhook endpoint and a generation, `whsec_…`.
    pub webhook_secret: Arc<dyn Fn(EndpointId, i32) -> String + Send + Sync>,
    /// Whether webhooks may go to an address; else a sentence for people.
    pub endpoint_url: UrlCheck,
    /// Whether a text is a phone number.
    pub is_phone_number: fn(&str) -> bool,
    /// Sends the codes that show whose a phone is; without it nobody can have one.
    pub texter: Option<Arc<dyn Texter>>,
}
