//! Configuration: read once, from the environment. Every secret may come from a file instead
//! (`NAME_FILE`). `docs/configuration.md` lists it all.

use anyhow::{Context, Result, bail};
use pipeline::{Counterparty, KafkaConfig};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// A setting as it stands in the documentation.
pub struct Setting {
    /// Environment variable.
    pub name: &'static str,
    /// Value when it is not set; `None`: it must be set where it is used.
    pub default: Option<&'static str>,
    /// Whether it may come from `NAME_FILE`, too.
    pub secret: bool,
    /// What it is.
    pub doc: &'static str,
}

const fn plain(name: &'static str, default: Option<&'static str>, doc: &'static str) -> Setting {
    Setting {
        name,
        default,
        secret: false,
        doc,
    }
}

const fn secret(name: &'static str, doc: &'static str) -> Setting {
    Setting {
        name,
        default: None,
        secret: true,
        doc,
    }
}

/// A secret that nothing needs; empty unless it is set.
const fn optional_secret(name: &'static str, doc: &'static str) -> Setting {
    Setting {
        name,
        default: Some(""),
        secret: true,
        doc,
    }
}

/// Every setting of the product.
pub const SETTINGS: &[Setting] = &[
    plain("GRIDWAY_KAFKA_BROKERS", None, "Kafka, `host:port,…`."),
    Setting {
        name: "GRIDWAY_KAFKA_PROPERTIES",
        default: Some(""),
        secret: true,
        doc: "Further librdkafka properties, `key=value,…`: TLS, SASL.",
    },
    plain(
        "GRIDWAY_KAFKA_SESSION_MS",
        Some("30000"),
        "Session timeout of processors. The heartbeat is a tenth, the transaction timeout a third of it.",
    ),
    plain(
        "GRIDWAY_KAFKA_REPLICATION",
        Some("3"),
        "Replication factor for `gridway topics create`.",
    ),
    plain(
        "GRIDWAY_KAFKA_MIN_ISR",
        Some("2"),
        "Minimum in-sync replicas for `gridway topics create`.",
    ),
    plain(
        "GRIDWAY_REGISTRY_URL",
        None,
        "Schema registry, its Confluent-compatible API.",
    ),
    secret(
        "GRIDWAY_DATABASE_URL",
        "Postgres of the read models, `postgres://…`.",
    ),
    plain(
        "GRIDWAY_REDIS_URL",
        None,
        "Redis of sessions, limits and commands under way, `redis://…`. While it is down nobody is let in by a session, logged in or out.",
    ),
    plain(
        "GRIDWAY_STRIPE_URL",
        Some("https://api.stripe.com/"),
        "Stripe's API.",
    ),
    secret(
        "GRIDWAY_STRIPE_KEY",
        "Secret key of the Stripe account, `sk_…`. Whether it is a live key decides whether live payments are expected.",
    ),
    secret(
        "GRIDWAY_STRIPE_WEBHOOK_SECRETS",
        "Signing secrets of the webhook endpoint, `whsec_…,…`; several during a rotation.",
    ),
    plain(
        "GRIDWAY_RECONCILE_SECONDS",
        Some("15"),
        "How often the reconciler reads Stripe's list of events, for webhooks that never came.",
    ),
    plain(
        "GRIDWAY_STRIPE_CALLS_PER_SECOND",
        Some("200"),
        "Steps of effects (an attempt, a look) that one process takes at Stripe in a second at most, at least 1. After an outage it begins with 10 and adds 10 each second.",
    ),
    plain(
        "GRIDWAY_HORIZON_URL",
        None,
        "Horizon of the Stellar network.",
    ),
    plain(
        "GRIDWAY_STELLAR_PASSPHRASE",
        None,
        "Passphrase of the Stellar network.",
    ),
    plain(
        "GRIDWAY_USDC_ASSET",
        None,
        "The USDC that is spent, `CODE:ISSUER`.",
    ),
    plain(
        "GRIDWAY_TFT_ASSET",
        None,
        "The TFT that is bought, `CODE:ISSUER`.",
    ),
    secret(
        "GRIDWAY_TREASURY_SECRET",
        "Secret key of the treasury account, `S…`.",
    ),
    secret("GRIDWAY_LANE_SEED", "Seed of all lane keys, 64 hex digits."),
    plain(
        "GRIDWAY_BRIDGE_ADDRESS",
        None,
        "Stellar account of the TFChain bridge, `G…`.",
    ),
    plain(
        "GRIDWAY_DEPOSIT_ACCOUNT",
        None,
        "Account on Stellar that deposits are paid to: the treasury's, `G…`.",
    ),
    plain(
        "GRIDWAY_TREASURY_FUNDERS",
        Some(""),
        "Accounts whose payments to the treasury are no deposits, `G…,…`. Read anew by whoever folds the log: an account that has paid deposits is not to be named later, nor one that has funded the treasury left out.",
    ),
    plain(
        "GRIDWAY_DEPOSITS_FIRST_CURSOR",
        Some("0"),
        "Horizon's paging token after which the treasury's deposits are read when there is no cursor; `0` for the whole history.",
    ),
    plain(
        "GRIDWAY_STELLAR_MAX_FEE",
        Some("200000"),
        "The most that a transaction's fee may become when ledgers are full, in stroops. A swap or hand-off offers 1000 by itself.",
    ),
    plain(
        "GRIDWAY_STELLAR_CALLS_PER_SECOND",
        Some("200"),
        "Steps of effects (an attempt, a look) that one process takes at Horizon in a second at most, at least 1. After an outage it begins with 10 and adds 10 each second.",
    ),
    plain(
        "GRIDWAY_TFCHAIN_URL",
        None,
        "A node of TFChain, `ws://…` or `wss://…`.",
    ),
    plain(
        "GRIDWAY_TFCHAIN_CALLS_PER_SECOND",
        Some("200"),
        "Steps of effects (an attempt, a look) that one process takes at TFChain in a second at most, at least 1. After an outage it begins with 10 and adds 10 each second.",
    ),
    plain(
        "GRIDWAY_TFCHAIN_FIRST_BLOCK",
        Some("0"),
        "Where the watcher begins when it has no cursor.",
    ),
    secret(
        "GRIDWAY_TFCHAIN_USER_SEED",
        "Master seed of the users' accounts: a mnemonic or 0x and 64 hex digits.",
    ),
    secret(
        "GRIDWAY_TFCHAIN_ACTIVATOR_SEED",
        "Seed of the account that activates users' accounts.",
    ),
    plain(
        "GRIDWAY_API_LISTEN",
        Some("127.0.0.1:0"),
        "Address of the API.",
    ),
    plain(
        "GRIDWAY_METRICS_LISTEN",
        Some("127.0.0.1:0"),
        "Address of `/metrics` and `/healthz` of processors and projections.",
    ),
    optional_secret(
        "GRIDWAY_API_TOKENS",
        "Service tokens, `token:user id,…` or `token:user id/role+role,…`: for programs, without a session, not counted against the limits.",
    ),
    secret(
        "GRIDWAY_AUTH_SEEDS",
        "Seeds of the keys that sign access tokens, 64 hex digits each, `first,…`: the first signs, all verify.",
    ),
    plain(
        "GRIDWAY_AUTH_KEY_SECONDS",
        Some("2592000"),
        "How long one signing key is used before the next follows by itself.",
    ),
    plain(
        "GRIDWAY_AUTH_ISSUER",
        Some("https://gridway.dev"),
        "Issuer that our access tokens name.",
    ),
    plain(
        "GRIDWAY_AUTH_AUDIENCE",
        Some("gridway-api"),
        "Audience that our access tokens name.",
    ),
    plain(
        "GRIDWAY_OIDC_ISSUER",
        Some(""),
        "Another issuer whose tokens are taken, too, exactly as they name it; its keys come by discovery.",
    ),
    plain(
        "GRIDWAY_OIDC_AUDIENCE",
        Some(""),
        "Our audience at that issuer. Must be set with it.",
    ),
    plain(
        "GRIDWAY_OIDC_ROLES_CLAIM",
        Some(""),
        "Claim of that issuer with an array of roles. Without it everybody is a user.",
    ),
    plain(
        "GRIDWAY_PUBLIC_URL",
        Some("http://127.0.0.1"),
        "Where people reach the console; links in mails begin with it.",
    ),
    optional_secret(
        "GRIDWAY_SMTP_URL",
        "Mail server: `smtps://user:password@host`, `smtp://…?tls=required`, or `smtp://host:port` in the clear. The API needs it.",
    ),
    plain(
        "GRIDWAY_MAIL_FROM",
        Some("Gridway <no-reply@gridway.dev>"),
        "Sender of mails.",
    ),
    plain(
        "GRIDWAY_SENDGRID_URL",
        Some("https://api.sendgrid.com"),
        "SendGrid's API.",
    ),
    optional_secret(
        "GRIDWAY_SENDGRID_KEY",
        "API key of SendGrid, `SG.…`; where it is set, mails go that way and not by `GRIDWAY_SMTP_URL`.",
    ),
    plain(
        "GRIDWAY_MAIL_CALLS_PER_SECOND",
        Some("20"),
        "Steps of mails (an attempt, a look) that one process takes in a second at most, at least 1.",
    ),
    plain(
        "GRIDWAY_TWILIO_URL",
        Some("https://api.twilio.com"),
        "Twilio's API.",
    ),
    plain(
        "GRIDWAY_TWILIO_ACCOUNT",
        Some(""),
        "Account at Twilio, `AC…`; empty: nobody can be told by text message.",
    ),
    optional_secret("GRIDWAY_TWILIO_TOKEN", "Token of the account at Twilio."),
    plain(
        "GRIDWAY_TWILIO_FROM",
        Some(""),
        "Number that text messages come from, `+…`, or a messaging service, `MG…`.",
    ),
    plain(
        "GRIDWAY_TEXT_CALLS_PER_SECOND",
        Some("10"),
        "Steps of text messages (an attempt, a look) that one process takes in a second at most, at least 1.",
    ),
    secret(
        "GRIDWAY_WEBHOOK_SEED",
        "What the secrets of all webhook endpoints derive from, 64 hex digits. With another seed every endpoint has another secret.",
    ),
    plain(
        "GRIDWAY_WEBHOOK_NETWORKS",
        Some(""),
        "Networks that are not public and that webhooks may go to all the same, `10.1.0.0/16,…`; to these without TLS, too.",
    ),
    plain(
        "GRIDWAY_WEBHOOK_CALLS_PER_SECOND",
        Some("100"),
        "Attempts at webhooks that one process makes in a second at most, at least 1.",
    ),
    plain(
        "GRIDWAY_LIMIT_USER",
        Some("600"),
        "Requests a minute from one user.",
    ),
    plain(
        "GRIDWAY_LIMIT_ADDRESS",
        Some("1200"),
        "Requests a minute from one address.",
    ),
    plain(
        "GRIDWAY_LIMIT_GUEST",
        Some("30"),
        "Requests a minute from one address to sign-up, login, refresh and reset.",
    ),
    plain(
        "GRIDWAY_CORS_ORIGINS",
        Some(""),
        "Origins whose pages may call the API from a browser, `https://console.example.org,…`.",
    ),
    plain(
        "GRIDWAY_TRUSTED_PROXIES",
        Some("0"),
        "How many proxies stand before the API and append the caller's address to `X-Forwarded-For`.",
    ),
    plain(
        "GRIDWAY_ALONE_UP_TO",
        Some("USDC=500,USD=500,EUR=500,XLM=500"),
        "What one operator may move alone, by asset: above it, and for what has no sum (a record that cannot be read, another token), a second person must agree (`POST /approvals`). `any`: one is always enough.",
    ),
    plain(
        "GRIDWAY_TREASURY_SECONDS",
        Some("30"),
        "How often the balances of our accounts are read, at least 1.",
    ),
    plain(
        "GRIDWAY_TREASURY_MIN_USDC",
        Some("1000"),
        "USDC that the treasury should hold; less rings. 0: never.",
    ),
    plain(
        "GRIDWAY_TREASURY_MIN_TFT",
        Some("0"),
        "TFT that the treasury should hold; less rings. 0: never.",
    ),
    plain(
        "GRIDWAY_TREASURY_MIN_XLM",
        Some("50"),
        "Lumens that the treasury should hold; less rings. 0: never.",
    ),
    plain(
        "GRIDWAY_LANE_MIN_XLM",
        Some("1.1"),
        "Lumens that each payment lane should hold; less rings. About 1 cannot be spent. 0: never.",
    ),
    plain(
        "GRIDWAY_ACTIVATOR_MIN_TFT",
        Some("10"),
        "TFT that the account which activates users' accounts should hold; less rings. 0: never.",
    ),
    plain(
        "GRIDWAY_TFCHAIN_ACTIVATOR_ACCOUNT",
        Some(""),
        "The account that activates users' accounts, SS58, where its balance is read; empty: it follows from its seed where that is set, else it is not read.",
    ),
    plain(
        "GRIDWAY_BRIDGE_FEE",
        Some("1"),
        "What the bridge keeps of a deposit, in TFT.",
    ),
    plain(
        "GRIDWAY_SLIPPAGE_BPS",
        Some("100"),
        "How much dearer than quoted a swap may become, in basis points.",
    ),
    plain(
        "GRIDWAY_SPREAD_BPS",
        Some("300"),
        "What is charged on top of the cost, in basis points.",
    ),
    plain(
        "GRIDWAY_MAX_PRICE_IMPACT_BPS",
        Some("500"),
        "How much dearer a TFT may be at the size of a quote than at a small one, in basis points; above it nothing is offered.",
    ),
    plain(
        "GRIDWAY_EUR_CENTS_PER_USDC",
        Some("95"),
        "Euro cents charged for one USDC, an integer or a ratio such as `9423/100`.",
    ),
    plain(
        "GRIDWAY_JPY_PER_USDC",
        Some(""),
        "Yen charged for one USDC, an integer or a ratio; empty: yen are not taken.",
    ),
    plain(
        "GRIDWAY_KWD_FILS_PER_USDC",
        Some(""),
        "Fils (thousandths of a Kuwaiti dinar) charged for one USDC, an integer or a ratio; empty: dinars are not taken.",
    ),
    plain(
        "GRIDWAY_QUOTE_SECONDS",
        Some("600"),
        "How long a quote holds.",
    ),
    plain(
        "GRIDWAY_PAY_WITHIN_SECONDS",
        Some("86400"),
        "How long a person has to pay by card. Said in each order: another value is for later ones, and it is the API that needs it.",
    ),
    plain(
        "GRIDWAY_DEPOSIT_WITHIN_SECONDS",
        Some("3600"),
        "How long a purchase by USDC waits for deposits; what comes later is credit. Said in each order, too.",
    ),
    plain(
        "GRIDWAY_GIVE_UP_SECONDS",
        Some("86400"),
        "How long after the payment a swap is tried before the money goes back. Said in each order, too.",
    ),
    plain(
        "GRIDWAY_UNSAID_PAY_WITHIN_SECONDS",
        Some("86400"),
        "What `GRIDWAY_PAY_WITHIN_SECONDS` was while orders did not say it (`pay_until`); to be left as it was then.",
    ),
    plain(
        "GRIDWAY_UNSAID_GIVE_UP_SECONDS",
        Some("86400"),
        "What `GRIDWAY_GIVE_UP_SECONDS` was while orders did not say it (`give_up_after_ms`); to be left as it was then.",
    ),
    plain(
        "GRIDWAY_MINT_WITHIN_SECONDS",
        Some("1800"),
        "When a hand-off without a mint raises an alarm.",
    ),
    plain(
        "GRIDWAY_BALANCE_CHECK_SECONDS",
        Some("3300"),
        "How often a user's balance on TFChain is read at most; it is when a contract is billed, once an hour.",
    ),
    plain(
        "GRIDWAY_BALANCE_LASTS_SECONDS",
        Some("172800"),
        "How long a user's balance should pay for their contracts; below it they are told.",
    ),
    plain(
        "GRIDWAY_STELLAR_DEADLINE_SECONDS",
        Some("120"),
        "How long one attempt on Stellar may take: the transaction's maxTime.",
    ),
    plain(
        "GRIDWAY_STRIPE_DEADLINE_SECONDS",
        Some("600"),
        "How long one attempt at Stripe may take.",
    ),
];

/// Reads the environment.
pub struct Config;

impl Config {
    /// The text of a setting; empty texts count as not set.
    ///
    /// # Errors
    /// When it is not set and has no default, or its file cannot be read.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge at which configuration enters"
    )]
    pub fn text(name: &str) -> Result<String> {
        let Some(setting) = SETTINGS.iter().find(|s| s.name == name) else {
            bail!("{name} is not a setting of gridway");
        };
        if let Some(value) = std::env::var(name).ok().filter(|v| !v.is_empty()) {
            return Ok(value);
        }
        if setting.secret
            && let Ok(path) = std::env::var(format!("{name}_FILE"))
        {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("reading {path} for {name}_FILE"))?;
            return Ok(text.trim().to_owned());
        }
        match setting.default {
            Some(default) => Ok(default.to_owned()),
            None if setting.secret => bail!("{name} (or {name}_FILE) is not set. {}", setting.doc),
            None => bail!("{name} is not set. {}", setting.doc),
        }
    }

    /// A setting that is a number or the like.
    ///
    /// # Errors
    /// As [`Config::text`], and when it cannot be parsed. The value of a secret is not shown.
    pub fn parse<T: FromStr>(name: &str) -> Result<T>
    where
        T::Err: Display,
    {
        let text = Self::text(name)?;
        let secret = SETTINGS.iter().any(|s| s.name == name && s.secret);
        text.parse().map_err(|e: T::Err| {
            if secret {
                anyhow::anyhow!("{name} is not readable")
            } else {
                anyhow::anyhow!("{name}={text}: {e}")
            }
        })
    }

    /// A duration in seconds.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn seconds(name: &str) -> Result<Duration> {
        Self::parse(name).map(Duration::from_secs)
    }

    /// How to talk to Kafka.
    ///
    /// # Errors
    /// When something is missing or malformed.
    pub fn kafka() -> Result<KafkaConfig> {
        let mut kafka = KafkaConfig::new(Self::text("GRIDWAY_KAFKA_BROKERS")?);
        let session: u64 = Self::parse("GRIDWAY_KAFKA_SESSION_MS")?;
        kafka.session_timeout = Duration::from_millis(session);
        kafka.heartbeat = Duration::from_millis(session / 10);
        kafka.transaction_timeout = Duration::from_millis((session / 3).max(1_500).min(session));
        let properties = Self::text("GRIDWAY_KAFKA_PROPERTIES")?;
        for pair in properties.split(',').filter(|p| !p.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("GRIDWAY_KAFKA_PROPERTIES: `{pair}` is not key=value");
            };
            kafka
                .properties
                .push((key.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(kafka)
    }
}

/// A counterparty, with how often it may be called.
///
/// # Errors
/// When the limit is malformed.
pub fn counterparty(name: &'static str, limit: &str) -> Result<Counterparty> {
    Ok(Counterparty {
        name,
        calls_per_second: Config::parse(limit)?,
    })
}

/// `docs/configuration.md`, written from the settings.
#[must_use]
pub fn document() -> String {
    let mut text = String::from(
        "# Configuration\n\nEverything is read from the environment, once, at the start. A secret may come from a file \
         instead: set `NAME_FILE` to its path. What is missing or malformed is said by name, and the process does not \
         start.\n\nEvery counterparty is replaced by configuration alone.\n\n| variable | default | what it is |\n|---|---|---|\n",
    );
    for setting in SETTINGS {
        let default = match setting.default {
            None => "must be set".to_owned(),
            Some("") => "empty".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let secret = if setting.secret { " Secret." } else { "" };
        text.push_str(&format!(
            "| `{}` | {default} | {}{secret} |\n",
            setting.name, setting.doc
        ));
    }
    text
}
