//! The client: reading, submitting, waiting for what is final.

use crate::keys::{ActivatorKey, ChainKey};
use crate::outcome::Answer;
use crate::port::{
    Block, BlockRef, ContractPlan, ContractProof, OwnershipProof, ReadError, Tfchain, TwinPlan,
    TwinProof,
};
use crate::protocol::{
    AccountState, BlockBody, Call, ChainInfo, Era, Event, Extrinsic, ExtrinsicStatus, Header,
    MAX_BLOCKS, RpcError, Stage, Submission,
};
use crate::runtime_events::chain_event;
use events::ids::TwinId;
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use subxt::utils::AccountId32;
use tokio::sync::{OnceCell, OwnedMutexGuard};
use tokio::time::Instant;

/// Longest time that one request is asked to wait for news.
const LONG_POLL: Duration = Duration::from_secs(20);
/// Accounts kept in mind before those without work are forgotten.
const MANY_ACCOUNTS: usize = 1_024;

/// Where the chain is.
#[derive(Debug, Clone)]
pub struct TfchainConfig {
    /// Base URL.
    pub url: String,
    /// For one request, besides the time that it is asked to wait.
    pub timeout: Duration,
}

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for TFChain cannot be set up: {0}")]
pub struct InvalidConfig(String);

/// TFChain over HTTP. Clones share their connections and their queues per account.
#[derive(Clone)]
pub struct TfchainClient {
    http: reqwest::Client,
    base: Arc<str>,
    timeout: Duration,
    finality_wait: Duration,
    info: Arc<OnceCell<ChainInfo>>,
    in_flight: Arc<Mutex<BTreeMap<AccountId32, Arc<tokio::sync::Mutex<()>>>>>,
}

/// A transaction whose call was carried out, in a finalized block.
pub(crate) struct Executed {
    pub hash: String,
    pub block: u32,
    pub events: Vec<Event>,
}

impl TfchainClient {
    /// A client; connects when it is first used.
    ///
    /// # Errors
    /// When the URL is not one or TLS cannot be set up.
    pub fn new(config: &TfchainConfig) -> Result<Self, InvalidConfig> {
        let base = reqwest::Url::parse(&config.url).map_err(|e| InvalidConfig(e.to_string()))?;
        let http = reqwest::Client::builder()
            .tcp_nodelay(true)
            .connect_timeout(config.timeout)
            .build()
            .map_err(|e| InvalidConfig(e.to_string()))?;
        Ok(Self {
            http,
            base: base.as_str().trim_end_matches('/').into(),
            timeout: config.timeout,
            finality_wait: Duration::from_secs(60),
            info: Arc::default(),
            in_flight: Arc::default(),
        })
    }

    /// Changes how long a submitted transaction is waited for; 60 s unless told.
    #[must_use]
    pub const fn with_finality_wait(mut self, wait: Duration) -> Self {
        self.finality_wait = wait;
        self
    }

    /// Waits until no other work of this process is under way for the account. One in flight per
    /// account: the nonce admits no more, and a second one would only go stale.
    pub(crate) async fn alone(&self, account: AccountId32) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.in_flight.lock();
            if turns.len() > MANY_ACCOUNTS {
                turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(turns.entry(account).or_default())
        };
        turn.lock_owned().await
    }

    /// What does not change on this chain.
    pub(crate) async fn info(&self) -> Result<&ChainInfo, ReadError> {
        self.info
            .get_or_try_init(|| self.get("/v1/chain", &[], Duration::ZERO))
            .await
    }

    /// State and nonce of the account at one finalized block; with the contract of that node and
    /// hash when asked for.
    pub(crate) async fn account(
        &self,
        account: &AccountId32,
        contract: Option<(u32, &str)>,
    ) -> Result<AccountState, ReadError> {
        let query = contract.map_or_else(Vec::new, |(node, hash)| {
            vec![("node", node.to_string()), ("hash", hash.to_owned())]
        });
        self.get(&format!("/v1/accounts/{account}"), &query, Duration::ZERO)
            .await
    }

    pub(crate) async fn header(&self, number: u32) -> Result<Header, ReadError> {
        self.get(&format!("/v1/headers/{number}"), &[], Duration::ZERO)
            .await
    }

    /// Signs with exactly this nonce. `birth` is the finalized block at which it was read.
    pub(crate) async fn sign(
        &self,
        key: &ChainKey,
        nonce: u32,
        era: Era,
        birth: &Header,
        call: Call,
    ) -> Result<Extrinsic, ReadError> {
        let genesis = hash_bytes(&self.info().await?.genesis_hash)?;
        Ok(Extrinsic::sign(
            key,
            nonce,
            era,
            call,
            genesis,
            hash_bytes(&birth.hash)?,
        ))
    }

    /// Submits and waits, for a bounded time, until it is in a finalized block.
    pub(crate) async fn submit(&self, extrinsic: &Extrinsic) -> Result<Executed, Answer> {
        let until = Instant::now() + self.finality_wait;
        let body = Submission {
            extrinsic: hex::encode(extrinsic.encoded()),
        };
        let wait = self.finality_wait.min(LONG_POLL);
        let request = self
            .http
            .post(self.url("/v1/extrinsics", &[("wait_ms", millis(wait))]))
            .json(&body);
        let answer = request.timeout(self.timeout + wait).send().await;
        let mut status = submitted(answer).await?;
        loop {
            match status.stage {
                Stage::Finalized {
                    block,
                    error: None,
                    events,
                } => {
                    return Ok(Executed {
                        hash: status.hash,
                        block,
                        events,
                    });
                }
                Stage::Finalized {
                    error: Some(error), ..
                } => {
                    return Err(Answer::Failed {
                        module: error.module,
                        name: error.name,
                    });
                }
                Stage::Dropped => return Err(Answer::LeftPool),
                Stage::Ready | Stage::InBlock { .. } => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Answer::NotFinalized);
            }
            let wait = left.min(LONG_POLL);
            let query = [("wait_ms", millis(wait))];
            status = self
                .get(&format!("/v1/extrinsics/{}", status.hash), &query, wait)
                .await
                .map_err(|e| Answer::NoAnswer(e.to_string()))?;
        }
    }

    fn url(&self, path: &str, query: &[(&str, String)]) -> String {
        let mut url = format!("{}{path}", self.base);
        for (i, (name, value)) in query.iter().enumerate() {
            url.push(if i == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            // Numbers and hex digits alone: nothing that needs escaping.
            url.push_str(value);
        }
        url
    }

    /// `wait` is how long the request is asked to wait for news.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        wait: Duration,
    ) -> Result<T, ReadError> {
        let request = self
            .http
            .get(self.url(path, query))
            .timeout(self.timeout + wait);
        let response = request.send().await.map_err(|e| unreachable(&e))?;
        let status = response.status();
        if status.is_server_error() {
            return Err(ReadError::Unreachable(format!("{path} answered {status}")));
        }
        if !status.is_success() {
            return Err(ReadError::Malformed(format!("{path} answered {status}")));
        }
        let body = response.bytes().await.map_err(|e| unreachable(&e))?;
        serde_json::from_slice(&body).map_err(|e| ReadError::Malformed(format!("{path}: {e}")))
    }

    async fn finalized(&self, after: u32, wait: Duration) -> Result<BlockRef, ReadError> {
        let query = [("after", after.to_string()), ("wait_ms", millis(wait))];
        self.get::<Header>("/v1/finalized", &query, wait)
            .await
            .map(|header| block_ref(&header))
    }
}

/// What the node made of a submission.
async fn submitted(
    answer: Result<reqwest::Response, reqwest::Error>,
) -> Result<ExtrinsicStatus, Answer> {
    let response = match answer {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Err(Answer::NotConnected(chain_of(&error))),
        Err(error) => return Err(Answer::NoAnswer(chain_of(&error))),
    };
    let status = response.status();
    let body = response
        .bytes()
        .await
        .map_err(|e| Answer::NoAnswer(chain_of(&e)))?;
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|e| Answer::NoAnswer(format!("an answer that cannot be read: {e}")));
    }
    match serde_json::from_slice::<RpcError>(&body) {
        Ok(error) => Err(Answer::Rejected {
            code: error.code,
            detail: format!("{}: {}", error.message, error.data),
        }),
        Err(_) => Err(Answer::NoAnswer(format!("answered {status}"))),
    }
}

fn unreachable(error: &reqwest::Error) -> ReadError {
    ReadError::Unreachable(chain_of(error))
}

/// An error with its causes; reqwest's own text stops at "error sending request".
fn chain_of(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn hash_bytes(text: &str) -> Result<[u8; 32], ReadError> {
    let bytes = hex::decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| ReadError::Malformed(format!("{text:?} is not a block hash")))
}

pub(crate) fn block_ref(header: &Header) -> BlockRef {
    BlockRef {
        number: header.number,
        hash: header.hash.clone(),
        timestamp: Timestamp(header.timestamp_ms),
    }
}

/// What the chain counts in 64 bits; the whole supply of TFT is far below 63.
pub(crate) fn tft(minor: u64) -> Amount<Tft> {
    Amount::from_minor(i64::try_from(minor).unwrap_or(i64::MAX)).unwrap_or(Amount::ZERO)
}

#[async_trait::async_trait]
impl Tfchain for TfchainClient {
    async fn find_twin(&self, plan: &TwinPlan, key: &ChainKey) -> Find<TwinProof> {
        crate::twins::find(self, plan, key).await
    }

    async fn make_twin(
        &self,
        plan: &TwinPlan,
        key: &ChainKey,
        activator: &ActivatorKey,
    ) -> Attempt<TwinProof> {
        crate::twins::make(self, plan, key, activator).await
    }

    async fn find_contract(&self, plan: &ContractPlan, key: &ChainKey) -> Find<ContractProof> {
        crate::contracts::find(self, plan, key).await
    }

    async fn create_contract(
        &self,
        plan: &ContractPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof> {
        crate::contracts::create(self, plan, key, owner).await
    }

    async fn finalized_head(&self) -> Result<BlockRef, ReadError> {
        self.finalized(0, Duration::ZERO).await
    }

    async fn blocks(&self, from: u32, to: u32) -> Result<Vec<Block>, ReadError> {
        let deposit_fee = self.info().await?.deposit_fee;
        let mut blocks = Vec::new();
        let mut next = from;
        while next <= to {
            let last = to.min(next.saturating_add(MAX_BLOCKS - 1));
            let query = [("from", next.to_string()), ("to", last.to_string())];
            let page: Vec<BlockBody> = self.get("/v1/blocks", &query, Duration::ZERO).await?;
            for body in &page {
                if body.header.number != next {
                    return Err(ReadError::Malformed(format!(
                        "block {} where {next} was due",
                        body.header.number
                    )));
                }
                next += 1;
                blocks.push(block(body, deposit_fee));
            }
            if next <= last {
                break;
            }
        }
        Ok(blocks)
    }

    async fn wait_for_block_after(
        &self,
        number: u32,
        timeout: Duration,
    ) -> Result<BlockRef, ReadError> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let head = self.finalized(number, left.min(LONG_POLL)).await?;
            if head.number > number || left <= LONG_POLL {
                return Ok(head);
            }
        }
    }

    async fn balance(&self, account: &AccountId32) -> Result<Amount<Tft>, ReadError> {
        self.account(account, None)
            .await
            .map(|state| tft(state.free))
    }

    async fn twin_of(&self, account: &AccountId32) -> Result<Option<TwinId>, ReadError> {
        self.account(account, None)
            .await
            .map(|state| state.twin.map(TwinId))
    }
}

fn block(body: &BlockBody, deposit_fee: u64) -> Block {
    let header = &body.header;
    Block {
        number: header.number,
        hash: header.hash.clone(),
        timestamp: Timestamp(header.timestamp_ms),
        events: (0..)
            .zip(&body.events)
            .map(|(index, event)| chain_event(index, event, deposit_fee))
            .collect(),
    }
}
