//! Activations by one account, asked for by many at once: each once, and nobody waits for another.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod world;

use counterparties_tfchain::Tfchain;
use events::money::Amount;
use events::outcome::Attempt;
use world::{ON_SUBMISSION, TRAILING, drive_twin, pay, world};

#[tokio::test]
async fn walks_at_once_make_one_twin_and_one_activation_each() {
    world::many_walks(&world(ON_SUBMISSION).await, 12).await;
}

#[tokio::test]
async fn walks_at_once_over_trailing_finality_too() {
    world::many_walks(&world(TRAILING).await, 9).await;
}

#[tokio::test]
async fn walks_of_one_process_share_the_activators_transactions() {
    const USERS: usize = 40;
    let w = world(TRAILING).await;
    let client = w.client();
    let mut tasks = tokio::task::JoinSet::new();
    // One person asks twice.
    for user in (0..USERS).chain([0]) {
        let name = format!("user {user}");
        let (client, plan, key, activator) = w.walk(&client, &name);
        // Without a single stale nonce: one at a time for each account.
        tasks.spawn(async move { client.make_twin(&plan, &key, &activator).await });
    }
    for outcome in tasks.join_all().await {
        assert!(matches!(outcome, Attempt::Landed(_)), "{outcome:?}");
    }
    let counts = w.chain.counts();
    assert_eq!((counts.twins, counts.activations.len()), (40, USERS));
    assert!(counts.activations.values().all(|n| *n == 1), "{counts:?}");
    let activator = w.activator.key().account_id();
    let spent = w.chain.account(activator).nonce;
    assert!(spent <= 5, "{spent} transactions for {USERS} activations");
}

#[tokio::test]
async fn whoever_goes_away_holds_up_nobody_who_waits_for_the_activator() {
    let w = world(TRAILING).await;
    let client = w.client();
    w.chain.hold(true);
    let mut walks: Vec<_> = (0..4)
        .map(|user| {
            let name = format!("user {user}");
            let (client, plan, key, activator) = w.walk(&client, &name);
            tokio::spawn(async move { drive_twin(&client, &plan, &key, &activator).await })
        })
        .collect();
    // The first transaction is on its way, and whoever sent it for all others is no more.
    while w.chain.pending().is_empty() {
        tokio::task::yield_now().await;
    }
    for gone in walks.drain(..2) {
        gone.abort();
    }
    w.chain.hold(false);
    for walk in walks {
        walk.await.unwrap();
    }
    let counts = w.chain.counts();
    assert!(counts.twins >= 2, "{counts:?}");
    assert!(counts.activations.values().all(|n| *n == 1), "{counts:?}");
}

#[tokio::test]
async fn who_was_activated_while_they_waited_is_not_paid_again() {
    let w = world(TRAILING).await;
    let client = w.client();
    let walk = |name: &str| {
        let (client, plan, key, activator) = w.walk(&client, name);
        tokio::spawn(async move { drive_twin(&client, &plan, &key, &activator).await })
    };
    w.chain.hold(true);
    let bob = walk("bob");
    while w.chain.pending().is_empty() {
        tokio::task::yield_now().await;
    }
    // Ada is seen without, and waits for the activator, if these turns are enough.
    let ada = walk("ada");
    for _ in 0..50_000 {
        tokio::task::yield_now().await;
    }
    // Another process activates her.
    let activator = w.activator.key();
    let nonce = w.chain.account(activator.account_id()).nonce + 1;
    let transfer = w.signed(activator, &pay(&w.key("ada"), 5_000_000), nonce);
    w.chain.submit(&transfer).unwrap();
    w.chain.hold(false);
    bob.await.unwrap();
    ada.await.unwrap();
    let counts = w.chain.counts();
    assert_eq!(counts.activations.len(), 2);
    assert!(counts.activations.values().all(|n| *n == 1), "{counts:?}");
}

#[tokio::test]
async fn an_activator_with_little_activates_those_that_it_can() {
    let w = world(TRAILING).await;
    let client = w.client();
    let dear = |name: &str| {
        let mut plan = w.twin_plan(name);
        // Half of what the activator holds, and a bit.
        plan.activation = Amount::from_minor(5_000_100_000_000).unwrap();
        plan
    };
    let (ada, bob) = (w.key("ada"), w.key("bob"));
    let (first, second) = (dear("ada"), dear("bob"));
    let (first, second) = tokio::join!(
        client.make_twin(&first, &ada, &w.activator),
        client.make_twin(&second, &bob, &w.activator),
    );
    let landed = [&first, &second].map(|outcome| matches!(outcome, Attempt::Landed(_)));
    assert!(landed[0] != landed[1], "{first:?} {second:?}");
    let other = if landed[0] { second } else { first };
    assert!(
        matches!(&other, Attempt::NotSent(reason) if reason.contains("TFT alone")),
        "{other:?}"
    );
}
