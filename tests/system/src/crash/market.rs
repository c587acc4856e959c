//! A market that now and then has too little TFT, only a part of what is wanted, or asks more than any
//! purchase may cost.

use super::dice::Dice;
use super::stage::{HORIZON, Stage};
use anyhow::{Context, Result};
use counterparties_stellar::{AssetId, SecretKey, SetupOperation, sign_setup};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How the market is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// As it was made.
    Good,
    /// Half as dear again: above every cap.
    Dear,
    /// Nearly nothing is offered.
    Empty,
    /// Too little for a purchase, again and again: what is bought is bought in parts.
    Thin,
}

/// Ten to twenty seconds of trouble after ten to twenty good ones, until the trouble is over.
pub async fn run(stage: Arc<Stage>, dice: Dice) -> Result<()> {
    let done = swing(&stage, dice).await;
    if let Err(error) = &done {
        stage.say(&format!("market     does not change any more: {error:#}"));
    }
    done
}

async fn swing(stage: &Stage, mut dice: Dice) -> Result<()> {
    let book = Book::read(stage).await?;
    while !stage.is_over() {
        stage.pause(dice.ms(6_000, 15_000)).await;
        if stage.is_over() {
            break;
        }
        let moods = [Mood::Dear, Mood::Empty, Mood::Thin];
        let mood = dice.pick(&moods).copied().unwrap_or(Mood::Thin);
        stage.say(&format!("market     {mood:?}"));
        let until = Instant::now() + dice.ms(8_000, 26_000);
        while Instant::now() < until && !stage.is_over() {
            book.set(stage, mood).await?;
            let left = until.saturating_duration_since(Instant::now());
            stage.pause(left.min(mood.lasts())).await;
        }
        book.set(stage, Mood::Good).await?;
        stage.say("market     Good");
    }
    book.set(stage, Mood::Good).await
}

/// The maker's offers as they were.
struct Book {
    maker: SecretKey,
    offers: Vec<(i64, (i32, i32))>,
    usdc: AssetId,
    tft: AssetId,
}

/// What is offered at each price, in 10^-7 TFT: more than any run buys, and less than the maker
/// offered at first, who holds no more.
const OFFERED: i64 = 600_000 * 10_000_000;

/// What is left of each offer when there is nearly nothing: enough that the offer stays.
const LEFT: i64 = 10_000;

/// What the cheapest offer has when the books are thin: more than half of a purchase of 251 TFT.
const THIN: i64 = 150 * 10_000_000;

impl Mood {
    /// How long the offers are left as they are.
    const fn lasts(self) -> Duration {
        match self {
            // What was bought comes back.
            Self::Thin => Duration::from_millis(1_000),
            Self::Good | Self::Dear | Self::Empty => Duration::from_secs(3_600),
        }
    }
}

impl Book {
    async fn read(stage: &Stage) -> Result<Self> {
        // As `sandbox-market` derives it: worth nothing, and the same in every sandbox.
        let maker = SecretKey::from_seed(&Sha256::digest("gridway sandbox maker").into());
        let path = format!("/accounts/{}/offers?limit=50", maker.account());
        let page = stage.look(HORIZON, &path).await?;
        let records = page["_embedded"]["records"].as_array();
        let offer = |record: &Value| {
            let id = record["id"].as_str().map(str::parse).transpose();
            let number = |name: &str| {
                let n = record["price_r"][name].as_i64();
                n.and_then(|n| i32::try_from(n).ok())
            };
            let price = number("n").zip(number("d"));
            id.ok().flatten().zip(price)
        };
        let offers: Option<Vec<_>> = records.into_iter().flatten().map(offer).collect();
        Ok(Self {
            maker,
            offers: offers.context("the maker's offers")?,
            usdc: stage
                .setting("GRIDWAY_USDC_ASSET")
                .parse()
                .context("USDC")?,
            tft: stage.setting("GRIDWAY_TFT_ASSET").parse().context("TFT")?,
        })
    }

    /// Changes all offers; each keeps its id, so doing it again changes nothing.
    async fn set(&self, stage: &Stage, mood: Mood) -> Result<()> {
        let price = |(_, (n, d)): &&(i64, (i32, i32))| (i64::from(*n) << 32) / i64::from(*d);
        let cheapest = self
            .offers
            .iter()
            .min_by_key(price)
            .map(|(offer, _)| *offer);
        let sell = |(offer, (n, d)): &(i64, (i32, i32))| SetupOperation::Sell {
            offer: *offer,
            account: self.maker.clone(),
            selling: self.tft.clone(),
            buying: self.usdc.clone(),
            amount: match mood {
                Mood::Good | Mood::Dear => OFFERED,
                Mood::Thin if cheapest == Some(*offer) => THIN,
                Mood::Thin | Mood::Empty => LEFT,
            },
            price: if mood == Mood::Dear {
                (n * 3, d * 2)
            } else {
                (*n, *d)
            },
        };
        let operations: Vec<SetupOperation> = self.offers.iter().map(sell).collect();
        let path = format!("/accounts/{}", self.maker.account());
        let account = stage.look(HORIZON, &path).await?;
        let sequence: i64 = account["sequence"]
            .as_str()
            .context("the maker's sequence")?
            .parse()?;
        let signed = sign_setup(
            &self.maker,
            sequence + 1,
            &operations,
            i64::MAX,
            stage.setting("GRIDWAY_STELLAR_PASSPHRASE"),
        )?;
        let sent = stage
            .calm
            .post(stage.url(HORIZON, "/transactions"))
            .form(&[("tx", &signed.envelope)])
            .send()
            .await?;
        sent.error_for_status().context("changing the market")?;
        Ok(())
    }
}
