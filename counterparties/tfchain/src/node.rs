//! The connection to a node, and what is read over it.
//!
//! The legacy backend is asked for explicitly: public nodes and test nodes lack parts of the new
//! one. A connection that broke is made anew when it is next needed; every answer is waited for
//! within bounds.

use crate::guard::differences;
use crate::metrics;
use crate::port::{BlockRef, ReadError};
use crate::wire::{self, Connect};
use events::time::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use subxt::backend::LegacyBackend;
use subxt::client::OnlineClientAtBlock;
use subxt::config::{RpcConfigFor, SubstrateConfig};
use subxt::error::BackendError;
use subxt::ext::codec::{self, Decode};
use subxt::ext::frame_decode::storage::encode_storage_key_prefix;
use subxt::ext::jsonrpsee::core::client::Client;
use subxt::ext::jsonrpsee::ws_client::{PingConfig, WsClientBuilder};
use subxt::rpcs::RpcClient;
use subxt::rpcs::methods::LegacyRpcMethods;
use subxt::rpcs::methods::legacy::NumberOrHex;
use subxt::utils::H256;
use subxt::{Metadata, OnlineClient};

/// The chain as of one block.
pub(crate) type View = OnlineClientAtBlock<SubstrateConfig>;
type Methods = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;

/// Calls that may wait for their answers at once; the watcher asks for many blocks together.
const AT_ONCE: usize = 1_024;
/// Headers kept in mind; blocks that are final do not change.
const MANY_HEADERS: usize = 8_192;
/// A connection of which nothing is heard for so long is dead.
const SILENCE: Duration = Duration::from_secs(30);

/// A connection.
pub(crate) struct Link {
    socket: Arc<Client>,
    pub(crate) online: OnlineClient<SubstrateConfig>,
    pub(crate) rpc: Methods,
}

/// A version of the runtime, and whether Gridway knows its shapes.
struct Runtime {
    view: Arc<View>,
    differences: Arc<[String]>,
}

/// How the node is reached.
pub(crate) enum Way {
    /// By a WebSocket at `ws://…` or `wss://…`.
    Socket(String),
    /// By connections that somebody else makes.
    Wire(Arc<dyn Connect>),
}

/// Runtimes whose metadata is known before a node tells it: spec version and metadata.
pub(crate) type Runtimes = Vec<(u32, Arc<Metadata>)>;

/// The node.
pub(crate) struct NodeClient {
    way: Way,
    /// Not asked for again.
    known: Runtimes,
    timeout: Duration,
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    genesis: Mutex<Option<H256>>,
    head: Mutex<Option<(H256, Arc<View>)>>,
    runtimes: Mutex<BTreeMap<u32, Runtime>>,
    headers: Mutex<BTreeMap<u32, BlockRef>>,
}

pub(crate) fn unreachable(error: impl std::fmt::Display) -> ReadError {
    ReadError::Unreachable(error.to_string())
}

pub(crate) fn malformed(error: impl std::fmt::Display) -> ReadError {
    ReadError::Malformed(error.to_string())
}

/// Key of an entry without parameters.
fn key(pallet: &str, entry: &str) -> [u8; 32] {
    encode_storage_key_prefix(pallet, entry)
}

/// The version in the answer to `Core_version`.
#[derive(Decode)]
#[codec(crate = codec)]
struct CoreVersion {
    _spec_name: String,
    _impl_name: String,
    _authoring_version: u32,
    spec_version: u32,
}

impl NodeClient {
    pub(crate) fn new(way: Way, known: Runtimes, timeout: Duration) -> Self {
        Self {
            way,
            known,
            timeout,
            link: tokio::sync::Mutex::default(),
            genesis: Mutex::default(),
            head: Mutex::default(),
            runtimes: Mutex::default(),
            headers: Mutex::default(),
        }
    }

    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Waits for an answer within bounds; without one the connection counts as broken.
    pub(crate) async fn within<T, E: std::fmt::Display>(
        &self,
        link: &Arc<Link>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ReadError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(unreachable(error)),
            Err(_) => {
                self.forget(link).await;
                Err(ReadError::Unreachable(format!(
                    "no answer in {} ms",
                    self.timeout.as_millis()
                )))
            }
        }
    }

    /// The connection; made now when there is none that works.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, ReadError> {
        let mut current = self.link.lock().await;
        if let Some(link) = current.as_ref().filter(|link| link.socket.is_connected()) {
            return Ok(Arc::clone(link));
        }
        *current = None;
        // What was seen through the broken connection is asked through it.
        *self.head.lock() = None;
        self.runtimes.lock().clear();
        let connect = self.connect();
        let link = tokio::time::timeout(self.timeout, connect).await;
        let link = link.map_err(|_| unreachable("no connection in time"))??;
        let genesis = link.online.genesis_hash();
        let known = *self.genesis.lock().get_or_insert(genesis);
        if known != genesis {
            return Err(malformed(format!(
                "the node serves another chain: block 0 is {genesis:?}, not {known:?}"
            )));
        }
        let link = Arc::new(link);
        *current = Some(Arc::clone(&link));
        Ok(link)
    }

    async fn connect(&self) -> Result<Link, ReadError> {
        let socket = match &self.way {
            Way::Socket(url) => WsClientBuilder::default()
                .request_timeout(self.timeout)
                .connection_timeout(self.timeout)
                .max_concurrent_requests(AT_ONCE)
                .max_buffer_capacity_per_subscription(AT_ONCE)
                .enable_ws_ping(PingConfig::new().inactive_limit(SILENCE))
                .build(url)
                .await
                .map_err(unreachable)?,
            Way::Wire(connect) => {
                wire::client(connect.connect().await.map_err(unreachable)?, AT_ONCE)
            }
        };
        let socket = Arc::new(socket);
        let client = RpcClient::new(Arc::clone(&socket));
        let backend: LegacyBackend<SubstrateConfig> =
            LegacyBackend::builder().build(client.clone());
        let config = SubstrateConfig::builder()
            .set_metadata_for_spec_versions(self.known.iter().cloned())
            .build();
        let online = OnlineClient::from_backend_with_config(config, Arc::new(backend))
            .await
            .map_err(unreachable)?;
        Ok(Link {
            socket,
            online,
            rpc: LegacyRpcMethods::new(client),
        })
    }

    /// Lets go of a connection that gives no answers.
    pub(crate) async fn forget(&self, link: &Arc<Link>) {
        let mut current = self.link.lock().await;
        if current.as_ref().is_some_and(|c| Arc::ptr_eq(c, link)) {
            *current = None;
        }
    }

    /// The chain as of its finalized head.
    pub(crate) async fn head(&self) -> Result<Arc<View>, ReadError> {
        let link = self.link().await?;
        let hash = self
            .within(&link, link.rpc.chain_get_finalized_head())
            .await?;
        if let Some((known, view)) = self.head.lock().as_ref()
            && *known == hash
        {
            return Ok(Arc::clone(view));
        }
        let at = link
            .online
            .at_block(subxt::backend::BlockRef::from_hash(hash));
        let view = Arc::new(self.within(&link, at).await?);
        self.note(&view);
        *self.head.lock() = Some((hash, Arc::clone(&view)));
        Ok(view)
    }

    /// Compares shapes when the runtime is one that was not seen yet.
    fn note(&self, view: &Arc<View>) {
        let spec = view.spec_version();
        let mut runtimes = self.runtimes.lock();
        metrics::spec_version(spec);
        let differs = runtimes
            .get(&spec)
            .map(|known| !known.differences.is_empty());
        let differs = differs.unwrap_or_else(|| {
            let found = differences(view.metadata_ref());
            if found.is_empty() {
                tracing::info!(spec, "the runtime of TFChain has the shapes that are known");
            } else {
                tracing::error!(
                    spec,
                    differences = found.join("; "),
                    "the runtime of TFChain has other shapes: nothing is signed for it"
                );
            }
            let differs = !found.is_empty();
            runtimes.insert(
                spec,
                Runtime {
                    view: Arc::clone(view),
                    differences: found.into(),
                },
            );
            differs
        });
        metrics::signing_stopped(differs);
    }

    /// Says no when the runtime's shapes are not those that are known.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn verified(&self, view: &Arc<View>) -> Result<(), ReadError> {
        self.note(view);
        let runtimes = self.runtimes.lock();
        let spec = view.spec_version();
        match runtimes.get(&spec) {
            Some(known) if known.differences.is_empty() => Ok(()),
            Some(known) => Err(malformed(format!(
                "nothing is signed for spec {spec}: {}",
                known.differences.join("; ")
            ))),
            None => Err(unreachable("the connection was lost")),
        }
    }

    async fn spec_at(&self, link: &Arc<Link>, hash: H256) -> Result<u32, ReadError> {
        let call = link.rpc.state_call("Core_version", None, Some(hash));
        let bytes = self.within(link, call).await?;
        CoreVersion::decode(&mut bytes.as_slice())
            .map(|version| version.spec_version)
            .map_err(malformed)
    }

    /// A view for reading what a block holds whose *parent* has this hash and number: what a
    /// block does is done by the runtime that its parent has left.
    pub(crate) async fn runtime(
        &self,
        link: &Arc<Link>,
        parent: H256,
        number: u32,
    ) -> Result<Arc<View>, ReadError> {
        let spec = self.spec_at(link, parent).await?;
        if let Some(known) = self.runtimes.lock().get(&spec) {
            return Ok(Arc::clone(&known.view));
        }
        let at = link.online.at_block_hash_and_number(
            subxt::backend::BlockRef::from_hash(parent),
            u64::from(number),
        );
        let view = Arc::new(self.within(link, at).await?);
        self.runtimes.lock().entry(spec).or_insert_with(|| Runtime {
            differences: differences(view.metadata_ref()).into(),
            view: Arc::clone(&view),
        });
        Ok(view)
    }

    /// Hash of a block of the best chain.
    pub(crate) async fn hash(&self, link: &Arc<Link>, number: u32) -> Result<H256, ReadError> {
        let asked = link
            .rpc
            .chain_get_block_hash(Some(NumberOrHex::Number(u64::from(number))));
        self.within(link, asked)
            .await?
            .ok_or_else(|| unreachable(format!("the node has no block {number}")))
    }

    /// A value of an entry without parameters, in a block.
    async fn plain<T: Decode>(
        &self,
        link: &Arc<Link>,
        pallet: &str,
        entry: &str,
        hash: H256,
    ) -> Result<Option<T>, ReadError> {
        self.raw(link, pallet, entry, hash)
            .await?
            .map(|bytes| T::decode(&mut bytes.as_slice()).map_err(malformed))
            .transpose()
    }

    async fn raw(
        &self,
        link: &Arc<Link>,
        pallet: &str,
        entry: &str,
        hash: H256,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let key = key(pallet, entry);
        let asked = link.rpc.state_get_storage(&key, Some(hash));
        self.within(link, asked).await
    }

    /// The chain's own time at a block.
    pub(crate) async fn time(&self, link: &Arc<Link>, hash: H256) -> Result<Timestamp, ReadError> {
        let now: Option<u64> = self.plain(link, "Timestamp", "Now", hash).await?;
        Ok(Timestamp(
            i64::try_from(now.unwrap_or_default()).unwrap_or(i64::MAX),
        ))
    }

    /// All events of a block, undecoded.
    pub(crate) async fn events(&self, link: &Arc<Link>, hash: H256) -> Result<Vec<u8>, ReadError> {
        let bytes = self.raw(link, "System", "Events", hash).await?;
        Ok(bytes.unwrap_or_default())
    }

    /// What the bridge keeps of a deposit, as of a block. In 10^-7 TFT.
    pub(crate) async fn deposit_fee(&self, link: &Arc<Link>, hash: H256) -> Result<u64, ReadError> {
        let fee = self
            .plain(link, "TFTBridgeModule", "DepositFee", hash)
            .await?;
        Ok(fee.unwrap_or_default())
    }

    /// A finalized block's header.
    pub(crate) async fn header(&self, number: u32) -> Result<BlockRef, ReadError> {
        if let Some(known) = self.headers.lock().get(&number) {
            return Ok(known.clone());
        }
        let link = self.link().await?;
        let hash = self.hash(&link, number).await?;
        let header = BlockRef {
            number,
            hash: hex::encode(hash.0),
            timestamp: self.time(&link, hash).await?,
        };
        self.remember(header.clone());
        Ok(header)
    }

    /// Keeps the header of a block that is final.
    pub(crate) fn remember(&self, header: BlockRef) {
        let mut headers = self.headers.lock();
        if headers.len() >= MANY_HEADERS {
            headers.pop_first();
        }
        headers.insert(header.number, header);
    }

    /// The header of the block of a view.
    pub(crate) async fn header_of(&self, view: &View) -> Result<BlockRef, ReadError> {
        let number = u32::try_from(view.block_number()).map_err(malformed)?;
        let hash = view.block_hash();
        let text = hex::encode(hash.0);
        if let Some(known) = self.headers.lock().get(&number)
            && known.hash == text
        {
            return Ok(known.clone());
        }
        let link = self.link().await?;
        let header = BlockRef {
            number,
            hash: text,
            timestamp: self.time(&link, hash).await?,
        };
        self.remember(header.clone());
        Ok(header)
    }

    /// Time that a block normally takes, by the chain's own constant.
    pub(crate) fn block_ms(view: &View) -> Result<u64, ReadError> {
        let constant = view
            .metadata_ref()
            .pallet_by_name("Timestamp")
            .and_then(|pallet| pallet.constant_by_name("MinimumPeriod"))
            .ok_or_else(|| malformed("Timestamp.MinimumPeriod is not told"))?;
        let period = u64::decode(&mut constant.value()).map_err(malformed)?;
        Ok(period.saturating_mul(2).max(1))
    }
}

/// The code and words of an error that the node gave, or `None` when it gave none.
pub(crate) fn told(error: &BackendError) -> Option<(i32, String)> {
    match error {
        BackendError::Rpc(subxt::error::RpcError::ClientError(subxt::rpcs::Error::User(user))) => {
            let data = user
                .data
                .as_ref()
                .map(|data| data.get())
                .unwrap_or_default();
            Some((user.code, format!("{}: {data}", user.message)))
        }
        _ => None,
    }
}
