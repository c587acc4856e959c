//! The real client, on typed `async-stripe` requests.

use crate::outcome::{self, Failure};
use crate::port::{
    Cards, ClientSecret, IntentPlan, IntentProof, RefundPlan, RefundProof, StripeReadError,
};
use async_trait::async_trait;
use events::ids::{EventId, PurchaseId};
use events::money::{Currency, Fiat};
use events::outcome::{Attempt, Find, Refusal};
use events::time::Timestamp;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError, StripeRequest};
use stripe_core::payment_intent::{
    CreatePaymentIntent, CreatePaymentIntentAutomaticPaymentMethods, ListPaymentIntent,
    RetrievePaymentIntent, UpdatePaymentIntent,
};
use stripe_core::refund::{CreateRefund, ListRefund};
use stripe_shared::{PaymentIntent, Refund};
use stripe_types::{List, RangeQueryTs};

/// Where the client reads the time, so that tests can hold it still.
pub type Clock = fn() -> Timestamp;

/// Stripe keeps a key for at least 24 hours; the hour between is for clocks that differ and
/// for a request that is slow on its way.
const KEY_ENFORCED: Duration = Duration::from_secs(23 * 3600);
/// How much earlier than the recorded request Stripe's clock may have stamped the intent.
const CLOCK_SKEW_SECONDS: i64 = 300;
/// Stripe's largest page.
const PAGE: i64 = 100;

/// A Stripe secret (or restricted) key. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(String);

impl SecretKey {
    /// Wraps a key, `sk_…` or `rk_…`; surrounding white space is dropped.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self(key.trim().to_owned())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(hidden)")
    }
}

/// How to reach Stripe.
#[derive(Clone, Debug)]
pub struct StripeConfig {
    /// Such as `https://api.stripe.com`, without `/v1`.
    pub base_url: String,
    /// The key that all requests are made with.
    pub secret_key: SecretKey,
    /// After this a request counts as unanswered. Stripe itself takes up to 80 s for a slow one;
    /// 30 s is sensible.
    pub timeout: Duration,
}

/// A configuration that no client can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The secret key is empty or holds characters that no header can carry.
    #[error("the Stripe secret key is empty or malformed")]
    Key,
    /// The base URL is not one.
    #[error("the Stripe base URL {0:?} is not an absolute http or https URL without a query")]
    BaseUrl(String),
    /// The timeout is zero.
    #[error("the Stripe timeout must be above zero")]
    Timeout,
}

/// The real [`Cards`]. Cloning is cheap.
#[derive(Clone)]
pub struct StripeClient {
    pub(crate) client: Client,
    pub(crate) timeout: Duration,
    pub(crate) clock: Clock,
}

impl fmt::Debug for StripeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeClient").finish_non_exhaustive()
    }
}

impl StripeClient {
    /// Makes the client. No request is sent. Sets rustls' process-wide cryptography to `ring`
    /// where nobody has chosen one before.
    ///
    /// # Errors
    /// [`ConfigError`] when no client can be made of the configuration.
    pub fn new(config: &StripeConfig, clock: Clock) -> Result<Self, ConfigError> {
        let key = &config.secret_key.0;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ConfigError::Key);
        }
        if config.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        // The library takes a relative base, only to fail on each request: refuse it here.
        let base = config.base_url.trim().trim_end_matches('/');
        let has_host = ["http://", "https://"].iter().any(|scheme| {
            base.strip_prefix(scheme)
                .is_some_and(|host| !host.is_empty())
        });
        if !has_host || base.contains(['?', '#', ' ']) {
            return Err(ConfigError::BaseUrl(config.base_url.clone()));
        }
        // The HTTP client below panics when the process has no default provider of cryptography
        // and more than one is compiled in. An error here says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ClientBuilder::new(key)
            .url(format!("{base}/"))
            .timeout(config.timeout)
            .request_strategy(RequestStrategy::Once)
            .build()
            .map_err(|_| ConfigError::BaseUrl(config.base_url.clone()))?;
        Ok(Self {
            client,
            timeout: config.timeout,
            clock,
        })
    }

    fn key_is_enforced(&self, requested_at: Timestamp) -> bool {
        (self.clock)() < requested_at.after(KEY_ENFORCED)
    }

    /// The key as Stripe is to enforce it, or why the request must not be sent.
    fn strategy(
        &self,
        request: EventId,
        operation: &str,
        requested_at: Timestamp,
    ) -> Result<RequestStrategy, Failure> {
        if !self.key_is_enforced(requested_at) {
            return Err(Failure::Unknown(format!(
                "the request of {requested_at} is too old: Stripe may have forgotten its key, so it is not sent again"
            )));
        }
        IdempotencyKey::new(format!("{request}:{operation}"))
            .map(RequestStrategy::Idempotent)
            .map_err(|error| Failure::NotSent(error.to_string()))
    }

    async fn send_intent(&self, plan: &IntentPlan) -> Result<PaymentIntent, Failure> {
        let strategy = self.strategy(plan.request, "create-intent", plan.requested_at)?;
        CreatePaymentIntent::new(plan.amount.minor, currency(plan.amount.currency))
            .automatic_payment_methods(CreatePaymentIntentAutomaticPaymentMethods::new(true))
            .metadata(HashMap::from([
                ("purchase_id".to_owned(), plan.purchase.to_string()),
                ("user_id".to_owned(), plan.user.to_string()),
                ("request_id".to_owned(), plan.request.to_string()),
            ]))
            .customize()
            .request_strategy(strategy)
            .timeout(self.timeout)
            .send(&self.client)
            .await
            .map_err(|error| outcome::failure(&error))
    }

    async fn send_refund(&self, plan: &RefundPlan) -> Result<Refund, Failure> {
        let strategy = self.strategy(plan.request, "refund", plan.requested_at)?;
        CreateRefund::new()
            .payment_intent(&plan.intent_id)
            .amount(plan.amount.minor)
            .metadata(HashMap::from([
                ("purchase_id".to_owned(), plan.purchase.to_string()),
                ("request_id".to_owned(), plan.request.to_string()),
            ]))
            .customize()
            .request_strategy(strategy)
            .timeout(self.timeout)
            .send(&self.client)
            .await
            .map_err(|error| outcome::failure(&error))
    }

    async fn retrieve(&self, intent_id: &str) -> Result<PaymentIntent, StripeReadError> {
        check_id(intent_id)?;
        RetrievePaymentIntent::new(intent_id)
            .customize()
            .timeout(self.timeout)
            .send(&self.client)
            .await
            .map_err(|error| read_error(intent_id, &error))
    }
}

/// An id goes into the path: nothing but an id may.
fn check_id(intent_id: &str) -> Result<(), StripeReadError> {
    let is_id = intent_id.starts_with("pi_")
        && intent_id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_id {
        return Ok(());
    }
    Err(StripeReadError::Missing(format!(
        "{intent_id:?} is no PaymentIntent id"
    )))
}

fn read_error(intent_id: &str, error: &StripeError) -> StripeReadError {
    match (error, outcome::failure(error)) {
        (StripeError::Stripe(_, 404), _) => StripeReadError::Missing(intent_id.to_owned()),
        (_, Failure::Refused(refusal)) => StripeReadError::Refused(refusal.detail),
        (_, Failure::NotSent(why) | Failure::Unknown(why) | Failure::NoAnswer(why)) => {
            StripeReadError::Unavailable(why)
        }
    }
}

fn secret_of(intent: PaymentIntent) -> Result<ClientSecret, StripeReadError> {
    let id = intent.id.to_string();
    intent.client_secret.map(ClientSecret::new).ok_or_else(|| {
        StripeReadError::Unavailable(format!("Stripe gave no client secret for {id}"))
    })
}

#[async_trait]
impl Cards for StripeClient {
    async fn create_intent(&self, plan: &IntentPlan) -> Attempt<IntentProof> {
        match self.send_intent(plan).await {
            Ok(intent) => match intent_proof(&intent) {
                Ok(proof) => Attempt::Landed(proof),
                Err(unclear) => Attempt::Unknown(unclear),
            },
            Err(failure) => failure.into(),
        }
    }

    async fn find_intent(&self, plan: &IntentPlan) -> Find<IntentProof> {
        let request = plan.request.to_string();
        let since = plan
            .requested_at
            .seconds()
            .saturating_sub(CLOCK_SKEW_SECONDS);
        let mut last: Option<String> = None;
        loop {
            let mut list = ListPaymentIntent::new()
                .created(RangeQueryTs::gte(since))
                .limit(PAGE);
            if let Some(last) = &last {
                list = list.starting_after(last);
            }
            let page: List<PaymentIntent> = match list
                .customize()
                .timeout(self.timeout)
                .send(&self.client)
                .await
            {
                Ok(page) => page,
                Err(error) => return Find::NoAnswer(outcome::describe(&error)),
            };
            let ours = page
                .data
                .iter()
                .find(|intent| intent.metadata.get("request_id") == Some(&request));
            if let Some(intent) = ours {
                return match intent_proof(intent) {
                    Ok(proof) => Find::Landed(proof),
                    Err(unclear) => Find::Pending(unclear),
                };
            }
            match next(
                page.has_more,
                page.data.last().map(|intent| intent.id.as_str()),
                last.as_deref(),
            ) {
                Next::Page(cursor) => last = Some(cursor),
                Next::End => return Find::Absent,
                Next::Stuck => {
                    return Find::Pending(
                        "Stripe's list of PaymentIntents does not advance".into(),
                    );
                }
            }
        }
    }

    async fn create_refund(&self, plan: &RefundPlan) -> Attempt<RefundProof> {
        match self.send_refund(plan).await {
            Ok(refund) => match refund_standing(&refund) {
                Standing::Under(proof) => Attempt::Landed(proof),
                Standing::Over(refusal) => Attempt::Refused(refusal),
                Standing::Unclear(why) => Attempt::Unknown(why),
            },
            Err(failure) => failure.into(),
        }
    }

    async fn find_refund(&self, plan: &RefundPlan) -> Find<RefundProof> {
        let request = plan.request.to_string();
        let mut last: Option<String> = None;
        loop {
            let mut list = ListRefund::new()
                .payment_intent(&plan.intent_id)
                .limit(PAGE);
            if let Some(last) = &last {
                list = list.starting_after(last);
            }
            let page: List<Refund> = match list
                .customize()
                .timeout(self.timeout)
                .send(&self.client)
                .await
            {
                Ok(page) => page,
                // No such intent, hence no refund of it: trying says so for good.
                Err(StripeError::Stripe(_, 404)) => return Find::Absent,
                Err(error) => return Find::NoAnswer(outcome::describe(&error)),
            };
            let ours = page.data.iter().find(|refund| {
                refund.metadata.as_ref().and_then(|m| m.get("request_id")) == Some(&request)
            });
            if let Some(refund) = ours {
                return match refund_standing(refund) {
                    Standing::Under(proof) => Find::Landed(proof),
                    Standing::Over(refusal) => Find::Refused(refusal),
                    Standing::Unclear(why) => Find::Pending(why),
                };
            }
            match next(
                page.has_more,
                page.data.last().map(|refund| refund.id.as_str()),
                last.as_deref(),
            ) {
                Next::Page(cursor) => last = Some(cursor),
                Next::End => return Find::Absent,
                Next::Stuck => {
                    return Find::Pending("Stripe's list of refunds does not advance".into());
                }
            }
        }
    }

    async fn client_secret(&self, intent_id: &str) -> Result<ClientSecret, StripeReadError> {
        secret_of(self.retrieve(intent_id).await?)
    }

    async fn receipt_to(
        &self,
        intent_id: &str,
        email: &str,
    ) -> Result<ClientSecret, StripeReadError> {
        check_id(intent_id)?;
        let updated = UpdatePaymentIntent::new(intent_id)
            .receipt_email(email)
            .customize()
            .timeout(self.timeout)
            .send(&self.client)
            .await
            .map_err(|error| read_error(intent_id, &error))?;
        secret_of(updated)
    }

    async fn purchase_of(&self, intent_id: &str) -> Result<Option<PurchaseId>, StripeReadError> {
        let intent = self.retrieve(intent_id).await?;
        Ok(intent
            .metadata
            .get("purchase_id")
            .and_then(|id| id.parse().ok()))
    }
}

enum Next {
    Page(String),
    End,
    Stuck,
}

/// Where the next page starts. A page that claims more without advancing would loop for ever.
fn next(has_more: bool, last_of_page: Option<&str>, cursor: Option<&str>) -> Next {
    match last_of_page {
        _ if !has_more => Next::End,
        Some(id) if Some(id) != cursor => Next::Page(id.to_owned()),
        _ => Next::Stuck,
    }
}

fn currency(currency: Currency) -> stripe_types::Currency {
    match currency {
        Currency::Usd => stripe_types::Currency::USD,
        Currency::Eur => stripe_types::Currency::EUR,
        Currency::Jpy => stripe_types::Currency::JPY,
        // The library has no name for the currencies with three decimals.
        Currency::Kwd => stripe_types::Currency::Unknown("kwd".to_owned()),
    }
}

fn fiat(minor: i64, currency: &stripe_types::Currency, of: &str) -> Result<Fiat, String> {
    let code = currency.to_string();
    match Currency::parse(&code) {
        Some(currency) if minor >= 0 => Ok(Fiat { minor, currency }),
        _ => Err(format!(
            "Stripe shows {of} over {minor} {code}, which we never ask for"
        )),
    }
}

fn intent_proof(intent: &PaymentIntent) -> Result<IntentProof, String> {
    Ok(IntentProof {
        intent_id: intent.id.to_string(),
        status: intent.status.to_string(),
        amount: fiat(intent.amount, &intent.currency, intent.id.as_str())?,
        livemode: intent.livemode,
    })
}

enum Standing {
    /// Done or under way.
    Under(RefundProof),
    /// Ended without money going back.
    Over(Refusal),
    Unclear(String),
}

fn refund_standing(refund: &Refund) -> Standing {
    let id = refund.id.as_str();
    let status = refund.status.as_deref().unwrap_or("none");
    match status {
        "succeeded" | "pending" | "requires_action" => {
            match fiat(refund.amount, &refund.currency, id) {
                Ok(amount) => Standing::Under(RefundProof {
                    refund_id: id.to_owned(),
                    status: status.to_owned(),
                    amount,
                }),
                Err(unclear) => Standing::Unclear(unclear),
            }
        }
        "failed" | "canceled" => {
            let reason = refund.failure_reason.as_deref();
            Standing::Over(
                Refusal::new(
                    format!("refund_{status}"),
                    format!(
                        "the refund {id} is {status} ({})",
                        reason.unwrap_or("no reason given")
                    ),
                )
                .with_evidence(id),
            )
        }
        other => Standing::Unclear(format!(
            "the refund {id} has the status {other:?}, which is not known"
        )),
    }
}
