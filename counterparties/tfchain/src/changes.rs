//! Changing contracts that exist: another workload, or their end.

use crate::calls::{
    Known, Signing, Terms, Wanted, ended, hash_bytes, malformed_workload, proof_of, since,
    standing_contract,
};
use crate::client::{AccountState, Executed, Signed, TfchainClient};
use crate::node::malformed;
use crate::port::{CancelPlan, ChainEvent, ContractProof, ReadError, UpdatePlan};
use crate::shapes::{CancelContract, ContractData, UpdateNodeContract};
use crate::traces::Trace;
use events::money::Amount;
use events::outcome::Refusal;

/// A contract that a node does not show may be one that it has not heard of.
fn behind(state: &AccountState, known_in: u32) -> Option<String> {
    let at = state.at.number;
    (at < known_in).then(|| format!("the node is at block {at}, before block {known_in}"))
}

impl Wanted for UpdatePlan {
    type Proof = ContractProof;

    fn terms(&self) -> Terms {
        Terms {
            request: self.request,
            requested_at: self.requested_at,
            deadline: self.deadline,
            minimum_balance: Amount::ZERO,
        }
    }

    fn malformed(&self) -> Option<Refusal> {
        malformed_workload(&self.hash, &self.data)
    }

    /// That it was done once is enough: a later update may have replaced it, and whoever did this
    /// one again would take that back.
    async fn known(
        &self,
        chain: &TfchainClient,
        state: &AccountState,
    ) -> Result<Known<ContractProof>, ReadError> {
        let trace = Trace::Updated(self.contract.0, self.hash.clone());
        if let Some(traced) = since(chain, &self.terms(), state, &trace, 0).await? {
            let proof = proof_of(chain, self.contract, Some(&traced), state).await?;
            return Ok(Known::Done(proof));
        }
        let Some(contract) = standing_contract(chain, state, self.contract).await? else {
            return Ok(match behind(state, self.known_in) {
                Some(reason) => Known::Behind(reason),
                None => Known::Refused(ended(
                    self.contract,
                    format!("contract {} is no more", self.contract),
                )),
            });
        };
        let ContractData::NodeContract(workload) = contract.contract_type else {
            return Ok(Known::Refused(Refusal::new(
                "InvalidContractType",
                format!("contract {} carries no workload", self.contract),
            )));
        };
        if hash_bytes(&self.hash) == Some(workload.deployment_hash) {
            let proof = proof_of(chain, self.contract, None, state).await?;
            return Ok(Known::Done(proof));
        }
        Ok(Known::Open)
    }

    fn sign(&self, chain: &TfchainClient, signing: &Signing<'_>) -> Result<Signed, ReadError> {
        let call = UpdateNodeContract {
            contract_id: self.contract.0,
            deployment_hash: hash_bytes(&self.hash)
                .ok_or_else(|| malformed("a deployment's hash"))?,
            deployment_data: self.data.as_bytes().to_vec(),
        };
        signing.call(chain, call)
    }

    fn proof(&self, executed: &Executed) -> Option<ContractProof> {
        let mut happened = executed.body.of(executed.place);
        let done = happened.any(|happened| {
            matches!(&happened.event, ChainEvent::ContractUpdated { contract, hash, .. }
                if *contract == self.contract && *hash == self.hash)
        });
        done.then(|| executed.shows(self.contract))
    }
}

impl Wanted for CancelPlan {
    type Proof = ContractProof;

    fn terms(&self) -> Terms {
        Terms {
            request: self.request,
            requested_at: self.requested_at,
            deadline: self.deadline,
            minimum_balance: Amount::ZERO,
        }
    }

    fn malformed(&self) -> Option<Refusal> {
        None
    }

    /// A contract that is no more is cancelled, whoever did it.
    async fn known(
        &self,
        chain: &TfchainClient,
        state: &AccountState,
    ) -> Result<Known<ContractProof>, ReadError> {
        if standing_contract(chain, state, self.contract)
            .await?
            .is_some()
        {
            return Ok(Known::Open);
        }
        if let Some(reason) = behind(state, self.known_in) {
            return Ok(Known::Behind(reason));
        }
        let trace = Trace::Ended(self.contract.0);
        let traced = since(chain, &self.terms(), state, &trace, 0).await?;
        let proof = proof_of(chain, self.contract, traced.as_ref(), state).await?;
        Ok(Known::Done(proof))
    }

    fn sign(&self, chain: &TfchainClient, signing: &Signing<'_>) -> Result<Signed, ReadError> {
        let call = CancelContract {
            contract_id: self.contract.0,
        };
        signing.call(chain, call)
    }

    fn proof(&self, executed: &Executed) -> Option<ContractProof> {
        let mut happened = executed.body.of(executed.place);
        let done = happened.any(|happened| {
            matches!(&happened.event, ChainEvent::ContractCancelled { contract, .. }
                if *contract == self.contract)
        });
        done.then(|| executed.shows(self.contract))
    }
}
