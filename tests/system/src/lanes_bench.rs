//! Swaps on many lanes at once, ledgers closing every second: how many a ledger takes, and what one
//! costs us. The hand `swaps` itself, straight on a Stellar stand-in in a process of its own; what it
//! costs is the hand and the client of Horizon (build, sign, submit, read the outcome), without Kafka.

use anyhow::{Context, Result, bail, ensure};
use counterparties_stellar::{
    HorizonClient, LandedTransaction, LaneKey, LaneName, LaneSeed, SecretKey, StellarConfig, base,
    lane_index, opening,
};
use events::envelope::{Envelope, Record};
use events::ids::{EventId, PurchaseId};
use events::lanes::LanesOpened;
use events::money::Amount;
use events::outcome::{Attempt, Find};
use events::purchases::{PurchaseEvent, SwapRequested};
use events::time::Timestamp;
use pipeline::{Executor, Job, Owner, Verdict, clock};
use processor_lanes::Treasury;
use processor_swaps::{Market, Swaps};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

const PASSPHRASE: &str = "Lanes Bench Network";
const CLUSTER: &str = "lanes-bench";
const EPOCH: u32 = 1 << 18;
const PARTITION: i32 = 0;
/// How long a swap may take, by the network's clock.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between looks for a swap whose answer said nothing.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A swap, in whole TFT; small enough for the book to last.
const TFT: u32 = 100;
const USDC: u32 = 3;

/// How much.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Lanes.
    pub lanes: u16,
    /// Ledgers that are counted.
    pub ledgers: usize,
    /// Milliseconds between ledgers.
    pub close_ms: u64,
    /// Swaps that a ledger must take on average.
    pub swaps_per_ledger: usize,
    /// The most CPU time of ours that a swap may take, in milliseconds.
    pub cpu_ms: u64,
}

/// Runs the bench.
///
/// # Errors
/// When a swap fails, or ledgers take fewer than they should.
pub async fn run(plan: Plan) -> Result<()> {
    let (_horizon, url) = horizon(plan.close_ms).await?;
    let hand = Arc::new(Swaps::new(Arc::new(treasury(&url).await?)));
    let keys = lanes(plan.lanes)?;
    let stellar = HorizonClient::new(&StellarConfig::new(&url, PASSPHRASE))?;
    let secret = sandbox_market::seed(&url, PASSPHRASE)
        .await?
        .treasury_secret;
    let payer: SecretKey = secret.parse()?;
    opening::open(&stellar, &payer, &keys, base(EPOCH)?, PASSPHRASE).await?;
    let context = opened(&hand, &keys)?;
    println!("{} lanes are open", keys.len());
    // One ledger before what is counted, one after it, and one for whoever misses a close.
    let each = plan.ledgers + 3;
    let records = records(plan.lanes, each)?;
    let (cpu, begun) = (cpu_ms()?, Instant::now());
    let mut tasks = JoinSet::new();
    for records in records {
        let (hand, context) = (Arc::clone(&hand), context.clone());
        tasks.spawn(async move {
            let mut ledgers = Vec::with_capacity(records.len());
            for record in records {
                ledgers.push(swap(&hand, &context, record).await?);
            }
            anyhow::Ok(ledgers)
        });
    }
    let mut by_ledger: BTreeMap<u32, usize> = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        for ledger in done?? {
            *by_ledger.entry(ledger).or_default() += 1;
        }
    }
    report(plan, &by_ledger, cpu_ms()? - cpu, begun.elapsed())
}

fn report(
    plan: Plan,
    by_ledger: &BTreeMap<u32, usize>,
    cpu_ms: u64,
    elapsed: Duration,
) -> Result<()> {
    let swaps: usize = by_ledger.values().sum();
    let first = by_ledger.keys().next().copied().context("no ledger")?;
    let counted: Vec<usize> = (first + 1..)
        .take(plan.ledgers)
        .map(|ledger| by_ledger.get(&ledger).copied().unwrap_or(0))
        .collect();
    let total: usize = counted.iter().sum();
    let mut sorted = counted.clone();
    sorted.sort_unstable();
    println!(
        "{} lanes, a ledger each {} ms: {total} swaps in {} ledgers, {:.1} a ledger (least {}, median {}, most {})",
        plan.lanes,
        plan.close_ms,
        counted.len(),
        total as f64 / counted.len() as f64,
        sorted.first().copied().unwrap_or(0),
        sorted.get(sorted.len() / 2).copied().unwrap_or(0),
        sorted.last().copied().unwrap_or(0),
    );
    println!(
        "{swaps} swaps in {:.1} s; {:.2} ms of our CPU each",
        elapsed.as_secs_f64(),
        cpu_ms as f64 / swaps as f64
    );
    let wanted = plan.swaps_per_ledger * counted.len();
    ensure!(
        total >= wanted,
        "{total} swaps in {} ledgers, should be {wanted}",
        counted.len()
    );
    ensure!(
        cpu_ms <= plan.cpu_ms * u64::try_from(swaps)?,
        "more than {} ms of our CPU for each swap",
        plan.cpu_ms
    );
    Ok(())
}

/// A stand-in in a process of its own; it ends with the child.
async fn horizon(close_ms: u64) -> Result<(Child, String)> {
    let program = std::env::current_exe()?.with_file_name("sandbox-horizon");
    let mut child = Command::new(program)
        .args(["--passphrase", PASSPHRASE])
        .args(["--close-ms", &close_ms.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("sandbox-horizon: is it built?")?;
    let out = child.stdout.take().context("its output")?;
    let line = BufReader::new(out).lines().next_line().await?;
    let ready: Value = serde_json::from_str(&line.context("nothing was said")?)?;
    let address = ready["listening"]
        .as_str()
        .context("an address")?
        .to_owned();
    Ok((child, address))
}

async fn treasury(url: &str) -> Result<Treasury> {
    let market = sandbox_market::seed(url, PASSPHRASE).await?;
    Ok(Treasury {
        stellar: Arc::new(HorizonClient::new(&StellarConfig::new(url, PASSPHRASE))?),
        passphrase: PASSPHRASE.to_owned(),
        key: market.treasury_secret.parse()?,
        seed: seed()?,
        cluster: CLUSTER.to_owned(),
        usdc: market.usdc,
        tft: market.tft,
    })
}

fn seed() -> Result<LaneSeed> {
    Ok("44".repeat(32).parse()?)
}

fn lanes(many: u16) -> Result<Vec<LaneKey>> {
    let seed = seed()?;
    (0..many)
        .map(|index| {
            let name = LaneName {
                cluster: CLUSTER,
                executor: Swaps::NAME,
                topic: "purchases",
                partition: PARTITION,
                epoch: EPOCH,
                index,
            };
            Ok(seed.derive(name)?)
        })
        .collect()
}

/// What the hand knows once the opening stands in the log.
fn opened(hand: &Swaps, keys: &[LaneKey]) -> Result<Market> {
    let opened = LanesOpened {
        executor: Swaps::NAME.to_owned(),
        epoch: i32::try_from(EPOCH)?,
        lanes: i32::try_from(keys.len())?,
        accounts: keys.iter().map(|key| key.account().to_string()).collect(),
        opened_at: clock::now(),
    };
    let mut market = Market::default();
    let id = EventId::derive(&["lanes-bench", "opening"]);
    hand.observe(&mut market, &record(0, id, opened.into()));
    Ok(market)
}

/// The requests of each lane, in the order of their offsets.
fn records(lanes: u16, each: usize) -> Result<Vec<Vec<(i64, EventId)>>> {
    let mut of_lane: Vec<Vec<(i64, EventId)>> = vec![Vec::new(); usize::from(lanes)];
    let (mut offset, mut number) = (1, 0_u64);
    // Ids fall on lanes as chance has it: taken until each lane has enough.
    while of_lane.iter().any(|records| records.len() < each) {
        number += 1;
        let id = EventId::derive(&["lanes-bench", &number.to_string()]);
        let records = of_lane
            .get_mut(usize::from(lane_index(&id, lanes)))
            .context("a lane beyond all")?;
        if records.len() < each {
            records.push((offset, id));
            offset += 1;
        }
    }
    Ok(of_lane)
}

fn record(offset: i64, id: EventId, event: PurchaseEvent) -> Record<PurchaseEvent> {
    Record {
        partition: PARTITION,
        offset,
        envelope: Envelope {
            id,
            source: "/lanes-bench".to_owned(),
            time: clock::now(),
            subject: "lanes-bench".to_owned(),
            correlation: None,
            causation: None,
            traceparent: None,
        },
        event,
    }
}

/// Carries one request out as the runtime does: once sent, it is only looked for. Gives its ledger.
async fn swap(hand: &Swaps, context: &Market, (offset, id): (i64, EventId)) -> Result<u32> {
    let request = SwapRequested {
        purchase_id: PurchaseId::derive(&["lanes-bench", &offset.to_string()]),
        attempt: 1,
        tft: Amount::from_whole(TFT),
        send_max: Amount::from_whole(USDC),
        path: Vec::new(),
        deadline: deadline(clock::now()),
        rest: Amount::ZERO,
    };
    let job = Job {
        record: record(offset, id, request.clone().into()),
        request,
        context: context.clone(),
        owner: Owner::unchecked(),
    };
    let landed = landed(hand, &job).await?;
    let ledger = landed.ledger;
    match hand.outcome(&job, Verdict::Landed(landed)).await {
        PurchaseEvent::SwapCompleted(_) => Ok(ledger),
        other => bail!("a swap that landed became {other:?}"),
    }
}

fn deadline(now: Timestamp) -> Timestamp {
    now.after(DEADLINE)
}

async fn landed(hand: &Swaps, job: &Job<Swaps>) -> Result<LandedTransaction> {
    match hand.attempt(job).await {
        Attempt::Landed(landed) => return Ok(landed),
        Attempt::Refused(refusal) => bail!("a swap failed: {refusal:?}"),
        Attempt::NotSent(_) | Attempt::NoAnswer(_) | Attempt::Unknown(_) => {}
    }
    loop {
        match hand.find(job).await {
            Find::Landed(landed) => return Ok(landed),
            Find::Refused(refusal) => bail!("a swap failed: {refusal:?}"),
            Find::NeverWill(why) => bail!("a swap never landed: {why}"),
            Find::Absent | Find::Pending(_) | Find::NoAnswer(_) => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// CPU time of this process so far, in milliseconds.
fn cpu_ms() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("a stat line")?;
    let ticks = |n: usize| -> Result<u64> {
        let field = fields.split_whitespace().nth(n).context("a stat field")?;
        Ok(field.parse()?)
    };
    // Fields 14 and 15 of the line, in hundredths of a second.
    Ok((ticks(11)? + ticks(12)?) * 10)
}
