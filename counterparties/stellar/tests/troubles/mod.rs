//! Full ledgers, a frozen validator, a Horizon that goes and comes back: whatever happens, a
//! record's transaction lands once or never, and the client finds out which.

use crate::support::{PASSPHRASE, until, world};
use counterparties_stellar::tending::{self, Fenced};
use counterparties_stellar::{
    HorizonClient, LandedTransaction, PathAsset, SignedTransaction, Stellar,
};
use events::outcome::{Attempt, Find};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How a transaction ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Landed(LandedTransaction),
    Refused(String),
    NeverWill,
}

/// What the runtime does: it sends only while the number is seen to be free, and looks otherwise.
async fn drive(stellar: &HorizonClient, ours: &SignedTransaction, patience: Duration) -> End {
    let give_up = Instant::now() + patience;
    let mut free = false;
    loop {
        if free {
            match stellar.submit(ours).await {
                Attempt::Landed(landed) => return End::Landed(landed),
                Attempt::Refused(refusal) => return End::Refused(refusal.code),
                Attempt::NotSent(_) | Attempt::Unknown(_) | Attempt::NoAnswer(_) => {}
            }
        }
        free = match stellar.find(ours).await {
            Find::Landed(landed) => return End::Landed(landed),
            Find::Refused(refusal) => return End::Refused(refusal.code),
            Find::NeverWill(_) => return End::NeverWill,
            Find::Absent => true,
            Find::Pending(_) | Find::NoAnswer(_) => false,
        };
        assert!(
            Instant::now() < give_up,
            "{} did not come to an end",
            ours.hash
        );
        sleep(Duration::from_millis(20)).await;
    }
}

async fn landed(stellar: &HorizonClient, ours: &SignedTransaction) -> LandedTransaction {
    match drive(stellar, ours, Duration::from_secs(30)).await {
        End::Landed(landed) => landed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn full_ledgers_are_outbid_by_fee_bumps_of_the_same_transaction() {
    let world = world(100).await;
    let lanes = world.open(2).await;
    // Strangers take every place, at five times what we offer by ourselves.
    world
        .control(
            "surge",
            json!({"capacity": 6, "strangers": 6, "bid": 5_000}),
        )
        .await;
    let stellar = world.paying(200_000);
    let swap = world.swap(&lanes[0], 3, 6, 250).await;
    let before = world
        .stellar
        .account(&lanes[0].account())
        .await
        .unwrap()
        .unwrap();
    let done = landed(&stellar, &swap).await;
    assert_ne!(done.hash, swap.hash, "it landed inside a fee-bump");
    assert_eq!((done.sequence, &done.lane), (swap.sequence, &swap.lane));
    // Two operations are charged, each at the ledger's price: what was offered was more.
    assert_eq!(done.fee_charged, 2 * 5_000);
    assert_eq!(world.stellar.find(&swap).await, Find::Landed(done.clone()));
    assert_eq!(world.applied(&lanes[0], swap.sequence), 1);
    // The lane itself paid nothing.
    let after = world
        .stellar
        .account(&lanes[0].account())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        after.balance(&PathAsset::Native),
        before.balance(&PathAsset::Native)
    );
    // Now the statistics tell: the next one offers more from the start, and lands at once.
    sleep(Duration::from_millis(1_100)).await;
    let next = world.swap(&lanes[1], 4, 6, 250).await;
    let Attempt::Landed(done) = stellar.submit(&next).await else {
        panic!("the price was known")
    };
    assert_ne!(done.hash, next.hash);
    // What was charged is the ledger's price, not what was offered.
    assert!(done.fee_charged <= 200_000);
}

#[tokio::test]
async fn the_cap_holds_and_the_transaction_lands_when_the_rush_is_over() {
    let world = world(50).await;
    let lane = &world.open(1).await[0];
    world
        .control(
            "surge",
            json!({"capacity": 4, "strangers": 4, "bid": 1_000_000}),
        )
        .await;
    let stellar = world.paying(40_000);
    let swap = world.swap(lane, 0, 6, 250).await;
    for _ in 0..3 {
        assert!(matches!(stellar.submit(&swap).await, Attempt::Unknown(_)));
        assert_eq!(world.stellar.find(&swap).await, Find::Absent);
    }
    world.control("surge", json!({"capacity": 0})).await;
    // Its envelopes are banned for ten ledgers yet.
    let done = landed(&stellar, &swap).await;
    assert!(done.fee_charged <= 40_000, "{done:?}");
    assert_eq!(world.applied(lane, swap.sequence), 1);
}

#[tokio::test]
async fn many_lanes_share_small_ledgers() {
    let world = world(100).await;
    let lanes = world.open(16).await;
    // Five operations a ledger, and two of them are strangers' that offer little.
    world
        .control("surge", json!({"capacity": 5, "strangers": 2, "bid": 300}))
        .await;
    let stellar = world.paying(2_000_000);
    let mut swaps = Vec::new();
    for (offset, lane) in (0..).zip(&lanes) {
        swaps.push(world.swap(lane, offset, 6, 250).await);
    }
    let all = futures::future::join_all(swaps.iter().map(|swap| landed(&stellar, swap))).await;
    assert_eq!(all.len(), 16);
    for (lane, swap) in lanes.iter().zip(&swaps) {
        assert_eq!(world.applied(lane, swap.sequence), 1);
    }
}

#[tokio::test]
async fn a_frozen_validator_raises_no_fee_and_the_transaction_lands_after_it() {
    let world = world(100).await;
    let lanes = world.open(2).await;
    let stellar = world.paying(200_000);
    let swap = world.swap(&lanes[0], 0, 6, 250).await;
    world.control("freeze", json!({"frozen": true})).await;
    let (driver, ours) = (stellar.clone(), swap.clone());
    let driven = tokio::spawn(async move { landed(&driver, &ours).await });
    // Horizon answers all the while, and nothing is said to have failed.
    for _ in 0..20 {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(world.stellar.find(&swap).await, Find::Absent);
    }
    assert!(!driven.is_finished());
    world.control("freeze", json!({"frozen": false})).await;
    let done = driven.await.unwrap();
    assert_eq!(
        done.hash, swap.hash,
        "no more was offered while no ledger closed"
    );
    assert_eq!(done.fee_charged, 100);
    assert_eq!(world.applied(&lanes[0], swap.sequence), 1);

    // One whose deadline passes meanwhile never lands, and that is known only once a ledger closed.
    let late = world.swap_until(&lanes[1], 1, 6, 250, world.now().await + 2);
    world.control("freeze", json!({"frozen": true})).await;
    assert_eq!(world.stellar.find(&late).await, Find::Absent);
    let (driver, ours) = (stellar.clone(), late.clone());
    let driven = tokio::spawn(async move { drive(&driver, &ours, Duration::from_secs(30)).await });
    sleep(Duration::from_millis(3_500)).await;
    assert!(!driven.is_finished(), "nobody can know yet");
    world.control("freeze", json!({"frozen": false})).await;
    assert_eq!(driven.await.unwrap(), End::NeverWill);
    assert_eq!(world.applied(&lanes[1], late.sequence), 0);
}

#[tokio::test]
async fn a_horizon_that_is_restarted_loses_nothing() {
    let world = world(100).await;
    let lanes = world.open(6).await;
    let stellar = world.paying(200_000);
    let mut swaps = Vec::new();
    for (offset, lane) in (0..).zip(&lanes) {
        swaps.push(world.swap(lane, offset, 6, 250).await);
    }
    // It takes the submissions, then goes: no answer to them, and none to anything for a while.
    world.arm("lose_answer", 6).await;
    let driven: Vec<_> = swaps
        .iter()
        .map(|swap| {
            let (driver, ours) = (stellar.clone(), swap.clone());
            tokio::spawn(async move { landed(&driver, &ours).await })
        })
        .collect();
    sleep(Duration::from_millis(150)).await;
    world
        .control("faults", json!({"path": "/", "kind": "reset", "times": 0}))
        .await;
    sleep(Duration::from_millis(1_000)).await;
    // It comes back behind the network and catches up.
    world
        .control("replicas", json!({"every": 1, "behind": 8}))
        .await;
    let cleared = reqwest::Client::new()
        .delete(format!("{}/_control/faults", world.url))
        .send()
        .await
        .unwrap();
    assert!(cleared.status().is_success());
    sleep(Duration::from_millis(500)).await;
    world
        .control("replicas", json!({"every": 0, "behind": 0}))
        .await;
    for (driven, (lane, swap)) in driven.into_iter().zip(lanes.iter().zip(&swaps)) {
        let done = driven.await.unwrap();
        assert_eq!(done.sequence, swap.sequence);
        assert_eq!(world.applied(lane, swap.sequence), 1);
    }
}

#[tokio::test]
async fn a_fence_gives_up_what_has_not_landed_and_nothing_else() {
    let world = world(100).await;
    let lanes = world.open(2).await;
    let fence = async |lane, number| {
        tending::fence(&world.stellar, &world.treasury, lane, number, PASSPHRASE)
            .await
            .unwrap()
    };
    let given_up = world.swap(&lanes[0], 7, 6, 250).await;
    assert_eq!(world.stellar.find(&given_up).await, Find::Absent);
    assert_eq!(fence(&lanes[0], given_up.sequence).await, Fenced::Passed);
    assert!(matches!(
        world.stellar.find(&given_up).await,
        Find::NeverWill(_)
    ));
    // A zombie that sends it now is refused by the network.
    assert!(matches!(
        world.stellar.submit(&given_up).await,
        Attempt::Unknown(_)
    ));
    assert_eq!(world.applied(&lanes[0], given_up.sequence), 0);
    // The lane goes on.
    let next = world.swap(&lanes[0], 8, 6, 250).await;
    landed(&world.stellar, &next).await;

    let done = world.swap(&lanes[1], 9, 6, 250).await;
    let landed = landed(&world.stellar, &done).await;
    assert_eq!(fence(&lanes[1], done.sequence).await, Fenced::Before);
    assert_eq!(world.stellar.find(&done).await, Find::Landed(landed));
}

#[tokio::test]
async fn lanes_with_few_lumens_are_topped_up() {
    let world = world(0).await;
    let lanes = world.open(3).await;
    let accounts: Vec<_> = lanes
        .iter()
        .map(counterparties_stellar::LaneKey::account)
        .collect();
    // A swap costs its lane 100 stroops.
    let swap = world.swap(&lanes[1], 0, 6, 250).await;
    landed(&world.stellar, &swap).await;
    let full = 20_000_000;
    let lacking = tending::lacking(&world.stellar, &accounts, full, full)
        .await
        .unwrap();
    assert_eq!(lacking, [(accounts[1].clone(), 100)]);
    tending::top_up(&world.stellar, &world.treasury, &lacking, PASSPHRASE)
        .await
        .unwrap();
    let held = until(
        || async {
            let view = world.stellar.account(&accounts[1]).await.unwrap().unwrap();
            view.balance(&PathAsset::Native)
        },
        |held| *held == full,
    )
    .await;
    assert_eq!(held, full);
}
