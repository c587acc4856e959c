//! `simulation`: lives through many worlds and says what must not be.

mod balances;
mod broker;
mod chain;
mod check;
mod counts;
mod deployed;
mod depositors;
mod dice;
mod faults;
mod fence;
mod fixture;
mod lanes;
mod meet;
mod net;
mod newcomers;
mod outages;
mod payments;
mod people;
mod process;
mod reached;
mod script;
mod shrink;
mod stellar;
mod stripe;
mod tfchain;
mod time;
mod trace;
mod wire;
mod world;

use anyhow::Result;
use clap::Parser;
use reached::Reached;
use script::Script;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use trace::Trace;
use world::{Fixture, live};

#[derive(Parser)]
#[command(about = "Policies, executors and sources of production in simulated worlds.")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
struct Options {
    /// How many worlds.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Lives through one seed and shows what happened.
    #[arg(long)]
    show: Option<u64>,
    /// Stops at the first violation, without shrinking it.
    #[arg(long)]
    first: bool,
    /// TFChain over the wire in all of them, instead of in one of twenty.
    #[arg(long)]
    wire: bool,
    /// TFChain modelled in all of them.
    #[arg(long, conflicts_with = "wire")]
    modelled: bool,
    /// The fault matrix instead of seeds: each effect, each fault, each fate of its sender.
    #[arg(long)]
    faults: bool,
    /// Ten minutes without each counterparty, in each way in which it can be down.
    #[arg(long)]
    outages: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulation: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn script(seed: u64, options: &Options) -> Script {
    let mut script = Script::of(seed);
    script.wire = (script.wire || options.wire) && !options.modelled;
    script
}

fn run(options: &Options) -> Result<bool> {
    let fixture = Fixture::new()?;
    if options.faults {
        return faults::run(&fixture);
    }
    if options.outages {
        return outages::run(&fixture);
    }
    if let Some(seed) = options.show {
        let trace = Trace::kept();
        let script = script(seed, options);
        let outcome = live(seed, &script, &fixture, &trace)?;
        println!("{script:#?}");
        for line in trace.lines() {
            println!("{line}");
        }
        println!(
            "{} records, {} simulated seconds",
            outcome.records, outcome.lived
        );
        println!("TFChain: {}", outcome.reached);
        for violation in &outcome.violations {
            println!("violation: {violation}");
        }
        return Ok(outcome.violations.is_empty());
    }
    let begun = Instant::now();
    let next = AtomicU64::new(options.from);
    let end = options.from + options.seeds;
    let failed: Mutex<Vec<(u64, Vec<String>)>> = Mutex::default();
    let reached: Mutex<Reached> = Mutex::default();
    let (tried, records, lived) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let stop =
                        options.first && failed.lock().is_ok_and(|failed| !failed.is_empty());
                    if seed >= end || stop {
                        return;
                    }
                    let violations =
                        match live(seed, &script(seed, options), &fixture, &Trace::default()) {
                            Ok(outcome) => {
                                records.fetch_add(outcome.records as u64, Ordering::Relaxed);
                                lived.fetch_add(outcome.lived, Ordering::Relaxed);
                                if let Ok(mut reached) = reached.lock() {
                                    *reached += outcome.reached;
                                }
                                outcome.violations
                            }
                            Err(error) => vec![format!("{error:#}")],
                        };
                    tried.fetch_add(1, Ordering::Relaxed);
                    if !violations.is_empty()
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push((seed, violations));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort();
    let tried = tried.into_inner();
    eprintln!(
        "{tried} worlds in {:.1} s: {} records, {} simulated hours",
        begun.elapsed().as_secs_f64(),
        records.into_inner(),
        lived.into_inner() / 3600
    );
    eprintln!("TFChain: {}", reached.into_inner().unwrap_or_default());
    for (seed, violations) in failed.iter().take(10) {
        println!("seed {seed}: {}", violations.join("; "));
    }
    if let (Some((seed, _)), false) = (failed.first(), options.first) {
        shrink::show(*seed, script(*seed, options), &fixture)?;
    }
    println!("sim: {tried} seeds, {} violations", failed.len());
    Ok(failed.is_empty())
}
