//! Aggregates that wait behind records that cannot be read.
//!
//! Everything here follows from the log: the record that cannot be read blocks its key, what comes
//! after it is held in order, and a `DeadLetterReleased` in the same partition lets it go.

use crate::log::Polled;
use events::envelope::Record;
use events::ids::EventId;
use std::collections::{BTreeMap, HashMap};

/// What waits in a partition.
pub(crate) struct Waiting<E> {
    keys: HashMap<String, Queue<E>>,
}

struct Queue<E> {
    /// By offset.
    poisons: BTreeMap<i64, Polled>,
    held: Vec<Record<E>>,
}

impl<E> Default for Waiting<E> {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
        }
    }
}

impl<E> Waiting<E> {
    /// From here on the record's aggregate waits.
    pub fn block(&mut self, polled: Polled) {
        let key = String::from_utf8_lossy(&polled.key).into_owned();
        let queue = self.keys.entry(key).or_insert_with(|| Queue {
            poisons: BTreeMap::new(),
            held: Vec::new(),
        });
        queue.poisons.insert(polled.offset, polled);
    }

    /// Whether anything waits.
    pub fn any(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether the aggregate waits.
    pub fn blocks(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Holds a record of an aggregate that waits.
    pub fn hold(&mut self, record: Record<E>) {
        if let Some(queue) = self.keys.get_mut(&record.envelope.subject) {
            queue.held.push(record);
        }
    }

    /// A held request was settled by somebody who could read what stands before it.
    pub fn forget(&mut self, key: &str, id: EventId) {
        if let Some(queue) = self.keys.get_mut(key) {
            queue.held.retain(|record| record.id() != id);
        }
    }

    /// The record at this offset, if it is one that could not be read.
    pub fn poison(&self, offset: i64) -> Option<&Polled> {
        self.keys
            .values()
            .find_map(|queue| queue.poisons.get(&offset))
    }

    /// The record at this offset is settled: `read` is what it turned out to be, `None` passes it
    /// over. Gives what may go on now, in order; nothing while another one blocks the aggregate.
    pub fn release(&mut self, offset: i64, read: Option<Record<E>>) -> Vec<Record<E>> {
        let Some(key) = self
            .keys
            .iter()
            .find(|(_, queue)| queue.poisons.contains_key(&offset))
            .map(|(key, _)| key.clone())
        else {
            return Vec::new();
        };
        let Some(queue) = self.keys.get_mut(&key) else {
            return Vec::new();
        };
        queue.poisons.remove(&offset);
        if let Some(read) = read {
            let place = queue.held.partition_point(|r| r.offset < offset);
            queue.held.insert(place, read);
        }
        if queue.poisons.is_empty() {
            self.keys.remove(&key).map_or_else(Vec::new, |q| q.held)
        } else {
            Vec::new()
        }
    }

    /// Aggregates that wait, and records held.
    pub fn counts(&self) -> (usize, usize) {
        let held = self.keys.values().map(|queue| queue.held.len()).sum();
        (self.keys.len(), held)
    }
}
