//! Names, whole nodes and batches, by the client against the stand-in.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod world;

use counterparties_tfchain::{BatchPlan, ContractKind, ContractPlan, Tfchain};
use events::ids::{EventId, NodeId};
use events::outcome::{Attempt, Find};
use sandbox_tfchain::runtime::pallet_smart_contract::Call;
use sandbox_tfchain::runtime::tfchain_runtime::RuntimeCall;
use world::{ON_SUBMISSION, Owner, SUBMIT, World, drive_contract, world};

async fn plan(w: &World, user: &str, name: &str, kind: ContractKind) -> ContractPlan {
    let twin = w.twin(user).await.twin;
    ContractPlan {
        kind,
        ..w.contract_plan(user, twin, name)
    }
}

fn named(name: &str) -> ContractKind {
    ContractKind::Name(name.to_owned())
}

#[tokio::test]
async fn a_name_and_a_whole_node_are_had_once() {
    let w = world(ON_SUBMISSION).await;
    let (key, client) = (w.key("ada"), w.client());
    for kind in [named("a-name"), ContractKind::Rent] {
        let plan = plan(&w, "ada", "first", kind.clone()).await;
        assert_eq!(client.find_contract(&plan, &key).await, Find::Absent);
        w.fault(SUBMIT, "lose_answer", 1).await;
        let lost = client.create_contract(&plan, &key, &Owner(true)).await;
        assert!(matches!(lost, Attempt::NoAnswer(_)), "{lost:?}");
        let Find::Landed(made) = client.find_contract(&plan, &key).await else {
            panic!("lost")
        };
        assert_eq!(made.extrinsic_hash.len(), 64);
        let again = w.client().create_contract(&plan, &key, &Owner(true)).await;
        assert_eq!(again, Attempt::Landed(made.clone()));
        // A later deployment does not take it for its own.
        let later = ContractPlan {
            above: made.contract.0,
            request: EventId::derive(&["later"]),
            ..plan.clone()
        };
        let refused = client.create_contract(&later, &key, &Owner(true)).await;
        let code = match kind {
            ContractKind::Rent => "NodeHasRentContract",
            ContractKind::Name(_) | ContractKind::Node => "NameExists",
        };
        assert!(
            matches!(&refused, Attempt::Refused(r) if r.code == code),
            "{refused:?}"
        );
        // Nor does a stranger.
        let strangers = self::plan(&w, "bob", "theirs", kind.clone()).await;
        let refused = client
            .create_contract(&strangers, &w.key("bob"), &Owner(true))
            .await;
        assert!(
            matches!(&refused, Attempt::Refused(r) if r.code == code),
            "{refused:?}"
        );
        // Once it has ended it is never made again for the first, and can be had by the later.
        let cancel = RuntimeCall::SmartContractModule(Call::cancel_contract {
            contract_id: made.contract.0,
        });
        w.submit(&key, &cancel).unwrap();
        let zombie = w.client().create_contract(&plan, &key, &Owner(true)).await;
        assert!(
            matches!(&zombie, Attempt::Refused(r) if r.code == "contract_ended"),
            "{zombie:?}"
        );
        let had = drive_contract(&client, &later, &key).await;
        assert!(had.contract.0 > made.contract.0);
    }
    let counts = w.chain.counts();
    assert_eq!(
        (counts.names.get("a-name"), counts.rents.get("3")),
        (Some(&2), Some(&2))
    );
}

#[tokio::test]
async fn what_the_chain_would_not_take_is_not_sent() {
    let w = world(ON_SUBMISSION).await;
    let (key, client) = (w.key("ada"), w.client());
    let nonce = |w: &World| w.chain.account(key.account_id()).nonce;
    let mut bad = vec![plan(&w, "ada", "rent", ContractKind::Rent).await];
    bad[0].node = NodeId(11);
    for name in ["ab", "Upper", "with space", &"x".repeat(65)] {
        bad.push(plan(&w, "ada", "bad", named(name)).await);
    }
    let before = nonce(&w);
    for plan in bad {
        let refused = client.create_contract(&plan, &key, &Owner(true)).await;
        let code = if plan.kind == ContractKind::Rent {
            "NodeNotExists"
        } else {
            "NameNotValid"
        };
        assert!(
            matches!(&refused, Attempt::Refused(r) if r.code == code),
            "{refused:?}"
        );
        assert!(matches!(
            client.find_contract(&plan, &key).await,
            Find::Refused(_)
        ));
    }
    assert_eq!(nonce(&w), before);
}

async fn batch(w: &World, prefix: &str) -> BatchPlan {
    let rented = ContractPlan {
        node: NodeId(5),
        ..plan(w, "ada", &format!("{prefix}-rent"), ContractKind::Rent).await
    };
    let members = vec![
        plan(w, "ada", &format!("{prefix}-web"), ContractKind::Node).await,
        plan(
            w,
            "ada",
            &format!("{prefix}-name"),
            named(&format!("{prefix}-name")),
        )
        .await,
        rented,
        plan(w, "ada", &format!("{prefix}-mail"), ContractKind::Node).await,
    ];
    BatchPlan {
        request: EventId::derive(&["batch", prefix]),
        requested_at: members[0].requested_at,
        deadline: members[0].deadline,
        minimum_balance: members[0].minimum_balance,
        members,
    }
}

#[tokio::test]
async fn a_batch_is_one_transaction_and_is_made_once() {
    let w = world(ON_SUBMISSION).await;
    let (key, client) = (w.key("ada"), w.client());
    let plan = batch(&w, "one").await;
    assert_eq!(client.find_batch(&plan, &key).await, Find::Absent);
    let nonce = w.chain.account(key.account_id()).nonce;
    w.fault(SUBMIT, "lose_answer", 1).await;
    let lost = client.create_batch(&plan, &key, &Owner(true)).await;
    assert!(matches!(lost, Attempt::NoAnswer(_)), "{lost:?}");
    let Find::Landed(made) = client.find_batch(&plan, &key).await else {
        panic!("lost")
    };
    assert_eq!(w.chain.account(key.account_id()).nonce, nonce + 1);
    let numbers: Vec<u64> = made.iter().map(|proof| proof.contract.0).collect();
    assert_eq!(numbers, [1, 2, 3, 4], "in the order of the plan");
    assert!(
        made.iter()
            .all(|p| p.extrinsic_hash == made[0].extrinsic_hash)
    );
    let again = w.client().create_batch(&plan, &key, &Owner(true)).await;
    assert_eq!(again, Attempt::Landed(made.clone()));
    // That one of them has ended since changes nothing of what was done.
    let cancel = RuntimeCall::SmartContractModule(Call::cancel_contract { contract_id: 1 });
    w.submit(&key, &cancel).unwrap();
    assert_eq!(w.client().find_batch(&plan, &key).await, Find::Landed(made));
    let counts = w.chain.counts();
    assert_eq!(
        (counts.contracts, counts.names.len(), counts.rents.len()),
        (2, 1, 1)
    );
}

#[tokio::test]
async fn of_a_batch_that_fails_nothing_is_left() {
    let w = world(ON_SUBMISSION).await;
    let (key, client) = (w.key("ada"), w.client());
    let mut plan = batch(&w, "two").await;
    // The chain refuses the last one, which reads as possible before.
    plan.members[3].solution_provider = Some(9);
    let failed = client.create_batch(&plan, &key, &Owner(true)).await;
    assert!(
        matches!(&failed, Attempt::Refused(r) if r.code == "NoSuchSolutionProvider"),
        "{failed:?}"
    );
    let counts = w.chain.counts();
    assert_eq!(
        (counts.contracts, counts.names.len(), counts.rents.len()),
        (0, 0, 0)
    );
    // The same transaction without an answer is found as refused.
    w.fault(SUBMIT, "lose_answer", 1).await;
    let lost = client.create_batch(&plan, &key, &Owner(true)).await;
    assert!(matches!(lost, Attempt::NoAnswer(_)), "{lost:?}");
    let found = client.find_batch(&plan, &key).await;
    assert!(
        matches!(&found, Find::Refused(r) if r.code == "NoSuchSolutionProvider"),
        "{found:?}"
    );
    plan.members[3].solution_provider = None;
    plan.request = EventId::derive(&["batch", "mended"]);
    let made = client.create_batch(&plan, &key, &Owner(true)).await;
    assert!(
        matches!(&made, Attempt::Landed(proofs) if proofs.len() == 4),
        "{made:?}"
    );
    plan.members.clear();
    let empty = client.create_batch(&plan, &key, &Owner(true)).await;
    assert!(
        matches!(&empty, Attempt::Refused(r) if r.code == "batch_empty"),
        "{empty:?}"
    );
}
