//! The client: Horizon over our own transport. Requests are made by `stellar-horizon`'s builders;
//! records are decoded one by one from raw JSON.

use crate::fees::{FeeStats, Fees};
use crate::find::{self, LaneReads};
use crate::ids::{AccountId, AssetId, PathAsset};
use crate::port::{
    AccountView, LandedTransaction, PaymentsPage, QuoteError, ReadError, Stellar,
    StrictReceiveQuote, TransactionView,
};
use crate::records::{self, TransactionsPage};
use crate::signing::SignedTransaction;
use crate::submit::{self, Ledgers};
use async_trait::async_trait;
use events::money::{Amount, Tft, Usdc};
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use stellar_base::amount::Stroops;
use stellar_base::asset::{Asset, CreditAsset};
use stellar_horizon::api::{self, Join};
use stellar_horizon::request::{Order, PageRequest, Request};
use url::Url;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Where Horizon is and how long it may take.
#[derive(Debug, Clone)]
pub struct StellarConfig {
    /// Base URL.
    pub horizon_url: String,
    /// Passphrase of the network.
    pub passphrase: String,
    /// For a submission. Horizon itself answers 504 after about 30 s; more than 40 s is sensible.
    pub submit_timeout: Duration,
    /// For anything else.
    pub read_timeout: Duration,
}

impl StellarConfig {
    /// With 45 s for a submission and 15 s for a read.
    #[must_use]
    pub fn new(horizon_url: &str, passphrase: &str) -> Self {
        Self {
            horizon_url: horizon_url.to_owned(),
            passphrase: passphrase.to_owned(),
            submit_timeout: Duration::from_secs(45),
            read_timeout: Duration::from_secs(15),
        }
    }
}

/// No client can be made of this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL is not one.
    #[error("the Horizon URL {0:?} is not an absolute http or https URL without a query")]
    Url(String),
    /// A timeout is zero.
    #[error("the timeouts of Horizon must be above zero")]
    Timeout,
    /// No HTTP client can be made.
    #[error("no HTTP client can be made: {0}")]
    Http(#[from] reqwest::Error),
}

/// Horizon. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct HorizonClient {
    pub(crate) http: reqwest::Client,
    pub(crate) base: Url,
    pub(crate) submit_timeout: Duration,
    read_timeout: Duration,
    pub(crate) fees: Option<Arc<Fees>>,
    pub(crate) ledgers: Arc<Ledgers>,
}

fn unreachable(error: reqwest::Error) -> ReadError {
    ReadError::Unreachable(described(error))
}

/// The error with its causes; reqwest itself only says "error sending request".
pub(crate) fn described(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

impl HorizonClient {
    /// A client. No request is sent.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: &StellarConfig) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::Url(config.horizon_url.clone());
        // A trailing slash, or joining would replace the last part of the path.
        let text = format!("{}/", config.horizon_url.trim().trim_end_matches('/'));
        let base = Url::parse(&text).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https")
            || !base.has_host()
            || base.query().is_some()
            || base.fragment().is_some()
        {
            return Err(wrong());
        }
        if config.submit_timeout.is_zero() || config.read_timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        let http = reqwest::Client::builder()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(Self {
            http,
            base,
            submit_timeout: config.submit_timeout,
            read_timeout: config.read_timeout,
            fees: None,
            ledgers: Arc::default(),
        })
    }

    /// The same, raising fees when ledgers are full.
    #[must_use]
    pub fn with_fees(self, fees: Fees) -> Self {
        Self {
            fees: Some(Arc::new(fees)),
            ..self
        }
    }

    async fn fee_stats(&self) -> Result<FeeStats, ReadError> {
        let url = self
            .base
            .join("fee_stats")
            .map_err(|e| ReadError::Malformed(e.to_string()))?;
        let missing = || ReadError::Malformed("no fee statistics".to_owned());
        let (answer, _) = self.fetch(url.as_str()).await?.ok_or_else(missing)?;
        FeeStats::read(&answer)
    }

    pub(crate) async fn statistics(&self, fees: &Fees) -> Option<FeeStats> {
        fees.statistics(|| self.fee_stats()).await
    }

    /// The JSON that a request gives and the `Latest-Ledger` of the answer (0: not said); `None` for 404.
    async fn get<R: Request>(&self, request: &R) -> Result<Option<(Value, u32)>, ReadError> {
        let url = request
            .uri(&self.base)
            .map_err(|e| ReadError::Malformed(e.to_string()))?;
        self.fetch(url.as_str()).await
    }

    /// As [`HorizonClient::get`], of an address.
    async fn fetch(&self, url: &str) -> Result<Option<(Value, u32)>, ReadError> {
        let answer = self
            .http
            .get(url)
            .timeout(self.read_timeout)
            .send()
            .await
            .map_err(unreachable)?;
        let status = answer.status();
        if status.as_u16() == 404 {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(ReadError::Unreachable(format!("HTTP {status}")));
        }
        let ledger = latest_ledger(answer.headers());
        let bytes = answer.bytes().await.map_err(unreachable)?;
        let value =
            serde_json::from_slice(&bytes).map_err(|e| ReadError::Malformed(e.to_string()))?;
        Ok(Some((value, ledger)))
    }
}

fn latest_ledger(headers: &HeaderMap) -> u32 {
    headers
        .get("latest-ledger")
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok())
        .unwrap_or_default()
}

fn stellar_asset(asset: &AssetId) -> Result<CreditAsset, QuoteError> {
    let unavailable = |_| QuoteError::Unavailable(format!("{asset} is no asset"));
    let issuer = asset
        .issuer
        .public_key()
        .map_err(|_| QuoteError::Unavailable(format!("{asset} has no issuer")))?;
    CreditAsset::new(asset.code.clone(), issuer).map_err(unavailable)
}

impl LaneReads for HorizonClient {
    async fn lane(&self, lane: &AccountId) -> Result<Option<AccountView>, ReadError> {
        self.account(lane).await
    }

    async fn last_ledger(&self) -> Result<(u32, Timestamp), ReadError> {
        self.latest_ledger().await
    }

    async fn transactions_desc(
        &self,
        account: &AccountId,
        cursor: Option<&str>,
        limit: u64,
    ) -> Result<TransactionsPage, ReadError> {
        let key = account
            .public_key()
            .map_err(|e| ReadError::Malformed(e.to_string()))?;
        let mut request = api::transactions::for_account(&key)
            .with_include_failed(true)
            .with_order(&Order::Descending)
            .with_limit(limit);
        if let Some(cursor) = cursor {
            request = request.with_cursor(cursor);
        }
        let Some((page, _)) = self.get(&request).await? else {
            return Err(ReadError::Malformed(
                "an account without a list of transactions".to_owned(),
            ));
        };
        records::transactions(&page)
    }

    async fn shows_creation(&self, account: &AccountId) -> Result<bool, ReadError> {
        let key = account
            .public_key()
            .map_err(|e| ReadError::Malformed(e.to_string()))?;
        let request = api::payments::for_account(&key)
            .with_order(&Order::Ascending)
            .with_limit(1);
        match self.get(&request).await? {
            Some((page, _)) => records::begins_with_creation(&page, account),
            None => Ok(false),
        }
    }
}

#[async_trait]
impl Stellar for HorizonClient {
    async fn submit(&self, transaction: &SignedTransaction) -> Attempt<LandedTransaction> {
        submit::submit(self, transaction).await
    }

    async fn find(&self, transaction: &SignedTransaction) -> Find<LandedTransaction> {
        match find::find(self, transaction).await {
            Ok(found) => found,
            Err(error) => Find::NoAnswer(error.to_string()),
        }
    }

    async fn quote_strict_receive(
        &self,
        send: &AssetId,
        receive: &AssetId,
        wanted: Amount<Tft>,
    ) -> Result<StrictReceiveQuote, QuoteError> {
        let unavailable = |e: ReadError| QuoteError::Unavailable(e.to_string());
        let request = api::aggregations::paths_strict_receive(
            vec![stellar_asset(send)?],
            Asset::Credit(stellar_asset(receive)?),
            Stroops::new(wanted.minor()),
        )
        .map_err(|e| QuoteError::Unavailable(e.to_string()))?;
        let Some((page, ledger)) = self.get(&request).await.map_err(unavailable)? else {
            return Err(QuoteError::Unavailable(
                "there are no paths at this address: HTTP 404".to_owned(),
            ));
        };
        let mut best: Option<StrictReceiveQuote> = None;
        for record in records::records(&page).map_err(unavailable)? {
            // The same code of another issuer is another asset.
            let of_ours = records::asset(record, "source_")
                .is_ok_and(|a| a == PathAsset::Credit(send.clone()))
                && records::asset(record, "destination_")
                    .is_ok_and(|a| a == PathAsset::Credit(receive.clone()))
                && records::amount(record, "destination_amount").is_ok_and(|n| n == wanted.minor());
            let cost = records::amount(record, "source_amount")
                .ok()
                .and_then(|n| Amount::<Usdc>::from_minor(n).ok());
            let path = record["path"].as_array().map(|p| {
                p.iter()
                    .map(|a| records::asset(a, ""))
                    .collect::<Result<Vec<_>, _>>()
            });
            let (true, Some(source_amount), Some(Ok(path))) = (of_ours, cost, path) else {
                continue;
            };
            if best
                .as_ref()
                .is_none_or(|b| source_amount < b.source_amount)
            {
                best = Some(StrictReceiveQuote {
                    source_amount,
                    path,
                    ledger,
                });
            }
        }
        best.ok_or(QuoteError::NoPath)
    }

    async fn account(&self, account: &AccountId) -> Result<Option<AccountView>, ReadError> {
        let key = account
            .public_key()
            .map_err(|e| ReadError::Malformed(e.to_string()))?;
        match self.get(&api::accounts::single(&key)).await? {
            Some((record, ledger)) => records::account(&record, ledger).map(Some),
            None => Ok(None),
        }
    }

    async fn transaction(&self, hash: &str) -> Result<Option<TransactionView>, ReadError> {
        match self.get(&api::transactions::single(hash)).await? {
            Some((record, _)) => records::transaction(&record).map(Some),
            None => Ok(None),
        }
    }

    async fn latest_ledger(&self) -> Result<(u32, Timestamp), ReadError> {
        let none = || ReadError::Malformed("no ledgers".to_owned());
        let request = api::ledgers::all()
            .with_order(&Order::Descending)
            .with_limit(1);
        let (page, _) = self.get(&request).await?.ok_or_else(none)?;
        let record = records::records(&page)?.first().ok_or_else(none)?;
        Ok((
            records::ledger_number(record, "sequence")?,
            records::time(record, "closed_at")?,
        ))
    }

    async fn payments_after(
        &self,
        account: &AccountId,
        cursor: Option<&str>,
        limit: u8,
    ) -> Result<PaymentsPage, ReadError> {
        let key = account
            .public_key()
            .map_err(|e| ReadError::Malformed(e.to_string()))?;
        let limit = limit.clamp(1, 200);
        // Not the list of payments, which leaves claimable balances out.
        let mut request = api::operations::for_account(&key)
            .with_join(Join::Transactions)
            .with_order(&Order::Ascending)
            .with_limit(u64::from(limit));
        if let Some(cursor) = cursor {
            request = request.with_cursor(cursor);
        }
        let Some((page, _)) = self.get(&request).await? else {
            return Err(ReadError::Malformed(format!(
                "there is no account {account}"
            )));
        };
        records::payments(&page, account, cursor, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_url_makes_a_client() {
        for wrong in ["", "horizon", "ftp://x", "http://x/?a=b", "http://"] {
            let made = HorizonClient::new(&StellarConfig::new(wrong, "p"));
            assert!(matches!(made, Err(ConfigError::Url(_))), "{wrong}");
        }
        for right in ["http://127.0.0.1:8000", "https://horizon.example/api/"] {
            assert!(
                HorizonClient::new(&StellarConfig::new(right, "p")).is_ok(),
                "{right}"
            );
        }
        let config = StellarConfig {
            read_timeout: Duration::ZERO,
            ..StellarConfig::new("http://x", "p")
        };
        assert!(matches!(
            HorizonClient::new(&config),
            Err(ConfigError::Timeout)
        ));
    }
}
