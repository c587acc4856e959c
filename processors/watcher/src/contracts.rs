//! The source `contract-watcher`: it turns what the chain does to our contracts into facts of
//! deployments.
//!
//! Events of the chain name a contract. Whose it is stands in the log: the outcome of its creation
//! names it, and where that is not known yet, its creation on the chain has the node and the hash
//! of an open request. That finding is a fact, too (`ContractAppeared`), so that it is still known
//! after a restart that reads on behind the creation. What Gridway did itself is no news: the
//! request stands in the log before anything of it can be on the chain.

use crate::blocks::Blocks;
use counterparties_tfchain::{Block, ChainEvent, Tfchain};
use events::deployments::{
    ContractAppeared, ContractBilled, ContractCancelledByChain, ContractUpdatedByOther,
    DeploymentEvent, DeploymentKind, GracePeriodEnded, GracePeriodStarted, Operation,
};
use events::envelope::Record;
use events::ids::{ContractId, DeploymentId, EventId, NodeId, TwinId, UserId};
use events::money::{Amount, Tft};
use events::time::Timestamp;
use pipeline::{Claim, Planned, Reading, Source};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Creations on the chain that are remembered until the log has them.
const REMEMBERED: usize = 8_192;
/// Contracts that have ended and are kept: what was before their end may be read after it.
const ENDED: usize = 4_096;

/// The source `contract-watcher`.
pub struct ContractWatcher {
    blocks: Blocks,
    /// How the contracts that were created lately were told apart before they had a number.
    made: Mutex<(HashMap<ContractId, Made>, VecDeque<ContractId>)>,
}

/// What tells a contract apart before it has a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Made {
    /// A workload, by its node and hash.
    Node(u32, String),
    /// A name, by itself and its twin.
    Name(String, u32),
    /// A whole node, by its number and the twin.
    Rent(u32, u32),
}

impl Made {
    fn of(
        kind: DeploymentKind,
        name: Option<&String>,
        node: NodeId,
        hash: &str,
        twin: TwinId,
    ) -> Self {
        match kind {
            DeploymentKind::Node => Self::Node(node.0, hash.to_owned()),
            DeploymentKind::Name => Self::Name(name.cloned().unwrap_or_default(), twin.0),
            DeploymentKind::Rent => Self::Rent(node.0, twin.0),
        }
    }
}

/// What happened to a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Happened {
    Created,
    Updated(String),
    Cancelled,
    Billed(Amount<Tft>),
    GraceStarted,
    GraceEnded,
}

/// Something that happened to a contract, ours or not.
#[derive(Debug, Clone)]
pub struct ContractFact {
    contract: ContractId,
    made: Option<Made>,
    happened: Happened,
    block: u32,
    at: Timestamp,
    index: u32,
}

/// A deployment's contract, or the request for one.
struct Owned {
    deployment: DeploymentId,
    user: UserId,
    /// What the facts follow from.
    cause: Record<DeploymentEvent>,
    /// Hashes of the workloads that Gridway asked for.
    hashes: HashSet<String>,
    /// Gridway was asked to cancel it.
    ending: bool,
    /// Contracts up to this number are earlier ones.
    above: u64,
}

impl Owned {
    /// As the request of its creation has it.
    fn new(
        deployment: DeploymentId,
        user: UserId,
        hash: &str,
        above: i64,
        request: &Record<DeploymentEvent>,
    ) -> Self {
        Self {
            deployment,
            user,
            cause: request.clone(),
            hashes: HashSet::from([hash.to_owned()]),
            ending: false,
            above: u64::try_from(above).unwrap_or_default(),
        }
    }
}

/// The contracts of a partition, and those that are being created.
#[derive(Default)]
pub struct Contracts {
    wanted: HashMap<Made, Owned>,
    known: HashMap<ContractId, Owned>,
    by_deployment: HashMap<DeploymentId, ContractId>,
    /// Oldest first.
    ended: VecDeque<DeploymentId>,
}

impl Contracts {
    fn of(&mut self, deployment: DeploymentId) -> Option<&mut Owned> {
        let contract = self.by_deployment.get(&deployment)?;
        self.known.get_mut(contract)
    }

    fn over(&mut self, deployment: DeploymentId) {
        self.ended.push_back(deployment);
        while self.ended.len() > ENDED {
            let Some(oldest) = self.ended.pop_front() else {
                return;
            };
            if let Some(contract) = self.by_deployment.remove(&oldest) {
                self.known.remove(&contract);
            }
            self.wanted.retain(|_, owned| owned.deployment != oldest);
        }
    }

    fn want(&mut self, made: Made, owned: Owned) {
        self.wanted.insert(made, owned);
    }

    /// The contract of a request has a number now.
    fn appeared(&mut self, deployment: DeploymentId, contract: ContractId) {
        let made = self
            .wanted
            .iter()
            .find_map(|(made, owned)| (owned.deployment == deployment).then(|| made.clone()));
        if let Some(owned) = made.and_then(|made| self.wanted.remove(&made)) {
            self.by_deployment.insert(deployment, contract);
            self.known.insert(contract, owned);
        }
    }

    fn created(
        &mut self,
        deployment: DeploymentId,
        contract: ContractId,
        record: &Record<DeploymentEvent>,
    ) {
        self.appeared(deployment, contract);
        if let Some(owned) = self.of(deployment) {
            owned.cause = record.clone();
        }
    }

    fn owned(&self, fact: &ContractFact) -> Option<&Owned> {
        let wanted = || {
            let owned = self.wanted.get(fact.made.as_ref()?)?;
            (fact.contract.0 > owned.above).then_some(owned)
        };
        self.known.get(&fact.contract).or_else(wanted)
    }
}

impl ContractWatcher {
    /// The source; without a cursor it begins at `first_block`.
    #[must_use]
    pub fn new(chain: Arc<dyn Tfchain>, first_block: u32) -> Self {
        Self {
            blocks: Blocks::new(chain, first_block),
            made: Mutex::default(),
        }
    }

    fn remember(&self, contract: ContractId, made: Made) {
        let mut remembered = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let (by_contract, order) = &mut *remembered;
        if by_contract.insert(contract, made).is_none() {
            order.push_back(contract);
        }
        while order.len() > REMEMBERED {
            if let Some(oldest) = order.pop_front() {
                by_contract.remove(&oldest);
            }
        }
    }

    fn fact(&self, event: &ChainEvent, block: &Block) -> Option<ContractFact> {
        let (contract, index, happened) = match event {
            ChainEvent::ContractCreated {
                index,
                contract,
                node,
                hash,
                ..
            } => {
                self.remember(*contract, Made::Node(node.0, hash.clone()));
                (*contract, *index, Happened::Created)
            }
            ChainEvent::NameContractCreated {
                index,
                contract,
                twin,
                name,
            } => {
                self.remember(*contract, Made::Name(name.clone(), twin.0));
                (*contract, *index, Happened::Created)
            }
            ChainEvent::RentContractCreated {
                index,
                contract,
                twin,
                node,
            } => {
                self.remember(*contract, Made::Rent(node.0, twin.0));
                (*contract, *index, Happened::Created)
            }
            ChainEvent::ContractUpdated {
                index,
                contract,
                hash,
            } => (*contract, *index, Happened::Updated(hash.clone())),
            ChainEvent::ContractCancelled { index, contract } => {
                (*contract, *index, Happened::Cancelled)
            }
            ChainEvent::ContractBilled {
                index,
                contract,
                amount,
            } => (*contract, *index, Happened::Billed(*amount)),
            ChainEvent::GracePeriodStarted { index, contract } => {
                (*contract, *index, Happened::GraceStarted)
            }
            ChainEvent::GracePeriodEnded { index, contract } => {
                (*contract, *index, Happened::GraceEnded)
            }
            ChainEvent::BridgeMinted { .. }
            | ChainEvent::BridgeRefunded { .. }
            | ChainEvent::TwinCreated { .. }
            | ChainEvent::Other { .. } => return None,
        };
        let remembered = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let made = remembered.0.get(&contract).cloned();
        Some(ContractFact {
            contract,
            made,
            happened,
            block: block.number,
            at: block.timestamp,
            index,
        })
    }
}

impl Source for ContractWatcher {
    const NAME: &'static str = "contract-watcher";
    type Event = DeploymentEvent;
    type Fact = ContractFact;
    type State = Contracts;

    fn evolve(&self, state: &mut Contracts, record: &Record<DeploymentEvent>) {
        match &record.event {
            DeploymentEvent::ContractRequested(e) => {
                let made = Made::of(e.kind, e.name.as_ref(), e.node_id, &e.hash, e.twin_id);
                let owned = Owned::new(e.deployment_id, e.user_id, &e.hash, e.above, record);
                state.want(made, owned);
            }
            DeploymentEvent::BatchContractsRequested(e) => {
                for m in &e.members {
                    let made = Made::of(m.kind, m.name.as_ref(), m.node_id, &m.hash, e.twin_id);
                    let owned = Owned::new(m.deployment_id, e.user_id, &m.hash, m.above, record);
                    state.want(made, owned);
                }
            }
            DeploymentEvent::BatchCreated(e) => {
                for made in &e.contracts {
                    state.created(made.deployment_id, made.contract_id, record);
                }
            }
            DeploymentEvent::ContractAppeared(e) => state.appeared(e.deployment_id, e.contract_id),
            DeploymentEvent::DeploymentCreated(e) => {
                state.created(e.deployment_id, e.contract_id, record);
            }
            DeploymentEvent::ContractUpdateRequested(e) => {
                if let Some(owned) = state.of(e.deployment_id) {
                    owned.hashes.insert(e.hash.clone());
                }
            }
            DeploymentEvent::ContractCancelRequested(e) => {
                if let Some(owned) = state.of(e.deployment_id) {
                    owned.ending = true;
                }
            }
            DeploymentEvent::ContractFailed(e) => match e.operation {
                Operation::Create if e.code == "contract_ended" => {}
                // No contract came of it.
                Operation::Create => {
                    state
                        .wanted
                        .retain(|_, owned| owned.deployment != e.deployment_id);
                }
                Operation::Update => {}
                Operation::Cancel => {
                    if let Some(owned) = state.of(e.deployment_id) {
                        owned.ending = false;
                    }
                }
            },
            DeploymentEvent::DeploymentCancelled(e) => state.over(e.deployment_id),
            DeploymentEvent::DeploymentRequested(_)
            | DeploymentEvent::FundsArrived(_)
            | DeploymentEvent::PurchaseEnded(_)
            | DeploymentEvent::BatchRequested(_)
            | DeploymentEvent::BatchFailed(_)
            | DeploymentEvent::DeploymentFailed(_)
            | DeploymentEvent::DeploymentUpdateRequested(_)
            | DeploymentEvent::ContractUpdated(_)
            | DeploymentEvent::DeploymentUpdateRejected(_)
            | DeploymentEvent::DeploymentUpdateFailed(_)
            | DeploymentEvent::DeploymentCancelRequested(_)
            | DeploymentEvent::DeploymentCancelFailed(_)
            | DeploymentEvent::ContractCancelled(_)
            | DeploymentEvent::ContractCancelledByChain(_)
            | DeploymentEvent::ContractBilled(_)
            | DeploymentEvent::GracePeriodStarted(_)
            | DeploymentEvent::GracePeriodEnded(_)
            | DeploymentEvent::ContractUpdatedByOther(_)
            | DeploymentEvent::WorkloadDelivered(_)
            | DeploymentEvent::WorkloadRunning(_)
            | DeploymentEvent::WorkloadFailed(_)
            | DeploymentEvent::UserBalanceRequested(_)
            | DeploymentEvent::UserBalanceObserved(_)
            | DeploymentEvent::UserBalanceAssessed(_)
            | DeploymentEvent::TimerFired(_)
            | DeploymentEvent::DeadLetterReleased(_) => {}
        }
    }

    /// The cursor is the number of the last block that was read.
    async fn read(&self, cursor: Option<&str>, restarted: bool) -> Reading<ContractFact> {
        let next = self.blocks.next(cursor, restarted).await;
        let facts = next.blocks.iter().flat_map(|block| {
            let events = block.events.iter();
            events.filter_map(|event| self.fact(event, block))
        });
        Reading {
            facts: facts.collect(),
            cursor: next.cursor,
            up_to: next.up_to,
        }
    }

    fn claim(&self, state: &Contracts, _: i32, fact: &ContractFact) -> Claim<DeploymentEvent> {
        let Some(owned) = state.owned(fact) else {
            return Claim::NotMine;
        };
        let Some(event) = told(state, owned, fact) else {
            return Claim::NotMine;
        };
        let id = EventId::derive(&["tfchain", &fact.block.to_string(), &fact.index.to_string()]);
        Claim::Mine(
            Box::new(owned.cause.clone()),
            Planned::new(event).with_id(id),
        )
    }
}

/// The event of a fact about a contract of ours, unless the log knows of it already.
fn told(state: &Contracts, owned: &Owned, fact: &ContractFact) -> Option<DeploymentEvent> {
    let (deployment_id, user_id, contract_id) = (owned.deployment, owned.user, fact.contract);
    let (block, event_index) = (
        i64::from(fact.block),
        i32::try_from(fact.index).unwrap_or(i32::MAX),
    );
    Some(match &fact.happened {
        Happened::Created if state.known.contains_key(&contract_id) => return None,
        Happened::Created => ContractAppeared {
            deployment_id,
            user_id,
            contract_id,
            block,
            event_index,
        }
        .into(),
        Happened::Updated(hash) if owned.hashes.contains(hash) => return None,
        Happened::Updated(hash) => ContractUpdatedByOther {
            deployment_id,
            user_id,
            contract_id,
            hash: hash.clone(),
            block,
            event_index,
        }
        .into(),
        Happened::Cancelled if owned.ending => return None,
        Happened::Cancelled => ContractCancelledByChain {
            deployment_id,
            user_id,
            contract_id,
            block,
            event_index,
        }
        .into(),
        Happened::Billed(amount) => ContractBilled {
            deployment_id,
            user_id,
            contract_id,
            amount: *amount,
            block,
            event_index,
            billed_at: Some(fact.at),
        }
        .into(),
        Happened::GraceStarted => GracePeriodStarted {
            deployment_id,
            user_id,
            contract_id,
            block,
            event_index,
        }
        .into(),
        Happened::GraceEnded => GracePeriodEnded {
            deployment_id,
            user_id,
            contract_id,
            block,
            event_index,
        }
        .into(),
    })
}
