//! The client against the Stellar stand-in: what becomes of a lane's transactions.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;
mod troubles;

use counterparties_stellar::outcome::foreign_total;
use counterparties_stellar::{
    HorizonClient, PaymentRecord, QuoteError, SetupOperation, Stellar, StellarConfig, base,
    opening, sign_setup,
};
use events::money::Amount;
use events::outcome::{Attempt, Find};
use std::time::{Duration, Instant};
use support::{EPOCH, PASSPHRASE, lanes, until, world};

#[tokio::test]
async fn a_swap_lands_and_tells_what_it_spent() {
    let world = world(0).await;
    let lane = &world.open(1).await[0];
    let swap = world.swap(lane, 41, 6, 250).await;
    assert_eq!(world.stellar.find(&swap).await, Find::Absent);
    let Attempt::Landed(landed) = world.stellar.submit(&swap).await else {
        panic!("not landed")
    };
    assert_eq!(landed.hash, swap.hash);
    assert_eq!(landed.sequence, base(EPOCH).unwrap() + 42);
    assert_eq!(
        (landed.source_amount, landed.dest_amount),
        (Some(50_000_000), Some(2_500_000_000))
    );
    assert_eq!(landed.lane, lane.account());
    // What the list proves is what the answer proved.
    assert_eq!(
        world.stellar.find(&swap).await,
        Find::Landed(landed.clone())
    );
    // Sending it again changes nothing.
    assert_eq!(world.stellar.submit(&swap).await, Attempt::Landed(landed));
    let view = world
        .stellar
        .transaction(&swap.hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (view.sequence, view.memo_type.as_str(), view.source_account),
        (swap.sequence, "hash", lane.account())
    );
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_found_to_have_landed() {
    let world = world(0).await;
    let lane = &world.open(1).await[0];
    for (offset, fault) in [(0, "lose_answer"), (1, "http500_after_work")] {
        let swap = world.swap(lane, offset, 6, 250).await;
        world.arm(fault, 1).await;
        assert!(
            matches!(world.stellar.submit(&swap).await, Attempt::NoAnswer(_)),
            "{fault}"
        );
        assert!(
            matches!(world.stellar.find(&swap).await, Find::Landed(_)),
            "{fault}"
        );
    }
    for (offset, fault) in [(2, "http500"), (3, "http503")] {
        let swap = world.swap(lane, offset, 6, 250).await;
        world.arm(fault, 1).await;
        assert!(
            matches!(world.stellar.submit(&swap).await, Attempt::NoAnswer(_)),
            "{fault}"
        );
        assert_eq!(world.stellar.find(&swap).await, Find::Absent, "{fault}");
    }
}

#[tokio::test]
async fn a_failed_swap_is_refused_with_its_code_and_uses_up_its_number() {
    let world = world(0).await;
    let lane = &world.open(1).await[0];
    // Too expensive, more than the book holds, more than the treasury has.
    for (offset, usdc, tft, code) in [
        (0, 4, 250, "op_over_source_max"),
        (1, 1_000_000, 11_000_000, "op_too_few_offers"),
    ] {
        let swap = world.swap(lane, offset, usdc, tft).await;
        assert!(
            matches!(world.stellar.submit(&swap).await, Attempt::Unknown(_)),
            "{code}"
        );
        let Find::Refused(refusal) = world.stellar.find(&swap).await else {
            panic!("not refused: {code}")
        };
        assert_eq!(
            (refusal.code.as_str(), &refusal.evidence),
            (code, &swap.hash)
        );
        assert_eq!(
            world
                .stellar
                .account(&lane.account())
                .await
                .unwrap()
                .unwrap()
                .sequence,
            swap.sequence
        );
    }
    let payment = world.pay_bridge(lane, 2, 7, 1).await;
    assert!(matches!(
        world.stellar.submit(&payment).await,
        Attempt::Unknown(_)
    ));
    assert!(
        matches!(world.stellar.find(&payment).await, Find::Refused(r) if r.code == "op_underfunded")
    );
}

#[tokio::test]
async fn offsets_may_have_gaps_and_what_was_passed_over_never_will() {
    let world = world(0).await;
    let lane = &world.open(1).await[0];
    let offsets = [3, 4, 9, 1_000_000];
    for offset in offsets {
        let swap = world.swap(lane, offset, 6, 250).await;
        assert!(
            matches!(world.stellar.submit(&swap).await, Attempt::Landed(_)),
            "{offset}"
        );
    }
    // Before the first, between two, and just before the last.
    for offset in [0, 7, 999_999] {
        let late = world.swap(lane, offset, 6, 250).await;
        assert!(
            matches!(world.stellar.submit(&late).await, Attempt::Unknown(_)),
            "{offset}"
        );
        assert!(
            matches!(world.stellar.find(&late).await, Find::NeverWill(_)),
            "{offset}"
        );
    }
    for offset in offsets {
        let deadline = world.now().await + 60;
        let other = world.swap_until(lane, offset, 7, 250, deadline);
        let found = world.stellar.find(&other).await;
        assert!(
            matches!(&found, Find::Pending(why) if why.contains("foreign")),
            "{offset} {found:?}"
        );
    }
}

#[tokio::test]
async fn after_its_deadline_it_never_will() {
    let world = world(0).await;
    let lane = &world.open(1).await[0];
    let late = world.swap_until(lane, 0, 6, 250, world.now().await - 5);
    assert!(matches!(
        world.stellar.submit(&late).await,
        Attempt::Unknown(_)
    ));
    assert!(matches!(
        world.stellar.find(&late).await,
        Find::NeverWill(_)
    ));
    // One that is still good is absent until a ledger closes after its deadline.
    let soon = world.swap_until(lane, 1, 6, 250, world.now().await + 2);
    assert_eq!(world.stellar.find(&soon).await, Find::Absent);
    until(|| world.stellar.find(&soon), |found| *found != Find::Absent).await;
    assert!(matches!(
        world.stellar.find(&soon).await,
        Find::NeverWill(_)
    ));
    assert_eq!(
        world
            .stellar
            .account(&lane.account())
            .await
            .unwrap()
            .unwrap()
            .sequence,
        base(EPOCH).unwrap()
    );
}

#[tokio::test]
async fn a_lane_that_is_not_open_takes_nothing_and_proves_nothing() {
    let world = world(0).await;
    let lane = &lanes(1)[0];
    let swap = world.swap(lane, 0, 6, 250).await;
    let why = |found| match found {
        Find::Pending(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(why(world.stellar.find(&swap).await).contains("no such account"));
    assert!(matches!(
        world.stellar.submit(&swap).await,
        Attempt::NotSent(_)
    ));
    let create = [SetupOperation::CreateAccount {
        account: lane.account(),
        balance: 20_000_000,
    }];
    opening::run_setup(&world.stellar, &world.treasury, &create, PASSPHRASE)
        .await
        .unwrap();
    assert!(why(world.stellar.find(&swap).await).contains("not opened"));
    assert!(matches!(
        world.stellar.submit(&swap).await,
        Attempt::Unknown(_)
    ));
    // Past its deadline, too: it was never tried against an open lane.
    let late = world.swap_until(lane, 0, 6, 250, world.now().await - 5);
    assert!(why(world.stellar.find(&late).await).contains("not opened"));
}

#[tokio::test]
async fn a_foreign_transaction_at_our_number_stops_the_lane() {
    let world = world(0).await;
    let lane = &world.open(1).await[0];
    let before = foreign_total();
    let foreign = world.pay_bridge(lane, 5, 1, 1).await;
    assert!(matches!(
        world.stellar.submit(&foreign).await,
        Attempt::Unknown(_)
    ));
    let ours = world.swap(lane, 5, 6, 250).await;
    assert!(matches!(
        world.stellar.submit(&ours).await,
        Attempt::Unknown(_)
    ));
    assert!(
        matches!(world.stellar.find(&ours).await, Find::Pending(why) if why.contains(&foreign.hash))
    );
    assert!(foreign_total() > before);
}

#[tokio::test]
async fn a_lane_that_is_bumped_past_a_number_fences_it() {
    let world = world(0).await;
    let lane = &world.open(1).await[0];
    let swap = world.swap(lane, 5, 6, 250).await;
    // A bump of the lane in an earlier ledger: no record with our number at all, and what set the
    // lane's number is a transaction of the treasury.
    let account = world
        .stellar
        .account(&world.treasury.account())
        .await
        .unwrap()
        .unwrap();
    let bump = [lane.bump_to(base(EPOCH).unwrap() + 100)];
    let bump = sign_setup(
        &world.treasury,
        account.sequence + 1,
        &bump,
        world.now().await + 60,
        PASSPHRASE,
    )
    .unwrap();
    assert!(matches!(
        world.stellar.submit(&bump).await,
        Attempt::Landed(_)
    ));
    assert!(matches!(
        world.stellar.submit(&swap).await,
        Attempt::Unknown(_)
    ));
    assert!(matches!(
        world.stellar.find(&swap).await,
        Find::NeverWill(_)
    ));
}

#[tokio::test]
async fn a_bump_in_the_same_ledger_lands_it_or_fences_it_but_never_both() {
    let world = world(400).await;
    let lanes = world.open(12).await;
    let treasury = world
        .stellar
        .account(&world.treasury.account())
        .await
        .unwrap()
        .unwrap();
    let bumps: Vec<SetupOperation> = lanes
        .iter()
        .map(|lane| lane.bump_to(base(EPOCH).unwrap() + 100))
        .collect();
    let deadline = world.now().await + 60;
    let bump = sign_setup(
        &world.treasury,
        treasury.sequence + 1,
        &bumps,
        deadline,
        PASSPHRASE,
    )
    .unwrap();
    let swaps: Vec<_> = lanes
        .iter()
        .map(|lane| world.swap_until(lane, 5, 6, 250, deadline))
        .collect();
    // Everything is submitted within one ledger: right after one has closed.
    world.service.closed().changed().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for transaction in std::iter::once(&bump).chain(&swaps) {
        let (stellar, transaction) = (world.stellar.clone(), transaction.clone());
        tasks.spawn(async move { stellar.submit(&transaction).await });
    }
    tasks.join_all().await;
    let (mut landed, mut fenced) = (0, 0);
    for swap in &swaps {
        match world.stellar.find(swap).await {
            Find::Landed(_) => landed += 1,
            Find::NeverWill(why) if why.contains("fenced") || why.contains("passed") => fenced += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(landed + fenced, 12);
    let treasury = world
        .stellar
        .account(&world.treasury.account())
        .await
        .unwrap()
        .unwrap();
    let tft = treasury.balance(&counterparties_stellar::PathAsset::Credit(
        world.market.tft.clone(),
    ));
    assert_eq!(
        tft,
        landed * 2_500_000_000,
        "{landed} landed, {fenced} fenced"
    );
}

#[tokio::test]
async fn lanes_are_parallel_and_a_slow_answer_holds_nothing_up() {
    let world = world(1_000).await;
    let lanes = world.open(20).await;
    let deadline = world.now().await + 60;
    let swaps: Vec<_> = lanes
        .iter()
        .map(|lane| world.swap_until(lane, 0, 6, 250, deadline))
        .collect();
    world.service.closed().changed().await.unwrap();
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for swap in &swaps {
        let (stellar, swap) = (world.stellar.clone(), swap.clone());
        tasks.spawn(async move { stellar.submit(&swap).await });
    }
    let mut ledgers = std::collections::BTreeSet::new();
    for attempt in tasks.join_all().await {
        let Attempt::Landed(landed) = attempt else {
            panic!("{attempt:?}")
        };
        ledgers.insert(landed.ledger);
    }
    assert!(ledgers.len() <= 2, "{ledgers:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn nobody_there_is_not_sent_and_pending() {
    let world = world(0).await;
    let lane = &world.open(1).await[0];
    let swap = world.swap(lane, 0, 6, 250).await;
    // A port that was free a moment ago.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = HorizonClient::new(&StellarConfig::new(
        &format!("http://127.0.0.1:{port}"),
        PASSPHRASE,
    ))
    .unwrap();
    assert!(matches!(nobody.submit(&swap).await, Attempt::NotSent(_)));
    assert!(matches!(nobody.find(&swap).await, Find::NoAnswer(_)));
    let quote = nobody
        .quote_strict_receive(&world.market.usdc, &world.market.tft, Amount::from_whole(1))
        .await;
    assert!(matches!(quote, Err(QuoteError::Unavailable(_))));
    // Another network's signature is our own mistake: loud, and no verdict.
    let wrong = sign_setup(
        &world.treasury,
        1,
        &[],
        world.now().await + 60,
        "another network",
    )
    .unwrap();
    assert!(!matches!(
        world.stellar.submit(&wrong).await,
        Attempt::Landed(_) | Attempt::Refused(_)
    ));
}

#[tokio::test]
async fn quotes_and_payments_are_read() {
    let world = world(0).await;
    let lane = &world.open(1).await[0];
    let quote = world
        .stellar
        .quote_strict_receive(
            &world.market.usdc,
            &world.market.tft,
            Amount::from_whole(250),
        )
        .await
        .unwrap();
    assert_eq!(quote.source_amount, Amount::from_whole(5));
    let beyond = world
        .stellar
        .quote_strict_receive(
            &world.market.usdc,
            &world.market.tft,
            Amount::from_whole(11_000_000),
        )
        .await;
    assert_eq!(beyond, Err(QuoteError::NoPath));

    let bridge = world.market.bridge_address.parse().unwrap();
    let start = world
        .stellar
        .payments_after(&bridge, None, 200)
        .await
        .unwrap();
    assert!(matches!(
        world
            .stellar
            .submit(&world.swap(lane, 0, 6, 250).await)
            .await,
        Attempt::Landed(_)
    ));
    for (offset, twin) in [(1, 7), (2, 8)] {
        let payment = world.pay_bridge(lane, offset, twin, 100).await;
        assert!(matches!(
            world.stellar.submit(&payment).await,
            Attempt::Landed(_)
        ));
    }
    let mut cursor = start.cursor;
    let mut memos = Vec::new();
    loop {
        let page = world
            .stellar
            .payments_after(&bridge, cursor.as_deref(), 1)
            .await
            .unwrap();
        let [PaymentRecord::Read(view)] = page.records.as_slice() else {
            assert!(page.records.is_empty() && page.cursor == cursor);
            break;
        };
        assert_eq!(
            (view.amount, &view.source_account),
            (1_000_000_000, &lane.account())
        );
        assert_eq!((&view.from, &view.to), (&world.treasury.account(), &bridge));
        memos.push((
            view.sequence - base(EPOCH).unwrap(),
            view.memo.clone().unwrap(),
        ));
        cursor = page.cursor;
    }
    assert_eq!(memos, [(2, "twin_7".to_owned()), (3, "twin_8".to_owned())]);
}

#[tokio::test]
async fn an_opening_is_taken_up_again_and_an_epoch_is_used_once() {
    let world = world(0).await;
    let all = lanes(60);
    let base = base(EPOCH).unwrap();
    // Interrupted: some accounts exist, a few of them bumped.
    opening::open(&world.stellar, &world.treasury, &all[..3], base, PASSPHRASE)
        .await
        .unwrap();
    let created: Vec<SetupOperation> = all[3..20]
        .iter()
        .map(|lane| SetupOperation::CreateAccount {
            account: lane.account(),
            balance: 20_000_000,
        })
        .collect();
    opening::run_setup(&world.stellar, &world.treasury, &created, PASSPHRASE)
        .await
        .unwrap();
    // The answers to the first submissions are lost, too.
    world.arm("lose_answer", 2).await;
    opening::open(&world.stellar, &world.treasury, &all, base, PASSPHRASE)
        .await
        .unwrap();
    for report in opening::check(&world.stellar, &all, base, 0).await.unwrap() {
        assert_eq!((report.sequence, &report.problem), (base, &None));
    }
    // Opening what is open does nothing.
    let sequence = world
        .stellar
        .account(&world.treasury.account())
        .await
        .unwrap()
        .unwrap()
        .sequence;
    opening::open(&world.stellar, &world.treasury, &all, base, PASSPHRASE)
        .await
        .unwrap();
    assert_eq!(
        world
            .stellar
            .account(&world.treasury.account())
            .await
            .unwrap()
            .unwrap()
            .sequence,
        sequence
    );
    // Once a lane was used, its epoch is.
    assert!(matches!(
        world
            .stellar
            .submit(&world.swap(&all[7], 4, 6, 250).await)
            .await,
        Attempt::Landed(_)
    ));
    let error = opening::open(&world.stellar, &world.treasury, &all, base, PASSPHRASE)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("next --epoch"), "{error}");
    for (end, wrong) in [(4, 0), (3, 1)] {
        let reports = opening::check(&world.stellar, &all, base, end)
            .await
            .unwrap();
        assert_eq!(
            reports.iter().filter(|r| r.problem.is_some()).count(),
            wrong
        );
    }
}
