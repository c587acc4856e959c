//! A chain in trouble: forks, drops, restarts, upgrades, lost answers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod world;

use counterparties_tfchain::{ChainEvent, Tfchain};
use events::ids::{ContractId, NodeId};
use events::outcome::{Attempt, Find};
use sandbox_tfchain::Pace;
use sandbox_tfchain::runtime::Change;
use std::time::Duration;
use world::{ON_SUBMISSION, Owner, SUBMIT, TRAILING, drive_contract, many_walks, world};

/// Blocks by the clock, with room for forks before they are final.
const FORKING: Pace = Pace {
    block: Duration::from_millis(20),
    idle: Duration::from_millis(20),
    finality_lag: 3,
};

#[tokio::test]
async fn a_fork_before_finality_loses_and_doubles_nothing() {
    let w = world(FORKING).await;
    let forking = std::sync::Arc::clone(&w.chain);
    let forks = tokio::spawn(async move {
        for round in 0..40_u32 {
            tokio::time::sleep(Duration::from_millis(15)).await;
            forking.fork(1 + round % 3, round % 4 == 3);
        }
    });
    many_walks(&w, 6).await;
    let twin = w.twin("ada").await.twin;
    let key = w.key("ada");
    for name in ["one", "two", "three"] {
        drive_contract(&w.client(), &w.contract_plan("ada", twin, name), &key).await;
    }
    forks.await.unwrap();
    let counts = w.chain.counts();
    assert!(counts.forks > 0);
    assert_eq!((counts.contracts, counts.by_hash.len()), (3, 3));
    assert!(counts.activations.values().all(|n| *n == 1), "{counts:?}");
}

#[tokio::test]
async fn what_the_pool_drops_is_sent_again() {
    let w = world(TRAILING).await;
    w.chain.drop_transactions(2);
    many_walks(&w, 3).await;
    let twin = w.twin("ada").await.twin;
    let key = w.key("ada");
    for name in ["one", "two", "three", "four"] {
        drive_contract(&w.client(), &w.contract_plan("ada", twin, name), &key).await;
    }
    let counts = w.chain.counts();
    assert!(counts.dropped > 0);
    assert_eq!((counts.contracts, counts.by_hash.len()), (4, 4));
}

#[tokio::test]
async fn a_node_that_restarts_is_connected_to_again() {
    let w = world(TRAILING).await;
    let twin = w.twin("ada").await.twin;
    let (key, client) = (w.key("ada"), w.client());
    let head = client.finalized_head().await.unwrap().number;
    w.chain.restart(Duration::from_millis(100));
    drive_contract(&client, &w.contract_plan("ada", twin, "one"), &key).await;
    w.chain.hold(true);
    let plan = w.contract_plan("ada", twin, "two");
    let (outcome, ()) = tokio::join!(client.create_contract(&plan, &key, &Owner(true)), async {
        while w.chain.pending().is_empty() {
            tokio::task::yield_now().await;
        }
        // What is in the pool is lost with the node.
        w.chain.restart(Duration::ZERO);
        w.chain.hold(false);
    });
    let unclear = matches!(outcome, Attempt::Unknown(_) | Attempt::NoAnswer(_));
    assert!(unclear, "{outcome:?}");
    drive_contract(&client, &plan, &key).await;
    let after = client
        .wait_for_block_after(head, Duration::from_secs(10))
        .await;
    assert!(after.unwrap().number > head);
    assert_eq!(w.chain.counts().contracts, 2);
}

#[tokio::test]
async fn an_upgrade_that_moves_the_pallets_is_followed() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (key, client) = (w.key("ada"), w.client());
    let before = drive_contract(&client, &w.contract_plan("ada", twin, "before"), &key).await;
    w.chain.upgrade(150, Change::Indices);
    let after = drive_contract(&client, &w.contract_plan("ada", twin, "after"), &key).await;
    assert_eq!(
        (before.contract, after.contract),
        (ContractId(1), ContractId(2))
    );
    // Events of both runtimes, and of the block between them, each read as it was written.
    let created: Vec<_> = client
        .blocks(1, u32::MAX)
        .await
        .unwrap()
        .into_iter()
        .flat_map(|block| block.events)
        .filter_map(|event| match event {
            ChainEvent::ContractCreated { contract, .. } => Some(contract),
            _ => None,
        })
        .collect();
    assert_eq!(created, [ContractId(1), ContractId(2)]);
    let mut bad = w.contract_plan("ada", twin, "bad");
    bad.node = NodeId(99);
    let refused = client.create_contract(&bad, &key, &Owner(true)).await;
    assert!(
        matches!(&refused, Attempt::Refused(refusal) if refusal.code == "NodeNotExists"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn nothing_is_signed_for_a_runtime_with_other_shapes() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (key, client) = (w.key("ada"), w.client());
    let plan = w.contract_plan("ada", twin, "web");
    w.chain.upgrade(150, Change::Field);
    let nonce = w.chain.account(key.account_id()).nonce;
    let stopped = client.create_contract(&plan, &key, &Owner(true)).await;
    let Attempt::NotSent(reason) = &stopped else {
        panic!("{stopped:?}")
    };
    for part in [
        "spec 150",
        "create_node_contract.deployment_hash",
        "workload_hash",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    // Not even a call whose own shape is the same.
    let twin = client
        .make_twin(&w.twin_plan("bob"), &w.key("bob"), &w.activator)
        .await;
    assert!(matches!(twin, Attempt::NotSent(_)), "{twin:?}");
    assert_eq!(w.chain.account(key.account_id()).nonce, nonce);
    // It goes on by itself once the shapes are those that are known.
    w.chain.upgrade(151, Change::Nothing);
    drive_contract(&client, &plan, &key).await;
    assert_eq!(w.chain.counts().contracts, 1);
}

#[tokio::test]
async fn a_call_that_failed_is_told_by_name_though_its_answer_was_lost() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (key, client) = (w.key("ada"), w.client());
    let mut plan = w.contract_plan("ada", twin, "web");
    plan.solution_provider = Some(9);
    w.fault(SUBMIT, "lose_answer", 1).await;
    let lost = client.create_contract(&plan, &key, &Owner(true)).await;
    assert!(matches!(lost, Attempt::NoAnswer(_)), "{lost:?}");
    let found = client.find_contract(&plan, &key).await;
    assert!(
        matches!(&found, Find::Refused(refusal) if refusal.code == "NoSuchSolutionProvider"),
        "{found:?}"
    );
}
