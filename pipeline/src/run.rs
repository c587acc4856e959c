//! Runs a policy, an executor or a source: builds its worker, and builds it anew when it must
//! start over.

use crate::append::Codecs;
use crate::executor::{Executor, ExecutorPartition};
use crate::gate::{Counterparty, Gate};
use crate::ground::{Ground, Kafka};
use crate::kafka::{KafkaConfig, TopicError};
use crate::logic::Logic;
use crate::metrics;
use crate::policy::{Policy, PolicyPartition};
use crate::source::{Source, SourcePartition};
use crate::worker::{Exit, Worker};
use events::codec::{Codec, EncodeError};
use events::registry::RegistryError;
use events::schema::EventSet;
use events::topics;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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

/// What it takes to build a worker.
pub(crate) struct Plan<L: Logic> {
    pub name: &'static str,
    pub codec: Codec<L::Event>,
    pub gate: Option<Arc<Gate>>,
    pub make: Box<dyn Fn(i32) -> L + Send + Sync>,
    pub stop: CancellationToken,
}

pub(crate) fn policy<P: Policy>(
    policy: P,
    codecs: Codecs,
    forward_again: i64,
    stop: CancellationToken,
) -> Result<Plan<PolicyPartition<P>>, RunError> {
    let codec = codecs.of::<P::Event>()?.clone();
    let (policy, codecs) = (Arc::new(policy), Arc::new(codecs));
    Ok(Plan {
        name: P::NAME,
        codec,
        gate: None,
        make: Box::new(move |p| {
            PolicyPartition::new(Arc::clone(&policy), Arc::clone(&codecs), p, forward_again)
        }),
        stop,
    })
}

pub(crate) fn executor<X: Executor>(
    executor: X,
    counterparty: Counterparty,
    codecs: Codecs,
    stop: CancellationToken,
) -> Result<Plan<ExecutorPartition<X>>, RunError> {
    let codec = codecs.of::<X::Event>()?.clone();
    let (executor, codecs) = (Arc::new(executor), Arc::new(codecs));
    let gate = Arc::new(Gate::new(counterparty));
    let shared = Arc::clone(&gate);
    Ok(Plan {
        name: X::NAME,
        codec,
        gate: Some(gate),
        make: Box::new(move |p| {
            ExecutorPartition::new(
                Arc::clone(&executor),
                Arc::clone(&shared),
                Arc::clone(&codecs),
                p,
            )
        }),
        stop,
    })
}

pub(crate) fn source<S: Source>(
    source: S,
    codecs: Codecs,
    stop: CancellationToken,
) -> Result<Plan<SourcePartition<S>>, RunError> {
    let codec = codecs.of::<S::Event>()?.clone();
    let (source, codecs) = (Arc::new(source), Arc::new(codecs));
    Ok(Plan {
        name: S::NAME,
        codec,
        gate: None,
        make: Box::new(move |p| SourcePartition::new(Arc::clone(&source), Arc::clone(&codecs), p)),
        stop,
    })
}

/// Runs a policy on Kafka until `stop`.
///
/// # Errors
/// See [`RunError`].
pub async fn run_policy<P: Policy>(
    rules: P,
    codecs: Codecs,
    kafka: KafkaConfig,
    slot: Slot,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let plan = policy(rules, codecs, kafka.forward_again, stop)?;
    on_kafka(plan, kafka, slot).await
}

/// Runs an executor on Kafka until `stop`; all its calls to `counterparty` are paced.
///
/// # Errors
/// See [`RunError`].
pub async fn run_executor<X: Executor>(
    hand: X,
    counterparty: Counterparty,
    codecs: Codecs,
    kafka: KafkaConfig,
    slot: Slot,
    stop: CancellationToken,
) -> Result<(), RunError> {
    on_kafka(executor(hand, counterparty, codecs, stop)?, kafka, slot).await
}

/// Runs a source on Kafka until `stop`.
///
/// # Errors
/// See [`RunError`].
pub async fn run_source<S: Source>(
    reader: S,
    codecs: Codecs,
    kafka: KafkaConfig,
    slot: Slot,
    stop: CancellationToken,
) -> Result<(), RunError> {
    on_kafka(source(reader, codecs, stop)?, kafka, slot).await
}

/// Gives the worker a thread of its own: its calls to librdkafka block.
async fn on_kafka<L: Logic + 'static>(
    plan: Plan<L>,
    config: KafkaConfig,
    slot: Slot,
) -> Result<(), RunError> {
    let name = plan.name;
    let runtime = tokio::runtime::Handle::current();
    let ground = Kafka {
        name,
        topic: L::Event::TOPIC,
        partitions: topics::of::<L::Event>().map_or(0, |t| t.partitions),
        slot: slot.0,
        config,
        runtime: runtime.clone(),
    };
    let (done, ended) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _ = done.send(runtime.block_on(supervise(&plan, &ground)));
        });
    if thread.is_err() {
        return Err(RunError::Died(name));
    }
    ended.await.unwrap_or(Err(RunError::Died(name)))
}

/// Builds workers until one stops as it should or for a reason that another would meet, too.
pub(crate) async fn supervise<L: Logic>(
    plan: &Plan<L>,
    ground: &dyn Ground,
) -> Result<(), RunError> {
    let mut pause = Duration::from_millis(100);
    loop {
        let began = Instant::now();
        let exit = match Worker::build(plan, ground) {
            Ok(mut worker) => worker.work().await,
            Err(exit) => exit,
        };
        match exit {
            Exit::Stopped => return Ok(()),
            Exit::Failed(error) => return Err(error),
            Exit::Restart(cause) => {
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
                tokio::select! {
                    biased;
                    () = plan.stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    }
}
