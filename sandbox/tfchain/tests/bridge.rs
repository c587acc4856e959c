//! The bridge against a small Horizon of the test's own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod fake_horizon;
mod world;

use counterparties_tfchain::{ChainEvent, Tfchain};
use events::money::Amount;
use fake_horizon::{FakeHorizon, Payment};
use sandbox_tfchain::bridge::{Bridge, BridgeConfig};
use std::sync::Arc;
use std::time::{Duration, Instant};
use world::{ON_SUBMISSION, PATIENCE, World, world};

const UNIT: i64 = 10_000_000;

async fn bridged() -> (World, FakeHorizon) {
    let (w, horizon) = (world(ON_SUBMISSION).await, FakeHorizon::start().await);
    let config = BridgeConfig {
        horizon: horizon.url.clone(),
        passphrase: "a test network".to_owned(),
        tft: horizon.tft(),
        secret: horizon.bridge.secret_key().secret_seed(),
    };
    tokio::spawn(Bridge::new(Arc::clone(&w.chain), &config).unwrap().run());
    (w, horizon)
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_deposit_is_minted_once_less_the_fee() {
    let (w, horizon) = bridged().await;
    let account = w.twin("ada").await.account;
    let before = w.client().balance(&account.parse().unwrap()).await.unwrap();
    let deposit = horizon.land(Payment::tft(251 * UNIT).memo_text("twin_1"));
    until("the mint", || w.chain.counts().mints == 1).await;
    // The same page again, as after a restart of the bridge.
    let again = BridgeConfig {
        horizon: horizon.url.clone(),
        passphrase: "a test network".to_owned(),
        tft: horizon.tft(),
        secret: horizon.bridge.secret_key().secret_seed(),
    };
    tokio::spawn(Bridge::new(Arc::clone(&w.chain), &again).unwrap().run());
    let second = horizon.land(Payment::tft(2 * UNIT).memo_text("twin_1"));
    until("the second mint", || w.chain.counts().mints == 2).await;
    let counts = w.chain.counts();
    assert_eq!(
        (
            counts.by_stellar_tx.get(&deposit),
            counts.by_stellar_tx.get(&second)
        ),
        (Some(&1), Some(&1))
    );
    let after = w.client().balance(&account.parse().unwrap()).await.unwrap();
    assert_eq!(
        after.checked_sub(before).unwrap(),
        Amount::parse("251").unwrap()
    );
    let blocks = w.client().blocks(0, u32::MAX).await.unwrap();
    let minted = blocks
        .iter()
        .flat_map(|b| &b.events)
        .find_map(|event| match event {
            ChainEvent::BridgeMinted {
                stellar_tx,
                account,
                amount,
                ..
            } if *stellar_tx == deposit => Some((account, amount)),
            _ => None,
        });
    assert_eq!(minted, Some((&account, &Amount::parse("250").unwrap())));
    assert!(horizon.paid().is_empty());
}

#[tokio::test]
async fn what_cannot_be_minted_is_paid_back_whole() {
    let (w, horizon) = bridged().await;
    w.twin("ada").await;
    let deposits = [
        horizon.land(Payment::tft(UNIT).memo_text("twin_1")),
        horizon.land(Payment::tft(5 * UNIT)),
        horizon.land(Payment::tft(6 * UNIT).memo_text("twin1")),
        horizon.land(Payment::tft(7 * UNIT).memo_text("twin_2")),
        horizon.land(Payment::tft(8 * UNIT).memo_text("farm_1")),
        horizon.land(Payment::tft(9 * UNIT).memo_id(1)),
        horizon.land(Payment::tft(10 * UNIT).memo_text("twin_99999999999")),
    ];
    until("seven refunds", || w.chain.counts().refunds.len() == 7).await;
    let paid = horizon.paid();
    for (deposit, amount) in deposits.iter().zip([1, 5, 6, 7, 8, 9, 10]) {
        let refunds: Vec<_> = paid
            .iter()
            .filter(|p| hex::encode(p.return_hash) == *deposit)
            .collect();
        assert_eq!(refunds.len(), 1, "{deposit}");
        assert_eq!(
            (refunds[0].amount, refunds[0].to),
            (amount * UNIT, horizon.sender.public_key().0)
        );
    }
    let blocks = w.client().blocks(0, u32::MAX).await.unwrap();
    let refunded = blocks
        .iter()
        .flat_map(|b| &b.events)
        .filter(|e| matches!(e, ChainEvent::BridgeRefunded { .. }));
    assert_eq!(refunded.count(), 7);
    assert_eq!(w.chain.counts().mints, 0);
}

#[tokio::test]
async fn what_is_no_deposit_is_left_alone() {
    let (w, horizon) = bridged().await;
    w.twin("ada").await;
    horizon.land(
        Payment::tft(5 * UNIT)
            .memo_text("twin_1")
            .with_another_operation(),
    );
    horizon.land(Payment::tft(5 * UNIT).memo_text("twin_1").failed());
    horizon.land(
        Payment::tft(5 * UNIT)
            .memo_text("twin_1")
            .of_another_issuer(),
    );
    horizon.land(Payment::tft(5 * UNIT).memo_return([7; 32]));
    horizon.land_unreadable();
    let last = horizon.land(Payment::tft(5 * UNIT).memo_text("twin_1"));
    until("the mint", || w.chain.counts().mints == 1).await;
    assert!(w.chain.is_answered(&last));
    assert!(horizon.paid().is_empty() && w.chain.counts().refunds.is_empty());
}

#[tokio::test]
async fn several_payments_of_one_sender_are_one_deposit() {
    let (w, horizon) = bridged().await;
    w.twin("ada").await;
    horizon.land(Payment::tft(5 * UNIT).memo_text("twin_1").twice());
    until("the mint", || w.chain.counts().mints == 1).await;
    let blocks = w.client().blocks(0, u32::MAX).await.unwrap();
    assert!(blocks.iter().flat_map(|b| &b.events).any(
        |e| matches!(e, ChainEvent::BridgeMinted { amount, .. } if *amount == Amount::parse("9").unwrap())
    ));
}

#[tokio::test]
async fn a_refund_whose_answer_is_lost_is_paid_once() {
    let (w, horizon) = bridged().await;
    horizon.lose_answers(3);
    let deposit = horizon.land(Payment::tft(5 * UNIT));
    until("the refund", || {
        w.chain.counts().refunds.contains_key(&deposit)
    })
    .await;
    assert_eq!(horizon.paid().len(), 1);
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused() {
    let w = world(ON_SUBMISSION).await;
    let secret = stellar_base::crypto::DalekKeyPair::random().unwrap();
    let config = |tft: &str, secret: &str| BridgeConfig {
        horizon: "http://127.0.0.1:1".to_owned(),
        passphrase: String::new(),
        tft: tft.to_owned(),
        secret: secret.to_owned(),
    };
    let tft = format!("TFT:{}", secret.public_key().account_id());
    let seed = secret.secret_key().secret_seed();
    assert!(Bridge::new(Arc::clone(&w.chain), &config(&tft, &seed)).is_ok());
    for (tft, seed) in [
        ("TFT", seed.as_str()),
        ("TFT:G123", &seed),
        (&tft, "S123"),
        (&tft, ""),
    ] {
        let error = Bridge::new(Arc::clone(&w.chain), &config(tft, seed))
            .err()
            .unwrap()
            .to_string();
        assert!(!error.contains("S123"), "{error}");
    }
}
