//! The stack really runs what it says, survives crashes of its parts and leaves nothing behind.
#![expect(
    clippy::unwrap_used,
    reason = "a test may stop where it finds the fault"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use sandbox_stack::{Part, Stack, StackError, StackOptions};
use sqlx::{Connection, PgConnection};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const WITHIN: Duration = Duration::from_mins(1);
const TOPIC: &str = "things";

fn without_stand_ins() -> StackOptions {
    StackOptions {
        stand_ins: false,
        ..StackOptions::default()
    }
}

/// Whether a process is there and not merely waiting to be reaped.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + WITHIN;
    while !done() {
        assert!(Instant::now() < until, "not within {WITHIN:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let of = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        of == Some(parent)
    })
    .collect()
}

async fn produce(brokers: &str, value: &str) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap();
    let record = FutureRecord::to(TOPIC).key("k").payload(value);
    producer
        .send(record, WITHIN)
        .await
        .map_err(|(error, _)| error)
        .unwrap();
}

async fn consume(brokers: &str, count: usize) -> Vec<String> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(TOPIC, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&from).unwrap();
    let mut values = Vec::new();
    while values.len() < count {
        let record = tokio::time::timeout(WITHIN, consumer.recv())
            .await
            .unwrap()
            .unwrap();
        values.push(String::from_utf8(record.payload().unwrap().to_vec()).unwrap());
    }
    values
}

/// Registers a record with the given fields; the status of the answer.
async fn register(url: &str, fields: serde_json::Value) -> u16 {
    let schema = serde_json::json!({ "type": "record", "name": "Thing", "fields": fields });
    let body = serde_json::json!({ "schema": schema.to_string() });
    let answer = reqwest::Client::new().post(format!("{url}/subjects/things-value/versions"));
    answer.json(&body).send().await.unwrap().status().as_u16()
}

async fn ping(url: &str) {
    let address = url.strip_prefix("redis://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PING\r\n").await.unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

async fn greets(url: &str) {
    let address = url.strip_prefix("smtp://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 ");
}

#[tokio::test]
async fn every_part_answers_survives_a_crash_and_is_gone_after_the_stop() {
    let stack = Stack::start(without_stand_ins()).await.unwrap();
    let names: Vec<String> = stack
        .environment()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "GRIDWAY_KAFKA_BROKERS",
        "GRIDWAY_REGISTRY_URL",
        "GRIDWAY_DATABASE_URL",
        "GRIDWAY_REDIS_URL",
        "GRIDWAY_SMTP_URL",
        "GRIDWAY_SANDBOX_MAILBOX",
    ];
    assert_eq!(names, expected);

    // Kafka: a record goes in and comes out, and is there after a crash.
    let brokers = stack.kafka_brokers().to_owned();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .create()
        .unwrap();
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(1));
    admin
        .create_topics([&topic], &AdminOptions::new())
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    produce(&brokers, "before").await;
    assert_eq!(consume(&brokers, 1).await, ["before"]);
    let before = stack.pid(Part::Kafka).await.unwrap().unwrap();
    stack.kill(Part::Kafka).await.unwrap();
    assert_eq!(stack.pid(Part::Kafka).await.unwrap(), None);
    assert!(!runs(before));
    stack.restart(Part::Kafka).await.unwrap();
    produce(&brokers, "after").await;
    assert_eq!(consume(&brokers, 2).await, ["before", "after"]);

    // The registry: the rule is in force, before and after a crash.
    let registry = stack.registry_url().to_owned();
    let first = serde_json::json!([{ "name": "a", "type": "int" }]);
    let compatible = serde_json::json!([{ "name": "a", "type": "int" }, { "name": "b", "type": "int", "default": 0 }]);
    let incompatible =
        serde_json::json!([{ "name": "a", "type": "int" }, { "name": "b", "type": "int" }]);
    assert_eq!(register(&registry, first).await, 200);
    assert_eq!(register(&registry, incompatible.clone()).await, 409);
    stack.restart(Part::Registry).await.unwrap();
    assert_eq!(register(&registry, incompatible).await, 409);
    assert_eq!(register(&registry, compatible).await, 200);

    // Postgres: what is committed survives a crash.
    let database = stack.database_url().to_owned();
    let mut connection = PgConnection::connect(&database).await.unwrap();
    sqlx::query("CREATE TABLE things AS SELECT 7 AS n")
        .execute(&mut connection)
        .await
        .unwrap();
    let fsync: String = sqlx::query_scalar("SHOW fsync")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(fsync, "on");
    stack.kill(Part::Postgres).await.unwrap();
    stack.restart(Part::Postgres).await.unwrap();
    let mut connection = PgConnection::connect(&database).await.unwrap();
    let n: i32 = sqlx::query_scalar("SELECT n FROM things")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(n, 7);

    let redis = stack.redis_url().to_owned();
    ping(&redis).await;
    stack.restart(Part::Redis).await.unwrap();
    ping(&redis).await;

    // The mail server says who it is, before and after a crash.
    let mail = stack.smtp_url().to_owned();
    greets(&mail).await;
    stack.restart(Part::Mail).await.unwrap();
    greets(&mail).await;

    assert!(matches!(
        stack.pid(Part::Horizon).await,
        Err(StackError::NotStarted(Part::Horizon))
    ));

    let mut pids = Vec::new();
    for part in [
        Part::Kafka,
        Part::Registry,
        Part::Postgres,
        Part::Redis,
        Part::Mail,
    ] {
        pids.push(stack.pid(part).await.unwrap().unwrap());
    }
    let backends: Vec<u32> = pids.iter().flat_map(|pid| children(*pid)).collect();
    assert!(!backends.is_empty(), "Postgres has processes of its own");
    let folder = stack.folder().to_owned();
    stack.stop().await;
    for pid in pids.iter().chain(&backends) {
        assert!(!runs(*pid), "process {pid} is left");
    }
    assert!(!folder.exists());
}

/// The binary, started and ready; its pid, its children's, and its environment.
fn binary(dir: &Path) -> (std::process::Child, Vec<u32>, Vec<String>) {
    let mut binary = Command::new(env!("CARGO_BIN_EXE_sandbox-stack"))
        .arg("--no-stand-ins")
        .arg("--dir")
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(binary.stdout.take().unwrap()).lines();
    let environment: Vec<String> = lines.map(Result::unwrap).take(6).collect();
    assert_eq!(environment.len(), 6, "the binary has ended");
    let mut pids = children(binary.id());
    assert_eq!(pids.len(), 5);
    let backends: Vec<u32> = pids.iter().flat_map(|pid| children(*pid)).collect();
    pids.extend(backends);
    (binary, pids, environment)
}

/// A sandbox folder of its own that shares the downloads.
#[expect(
    clippy::disallowed_methods,
    reason = "a test of the edge: it finds the downloads where the stack does"
)]
fn folder(name: &str) -> PathBuf {
    let shared = std::env::var("GRIDWAY_SANDBOX_DIR")
        .map_or_else(|_| PathBuf::from(".sandbox"), PathBuf::from);
    let dir = std::env::temp_dir().join(format!("gridway-stack-{name}-{}", std::process::id()));
    fs::create_dir_all(shared.join("downloads")).unwrap();
    fs::create_dir_all(&dir).unwrap();
    std::os::unix::fs::symlink(
        fs::canonicalize(shared.join("downloads")).unwrap(),
        dir.join("downloads"),
    )
    .unwrap();
    dir
}

fn run_folders(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("run-"))
        .count()
}

#[test]
fn nothing_outlives_a_killed_parent_and_two_stacks_do_not_meet() {
    let dir = folder("killed");
    let (mut first, first_pids, first_environment) = binary(&dir);
    let (mut second, second_pids, second_environment) = binary(&dir);
    for value in &first_environment {
        assert!(
            !second_environment.contains(value),
            "{value} is given twice"
        );
    }

    first.kill().unwrap();
    first.wait().unwrap();
    wait_until("children of a killed parent are gone", || {
        !first_pids.iter().any(|pid| runs(*pid))
    });
    assert!(
        second_pids.iter().all(|pid| runs(*pid)),
        "another stack was disturbed"
    );

    kill(
        Pid::from_raw(i32::try_from(second.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    assert!(second.wait().unwrap().success());
    assert!(
        !second_pids.iter().any(|pid| runs(*pid)),
        "Ctrl-C left a process"
    );
    assert_eq!(run_folders(&dir), 1, "only what the killed one left");

    // The next start clears that away, and a SIGTERM stops it as Ctrl-C does.
    let (mut third, third_pids, _) = binary(&dir);
    assert_eq!(run_folders(&dir), 1, "only its own");
    kill(
        Pid::from_raw(i32::try_from(third.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert!(third.wait().unwrap().success());
    assert!(
        !third_pids.iter().any(|pid| runs(*pid)),
        "SIGTERM left a process"
    );
    assert_eq!(run_folders(&dir), 0);
    fs::remove_dir_all(dir).unwrap();
}

/// Needs the stand-ins' binaries: `cargo build --workspace --bins`.
#[tokio::test]
async fn the_stand_ins_answer_with_what_the_environment_says() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let environment = stack.environment();
    let get = |name: &str| {
        let found = environment.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.clone()).unwrap()
    };
    let client = reqwest::Client::new();

    let intents = format!("{}/v1/payment_intents", get("GRIDWAY_STRIPE_URL"));
    let with_key = client.get(&intents).bearer_auth(get("GRIDWAY_STRIPE_KEY"));
    assert_eq!(with_key.send().await.unwrap().status(), 200);
    let without = client.get(&intents).bearer_auth("sk_test_another");
    assert_eq!(without.send().await.unwrap().status(), 401);

    // The market stands: the bridge's account is on the ledger.
    let horizon = get("GRIDWAY_HORIZON_URL");
    let bridge = format!("{horizon}/accounts/{}", get("GRIDWAY_BRIDGE_ADDRESS"));
    assert_eq!(client.get(bridge).send().await.unwrap().status(), 200);

    for part in [Part::Stripe, Part::Horizon, Part::Tfchain, Part::Messaging] {
        let before = stack.pid(part).await.unwrap().unwrap();
        stack.kill(part).await.unwrap();
        assert!(!runs(before));
        stack.restart(part).await.unwrap();
        assert!(stack.pid(part).await.unwrap().is_some_and(runs));
    }
    assert_eq!(Some(get("GRIDWAY_STRIPE_URL").as_str()), stack.stripe_url());
    stack.set_webhook("http://127.0.0.1:9/hook").await.unwrap();
    stack.restart(Part::Stripe).await.unwrap();

    let folder = stack.folder().to_owned();
    let mut pids = Vec::new();
    for part in Part::ALL {
        pids.push(stack.pid(part).await.unwrap().unwrap());
    }
    drop(stack);
    assert!(
        !pids.into_iter().any(runs),
        "a dropped stack left a process"
    );
    assert!(!folder.exists());
}

#[test]
fn a_missing_part_is_named() {
    let error = "zookeeper".parse::<Part>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no part of the stack is named \"zookeeper\""
    );
    for part in Part::ALL {
        assert_eq!(part.name().parse::<Part>().unwrap(), part);
    }
}
