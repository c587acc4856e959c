//! Contracts of deployments.

use crate::client::{AccountState, TfchainClient};
use crate::creations::{Creation, Made};
use crate::era::{Deadline, TOO_NEAR, first_block_at, mortality, standing};
use crate::keys::ChainKey;
use crate::node::NodeClient;
use crate::outcome::meaning;
use crate::port::{
    ChainEvent, ContractPlan, ContractProof, MAX_DEPLOYMENT_DATA, OwnershipProof, ReadError,
};
use crate::shapes::{Contract, ContractState, CreateNodeContract};
use events::ids::ContractId;
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find, Refusal};

/// How far our clock may be ahead of the chain's. In a block before `requested_at` by more than
/// this nothing of a plan is looked for.
const CLOCKS_APART_MS: i64 = 300_000;

/// What the chain knows of a plan's contract.
enum Known {
    /// It stands.
    Stands(ContractProof),
    /// It came to be, and is no more.
    Ended(Creation),
    /// It is not there, and never was since the request.
    Never,
}

pub(crate) async fn find(
    chain: &TfchainClient,
    plan: &ContractPlan,
    key: &ChainKey,
) -> Find<ContractProof> {
    if let Err(refusal) = deployment_hash_bytes(plan) {
        return Find::Refused(refusal);
    }
    match look(chain, plan, key).await {
        Ok(found) => found,
        Err(error) => Find::NoAnswer(error.to_string()),
    }
}

async fn look(
    chain: &TfchainClient,
    plan: &ContractPlan,
    key: &ChainKey,
) -> Result<Find<ContractProof>, ReadError> {
    let state = chain.account(&key.account_id()).await?;
    match known(chain, plan, &state).await? {
        Known::Stands(proof) => return Ok(Find::Landed(proof)),
        Known::Ended(creation) => return Ok(Find::Refused(ended(&creation))),
        Known::Never => {}
    }
    if let Some(refusal) = failed(chain, plan, &state).await? {
        return Ok(Find::Refused(refusal));
    }
    let block_ms = NodeClient::block_ms(&state.view)?;
    Ok(
        match standing(chain, plan.deadline, &state.at, block_ms).await? {
            // What cannot be tried now is waited for here, where waiting is free: a try that is
            // not sent counts as a failure of the chain.
            Deadline::Ahead if state.free < plan.minimum_balance => {
                Find::Pending(waiting_for_funds(state.free, plan))
            }
            Deadline::Ahead => match mortality(&state.at, plan.deadline, block_ms) {
                Some(_) => Find::Absent,
                None => Find::Pending(TOO_NEAR.to_owned()),
            },
            Deadline::Closing { last } => {
                Find::Pending(format!("until block {last} it could still land"))
            }
            Deadline::Closed { last } => Find::NeverWill(format!(
                "no contract by block {last}, the last in which one could be created"
            )),
        },
    )
}

/// State first, then the blocks since the request: the state forgets a contract that ended.
async fn known(
    chain: &TfchainClient,
    plan: &ContractPlan,
    state: &AccountState,
) -> Result<Known, ReadError> {
    let Ok(hash) = deployment_hash_bytes(plan) else {
        return Ok(Known::Never);
    };
    let pallet = "SmartContractModule";
    let id: Option<u64> = chain
        .value(
            &state.view,
            pallet,
            "ContractIDByNodeIDAndHash",
            (plan.node.0, hash),
        )
        .await?;
    // An entry that is absent reads as 0.
    let id = id.filter(|id| *id != 0);
    let stands = match id {
        Some(id) => {
            let contract: Option<Contract> =
                chain.value(&state.view, pallet, "Contracts", (id,)).await?;
            // The entry stays for a while after a contract was cancelled.
            contract.filter(|c| !matches!(c.state, ContractState::Deleted(_)))
        }
        None => None,
    };
    let since = plan.requested_at.0.saturating_sub(CLOCKS_APART_MS);
    let from = first_block_at(chain, since, &state.at).await?;
    let made = Made::Node(plan.node.0, plan.hash.clone());
    let creation = chain.creation(&made, from, state.at.number).await?;
    Ok(match (stands, creation) {
        (Some(contract), creation) => {
            let creation = creation.filter(|c| c.contract.0 == contract.contract_id);
            let (extrinsic_hash, block) = match &creation {
                Some(creation) => (chain.creator(creation).await?, creation.block),
                None => (String::new(), state.at.number),
            };
            Known::Stands(ContractProof {
                contract: ContractId(contract.contract_id),
                extrinsic_hash,
                block,
            })
        }
        (None, Some(creation)) => Known::Ended(creation),
        (None, None) => Known::Never,
    })
}

fn ended(creation: &Creation) -> Refusal {
    let Creation {
        contract, block, ..
    } = creation;
    let detail = format!("contract {contract} was created in block {block} and is no more");
    Refusal::new("contract_cancelled", detail).with_evidence(contract.to_string())
}

/// How the call of this request failed in a finalized block, when this process sent it, lost the
/// answer, and the account's nonce has moved on.
async fn failed(
    chain: &TfchainClient,
    plan: &ContractPlan,
    state: &AccountState,
) -> Result<Option<Refusal>, ReadError> {
    let Some(submitted) = chain.submitted(plan.request) else {
        return Ok(None);
    };
    if state.nonce <= submitted.nonce {
        return Ok(None);
    }
    let found = chain.look_for(&submitted, state.at.number).await?;
    Ok(match found {
        Some(Err(answer)) => match meaning::<()>(&answer) {
            Attempt::Refused(refusal) => Some(refusal),
            Attempt::Landed(())
            | Attempt::NotSent(_)
            | Attempt::Unknown(_)
            | Attempt::NoAnswer(_) => None,
        },
        Some(Ok(_)) | None => None,
    })
}

fn waiting_for_funds(balance: Amount<Tft>, plan: &ContractPlan) -> String {
    format!(
        "waiting for funds: {balance} of {} TFT",
        plan.minimum_balance
    )
}

pub(crate) async fn create(
    chain: &TfchainClient,
    plan: &ContractPlan,
    key: &ChainKey,
    owner: &dyn OwnershipProof,
) -> Attempt<ContractProof> {
    let hash = match deployment_hash_bytes(plan) {
        Ok(hash) => hash,
        Err(refusal) => return Attempt::Refused(refusal),
    };
    let _turn = chain.alone(key.account_id()).await;
    match send(chain, plan, key, owner, hash).await {
        Ok(attempt) => attempt,
        // Reading comes before anything is sent.
        Err(error) => Attempt::NotSent(error.to_string()),
    }
}

async fn send(
    chain: &TfchainClient,
    plan: &ContractPlan,
    key: &ChainKey,
    owner: &dyn OwnershipProof,
    deployment_hash: [u8; 32],
) -> Result<Attempt<ContractProof>, ReadError> {
    let state = chain.account(&key.account_id()).await?;
    match known(chain, plan, &state).await? {
        Known::Stands(proof) => return Ok(Attempt::Landed(proof)),
        Known::Ended(creation) => return Ok(Attempt::Refused(ended(&creation))),
        Known::Never => {}
    }
    if state.free < plan.minimum_balance {
        return Ok(Attempt::NotSent(waiting_for_funds(state.free, plan)));
    }
    let block_ms = NodeClient::block_ms(&state.view)?;
    let Some(period) = mortality(&state.at, plan.deadline, block_ms) else {
        return Ok(Attempt::NotSent(TOO_NEAR.to_owned()));
    };
    if !owner.prove().await {
        return Ok(Attempt::NotSent(
            "the work is no longer this process's".to_owned(),
        ));
    }
    let call = CreateNodeContract {
        node_id: plan.node.0,
        deployment_hash,
        deployment_data: plan.data.as_bytes().to_vec(),
        public_ips: plan.public_ips,
        solution_provider_id: plan.solution_provider,
    };
    let signed = chain.sign(key, &state, period, call)?;
    chain.remember(plan.request, &signed, &state, period);
    tracing::debug!(
        request = %plan.request,
        deployment = %plan.deployment,
        nonce = state.nonce,
        transaction = signed.hash(),
        "submitting a contract"
    );
    let executed = match chain.submit(&signed).await {
        Ok(executed) => executed,
        Err(answer) => return Ok(meaning(&answer)),
    };
    let created = executed
        .body
        .of(executed.place)
        .find_map(|happened| match &happened.event {
            ChainEvent::ContractCreated { contract, hash, .. } if *hash == plan.hash => {
                Some(*contract)
            }
            _ => None,
        });
    Ok(match created {
        Some(contract) => Attempt::Landed(ContractProof {
            contract,
            extrinsic_hash: executed.hash,
            block: executed.body.number,
        }),
        None => Attempt::Unknown(
            "the transaction was carried out without an event that names the contract".to_owned(),
        ),
    })
}

/// A plan that no chain could take is refused here, whatever its author meant.
fn deployment_hash_bytes(plan: &ContractPlan) -> Result<[u8; 32], Refusal> {
    if plan.data.len() > MAX_DEPLOYMENT_DATA {
        let detail = format!(
            "{} bytes of data, at most {MAX_DEPLOYMENT_DATA} are allowed",
            plan.data.len()
        );
        return Err(Refusal::new("deployment_data_too_long", detail));
    }
    let bytes = hex::decode(&plan.hash)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    let lower = plan.hash.bytes().all(|b| !b.is_ascii_uppercase());
    bytes.filter(|_| lower).ok_or_else(|| {
        Refusal::new(
            "deployment_hash_malformed",
            "expected 64 hex digits in lower case".to_owned(),
        )
    })
}
