//! The API's ports, wired to the real counterparties.

use crate::config::Config;
use crate::{dead_letters, notify, people, processors};
use anyhow::{Context, Result};
use api::approvals::Limits;
use api::log::CommandLog;
use api::ports::{
    DepositPlace, Holding, NoSecret, PaymentSecrets, QuoteError, Quoter, SwapQuote, TreasuryBook,
    Unavailable, WebhookRefusal, WebhookVerifier,
};
use api::pricing::{Rate, Terms};
use api::{ApiParts, ApiState};
use async_trait::async_trait;
use axum::http::HeaderValue;
use counterparties_stellar::{AccountId, AssetId, HorizonClient, Stellar};
use counterparties_stripe::webhook::{self, Notification, WebhookError, WebhookSecrets};
use counterparties_stripe::{Cards, StripeClient, StripeReadError};
use counterparties_tfchain::{AccountId32, deployment_hash};
use events::applications::WalletNetwork;
use events::ids::PurchaseId;
use events::money::{Amount, Tft};
use events::stripe::StripeFacts;
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
    async fn client_secret(
        &self,
        intent_id: &str,
        receipt_email: Option<&str>,
    ) -> Result<String, NoSecret> {
        let secret = match receipt_email {
            Some(email) => self.client.receipt_to(intent_id, email).await,
            None => self.client.client_secret(intent_id).await,
        };
        let secret = secret.map_err(|error| match error {
            StripeReadError::Refused(why) => NoSecret::Email(why),
            StripeReadError::Missing(_) | StripeReadError::Unavailable(_) => {
                NoSecret::Unavailable(error.to_string())
            }
        })?;
        Ok(secret.expose().to_owned())
    }
}

#[async_trait]
impl WebhookVerifier for Stripe {
    async fn verify(
        &self,
        body: &[u8],
        header: Option<&str>,
    ) -> Result<StripeFacts, WebhookRefusal> {
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
        if let Some(notification) = Notification::read(body) {
            let fetched = self.client.fetch(notification).await;
            return fetched.map_err(|e| WebhookRefusal::Unavailable(e.to_string()));
        }
        webhook::facts(body, now).map_err(|e| WebhookRefusal::NotJson(e.to_string()))
    }

    async fn purchase_of(&self, intent_id: &str) -> Result<Option<PurchaseId>, Unavailable> {
        match self.client.purchase_of(intent_id).await {
            Ok(purchase) => Ok(purchase),
            // Another account's, say: it is nobody's here, however often it is told.
            Err(StripeReadError::Missing(_)) => Ok(None),
            Err(error @ (StripeReadError::Unavailable(_) | StripeReadError::Refused(_))) => {
                Err(Unavailable(error.to_string()))
            }
        }
    }
}

struct Book(processor_treasury::Accounts);

#[async_trait]
impl TreasuryBook for Book {
    async fn holdings(&self, lanes: &[projections::treasury::Lane]) -> Vec<Holding> {
        let lanes: Vec<processor_treasury::Lane> =
            lanes.iter().map(crate::treasury::lane).collect();
        let read = self.0.read(&lanes).await;
        read.into_iter()
            .map(|holding| Holding {
                name: holding.name,
                account: holding.account,
                asset: holding.asset,
                threshold: holding.threshold,
                balance: holding.balance,
            })
            .collect()
    }
}

/// A rate, an integer or a ratio; `None` when it is empty.
fn rate(name: &str) -> Result<Option<Rate>> {
    let text = Config::text(name)?;
    if text.is_empty() {
        return Ok(None);
    }
    let (numerator, denominator) = text.split_once('/').unwrap_or((text.as_str(), "1"));
    Ok(Some(Rate {
        numerator: numerator.trim().parse().context(name.to_owned())?,
        denominator: denominator.trim().parse().context(name.to_owned())?,
    }))
}

fn terms() -> Result<Terms> {
    let mut terms = Terms {
        bridge_fee: Amount::parse(&Config::text("GRIDWAY_BRIDGE_FEE")?)
            .context("GRIDWAY_BRIDGE_FEE")?,
        slippage_bps: Config::parse("GRIDWAY_SLIPPAGE_BPS")?,
        spread_bps: Config::parse("GRIDWAY_SPREAD_BPS")?,
        max_impact_bps: Config::parse("GRIDWAY_MAX_PRICE_IMPACT_BPS")?,
        quote_ttl: Config::seconds("GRIDWAY_QUOTE_SECONDS")?,
        pay_within: Config::seconds("GRIDWAY_PAY_WITHIN_SECONDS")?,
        deposit_within: Config::seconds("GRIDWAY_DEPOSIT_WITHIN_SECONDS")?,
        give_up_after: Config::seconds("GRIDWAY_GIVE_UP_SECONDS")?,
        ..Terms::default()
    };
    if let Some(rate) = rate("GRIDWAY_EUR_CENTS_PER_USDC")? {
        terms.eur = rate;
    }
    terms.jpy = rate("GRIDWAY_JPY_PER_USDC")?;
    terms.kwd = rate("GRIDWAY_KWD_FILS_PER_USDC")?;
    terms.check()?;
    Ok(terms)
}

fn deposit_place() -> Result<DepositPlace> {
    let account: AccountId = Config::parse("GRIDWAY_DEPOSIT_ACCOUNT")?;
    let usdc: AssetId = Config::parse("GRIDWAY_USDC_ASSET")?;
    Ok(DepositPlace {
        account: account.to_string(),
        asset_code: usdc.code,
        asset_issuer: usdc.issuer.to_string(),
        passphrase: Config::text("GRIDWAY_STELLAR_PASSPHRASE")?,
        muxed: |account, id| {
            let account: AccountId = account.parse().ok()?;
            Some(account.muxed_address(u64::from(id)))
        },
    })
}

/// What one operator may move alone.
///
/// # Errors
/// When the setting is malformed.
pub fn limits() -> Result<Limits> {
    Config::parse("GRIDWAY_ALONE_UP_TO")
}

/// The network that a text is an account's address of.
fn wallet(text: &str) -> Option<WalletNetwork> {
    if text.parse::<AccountId>().is_ok() {
        return Some(WalletNetwork::Stellar);
    }
    text.parse::<AccountId32>()
        .ok()
        // As the chain itself writes it: the address of another network has another prefix.
        .filter(|account| account.to_string() == text)
        .map(|_| WalletNetwork::Tfchain)
}

fn origins() -> Result<Vec<HeaderValue>> {
    let list = Config::text("GRIDWAY_CORS_ORIGINS")?;
    list.split(',')
        .map(str::trim)
        .filter(|origin| !origin.is_empty())
        .map(|origin| origin.parse().context("GRIDWAY_CORS_ORIGINS"))
        .collect()
}

/// Waits for a Postgres that is not there (yet): whoever starts first, both come up.
pub(crate) async fn until_postgres_answers<W>(attempt: impl Fn() -> W) -> Result<(), MigrateError>
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
        treasury: Arc::new(Book(crate::treasury::accounts()?)),
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
        wallet,
        dead_letters: Arc::new(dead_letters::Letters(Config::kafka()?)),
        limits: limits()?,
        deposits: deposit_place()?,
        auth: people::auth()?,
        mailer: Arc::new(people::mailer()?),
        notices: notify::notices()?,
        terms: terms()?,
        origins: origins()?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_is_an_account_of_one_of_two_networks() {
        let stellar = "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ";
        let tfchain = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        assert_eq!(wallet(stellar), Some(WalletNetwork::Stellar));
        assert_eq!(wallet(tfchain), Some(WalletNetwork::Tfchain));
        // The same account as another network writes it, a mistyped letter, a secret, nothing.
        for wrong in [
            "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ",
            "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGA",
            "SCZANGBA5YHTNYVVV4C3U252E2B6P6F5T3U6MM63WBSBZATAQI3EBTQ4",
            "",
            "\0",
        ] {
            assert_eq!(wallet(wrong), None, "{wrong:?}");
        }
    }
}
