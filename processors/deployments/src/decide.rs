//! Every rule of deployments. The aggregate is a user: their chain account is one queue.
//!
//! Of a deployment one request is open at a time. What is asked meanwhile waits for its outcome:
//! a cancellation first, else the newest workload. So nobody cancels a contract of which it is
//! not known whether it exists, and what was cancelled is never asked for again.

mod balance;
mod create;

use crate::state::{Contract, Deployment, Deployments, Doing, RETRY, RETRY_BATCH, Stage, Workload};
use events::deployments::{
    ContractCancelRequested, ContractFailed, ContractUpdateRequested, DeploymentCancelFailed,
    DeploymentCancelled, DeploymentEvent, DeploymentFailed, DeploymentKind, DeploymentRequested,
    DeploymentUpdateFailed, DeploymentUpdateRejected, DeploymentUpdateRequested, TimerFired,
};
use events::envelope::Record;
use events::ids::{BatchId, ContractId, DeploymentId, UserId};
use events::time::Timestamp;
use pipeline::Decision;
use std::time::Duration;

/// Attempts at a request before it is given up.
const ATTEMPTS: i32 = 5;
/// Why a deployment ended: its owner wished it.
const BY_USER: &str = "by_user";
/// Why a deployment ended: somebody else ended its contract.
const BY_CHAIN: &str = "by_chain";

type Out = Decision<DeploymentEvent>;

/// The policy's figures.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long one attempt may take; far below the chain's grace period.
    pub deadline: Duration,
    /// Wait before another attempt; doubles each time.
    pub retry: Duration,
    /// A user's balance is read when they are billed, unless it was within this time. TFChain bills
    /// each contract once an hour.
    pub balance_every: Duration,
    /// How long a balance should pay for the user's contracts at least.
    pub balance_lasts: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(600),
            retry: Duration::from_secs(5),
            balance_every: Duration::from_secs(55 * 60),
            balance_lasts: Duration::from_secs(48 * 3_600),
        }
    }
}

/// The state after the fact, and what is to be appended because of it.
#[must_use]
pub fn transition(
    rules: &Rules,
    mut state: Deployments,
    record: &Record<DeploymentEvent>,
) -> (Deployments, Out) {
    let now = record.time();
    let mut out = Decision::nothing();
    match &record.event {
        DeploymentEvent::DeploymentRequested(order) => {
            out = create::order(rules, &mut state, order, now);
        }
        DeploymentEvent::BatchRequested(batch) => {
            out = create::batch(rules, &mut state, batch, now);
        }
        DeploymentEvent::BatchCreated(created) => {
            out = create::batch_created(rules, &mut state, created, now);
        }
        DeploymentEvent::BatchFailed(event) => {
            out = create::batch_failed(rules, &mut state, event, now);
        }
        DeploymentEvent::ContractAppeared(appeared) => state.saw(appeared.contract_id),
        DeploymentEvent::FundsArrived(funds) => {
            state.funded.insert(funds.purchase_id);
            let waiting = create::waiting_for(&state, funds.purchase_id);
            out = create::create(rules, &mut state, &waiting, 1, now);
        }
        DeploymentEvent::PurchaseEnded(ended) => {
            state.ended.insert(ended.purchase_id);
            for id in create::waiting_for(&state, ended.purchase_id) {
                if let Some(deployment) = state.all.get_mut(&id) {
                    deployment.stage = Stage::Failed;
                    out = out.and(failed(&deployment.order, "purchase_ended", &ended.detail));
                }
            }
        }
        DeploymentEvent::DeploymentUpdateRequested(update) => {
            out = match state.all.get_mut(&update.deployment_id) {
                Some(deployment) => update_wanted(rules, deployment, update, now),
                None => rejected(update, "no_deployment", "there is no such deployment"),
            };
        }
        DeploymentEvent::DeploymentCancelRequested(cancel) => {
            if let Some(deployment) = state.all.get_mut(&cancel.deployment_id) {
                out = cancel_wanted(rules, deployment, now);
            }
        }
        DeploymentEvent::DeploymentCreated(created) => {
            let contract = Contract {
                id: created.contract_id,
                block: created.block,
            };
            let id = created.deployment_id;
            out = create::came_to_be(rules, &mut state, id, contract, now);
        }
        DeploymentEvent::ContractUpdated(updated) => {
            if let Some(deployment) = state.all.get_mut(&updated.deployment_id) {
                out = contract_updated(rules, deployment, updated.version, now);
            }
        }
        DeploymentEvent::ContractCancelled(cancelled) => {
            if let Some(deployment) = state.all.get_mut(&cancelled.deployment_id) {
                let contract = Some(cancelled.contract_id);
                out = end(deployment, contract, BY_USER, "its owner cancelled it");
            }
        }
        DeploymentEvent::ContractCancelledByChain(cancelled) => {
            state.saw(cancelled.contract_id);
            if let Some(deployment) = state.all.get_mut(&cancelled.deployment_id) {
                let detail = "others than Gridway ended its contract";
                out = end(deployment, Some(cancelled.contract_id), BY_CHAIN, detail);
            }
        }
        DeploymentEvent::ContractFailed(event) => {
            if let Some(deployment) = state.all.get_mut(&event.deployment_id) {
                out = contract_failed(rules, deployment, event, now);
            }
        }
        DeploymentEvent::ContractBilled(bill) => {
            out = balance::billed(rules, &mut state.account, bill, now);
        }
        DeploymentEvent::UserBalanceObserved(event) => {
            out = balance::observed(rules, &mut state.account, event);
        }
        DeploymentEvent::TimerFired(timer) => out = timer_fired(rules, &mut state, timer, now),
        DeploymentEvent::ContractRequested(_)
        | DeploymentEvent::ContractUpdateRequested(_)
        | DeploymentEvent::ContractCancelRequested(_)
        | DeploymentEvent::DeploymentFailed(_)
        | DeploymentEvent::DeploymentUpdateRejected(_)
        | DeploymentEvent::DeploymentUpdateFailed(_)
        | DeploymentEvent::DeploymentCancelFailed(_)
        | DeploymentEvent::DeploymentCancelled(_)
        | DeploymentEvent::BatchContractsRequested(_)
        | DeploymentEvent::UserBalanceRequested(_)
        | DeploymentEvent::UserBalanceAssessed(_)
        | DeploymentEvent::GracePeriodStarted(_)
        | DeploymentEvent::GracePeriodEnded(_)
        | DeploymentEvent::ContractUpdatedByOther(_)
        | DeploymentEvent::WorkloadDelivered(_)
        | DeploymentEvent::WorkloadRunning(_)
        | DeploymentEvent::WorkloadFailed(_)
        | DeploymentEvent::DeadLetterReleased(_) => {}
    }
    (state, out)
}

fn join(mut out: Out, more: Out) -> Out {
    out.own.extend(more.own);
    out.forward.extend(more.forward);
    out
}

fn update_wanted(
    rules: &Rules,
    deployment: &mut Deployment,
    update: &DeploymentUpdateRequested,
    now: Timestamp,
) -> Out {
    if update.version <= deployment.latest {
        let detail = format!("version {} was asked for before", deployment.latest);
        return rejected(update, "version_conflict", &detail);
    }
    let cancelling = matches!(
        &deployment.stage,
        Stage::Submitted {
            doing: Doing::Cancel(_),
            ..
        } | Stage::Retrying {
            doing: Doing::Cancel(_),
            ..
        }
    );
    if deployment.cancel || cancelling {
        return rejected(update, "cancelling", "the deployment is being cancelled");
    }
    if deployment.order.kind != DeploymentKind::Node {
        return rejected(
            update,
            "no_workload",
            "only a deployment on a node has a workload",
        );
    }
    let workload = Workload {
        version: update.version,
        data: update.data.clone(),
        hash: update.hash.clone(),
    };
    match deployment.stage.clone() {
        Stage::Cancelled | Stage::Failed => {
            return rejected(update, "ended", "the deployment has ended");
        }
        // Nothing of the older workload can come to be any more.
        Stage::WaitingForFunds(_)
        | Stage::Retrying {
            doing: Doing::Create,
            ..
        } => {
            deployment.next = Some(workload);
            deployment.renew();
        }
        Stage::Submitted { .. } => deployment.next = Some(workload),
        Stage::Created(contract)
        | Stage::Retrying {
            doing: Doing::Update(contract, _) | Doing::Cancel(contract),
            ..
        } => {
            deployment.latest = update.version;
            let doing = Doing::Update(contract, workload);
            return submit(rules, deployment, doing, 1, now);
        }
    }
    deployment.latest = update.version;
    Decision::nothing()
}

fn cancel_wanted(rules: &Rules, deployment: &mut Deployment, now: Timestamp) -> Out {
    deployment.next = None;
    match deployment.stage.clone() {
        Stage::WaitingForFunds(_)
        | Stage::Retrying {
            doing: Doing::Create,
            ..
        } => end(
            deployment,
            None,
            BY_USER,
            "its owner cancelled it before there was a contract",
        ),
        Stage::Created(contract)
        | Stage::Retrying {
            doing: Doing::Update(contract, _),
            ..
        } => submit(rules, deployment, Doing::Cancel(contract), 1, now),
        Stage::Submitted {
            doing: Doing::Create | Doing::Update(..),
            ..
        } => {
            deployment.cancel = true;
            Decision::nothing()
        }
        // It is under way already, or over.
        Stage::Submitted {
            doing: Doing::Cancel(_),
            ..
        }
        | Stage::Retrying {
            doing: Doing::Cancel(_),
            ..
        }
        | Stage::Cancelled
        | Stage::Failed => Decision::nothing(),
    }
}

/// The contract stands, and no request about it is open: what was asked meanwhile has its turn.
fn rest(rules: &Rules, deployment: &mut Deployment, contract: Contract, now: Timestamp) -> Out {
    deployment.stage = Stage::Created(contract);
    if deployment.cancel {
        return submit(rules, deployment, Doing::Cancel(contract), 1, now);
    }
    match deployment.next.take() {
        Some(next) => submit(rules, deployment, Doing::Update(contract, next), 1, now),
        None => Decision::nothing(),
    }
}

fn contract_updated(
    rules: &Rules,
    deployment: &mut Deployment,
    version: i32,
    now: Timestamp,
) -> Out {
    let Stage::Submitted {
        doing: Doing::Update(contract, workload),
        ..
    } = &deployment.stage
    else {
        return Decision::nothing();
    };
    if workload.version != version {
        return Decision::nothing();
    }
    let contract = *contract;
    rest(rules, deployment, contract, now)
}

fn contract_failed(
    rules: &Rules,
    deployment: &mut Deployment,
    event: &ContractFailed,
    now: Timestamp,
) -> Out {
    let Stage::Submitted { doing, attempt } = deployment.stage.clone() else {
        return Decision::nothing();
    };
    if event.attempt != attempt || event.operation != doing.operation() {
        return Decision::nothing();
    }
    // The contract came to be, and others ended it before its outcome was known to us.
    if event.code == "contract_ended" {
        let contract = match doing {
            Doing::Update(contract, _) | Doing::Cancel(contract) => Some(contract.id),
            Doing::Create => None,
        };
        return end(deployment, contract, BY_CHAIN, &event.detail);
    }
    let again = event.code == "never_will" && attempt < ATTEMPTS;
    match doing {
        Doing::Create if deployment.cancel => {
            let detail = "its owner cancelled it before there was a contract";
            return end(deployment, None, BY_USER, detail);
        }
        // What is newer, or ends it, need not wait for an attempt that is over.
        Doing::Update(contract, workload) if deployment.cancel || deployment.next.is_some() => {
            let out = update_failed(deployment, &workload, event);
            return join(out, rest(rules, deployment, contract, now));
        }
        Doing::Create | Doing::Update(..) | Doing::Cancel(_) => {}
    }
    // What the chain refuses by name it would refuse again; what never landed may be tried again.
    if again {
        if doing == Doing::Create {
            deployment.renew();
        }
        deployment.stage = Stage::Retrying {
            doing,
            attempt,
            due: now.after(backoff(rules, attempt)),
        };
        return Decision::nothing();
    }
    match doing {
        Doing::Create => {
            deployment.stage = Stage::Failed;
            Decision::nothing().and(failed(&deployment.order, &event.code, &event.detail))
        }
        Doing::Update(contract, workload) => {
            deployment.stage = Stage::Created(contract);
            update_failed(deployment, &workload, event)
        }
        Doing::Cancel(contract) => {
            deployment.stage = Stage::Created(contract);
            deployment.cancel = false;
            Decision::nothing().and(DeploymentCancelFailed {
                deployment_id: deployment.order.deployment_id,
                user_id: deployment.order.user_id,
                reason: event.code.clone(),
                detail: event.detail.clone(),
            })
        }
    }
}

fn update_failed(deployment: &Deployment, workload: &Workload, event: &ContractFailed) -> Out {
    Decision::nothing().and(DeploymentUpdateFailed {
        deployment_id: deployment.order.deployment_id,
        user_id: deployment.order.user_id,
        version: workload.version,
        reason: event.code.clone(),
        detail: event.detail.clone(),
    })
}

fn backoff(rules: &Rules, attempt: i32) -> Duration {
    rules.retry * 2_u32.saturating_pow(u32::try_from(attempt).unwrap_or(1).min(10))
}

fn timer_fired(rules: &Rules, state: &mut Deployments, timer: &TimerFired, now: Timestamp) -> Out {
    // A timer that fires late may belong to a wait that is over.
    let due = |deployment: &Deployment| match &deployment.stage {
        Stage::Retrying {
            doing,
            attempt,
            due,
        } if *due <= timer.due => Some((doing.clone(), *attempt)),
        Stage::Retrying { .. }
        | Stage::WaitingForFunds(_)
        | Stage::Submitted { .. }
        | Stage::Created(_)
        | Stage::Cancelled
        | Stage::Failed => None,
    };
    if let Some(batch) = timer.timer.strip_prefix(RETRY_BATCH) {
        let Ok(batch) = batch.parse::<BatchId>() else {
            return Decision::nothing();
        };
        let members = state.all.iter().filter(|(_, d)| d.batch == Some(batch));
        let ready = members.filter_map(|(id, deployment)| match due(deployment)? {
            (Doing::Create, attempt) => Some((*id, attempt)),
            (Doing::Update(..) | Doing::Cancel(_), _) => None,
        });
        let ready: Vec<(DeploymentId, i32)> = ready.collect();
        let attempt = ready.iter().map(|(_, attempt)| attempt + 1).max();
        let ids: Vec<DeploymentId> = ready.into_iter().map(|(id, _)| id).collect();
        return create::create(rules, state, &ids, attempt.unwrap_or(1), now);
    }
    let id = timer
        .timer
        .strip_prefix(RETRY)
        .and_then(|id| id.parse::<DeploymentId>().ok());
    let Some(deployment) = id.and_then(|id| state.all.get_mut(&id)) else {
        return Decision::nothing();
    };
    match (due(deployment), id) {
        (Some((Doing::Create, attempt)), Some(id)) => {
            create::create(rules, state, &[id], attempt + 1, now)
        }
        (Some((doing @ (Doing::Update(..) | Doing::Cancel(_)), attempt)), Some(_)) => {
            submit(rules, deployment, doing, attempt + 1, now)
        }
        (None, _) | (_, None) => Decision::nothing(),
    }
}

/// Asks the hand for it.
fn submit(
    rules: &Rules,
    deployment: &mut Deployment,
    doing: Doing,
    attempt: i32,
    now: Timestamp,
) -> Out {
    let order = &deployment.order;
    let deadline = now.after(rules.deadline);
    let out = Decision::nothing();
    let out = match &doing {
        // Contracts are created by batches, too.
        Doing::Create => out,
        Doing::Update(contract, workload) => out.and(ContractUpdateRequested {
            deployment_id: order.deployment_id,
            user_id: order.user_id,
            twin_id: order.twin_id,
            attempt,
            node_id: order.node_id,
            contract_id: contract.id,
            created_block: contract.block,
            version: workload.version,
            hash: workload.hash.clone(),
            data: workload.data.clone(),
            deadline,
        }),
        Doing::Cancel(contract) => out.and(ContractCancelRequested {
            deployment_id: order.deployment_id,
            user_id: order.user_id,
            twin_id: order.twin_id,
            attempt,
            contract_id: contract.id,
            created_block: contract.block,
            deadline,
        }),
    };
    deployment.stage = Stage::Submitted { doing, attempt };
    out
}

/// Ends a deployment for good, once.
fn end(
    deployment: &mut Deployment,
    contract_id: Option<ContractId>,
    reason: &str,
    detail: &str,
) -> Out {
    if matches!(deployment.stage, Stage::Cancelled | Stage::Failed) {
        return Decision::nothing();
    }
    deployment.stage = Stage::Cancelled;
    (deployment.next, deployment.cancel) = (None, false);
    Decision::nothing().and(DeploymentCancelled {
        deployment_id: deployment.order.deployment_id,
        user_id: deployment.order.user_id,
        contract_id,
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    })
}

fn rejected(update: &DeploymentUpdateRequested, reason: &str, detail: &str) -> Out {
    Decision::nothing().and(DeploymentUpdateRejected {
        deployment_id: update.deployment_id,
        user_id: update.user_id,
        version: update.version,
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    })
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
