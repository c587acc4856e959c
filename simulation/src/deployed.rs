//! What must hold of deployments: what the log says of each, held against the chain's contracts.

use crate::tfchain::Contract;
use events::deployments::DeploymentEvent;
use events::ids::{DeploymentId, EventId};
use std::collections::{BTreeMap, BTreeSet};

/// A deployment as the log has it.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact that the log has or has not"
)]
pub struct Deployed {
    /// Hash of its first workload.
    pub hash: String,
    /// Its contract was created.
    pub created: bool,
    /// It was given up.
    pub failed: bool,
    /// How often it was cancelled.
    cancellations: u32,
    /// It was cancelled.
    pub cancelled: bool,
    /// Versions that were wished for when it was over, and of these how many were asked for.
    too_late: (BTreeSet<i32>, u32),
    /// Its owner wished its end, and that was not given up.
    cancelling: bool,
    /// A contract was asked for: before that an update only changes the order.
    asked: bool,
    /// The highest version that was asked for, and that something was said of.
    wanted: i32,
    settled: i32,
    /// Workloads that the contract got later.
    updates: Vec<String>,
    /// What the chain billed, in 10^-7 TFT, and its grace periods that began and that ended.
    billed: Vec<i64>,
    grace: (u32, u32),
    by_chain: bool,
    open: BTreeSet<EventId>,
}

impl Deployed {
    /// Whether the contract stands, or never will.
    pub fn has_ended(&self) -> bool {
        self.created || self.failed || self.cancelled
    }

    /// Whether nothing is under way.
    pub fn at_rest(&self) -> bool {
        let over = self.failed || self.cancelled;
        let settled = !self.asked || self.wanted <= self.settled;
        self.open.is_empty() && (over || (!self.cancelling && settled))
    }
}

/// Takes a fact of the log.
pub fn take(all: &mut BTreeMap<DeploymentId, Deployed>, event: &DeploymentEvent, id: EventId) {
    match event {
        DeploymentEvent::DeploymentRequested(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.hash.clone_from(&e.hash);
            (seen.wanted, seen.settled) = (e.version, e.version);
        }
        DeploymentEvent::BatchRequested(e) => {
            for member in &e.members {
                let seen = all.entry(member.deployment_id).or_default();
                seen.hash.clone_from(&member.hash);
                (seen.wanted, seen.settled) = (member.version, member.version);
            }
        }
        DeploymentEvent::BatchContractsRequested(e) => {
            for member in &e.members {
                let seen = all.entry(member.deployment_id).or_default();
                seen.open.insert(id);
                seen.asked = true;
                seen.settled = seen.settled.max(member.version);
            }
        }
        DeploymentEvent::BatchCreated(e) => {
            for made in &e.contracts {
                let seen = all.entry(made.deployment_id).or_default();
                seen.open.remove(&e.request_id);
                seen.created = true;
            }
        }
        DeploymentEvent::BatchFailed(e) => {
            for seen in all.values_mut() {
                seen.open.remove(&e.request_id);
            }
        }
        DeploymentEvent::DeploymentUpdateRequested(e) => {
            if let Some(seen) = all.get_mut(&e.deployment_id) {
                seen.wanted = seen.wanted.max(e.version);
                if seen.cancelled || seen.failed {
                    seen.too_late.0.insert(e.version);
                }
            }
        }
        DeploymentEvent::DeploymentCancelRequested(e) => {
            if let Some(seen) = all.get_mut(&e.deployment_id) {
                seen.cancelling = true;
            }
        }
        DeploymentEvent::ContractRequested(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.open.insert(id);
            seen.asked = true;
            seen.settled = seen.settled.max(e.version);
        }
        DeploymentEvent::ContractUpdateRequested(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.open.insert(id);
            seen.too_late.1 += u32::from(seen.too_late.0.contains(&e.version));
        }
        DeploymentEvent::ContractCancelRequested(e) => {
            all.entry(e.deployment_id).or_default().open.insert(id);
        }
        DeploymentEvent::DeploymentCreated(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.open.remove(&e.request_id);
            seen.created = true;
        }
        DeploymentEvent::ContractUpdated(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.open.remove(&e.request_id);
            seen.settled = seen.settled.max(e.version);
            seen.updates.push(e.hash.clone());
        }
        DeploymentEvent::ContractCancelled(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.open.remove(&e.request_id);
        }
        DeploymentEvent::ContractFailed(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.open.remove(&e.request_id);
        }
        DeploymentEvent::DeploymentUpdateRejected(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.settled = seen.settled.max(e.version);
        }
        DeploymentEvent::DeploymentUpdateFailed(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.settled = seen.settled.max(e.version);
        }
        DeploymentEvent::DeploymentCancelFailed(e) => {
            all.entry(e.deployment_id).or_default().cancelling = false;
        }
        DeploymentEvent::DeploymentCancelled(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.cancelled = true;
            seen.cancellations += 1;
        }
        DeploymentEvent::DeploymentFailed(e) => {
            all.entry(e.deployment_id).or_default().failed = true;
        }
        DeploymentEvent::ContractBilled(e) => {
            let seen = all.entry(e.deployment_id).or_default();
            seen.billed.push(e.amount.minor());
        }
        DeploymentEvent::GracePeriodStarted(e) => {
            all.entry(e.deployment_id).or_default().grace.0 += 1;
        }
        DeploymentEvent::GracePeriodEnded(e) => {
            all.entry(e.deployment_id).or_default().grace.1 += 1;
        }
        DeploymentEvent::ContractCancelledByChain(e) => {
            all.entry(e.deployment_id).or_default().by_chain = true;
        }
        DeploymentEvent::FundsArrived(_)
        | DeploymentEvent::ContractAppeared(_)
        | DeploymentEvent::ContractUpdatedByOther(_)
        | DeploymentEvent::WorkloadDelivered(_)
        | DeploymentEvent::WorkloadRunning(_)
        | DeploymentEvent::WorkloadFailed(_)
        | DeploymentEvent::UserBalanceRequested(_)
        | DeploymentEvent::UserBalanceObserved(_)
        | DeploymentEvent::UserBalanceAssessed(_)
        | DeploymentEvent::PurchaseEnded(_)
        | DeploymentEvent::TimerFired(_)
        | DeploymentEvent::DeadLetterReleased(_) => {}
    }
}

/// Whether the log has everything that the chain did to contracts by itself.
pub fn told(all: &BTreeMap<DeploymentId, Deployed>, contracts: &[Contract]) -> bool {
    contracts.iter().all(|c| {
        let seen = all.get(&c.deployment).cloned().unwrap_or_default();
        // What was lost after its commit is appended anew, behind what came after it.
        let (mut told, mut done) = (seen.billed, c.billed.clone());
        told.sort_unstable();
        done.sort_unstable();
        told == done && seen.grace == c.grace && (seen.cancelled || c.ended.is_none())
    })
}

/// What must not be.
pub fn violations(all: &BTreeMap<DeploymentId, Deployed>, contracts: &[Contract]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, seen) in all {
        let mine: Vec<&Contract> = contracts.iter().filter(|c| c.deployment == *id).collect();
        if mine.len() > 1 {
            wrong.push(format!("deployment {id}: {} contracts", mine.len()));
        }
        if !seen.at_rest() {
            wrong.push(format!("deployment {id}: something is under way: {seen:?}"));
        }
        if seen.cancellations > 1 || seen.too_late.1 > 0 {
            wrong.push(format!(
                "deployment {id} was cancelled {} times, and updated {} times after it was over",
                seen.cancellations, seen.too_late.1
            ));
        }
        let stands = mine.iter().any(|c| c.ended.is_none());
        if (seen.cancelled || seen.failed) && stands {
            wrong.push(format!("deployment {id} is over, and its contract stands"));
        }
        if seen.created && !seen.cancelled && !stands {
            wrong.push(format!("deployment {id} goes on without a contract"));
        }
        // Each workload was put there once, in the order in which the log has them.
        let later = mine.iter().flat_map(|c| c.workloads.iter().skip(1));
        let later: Vec<&String> = later.map(|(_, hash)| hash).collect();
        if later != seen.updates.iter().collect::<Vec<_>>() {
            let told = &seen.updates;
            wrong.push(format!("deployment {id}: updates {later:?}, told {told:?}"));
        }
    }
    if !told(all, contracts) {
        wrong.push("the log lacks what the chain did to contracts, or has it twice".to_owned());
    }
    for contract in contracts {
        let by_chain = all
            .get(&contract.deployment)
            .is_some_and(|seen| seen.by_chain);
        if by_chain && !contract.by_chain {
            wrong.push(format!("contract {} was ended by Gridway", contract.id));
        }
        if !all.contains_key(&contract.deployment) {
            wrong.push(format!("contract {} is nobody's", contract.id));
        }
    }
    wrong
}
