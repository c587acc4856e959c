//! Creating contracts.

use crate::calls::{
    Known, Terms, Wanted, ended, hash_bytes, malformed_workload, since, standing_contract,
};
use crate::client::{AccountState, Executed, TfchainClient};
use crate::node::{View, malformed};
use crate::port::{ChainEvent, ContractPlan, ContractProof, ReadError};
use crate::shapes::{CreateNodeContract, Node};
use crate::traces::Trace;
use events::ids::ContractId;
use events::outcome::Refusal;

impl Wanted for ContractPlan {
    type Call = CreateNodeContract;
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
        malformed_workload(&self.hash, &self.data)
    }

    async fn known(
        &self,
        chain: &TfchainClient,
        state: &AccountState,
    ) -> Result<Known<ContractProof>, ReadError> {
        let hash = hash_bytes(&self.hash).ok_or_else(|| malformed("a deployment's hash"))?;
        let keys = (self.node.0, hash);
        let (pallet, entry) = ("SmartContractModule", "ContractIDByNodeIDAndHash");
        let id: Option<u64> = chain.value(&state.view, pallet, entry, keys).await?;
        // An entry that is absent reads as 0.
        let stands = match id.filter(|id| *id != 0) {
            Some(id) => standing_contract(chain, state, ContractId(id)).await?,
            None => None,
        };
        let trace = Trace::Node(self.node.0, self.hash.clone());
        let made = since(chain, &self.terms(), state, &trace).await?;
        let Some(contract) = stands else {
            return Ok(match made {
                Some(made) => {
                    let (id, block) = (made.contract, made.block);
                    let detail =
                        format!("contract {id} was created in block {block} and is no more");
                    Known::Refused(ended(id, detail))
                }
                None => can_be(chain, state, self).await?,
            });
        };
        let made = made.filter(|made| made.contract.0 == contract.contract_id);
        let (extrinsic_hash, block) = match &made {
            Some(made) => (chain.doer(made).await?, made.block),
            None => (String::new(), state.at.number),
        };
        Ok(Known::Done(ContractProof {
            contract: ContractId(contract.contract_id),
            extrinsic_hash,
            block,
        }))
    }

    fn call(&self, _: &View) -> Result<CreateNodeContract, ReadError> {
        Ok(CreateNodeContract {
            node_id: self.node.0,
            deployment_hash: hash_bytes(&self.hash)
                .ok_or_else(|| malformed("a deployment's hash"))?,
            deployment_data: self.data.as_bytes().to_vec(),
            public_ips: self.public_ips,
            solution_provider_id: self.solution_provider,
        })
    }

    fn proof(&self, executed: &Executed) -> Option<ContractProof> {
        let mut happened = executed.body.of(executed.place);
        let contract = happened.find_map(|happened| match &happened.event {
            ChainEvent::ContractCreated { contract, hash, .. } if *hash == self.hash => {
                Some(*contract)
            }
            _ => None,
        })?;
        Some(ContractProof {
            contract,
            extrinsic_hash: executed.hash.clone(),
            block: executed.body.number,
        })
    }
}

/// Nothing is signed for a node that does not exist.
async fn can_be(
    chain: &TfchainClient,
    state: &AccountState,
    plan: &ContractPlan,
) -> Result<Known<ContractProof>, ReadError> {
    let node = plan.node.0;
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
