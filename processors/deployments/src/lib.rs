//! Deployments on TFChain: the policy `deployments` ([`decide`]) and its hand `contracts`
//! ([`Contracts`]).

pub mod decide;
mod hand;
pub mod state;

pub use hand::{Contracts, Proof, Wish};

use decide::{Rules, transition, user_of};
use events::deployments::{DeploymentEvent, TimerFired};
use events::envelope::Record;
use pipeline::append::Planned;
use pipeline::{Decision, Policy, Timer};
use state::Deployments;

/// The policy `deployments`.
#[derive(Debug, Clone, Default)]
pub struct DeploymentPolicy {
    rules: Rules,
}

impl DeploymentPolicy {
    /// The policy under these rules.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

impl Policy for DeploymentPolicy {
    const NAME: &'static str = "deployments";
    type Event = DeploymentEvent;
    type State = Deployments;

    fn evolve(&self, state: Deployments, record: &Record<DeploymentEvent>) -> Deployments {
        transition(&self.rules, state, record).0
    }

    fn decide(
        &self,
        state: &Deployments,
        record: &Record<DeploymentEvent>,
    ) -> Decision<DeploymentEvent> {
        let mut decision = transition(&self.rules, state.clone(), record).1;
        // One fact can wake several deployments: each event is told apart by its deployment.
        for planned in &mut decision.own {
            planned.discriminator = deployment_of(planned);
        }
        decision
    }

    fn timers(&self, state: &Deployments) -> Vec<Timer> {
        state.timers()
    }

    fn timer_fired(&self, key: &str, timer: &Timer) -> Option<DeploymentEvent> {
        Some(
            TimerFired {
                user_id: user_of(key)?,
                timer: timer.name.clone(),
                due: timer.due,
            }
            .into(),
        )
    }
}

fn deployment_of(planned: &Planned<DeploymentEvent>) -> String {
    match &planned.event {
        DeploymentEvent::ContractRequested(e) => e.deployment_id.to_string(),
        DeploymentEvent::BatchContractsRequested(e) => e.batch_id.to_string(),
        DeploymentEvent::ContractUpdateRequested(e) => e.deployment_id.to_string(),
        DeploymentEvent::ContractCancelRequested(e) => e.deployment_id.to_string(),
        DeploymentEvent::DeploymentFailed(e) => e.deployment_id.to_string(),
        DeploymentEvent::DeploymentCancelled(e) => e.deployment_id.to_string(),
        DeploymentEvent::DeploymentUpdateRejected(e) => e.deployment_id.to_string(),
        DeploymentEvent::DeploymentUpdateFailed(e) => e.deployment_id.to_string(),
        DeploymentEvent::DeploymentCancelFailed(e) => e.deployment_id.to_string(),
        // At most one at once.
        DeploymentEvent::UserBalanceRequested(_) | DeploymentEvent::UserBalanceAssessed(_) => {
            String::new()
        }
        // These are others' to append.
        DeploymentEvent::DeploymentRequested(_)
        | DeploymentEvent::FundsArrived(_)
        | DeploymentEvent::PurchaseEnded(_)
        | DeploymentEvent::DeploymentCreated(_)
        | DeploymentEvent::ContractFailed(_)
        | DeploymentEvent::DeploymentUpdateRequested(_)
        | DeploymentEvent::ContractUpdated(_)
        | DeploymentEvent::DeploymentCancelRequested(_)
        | DeploymentEvent::ContractCancelled(_)
        | DeploymentEvent::BatchRequested(_)
        | DeploymentEvent::BatchCreated(_)
        | DeploymentEvent::BatchFailed(_)
        | DeploymentEvent::ContractAppeared(_)
        | DeploymentEvent::ContractBilled(_)
        | DeploymentEvent::GracePeriodStarted(_)
        | DeploymentEvent::GracePeriodEnded(_)
        | DeploymentEvent::ContractCancelledByChain(_)
        | DeploymentEvent::ContractUpdatedByOther(_)
        | DeploymentEvent::WorkloadDelivered(_)
        | DeploymentEvent::WorkloadRunning(_)
        | DeploymentEvent::WorkloadFailed(_)
        | DeploymentEvent::UserBalanceObserved(_)
        | DeploymentEvent::TimerFired(_)
        | DeploymentEvent::DeadLetterReleased(_) => String::new(),
    }
}
