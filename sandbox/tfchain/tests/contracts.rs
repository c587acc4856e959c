//! Contracts that are changed and ended, by the client against the stand-in.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod world;

use counterparties_tfchain::{
    CancelPlan, ChainKey, ContractPlan, ContractProof, Tfchain, TfchainClient, UpdatePlan,
    deployment_hash,
};
use events::ids::EventId;
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use sandbox_tfchain::ledger::OfItself;
use sandbox_tfchain::runtime::pallet_smart_contract::Call as Contracts;
use sandbox_tfchain::runtime::tfchain_runtime::RuntimeCall;
use world::{ON_SUBMISSION, Owner, SUBMIT, TRAILING, World, drive_contract, world};

fn update_plan(w: &World, of: &ContractPlan, made: &ContractProof, version: u32) -> UpdatePlan {
    let data = format!(r#"{{"version":{version}}}"#);
    UpdatePlan {
        request: EventId::derive(&["update", &of.deployment.to_string(), &version.to_string()]),
        requested_at: Timestamp(w.chain.finalized().timestamp_ms),
        deadline: w.now() + 600,
        contract: made.contract,
        known_in: made.block,
        hash: deployment_hash(&of.deployment, version, &data),
        data,
    }
}

fn cancel_plan(w: &World, made: &ContractProof) -> CancelPlan {
    CancelPlan {
        request: EventId::derive(&["cancel", &made.contract.to_string()]),
        requested_at: Timestamp(w.chain.finalized().timestamp_ms),
        deadline: w.now() + 600,
        contract: made.contract,
        known_in: made.block,
    }
}

async fn drive_update(c: &TfchainClient, plan: &UpdatePlan, key: &ChainKey) -> ContractProof {
    let work = async {
        loop {
            match c.find_update(plan, key).await {
                Find::Landed(proof) => return proof,
                Find::Absent => {}
                Find::Pending(_) => {
                    tokio::task::yield_now().await;
                    continue;
                }
                other => panic!("{other:?}"),
            }
            match c.update_contract(plan, key, &Owner(true)).await {
                Attempt::Landed(proof) => return proof,
                Attempt::Unknown(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(world::PATIENCE, work).await.unwrap()
}

/// A contract of ada's.
async fn made(w: &World) -> (ChainKey, ContractPlan, ContractProof) {
    let twin = w.twin("ada").await.twin;
    let (plan, key) = (w.contract_plan("ada", twin, "web"), w.key("ada"));
    let proof = drive_contract(&w.client(), &plan, &key).await;
    (key, plan, proof)
}

#[tokio::test]
async fn a_contract_is_updated_once_however_often_it_is_tried() {
    let w = world(ON_SUBMISSION).await;
    let (key, of, proof) = made(&w).await;
    let (plan, client) = (update_plan(&w, &of, &proof, 2), w.client());
    assert_eq!(client.find_update(&plan, &key).await, Find::Absent);
    let first = client.update_contract(&plan, &key, &Owner(true)).await;
    let Attempt::Landed(first) = first else {
        panic!("{first:?}")
    };
    assert_eq!(
        (first.contract, first.extrinsic_hash.len()),
        (proof.contract, 64)
    );
    let again = w.client().update_contract(&plan, &key, &Owner(true)).await;
    assert_eq!(again, Attempt::Landed(first.clone()));
    assert_eq!(client.find_update(&plan, &key).await, Find::Landed(first));
    assert_eq!(w.chain.counts().updates.get(&plan.hash), Some(&1));
    assert_eq!(
        w.chain
            .contract(3, hex::decode(&plan.hash).unwrap().try_into().unwrap()),
        Some(1)
    );
}

#[tokio::test]
async fn an_older_update_does_not_come_back() {
    let w = world(TRAILING).await;
    let (key, of, proof) = made(&w).await;
    let client = w.client();
    let (second, third) = (
        update_plan(&w, &of, &proof, 2),
        update_plan(&w, &of, &proof, 3),
    );
    drive_update(&client, &second, &key).await;
    drive_update(&client, &third, &key).await;
    // A process that still thinks that the second is to be done.
    let zombie = w.client();
    assert!(matches!(
        zombie.find_update(&second, &key).await,
        Find::Landed(_)
    ));
    let again = zombie.update_contract(&second, &key, &Owner(true)).await;
    assert!(matches!(again, Attempt::Landed(_)), "{again:?}");
    let counts = w.chain.counts();
    assert_eq!(
        (
            counts.updates.get(&second.hash),
            counts.updates.get(&third.hash)
        ),
        (Some(&1), Some(&1))
    );
}

#[tokio::test]
async fn a_contract_is_cancelled_once_and_by_whomever() {
    let w = world(ON_SUBMISSION).await;
    let (key, _, proof) = made(&w).await;
    let (plan, client) = (cancel_plan(&w, &proof), w.client());
    assert_eq!(client.find_cancel(&plan, &key).await, Find::Absent);
    let first = client.cancel_contract(&plan, &key, &Owner(true)).await;
    let Attempt::Landed(first) = first else {
        panic!("{first:?}")
    };
    let nonce = w.chain.account(key.account_id()).nonce;
    let again = w.client().cancel_contract(&plan, &key, &Owner(true)).await;
    assert_eq!(again, Attempt::Landed(first.clone()));
    assert_eq!(client.find_cancel(&plan, &key).await, Find::Landed(first));
    assert_eq!(
        w.chain.account(key.account_id()).nonce,
        nonce,
        "nothing was sent"
    );
    assert_eq!(w.chain.counts().cancelled, 1);

    // What the chain ended by itself is found as well, without a transaction.
    let twin = client.twin_of(&key.account_id()).await.unwrap().unwrap();
    let other = w.contract_plan("ada", twin, "mail");
    let proof = drive_contract(&client, &other, &key).await;
    let contract = proof.contract.0;
    w.chain
        .of_itself(OfItself::OutOfFunds { contract })
        .unwrap();
    let found = client.find_cancel(&cancel_plan(&w, &proof), &key).await;
    assert!(
        matches!(&found, Find::Landed(p) if p.extrinsic_hash.is_empty() && p.block > proof.block),
        "{found:?}"
    );
}

#[tokio::test]
async fn what_has_ended_is_not_updated() {
    let w = world(ON_SUBMISSION).await;
    let (key, of, proof) = made(&w).await;
    let client = w.client();
    let cancelled = client
        .cancel_contract(&cancel_plan(&w, &proof), &key, &Owner(true))
        .await;
    assert!(matches!(cancelled, Attempt::Landed(_)), "{cancelled:?}");
    let plan = update_plan(&w, &of, &proof, 2);
    assert!(matches!(
        client.update_contract(&plan, &key, &Owner(true)).await,
        Attempt::Refused(refusal) if refusal.code == "contract_ended"
    ));
    assert!(matches!(
        client.find_update(&plan, &key).await,
        Find::Refused(refusal) if refusal.code == "contract_ended"
    ));
    assert!(w.chain.counts().updates.is_empty());
}

#[tokio::test]
async fn a_node_that_lags_is_not_believed() {
    let w = world(ON_SUBMISSION).await;
    let (key, of, mut proof) = made(&w).await;
    let client = w.client();
    // A contract that only a node further on has heard of.
    proof.contract.0 += 1;
    proof.block = w.chain.finalized().number + 5;
    let (update, cancel) = (update_plan(&w, &of, &proof, 2), cancel_plan(&w, &proof));
    let found = client.find_cancel(&cancel, &key).await;
    assert!(
        matches!(&found, Find::Pending(why) if why.contains("before block")),
        "{found:?}"
    );
    assert!(matches!(
        client.find_update(&update, &key).await,
        Find::Pending(_)
    ));
    let tried = client.cancel_contract(&cancel, &key, &Owner(true)).await;
    assert!(matches!(tried, Attempt::Unknown(_)), "{tried:?}");
    w.chain.seal_blocks(6);
    assert!(matches!(
        client.find_cancel(&cancel, &key).await,
        Find::Landed(_)
    ));
    assert!(matches!(
        client.find_update(&update, &key).await,
        Find::Refused(_)
    ));
}

#[tokio::test]
async fn lost_answers_of_changes_are_found() {
    let w = world(ON_SUBMISSION).await;
    let (key, of, proof) = made(&w).await;
    let client = w.client();
    let (update, cancel) = (update_plan(&w, &of, &proof, 2), cancel_plan(&w, &proof));
    w.fault(SUBMIT, "lose_answer", 1).await;
    let lost = client.update_contract(&update, &key, &Owner(true)).await;
    assert!(matches!(lost, Attempt::NoAnswer(_)), "{lost:?}");
    let found = client.find_update(&update, &key).await;
    assert!(matches!(found, Find::Landed(_)), "{found:?}");
    w.fault(SUBMIT, "lose_answer", 1).await;
    let lost = client.cancel_contract(&cancel, &key, &Owner(true)).await;
    assert!(matches!(lost, Attempt::NoAnswer(_)), "{lost:?}");
    let found = client.find_cancel(&cancel, &key).await;
    assert!(matches!(found, Find::Landed(_)), "{found:?}");
    let counts = w.chain.counts();
    assert_eq!((counts.updates.len(), counts.cancelled), (1, 1));
}

#[tokio::test]
async fn changes_are_refused_by_name_and_expire() {
    let w = world(ON_SUBMISSION).await;
    let (key, of, proof) = made(&w).await;
    let client = w.client();
    let contract = proof.contract.0;
    w.chain
        .of_itself(OfItself::StartGrace { contract })
        .unwrap();
    let plan = update_plan(&w, &of, &proof, 2);
    let refused = client.update_contract(&plan, &key, &Owner(true)).await;
    assert!(
        matches!(&refused, Attempt::Refused(r) if r.code == "CannotUpdateContractInGraceState"),
        "{refused:?}"
    );
    w.chain.of_itself(OfItself::EndGrace { contract }).unwrap();
    let unowned = client.update_contract(&plan, &key, &Owner(false)).await;
    assert!(matches!(unowned, Attempt::NotSent(_)), "{unowned:?}");
    // A stranger's contract.
    let bob = w.twin("bob").await.twin;
    let others = drive_contract(&client, &w.contract_plan("bob", bob, "x"), &w.key("bob")).await;
    let refused = client
        .cancel_contract(&cancel_plan(&w, &others), &key, &Owner(true))
        .await;
    assert!(
        matches!(&refused, Attempt::Refused(r) if r.code == "TwinNotAuthorizedToCancelContract"),
        "{refused:?}"
    );
    let late = (update_plan(&w, &of, &proof, 3), cancel_plan(&w, &proof));
    w.pass(late.0.deadline.max(late.1.deadline));
    assert!(matches!(
        client.find_update(&late.0, &key).await,
        Find::NeverWill(_)
    ));
    assert!(matches!(
        client.find_cancel(&late.1, &key).await,
        Find::NeverWill(_)
    ));
}

#[tokio::test]
async fn a_cancellation_of_a_zombie_is_stale() {
    let w = world(ON_SUBMISSION).await;
    let (key, _, proof) = made(&w).await;
    let cancel = RuntimeCall::SmartContractModule(Contracts::cancel_contract {
        contract_id: proof.contract.0,
    });
    let nonce = w.chain.account(key.account_id()).nonce;
    let late = w.signed(&key, &cancel, nonce);
    let done = w
        .client()
        .cancel_contract(&cancel_plan(&w, &proof), &key, &Owner(true))
        .await;
    assert!(matches!(done, Attempt::Landed(_)), "{done:?}");
    assert_eq!(w.chain.submit(&late).unwrap_err().code, 1010);
}
