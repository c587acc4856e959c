//! Executors: hands that carry out requests as recorded.

use crate::append::{Codecs, Planned, own};
use crate::drive::{Effect, Verdict, drive};
use crate::gate::Gate;
use crate::logic::{Fault, Host, Logic};
use crate::metrics;
use crate::waiting::Waiting;
use events::envelope::Record;
use events::ids::EventId;
use events::outcome::{Attempt, Find};
use events::schema::EventSet;
use events::time::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// A hand. It chooses nothing: the request carries the whole plan, and every effect carries a
/// key that its counterparty enforces.
pub trait Executor: Send + Sync + 'static {
    /// Name of the processor.
    const NAME: &'static str;
    /// Events of the topic it works on.
    type Event: EventSet;
    /// The plan of a request.
    type Request: Clone + Send + Sync + 'static;
    /// What shows that the effect happened.
    type Proof: Clone + Send + 'static;
    /// What it must know of its partition besides the request, such as open payment lanes.
    type Context: Default + Clone + Send + Sync + 'static;

    /// Keeps the context; called for every fact, in order.
    fn observe(&self, context: &mut Self::Context, record: &Record<Self::Event>);

    /// The plan, if the record is a request for this hand.
    fn request(&self, record: &Record<Self::Event>) -> Option<Self::Request>;

    /// The request that this event is the outcome of.
    fn closes(&self, event: &Self::Event) -> Option<EventId>;

    /// Requests of one queue are carried out one after the other, in offset order.
    fn queue(&self, job: &Job<Self>) -> String
    where
        Self: Sized;

    /// Looks whether the effect happened.
    fn find(&self, job: &Job<Self>) -> impl Future<Output = Find<Self::Proof>> + Send
    where
        Self: Sized;

    /// Tries the effect.
    fn attempt(&self, job: &Job<Self>) -> impl Future<Output = Attempt<Self::Proof>> + Send
    where
        Self: Sized;

    /// The outcome as an event, with what was observed.
    fn outcome(
        &self,
        job: &Job<Self>,
        verdict: Verdict<Self::Proof>,
    ) -> impl Future<Output = Self::Event> + Send
    where
        Self: Sized;
}

/// A request on its way.
pub struct Job<X: Executor> {
    /// The record of the request: its id and offset are what keys derive from.
    pub record: Record<X::Event>,
    /// The plan.
    pub request: X::Request,
    /// The partition's context at the request.
    pub context: X::Context,
    /// Proves on demand that this process still owns the partition.
    pub owner: Owner,
}

/// A handle to prove that the partition is still ours.
#[derive(Clone)]
pub struct Owner(
    pub(crate) Option<Arc<dyn Fn() -> tokio::sync::oneshot::Receiver<bool> + Send + Sync>>,
);

impl Owner {
    /// One that always agrees; for tests of executors.
    #[must_use]
    pub fn unchecked() -> Self {
        Self(None)
    }

    /// Commits once through the fence of the consumer group. `true`: at that moment nobody else
    /// owned the partition. `false`: it is lost, or nobody knows.
    pub async fn prove(&self) -> bool {
        match &self.0 {
            None => true,
            Some(ask) => ask().await.unwrap_or(false),
        }
    }
}

struct Bound<'a, X: Executor> {
    executor: &'a X,
    job: &'a Job<X>,
}

impl<X: Executor> Effect for Bound<'_, X> {
    type Proof = X::Proof;
    fn find(&self) -> impl Future<Output = Find<X::Proof>> + Send {
        self.executor.find(self.job)
    }
    fn attempt(&self) -> impl Future<Output = Attempt<X::Proof>> + Send {
        self.executor.attempt(self.job)
    }
}

struct Open<X: Executor> {
    job: Arc<Job<X>>,
    fresh: bool,
    queue: String,
}

/// One partition of an executor.
pub(crate) struct ExecutorPartition<X: Executor> {
    executor: Arc<X>,
    gate: Arc<Gate>,
    codecs: Arc<Codecs>,
    partition: i32,
    live: bool,
    seen: HashSet<EventId>,
    context: X::Context,
    /// By offset. A request is open until its outcome stands in the log.
    open: BTreeMap<i64, Open<X>>,
    offsets: HashMap<EventId, i64>,
    /// The first of each queue is under way.
    queues: BTreeMap<String, VecDeque<i64>>,
    waiting: Waiting<X::Event>,
    stop: CancellationToken,
    owner: Option<Owner>,
}

impl<X: Executor> Drop for ExecutorPartition<X> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An effect came to its end.
pub(crate) struct Done<E> {
    offset: i64,
    event: E,
}

impl<X: Executor> ExecutorPartition<X> {
    pub fn new(executor: Arc<X>, gate: Arc<Gate>, codecs: Arc<Codecs>, partition: i32) -> Self {
        Self {
            executor,
            gate,
            codecs,
            partition,
            live: false,
            seen: HashSet::new(),
            context: X::Context::default(),
            open: BTreeMap::new(),
            offsets: HashMap::new(),
            queues: BTreeMap::new(),
            waiting: Waiting::default(),
            stop: CancellationToken::new(),
            owner: None,
        }
    }

    fn take(
        &mut self,
        record: Record<X::Event>,
        fresh: bool,
        host: &mut Option<&mut Host<'_, Done<X::Event>>>,
    ) {
        if !self.seen.insert(record.id()) {
            metrics::records(X::NAME, "echo");
            return;
        }
        metrics::records(X::NAME, "fact");
        if let Some(request) = self.executor.closes(&record.event) {
            self.waiting.forget(&record.envelope.subject, request);
            self.close(request, host);
        }
        self.executor.observe(&mut self.context, &record);
        let Some(request) = self.executor.request(&record) else {
            return;
        };
        if self.waiting.blocks(&record.envelope.subject) {
            metrics::records(X::NAME, "blocked");
            self.waiting.hold(record);
            return;
        }
        self.open(record, request, fresh, host);
    }

    /// Opens a request.
    fn open(
        &mut self,
        record: Record<X::Event>,
        request: X::Request,
        fresh: bool,
        host: &mut Option<&mut Host<'_, Done<X::Event>>>,
    ) {
        let (offset, id) = (record.offset, record.id());
        let owner = self.owner.clone().unwrap_or_else(Owner::unchecked);
        let job = Job {
            record,
            request,
            context: self.context.clone(),
            owner,
        };
        let queue = self.executor.queue(&job);
        self.offsets.insert(id, offset);
        self.open.insert(
            offset,
            Open {
                job: Arc::new(job),
                fresh,
                queue: queue.clone(),
            },
        );
        let waiting = self.queues.entry(queue).or_default();
        waiting.push_back(offset);
        if waiting.len() == 1 {
            self.start(offset, host);
        }
    }

    /// The outcome of a request stands in the log.
    fn close(&mut self, request: EventId, host: &mut Option<&mut Host<'_, Done<X::Event>>>) {
        let Some(offset) = self.offsets.remove(&request) else {
            return;
        };
        let Some(open) = self.open.remove(&offset) else {
            return;
        };
        self.leave(&open.queue, offset, host);
    }

    /// Takes a request out of its queue and starts the next one there.
    fn leave(
        &mut self,
        queue: &str,
        offset: i64,
        host: &mut Option<&mut Host<'_, Done<X::Event>>>,
    ) {
        let Some(waiting) = self.queues.get_mut(queue) else {
            return;
        };
        let was_first = waiting.front() == Some(&offset);
        waiting.retain(|o| *o != offset);
        let next = waiting.front().copied();
        if next.is_none() {
            self.queues.remove(queue);
        }
        if let (true, Some(next)) = (was_first, next) {
            self.start(next, host);
        }
    }

    /// Starts a request, if the partition is live.
    fn start(&self, offset: i64, host: &mut Option<&mut Host<'_, Done<X::Event>>>) {
        let (true, Some(host), Some(open)) =
            (self.live, host.as_deref_mut(), self.open.get(&offset))
        else {
            return;
        };
        let (executor, gate, job, fresh) = (
            Arc::clone(&self.executor),
            Arc::clone(&self.gate),
            Arc::clone(&open.job),
            open.fresh,
        );
        let (stop, post) = (self.stop.clone(), host.post());
        let seed = job.record.id().seed();
        let span = tracing::info_span!(
            "effect",
            processor = X::NAME,
            partition = self.partition,
            offset,
            event = %job.record.id(),
            subject = %job.record.envelope.subject,
            trace = job.record.envelope.traceparent.as_deref().and_then(|t| t.get(3..35)).unwrap_or_default(),
        );
        let work = async move {
            let began = Instant::now();
            let verdict = drive(
                X::NAME,
                &Bound {
                    executor: &*executor,
                    job: &job,
                },
                fresh,
                &gate,
                seed,
            )
            .await;
            metrics::effect(X::NAME, began.elapsed());
            let event = executor.outcome(&job, verdict).await;
            tracing::debug!(outcome = event.name(), "the effect came to its end");
            post.send(Done { offset, event });
        };
        host.spawn(
            async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = work => {}
                }
            }
            .instrument(span),
        );
    }
}

impl<X: Executor> Logic for ExecutorPartition<X> {
    type Event = X::Event;
    type Message = Done<X::Event>;

    fn fold(&mut self, record: Record<X::Event>, _: i64) -> Result<(), Fault> {
        self.take(record, false, &mut None);
        Ok(())
    }

    fn go_live(&mut self, host: &mut Host<'_, Self::Message>) -> Result<(), Fault> {
        self.live = true;
        let owner = host.owner();
        self.owner = Some(owner.clone());
        for open in self.open.values_mut() {
            let job = &open.job;
            open.job = Arc::new(Job {
                record: job.record.clone(),
                request: job.request.clone(),
                context: job.context.clone(),
                owner: owner.clone(),
            });
        }
        let first: Vec<i64> = self
            .queues
            .values()
            .filter_map(|q| q.front().copied())
            .collect();
        let host = &mut Some(host);
        for offset in first {
            self.start(offset, host);
        }
        Ok(())
    }

    fn record(
        &mut self,
        record: Record<X::Event>,
        host: &mut Host<'_, Self::Message>,
    ) -> Result<(), Fault> {
        self.take(record, true, &mut Some(host));
        Ok(())
    }

    fn message(
        &mut self,
        done: Self::Message,
        host: &mut Host<'_, Self::Message>,
    ) -> Result<(), Fault> {
        let Some(open) = self.open.get(&done.offset) else {
            // Its outcome came into the log by another way meanwhile.
            return Ok(());
        };
        let (_, append) = own(
            &self.codecs,
            X::NAME,
            &open.job.record,
            &Planned::new(done.event),
        )?;
        host.append(None, vec![append]);
        // The outcome is known: the next of the queue may go. The request itself stays open
        // until the outcome stands in the log.
        let queue = open.queue.clone();
        self.leave(&queue, done.offset, &mut Some(host));
        Ok(())
    }

    fn waiting(&mut self) -> &mut Waiting<X::Event> {
        &mut self.waiting
    }

    fn release(
        &mut self,
        offset: i64,
        _: i64,
        read: Option<Record<X::Event>>,
        mut host: Option<&mut Host<'_, Self::Message>>,
    ) -> Result<(), Fault> {
        for record in self.waiting.release(offset, read) {
            // Held requests were met before; what was poison was not.
            if record.offset == offset {
                self.take(record, false, &mut host);
            } else if let Some(request) = self.executor.request(&record) {
                // Somebody may have tried it meanwhile: look first.
                self.open(record, request, false, &mut host);
            }
        }
        Ok(())
    }

    fn tick(
        &mut self,
        _: Timestamp,
        _: &mut Host<'_, Self::Message>,
    ) -> Result<Option<Timestamp>, Fault> {
        Ok(None)
    }

    fn cursor(&self) -> Option<String> {
        None
    }

    fn gauges(&self, partition: i32, now: Timestamp) {
        let oldest = self
            .open
            .values()
            .next()
            .map_or(0, |o| now.millis_since(o.job.record.time()));
        metrics::open_requests(X::NAME, partition, self.open.len(), oldest);
        metrics::waiting(X::NAME, partition, self.waiting.counts());
    }
}
