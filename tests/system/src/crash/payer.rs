//! Who pays by USDC: an account of outsiders on Stellar, one payment after the other.

use super::stage::{HORIZON, Stage};
use anyhow::{Context, Result, bail};
use counterparties_stellar::{
    AccountId, AssetId, PathAsset, Payment, Predicate, SecretKey, SetAside, SetupOperation,
    sign_payment, sign_set_aside, sign_setup,
};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OnceCell};

/// How long a payment may take to land.
const LANDS_WITHIN: Duration = Duration::from_secs(60);
/// What the payer gets to spend, in 10^-7 USDC.
const PURSE: i64 = 500_000 * 10_000_000;

/// The payer. Its account is made when somebody first pays.
#[derive(Default)]
pub struct Payer {
    made: OnceCell<()>,
    turn: Mutex<()>,
}

fn key(role: &str) -> SecretKey {
    // As `sandbox-market` derives them: worth nothing, and the same in every sandbox.
    SecretKey::from_seed(&Sha256::digest(format!("gridway sandbox {role}")).into())
}

fn usdc(stage: &Stage) -> Result<AssetId> {
    stage.setting("GRIDWAY_USDC_ASSET").parse().context("USDC")
}

impl Payer {
    /// Pays to the treasury, naming a twin.
    ///
    /// # Errors
    /// When the payment does not land.
    pub async fn pay(&self, stage: &Stage, twin: u64, amount: i64) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.made.get_or_try_init(|| make(stage)).await?;
        let payment = Payment {
            from: key("payer"),
            to: deposit_account(stage)?,
            asset: usdc(stage)?,
            amount,
        };
        let sequence = sequence(stage, &payment.from).await? + 1;
        let passphrase = stage.setting("GRIDWAY_STELLAR_PASSPHRASE");
        let signed = sign_payment(&payment, Some(twin), sequence, i64::MAX, passphrase)?;
        land(stage, &payment.from, sequence, &signed.envelope).await
    }

    /// Sets it aside for the treasury in a claimable balance, naming a twin.
    ///
    /// # Errors
    /// When it does not land.
    pub async fn set_aside(&self, stage: &Stage, twin: u64, amount: i64) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.made.get_or_try_init(|| make(stage)).await?;
        let aside = SetAside {
            from: key("payer"),
            claimants: vec![(deposit_account(stage)?, Predicate::Unconditional)],
            asset: PathAsset::Credit(usdc(stage)?),
            amount,
        };
        let sequence = sequence(stage, &aside.from).await? + 1;
        let passphrase = stage.setting("GRIDWAY_STELLAR_PASSPHRASE");
        let signed = sign_set_aside(&aside, Some(twin), sequence, i64::MAX, passphrase)?;
        land(stage, &aside.from, sequence, &signed.envelope).await
    }
}

fn deposit_account(stage: &Stage) -> Result<AccountId> {
    let account = stage.setting("GRIDWAY_DEPOSIT_ACCOUNT").parse();
    account.context("the deposit account")
}

async fn sequence(stage: &Stage, key: &SecretKey) -> Result<i64> {
    let path = format!("/accounts/{}", key.account());
    let account = stage.look(HORIZON, &path).await?;
    let number = account["sequence"].as_str().context("a sequence")?;
    Ok(number.parse()?)
}

/// Sends it until its number is taken; the ledger takes a number once.
async fn land(stage: &Stage, key: &SecretKey, number: i64, envelope: &str) -> Result<()> {
    let until = Instant::now() + LANDS_WITHIN;
    loop {
        let sent = stage
            .calm
            .post(stage.url(HORIZON, "/transactions"))
            .form(&[("tx", envelope)])
            .send()
            .await;
        drop(sent);
        if sequence(stage, key).await? >= number {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("a payment of {} does not land", key.account());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Makes the account and fills its purse.
async fn make(stage: &Stage) -> Result<()> {
    let (issuer, payer) = (key("usdc issuer"), key("payer"));
    let operations = [
        SetupOperation::CreateAccount {
            account: payer.account(),
            balance: 100 * 10_000_000,
        },
        SetupOperation::Trust {
            account: payer.clone(),
            asset: usdc(stage)?,
        },
        SetupOperation::Pay(Payment {
            from: issuer.clone(),
            to: payer.account(),
            asset: usdc(stage)?,
            amount: PURSE,
        }),
    ];
    let number = sequence(stage, &issuer).await? + 1;
    let passphrase = stage.setting("GRIDWAY_STELLAR_PASSPHRASE");
    let signed = sign_setup(&issuer, number, &operations, i64::MAX, passphrase)?;
    land(stage, &issuer, number, &signed.envelope).await
}
