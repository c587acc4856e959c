//! `gridway deadletters`: what processors could not read, and what is to become of it.
//!
//! A release is an event in the aggregate's own partition, so every later fold meets it; a note of
//! it goes to the dead letters in the same transaction, so that `list` needs to read only those.

use crate::config::Config;
use crate::processors;
use anyhow::{Context, Result, bail};
use api::approvals::Limits;
use api::ports::Unavailable;
use async_trait::async_trait;
use clap::{Args, Subcommand};
use events::applications::NodeApplicationEvent;
use events::codec::Codec;
use events::dead_letters::{DeadLetterReleased, Release};
use events::deployments::DeploymentEvent;
use events::deposits::DepositEvent;
use events::envelope::{Envelope, readable};
use events::ids::EventId;
use events::notifications::NotificationEvent;
use events::purchases::PurchaseEvent;
use events::registry::Registry;
use events::schema::EventSet;
use events::topics::{self, Topic};
use events::treasury::TreasuryEvent;
use events::users::UserEvent;
use pipeline::{KafkaConfig, clock};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(100);
/// Releases in one transaction.
const BATCH: usize = 100;

/// What to do with dead letters.
#[derive(Subcommand)]
pub enum Action {
    /// Lists them, oldest first.
    List {
        /// Only those of this processor.
        #[arg(long)]
        processor: Option<String>,
    },
    /// Shows one.
    Show {
        /// Which.
        #[command(flatten)]
        place: Place,
        /// Shows the payload, too. It may hold what is private.
        #[arg(long)]
        payload: bool,
    },
    /// Has them read again: the registry knows the schema by now, or a newer program runs.
    Redrive(Choice),
    /// Passes them over: their aggregates go on as if they had never been.
    Discard(Choice),
}

/// Where the record stands that could not be read.
#[derive(Args, Clone)]
pub struct Place {
    /// The processor that could not read it.
    processor: String,
    /// Partition.
    partition: i32,
    /// Offset in the processor's topic.
    offset: i64,
}

/// Which ones, and why.
#[derive(Args)]
pub struct Choice {
    /// The processor that could not read it.
    #[arg(required_unless_present = "all")]
    processor: Option<String>,
    /// Partition.
    #[arg(required_unless_present = "all")]
    partition: Option<i32>,
    /// Offset in the processor's topic.
    #[arg(required_unless_present = "all")]
    offset: Option<i64>,
    /// All that are open, of the processor if one is named.
    #[arg(long, conflicts_with_all = ["partition", "offset"])]
    all: bool,
    /// With --all: only those whose cause contains this.
    #[arg(long, requires = "all")]
    cause_contains: Option<String>,
    /// Why. It is kept for ever, in the event.
    #[arg(long)]
    reason: String,
    /// Who.
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
}

/// A dead letter.
#[derive(Debug, Clone)]
struct Letter {
    processor: &'static str,
    topic: Topic,
    partition: i32,
    offset: i64,
    key: String,
    event_type: String,
    cause: String,
    payload: Vec<u8>,
    headers: Vec<(String, String)>,
    /// What operators have said of it, oldest first.
    releases: Vec<(String, String, String)>,
    /// The events that those are about, where their notes say so.
    noted: BTreeSet<String>,
}

impl Letter {
    fn state(&self) -> &str {
        match self.releases.last().map(|(action, _, _)| action.as_str()) {
            Some("DISCARD") => "discarded",
            Some(_) => "redriven",
            None => "open",
        }
    }
}

/// Carries it out.
///
/// # Errors
/// When Kafka or the registry is not reachable, or there is no such dead letter.
pub async fn run(action: Action) -> Result<()> {
    let kafka = Config::kafka()?;
    match action {
        Action::List { processor } => {
            let letters = read(&kafka, processor.as_deref())?;
            println!("processor\tpartition\toffset\tstate\taggregate\tevent type\tcause");
            for l in &letters {
                println!(
                    "{}\t{}\t{}\t{}\t{}\t{}\t{}",
                    l.processor,
                    l.partition,
                    l.offset,
                    l.state(),
                    l.key,
                    l.event_type,
                    l.cause
                );
            }
            let open = letters.iter().filter(|l| l.state() == "open").count();
            println!("{} dead letters, {open} open", letters.len());
            Ok(())
        }
        Action::Show { place, payload } => {
            show(&find(&kafka, &place)?, payload);
            Ok(())
        }
        Action::Redrive(choice) => release(&kafka, &choice, Release::Redrive).await,
        Action::Discard(choice) => release(&kafka, &choice, Release::Discard).await,
    }
}

fn show(letter: &Letter, payload: bool) {
    println!(
        "{} could not read {}:{}:{}",
        letter.processor, letter.topic.name, letter.partition, letter.offset
    );
    println!("aggregate   {}", letter.key);
    println!("state       {}", letter.state());
    println!("cause       {}", letter.cause);
    for (name, value) in &letter.headers {
        println!("header      {name}: {value}");
    }
    for (action, by, reason) in &letter.releases {
        println!("released    {action} by {by}: {reason}");
    }
    if payload {
        println!("payload     {}", hex(&letter.payload));
        println!(
            "as text     {}",
            String::from_utf8_lossy(&letter.payload).escape_debug()
        );
    } else {
        println!(
            "payload     {} bytes, hidden; --payload shows them",
            letter.payload.len()
        );
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn find(kafka: &KafkaConfig, place: &Place) -> Result<Letter> {
    read(kafka, Some(&place.processor))?
        .into_iter()
        .find(|l| l.partition == place.partition && l.offset == place.offset)
        .with_context(|| {
            format!(
                "{} has no dead letter of partition {} at offset {}: see `gridway deadletters list`",
                place.processor, place.partition, place.offset
            )
        })
}

/// All dead letters, with what was said of them.
fn read(kafka: &KafkaConfig, processor: Option<&str>) -> Result<Vec<Letter>> {
    if let Some(name) = processor
        && !processors::ALL.iter().any(|(n, _)| *n == name)
    {
        let names: Vec<&str> = processors::ALL.iter().map(|(n, _)| *n).collect();
        bail!(
            "there is no processor {name}; there are {}",
            names.join(", ")
        );
    }
    let mut letters = Vec::new();
    for (name, topic) in processors::ALL {
        if processor.is_none_or(|p| p == name) {
            letters.extend(read_one(kafka, name, topic)?);
        }
    }
    Ok(letters)
}

/// Where a partition ends. One that Kafka does not know yet, or has nobody to lead just now, is asked
/// for again.
fn end_of(consumer: &BaseConsumer, topic: &str, partition: i32) -> Result<i64, KafkaError> {
    use rdkafka::types::RDKafkaErrorCode::{
        LeaderNotAvailable, NotLeaderForPartition, UnknownPartition, UnknownTopic,
        UnknownTopicOrPartition,
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Ok((_, end)) => return Ok(end),
            Err(KafkaError::MetadataFetch(
                LeaderNotAvailable
                | NotLeaderForPartition
                | UnknownPartition
                | UnknownTopic
                | UnknownTopicOrPartition,
            )) if Instant::now() < deadline => std::thread::sleep(AGAIN),
            Err(error) => return Err(error),
        }
    }
}

fn read_one(kafka: &KafkaConfig, processor: &'static str, topic: Topic) -> Result<Vec<Letter>> {
    let name = topics::dead_letters(processor);
    let consumer: BaseConsumer = kafka
        .client()
        .set("group.id", "gridway-deadletters")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()?;
    let mut list = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in 0..topic.partitions {
        let end = end_of(&consumer, &name, partition)
            .with_context(|| format!("{name} at {}", kafka.brokers))?;
        if end > 0 {
            list.add_partition_offset(&name, partition, Offset::Beginning)?;
            ends.insert(partition, end);
        }
    }
    let mut letters: BTreeMap<(i32, i64), Letter> = BTreeMap::new();
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    consumer.assign(&list)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(message) = consumer.poll(Duration::from_millis(50)) {
            take(&mut letters, processor, topic, &message?);
        }
        let positions = consumer.position()?;
        let done = ends.iter().all(|(partition, end)| {
            positions
                .find_partition(&name, *partition)
                .is_some_and(|p| matches!(p.offset(), Offset::Offset(o) if o >= *end))
        });
        if done {
            return Ok(letters.into_values().collect());
        }
        if Instant::now() > deadline {
            bail!("{name} could not be read to its end within {PATIENCE:?}");
        }
    }
}

fn take(
    letters: &mut BTreeMap<(i32, i64), Letter>,
    processor: &'static str,
    topic: Topic,
    message: &rdkafka::message::BorrowedMessage<'_>,
) {
    let headers: Vec<(String, String)> = readable(message.headers())
        .map(|headers| {
            headers
                .iter()
                .map(|h| {
                    let value = String::from_utf8_lossy(h.value.unwrap_or_default());
                    (h.key.to_owned(), value.into_owned())
                })
                .collect()
        })
        .unwrap_or_default();
    let text = |name: &str| {
        let found = headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let offset = text("dl_offset").parse().unwrap_or(-1);
    let place = (message.partition(), offset);
    let action = text("dl_release");
    if !action.is_empty() {
        // A note may be written twice; what it is about happened once.
        let event = text("dl_event");
        if let Some(letter) = letters.get_mut(&place)
            && (event.is_empty() || letter.noted.insert(event))
        {
            letter
                .releases
                .push((action, text("dl_by"), text("dl_reason")));
        }
        return;
    }
    let (event_type, cause) = (text("ce_type"), text("dl_reason"));
    letters.entry(place).or_insert_with(|| Letter {
        processor,
        topic,
        partition: message.partition(),
        offset,
        key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
        event_type,
        cause,
        payload: message.payload().unwrap_or_default().to_vec(),
        headers,
        releases: Vec::new(),
        noted: BTreeSet::new(),
    });
}

/// Refuses what needs a second person.
async fn one_may(letters: &[Letter], action: Release) -> Result<()> {
    let limits = crate::ports::limits()?;
    if limits == Limits::Any || letters.is_empty() {
        return Ok(());
    }
    let pool = projections::connect(&Config::text("GRIDWAY_DATABASE_URL")?, 1)
        .context("GRIDWAY_DATABASE_URL")?;
    for letter in letters {
        let sum = api::approvals::letter_sum(&pool, letter.topic.name, &letter.key).await?;
        if limits.need_second(sum.as_ref()) {
            bail!(
                "a second person must agree (GRIDWAY_ALONE_UP_TO): POST /approvals {{\"action\":\"{}\",\"target\":\"{}/{}/{}\",\"reason\":\"…\"}}",
                word(action).to_lowercase(),
                letter.processor,
                letter.partition,
                letter.offset
            );
        }
    }
    Ok(())
}

/// The dead letters, as the API asks for them.
pub struct Letters(pub KafkaConfig);

#[async_trait]
impl api::ports::DeadLetters for Letters {
    async fn find(
        &self,
        processor: &str,
        partition: i32,
        offset: i64,
    ) -> std::result::Result<Option<api::ports::Letter>, Unavailable> {
        let Some((name, topic)) = processors::ALL
            .into_iter()
            .find(|(name, _)| *name == processor)
        else {
            return Ok(None);
        };
        let kafka = self.0.clone();
        let read = tokio::task::spawn_blocking(move || read_one(&kafka, name, topic)).await;
        let letters = read
            .map_err(|error| Unavailable(error.to_string()))?
            .map_err(|error| Unavailable(format!("{error:#}")))?;
        let found = letters
            .into_iter()
            .find(|l| l.partition == partition && l.offset == offset);
        Ok(found.map(|letter| api::ports::Letter {
            topic: letter.topic.name.to_owned(),
            discarded: letter.state() == "discarded",
            key: letter.key,
        }))
    }
}

async fn release(kafka: &KafkaConfig, choice: &Choice, action: Release) -> Result<()> {
    if choice.reason.trim().is_empty() {
        bail!("--reason must say why");
    }
    let letters: Vec<Letter> = if choice.all {
        read(kafka, choice.processor.as_deref())?
            .into_iter()
            .filter(|l| l.state() != "discarded")
            .filter(|l| {
                choice
                    .cause_contains
                    .as_ref()
                    .is_none_or(|text| l.cause.contains(text.as_str()))
            })
            .collect()
    } else {
        let (Some(processor), Some(partition), Some(offset)) =
            (&choice.processor, choice.partition, choice.offset)
        else {
            bail!("name PROCESSOR PARTITION OFFSET, or --all");
        };
        let letter = find(
            kafka,
            &Place {
                processor: processor.clone(),
                partition,
                offset,
            },
        )?;
        if letter.state() == "discarded" {
            bail!("it was discarded before; that cannot be undone");
        }
        vec![letter]
    };
    one_may(&letters, action).await?;
    let registry = Registry::new(&Config::text("GRIDWAY_REGISTRY_URL")?)?;
    let producer: BaseProducer = kafka
        .client()
        .set("transactional.id", "gridway-deadletters")
        .create()?;
    producer
        .init_transactions(PATIENCE)
        .context("Kafka does not take transactions")?;
    let mut done = 0;
    for batch in letters.chunks(BATCH) {
        producer.begin_transaction()?;
        for letter in batch {
            let (payload, headers) = match letter.topic.name {
                "purchases" => event::<PurchaseEvent>(&registry, letter, choice, action).await?,
                "deployments" => {
                    event::<DeploymentEvent>(&registry, letter, choice, action).await?
                }
                "deposits" => event::<DepositEvent>(&registry, letter, choice, action).await?,
                "treasury" => event::<TreasuryEvent>(&registry, letter, choice, action).await?,
                "node-applications" => {
                    event::<NodeApplicationEvent>(&registry, letter, choice, action).await?
                }
                "notifications" => {
                    event::<NotificationEvent>(&registry, letter, choice, action).await?
                }
                _ => event::<UserEvent>(&registry, letter, choice, action).await?,
            };
            send(
                &producer,
                BaseRecord::to(letter.topic.name)
                    .partition(letter.partition)
                    .key(letter.key.as_bytes())
                    .payload(payload.as_slice())
                    .headers(headers),
            )?;
            let name = topics::dead_letters(letter.processor);
            send(
                &producer,
                BaseRecord::to(&name)
                    .partition(letter.partition)
                    .key(letter.key.as_bytes())
                    .payload([].as_slice())
                    .headers(note(letter, choice, action)),
            )?;
        }
        producer
            .commit_transaction(PATIENCE)
            .context("the releases were not taken; run it again")?;
        done += batch.len();
        println!("{done} of {} released", letters.len());
    }
    if letters.is_empty() {
        println!("nothing to release");
    }
    Ok(())
}

fn send(producer: &BaseProducer, record: BaseRecord<'_, [u8], [u8]>) -> Result<()> {
    producer
        .send(record)
        .map_err(|(error, _)| error)
        .context("Kafka does not take the release")
}

/// What `list` reads of a release.
fn note(letter: &Letter, choice: &Choice, action: Release) -> OwnedHeaders {
    [
        ("dl_release", word(action)),
        ("dl_offset", letter.offset.to_string().as_str()),
        ("dl_by", choice.by.as_str()),
        ("dl_reason", choice.reason.as_str()),
    ]
    .into_iter()
    .fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header {
            key,
            value: Some(value),
        })
    })
}

const fn word(action: Release) -> &'static str {
    match action {
        Release::Redrive => "REDRIVE",
        Release::Discard => "DISCARD",
    }
}

/// The release as an event of the letter's topic.
async fn event<E: EventSet + From<DeadLetterReleased>>(
    registry: &Registry,
    letter: &Letter,
    choice: &Choice,
    action: Release,
) -> Result<(Vec<u8>, OwnedHeaders)> {
    let codec = Codec::<E>::connect(registry).await?;
    let event = E::from(DeadLetterReleased {
        processor: letter.processor.to_owned(),
        partition: letter.partition,
        offset: letter.offset,
        action,
        reason: choice.reason.clone(),
        by: choice.by.clone(),
        released_at: clock::now(),
    });
    let envelope = Envelope {
        // The same release said twice is an echo; after one that did not help, it is a new one.
        id: EventId::derive(&[
            "dead letter",
            letter.processor,
            letter.topic.name,
            &letter.partition.to_string(),
            &letter.offset.to_string(),
            word(action),
            &letter.releases.len().to_string(),
        ]),
        source: "/gridway/deadletters".to_owned(),
        time: clock::now(),
        subject: letter.key.clone(),
        correlation: None,
        causation: None,
        traceparent: None,
    };
    Ok((codec.encode(&event)?, envelope.headers(&event)))
}
