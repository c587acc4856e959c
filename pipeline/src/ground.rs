//! What a processor stands on: where it finds its log, and where its tasks run.

use crate::kafka::{self, KafkaConfig, TopicError};
use crate::kafka_log::KafkaLog;
use crate::log::{Log, Trouble};
use events::topics;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A task of a processor.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Kafka and tokio in production; a model of both in the simulation.
pub trait Ground: Send + Sync {
    /// Connects to the log. `wake` is to be called when there are records to poll.
    ///
    /// # Errors
    /// See [`Unconnected`].
    fn connect(&self, wake: Box<dyn Fn() + Send + Sync>) -> Result<Box<dyn Log>, Unconnected>;

    /// Runs a task beside the worker.
    fn spawn(&self, task: Task);

    /// How many records are appended in one transaction at most, unless one decision has more.
    fn most(&self) -> usize {
        2_000
    }

    /// The longest wait without a look at the log.
    fn tick(&self) -> Duration {
        Duration::from_millis(100)
    }
}

/// Why there is no log to work on.
#[derive(Debug, thiserror::Error)]
pub enum Unconnected {
    /// It may be there the next time.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// The topics are not as they must be.
    #[error(transparent)]
    Topic(TopicError),
}

/// Kafka, and the runtime's threads.
pub(crate) struct Kafka {
    pub name: &'static str,
    pub topic: &'static str,
    pub partitions: i32,
    pub slot: u32,
    pub config: KafkaConfig,
    pub runtime: tokio::runtime::Handle,
}

impl Ground for Kafka {
    fn connect(&self, wake: Box<dyn Fn() + Send + Sync>) -> Result<Box<dyn Log>, Unconnected> {
        for name in [self.topic.to_owned(), topics::dead_letters(self.name)] {
            match kafka::check(&self.config, &name, self.partitions) {
                Ok(()) => {}
                Err(error @ TopicError::Unreachable { .. }) => {
                    return Err(Trouble::Lost(error.to_string()).into());
                }
                Err(error) => return Err(Unconnected::Topic(error)),
            }
        }
        let log = KafkaLog::connect(self.name, self.topic, self.slot, &self.config, wake)?;
        Ok(Box::new(log))
    }

    fn spawn(&self, task: Task) {
        self.runtime.spawn(task);
    }
}
