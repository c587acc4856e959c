//! Contracts of deployments.

use crate::client::{TfchainClient, block_ref, tft};
use crate::era::{Deadline, TOO_NEAR, first_block_at, mortality, standing};
use crate::keys::ChainKey;
use crate::outcome::meaning;
use crate::port::{
    ChainEvent, ContractPlan, ContractProof, MAX_DEPLOYMENT_DATA, OwnershipProof, ReadError,
    Tfchain,
};
use crate::protocol::{AccountState, Call};
use crate::runtime_events::{ContractCreated, ContractData, RuntimeEvent};
use events::ids::ContractId;
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find, Refusal};

/// How far our clock may be ahead of the chain's. In a block before `requested_at` by more than
/// this nothing of a plan is looked for.
const CLOCKS_APART_MS: i64 = 300_000;

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
    let state = chain
        .account(&key.account_id(), Some((plan.node.0, &plan.hash)))
        .await?;
    if let Some(proof) = proof(&state) {
        return Ok(Find::Landed(proof));
    }
    let head = block_ref(&state.at);
    let last = match standing(chain, plan.deadline, &head).await? {
        Deadline::Ahead => return ahead(chain, plan, &state).await,
        Deadline::Closing { last } => {
            return Ok(Find::Pending(format!(
                "until block {last} it could still land"
            )));
        }
        Deadline::Closed { last } => last,
    };
    // The state forgets a contract that was cancelled; its creation stays in the blocks.
    let from = first_block_at(
        chain,
        plan.requested_at.0.saturating_sub(CLOCKS_APART_MS),
        &head,
    )
    .await?;
    for block in chain.blocks(from, last).await? {
        for event in block.events {
            match event {
                ChainEvent::ContractCreated {
                    contract,
                    node,
                    hash,
                    ..
                } if node == plan.node && hash == plan.hash => {
                    let detail = format!(
                        "contract {contract} was created in block {} and is no more",
                        block.number
                    );
                    return Ok(Find::Refused(
                        Refusal::new("contract_cancelled", detail)
                            .with_evidence(contract.to_string()),
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(Find::NeverWill(format!(
        "no contract by block {last}, the last in which one could be created"
    )))
}

/// Before the deadline. What cannot be tried now is waited for here, where waiting is free: a try
/// that is not sent counts as a failure of the chain.
async fn ahead(
    chain: &TfchainClient,
    plan: &ContractPlan,
    state: &AccountState,
) -> Result<Find<ContractProof>, ReadError> {
    let balance = tft(state.free);
    if balance < plan.minimum_balance {
        return Ok(Find::Pending(waiting_for_funds(balance, plan)));
    }
    Ok(
        match mortality(&state.at, plan.deadline, chain.info().await?.block_ms) {
            Some(_) => Find::Absent,
            None => Find::Pending(TOO_NEAR.to_owned()),
        },
    )
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
    let block_ms = chain.info().await?.block_ms;
    let state = chain
        .account(&key.account_id(), Some((plan.node.0, &plan.hash)))
        .await?;
    if let Some(proof) = proof(&state) {
        return Ok(Attempt::Landed(proof));
    }
    let balance = tft(state.free);
    if balance < plan.minimum_balance {
        return Ok(Attempt::NotSent(waiting_for_funds(balance, plan)));
    }
    let Some(era) = mortality(&state.at, plan.deadline, block_ms) else {
        return Ok(Attempt::NotSent(TOO_NEAR.to_owned()));
    };
    if !owner.prove().await {
        return Ok(Attempt::NotSent(
            "the work is no longer this process's".to_owned(),
        ));
    }
    let call = Call::CreateNodeContract {
        node_id: plan.node.0,
        deployment_hash,
        deployment_data: plan.data.as_bytes().to_vec(),
        public_ips: plan.public_ips,
        solution_provider_id: plan.solution_provider,
    };
    let extrinsic = chain.sign(key, state.nonce, era, &state.at, call).await?;
    tracing::debug!(request = %plan.request, deployment = %plan.deployment, nonce = state.nonce, "submitting a contract");
    let executed = match chain.submit(&extrinsic).await {
        Ok(executed) => executed,
        Err(answer) => return Ok(meaning(&answer)),
    };
    let created = executed.events.iter().filter_map(ContractCreated::from_event).find(|created| {
        matches!(&created.contract_type, ContractData::NodeContract(c) if c.deployment_hash == plan.hash)
    });
    Ok(match created {
        Some(created) => Attempt::Landed(ContractProof {
            contract: ContractId(created.contract_id),
            extrinsic_hash: executed.hash,
            block: executed.block,
        }),
        None => Attempt::Unknown(
            "the transaction was carried out without an event that names the contract".to_owned(),
        ),
    })
}

fn proof(state: &AccountState) -> Option<ContractProof> {
    state.contract.map(|contract| ContractProof {
        contract: ContractId(contract),
        extrinsic_hash: String::new(),
        block: state.at.number,
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
