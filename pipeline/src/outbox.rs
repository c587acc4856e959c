//! What a worker has decided and not appended yet.
//!
//! A takeover may have more to append than one transaction can hold: a policy that is new on an old
//! log decides about all of it at once. So it goes out in slices. A decision is never torn: it
//! stands in the log whole or not at all. And the offset that goes with a slice is that of the
//! first record whose decision is left: whoever takes over in between decides about the rest.

use crate::append::Append;
use std::collections::{BTreeMap, VecDeque};

/// Records that are appended together or not at all.
#[derive(Debug)]
struct Decision {
    /// The partition that it came from: it is dropped with it.
    origin: i32,
    /// The offset of the record that it is about; `None` when it is about none, and comes again
    /// if it is lost.
    cause: Option<i64>,
    appends: Vec<Append>,
}

/// What is to be appended; of each partition in the order of the causes.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    decisions: VecDeque<Decision>,
    /// The causes of a partition's decisions.
    causes: BTreeMap<i32, VecDeque<i64>>,
}

/// What goes out in one transaction.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub appends: Vec<Append>,
    /// The cause of each.
    pub causes: Vec<Option<i64>>,
}

impl Outbox {
    /// Adds a decision.
    pub fn push(&mut self, origin: i32, cause: Option<i64>, appends: Vec<Append>) {
        if appends.is_empty() {
            return;
        }
        if let Some(cause) = cause {
            let causes = self.causes.entry(origin).or_default();
            debug_assert!(
                causes.back().is_none_or(|last| *last <= cause),
                "decided about {cause} after {causes:?}"
            );
            causes.push_back(cause);
        }
        self.decisions.push_back(Decision {
            origin,
            cause,
            appends,
        });
    }

    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// Keeps what comes from these partitions.
    pub fn keep(&mut self, ours: impl Fn(i32) -> bool) {
        self.decisions.retain(|decision| ours(decision.origin));
        self.causes.retain(|origin, _| ours(*origin));
    }

    /// Takes out the oldest decisions: as many as have `most` records together, at least one.
    pub fn slice(&mut self, most: usize) -> Slice {
        let mut slice = Slice::default();
        while let Some(next) = self.decisions.pop_front_if(|next| {
            slice.appends.is_empty() || slice.appends.len() + next.appends.len() <= most
        }) {
            if let (Some(_), Some(causes)) = (next.cause, self.causes.get_mut(&next.origin)) {
                causes.pop_front();
            }
            let causes = std::iter::repeat_n(next.cause, next.appends.len());
            slice.causes.extend(causes);
            slice.appends.extend(next.appends);
        }
        slice
    }

    /// The first record of a partition whose decision is not taken out yet.
    pub fn first_of(&self, origin: i32) -> Option<i64> {
        self.causes.get(&origin)?.front().copied()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::Outbox;
    use crate::append::Append;
    use rdkafka::message::OwnedHeaders;

    /// As many records, which have this key.
    fn records(key: &str, count: usize) -> Vec<Append> {
        let record = Append {
            topic: "topic".to_owned(),
            partition: None,
            key: key.as_bytes().to_vec(),
            payload: Vec::new(),
            headers: OwnedHeaders::new(),
        };
        vec![record; count]
    }

    fn keys(appends: &[Append]) -> String {
        let keys = appends.iter().map(|append| append.key.clone());
        String::from_utf8(keys.flatten().collect()).unwrap()
    }

    #[test]
    fn decisions_go_out_whole_and_the_offset_stays_at_the_first_that_is_left() {
        let mut outbox = Outbox::default();
        outbox.push(0, Some(3), records("a", 2));
        outbox.push(1, Some(9), records("b", 1));
        outbox.push(0, None, records("c", 1));
        outbox.push(0, Some(4), records("d", 5));
        outbox.push(0, Some(7), records("e", 1));
        outbox.push(0, Some(8), Vec::new());
        let mut slices = Vec::new();
        while !outbox.is_empty() {
            let slice = keys(&outbox.slice(3).appends);
            slices.push((slice, outbox.first_of(0), outbox.first_of(1)));
        }
        let expected = [
            ("aab", Some(4), None),
            ("c", Some(4), None),
            // More than there should be, but one decision.
            ("ddddd", Some(7), None),
            ("e", None, None),
        ];
        assert_eq!(
            slices,
            expected.map(|(slice, zero, one)| (slice.to_owned(), zero, one))
        );
    }

    #[test]
    fn what_was_decided_for_a_partition_goes_with_it() {
        let mut outbox = Outbox::default();
        outbox.push(0, Some(3), records("a", 1));
        outbox.push(1, Some(9), records("b", 1));
        outbox.keep(|partition| partition == 1);
        assert_eq!(keys(&outbox.slice(10).appends), "b");
        assert!(outbox.is_empty());
    }
}
