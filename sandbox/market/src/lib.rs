//! Makes the market of the sandbox on a fresh Stellar network: issuers, a market maker with a
//! book of offers, the treasury, and the account of the TFChain bridge.
//!
//! All keys derive from the roles' names: they are worth nothing, and the same in every sandbox.

use counterparties_stellar::opening::{OpeningError, run_setup};
use counterparties_stellar::{
    AssetId, ConfigError, HorizonClient, PathAsset, Payment, ReadError, SecretKey, SetupOperation,
    Stellar, StellarConfig,
};
use events::money::UNIT;
use sha2::{Digest, Sha256};

/// Levels of the maker's book: TFT offered, and the price in USDC as a ratio.
const BOOK: [(i64, (i32, i32)); 5] = [
    (1_000_000, (200, 10_000)),
    (1_500_000, (201, 10_000)),
    (2_000_000, (203, 10_000)),
    (2_500_000, (207, 10_000)),
    (3_000_000, (215, 10_000)),
];

/// The market. It holds secrets, so it does not show itself.
#[derive(Clone)]
pub struct Market {
    /// The USDC that is spent.
    pub usdc: AssetId,
    /// The TFT that is bought.
    pub tft: AssetId,
    /// Secret key of the treasury, `S…`.
    pub treasury_secret: String,
    /// The treasury's account, `G…`; deposits are paid to it, too.
    pub treasury_address: String,
    /// The accounts that filled it.
    pub funders: Vec<String>,
    /// Secret key of the bridge's account, `S…`.
    pub bridge_secret: String,
    /// The bridge's account, `G…`.
    pub bridge_address: String,
    /// Seed of the lanes, 64 hex digits.
    pub lane_seed: String,
}

/// Why there is no market.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// The URL is not one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Horizon does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A transaction did not land.
    #[error(transparent)]
    Setup(#[from] OpeningError),
}

fn seed_of(role: &str) -> [u8; 32] {
    Sha256::digest(format!("gridway sandbox {role}")).into()
}

fn key(role: &str) -> SecretKey {
    SecretKey::from_seed(&seed_of(role))
}

impl Market {
    /// The market as JSON, secrets included.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "usdc": self.usdc.to_string(),
            "tft": self.tft.to_string(),
            "treasury_secret": self.treasury_secret,
            "treasury_address": self.treasury_address,
            "funders": self.funders,
            "bridge_secret": self.bridge_secret,
            "bridge_address": self.bridge_address,
            "lane_seed": self.lane_seed,
        })
    }
}

/// Makes the market; where it stands already, nothing is changed. Where it was interrupted, the
/// rest is made.
///
/// # Errors
/// [`MarketError`].
pub async fn seed(horizon_url: &str, passphrase: &str) -> Result<Market, MarketError> {
    let stellar = HorizonClient::new(&StellarConfig::new(horizon_url, passphrase))?;
    let root = SecretKey::from_seed(&Sha256::digest(passphrase).into());
    let (issuer, tft_issuer, maker, treasury, bridge) = (
        key("usdc issuer"),
        key("tft issuer"),
        key("maker"),
        key("treasury"),
        key("bridge"),
    );
    let usdc = AssetId {
        code: "USDC".to_owned(),
        issuer: issuer.account(),
    };
    let tft = AssetId {
        code: "TFT".to_owned(),
        issuer: tft_issuer.account(),
    };
    let market = Market {
        usdc: usdc.clone(),
        tft: tft.clone(),
        treasury_secret: treasury.expose(),
        treasury_address: treasury.account().to_string(),
        funders: vec![root.account().to_string(), issuer.account().to_string()],
        bridge_secret: bridge.expose(),
        bridge_address: bridge.account().to_string(),
        lane_seed: hex::encode(seed_of("lanes")),
    };
    // The last step gives the treasury its USDC: where that is, all is.
    let held = async |who: &SecretKey, asset: &AssetId| {
        let view = stellar.account(&who.account()).await?;
        Ok::<i64, ReadError>(view.map_or(0, |view| view.balance(&PathAsset::Credit(asset.clone()))))
    };
    if held(&treasury, &usdc).await? > 0 {
        return Ok(market);
    }
    let create = |who: &SecretKey, lumens: i64| SetupOperation::CreateAccount {
        account: who.account(),
        balance: lumens * UNIT,
    };
    let trust = |who: &SecretKey, asset: &AssetId| SetupOperation::Trust {
        account: who.clone(),
        asset: asset.clone(),
    };
    let pay = |from: &SecretKey, to: &SecretKey, asset: &AssetId, amount: i64| {
        SetupOperation::Pay(Payment {
            from: from.clone(),
            to: to.account(),
            asset: asset.clone(),
            amount: amount * UNIT,
        })
    };
    let mut accounts = Vec::new();
    for (who, lumens) in [
        (&issuer, 1_000),
        (&tft_issuer, 1_000),
        (&maker, 10_000),
        (&treasury, 20_000),
        (&bridge, 1_000),
    ] {
        if stellar.account(&who.account()).await?.is_none() {
            accounts.push(create(who, lumens));
        }
    }
    if !accounts.is_empty() {
        run_setup(&stellar, &root, &accounts, passphrase).await?;
    }
    let trusts = [
        trust(&maker, &usdc),
        trust(&maker, &tft),
        trust(&treasury, &usdc),
        trust(&treasury, &tft),
        trust(&bridge, &tft),
    ];
    run_setup(&stellar, &maker, &trusts, passphrase).await?;
    let offered: i64 = BOOK.iter().map(|(tft, _)| tft).sum();
    let mut book = vec![pay(&tft_issuer, &maker, &tft, offered)];
    book.extend(BOOK.iter().map(|(amount, price)| SetupOperation::Sell {
        offer: 0,
        account: maker.clone(),
        selling: tft.clone(),
        buying: usdc.clone(),
        amount: amount * UNIT,
        price: *price,
    }));
    // One transaction: the maker either has TFT and all offers, or neither.
    if held(&maker, &tft).await? == 0 {
        run_setup(&stellar, &maker, &book, passphrase).await?;
    }
    run_setup(
        &stellar,
        &issuer,
        &[pay(&issuer, &treasury, &usdc, 1_000_000)],
        passphrase,
    )
    .await?;
    Ok(market)
}
