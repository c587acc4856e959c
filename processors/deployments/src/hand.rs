//! The hand `contracts`: it does with contracts on TFChain what the policy asks for.

use counterparties_tfchain::{
    CancelPlan, ContractPlan, ContractProof, Tfchain, UpdatePlan, UserSeed,
};
use events::deployments::{
    ContractCancelRequested, ContractCancelled, ContractFailed, ContractRequested,
    ContractUpdateRequested, ContractUpdated, DeploymentCreated, DeploymentEvent, Operation,
};
use events::envelope::Record;
use events::ids::{DeploymentId, EventId, UserId};
use events::outcome::{Attempt, Find, Refusal};
use pipeline::{Executor, Job, Owner, Verdict};
use std::sync::Arc;

/// The executor `contracts`.
pub struct Contracts {
    chain: Arc<dyn Tfchain>,
    seed: UserSeed,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A contract is to be created.
    Create(ContractRequested),
    /// A contract is to get another workload.
    Update(ContractUpdateRequested),
    /// A contract is to be cancelled.
    Cancel(ContractCancelRequested),
}

/// What shows that it was done.
pub type Proof = ContractProof;

impl Wish {
    const fn user(&self) -> UserId {
        match self {
            Self::Create(request) => request.user_id,
            Self::Update(request) => request.user_id,
            Self::Cancel(request) => request.user_id,
        }
    }

    const fn deployment(&self) -> DeploymentId {
        match self {
            Self::Create(request) => request.deployment_id,
            Self::Update(request) => request.deployment_id,
            Self::Cancel(request) => request.deployment_id,
        }
    }

    const fn attempt(&self) -> (Operation, i32) {
        match self {
            Self::Create(request) => (Operation::Create, request.attempt),
            Self::Update(request) => (Operation::Update, request.attempt),
            Self::Cancel(request) => (Operation::Cancel, request.attempt),
        }
    }
}

impl Contracts {
    /// The hand; it signs as the user.
    #[must_use]
    pub fn new(chain: Arc<dyn Tfchain>, seed: UserSeed) -> Self {
        Self { chain, seed }
    }
}

fn creation(record: &Record<DeploymentEvent>, request: &ContractRequested) -> ContractPlan {
    ContractPlan {
        deployment: request.deployment_id,
        version: u32::try_from(request.version).unwrap_or_default(),
        request: record.id(),
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
        requested_at: record.time(),
    }
}

fn update(record: &Record<DeploymentEvent>, request: &ContractUpdateRequested) -> UpdatePlan {
    UpdatePlan {
        request: record.id(),
        requested_at: record.time(),
        deadline: request.deadline.seconds(),
        contract: request.contract_id,
        known_in: block(request.created_block),
        hash: request.hash.clone(),
        data: request.data.clone(),
    }
}

fn cancel(record: &Record<DeploymentEvent>, request: &ContractCancelRequested) -> CancelPlan {
    CancelPlan {
        request: record.id(),
        requested_at: record.time(),
        deadline: request.deadline.seconds(),
        contract: request.contract_id,
        known_in: block(request.created_block),
    }
}

fn block(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
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
    type Request = Wish;
    type Proof = Proof;
    type Context = ();

    fn observe(&self, (): &mut (), _: &Record<DeploymentEvent>) {}

    fn request(&self, record: &Record<DeploymentEvent>) -> Option<Wish> {
        match &record.event {
            DeploymentEvent::ContractRequested(e) => Some(Wish::Create(e.clone())),
            DeploymentEvent::ContractUpdateRequested(e) => Some(Wish::Update(e.clone())),
            DeploymentEvent::ContractCancelRequested(e) => Some(Wish::Cancel(e.clone())),
            _ => None,
        }
    }

    fn closes(&self, event: &DeploymentEvent) -> Option<EventId> {
        match event {
            DeploymentEvent::DeploymentCreated(e) => Some(e.request_id),
            DeploymentEvent::ContractUpdated(e) => Some(e.request_id),
            DeploymentEvent::ContractCancelled(e) => Some(e.request_id),
            DeploymentEvent::ContractFailed(e) => Some(e.request_id),
            _ => None,
        }
    }

    /// A user's chain account is one queue.
    fn queue(&self, job: &Job<Self>) -> String {
        job.record.envelope.subject.clone()
    }

    async fn find(&self, job: &Job<Self>) -> Find<Proof> {
        let (record, key) = (&job.record, self.seed.user_key(&job.request.user()));
        match &job.request {
            Wish::Create(e) => self.chain.find_contract(&creation(record, e), &key).await,
            Wish::Update(e) => self.chain.find_update(&update(record, e), &key).await,
            Wish::Cancel(e) => self.chain.find_cancel(&cancel(record, e), &key).await,
        }
    }

    async fn attempt(&self, job: &Job<Self>) -> Attempt<Proof> {
        let (record, key) = (&job.record, self.seed.user_key(&job.request.user()));
        let (chain, owner) = (&self.chain, Ownership(&job.owner));
        match &job.request {
            Wish::Create(e) => {
                let plan = creation(record, e);
                chain.create_contract(&plan, &key, &owner).await
            }
            Wish::Update(e) => {
                let plan = update(record, e);
                chain.update_contract(&plan, &key, &owner).await
            }
            Wish::Cancel(e) => {
                let plan = cancel(record, e);
                chain.cancel_contract(&plan, &key, &owner).await
            }
        }
    }

    async fn outcome(&self, job: &Job<Self>, verdict: Verdict<Proof>) -> DeploymentEvent {
        let request_id = job.record.id();
        let refusal = match verdict {
            Verdict::Landed(proof) => return done(&job.request, request_id, proof),
            Verdict::Refused(refusal) => refusal,
            Verdict::NeverWill(reason) => Refusal::new("never_will", reason),
        };
        let (operation, attempt) = job.request.attempt();
        ContractFailed {
            deployment_id: job.request.deployment(),
            user_id: job.request.user(),
            request_id,
            attempt,
            code: refusal.code,
            detail: refusal.detail,
            operation,
        }
        .into()
    }
}

fn done(wish: &Wish, request_id: EventId, proof: Proof) -> DeploymentEvent {
    let (extrinsic, block) = (proof.extrinsic_hash, i64::from(proof.block));
    match wish {
        Wish::Create(request) => DeploymentCreated {
            deployment_id: request.deployment_id,
            user_id: request.user_id,
            request_id,
            node_id: request.node_id,
            contract_id: proof.contract,
            hash: request.hash.clone(),
            extrinsic,
            block,
        }
        .into(),
        Wish::Update(request) => ContractUpdated {
            deployment_id: request.deployment_id,
            user_id: request.user_id,
            request_id,
            contract_id: request.contract_id,
            version: request.version,
            hash: request.hash.clone(),
            extrinsic,
            block,
        }
        .into(),
        Wish::Cancel(request) => ContractCancelled {
            deployment_id: request.deployment_id,
            user_id: request.user_id,
            request_id,
            contract_id: request.contract_id,
            extrinsic,
            block,
        }
        .into(),
    }
}
