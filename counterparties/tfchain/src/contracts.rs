//! Creating contracts of every kind. Each kind has its own way to be found: a workload by its
//! node and hash, a name by itself, a rented node by its number.

use crate::calls::{
    Known, Signing, Terms, Wanted, ended, hash_bytes, malformed_workload, proof_of, since,
    standing_contract,
};
use crate::client::{AccountState, Executed, Signed, TfchainClient};
use crate::guard::call_data;
use crate::node::{View, malformed};
use crate::port::{ChainEvent, ContractKind, ContractPlan, ContractProof, ReadError};
use crate::shapes::{
    Contract, CreateNameContract, CreateNodeContract, CreateRentContract, EncodedCall, Node,
};
use crate::traces::{Trace, trace_of};
use events::ids::ContractId;
use events::outcome::Refusal;

/// What the chain takes for a name: lower-case letters, digits and hyphens.
const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 3..=64;
const PALLET: &str = "SmartContractModule";

/// The call of a plan, by its kind.
enum Call {
    Node(CreateNodeContract),
    Name(CreateNameContract),
    Rent(CreateRentContract),
}

impl ContractPlan {
    fn call(&self) -> Result<Call, ReadError> {
        Ok(match &self.kind {
            ContractKind::Node => Call::Node(CreateNodeContract {
                node_id: self.node.0,
                deployment_hash: hash_bytes(&self.hash)
                    .ok_or_else(|| malformed("a deployment's hash"))?,
                deployment_data: self.data.as_bytes().to_vec(),
                public_ips: self.public_ips,
                solution_provider_id: self.solution_provider,
            }),
            ContractKind::Name(name) => Call::Name(CreateNameContract {
                name: name.as_bytes().to_vec(),
            }),
            ContractKind::Rent => Call::Rent(CreateRentContract {
                node_id: self.node.0,
                solution_provider_id: self.solution_provider,
            }),
        })
    }

    /// The call as a member of a batch.
    pub(crate) fn encoded(&self, view: &View) -> Result<EncodedCall, ReadError> {
        let metadata = view.metadata_ref();
        let encoded = match self.call()? {
            Call::Node(call) => call_data(metadata, &call),
            Call::Name(call) => call_data(metadata, &call),
            Call::Rent(call) => call_data(metadata, &call),
        };
        encoded.map_err(malformed)
    }

    /// What its creation leaves behind.
    pub(crate) fn trace(&self) -> Trace {
        match &self.kind {
            ContractKind::Node => Trace::Node(self.node.0, self.hash.clone()),
            ContractKind::Name(name) => Trace::Name(name.clone(), self.twin.0),
            ContractKind::Rent => Trace::Rent(self.node.0, self.twin.0),
        }
    }

    /// The number that stands where a contract of this plan would.
    async fn place(
        &self,
        chain: &TfchainClient,
        state: &AccountState,
    ) -> Result<Option<u64>, ReadError> {
        let id: Option<u64> = match &self.kind {
            ContractKind::Node => {
                let hash =
                    hash_bytes(&self.hash).ok_or_else(|| malformed("a deployment's hash"))?;
                let keys = (self.node.0, hash);
                let entry = "ContractIDByNodeIDAndHash";
                chain.value(&state.view, PALLET, entry, keys).await?
            }
            ContractKind::Name(name) => {
                let keys = (name.as_bytes().to_vec(),);
                let entry = "ContractIDByNameRegistration";
                chain.value(&state.view, PALLET, entry, keys).await?
            }
            ContractKind::Rent => {
                let keys = (self.node.0,);
                let entry = "ActiveRentContractForNode";
                chain.value(&state.view, PALLET, entry, keys).await?
            }
        };
        // An entry that is absent may read as 0.
        Ok(id.filter(|id| *id != 0))
    }

    /// Whether a contract that stands in its place is the plan's own.
    fn is_own(&self, contract: &Contract) -> bool {
        match self.kind {
            // The hash is of this deployment alone.
            ContractKind::Node => true,
            ContractKind::Name(_) | ContractKind::Rent => {
                contract.twin_id == self.twin.0 && contract.contract_id > self.above
            }
        }
    }

    fn taken(&self) -> Refusal {
        match &self.kind {
            ContractKind::Node | ContractKind::Rent => Refusal::new(
                "NodeHasRentContract",
                format!("node {} is rented already", self.node),
            ),
            ContractKind::Name(name) => {
                Refusal::new("NameExists", format!("the name {name} is taken"))
            }
        }
    }

    /// Nothing is signed for a node that does not exist.
    async fn can_be(
        &self,
        chain: &TfchainClient,
        state: &AccountState,
    ) -> Result<Known<ContractProof>, ReadError> {
        if matches!(self.kind, ContractKind::Name(_)) {
            return Ok(Known::Open);
        }
        let node = self.node.0;
        let found: Option<Node> = chain
            .value(&state.view, "TfgridModule", "Nodes", (node,))
            .await?;
        Ok(match found {
            Some(_) => Known::Open,
            None => Known::Refused(Refusal::new(
                "NodeNotExists",
                format!("TFChain has no node {node}"),
            )),
        })
    }

    /// What the events of a transaction show of it.
    pub(crate) fn shown(&self, executed: &Executed) -> Option<ContractProof> {
        let wanted = self.trace();
        let mut happened = executed.body.of(executed.place);
        let contract = happened.find_map(|happened| {
            let (trace, contract) = trace_of(&happened.event)?;
            (trace == wanted && !matches!(happened.event, ChainEvent::ContractUpdated { .. }))
                .then_some(contract)
        })?;
        Some(executed.shows(contract))
    }
}

impl Wanted for ContractPlan {
    type Proof = ContractProof;

    fn terms(&self) -> Terms {
        Terms {
            request: self.request,
            requested_at: self.requested_at,
            deadline: self.deadline,
            minimum_balance: self.minimum_balance,
        }
    }

    fn malformed(&self) -> Option<Refusal> {
        match &self.kind {
            ContractKind::Node => malformed_workload(&self.hash, &self.data),
            ContractKind::Name(name) => {
                let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                let valid = NAME_LENGTHS.contains(&name.len()) && name.bytes().all(fits);
                (!valid).then(|| {
                    let detail = "a name has 3 to 64 lower-case letters, digits and hyphens";
                    Refusal::new("NameNotValid", detail)
                })
            }
            ContractKind::Rent => None,
        }
    }

    async fn known(
        &self,
        chain: &TfchainClient,
        state: &AccountState,
    ) -> Result<Known<ContractProof>, ReadError> {
        let stands = match self.place(chain, state).await? {
            Some(id) => standing_contract(chain, state, ContractId(id)).await?,
            None => None,
        };
        let trace = self.trace();
        let made = since(chain, &self.terms(), state, &trace, self.above).await?;
        match (stands, made) {
            (Some(contract), made) if self.is_own(&contract) => {
                let made = made.filter(|made| made.contract.0 == contract.contract_id);
                let id = ContractId(contract.contract_id);
                let proof = proof_of(chain, id, made.as_ref(), state).await?;
                Ok(Known::Done(proof))
            }
            (_, Some(made)) => {
                let (id, block) = (made.contract, made.block);
                let detail = format!("contract {id} was created in block {block} and is no more");
                Ok(Known::Refused(ended(id, detail)))
            }
            (Some(_), None) => Ok(Known::Refused(self.taken())),
            (None, None) => self.can_be(chain, state).await,
        }
    }

    fn sign(&self, chain: &TfchainClient, signing: &Signing<'_>) -> Result<Signed, ReadError> {
        match self.call()? {
            Call::Node(call) => signing.call(chain, call),
            Call::Name(call) => signing.call(chain, call),
            Call::Rent(call) => signing.call(chain, call),
        }
    }

    fn proof(&self, executed: &Executed) -> Option<ContractProof> {
        self.shown(executed)
    }
}
