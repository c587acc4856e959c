//! The bridge: it reads the transactions of its Stellar account in order and answers each deposit
//! once, by a mint on the chain or by paying it back.
//!
//! The pages are the truth; Horizon's stream only wakes.

pub mod deposit;
mod refund;

use crate::chain::{Chain, NotMinted};
use deposit::{Asset, TransactionRecord, Verdict, verdict};
use refund::{Payer, Refund};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stellar_base::crypto::DalekKeyPair;
use stellar_base::network::Network;
use tokio::sync::{Notify, mpsc};

/// Transactions in one page; Horizon gives no more.
const PAGE: usize = 200;
/// Between two looks while the stream is up.
const IDLE: Duration = Duration::from_secs(1);
/// Between two looks without a stream.
const POLL: Duration = Duration::from_millis(5);
/// Before another try at a Horizon that does not answer.
const BACKOFF: Duration = Duration::from_millis(200);

/// Whose deposits are watched, and where.
pub struct BridgeConfig {
    /// Base URL.
    pub horizon: String,
    /// Of the Stellar network.
    pub passphrase: String,
    /// TFT as `CODE:ISSUER`.
    pub tft: String,
    /// Secret of the bridge's account, `S…`.
    pub secret: String,
}

/// A configuration that no bridge can work with.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Not `CODE:ISSUER`.
    #[error("{0:?} is no asset: expected CODE:ISSUER")]
    Asset(String),
    /// Not a secret; never shown.
    #[error("the bridge's secret is not a Stellar secret seed (S…)")]
    Secret,
    /// The HTTP client could not be set up.
    #[error("the HTTP client for Horizon cannot be set up: {0}")]
    Http(String),
}

/// The bridge.
pub struct Bridge {
    chain: Arc<Chain>,
    http: reqwest::Client,
    horizon: String,
    key: DalekKeyPair,
    network: Network,
    asset: Asset,
}

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "_embedded")]
    embedded: Embedded,
}

#[derive(Deserialize)]
struct Embedded {
    records: Vec<serde_json::Value>,
}

impl Bridge {
    /// A bridge onto this chain.
    ///
    /// # Errors
    /// [`BridgeError`].
    pub fn new(chain: Arc<Chain>, config: &BridgeConfig) -> Result<Self, BridgeError> {
        let asset =
            Asset::parse(&config.tft).ok_or_else(|| BridgeError::Asset(config.tft.clone()))?;
        let key = DalekKeyPair::from_secret_seed(config.secret.trim())
            .map_err(|_| BridgeError::Secret)?;
        let http = reqwest::Client::builder()
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(5))
            .default_headers(calm())
            .build()
            .map_err(|e| BridgeError::Http(e.to_string()))?;
        let horizon = config.horizon.trim_end_matches('/').to_owned();
        Ok(Self {
            chain,
            http,
            horizon,
            key,
            network: Network::new(config.passphrase.clone()),
            asset,
        })
    }

    /// The bridge's Stellar account, `G…`.
    #[must_use]
    pub fn address(&self) -> String {
        self.key.public_key().account_id()
    }

    /// Watches for as long as it is polled.
    pub async fn run(self) {
        let (refunds, queue) = mpsc::unbounded_channel();
        let (wake, streaming) = (Notify::new(), AtomicBool::new(false));
        let payer = Payer::new(&self);
        tokio::join!(
            self.watch(refunds, &wake, &streaming),
            self.stream(&wake, &streaming),
            payer.run(queue)
        );
    }

    async fn watch(
        &self,
        refunds: mpsc::UnboundedSender<Refund>,
        wake: &Notify,
        streaming: &AtomicBool,
    ) {
        let mut cursor = String::from("0");
        loop {
            let records = match self.page(&cursor).await {
                Ok(records) => records,
                Err(reason) => {
                    tracing::debug!(reason, "the bridge cannot read its account");
                    tokio::time::sleep(BACKOFF).await;
                    continue;
                }
            };
            for raw in &records {
                let Some(next) = raw.get("paging_token").and_then(serde_json::Value::as_str) else {
                    continue;
                };
                next.clone_into(&mut cursor);
                match TransactionRecord::deserialize(raw) {
                    Ok(record) => self.answer(&record, &refunds),
                    Err(error) => {
                        tracing::warn!(%error, "a transaction that the bridge cannot read");
                    }
                }
            }
            if records.len() < PAGE {
                let wait = if streaming.load(Ordering::Relaxed) {
                    IDLE
                } else {
                    POLL
                };
                let _ = tokio::time::timeout(wait, wake.notified()).await;
            }
        }
    }

    async fn page(&self, cursor: &str) -> Result<Vec<serde_json::Value>, String> {
        let url = format!(
            "{}/accounts/{}/transactions?order=asc&limit={PAGE}&cursor={cursor}",
            self.horizon,
            self.address()
        );
        let response = self
            .http
            .get(url)
            .timeout(Duration::from_secs(10))
            .send()
            .await
            .map_err(|e| e.to_string())?;
        let response = response.error_for_status().map_err(|e| e.to_string())?;
        response
            .json::<Page>()
            .await
            .map(|page| page.embedded.records)
            .map_err(|e| e.to_string())
    }

    fn answer(&self, record: &TransactionRecord, refunds: &mpsc::UnboundedSender<Refund>) {
        let deposit_fee = self.chain.deposit_fee();
        let refund = match verdict(record, self.key.public_key().0, &self.asset, deposit_fee) {
            Verdict::Ignore(reason) => {
                tracing::debug!(transaction = record.hash, reason, "not a deposit");
                return;
            }
            Verdict::Mint { amount, from, .. }
                if self.chain.returns(&record.hash) && !self.chain.is_answered(&record.hash) =>
            {
                tracing::info!(
                    transaction = record.hash,
                    "the validators vote to pay the deposit back"
                );
                Refund {
                    deposit: record.hash.clone(),
                    to: from,
                    amount,
                }
            }
            Verdict::Mint { twin, amount, from } => {
                match self.chain.mint(&record.hash, twin, amount) {
                    Ok(()) => {
                        tracing::debug!(transaction = record.hash, twin, amount, "minted");
                        return;
                    }
                    Err(NotMinted::Answered) => return,
                    Err(reason @ (NotMinted::NoTwin | NotMinted::TooSmall)) => {
                        tracing::info!(
                            transaction = record.hash,
                            ?reason,
                            "the deposit cannot be minted and is paid back"
                        );
                        Refund {
                            deposit: record.hash.clone(),
                            to: from,
                            amount,
                        }
                    }
                }
            }
            Verdict::Refund { to, amount, reason } => {
                tracing::info!(
                    transaction = record.hash,
                    reason,
                    "the deposit is paid back"
                );
                Refund {
                    deposit: record.hash.clone(),
                    to,
                    amount,
                }
            }
        };
        if !self.chain.is_answered(&refund.deposit) {
            let _ = refunds.send(refund);
        }
    }

    /// Keeps a stream open that wakes the watcher.
    async fn stream(&self, wake: &Notify, streaming: &AtomicBool) {
        let url = format!(
            "{}/accounts/{}/payments?cursor=now&limit={PAGE}",
            self.horizon,
            self.address()
        );
        loop {
            let request = self.http.get(&url).header("accept", "text/event-stream");
            match request.send().await {
                Ok(mut response) if is_stream(&response) => {
                    streaming.store(true, Ordering::Relaxed);
                    // Something may have come between the last page and the stream.
                    wake.notify_one();
                    while let Ok(Some(_)) = response.chunk().await {
                        wake.notify_one();
                    }
                    streaming.store(false, Ordering::Relaxed);
                    wake.notify_one();
                }
                Ok(_) | Err(_) => tokio::time::sleep(BACKOFF).await,
            }
        }
    }
}

/// The stand-in's own requests are not what faults are armed for.
fn calm() -> reqwest::header::HeaderMap {
    let name = reqwest::header::HeaderName::from_static(sandbox_kit::CALM);
    [(name, reqwest::header::HeaderValue::from_static("1"))]
        .into_iter()
        .collect()
}

fn is_stream(response: &reqwest::Response) -> bool {
    let kind = response
        .headers()
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    response.status().is_success() && kind.starts_with("text/event-stream")
}
