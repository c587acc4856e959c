//! The crash harness: every process dies, freezes and wakes, the broker, Postgres and the registry
//! go away and come back, and the counterparties answer late, twice, wrongly or not at all, while
//! people buy. What counts is counted at the counterparties afterwards.

mod chain;
mod deployed;
pub mod deployers;
mod deposits;
mod dice;
pub mod faults;
mod freezes;
pub mod gather;
mod kills;
mod market;
mod outages;
mod payer;
pub mod rebuild;
pub mod shoppers;
mod stage;

use crate::world::World;
use anyhow::{Context, Result, bail};
use dice::Dice;
use gridway::up::Options;
use invariants::Outcome;
pub use stage::{Plan, Stage};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long the purchases may take to end once everything is healed.
const END_WITHIN: Duration = Duration::from_secs(240);
/// Sessions are short, so that a frozen process is taken over soon.
const SESSION_MS: &str = "4000";
/// Short, so that both ways to end happen within a run.
const PAY_WITHIN_SECONDS: &str = "25";
const GIVE_UP_SECONDS: &str = "20";
const STELLAR_DEADLINE_SECONDS: &str = "20";
const RECONCILE_SECONDS: &str = "2";

/// Runs the harness.
///
/// # Errors
/// When a rule is broken, or the system does not come to rest.
pub async fn run(plan: Plan) -> Result<()> {
    let begun = Instant::now();
    let users = (plan.purchases / 4).clamp(6, 60);
    let listen = api_address()?;
    let world = World::start(
        users,
        4,
        &[
            ("GRIDWAY_KAFKA_SESSION_MS", SESSION_MS),
            ("GRIDWAY_PAY_WITHIN_SECONDS", PAY_WITHIN_SECONDS),
            ("GRIDWAY_DEPOSIT_WITHIN_SECONDS", PAY_WITHIN_SECONDS),
            ("GRIDWAY_GIVE_UP_SECONDS", GIVE_UP_SECONDS),
            ("GRIDWAY_STELLAR_DEADLINE_SECONDS", STELLAR_DEADLINE_SECONDS),
            ("GRIDWAY_RECONCILE_SECONDS", RECONCILE_SECONDS),
            ("GRIDWAY_API_LISTEN", &listen),
        ],
        Options {
            keep: true,
            // Room for forks before anything is final.
            block_ms: 150,
            finality_lag: 2,
            ..Options::default()
        },
    )
    .await?;
    let stage = Arc::new(Stage::new(world, plan));
    let folder = stage.stack.folder().display().to_string();
    let result = harness(&stage, begun).await;
    stage.over();
    // Whoever still holds the stage is about to see that it is over.
    tokio::time::sleep(Duration::from_millis(200)).await;
    stage.fleet.lock().await.stop().await;
    if let Ok(stage) = Arc::try_unwrap(stage) {
        stage.stack.stop().await;
    }
    let Plan {
        kills,
        freezes,
        purchases,
        seed,
    } = plan;
    match result {
        Ok(()) => {
            println!(
                "crash: {kills} kills, {freezes} freezes, {purchases} purchases, 0 doubled, 0 lost"
            );
            let _ = std::fs::remove_dir_all(folder);
            Ok(())
        }
        Err(error) => {
            eprintln!("logs and topics are kept in {folder}");
            eprintln!(
                "again: system-tests crash --kills {kills} --freezes {freezes} --purchases {purchases} --seed {seed}"
            );
            Err(error)
        }
    }
}

async fn harness(stage: &Arc<Stage>, begun: Instant) -> Result<()> {
    let seed = stage.plan.seed;
    let mut hanging = JoinSet::new();
    hanging.spawn(crate::hanging::watch(Arc::clone(stage)));
    let before = gather::treasury(stage).await?;
    faults::unreliable_webhooks(stage).await?;
    eprintln!(
        "everything runs after {:.0} s; two processes each of: {}",
        begun.elapsed().as_secs_f32(),
        stage
            .start_second_slots(&mut Dice::new(seed, "slots"))
            .await?
    );
    let trouble = Instant::now();
    let tormentors = [
        tokio::spawn(faults::run(Arc::clone(stage), Dice::new(seed, "faults"))),
        tokio::spawn(market::run(Arc::clone(stage), Dice::new(seed, "market"))),
        tokio::spawn(chain::run(Arc::clone(stage), Dice::new(seed, "chain"))),
    ];
    let outages = tokio::spawn(outages::run(Arc::clone(stage), Dice::new(seed, "outages")));
    let freezes = tokio::spawn(freezes::run(Arc::clone(stage), Dice::new(seed, "freezes")));
    let shopping = tokio::spawn(shoppers::run(
        Arc::clone(stage),
        Dice::new(seed, "shoppers"),
    ));
    let kills = tokio::spawn(kills::run(Arc::clone(stage), Dice::new(seed, "kills")));
    let tally = kills.await?.context("killing")?;
    freezes.await?.context("freezing")?;
    outages.await?.context("restarting the stack")?;
    let orders = shopping.await?.context("shopping")?;
    let minutes = trouble.elapsed().as_secs_f64() / 60.0;
    stage.over();
    for tormentor in tormentors {
        tormentor.await?.context("making trouble")?;
    }
    faults::heal(stage).await?;
    chain::heal(stage).await?;
    eprintln!(
        "{} kills and {} freezes in {minutes:.1} minutes ({:.0} kills a minute); everything is healed",
        tally.kills,
        stage.plan.freezes,
        f64::from(tally.kills) / minutes
    );
    let rested = Instant::now();
    let open = shoppers::rest(stage, &orders, END_WITHIN).await?;
    stage.rest();
    while let Some(aborted) = hanging.join_next().await {
        eprintln!("{} transactions hung and were aborted", aborted??);
    }
    eprintln!(
        "at rest {:.0} s later; {open} purchases are open; a twin took {:.0} s at most",
        rested.elapsed().as_secs_f32(),
        Duration::from_millis(stage.twin_after.load(Ordering::Relaxed)).as_secs_f32()
    );
    let observed = gather::observe(stage, &orders, before).await?;
    show(&tally, &observed);
    let mut wrong: Vec<String> = observed
        .violations()
        .iter()
        .map(ToString::to_string)
        .collect();
    wrong.extend(rebuild::compare(stage).await?);
    wrong.extend(stage.complaints());
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("{}", wrong.join("\n"))
    }
}

/// What happened, as tables on stdout.
fn show(tally: &kills::Tally, observed: &invariants::Observed) {
    println!("\n| step at which a process died | deaths |\n|---|---|");
    println!("| at a random time | {} |", tally.at_random);
    for point in crash_points::Point::ALL {
        println!(
            "| {} | {} |",
            point.name(),
            tally.hits.get(point).copied().unwrap_or(0)
        );
    }
    println!("\n| victim | deaths |\n|---|---|");
    for (victim, deaths) in &tally.victims {
        println!("| {victim} | {deaths} |");
    }
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for purchase in &observed.purchases {
        let end = match purchase.outcomes.first() {
            Some(Outcome::Settled) if purchase.bridge_returns > 0 => "settled after a return",
            Some(Outcome::Settled) if purchase.usdc_due > 0 => "by USDC, settled",
            Some(Outcome::Settled) => "settled",
            Some(Outcome::Refunded) if purchase.usdc_due > 0 => "by USDC, sent back",
            Some(Outcome::Refunded) => "refunded",
            Some(Outcome::NotPaid) if purchase.charges > 0 => "paid too late, refunded",
            Some(Outcome::NotPaid) if purchase.usdc_due > 0 => "by USDC, not paid in time",
            Some(Outcome::NotPaid) => "not paid",
            Some(Outcome::Lost) => "lost to a dispute",
            None => "alarmed",
        };
        *ends.entry(end).or_default() += 1;
    }
    println!("\n| purchases | |\n|---|---|");
    for (end, count) in ends {
        println!("| {end} | {count} |");
    }
    println!();
}

/// A loopback address for the API to come back to: below the ports of outgoing connections, so
/// that nobody takes it meanwhile.
pub fn api_address() -> Result<String> {
    let start = std::process::id() % 3_000;
    (0..3_000)
        .map(|step| format!("127.0.0.1:{}", 12_000 + (start + step) % 3_000))
        .find(|address| TcpListener::bind(address).is_ok())
        .context("no free loopback port between 12000 and 15000")
}
