//! The grid's nodes behind a port: their message bus (RMB) carries a workload to the node that its
//! contract is on. A contract alone runs nothing.
//!
//! What keeps a workload from running twice is the node: it knows a deployment by twin and contract
//! and takes each version once. So a delivery is an effect like any other: it is found by asking
//! the node, and tried only when the node has not got it. What came of it is appended as
//! `WorkloadDelivered`, `WorkloadRunning` or `WorkloadFailed` of the topic `deployments`.

use async_trait::async_trait;
use events::ids::{ContractId, DeploymentId, EventId, NodeId, TwinId};
use events::outcome::{Attempt, Find};

/// A workload that a node is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadPlan {
    /// The event that asks for it.
    pub request: EventId,
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its twin; signs what is sent.
    pub twin: TwinId,
    /// The node.
    pub node: NodeId,
    /// The contract that entitles to it.
    pub contract: ContractId,
    /// Version of the workload, 1 for the first.
    pub version: u32,
    /// Hash of the workload as the contract has it, 64 hex digits; a node refuses another.
    pub hash: String,
    /// The workload.
    pub data: String,
}

/// What a node says of a workload that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has it, and has not started it yet.
    Delivered,
    /// It runs.
    Running,
    /// It cannot be run.
    Failed {
        /// The node's word for it.
        code: String,
        /// A sentence for people.
        detail: String,
    },
}

/// The nodes.
#[async_trait]
pub trait Nodes: Send + Sync + 'static {
    /// Asks the node for this version of the workload. `Absent`: it has not got it.
    async fn find(&self, plan: &WorkloadPlan) -> Find<Standing>;

    /// Sends the workload to the node.
    async fn deliver(&self, plan: &WorkloadPlan) -> Attempt<Standing>;
}
