//! Deployments on TFChain: the policy `deployments` ([`decide`]) and its hand `contracts`.

pub mod decide;

use counterparties_tfchain::{ContractPlan, ContractProof, Tfchain, UserSeed};
use decide::{Deployments, Rules, transition, user_of};
use events::deployments::{
    ContractFailed, ContractRequested, DeploymentCreated, DeploymentEvent, TimerFired,
};
use events::envelope::Record;
use events::ids::EventId;
use events::outcome::{Attempt, Find, Refusal};
use pipeline::append::Planned;
use pipeline::{Decision, Executor, Job, Owner, Policy, Timer, Verdict};
use std::sync::Arc;

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
        DeploymentEvent::DeploymentFailed(e) => e.deployment_id.to_string(),
        _ => String::new(),
    }
}

/// The executor `contracts`.
pub struct Contracts {
    chain: Arc<dyn Tfchain>,
    seed: UserSeed,
}

impl Contracts {
    /// The hand; it signs as the user.
    #[must_use]
    pub fn new(chain: Arc<dyn Tfchain>, seed: UserSeed) -> Self {
        Self { chain, seed }
    }

    fn plan(job: &Job<Self>) -> ContractPlan {
        let request = &job.request;
        ContractPlan {
            deployment: request.deployment_id,
            version: u32::try_from(request.version).unwrap_or_default(),
            request: job.record.id(),
            user: request.user_id,
            twin: request.twin_id,
            node: request.node_id,
            hash: request.hash.clone(),
            data: request.data.clone(),
            public_ips: u32::try_from(request.public_ips).unwrap_or_default(),
            solution_provider: request
                .solution_provider
                .and_then(|p| u64::try_from(p).ok()),
            deadline: request.deadline.seconds(),
            minimum_balance: request.minimum_balance,
            requested_at: job.record.time(),
        }
    }
}

struct Ownership<'a>(&'a Owner);

impl counterparties_tfchain::OwnershipProof for Ownership<'_> {
    fn prove(&self) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(self.0.prove())
    }
}

impl Executor for Contracts {
    const NAME: &'static str = "contracts";
    type Event = DeploymentEvent;
    type Request = ContractRequested;
    type Proof = ContractProof;
    type Context = ();

    fn observe(&self, (): &mut (), _: &Record<DeploymentEvent>) {}

    fn request(&self, record: &Record<DeploymentEvent>) -> Option<ContractRequested> {
        match &record.event {
            DeploymentEvent::ContractRequested(request) => Some(request.clone()),
            _ => None,
        }
    }

    fn closes(&self, event: &DeploymentEvent) -> Option<EventId> {
        match event {
            DeploymentEvent::DeploymentCreated(e) => Some(e.request_id),
            DeploymentEvent::ContractFailed(e) => Some(e.request_id),
            _ => None,
        }
    }

    /// A user's chain account is one queue.
    fn queue(&self, job: &Job<Self>) -> String {
        job.record.envelope.subject.clone()
    }

    async fn find(&self, job: &Job<Self>) -> Find<ContractProof> {
        let key = self.seed.user_key(&job.request.user_id);
        self.chain.find_contract(&Self::plan(job), &key).await
    }

    async fn attempt(&self, job: &Job<Self>) -> Attempt<ContractProof> {
        let key = self.seed.user_key(&job.request.user_id);
        self.chain
            .create_contract(&Self::plan(job), &key, &Ownership(&job.owner))
            .await
    }

    async fn outcome(&self, job: &Job<Self>, verdict: Verdict<ContractProof>) -> DeploymentEvent {
        let (request_id, request) = (job.record.id(), &job.request);
        let refusal = match verdict {
            Verdict::Landed(proof) => {
                return DeploymentCreated {
                    deployment_id: request.deployment_id,
                    user_id: request.user_id,
                    request_id,
                    node_id: request.node_id,
                    contract_id: proof.contract,
                    hash: request.hash.clone(),
                    extrinsic: proof.extrinsic_hash,
                    block: i64::from(proof.block),
                }
                .into();
            }
            Verdict::Refused(refusal) => refusal,
            Verdict::NeverWill(reason) => Refusal::new("never_will", reason),
        };
        ContractFailed {
            deployment_id: request.deployment_id,
            user_id: request.user_id,
            request_id,
            attempt: request.attempt,
            code: refusal.code,
            detail: refusal.detail,
        }
        .into()
    }
}
