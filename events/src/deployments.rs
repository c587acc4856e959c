//! Events of the `deployments` topic, keyed by user id, because a user's chain account is one queue.

mod balances;
mod chain;
mod workloads;

pub use crate::dead_letters::DeadLetterReleased;
use crate::ids::{BatchId, ContractId, DeploymentId, EventId, NodeId, PurchaseId, TwinId, UserId};
use crate::money::{Amount, Tft};
use crate::schema::event_set;
use crate::time::Timestamp;
pub use balances::{UserBalanceAssessed, UserBalanceObserved, UserBalanceRequested};
pub use chain::{
    ContractAppeared, ContractBilled, ContractCancelledByChain, ContractUpdatedByOther,
    GracePeriodEnded, GracePeriodStarted,
};
use serde::{Deserialize, Serialize};
pub use workloads::{WorkloadDelivered, WorkloadFailed, WorkloadRunning};

event_set! {
    /// Any event of the `deployments` topic.
    DeploymentEvent, "deployments", [
        DeploymentRequested,
        FundsArrived,
        PurchaseEnded,
        ContractRequested,
        DeploymentCreated,
        ContractFailed,
        DeploymentFailed,
        DeploymentUpdateRequested,
        ContractUpdateRequested,
        ContractUpdated,
        DeploymentUpdateRejected,
        DeploymentUpdateFailed,
        DeploymentCancelRequested,
        ContractCancelRequested,
        ContractCancelled,
        DeploymentCancelFailed,
        DeploymentCancelled,
        BatchRequested,
        BatchContractsRequested,
        BatchCreated,
        BatchFailed,
        ContractAppeared,
        ContractBilled,
        GracePeriodStarted,
        GracePeriodEnded,
        ContractCancelledByChain,
        ContractUpdatedByOther,
        WorkloadDelivered,
        WorkloadRunning,
        WorkloadFailed,
        UserBalanceRequested,
        UserBalanceObserved,
        UserBalanceAssessed,
        TimerFired,
        DeadLetterReleased,
    ]
}

/// A person wants a workload on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRequested {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// Whose chain account signs; also the record key.
    pub user_id: UserId,
    /// The twin on TFChain.
    pub twin_id: TwinId,
    /// The node on TFChain.
    pub node_id: NodeId,
    /// Version of the workload, 1 for the first.
    pub version: i32,
    /// At most 512 bytes, kept on chain.
    pub data: String,
    /// Hash of id, version and data, 64 hex digits; unique per node.
    pub hash: String,
    /// Public ips.
    pub public_ips: i32,
    /// Solution provider.
    pub solution_provider: Option<i64>,
    /// Nothing is done before the TFT of this purchase arrived.
    pub waits_for: Option<PurchaseId>,
    /// What the account must hold. In 10^-7 units.
    pub minimum_balance: Amount<Tft>,
    /// Requested at.
    pub requested_at: Timestamp,
    /// A workload on a node, a name, or a whole node.
    pub kind: DeploymentKind,
    /// The name, of a name.
    pub name: Option<String>,
}

/// Kinds of deployments, each with a kind of contract of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeploymentKind {
    /// A workload on a node.
    Node,
    /// A name for the grid's gateways.
    Name,
    /// A whole node.
    Rent,
}

/// TFT of a purchase arrived at the account of the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundsArrived {
    /// The user.
    pub user_id: UserId,
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// In 10^-7 units.
    pub amount: Amount<Tft>,
    /// TFChain block of the mint.
    pub block: i64,
}

/// A purchase that a deployment may wait for ended without TFT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseEnded {
    /// The user.
    pub user_id: UserId,
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// A sentence for people.
    pub detail: String,
}

/// A node contract is to be created on TFChain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractRequested {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user.
    pub user_id: UserId,
    /// The twin on TFChain.
    pub twin_id: TwinId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// The node on TFChain.
    pub node_id: NodeId,
    /// Version.
    pub version: i32,
    /// Hash.
    pub hash: String,
    /// Data.
    pub data: String,
    /// Public ips.
    pub public_ips: i32,
    /// Solution provider.
    pub solution_provider: Option<i64>,
    /// In 10^-7 units.
    pub minimum_balance: Amount<Tft>,
    /// After this the attempt is over.
    pub deadline: Timestamp,
    /// A workload on a node, a name, or a whole node.
    pub kind: DeploymentKind,
    /// The name, of a name.
    pub name: Option<String>,
    /// Contracts of the twin with this number or a lower one belong to earlier deployments.
    pub above: i64,
}

/// The contract is in a finalized block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentCreated {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user.
    pub user_id: UserId,
    /// The request that this answers.
    pub request_id: EventId,
    /// The node on TFChain.
    pub node_id: NodeId,
    /// Contract id.
    pub contract_id: ContractId,
    /// Hash.
    pub hash: String,
    /// Hash, hex; empty when the contract was found by its state.
    pub extrinsic: String,
    /// TFChain block, finalized.
    pub block: i64,
}

/// What this attempt was to do with a contract did not happen and never will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractFailed {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user.
    pub user_id: UserId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Dispatch error by name, or never_will.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// What was to be done.
    pub operation: Operation,
}

/// What is done with a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operation {
    /// It is created.
    Create,
    /// It gets another workload.
    Update,
    /// It is cancelled.
    Cancel,
}

/// The deployment is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentFailed {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user.
    pub user_id: UserId,
    /// Reason.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
}

/// A person wants another workload in a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentUpdateRequested {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// Version of the workload.
    pub version: i32,
    /// At most 512 bytes, kept on chain.
    pub data: String,
    /// Hash of id, version and data, 64 hex digits; unique per node.
    pub hash: String,
    /// When the command was accepted.
    pub requested_at: Timestamp,
}

/// A node contract on TFChain is to carry another workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractUpdateRequested {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The twin on TFChain.
    pub twin_id: TwinId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// The node on TFChain.
    pub node_id: NodeId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// TFChain block in which the contract is known to have existed.
    pub created_block: i64,
    /// Version of the workload.
    pub version: i32,
    /// Hash of id, version and data, 64 hex digits; unique per node.
    pub hash: String,
    /// At most 512 bytes, kept on chain.
    pub data: String,
    /// After this the attempt is over.
    pub deadline: Timestamp,
}

/// The contract carries another workload, in a finalized block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractUpdated {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The request that this answers.
    pub request_id: EventId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// Version of the workload.
    pub version: i32,
    /// Hash of id, version and data, 64 hex digits; unique per node.
    pub hash: String,
    /// Hash, hex; empty when it is known by the chain's state alone.
    pub extrinsic: String,
    /// TFChain block, finalized.
    pub block: i64,
}

/// An update was not tried: the deployment has ended, or the version is not above the latest one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentUpdateRejected {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// Version of the workload.
    pub version: i32,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
}

/// An update is given up; the deployment goes on as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentUpdateFailed {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// Version of the workload.
    pub version: i32,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
}

/// A person wants a deployment to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentCancelRequested {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// When the command was accepted.
    pub requested_at: Timestamp,
}

/// A contract on TFChain is to be cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractCancelRequested {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The twin on TFChain.
    pub twin_id: TwinId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// TFChain block in which the contract is known to have existed.
    pub created_block: i64,
    /// After this the attempt is over.
    pub deadline: Timestamp,
}

/// The contract is no more, in a finalized block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractCancelled {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The request that this answers.
    pub request_id: EventId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// Hash, hex; empty when it is known by the chain's state alone.
    pub extrinsic: String,
    /// TFChain block, finalized.
    pub block: i64,
}

/// Cancelling is given up; the deployment goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentCancelFailed {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
}

/// The deployment has ended; nothing makes it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentCancelled {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The contract that it had; null where there was none.
    pub contract_id: Option<ContractId>,
    /// by_user, or by_chain when others ended the contract.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
}

/// One deployment of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchMember {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// A workload on a node, a name, or a whole node.
    pub kind: DeploymentKind,
    /// The node on TFChain; 0 for a name.
    pub node_id: NodeId,
    /// The name, of a name.
    pub name: Option<String>,
    /// Version of the workload.
    pub version: i32,
    /// At most 512 bytes, kept on chain.
    pub data: String,
    /// Hash of id, version and data, 64 hex digits; unique per node.
    pub hash: String,
    /// Public ips.
    pub public_ips: i32,
    /// Solution provider.
    pub solution_provider: Option<i64>,
    /// Contracts of the twin with this number or a lower one belong to earlier deployments.
    pub above: i64,
}

/// A person wants several deployments, all or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRequested {
    /// The batch.
    pub batch_id: BatchId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The twin on TFChain.
    pub twin_id: TwinId,
    /// Its deployments.
    pub members: Vec<BatchMember>,
    /// Nothing is done before the TFT of this purchase arrived.
    pub waits_for: Option<PurchaseId>,
    /// What the account must hold. In 10^-7 units.
    pub minimum_balance: Amount<Tft>,
    /// When the command was accepted.
    pub requested_at: Timestamp,
}

/// Contracts are to be created on TFChain by one transaction, all or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchContractsRequested {
    /// The batch.
    pub batch_id: BatchId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The twin on TFChain.
    pub twin_id: TwinId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Its deployments.
    pub members: Vec<BatchMember>,
    /// What the account must hold. In 10^-7 units.
    pub minimum_balance: Amount<Tft>,
    /// After this the attempt is over.
    pub deadline: Timestamp,
}

/// A contract of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedContract {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The node on TFChain; 0 for a name.
    pub node_id: NodeId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// Hash of id, version and data, 64 hex digits; unique per node.
    pub hash: String,
}

/// The contracts of a batch are in a finalized block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCreated {
    /// The batch.
    pub batch_id: BatchId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Its contracts.
    pub contracts: Vec<CreatedContract>,
    /// Hash, hex; empty when it is known by the chain's state alone.
    pub extrinsic: String,
    /// TFChain block, finalized.
    pub block: i64,
}

/// This attempt created no contract of the batch and never will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchFailed {
    /// The batch.
    pub batch_id: BatchId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Dispatch error by name, or never_will.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// A timer of the user's deployments became due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFired {
    /// The user.
    pub user_id: UserId,
    /// Name of the timer.
    pub timer: String,
    /// When it was due.
    pub due: Timestamp,
}
