//! Watches whether readers of committed records get on, as an operator's alarm would, and does what
//! the runbook says when they do not.
//!
//! A single KRaft node that is killed may lose the end of a transaction by itself: the session of
//! the dead broker ends when the new one's transaction coordinator already works, it takes the
//! partitions without a leader for deleted and leaves out their markers. Nobody who reads committed
//! gets past that place until the transaction is aborted by hand.

use crate::crash::Stage;
use anyhow::Result;
use events::topics;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sandbox_stack::Hanging;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than any transaction of the harness may last, the broker's search for old ones included.
const STANDS_FOR: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);
/// Kafka's own topic of committed offsets, with its partitions on the sandbox.
const OFFSETS: (&str, i32) = ("__consumer_offsets", 4);

/// A partition's end for readers of committed records, which is not the end of its records.
type Standing = BTreeMap<(String, i32), i64>;

/// Where committed and uncommitted ends are read.
struct Ends {
    committed: BaseConsumer,
    all: BaseConsumer,
}

impl Ends {
    fn open(brokers: &str) -> Result<Self> {
        let consumer = |isolation: &str| {
            ClientConfig::new()
                .set("bootstrap.servers", brokers)
                .set("group.id", "system-tests")
                .set("enable.auto.commit", "false")
                .set("isolation.level", isolation)
                .create::<BaseConsumer>()
        };
        Ok(Self {
            committed: consumer("read_committed")?,
            all: consumer("read_uncommitted")?,
        })
    }

    /// Partitions in which there is more than readers of committed records get to see.
    fn behind(&self) -> Result<Standing> {
        let mut behind = Standing::new();
        let dead_letters: Vec<(String, i32)> = gridway::processors::ALL
            .iter()
            .map(|(name, topic)| (topics::dead_letters(name), topic.partitions))
            .collect();
        let named = topics::ALL.iter().map(|t| (t.name, t.partitions));
        let letters = dead_letters
            .iter()
            .map(|(name, count)| (name.as_str(), *count));
        for (topic, partitions) in named.chain(letters).chain([OFFSETS]) {
            for partition in 0..partitions {
                let (_, end) = self.all.fetch_watermarks(topic, partition, PATIENCE)?;
                if end == 0 {
                    continue;
                }
                let (_, stable) = self
                    .committed
                    .fetch_watermarks(topic, partition, PATIENCE)?;
                if stable < end {
                    behind.insert((topic.to_owned(), partition), stable);
                }
            }
        }
        Ok(behind)
    }
}

/// Aborts what hangs, until the trouble is over and nothing has stood still since. Gives how many
/// transactions were aborted.
pub async fn watch(stage: Arc<Stage>) -> Result<usize> {
    let brokers = stage.setting("GRIDWAY_KAFKA_BROKERS").to_owned();
    let ends = Arc::new(Ends::open(&brokers)?);
    let mut since: BTreeMap<(String, i32), (i64, Instant)> = BTreeMap::new();
    let mut aborted = 0;
    while !stage.is_at_rest() {
        tokio::time::sleep(LOOK_EVERY).await;
        let there = Arc::clone(&ends);
        let Ok(behind) = tokio::task::spawn_blocking(move || there.behind()).await? else {
            // The broker is away: nothing stands still that could move.
            since.clear();
            continue;
        };
        let now = Instant::now();
        since.retain(|place, (at, _)| behind.get(place) == Some(at));
        for (place, at) in behind {
            since.entry(place).or_insert((at, now));
        }
        let still: Vec<Hanging> = since
            .iter()
            .filter(|(_, (_, since))| since.elapsed() >= STANDS_FOR)
            .map(|((topic, partition), (at, _))| Hanging {
                topic: topic.clone(),
                partition: *partition,
                start_offset: *at,
            })
            .collect();
        if still.is_empty() {
            continue;
        }
        for place in &still {
            stage.say(&format!(
                "nobody who reads committed gets past {}:{}:{}",
                place.topic, place.partition, place.start_offset
            ));
        }
        match stage.stack.abort_hanging_transactions(still).await {
            Ok(found) => {
                aborted += found.len();
                for hanging in found {
                    stage.say(&format!(
                        "aborted the transaction that hung at {}:{}:{}",
                        hanging.topic, hanging.partition, hanging.start_offset
                    ));
                }
            }
            // The broker may be stopped just then; it is looked again.
            Err(error) => stage.say(&format!("hanging transactions were not found: {error}")),
        }
        since.clear();
    }
    Ok(aborted)
}
