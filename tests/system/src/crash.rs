//! The crash harness: processors die in the middle of purchases while answers are lost. What
//! counts is counted at the counterparties.

use crate::log::{Log, doubled};
use crate::world::{Order, World};
use anyhow::{Context, Result, bail};
use gridway::processors;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long the purchases may take to end after the last kill.
const END_WITHIN: Duration = Duration::from_secs(240);
const BUYERS: usize = 10;
const STAND_INS: [&str; 3] = [
    "GRIDWAY_STRIPE_URL",
    "GRIDWAY_HORIZON_URL",
    "GRIDWAY_TFCHAIN_URL",
];

/// Deterministic choices from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Runs the harness.
///
/// # Errors
/// When something is doubled or lost, or the system does not come to rest.
pub async fn run(kills: u32, purchases: usize, seed: u64) -> Result<()> {
    // A short session, so that a killed process is back soon; its slot is its own again at once.
    let mut world = World::start(BUYERS, &[("GRIDWAY_KAFKA_SESSION_MS", "4000")], true).await?;
    let folder = world.sandbox.stack.folder().display().to_string();
    let result = harness(&mut world, kills, purchases, seed).await;
    let World { sandbox, .. } = world;
    sandbox.stop().await;
    match result {
        Ok(()) => {
            println!("crash: {kills} kills, {purchases} purchases, 0 doubled, 0 lost");
            let _ = std::fs::remove_dir_all(folder);
            Ok(())
        }
        Err(error) => {
            eprintln!("logs and topics are kept in {folder}");
            eprintln!(
                "again: system-tests crash --kills {kills} --purchases {purchases} --seed {seed}"
            );
            Err(error)
        }
    }
}

async fn harness(world: &mut World, kills: u32, purchases: usize, seed: u64) -> Result<()> {
    let mut orders = Vec::new();
    for n in 0..purchases {
        orders.push(
            world
                .order(n % BUYERS, &format!("crash-{seed}-{n}"))
                .await?,
        );
    }
    eprintln!("{purchases} purchases wait for their payment");
    arm(world).await?;
    let mut dice = Dice(seed);
    let mut paid = 0;
    let begun = Instant::now();
    for kill in 0..kills {
        // The payments are spread over the kills, so that there is always something under way.
        let due = (purchases * (kill as usize + 1))
            .div_ceil(kills.max(1) as usize)
            .min(purchases);
        for order in &orders[paid..due] {
            pay(world, order).await?;
        }
        paid = due;
        let victim = processors::ALL[usize::try_from(dice.below(processors::ALL.len() as u64))?].0;
        tokio::time::sleep(Duration::from_millis(dice.below(400))).await;
        world.sandbox.fleet.kill(victim).await?;
        tokio::time::sleep(Duration::from_millis(100 + dice.below(700))).await;
        world.sandbox.fleet.start(victim).await?;
        eprintln!(
            "kill {:>3}: {victim:<16} {paid:>3} paid, {:.0} s",
            kill + 1,
            begun.elapsed().as_secs_f32()
        );
    }
    for order in &orders[paid..] {
        pay(world, order).await?;
    }
    for stand_in in STAND_INS {
        world.mend(stand_in).await?;
    }
    settle(world, &orders).await?;
    count(world, &orders).await
}

/// Answers are lost after the work is done, and some requests fail before it.
async fn arm(world: &World) -> Result<()> {
    for (stand_in, path, lose, fail) in [
        ("GRIDWAY_STRIPE_URL", "/v1/refunds", 3, 5),
        ("GRIDWAY_HORIZON_URL", "/transactions", 3, 7),
        ("GRIDWAY_TFCHAIN_URL", "/v1/extrinsics", 3, 7),
    ] {
        for (kind, every) in [("lose_answer", lose), ("http500", fail)] {
            world
                .fault(
                    stand_in,
                    &json!({"method": "POST", "path": path, "kind": kind, "every": every}),
                )
                .await?;
        }
    }
    Ok(())
}

async fn pay(world: &World, order: &Order) -> Result<()> {
    world.buyers[order.buyer].pay(&order.intent).await
}

/// Waits until every deployment has come to its end.
async fn settle(world: &mut World, orders: &[Order]) -> Result<()> {
    let deadline = Instant::now() + END_WITHIN;
    let mut open: BTreeMap<String, usize> = orders
        .iter()
        .map(|o| (o.deployment.clone(), o.buyer))
        .collect();
    while !open.is_empty() {
        let mut ended = BTreeSet::new();
        for (deployment, buyer) in &open {
            let state = world.buyers[*buyer]
                .query(&format!("/deployments/{deployment}"))
                .await?;
            match state["state"].as_str() {
                Some("created") => {
                    ended.insert(deployment.clone());
                }
                Some("failed") => bail!("deployment {deployment} failed: {state}"),
                _ => {}
            }
        }
        open.retain(|deployment, _| !ended.contains(deployment));
        let dead = world.sandbox.fleet.dead();
        if !dead.is_empty() {
            bail!("ended by themselves: {}", dead.join(", "));
        }
        if Instant::now() > deadline {
            let lost: Vec<&String> = open.keys().collect();
            bail!(
                "{} of {} purchases did not come to their contract: {lost:?}",
                open.len(),
                orders.len()
            );
        }
        if !open.is_empty() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// Counts at the counterparties and in the log.
async fn count(world: &World, orders: &[Order]) -> Result<()> {
    let mut wrong = Vec::new();
    let stripe = world.counts("GRIDWAY_STRIPE_URL").await?;
    for order in orders {
        let seen = &stripe["by_purchase"][&order.purchase];
        let intents = seen["intents"].as_array().map_or(0, Vec::len);
        let (succeeded, refunds) = (seen["succeeded"].as_u64(), seen["refunds"].as_u64());
        if (intents, succeeded, refunds) != (1, Some(1), Some(0)) {
            wrong.push(format!("{}: at Stripe {seen}", order.purchase));
        }
    }
    let (swaps, payments) = stellar(world).await?;
    if swaps != orders.len() || payments != orders.len() {
        wrong.push(format!(
            "on Stellar: {swaps} swaps and {payments} payments to the bridge for {} purchases",
            orders.len()
        ));
    }
    let chain = world.counts("GRIDWAY_TFCHAIN_URL").await?;
    let by_hash = chain["by_hash"].as_object().cloned().unwrap_or_default();
    let once = by_hash.values().filter(|n| **n == json!(1)).count();
    if once != orders.len()
        || by_hash.len() != orders.len()
        || chain["mints"] != json!(orders.len())
    {
        wrong.push(format!(
            "on TFChain: {} contracts, {} mints for {} purchases",
            chain["contracts"],
            chain["mints"],
            orders.len()
        ));
    }
    if chain["twins"] != json!(BUYERS) {
        wrong.push(format!(
            "on TFChain: {} twins for {BUYERS} users",
            chain["twins"]
        ));
    }
    let topics: Vec<(&str, i32)> = events::topics::ALL
        .iter()
        .map(|t| (t.name, t.partitions))
        .collect();
    let brokers = world.setting("GRIDWAY_KAFKA_BROKERS").to_owned();
    let owned: Vec<(String, i32)> = topics.iter().map(|(n, p)| ((*n).to_owned(), *p)).collect();
    let entries = tokio::task::spawn_blocking(move || {
        let topics: Vec<(&str, i32)> = owned.iter().map(|(n, p)| (n.as_str(), *p)).collect();
        Log::open(&brokers, &topics, false)?.all()
    })
    .await??;
    eprintln!("{} records in the log", entries.len());
    wrong.extend(doubled(&entries));
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("{}", wrong.join("\n"))
    }
}

/// Successful swaps of the treasury and payments to the bridge, as Horizon shows them.
async fn stellar(world: &World) -> Result<(usize, usize)> {
    let bridge = world.setting("GRIDWAY_BRIDGE_ADDRESS").to_owned();
    let horizon = world
        .setting("GRIDWAY_HORIZON_URL")
        .trim_end_matches('/')
        .to_owned();
    let (mut swaps, mut to_bridge) = (0, 0);
    let treasury = treasury_account(world)?;
    let mut cursor = String::new();
    loop {
        let url =
            format!("{horizon}/accounts/{treasury}/payments?order=asc&limit=200&cursor={cursor}");
        let page: Value = reqwest::get(&url).await?.error_for_status()?.json().await?;
        let records = page["_embedded"]["records"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let Some(last) = records.last() else {
            return Ok((swaps, to_bridge));
        };
        cursor = last["paging_token"]
            .as_str()
            .context("a paging token")?
            .to_owned();
        for record in &records {
            match record["type"].as_str() {
                Some("path_payment_strict_receive") => swaps += 1,
                Some("payment")
                    if record["to"] == json!(bridge) && record["from"] == json!(treasury) =>
                {
                    to_bridge += 1;
                }
                _ => {}
            }
        }
    }
}

fn treasury_account(world: &World) -> Result<String> {
    let secret: counterparties_stellar::SecretKey = world
        .setting("GRIDWAY_TREASURY_SECRET")
        .parse()
        .map_err(|_| anyhow::anyhow!("the treasury's secret"))?;
    Ok(secret.account().to_string())
}
