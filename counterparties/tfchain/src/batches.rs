//! Creating several contracts by one transaction: all of them or none.

use crate::calls::{Known, Signing, Terms, Wanted, proof_of, since};
use crate::client::{AccountState, Executed, Signed, TfchainClient};
use crate::port::{BatchPlan, ContractProof, ReadError};
use crate::shapes::BatchAll;
use events::outcome::Refusal;

impl Wanted for BatchPlan {
    type Proof = Vec<ContractProof>;

    fn terms(&self) -> Terms {
        Terms {
            request: self.request,
            requested_at: self.requested_at,
            deadline: self.deadline,
            minimum_balance: self.minimum_balance,
        }
    }

    fn malformed(&self) -> Option<Refusal> {
        if self.members.is_empty() {
            return Some(Refusal::new("batch_empty", "a batch without contracts"));
        }
        self.members.iter().find_map(Wanted::malformed)
    }

    /// One transaction made all of them, so one that came to be tells of all. Some may have ended
    /// since: that they came to be is what is asked here.
    async fn known(
        &self,
        chain: &TfchainClient,
        state: &AccountState,
    ) -> Result<Known<Vec<ContractProof>>, ReadError> {
        let mut proofs = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let trace = member.trace();
            let made = since(chain, &self.terms(), state, &trace, member.above).await?;
            if let Some(made) = made {
                proofs.push(proof_of(chain, made.contract, Some(&made), state).await?);
                continue;
            }
            match member.known(chain, state).await? {
                Known::Done(proof) => proofs.push(proof),
                Known::Open => {}
                Known::Refused(refusal) => return Ok(Known::Refused(refusal)),
                Known::Behind(reason) => return Ok(Known::Behind(reason)),
            }
        }
        Ok(if proofs.is_empty() {
            Known::Open
        } else if proofs.len() == self.members.len() {
            Known::Done(proofs)
        } else {
            let (there, all) = (proofs.len(), self.members.len());
            Known::Refused(Refusal::new(
                "batch_in_part",
                format!("{there} of {all} contracts are there: something else made them"),
            ))
        })
    }

    fn sign(&self, chain: &TfchainClient, signing: &Signing<'_>) -> Result<Signed, ReadError> {
        let calls = self
            .members
            .iter()
            .map(|member| member.encoded(&signing.state.view))
            .collect::<Result<_, _>>()?;
        signing.call(chain, BatchAll { calls })
    }

    fn proof(&self, executed: &Executed) -> Option<Vec<ContractProof>> {
        let members = self.members.iter();
        members.map(|member| member.shown(executed)).collect()
    }
}
