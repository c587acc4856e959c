//! What our accounts hold, read at the networks.

use counterparties_stellar::{AccountId, AssetId, PathAsset, ReadError, Stellar};
use counterparties_tfchain::{AccountId32, Tfchain};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Accounts that are asked for at a time.
const AT_A_TIME: usize = 8;
/// How long reading all of them may take; what is not read by then says so.
const READ_WITHIN: Duration = Duration::from_secs(15);
const TOO_LATE: &str = "it did not answer in time";
/// How TFT on TFChain is named; it has no issuer there.
pub const CHAIN_TFT: &str = "TFT of TFChain";

/// A lane that was ever opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The hand that owns it.
    pub executor: String,
    /// Its account, `G…`.
    pub account: String,
}

/// The least that each account should hold, in 10^-7 units; 0: whatever it holds is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thresholds {
    /// USDC of the treasury.
    pub usdc: i64,
    /// TFT of the treasury.
    pub tft: i64,
    /// Lumens of the treasury.
    pub xlm: i64,
    /// Lumens of each lane.
    pub lane_xlm: i64,
    /// TFT of the activator on TFChain.
    pub activator_tft: i64,
}

/// What is held and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Such as `treasury/USDC`; one for each account and asset.
    pub name: String,
    /// The account: `G…` on Stellar, SS58 on TFChain.
    pub account: String,
    /// `native`, `CODE:ISSUER` or [`CHAIN_TFT`].
    pub asset: String,
    /// The least that it should be, in 10^-7 units; 0: anything is enough.
    pub threshold: i64,
    /// What it is, in 10^-7 units, or why that is not known.
    pub balance: Result<i64, String>,
}

impl Holding {
    /// Whether it is known to be less than it should.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.balance
            .as_ref()
            .is_ok_and(|balance| *balance < self.threshold)
    }
}

/// Our accounts, and where they are read. Needs no key.
#[derive(Clone)]
pub struct Accounts {
    /// Stellar.
    pub stellar: Arc<dyn Stellar>,
    /// TFChain, with the account that activates users' accounts; `None`: that one is not looked at.
    pub activator: Option<(Arc<dyn Tfchain>, AccountId32)>,
    /// The treasury.
    pub treasury: AccountId,
    /// The TFChain bridge; what it holds is somebody else's, and no threshold applies.
    pub bridge: AccountId,
    /// The USDC that is spent.
    pub usdc: AssetId,
    /// The TFT that is bought.
    pub tft: AssetId,
    /// What they should hold.
    pub thresholds: Thresholds,
}

/// What is read of one account on Stellar: name, asset and threshold of each holding.
struct Wanted {
    account: String,
    holdings: Vec<(String, PathAsset, i64)>,
}

impl Accounts {
    /// Reads all of them, and the lanes. One that cannot be read says so and hides no other.
    pub async fn read(&self, lanes: &[Lane]) -> Vec<Holding> {
        let (usdc, tft) = (
            PathAsset::Credit(self.usdc.clone()),
            PathAsset::Credit(self.tft.clone()),
        );
        let limits = self.thresholds;
        let until = Instant::now() + READ_WITHIN;
        let of =
            |name: &str, asset: &PathAsset, threshold| (name.to_owned(), asset.clone(), threshold);
        let mut wanted = vec![
            Wanted {
                account: self.treasury.to_string(),
                holdings: vec![
                    of("treasury/USDC", &usdc, limits.usdc),
                    of("treasury/TFT", &tft, limits.tft),
                    of("treasury/XLM", &PathAsset::Native, limits.xlm),
                ],
            },
            Wanted {
                account: self.bridge.to_string(),
                holdings: vec![of("bridge/TFT", &tft, 0)],
            },
        ];
        wanted.extend(lanes.iter().map(|lane| Wanted {
            account: lane.account.clone(),
            holdings: vec![of(
                &format!("lane/{}/{}", lane.executor, lane.account),
                &PathAsset::Native,
                limits.lane_xlm,
            )],
        }));
        let mut read: Vec<Holding> = futures::stream::iter(wanted)
            .map(|wanted| self.on_stellar(wanted, until))
            .buffered(AT_A_TIME)
            .flat_map(futures::stream::iter)
            .collect()
            .await;
        if let Some((chain, account)) = &self.activator {
            read.push(Holding {
                name: "activator/TFT".to_owned(),
                account: account.to_string(),
                asset: CHAIN_TFT.to_owned(),
                threshold: limits.activator_tft,
                balance: match timeout_at(until, chain.balance(account)).await {
                    Ok(Ok(amount)) => Ok(amount.minor()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err(TOO_LATE.to_owned()),
                },
            });
        }
        read
    }

    async fn on_stellar(&self, wanted: Wanted, until: Instant) -> Vec<Holding> {
        let view = match wanted.account.parse::<AccountId>() {
            Ok(account) => timeout_at(until, self.stellar.account(&account))
                .await
                .unwrap_or_else(|_| Err(ReadError::Unreachable(TOO_LATE.to_owned()))),
            Err(error) => Err(ReadError::Malformed(error.to_string())),
        };
        let balance = |asset: &PathAsset| match &view {
            Ok(Some(view)) => Ok(view.balance(asset)),
            Ok(None) => Err("there is no such account".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        wanted
            .holdings
            .into_iter()
            .map(|(name, asset, threshold)| Holding {
                name,
                account: wanted.account.clone(),
                balance: balance(&asset),
                asset: asset.to_string(),
                threshold,
            })
            .collect()
    }
}
