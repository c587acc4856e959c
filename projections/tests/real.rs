//! The projections against a real Kafka, registry and Postgres.
//!
//! One stack and one log for all scenarios, one after the other: some of them kill a part.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod accounts;
mod support;
mod told;

use events::deployments::{
    ContractRequested, DeploymentCreated, DeploymentEvent, DeploymentKind, DeploymentRequested,
    FundsArrived,
};
use events::ids::{ContractId, DeploymentId, EventId, NodeId, PurchaseId, QuoteId, TwinId, UserId};
use events::money::{Amount, Currency, Fiat};
use events::purchases::{
    Funding, HandoffSettled, PaymentIntentCreated, PurchaseEnded, PurchaseEvent, PurchaseOutcome,
    PurchaseRequested, SwapCompleted, TftSentToBridge, UserPaid,
};
use events::time::Timestamp;
use events::users::{TwinCreated, UserEvent, UserRegistered};
use projections::progress::Position;
use projections::{deployments, progress, purchases, timeline, undecodable, users};
use sandbox_stack::{Part, Stack, StackOptions};
use std::time::{Duration, Instant};
use support::{Log, Runner, eventually};

const TIME: Timestamp = Timestamp(1_796_000_000_000);

fn user(name: &str) -> UserId {
    UserId::derive(&[name])
}

fn purchase(name: &str) -> PurchaseId {
    PurchaseId::derive(&[name])
}

fn id(parts: &[&str]) -> EventId {
    EventId::derive(parts)
}

fn requested(name: &str) -> PurchaseEvent {
    PurchaseEvent::from(PurchaseRequested {
        purchase_id: purchase(name),
        user_id: user("anna"),
        twin_id: TwinId(7),
        quote_id: QuoteId::derive(&[name]),
        tft: Amount::from_whole(250),
        swap_tft: Amount::from_whole(251),
        usdc_quoted: Amount::from_whole(3),
        usdc_cap: Amount::from_whole(4),
        path: vec!["native".to_owned()],
        charge: Fiat {
            minor: 412,
            currency: Currency::Usd,
        },
        quote_expires_at: TIME,
        requested_at: TIME,
        funding: Funding::Card,
        usdc_due: None,
        pay_until: None,
        give_up_after_ms: None,
    })
}

fn intent_created(name: &str, intent: &str) -> PurchaseEvent {
    PurchaseEvent::from(PaymentIntentCreated {
        purchase_id: purchase(name),
        request_id: id(&[name, "intent"]),
        intent_id: intent.to_owned(),
        status: "requires_payment_method".to_owned(),
        amount: Fiat {
            minor: 412,
            currency: Currency::Usd,
        },
        livemode: false,
    })
}

async fn append(log: &Log, name: &str, step: &str, event: PurchaseEvent) -> Position {
    let purchase = purchase(name).to_string();
    log.append(&purchase, id(&[name, step]), &purchase, event)
        .await
}

async fn stage(log: &Log, name: &str) -> Option<purchases::State> {
    purchases::get(&log.pool, purchase(name))
        .await
        .unwrap()
        .map(|p| p.state)
}

/// A purchase on its way to the contract, with the deployment that waits for it.
async fn a_purchase_is_folded_with_its_proofs(log: &Log) {
    let (anna, name) = (user("anna"), "whole");
    let registered = UserEvent::from(UserRegistered {
        user_id: anna,
        registered_at: TIME,
    });
    log.append(
        &anna.to_string(),
        id(&["anna"]),
        &anna.to_string(),
        registered,
    )
    .await;
    let twin = UserEvent::from(TwinCreated {
        user_id: anna,
        request_id: id(&["anna", "twin"]),
        twin_id: TwinId(7),
        account: "5Grw".to_owned(),
        block: 12,
    });
    log.append(
        &anna.to_string(),
        id(&["anna", "made"]),
        &anna.to_string(),
        twin,
    )
    .await;

    append(log, name, "requested", requested(name)).await;
    append(log, name, "created", intent_created(name, "pi_1")).await;
    let deployment = DeploymentId::derive(&[name]);
    let wanted = DeploymentEvent::from(DeploymentRequested {
        deployment_id: deployment,
        user_id: anna,
        twin_id: TwinId(7),
        node_id: NodeId(14),
        version: 1,
        data: "{}".to_owned(),
        hash: "ab".repeat(32),
        public_ips: 0,
        solution_provider: None,
        waits_for: Some(purchase(name)),
        minimum_balance: Amount::from_whole(2),
        requested_at: TIME,
        kind: DeploymentKind::Node,
        name: None,
    });
    let correlation = purchase(name).to_string();
    let deploy = async |step: &str, event: DeploymentEvent| {
        log.append(
            &anna.to_string(),
            id(&[name, "deployment", step]),
            &correlation,
            event,
        )
        .await
    };
    deploy("requested", wanted).await;
    eventually(|| async {
        let found = deployments::get(&log.pool, deployment).await.unwrap()?;
        (found.state == deployments::State::WaitingForFunds).then_some(())
    })
    .await;

    let charge = Fiat {
        minor: 412,
        currency: Currency::Usd,
    };
    let steps: [(&str, PurchaseEvent); 4] = [
        (
            "paid",
            UserPaid {
                purchase_id: purchase(name),
                user_id: anna,
                intent_id: "pi_1".into(),
                charge,
            }
            .into(),
        ),
        (
            "swapped",
            SwapCompleted {
                purchase_id: purchase(name),
                request_id: id(&[name, "swap"]),
                attempt: 1,
                transaction: "aa".repeat(32),
                ledger: 60_000_001,
                lane: "GLANE".into(),
                sequence: 42,
                usdc_spent: Amount::from_whole(3),
                tft: Amount::from_whole(251),
                fee_stroops: 100,
                rest: Amount::ZERO,
            }
            .into(),
        ),
        (
            "sent",
            TftSentToBridge {
                purchase_id: purchase(name),
                request_id: id(&[name, "handoff"]),
                attempt: 1,
                transaction: "bb".repeat(32),
                ledger: 60_000_002,
                lane: "GLANE2".into(),
                sequence: 43,
                amount: Amount::from_whole(251),
                fee_stroops: 100,
            }
            .into(),
        ),
        (
            "settled",
            HandoffSettled {
                purchase_id: purchase(name),
                request_id: id(&[name, "handoff"]),
                transaction: "bb".repeat(32),
                block: 99,
                event_index: 3,
                account: "5Grw".into(),
                amount: Amount::from_whole(250),
            }
            .into(),
        ),
    ];
    for (step, event) in steps {
        append(log, name, step, event).await;
    }
    deploy(
        "funds",
        FundsArrived {
            user_id: anna,
            purchase_id: purchase(name),
            amount: Amount::from_whole(250),
            block: 99,
        }
        .into(),
    )
    .await;
    deploy(
        "contract",
        ContractRequested {
            deployment_id: deployment,
            user_id: anna,
            twin_id: TwinId(7),
            attempt: 1,
            node_id: NodeId(14),
            version: 1,
            hash: "ab".repeat(32),
            data: "{}".into(),
            public_ips: 0,
            solution_provider: None,
            minimum_balance: Amount::from_whole(2),
            deadline: TIME,
            kind: DeploymentKind::Node,
            name: None,
            above: 0,
        }
        .into(),
    )
    .await;
    let last = deploy(
        "created",
        DeploymentCreated {
            deployment_id: deployment,
            user_id: anna,
            request_id: id(&[name, "contract"]),
            node_id: NodeId(14),
            contract_id: ContractId(1001),
            hash: "ab".repeat(32),
            extrinsic: "cc".repeat(32),
            block: 120,
        }
        .into(),
    )
    .await;
    passed(log, &last).await;
    eventually(|| async {
        (stage(log, name).await == Some(purchases::State::Settled)).then_some(())
    })
    .await;

    let row = purchases::get(&log.pool, purchase(name))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.usdc_spent, Amount::from_whole(3));
    assert_eq!(row.intent_id.as_deref(), Some("pi_1"));
    assert_eq!(row.swap_tx, Some("aa".repeat(32)));
    assert_eq!(row.handoff_tx, Some("bb".repeat(32)));
    assert_eq!(row.mint_block, Some(99));
    let of_anna = purchases::list(&log.pool, Some(anna), None, 10)
        .await
        .unwrap();
    assert!(of_anna.iter().any(|p| p.id == purchase(name)));
    let found = deployments::get(&log.pool, deployment)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.state, deployments::State::Created);
    assert_eq!(found.contract_id, Some(ContractId(1001)));
    let anna = users::get(&log.pool, anna).await.unwrap().unwrap();
    assert_eq!(anna.twin_id, Some(TwinId(7)));

    let moments = timeline::of(&log.pool, purchase(name)).await.unwrap();
    let types: Vec<&str> = moments
        .iter()
        .map(|m| m.event_type.rsplit('.').next().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "PurchaseRequested",
            "PaymentIntentCreated",
            "DeploymentRequested",
            "UserPaid",
            "SwapCompleted",
            "TftSentToBridge",
            "HandoffSettled",
            "FundsArrived",
            "ContractRequested",
            "DeploymentCreated",
        ]
    );
    assert_eq!(moments[4].facts["usdc_spent"], "3.0000000 USDC");
    assert_eq!(moments[4].facts["sequence"], "42");
}

async fn a_lost_dispute_shows(log: &Log) {
    append(log, "lost", "requested", requested("lost")).await;
    let ended = PurchaseEvent::from(PurchaseEnded {
        purchase_id: purchase("lost"),
        user_id: user("anna"),
        outcome: PurchaseOutcome::Lost,
        detail: "a dispute was lost".to_owned(),
    });
    append(log, "lost", "ended", ended).await;
    eventually(|| async {
        (stage(log, "lost").await == Some(purchases::State::Lost)).then_some(())
    })
    .await;
}

async fn passed(log: &Log, position: &Position) {
    eventually(|| async {
        progress::passed(&log.pool, position)
            .await
            .unwrap()
            .then_some(())
    })
    .await;
}

async fn an_echo_changes_nothing(log: &Log) {
    let name = "echo";
    append(log, name, "requested", requested(name)).await;
    let first = append(log, name, "created", intent_created(name, "pi_first")).await;
    let echo = append(log, name, "created", intent_created(name, "pi_echo")).await;
    assert_eq!(first.partition, echo.partition);
    passed(log, &echo).await;
    let row = purchases::get(&log.pool, purchase(name))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.intent_id.as_deref(), Some("pi_first"));
    assert_eq!(row.version, first.offset);
    assert_eq!(
        timeline::of(&log.pool, purchase(name)).await.unwrap().len(),
        2
    );
}

async fn what_does_not_decode_is_set_aside_by_name(log: &Log) {
    let name = "after-the-bad-ones";
    let key = purchase(name).to_string();
    let bad = [
        log.append_raw("purchases", &key, Some(b"no avro at all"), true)
            .await,
        log.append_raw("purchases", &key, Some(&[0, 0, 15, 66, 63, 1, 2]), true)
            .await,
        log.append_raw("purchases", &key, None, true).await,
        log.append_raw("purchases", &key, Some(&log.bytes(&requested(name))), false)
            .await,
    ];
    let good = append(log, name, "requested", requested(name)).await;
    assert!(bad.iter().all(|p| p.partition == good.partition));
    passed(log, &good).await;
    assert_eq!(stage(log, name).await, Some(purchases::State::Opened));
    let listed = undecodable::list(&log.pool, 10).await.unwrap();
    let reasons: Vec<&str> = bad
        .iter()
        .map(|p| {
            let found = listed
                .iter()
                .find(|u| u.topic == p.topic && u.partition == p.partition && u.offset == p.offset);
            found.unwrap().reason.as_str()
        })
        .collect();
    assert!(
        reasons[0].contains("Confluent wire format"),
        "{}",
        reasons[0]
    );
    assert!(
        reasons[1].contains("no schema with id 999999"),
        "{}",
        reasons[1]
    );
    assert!(reasons[2].contains("no value"), "{}", reasons[2]);
    assert!(reasons[3].contains("has no header ce_"), "{}", reasons[3]);
}

async fn text_that_postgres_cannot_hold_is_cleaned(log: &Log) {
    let name = "zero";
    append(log, name, "requested", requested(name)).await;
    let last = append(log, name, "created", intent_created(name, "pi_\0x")).await;
    passed(log, &last).await;
    let row = purchases::get(&log.pool, purchase(name))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.intent_id.as_deref(), Some("pi_\u{fffd}x"));
}

/// An event whose content no table can hold, amid others of the same batch.
async fn what_the_tables_cannot_hold_is_set_aside_alone(log: &Log) {
    let names = ["before-the-odd", "odd", "after-the-odd"];
    let appends = names.iter().map(|name| {
        let mut event = requested(name);
        if let (PurchaseEvent::PurchaseRequested(e), "odd") = (&mut event, *name) {
            // The year 255478: an instant for us, none for Postgres.
            e.requested_at = Timestamp(8_000_000_000_000_000);
        }
        append(log, name, "requested", event)
    });
    let positions = futures::future::join_all(appends).await;
    for position in &positions {
        passed(log, position).await;
    }
    assert_eq!(
        stage(log, "before-the-odd").await,
        Some(purchases::State::Opened)
    );
    assert_eq!(stage(log, "odd").await, None);
    assert_eq!(
        stage(log, "after-the-odd").await,
        Some(purchases::State::Opened)
    );
    let listed = undecodable::list(&log.pool, 10).await.unwrap();
    let found = listed
        .iter()
        .find(|u| u.partition == positions[1].partition && u.offset == positions[1].offset);
    assert!(
        found
            .unwrap()
            .reason
            .contains("does not fit the read models")
    );
}

async fn what_was_rolled_back_in_kafka_is_not_folded(log: &Log) {
    let name = "aborted";
    log.append_aborted(&purchase(name).to_string(), &requested(name));
    let after = append(log, name, "requested-again", requested(name)).await;
    passed(log, &after).await;
    assert_eq!(
        timeline::of(&log.pool, purchase(name)).await.unwrap().len(),
        1
    );
}

async fn an_event_is_visible_soon(log: &Log) {
    let mut waits = Vec::new();
    for n in 0..50 {
        let name = format!("soon-{n}");
        let begun = Instant::now();
        append(log, &name, "requested", requested(&name)).await;
        let appended = begun.elapsed();
        while stage(log, &name).await.is_none() {
            assert!(begun.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        waits.push(begun.elapsed().saturating_sub(appended));
    }
    waits.sort();
    println!(
        "visible after: p50 {:?}, p90 {:?}, worst {:?}",
        waits[25], waits[45], waits[49]
    );
}

async fn a_backlog_is_folded_in_batches(log: &Log) {
    let names: Vec<String> = (0..5_000).map(|n| format!("backlog-{n}")).collect();
    let begun = Instant::now();
    let appends = names
        .iter()
        .map(|name| append(log, name, "requested", requested(name)));
    let positions = futures::future::join_all(appends).await;
    let appended = begun.elapsed();
    for position in &positions {
        passed(log, position).await;
    }
    println!(
        "{} events appended in {appended:?}, folded {:?} later",
        names.len(),
        begun.elapsed().checked_sub(appended).unwrap()
    );
    for name in ["backlog-0", "backlog-4999"] {
        assert_eq!(stage(log, name).await, Some(purchases::State::Opened));
    }
}

async fn a_second_runner_turns_the_first_away(log: &Log, first: Runner) -> Runner {
    let second = log.runner();
    let mut count = 0;
    let error = loop {
        count += 1;
        let name = format!("fenced-{count}");
        let position = append(log, &name, "requested", requested(&name)).await;
        passed(log, &position).await;
        assert_eq!(stage(log, &name).await, Some(purchases::State::Opened));
        if first.ended() {
            break first.result().await.unwrap_err();
        }
        assert!(count < 10_000);
    };
    assert!(matches!(error, projections::Error::Fenced), "{error}");
    for n in 1..=count {
        let name = format!("fenced-{n}");
        assert_eq!(
            timeline::of(&log.pool, purchase(&name))
                .await
                .unwrap()
                .len(),
            1
        );
    }
    second
}

async fn without_a_registry_nothing_is_skipped(log: &Log, stack: &Stack) {
    let name = "no-registry";
    stack.kill(Part::Registry).await.unwrap();
    let key = purchase(name).to_string();
    // A schema that was never asked for: whether it exists, only the registry can say.
    let unknown = log
        .append_raw("purchases", &key, Some(&[0, 0, 15, 66, 62, 1]), true)
        .await;
    let good = append(log, name, "requested", requested(name)).await;
    assert!(!progress::passed(&log.pool, &unknown).await.unwrap());
    stack.restart(Part::Registry).await.unwrap();
    passed(log, &good).await;
    assert_eq!(stage(log, name).await, Some(purchases::State::Opened));
}

async fn a_killed_postgres_loses_nothing(log: &Log, stack: &Stack) {
    stack.kill(Part::Postgres).await.unwrap();
    let name = "no-postgres";
    append(log, name, "requested", requested(name)).await;
    let last = append(log, name, "created", intent_created(name, "pi_9")).await;
    stack.restart(Part::Postgres).await.unwrap();
    passed(log, &last).await;
    assert_eq!(
        stage(log, name).await,
        Some(purchases::State::AwaitingPayment)
    );
    assert_eq!(
        timeline::of(&log.pool, purchase(name)).await.unwrap().len(),
        2
    );
}

async fn a_killed_kafka_is_waited_for(log: &Log, stack: &Stack) {
    stack.kill(Part::Kafka).await.unwrap();
    stack.restart(Part::Kafka).await.unwrap();
    let name = "kafka-back";
    let last = append(log, name, "requested", requested(name)).await;
    passed(log, &last).await;
    assert_eq!(stage(log, name).await, Some(purchases::State::Opened));
}

/// Folding the same log again, in other batches, gives the same tables.
async fn a_rebuild_equals_the_live_tables(log: &Log, last: &Position) {
    let live = log.fingerprints().await;
    let again = log.rebuilt("rebuilt").await;
    let runner = again.runner();
    passed(&again, last).await;
    eventually(|| async { (again.offsets().await == log.offsets().await).then_some(()) }).await;
    assert_eq!(again.fingerprints().await, live);
    runner.stop().await.unwrap();
    a_log_that_was_cut_is_noticed(&again).await;
}

/// The read models are further than the log: it is not the log that they were made from.
async fn a_log_that_was_cut_is_noticed(log: &Log) {
    sqlx::query("UPDATE projection_offsets SET next_offset = next_offset + 1000 WHERE topic = 'users' AND partition = 2")
        .execute(&log.pool)
        .await
        .unwrap();
    let error = log.runner().result().await.unwrap_err();
    let projections::Error::OffsetLost {
        topic, partition, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((topic.as_str(), *partition), ("users", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn read_models_follow_the_log() {
    let options = StackOptions {
        stand_ins: false,
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await.unwrap();
    let log = Log::open(&stack).await;
    let runner = log.runner();
    a_purchase_is_folded_with_its_proofs(&log).await;
    accounts::crossings_and_lanes_are_known(&log).await;
    told::it_is_known_who_was_told_what(&log).await;
    a_lost_dispute_shows(&log).await;
    an_echo_changes_nothing(&log).await;
    what_does_not_decode_is_set_aside_by_name(&log).await;
    text_that_postgres_cannot_hold_is_cleaned(&log).await;
    what_the_tables_cannot_hold_is_set_aside_alone(&log).await;
    what_was_rolled_back_in_kafka_is_not_folded(&log).await;
    an_event_is_visible_soon(&log).await;
    a_backlog_is_folded_in_batches(&log).await;
    let runner = a_second_runner_turns_the_first_away(&log, runner).await;
    without_a_registry_nothing_is_skipped(&log, &stack).await;
    a_killed_postgres_loses_nothing(&log, &stack).await;
    a_killed_kafka_is_waited_for(&log, &stack).await;
    let last = append(&log, "last", "requested", requested("last")).await;
    passed(&log, &last).await;
    runner.stop().await.unwrap();
    a_rebuild_equals_the_live_tables(&log, &last).await;
    stack.stop().await;
}
