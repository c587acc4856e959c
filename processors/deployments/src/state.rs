//! How far each deployment of a user is.

use events::deployments::{DeploymentRequested, Operation, UserBalanceRequested};
use events::ids::{BatchId, ContractId, DeploymentId, PurchaseId};
use events::money::{Amount, Tft};
use events::time::Timestamp;
use pipeline::Timer;
use std::collections::{BTreeMap, BTreeSet};

/// Timer: the next attempt at a contract, followed by the deployment's id.
pub const RETRY: &str = "retry_contract:";
/// Timer: the next attempt at the contracts of a batch, followed by the batch's id.
pub const RETRY_BATCH: &str = "retry_batch:";

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
    /// The batch in which its contract is created.
    pub batch: Option<BatchId>,
    /// How far it is.
    pub stage: Stage,
    /// The highest version that was asked for.
    pub latest: i32,
    /// What is to be deployed once the open request has its outcome.
    pub next: Option<Workload>,
    /// It is to be cancelled once the open request has its outcome.
    pub cancel: bool,
}

impl Deployment {
    /// Whether the outcome of its creation is awaited.
    #[must_use]
    pub fn awaits_creation(&self) -> bool {
        matches!(
            &self.stage,
            Stage::Submitted {
                doing: Doing::Create,
                ..
            }
        )
    }

    /// Nothing of its older workload can come to be any more: the newest one takes its place.
    pub fn renew(&mut self) {
        if let Some(next) = self.next.take() {
            self.order.version = next.version;
            self.order.data = next.data;
            self.order.hash = next.hash;
        }
    }
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
    /// The highest number of a contract of the user's.
    pub highest: i64,
    /// What the user's contracts cost, and whether the account pays for them.
    pub account: Account,
}

/// What a user's contracts cost, and whether the account pays for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Billed since `since`.
    pub spent: Amount<Tft>,
    /// When the balance was last asked for, by the bills' time, or the first contract came to be.
    pub since: Option<Timestamp>,
    /// The reading whose outcome is awaited.
    pub asked: Option<UserBalanceRequested>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            spent: Amount::ZERO,
            since: None,
            asked: None,
        }
    }
}

impl Deployments {
    /// The timers that run in this state: one for each deployment, or for its batch.
    #[must_use]
    pub fn timers(&self) -> Vec<Timer> {
        let all = self.all.iter();
        let timers: BTreeSet<Timer> = all
            .filter_map(|(id, deployment)| match &deployment.stage {
                Stage::Retrying { doing, due, .. } => {
                    let name = match (doing, deployment.batch) {
                        (Doing::Create, Some(batch)) => format!("{RETRY_BATCH}{batch}"),
                        (Doing::Create | Doing::Update(..) | Doing::Cancel(_), _) => {
                            format!("{RETRY}{id}")
                        }
                    };
                    Some(Timer { due: *due, name })
                }
                Stage::WaitingForFunds(_)
                | Stage::Submitted { .. }
                | Stage::Created(_)
                | Stage::Cancelled
                | Stage::Failed => None,
            })
            .collect();
        timers.into_iter().collect()
    }

    /// A contract of the user's is known.
    pub fn saw(&mut self, contract: ContractId) {
        let number = i64::try_from(contract.0).unwrap_or(i64::MAX);
        self.highest = self.highest.max(number);
    }
}
