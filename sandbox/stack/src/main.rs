//! Runs the local stack until Ctrl-C or SIGTERM and prints how to reach it.

use anyhow::Context;
use clap::Parser;
use sandbox_stack::{Stack, StackOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// Starts Kafka, the schema registry, Postgres, Redis and the stand-ins on free loopback ports,
/// prints their addresses as `export` lines, and stops them on Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// The sandbox folder [default: $GRIDWAY_SANDBOX_DIR, else .sandbox].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Milliseconds between Stellar ledgers; 0: one on each submission.
    #[arg(long, default_value_t = 0)]
    close_ms: u64,
    /// Milliseconds between TFChain blocks; 0: one on each submission.
    #[arg(long, default_value_t = 0)]
    block_ms: u64,
    /// Blocks of TFChain by which finality trails.
    #[arg(long, default_value_t = 0)]
    finality_lag: u32,
    /// Only Kafka, the registry, Postgres and Redis.
    #[arg(long)]
    no_stand_ins: bool,
    /// Keeps the run folder, with the logs.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let options = StackOptions {
        dir: arguments.dir,
        close_ms: arguments.close_ms,
        block_ms: arguments.block_ms,
        finality_lag: arguments.finality_lag,
        stand_ins: !arguments.no_stand_ins,
        keep: arguments.keep,
        quiet: false,
        kafka_disk_mib: None,
        kafka_as_in_production: false,
    };
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let stack = tokio::select! {
        stack = Stack::start(options) => stack?,
        // What had been started is killed with the future.
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    print(&stack).context("stdout")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    eprintln!("sandbox: stopping");
    stack.stop().await;
    Ok(())
}

fn print(stack: &Stack) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (name, value) in stack.environment() {
        writeln!(out, "export {name}='{value}'")?;
    }
    out.flush()
}
