//! What the API costs beside what it stands on: commands beside Kafka's own confirmations at the
//! same rate, queries by id beside a bare handler with the same select. Both sides take turns.

use crate::bench::{cpu_by_program, cpu_of};
use anyhow::{Context, Result, bail, ensure};
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use events::ids::DeploymentId;
use gridway::demo::Buyer;
use gridway::up::{self, Options, Sandbox, setting};
use projections::deployments::Deployment;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use reqwest::{Client, StatusCode};
use sandbox_stack::may_mount;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What is asked of the API, and what it must reach.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Commands a second.
    pub rate: u32,
    /// Seconds of commands, in all turns.
    pub seconds: u32,
    /// The most milliseconds by which the p99 of a command may exceed that of Kafka's confirmation.
    pub above_ms: u64,
    /// The least share, in per cent, of the bare handler's queries a second.
    pub percent: u64,
}

const TURNS: u32 = 6;
/// Seconds of commands before anything is measured: Kafka's JVM compiles meanwhile.
const WARM_SECONDS: u32 = 60;
/// Far more than the bench writes.
const KAFKA_DISK_MIB: u32 = 2048;
const PEOPLE: usize = 8;
const TOPIC: &str = "bench-acks";
/// Connections that ask at once.
const ASKING: usize = 16;
const ASK_FOR: Duration = Duration::from_secs(4);

/// Runs both benches and prints their figures.
///
/// # Errors
/// When a request fails, or a figure is worse than the plan allows.
pub async fn run(plan: Plan) -> Result<()> {
    let mut sandbox = up::start(
        &Options {
            kafka_as_in_production: true,
            // What Postgres forces to its disk would hold up the broker's writes to the same one.
            kafka_disk_mib: may_mount().then_some(KAFKA_DISK_MIB),
            ..Options::default()
        },
        &[],
    )
    .await?;
    let result = measure(&mut sandbox, plan).await;
    sandbox.stop().await;
    result
}

async fn measure(sandbox: &mut Sandbox, plan: Plan) -> Result<()> {
    let mut tokens = Vec::new();
    for n in 0..PEOPLE {
        let email = format!("bench-{n}@example.org");
        let person = Buyer::sign_up(
            sandbox.api(),
            &sandbox.environment,
            &email,
            "a password of the bench",
        )
        .await?;
        person.register().await?;
        tokens.push(person.token().to_owned());
    }
    // Commands end in the log here: what would be made of them is another bench's.
    let others: Vec<String> = sandbox
        .fleet
        .names()
        .filter(|name| !["api", "projections"].contains(name))
        .map(str::to_owned)
        .collect();
    for part in others {
        sandbox.fleet.kill(&part).await?;
    }
    let api = Api {
        http: Client::builder()
            .timeout(Duration::from_secs(30))
            .tcp_nodelay(true)
            .build()?,
        url: sandbox.api().to_owned(),
        tokens,
    };
    let (first, slower) = commands(sandbox, &api, plan).await?;
    let share = queries(sandbox, &api, &first).await?;
    ensure!(
        slower <= Duration::from_millis(plan.above_ms),
        "p99 of a command is more than {} ms above Kafka's",
        plan.above_ms
    );
    ensure!(
        share >= plan.percent,
        "fewer than {} % of the bare handler's queries a second",
        plan.percent
    );
    Ok(())
}

/// Whom the bench asks, and as whom.
#[derive(Clone)]
struct Api {
    http: Client,
    url: String,
    tokens: Vec<String>,
}

impl Api {
    fn token(&self, n: usize) -> &str {
        self.tokens
            .get(n % PEOPLE)
            .map_or("", std::string::String::as_str)
    }

    async fn deploy(self, n: usize) -> Result<String> {
        let data = format!("{{\"workload\":\"bench\",\"number\":{n}}}");
        let answer = self
            .http
            .post(format!("{}/deployments", self.url))
            .bearer_auth(self.token(n))
            .header("Idempotency-Key", format!("bench-{n}"))
            .json(&json!({"node_id": 1, "data": data}))
            .send()
            .await
            .context("POST /deployments")?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        ensure!(
            status == StatusCode::ACCEPTED,
            "POST /deployments: {status} {body}"
        );
        let id = body["id"].as_str().context("a deployment's id")?;
        Ok(id.to_owned())
    }
}

/// Commands and confirmations in turns; gives the id of a deployment of the first person's, and by
/// how much a command's p99 exceeds Kafka's.
async fn commands(sandbox: &Sandbox, api: &Api, plan: Plan) -> Result<(String, Duration)> {
    let brokers = setting(&sandbox.environment, "GRIDWAY_KAFKA_BROKERS");
    let producer = producer(brokers).await?;
    let each = plan.rate as usize * plan.seconds.div_ceil(TURNS) as usize;
    let first = api.clone().deploy(0).await?;
    // A JVM that has just begun answers slowly, whatever asks it.
    let warm = (plan.rate * WARM_SECONDS) as usize;
    paced(plan.rate, warm, 1, |n| api.clone().deploy(n)).await?;
    settle(setting(&sandbox.environment, "GRIDWAY_DATABASE_URL")).await?;
    let mut number = warm + 1;
    let (mut acked, mut answered) = (Vec::new(), Vec::new());
    let pid = sandbox.fleet.pid("api").context("the API runs")?;
    let mut cpu = 0;
    let mut spent: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..TURNS {
        acked.extend(paced(plan.rate, each, number, |n| confirmed(producer.clone(), n)).await?);
        let (before, all_before) = (cpu_of(pid).unwrap_or_default(), cpu_by_program());
        answered.extend(paced(plan.rate, each, number, |n| api.clone().deploy(n)).await?);
        cpu += cpu_of(pid).unwrap_or_default() - before;
        for (program, total) in cpu_by_program() {
            let before = all_before.get(&program).copied().unwrap_or(0);
            *spent.entry(program).or_default() += total.saturating_sub(before);
        }
        number += each;
    }
    println!(
        "{} commands and as many of Kafka's own confirmations (acks=all), {} a second each, in {TURNS} turns:",
        answered.len(),
        plan.rate
    );
    acked.sort_unstable();
    answered.sort_unstable();
    for (name, all) in [("Kafka", &acked), ("POST /deployments", &answered)] {
        println!(
            "  {name}: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
            ms(at(all, 50)),
            ms(at(all, 90)),
            ms(at(all, 99)),
            ms(at(all, 100))
        );
    }
    let slower = at(&answered, 99).saturating_sub(at(&acked, 99));
    println!(
        "  p99 of a command {:.1} ms above Kafka's; {:.2} ms CPU time of the API each",
        ms(slower),
        cpu as f64 / answered.len() as f64
    );
    let count = answered.len() as f64;
    let spent = spent.into_iter().filter(|(_, ms)| *ms > 0);
    let spent = spent.map(|(program, ms)| format!("{program} {:.2} ms", ms as f64 / count));
    let spent: Vec<String> = spent.collect();
    println!(
        "  CPU time of all programs for a command, the bench's own included: {}",
        spent.join(", ")
    );
    Ok((first, slower))
}

/// A Postgres that has run for a while writes its log over old segments, which it need not make.
async fn settle(database: &str) -> Result<()> {
    let mut connection = PgConnection::connect(database).await?;
    sqlx::query("CHECKPOINT").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The percentile `p` of sorted durations.
fn at(sorted: &[Duration], p: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * p / 100).copied().unwrap_or_default()
}

/// A producer as the API has one, on a topic of the bench's own.
async fn producer(brokers: &str) -> Result<FutureProducer> {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "0");
    let admin: AdminClient<DefaultClientContext> = settings.create()?;
    let topic = NewTopic::new(TOPIC, 8, TopicReplication::Fixed(1));
    for made in admin.create_topics([&topic], &AdminOptions::new()).await? {
        made.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
    }
    Ok(settings.create()?)
}

async fn confirmed(producer: FutureProducer, n: usize) -> Result<String> {
    let key = n.to_string();
    // As long as the event of a deployment is.
    let payload = [b'x'; 300];
    let record = FutureRecord::to(TOPIC).key(&key).payload(&payload[..]);
    let sent = producer.send(record, Duration::from_secs(10)).await;
    sent.map_err(|(error, _)| error)?;
    Ok(key)
}

/// Does something `rate` times a second, however long it takes, with the numbers from `from` on;
/// gives how long each took from when it was due.
async fn paced<F, R>(rate: u32, count: usize, from: usize, act: F) -> Result<Vec<Duration>>
where
    F: Fn(usize) -> R,
    R: Future<Output = Result<String>> + Send + 'static,
{
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for n in 0..count {
        let due = begun + Duration::from_secs(1) * u32::try_from(n)? / rate;
        tokio::time::sleep_until(due).await;
        let action = act(from + n);
        running.spawn(async move {
            action.await?;
            anyhow::Ok(due.elapsed())
        });
    }
    let mut took = Vec::with_capacity(count);
    while let Some(done) = running.join_next().await {
        took.push(done??);
    }
    Ok(took)
}

/// Queries of one deployment, to the API and to a bare handler in turns; gives the share of the
/// latter's queries a second that the API reached, in per cent.
async fn queries(sandbox: &Sandbox, api: &Api, id: &str) -> Result<u64> {
    let path = format!("/deployments/{id}");
    let bare = Bare::start(setting(&sandbox.environment, "GRIDWAY_DATABASE_URL")).await?;
    let ours = Asked {
        http: api.http.clone(),
        url: format!("{}{path}", api.url),
        token: api.token(0).to_owned(),
    };
    let theirs = Asked {
        url: format!("{}{path}", bare.url),
        ..ours.clone()
    };
    let visible = Instant::now() + Duration::from_secs(60);
    while theirs.once().await.is_err() {
        if Instant::now() > visible {
            bail!("the read model did not show the deployment within a minute");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ours.for_a_while().await?;
    theirs.for_a_while().await?;
    let api_pid = sandbox.fleet.pid("api").context("the API runs")?;
    let bare_pid = bare.child.id().context("the bare handler runs")?;
    let (mut here, mut there) = (Turns::default(), Turns::default());
    for _ in 0..TURNS {
        here.add(api_pid, &ours).await?;
        there.add(bare_pid, &theirs).await?;
    }
    let share = here.count * 100 / there.count.max(1);
    println!(
        "GET by id, {ASKING} at once, in {TURNS} turns of {} s each:",
        ASK_FOR.as_secs()
    );
    for (name, turns) in [("API", &here), ("bare handler", &there)] {
        let seconds = f64::from(TURNS) * ASK_FOR.as_secs_f64();
        println!(
            "  {name}: {:.0} a second, {:.2} ms CPU time each",
            turns.count as f64 / seconds,
            turns.cpu_ms as f64 / turns.count.max(1) as f64
        );
    }
    println!("  the API answers {share} % of the bare handler's queries a second");
    Ok(share)
}

#[derive(Default)]
struct Turns {
    count: u64,
    cpu_ms: u64,
}

impl Turns {
    async fn add(&mut self, pid: u32, asked: &Asked) -> Result<()> {
        let before = cpu_of(pid).unwrap_or_default();
        self.count += asked.for_a_while().await?;
        self.cpu_ms += cpu_of(pid).unwrap_or_default() - before;
        Ok(())
    }
}

/// One query that is asked again and again.
#[derive(Clone)]
struct Asked {
    http: Client,
    url: String,
    token: String,
}

impl Asked {
    async fn once(&self) -> Result<()> {
        let asking = self.http.get(&self.url).bearer_auth(&self.token);
        let answer = asking.send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        ensure!(
            status == StatusCode::OK,
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }

    /// How many answers came.
    async fn for_a_while(&self) -> Result<u64> {
        let until = Instant::now() + ASK_FOR;
        let mut asking = JoinSet::new();
        for _ in 0..ASKING {
            let asked = self.clone();
            asking.spawn(async move {
                let mut count = 0;
                while Instant::now() < until {
                    asked.once().await?;
                    count += 1;
                }
                anyhow::Ok(count)
            });
        }
        let mut count = 0;
        while let Some(done) = asking.join_next().await {
            count += done??;
        }
        Ok(count)
    }
}

/// The bare handler in a process of its own, as the API is.
struct Bare {
    child: Child,
    url: String,
}

impl Bare {
    async fn start(database: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bare", "--database", database])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the bare handler")?;
        let said = child.stdout.take().context("the child has no stdout")?;
        let line = BufReader::new(said).lines().next_line().await?;
        let url = line.context("the bare handler did not come up")?;
        Ok(Self { child, url })
    }
}

/// A handler of nothing but the select and its answer; says where it listens.
///
/// # Errors
/// When it can't listen, or Postgres can't be reached.
pub async fn bare(database: &str) -> Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .connect(database)
        .await?;
    let router = Router::new()
        .route("/deployments/{id}", get(shown))
        .with_state(Arc::new(pool));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn shown(
    State(pool): State<Arc<PgPool>>,
    Path(id): Path<String>,
) -> Result<Json<Deployment>, axum::http::StatusCode> {
    let missing = axum::http::StatusCode::NOT_FOUND;
    let id: DeploymentId = id.parse().map_err(|_| missing)?;
    let found = projections::deployments::get(&pool, id).await;
    let found = found.map_err(|_| axum::http::StatusCode::SERVICE_UNAVAILABLE)?;
    found.map(Json).ok_or(missing)
}
