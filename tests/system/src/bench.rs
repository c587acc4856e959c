//! Benchmarks: latency of a purchase, purchases a second, idle memory, CPU time.

use crate::log::Log;
use crate::world::{Order, World};
use anyhow::{Result, bail};
use events::topics::DEPLOYMENTS;
use gridway::fleet::parts;
use gridway::up::Options;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

const BUYERS: usize = 40;

/// Runs them and prints a table.
///
/// # Errors
/// When a purchase does not come to its contract.
pub async fn run(single: usize, burst: usize) -> Result<()> {
    let world = World::start(BUYERS, BUYERS, &[], Options::default()).await?;
    let result = measure(&world, single, burst).await;
    world.sandbox.stop().await;
    result
}

async fn measure(world: &World, single: usize, burst: usize) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("\n| process | idle memory (RSS) |\n|---|---|");
    for part in parts() {
        if let Some(rss) = world.sandbox.fleet.pid(part).and_then(rss_kib) {
            println!("| {part} | {:.1} MB |", rss as f64 / 1024.0);
        }
    }
    let mut warm = orders(world, "warm", 10).await?;
    one_by_one(world, &mut warm).await?;
    let mut prepared = orders(world, "single", single).await?;
    let cpu = cpu_ms(world);
    let mut took = one_by_one(world, &mut prepared).await?;
    let cpu_single = cpu_ms(world) - cpu;
    took.sort_unstable();
    let at = |p: usize| took[(took.len() - 1) * p / 100].as_secs_f64() * 1000.0;
    println!(
        "\n{single} purchases one by one, from the card's confirmation to DeploymentCreated in the log:"
    );
    println!(
        "p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms; {:.1} ms of our CPU each",
        at(50),
        at(90),
        at(99),
        cpu_single as f64 / single as f64
    );

    let prepared = orders(world, "burst", burst).await?;
    let machine = machine_cpu_ms();
    let cpu = cpu_ms(world);
    let before = cpu_by_program();
    let elapsed = all_at_once(world, &prepared).await?;
    let after = cpu_by_program();
    let cpu_burst = cpu_ms(world) - cpu;
    let everything = machine_cpu_ms() - machine;
    println!(
        "\nCPU of the whole machine meanwhile: {:.1} ms a purchase (broker, Postgres and stand-ins included)",
        everything as f64 / burst as f64
    );
    println!(
        "{burst} purchases at once: {:.2} s, {:.0} purchases a second; {:.1} ms of our CPU each",
        elapsed.as_secs_f64(),
        burst as f64 / elapsed.as_secs_f64(),
        cpu_burst as f64 / burst as f64
    );
    println!("CPU by program:");
    for (program, total) in after {
        let spent = total - before.get(&program).copied().unwrap_or(0).min(total);
        if spent > 0 {
            println!(
                "  {program}: {:.1} ms a purchase",
                spent as f64 / burst as f64
            );
        }
    }
    Ok(())
}

/// CPU time of this process and of everything it started, by program, in milliseconds.
pub fn cpu_by_program() -> BTreeMap<String, u64> {
    let mut parents = HashMap::new();
    let mut spent = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else {
            continue;
        };
        let fields: Vec<u64> = stat[close + 1..]
            .split_whitespace()
            .map(|f| f.parse().unwrap_or(0))
            .collect();
        if let [_, parent, _, _, _, _, _, _, _, _, _, user, system, ..] = fields[..] {
            parents.insert(pid, u32::try_from(parent).unwrap_or(0));
            spent.insert(
                pid,
                (stat[open + 1..close].to_owned(), (user + system) * 10),
            );
        }
    }
    let us = std::process::id();
    let ours = |mut pid: u32| loop {
        if pid == us {
            return true;
        }
        match parents.get(&pid) {
            Some(parent) if *parent > 0 => pid = *parent,
            _ => return false,
        }
    };
    let mut by_program = BTreeMap::new();
    for (pid, (program, ms)) in spent {
        if ours(pid) {
            *by_program.entry(program).or_insert(0) += ms;
        }
    }
    by_program
}

async fn orders(world: &World, name: &str, count: usize) -> Result<Vec<Order>> {
    let mut all = Vec::with_capacity(count);
    for chunk in (0..count).collect::<Vec<_>>().chunks(20) {
        let some = futures::future::join_all(chunk.iter().map(|n| {
            let key = format!("{name}-{n}");
            async move { world.order(n % BUYERS, &key).await }
        }))
        .await;
        for order in some {
            all.push(order?);
        }
    }
    Ok(all)
}

fn watch(world: &World) -> Result<std::sync::mpsc::Receiver<(String, Instant)>> {
    let log = Log::open(
        world.setting("GRIDWAY_KAFKA_BROKERS"),
        &[(DEPLOYMENTS.name, DEPLOYMENTS.partitions)],
        true,
    )?;
    // Positions at the end are known once the first poll has gone by.
    while log.next(Duration::from_millis(500))?.is_some() {}
    let (found, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        loop {
            match log.next(Duration::from_millis(100)) {
                Ok(Some(entry)) if entry.event_type.ends_with(".DeploymentCreated") => {
                    let purchase = entry.envelope.correlation.unwrap_or_default();
                    if found.send((purchase, Instant::now())).is_err() {
                        return;
                    }
                }
                Ok(_) => {
                    // The receiver is gone: the benchmark is over.
                    if found.send((String::new(), Instant::now())).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    });
    Ok(receiver)
}

fn wait_for(
    receiver: &std::sync::mpsc::Receiver<(String, Instant)>,
    purchases: &[&str],
) -> Result<HashMap<String, Instant>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut seen = HashMap::new();
    while seen.len() < purchases.len() {
        if let Ok((purchase, at)) = receiver.recv_timeout(Duration::from_millis(200))
            && purchases.contains(&purchase.as_str())
        {
            seen.entry(purchase).or_insert(at);
        }
        if Instant::now() > deadline {
            bail!(
                "{} of {} purchases did not come to their contract within a minute",
                purchases.len() - seen.len(),
                purchases.len()
            );
        }
    }
    Ok(seen)
}

async fn one_by_one(world: &World, orders: &mut Vec<Order>) -> Result<Vec<Duration>> {
    let receiver = watch(world)?;
    let mut took = Vec::new();
    for order in orders.drain(..) {
        let begun = Instant::now();
        world.buyers[order.buyer].pay(&order.intent).await?;
        let seen = tokio::task::block_in_place(|| wait_for(&receiver, &[&order.purchase]))?;
        took.extend(seen.values().map(|at| at.duration_since(begun)));
    }
    Ok(took)
}

async fn all_at_once(world: &World, orders: &[Order]) -> Result<Duration> {
    let receiver = watch(world)?;
    let begun = Instant::now();
    let paid =
        futures::future::join_all(orders.iter().map(|o| world.buyers[o.buyer].pay(&o.intent)))
            .await;
    for payment in paid {
        payment?;
    }
    let purchases: Vec<&str> = orders.iter().map(|o| o.purchase.as_str()).collect();
    let seen = tokio::task::block_in_place(|| wait_for(&receiver, &purchases))?;
    let last = seen.values().max().copied().unwrap_or(begun);
    Ok(last.duration_since(begun))
}

/// Resident memory of a process, in KiB.
pub fn rss_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// CPU time of our own processes so far, in milliseconds (clock ticks are 10 ms).
fn cpu_ms(world: &World) -> u64 {
    parts()
        .iter()
        .filter_map(|part| world.sandbox.fleet.pid(part))
        .filter_map(cpu_of)
        .sum()
}

/// CPU time of a process so far, in milliseconds (clock ticks are 10 ms).
pub fn cpu_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some((fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?) * 10)
}

/// CPU time that the whole machine has spent so far, in milliseconds.
fn machine_cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|f| f.parse().ok())
        .collect();
    // user, nice, system; irq and softirq
    [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|i| fields.get(*i))
        .sum::<u64>()
        * 10
}
