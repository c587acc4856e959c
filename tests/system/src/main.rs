//! The crash harness and the benchmarks: the whole product as processes on the real stack.

mod api_bench;
mod bench;
mod calls;
mod crash;
mod deployments;
mod fold;
mod hanging;
mod lanes_bench;
mod log;
mod outages;
mod stripe_calls;
mod vectors;
mod webhooks;
mod world;

use anyhow::Result;
use clap::{Parser, Subcommand};
use crash::Plan;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Proofs of the whole system.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kills and freezes every process while people buy, restarts the stack, lets the
    /// counterparties fail, and counts at the counterparties.
    Crash {
        /// How often a process dies.
        #[arg(long, default_value_t = 20)]
        kills: u32,
        /// How often a process stops beyond its session and wakes again.
        #[arg(long, default_value_t = 2)]
        freezes: u32,
        /// How many purchases run meanwhile.
        #[arg(long, default_value_t = 40)]
        purchases: usize,
        /// Decides what is left to chance.
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
    /// Commands beside Kafka's own confirmations, queries beside a bare handler.
    ApiBench {
        /// Commands a second.
        #[arg(long, default_value_t = 500)]
        rate: u32,
        /// Seconds of commands.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// The most milliseconds by which a command's p99 may exceed Kafka's.
        #[arg(long, default_value_t = 15)]
        above_ms: u64,
        /// The least per cent of the bare handler's queries a second.
        #[arg(long, default_value_t = 60)]
        percent: u64,
    },
    /// The bare handler that `api-bench` compares with.
    #[command(hide = true)]
    Bare {
        /// URL of the database.
        #[arg(long)]
        database: String,
    },
    /// Deployments on TFChain with blocks of a second, straight through the client.
    Deployments {
        /// Users.
        #[arg(long, default_value_t = 100)]
        users: usize,
        /// Deployments of all users together.
        #[arg(long, default_value_t = 1_000)]
        deployments: usize,
        /// Milliseconds between blocks.
        #[arg(long, default_value_t = 1_000)]
        block_ms: u64,
        /// Blocks by which finality trails.
        #[arg(long, default_value_t = 2)]
        finality_lag: u32,
        /// The most seconds that it may take.
        #[arg(long, default_value_t = 60)]
        within: u64,
    },
    /// Swaps on many lanes at once, straight through the hand, ledgers closing every second.
    LanesBench {
        /// Lanes.
        #[arg(long, default_value_t = 64)]
        lanes: u16,
        /// Ledgers that are counted.
        #[arg(long, default_value_t = 60)]
        ledgers: usize,
        /// Milliseconds between ledgers.
        #[arg(long, default_value_t = 1_000)]
        close_ms: u64,
        /// Swaps that a ledger must take on average.
        #[arg(long, default_value_t = 60)]
        swaps_per_ledger: usize,
        /// The most CPU time of ours that a swap may take, in milliseconds.
        #[arg(long, default_value_t = 2)]
        cpu_ms: u64,
    },
    /// Every call that is sent to TFChain, as our shapes encode it, as JSON.
    Calls {
        /// The runtime's metadata, SCALE.
        #[arg(long)]
        metadata: std::path::PathBuf,
    },
    /// Takes Kafka away and fills its disk while people buy.
    Outages {
        /// How long Kafka cannot be reached.
        #[arg(long, default_value_t = 120)]
        kafka_seconds: u64,
    },
    /// How long a processor folds a long partition before it is live.
    Fold {
        /// Records in the partition.
        #[arg(long, default_value_t = 1_000_000)]
        records: u64,
    },
    /// Makes every call of our Stripe client, for tests/stripe-mock.
    StripeCalls {
        /// Base URL, without `/v1`.
        #[arg(long)]
        url: String,
    },
    /// Verdicts on signed webhooks (a JSON array on stdin), for tests/webhooks.
    Webhooks,
    /// Prints what our signing code signs for fixed inputs, for other libraries to judge.
    Vectors,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("warn,rdkafka=off,sqlx=error")
        .with_writer(std::io::stderr)
        .init();
    match Cli::parse().command {
        Command::Crash {
            kills,
            freezes,
            purchases,
            seed,
        } => {
            crash::run(Plan {
                kills,
                freezes,
                purchases,
                seed,
            })
            .await
        }
        Command::Bench { single, burst } => bench::run(single, burst).await,
        Command::ApiBench {
            rate,
            seconds,
            above_ms,
            percent,
        } => {
            api_bench::run(api_bench::Plan {
                rate: rate.max(1),
                seconds: seconds.max(1),
                above_ms,
                percent,
            })
            .await
        }
        Command::Bare { database } => api_bench::bare(&database).await,
        Command::Deployments {
            users,
            deployments,
            block_ms,
            finality_lag,
            within,
        } => {
            deployments::run(deployments::Plan {
                users: users.max(1),
                deployments,
                block_ms,
                finality_lag,
                within,
            })
            .await
        }
        Command::LanesBench {
            lanes,
            ledgers,
            close_ms,
            swaps_per_ledger,
            cpu_ms,
        } => {
            lanes_bench::run(lanes_bench::Plan {
                lanes,
                ledgers: ledgers.max(1),
                close_ms,
                swaps_per_ledger,
                cpu_ms,
            })
            .await
        }
        Command::Calls { metadata } => calls::run(&metadata),
        Command::Outages { kafka_seconds } => outages::run(kafka_seconds).await,
        Command::Fold { records } => fold::run(records).await,
        Command::StripeCalls { url } => stripe_calls::run(&url).await,
        Command::Webhooks => webhooks::run(),
        Command::Vectors => vectors::run().await,
    }
}
