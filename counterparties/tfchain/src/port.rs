//! The port: what Gridway wants of TFChain, whatever carries it.

use crate::keys::{ActivatorKey, ChainKey};
use events::ids::{ContractId, DeploymentId, EventId, NodeId, TwinId, UserId};
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use std::pin::Pin;
use std::time::Duration;
use subxt::utils::AccountId32;

/// Bytes that a contract may carry (`SmartContractModule.MaxDeploymentDataLength`).
pub const MAX_DEPLOYMENT_DATA: usize = 512;

/// BLAKE2b with 32 bytes of output, Substrate's hash.
fn blake2_256(bytes: &[u8]) -> [u8; 32] {
    use blake2::Digest;
    blake2::Blake2b::<blake2::digest::consts::U32>::digest(bytes).into()
}

/// Hash of a deployment: BLAKE2b-256, in 64 hex digits, of its id, version and data.
///
/// The id is part of it, so the hash is this deployment's alone and the chain, which takes a hash
/// once per node, refuses a second contract for it.
#[must_use]
pub fn deployment_hash(deployment: &DeploymentId, version: u32, data: &str) -> String {
    let mut bytes = Vec::with_capacity(20 + data.len());
    bytes.extend_from_slice(deployment.as_bytes());
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(data.as_bytes());
    hex::encode(blake2_256(&bytes))
}

/// A twin to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinPlan {
    /// Whose twin.
    pub user: UserId,
    /// The event that asks for it.
    pub request: EventId,
    /// Unix seconds; nothing is signed that could land long after.
    pub deadline: i64,
    /// What the account gets from the activator so that it can pay the chain's fees.
    pub activation: Amount<Tft>,
}

/// A twin that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinProof {
    /// The twin.
    pub twin: TwinId,
    /// Its account, SS58.
    pub account: String,
    /// Finalized block at which it was seen.
    pub block: u32,
}

/// Kinds of contracts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContractKind {
    /// A workload on a node.
    Node,
    /// A name for the grid's gateways.
    Name(String),
    /// A whole node.
    Rent,
}

/// A contract to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractPlan {
    /// The deployment.
    pub deployment: DeploymentId,
    /// What kind of contract.
    pub kind: ContractKind,
    /// The account's contracts with this number or a lower one belong to earlier deployments: a
    /// name, or a node as a whole, may be had again.
    pub above: u64,
    /// Version of its workload.
    pub version: u32,
    /// The event that asks for it.
    pub request: EventId,
    /// When it was asked for; nothing of it can be on the chain before.
    pub requested_at: Timestamp,
    /// Whose contract; signs.
    pub user: UserId,
    /// The user's twin.
    pub twin: TwinId,
    /// The node; of no meaning for a name.
    pub node: NodeId,
    /// [`deployment_hash`], 64 hex digits; of no meaning but for a workload.
    pub hash: String,
    /// Kept on chain with a workload; at most [`MAX_DEPLOYMENT_DATA`] bytes.
    pub data: String,
    /// Public addresses to reserve.
    pub public_ips: u32,
    /// Solution provider that shares in the revenue.
    pub solution_provider: Option<u64>,
    /// Unix seconds; after it nothing of this plan is signed any more.
    pub deadline: i64,
    /// What the account must hold before the contract is created.
    pub minimum_balance: Amount<Tft>,
}

/// Contracts of one account that are to be created by one transaction: all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    /// The event that asks for them.
    pub request: EventId,
    /// When they were asked for; nothing of them can be on the chain before.
    pub requested_at: Timestamp,
    /// Unix seconds; after it nothing of this plan is signed any more.
    pub deadline: i64,
    /// What the account must hold before they are created.
    pub minimum_balance: Amount<Tft>,
    /// The contracts.
    pub members: Vec<ContractPlan>,
}

/// A node contract that is to carry another workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatePlan {
    /// The event that asks for it.
    pub request: EventId,
    /// When it was asked for; nothing of it can be on the chain before.
    pub requested_at: Timestamp,
    /// Unix seconds; after it nothing of this plan is signed any more.
    pub deadline: i64,
    /// The contract.
    pub contract: ContractId,
    /// A finalized block in which the contract existed: who has not reached it knows nothing of it.
    pub known_in: u32,
    /// The new [`deployment_hash`], 64 hex digits.
    pub hash: String,
    /// The new data; at most [`MAX_DEPLOYMENT_DATA`] bytes.
    pub data: String,
}

/// A contract of any kind that is to be cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelPlan {
    /// The event that asks for it.
    pub request: EventId,
    /// When it was asked for; nothing of it can be on the chain before.
    pub requested_at: Timestamp,
    /// Unix seconds; after it nothing of this plan is signed any more.
    pub deadline: i64,
    /// The contract.
    pub contract: ContractId,
    /// A finalized block in which the contract existed: who has not reached it knows nothing of it.
    pub known_in: u32,
}

/// What was wanted of a contract, done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractProof {
    /// The contract.
    pub contract: ContractId,
    /// Hash of the transaction that did it, hex; empty when it is known by the state alone, or the
    /// chain did it by itself.
    pub extrinsic_hash: String,
    /// Finalized block in which it was done, or seen when it is known by the state alone.
    pub block: u32,
}

/// A finalized block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRef {
    /// Height.
    pub number: u32,
    /// Hash, 64 hex digits.
    pub hash: String,
    /// The chain's own time at this block.
    pub timestamp: Timestamp,
}

/// A finalized block with its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Height.
    pub number: u32,
    /// Hash, 64 hex digits.
    pub hash: String,
    /// The chain's own time at this block.
    pub timestamp: Timestamp,
    /// In the chain's order.
    pub events: Vec<ChainEvent>,
}

/// An event of a block. `index` is its place among all events of the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainEvent {
    /// The bridge minted a deposit (`TFTBridgeModule.MintCompleted`).
    BridgeMinted {
        /// Place in the block.
        index: u32,
        /// Hash of the Stellar transaction that made the deposit, 64 hex digits.
        stellar_tx: String,
        /// Who received it, SS58.
        account: String,
        /// What arrived: the deposit less the bridge's fee.
        amount: Amount<Tft>,
    },
    /// The bridge paid a deposit back on Stellar (`TFTBridgeModule.RefundTransactionProcessed`).
    BridgeRefunded {
        /// Place in the block.
        index: u32,
        /// Hash of the Stellar transaction that made the deposit, 64 hex digits.
        stellar_tx: String,
        /// Stellar account that was paid.
        target: String,
        /// What was paid back.
        amount: Amount<Tft>,
    },
    /// A twin was made (`TfgridModule.TwinStored`).
    TwinCreated {
        /// Place in the block.
        index: u32,
        /// The twin.
        twin: TwinId,
        /// Its account, SS58.
        account: String,
    },
    /// A node contract was created (`SmartContractModule.ContractCreated`).
    ContractCreated {
        /// Place in the block.
        index: u32,
        /// The contract.
        contract: ContractId,
        /// Whose.
        twin: TwinId,
        /// Where.
        node: NodeId,
        /// Deployment hash, 64 hex digits.
        hash: String,
    },
    /// A name contract was created (`SmartContractModule.ContractCreated`).
    NameContractCreated {
        /// Place in the block.
        index: u32,
        /// The contract.
        contract: ContractId,
        /// Whose.
        twin: TwinId,
        /// The name.
        name: String,
    },
    /// A rent contract was created (`SmartContractModule.ContractCreated`).
    RentContractCreated {
        /// Place in the block.
        index: u32,
        /// The contract.
        contract: ContractId,
        /// Whose.
        twin: TwinId,
        /// The node.
        node: NodeId,
    },
    /// A node contract has another workload (`SmartContractModule.ContractUpdated`).
    ContractUpdated {
        /// Place in the block.
        index: u32,
        /// The contract.
        contract: ContractId,
        /// Its new deployment hash, 64 hex digits.
        hash: String,
    },
    /// A contract of any kind ended (`SmartContractModule.NodeContractCanceled` and the like).
    ContractCancelled {
        /// Place in the block.
        index: u32,
        /// The contract.
        contract: ContractId,
    },
    /// A contract was billed (`SmartContractModule.ContractBilled`).
    ContractBilled {
        /// Place in the block.
        index: u32,
        /// The contract.
        contract: ContractId,
        /// What was taken.
        amount: Amount<Tft>,
    },
    /// There is no money for a contract (`SmartContractModule.ContractGracePeriodStarted`).
    GracePeriodStarted {
        /// Place in the block.
        index: u32,
        /// The contract.
        contract: ContractId,
    },
    /// There is money again (`SmartContractModule.ContractGracePeriodEnded`).
    GracePeriodEnded {
        /// Place in the block.
        index: u32,
        /// The contract.
        contract: ContractId,
    },
    /// An event that Gridway has no use for, or could not read.
    Other {
        /// Place in the block.
        index: u32,
        /// Pallet and event, such as `Balances.Transfer`.
        name: String,
        /// Its fields as they came, hex.
        raw: String,
    },
}

/// The chain could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No answer, or one that says to come back later.
    #[error("TFChain cannot be reached: {0}")]
    Unreachable(String),
    /// An answer that cannot be understood.
    #[error("TFChain's answer cannot be read: {0}")]
    Malformed(String),
}

/// Proves, just before signing, that the work is still this process's to do.
pub trait OwnershipProof: Send + Sync {
    /// `true`: nobody else had it at that moment.
    fn prove(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// TFChain.
#[async_trait::async_trait]
pub trait Tfchain: Send + Sync + 'static {
    /// Looks for the twin of the account.
    async fn find_twin(&self, plan: &TwinPlan, key: &ChainKey) -> Find<TwinProof>;

    /// Walks to the twin from wherever the chain's state is: activation, accepted terms, twin.
    /// Any number of walks end at one twin.
    async fn make_twin(
        &self,
        plan: &TwinPlan,
        key: &ChainKey,
        activator: &ActivatorKey,
    ) -> Attempt<TwinProof>;

    /// Looks for the contract of the plan.
    async fn find_contract(&self, plan: &ContractPlan, key: &ChainKey) -> Find<ContractProof>;

    /// Creates the contract of the plan.
    async fn create_contract(
        &self,
        plan: &ContractPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof>;

    /// Looks for the contracts of a batch; their proofs stand in the order of the plan.
    async fn find_batch(&self, plan: &BatchPlan, key: &ChainKey) -> Find<Vec<ContractProof>>;

    /// Creates the contracts of a batch by one transaction.
    async fn create_batch(
        &self,
        plan: &BatchPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<Vec<ContractProof>>;

    /// Looks whether the contract carries the workload of the plan, or has carried it.
    async fn find_update(&self, plan: &UpdatePlan, key: &ChainKey) -> Find<ContractProof>;

    /// Gives the contract the workload of the plan.
    async fn update_contract(
        &self,
        plan: &UpdatePlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof>;

    /// Looks whether the contract is no more, whoever ended it.
    async fn find_cancel(&self, plan: &CancelPlan, key: &ChainKey) -> Find<ContractProof>;

    /// Cancels the contract.
    async fn cancel_contract(
        &self,
        plan: &CancelPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof>;

    /// The last finalized block.
    async fn finalized_head(&self) -> Result<BlockRef, ReadError>;

    /// Finalized blocks `from ..= to`, oldest first; those not finalized yet are left out.
    async fn blocks(&self, from: u32, to: u32) -> Result<Vec<Block>, ReadError>;

    /// Returns the finalized head once it is above `number`, or the head as it is when `timeout`
    /// has passed.
    async fn wait_for_block_after(
        &self,
        number: u32,
        timeout: Duration,
    ) -> Result<BlockRef, ReadError>;

    /// Free balance at the finalized head; zero for an account that does not exist.
    async fn balance(&self, account: &AccountId32) -> Result<Amount<Tft>, ReadError>;

    /// The account's twin at the finalized head.
    async fn twin_of(&self, account: &AccountId32) -> Result<Option<TwinId>, ReadError>;
}
