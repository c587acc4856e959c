//! How people are told, wired from the configuration: addresses of the API's own rows, the ways
//! of mails, text messages and webhooks.

use crate::config::Config;
use crate::people;
use anyhow::{Context, Result, anyhow, bail};
use api::contacts;
use api::ports::{NoticeKind, Notices};
use async_trait::async_trait;
use counterparties_messaging::{
    SecretSeed, Targets, Text, Texter, TwilioConfig, TwilioTexter, WebhookSender, endpoint_url,
    is_phone_number,
};
use events::ids::{EndpointId, EventId, UserId};
use events::notifications::Channel;
use events::outcome::Attempt;
use pipeline::clock;
use processor_notifications::hands::{Mails, SETTLE, Texts, Webhooks};
use processor_notifications::kinds::KINDS;
use processor_notifications::templates::{LANGUAGES, Templates};
use processor_notifications::{Addresses, Endpoint, Unavailable};
use sqlx::PgPool;
use std::sync::Arc;

/// Where people are told, as the API's rows have it.
struct Rows {
    pool: PgPool,
    /// Of the webhooks' secrets; the other hands need none.
    seed: Option<SecretSeed>,
}

fn unavailable(error: sqlx::Error) -> Unavailable {
    Unavailable(format!("Postgres does not tell where: {error}"))
}

#[async_trait]
impl Addresses for Rows {
    async fn email(&self, user: UserId) -> Result<Option<String>, Unavailable> {
        contacts::email(&self.pool, user).await.map_err(unavailable)
    }

    async fn phone(&self, user: UserId) -> Result<Option<String>, Unavailable> {
        contacts::phone(&self.pool, user).await.map_err(unavailable)
    }

    async fn endpoint(&self, id: EndpointId) -> Result<Option<Endpoint>, Unavailable> {
        let row = contacts::endpoint(&self.pool, id, clock::now())
            .await
            .map_err(unavailable)?;
        let (Some(row), Some(seed)) = (row, &self.seed) else {
            return Ok(None);
        };
        Ok(Some(Endpoint {
            url: row.url,
            secrets: row
                .generations
                .iter()
                .map(|generation| seed.secret(id, *generation))
                .collect(),
        }))
    }
}

fn rows(seed: Option<SecretSeed>) -> Result<Arc<Rows>> {
    let pool = projections::connect(&Config::text("GRIDWAY_DATABASE_URL")?, 2)
        .context("GRIDWAY_DATABASE_URL")?;
    Ok(Arc::new(Rows { pool, seed }))
}

fn templates() -> Result<Arc<Templates>> {
    Ok(Arc::new(Templates::new().context("the templates")?))
}

fn seed() -> Result<SecretSeed> {
    SecretSeed::parse(&Config::text("GRIDWAY_WEBHOOK_SEED")?)
        .context("GRIDWAY_WEBHOOK_SEED is not 64 hex digits")
}

fn targets() -> Result<Targets> {
    Targets::parse(&Config::text("GRIDWAY_WEBHOOK_NETWORKS")?)
        .map_err(|part| anyhow!("GRIDWAY_WEBHOOK_NETWORKS: {part} is no network"))
}

/// The client of text messages; `None` where no account is set.
fn texter() -> Result<Option<Arc<dyn Texter>>> {
    let account = Config::text("GRIDWAY_TWILIO_ACCOUNT")?;
    if account.is_empty() {
        return Ok(None);
    }
    let (token, from) = (
        Config::text("GRIDWAY_TWILIO_TOKEN")?,
        Config::text("GRIDWAY_TWILIO_FROM")?,
    );
    if token.is_empty() || from.is_empty() {
        bail!("GRIDWAY_TWILIO_ACCOUNT is set without GRIDWAY_TWILIO_TOKEN or GRIDWAY_TWILIO_FROM");
    }
    let texter = TwilioTexter::new(TwilioConfig {
        base: Config::text("GRIDWAY_TWILIO_URL")?,
        account,
        token,
        from,
    });
    Ok(Some(Arc::new(texter.context("the client of Twilio")?)))
}

/// The hand `mails`.
///
/// # Errors
/// When the configuration is missing or malformed.
pub fn mails() -> Result<Mails> {
    Ok(Mails::new(people::sender()?, rows(None)?, templates()?))
}

/// The hand `texts`.
///
/// # Errors
/// When the configuration is missing or malformed.
pub fn texts() -> Result<Texts> {
    let texter = texter()?.context("GRIDWAY_TWILIO_ACCOUNT is not set: nobody can be texted")?;
    Ok(Texts::new(texter, rows(None)?, templates()?, SETTLE))
}

/// The hand `webhooks`.
///
/// # Errors
/// When the configuration is missing or malformed.
pub fn webhooks() -> Result<Webhooks> {
    let sender = WebhookSender::new(targets()?).context("the client of webhooks")?;
    Ok(Webhooks::new(sender, rows(Some(seed()?))?))
}

struct Codes(Arc<dyn Texter>);

#[async_trait]
impl api::ports::Texter for Codes {
    async fn send(&self, id: EventId, to: &str, text: &str) -> Attempt<()> {
        let text = Text {
            id,
            to: to.to_owned(),
            text: text.to_owned(),
            at: clock::now(),
        };
        match self.0.send(&text).await {
            Attempt::Landed(_) => Attempt::Landed(()),
            Attempt::Refused(refusal) => Attempt::Refused(refusal),
            Attempt::NotSent(why) => Attempt::NotSent(why),
            Attempt::Unknown(why) => Attempt::Unknown(why),
            Attempt::NoAnswer(why) => Attempt::NoAnswer(why),
        }
    }
}

/// What the API says of notifications.
///
/// # Errors
/// When the configuration is missing or malformed.
pub fn notices() -> Result<Notices> {
    let (seed, targets) = (seed()?, targets()?);
    let texter: Option<Arc<dyn api::ports::Texter>> = match texter()? {
        Some(texter) => Some(Arc::new(Codes(texter))),
        None => None,
    };
    Ok(Notices {
        kinds: KINDS
            .iter()
            .map(|kind| NoticeKind {
                name: kind.name,
                usual: Channel::ALL.map(|channel| kind.usual(channel)),
            })
            .collect(),
        languages: LANGUAGES.to_vec(),
        webhook_secret: Arc::new(move |id, generation| seed.secret(id, generation).expose()),
        endpoint_url: Arc::new(move |url| endpoint_url(url, &targets).map(|_| ())),
        is_phone_number,
        texter,
    })
}
