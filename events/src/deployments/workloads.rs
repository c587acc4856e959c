//! What nodes say of workloads. A contract alone runs nothing: the node must get the workload.

use crate::ids::{ContractId, DeploymentId, NodeId, UserId};
use serde::{Deserialize, Serialize};

/// A node took a workload over its message bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadDelivered {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// The node on TFChain.
    pub node_id: NodeId,
    /// Version of the workload.
    pub version: i32,
}

/// A node says that a workload runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadRunning {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// The node on TFChain.
    pub node_id: NodeId,
    /// Version of the workload.
    pub version: i32,
}

/// A node says that it cannot run a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadFailed {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The user; also the record key.
    pub user_id: UserId,
    /// The contract on TFChain.
    pub contract_id: ContractId,
    /// The node on TFChain.
    pub node_id: NodeId,
    /// Version of the workload.
    pub version: i32,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
}
