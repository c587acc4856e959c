//! What was committed must come back: a worker reads its own appends like everybody's. One that
//! does not come back was lost after the commit, as when an operator aborts a transaction whose
//! end was lost with its broker. Then what the worker remembers is not what the log tells.

use events::ids::EventId;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// After this long it is asked whether the partition has been read to its end.
const OVERDUE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Awaiting {
    id: EventId,
    /// The offset of the record that it is about, if it is about one.
    cause: Option<i64>,
    since: Instant,
}

/// Own appends to a partition that have not been read yet.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    /// In the order of their offsets.
    queue: VecDeque<Awaiting>,
    /// The same ones: a drain may leave hundreds of thousands, and each record is looked for.
    ids: HashSet<EventId>,
}

/// An append that stood in a committed transaction and does not stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event {0} was committed and does not stand in the log")]
pub(crate) struct Lost(pub EventId);

impl Awaited {
    /// The next transaction holds this. If it fails, the worker starts over, and nothing is awaited.
    pub fn push(&mut self, id: EventId, cause: Option<i64>, now: Instant) {
        self.ids.insert(id);
        self.queue.push_back(Awaiting {
            id,
            cause,
            since: now,
        });
    }

    /// A record was read. It comes after everything that was appended before it.
    pub fn read(&mut self, id: EventId) -> Result<(), Lost> {
        let Some(first) = self.queue.front() else {
            return Ok(());
        };
        if first.id == id {
            self.queue.pop_front();
            self.ids.remove(&id);
            return Ok(());
        }
        // An echo of something earlier may come at any place; a later append of ours may not.
        if self.ids.contains(&id) {
            return Err(Lost(first.id));
        }
        Ok(())
    }

    /// The first record about which something was appended that has not come back.
    pub fn first_cause(&self) -> Option<i64> {
        self.queue.iter().find_map(|awaiting| awaiting.cause)
    }

    /// Whether something should have come back by now.
    pub fn is_overdue(&self, now: Instant) -> bool {
        let first = self.queue.front();
        first.is_some_and(|first| now.saturating_duration_since(first.since) >= OVERDUE)
    }

    /// The partition was read to an end that was taken when something was overdue.
    pub fn at_end(&self, now: Instant) -> Result<(), Lost> {
        match self.queue.front() {
            Some(first) if self.is_overdue(now) => Err(Lost(first.id)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> EventId {
        EventId::derive(&[name])
    }

    #[test]
    fn what_comes_back_in_order_is_not_lost() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        awaited.push(id("a"), None, now);
        awaited.push(id("b"), None, now);
        for read in ["z", "a", "a", "y", "b", "b"] {
            assert_eq!(awaited.read(id(read)), Ok(()), "{read}");
        }
        assert!(!awaited.is_overdue(now + OVERDUE * 2));
    }

    #[test]
    fn a_later_append_tells_that_an_earlier_one_is_lost() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        awaited.push(id("a"), None, now);
        awaited.push(id("b"), None, now);
        assert_eq!(awaited.read(id("b")), Err(Lost(id("a"))));
    }

    #[test]
    fn at_the_end_of_the_partition_what_is_overdue_is_lost() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        awaited.push(id("a"), None, now);
        assert_eq!(awaited.at_end(now), Ok(()));
        assert!(awaited.is_overdue(now + OVERDUE));
        assert_eq!(awaited.at_end(now + OVERDUE), Err(Lost(id("a"))));
    }
}
