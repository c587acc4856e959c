//! The worker: it owns the connection to the log and drives the partitions that are assigned.
//!
//! A partition goes through explicit states: assigned → folding (from offset 0 to the end as it
//! was once the previous owner could no longer add to it) → live, where it may be paused while
//! a counterparty is down → revoked. When anything about a transaction is uncertain the worker
//! throws its connection away and folds again: the log tells.

mod intake;

use crate::append::Append;
use crate::awaited::{Awaited, Lost};
use crate::clock;
use crate::ground::{Ground, Unconnected};
use crate::log::{Consumed, Log, Rebalance, Trouble};
use crate::logic::{Fault, Host, Logic, Signal};
use crate::metrics;
use crate::outbox::{Outbox, Slice};
use crate::policy::OVERLAP;
use crate::run::{Plan, RunError};
use crash_points::{Point, pass};
use events::envelope::Envelope;
use events::schema::EventSet;
use events::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// Records taken in before what they led to is appended, at most.
const BATCH: usize = 500;
/// Transactions in a row without a look at the log, at most: each may take as long as a transaction
/// may, and who does not look within `max.poll.interval.ms` loses its partitions.
const SLICES: usize = 20;
/// How often offsets are committed when nothing is appended.
const OFFSETS_EVERY: Duration = Duration::from_secs(2);
/// The first look for the rest of a fold; each look in vain doubles it, up to 160 ms.
const SOON: Duration = Duration::from_millis(5);

enum Phase {
    /// Reading up to `end`.
    Folding {
        end: i64,
        since: Instant,
    },
    Live,
}

struct Partition<L> {
    logic: L,
    phase: Phase,
    generation: u64,
    committed: i64,
    cursor: Option<String>,
    due: Option<Timestamp>,
    /// Dead letters found in the fold, each with the offset of its record.
    dead_letters: Vec<(i64, Vec<Append>)>,
    awaited: Awaited,
    paused: bool,
}

pub(crate) enum Exit {
    Stopped,
    Restart(String),
    Failed(RunError),
}

pub(crate) struct Worker<'a, L: Logic> {
    plan: &'a Plan<L>,
    ground: &'a dyn Ground,
    log: Box<dyn Log>,
    signals: UnboundedSender<Signal<L::Message>>,
    inbox: UnboundedReceiver<Signal<L::Message>>,
    woken: Arc<AtomicBool>,
    partitions: BTreeMap<i32, Partition<L>>,
    outbox: Outbox,
    generation: u64,
    offsets_at: Instant,
    gauges_at: Instant,
    lost_at: Instant,
    committed: BTreeMap<i32, i64>,
    /// Looks in a row for the rest of a fold that found nothing.
    in_vain: u32,
}

impl<'a, L: Logic> Worker<'a, L> {
    pub(crate) fn build(plan: &'a Plan<L>, ground: &'a dyn Ground) -> Result<Self, Exit> {
        let (signals, inbox) = unbounded_channel();
        let woken = Arc::new(AtomicBool::new(false));
        let (wake, flag) = (signals.clone(), Arc::clone(&woken));
        let log = ground.connect(Box::new(move || {
            // One signal in the inbox is enough, however often there is something new.
            if !flag.swap(true, Ordering::AcqRel) {
                let _ = wake.send(Signal::Records);
            }
        }));
        let log = match log {
            Ok(log) => log,
            Err(Unconnected::Trouble(trouble)) => return Err(exit(plan.name, trouble)),
            Err(Unconnected::Topic(error)) => return Err(Exit::Failed(error.into())),
        };
        let now = Instant::now();
        Ok(Self {
            plan,
            ground,
            log,
            signals,
            inbox,
            woken,
            partitions: BTreeMap::new(),
            outbox: Outbox::default(),
            generation: 0,
            offsets_at: now,
            gauges_at: now,
            lost_at: now,
            committed: BTreeMap::new(),
            in_vain: 0,
        })
    }

    /// Works until it must stop or start over.
    pub(crate) async fn work(&mut self) -> Exit {
        tracing::info!(processor = self.plan.name, "the worker has started");
        let mut more = true;
        loop {
            match self.round(more).await {
                Ok(full) => more = full,
                Err(exit) => return exit,
            }
        }
    }

    /// One look at everything that may have happened; gives whether there is more to poll.
    async fn round(&mut self, more: bool) -> Result<bool, Exit> {
        let mut signal = if more {
            self.inbox.try_recv().ok()
        } else {
            let wait = self.wait();
            tokio::select! {
                biased;
                () = self.plan.stop.cancelled() => None,
                signal = self.inbox.recv() => signal,
                () = tokio::time::sleep(wait) => None,
            }
        };
        let mut proofs = Vec::new();
        while let Some(next) = signal {
            match next {
                Signal::Records => self.woken.store(false, Ordering::Release),
                Signal::Task {
                    partition,
                    generation,
                    message,
                } => {
                    self.with(partition, Some(generation), |logic, host| {
                        logic.message(message, host)
                    })?;
                }
                Signal::Prove {
                    partition,
                    generation,
                    reply,
                } => proofs.push((partition, generation, reply)),
            }
            signal = self.inbox.try_recv().ok();
        }
        let polled = self.poll().await?;
        self.in_vain = match polled {
            0 if self.settles() => self.in_vain.saturating_add(1),
            _ => 0,
        };
        let full = polled == BATCH;
        self.finish_folds()?;
        self.reached()?;
        self.tick()?;
        self.pause_or_resume()?;
        self.transact(!proofs.is_empty())?;
        for (partition, generation, reply) in proofs {
            let ours = self
                .partitions
                .get(&partition)
                .is_some_and(|p| p.generation == generation);
            let _ = reply.send(ours);
        }
        if self.plan.stop.is_cancelled() {
            self.leave();
            return Err(Exit::Stopped);
        }
        self.gauges();
        self.look_for_lost()?;
        Ok(full || !self.outbox.is_empty())
    }

    /// Whether a partition is on its way to being live.
    fn settles(&self) -> bool {
        self.partitions
            .values()
            .any(|p| matches!(p.phase, Phase::Folding { .. }) || p.logic.waits_for().is_some())
    }

    fn wait(&self) -> Duration {
        if self.settles() {
            return SOON * (1 << self.in_vain.min(5));
        }
        let (now, tick) = (clock::now(), self.ground.tick());
        let next = self.partitions.values().filter_map(|p| p.due).min();
        next.map_or(tick, |due| {
            Duration::from_millis(u64::try_from(due.millis_since(now)).unwrap_or(0))
                .clamp(Duration::from_millis(1), tick)
        })
    }

    fn with(
        &mut self,
        partition: i32,
        generation: Option<u64>,
        act: impl FnOnce(&mut L, &mut Host<'_, L::Message>) -> Result<(), Fault>,
    ) -> Result<(), Exit> {
        let Some(entry) = self.partitions.get_mut(&partition) else {
            return Ok(());
        };
        if generation.is_some_and(|g| g != entry.generation) {
            return Ok(());
        }
        let mut host = Host {
            outbox: &mut self.outbox,
            cursor: entry.cursor.clone(),
            partition,
            generation: entry.generation,
            signals: &self.signals,
            ground: self.ground,
            log: &*self.log,
        };
        act(&mut entry.logic, &mut host).map_err(|fault| match fault {
            Fault::Encode(error) => Exit::Failed(error.into()),
            Fault::Trouble(trouble) => exit(self.plan.name, trouble),
        })
    }

    fn lost(&self) -> impl Fn(Trouble) -> Exit + use<L> {
        let name = self.plan.name;
        move |trouble| exit(name, trouble)
    }

    fn rebalanced(&mut self) -> Result<(), Exit> {
        for event in self.log.rebalances() {
            match event {
                Rebalance::Assigned(partitions) => self.assigned(&partitions)?,
                Rebalance::Revoked(partitions) => {
                    tracing::info!(
                        processor = self.plan.name,
                        ?partitions,
                        "partitions were given back"
                    );
                    for partition in partitions {
                        self.partitions.remove(&partition);
                        self.committed.remove(&partition);
                        metrics::partition_state(self.plan.name, partition, 0);
                    }
                    // What was decided for them is for the next owner to decide.
                    let ours = &self.partitions;
                    self.outbox.keep(|partition| ours.contains_key(&partition));
                }
            }
        }
        Ok(())
    }

    fn assigned(&mut self, partitions: &[i32]) -> Result<(), Exit> {
        pass(Point::Assigned);
        // A client keeps paused what was taken from it while it was, and gives no record of it when
        // it comes back: it would be folded for ever.
        self.log.pause(partitions, false).map_err(self.lost())?;
        for consumed in self.log.committed(partitions).map_err(self.lost())? {
            let partition = consumed.partition;
            let end = self.log.end(partition).map_err(self.lost())?;
            self.generation += 1;
            let mut logic = (self.plan.make)(partition);
            logic.revisit(self.log.dead_letters(partition).map_err(self.lost())?);
            tracing::info!(
                processor = self.plan.name,
                partition,
                committed = consumed.offset,
                end,
                "a partition is folded"
            );
            metrics::partition_state(self.plan.name, partition, 1);
            self.partitions.insert(
                partition,
                Partition {
                    logic,
                    phase: Phase::Folding {
                        end,
                        since: Instant::now(),
                    },
                    generation: self.generation,
                    committed: consumed.offset,
                    cursor: consumed.cursor,
                    due: None,
                    dead_letters: Vec::new(),
                    awaited: Awaited::default(),
                    paused: false,
                },
            );
        }
        Ok(())
    }

    fn finish_folds(&mut self) -> Result<(), Exit> {
        if !self
            .partitions
            .values()
            .any(|p| matches!(p.phase, Phase::Folding { .. }))
        {
            return Ok(());
        }
        let positions = self.log.positions().map_err(self.lost())?;
        let ready: Vec<i32> = self
            .partitions
            .iter()
            .filter(|(id, p)| match p.phase {
                Phase::Folding { end, .. } => {
                    end == 0 || positions.get(id).is_some_and(|at| *at >= end)
                }
                Phase::Live => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for partition in ready {
            if let Some(entry) = self.partitions.get_mut(&partition) {
                if let Phase::Folding { since, .. } = entry.phase {
                    metrics::fold(self.plan.name, since.elapsed());
                }
                entry.phase = Phase::Live;
                let mut missing = std::mem::take(&mut entry.dead_letters);
                missing.append(&mut entry.logic.missing());
                missing.sort_by_key(|(cause, _)| *cause);
                for (cause, appends) in missing {
                    self.outbox.push(partition, Some(cause), appends);
                }
                // Something may be due already.
                entry.due = Some(Timestamp(0));
            }
            self.with(partition, None, L::go_live)?;
            pass(Point::Live);
            metrics::partition_state(self.plan.name, partition, 2);
            tracing::info!(processor = self.plan.name, partition, "a partition is live");
        }
        Ok(())
    }

    /// Lets go on who waited for the partition to be read up to an offset.
    fn reached(&mut self) -> Result<(), Exit> {
        if !self
            .partitions
            .values()
            .any(|p| p.logic.waits_for().is_some())
        {
            return Ok(());
        }
        let positions = self.log.positions().map_err(self.lost())?;
        let ready: Vec<i32> = self
            .partitions
            .iter()
            .filter(|(id, p)| {
                p.logic
                    .waits_for()
                    .is_some_and(|end| end == 0 || positions.get(id).is_some_and(|at| *at >= end))
            })
            .map(|(id, _)| *id)
            .collect();
        for partition in ready {
            self.with(partition, None, L::reached)?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Exit> {
        let now = clock::now();
        let due: Vec<i32> = self
            .partitions
            .iter()
            .filter(|(_, p)| matches!(p.phase, Phase::Live) && p.due.is_some_and(|d| d <= now))
            .map(|(id, _)| *id)
            .collect();
        for partition in due {
            let mut next = None;
            self.with(partition, None, |logic, host| {
                next = logic.tick(now, host)?;
                Ok(())
            })?;
            if let Some(entry) = self.partitions.get_mut(&partition) {
                entry.due = next;
            }
        }
        Ok(())
    }

    /// While the counterparty is down nothing more is taken in.
    fn pause_or_resume(&mut self) -> Result<(), Exit> {
        let Some(gate) = &self.plan.gate else {
            return Ok(());
        };
        let down = gate.is_down();
        let mut turned = Vec::new();
        for (id, entry) in &mut self.partitions {
            if matches!(entry.phase, Phase::Live) && entry.paused != down {
                entry.paused = down;
                metrics::partition_state(self.plan.name, *id, if down { 3 } else { 2 });
                turned.push(*id);
            }
        }
        if turned.is_empty() {
            return Ok(());
        }
        if down {
            tracing::warn!(
                processor = self.plan.name,
                "the counterparty is down: partitions are paused"
            );
        } else {
            tracing::info!(processor = self.plan.name, "partitions are resumed");
        }
        self.log.pause(&turned, down).map_err(self.lost())
    }

    /// Positions of live partitions, with their cursors, and whether they moved.
    fn offsets(&self) -> Result<(Vec<Consumed>, bool), Exit> {
        let positions = self.log.positions().map_err(self.lost())?;
        let mut list = Vec::new();
        let mut moved = false;
        for (id, entry) in &self.partitions {
            let (Phase::Live, Some(at)) = (&entry.phase, positions.get(id)) else {
                continue;
            };
            // What is decided and not appended yet, the next owner decides.
            let left = self.outbox.first_of(*id);
            // What was appended and then lost, it must be able to decide again.
            let unread = entry.awaited.first_cause().map(|cause| cause + OVERLAP);
            let least = [left, unread].into_iter().flatten().min();
            let before = self.committed.get(id).copied().unwrap_or(entry.committed);
            let offset = least.map_or(*at, |least| least.max(before).min(*at));
            let cursor = entry.logic.cursor();
            moved |= self.committed.get(id) != Some(&offset) || cursor.is_some();
            list.push(Consumed {
                partition: *id,
                offset,
                cursor,
            });
        }
        Ok((list, moved))
    }

    fn transact(&mut self, prove: bool) -> Result<(), Exit> {
        if self.outbox.is_empty() {
            let due = self.offsets_at.elapsed() >= OFFSETS_EVERY;
            if !prove && !due {
                return Ok(());
            }
            self.offsets_at = Instant::now();
            let (list, moved) = self.offsets()?;
            if !list.is_empty() && (prove || moved) {
                // Outside a transaction, the group's generation is the fence.
                self.log.commit(&list, prove).map_err(self.lost())?;
                self.remember(&list);
            }
            return Ok(());
        }
        // At least one: whoever asks for a proof asks for a transaction or a commit.
        for _ in 0..SLICES {
            self.append_slice()?;
            if self.outbox.is_empty() || self.plan.stop.is_cancelled() {
                break;
            }
        }
        self.offsets_at = Instant::now();
        Ok(())
    }

    fn append_slice(&mut self) -> Result<(), Exit> {
        let Slice { appends, causes } = self.outbox.slice(self.ground.most());
        let now = Instant::now();
        for (append, cause) in appends.iter().zip(causes) {
            if append.topic == L::Event::TOPIC
                && let Some(entry) = append.partition.and_then(|p| self.partitions.get_mut(&p))
                && let Ok(envelope) = Envelope::read(Some(&append.headers))
            {
                entry.awaited.push(envelope.id, cause, now);
            }
        }
        let (list, _) = self.offsets()?;
        let began = std::time::Instant::now();
        self.log.transact(&appends, &list).map_err(self.lost())?;
        metrics::transaction(self.plan.name, began.elapsed());
        metrics::appended(self.plan.name, appends.len());
        self.remember(&list);
        Ok(())
    }

    fn remember(&mut self, offsets: &[Consumed]) {
        for consumed in offsets {
            self.committed.insert(consumed.partition, consumed.offset);
        }
    }

    fn leave(&mut self) {
        if let Ok((list, true)) = self.offsets()
            && !list.is_empty()
            && let Err(error) = self.log.commit(&list, true)
        {
            tracing::info!(processor = self.plan.name, %error, "the last offsets were not committed");
        }
        self.partitions.clear();
        tracing::info!(processor = self.plan.name, "the worker has stopped");
    }

    /// Looks whether everything that was committed has come back, where it is overdue.
    fn look_for_lost(&mut self) -> Result<(), Exit> {
        let now = Instant::now();
        if now < self.lost_at {
            return Ok(());
        }
        self.lost_at = now + OFFSETS_EVERY;
        let overdue: Vec<i32> = self
            .partitions
            .iter()
            .filter(|(_, p)| p.awaited.is_overdue(now))
            .map(|(id, _)| *id)
            .collect();
        if overdue.is_empty() {
            return Ok(());
        }
        let positions = self.log.positions().map_err(self.lost())?;
        for id in overdue {
            let end = self.log.end(id).map_err(self.lost())?;
            let read = positions.get(&id).is_some_and(|at| *at >= end);
            if let (true, Some(entry)) = (read, self.partitions.get(&id)) {
                entry.awaited.at_end(now).map_err(swallowed)?;
            }
        }
        Ok(())
    }

    fn gauges(&mut self) {
        if self.gauges_at.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.gauges_at = Instant::now();
        let now = clock::now();
        for (id, entry) in &self.partitions {
            entry.logic.gauges(*id, now);
        }
    }
}

/// The log does not tell what was committed: what the partition remembers is worth nothing.
fn swallowed(lost: Lost) -> Exit {
    Exit::Restart(lost.to_string())
}

/// What trouble with the log means for the worker.
fn exit(processor: &'static str, trouble: Trouble) -> Exit {
    match trouble {
        Trouble::Fenced(cause) => Exit::Failed(RunError::Fenced { processor, cause }),
        Trouble::Lost(cause) => Exit::Restart(cause),
    }
}

#[cfg(test)]
mod tests;
