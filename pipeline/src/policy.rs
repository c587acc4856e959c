//! Policies: pure rules over the events of an aggregate.

use crate::append::{Append, Codecs, Forward, Planned, caused_id, forwarded, own, told_apart};
use crate::logic::{Fault, Host, Logic};
use crate::metrics;
use crate::waiting::Waiting;
use events::envelope::Record;
use events::ids::EventId;
use events::schema::EventSet;
use events::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// How many records before its committed offset a policy decides again when it takes a
/// partition over, appending what the log lacks.
pub const OVERLAP: i64 = 1_000;

/// The rules of one aggregate. Everything here is sync and total: no clock, no I/O, no chance.
///
/// The state is a fold of facts: of events that others appended, and of timers. What the policy
/// itself appends must not change it, so that deciding again over the same records gives the same.
pub trait Policy: Send + Sync + 'static {
    /// Name of the processor.
    const NAME: &'static str;
    /// Events of the topic it owns.
    type Event: EventSet;
    /// State of an aggregate; the default is "nothing happened yet".
    type State: Default + Send;

    /// The state after `record`.
    fn evolve(&self, state: Self::State, record: &Record<Self::Event>) -> Self::State;

    /// What should be appended because of `record`, given the state before it.
    fn decide(&self, state: &Self::State, record: &Record<Self::Event>) -> Decision<Self::Event>;

    /// The timers that are running in this state. One that has fired must no longer be among
    /// them once its event is folded.
    fn timers(&self, state: &Self::State) -> Vec<Timer>;

    /// The event that says that the timer of the aggregate `key` is due; `None` if the key is none.
    fn timer_fired(&self, key: &str, timer: &Timer) -> Option<Self::Event>;
}

/// What a policy wants appended.
#[derive(Debug)]
pub struct Decision<E> {
    /// Events for its own topic and partition.
    pub own: Vec<Planned<E>>,
    /// Events for other topics.
    pub forward: Vec<Forward>,
}

impl<E> Default for Decision<E> {
    fn default() -> Self {
        Self {
            own: Vec::new(),
            forward: Vec::new(),
        }
    }
}

impl<E> Decision<E> {
    /// Nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds an event for the own topic.
    #[must_use]
    pub fn and(mut self, event: impl Into<E>) -> Self {
        self.own.push(Planned::new(event));
        self
    }

    /// Adds an event for another topic.
    #[must_use]
    pub fn forward(mut self, forward: Forward) -> Self {
        self.forward.push(forward);
        self
    }
}

/// Something to be told of later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer {
    /// When.
    pub due: Timestamp,
    /// What it is about.
    pub name: String,
}

struct Aggregate<S> {
    state: S,
    /// The last record of the aggregate, kept as the cause of its timers.
    last: EventId,
    correlation: Option<String>,
    traceparent: Option<String>,
    timers: Vec<Timer>,
}

/// A decision, encoded.
#[derive(Default)]
struct Encoded {
    own: Vec<(EventId, Append)>,
    forward: Vec<Append>,
}

impl Encoded {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.forward.is_empty()
    }

    fn into_appends(self) -> Vec<Append> {
        let own = self.own.into_iter().map(|(_, append)| append);
        own.chain(self.forward).collect()
    }
}

/// Decisions of which the log lacks something, oldest first. They are looked up by the ids of
/// their events: after a long outage of the policy they are as many as the records of its backlog.
#[derive(Default)]
struct Missing {
    /// Each with the offset of the record that it is about.
    decisions: BTreeMap<u64, (i64, Encoded)>,
    /// Which decision lacks an event. An id is of one decision: it derives from its cause.
    lacking: HashMap<EventId, u64>,
    next: u64,
    /// What a decision of so many last records forwarded is lacking although its own events stand.
    forwards: i64,
}

impl Missing {
    fn push(&mut self, cause: i64, decision: Encoded) {
        for (id, _) in &decision.own {
            self.lacking.insert(*id, self.next);
        }
        self.decisions.insert(self.next, (cause, decision));
        self.next += 1;
    }

    /// An event stands in the log.
    fn found(&mut self, id: EventId) {
        let Some(number) = self.lacking.remove(&id) else {
            return;
        };
        let Some((_, decision)) = self.decisions.get_mut(&number) else {
            return;
        };
        decision.own.retain(|(missing, _)| *missing != id);
        // A decision is one transaction: where its own events stand, what it forwarded to other
        // topics stands there too, unless an operator knows better.
        if decision.own.is_empty() && (self.forwards == 0 || decision.forward.is_empty()) {
            self.decisions.remove(&number);
        }
    }

    /// What the log lacks, oldest first.
    fn take(&mut self) -> Vec<(i64, Vec<Append>)> {
        self.lacking.clear();
        let decisions = std::mem::take(&mut self.decisions).into_values();
        let encoded = decisions.map(|(cause, decision)| (cause, decision.into_appends()));
        encoded.collect()
    }
}

/// One partition of a policy.
pub(crate) struct PolicyPartition<P: Policy> {
    policy: Arc<P>,
    codecs: Arc<Codecs>,
    partition: i32,
    seen: HashSet<EventId>,
    aggregates: HashMap<String, Aggregate<P::State>>,
    waiting: Waiting<P::Event>,
    /// Keys to decide about again, from these offsets on.
    revisit: BTreeMap<String, i64>,
    /// Decided again in the overlap and not (yet) found in the log.
    missing: Missing,
    timers: BTreeSet<(Timer, String)>,
    firing: HashSet<EventId>,
}

impl<P: Policy> PolicyPartition<P> {
    /// All that decisions of the last `forward_again` records forward to other topics is appended
    /// once more when the partition goes live: there it is an echo, unless it was lost.
    pub fn new(policy: Arc<P>, codecs: Arc<Codecs>, partition: i32, forward_again: i64) -> Self {
        let missing = Missing {
            forwards: forward_again,
            ..Missing::default()
        };
        Self {
            policy,
            codecs,
            partition,
            seen: HashSet::new(),
            aggregates: HashMap::new(),
            waiting: Waiting::default(),
            revisit: BTreeMap::new(),
            missing,
            timers: BTreeSet::new(),
            firing: HashSet::new(),
        }
    }

    /// Takes a record in; gives what was decided, unless it is an echo or its aggregate waits.
    fn take(&mut self, record: &Record<P::Event>, decides: bool) -> Result<Encoded, Fault> {
        if !self.seen.insert(record.id()) {
            metrics::records(P::NAME, "echo");
            return Ok(Encoded::default());
        }
        let key = &record.envelope.subject;
        if self.waiting.blocks(key) {
            metrics::records(P::NAME, "blocked");
            // It is taken in once its aggregate may go on.
            self.seen.remove(&record.id());
            self.waiting.hold(record.clone());
            return Ok(Encoded::default());
        }
        metrics::records(P::NAME, "fact");
        self.firing.remove(&record.id());
        let entry = self.aggregates.remove(key);
        let (state, old_timers) = entry.map_or_else(
            || (P::State::default(), Vec::new()),
            |a| (a.state, a.timers),
        );
        let decided = if decides {
            self.encode(record, &self.policy.decide(&state, record))?
        } else {
            Encoded::default()
        };
        let state = self.policy.evolve(state, record);
        for timer in old_timers {
            self.timers.remove(&(timer, key.clone()));
        }
        let timers = self.policy.timers(&state);
        for timer in &timers {
            self.timers.insert((timer.clone(), key.clone()));
        }
        let aggregate = Aggregate {
            state,
            last: record.id(),
            correlation: record.envelope.correlation.clone(),
            traceparent: record.envelope.traceparent.clone(),
            timers,
        };
        self.aggregates.insert(key.clone(), aggregate);
        Ok(decided)
    }

    fn encode(
        &self,
        cause: &Record<P::Event>,
        decision: &Decision<P::Event>,
    ) -> Result<Encoded, Fault> {
        let mut encoded = Encoded::default();
        for planned in told_apart(&decision.own) {
            let (id, append) = own(&self.codecs, P::NAME, cause, &planned)?;
            if !self.seen.contains(&id) {
                encoded.own.push((id, append));
            }
        }
        for forward in &decision.forward {
            encoded
                .forward
                .push(forwarded(&self.codecs, P::NAME, cause, forward)?);
        }
        Ok(encoded)
    }
}

impl<P: Policy> Logic for PolicyPartition<P> {
    type Event = P::Event;
    type Message = ();

    fn fold(&mut self, record: Record<P::Event>, committed: i64) -> Result<(), Fault> {
        self.missing.found(record.id());
        let again = self
            .revisit
            .get(&record.envelope.subject)
            .is_some_and(|from| record.offset >= *from);
        let overlap = OVERLAP.max(self.missing.forwards);
        let decides = again || record.offset >= committed.saturating_sub(overlap);
        let decision = self.take(&record, decides)?;
        // Of a decision without events of its own nothing shows in this partition: before the
        // committed offset it was taken, after it not.
        let taken = decision.own.is_empty()
            && record.offset < committed
            && !again
            && self.missing.forwards == 0;
        if !decision.is_empty() && !taken {
            self.missing.push(record.offset, decision);
        }
        Ok(())
    }

    fn missing(&mut self) -> Vec<(i64, Vec<Append>)> {
        self.missing.take()
    }

    fn record(&mut self, record: Record<P::Event>, host: &mut Host<'_, ()>) -> Result<(), Fault> {
        let decision = self.take(&record, true)?;
        host.append(Some(record.offset), decision.into_appends());
        Ok(())
    }

    fn message(&mut self, (): (), _: &mut Host<'_, ()>) -> Result<(), Fault> {
        Ok(())
    }

    fn waiting(&mut self) -> &mut Waiting<P::Event> {
        &mut self.waiting
    }

    fn release(
        &mut self,
        offset: i64,
        by: i64,
        read: Option<Record<P::Event>>,
        mut host: Option<&mut Host<'_, ()>>,
    ) -> Result<(), Fault> {
        for record in self.waiting.release(offset, read) {
            let decision = self.take(&record, true)?;
            match &mut host {
                Some(host) => host.append(Some(by), decision.into_appends()),
                // What of it the log has is met further on in the fold.
                None if !decision.is_empty() => self.missing.push(by, decision),
                None => {}
            }
        }
        Ok(())
    }

    fn revisit(&mut self, keys: BTreeMap<String, i64>) {
        self.revisit = keys;
    }

    fn tick(
        &mut self,
        now: Timestamp,
        host: &mut Host<'_, ()>,
    ) -> Result<Option<Timestamp>, Fault> {
        let mut next = None;
        for (timer, key) in &self.timers {
            if timer.due > now {
                next = Some(timer.due);
                break;
            }
            let id =
                EventId::derive(&[P::NAME, "timer", key, &timer.name, &timer.due.0.to_string()]);
            if self.waiting.blocks(key) || self.seen.contains(&id) || !self.firing.insert(id) {
                continue;
            }
            let (Some(event), Some(aggregate)) = (
                self.policy.timer_fired(key, timer),
                self.aggregates.get(key),
            ) else {
                continue;
            };
            // The cause of the timer is the last event of its aggregate.
            let cause = Record {
                partition: self.partition,
                offset: -1,
                envelope: events::envelope::Envelope {
                    id: aggregate.last,
                    source: String::new(),
                    time: timer.due,
                    subject: key.clone(),
                    correlation: aggregate.correlation.clone(),
                    causation: None,
                    traceparent: aggregate.traceparent.clone(),
                },
                event,
            };
            let planned = Planned {
                event: cause.event.clone(),
                discriminator: String::new(),
                id: Some(id),
            };
            let (_, append) = own(&self.codecs, P::NAME, &cause, &planned)?;
            host.append(None, vec![append]);
        }
        Ok(next)
    }

    fn cursor(&self) -> Option<String> {
        None
    }

    fn gauges(&self, partition: i32, _: Timestamp) {
        metrics::aggregates(P::NAME, partition, self.aggregates.len());
        metrics::waiting(P::NAME, partition, self.waiting.counts());
    }
}

/// Id of an event that policy `P` appends because of `cause`; for tests and lookups.
#[must_use]
pub fn decided_id<P: Policy>(cause: EventId, name: &str) -> EventId {
    caused_id(cause, P::NAME, name, "")
}

#[cfg(test)]
mod tests {
    use super::{Encoded, Missing};
    use crate::append::Append;
    use events::ids::EventId;
    use rdkafka::message::OwnedHeaders;

    fn append(topic: &str) -> Append {
        Append {
            topic: topic.to_owned(),
            partition: None,
            key: Vec::new(),
            payload: Vec::new(),
            headers: OwnedHeaders::new(),
        }
    }

    /// Topics of what is appended once its own event was found, and another's was not.
    fn appended(forwards: i64) -> Vec<String> {
        let mut missing = Missing {
            forwards,
            ..Missing::default()
        };
        let decision = |id: EventId| Encoded {
            own: vec![(id, append("own"))],
            forward: vec![append("forward")],
        };
        let (found, lost) = (EventId::derive(&["found"]), EventId::derive(&["lost"]));
        missing.push(1, decision(found));
        missing.push(2, decision(lost));
        missing.found(found);
        let appends = missing.take().into_iter().flat_map(|(_, appends)| appends);
        appends.map(|append| append.topic).collect()
    }

    #[test]
    fn what_was_forwarded_stands_where_its_decision_stands_unless_an_operator_knows_better() {
        assert_eq!(appended(0), ["own", "forward"]);
        assert_eq!(appended(10), ["forward", "own", "forward"]);
    }
}
