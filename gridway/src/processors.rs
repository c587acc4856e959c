//! The processors by name, wired from the configuration.

use crate::config::{Config, counterparty};
use crate::notify;
use anyhow::{Context, Result, bail, ensure};
use counterparties_stellar::{
    AccountId, AssetId, Fees, HorizonClient, LaneSeed, SecretKey, Stellar, StellarConfig,
};
use counterparties_stripe::{StripeClient, StripeConfig};
use counterparties_tfchain::{ActivatorKey, Tfchain, TfchainClient, TfchainConfig, UserSeed};
use events::applications::NodeApplicationEvent;
use events::codec::Codec;
use events::deployments::DeploymentEvent;
use events::deposits::DepositEvent;
use events::notifications::NotificationEvent;
use events::purchases::PurchaseEvent;
use events::registry::Registry;
use events::topics::{self, Topic};
use events::treasury::TreasuryEvent;
use events::unmatched::UnmatchedEvent;
use events::users::UserEvent;
use pipeline::append::Codecs;
use pipeline::{Counterparty, KafkaConfig, Slot, run_executor, run_policy, run_source};
use processor_lanes::Treasury;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Every processor, with the topic that it reads.
pub const ALL: [(&str, Topic); 26] = [
    ("purchases", topics::PURCHASES),
    ("payments", topics::PURCHASES),
    ("swaps", topics::PURCHASES),
    ("handoffs", topics::PURCHASES),
    ("tfchain-watcher", topics::PURCHASES),
    ("reconciler", topics::PURCHASES),
    ("deposits", topics::DEPOSITS),
    ("deposit-watcher", topics::DEPOSITS),
    ("returns", topics::DEPOSITS),
    ("claims", topics::DEPOSITS),
    ("deployments", topics::DEPLOYMENTS),
    ("contracts", topics::DEPLOYMENTS),
    ("contract-watcher", topics::DEPLOYMENTS),
    ("users", topics::USERS),
    ("twins", topics::USERS),
    ("treasury-watcher", topics::TREASURY),
    ("purchase-notices", topics::PURCHASES),
    ("deployment-notices", topics::DEPLOYMENTS),
    ("user-notices", topics::USERS),
    ("treasury-notices", topics::TREASURY),
    ("deposit-notices", topics::DEPOSITS),
    ("application-notices", topics::NODE_APPLICATIONS),
    ("notifications", topics::NOTIFICATIONS),
    ("mails", topics::NOTIFICATIONS),
    ("texts", topics::NOTIFICATIONS),
    ("webhooks", topics::NOTIFICATIONS),
];

/// The Stripe client.
///
/// # Errors
/// When its configuration is missing or malformed.
pub fn stripe() -> Result<StripeClient> {
    let config = StripeConfig {
        base_url: Config::text("GRIDWAY_STRIPE_URL")?,
        secret_key: counterparties_stripe::SecretKey::new(&Config::text("GRIDWAY_STRIPE_KEY")?),
        timeout: Duration::from_secs(30),
    };
    StripeClient::new(&config, pipeline::clock::now).context("the Stripe client")
}

/// The Stellar client.
///
/// # Errors
/// When its configuration is missing or malformed.
pub fn stellar() -> Result<HorizonClient> {
    let config = StellarConfig::new(
        &Config::text("GRIDWAY_HORIZON_URL")?,
        &Config::text("GRIDWAY_STELLAR_PASSPHRASE")?,
    );
    HorizonClient::new(&config).context("the Stellar client")
}

/// The TFChain client.
///
/// # Errors
/// When its configuration is missing or malformed.
pub fn tfchain() -> Result<TfchainClient> {
    let config = TfchainConfig {
        url: Config::text("GRIDWAY_TFCHAIN_URL")?,
        timeout: Duration::from_secs(30),
    };
    TfchainClient::new(&config).context("the TFChain client")
}

/// The treasury; waits until Kafka tells its cluster id.
///
/// # Errors
/// When its configuration is missing or malformed.
pub async fn treasury() -> Result<Treasury> {
    let passphrase = Config::text("GRIDWAY_STELLAR_PASSPHRASE")?;
    let key = Config::parse::<SecretKey>("GRIDWAY_TREASURY_SECRET")?;
    let cap: u32 = Config::parse("GRIDWAY_STELLAR_MAX_FEE")?;
    let fees = Fees::new(key.clone(), i64::from(cap), &passphrase);
    let stellar: Arc<dyn Stellar> = Arc::new(stellar()?.with_fees(fees));
    Ok(Treasury {
        stellar,
        passphrase,
        key,
        seed: Config::parse::<LaneSeed>("GRIDWAY_LANE_SEED")?,
        cluster: cluster_id(&Config::kafka()?).await?,
        usdc: Config::parse("GRIDWAY_USDC_ASSET")?,
        tft: Config::parse("GRIDWAY_TFT_ASSET")?,
    })
}

/// Id of the Kafka cluster; it enters the derivation of lane keys. Waits for Kafka without end.
///
/// # Errors
/// When the client cannot be configured so.
pub async fn cluster_id(kafka: &KafkaConfig) -> Result<String> {
    let consumer: Arc<BaseConsumer> = Arc::new(kafka.client().create()?);
    let mut wait = FIRST_WAIT;
    loop {
        let asking = Arc::clone(&consumer);
        // Short, because a runtime that stops waits for the end of it.
        let asked = move || asking.client().fetch_cluster_id(Duration::from_secs(2));
        if let Some(id) = tokio::task::spawn_blocking(asked).await? {
            return Ok(id);
        }
        tracing::warn!(brokers = %kafka.brokers, "waiting for Kafka to tell its cluster id");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Pauses between looks for what a processor cannot start without; they double.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

async fn codecs() -> Result<Codecs> {
    let registry = Registry::new(&Config::text("GRIDWAY_REGISTRY_URL")?)?;
    let mut wait = FIRST_WAIT;
    loop {
        let connected = async {
            let codecs = Codecs::default()
                .with(Codec::<PurchaseEvent>::connect(&registry).await?)
                .with(Codec::<DeploymentEvent>::connect(&registry).await?)
                .with(Codec::<UserEvent>::connect(&registry).await?)
                .with(Codec::<DepositEvent>::connect(&registry).await?)
                .with(Codec::<TreasuryEvent>::connect(&registry).await?)
                .with(Codec::<NodeApplicationEvent>::connect(&registry).await?)
                .with(Codec::<UnmatchedEvent>::connect(&registry).await?)
                .with(Codec::<NotificationEvent>::connect(&registry).await?);
            Ok::<_, events::registry::RegistryError>(codecs)
        };
        match connected.await {
            Ok(codecs) => return Ok(codecs),
            Err(error @ events::registry::RegistryError::Unavailable { .. }) => {
                tracing::warn!(%error, "waiting for the schema registry");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn stripe_limit() -> Result<Counterparty> {
    counterparty("stripe", "GRIDWAY_STRIPE_CALLS_PER_SECOND")
}

fn stellar_limit() -> Result<Counterparty> {
    counterparty("stellar", "GRIDWAY_STELLAR_CALLS_PER_SECOND")
}

fn tfchain_limit() -> Result<Counterparty> {
    counterparty("tfchain", "GRIDWAY_TFCHAIN_CALLS_PER_SECOND")
}

fn purchase_rules() -> Result<processor_purchases::Rules> {
    let mut rules = processor_purchases::Rules::new(Config::text("GRIDWAY_BRIDGE_ADDRESS")?);
    rules.livemode = Config::text("GRIDWAY_STRIPE_KEY")?.contains("_live_");
    rules.mint_within = Config::seconds("GRIDWAY_MINT_WITHIN_SECONDS")?;
    rules.unsaid.pay_within = Config::seconds("GRIDWAY_UNSAID_PAY_WITHIN_SECONDS")?;
    rules.unsaid.give_up_after = Config::seconds("GRIDWAY_UNSAID_GIVE_UP_SECONDS")?;
    rules.stellar_deadline = Config::seconds("GRIDWAY_STELLAR_DEADLINE_SECONDS")?;
    rules.stripe_deadline = Config::seconds("GRIDWAY_STRIPE_DEADLINE_SECONDS")?;
    Ok(rules)
}

fn deployment_rules() -> Result<processor_deployments::decide::Rules> {
    Ok(processor_deployments::decide::Rules {
        balance_every: Config::seconds("GRIDWAY_BALANCE_CHECK_SECONDS")?,
        balance_lasts: Config::seconds("GRIDWAY_BALANCE_LASTS_SECONDS")?,
        ..processor_deployments::decide::Rules::default()
    })
}

fn deposit_rules() -> Result<processor_deposits::Rules> {
    let usdc: AssetId = Config::parse("GRIDWAY_USDC_ASSET")?;
    let mut rules = processor_deposits::Rules::new(usdc.to_string());
    rules.own.insert(Config::text("GRIDWAY_BRIDGE_ADDRESS")?);
    for account in Config::text("GRIDWAY_TREASURY_FUNDERS")?.split(',') {
        let account = account.trim();
        if !account.is_empty() {
            let account: AccountId = account.parse().context("GRIDWAY_TREASURY_FUNDERS")?;
            rules.own.insert(account.to_string());
        }
    }
    rules.stellar_deadline = Config::seconds("GRIDWAY_STELLAR_DEADLINE_SECONDS")?;
    Ok(rules)
}

/// Runs a processor until `stop`.
///
/// # Errors
/// When its name or configuration is wrong, or it ends for good.
pub async fn run(
    name: &str,
    slot: Slot,
    forward_again: u32,
    stop: CancellationToken,
) -> Result<()> {
    let kafka = KafkaConfig {
        forward_again: forward_again.into(),
        ..Config::kafka()?
    };
    let Some(codecs) = stop.run_until_cancelled(codecs()).await.transpose()? else {
        return Ok(());
    };
    match name {
        "purchases" => {
            let policy = processor_purchases::Purchases::new(purchase_rules()?);
            run_policy(policy, codecs, kafka, slot, stop).await?;
        }
        "payments" => {
            let hand = processor_payments::Payments::new(Arc::new(stripe()?));
            run_executor(hand, stripe_limit()?, codecs, kafka, slot, stop).await?;
        }
        "swaps" => {
            let Some(treasury) = stop.run_until_cancelled(treasury()).await.transpose()? else {
                return Ok(());
            };
            let hand = processor_swaps::Swaps::new(Arc::new(treasury));
            run_executor(hand, stellar_limit()?, codecs, kafka, slot, stop).await?;
        }
        "handoffs" => {
            let Some(treasury) = stop.run_until_cancelled(treasury()).await.transpose()? else {
                return Ok(());
            };
            let hand = processor_handoffs::Handoffs::new(Arc::new(treasury));
            run_executor(hand, stellar_limit()?, codecs, kafka, slot, stop).await?;
        }
        "tfchain-watcher" => {
            let chain: Arc<dyn Tfchain> = Arc::new(tfchain()?);
            let first_block = Config::parse("GRIDWAY_TFCHAIN_FIRST_BLOCK")?;
            let source = processor_watcher::Watcher::new(chain, Arc::new(stellar()?), first_block);
            run_source(source, codecs, kafka, slot, stop).await?;
        }
        "reconciler" => {
            let every = Config::seconds("GRIDWAY_RECONCILE_SECONDS")?;
            ensure!(
                !every.is_zero(),
                "GRIDWAY_RECONCILE_SECONDS must be above zero"
            );
            let stripe = Arc::new(stripe()?);
            let source = processor_reconciler::Reconciler::new(stripe.clone(), stripe, every);
            run_source(source, codecs, kafka, slot, stop).await?;
        }
        "deposits" => {
            let policy = processor_deposits::Deposits::new(deposit_rules()?);
            run_policy(policy, codecs, kafka, slot, stop).await?;
        }
        "deposit-watcher" => {
            let account: AccountId = Config::parse("GRIDWAY_DEPOSIT_ACCOUNT")?;
            let first = Config::text("GRIDWAY_DEPOSITS_FIRST_CURSOR")?;
            let source =
                processor_deposits::DepositWatcher::new(Arc::new(stellar()?), account, first);
            run_source(source, codecs, kafka, slot, stop).await?;
        }
        "returns" => {
            let Some(treasury) = stop.run_until_cancelled(treasury()).await.transpose()? else {
                return Ok(());
            };
            let hand = processor_deposits::Returns::new(Arc::new(treasury));
            run_executor(hand, stellar_limit()?, codecs, kafka, slot, stop).await?;
        }
        "claims" => {
            let Some(treasury) = stop.run_until_cancelled(treasury()).await.transpose()? else {
                return Ok(());
            };
            let hand = processor_deposits::Claims::new(Arc::new(treasury));
            run_executor(hand, stellar_limit()?, codecs, kafka, slot, stop).await?;
        }
        "deployments" => {
            let policy = processor_deployments::DeploymentPolicy::new(deployment_rules()?);
            run_policy(policy, codecs, kafka, slot, stop).await?;
        }
        "contracts" => {
            let hand = processor_deployments::Contracts::new(Arc::new(tfchain()?), user_seed()?);
            run_executor(hand, tfchain_limit()?, codecs, kafka, slot, stop).await?;
        }
        "contract-watcher" => {
            let chain: Arc<dyn Tfchain> = Arc::new(tfchain()?);
            let first_block = Config::parse("GRIDWAY_TFCHAIN_FIRST_BLOCK")?;
            let source = processor_watcher::ContractWatcher::new(chain, first_block);
            run_source(source, codecs, kafka, slot, stop).await?;
        }
        "users" => run_policy(processor_twins::Users::default(), codecs, kafka, slot, stop).await?,
        "twins" => {
            let activator = ActivatorKey::parse(&Config::text("GRIDWAY_TFCHAIN_ACTIVATOR_SEED")?)
                .context("GRIDWAY_TFCHAIN_ACTIVATOR_SEED")?;
            let hand = processor_twins::Twins::new(Arc::new(tfchain()?), user_seed()?, activator);
            run_executor(hand, tfchain_limit()?, codecs, kafka, slot, stop).await?;
        }
        "treasury-watcher" => {
            let source = crate::treasury::watcher()?;
            run_source(source, codecs, kafka, slot, stop).await?;
        }
        "purchase-notices" => {
            let policy = processor_notifications::notices::PurchaseNotices;
            run_policy(policy, codecs, kafka, slot, stop).await?;
        }
        "deployment-notices" => {
            let policy = processor_notifications::notices::DeploymentNotices;
            run_policy(policy, codecs, kafka, slot, stop).await?;
        }
        "user-notices" => {
            let policy = processor_notifications::notices::UserNotices;
            run_policy(policy, codecs, kafka, slot, stop).await?;
        }
        "treasury-notices" => {
            let policy = processor_notifications::notices::TreasuryNotices;
            run_policy(policy, codecs, kafka, slot, stop).await?;
        }
        "deposit-notices" => {
            let policy = processor_notifications::notices::DepositNotices;
            run_policy(policy, codecs, kafka, slot, stop).await?;
        }
        "application-notices" => {
            let policy = processor_notifications::notices::ApplicationNotices;
            run_policy(policy, codecs, kafka, slot, stop).await?;
        }
        "notifications" => {
            let policy = processor_notifications::Notifications::default();
            run_policy(policy, codecs, kafka, slot, stop).await?;
        }
        "mails" => {
            let limit = counterparty("mail", "GRIDWAY_MAIL_CALLS_PER_SECOND")?;
            run_executor(notify::mails()?, limit, codecs, kafka, slot, stop).await?;
        }
        "texts" => {
            let limit = counterparty("texts", "GRIDWAY_TEXT_CALLS_PER_SECOND")?;
            run_executor(notify::texts()?, limit, codecs, kafka, slot, stop).await?;
        }
        "webhooks" => {
            let limit = counterparty("webhooks", "GRIDWAY_WEBHOOK_CALLS_PER_SECOND")?;
            run_executor(notify::webhooks()?, limit, codecs, kafka, slot, stop).await?;
        }
        other => {
            let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
            bail!(
                "there is no processor {other}; there are {}",
                names.join(", ")
            );
        }
    }
    Ok(())
}

fn user_seed() -> Result<UserSeed> {
    UserSeed::parse(&Config::text("GRIDWAY_TFCHAIN_USER_SEED")?)
        .context("GRIDWAY_TFCHAIN_USER_SEED")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn without_kafka_a_processor_waits_until_it_is_told_to_stop() {
        // Takes connections, as a host does whose broker is not up yet, and ends them.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kafka = KafkaConfig::new(address.to_string());
        let stop = CancellationToken::new();
        let waiting = tokio::spawn({
            let stop = stop.clone();
            async move { stop.run_until_cancelled(cluster_id(&kafka)).await.is_none() }
        });
        for _ in 0..3 {
            drop(timeout(SOON, listener.accept()).await.unwrap().unwrap());
        }
        assert!(!waiting.is_finished());
        stop.cancel();
        assert!(timeout(SOON, waiting).await.unwrap().unwrap());
    }
}
