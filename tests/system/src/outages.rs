//! What Gridway itself stands on goes away: Kafka cannot be reached for minutes, and its disk is
//! full. People go on buying; afterwards everything has ended, and nothing is doubled or lost.

use crate::crash::deployers::Deploys;
use crate::crash::faults;
use crate::crash::gather;
use crate::crash::rebuild;
use crate::crash::shoppers::{self, Manner, Order};
use crate::crash::{Plan, Stage, api_address};
use crate::hanging;
use crate::world::World;
use anyhow::{Context, Result, bail};
use gridway::up::Options;
use sandbox_stack::{Part, may_mount};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};

/// Purchases before, during and after each outage, each.
const WAVE: usize = 6;
/// Buyers have their twins before; the last of all users only try to register during the outages.
const BUYERS: usize = 6 * WAVE;
const USERS: usize = BUYERS + 400;
/// How long a command may take to be refused while Kafka is away.
const REFUSED_WITHIN: Duration = Duration::from_secs(15);
/// How long everything may take to end once all is well again.
const END_WITHIN: Duration = Duration::from_secs(120);
/// How long the disk stays full after the first command was refused for it.
const FULL_FOR: Duration = Duration::from_secs(5);
/// Kafka's disk. What fills it is a file of ours: Kafka's own files stay small.
const DISK_MIB: u32 = 192;

/// Runs both.
///
/// # Errors
/// When a rule is broken, or the system does not come to rest.
pub async fn run(kafka_seconds: u64) -> Result<()> {
    let mounts = may_mount();
    let listen = api_address()?;
    let options = Options {
        keep: true,
        kafka_disk_mib: mounts.then_some(DISK_MIB),
        ..Options::default()
    };
    let overrides = [
        ("GRIDWAY_API_LISTEN", listen.as_str()),
        ("GRIDWAY_RECONCILE_SECONDS", "2"),
    ];
    let world = World::start(USERS, BUYERS, &overrides, options).await?;
    let plan = Plan {
        kills: 0,
        freezes: 0,
        purchases: 0,
        seed: 1,
    };
    let stage = Arc::new(Stage::new(world, plan));
    let folder = stage.stack.folder().display().to_string();
    let result = both(&stage, kafka_seconds, mounts).await;
    stage.over();
    stage.rest();
    stage.fleet.lock().await.stop().await;
    if let Ok(stage) = Arc::try_unwrap(stage) {
        stage.stack.stop().await;
    }
    match result {
        Ok(purchases) => {
            let disk = if mounts {
                "disk full"
            } else {
                "disk not filled (mounting a small one is not allowed here)"
            };
            println!(
                "outages: Kafka away for {kafka_seconds} s, {disk}, {purchases} purchases, 0 doubled, 0 lost"
            );
            let _ = std::fs::remove_dir_all(folder);
            Ok(())
        }
        Err(error) => {
            eprintln!("logs and topics are kept in {folder}");
            Err(error)
        }
    }
}

async fn both(stage: &Arc<Stage>, kafka_seconds: u64, mounts: bool) -> Result<usize> {
    let mut watch = JoinSet::new();
    watch.spawn(hanging::watch(Arc::clone(stage)));
    let before = gather::treasury(stage).await?;
    faults::unreliable_webhooks(stage).await?;
    let mut people = People::new(Arc::clone(stage));
    unreachable(stage, &mut people, Duration::from_secs(kafka_seconds)).await?;
    if mounts {
        disk_full(stage, &mut people).await?;
    } else {
        stage.say("the disk is not filled: mounting a small one is not allowed here");
    }
    let orders = people.orders().await?;
    rested(stage, &orders).await?;
    stage.rest();
    while let Some(aborted) = watch.join_next().await {
        stage.say(&format!("{} transactions hung and were aborted", aborted??));
    }
    let observed = gather::observe(stage, &orders, before).await?;
    let mut wrong: Vec<String> = observed
        .violations()
        .iter()
        .map(ToString::to_string)
        .collect();
    wrong.extend(rebuild::compare(stage).await?);
    wrong.extend(stage.complaints());
    let dead = stage.fleet.lock().await.dead();
    wrong.extend(
        dead.into_iter()
            .map(|part| format!("{part} ended by itself")),
    );
    if wrong.is_empty() {
        Ok(orders.len())
    } else {
        bail!("{}", wrong.join("\n"))
    }
}

/// Those who buy; each repeats what is refused until it is taken.
struct People {
    stage: Arc<Stage>,
    buying: Vec<JoinHandle<Result<Order>>>,
    orders: Vec<Order>,
}

impl People {
    const fn new(stage: Arc<Stage>) -> Self {
        Self {
            stage,
            buying: Vec::new(),
            orders: Vec::new(),
        }
    }

    /// Some more begin to buy.
    fn wave(&mut self) {
        for _ in 0..WAVE {
            let (stage, number) = (
                Arc::clone(&self.stage),
                self.buying.len() + self.orders.len(),
            );
            self.buying.push(tokio::spawn(async move {
                shoppers::buy(&stage, number, Manner::Pays, Deploys::Once, Duration::ZERO)
                    .await
                    .with_context(|| format!("buyer {number}"))
            }));
        }
    }

    /// Waits until all of them have paid.
    async fn paid(&mut self) -> Result<()> {
        for buying in std::mem::take(&mut self.buying) {
            self.orders.push(buying.await??);
        }
        Ok(())
    }

    /// All orders, paid.
    async fn orders(mut self) -> Result<Vec<Order>> {
        self.paid().await?;
        Ok(self.orders)
    }
}

async fn rested(stage: &Arc<Stage>, orders: &[Order]) -> Result<()> {
    let since = Instant::now();
    let open = shoppers::rest(stage, orders, END_WITHIN).await?;
    if open > 0 {
        bail!("{open} purchases have not ended after {END_WITHIN:?}");
    }
    stage.say(&format!(
        "{} purchases have ended, {:.1} s after the last payment",
        orders.len(),
        since.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// Kafka goes away, with purchases at every step of their way, and comes back.
async fn unreachable(stage: &Arc<Stage>, people: &mut People, time: Duration) -> Result<()> {
    people.wave();
    people.paid().await?;
    rested(stage, &people.orders).await?;
    people.wave();
    // Some of them have ordered, some have paid, some are not even heard yet.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let gone = Instant::now();
    stage.stack.shut_down(Part::Kafka).await?;
    stage.say("Kafka cannot be reached");
    people.wave();
    let mut refused = 0;
    loop {
        refusal(stage, refused).await?;
        refused += 1;
        let left = time.saturating_sub(gone.elapsed());
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(left.min(Duration::from_secs(5))).await;
    }
    stage.say(&format!(
        "{refused} commands were refused with 503 and nothing else; Kafka comes back"
    ));
    stage.stack.restart(Part::Kafka).await?;
    stage.say("Kafka is back");
    people.wave();
    people.paid().await?;
    rested(stage, &people.orders).await
}

/// A command is refused as RFC 9457 wants it, and whatever needs no Kafka goes on.
async fn refusal(stage: &Stage, number: usize) -> Result<()> {
    let newcomer = World::token(BUYERS + number % (USERS - BUYERS));
    let begun = Instant::now();
    let answer = stage
        .calm
        .post(format!("{}/users", stage.api))
        .timeout(REFUSED_WITHIN)
        .bearer_auth(newcomer)
        .header("Idempotency-Key", "register")
        .json(&json!({}))
        .send()
        .await
        .with_context(|| format!("a command got no answer within {REFUSED_WITHIN:?}"))?;
    problem(answer, "log-unavailable").await?;
    let took = begun.elapsed();
    if took > REFUSED_WITHIN {
        bail!("a command was refused after {took:?}");
    }
    let bearer = World::token(0);
    let get = |path: &str| {
        stage
            .calm
            .get(format!("{}{path}", stage.api))
            .bearer_auth(&bearer)
    };
    let readiness = problem(get("/readyz").send().await?, "not-ready").await?;
    if !readiness["detail"]
        .as_str()
        .is_some_and(|d| d.contains("kafka"))
    {
        bail!("readiness does not name Kafka: {readiness}");
    }
    for path in ["/healthz", "/users/me"] {
        get(path)
            .send()
            .await?
            .error_for_status()
            .with_context(|| format!("GET {path}"))?;
    }
    Ok(())
}

/// The problem of an answer that is a 503 of this kind.
async fn problem(answer: reqwest::Response, kind: &str) -> Result<Value> {
    let status = answer.status();
    let media = answer.headers().get("content-type").cloned();
    let text = answer.text().await?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let told = body["type"].as_str().is_some_and(|t| t.ends_with(kind));
    if status != 503 || media.is_none_or(|m| m != "application/problem+json") || !told {
        bail!("expected 503 {kind} as application/problem+json, got {status}: {text}");
    }
    Ok(body)
}

/// The broker's disk fills up while people buy, and gets room again.
async fn disk_full(stage: &Arc<Stage>, people: &mut People) -> Result<()> {
    people.wave();
    let filler = stage.stack.kafka_log().join("filler");
    let path = filler.clone();
    let bytes = tokio::task::spawn_blocking(move || fill(&path)).await??;
    stage.say(&format!(
        "the broker's disk is full, {} MiB of it ours",
        bytes >> 20
    ));
    people.wave();
    let until = Instant::now() + Duration::from_secs(60);
    let mut number = 200;
    // Until the broker notices, there may be room left in what it has mapped.
    while refusal(stage, number).await.is_err() {
        number += 1;
        if Instant::now() > until {
            bail!("nothing was refused within a minute of a full disk");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stage.say("commands are refused");
    tokio::time::sleep(FULL_FOR).await;
    let halted = stage.stack.pid(Part::Kafka).await?.is_none();
    std::fs::remove_file(&filler).context("making room again")?;
    stage.say(if halted {
        "there is room again; the broker had halted and is started"
    } else {
        "there is room again; the broker still runs, with its disk given up, and is started anew"
    });
    stage.stack.restart(Part::Kafka).await?;
    people.wave();
    people.paid().await?;
    rested(stage, &people.orders).await
}

/// Writes until nothing more goes; gives how many bytes.
fn fill(path: &Path) -> Result<u64> {
    let mut file = File::create(path)?;
    let mut bytes = 0;
    for size in [1 << 20, 4096, 1] {
        let block = vec![0_u8; size];
        loop {
            match file.write(&block) {
                Ok(0) => break,
                Ok(written) => bytes += written as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("filling the disk"),
            }
        }
    }
    Ok(bytes)
}
