//! Every rule of deployments. The aggregate is a user: their chain account is one queue.

use events::deployments::{
    ContractFailed, ContractRequested, DeploymentEvent, DeploymentFailed, DeploymentRequested,
    TimerFired,
};
use events::envelope::Record;
use events::ids::{DeploymentId, PurchaseId, UserId};
use events::time::Timestamp;
use pipeline::{Decision, Timer};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Timer: the next attempt at a contract, followed by the deployment's id.
pub const RETRY: &str = "retry_contract:";
/// Attempts at a contract before the deployment is given up.
const ATTEMPTS: i32 = 5;

/// The policy's figures.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long one attempt may take; far below the chain's grace period.
    pub deadline: Duration,
    /// Wait before another attempt; doubles each time.
    pub retry: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(600),
            retry: Duration::from_secs(5),
        }
    }
}

/// How far a deployment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// It waits for the TFT of a purchase.
    WaitingForFunds(PurchaseId),
    /// A contract is being created.
    Submitted {
        /// Attempt under way.
        attempt: i32,
    },
    /// The next attempt waits.
    Retrying {
        /// Attempt that failed.
        attempt: i32,
        /// When the next one is due.
        due: Timestamp,
    },
    /// The contract exists.
    Created,
    /// Given up. Terminal, so that nothing makes it again.
    Failed,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// What was asked for.
    pub order: DeploymentRequested,
    /// How far it is.
    pub stage: Stage,
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
                | Stage::Created
                | Stage::Failed => None,
            })
            .collect()
    }
}

/// The state after the fact, and what is to be appended because of it.
#[must_use]
pub fn transition(
    rules: &Rules,
    mut state: Deployments,
    record: &Record<DeploymentEvent>,
) -> (Deployments, Decision<DeploymentEvent>) {
    let now = record.time();
    let mut out = Decision::nothing();
    match &record.event {
        DeploymentEvent::DeploymentRequested(order) => {
            if !state.all.contains_key(&order.deployment_id) {
                let (stage, decision) = begin(rules, &state, order, now);
                out = decision;
                state.all.insert(
                    order.deployment_id,
                    Deployment {
                        order: order.clone(),
                        stage,
                    },
                );
            }
        }
        DeploymentEvent::FundsArrived(funds) => {
            state.funded.insert(funds.purchase_id);
            for deployment in waiting_for(&mut state.all, funds.purchase_id) {
                deployment.stage = Stage::Submitted { attempt: 1 };
                out = out.and(request(rules, &deployment.order, 1, now));
            }
        }
        DeploymentEvent::PurchaseEnded(ended) => {
            state.ended.insert(ended.purchase_id);
            for deployment in waiting_for(&mut state.all, ended.purchase_id) {
                deployment.stage = Stage::Failed;
                out = out.and(failed(&deployment.order, "purchase_ended", &ended.detail));
            }
        }
        DeploymentEvent::DeploymentCreated(created) => {
            if let Some(deployment) = state.all.get_mut(&created.deployment_id) {
                deployment.stage = Stage::Created;
            }
        }
        DeploymentEvent::ContractFailed(event) => {
            if let Some(deployment) = state.all.get_mut(&event.deployment_id) {
                out = contract_failed(rules, deployment, event, now);
            }
        }
        DeploymentEvent::TimerFired(timer) => out = timer_fired(rules, &mut state, timer, now),
        DeploymentEvent::ContractRequested(_)
        | DeploymentEvent::DeploymentFailed(_)
        | DeploymentEvent::DeadLetterReleased(_) => {}
    }
    (state, out)
}

fn begin(
    rules: &Rules,
    state: &Deployments,
    order: &DeploymentRequested,
    now: Timestamp,
) -> (Stage, Decision<DeploymentEvent>) {
    match order.waits_for {
        Some(purchase) if state.ended.contains(&purchase) => (
            Stage::Failed,
            Decision::nothing().and(failed(
                order,
                "purchase_ended",
                "the purchase that it waits for has ended",
            )),
        ),
        Some(purchase) if !state.funded.contains(&purchase) => {
            (Stage::WaitingForFunds(purchase), Decision::nothing())
        }
        Some(_) | None => (
            Stage::Submitted { attempt: 1 },
            Decision::nothing().and(request(rules, order, 1, now)),
        ),
    }
}

fn waiting_for(
    all: &mut BTreeMap<DeploymentId, Deployment>,
    purchase: PurchaseId,
) -> impl Iterator<Item = &mut Deployment> {
    all.values_mut()
        .filter(move |d| d.stage == Stage::WaitingForFunds(purchase))
}

fn contract_failed(
    rules: &Rules,
    deployment: &mut Deployment,
    event: &ContractFailed,
    now: Timestamp,
) -> Decision<DeploymentEvent> {
    let Stage::Submitted { attempt } = deployment.stage else {
        return Decision::nothing();
    };
    if event.attempt != attempt {
        return Decision::nothing();
    }
    // What the chain refuses by name it would refuse again; what never landed may be tried again.
    if event.code == "never_will" && attempt < ATTEMPTS {
        let wait = rules.retry * 2_u32.saturating_pow(u32::try_from(attempt).unwrap_or(1).min(10));
        deployment.stage = Stage::Retrying {
            attempt,
            due: now.after(wait),
        };
        return Decision::nothing();
    }
    deployment.stage = Stage::Failed;
    Decision::nothing().and(failed(&deployment.order, &event.code, &event.detail))
}

fn timer_fired(
    rules: &Rules,
    state: &mut Deployments,
    timer: &TimerFired,
    now: Timestamp,
) -> Decision<DeploymentEvent> {
    let id = timer
        .timer
        .strip_prefix(RETRY)
        .and_then(|id| id.parse::<DeploymentId>().ok());
    let Some(deployment) = id.and_then(|id| state.all.get_mut(&id)) else {
        return Decision::nothing();
    };
    let Stage::Retrying { attempt, .. } = deployment.stage else {
        return Decision::nothing();
    };
    deployment.stage = Stage::Submitted {
        attempt: attempt + 1,
    };
    Decision::nothing().and(request(rules, &deployment.order, attempt + 1, now))
}

fn request(
    rules: &Rules,
    order: &DeploymentRequested,
    attempt: i32,
    now: Timestamp,
) -> ContractRequested {
    ContractRequested {
        deployment_id: order.deployment_id,
        user_id: order.user_id,
        twin_id: order.twin_id,
        attempt,
        node_id: order.node_id,
        version: order.version,
        hash: order.hash.clone(),
        data: order.data.clone(),
        public_ips: order.public_ips,
        solution_provider: order.solution_provider,
        minimum_balance: order.minimum_balance,
        deadline: now.after(rules.deadline),
    }
}

fn failed(order: &DeploymentRequested, reason: &str, detail: &str) -> DeploymentFailed {
    DeploymentFailed {
        deployment_id: order.deployment_id,
        user_id: order.user_id,
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    }
}

/// The user of a record key.
#[must_use]
pub fn user_of(key: &str) -> Option<UserId> {
    key.parse().ok()
}
