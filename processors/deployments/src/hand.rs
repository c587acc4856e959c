//! The hand `contracts`: it does with contracts on TFChain what the policy asks for.

use counterparties_tfchain::{
    BatchPlan, CancelPlan, ContractKind, ContractPlan, ContractProof, Tfchain, UpdatePlan, UserSeed,
};
use events::deployments::{
    BatchContractsRequested, BatchCreated, BatchFailed, BatchMember, ContractCancelRequested,
    ContractCancelled, ContractFailed, ContractRequested, ContractUpdateRequested, ContractUpdated,
    CreatedContract, DeploymentCreated, DeploymentEvent, DeploymentKind, Operation,
    UserBalanceObserved, UserBalanceRequested,
};
use events::envelope::Record;
use events::ids::{EventId, UserId};
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find};
use pipeline::clock;
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
    /// Contracts are to be created by one transaction.
    Batch(BatchContractsRequested),
    /// A contract is to get another workload.
    Update(ContractUpdateRequested),
    /// A contract is to be cancelled.
    Cancel(ContractCancelRequested),
    /// It is to be read what the account holds.
    Look(UserBalanceRequested),
}

/// What shows that it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// For each contract, in the order of the request.
    Contracts(Vec<ContractProof>),
    /// What the account held when it was looked at.
    Balance(Amount<Tft>),
}

impl Proof {
    fn one(proof: ContractProof) -> Self {
        Self::Contracts(vec![proof])
    }
}

impl Wish {
    const fn user(&self) -> UserId {
        match self {
            Self::Create(request) => request.user_id,
            Self::Batch(request) => request.user_id,
            Self::Update(request) => request.user_id,
            Self::Cancel(request) => request.user_id,
            Self::Look(request) => request.user_id,
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

fn kind(kind: DeploymentKind, name: Option<&String>) -> ContractKind {
    match kind {
        DeploymentKind::Node => ContractKind::Node,
        DeploymentKind::Name => ContractKind::Name(name.cloned().unwrap_or_default()),
        DeploymentKind::Rent => ContractKind::Rent,
    }
}

fn creation(record: &Record<DeploymentEvent>, request: &ContractRequested) -> ContractPlan {
    ContractPlan {
        deployment: request.deployment_id,
        kind: kind(request.kind, request.name.as_ref()),
        above: u64::try_from(request.above).unwrap_or_default(),
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

fn batch(record: &Record<DeploymentEvent>, request: &BatchContractsRequested) -> BatchPlan {
    let member = |member: &BatchMember| {
        let single = ContractRequested {
            deployment_id: member.deployment_id,
            user_id: request.user_id,
            twin_id: request.twin_id,
            attempt: request.attempt,
            node_id: member.node_id,
            version: member.version,
            hash: member.hash.clone(),
            data: member.data.clone(),
            public_ips: member.public_ips,
            solution_provider: member.solution_provider,
            minimum_balance: request.minimum_balance,
            deadline: request.deadline,
            kind: member.kind,
            name: member.name.clone(),
            above: member.above,
        };
        creation(record, &single)
    };
    BatchPlan {
        request: record.id(),
        requested_at: record.time(),
        deadline: request.deadline.seconds(),
        minimum_balance: request.minimum_balance,
        members: request.members.iter().map(member).collect(),
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
            DeploymentEvent::BatchContractsRequested(e) => Some(Wish::Batch(e.clone())),
            DeploymentEvent::ContractUpdateRequested(e) => Some(Wish::Update(e.clone())),
            DeploymentEvent::ContractCancelRequested(e) => Some(Wish::Cancel(e.clone())),
            DeploymentEvent::UserBalanceRequested(e) => Some(Wish::Look(e.clone())),
            _ => None,
        }
    }

    fn closes(&self, event: &DeploymentEvent) -> Option<EventId> {
        match event {
            DeploymentEvent::DeploymentCreated(e) => Some(e.request_id),
            DeploymentEvent::BatchCreated(e) => Some(e.request_id),
            DeploymentEvent::BatchFailed(e) => Some(e.request_id),
            DeploymentEvent::ContractUpdated(e) => Some(e.request_id),
            DeploymentEvent::ContractCancelled(e) => Some(e.request_id),
            DeploymentEvent::ContractFailed(e) => Some(e.request_id),
            DeploymentEvent::UserBalanceObserved(e) => Some(e.request_id),
            _ => None,
        }
    }

    /// A user's chain account is one queue.
    fn queue(&self, job: &Job<Self>) -> String {
        job.record.envelope.subject.clone()
    }

    async fn find(&self, job: &Job<Self>) -> Find<Proof> {
        let (record, key) = (&job.record, self.seed.user_key(&job.request.user()));
        let chain = &self.chain;
        match &job.request {
            Wish::Create(e) => {
                let plan = creation(record, e);
                chain.find_contract(&plan, &key).await.map(Proof::one)
            }
            Wish::Batch(e) => {
                let plan = batch(record, e);
                chain.find_batch(&plan, &key).await.map(Proof::Contracts)
            }
            Wish::Update(e) => {
                let plan = update(record, e);
                chain.find_update(&plan, &key).await.map(Proof::one)
            }
            Wish::Cancel(e) => {
                let plan = cancel(record, e);
                chain.find_cancel(&plan, &key).await.map(Proof::one)
            }
            // To look is all that there is to do.
            Wish::Look(_) => match chain.balance(&key.account_id()).await {
                Ok(balance) => Find::Landed(Proof::Balance(balance)),
                Err(error) => Find::NoAnswer(error.to_string()),
            },
        }
    }

    async fn attempt(&self, job: &Job<Self>) -> Attempt<Proof> {
        let (record, key) = (&job.record, self.seed.user_key(&job.request.user()));
        let (chain, owner) = (&self.chain, Ownership(&job.owner));
        match &job.request {
            Wish::Create(e) => {
                let plan = creation(record, e);
                let made = chain.create_contract(&plan, &key, &owner).await;
                made.map(Proof::one)
            }
            Wish::Batch(e) => {
                let made = chain.create_batch(&batch(record, e), &key, &owner).await;
                made.map(Proof::Contracts)
            }
            Wish::Update(e) => {
                let plan = update(record, e);
                let updated = chain.update_contract(&plan, &key, &owner).await;
                updated.map(Proof::one)
            }
            Wish::Cancel(e) => {
                let plan = cancel(record, e);
                let cancelled = chain.cancel_contract(&plan, &key, &owner).await;
                cancelled.map(Proof::one)
            }
            Wish::Look(_) => Attempt::NotSent("there is nothing to send".to_owned()),
        }
    }

    async fn outcome(&self, job: &Job<Self>, verdict: Verdict<Proof>) -> DeploymentEvent {
        let request_id = job.record.id();
        let (code, detail) = match verdict {
            Verdict::Landed(proof) => match done(&job.request, request_id, proof) {
                Some(event) => return event,
                None => (
                    "no_proof".to_owned(),
                    "the chain shows something else than was wanted".to_owned(),
                ),
            },
            Verdict::Refused(refusal) => (refusal.code, refusal.detail),
            Verdict::NeverWill(reason) => ("never_will".to_owned(), reason),
        };
        failed(&job.request, request_id, code, detail)
    }
}

fn failed(wish: &Wish, request_id: EventId, code: String, detail: String) -> DeploymentEvent {
    let (deployment_id, user_id, attempt, operation) = match wish {
        Wish::Create(e) => (e.deployment_id, e.user_id, e.attempt, Operation::Create),
        Wish::Update(e) => (e.deployment_id, e.user_id, e.attempt, Operation::Update),
        Wish::Cancel(e) => (e.deployment_id, e.user_id, e.attempt, Operation::Cancel),
        Wish::Batch(e) => {
            return BatchFailed {
                batch_id: e.batch_id,
                user_id: e.user_id,
                request_id,
                attempt: e.attempt,
                code,
                detail,
            }
            .into();
        }
        Wish::Look(e) => return observed(e, request_id, None),
    };
    ContractFailed {
        deployment_id,
        user_id,
        request_id,
        attempt,
        code,
        detail,
        operation,
    }
    .into()
}

fn observed(
    request: &UserBalanceRequested,
    request_id: EventId,
    balance: Option<Amount<Tft>>,
) -> DeploymentEvent {
    UserBalanceObserved {
        user_id: request.user_id,
        request_id,
        balance,
        observed_at: clock::now(),
    }
    .into()
}

/// The outcome, if there is a proof for each contract.
fn done(wish: &Wish, request_id: EventId, proof: Proof) -> Option<DeploymentEvent> {
    let proofs = match (proof, wish) {
        (Proof::Contracts(proofs), _) => proofs,
        (Proof::Balance(balance), Wish::Look(request)) => {
            return Some(observed(request, request_id, Some(balance)));
        }
        (Proof::Balance(_), _) => return None,
    };
    let first = proofs.first()?;
    let (extrinsic, block) = (first.extrinsic_hash.clone(), i64::from(first.block));
    Some(match wish {
        Wish::Create(request) => DeploymentCreated {
            deployment_id: request.deployment_id,
            user_id: request.user_id,
            request_id,
            node_id: request.node_id,
            contract_id: first.contract,
            hash: request.hash.clone(),
            extrinsic,
            block,
        }
        .into(),
        Wish::Batch(request) => {
            if proofs.len() != request.members.len() {
                return None;
            }
            let members = request.members.iter().zip(&proofs);
            let contracts = members.map(|(member, proof)| CreatedContract {
                deployment_id: member.deployment_id,
                node_id: member.node_id,
                contract_id: proof.contract,
                hash: member.hash.clone(),
            });
            BatchCreated {
                batch_id: request.batch_id,
                user_id: request.user_id,
                request_id,
                contracts: contracts.collect(),
                extrinsic,
                block,
            }
            .into()
        }
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
        Wish::Look(_) => return None,
    })
}
