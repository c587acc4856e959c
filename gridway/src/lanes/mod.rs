//! `gridway lanes`: opens payment lanes on Stellar, and looks after them.
//!
//! An opening is a record in each partition, appended only after every lane of it was bumped to
//! its base and verified. It is valid for requests after it. A later opening of the same epoch
//! has more lanes: those that were there before go on, with the numbers of later offsets.

mod log;
mod tend;

use crate::config::Config;
use crate::processors;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use counterparties_stellar::{LaneKey, LaneName, base, opening};
use events::codec::Codec;
use events::deposits::DepositEvent;
use events::envelope::Envelope;
use events::ids::EventId;
use events::lanes::LanesOpened;
use events::purchases::PurchaseEvent;
use events::registry::Registry;
use events::schema::EventSet;
use events::topics::{DEPOSITS, PURCHASES, Topic};
use log::{Log, Recorded};
use pipeline::clock;
use processor_lanes::Treasury;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::sync::Arc;
use std::time::Duration;

/// The executors that pay through lanes, with the topic whose offsets are their numbers.
const EXECUTORS: [(&str, Topic); 3] = [
    ("swaps", PURCHASES),
    ("handoffs", PURCHASES),
    ("returns", DEPOSITS),
];
/// The first epoch that an opening may have.
const FIRST_EPOCH: u32 = 1 << 18;
/// An operator is told soon that Kafka is away.
const KAFKA_WITHIN: Duration = Duration::from_secs(30);

/// What to do with the lanes.
#[derive(Subcommand)]
pub enum Action {
    /// Creates, bumps and verifies lanes for every partition, then records them. Run again with
    /// more --lanes, it adds what is missing.
    Open(Open),
    /// Shows the recorded openings.
    List(tend::List),
    /// Checks every recorded lane against the network.
    Check,
    /// Pays lumens from the treasury to lanes that have few left.
    TopUp(tend::TopUp),
    /// Gives an open request up before its deadline: its lane is moved past its number.
    Fence(tend::Fence),
}

/// An opening.
#[derive(Args)]
pub struct Open {
    /// Lanes per executor and partition.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=512))]
    lanes: u16,
    /// Epoch; by default the last that is recorded. A higher one makes all lanes anew.
    #[arg(long)]
    epoch: Option<u32>,
}

/// Carries it out.
///
/// # Errors
/// When the network or Kafka does not answer, or a lane is not as it must be.
pub async fn run(action: Action) -> Result<()> {
    let registry = Registry::new(&Config::text("GRIDWAY_REGISTRY_URL")?)?;
    let codecs = Codecs {
        purchases: Codec::connect(&registry).await?,
        deposits: Codec::connect(&registry).await?,
    };
    let treasury = tokio::time::timeout(KAFKA_WITHIN, processors::treasury()).await;
    let treasury = treasury.context("Kafka does not tell its cluster id: is it running?")??;
    let treasury = Arc::new(treasury);
    if let Action::Fence(options) = action {
        return tend::fence(treasury, &codecs, &options).await;
    }
    let mut log = Log::default();
    log.read(PURCHASES, &codecs.purchases).await?;
    log.read(DEPOSITS, &codecs.deposits).await?;
    match action {
        Action::Open(options) => open(&treasury, &codecs, &log, &options).await,
        Action::List(options) => {
            tend::list(&log, &options);
            Ok(())
        }
        Action::Check => tend::check(&treasury, &log).await,
        Action::TopUp(options) => tend::top_up(&treasury, &log, &options).await,
        Action::Fence(_) => Ok(()),
    }
}

/// Codecs of the topics that have lanes.
struct Codecs {
    purchases: Codec<PurchaseEvent>,
    deposits: Codec<DepositEvent>,
}

/// The topic of an executor's requests.
fn topic_of(executor: &str) -> Topic {
    let known = EXECUTORS.iter().find(|(name, _)| *name == executor);
    known.map_or(PURCHASES, |(_, topic)| *topic)
}

/// Each executor with each partition of its topic.
fn places() -> impl Iterator<Item = (&'static str, i32)> {
    let partitions = |topic: Topic| 0..topic.partitions;
    EXECUTORS
        .into_iter()
        .flat_map(move |(executor, topic)| partitions(topic).map(move |p| (executor, p)))
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

/// The keys of an opening, held against the accounts that it recorded.
fn keys(
    treasury: &Treasury,
    executor: &str,
    partition: i32,
    recorded: &Recorded,
) -> Result<Vec<LaneKey>> {
    let keys: Vec<LaneKey> = (0..recorded.lanes)
        .map(|index| key(treasury, executor, partition, recorded.epoch, index))
        .collect::<Result<_>>()?;
    for (lane, account) in keys.iter().zip(&recorded.accounts) {
        if lane.account().to_string() != *account {
            bail!(
                "{executor} on partition {partition}: the log says {account}, our seed gives {}: GRIDWAY_LANE_SEED or the cluster is another one",
                lane.account()
            );
        }
    }
    Ok(keys)
}

/// What one partition still needs.
struct Wanted {
    executor: &'static str,
    partition: i32,
    /// All lanes that it will have.
    lanes: Vec<LaneKey>,
    /// How many of them are recorded already.
    recorded: u16,
}

/// What is to be opened, and under which epoch.
fn wanted(treasury: &Treasury, log: &Log, options: &Open) -> Result<(u32, Vec<Wanted>)> {
    let last = log.last_epoch();
    let epoch = options.epoch.or(last).unwrap_or(FIRST_EPOCH);
    if let Some(last) = last
        && epoch < last
    {
        bail!("epoch {epoch} is below {last}, the last that was opened: an epoch is used once");
    }
    let mut wanted = Vec::new();
    for (executor, partition) in places() {
        let recorded = match log.in_force(executor, partition) {
            Some(recorded) if recorded.epoch == epoch => recorded.lanes,
            _ => 0,
        };
        if recorded >= options.lanes {
            continue;
        }
        let lanes = (0..options.lanes)
            .map(|index| key(treasury, executor, partition, epoch, index))
            .collect::<Result<_>>()?;
        wanted.push(Wanted {
            executor,
            partition,
            lanes,
            recorded,
        });
    }
    Ok((epoch, wanted))
}

async fn open(treasury: &Treasury, codecs: &Codecs, log: &Log, options: &Open) -> Result<()> {
    let (epoch, wanted) = wanted(treasury, log, options)?;
    if wanted.is_empty() {
        println!(
            "epoch {epoch} has {} lanes or more for each hand on each partition already; more --lanes adds some, --epoch {} makes all anew",
            options.lanes,
            epoch + 1
        );
        return Ok(());
    }
    let new: Vec<LaneKey> = wanted
        .iter()
        .flat_map(|w| w.lanes.iter().skip(usize::from(w.recorded)).cloned())
        .collect();
    opening::open(
        &*treasury.stellar,
        &treasury.key,
        &new,
        base(epoch)?,
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
    for wanted in &wanted {
        record(&producer, codecs, treasury, epoch, wanted).await?;
    }
    println!(
        "{} lanes are open: epoch {epoch}, {} for each hand ({}) on each partition",
        new.len(),
        options.lanes,
        EXECUTORS.map(|(executor, _)| executor).join(", ")
    );
    Ok(())
}

/// Appends an opening to its partition.
async fn record(
    producer: &FutureProducer,
    codecs: &Codecs,
    treasury: &Treasury,
    epoch: u32,
    wanted: &Wanted,
) -> Result<()> {
    let Wanted {
        executor,
        partition,
        lanes,
        recorded,
    } = wanted;
    let opened = LanesOpened {
        executor: (*executor).to_owned(),
        epoch: i32::try_from(epoch)?,
        lanes: i32::try_from(lanes.len())?,
        accounts: lanes.iter().map(|key| key.account().to_string()).collect(),
        opened_at: clock::now(),
    };
    let (place, number) = (partition.to_string(), epoch.to_string());
    let mut identity = vec!["lanes", &treasury.cluster, executor, &place, &number];
    // A second opening of an epoch is another fact than the first.
    let count = lanes.len().to_string();
    if *recorded > 0 {
        identity.push(&count);
    }
    let subject = format!("lanes:{executor}");
    let envelope = Envelope {
        id: EventId::derive(&identity),
        source: "/gridway/lanes".to_owned(),
        time: clock::now(),
        subject: subject.clone(),
        correlation: None,
        causation: None,
        traceparent: None,
    };
    let topic = topic_of(executor);
    let (payload, headers) = if topic == DEPOSITS {
        encoded(&codecs.deposits, &envelope, opened)?
    } else {
        encoded(&codecs.purchases, &envelope, opened)?
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
