//! What a worker needs of the log it works on: Kafka, or the simulation's model of it.

use crate::append::Append;
use events::envelope::Envelope;
use events::topics;
use rdkafka::message::{Header, OwnedHeaders};
use std::collections::BTreeMap;

/// A consumer in a group and a transactional producer, bound to one slot of a processor.
///
/// Nothing here waits for records: whoever connects is woken when there are some.
pub trait Log: Send {
    /// The next record of the assigned partitions, if there is one.
    ///
    /// # Errors
    /// See [`Trouble`].
    fn poll(&mut self) -> Result<Option<Polled>, Trouble>;

    /// What the group assigned and took back since it was last asked, in order.
    fn rebalances(&mut self) -> Vec<Rebalance>;

    /// The committed offsets of these partitions. Waits until the previous owner can no longer
    /// have a transaction open: only then is the end of a partition final for what it could append.
    ///
    /// # Errors
    /// When nobody answers.
    fn committed(&mut self, partitions: &[i32]) -> Result<Vec<Consumed>, Trouble>;

    /// Where a partition ends right now, uncommitted records included.
    ///
    /// # Errors
    /// When nobody answers.
    fn end(&self, partition: i32) -> Result<i64, Trouble>;

    /// The offsets that are read next. They step over transaction markers, which the last
    /// record's offset + 1 does not.
    ///
    /// # Errors
    /// When nobody answers.
    fn positions(&self) -> Result<BTreeMap<i32, i64>, Trouble>;

    /// Commits offsets outside a transaction, fenced by the group's generation. With `wait` it
    /// returns once that is done.
    ///
    /// # Errors
    /// When they may not be committed.
    fn commit(&mut self, offsets: &[Consumed], wait: bool) -> Result<(), Trouble>;

    /// Appends and commits offsets, all or nothing.
    ///
    /// # Errors
    /// [`Trouble::Fenced`] when another process has the slot; anything else leaves it open
    /// whether it happened: fold again, the log tells.
    fn transact(&mut self, appends: &[Append], offsets: &[Consumed]) -> Result<(), Trouble>;

    /// Keys that were ever dead-lettered by this processor in a partition, each with the smallest
    /// offset of such a record.
    ///
    /// # Errors
    /// When nobody answers.
    fn dead_letters(&mut self, partition: i32) -> Result<BTreeMap<String, i64>, Trouble>;

    /// Stops (or starts) delivering records of these partitions.
    ///
    /// # Errors
    /// When they are not assigned.
    fn pause(&mut self, partitions: &[i32], paused: bool) -> Result<(), Trouble>;
}

/// Why the log cannot be worked on any more with this connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Another process has taken over. This one must stop.
    #[error("fenced: another process has this slot ({0})")]
    Fenced(String),
    /// Nothing is certain but that the log tells: connect and fold again.
    #[error("{0}")]
    Lost(String),
}

/// A change of what is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    /// These partitions are ours now, to be read from offset 0.
    Assigned(Vec<i32>),
    /// These are no longer.
    Revoked(Vec<i32>),
}

/// How far a partition was consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    /// Partition.
    pub partition: i32,
    /// The offset to go on from.
    pub offset: i64,
    /// A source's cursor.
    pub cursor: Option<String>,
}

/// A record as polled, owned.
#[derive(Debug, Clone)]
pub struct Polled {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: Vec<u8>,
    /// Value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The envelope, or why it cannot be read.
    pub envelope: Result<Envelope, String>,
    /// All headers.
    pub headers: OwnedHeaders,
}

impl Polled {
    /// The record as it was, with where it came from and why it is here.
    pub(crate) fn dead_letter(self, processor: &str, topic: &str, reason: &str) -> Append {
        let mut headers = self.headers;
        for (key, value) in [
            ("dl_processor", processor),
            ("dl_topic", topic),
            ("dl_partition", &self.partition.to_string()),
            ("dl_offset", &self.offset.to_string()),
            ("dl_reason", reason),
        ] {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        Append {
            topic: topics::dead_letters(processor),
            partition: Some(self.partition),
            key: self.key,
            payload: self.payload.unwrap_or_default(),
            headers,
        }
    }
}
