//! When a part is ready: it answers its own protocol.

use crate::StackError;
use crate::child::{LOOK, Process};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sqlx::{Connection, PgConnection};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to ask a part.
#[derive(Debug, Clone)]
pub(crate) enum Ready {
    /// The cluster's metadata.
    Kafka { brokers: String },
    /// The subjects; then the compatibility rule is set, whose default is none.
    Registry { url: String },
    /// A connection; then the database is made if it is not there.
    Postgres {
        server: String,
        database: &'static str,
    },
    /// PING.
    Redis { port: u16 },
    /// A successful answer.
    Http { url: String },
    /// A line `{"listening":"http://…"}` in its output.
    Listening,
}

impl Ready {
    /// Asks until the part answers, its process ends or the time is over.
    pub(crate) async fn wait(
        &self,
        process: &mut Process,
        within: Duration,
    ) -> Result<(), StackError> {
        let until = Instant::now() + within;
        loop {
            let told = match tokio::time::timeout(PATIENCE, self.ask(process)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(told)) => told,
                Err(_) => "no answer".to_owned(),
            };
            if let Some(status) = process.ended() {
                return Err(process.failure(format!("ended with {status}")));
            }
            if Instant::now() >= until {
                return Err(
                    process.failure(format!("not ready after {} s: {told}", within.as_secs()))
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ask(&self, process: &Process) -> Result<(), String> {
        match self {
            Self::Kafka { brokers } => kafka(brokers).await,
            Self::Registry { url } => registry(url).await,
            Self::Postgres { server, database } => postgres(server, database).await,
            Self::Redis { port } => redis(*port).await,
            Self::Http { url } => http(url).await,
            Self::Listening => {
                let output = process.output();
                let announced = output
                    .lines()
                    .any(|line| line.starts_with("{\"listening\":"));
                if announced {
                    Ok(())
                } else {
                    Err("it has not said that it listens".to_owned())
                }
            }
        }
    }
}

async fn kafka(brokers: &str) -> Result<(), String> {
    // librdkafka backs off between connects, so it is asked only once something listens.
    TcpStream::connect(brokers).await.map_err(text)?;
    let brokers = brokers.to_owned();
    let ask = move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .create()
            .map_err(text)?;
        let metadata = consumer.fetch_metadata(None, PATIENCE).map_err(text)?;
        if metadata.brokers().is_empty() {
            Err("no broker has registered".to_owned())
        } else {
            Ok(())
        }
    };
    tokio::task::spawn_blocking(ask).await.map_err(text)?
}

async fn registry(url: &str) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .map_err(text)?;
    let answer = client
        .get(format!("{url}/subjects"))
        .send()
        .await
        .map_err(text)?;
    answer.error_for_status().map_err(text)?;
    let rule = serde_json::json!({ "compatibility": "BACKWARD_TRANSITIVE" });
    let answer = client
        .put(format!("{url}/config"))
        .json(&rule)
        .send()
        .await
        .map_err(text)?;
    answer.error_for_status().map_err(text)?;
    Ok(())
}

async fn http(url: &str) -> Result<(), String> {
    let answer = reqwest::get(url).await.map_err(text)?;
    answer.error_for_status().map_err(text)?;
    Ok(())
}

async fn postgres(server: &str, database: &'static str) -> Result<(), String> {
    let mut connection = PgConnection::connect(&format!("{server}/postgres"))
        .await
        .map_err(text)?;
    let found: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(database)
        .fetch_optional(&mut connection)
        .await
        .map_err(text)?;
    if found.is_none() {
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}"));
        sqlx::raw_sql(create)
            .execute(&mut connection)
            .await
            .map_err(text)?;
    }
    connection.close().await.map_err(text)
}

async fn redis(port: u16) -> Result<(), String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(text)?;
    stream.write_all(b"PING\r\n").await.map_err(text)?;
    let mut answer = [0_u8; 7];
    stream.read_exact(&mut answer).await.map_err(text)?;
    if &answer == b"+PONG\r\n" {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
