//! The client: reading at finalized blocks, signing, submitting, waiting for what is final.

use crate::activations::Activations;
use crate::blocks::{Body, Ended, hash_of};
use crate::keys::{ActivatorKey, ChainKey};
use crate::node::{NodeClient, View, Way, malformed, told, unreachable};
use crate::outcome::Answer;
use crate::port::{
    BatchPlan, Block, BlockRef, CancelPlan, ContractPlan, ContractProof, OwnershipProof, ReadError,
    Tfchain, TwinPlan, TwinProof, UpdatePlan,
};
use crate::shapes::{Accepted, AccountInfo, Named};
use crate::submitted::Submitted;
use crate::traces::Traces;
use crate::wire::Connect;
use events::ids::{ContractId, EventId, TwinId};
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use subxt::Metadata;
use subxt::config::{DefaultExtrinsicParamsBuilder, SubstrateConfig};
use subxt::error::ExtrinsicError;
use subxt::ext::scale_decode::DecodeAsType;
use subxt::ext::scale_encode::EncodeAsFields;
use subxt::tx::{SubmittableTransaction, TransactionStatus};
use subxt::utils::{AccountId32, H256};
use tokio::sync::{OnceCell, OwnedMutexGuard};
use tokio::time::Instant;

/// Accounts kept in mind before those without work are forgotten.
const MANY_ACCOUNTS: usize = 1_024;
/// Blocks with their events that are kept: one serves all transactions in it.
const MANY_BODIES: usize = 64;
/// Transactions of which it is remembered where they could be.
const MANY_SUBMITTED: usize = 4_096;

/// Where the chain is.
#[derive(Debug, Clone)]
pub struct TfchainConfig {
    /// `ws://…` or `wss://…`.
    pub url: String,
    /// For one answer, and for the connection.
    pub timeout: Duration,
}

/// The settings lead nowhere.
#[derive(Debug, thiserror::Error)]
#[error("TFChain's address {0:?} is none: expected ws:// or wss://")]
pub struct InvalidConfig(String);

/// TFChain over JSON-RPC. Clones share their connection and their queues per account.
#[derive(Clone)]
pub struct TfchainClient {
    inner: Arc<Inner>,
    finality_wait: Duration,
}

/// A block that is read once, by whoever asks first.
type BodyCell = Arc<OnceCell<Arc<Body>>>;

struct Inner {
    node: NodeClient,
    in_flight: Mutex<BTreeMap<AccountId32, Arc<tokio::sync::Mutex<()>>>>,
    bodies: Mutex<VecDeque<(H256, BodyCell)>>,
    submitted: Mutex<(HashMap<EventId, Submitted>, VecDeque<EventId>)>,
    traces: tokio::sync::Mutex<Traces>,
    activations: Activations,
}

/// Everything that a decision about an account rests on, read at one finalized block.
pub(crate) struct AccountState {
    /// The chain as of that block.
    pub view: Arc<View>,
    /// The block.
    pub at: BlockRef,
    /// Next nonce.
    pub nonce: u32,
    /// May be spent.
    pub free: Amount<Tft>,
}

/// A transaction ready to be sent.
pub(crate) struct Signed {
    transaction: SubmittableTransaction<SubstrateConfig, ViewImpl>,
    hash: H256,
}

type ViewImpl = subxt::client::OnlineClientAtBlockImpl<SubstrateConfig>;

impl Signed {
    /// Its hash, 64 hex digits.
    pub(crate) fn hash(&self) -> String {
        hex::encode(self.hash.0)
    }
}

/// A transaction whose call was carried out, in a finalized block.
pub(crate) struct Executed {
    pub hash: String,
    pub body: Arc<Body>,
    pub place: u32,
}

impl Executed {
    /// The proof that it did what is wanted of this contract.
    pub(crate) fn shows(&self, contract: ContractId) -> ContractProof {
        ContractProof {
            contract,
            extrinsic_hash: self.hash.clone(),
            block: self.body.number,
        }
    }
}

impl TfchainClient {
    /// A client; connects when it is first used.
    ///
    /// # Errors
    /// When the URL is none of a WebSocket.
    pub fn new(config: &TfchainConfig) -> Result<Self, InvalidConfig> {
        let url = config.url.trim();
        let rest = url
            .strip_prefix("ws://")
            .or_else(|| url.strip_prefix("wss://"));
        if rest.is_none_or(str::is_empty) {
            return Err(InvalidConfig(config.url.clone()));
        }
        let way = Way::Socket(url.to_owned());
        Ok(Self::by(NodeClient::new(way, Vec::new(), config.timeout)))
    }

    /// A client over connections that somebody else makes. `known` are spec versions whose metadata
    /// need not be asked for; `timeout` is for one answer, and for the connection.
    #[must_use]
    pub fn over(
        connect: Arc<dyn Connect>,
        known: Vec<(u32, Arc<Metadata>)>,
        timeout: Duration,
    ) -> Self {
        Self::by(NodeClient::new(Way::Wire(connect), known, timeout))
    }

    fn by(node: NodeClient) -> Self {
        Self {
            inner: Arc::new(Inner {
                node,
                in_flight: Mutex::default(),
                bodies: Mutex::default(),
                submitted: Mutex::default(),
                traces: tokio::sync::Mutex::default(),
                activations: Activations::default(),
            }),
            finality_wait: Duration::from_secs(60),
        }
    }

    /// Changes how long a submitted transaction is waited for; 60 s unless told.
    #[must_use]
    pub const fn with_finality_wait(mut self, wait: Duration) -> Self {
        self.finality_wait = wait;
        self
    }

    pub(crate) fn node(&self) -> &NodeClient {
        &self.inner.node
    }

    pub(crate) fn traces(&self) -> &tokio::sync::Mutex<Traces> {
        &self.inner.traces
    }

    pub(crate) fn activations(&self) -> &Activations {
        &self.inner.activations
    }

    /// Waits until no other work of this process is under way for the account. One in flight per
    /// account: the nonce admits no more, and a second one would only go stale.
    pub(crate) async fn alone(&self, account: AccountId32) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.inner.in_flight.lock();
            if turns.len() > MANY_ACCOUNTS {
                turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(turns.entry(account).or_default())
        };
        turn.lock_owned().await
    }

    /// A storage value at a view; `None` where it is absent and has no default.
    pub(crate) async fn value<Keys, Value>(
        &self,
        view: &View,
        pallet: &str,
        entry: &str,
        keys: Keys,
    ) -> Result<Option<Value>, ReadError>
    where
        Keys: subxt::ext::frame_decode::storage::IntoEncodableValues
            + subxt::ext::frame_decode::storage::IntoDecodableValues,
        Value: DecodeAsType,
    {
        let link = self.node().link().await?;
        let storage = view.storage();
        let entry = storage
            .entry(subxt::storage::dynamic::<Keys, Value>(pallet, entry))
            .map_err(malformed)?;
        let value = self.node().within(&link, entry.try_fetch(keys)).await?;
        value
            .map(|value| value.decode().map_err(malformed))
            .transpose()
    }

    /// State and nonce of the account at the finalized head.
    pub(crate) async fn account(&self, account: &AccountId32) -> Result<AccountState, ReadError> {
        let view = self.node().head().await?;
        self.account_at(view, account).await
    }

    /// State and nonce of the account at a view.
    pub(crate) async fn account_at(
        &self,
        view: Arc<View>,
        account: &AccountId32,
    ) -> Result<AccountState, ReadError> {
        let read = self.value::<_, AccountInfo>(&view, "System", "Account", (*account,));
        let (at, info) = futures::try_join!(self.node().header_of(&view), read)?;
        Ok(AccountState {
            at,
            nonce: info.as_ref().map_or(0, |info| info.nonce),
            free: tft(info.map_or(0, |info| info.data.free)),
            view,
        })
    }

    /// The account's twin at a view.
    pub(crate) async fn twin_at(
        &self,
        view: &View,
        account: &AccountId32,
    ) -> Result<Option<TwinId>, ReadError> {
        let twin = self.value::<_, u32>(view, "TfgridModule", "TwinIdByAccountID", (*account,));
        Ok(twin.await?.map(TwinId))
    }

    /// Whether the account has accepted terms, at a view.
    pub(crate) async fn accepted_at(
        &self,
        view: &View,
        account: &AccountId32,
    ) -> Result<bool, ReadError> {
        let pallet = "TfgridModule";
        let entry = "UsersTermsAndConditions";
        let accepted = self
            .value::<_, Vec<Accepted>>(view, pallet, entry, (*account,))
            .await?;
        Ok(accepted.is_some_and(|accepted| !accepted.is_empty()))
    }

    /// Signs with exactly the nonce that was read, for so many blocks from the block at which it
    /// was read. Nothing is asked of the node.
    pub(crate) fn sign<C: Named + EncodeAsFields>(
        &self,
        key: &ChainKey,
        state: &AccountState,
        period: u32,
        call: C,
    ) -> Result<Signed, ReadError> {
        self.node().verified(&state.view)?;
        let payload = subxt::tx::dynamic(C::PALLET, C::NAME, call);
        let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
            .nonce(u64::from(state.nonce))
            .mortal_from_unchecked(
                u64::from(period),
                state.view.block_number(),
                state.view.block_hash(),
            )
            .build();
        let transaction = state
            .view
            .tx()
            .create_v4_signable_offline(&payload, params)
            .and_then(|mut signable| signable.sign(key.pair()))
            .map_err(malformed)?;
        let hash = transaction.hash();
        Ok(Signed { transaction, hash })
    }

    /// Remembers, before it is sent, under which hash a request's transaction may be found.
    pub(crate) fn remember(
        &self,
        request: EventId,
        signed: &Signed,
        state: &AccountState,
        period: u32,
    ) {
        let submitted = Submitted {
            hash: signed.hash,
            nonce: state.nonce,
            birth: state.at.number,
            last: state.at.number.saturating_add(period),
        };
        let mut memory = self.inner.submitted.lock();
        let (by_request, order) = &mut *memory;
        if by_request.insert(request, submitted).is_none() {
            order.push_back(request);
        }
        while order.len() > MANY_SUBMITTED {
            if let Some(oldest) = order.pop_front() {
                by_request.remove(&oldest);
            }
        }
    }

    /// What this process sent last for a request.
    pub(crate) fn submitted(&self, request: EventId) -> Option<Submitted> {
        self.inner.submitted.lock().0.get(&request).cloned()
    }

    /// Submits and waits, for a bounded time, until it is in a finalized block.
    pub(crate) async fn submit(&self, signed: &Signed) -> Result<Executed, Answer> {
        let until = Instant::now() + self.finality_wait;
        let link = self
            .node()
            .link()
            .await
            .map_err(|e| Answer::NotConnected(e.to_string()))?;
        let submit = signed.transaction.submit_and_watch();
        let progress = tokio::time::timeout(self.node().timeout(), submit).await;
        let mut progress = match progress {
            Ok(Ok(progress)) => progress,
            Ok(Err(ExtrinsicError::ErrorSubmittingTransaction(error))) => {
                return Err(match told(&error) {
                    Some((code, detail)) => Answer::Rejected { code, detail },
                    None => Answer::NoAnswer(error.to_string()),
                });
            }
            Ok(Err(error)) => return Err(Answer::NoAnswer(error.to_string())),
            Err(_) => {
                self.node().forget(&link).await;
                return Err(Answer::NoAnswer("no answer in time".to_owned()));
            }
        };
        loop {
            let status = match tokio::time::timeout_at(until, progress.next()).await {
                Ok(Some(Ok(status))) => status,
                Ok(Some(Err(error))) => return Err(Answer::NoAnswer(error.to_string())),
                Ok(None) => return Err(Answer::NoAnswer("the watch has ended".to_owned())),
                Err(_) => return Err(Answer::NotFinalized),
            };
            match status {
                TransactionStatus::InFinalizedBlock(block) => {
                    return self.executed(block.block_hash(), signed.hash).await;
                }
                TransactionStatus::Error { .. }
                | TransactionStatus::Invalid { .. }
                | TransactionStatus::Dropped { .. } => return Err(Answer::LeftPool),
                TransactionStatus::Validated
                | TransactionStatus::Broadcasted
                | TransactionStatus::InBestBlock(_)
                | TransactionStatus::NoLongerInBestBlock => {}
            }
        }
    }

    /// What became of a transaction in a finalized block.
    async fn executed(&self, block: H256, transaction: H256) -> Result<Executed, Answer> {
        let unclear = |reason: String| Answer::NoAnswer(reason);
        let body = self.body(block).await.map_err(|e| unclear(e.to_string()))?;
        let place = body
            .place(transaction)
            .ok_or_else(|| unclear("the block does not hold the transaction".to_owned()))?;
        match body.ended(place) {
            Some(Ended::Success) => Ok(Executed {
                hash: hex::encode(transaction.0),
                body,
                place,
            }),
            Some(Ended::Failed { module, name }) => Err(Answer::Failed {
                module: module.clone(),
                name: name.clone(),
            }),
            None => Err(unclear("the block does not tell how it ended".to_owned())),
        }
    }

    /// Looks through finalized blocks for what was sent for a request. `None`: it is in none of
    /// those that could hold it up to the head.
    pub(crate) async fn look_for(
        &self,
        submitted: &Submitted,
        head: u32,
    ) -> Result<Option<Result<Executed, Answer>>, ReadError> {
        let last = submitted.last.min(head);
        for number in submitted.birth.saturating_add(1)..=last {
            let header = self.node().header(number).await?;
            let hash = hash_of(&header.hash).ok_or_else(|| malformed("a block's hash"))?;
            if self.body(hash).await?.place(submitted.hash).is_some() {
                return Ok(Some(self.executed(hash, submitted.hash).await));
            }
        }
        Ok(None)
    }

    /// A block with its events, read once for all that ask at the same time.
    pub(crate) async fn body(&self, hash: H256) -> Result<Arc<Body>, ReadError> {
        let cell = {
            let mut bodies = self.inner.bodies.lock();
            let known = bodies.iter().find(|(known, _)| *known == hash);
            if let Some((_, cell)) = known {
                Arc::clone(cell)
            } else {
                let cell = Arc::new(OnceCell::new());
                bodies.push_back((hash, Arc::clone(&cell)));
                if bodies.len() > MANY_BODIES {
                    bodies.pop_front();
                }
                cell
            }
        };
        let read = || async { self.node().body(hash).await.map(Arc::new) };
        cell.get_or_try_init(read).await.cloned()
    }
}

/// What the chain counts in 128 bits; the whole supply of TFT is far below 63.
pub(crate) fn tft(minor: u128) -> Amount<Tft> {
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
        crate::calls::find(self, plan, key).await
    }

    async fn create_contract(
        &self,
        plan: &ContractPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof> {
        crate::calls::attempt(self, plan, key, owner).await
    }

    async fn find_batch(&self, plan: &BatchPlan, key: &ChainKey) -> Find<Vec<ContractProof>> {
        crate::calls::find(self, plan, key).await
    }

    async fn create_batch(
        &self,
        plan: &BatchPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<Vec<ContractProof>> {
        crate::calls::attempt(self, plan, key, owner).await
    }

    async fn find_update(&self, plan: &UpdatePlan, key: &ChainKey) -> Find<ContractProof> {
        crate::calls::find(self, plan, key).await
    }

    async fn update_contract(
        &self,
        plan: &UpdatePlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof> {
        crate::calls::attempt(self, plan, key, owner).await
    }

    async fn find_cancel(&self, plan: &CancelPlan, key: &ChainKey) -> Find<ContractProof> {
        crate::calls::find(self, plan, key).await
    }

    async fn cancel_contract(
        &self,
        plan: &CancelPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof> {
        crate::calls::attempt(self, plan, key, owner).await
    }

    async fn finalized_head(&self) -> Result<BlockRef, ReadError> {
        let view = self.node().head().await?;
        self.node().header_of(&view).await
    }

    async fn blocks(&self, from: u32, to: u32) -> Result<Vec<Block>, ReadError> {
        let head = self.finalized_head().await?.number;
        self.node().blocks(from.max(1), to.min(head)).await
    }

    async fn wait_for_block_after(
        &self,
        number: u32,
        timeout: Duration,
    ) -> Result<BlockRef, ReadError> {
        let until = Instant::now() + timeout;
        let link = self.node().link().await?;
        let subscribe = link.rpc.chain_subscribe_finalized_heads();
        let mut heads = self.node().within(&link, subscribe).await?;
        loop {
            match tokio::time::timeout_at(until, heads.next()).await {
                Ok(Some(Ok(header))) => {
                    if header.number > u64::from(number) {
                        return self.finalized_head().await;
                    }
                }
                Ok(Some(Err(error))) => return Err(unreachable(error)),
                Ok(None) => return Err(unreachable("the stream of heads has ended")),
                Err(_) => return self.finalized_head().await,
            }
        }
    }

    async fn balance(&self, account: &AccountId32) -> Result<Amount<Tft>, ReadError> {
        self.account(account).await.map(|state| state.free)
    }

    async fn twin_of(&self, account: &AccountId32) -> Result<Option<TwinId>, ReadError> {
        let view = self.node().head().await?;
        self.twin_at(&view, account).await
    }
}
