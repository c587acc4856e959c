//! The command log: appends an event and answers when all in-sync replicas hold it.
//!
//! Ids are derived from what was asked, so appending the same command again makes an echo, which
//! every reader ignores. Whoever is not sure that an append arrived appends once more.

use crash_points::{Point, pass};
use events::applications::NodeApplicationEvent;
use events::approvals::ApprovalEvent;
use events::codec::{Codec, EncodeError};
use events::deployments::DeploymentEvent;
use events::deposits::DepositEvent;
use events::envelope::{Envelope, traceparent};
use events::ids::{EventId, TraceId};
use events::notifications::NotificationEvent;
use events::purchases::PurchaseEvent;
use events::registry::{Registry, RegistryError};
use events::schema::EventSet;
use events::time::Timestamp;
use events::topics;
use events::treasury::TreasuryEvent;
use events::unmatched::UnmatchedEvent;
use events::users::UserEvent;
use parking_lot::RwLock;
use projections::progress::Position;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long an append may take before it counts as not taken.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
const SOURCE: &str = "/gridway/api";

/// Why an event is not known to be in the log. Appending it again is safe.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Kafka did not confirm it.
    #[error("Kafka did not confirm the event: {0}")]
    Kafka(#[from] KafkaError),
    /// The registry did not take the topic's schemas.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The event does not fit its schema: a fault of ours.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// An event to append.
#[derive(Debug, Clone)]
pub struct Append<E> {
    /// The record key: id of the aggregate.
    pub key: String,
    /// Identity of the event, derived from what was asked.
    pub id: EventId,
    /// What it belongs to, usually the purchase.
    pub correlation: String,
    /// The caller's trace; without it the trace is what the event belongs to.
    pub trace: Option<TraceId>,
    /// When it is appended.
    pub time: Timestamp,
    /// The event.
    pub event: E,
}

/// The event sets that the API appends.
pub trait Logged: EventSet {
    /// The codec of the set, from the log's own.
    fn codec(log: &CommandLog) -> &OnceCell<Codec<Self>>;
}

macro_rules! logged {
    ($set:ty, $field:ident) => {
        impl Logged for $set {
            fn codec(log: &CommandLog) -> &OnceCell<Codec<Self>> {
                &log.$field
            }
        }
    };
}
logged!(PurchaseEvent, purchases);
logged!(DeploymentEvent, deployments);
logged!(UserEvent, users);
logged!(UnmatchedEvent, unmatched);
logged!(NotificationEvent, notifications);
logged!(NodeApplicationEvent, applications);
logged!(ApprovalEvent, approvals);
logged!(DepositEvent, deposits);
logged!(TreasuryEvent, treasury);

/// Appends events. Needs neither Kafka nor the registry to be made; both are met when first used.
pub struct CommandLog {
    settings: ClientConfig,
    producer: RwLock<Arc<FutureProducer>>,
    registry: Registry,
    purchases: OnceCell<Codec<PurchaseEvent>>,
    deployments: OnceCell<Codec<DeploymentEvent>>,
    users: OnceCell<Codec<UserEvent>>,
    unmatched: OnceCell<Codec<UnmatchedEvent>>,
    notifications: OnceCell<Codec<NotificationEvent>>,
    applications: OnceCell<Codec<NodeApplicationEvent>>,
    approvals: OnceCell<Codec<ApprovalEvent>>,
    deposits: OnceCell<Codec<DepositEvent>>,
    treasury: OnceCell<Codec<TreasuryEvent>>,
}

impl CommandLog {
    /// A log on Kafka at `brokers`, with the schemas of the registry at `registry_url`.
    ///
    /// # Errors
    /// When a client cannot be made from these settings.
    pub fn new(brokers: &str, registry_url: &str) -> Result<Self, AppendError> {
        let mut settings = ClientConfig::new();
        settings
            .set("bootstrap.servers", brokers)
            .set("client.id", "gridway-api")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("retry.backoff.ms", "5")
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", TAKEN_WITHIN.as_millis().to_string())
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "2000")
            .set("allow.auto.create.topics", "false");
        Ok(Self {
            producer: RwLock::new(Arc::new(settings.create()?)),
            settings,
            registry: Registry::new(registry_url)?,
            purchases: OnceCell::new(),
            deployments: OnceCell::new(),
            users: OnceCell::new(),
            unmatched: OnceCell::new(),
            notifications: OnceCell::new(),
            applications: OnceCell::new(),
            approvals: OnceCell::new(),
            deposits: OnceCell::new(),
            treasury: OnceCell::new(),
        })
    }

    /// Meets the registry ahead of the first append, which is then as quick as any other.
    ///
    /// # Errors
    /// When the registry does not take the schemas; the first append tries again.
    pub async fn warm(&self) -> Result<(), AppendError> {
        tokio::try_join!(
            self.purchases
                .get_or_try_init(|| Codec::connect(&self.registry)),
            self.deployments
                .get_or_try_init(|| Codec::connect(&self.registry)),
            self.users
                .get_or_try_init(|| Codec::connect(&self.registry)),
            self.unmatched
                .get_or_try_init(|| Codec::connect(&self.registry)),
            self.notifications
                .get_or_try_init(|| Codec::connect(&self.registry)),
            self.applications
                .get_or_try_init(|| Codec::connect(&self.registry)),
            self.approvals
                .get_or_try_init(|| Codec::connect(&self.registry)),
        )?;
        Ok(())
    }

    /// Appends an event and gives its place once all in-sync replicas hold it.
    ///
    /// # Errors
    /// See [`AppendError`]: the event may or may not be in the log; appending it again is safe.
    pub async fn append<E: Logged>(&self, append: Append<E>) -> Result<Position, AppendError> {
        self.append_to(append, None).await
    }

    /// Appends an event to a partition of its topic; without one, to its key's.
    ///
    /// # Errors
    /// As [`CommandLog::append`].
    pub async fn append_to<E: Logged>(
        &self,
        append: Append<E>,
        partition: Option<i32>,
    ) -> Result<Position, AppendError> {
        let codec = E::codec(self)
            .get_or_try_init(|| Codec::connect(&self.registry))
            .await?;
        let payload = codec.encode(&append.event)?;
        let trace = append.trace.or_else(|| TraceId::parse(&append.correlation));
        let envelope = Envelope {
            id: append.id,
            source: SOURCE.to_owned(),
            time: append.time,
            subject: append.key.clone(),
            correlation: Some(append.correlation),
            causation: None,
            traceparent: trace.map(|trace| traceparent(&trace, &append.id)),
        };
        let mut record = FutureRecord::to(E::TOPIC)
            .key(&append.key)
            .payload(&payload)
            .headers(envelope.headers(&append.event));
        if let Some(partition) = partition {
            record = record.partition(partition);
        }
        let producer = Arc::clone(&self.producer.read());
        pass(Point::BeforeAppend);
        match producer.send(record, TAKEN_WITHIN).await {
            Ok(delivery) => {
                pass(Point::AfterAppend);
                Ok(Position {
                    topic: E::TOPIC.to_owned(),
                    partition: delivery.partition,
                    offset: delivery.offset,
                })
            }
            Err((error, _)) => {
                self.replace_if_broken(&producer);
                Err(error.into())
            }
        }
    }

    /// Writes headers without an event into a partition of a topic: a note on a dead letter.
    ///
    /// # Errors
    /// As [`CommandLog::append`].
    pub(crate) async fn note(
        &self,
        (topic, partition, key): (&str, i32, &str),
        headers: &BTreeMap<String, String>,
    ) -> Result<(), AppendError> {
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            });
        let record = FutureRecord::<str, [u8]>::to(topic)
            .partition(partition)
            .key(key)
            .payload(&[])
            .headers(headers);
        let producer = Arc::clone(&self.producer.read());
        match producer.send(record, TAKEN_WITHIN).await {
            Ok(_) => Ok(()),
            Err((error, _)) => {
                self.replace_if_broken(&producer);
                Err(error.into())
            }
        }
    }

    /// A producer with a fatal error never recovers; the next append takes a new one.
    fn replace_if_broken(&self, broken: &Arc<FutureProducer>) {
        let Some((code, reason)) = broken.client().fatal_error() else {
            return;
        };
        let mut current = self.producer.write();
        if !Arc::ptr_eq(&current, broken) {
            return;
        }
        tracing::error!(%code, reason, "the producer broke and is replaced");
        match self.settings.create() {
            Ok(producer) => *current = Arc::new(producer),
            Err(error) => tracing::error!(%error, "no new producer could be made"),
        }
    }

    /// Whether Kafka answers and holds every topic of the catalogue; else what is wrong.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn check(
        &self,
        within: Duration,
    ) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let producer = Arc::clone(&self.producer.read());
        async move {
            let asked = tokio::task::spawn_blocking(move || {
                for topic in topics::ALL {
                    let metadata = producer
                        .client()
                        .fetch_metadata(Some(topic.name), within)
                        .map_err(|e| format!("Kafka does not answer: {e}"))?;
                    let found = metadata
                        .topics()
                        .first()
                        .map_or(0, |t| t.partitions().len());
                    if usize::try_from(topic.partitions) != Ok(found) {
                        return Err(format!(
                            "topic {} has {found} partitions instead of {}",
                            topic.name, topic.partitions
                        ));
                    }
                }
                Ok(())
            });
            asked.await.map_err(|e| e.to_string())?
        }
    }
}
