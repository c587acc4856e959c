//! How long a processor folds a long partition before it is live, and one that is new on it
//! decides about it.

use crate::world::World;
use anyhow::{Context, Result, bail};
use events::codec::Codec;
use events::envelope::Envelope;
use events::ids::{EventId, PurchaseId, QuoteId, TwinId, UserId};
use events::money::{Amount, Currency, Fiat};
use events::purchases::{
    Funding, PaymentIntentCreated, PaymentIntentRequested, PurchaseAlarmed, PurchaseEvent,
    PurchaseRequested, StripeEventReceived, SwapCompleted, SwapRequested, UserPaid,
};
use events::registry::Registry;
use events::time::Timestamp;
use events::topics::PURCHASES;
use gridway::processors;
use gridway::up::Options;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// A policy and a hand that kept up with the log: the one keeps aggregates, the other requests.
const KEPT_UP: [&str; 2] = ["purchases", "swaps"];
/// A policy that is new on the log: it decides about all of it, one event for each purchase.
const NEW: &str = "purchase-notices";
const PATIENCE: Duration = Duration::from_secs(600);

/// Fills a partition with the events of purchases and measures the way to live.
///
/// # Errors
/// When the stack does not answer, or a processor does not come to live within ten minutes.
pub async fn run(records: u64) -> Result<()> {
    let mut world = World::start(1, 1, &[], Options::default()).await?;
    let result = measure(&mut world, records).await;
    world.sandbox.stop().await;
    result
}

async fn measure(world: &mut World, records: u64) -> Result<()> {
    for (name, _) in processors::ALL {
        world.sandbox.fleet.kill(name).await?;
    }
    world.sandbox.fleet.kill("projections").await?;
    let registry = Registry::new(world.setting("GRIDWAY_REGISTRY_URL"))?;
    let codec = Codec::<PurchaseEvent>::connect(&registry).await?;
    let brokers = world.setting("GRIDWAY_KAFKA_BROKERS").to_owned();
    let begun = Instant::now();
    tokio::task::spawn_blocking(move || fill(&brokers, &codec, records)).await??;
    eprintln!(
        "{records} records written in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    println!(
        "\n| processor | records | fold | CPU | records a second | memory after |\n|---|---|---|---|---|---|"
    );
    for name in KEPT_UP {
        let (brokers, group) = (world.setting("GRIDWAY_KAFKA_BROKERS").to_owned(), name);
        tokio::task::spawn_blocking(move || commit_end(&brokers, group)).await??;
        let begun = Instant::now();
        world.sandbox.fleet.start(name).await?;
        let address = world
            .sandbox
            .fleet
            .address(name)
            .context("an address")?
            .to_owned();
        let live = format!("gridway_partition_state{{partition=\"0\",processor=\"{name}\"}} 2");
        loop {
            let metrics = reqwest::get(format!("{address}/metrics"))
                .await?
                .text()
                .await?;
            if metrics.contains(&live) {
                break;
            }
            if begun.elapsed() > PATIENCE {
                bail!("{name} is not live after ten minutes");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        report(world, name, records, begun.elapsed());
        world.sandbox.fleet.kill(name).await?;
    }
    let brokers = world.setting("GRIDWAY_KAFKA_BROKERS").to_owned();
    let begun = Instant::now();
    world.sandbox.fleet.start(NEW).await?;
    tokio::task::spawn_blocking(move || await_end(&brokers, NEW)).await??;
    report(world, NEW, records, begun.elapsed());
    Ok(())
}

/// A row of the table, of a process that runs.
fn report(world: &World, name: &str, records: u64, took: Duration) {
    let took = took.as_secs_f64();
    let process = world.sandbox.fleet.pid(name);
    let memory = process.and_then(crate::bench::rss_kib).unwrap_or(0);
    let cpu_ms = process.and_then(crate::bench::cpu_of).unwrap_or(0);
    println!(
        "| {name} | {records} | {took:.1} s | {:.1} s | {:.0} | {} MB |",
        cpu_ms as f64 / 1000.0,
        records as f64 / took,
        memory / 1024
    );
}

/// Who may ask and speak for a group without joining it, and where the partition ends.
fn outsider(brokers: &str, group: &str) -> Result<(BaseConsumer, i64)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .create()?;
    let (_, end) = consumer.fetch_watermarks(PURCHASES.name, 0, Duration::from_secs(10))?;
    Ok((consumer, end))
}

/// Returns once a group has committed the end of the partition.
fn await_end(brokers: &str, group: &str) -> Result<()> {
    let (consumer, end) = outsider(brokers, group)?;
    let mut partition = TopicPartitionList::new();
    partition.add_partition(PURCHASES.name, 0);
    let begun = Instant::now();
    loop {
        let committed = consumer.committed_offsets(partition.clone(), Duration::from_secs(10));
        let committed = committed.ok().and_then(|list| {
            let entry = list.find_partition(PURCHASES.name, 0)?;
            entry.offset().to_raw()
        });
        if committed.is_some_and(|at| at >= end) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            bail!("{group} has not decided about the log after ten minutes");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Commits the end of the partition for a group without members: who takes over from a processor
/// that kept up with the log.
fn commit_end(brokers: &str, group: &str) -> Result<()> {
    let (consumer, end) = outsider(brokers, group)?;
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(PURCHASES.name, 0, Offset::Offset(end))?;
    let begun = Instant::now();
    // Refused until the session of the killed member is over.
    while let Err(error) = consumer.commit(&offsets, CommitMode::Sync) {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(error).context("committing for the group of a killed processor");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn fill(brokers: &str, codec: &Codec<PurchaseEvent>, records: u64) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .create()?;
    let mut written = 0;
    let mut number = 0;
    while written < records {
        number += 1;
        let purchase = PurchaseId::derive(&["fold", &number.to_string()]);
        for event in events_of(purchase) {
            let name = events::schema::EventSet::name(&event);
            let envelope = Envelope {
                id: EventId::derive(&[&purchase.to_string(), name]),
                source: "/gridway/bench".to_owned(),
                time: Timestamp(1_790_000_000_000),
                subject: purchase.to_string(),
                correlation: Some(purchase.to_string()),
                causation: None,
                traceparent: None,
            };
            let (key, payload) = (purchase.to_string(), codec.encode(&event)?);
            let mut record = BaseRecord::to(PURCHASES.name)
                .partition(0)
                .key(&key)
                .payload(&payload)
                .headers(envelope.headers(&event));
            while let Err((error, back)) = producer.send(record) {
                if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                    return Err(error.into());
                }
                producer.poll(Duration::from_millis(10));
                record = back;
            }
            written += 1;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(())
}

/// A purchase up to its swap, and an alarm.
fn events_of(purchase_id: PurchaseId) -> Vec<PurchaseEvent> {
    let (user_id, time) = (UserId::derive(&["fold"]), Timestamp(1_790_000_000_000));
    let request_id = EventId::derive(&[&purchase_id.to_string(), "SwapRequested"]);
    let intent_id = format!("pi_{purchase_id}");
    let charge = Fiat {
        minor: 523,
        currency: Currency::Usd,
    };
    let stripe = |kind: &str| StripeEventReceived {
        purchase_id,
        stripe_event_id: format!("evt_{purchase_id}"),
        event_type: kind.to_owned(),
        created: time,
        livemode: false,
        object_id: Some(intent_id.clone()),
        intent_id: Some(intent_id.clone()),
        amount: Some(523),
        amount_received: Some(523),
        amount_refunded: None,
        currency: Some("usd".to_owned()),
        status: Some("succeeded".to_owned()),
        failure_code: None,
        raw: format!(
            "{{\"object\":\"event\",\"padding\":\"{}\"}}",
            "x".repeat(600)
        ),
        request_id: None,
    };
    vec![
        PurchaseRequested {
            purchase_id,
            user_id,
            twin_id: TwinId(1),
            quote_id: QuoteId::derive(&["fold"]),
            tft: Amount::from_whole(250),
            swap_tft: Amount::from_whole(251),
            usdc_quoted: Amount::from_whole(5),
            usdc_cap: Amount::from_whole(6),
            path: Vec::new(),
            charge,
            quote_expires_at: time,
            requested_at: time,
            funding: Funding::Card,
            usdc_due: None,
            pay_until: None,
            give_up_after_ms: None,
        }
        .into(),
        PaymentIntentRequested {
            purchase_id,
            user_id,
            attempt: 1,
            charge,
            deadline: time,
        }
        .into(),
        PaymentIntentCreated {
            purchase_id,
            request_id,
            intent_id: intent_id.clone(),
            status: "requires_payment_method".to_owned(),
            amount: charge,
            livemode: false,
        }
        .into(),
        stripe("payment_intent.succeeded").into(),
        UserPaid {
            purchase_id,
            user_id,
            intent_id: intent_id.clone(),
            charge,
        }
        .into(),
        SwapRequested {
            purchase_id,
            attempt: 1,
            tft: Amount::from_whole(251),
            send_max: Amount::from_whole(6),
            path: Vec::new(),
            deadline: time,
            rest: Amount::ZERO,
        }
        .into(),
        SwapCompleted {
            purchase_id,
            request_id,
            attempt: 1,
            transaction: "ab".repeat(32),
            ledger: 60_000_001,
            lane: "G".repeat(56),
            sequence: 1,
            usdc_spent: Amount::from_whole(5),
            tft: Amount::from_whole(251),
            fee_stroops: 100,
            rest: Amount::ZERO,
        }
        .into(),
        PurchaseAlarmed {
            purchase_id,
            alarm: "swap_overdue".to_owned(),
            detail: String::new(),
        }
        .into(),
    ]
}
