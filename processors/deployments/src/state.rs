//! How far each deployment of a user is.

use events::deployments::{DeploymentRequested, Operation};
use events::ids::{ContractId, DeploymentId, PurchaseId};
use events::time::Timestamp;
use pipeline::Timer;
use std::collections::{BTreeMap, BTreeSet};

/// Timer: the next attempt at a contract, followed by the deployment's id.
pub const RETRY: &str = "retry_contract:";

/// What is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// 1 for the first.
    pub version: i32,
    /// Kept on chain.
    pub data: String,
    /// Hash of deployment, version and data.
    pub hash: String,
}

/// A contract that came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contract {
    /// Its number.
    pub id: ContractId,
    /// A finalized block in which it is known to have existed.
    pub block: i64,
}

/// What is being done with the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing {
    /// It is created.
    Create,
    /// It gets another workload.
    Update(Contract, Workload),
    /// It is cancelled.
    Cancel(Contract),
}

impl Doing {
    /// As failures call it.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Create => Operation::Create,
            Self::Update(..) => Operation::Update,
            Self::Cancel(_) => Operation::Cancel,
        }
    }
}

/// How far a deployment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// It waits for the TFT of a purchase.
    WaitingForFunds(PurchaseId),
    /// A request is open; its outcome is awaited, whatever else happens.
    Submitted {
        /// What.
        doing: Doing,
        /// Attempt under way.
        attempt: i32,
    },
    /// The attempt is over without effect, and the next one waits.
    Retrying {
        /// What.
        doing: Doing,
        /// Attempt that failed.
        attempt: i32,
        /// When the next one is due.
        due: Timestamp,
    },
    /// The contract stands, and nothing is to be done with it.
    Created(Contract),
    /// It has ended. Terminal, so that nothing makes it again.
    Cancelled,
    /// Given up before there was a contract. Terminal, too.
    Failed,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// What was asked for, with the workload that is to be created.
    pub order: DeploymentRequested,
    /// How far it is.
    pub stage: Stage,
    /// The highest version that was asked for.
    pub latest: i32,
    /// What is to be deployed once the open request has its outcome.
    pub next: Option<Workload>,
    /// It is to be cancelled once the open request has its outcome.
    pub cancel: bool,
}

/// The deployments of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deployments {
    /// By id.
    pub all: BTreeMap<DeploymentId, Deployment>,
    /// Purchases whose TFT arrived.
    pub funded: BTreeSet<PurchaseId>,
    /// Purchases that ended without TFT.
    pub ended: BTreeSet<PurchaseId>,
}

impl Deployments {
    /// The timers that run in this state.
    #[must_use]
    pub fn timers(&self) -> Vec<Timer> {
        self.all
            .iter()
            .filter_map(|(id, deployment)| match deployment.stage {
                Stage::Retrying { due, .. } => Some(Timer {
                    due,
                    name: format!("{RETRY}{id}"),
                }),
                Stage::WaitingForFunds(_)
                | Stage::Submitted { .. }
                | Stage::Created(_)
                | Stage::Cancelled
                | Stage::Failed => None,
            })
            .collect()
    }
}
