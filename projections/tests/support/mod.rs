//! A writer of the log and runners of the projections, on a real stack.

use chrono::Utc;
use events::codec::Codec;
use events::deployments::DeploymentEvent;
use events::envelope::Envelope;
use events::ids::EventId;
use events::notifications::NotificationEvent;
use events::purchases::PurchaseEvent;
use events::registry::Registry;
use events::schema::EventSet;
use events::time::Timestamp;
use events::topics;
use events::treasury::TreasuryEvent;
use events::users::UserEvent;
use projections::progress::Position;
use projections::{Config, Error};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer};
use sandbox_stack::Stack;
use sqlx::{PgPool, Row};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Asks again until there is an answer, for a minute at most.
pub async fn eventually<T, R: Future<Output = Option<T>>>(ask: impl Fn() -> R) -> T {
    let begun = Instant::now();
    loop {
        // Postgres may be on its way back: an unanswered question is asked again too.
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "no answer within a minute"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Event sets that the tests append.
pub trait Appended: EventSet {
    fn codec(log: &Log) -> &Codec<Self>;
}

impl Appended for PurchaseEvent {
    fn codec(log: &Log) -> &Codec<Self> {
        &log.purchases
    }
}

impl Appended for DeploymentEvent {
    fn codec(log: &Log) -> &Codec<Self> {
        &log.deployments
    }
}

impl Appended for UserEvent {
    fn codec(log: &Log) -> &Codec<Self> {
        &log.users
    }
}

impl Appended for TreasuryEvent {
    fn codec(log: &Log) -> &Codec<Self> {
        &log.treasury
    }
}

impl Appended for NotificationEvent {
    fn codec(log: &Log) -> &Codec<Self> {
        &log.notifications
    }
}

/// The log of a stack, and the read models in one of its databases.
pub struct Log {
    config: Config,
    producer: FutureProducer,
    purchases: Codec<PurchaseEvent>,
    deployments: Codec<DeploymentEvent>,
    users: Codec<UserEvent>,
    treasury: Codec<TreasuryEvent>,
    notifications: Codec<NotificationEvent>,
    pub pool: PgPool,
}

/// A runner of the projections in this process.
pub struct Runner {
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Runner {
    pub fn ended(&self) -> bool {
        self.task.is_finished()
    }

    pub async fn result(self) -> Result<(), Error> {
        self.task.await.unwrap()
    }

    pub async fn stop(self) -> Result<(), Error> {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

impl Log {
    pub async fn open(stack: &Stack) -> Self {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", stack.kafka_brokers())
            .create()
            .unwrap();
        let wanted =
            topics::ALL.map(|t| NewTopic::new(t.name, t.partitions, TopicReplication::Fixed(1)));
        for made in admin
            .create_topics(&wanted, &AdminOptions::new())
            .await
            .unwrap()
        {
            made.unwrap();
        }
        Self::of(Config {
            brokers: stack.kafka_brokers().to_owned(),
            registry_url: stack.registry_url().to_owned(),
            database_url: stack.database_url().to_owned(),
        })
        .await
    }

    async fn of(config: Config) -> Self {
        let registry = Registry::new(&config.registry_url).unwrap();
        let pool = projections::connect(&config.database_url, 8).unwrap();
        projections::migrate(&pool).await.unwrap();
        Self {
            producer: producer(&config).create().unwrap(),
            purchases: Codec::connect(&registry).await.unwrap(),
            deployments: Codec::connect(&registry).await.unwrap(),
            users: Codec::connect(&registry).await.unwrap(),
            treasury: Codec::connect(&registry).await.unwrap(),
            notifications: Codec::connect(&registry).await.unwrap(),
            pool,
            config,
        }
    }

    /// The same log, with empty read models in a database of their own.
    pub async fn rebuilt(&self, database: &'static str) -> Self {
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}")))
            .execute(&self.pool)
            .await
            .unwrap();
        let mut config = self.config.clone();
        let (server, _) = config.database_url.rsplit_once('/').unwrap();
        config.database_url = format!("{server}/{database}");
        Self::of(config).await
    }

    pub fn runner(&self) -> Runner {
        let stop = CancellationToken::new();
        let task = tokio::spawn(projections::run(self.config.clone(), stop.clone()));
        Runner { stop, task }
    }

    pub fn bytes<E: Appended>(&self, event: &E) -> Vec<u8> {
        E::codec(self).encode(event).unwrap()
    }

    pub async fn append<E: Appended>(
        &self,
        key: &str,
        id: EventId,
        correlation: &str,
        event: E,
    ) -> Position {
        let payload = self.bytes(&event);
        let headers = envelope(key, id, correlation).headers(&event);
        let record = FutureRecord::to(E::TOPIC)
            .key(key)
            .payload(&payload)
            .headers(headers);
        let delivery = self
            .producer
            .send(record, Duration::from_secs(30))
            .await
            .unwrap();
        Position {
            topic: E::TOPIC.to_owned(),
            partition: delivery.partition,
            offset: delivery.offset,
        }
    }

    /// Appends bytes as they are, with an envelope or without.
    #[expect(clippy::disallowed_methods, reason = "tests stand at the edge")]
    pub async fn append_raw(
        &self,
        topic: &str,
        key: &str,
        value: Option<&[u8]>,
        enveloped: bool,
    ) -> Position {
        let mut record: FutureRecord<'_, str, [u8]> = FutureRecord::to(topic).key(key);
        if let Some(value) = value {
            record = record.payload(value);
        }
        if enveloped {
            let id = EventId::derive(&[key, &Utc::now().to_rfc3339()]);
            let event = UserEvent::from(events::users::UserRegistered {
                user_id: events::ids::UserId::derive(&[key]),
                registered_at: Timestamp(0),
            });
            record = record.headers(envelope(key, id, key).headers(&event));
        }
        let delivery = self
            .producer
            .send(record, Duration::from_secs(30))
            .await
            .unwrap();
        Position {
            topic: topic.to_owned(),
            partition: delivery.partition,
            offset: delivery.offset,
        }
    }

    /// Writes an event in a transaction and aborts it.
    pub fn append_aborted(&self, key: &str, event: &PurchaseEvent) {
        let within = Duration::from_secs(10);
        let producer: BaseProducer = producer(&self.config)
            .set("transactional.id", "aborter")
            .create()
            .unwrap();
        producer.init_transactions(within).unwrap();
        producer.begin_transaction().unwrap();
        let payload = self.bytes(event);
        let headers = envelope(key, EventId::derive(&[key, "aborted"]), key).headers(event);
        producer
            .send(
                BaseRecord::to("purchases")
                    .key(key)
                    .payload(&payload)
                    .headers(headers),
            )
            .unwrap();
        producer.flush(within).unwrap();
        producer.abort_transaction(within).unwrap();
    }

    /// What each read model holds, one text per table.
    pub async fn fingerprints(&self) -> Vec<(&'static str, i64, String)> {
        let mut found = Vec::new();
        for (table, key) in [
            ("purchases", "id"),
            ("deployments", "id"),
            ("users", "id"),
            ("treasury_crossings", "holding"),
            ("lanes", "account"),
            ("notifications", "id"),
            ("notification_preferences", "user_id"),
            ("webhook_endpoint_states", "id"),
            ("timeline", "topic, partition, \"offset\""),
        ] {
            let row = sqlx::query(sqlx::AssertSqlSafe(format!(
                "SELECT count(*) AS rows, md5(coalesce(string_agg(t::text, '|' ORDER BY {key}), '')) AS sum FROM {table} t"
            )))
            .fetch_one(&self.pool)
            .await
            .unwrap();
            found.push((table, row.get("rows"), row.get("sum")));
        }
        let row = sqlx::query(
            r#"SELECT count(*) AS rows,
                      md5(string_agg(topic || partition || ':' || "offset" || reason, '|'
                                     ORDER BY topic, partition, "offset")) AS sum FROM undecodable"#,
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        found.push(("undecodable", row.get("rows"), row.get("sum")));
        found
    }

    pub async fn offsets(&self) -> Vec<(String, i32, i64)> {
        sqlx::query("SELECT topic, partition, next_offset FROM projection_offsets ORDER BY 1, 2")
            .fetch_all(&self.pool)
            .await
            .unwrap()
            .iter()
            .map(|row| {
                (
                    row.get("topic"),
                    row.get("partition"),
                    row.get("next_offset"),
                )
            })
            .collect()
    }
}

fn producer(config: &Config) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", &config.brokers)
        .set("linger.ms", "0")
        .set("partitioner", "murmur2_random");
    settings
}

#[expect(clippy::disallowed_methods, reason = "tests stand at the edge")]
fn envelope(key: &str, id: EventId, correlation: &str) -> Envelope {
    Envelope {
        id,
        source: "/gridway/test".to_owned(),
        time: Timestamp::from(Utc::now()),
        subject: key.to_owned(),
        correlation: Some(correlation.to_owned()),
        causation: None,
        traceparent: None,
    }
}
