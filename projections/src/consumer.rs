//! The Kafka side: one consumer that is told its partitions and offsets, never asks a group.

use crate::metrics::Metrics;
use crate::runner::Error;
use events::topics::{
    APPROVALS, DEPLOYMENTS, DEPOSITS, NODE_APPLICATIONS, NOTIFICATIONS, PURCHASES, TREASURY, Topic,
    USERS,
};
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What is folded.
const TOPICS: [Topic; 8] = [
    USERS,
    PURCHASES,
    DEPLOYMENTS,
    DEPOSITS,
    TREASURY,
    NOTIFICATIONS,
    NODE_APPLICATIONS,
    APPROVALS,
];
/// A fetch waits until this many bytes or this much time have come together.
const GATHERED_BYTES: &str = "65536";
const GATHERED_WITHIN_MS: &str = "20";
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The next offset to fold, per partition.
pub(crate) type Next = HashMap<(&'static str, i32), i64>;

/// Every partition of every topic that is folded.
pub(crate) fn partitions() -> Vec<(&'static str, i32)> {
    TOPICS
        .iter()
        .flat_map(|topic| (0..topic.partitions).map(|p| (topic.name, p)))
        .collect()
}

/// The catalogue's own name of a topic; `None` for one that is not folded.
pub(crate) fn known(topic: &str) -> Option<&'static str> {
    TOPICS.iter().map(|t| t.name).find(|name| *name == topic)
}

pub(crate) struct Context {
    metrics: Metrics,
    next: Arc<Mutex<Next>>,
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let next = self.next.lock();
        for ((topic, partition), folded) in next.iter() {
            let end = statistics
                .topics
                .get(*topic)
                .and_then(|t| t.partitions.get(partition))
                .map(|p| p.ls_offset);
            // Negative while the broker has not said yet.
            if let Some(end) = end.filter(|end| *end >= 0) {
                self.metrics.lag(topic, *partition, (end - folded).max(0));
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka client in trouble; it goes on trying");
    }
}

impl ConsumerContext for Context {}

pub(crate) type EventConsumer = StreamConsumer<Context>;

pub(crate) fn create(
    brokers: &str,
    metrics: Metrics,
    next: Arc<Mutex<Next>>,
) -> KafkaResult<EventConsumer> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("client.id", "gridway-projections")
        // librdkafka wants a name even where no group is joined.
        .set("group.id", "gridway-projections")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        // A fetch names every partition: one for each record costs the broker more than the record.
        .set("fetch.min.bytes", GATHERED_BYTES)
        .set("fetch.wait.max.ms", GATHERED_WITHIN_MS)
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "16384")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000")
        .set("statistics.interval.ms", "1000")
        .create_with_context(Context { metrics, next })
}

/// Checks that each topic is there with its partitions and that the log still holds what comes
/// next. Blocks on the broker.
pub(crate) fn check(consumer: &EventConsumer, next: &Next) -> Result<(), Error> {
    for topic in TOPICS {
        let metadata = consumer.fetch_metadata(Some(topic.name), ANSWER_WITHIN)?;
        let found = metadata
            .topics()
            .iter()
            .find(|t| t.name() == topic.name && t.error().is_none())
            .map_or(0, |t| t.partitions().len());
        let expected = usize::try_from(topic.partitions).unwrap_or_default();
        if found == 0 {
            return Err(Error::TopicMissing(topic.name));
        }
        if found != expected {
            return Err(Error::WrongPartitions {
                topic: topic.name,
                expected,
                found,
            });
        }
        for partition in 0..topic.partitions {
            let (low, high) = consumer.fetch_watermarks(topic.name, partition, ANSWER_WITHIN)?;
            let next = next.get(&(topic.name, partition)).copied().unwrap_or(0);
            if next < low || next > high {
                return Err(Error::OffsetLost {
                    topic: topic.name.to_owned(),
                    partition,
                    next,
                    found: format!("{low} to {high}"),
                });
            }
        }
    }
    Ok(())
}

/// Starts reading every partition at its next offset.
pub(crate) fn assign(consumer: &EventConsumer, next: &Next) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(next.len());
    for ((topic, partition), offset) in next {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&list)
}

/// Where the consumer stands, past transaction markers and aborted records too.
pub(crate) fn positions(consumer: &EventConsumer) -> KafkaResult<Next> {
    let list = consumer.position()?;
    Ok(list
        .elements()
        .iter()
        .filter_map(|element| match (known(element.topic()), element.offset()) {
            (Some(topic), Offset::Offset(offset)) => Some(((topic, element.partition()), offset)),
            _ => None,
        })
        .collect())
}
