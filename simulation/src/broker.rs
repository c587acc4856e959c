//! The log, modelled: partitions with transaction markers, consumer groups with static members,
//! fencing, and transactions that tear.

use crate::dice::Dice;
use crate::process::{Life, Process};
use crate::trace::{self, Trace};
use events::deposits::DepositEvent;
use events::envelope::Envelope;
use events::schema::EventSet;
use pipeline::simulation::{Append, Consumed, Log, Polled, Rebalance, Trouble};
use rdkafka::message::Headers;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Partitions of a topic in the simulation, unless it has but one.
pub const PARTITIONS: i32 = 2;

/// At so many percent of the looks for a record a fetch has come to its end.
const ENDS: u64 = 4;

/// How many partitions a topic has.
fn partitions(topic: &str) -> i32 {
    if topic == DepositEvent::TOPIC {
        1
    } else {
        PARTITIONS
    }
}

#[derive(Clone)]
enum Entry {
    Record(Append),
    /// The end of a transaction: an offset that is no record.
    Marker,
}

struct Member {
    epoch: u64,
    assigned: BTreeSet<i32>,
    positions: BTreeMap<i32, i64>,
    paused: BTreeSet<i32>,
    changes: Vec<Rebalance>,
    wake: Arc<dyn Fn() + Send + Sync>,
    process: Process,
}

#[derive(Default)]
struct Group {
    topic: &'static str,
    members: BTreeMap<u32, Member>,
    owners: BTreeMap<i32, u32>,
    /// Given back by these once they have noticed.
    moving: BTreeMap<i32, u32>,
    committed: BTreeMap<i32, Consumed>,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// As it should.
    Whole,
    /// Nothing happened, and the producer is told that it failed.
    Aborted,
    /// It happened, and the producer is told that it failed.
    AnswerLost,
    /// Outputs without offsets.
    OffsetsLost,
    /// Offsets without outputs.
    OutputsLost,
    /// The producer is told that it was committed, and nothing of it stays: its end was lost with
    /// the broker, and an operator aborted it.
    Swallowed,
}

struct Model {
    topics: BTreeMap<String, Vec<Vec<Entry>>>,
    groups: BTreeMap<&'static str, Group>,
    epochs: u64,
    tear: Box<dyn FnMut() -> Tear + Send>,
    fetches: Dice,
    trace: Trace,
}

/// The broker. Cloning is cheap.
#[derive(Clone)]
pub struct Broker(Arc<Mutex<Model>>);

/// A record as stored.
pub struct Stored {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The record.
    pub append: Append,
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).unwrap_or_default()
}

fn offset(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

impl Model {
    fn partition(&mut self, topic: &str, partition: i32) -> &mut Vec<Entry> {
        let count = usize::try_from(PARTITIONS).unwrap_or(1);
        &mut self
            .topics
            .entry(topic.to_owned())
            .or_insert_with(|| vec![Vec::new(); count])[index(partition)]
    }

    fn end(&self, topic: &str, partition: i32) -> i64 {
        self.topics
            .get(topic)
            .map_or(0, |t| offset(t[index(partition)].len()))
    }

    /// What an aborted transaction leaves: offsets at which there is nothing to read.
    fn swallow(&mut self, appends: &[Append]) {
        for append in appends {
            let partition = append
                .partition
                .unwrap_or_else(|| partition_of(&append.topic, &append.key));
            let log = self.partition(&append.topic, partition);
            // The record and the end of the transaction.
            log.extend([Entry::Marker, Entry::Marker]);
            self.wake(&append.topic, partition);
        }
    }

    /// Appends as one transaction.
    fn append(&mut self, appends: &[Append]) {
        let mut touched = BTreeSet::new();
        for append in appends {
            let partition = append
                .partition
                .unwrap_or_else(|| partition_of(&append.topic, &append.key));
            let at = self.end(&append.topic, partition);
            self.trace.say(|| trace::said(append, partition, at));
            self.partition(&append.topic, partition)
                .push(Entry::Record(append.clone()));
            touched.insert((append.topic.clone(), partition));
        }
        for (topic, partition) in touched {
            self.partition(&topic, partition).push(Entry::Marker);
            self.wake(&topic, partition);
        }
    }

    fn wake(&self, topic: &str, partition: i32) {
        for group in self.groups.values().filter(|g| g.topic == topic) {
            if let Some(member) = group
                .owners
                .get(&partition)
                .and_then(|o| group.members.get(o))
            {
                (member.wake)();
            }
        }
    }
}

/// Where the partitioner puts a key of a topic.
#[must_use]
pub fn partition_of(topic: &str, key: &[u8]) -> i32 {
    let sum = key.iter().fold(7_u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u32::from(*byte))
    });
    i32::try_from(sum % u32::try_from(partitions(topic)).unwrap_or(1)).unwrap_or_default()
}

impl Group {
    /// Spreads the partitions over the members: a partition that moves is first given back.
    fn rebalance(&mut self) {
        let slots: Vec<u32> = self.members.keys().copied().collect();
        if slots.is_empty() {
            self.owners.clear();
            self.moving.clear();
            return;
        }
        for partition in 0..partitions(self.topic) {
            let target = slots[index(partition) % slots.len()];
            match self.owners.get(&partition).copied() {
                Some(owner) if owner == target => {
                    self.moving.remove(&partition);
                }
                Some(owner) if self.members.contains_key(&owner) => {
                    self.moving.insert(partition, target);
                    if let Some(member) = self.members.get_mut(&owner)
                        && !member
                            .changes
                            .contains(&Rebalance::Revoked(vec![partition]))
                    {
                        member.changes.push(Rebalance::Revoked(vec![partition]));
                        (member.wake)();
                    }
                }
                _ => self.give(partition, target),
            }
        }
    }

    fn give(&mut self, partition: i32, slot: u32) {
        self.moving.remove(&partition);
        if let Some(member) = self.members.get_mut(&slot) {
            self.owners.insert(partition, slot);
            member.changes.push(Rebalance::Assigned(vec![partition]));
            member.positions.insert(partition, 0);
            member.assigned.insert(partition);
            (member.wake)();
        }
    }
}

impl Broker {
    /// An empty one; `tear` says how each transaction ends.
    #[must_use]
    pub fn new(tear: Box<dyn FnMut() -> Tear + Send>, fetches: Dice, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(Model {
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            epochs: 0,
            tear,
            fetches,
            trace,
        })))
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record from outside the processors; gives its offset.
    pub fn produce(&self, append: &Append) -> i64 {
        let mut model = self.model();
        let partition = append
            .partition
            .unwrap_or_else(|| partition_of(&append.topic, &append.key));
        let at = model.end(&append.topic, partition);
        model.append(std::slice::from_ref(append));
        at
    }

    /// Everything in the log, by topic, partition and offset.
    #[must_use]
    pub fn all(&self) -> Vec<Stored> {
        self.stored(|_| true)
    }

    /// Everything in a topic, by partition and offset.
    #[must_use]
    pub fn of(&self, topic: &str) -> Vec<Stored> {
        self.stored(|name| name == topic)
    }

    fn stored(&self, wanted: impl Fn(&str) -> bool) -> Vec<Stored> {
        let model = self.model();
        let mut all = Vec::new();
        for (topic, partitions) in &model.topics {
            if !wanted(topic) {
                continue;
            }
            for (partition, entries) in (0..).zip(partitions) {
                for (place, entry) in entries.iter().enumerate() {
                    if let Entry::Record(append) = entry {
                        all.push(Stored {
                            topic: topic.clone(),
                            partition,
                            offset: offset(place),
                            append: append.clone(),
                        });
                    }
                }
            }
        }
        all
    }

    /// A member joins, or comes back in its slot.
    pub fn join(
        &self,
        name: &'static str,
        topic: &'static str,
        slot: u32,
        process: Process,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Box<dyn Log> {
        let mut model = self.model();
        model.epochs += 1;
        let epoch = model.epochs;
        let group = model.groups.entry(name).or_default();
        group.topic = topic;
        let mine: Vec<i32> = group
            .owners
            .iter()
            .filter(|(_, owner)| **owner == slot)
            .map(|(partition, _)| *partition)
            .collect();
        group.members.insert(
            slot,
            Member {
                epoch,
                assigned: BTreeSet::new(),
                positions: BTreeMap::new(),
                paused: BTreeSet::new(),
                changes: Vec::new(),
                wake,
                process,
            },
        );
        for partition in mine {
            group.give(partition, slot);
        }
        group.rebalance();
        Box::new(Connection {
            broker: self.clone(),
            name,
            topic,
            slot,
            epoch,
        })
    }

    /// Every session has ended, as when Kafka was away for longer, and everybody is back at once: each
    /// member gives all its partitions back and gets them again.
    pub fn reassign(&self) {
        for group in self.model().groups.values_mut() {
            for (partition, slot) in group.owners.clone() {
                let Some(member) = group.members.get_mut(&slot) else {
                    continue;
                };
                let revoked = Rebalance::Revoked(vec![partition]);
                if !group.moving.contains_key(&partition) && !member.changes.contains(&revoked) {
                    group.moving.insert(partition, slot);
                    member.changes.push(revoked);
                    (member.wake)();
                }
            }
        }
    }

    /// The session of a member has timed out, if its process is not running.
    pub fn expire(&self, name: &'static str, slot: u32, process: &Process) {
        if process.life() == Life::Running {
            return;
        }
        let mut model = self.model();
        let Some(group) = model.groups.get_mut(name) else {
            return;
        };
        let same = group
            .members
            .get(&slot)
            .is_some_and(|m| m.process.life() != Life::Running);
        if same {
            group.members.remove(&slot);
            group.owners.retain(|_, owner| *owner != slot);
            group.rebalance();
        }
    }
}

struct Connection {
    broker: Broker,
    name: &'static str,
    topic: &'static str,
    slot: u32,
    epoch: u64,
}

impl Connection {
    /// Acts as the member that this connection is; says so when it is no longer one.
    fn member<R>(
        &self,
        act: impl FnOnce(&mut Member, &BTreeMap<String, Vec<Vec<Entry>>>) -> R,
    ) -> Result<R, Trouble> {
        let mut model = self.broker.model();
        let model = &mut *model;
        let group = model.groups.get_mut(self.name);
        match group.and_then(|g| g.members.get_mut(&self.slot)) {
            Some(member) if member.epoch == self.epoch => Ok(act(member, &model.topics)),
            Some(_) => Err(Trouble::Fenced(
                "another process has this instance id".to_owned(),
            )),
            None => Err(Trouble::Lost("the session has timed out".to_owned())),
        }
    }
}

impl Log for Connection {
    fn poll(&mut self) -> Result<Option<Polled>, Trouble> {
        let topic = self.topic;
        // A fetch brings some of what there is, the next one the rest.
        let cut = self.broker.model().fetches.percent(ENDS);
        if cut {
            self.member(|member, _| (member.wake)())?;
            return Ok(None);
        }
        self.member(|member, topics| {
            let entries = topics.get(topic)?;
            for partition in member.assigned.clone() {
                if member.paused.contains(&partition) || !member.changes.is_empty() {
                    continue;
                }
                let at = member.positions.entry(partition).or_insert(0);
                while let Some(entry) = entries[index(partition)].get(usize::try_from(*at).ok()?) {
                    let place = *at;
                    *at += 1;
                    if let Entry::Record(append) = entry {
                        return Some(Polled {
                            partition,
                            offset: place,
                            key: append.key.clone(),
                            payload: Some(append.payload.clone()),
                            envelope: Envelope::read(Some(&append.headers))
                                .map_err(|e| e.to_string()),
                            headers: append.headers.clone(),
                        });
                    }
                }
            }
            None
        })
    }

    fn rebalances(&mut self) -> Vec<Rebalance> {
        let mut model = self.broker.model();
        let Some(group) = model.groups.get_mut(self.name) else {
            return Vec::new();
        };
        let Some(member) = group.members.get_mut(&self.slot) else {
            return Vec::new();
        };
        if member.epoch != self.epoch {
            return Vec::new();
        }
        let changes = std::mem::take(&mut member.changes);
        for change in &changes {
            if let Rebalance::Revoked(partitions) = change {
                for partition in partitions {
                    if let Some(member) = group.members.get_mut(&self.slot) {
                        // A pause stays, as it does in librdkafka.
                        member.assigned.remove(partition);
                    }
                    group.owners.remove(partition);
                    if let Some(target) = group.moving.remove(partition) {
                        group.give(*partition, target);
                    }
                }
                group.rebalance();
            }
        }
        changes
    }

    fn committed(&mut self, partitions: &[i32]) -> Result<Vec<Consumed>, Trouble> {
        self.member(|_, _| ())?;
        let model = self.broker.model();
        let committed = model.groups.get(self.name).map(|g| &g.committed);
        Ok(partitions
            .iter()
            .map(|partition| {
                committed
                    .and_then(|c| c.get(partition))
                    .cloned()
                    .unwrap_or(Consumed {
                        partition: *partition,
                        offset: 0,
                        cursor: None,
                    })
            })
            .collect())
    }

    fn end(&self, partition: i32) -> Result<i64, Trouble> {
        Ok(self.broker.model().end(self.topic, partition))
    }

    fn positions(&self) -> Result<BTreeMap<i32, i64>, Trouble> {
        let topic = self.topic;
        self.member(|member, topics| {
            member
                .assigned
                .iter()
                .map(|partition| {
                    let mut at = member.positions.get(partition).copied().unwrap_or(0);
                    let entries = topics.get(topic).map(|t| &t[index(*partition)]);
                    // Markers are stepped over as soon as nothing stands before them.
                    while matches!(
                        entries.and_then(|e| e.get(usize::try_from(at).ok()?)),
                        Some(Entry::Marker)
                    ) {
                        at += 1;
                    }
                    (*partition, at)
                })
                .collect()
        })
    }

    fn commit(&mut self, offsets: &[Consumed], _: bool) -> Result<(), Trouble> {
        self.transact(&[], offsets)
    }

    fn transact(&mut self, appends: &[Append], offsets: &[Consumed]) -> Result<(), Trouble> {
        let (owned, process) = self.member(|member, _| {
            let mut offsets = offsets.iter();
            let owned = offsets.all(|o| member.assigned.contains(&o.partition));
            (owned, member.process.clone())
        })?;
        if !owned {
            return Err(Trouble::Lost("a partition is another's".to_owned()));
        }
        let mut model = self.broker.model();
        let tear = if appends.is_empty() {
            Tear::Whole
        } else {
            (model.tear)()
        };
        if tear != Tear::Whole {
            let (name, slot) = (self.name, self.slot);
            model
                .trace
                .say(|| format!("{name}-{slot}: transaction torn: {tear:?}"));
        }
        if matches!(tear, Tear::Whole | Tear::AnswerLost | Tear::OffsetsLost) {
            model.append(appends);
        }
        if matches!(tear, Tear::Whole | Tear::AnswerLost | Tear::OutputsLost)
            && let Some(group) = model.groups.get_mut(self.name)
        {
            for consumed in offsets {
                group.committed.insert(consumed.partition, consumed.clone());
            }
        }
        if tear == Tear::Swallowed {
            model.swallow(appends);
        }
        match tear {
            Tear::Whole | Tear::Swallowed => {
                let mut standing = process.standing();
                for consumed in offsets {
                    standing.confirm(consumed.partition);
                }
                Ok(())
            }
            torn => Err(Trouble::Lost(format!("the transaction was torn: {torn:?}"))),
        }
    }

    fn dead_letters(&mut self, partition: i32) -> Result<BTreeMap<String, i64>, Trouble> {
        let topic = events::topics::dead_letters(self.name);
        self.member(|_, topics| {
            let entries = topics.get(&topic).map(|t| &t[index(partition)]);
            let mut keys = BTreeMap::new();
            for entry in entries.into_iter().flatten() {
                if let Entry::Record(append) = entry {
                    let header = append.headers.iter().find(|h| h.key == "dl_offset");
                    let offset = header
                        .and_then(|h| std::str::from_utf8(h.value?).ok()?.parse::<i64>().ok())
                        .unwrap_or(0);
                    let key = String::from_utf8_lossy(&append.key).into_owned();
                    let first = keys.entry(key).or_insert(offset);
                    *first = offset.min(*first);
                }
            }
            keys
        })
    }

    fn pause(&mut self, partitions: &[i32], paused: bool) -> Result<(), Trouble> {
        self.member(|member, _| {
            for partition in partitions {
                if paused {
                    member.paused.insert(*partition);
                } else {
                    member.paused.remove(partition);
                }
            }
        })
    }
}
