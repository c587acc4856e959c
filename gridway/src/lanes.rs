//! `gridway lanes`: opens payment lanes on Stellar, and checks them.
//!
//! An opening is a record in each partition, appended only after every lane of it was bumped to
//! its base and verified. It is valid for requests after it.

use crate::config::Config;
use crate::processors;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use counterparties_stellar::opening::{self, LaneReport};
use counterparties_stellar::{LaneKey, LaneName, base};
use events::codec::Codec;
use events::deposits::DepositEvent;
use events::envelope::Envelope;
use events::ids::EventId;
use events::lanes::LanesOpened;
use events::purchases::PurchaseEvent;
use events::registry::Registry;
use events::schema::EventSet;
use events::topics::{DEPOSITS, PURCHASES, Topic};
use pipeline::clock;
use processor_lanes::Treasury;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// The executors that pay through lanes, with the topic whose offsets are their numbers.
const EXECUTORS: [(&str, Topic); 3] = [
    ("swaps", PURCHASES),
    ("handoffs", PURCHASES),
    ("returns", DEPOSITS),
];
/// The first epoch that an opening may have.
const FIRST_EPOCH: u32 = 1 << 18;

/// What to do with the lanes.
#[derive(Subcommand)]
pub enum Action {
    /// Creates, bumps and verifies lanes for every partition, then records them.
    Open(Open),
    /// Checks every recorded lane against the network.
    Check,
}

/// An opening.
#[derive(Args)]
pub struct Open {
    /// Lanes per executor and partition.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=512))]
    lanes: u16,
    /// Epoch; by default the one after the last that is recorded.
    #[arg(long)]
    epoch: Option<u32>,
}

/// The last recorded opening of an executor on a partition.
#[derive(Debug, Clone)]
struct Recorded {
    epoch: u32,
    lanes: u16,
    accounts: Vec<String>,
}

struct Log {
    /// By executor and partition.
    openings: BTreeMap<(String, i32), Recorded>,
    /// End of each partition, by topic.
    ends: BTreeMap<(String, i32), i64>,
}

/// The topic of an executor's openings.
fn topic_of(executor: &str) -> Topic {
    let known = EXECUTORS.iter().find(|(name, _)| *name == executor);
    known.map_or(PURCHASES, |(_, topic)| *topic)
}

/// Carries it out.
///
/// # Errors
/// When the network or Kafka does not answer, or a lane is not as it must be.
pub async fn run(action: Action) -> Result<()> {
    let registry = Registry::new(&Config::text("GRIDWAY_REGISTRY_URL")?)?;
    let codecs = (
        Codec::<PurchaseEvent>::connect(&registry).await?,
        Codec::<DepositEvent>::connect(&registry).await?,
    );
    let treasury = processors::treasury()?;
    let mut log = Log {
        openings: BTreeMap::new(),
        ends: BTreeMap::new(),
    };
    read_log(&codecs.0, PURCHASES, &mut log).await?;
    read_log(&codecs.1, DEPOSITS, &mut log).await?;
    match action {
        Action::Open(options) => open(&treasury, &codecs, &log, &options).await,
        Action::Check => check(&treasury, &log).await,
    }
}

fn key(
    treasury: &Treasury,
    executor: &str,
    partition: i32,
    epoch: u32,
    index: u16,
) -> Result<LaneKey> {
    let name = LaneName {
        cluster: &treasury.cluster,
        executor,
        topic: topic_of(executor).name,
        partition,
        epoch,
        index,
    };
    treasury.seed.derive(name).context("deriving a lane key")
}

async fn open(
    treasury: &Treasury,
    codecs: &(Codec<PurchaseEvent>, Codec<DepositEvent>),
    log: &Log,
    options: &Open,
) -> Result<()> {
    let last = log.openings.values().map(|r| r.epoch).max();
    let epoch = options
        .epoch
        .unwrap_or_else(|| last.map_or(FIRST_EPOCH, |e| e + 1));
    if last.is_some_and(|last| epoch <= last) {
        bail!(
            "epoch {epoch} is not above {}, the last that was opened: an epoch is used once",
            last.unwrap_or_default()
        );
    }
    let base = base(epoch)?;
    let mut keys = BTreeMap::new();
    for (executor, topic) in EXECUTORS {
        for partition in 0..topic.partitions {
            let lanes: Vec<LaneKey> = (0..options.lanes)
                .map(|index| key(treasury, executor, partition, epoch, index))
                .collect::<Result<_>>()?;
            keys.insert((executor, partition), lanes);
        }
    }
    let all: Vec<LaneKey> = keys.values().flatten().cloned().collect();
    opening::open(
        &*treasury.stellar,
        &treasury.key,
        &all,
        base,
        &treasury.passphrase,
    )
    .await
    .context("opening the lanes")?;
    let producer: FutureProducer = Config::kafka()?
        .client()
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .create()?;
    for ((executor, partition), lanes) in &keys {
        let opened = LanesOpened {
            executor: (*executor).to_owned(),
            epoch: i32::try_from(epoch)?,
            lanes: i32::from(options.lanes),
            accounts: lanes.iter().map(|key| key.account().to_string()).collect(),
            opened_at: clock::now(),
        };
        let subject = format!("lanes:{executor}");
        let envelope = Envelope {
            id: EventId::derive(&[
                "lanes",
                &treasury.cluster,
                executor,
                &partition.to_string(),
                &epoch.to_string(),
            ]),
            source: "/gridway/lanes".to_owned(),
            time: clock::now(),
            subject: subject.clone(),
            correlation: None,
            causation: None,
            traceparent: None,
        };
        let topic = topic_of(executor);
        let (payload, headers) = if topic == DEPOSITS {
            encoded(&codecs.1, &envelope, opened)?
        } else {
            encoded(&codecs.0, &envelope, opened)?
        };
        let record = FutureRecord::to(topic.name)
            .partition(*partition)
            .key(&subject)
            .payload(&payload)
            .headers(headers);
        producer
            .send(record, Duration::from_secs(20))
            .await
            .map_err(|(error, _)| error)
            .with_context(|| format!("recording the opening of {executor} on partition {partition}; run `gridway lanes open` again"))?;
    }
    let names = EXECUTORS.map(|(executor, _)| executor);
    println!(
        "{} lanes are open: epoch {epoch}, {} for each of {names:?} on each partition of its topic",
        all.len(),
        options.lanes,
    );
    Ok(())
}

/// The opening as a record of the topic of `E`.
fn encoded<E: EventSet + From<LanesOpened>>(
    codec: &Codec<E>,
    envelope: &Envelope,
    opened: LanesOpened,
) -> Result<(Vec<u8>, OwnedHeaders)> {
    let event = E::from(opened);
    Ok((codec.encode(&event)?, envelope.headers(&event)))
}

async fn check(treasury: &Treasury, log: &Log) -> Result<()> {
    if log.openings.is_empty() {
        bail!("no lanes are open: run `gridway lanes open`");
    }
    let mut wrong = 0;
    for ((executor, partition), recorded) in &log.openings {
        let lanes: Vec<LaneKey> = (0..recorded.lanes)
            .map(|index| key(treasury, executor, *partition, recorded.epoch, index))
            .collect::<Result<_>>()?;
        for (lane, account) in lanes.iter().zip(&recorded.accounts) {
            if lane.account().to_string() != *account {
                bail!(
                    "{executor} on partition {partition}: the log says {account}, our seed gives {}: GRIDWAY_LANE_SEED or the cluster is another one",
                    lane.account()
                );
            }
        }
        let topic = topic_of(executor).name.to_owned();
        let end = log
            .ends
            .get(&(topic, *partition))
            .copied()
            .unwrap_or_default();
        for report in opening::check(&*treasury.stellar, &lanes, base(recorded.epoch)?, end).await?
        {
            let LaneReport {
                account,
                sequence,
                balance,
                problem,
            } = &report;
            match problem {
                None => println!(
                    "ok    {executor:<9} {partition:>3}  {account}  sequence {sequence}  {balance} XLM"
                ),
                Some(problem) => {
                    wrong += 1;
                    println!("WRONG {executor:<9} {partition:>3}  {account}  {problem}");
                }
            }
        }
    }
    if wrong > 0 {
        bail!("{wrong} lanes are not as they must be");
    }
    Ok(())
}

/// Reads the openings that are recorded in a topic.
async fn read_log<E: EventSet>(codec: &Codec<E>, topic: Topic, log: &mut Log) -> Result<()> {
    let consumer: BaseConsumer = Config::kafka()?
        .client()
        .set("group.id", "gridway-lanes")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in 0..topic.partitions {
        let (_, end) = consumer
            .fetch_watermarks(topic.name, partition, Duration::from_secs(20))
            .with_context(|| {
                format!(
                    "reading the ends of the topic {}: does it exist? `gridway topics create`",
                    topic.name
                )
            })?;
        ends.insert(partition, end);
        log.ends.insert((topic.name.to_owned(), partition), end);
        if end > 0 {
            assignment.add_partition_offset(topic.name, partition, Offset::Offset(0))?;
        }
    }
    consumer.assign(&assignment)?;
    loop {
        let positions = consumer.position()?;
        let left = positions.elements().iter().any(|e| {
            let end = ends.get(&e.partition()).copied().unwrap_or_default();
            !matches!(e.offset(), Offset::Offset(at) if at >= end)
        });
        if !left {
            return Ok(());
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        // What cannot be read is no opening; whoever processes the partition reports it.
        let Ok(event) = codec.decode_resolving(message.payload()).await? else {
            continue;
        };
        let Some(opened) = event.opening().cloned() else {
            continue;
        };
        let (Ok(epoch), Ok(lanes)) = (u32::try_from(opened.epoch), u16::try_from(opened.lanes))
        else {
            continue;
        };
        let recorded = Recorded {
            epoch,
            lanes,
            accounts: opened.accounts,
        };
        log.openings
            .insert((opened.executor, message.partition()), recorded);
    }
}
