//! Node, name and rent contracts.

use super::grid::{farm, node, twin, twin_of};
use super::{Done, Machine, OfItself};
use crate::runtime::pallet_smart_contract::types::{
    Cause, Contract, ContractBill, ContractData, ContractState, DiscountLevel, NameContract,
    NodeContract, RentContract,
};
use crate::runtime::pallet_smart_contract::{Call, Error, Event};
use crate::runtime::pallet_tfgrid::types::PublicIP;
use crate::runtime::sp_core::crypto::AccountId32;
use crate::runtime::sp_runtime::DispatchError;
use crate::runtime::tfchain_runtime::RuntimeEvent;
use crate::state::{double_map, map, plain};
use crate::tally::Tally;

/// The pallet's index in spec 149.
const PALLET: u8 = 26;
/// `SmartContractModule.MaxNodeContractPublicIps`.
const MAX_PUBLIC_IPS: u32 = 512;
/// Shortest and longest name of a name contract.
const NAME_LENGTHS: (usize, usize) = (3, 64);

fn contract_key(id: u64) -> Vec<u8> {
    map("SmartContractModule", "Contracts", &id)
}

fn unique_key(node: u32, hash: [u8; 32]) -> Vec<u8> {
    double_map(
        "SmartContractModule",
        "ContractIDByNodeIDAndHash",
        &node,
        &hash,
    )
}

fn name_key(name: &[u8]) -> Vec<u8> {
    map(
        "SmartContractModule",
        "ContractIDByNameRegistration",
        &name.to_vec(),
    )
}

fn rent_key(node: u32) -> Vec<u8> {
    map("SmartContractModule", "ActiveRentContractForNode", &node)
}

fn active_key(node: u32) -> Vec<u8> {
    map("SmartContractModule", "ActiveNodeContracts", &node)
}

impl Machine<'_> {
    pub(super) fn contracts(&mut self, account: AccountId32, call: &Call) -> Done {
        let Some(twin_id) = twin_of(self.state, account) else {
            return Err(self.not(Error::TwinNotExists));
        };
        match call {
            Call::create_node_contract {
                node_id,
                deployment_hash,
                deployment_data,
                public_ips,
                solution_provider_id,
            } => {
                let contract = NodeContract {
                    node_id: *node_id,
                    deployment_hash: *deployment_hash,
                    deployment_data: deployment_data.clone(),
                    public_ips: *public_ips,
                    public_ips_list: Vec::new(),
                };
                self.create_node_contract(twin_id, contract, *solution_provider_id)
            }
            Call::update_node_contract {
                contract_id,
                deployment_hash,
                deployment_data,
            } => self.update(twin_id, *contract_id, *deployment_hash, deployment_data),
            Call::cancel_contract { contract_id } => {
                let Some(contract) = self.contract(*contract_id) else {
                    return Err(self.not(Error::ContractNotExists));
                };
                if contract.twin_id != twin_id {
                    return Err(self.not(Error::TwinNotAuthorizedToCancelContract));
                }
                self.end(contract)
            }
            Call::create_name_contract { name } => self.create_name_contract(twin_id, name),
            Call::create_rent_contract {
                node_id,
                solution_provider_id,
            } => self.create_rent_contract(twin_id, *node_id, *solution_provider_id),
        }
    }

    fn not(&self, error: Error) -> DispatchError {
        self.refuse(PALLET, &error)
    }

    fn contract(&self, id: u64) -> Option<Contract> {
        self.state.get(&contract_key(id))
    }

    fn create_node_contract(
        &mut self,
        twin_id: u32,
        mut contract: NodeContract,
        provider: Option<u64>,
    ) -> Done {
        let Some(node) = node(self.state, contract.node_id) else {
            return Err(self.not(Error::NodeNotExists));
        };
        if let Some(rent) = self.state.get::<u64>(&rent_key(node.id))
            && self
                .contract(rent)
                .is_some_and(|rent| rent.twin_id != twin_id)
        {
            return Err(self.not(Error::NodeHasRentContract));
        }
        if provider.is_some() {
            return Err(self.not(Error::NoSuchSolutionProvider));
        }
        let unique = unique_key(node.id, contract.deployment_hash);
        if self.state.raw_at(&unique, u32::MAX).is_some() {
            return Err(self.not(Error::ContractIsNotUnique));
        }
        if contract.public_ips > MAX_PUBLIC_IPS {
            return Err(self.not(Error::FarmHasNotEnoughPublicIPs));
        }
        let id = self.next_contract();
        contract.public_ips_list = self.reserve(node.farm_id, id, contract.public_ips)?;
        self.state.put(unique, &id);
        let mut active: Vec<u64> = self.state.get(&active_key(node.id)).unwrap_or_default();
        active.push(id);
        self.state.put(active_key(node.id), &active);
        self.tallies
            .push(Tally::Contract(hex::encode(contract.deployment_hash)));
        self.created(id, twin_id, ContractData::NodeContract(contract), provider);
        Ok(())
    }

    fn next_contract(&mut self) -> u64 {
        let key = plain("SmartContractModule", "ContractID");
        let id = self.state.get::<u64>(&key).unwrap_or_default() + 1;
        self.state.put(key, &id);
        id
    }

    fn created(
        &mut self,
        contract_id: u64,
        twin_id: u32,
        contract_type: ContractData,
        solution_provider_id: Option<u64>,
    ) {
        let contract = Contract {
            version: 4,
            state: ContractState::Created,
            contract_id,
            twin_id,
            contract_type,
            solution_provider_id,
        };
        self.state.put(contract_key(contract_id), &contract);
        self.emit(RuntimeEvent::SmartContractModule(Event::ContractCreated(
            contract,
        )));
    }

    fn reserve(
        &mut self,
        farm_id: u32,
        contract: u64,
        count: u32,
    ) -> Result<Vec<PublicIP>, DispatchError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let Some(mut farm) = farm(self.state, farm_id) else {
            return Err(self.not(Error::FarmNotExists));
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if farm.public_ips.len() < count {
            return Err(self.not(Error::FarmHasNotEnoughPublicIPs));
        }
        let mut reserved = Vec::new();
        for ip in farm.public_ips.iter_mut().filter(|ip| ip.contract_id == 0) {
            if reserved.len() < count {
                ip.contract_id = contract;
                reserved.push(ip.clone());
            }
        }
        if reserved.len() < count {
            return Err(self.not(Error::FarmHasNotEnoughPublicIPsFree));
        }
        self.state
            .put(map("TfgridModule", "Farms", &farm_id), &farm);
        Ok(reserved)
    }

    fn update(&mut self, twin_id: u32, id: u64, hash: [u8; 32], data: &[u8]) -> Done {
        let Some(mut contract) = self.contract(id) else {
            return Err(self.not(Error::ContractNotExists));
        };
        if contract.twin_id != twin_id {
            return Err(self.not(Error::TwinNotAuthorizedToUpdateContract));
        }
        if matches!(contract.state, ContractState::GracePeriod(_)) {
            return Err(self.not(Error::CannotUpdateContractInGraceState));
        }
        let ContractData::NodeContract(workload) = &mut contract.contract_type else {
            return Err(self.not(Error::InvalidContractType));
        };
        // As the real runtime, which does not ask here whether the new hash is unique.
        let node = workload.node_id;
        self.state.take(unique_key(node, workload.deployment_hash));
        workload.deployment_hash = hash;
        workload.deployment_data = data.to_vec();
        self.state.put(unique_key(node, hash), &id);
        self.state.put(contract_key(id), &contract);
        self.tallies.push(Tally::Update(hex::encode(hash)));
        self.emit(RuntimeEvent::SmartContractModule(Event::ContractUpdated(
            contract,
        )));
        Ok(())
    }

    fn create_name_contract(&mut self, twin_id: u32, name: &[u8]) -> Done {
        if name.len() < NAME_LENGTHS.0 {
            return Err(self.not(Error::NameContractNameTooShort));
        }
        if name.len() > NAME_LENGTHS.1 {
            return Err(self.not(Error::NameContractNameTooLong));
        }
        let fits = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        if !name.iter().all(fits) {
            return Err(self.not(Error::NameNotValid));
        }
        if self.state.raw_at(&name_key(name), u32::MAX).is_some() {
            return Err(self.not(Error::NameExists));
        }
        let id = self.next_contract();
        self.state.put(name_key(name), &id);
        self.tallies
            .push(Tally::Name(String::from_utf8_lossy(name).into_owned()));
        let contract = NameContract {
            name: name.to_vec(),
        };
        self.created(id, twin_id, ContractData::NameContract(contract), None);
        Ok(())
    }

    fn create_rent_contract(&mut self, twin_id: u32, node_id: u32, provider: Option<u64>) -> Done {
        if node(self.state, node_id).is_none() {
            return Err(self.not(Error::NodeNotExists));
        }
        if provider.is_some() {
            return Err(self.not(Error::NoSuchSolutionProvider));
        }
        if self.state.raw_at(&rent_key(node_id), u32::MAX).is_some() {
            return Err(self.not(Error::NodeHasRentContract));
        }
        let active: Vec<u64> = self.state.get(&active_key(node_id)).unwrap_or_default();
        if !active.is_empty() {
            return Err(self.not(Error::NodeHasActiveContracts));
        }
        let id = self.next_contract();
        self.state.put(rent_key(node_id), &id);
        self.tallies.push(Tally::Rent(node_id));
        let contract = RentContract { node_id };
        self.created(id, twin_id, ContractData::RentContract(contract), provider);
        Ok(())
    }

    fn end(&mut self, contract: Contract) -> Done {
        let (contract_id, twin_id) = (contract.contract_id, contract.twin_id);
        let event = match contract.contract_type {
            ContractData::NodeContract(workload) => {
                let node_id = workload.node_id;
                self.state
                    .take(unique_key(node_id, workload.deployment_hash));
                let mut active: Vec<u64> = self.state.get(&active_key(node_id)).unwrap_or_default();
                active.retain(|id| *id != contract_id);
                self.state.put(active_key(node_id), &active);
                self.release(node_id, contract_id);
                Event::NodeContractCanceled {
                    contract_id,
                    node_id,
                    twin_id,
                }
            }
            ContractData::NameContract(named) => {
                self.state.take(name_key(&named.name));
                Event::NameContractCanceled { contract_id }
            }
            ContractData::RentContract(rent) => {
                let active: Vec<u64> = self
                    .state
                    .get(&active_key(rent.node_id))
                    .unwrap_or_default();
                if !active.is_empty() {
                    return Err(self.not(Error::NodeHasActiveContracts));
                }
                self.state.take(rent_key(rent.node_id));
                Event::RentContractCanceled { contract_id }
            }
        };
        self.state.take(contract_key(contract_id));
        self.tallies.push(Tally::Cancelled(contract_id));
        self.emit(RuntimeEvent::SmartContractModule(event));
        Ok(())
    }

    fn release(&mut self, node_id: u32, contract: u64) {
        let Some(mut farm) =
            node(self.state, node_id).and_then(|node| farm(self.state, node.farm_id))
        else {
            return;
        };
        for ip in &mut farm.public_ips {
            if ip.contract_id == contract {
                ip.contract_id = 0;
            }
        }
        let key = map("TfgridModule", "Farms", &farm.id);
        self.state.put(key, &farm);
    }

    /// What the chain does to a contract without being asked by its owner.
    ///
    /// # Errors
    /// When there is no such contract.
    pub fn of_itself(&mut self, act: OfItself) -> Done {
        let (OfItself::Bill { contract: id, .. }
        | OfItself::StartGrace { contract: id }
        | OfItself::EndGrace { contract: id }
        | OfItself::OutOfFunds { contract: id }) = act;
        let Some(mut contract) = self.contract(id) else {
            return Err(self.not(Error::ContractNotExists));
        };
        let (contract_id, twin_id) = (id, contract.twin_id);
        let node_id = match &contract.contract_type {
            ContractData::NodeContract(workload) => workload.node_id,
            ContractData::RentContract(rent) => rent.node_id,
            ContractData::NameContract(_) => 0,
        };
        let event = match act {
            OfItself::Bill { amount, .. } => {
                if let Some(owner) = twin(self.state, twin_id) {
                    self.withdraw(owner.account_id, u128::from(amount));
                }
                Event::ContractBilled(ContractBill {
                    contract_id,
                    timestamp: self.now_ms / 1_000,
                    discount_level: DiscountLevel::None,
                    amount_billed: u128::from(amount),
                })
            }
            OfItself::StartGrace { .. } => {
                contract.state = ContractState::GracePeriod(u64::from(self.number));
                self.state.put(contract_key(id), &contract);
                Event::ContractGracePeriodStarted {
                    contract_id,
                    node_id,
                    twin_id,
                    block_number: u64::from(self.number),
                }
            }
            OfItself::EndGrace { .. } => {
                contract.state = ContractState::Created;
                self.state.put(contract_key(id), &contract);
                Event::ContractGracePeriodEnded {
                    contract_id,
                    node_id,
                    twin_id,
                }
            }
            OfItself::OutOfFunds { .. } => {
                contract.state = ContractState::Deleted(Cause::OutOfFunds);
                return self.end(contract);
            }
        };
        self.emit(RuntimeEvent::SmartContractModule(event));
        Ok(())
    }
}
