//! Contracts of the modelled TFChain, and the transactions about them.
//!
//! What keeps a thing from being done twice is what does it on the real chain: a transaction
//! carries its account's nonce, which is taken once, and a node takes a hash once.

use crate::dice::Dice;
use crate::tfchain;
use counterparties_tfchain::{
    BatchPlan, CancelPlan, ChainEvent, ContractKind, ContractPlan, ContractProof, UpdatePlan,
};
use events::deployments::DeploymentKind;
use events::ids::ContractId;
use events::money::Amount;
use events::outcome::{Find, Refusal};
use events::time::Timestamp;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

/// A contract, ended or not, with the plan that it came to be by.
struct Contract {
    plan: ContractPlan,
    is: tfchain::Contract,
}

impl Deref for Contract {
    type Target = tfchain::Contract;

    fn deref(&self) -> &tfchain::Contract {
        &self.is
    }
}

impl DerefMut for Contract {
    fn deref_mut(&mut self) -> &mut tfchain::Contract {
        &mut self.is
    }
}

impl Contract {
    fn block(&self) -> u32 {
        self.workloads.first().map_or(0, |(block, _)| *block)
    }

    /// Whether a contract of the plan would stand in this one's place.
    fn is_in_place_of(&self, plan: &ContractPlan) -> bool {
        match (&self.plan.kind, &plan.kind) {
            (ContractKind::Node, ContractKind::Node) => {
                self.plan.node == plan.node
                    && self.workloads.last().is_some_and(|(_, h)| *h == plan.hash)
            }
            (ContractKind::Name(ours), ContractKind::Name(theirs)) => ours == theirs,
            (ContractKind::Rent, ContractKind::Rent) => self.plan.node == plan.node,
            (ContractKind::Node | ContractKind::Name(_) | ContractKind::Rent, _) => false,
        }
    }

    /// Whether it is the plan's own, as the chain shows it.
    fn is_of(&self, plan: &ContractPlan) -> bool {
        match (&self.plan.kind, &plan.kind) {
            (ContractKind::Node, ContractKind::Node) => {
                self.plan.node == plan.node
                    && self.workloads.first().is_some_and(|(_, h)| *h == plan.hash)
            }
            (ContractKind::Name(_) | ContractKind::Rent, _) => {
                self.is_in_place_of(plan) && self.plan.twin == plan.twin && self.id > plan.above
            }
            (ContractKind::Node, _) => false,
        }
    }

    fn stands_at(&self, block: u32) -> bool {
        self.block() <= block && self.ended.is_none_or(|ended| ended > block)
    }
}

/// A call about a contract.
#[derive(Debug, Clone)]
pub enum Call {
    /// It is created.
    Create(ContractPlan),
    /// They are created, all or none.
    Batch(BatchPlan),
    /// It gets another workload.
    Update(UpdatePlan),
    /// It is cancelled.
    Cancel(CancelPlan),
}

impl Call {
    fn deadline(&self) -> i64 {
        match self {
            Self::Create(plan) => plan.deadline,
            Self::Batch(plan) => plan.deadline,
            Self::Update(plan) => plan.deadline,
            Self::Cancel(plan) => plan.deadline,
        }
    }
}

/// A signed transaction.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Who signs.
    pub account: String,
    /// The nonce that was read.
    pub nonce: usize,
    /// What it does.
    pub call: Call,
}

/// All contracts, and what waits to be done.
#[derive(Default)]
pub struct Contracts {
    all: Vec<Contract>,
    pool: Vec<Signed>,
    /// The blocks in which each account's nonces were taken.
    nonces: BTreeMap<String, Vec<u32>>,
}

impl Contracts {
    /// The account's nonce in a block.
    pub fn nonce(&self, account: &str, block: u32) -> usize {
        let taken = self.nonces.get(account);
        taken.map_or(0, |taken| taken.iter().filter(|at| **at <= block).count())
    }

    /// Takes a transaction into the pool.
    pub fn submit(&mut self, signed: Signed) {
        self.pool.push(signed);
    }

    /// Carries out what waits, in block `number`.
    pub fn seal(&mut self, number: u32, now: Timestamp, events: &mut Vec<ChainEvent>) {
        for signed in std::mem::take(&mut self.pool) {
            let taken = self.nonces.entry(signed.account.clone()).or_default();
            if now.seconds() > signed.call.deadline() || taken.len() != signed.nonce {
                continue;
            }
            taken.push(number);
            // A call that fails takes its nonce all the same.
            self.carry_out(&signed.call, number, events);
        }
    }

    fn carry_out(&mut self, call: &Call, number: u32, events: &mut Vec<ChainEvent>) {
        let place = index(events);
        match call {
            Call::Create(plan) => self.create(std::slice::from_ref(plan), number, events),
            Call::Batch(plan) => self.create(&plan.members, number, events),
            Call::Update(plan) => {
                let Some(contract) = self.standing(plan.contract) else {
                    return;
                };
                contract.workloads.push((number, plan.hash.clone()));
                events.push(ChainEvent::ContractUpdated {
                    index: place,
                    contract: plan.contract,
                    hash: plan.hash.clone(),
                });
            }
            Call::Cancel(plan) => events.extend(self.end(plan.contract, number, place)),
        }
    }

    /// All of them, or none.
    fn create(&mut self, plans: &[ContractPlan], number: u32, events: &mut Vec<ChainEvent>) {
        let mut standing = self.all.iter().filter(|c| c.ended.is_none());
        if standing.any(|c| plans.iter().any(|plan| c.is_in_place_of(plan))) {
            return;
        }
        for plan in plans {
            let id = u64::try_from(self.all.len()).unwrap_or(0) + 1;
            let is = tfchain::Contract {
                id,
                deployment: plan.deployment,
                kind: match plan.kind {
                    ContractKind::Node => DeploymentKind::Node,
                    ContractKind::Name(_) => DeploymentKind::Name,
                    ContractKind::Rent => DeploymentKind::Rent,
                },
                workloads: vec![(number, plan.hash.clone())],
                ended: None,
                by_chain: false,
                billed: Vec::new(),
                grace: (0, 0),
            };
            self.all.push(Contract {
                plan: plan.clone(),
                is,
            });
            let (index, contract, twin) = (index(events), ContractId(id), plan.twin);
            events.push(match &plan.kind {
                ContractKind::Node => ChainEvent::ContractCreated {
                    index,
                    contract,
                    twin,
                    node: plan.node,
                    hash: plan.hash.clone(),
                },
                ContractKind::Name(name) => ChainEvent::NameContractCreated {
                    index,
                    contract,
                    twin,
                    name: name.clone(),
                },
                ContractKind::Rent => ChainEvent::RentContractCreated {
                    index,
                    contract,
                    twin,
                    node: plan.node,
                },
            });
        }
    }

    fn standing(&mut self, contract: ContractId) -> Option<&mut Contract> {
        let mut all = self.all.iter_mut();
        all.find(|c| c.id == contract.0 && c.ended.is_none())
    }

    fn end(&mut self, contract: ContractId, number: u32, index: u32) -> Option<ChainEvent> {
        self.standing(contract)?.ended = Some(number);
        Some(ChainEvent::ContractCancelled { index, contract })
    }

    /// Does something to one of the contracts that stand.
    pub fn of_itself(&mut self, dice: &Dice, number: u32, events: &mut Vec<ChainEvent>) {
        let standing = self.all.iter_mut().filter(|c| c.ended.is_none());
        let mut standing: Vec<&mut Contract> = standing.collect();
        if standing.is_empty() {
            return;
        }
        let place = dice.below(standing.len() as u64);
        let Some(contract) = usize::try_from(place)
            .ok()
            .and_then(|p| standing.get_mut(p))
        else {
            return;
        };
        let (index, id) = (index(events), ContractId(contract.id));
        let in_grace = contract.grace.0 > contract.grace.1;
        match dice.below(100) {
            0..=3 => {
                contract.ended = Some(number);
                contract.by_chain = true;
                events.push(ChainEvent::ContractCancelled {
                    index,
                    contract: id,
                });
            }
            4..=29 if in_grace => {
                contract.grace.1 += 1;
                events.push(ChainEvent::GracePeriodEnded {
                    index,
                    contract: id,
                });
            }
            4..=29 => {
                contract.grace.0 += 1;
                events.push(ChainEvent::GracePeriodStarted {
                    index,
                    contract: id,
                });
            }
            _ => {
                let amount = 1 + i64::try_from(dice.below(1_000)).unwrap_or(0);
                contract.billed.push(amount);
                events.push(ChainEvent::ContractBilled {
                    index,
                    contract: id,
                    amount: Amount::from_minor(amount).unwrap_or(Amount::ZERO),
                });
            }
        }
    }

    /// Every contract that ever was.
    pub fn all(&self) -> Vec<tfchain::Contract> {
        self.all
            .iter()
            .map(|contract| contract.is.clone())
            .collect()
    }

    /// What a node at block `head` knows of the plan; `None`: that it can be done.
    pub fn creation(&self, plan: &ContractPlan, head: u32) -> Option<Find<Vec<ContractProof>>> {
        let known = || self.all.iter().rev().filter(|c| c.block() <= head);
        if let Some(contract) = known().find(|c| c.is_of(plan)) {
            if contract.stands_at(head) {
                return Some(Find::Landed(proof(contract.id, contract.block())));
            }
            return Some(Find::Refused(gone(contract.id)));
        }
        let taken = known().any(|c| c.stands_at(head) && c.is_in_place_of(plan));
        taken.then(|| Find::Refused(Refusal::new("NameExists", "it is taken")))
    }

    /// The same of a batch. Some of its contracts may have ended since.
    pub fn batch(&self, plan: &BatchPlan, head: u32) -> Option<Find<Vec<ContractProof>>> {
        let known = || self.all.iter().rev().filter(|c| c.block() <= head);
        let mut proofs = Vec::new();
        for member in &plan.members {
            match known().find(|c| c.is_of(member)) {
                Some(contract) => proofs.extend(proof(contract.id, contract.block())),
                None => {
                    if let Some(refused) = self.creation(member, head) {
                        return Some(refused);
                    }
                }
            }
        }
        (!proofs.is_empty()).then_some(if proofs.len() == plan.members.len() {
            Find::Landed(proofs)
        } else {
            Find::Refused(Refusal::new("batch_in_part", "some are there"))
        })
    }

    /// The same of an update.
    pub fn update(&self, plan: &UpdatePlan, head: u32) -> Option<Find<Vec<ContractProof>>> {
        let contract = self.all.iter().find(|c| c.id == plan.contract.0);
        let done = contract.and_then(|c| {
            let mut workloads = c.workloads.iter();
            workloads.find(|(block, hash)| *block <= head && *hash == plan.hash)
        });
        if let Some((block, _)) = done {
            return Some(Find::Landed(proof(plan.contract.0, *block)));
        }
        if contract.is_some_and(|c| c.stands_at(head)) {
            return None;
        }
        Some(if head < plan.known_in {
            Find::Pending("the node lags".to_owned())
        } else {
            Find::Refused(gone(plan.contract.0))
        })
    }

    /// The same of a cancellation.
    pub fn cancellation(&self, plan: &CancelPlan, head: u32) -> Option<Find<Vec<ContractProof>>> {
        let contract = self.all.iter().find(|c| c.id == plan.contract.0);
        if contract.is_some_and(|c| c.stands_at(head)) {
            return None;
        }
        Some(if head < plan.known_in {
            Find::Pending("the node lags".to_owned())
        } else {
            let block = contract.and_then(|c| c.ended).unwrap_or(head);
            Find::Landed(proof(plan.contract.0, block))
        })
    }
}

/// Place of the next event of a block.
pub fn index(events: &[ChainEvent]) -> u32 {
    u32::try_from(events.len()).unwrap_or(u32::MAX)
}

fn proof(contract: u64, block: u32) -> Vec<ContractProof> {
    vec![ContractProof {
        contract: ContractId(contract),
        extrinsic_hash: String::new(),
        block,
    }]
}

fn gone(contract: u64) -> Refusal {
    Refusal::new("contract_ended", format!("contract {contract} is no more"))
}
