//! What the topics say of lanes.

use crate::config::Config;
use anyhow::{Context, Result};
use events::codec::Codec;
use events::envelope::{Envelope, Record, readable};
use events::schema::EventSet;
use events::topics::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// A recorded opening.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    /// Where it stands.
    pub offset: i64,
    pub epoch: u32,
    pub lanes: u16,
    pub accounts: Vec<String>,
}

/// The openings that are recorded, and where the partitions end.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// By executor and partition, oldest first.
    pub openings: BTreeMap<(String, i32), Vec<Recorded>>,
    /// End of each partition of each topic.
    pub ends: BTreeMap<(&'static str, i32), i64>,
}

impl Log {
    /// Reads the openings of a topic from all of its partitions.
    pub async fn read<E: EventSet>(&mut self, topic: Topic, codec: &Codec<E>) -> Result<()> {
        let partitions: Vec<i32> = (0..topic.partitions).collect();
        let is_opening = |kind: &str| kind.ends_with(".LanesOpened");
        let openings = &mut self.openings;
        let ends = scan(codec, &partitions, is_opening, |record| {
            let Some(opened) = record.event.opening() else {
                return;
            };
            if let (Ok(epoch), Ok(lanes)) =
                (u32::try_from(opened.epoch), u16::try_from(opened.lanes))
            {
                openings
                    .entry((opened.executor.clone(), record.partition))
                    .or_default()
                    .push(Recorded {
                        offset: record.offset,
                        epoch,
                        lanes,
                        accounts: opened.accounts.clone(),
                    });
            }
        })
        .await?;
        for (partition, end) in ends {
            self.ends.insert((topic.name, partition), end);
        }
        Ok(())
    }

    /// The last opening of an executor on a partition.
    pub fn in_force(&self, executor: &str, partition: i32) -> Option<&Recorded> {
        self.openings.get(&(executor.to_owned(), partition))?.last()
    }

    /// The last epoch that was recorded anywhere.
    pub fn last_epoch(&self) -> Option<u32> {
        self.openings.values().flatten().map(|r| r.epoch).max()
    }

    /// The lanes that were opened under each epoch of each partition: the largest opening of it.
    pub fn epochs(&self) -> impl Iterator<Item = (&str, i32, &Recorded)> {
        self.openings
            .iter()
            .flat_map(|((executor, partition), openings)| {
                let mut epochs: BTreeMap<u32, &Recorded> = BTreeMap::new();
                for recorded in openings {
                    let known = epochs.entry(recorded.epoch).or_insert(recorded);
                    if recorded.lanes > known.lanes {
                        *known = recorded;
                    }
                }
                epochs
                    .into_values()
                    .map(move |recorded| (executor.as_str(), *partition, recorded))
            })
    }
}

/// Reads partitions from their beginning to their present end, committed records only, and gives
/// the ends. Records whose type is not wanted are not decoded. What cannot be read is passed
/// over: whoever processes the partition reports it.
pub(super) async fn scan<E: EventSet>(
    codec: &Codec<E>,
    partitions: &[i32],
    wanted: impl Fn(&str) -> bool,
    mut take: impl FnMut(Record<E>),
) -> Result<BTreeMap<i32, i64>> {
    let consumer: BaseConsumer = Config::kafka()?
        .client()
        .set("group.id", "gridway-lanes")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()?;
    let mut ends = BTreeMap::new();
    let mut assignment = TopicPartitionList::new();
    for &partition in partitions {
        let (_, end) = consumer
            .fetch_watermarks(E::TOPIC, partition, Duration::from_secs(20))
            .with_context(|| {
                let topic = E::TOPIC;
                format!(
                    "reading the ends of the topic {topic}: does it exist? `gridway topics create`"
                )
            })?;
        ends.insert(partition, end);
        if end > 0 {
            assignment.add_partition_offset(E::TOPIC, partition, Offset::Offset(0))?;
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
            return Ok(ends);
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        let kind = readable(message.headers())
            .and_then(|headers| headers.iter().find(|header| header.key == "ce_type"))
            .and_then(|header| header.value)
            .and_then(|value| std::str::from_utf8(value).ok())
            .unwrap_or_default();
        if !wanted(kind) {
            continue;
        }
        let (Ok(event), Ok(envelope)) = (
            codec.decode_resolving(message.payload()).await?,
            Envelope::read(message.headers()),
        ) else {
            continue;
        };
        take(Record {
            partition: message.partition(),
            offset: message.offset(),
            envelope,
            event,
        });
    }
}
