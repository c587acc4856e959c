//! What our accounts hold, wired from the configuration; no key is needed to look.

use crate::config::Config;
use crate::processors;
use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use counterparties_stellar::AccountId;
use counterparties_tfchain::{AccountId32, ActivatorKey, Tfchain};
use events::money::{Amount, Usdc};
use processor_treasury::{Accounts, Lane, Lanes, Thresholds, TreasuryWatcher};
use sqlx::PgPool;
use std::sync::Arc;

/// The lanes of the read models.
pub struct ReadModel(PgPool);

#[async_trait]
impl Lanes for ReadModel {
    async fn lanes(&self) -> Result<Vec<Lane>, String> {
        let lanes = projections::treasury::lanes(&self.0).await;
        let lanes = lanes.map_err(|error| format!("Postgres does not tell the lanes: {error}"))?;
        Ok(lanes.iter().map(lane).collect())
    }
}

pub(crate) fn lane(row: &projections::treasury::Lane) -> Lane {
    Lane {
        executor: row.executor.clone(),
        account: row.account.clone(),
    }
}

/// A threshold in 10^-7 units, written with up to seven decimals.
fn least(name: &str) -> Result<i64> {
    let amount = Amount::<Usdc>::parse(&Config::text(name)?).with_context(|| name.to_owned())?;
    Ok(amount.minor())
}

/// The account that activates users' accounts; `None` where nothing says which it is.
fn activator() -> Result<Option<AccountId32>> {
    const ACCOUNT: &str = "GRIDWAY_TFCHAIN_ACTIVATOR_ACCOUNT";
    let account = Config::text(ACCOUNT)?;
    if !account.is_empty() {
        let parsed = account.parse::<AccountId32>();
        return parsed
            .map(Some)
            .ok()
            .with_context(|| format!("{ACCOUNT}={account} is no SS58 account"));
    }
    let Ok(seed) = Config::text("GRIDWAY_TFCHAIN_ACTIVATOR_SEED") else {
        return Ok(None);
    };
    let key = ActivatorKey::parse(&seed).context("GRIDWAY_TFCHAIN_ACTIVATOR_SEED")?;
    Ok(Some(key.key().account_id()))
}

/// Our accounts.
///
/// # Errors
/// When the configuration is missing or malformed.
pub fn accounts() -> Result<Accounts> {
    let treasury: AccountId = Config::parse("GRIDWAY_DEPOSIT_ACCOUNT")?;
    let activator = match activator()? {
        Some(account) => {
            let chain: Arc<dyn Tfchain> = Arc::new(processors::tfchain()?);
            Some((chain, account))
        }
        None => None,
    };
    Ok(Accounts {
        stellar: Arc::new(processors::stellar()?),
        activator,
        treasury,
        bridge: Config::parse("GRIDWAY_BRIDGE_ADDRESS")?,
        usdc: Config::parse("GRIDWAY_USDC_ASSET")?,
        tft: Config::parse("GRIDWAY_TFT_ASSET")?,
        thresholds: Thresholds {
            usdc: least("GRIDWAY_TREASURY_MIN_USDC")?,
            tft: least("GRIDWAY_TREASURY_MIN_TFT")?,
            xlm: least("GRIDWAY_TREASURY_MIN_XLM")?,
            lane_xlm: least("GRIDWAY_LANE_MIN_XLM")?,
            activator_tft: least("GRIDWAY_ACTIVATOR_MIN_TFT")?,
        },
    })
}

/// The source `treasury-watcher`.
///
/// # Errors
/// When the configuration is missing or malformed.
pub fn watcher() -> Result<TreasuryWatcher<ReadModel>> {
    let every = Config::seconds("GRIDWAY_TREASURY_SECONDS")?;
    ensure!(
        !every.is_zero(),
        "GRIDWAY_TREASURY_SECONDS must be above zero"
    );
    let url = Config::text("GRIDWAY_DATABASE_URL")?;
    let pool = projections::connect(&url, 1).context("GRIDWAY_DATABASE_URL")?;
    Ok(TreasuryWatcher::new(accounts()?, ReadModel(pool), every))
}
