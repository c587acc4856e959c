//! The loop: read what there is, fold it, commit it; wait for whoever does not answer.

use crate::batch::{
    AnyEvent, ApplyError, Done, Entry, Item, Moves, Place, Writer, apply, is_about_content,
};
use crate::consumer::{self, EventConsumer, Next};
use crate::metrics::Metrics;
use crate::{db, progress};
use chrono::Utc;
use events::applications::NodeApplicationEvent;
use events::approvals::ApprovalEvent;
use events::codec::{Codec, DecodeError};
use events::deployments::DeploymentEvent;
use events::deposits::DepositEvent;
use events::envelope::Envelope;
use events::notifications::NotificationEvent;
use events::purchases::PurchaseEvent;
use events::registry::{Registry, RegistryError};
use events::topics::{
    APPROVALS, DEPLOYMENTS, DEPOSITS, NODE_APPLICATIONS, NOTIFICATIONS, PURCHASES, TREASURY, USERS,
};
use events::treasury::TreasuryEvent;
use events::users::UserEvent;
use futures::FutureExt;
use parking_lot::Mutex;
use rdkafka::Message;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use sqlx::PgPool;
use sqlx::migrate::MigrateError;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// More than this is not folded in one transaction, so that a long backlog shows up step by step.
const BATCH: usize = 500;
/// While records come in numbers, a transaction takes what so long a time brings: few large ones cost
/// far less than many small ones.
const GATHER: Duration = Duration::from_millis(40);
/// So many at once are numbers.
const NUMBERS: usize = 4;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Where the projections read from and write to.
#[derive(Clone)]
pub struct Config {
    /// Kafka's bootstrap servers.
    pub brokers: String,
    /// The registry's Confluent-compatible API.
    pub registry_url: String,
    /// The read models' Postgres. May hold a password: never shown.
    pub database_url: String,
}

/// Why the projections stopped. What passes by itself is waited for and never ends up here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A newer process writes the read models.
    #[error(
        "another projections process has taken over; run exactly one of them (this one writes no more)"
    )]
    Fenced,
    /// The log does not hold the record that comes next: it was cut or made anew.
    #[error(
        "{topic}:{partition} holds offsets {found}, the read models go on at {next}: the log was cut or made anew, so the read models must be rebuilt"
    )]
    OffsetLost {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// The next offset to fold.
        next: i64,
        /// What the log holds.
        found: String,
    },
    /// A topic is not there (yet).
    #[error("topic {0} does not exist yet")]
    TopicMissing(&'static str),
    /// Partition counts are fixed for life, and this one is another.
    #[error(
        "topic {topic} has {found} partitions instead of {expected}; counts are fixed for life"
    )]
    WrongPartitions {
        /// Topic.
        topic: &'static str,
        /// As the catalogue has it.
        expected: usize,
        /// As the broker has it.
        found: usize,
    },
    /// Kafka refuses for good, or the client is misconfigured.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The registry refuses one of our schemas.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The database's tables are not ours.
    #[error("the tables of the read models cannot be brought up to date: {0}")]
    Migration(MigrateError),
    /// The database URL is not one.
    #[error("GRIDWAY_DATABASE_URL is not a Postgres URL: {0}")]
    Database(sqlx::Error),
    /// The figures cannot be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Folds the log into the read models until `stop`. Waits for Kafka, the registry and Postgres
/// as long as it takes, and goes on where it was; stopping at any moment loses nothing.
///
/// # Errors
/// See [`Error`]: what waiting does not mend.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    let metrics = Metrics::new(prometheus::default_registry())?;
    let work = async {
        let runner = Runner::start(&config, metrics).await?;
        loop {
            runner.step().await?;
        }
    };
    // Dropping the work at an await rolls an open transaction back, with its offsets.
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        result = work => result,
    }
}

struct Codecs {
    purchases: Codec<PurchaseEvent>,
    deployments: Codec<DeploymentEvent>,
    users: Codec<UserEvent>,
    deposits: Codec<DepositEvent>,
    treasury: Codec<TreasuryEvent>,
    notifications: Codec<NotificationEvent>,
    applications: Codec<NodeApplicationEvent>,
    approvals: Codec<ApprovalEvent>,
}

impl Codecs {
    async fn connect(registry: &Registry) -> Result<Self, RegistryError> {
        Ok(Self {
            purchases: Codec::connect(registry).await?,
            deployments: Codec::connect(registry).await?,
            users: Codec::connect(registry).await?,
            deposits: Codec::connect(registry).await?,
            treasury: Codec::connect(registry).await?,
            notifications: Codec::connect(registry).await?,
            applications: Codec::connect(registry).await?,
            approvals: Codec::connect(registry).await?,
        })
    }

    async fn event(
        &self,
        topic: &str,
        value: Option<&[u8]>,
    ) -> Result<Result<AnyEvent, DecodeError>, RegistryError> {
        Ok(if topic == PURCHASES.name {
            let event = self.purchases.decode_resolving(value).await?;
            event.map(|e| AnyEvent::Purchase(Box::new(e)))
        } else if topic == DEPLOYMENTS.name {
            let event = self.deployments.decode_resolving(value).await?;
            event.map(|e| AnyEvent::Deployment(Box::new(e)))
        } else if topic == DEPOSITS.name {
            let event = self.deposits.decode_resolving(value).await?;
            event.map(|e| AnyEvent::Deposit(Box::new(e)))
        } else if topic == TREASURY.name {
            let event = self.treasury.decode_resolving(value).await?;
            event.map(|e| AnyEvent::Treasury(Box::new(e)))
        } else if topic == NOTIFICATIONS.name {
            let event = self.notifications.decode_resolving(value).await?;
            event.map(|e| AnyEvent::Notification(Box::new(e)))
        } else if topic == NODE_APPLICATIONS.name {
            let event = self.applications.decode_resolving(value).await?;
            event.map(|e| AnyEvent::Application(Box::new(e)))
        } else if topic == APPROVALS.name {
            let event = self.approvals.decode_resolving(value).await?;
            event.map(|e| AnyEvent::Approval(Box::new(e)))
        } else {
            debug_assert_eq!(topic, USERS.name);
            self.users
                .decode_resolving(value)
                .await?
                .map(AnyEvent::User)
        })
    }
}

struct Runner {
    pool: PgPool,
    codecs: Codecs,
    consumer: Arc<EventConsumer>,
    writer: Writer,
    next: Arc<Mutex<Next>>,
    metrics: Metrics,
    /// Whether the last batch was a large one.
    busy: AtomicBool,
}

impl Runner {
    async fn start(config: &Config, metrics: Metrics) -> Result<Self, Error> {
        let pool = db::connect(&config.database_url, 2).map_err(Error::Database)?;
        retry(&metrics, "postgres", || async {
            db::migrate(&pool).await.map_err(|e| match e {
                MigrateError::Execute(e) => Trouble::Passing(e.to_string()),
                other => Trouble::Lasting(Error::Migration(other)),
            })
        })
        .await?;
        let registry = Registry::new(&config.registry_url)?;
        let codecs = retry(&metrics, "registry", || async {
            Codecs::connect(&registry).await.map_err(registry_trouble)
        })
        .await?;
        let next = Arc::new(Mutex::new(Next::new()));
        let consumer = Arc::new(consumer::create(
            &config.brokers,
            metrics.clone(),
            Arc::clone(&next),
        )?);
        let partitions = consumer::partitions();
        let taken = retry(&metrics, "postgres", || async {
            progress::take_over(&pool, progress::READ_MODELS, &partitions)
                .await
                .map_err(|e| Trouble::Passing(e.to_string()))
        })
        .await?;
        retry(&metrics, "kafka", || async {
            let (consumer, next) = (Arc::clone(&consumer), taken.next.clone());
            tokio::task::spawn_blocking(move || consumer::check(&consumer, &next))
                .await
                .map_err(|e| Trouble::Passing(e.to_string()))?
                .map_err(|e| match e {
                    Error::Kafka(_) | Error::TopicMissing(_) => Trouble::Passing(e.to_string()),
                    other => Trouble::Lasting(other),
                })
        })
        .await?;
        consumer::assign(&consumer, &taken.next)?;
        next.lock().clone_from(&taken.next);
        tracing::info!(
            epoch = taken.epoch,
            partitions = partitions.len(),
            "projections run"
        );
        Ok(Self {
            pool,
            codecs,
            consumer,
            writer: Writer {
                projection: progress::READ_MODELS.to_owned(),
                epoch: taken.epoch,
            },
            next,
            metrics,
            busy: AtomicBool::new(false),
        })
    }

    /// Folds one batch: whatever has arrived, at least one record.
    #[expect(
        clippy::disallowed_methods,
        reason = "the figure of how late an event is seen needs the time"
    )]
    async fn step(&self) -> Result<(), Error> {
        let Some(first) = self.judge(self.consumer.recv().await).await? else {
            return Ok(());
        };
        if self.busy.load(Ordering::Relaxed) {
            tokio::time::sleep(GATHER).await;
        }
        let begun = Instant::now();
        let mut messages = vec![first];
        while messages.len() < BATCH {
            let Some(read) = self.consumer.recv().now_or_never() else {
                break;
            };
            messages.extend(self.judge(read).await?);
        }
        self.busy
            .store(messages.len() >= NUMBERS, Ordering::Relaxed);
        let mut items = Vec::with_capacity(messages.len());
        for message in &messages {
            if let Some(item) = self.read(message).await? {
                items.push(item);
            }
        }
        let moves = self.moves(&items)?;
        let done = self.commit(items.clone(), &moves).await?;
        {
            let mut next = self.next.lock();
            for (key, (_, to)) in &moves {
                next.insert(*key, *to);
            }
        }
        self.metrics
            .committed(items.len(), done, begun.elapsed().as_secs_f64());
        let now = Utc::now().timestamp_millis();
        for item in &items {
            if let Item::Event(entry) = item {
                let age_ms = u64::try_from(now.saturating_sub(entry.envelope.time.0)).unwrap_or(0);
                self.metrics
                    .visible(Duration::from_millis(age_ms).as_secs_f64());
            }
        }
        Ok(())
    }

    /// A record, or `None` for trouble that Kafka's client is already mending.
    async fn judge<'a>(
        &self,
        read: Result<BorrowedMessage<'a>, KafkaError>,
    ) -> Result<Option<BorrowedMessage<'a>>, Error> {
        match read {
            Ok(message) => Ok(Some(message)),
            Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
            )) => Err(self.offset_lost().await),
            Err(error @ KafkaError::MessageConsumptionFatal(_)) => Err(error.into()),
            Err(error) => {
                self.metrics.retry("kafka");
                tracing::warn!(%error, "Kafka does not deliver for now");
                Ok(None)
            }
        }
    }

    /// Kafka says that some offset is gone; finds out which.
    async fn offset_lost(&self) -> Error {
        let (consumer, next) = (Arc::clone(&self.consumer), self.next.lock().clone());
        match tokio::task::spawn_blocking(move || consumer::check(&consumer, &next)).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => {
                KafkaError::MessageConsumption(RDKafkaErrorCode::OffsetOutOfRange).into()
            }
        }
    }

    /// Reads a record, waiting for the registry as long as it takes.
    async fn read(&self, message: &BorrowedMessage<'_>) -> Result<Option<Item>, Error> {
        let Some(topic) = consumer::known(message.topic()) else {
            return Ok(None);
        };
        let place = Place {
            topic,
            partition: message.partition(),
            offset: message.offset(),
        };
        let undecodable = |reason: String| {
            self.metrics.undecodable(place, &reason);
            Ok(Some(Item::Undecodable { place, reason }))
        };
        let envelope = match Envelope::read(message.headers()) {
            Ok(envelope) => envelope,
            Err(error) => return undecodable(error.to_string()),
        };
        let decoded = retry(&self.metrics, "registry", || async {
            match self.codecs.event(topic, message.payload()).await {
                // An answer, and one about this record alone.
                Err(error @ (RegistryError::UnknownId(_) | RegistryError::Unusable { .. })) => {
                    Ok(Err(error.to_string()))
                }
                Err(error) => Err(registry_trouble(error)),
                Ok(decoded) => Ok(decoded.map_err(|e| e.to_string())),
            }
        })
        .await?;
        match decoded {
            Ok(event) => Ok(Some(Item::Event(Entry {
                place,
                envelope,
                event,
            }))),
            Err(reason) => undecodable(reason),
        }
    }

    /// From where to where each partition moves with these records. The position counts: it steps
    /// over markers and aborted records, the last record's offset does not.
    fn moves(&self, items: &[Item]) -> Result<Moves, Error> {
        let mut to = consumer::positions(&self.consumer)?;
        for item in items {
            let place = item.place();
            let next = to.entry((place.topic, place.partition)).or_insert(0);
            *next = (*next).max(place.offset + 1);
        }
        let next = self.next.lock();
        Ok(to
            .into_iter()
            .filter_map(|(key, to)| {
                let from = next.get(&key).copied().unwrap_or(0);
                (to > from).then_some((key, (from, to)))
            })
            .collect())
    }

    /// Commits the batch, waiting for Postgres as long as it takes.
    async fn commit(&self, items: Vec<Item>, moves: &Moves) -> Result<Done, Error> {
        match self.commit_whole(&items, moves).await? {
            Some(done) => Ok(done),
            None => self.commit_singly(items, moves).await,
        }
    }

    /// `None` when Postgres refuses the content of a record.
    async fn commit_whole(&self, items: &[Item], moves: &Moves) -> Result<Option<Done>, Error> {
        retry(&self.metrics, "postgres", || async {
            match apply(&self.pool, &self.writer, items, moves).await {
                Ok(done) => Ok(Some(done)),
                Err(ApplyError::Fenced) => Err(Trouble::Lasting(Error::Fenced)),
                Err(error) if is_about_content(&error) => {
                    // The words of the database name the column, and the next step the record.
                    tracing::warn!(%error, records = items.len(), "a record does not fit the tables");
                    Ok(None)
                }
                Err(error) => Err(Trouble::Passing(error.to_string())),
            }
        })
        .await
    }

    /// Commits record by record, so that one that the tables cannot hold is found and set aside.
    async fn commit_singly(&self, items: Vec<Item>, moves: &Moves) -> Result<Done, Error> {
        let mut total = Done::default();
        let mut left = moves.clone();
        for item in items {
            let place = item.place();
            let key = (place.topic, place.partition);
            let from = left.get(&key).map_or(0, |(from, _)| *from);
            let one = Moves::from([(key, (from, place.offset + 1))]);
            let done =
                if let Some(done) = self.commit_whole(std::slice::from_ref(&item), &one).await? {
                    done
                } else {
                    let reason =
                        "it is an event, but its content does not fit the read models".to_owned();
                    self.metrics.undecodable(place, &reason);
                    let aside = Item::Undecodable { place, reason };
                    self.commit_whole(&[aside], &one).await?.unwrap_or_default()
                };
            total.folded += done.folded;
            total.echoes += done.echoes;
            total.undecodable += done.undecodable;
            if let Some(rest) = left.get_mut(&key) {
                rest.0 = place.offset + 1;
            }
        }
        left.retain(|_, (from, to)| from < to);
        if !left.is_empty() {
            self.commit_whole(&[], &left).await?;
        }
        Ok(total)
    }
}

/// Trouble that passes by itself is waited for; the other kind ends the process.
enum Trouble {
    Passing(String),
    Lasting(Error),
}

fn registry_trouble(error: RegistryError) -> Trouble {
    match error {
        RegistryError::Unavailable { .. } => Trouble::Passing(error.to_string()),
        RegistryError::UnknownId(_)
        | RegistryError::Refused { .. }
        | RegistryError::Unusable { .. } => Trouble::Lasting(error.into()),
    }
}

async fn retry<T, F, W>(metrics: &Metrics, part: impl Display, mut attempt: F) -> Result<T, Error>
where
    F: FnMut() -> W,
    W: Future<Output = Result<T, Trouble>>,
{
    let mut wait = FIRST_WAIT;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(Trouble::Lasting(error)) => return Err(error),
            Err(Trouble::Passing(error)) => {
                metrics.retry(&part.to_string());
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(%part, error, wait_ms, "projections wait and try again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}
