//! Deployments on TFChain with blocks of a second: many users, each with several, all at once.

use anyhow::{Context, Result, bail, ensure};
use counterparties_tfchain::{
    ActivatorKey, ChainKey, ContractKind, ContractPlan, OwnershipProof, Tfchain, TfchainClient,
    TfchainConfig, TwinPlan, UserSeed, deployment_hash,
};
use events::ids::{DeploymentId, EventId, NodeId, TwinId, UserId};
use events::money::Amount;
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use serde_json::{Value, json};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Seeds of the bench; they open nothing elsewhere.
const SEED: &str = "0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
const ACTIVATOR: &str = "0x0101010101010101010101010101010101010101010101010101010101010101";
/// Nodes of the stand-in over which deployments are spread.
const NODES: usize = 10;

/// How much, and how fast the chain is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Users.
    pub users: usize,
    /// Deployments, of all users together.
    pub deployments: usize,
    /// Milliseconds between blocks.
    pub block_ms: u64,
    /// Blocks by which finality trails.
    pub finality_lag: u32,
    /// The most seconds that it may take.
    pub within: u64,
}

struct Mine;

impl OwnershipProof for Mine {
    fn prove(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(true))
    }
}

/// A running stand-in; it ends with this.
struct StandIn {
    _child: Child,
    address: String,
    http: reqwest::Client,
}

impl StandIn {
    async fn start(plan: Plan) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("sandbox-tfchain");
        let mut child = Command::new(program)
            .args(["--block-ms", &plan.block_ms.to_string()])
            .args(["--finality-lag", &plan.finality_lag.to_string()])
            .env("SANDBOX_ACTIVATOR", ACTIVATOR)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("sandbox-tfchain")?;
        let out = child.stdout.take().context("its output")?;
        let line = BufReader::new(out).lines().next_line().await?;
        let ready: Value = serde_json::from_str(&line.context("nothing was said")?)?;
        let address = ready["listening"].as_str().context("an address")?;
        Ok(Self {
            _child: child,
            address: address.to_owned(),
            http: reqwest::Client::new(),
        })
    }

    fn client(&self) -> Result<TfchainClient> {
        Ok(TfchainClient::new(&TfchainConfig {
            url: self.address.replacen("http://", "ws://", 1),
            timeout: Duration::from_secs(20),
        })?)
    }

    async fn hurry(&self) -> Result<()> {
        let url = format!("{}/_control/blocks", self.address);
        let answer = self
            .http
            .post(url)
            .json(&json!({ "count": 1 }))
            .send()
            .await?;
        answer.error_for_status()?;
        Ok(())
    }

    async fn counts(&self) -> Result<Value> {
        let url = format!("{}/_control/counts", self.address);
        Ok(self.http.get(url).send().await?.json().await?)
    }
}

/// Resident memory of this process, in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// Runs the bench.
///
/// # Errors
/// When a deployment is lost or doubled, or it takes too long.
pub async fn run(plan: Plan) -> Result<()> {
    let stand_in = Arc::new(StandIn::start(plan).await?);
    let client = stand_in.client()?;
    let seed = UserSeed::parse(SEED)?;
    let users: Vec<(UserId, ChainKey)> = (0..plan.users)
        .map(|n| UserId::derive(&["bench", &n.to_string()]))
        .map(|user| (user, seed.user_key(&user)))
        .collect();
    let twins = twins(&stand_in, &client, &users).await?;
    eprintln!("{} users have their twins", twins.len());
    let before = memory();
    let begun = Instant::now();
    let head = client.finalized_head().await?;
    let mut tasks = JoinSet::new();
    for (n, ((user, key), twin)) in users.into_iter().zip(twins).enumerate() {
        let share = plan.deployments / plan.users + usize::from(n < plan.deployments % plan.users);
        let (client, at) = (client.clone(), head.timestamp);
        tasks.spawn(async move {
            for index in 0..share {
                let plan = contract(user, twin, n * 1_000 + index, at);
                deploy(&client, &plan, &key).await?;
            }
            anyhow::Ok(())
        });
    }
    let mut said = Instant::now();
    let mut served = 0;
    while let Some(done) = tasks.join_next().await {
        done??;
        served += 1;
        if said.elapsed() > Duration::from_secs(5) {
            eprintln!("{served} of {} users have all of theirs", plan.users);
            said = Instant::now();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let counts = stand_in.counts().await?;
    let by_hash = counts["by_hash"].as_object().context("counts")?;
    ensure!(
        by_hash.len() == plan.deployments && by_hash.values().all(|times| *times == 1),
        "{} contracts of {} deployments",
        counts["contracts"],
        plan.deployments
    );
    println!(
        "{} deployments of {} users finalized in {seconds:.1} s, blocks of {} ms, finality {} behind; \
         memory {before} MiB before, {} MiB after",
        plan.deployments,
        plan.users,
        plan.block_ms,
        plan.finality_lag,
        memory()
    );
    let within = Duration::from_secs(plan.within).as_secs_f64();
    ensure!(seconds <= within, "more than {within} s");
    Ok(())
}

/// A twin for each, made while blocks are hurried on: they are not what is measured.
async fn twins(
    stand_in: &Arc<StandIn>,
    client: &TfchainClient,
    users: &[(UserId, ChainKey)],
) -> Result<Vec<TwinId>> {
    let hurrying = Arc::clone(stand_in);
    let hurry = tokio::spawn(async move {
        loop {
            if let Err(error) = hurrying.hurry().await {
                eprintln!("blocks cannot be hurried on: {error:#}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let activator = ActivatorKey::parse(ACTIVATOR)?;
    // By the wall clock: the first block has no time, and hurried ones run ahead of it.
    let deadline = pipeline::clock::now().seconds() + 100_000;
    let mut tasks = JoinSet::new();
    for (n, (user, key)) in users.iter().cloned().enumerate() {
        let (client, activator) = (client.clone(), activator.clone());
        tasks.spawn(async move {
            let plan = TwinPlan {
                user,
                request: EventId::derive(&["bench", "twin", &user.to_string()]),
                deadline,
                activation: Amount::from_whole(10),
            };
            loop {
                match client.make_twin(&plan, &key, &activator).await {
                    Attempt::Landed(proof) => return anyhow::Ok((n, proof.twin)),
                    Attempt::Refused(refusal) => bail!("{refusal:?}"),
                    Attempt::NotSent(_) | Attempt::Unknown(_) | Attempt::NoAnswer(_) => {}
                }
            }
        });
    }
    let mut made = Vec::new();
    while let Some(twin) = tasks.join_next().await {
        made.push(twin??);
    }
    hurry.abort();
    made.sort_unstable_by_key(|(n, _)| *n);
    Ok(made.into_iter().map(|(_, twin)| twin).collect())
}

fn contract(user: UserId, twin: TwinId, number: usize, at: Timestamp) -> ContractPlan {
    let deployment = DeploymentId::derive(&["bench", &number.to_string()]);
    let data = format!("{{\"name\":\"bench-{number}\"}}");
    ContractPlan {
        deployment,
        kind: ContractKind::Node,
        above: 0,
        version: 1,
        request: EventId::derive(&["bench", "contract", &number.to_string()]),
        requested_at: at,
        user,
        twin,
        node: NodeId(u32::try_from(number % NODES).unwrap_or(0) + 1),
        hash: deployment_hash(&deployment, 1, &data),
        data,
        public_ips: 0,
        solution_provider: None,
        deadline: at.seconds() + 3_600,
        minimum_balance: Amount::ZERO,
    }
}

/// Finds and tries as the runtime does, until the contract is there.
async fn deploy(client: &TfchainClient, plan: &ContractPlan, key: &ChainKey) -> Result<()> {
    loop {
        match client.find_contract(plan, key).await {
            Find::Landed(_) => return Ok(()),
            Find::Absent => {}
            Find::Pending(_) | Find::NoAnswer(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            Find::Refused(refusal) => bail!("{refusal:?}"),
            Find::NeverWill(reason) => bail!("{reason}"),
        }
        match client.create_contract(plan, key, &Mine).await {
            Attempt::Landed(_) => return Ok(()),
            Attempt::Refused(refusal) => bail!("{refusal:?}"),
            Attempt::NotSent(_) | Attempt::Unknown(_) | Attempt::NoAnswer(_) => {}
        }
    }
}
