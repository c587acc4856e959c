//! Reading the log as any other team would: committed records, from the beginning.

use anyhow::{Context, Result};
use events::envelope::Envelope;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::time::Duration;

/// A record of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Full record name.
    pub event_type: String,
    /// The envelope.
    pub envelope: Envelope,
    /// The event in wire format.
    pub payload: Vec<u8>,
}

/// A consumer of whole topics, without a group.
pub struct Log {
    consumer: BaseConsumer,
}

impl Log {
    /// Reads these topics from the beginning, or from their ends.
    ///
    /// # Errors
    /// When Kafka does not answer.
    pub fn open(brokers: &str, topics: &[(&str, i32)], from_end: bool) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "system-tests")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "20")
            .create()?;
        let mut assignment = TopicPartitionList::new();
        for (topic, partitions) in topics {
            for partition in 0..*partitions {
                let offset = if from_end {
                    Offset::End
                } else {
                    Offset::Beginning
                };
                assignment.add_partition_offset(topic, partition, offset)?;
            }
        }
        consumer.assign(&assignment)?;
        Ok(Self { consumer })
    }

    /// The next record, within `wait`.
    ///
    /// # Errors
    /// When Kafka reports trouble, or the record has no envelope.
    pub fn next(&self, wait: Duration) -> Result<Option<Entry>> {
        let Some(message) = self.consumer.poll(wait) else {
            return Ok(None);
        };
        let message = message?;
        let place = format!(
            "{}:{}:{}",
            message.topic(),
            message.partition(),
            message.offset()
        );
        let headers = message
            .headers()
            .with_context(|| format!("{place} has no headers"))?;
        let event_type = headers
            .iter()
            .find(|h| h.key == "ce_type")
            .and_then(|h| h.value)
            .unwrap_or_default();
        Ok(Some(Entry {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            payload: message.payload().unwrap_or_default().to_vec(),
            event_type: String::from_utf8_lossy(event_type).into_owned(),
            envelope: Envelope::read(Some(headers)).with_context(|| place)?,
        }))
    }

    /// Everything up to now: until nothing more comes for two seconds.
    ///
    /// # Errors
    /// As [`Log::next`].
    pub fn all(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while let Some(entry) = self.next(Duration::from_secs(2))? {
            entries.push(entry);
        }
        Ok(entries)
    }
}
