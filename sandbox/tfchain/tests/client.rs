//! The client against the stand-in: nothing twice, nothing lost.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod world;

use counterparties_tfchain::{ChainEvent, Tfchain, TfchainClient, TfchainConfig};
use events::ids::{ContractId, NodeId, TwinId};
use events::money::Amount;
use events::outcome::{Attempt, Find};
use sandbox_tfchain::chain::Status;
use sandbox_tfchain::runtime::pallet_smart_contract::Call as Contracts;
use sandbox_tfchain::runtime::pallet_tfgrid::Call as Grid;
use sandbox_tfchain::runtime::tfchain_runtime::RuntimeCall;
use std::time::Duration;
use world::{FEE, ON_SUBMISSION, Owner, SUBMIT, TRAILING, drive_contract, drive_twin, pay, world};

#[tokio::test]
async fn a_walk_taken_twice_makes_one_twin() {
    let w = world(ON_SUBMISSION).await;
    let (plan, key) = (w.twin_plan("ada"), w.key("ada"));
    let client = w.client();
    assert_eq!(client.find_twin(&plan, &key).await, Find::Absent);
    let first = client.make_twin(&plan, &key, &w.activator).await;
    let Attempt::Landed(proof) = first else {
        panic!("{first:?}")
    };
    assert_eq!((proof.twin, &proof.account), (TwinId(1), &key.ss58()));
    let again = client.make_twin(&plan, &key, &w.activator).await;
    assert!(matches!(again, Attempt::Landed(p) if p.twin == TwinId(1)));
    assert!(matches!(client.find_twin(&plan, &key).await, Find::Landed(p) if p.twin == TwinId(1)));
    let counts = w.chain.counts();
    assert_eq!(
        (counts.twins, counts.activations.get(&key.ss58())),
        (1, Some(&1))
    );
    // The activation, less the fees of two calls.
    assert_eq!(
        client.balance(&key.account_id()).await.unwrap().minor(),
        5_000_000 - 2 * 10_000
    );
    assert_eq!(
        client.twin_of(&key.account_id()).await.unwrap(),
        Some(TwinId(1))
    );
    assert_eq!(
        client.twin_of(&w.key("bob").account_id()).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_contract_made_twice_is_one() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (plan, key, client) = (
        w.contract_plan("ada", twin, "web"),
        w.key("ada"),
        w.client(),
    );
    assert_eq!(client.find_contract(&plan, &key).await, Find::Absent);
    let Attempt::Landed(made) = client.create_contract(&plan, &key, &Owner(true)).await else {
        panic!("not made")
    };
    assert_eq!(
        (made.contract, made.extrinsic_hash.len()),
        (ContractId(1), 64)
    );
    let Attempt::Landed(again) = w.client().create_contract(&plan, &key, &Owner(true)).await else {
        panic!("refused")
    };
    assert_eq!(again, made, "found with the very transaction that made it");
    assert_eq!(w.chain.counts().by_hash.get(&plan.hash), Some(&1));
    let block = client
        .blocks(made.block, made.block)
        .await
        .unwrap()
        .remove(0);
    assert!(block.events.iter().any(
        |event| matches!(event, ChainEvent::ContractCreated { contract, twin: t, node, hash, .. }
        if *contract == made.contract && *t == twin && *node == NodeId(3) && *hash == plan.hash)
    ));
}

#[tokio::test]
async fn the_chain_refuses_a_second_contract_of_a_zombie() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (plan, key) = (w.contract_plan("ada", twin, "web"), w.key("ada"));
    drive_contract(&w.client(), &plan, &key).await;
    let call = RuntimeCall::SmartContractModule(Contracts::create_node_contract {
        node_id: 3,
        deployment_hash: hex::decode(&plan.hash).unwrap().try_into().unwrap(),
        deployment_data: Vec::new(),
        public_ips: 0,
        solution_provider_id: None,
    });
    let status = w.submit(&key, &call).unwrap();
    // The module error: variant 3, pallet 26, error 13 (`ContractIsNotUnique`).
    let error = w.error(status).await.unwrap();
    assert!(error.starts_with("031a0d000000"), "{error}");
    assert_eq!(w.chain.counts().contracts, 1);
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_found() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (plan, key, client) = (
        w.contract_plan("ada", twin, "web"),
        w.key("ada"),
        w.client(),
    );
    for kind in ["lose_answer", "http500_after_work"] {
        let plan = w.contract_plan("ada", twin, kind);
        w.fault(SUBMIT, kind, 1).await;
        let lost = client.create_contract(&plan, &key, &Owner(true)).await;
        let unclear = matches!(lost, Attempt::NoAnswer(_) | Attempt::Unknown(_));
        assert!(unclear, "{kind}: {lost:?}");
        assert!(
            matches!(client.find_contract(&plan, &key).await, Find::Landed(_)),
            "{kind}"
        );
    }
    w.fault(SUBMIT, "http500", 1).await;
    let lost = client.create_contract(&plan, &key, &Owner(true)).await;
    assert!(matches!(lost, Attempt::Unknown(_)), "{lost:?}");
    assert_eq!(client.find_contract(&plan, &key).await, Find::Absent);
    drive_contract(&client, &plan, &key).await;
    assert!(w.chain.counts().by_hash.values().all(|n| *n == 1));
}

#[tokio::test]
async fn a_twin_is_walked_to_through_lost_answers() {
    let w = world(ON_SUBMISSION).await;
    w.fault(SUBMIT, "lose_answer", 3).await;
    let proof = drive_twin(
        &w.client(),
        &w.twin_plan("ada"),
        &w.key("ada"),
        &w.activator,
    )
    .await;
    assert_eq!(proof.twin, TwinId(1));
    let counts = w.chain.counts();
    assert_eq!(
        (
            counts.twins,
            counts.activations.values().copied().collect::<Vec<_>>()
        ),
        (1, vec![1])
    );
}

#[tokio::test]
async fn a_stale_nonce_is_unknown_and_the_next_look_tells() {
    let w = world(TRAILING).await;
    let twin = w.twin("ada").await.twin;
    let key = w.key("ada");
    // Two processes with the same account: both read the same nonce.
    let plans = [
        w.contract_plan("ada", twin, "one"),
        w.contract_plan("ada", twin, "two"),
    ];
    let clients = [w.client(), w.client()];
    let (a, b) = tokio::join!(
        clients[0].create_contract(&plans[0], &key, &Owner(true)),
        clients[1].create_contract(&plans[1], &key, &Owner(true)),
    );
    let landed = [&a, &b]
        .iter()
        .filter(|outcome| matches!(outcome, Attempt::Landed(_)))
        .count();
    let unknown = [&a, &b]
        .iter()
        .filter(|outcome| matches!(outcome, Attempt::Unknown(_)))
        .count();
    assert_eq!((landed, unknown), (1, 1), "{a:?} {b:?}");
    tokio::join!(
        drive_contract(&clients[0], &plans[0], &key),
        drive_contract(&clients[1], &plans[1], &key)
    );
    let counts = w.chain.counts();
    assert_eq!((counts.contracts, counts.by_hash.len()), (2, 2));
}

#[tokio::test]
async fn after_the_deadline_it_never_will() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (plan, key, client) = (
        w.contract_plan("ada", twin, "web"),
        w.key("ada"),
        w.client(),
    );
    let twin_plan = w.twin_plan("bob");
    w.pass(plan.deadline.max(twin_plan.deadline));
    let late = client.create_contract(&plan, &key, &Owner(true)).await;
    assert!(
        matches!(&late, Attempt::NotSent(reason) if reason.contains("deadline")),
        "{late:?}"
    );
    assert!(matches!(
        client.find_contract(&plan, &key).await,
        Find::NeverWill(_)
    ));
    assert!(matches!(
        client.find_twin(&twin_plan, &w.key("bob")).await,
        Find::NeverWill(_)
    ));
    assert_eq!(w.chain.counts().contracts, 0);
}

#[tokio::test]
async fn what_may_still_land_is_not_given_up() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (plan, key) = (w.contract_plan("ada", twin, "web"), w.key("ada"));
    let client = w.client().with_finality_wait(Duration::from_millis(50));
    w.chain.hold(true);
    let stuck = client.create_contract(&plan, &key, &Owner(true)).await;
    assert!(matches!(stuck, Attempt::Unknown(_)), "{stuck:?}");
    let (found, born) = (
        client.find_contract(&plan, &key).await,
        w.chain.finalized().number,
    );
    assert_eq!(found, Find::Absent);
    // The clock is past the deadline, but the transaction counts in blocks and lives on.
    w.chain.advance_clock(700_000);
    w.chain.seal_blocks(1);
    let found = client.find_contract(&plan, &key).await;
    assert!(matches!(found, Find::Pending(_)), "{found:?}");
    w.chain.hold(false);
    let found = client.find_contract(&plan, &key).await;
    assert!(
        matches!(&found, Find::Landed(proof) if proof.contract == ContractId(1)),
        "{found:?}, born at {born}"
    );
}

#[tokio::test]
async fn an_expired_transaction_lands_no_more() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (plan, key) = (w.contract_plan("ada", twin, "web"), w.key("ada"));
    let client = w.client().with_finality_wait(Duration::from_millis(50));
    w.chain.hold(true);
    assert!(matches!(
        client.create_contract(&plan, &key, &Owner(true)).await,
        Attempt::Unknown(_)
    ));
    w.pass(plan.deadline);
    assert!(matches!(
        client.find_contract(&plan, &key).await,
        Find::NeverWill(_)
    ));
    w.chain.hold(false);
    assert!(matches!(
        client.find_contract(&plan, &key).await,
        Find::NeverWill(_)
    ));
    assert_eq!(w.chain.counts().contracts, 0);
}

#[tokio::test]
async fn a_cancelled_contract_is_not_made_again() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (plan, key, client) = (
        w.contract_plan("ada", twin, "web"),
        w.key("ada"),
        w.client(),
    );
    let made = drive_contract(&client, &plan, &key).await;
    let cancel = RuntimeCall::SmartContractModule(Contracts::cancel_contract {
        contract_id: made.contract.0,
    });
    assert!(matches!(w.submit(&key, &cancel), Ok(Status::Finalized(_))));
    assert_eq!(w.chain.counts().cancelled, 1);
    // Long before the deadline, by a process that never heard of the first one.
    let again = w.client().create_contract(&plan, &key, &Owner(true)).await;
    assert!(
        matches!(&again, Attempt::Refused(refusal) if refusal.code == "contract_ended"),
        "{again:?}"
    );
    w.pass(plan.deadline);
    let found = client.find_contract(&plan, &key).await;
    let Find::Refused(refusal) = found else {
        panic!("{found:?}")
    };
    assert_eq!(
        (refusal.code.as_str(), refusal.evidence.as_str()),
        ("contract_ended", "1")
    );
    assert!(client.blocks(0, u32::MAX).await.unwrap().iter().flat_map(|b| &b.events).any(
        |event| matches!(event, ChainEvent::ContractCancelled { contract, .. } if *contract == made.contract)
    ));
}

#[tokio::test]
async fn refusals_come_by_name() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (key, client) = (w.key("ada"), w.client());
    let good = w.contract_plan("ada", twin, "web");
    let mut bad = [good.clone(), good.clone(), good.clone(), good.clone()];
    bad[0].node = NodeId(11);
    bad[1].solution_provider = Some(1);
    bad[2].data = "x".repeat(513);
    bad[3].hash = "AB".repeat(32);
    let codes = [
        "NodeNotExists",
        "NoSuchSolutionProvider",
        "deployment_data_too_long",
        "deployment_hash_malformed",
    ];
    for (plan, code) in bad.iter().zip(codes) {
        let outcome = client.create_contract(plan, &key, &Owner(true)).await;
        assert!(
            matches!(&outcome, Attempt::Refused(refusal) if refusal.code == code),
            "{code}: {outcome:?}"
        );
    }
    let (stranger, mut plan) = (w.key("bob"), good);
    plan.minimum_balance = Amount::ZERO;
    let paid = w.submit(w.activator.key(), &pay(&stranger, 1_000_000));
    assert!(matches!(paid, Ok(Status::Finalized(_))));
    let outcome = client.create_contract(&plan, &stranger, &Owner(true)).await;
    assert!(
        matches!(&outcome, Attempt::Refused(refusal) if refusal.code == "TwinNotExists"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn without_funds_or_ownership_nothing_is_sent() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (key, client) = (w.key("ada"), w.client());
    let mut plan = w.contract_plan("ada", twin, "web");
    let nonce = w.chain.account(key.account_id()).nonce;
    let outcome = client.create_contract(&plan, &key, &Owner(false)).await;
    assert!(matches!(&outcome, Attempt::NotSent(_)), "{outcome:?}");
    plan.minimum_balance = Amount::parse("250").unwrap();
    let outcome = client.create_contract(&plan, &key, &Owner(true)).await;
    assert!(
        matches!(&outcome, Attempt::NotSent(reason) if reason.starts_with("waiting for funds")),
        "{outcome:?}"
    );
    assert!(
        matches!(client.find_contract(&plan, &key).await, Find::Pending(reason) if reason.starts_with("waiting for funds"))
    );
    assert_eq!(w.chain.account(key.account_id()).nonce, nonce);
}

#[tokio::test]
async fn nothing_is_tried_shortly_before_a_deadline() {
    let w = world(ON_SUBMISSION).await;
    let twin = w.twin("ada").await.twin;
    let (key, client) = (w.key("ada"), w.client());
    let (mut plan, mut twin_plan) = (w.contract_plan("ada", twin, "web"), w.twin_plan("bob"));
    // Less than four blocks of a second are left.
    (plan.deadline, twin_plan.deadline) = (w.now() + 3, w.now() + 3);
    assert!(matches!(
        client.find_contract(&plan, &key).await,
        Find::Pending(_)
    ));
    assert!(matches!(
        client.create_contract(&plan, &key, &Owner(true)).await,
        Attempt::NotSent(_)
    ));
    assert!(matches!(
        client.find_twin(&twin_plan, &w.key("bob")).await,
        Find::Pending(_)
    ));
    let outcome = client
        .make_twin(&twin_plan, &w.key("bob"), &w.activator)
        .await;
    assert!(matches!(outcome, Attempt::NotSent(_)), "{outcome:?}");
    assert!(
        !w.chain
            .counts()
            .activations
            .contains_key(&w.key("bob").ss58())
    );
}

#[tokio::test]
async fn a_node_takes_no_transaction_that_is_not_right() {
    let w = world(ON_SUBMISSION).await;
    w.twin("ada").await;
    let key = w.key("ada");
    let call = RuntimeCall::TfgridModule(Grid::create_twin {
        relay: None,
        pk: None,
    });
    let nonce = w.chain.account(key.account_id()).nonce;
    let good = w.signed(&key, &call, nonce);
    // Within the signature, the nonce and the call.
    for place in [50, good.len() - 4, good.len() - 1] {
        let mut bad = good.clone();
        bad[place] ^= 1;
        let refused = w.chain.submit(&bad).unwrap_err();
        assert!([1010, 1002].contains(&refused.code), "{place}: {refused}");
    }
    for bytes in [&[] as &[u8], &[0], &good[..good.len() - 1]] {
        assert_eq!(w.chain.submit(bytes).unwrap_err().code, 1002);
    }
    assert_eq!(w.chain.account(key.account_id()).nonce, nonce);
    let status = w.submit(&key, &call).unwrap();
    assert!(w.error(status).await.is_some(), "the account has a twin");
    assert_eq!(
        w.chain.account(key.account_id()).nonce,
        nonce + 1,
        "a failed call takes its nonce"
    );
    let stale = w.chain.submit(&good).unwrap_err();
    assert_eq!(
        (stale.code, stale.data.as_str()),
        (1010, "Transaction is outdated")
    );
}

#[tokio::test]
async fn transfers_keep_to_the_chains_rules() {
    let w = world(ON_SUBMISSION).await;
    let (bob, eve) = (w.key("bob"), w.key("eve"));
    let activator = w.activator.key();
    let free = w.chain.account(activator.account_id()).free;
    // Token errors: variant 7, then `BelowMinimum`, `FundsUnavailable`, `NotExpendable`.
    for (value, error) in [
        (499, "0702"),
        (u128::from(free), "0700"),
        // By then three fees are paid: nothing would be left.
        (u128::from(free - 3 * FEE), "0708"),
    ] {
        let status = w.submit(activator, &pay(&bob, value)).unwrap();
        let told = w.error(status).await.unwrap();
        assert!(told.starts_with(error), "{value}: {told}");
    }
    let poor = w.submit(&eve, &pay(&bob, 500)).unwrap_err();
    assert_eq!(poor.code, 1010, "who has nothing cannot pay the fee");
    assert!(w.chain.counts().activations.is_empty());
}

#[tokio::test]
async fn blocks_are_read_as_they_become_final() {
    let w = world(ON_SUBMISSION).await;
    let client = w.client();
    let head = client.finalized_head().await.unwrap();
    let waiting = client.wait_for_block_after(head.number, Duration::from_secs(20));
    let (next, ()) = tokio::join!(waiting, async { w.chain.seal_blocks(1) });
    assert!(next.unwrap().number > head.number);
    w.chain.seal_blocks(2_500);
    let head = client.finalized_head().await.unwrap();
    let blocks = client.blocks(1, u32::MAX).await.unwrap();
    assert!(blocks.len() >= usize::try_from(head.number).unwrap());
    assert!(
        blocks
            .windows(2)
            .all(|b| b[1].number == b[0].number + 1 && b[1].timestamp > b[0].timestamp)
    );
    assert!(client.blocks(u32::MAX, u32::MAX).await.unwrap().is_empty());
    let quiet = client
        .wait_for_block_after(u32::MAX, Duration::from_millis(20))
        .await
        .unwrap();
    assert!(quiet.number >= head.number);
}

#[tokio::test]
async fn who_does_not_answer_is_not_sent_to_and_not_believed() {
    let w = world(ON_SUBMISSION).await;
    let (plan, key) = (w.contract_plan("ada", TwinId(1), "web"), w.key("ada"));
    let nobody = TfchainConfig {
        url: "ws://127.0.0.1:1".to_owned(),
        timeout: Duration::from_secs(2),
    };
    let nobody = TfchainClient::new(&nobody).unwrap();
    assert!(matches!(
        nobody.find_contract(&plan, &key).await,
        Find::NoAnswer(_)
    ));
    assert!(matches!(
        nobody.create_contract(&plan, &key, &Owner(true)).await,
        Attempt::NotSent(_)
    ));
    assert!(matches!(
        nobody
            .make_twin(&w.twin_plan("ada"), &key, &w.activator)
            .await,
        Attempt::NotSent(_)
    ));
    assert!(nobody.finalized_head().await.is_err());
    let client = w.client();
    w.fault("", "http503", 2).await;
    assert!(matches!(
        client.find_contract(&plan, &key).await,
        Find::NoAnswer(_)
    ));
    assert!(client.finalized_head().await.is_err());
    assert!(
        TfchainClient::new(&TfchainConfig {
            url: "no url".to_owned(),
            timeout: Duration::from_secs(1)
        })
        .is_err()
    );
}
