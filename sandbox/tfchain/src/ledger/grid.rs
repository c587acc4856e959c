//! Twins, farms and nodes.

use super::{Done, Machine};
use crate::runtime::pallet_tfgrid::types::{
    Farm, FarmCertification, IP4, Location, Node, NodeCertification, PublicIP, Resources,
    TermsAndConditions, Twin,
};
use crate::runtime::pallet_tfgrid::{Call, Error, Event};
use crate::runtime::sp_core::crypto::AccountId32;
use crate::runtime::tfchain_runtime::RuntimeEvent;
use crate::state::{State, map, plain};
use crate::tally::Tally;

/// The pallet's index in spec 149.
const PALLET: u8 = 25;

/// The twin of an account.
pub(super) fn twin_of(state: &State, account: AccountId32) -> Option<u32> {
    state.get(&map("TfgridModule", "TwinIdByAccountID", &account))
}

/// A twin.
pub(super) fn twin(state: &State, id: u32) -> Option<Twin> {
    state.get(&map("TfgridModule", "Twins", &id))
}

/// A node.
pub(super) fn node(state: &State, id: u32) -> Option<Node> {
    state.get(&map("TfgridModule", "Nodes", &id))
}

/// A farm.
pub(super) fn farm(state: &State, id: u32) -> Option<Farm> {
    state.get(&map("TfgridModule", "Farms", &id))
}

fn next(state: &mut State, counter: &str) -> u32 {
    let key = plain("TfgridModule", counter);
    let id = state.get::<u32>(&key).unwrap_or_default() + 1;
    state.put(key, &id);
    id
}

impl Machine<'_> {
    pub(super) fn grid(&mut self, account: AccountId32, call: &Call) -> Done {
        match call {
            Call::user_accept_tc {
                document_link,
                document_hash,
            } => self.accept_terms(account, document_link, document_hash),
            Call::create_twin { relay, pk } => self.create_twin(account, relay.clone(), pk.clone()),
            Call::create_farm { name, public_ips } => self.create_farm(account, name, public_ips),
            Call::create_node {
                farm_id,
                resources,
                location,
                interfaces,
                secure_boot,
                virtualized,
                serial_number,
            } => {
                let Some(twin_id) = twin_of(self.state, account) else {
                    return Err(self.refuse(PALLET, &Error::TwinNotExists));
                };
                let node = Node {
                    version: 4,
                    id: 0,
                    farm_id: *farm_id,
                    twin_id,
                    resources: *resources,
                    location: location.clone(),
                    public_config: None,
                    created: self.now_ms / 1_000,
                    farming_policy_id: 1,
                    interfaces: interfaces.clone(),
                    certification: NodeCertification::Diy,
                    secure_boot: *secure_boot,
                    virtualized: *virtualized,
                    serial_number: serial_number.clone(),
                    connection_price: 80,
                };
                self.create_node(node)
            }
        }
    }

    fn accept_terms(&mut self, account: AccountId32, link: &[u8], hash: &[u8]) -> Done {
        for (bytes, longest, short, long) in [
            (
                link,
                100,
                Error::DocumentLinkInputTooShort,
                Error::DocumentLinkInputTooLong,
            ),
            (
                hash,
                32,
                Error::DocumentHashInputTooShort,
                Error::DocumentHashInputTooLong,
            ),
        ] {
            if bytes.is_empty() {
                return Err(self.refuse(PALLET, &short));
            }
            if bytes.len() > longest {
                return Err(self.refuse(PALLET, &long));
            }
        }
        let key = map("TfgridModule", "UsersTermsAndConditions", &account);
        let mut accepted: Vec<TermsAndConditions> = self.state.get(&key).unwrap_or_default();
        accepted.push(TermsAndConditions {
            account_id: account,
            timestamp: self.now_ms / 1_000,
            document_link: link.to_vec(),
            document_hash: hash.to_vec(),
        });
        self.state.put(key, &accepted);
        Ok(())
    }

    fn create_twin(
        &mut self,
        account: AccountId32,
        relay: Option<Vec<u8>>,
        pk: Option<Vec<u8>>,
    ) -> Done {
        let accepted = map("TfgridModule", "UsersTermsAndConditions", &account);
        if self.state.raw_at(&accepted, u32::MAX).is_none() {
            return Err(self.refuse(PALLET, &Error::UserDidNotSignTermsAndConditions));
        }
        if twin_of(self.state, account).is_some() {
            return Err(self.refuse(PALLET, &Error::TwinWithPubkeyExists));
        }
        if relay.as_ref().is_some_and(Vec::is_empty) {
            return Err(self.refuse(PALLET, &Error::InvalidRelay));
        }
        self.store_twin(account, relay, pk);
        Ok(())
    }

    pub(super) fn store_twin(
        &mut self,
        account: AccountId32,
        relay: Option<Vec<u8>>,
        pk: Option<Vec<u8>>,
    ) {
        let id = next(self.state, "TwinID");
        let twin = Twin {
            id,
            account_id: account,
            relay,
            entities: Vec::new(),
            pk,
        };
        self.state.put(map("TfgridModule", "Twins", &id), &twin);
        let key = map("TfgridModule", "TwinIdByAccountID", &account);
        self.state.put(key, &id);
        self.tallies.push(Tally::Twin);
        self.emit(RuntimeEvent::TfgridModule(Event::TwinStored(twin)));
    }

    fn create_farm(&mut self, account: AccountId32, name: &[u8], ips: &[IP4]) -> Done {
        let Some(twin_id) = twin_of(self.state, account) else {
            return Err(self.refuse(PALLET, &Error::TwinNotExists));
        };
        let fits = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_';
        if !(3..=40).contains(&name.len()) || !name.iter().all(fits) {
            return Err(self.refuse(PALLET, &Error::InvalidFarmName));
        }
        let by_name = map("TfgridModule", "FarmIdByName", &name.to_vec());
        if self.state.raw_at(&by_name, u32::MAX).is_some() {
            return Err(self.refuse(PALLET, &Error::FarmExists));
        }
        let id = next(self.state, "FarmID");
        let public_ips = ips.iter().map(|ip| PublicIP {
            ip: ip.ip.clone(),
            gateway: ip.gw.clone(),
            contract_id: 0,
        });
        let farm = Farm {
            version: 4,
            id,
            name: name.to_vec(),
            twin_id,
            pricing_policy_id: 1,
            certification: FarmCertification::NotCertified,
            public_ips: public_ips.collect(),
            dedicated_farm: false,
            farming_policy_limits: None,
        };
        self.state.put(by_name, &id);
        self.state.put(map("TfgridModule", "Farms", &id), &farm);
        self.emit(RuntimeEvent::TfgridModule(Event::FarmStored(farm)));
        Ok(())
    }

    fn create_node(&mut self, mut node: Node) -> Done {
        if farm(self.state, node.farm_id).is_none() {
            return Err(self.refuse(PALLET, &Error::FarmNotExists));
        }
        let by_twin = map("TfgridModule", "NodeIdByTwinID", &node.twin_id);
        if self.state.raw_at(&by_twin, u32::MAX).is_some() {
            return Err(self.refuse(PALLET, &Error::NodeWithTwinIdExists));
        }
        node.id = next(self.state, "NodeID");
        self.state.put(by_twin, &node.id);
        self.state
            .put(map("TfgridModule", "Nodes", &node.id), &node);
        self.emit(RuntimeEvent::TfgridModule(Event::NodeStored(node)));
        Ok(())
    }
}

/// A farm with so many nodes and some addresses, that belongs to nobody: there from block 0.
pub(super) fn first_farm(machine: &mut Machine<'_>, nodes: u32) {
    let id = next(machine.state, "FarmID");
    let public_ips = (1..=64_u8).map(|last| PublicIP {
        ip: format!("198.51.100.{last}/24").into_bytes(),
        gateway: b"198.51.100.254".to_vec(),
        contract_id: 0,
    });
    let farm = Farm {
        version: 4,
        id,
        name: b"the-first-farm".to_vec(),
        twin_id: 0,
        pricing_policy_id: 1,
        certification: FarmCertification::NotCertified,
        public_ips: public_ips.collect(),
        dedicated_farm: false,
        farming_policy_limits: None,
    };
    machine.state.put(map("TfgridModule", "Farms", &id), &farm);
    for _ in 0..nodes {
        let node = Node {
            version: 4,
            id: next(machine.state, "NodeID"),
            farm_id: id,
            twin_id: 0,
            resources: Resources {
                hru: 4 << 40,
                sru: 1 << 40,
                cru: 16,
                mru: 64 << 30,
            },
            location: Location {
                city: b"Ghent".to_vec(),
                country: b"Belgium".to_vec(),
                latitude: b"51.05".to_vec(),
                longitude: b"3.72".to_vec(),
            },
            public_config: None,
            created: machine.now_ms / 1_000,
            farming_policy_id: 1,
            interfaces: Vec::new(),
            certification: NodeCertification::Diy,
            secure_boot: false,
            virtualized: false,
            serial_number: None,
            connection_price: 80,
        };
        let key = map("TfgridModule", "Nodes", &node.id);
        machine.state.put(key, &node);
    }
}
