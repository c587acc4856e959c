//! The worker: one thread that owns a consumer and a transactional producer, and drives the
//! partitions that are assigned to it.
//!
//! A partition goes through explicit states: assigned → folding (from offset 0 to the end as it
//! was once the previous owner could no longer add to it) → live, where it may be paused while
//! a counterparty is down → revoked. When anything about a transaction is uncertain the worker
//! throws its clients away and folds again: the log tells.

use crate::append::{Append, Codecs};
use crate::breaker::Breaker;
use crate::clock;
use crate::executor::{Executor, ExecutorPartition, Owner};
use crate::kafka::{self, KafkaConfig, TopicError};
use crate::metrics;
use crate::policy::{Policy, PolicyPartition};
use crate::source::{Source, SourcePartition};
use crate::transaction::{self, Deliveries, TransactionError};
use events::codec::{Codec, DecodeError, EncodeError};
use events::envelope::{Envelope, Record};
use events::registry::RegistryError;
use events::schema::EventSet;
use events::time::Timestamp;
use events::topics;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Records taken into one transaction at most.
const BATCH: usize = 500;
/// How often offsets are committed when nothing is appended.
const OFFSETS_EVERY: Duration = Duration::from_secs(2);
/// The longest wait without a look at the consumer.
const TICK: Duration = Duration::from_millis(100);

/// Which of a processor's processes this is. It names the group instance and the transactional
/// id, so that a process that comes back takes over from the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub u32);

/// Why a processor ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another process has the slot.
    #[error(
        "{processor} stops: {cause}. Give each running process of a processor a slot of its own"
    )]
    Fenced {
        /// Processor.
        processor: &'static str,
        /// What Kafka said.
        cause: String,
    },
    /// A topic is missing or not as it must be.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The schema registry refuses our schemas, or does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An event does not fit its own schema: a defect of this program.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The thread of the worker died.
    #[error("the worker of {0} died")]
    Died(&'static str),
}

/// What stops a partition's logic.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("the end of the partition is not known: {0}")]
    Kafka(#[from] KafkaError),
}

/// One partition of a processor, as the worker sees it.
pub(crate) trait Logic: Send {
    type Event: EventSet;
    type Message: Send + 'static;
    /// Takes a record from before the takeover.
    fn fold(&mut self, record: Record<Self::Event>, committed: i64) -> Result<(), Fault>;
    /// The fold is complete.
    fn go_live(&mut self, host: &mut Host<'_, Self::Message>) -> Result<(), Fault>;
    /// Takes a new record.
    fn record(
        &mut self,
        record: Record<Self::Event>,
        host: &mut Host<'_, Self::Message>,
    ) -> Result<(), Fault>;
    /// Takes what a task of this partition posted.
    fn message(
        &mut self,
        message: Self::Message,
        host: &mut Host<'_, Self::Message>,
    ) -> Result<(), Fault>;
    /// A record of this key cannot be read.
    fn poison(&mut self, key: &str);
    /// Fires what is due; gives when something is due next.
    fn tick(
        &mut self,
        now: Timestamp,
        host: &mut Host<'_, Self::Message>,
    ) -> Result<Option<Timestamp>, Fault>;
    /// The offset up to which the partition must be read before the logic can go on.
    fn waits_for(&self) -> Option<i64> {
        None
    }
    /// That offset was reached.
    fn reached(&mut self, _: &mut Host<'_, Self::Message>) -> Result<(), Fault> {
        Ok(())
    }
    /// Travels with the committed offset.
    fn cursor(&self) -> Option<String>;
    /// Sets the gauges of the partition.
    fn gauges(&self, partition: i32, now: Timestamp);
}

enum Signal<M> {
    /// The consumer's queue is no longer empty.
    Kafka,
    Task {
        partition: i32,
        generation: u64,
        message: M,
    },
    Prove {
        partition: i32,
        generation: u64,
        reply: oneshot::Sender<bool>,
    },
    Stop,
}

/// Posts from a task to its partition.
pub(crate) struct Post<M> {
    signals: Sender<Signal<M>>,
    partition: i32,
    generation: u64,
}

impl<M> Post<M> {
    pub fn send(&self, message: M) {
        let signal = Signal::Task {
            partition: self.partition,
            generation: self.generation,
            message,
        };
        // A worker that is gone has dropped the partition, too: the next owner starts over.
        let _ = self.signals.send(signal);
    }
}

/// What a partition can do besides thinking.
pub(crate) struct Host<'a, M> {
    pub outbox: &'a mut Vec<Append>,
    /// What was committed with the offset.
    pub metadata: Option<String>,
    partition: i32,
    generation: u64,
    signals: &'a Sender<Signal<M>>,
    runtime: &'a tokio::runtime::Handle,
    watcher: &'a BaseConsumer,
    topic: &'static str,
}

impl<M: Send + 'static> Host<'_, M> {
    /// Where the partition ends right now, uncommitted records included.
    pub fn end(&self) -> Result<i64, Fault> {
        let (_, end) =
            self.watcher
                .fetch_watermarks(self.topic, self.partition, Duration::from_secs(10))?;
        Ok(end)
    }

    pub fn post(&self) -> Post<M> {
        Post {
            signals: self.signals.clone(),
            partition: self.partition,
            generation: self.generation,
        }
    }

    pub fn owner(&self) -> Owner {
        let (signals, partition, generation) =
            (self.signals.clone(), self.partition, self.generation);
        let signals = Mutex::new(signals);
        Owner(Some(Arc::new(move || {
            let (reply, answer) = oneshot::channel();
            let signals = signals.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = signals.send(Signal::Prove {
                partition,
                generation,
                reply,
            });
            answer
        })))
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }
}

enum Rebalance {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

/// Assigns and unassigns from within `poll`; the worker reads what happened after it.
struct Group {
    name: &'static str,
    topic: &'static str,
    events: Mutex<Vec<Rebalance>>,
}

impl ClientContext for Group {
    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(self.topic) else {
            return;
        };
        for (partition, stats) in &topic.partitions {
            if *partition >= 0 && stats.consumer_lag >= 0 {
                metrics::lag(self.name, *partition, stats.consumer_lag);
            }
        }
    }
}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        err: RDKafkaRespErr,
        tpl: &mut TopicPartitionList,
    ) {
        let partitions: Vec<i32> = tpl
            .elements()
            .iter()
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
            .collect();
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let mut from_start = TopicPartitionList::new();
            for partition in &partitions {
                // Cannot fail: 0 is a valid offset.
                let _ = from_start.add_partition_offset(self.topic, *partition, Offset::Offset(0));
            }
            if let Err(error) = consumer.incremental_assign(&from_start) {
                tracing::error!(processor = self.name, %error, "assigning partitions failed");
            }
            events.push(Rebalance::Assigned(partitions));
        } else {
            if let Err(error) = consumer.incremental_unassign(tpl) {
                tracing::error!(processor = self.name, %error, "giving partitions back failed");
            }
            events.push(Rebalance::Revoked(partitions));
        }
    }
}

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
    metadata: Option<String>,
    due: Option<Timestamp>,
    /// Dead letters found in the fold; they go out with the partition's first offsets.
    dead_letters: Vec<Append>,
}

enum Exit {
    Stopped,
    Restart(String),
    Failed(RunError),
}

impl From<TransactionError> for Exit {
    fn from(error: TransactionError) -> Self {
        Self::Restart(error.to_string())
    }
}

impl From<Fault> for Exit {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Encode(error) => Self::Failed(error.into()),
            Fault::Kafka(_) => Self::Restart(fault.to_string()),
        }
    }
}

struct Plan<L: Logic> {
    name: &'static str,
    kafka: KafkaConfig,
    slot: Slot,
    codec: Codec<L::Event>,
    breaker: Option<Arc<Breaker>>,
    make: Box<dyn Fn(i32) -> L + Send>,
    runtime: tokio::runtime::Handle,
    stop: CancellationToken,
}

/// Runs a policy until `stop`.
///
/// # Errors
/// See [`RunError`].
pub async fn run_policy<P: Policy>(
    policy: P,
    codecs: Codecs,
    kafka: KafkaConfig,
    slot: Slot,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let (policy, codec, codecs) = (
        Arc::new(policy),
        codecs.of::<P::Event>()?.clone(),
        Arc::new(codecs),
    );
    let make = Box::new(move |p| PolicyPartition::new(Arc::clone(&policy), Arc::clone(&codecs), p));
    run(Plan {
        name: P::NAME,
        kafka,
        slot,
        codec,
        breaker: None,
        make,
        runtime: tokio::runtime::Handle::current(),
        stop,
    })
    .await
}

/// Runs an executor until `stop`.
///
/// # Errors
/// See [`RunError`].
pub async fn run_executor<X: Executor>(
    executor: X,
    codecs: Codecs,
    kafka: KafkaConfig,
    slot: Slot,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let (executor, codec, codecs) = (
        Arc::new(executor),
        codecs.of::<X::Event>()?.clone(),
        Arc::new(codecs),
    );
    let breaker = Arc::new(Breaker::new(X::NAME));
    let shared = Arc::clone(&breaker);
    let make = Box::new(move |p| {
        ExecutorPartition::new(
            Arc::clone(&executor),
            Arc::clone(&shared),
            Arc::clone(&codecs),
            p,
        )
    });
    let runtime = tokio::runtime::Handle::current();
    run(Plan {
        name: X::NAME,
        kafka,
        slot,
        codec,
        breaker: Some(breaker),
        make,
        runtime,
        stop,
    })
    .await
}

/// Runs a source until `stop`.
///
/// # Errors
/// See [`RunError`].
pub async fn run_source<S: Source>(
    source: S,
    codecs: Codecs,
    kafka: KafkaConfig,
    slot: Slot,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let (source, codec, codecs) = (
        Arc::new(source),
        codecs.of::<S::Event>()?.clone(),
        Arc::new(codecs),
    );
    let make = Box::new(move |p| SourcePartition::new(Arc::clone(&source), Arc::clone(&codecs), p));
    run(Plan {
        name: S::NAME,
        kafka,
        slot,
        codec,
        breaker: None,
        make,
        runtime: tokio::runtime::Handle::current(),
        stop,
    })
    .await
}

async fn run<L: Logic + 'static>(plan: Plan<L>) -> Result<(), RunError> {
    let name = plan.name;
    let (done, ended) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _ = done.send(supervise(&plan));
        });
    if thread.is_err() {
        return Err(RunError::Died(name));
    }
    ended.await.unwrap_or(Err(RunError::Died(name)))
}

/// Builds workers until one stops as it should or for a reason that another would meet, too.
fn supervise<L: Logic>(plan: &Plan<L>) -> Result<(), RunError> {
    let mut pause = Duration::from_millis(100);
    loop {
        let began = Instant::now();
        match Worker::build(plan).and_then(|mut worker| worker.work()) {
            Ok(Exit::Stopped) => return Ok(()),
            Ok(Exit::Failed(error)) | Err(Exit::Failed(error)) => return Err(error),
            Ok(Exit::Restart(cause)) | Err(Exit::Restart(cause)) => {
                metrics::restart(plan.name);
                if began.elapsed() > Duration::from_secs(30) {
                    pause = Duration::from_millis(100);
                }
                tracing::warn!(
                    processor = plan.name,
                    cause,
                    pause_ms = pause.as_millis(),
                    "the worker starts over"
                );
                if plan.stop.is_cancelled() {
                    return Ok(());
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(Exit::Stopped) => return Ok(()),
        }
    }
}

struct Worker<'a, L: Logic> {
    plan: &'a Plan<L>,
    topic: &'static str,
    consumer: BaseConsumer<Group>,
    producer: BaseProducer<Deliveries>,
    watcher: BaseConsumer,
    signals: Sender<Signal<L::Message>>,
    inbox: Receiver<Signal<L::Message>>,
    woken: Arc<AtomicBool>,
    partitions: BTreeMap<i32, Partition<L>>,
    outbox: Vec<Append>,
    generation: u64,
    offsets_at: Instant,
    gauges_at: Instant,
    committed: BTreeMap<i32, i64>,
    paused: bool,
}

fn restart(step: &str) -> impl Fn(KafkaError) -> Exit + '_ {
    move |error| Exit::Restart(format!("{step}: {error}"))
}

impl<'a, L: Logic> Worker<'a, L> {
    fn build(plan: &'a Plan<L>) -> Result<Self, Exit> {
        let topic = L::Event::TOPIC;
        let partitions = topics::of::<L::Event>().map_or(0, |t| t.partitions);
        for (name, expected) in [
            (topic.to_owned(), partitions),
            (topics::dead_letters(plan.name), partitions),
        ] {
            match kafka::check(&plan.kafka, &name, expected) {
                Ok(()) => {}
                Err(error @ TopicError::Unreachable { .. }) => {
                    return Err(Exit::Restart(error.to_string()));
                }
                Err(error) => return Err(Exit::Failed(error.into())),
            }
        }
        let instance = format!("{}-{}", plan.name, plan.slot.0);
        let producer: BaseProducer<Deliveries> = BaseProducer::from_config_and_context(
            &plan.kafka.producer(&instance),
            Deliveries::default(),
        )
        .map_err(restart("producer"))?;
        let group = Group {
            name: plan.name,
            topic,
            events: Mutex::default(),
        };
        let mut consumer: BaseConsumer<Group> = BaseConsumer::from_config_and_context(
            &plan.kafka.consumer(plan.name, &instance),
            group,
        )
        .map_err(restart("consumer"))?;
        let (signals, inbox) = channel();
        let woken = Arc::new(AtomicBool::new(false));
        let (wake, flag) = (signals.clone(), Arc::clone(&woken));
        consumer.set_nonempty_callback(move || {
            // One signal in the inbox is enough, however often the queue fills.
            if !flag.swap(true, Ordering::AcqRel) {
                let _ = wake.send(Signal::Kafka);
            }
        });
        let on_stop = (signals.clone(), plan.stop.clone());
        plan.runtime.spawn(async move {
            on_stop.1.cancelled().await;
            let _ = on_stop.0.send(Signal::Stop);
        });
        consumer.subscribe(&[topic]).map_err(restart("subscribe"))?;
        // Fences whoever had this slot before, and ends its open transaction.
        producer
            .init_transactions(plan.kafka.session_timeout.max(Duration::from_secs(30)))
            .map_err(restart("init transactions"))?;
        let watcher = plan.kafka.watcher().map_err(restart("watcher"))?;
        let now = Instant::now();
        Ok(Self {
            plan,
            topic,
            consumer,
            producer,
            watcher,
            signals,
            inbox,
            woken,
            partitions: BTreeMap::new(),
            outbox: Vec::new(),
            generation: 0,
            offsets_at: now,
            gauges_at: now,
            committed: BTreeMap::new(),
            paused: false,
        })
    }

    fn work(&mut self) -> Result<Exit, Exit> {
        tracing::info!(
            processor = self.plan.name,
            slot = self.plan.slot.0,
            "the worker has started"
        );
        let mut more = true;
        loop {
            let wait = if more { Duration::ZERO } else { self.wait() };
            let mut proofs = Vec::new();
            let mut stop = false;
            let mut signal = self.inbox.recv_timeout(wait).ok();
            while let Some(next) = signal {
                match next {
                    Signal::Kafka => self.woken.store(false, Ordering::Release),
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
                    Signal::Stop => stop = true,
                }
                signal = self.inbox.try_recv().ok();
            }
            more = self.poll()? == BATCH;
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
            if stop || self.plan.stop.is_cancelled() {
                self.leave();
                return Ok(Exit::Stopped);
            }
            self.gauges();
        }
    }

    fn wait(&self) -> Duration {
        if self
            .partitions
            .values()
            .any(|p| matches!(p.phase, Phase::Folding { .. }) || p.logic.waits_for().is_some())
        {
            return Duration::from_millis(5);
        }
        let now = clock::now();
        let next = self.partitions.values().filter_map(|p| p.due).min();
        next.map_or(TICK, |due| {
            Duration::from_millis(u64::try_from(due.millis_since(now)).unwrap_or(0))
                .clamp(Duration::from_millis(1), TICK)
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
            metadata: entry.metadata.clone(),
            partition,
            generation: entry.generation,
            signals: &self.signals,
            runtime: &self.plan.runtime,
            watcher: &self.watcher,
            topic: self.topic,
        };
        act(&mut entry.logic, &mut host).map_err(Exit::from)
    }

    /// Takes what is there, at most a batch; gives how many records it took.
    fn poll(&mut self) -> Result<usize, Exit> {
        let mut taken = 0;
        while taken < BATCH {
            let polled = match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    let read = Polled::of(&message);
                    drop(message);
                    Some(read)
                }
                Some(Err(error)) => {
                    self.consumer_error(error)?;
                    continue;
                }
                None => None,
            };
            self.rebalanced()?;
            match polled {
                Some(polled) => {
                    self.take(polled)?;
                    taken += 1;
                }
                None => break,
            }
        }
        Ok(taken)
    }

    fn consumer_error(&self, error: KafkaError) -> Result<(), Exit> {
        let name = self.plan.name;
        match &error {
            KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId) => {
                Err(Exit::Failed(RunError::Fenced {
                    processor: name,
                    cause: error.to_string(),
                }))
            }
            KafkaError::MessageConsumptionFatal(_)
            | KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::PollExceeded,
            ) => Err(Exit::Restart(format!("consumer: {error}"))),
            // librdkafka tries again by itself.
            _ => {
                tracing::warn!(processor = name, %error, "Kafka reports trouble");
                Ok(())
            }
        }
    }

    fn rebalanced(&mut self) -> Result<(), Exit> {
        let events = std::mem::take(
            &mut *self
                .consumer
                .context()
                .events
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for event in events {
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
                    self.outbox.retain(|a| ours.contains_key(&a.origin));
                }
            }
        }
        Ok(())
    }

    fn assigned(&mut self, partitions: &[i32]) -> Result<(), Exit> {
        let mut wanted = TopicPartitionList::new();
        for partition in partitions {
            wanted.add_partition(self.topic, *partition);
        }
        // Blocks while the previous owner has a transaction open: only after it ended is the
        // end of the partition final for what that owner could append.
        let limit = self.plan.kafka.transaction_timeout
            + self.plan.kafka.session_timeout
            + Duration::from_secs(5);
        let committed = self
            .consumer
            .committed_offsets(wanted, limit)
            .map_err(restart("committed offsets"))?;
        for entry in committed.elements() {
            let partition = entry.partition();
            let (_, end) = self
                .watcher
                .fetch_watermarks(self.topic, partition, Duration::from_secs(10))
                .map_err(restart("watermarks"))?;
            let offset = match entry.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            };
            self.generation += 1;
            let logic = (self.plan.make)(partition);
            let metadata = Some(entry.metadata().to_owned()).filter(|m| !m.is_empty());
            tracing::info!(
                processor = self.plan.name,
                partition,
                committed = offset,
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
                    committed: offset,
                    metadata,
                    due: None,
                    dead_letters: Vec::new(),
                },
            );
        }
        Ok(())
    }

    fn positions(&self) -> Result<BTreeMap<i32, i64>, Exit> {
        let list = self.consumer.position().map_err(restart("position"))?;
        Ok(list
            .elements()
            .iter()
            .filter_map(|e| match e.offset() {
                Offset::Offset(offset) => Some((e.partition(), offset)),
                _ => None,
            })
            .collect())
    }

    fn finish_folds(&mut self) -> Result<(), Exit> {
        if !self
            .partitions
            .values()
            .any(|p| matches!(p.phase, Phase::Folding { .. }))
        {
            return Ok(());
        }
        // The position steps over transaction markers, the last record's offset + 1 does not.
        let positions = self.positions()?;
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
                self.outbox.append(&mut entry.dead_letters);
                // Something may be due already.
                entry.due = Some(Timestamp(0));
            }
            self.with(partition, None, L::go_live)?;
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
        let positions = self.positions()?;
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

    fn take(&mut self, polled: Polled) -> Result<(), Exit> {
        let (partition, offset) = (polled.partition, polled.offset);
        let Some(entry) = self.partitions.get(&partition) else {
            return Ok(());
        };
        let (committed, folding) = (
            entry.committed,
            matches!(entry.phase, Phase::Folding { .. }),
        );
        let decoded = self.decode(&polled)?;
        match decoded {
            Ok(record) => self.with(partition, None, |logic, host| {
                if folding {
                    logic.fold(record, committed)
                } else {
                    logic.record(record, host)
                }
            })?,
            Err(reason) => {
                let key = String::from_utf8_lossy(&polled.key).into_owned();
                metrics::records(self.plan.name, "poison");
                tracing::error!(
                    processor = self.plan.name,
                    topic = self.topic,
                    partition,
                    offset,
                    key,
                    reason,
                    "a record cannot be read; its aggregate waits, the rest goes on"
                );
                if let Some(entry) = self.partitions.get_mut(&partition) {
                    entry.logic.poison(&key);
                    if offset >= committed {
                        metrics::dead_letter(self.plan.name);
                        let letter = polled.dead_letter(self.plan.name, self.topic, &reason);
                        if folding {
                            entry.dead_letters.push(letter);
                        } else {
                            self.outbox.push(letter);
                        }
                    }
                }
            }
        }
        if let Some(entry) = self.partitions.get_mut(&partition) {
            entry.due = Some(Timestamp(0));
        }
        Ok(())
    }

    /// The record, or why it can never be read. Waits for a registry that does not answer: that
    /// is no fault of the record.
    fn decode(&self, polled: &Polled) -> Result<Result<Record<L::Event>, String>, Exit> {
        let event = loop {
            match self.plan.codec.decode(polled.payload.as_deref()) {
                Ok(event) => break event,
                Err(DecodeError::Unresolved(id)) => {
                    match self
                        .plan
                        .runtime
                        .block_on(self.plan.codec.registry().resolve(id))
                    {
                        Ok(_) => {}
                        Err(error @ RegistryError::Unavailable { .. }) => {
                            tracing::warn!(processor = self.plan.name, %error, "waiting for the schema registry");
                            if self.plan.stop.is_cancelled() {
                                return Err(Exit::Stopped);
                            }
                            std::thread::sleep(Duration::from_millis(500));
                        }
                        Err(error) => return Ok(Err(error.to_string())),
                    }
                }
                Err(error) => return Ok(Err(error.to_string())),
            }
        };
        let envelope = match &polled.envelope {
            Ok(envelope) => envelope.clone(),
            Err(reason) => return Ok(Err(reason.clone())),
        };
        Ok(Ok(Record {
            partition: polled.partition,
            offset: polled.offset,
            envelope,
            event,
        }))
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
        let Some(breaker) = &self.plan.breaker else {
            return Ok(());
        };
        let open = breaker.is_open();
        if open == self.paused {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (id, _) in self
            .partitions
            .iter()
            .filter(|(_, p)| matches!(p.phase, Phase::Live))
        {
            list.add_partition(self.topic, *id);
            metrics::partition_state(self.plan.name, *id, if open { 3 } else { 2 });
        }
        if open {
            tracing::warn!(
                processor = self.plan.name,
                "the counterparty is down: partitions are paused"
            );
            self.consumer.pause(&list).map_err(restart("pause"))?;
        } else {
            tracing::info!(processor = self.plan.name, "partitions are resumed");
            self.consumer.resume(&list).map_err(restart("resume"))?;
        }
        self.paused = open;
        Ok(())
    }

    /// Positions of live partitions, with their cursors.
    fn offsets(&self) -> Result<(TopicPartitionList, bool), Exit> {
        let positions = self.positions()?;
        let mut list = TopicPartitionList::new();
        let mut moved = false;
        for (id, entry) in &self.partitions {
            let (Phase::Live, Some(at)) = (&entry.phase, positions.get(id)) else {
                continue;
            };
            moved |= self.committed.get(id) != Some(at) || entry.logic.cursor().is_some();
            let mut element = list.add_partition(self.topic, *id);
            // Cannot fail: a position is a valid offset.
            let _ = element.set_offset(Offset::Offset(*at));
            if let Some(cursor) = entry.logic.cursor() {
                element.set_metadata(cursor);
            }
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
            if list.count() > 0 && (prove || moved) {
                // Outside a transaction, the group's generation is the fence.
                let mode = if prove {
                    CommitMode::Sync
                } else {
                    CommitMode::Async
                };
                self.consumer
                    .commit(&list, mode)
                    .map_err(restart("commit offsets"))?;
                self.remember(&list);
            }
            return Ok(());
        }
        let Some(group) = self.consumer.group_metadata() else {
            return Err(Exit::Restart("the consumer is in no group".to_owned()));
        };
        let (list, _) = self.offsets()?;
        let began = Instant::now();
        let limit = self.plan.kafka.transaction_timeout;
        match transaction::commit(&self.producer, &self.outbox, &list, &group, limit) {
            Ok(()) => {
                metrics::transaction(self.plan.name, began.elapsed());
                metrics::appended(self.plan.name, self.outbox.len());
                self.outbox.clear();
                self.offsets_at = Instant::now();
                self.remember(&list);
                Ok(())
            }
            Err(TransactionError::Fenced(cause)) => Err(Exit::Failed(RunError::Fenced {
                processor: self.plan.name,
                cause,
            })),
            Err(error) => Err(error.into()),
        }
    }

    fn remember(&mut self, list: &TopicPartitionList) {
        for element in list.elements() {
            if let Offset::Offset(offset) = element.offset() {
                self.committed.insert(element.partition(), offset);
            }
        }
    }

    fn leave(&mut self) {
        if let Ok((list, true)) = self.offsets()
            && list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Sync)
        {
            tracing::info!(processor = self.plan.name, %error, "the last offsets were not committed");
        }
        self.partitions.clear();
        tracing::info!(processor = self.plan.name, "the worker has stopped");
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

/// A record as polled, owned.
struct Polled {
    partition: i32,
    offset: i64,
    key: Vec<u8>,
    payload: Option<Vec<u8>>,
    envelope: Result<Envelope, String>,
    headers: OwnedHeaders,
}

impl Polled {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().unwrap_or_default().to_vec(),
            payload: message.payload().map(<[u8]>::to_vec),
            envelope: Envelope::read(message.headers()).map_err(|e| e.to_string()),
            headers: message
                .headers()
                .map(rdkafka::message::BorrowedHeaders::detach)
                .unwrap_or_default(),
        }
    }

    /// The record as it was, with where it came from and why it is here.
    fn dead_letter(self, processor: &str, topic: &str, reason: &str) -> Append {
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
            origin: self.partition,
        }
    }
}
