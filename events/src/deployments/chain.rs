//! What happens to contracts on TFChain, whoever does it.

use crate::ids::{ContractId, DeploymentId, UserId};
use crate::money::{Amount, Tft};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The contract of a deployment was seen in a finalized block before the outcome of its request was known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractAppeared {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// TFChain block, finalized.
    pub block: i64,
    /// Place of the event in the block.
    pub event_index: i32,
}

/// The chain took money for a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractBilled {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// In 10^-7 units.
    pub amount: Amount<Tft>,
    /// TFChain block, finalized.
    pub block: i64,
    /// Place of the event in the block.
    pub event_index: i32,
    /// The chain's own time at the block; absent from records older than this field.
    #[serde(default)]
    pub billed_at: Option<Timestamp>,
}

/// There is no money for a contract: the chain ends it unless there is some soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GracePeriodStarted {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// TFChain block, finalized.
    pub block: i64,
    /// Place of the event in the block.
    pub event_index: i32,
}

/// There is money for a contract again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GracePeriodEnded {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// TFChain block, finalized.
    pub block: i64,
    /// Place of the event in the block.
    pub event_index: i32,
}

/// Others than Gridway ended a contract: the chain for want of money, or its council.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractCancelledByChain {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// TFChain block, finalized.
    pub block: i64,
    /// Place of the event in the block.
    pub event_index: i32,
}

/// Others than Gridway gave a contract another workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractUpdatedByOther {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// Hash of id, version and data, 64 hex digits; unique per node.
    pub hash: String,
    /// TFChain block, finalized.
    pub block: i64,
    /// Place of the event in the block.
    pub event_index: i32,
}
