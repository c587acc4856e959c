//! The crash harness and the benchmarks: the whole product as processes on the real stack.

mod bench;
mod crash;
mod log;
mod world;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Proofs of the whole system.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kills processors in the middle of purchases and counts at the counterparties.
    Crash {
        /// How often a processor is killed.
        #[arg(long, default_value_t = 20)]
        kills: u32,
        /// How many purchases run meanwhile.
        #[arg(long, default_value_t = 50)]
        purchases: usize,
        /// Decides who is killed when.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Latency of a purchase, purchases a second, idle memory.
    Bench {
        /// Purchases one by one.
        #[arg(long, default_value_t = 100)]
        single: usize,
        /// Purchases at once.
        #[arg(long, default_value_t = 200)]
        burst: usize,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("warn")
        .with_writer(std::io::stderr)
        .init();
    match Cli::parse().command {
        Command::Crash {
            kills,
            purchases,
            seed,
        } => crash::run(kills, purchases, seed).await,
        Command::Bench { single, burst } => bench::run(single, burst).await,
    }
}
