//! How processors talk to Kafka: settings, clients, topics.

use events::topics::Topic;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::time::Duration;

/// Where Kafka is and how long things may take.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port,…`.
    pub brokers: String,
    /// A member that is silent for so long loses its partitions.
    pub session_timeout: Duration,
    /// How often a member says that it is there; at most a third of the session.
    pub heartbeat: Duration,
    /// A transaction open for so long is aborted by the broker; at most the session timeout, or
    /// a takeover would own partitions that it cannot read.
    pub transaction_timeout: Duration,
    /// Further librdkafka properties, such as those of TLS and SASL.
    pub properties: Vec<(String, String)>,
    /// Of how many last records in each partition policies append again what they forwarded to other
    /// topics; see the runbook on transactions that hang.
    pub forward_again: i64,
}

impl KafkaConfig {
    /// Settings for production at these brokers: session 30 s, heartbeat 3 s, transaction 10 s.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            session_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(3),
            transaction_timeout: Duration::from_secs(10),
            properties: Vec::new(),
            forward_again: 0,
        }
    }

    /// A client configuration with the brokers and the further properties.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
    }

    pub(crate) fn consumer(&self, name: &str, instance: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("client.id", instance)
            .set("group.id", name)
            .set("group.instance.id", instance)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            // Not a cooperative one: its rebalances have two phases, and a static member that is
            // replaced between them can stay without its partitions for ever.
            .set("partition.assignment.strategy", "range")
            .set(
                "session.timeout.ms",
                self.session_timeout.as_millis().to_string(),
            )
            .set(
                "heartbeat.interval.ms",
                self.heartbeat.as_millis().to_string(),
            )
            .set("statistics.interval.ms", "5000")
            // What is read is small and read fast; the default of 64 MiB per consumer is not needed.
            .set("queued.max.messages.kbytes", "16384")
            // A full queue is empty again after some milliseconds; the default fetches on only
            // after a second, which makes most of the time that a long fold takes.
            .set("fetch.queue.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "2000");
        config
    }

    pub(crate) fn producer(&self, instance: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("client.id", instance)
            .set("transactional.id", instance)
            .set(
                "transaction.timeout.ms",
                self.transaction_timeout.as_millis().to_string(),
            )
            .set("linger.ms", "0")
            .set("retry.backoff.ms", "5")
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.kbytes", "32768")
            .set("reconnect.backoff.max.ms", "2000");
        config
    }

    /// A consumer outside any group that sees uncommitted ends too.
    pub(crate) fn watcher(&self) -> Result<BaseConsumer, KafkaError> {
        self.client()
            .set("isolation.level", "read_uncommitted")
            .create()
    }
}

/// What is wrong with a topic.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The broker did not answer.
    #[error(
        "Kafka at {brokers} is not reachable: {cause}. Check GRIDWAY_KAFKA_BROKERS and that the broker runs"
    )]
    Unreachable {
        /// Where it should be.
        brokers: String,
        /// What happened.
        cause: String,
    },
    /// The topic is missing.
    #[error("topic {0} does not exist: create the topics with `gridway topics create`")]
    Missing(String),
    /// It has another number of partitions than the catalogue says.
    #[error(
        "topic {name} has {found} partitions but must have {expected}: partition counts are fixed for life, because \
         offsets are sequence numbers on Stellar. This is not Gridway's topic, or somebody has extended it"
    )]
    Partitions {
        /// Topic.
        name: String,
        /// Partitions found.
        found: usize,
        /// Partitions of the catalogue.
        expected: i32,
    },
    /// The broker refuses to create it.
    #[error("Kafka refuses to create topic {0}: {1}")]
    Refused(String, String),
}

/// Checks that a topic is there with as many partitions as it must have.
///
/// # Errors
/// See [`TopicError`].
pub fn check(config: &KafkaConfig, name: &str, partitions: i32) -> Result<(), TopicError> {
    let unreachable = |e: KafkaError| TopicError::Unreachable {
        brokers: config.brokers.clone(),
        cause: e.to_string(),
    };
    let consumer: BaseConsumer = config.client().create().map_err(unreachable)?;
    let metadata = consumer
        .fetch_metadata(Some(name), Duration::from_secs(10))
        .map_err(unreachable)?;
    let found = metadata
        .topics()
        .iter()
        .find(|t| t.name() == name)
        .map_or(0, |t| t.partitions().len());
    match found {
        0 => Err(TopicError::Missing(name.to_owned())),
        n if i32::try_from(n) == Ok(partitions) => Ok(()),
        found => Err(TopicError::Partitions {
            name: name.to_owned(),
            found,
            expected: partitions,
        }),
    }
}

/// Creates what is missing of the catalogue and of the processors' dead-letter topics, then
/// checks all. Retention is infinite: the log is the truth.
///
/// # Errors
/// See [`TopicError`].
pub async fn create(
    config: &KafkaConfig,
    processors: &[(&str, Topic)],
    replication: i32,
    min_isr: i32,
) -> Result<(), TopicError> {
    let admin: AdminClient<DefaultClientContext> =
        config
            .client()
            .create()
            .map_err(|e| TopicError::Unreachable {
                brokers: config.brokers.clone(),
                cause: e.to_string(),
            })?;
    let mut wanted: Vec<(String, i32)> = events::topics::ALL
        .iter()
        .map(|t| (t.name.to_owned(), t.partitions))
        .collect();
    wanted.extend(
        processors
            .iter()
            .map(|(p, t)| (events::topics::dead_letters(p), t.partitions)),
    );
    let min_isr = min_isr.to_string();
    let topics: Vec<NewTopic<'_>> = wanted
        .iter()
        .map(|(name, partitions)| {
            NewTopic::new(name, *partitions, TopicReplication::Fixed(replication))
                .set("retention.ms", "-1")
                .set("retention.bytes", "-1")
                .set("cleanup.policy", "delete")
                .set("min.insync.replicas", &min_isr)
                .set("unclean.leader.election.enable", "false")
                .set("message.timestamp.type", "CreateTime")
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let results =
        admin
            .create_topics(&topics, &options)
            .await
            .map_err(|e| TopicError::Unreachable {
                brokers: config.brokers.clone(),
                cause: e.to_string(),
            })?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(TopicError::Refused(name, code.to_string())),
        }
    }
    for (name, partitions) in wanted {
        check(config, &name, partitions)?;
    }
    Ok(())
}
