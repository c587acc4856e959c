//! What each event changes in a row.

use super::{Deployment, State, Workload};
use chrono::{DateTime, Utc};
use events::deployments::{BatchMember, BatchRequested, DeploymentEvent, DeploymentRequested};
use events::ids::{BatchId, DeploymentId, PurchaseId};
use events::money::Amount;
use events::time::Timestamp;

pub(super) fn member(
    e: &BatchRequested,
    m: &BatchMember,
    time: DateTime<Utc>,
    offset: i64,
) -> Deployment {
    let order = DeploymentRequested {
        deployment_id: m.deployment_id,
        user_id: e.user_id,
        twin_id: e.twin_id,
        node_id: m.node_id,
        version: m.version,
        data: m.data.clone(),
        hash: m.hash.clone(),
        public_ips: m.public_ips,
        solution_provider: m.solution_provider,
        waits_for: e.waits_for,
        minimum_balance: e.minimum_balance,
        requested_at: e.requested_at,
        kind: m.kind,
        name: m.name.clone(),
    };
    Deployment {
        batch_id: Some(e.batch_id),
        ..requested(&order, time, offset)
    }
}

pub(super) fn requested(e: &DeploymentRequested, time: DateTime<Utc>, offset: i64) -> Deployment {
    Deployment {
        id: e.deployment_id,
        kind: e.kind.into(),
        name: e.name.clone(),
        batch_id: None,
        user_id: e.user_id,
        twin_id: e.twin_id,
        purchase_id: e.waits_for,
        node_id: e.node_id,
        hash: e.hash.clone(),
        workload_version: e.version,
        wanted_version: e.version,
        state: if e.waits_for.is_some() {
            State::WaitingForFunds
        } else {
            State::Requested
        },
        contract_id: None,
        extrinsic: None,
        block: None,
        workload: Workload::None,
        billed: Amount::ZERO,
        grace_since: None,
        grace_told: 0,
        reason: None,
        detail: None,
        created_at: e.requested_at.to_datetime().unwrap_or(time),
        updated_at: time,
        version: offset,
    }
}

/// What an event is about.
pub(super) enum About {
    Deployment(DeploymentId),
    /// Every deployment that waits for the purchase.
    Purchase(PurchaseId),
    /// Every deployment of the batch.
    Batch(BatchId),
    Nothing,
}

pub(super) fn about(event: &DeploymentEvent) -> About {
    match event {
        DeploymentEvent::DeploymentRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentCreated(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractFailed(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentFailed(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentUpdateRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractUpdateRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractUpdated(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentUpdateRejected(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentUpdateFailed(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentCancelRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractCancelRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractCancelled(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentCancelFailed(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentCancelled(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractAppeared(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractBilled(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::GracePeriodStarted(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::GracePeriodEnded(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractCancelledByChain(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractUpdatedByOther(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::BatchRequested(e) => About::Batch(e.batch_id),
        DeploymentEvent::BatchContractsRequested(e) => About::Batch(e.batch_id),
        DeploymentEvent::BatchCreated(e) => About::Batch(e.batch_id),
        DeploymentEvent::BatchFailed(e) => About::Batch(e.batch_id),
        DeploymentEvent::WorkloadDelivered(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::WorkloadRunning(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::WorkloadFailed(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::FundsArrived(e) => About::Purchase(e.purchase_id),
        DeploymentEvent::PurchaseEnded(e) => About::Purchase(e.purchase_id),
        DeploymentEvent::UserBalanceRequested(_)
        | DeploymentEvent::UserBalanceObserved(_)
        | DeploymentEvent::UserBalanceAssessed(_)
        | DeploymentEvent::TimerFired(_)
        | DeploymentEvent::DeadLetterReleased(_) => About::Nothing,
    }
}

/// Changes a row that exists by an event that is about it.
pub(super) fn fold(d: &mut Deployment, event: &DeploymentEvent, at: Timestamp, offset: i64) {
    match event {
        DeploymentEvent::DeploymentRequested(_)
        | DeploymentEvent::BatchRequested(_)
        | DeploymentEvent::UserBalanceRequested(_)
        | DeploymentEvent::UserBalanceObserved(_)
        | DeploymentEvent::UserBalanceAssessed(_)
        | DeploymentEvent::TimerFired(_)
        | DeploymentEvent::DeadLetterReleased(_) => {}
        DeploymentEvent::FundsArrived(_) => {
            if d.state != State::WaitingForFunds {
                return;
            }
            d.state = State::Requested;
        }
        DeploymentEvent::PurchaseEnded(e) => {
            if d.state != State::WaitingForFunds {
                return;
            }
            d.detail = Some(e.detail.clone());
        }
        DeploymentEvent::DeploymentUpdateRequested(e) => {
            // What does not raise the version is rejected.
            if d.state == State::Created && e.version > d.wanted_version {
                d.state = State::Updating;
            }
            d.wanted_version = d.wanted_version.max(e.version);
        }
        DeploymentEvent::DeploymentCancelRequested(_) => {
            if !d.state.has_ended() {
                d.state = State::Cancelling;
            }
        }
        DeploymentEvent::ContractRequested(e) => {
            stands(d, &e.hash, e.version);
            under_way(d, State::Submitted);
        }
        DeploymentEvent::BatchContractsRequested(e) => {
            let Some(m) = e.members.iter().find(|m| m.deployment_id == d.id) else {
                return;
            };
            stands(d, &m.hash, m.version);
            under_way(d, State::Submitted);
        }
        DeploymentEvent::BatchCreated(e) => {
            let Some(made) = e.contracts.iter().find(|c| c.deployment_id == d.id) else {
                return;
            };
            d.contract_id = Some(made.contract_id);
            done(d, &e.extrinsic, e.block);
            came_to_be(d);
        }
        DeploymentEvent::BatchFailed(e) => {
            if d.state.has_ended() {
                return;
            }
            because(d, &e.code, &e.detail);
        }
        DeploymentEvent::DeploymentCreated(e) => {
            d.contract_id = Some(e.contract_id);
            done(d, &e.extrinsic, e.block);
            came_to_be(d);
        }
        DeploymentEvent::ContractUpdateRequested(_) => under_way(d, State::Updating),
        DeploymentEvent::ContractUpdated(e) => {
            stands(d, &e.hash, e.version);
            done(d, &e.extrinsic, e.block);
            came_to_be(d);
        }
        DeploymentEvent::ContractCancelRequested(_) => under_way(d, State::Cancelling),
        DeploymentEvent::ContractCancelled(e) => done(d, &e.extrinsic, e.block),
        DeploymentEvent::ContractFailed(e) => because(d, &e.code, &e.detail),
        DeploymentEvent::DeploymentUpdateRejected(e) => because(d, &e.reason, &e.detail),
        DeploymentEvent::DeploymentUpdateFailed(e) => {
            if e.version >= d.wanted_version {
                under_way(d, State::Created);
            }
            because(d, &e.reason, &e.detail);
        }
        DeploymentEvent::DeploymentCancelFailed(e) => {
            if d.state == State::Cancelling {
                d.state = State::Created;
            }
            because(d, &e.reason, &e.detail);
        }
        DeploymentEvent::WorkloadDelivered(e) => node_says(d, e.version, Workload::Delivered),
        DeploymentEvent::WorkloadRunning(e) => node_says(d, e.version, Workload::Running),
        DeploymentEvent::WorkloadFailed(e) => {
            node_says(d, e.version, Workload::Failed);
            if e.version == d.workload_version {
                because(d, &e.reason, &e.detail);
            }
        }
        DeploymentEvent::ContractAppeared(e) => {
            d.contract_id = d.contract_id.or(Some(e.contract_id));
        }
        DeploymentEvent::ContractBilled(e) => {
            // What does not fit stays at the most that does.
            d.billed = d.billed.checked_add(e.amount).unwrap_or(d.billed);
        }
        // By the blocks, not by the log: a fact that was lost with a broker comes again later.
        DeploymentEvent::GracePeriodStarted(e) if e.block > d.grace_told => {
            (d.grace_since, d.grace_told) = (Some(e.block), e.block);
        }
        DeploymentEvent::GracePeriodEnded(e) if e.block > d.grace_told => {
            (d.grace_since, d.grace_told) = (None, e.block);
        }
        DeploymentEvent::GracePeriodStarted(_) | DeploymentEvent::GracePeriodEnded(_) => {}
        DeploymentEvent::ContractUpdatedByOther(e) => d.hash.clone_from(&e.hash),
        DeploymentEvent::ContractCancelledByChain(e) => {
            d.contract_id = Some(e.contract_id);
            done(d, "", e.block);
        }
        DeploymentEvent::DeploymentCancelled(e) => {
            d.grace_since = None;
            d.state = State::Cancelled;
            d.contract_id = d.contract_id.or(e.contract_id);
            because(d, &e.reason, &e.detail);
        }
        DeploymentEvent::DeploymentFailed(e) => {
            d.state = State::Failed;
            because(d, &e.reason, &e.detail);
        }
    }
    d.updated_at = at.to_datetime().unwrap_or_default();
    d.version = offset;
}

/// A request is open. Of what is being cancelled people see that, whatever is awaited before.
fn under_way(d: &mut Deployment, state: State) {
    if !d.state.has_ended() && d.state != State::Cancelling {
        d.state = state;
    }
}

/// A workload stands. A newer one may wait for its turn.
fn came_to_be(d: &mut Deployment) {
    under_way(
        d,
        if d.wanted_version > d.workload_version {
            State::Updating
        } else {
            State::Created
        },
    );
}

/// Another workload stands, or is to. The node has heard nothing of it.
fn stands(d: &mut Deployment, hash: &str, version: i32) {
    if version != d.workload_version {
        d.workload = Workload::None;
    }
    hash.clone_into(&mut d.hash);
    d.workload_version = version;
}

/// What the node says of a workload that was replaced is of no meaning any more.
fn node_says(d: &mut Deployment, version: i32, workload: Workload) {
    if version == d.workload_version {
        d.workload = workload;
    }
}

/// The chain has done something.
fn done(d: &mut Deployment, extrinsic: &str, block: i64) {
    (d.extrinsic, d.block) = (Some(extrinsic.to_owned()), Some(block));
    (d.reason, d.detail) = (None, None);
}

fn because(d: &mut Deployment, reason: &str, detail: &str) {
    (d.reason, d.detail) = (Some(reason.to_owned()), Some(detail.to_owned()));
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
