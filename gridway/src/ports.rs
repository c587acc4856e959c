//! The API's ports, wired to the real counterparties.

use crate::config::Config;
use crate::processors;
use anyhow::{Context, Result};
use api::auth::Tokens;
use api::log::CommandLog;
use api::ports::{
    PaymentSecrets, QuoteError, Quoter, StripeFacts, SwapQuote, Unavailable, WebhookRefusal,
    WebhookVerifier,
};
use api::pricing::{Rate, Terms};
use api::{ApiParts, ApiState};
use async_trait::async_trait;
use counterparties_stellar::{AssetId, HorizonClient, Stellar};
use counterparties_stripe::webhook::{self, WebhookError, WebhookSecrets};
use counterparties_stripe::{Cards, StripeClient};
use counterparties_tfchain::deployment_hash;
use events::ids::PurchaseId;
use events::money::{Amount, Tft};
use events::time::Timestamp;
use pipeline::clock;
use sqlx::migrate::MigrateError;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

struct Market {
    stellar: HorizonClient,
    usdc: AssetId,
    tft: AssetId,
}

#[async_trait]
impl Quoter for Market {
    async fn quote(&self, tft: Amount<Tft>) -> Result<SwapQuote, QuoteError> {
        match self
            .stellar
            .quote_strict_receive(&self.usdc, &self.tft, tft)
            .await
        {
            Ok(quote) => Ok(SwapQuote {
                usdc: quote.source_amount,
                path: quote.path.iter().map(ToString::to_string).collect(),
                ledger: i64::from(quote.ledger),
            }),
            Err(counterparties_stellar::QuoteError::NoPath) => Err(QuoteError::NoPath),
            Err(error @ counterparties_stellar::QuoteError::Unavailable(_)) => {
                Err(QuoteError::Unavailable(error.to_string()))
            }
        }
    }
}

struct Stripe {
    client: StripeClient,
    secrets: WebhookSecrets,
}

#[async_trait]
impl PaymentSecrets for Stripe {
    async fn client_secret(&self, intent_id: &str) -> Result<String, Unavailable> {
        let secret = self
            .client
            .client_secret(intent_id)
            .await
            .map_err(|e| Unavailable(e.to_string()))?;
        Ok(secret.expose().to_owned())
    }
}

#[async_trait]
impl WebhookVerifier for Stripe {
    fn verify(&self, body: &[u8], header: Option<&str>) -> Result<StripeFacts, WebhookRefusal> {
        let now = clock::now();
        webhook::verify(body, header, &self.secrets, now.seconds()).map_err(
            |error| match error {
                WebhookError::Missing => WebhookRefusal::Missing,
                WebhookError::Malformed(why) => WebhookRefusal::Malformed(why.to_owned()),
                WebhookError::NoMatch => WebhookRefusal::WrongSignature,
                WebhookError::TooOld { .. } | WebhookError::TooNew { .. } => {
                    WebhookRefusal::WrongTime(error.to_string())
                }
            },
        )?;
        let facts = webhook::facts(body).map_err(|e| WebhookRefusal::NotJson(e.to_string()))?;
        Ok(StripeFacts {
            purchase_id: facts.purchase_id,
            stripe_event_id: facts.event_id,
            event_type: facts.event_type,
            created: facts.created.map_or(now, Timestamp::from_seconds),
            livemode: facts.livemode.unwrap_or(false),
            object_id: facts.object_id,
            intent_id: facts.intent_id,
            amount: facts.amount,
            amount_received: facts.amount_received,
            amount_refunded: facts.amount_refunded,
            currency: facts.currency,
            status: facts.status,
            failure_code: facts.failure_code,
            raw: facts.raw,
        })
    }

    async fn purchase_of(&self, intent_id: &str) -> Result<Option<PurchaseId>, Unavailable> {
        self.client
            .purchase_of(intent_id)
            .await
            .map_err(|e| Unavailable(e.to_string()))
    }
}

fn terms() -> Result<Terms> {
    let mut terms = Terms {
        bridge_fee: Amount::parse(&Config::text("GRIDWAY_BRIDGE_FEE")?)
            .context("GRIDWAY_BRIDGE_FEE")?,
        slippage_bps: Config::parse("GRIDWAY_SLIPPAGE_BPS")?,
        spread_bps: Config::parse("GRIDWAY_SPREAD_BPS")?,
        quote_ttl: Config::seconds("GRIDWAY_QUOTE_SECONDS")?,
        ..Terms::default()
    };
    let rate = Config::text("GRIDWAY_EUR_CENTS_PER_USDC")?;
    let (numerator, denominator) = rate.split_once('/').unwrap_or((rate.as_str(), "1"));
    terms.eur = Rate {
        numerator: numerator
            .trim()
            .parse()
            .context("GRIDWAY_EUR_CENTS_PER_USDC")?,
        denominator: denominator
            .trim()
            .parse()
            .context("GRIDWAY_EUR_CENTS_PER_USDC")?,
    };
    terms.check()?;
    Ok(terms)
}

/// Waits for a Postgres that is not there (yet): whoever starts first, both come up.
async fn until_postgres_answers<W>(attempt: impl Fn() -> W) -> Result<(), MigrateError>
where
    W: Future<Output = Result<(), MigrateError>>,
{
    let mut wait = Duration::from_millis(100);
    loop {
        match attempt().await {
            Err(MigrateError::Execute(error)) => {
                tracing::warn!(%error, "waiting for Postgres");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
            done => return done,
        }
    }
}

/// Everything the API needs.
///
/// # Errors
/// When the configuration is missing or malformed, or the tables cannot be made.
pub async fn api_state() -> Result<ApiState> {
    let market = Market {
        stellar: processors::stellar()?,
        usdc: Config::parse("GRIDWAY_USDC_ASSET")?,
        tft: Config::parse("GRIDWAY_TFT_ASSET")?,
    };
    let secrets = WebhookSecrets::parse(&Config::text("GRIDWAY_STRIPE_WEBHOOK_SECRETS")?)
        .context("GRIDWAY_STRIPE_WEBHOOK_SECRETS")?;
    let stripe = Arc::new(Stripe {
        client: processors::stripe()?,
        secrets,
    });
    let pool = projections::connect(&Config::text("GRIDWAY_DATABASE_URL")?, 16)
        .context("GRIDWAY_DATABASE_URL")?;
    until_postgres_answers(|| projections::migrate(&pool))
        .await
        .context("the tables of the read models")?;
    until_postgres_answers(|| api::migrate(&pool))
        .await
        .context("the tables of the API")?;
    let registry_url = Config::text("GRIDWAY_REGISTRY_URL")?;
    Ok(ApiState::new(ApiParts {
        pool,
        log: CommandLog::new(&Config::text("GRIDWAY_KAFKA_BROKERS")?, &registry_url)?,
        registry_url,
        quoter: Arc::new(market),
        secrets: stripe.clone(),
        webhooks: stripe,
        deployment_hash: |deployment, version, data| {
            deployment_hash(
                &deployment,
                u32::try_from(version).unwrap_or_default(),
                data,
            )
        },
        tokens: Tokens::parse(&Config::text("GRIDWAY_API_TOKENS")?)
            .context("GRIDWAY_API_TOKENS")?,
        terms: terms()?,
        changes: projections::Changes::default(),
        clock: clock::now,
    }))
}

/// Runs the read models until `stop`.
///
/// # Errors
/// When the configuration is missing or malformed, or they end for good.
pub async fn projections(stop: CancellationToken) -> Result<()> {
    let config = projections::Config {
        brokers: Config::text("GRIDWAY_KAFKA_BROKERS")?,
        registry_url: Config::text("GRIDWAY_REGISTRY_URL")?,
        database_url: Config::text("GRIDWAY_DATABASE_URL")?,
    };
    projections::run(config, stop).await?;
    Ok(())
}
