//! What the stand-in's ledger holds, read from what its blocks did.

use crate::dice::Dice;
use crate::people::{later, members};
use crate::script::{Change, Script};
use crate::tfchain::{Contract, FEE, Holds};
use counterparties_tfchain::deployment_hash;
use events::deployments::DeploymentKind;
use events::ids::DeploymentId;
use sandbox_tfchain::ledger::OfItself;
use sandbox_tfchain::runtime::frame_system::Phase;
use sandbox_tfchain::runtime::pallet_balances::Event as Balances;
use sandbox_tfchain::runtime::pallet_smart_contract::Event as Contracts;
use sandbox_tfchain::runtime::pallet_smart_contract::types::ContractData;
use sandbox_tfchain::runtime::pallet_tfgrid::Event as Grid;
use sandbox_tfchain::runtime::pallet_tft_bridge::Event as Bridge;
use sandbox_tfchain::runtime::tfchain_runtime::RuntimeEvent;
use std::collections::BTreeMap;

/// Whose contracts are: the chain knows workloads by their hash, names by themselves, and whole
/// nodes by their number, and each of these is one deployment's in a world.
#[derive(Debug, Default)]
pub struct Owners {
    hashes: BTreeMap<String, DeploymentId>,
    names: BTreeMap<String, DeploymentId>,
    nodes: BTreeMap<u32, DeploymentId>,
}

impl Owners {
    /// Those of a script's buyers.
    #[must_use]
    pub fn of(seed: u64, script: &Script) -> Self {
        let mut owners = Self::default();
        for (number, buyer) in script.buyers.iter().enumerate() {
            for member in members(seed, number, buyer.what) {
                let id = member.deployment_id;
                match member.kind {
                    DeploymentKind::Node => drop(owners.hashes.insert(member.hash, id)),
                    DeploymentKind::Name => {
                        owners.names.insert(member.name.unwrap_or_default(), id);
                    }
                    DeploymentKind::Rent => drop(owners.nodes.insert(member.node_id.0, id)),
                }
            }
            let Some(first) = members(seed, number, buyer.what).into_iter().next() else {
                continue;
            };
            // One that was changed before its contract came to be begins with a later workload.
            for (version, change) in (2..).zip(&buyer.changes) {
                if matches!(change, Change::Update(_)) {
                    let id = first.deployment_id;
                    let hash =
                        deployment_hash(&id, u32::try_from(version).unwrap_or(0), &later(version));
                    owners.hashes.insert(hash, id);
                }
            }
        }
        owners
    }

    fn owner(&self, contract: u64, data: &ContractData) -> DeploymentId {
        let known = match data {
            ContractData::NodeContract(workload) => {
                self.hashes.get(&hex::encode(workload.deployment_hash))
            }
            ContractData::NameContract(named) => {
                self.names.get(&*String::from_utf8_lossy(&named.name))
            }
            ContractData::RentContract(rent) => self.nodes.get(&rent.node_id),
        };
        // Nobody's.
        known.copied().unwrap_or_else(|| {
            DeploymentId::derive(&["a contract of nobody's", &contract.to_string()])
        })
    }
}

/// What the ledger holds.
#[derive(Debug, Default)]
pub struct Books {
    contracts: BTreeMap<u64, Contract>,
    /// Everything else.
    rest: Holds,
}

impl Books {
    /// Reads them from what the blocks did.
    #[must_use]
    pub fn read(happened: &[Vec<(Phase, RuntimeEvent)>], owners: &Owners) -> Self {
        let mut books = Self::default();
        for (number, events) in (0..).zip(happened) {
            for (phase, event) in events {
                match event {
                    RuntimeEvent::SmartContractModule(event) => {
                        let by_itself = *phase == Phase::Initialization;
                        books.contract(number, by_itself, event, owners);
                    }
                    RuntimeEvent::TFTBridgeModule(event) => books.bridge(event),
                    RuntimeEvent::TfgridModule(Grid::TwinStored(twin)) => {
                        let account = twin.account_id.to_string();
                        books.rest.twins.entry(account).or_default().push(twin.id);
                    }
                    // Nobody but the activator transfers anything.
                    RuntimeEvent::Balances(Balances::Transfer { to, .. }) => {
                        *books.rest.activations.entry(to.to_string()).or_default() += 1;
                    }
                    RuntimeEvent::System(_)
                    | RuntimeEvent::Utility(_)
                    | RuntimeEvent::Balances(_)
                    | RuntimeEvent::TransactionPayment(_)
                    | RuntimeEvent::TfgridModule(_)
                    | RuntimeEvent::TFTPriceModule(_) => {}
                }
            }
        }
        books
    }

    fn contract(&mut self, number: u32, by_itself: bool, event: &Contracts, owners: &Owners) {
        let hash_of = |data: &ContractData| match data {
            ContractData::NodeContract(workload) => hex::encode(workload.deployment_hash),
            ContractData::NameContract(_) | ContractData::RentContract(_) => String::new(),
        };
        if let Contracts::ContractCreated(made) = event {
            let (id, data) = (made.contract_id, &made.contract_type);
            let contract = Contract {
                id,
                deployment: owners.owner(id, data),
                kind: match data {
                    ContractData::NodeContract(_) => DeploymentKind::Node,
                    ContractData::NameContract(_) => DeploymentKind::Name,
                    ContractData::RentContract(_) => DeploymentKind::Rent,
                },
                workloads: vec![(number, hash_of(data))],
                ended: None,
                by_chain: false,
                billed: Vec::new(),
                grace: (0, 0),
            };
            self.contracts.insert(id, contract);
            return;
        }
        let (Contracts::ContractCreated(made) | Contracts::ContractUpdated(made)) = event else {
            return self.changed(number, by_itself, event);
        };
        if let Some(contract) = self.contracts.get_mut(&made.contract_id) {
            let hash = hash_of(&made.contract_type);
            contract.workloads.push((number, hash));
        }
    }

    fn changed(&mut self, number: u32, by_itself: bool, event: &Contracts) {
        let id = match event {
            Contracts::ContractCreated(made) | Contracts::ContractUpdated(made) => made.contract_id,
            Contracts::ContractBilled(bill) => bill.contract_id,
            Contracts::NodeContractCanceled { contract_id, .. }
            | Contracts::NameContractCanceled { contract_id }
            | Contracts::RentContractCanceled { contract_id }
            | Contracts::ContractGracePeriodStarted { contract_id, .. }
            | Contracts::ContractGracePeriodEnded { contract_id, .. } => *contract_id,
        };
        let Some(contract) = self.contracts.get_mut(&id) else {
            return;
        };
        match event {
            Contracts::ContractCreated(_) | Contracts::ContractUpdated(_) => {}
            Contracts::ContractBilled(bill) => {
                let amount = i64::try_from(bill.amount_billed).unwrap_or(i64::MAX);
                contract.billed.push(amount);
            }
            Contracts::NodeContractCanceled { .. }
            | Contracts::NameContractCanceled { .. }
            | Contracts::RentContractCanceled { .. } => {
                contract.ended = Some(number);
                contract.by_chain = by_itself;
            }
            Contracts::ContractGracePeriodStarted { .. } => contract.grace.0 += 1,
            Contracts::ContractGracePeriodEnded { .. } => contract.grace.1 += 1,
        }
    }

    fn bridge(&mut self, event: &Bridge) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let minor = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        match event {
            Bridge::MintCompleted(mint, deposit) => {
                let arrived = minor(mint.amount) - FEE;
                self.rest.mints.insert(text(deposit), arrived);
            }
            Bridge::RefundTransactionProcessed(refund) => {
                self.rest
                    .returns
                    .insert(text(&refund.tx_hash), minor(refund.amount));
            }
        }
    }

    /// All of it.
    #[must_use]
    pub fn holds(self) -> Holds {
        Holds {
            contracts: self.contracts.into_values().collect(),
            ..self.rest
        }
    }

    /// Something that the chain may do to one of the contracts that stand.
    #[must_use]
    pub fn whim(&self, dice: &Dice) -> Option<OfItself> {
        let standing = self.contracts.values().filter(|c| c.ended.is_none());
        let standing: Vec<&Contract> = standing.collect();
        if standing.is_empty() {
            return None;
        }
        let place = usize::try_from(dice.below(standing.len() as u64)).ok()?;
        let found = standing.get(place)?;
        let contract = found.id;
        Some(match dice.below(100) {
            0..=3 => OfItself::OutOfFunds { contract },
            4..=29 if found.grace.0 > found.grace.1 => OfItself::EndGrace { contract },
            4..=29 => OfItself::StartGrace { contract },
            _ => OfItself::Bill {
                contract,
                amount: 1 + dice.below(1_000),
            },
        })
    }
}
