//! The client: Horizon over our own transport. Requests are made by `stellar-horizon`'s builders;
//! records are decoded one by one from raw JSON, so that one that is strange spoils no page.

use crate::find;
use crate::ids::{AccountId, AssetId, PathAsset};
use crate::outcome::{Hint, hint};
use crate::port::{AccountView, LandedTransaction, QuoteError, ReadError, Stellar, StrictReceiveQuote, TransactionView};
use crate::signing::SignedTransaction;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use events::money::{Amount, Tft, Usdc};
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::time::Duration;
use stellar_base::xdr::{self, Limits, ReadXdr};
use stellar_horizon::api;
use stellar_horizon::request::{Order, PageRequest, Request};
use url::Url;

/// Where Horizon is and how long it may take.
#[derive(Debug, Clone)]
pub struct StellarConfig {
    /// Base URL.
    pub horizon_url: String,
    /// Passphrase of the network.
    pub passphrase: String,
    /// For a submission. Horizon itself answers 504 after about 30 s.
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
    #[error("{0:?} is not a Horizon URL")]
    Url(String),
    /// No HTTP client can be made.
    #[error("no HTTP client can be made: {0}")]
    Http(#[from] reqwest::Error),
}

/// Horizon.
#[derive(Debug, Clone)]
pub struct HorizonClient {
    http: reqwest::Client,
    base: Url,
    submit_timeout: Duration,
    read_timeout: Duration,
}

impl HorizonClient {
    /// A client. No request is sent.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: &StellarConfig) -> Result<Self, ConfigError> {
        // A trailing slash, or joining would replace the last part of the path.
        let text = format!("{}/", config.horizon_url.trim_end_matches('/'));
        let base = Url::parse(&text).map_err(|_| ConfigError::Url(config.horizon_url.clone()))?;
        let http = reqwest::Client::builder().tcp_nodelay(true).build()?;
        Ok(Self { http, base, submit_timeout: config.submit_timeout, read_timeout: config.read_timeout })
    }

    pub(crate) async fn get<R: Request>(&self, request: &R) -> Result<Option<(Value, u32)>, ReadError> {
        let url = request.uri(&self.base).map_err(|e| ReadError::Malformed(e.to_string()))?;
        self.get_url(url.as_str()).await
    }

    /// The JSON behind a URL and the `Latest-Ledger` of the answer; `None` for 404.
    async fn get_url(&self, url: &str) -> Result<Option<(Value, u32)>, ReadError> {
        let unreachable = |e: reqwest::Error| ReadError::Unreachable(e.without_url().to_string());
        let answer = self.http.get(url).timeout(self.read_timeout).send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.as_u16() == 404 {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(ReadError::Unreachable(format!("HTTP {status}")));
        }
        let ledger = latest_ledger(answer.headers());
        let bytes = answer.bytes().await.map_err(unreachable)?;
        let value = serde_json::from_slice(&bytes).map_err(|e| ReadError::Malformed(e.to_string()))?;
        Ok(Some((value, ledger)))
    }

    /// A page of the account's transactions, newest first, failed ones included.
    pub(crate) async fn transactions_desc(&self, account: &AccountId, cursor: Option<&str>) -> Result<Vec<TransactionView>, ReadError> {
        let key = account.public_key().map_err(|e| ReadError::Malformed(e.to_string()))?;
        let mut request = api::transactions::for_account(&key).with_include_failed(true).with_order(&Order::Descending).with_limit(50);
        if let Some(cursor) = cursor {
            request = request.with_cursor(cursor);
        }
        let Some((page, _)) = self.get(&request).await? else { return Ok(Vec::new()) };
        records(&page)?.iter().map(transaction_view).collect()
    }

    async fn post(&self, envelope: &str) -> Result<(u16, Value), (bool, String)> {
        let Ok(url) = self.base.join("transactions") else { return Err((true, "the URL of Horizon".to_owned())) };
        let sent = self.http.post(url).timeout(self.submit_timeout).form(&[("tx", envelope)]).send().await;
        let answer = sent.map_err(|e| (e.is_connect(), e.without_url().to_string()))?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.map_err(|e| (false, e.without_url().to_string()))?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }
}

fn latest_ledger(headers: &HeaderMap) -> u32 {
    headers.get("latest-ledger").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()).unwrap_or_default()
}

fn records(page: &Value) -> Result<&Vec<Value>, ReadError> {
    page["_embedded"]["records"].as_array().ok_or_else(|| ReadError::Malformed("a page without records".to_owned()))
}

fn text<'a>(record: &'a Value, field: &str) -> Result<&'a str, ReadError> {
    record[field].as_str().ok_or_else(|| ReadError::Malformed(format!("{field} is missing")))
}

/// Horizon writes large numbers as text, small ones as numbers.
fn number(record: &Value, field: &str) -> Result<i64, ReadError> {
    let value = &record[field];
    value
        .as_i64()
        .or_else(|| value.as_str().and_then(|t| t.parse().ok()))
        .ok_or_else(|| ReadError::Malformed(format!("{field} is no number")))
}

fn amount(record: &Value, field: &str) -> Result<i64, ReadError> {
    // Any asset of 7 decimals parses alike.
    Amount::<Usdc>::parse(text(record, field)?).map(Amount::minor).map_err(|e| ReadError::Malformed(format!("{field}: {e}")))
}

fn asset(record: &Value, prefix: &str) -> Result<PathAsset, ReadError> {
    if record[format!("{prefix}asset_type")] == "native" {
        return Ok(PathAsset::Native);
    }
    let issuer = text(record, &format!("{prefix}asset_issuer"))?;
    let issuer = issuer.parse().map_err(|_| ReadError::Malformed("an asset's issuer".to_owned()))?;
    Ok(PathAsset::Credit(AssetId { code: text(record, &format!("{prefix}asset_code"))?.to_owned(), issuer }))
}

/// Reads a transaction record.
fn transaction_view(record: &Value) -> Result<TransactionView, ReadError> {
    Ok(TransactionView {
        hash: text(record, "hash")?.to_owned(),
        inner_hash: record["inner_transaction"]["hash"].as_str().map(ToOwned::to_owned),
        source_account: text(record, "source_account")?.parse().map_err(|_| ReadError::Malformed("source_account".to_owned()))?,
        sequence: number(record, "source_account_sequence")?,
        successful: record["successful"].as_bool().ok_or_else(|| ReadError::Malformed("successful is missing".to_owned()))?,
        memo_type: record["memo_type"].as_str().unwrap_or("none").to_owned(),
        memo: record["memo"].as_str().map(ToOwned::to_owned),
        ledger: u32::try_from(number(record, "ledger")?).map_err(|_| ReadError::Malformed("ledger".to_owned()))?,
        fee_charged: number(record, "fee_charged")?,
        result: text(record, "result_xdr")?.to_owned(),
        paging_token: record["paging_token"].as_str().unwrap_or_default().to_owned(),
    })
}

/// The operation results of a transaction, whether it is a fee-bump or not.
pub(crate) fn operation_results(result: &str) -> Option<(Option<&'static str>, Vec<xdr::OperationResult>)> {
    use xdr::{InnerTransactionResultResult as Inner, TransactionResultResult as Outer};
    let bytes = STANDARD.decode(result).ok()?;
    let result = xdr::TransactionResult::from_xdr(bytes, Limits { depth: 100, len: 1_000_000 }).ok()?;
    match result.result {
        Outer::TxSuccess(results) | Outer::TxFailed(results) => Some((None, results.to_vec())),
        Outer::TxBadSeq => Some((Some("tx_bad_seq"), Vec::new())),
        Outer::TxFeeBumpInnerSuccess(pair) | Outer::TxFeeBumpInnerFailed(pair) => match pair.result.result {
            Inner::TxSuccess(results) | Inner::TxFailed(results) => Some((None, results.to_vec())),
            Inner::TxBadSeq => Some((Some("tx_bad_seq"), Vec::new())),
            other => Some((Some(other.name()), Vec::new())),
        },
        other => Some((Some(other.name()), Vec::new())),
    }
}

/// What a path payment spent and bought: the first asset's sum over the offers that it took.
fn swapped(results: &[xdr::OperationResult], sent: &xdr::Asset) -> Option<(i64, i64)> {
    let [xdr::OperationResult::OpInner(xdr::OperationResultTr::PathPaymentStrictReceive(
        xdr::PathPaymentStrictReceiveResult::Success(success),
    ))] = results
    else {
        return None;
    };
    let mut spent: i64 = 0;
    for claim in success.offers.iter() {
        let (bought, amount) = match claim {
            xdr::ClaimAtom::V0(c) => (&c.asset_bought, c.amount_bought),
            xdr::ClaimAtom::OrderBook(c) => (&c.asset_bought, c.amount_bought),
            xdr::ClaimAtom::LiquidityPool(c) => (&c.asset_bought, c.amount_bought),
        };
        if bought == sent {
            spent = spent.checked_add(amount)?;
        }
    }
    Some((spent, success.last.amount))
}

fn sent_asset(transaction: &SignedTransaction) -> Option<xdr::Asset> {
    let bytes = STANDARD.decode(&transaction.envelope).ok()?;
    let xdr::TransactionEnvelope::Tx(envelope) = xdr::TransactionEnvelope::from_xdr(bytes, Limits::none()).ok()? else { return None };
    match &envelope.tx.operations.first()?.body {
        xdr::OperationBody::PathPaymentStrictReceive(op) => Some(op.send_asset.clone()),
        _ => None,
    }
}

/// What a successful record proves about our transaction.
pub(crate) fn landed(transaction: &SignedTransaction, view: &TransactionView) -> LandedTransaction {
    let amounts = operation_results(&view.result).and_then(|(_, results)| swapped(&results, &sent_asset(transaction)?));
    LandedTransaction {
        hash: view.hash.clone(),
        ledger: view.ledger,
        lane: transaction.lane.clone(),
        sequence: transaction.sequence,
        fee_charged: view.fee_charged,
        source_amount: amounts.map(|a| a.0),
        dest_amount: amounts.map(|a| a.1),
    }
}

#[async_trait]
impl Stellar for HorizonClient {
    async fn submit(&self, transaction: &SignedTransaction) -> Attempt<LandedTransaction> {
        let (status, answer) = match self.post(&transaction.envelope).await {
            Ok(answered) => answered,
            Err((true, why)) => return Attempt::NotSent(format!("Horizon could not be reached: {why}")),
            Err((false, why)) => return Attempt::Unknown(format!("Horizon did not answer: {why}")),
        };
        let code = answer["extras"]["result_codes"]["transaction"].as_str();
        let said = || format!("HTTP {status} {}", answer["extras"]["result_codes"]);
        match hint(status, code) {
            Hint::Landed => match transaction_view(&answer) {
                Ok(view) if view.successful && view.hash == transaction.hash && view.ledger > 0 => {
                    Attempt::Landed(landed(transaction, &view))
                }
                Ok(view) => Attempt::Unknown(format!("the answer is about {}", view.hash)),
                Err(error) => Attempt::Unknown(error.to_string()),
            },
            Hint::NotSent => Attempt::NotSent(said()),
            Hint::Misconfigured => {
                tracing::error!(lane = %transaction.lane, sequence = transaction.sequence, answer = said(), "Stellar refuses what we sign: check keys, passphrase and lanes");
                Attempt::NotSent(said())
            }
            Hint::Unknown => Attempt::Unknown(said()),
        }
    }

    async fn find(&self, transaction: &SignedTransaction) -> Find<LandedTransaction> {
        match find::find(self, transaction).await {
            Ok(found) => found,
            Err(error) => Find::Pending(error.to_string()),
        }
    }

    async fn quote_strict_receive(&self, send: &AssetId, receive: &AssetId, amount_wanted: Amount<Tft>) -> Result<StrictReceiveQuote, QuoteError> {
        let kind = |code: &str| if code.len() <= 4 { "credit_alphanum4" } else { "credit_alphanum12" };
        let unavailable = |why: String| QuoteError::Unavailable(why);
        let mut url = self.base.join("paths/strict-receive").map_err(|e| unavailable(e.to_string()))?;
        url.query_pairs_mut()
            .append_pair("source_assets", &send.to_string())
            .append_pair("destination_asset_type", kind(&receive.code))
            .append_pair("destination_asset_code", &receive.code)
            .append_pair("destination_asset_issuer", receive.issuer.as_str())
            .append_pair("destination_amount", &amount_wanted.to_string());
        let read = self.get_url(url.as_str()).await.map_err(|e| unavailable(e.to_string()))?;
        let Some((page, ledger)) = read else { return Err(QuoteError::NoPath) };
        let mut best: Option<StrictReceiveQuote> = None;
        for record in records(&page).map_err(|e| unavailable(e.to_string()))? {
            // The same code of another issuer is another asset.
            let of_ours = asset(record, "source_").is_ok_and(|a| a == PathAsset::Credit(send.clone()))
                && asset(record, "destination_").is_ok_and(|a| a == PathAsset::Credit(receive.clone()));
            let cost = amount(record, "source_amount").ok().and_then(|n| Amount::<Usdc>::from_minor(n).ok());
            let path = record["path"].as_array().map(|p| p.iter().map(|a| asset(a, "")).collect::<Result<Vec<_>, _>>());
            let (true, Some(source_amount), Some(Ok(path))) = (of_ours, cost, path) else { continue };
            if best.as_ref().is_none_or(|b| source_amount < b.source_amount) {
                best = Some(StrictReceiveQuote { source_amount, path, ledger });
            }
        }
        best.ok_or(QuoteError::NoPath)
    }

    async fn account(&self, account: &AccountId) -> Result<Option<AccountView>, ReadError> {
        let key = account.public_key().map_err(|e| ReadError::Malformed(e.to_string()))?;
        let Some((record, ledger)) = self.get(&api::accounts::single(&key)).await? else { return Ok(None) };
        let mut balances = Vec::new();
        for balance in record["balances"].as_array().into_iter().flatten() {
            // Pool shares have no code and no issuer; nothing here holds any.
            if let Ok(asset) = asset(balance, "") {
                balances.push((asset, amount(balance, "balance")?));
            }
        }
        Ok(Some(AccountView { sequence: number(&record, "sequence")?, balances, ledger }))
    }

    async fn transaction(&self, hash: &str) -> Result<Option<TransactionView>, ReadError> {
        match self.get(&api::transactions::single(hash)).await? {
            Some((record, _)) => transaction_view(&record).map(Some),
            None => Ok(None),
        }
    }

    async fn latest_ledger(&self) -> Result<(u32, Timestamp), ReadError> {
        let request = api::ledgers::all().with_order(&Order::Descending).with_limit(1);
        let Some((page, _)) = self.get(&request).await? else { return Err(ReadError::Malformed("no ledgers".to_owned())) };
        let record = records(&page)?.first().ok_or_else(|| ReadError::Malformed("no ledgers".to_owned()))?;
        let closed = Timestamp::parse(text(record, "closed_at")?).ok_or_else(|| ReadError::Malformed("closed_at".to_owned()))?;
        let sequence = u32::try_from(number(record, "sequence")?).map_err(|_| ReadError::Malformed("sequence".to_owned()))?;
        Ok((sequence, closed))
    }
}
