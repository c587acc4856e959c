//! The Stellar stand-in as a process; see the library's documentation.

use anyhow::Context;
use clap::Parser;
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// A stand-in for a Stellar network behind Horizon.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Loopback address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The network's passphrase; SHA-256 of it is the root account's seed.
    #[arg(
        long,
        env = "GRIDWAY_STELLAR_PASSPHRASE",
        default_value = "Standalone Network ; February 2017"
    )]
    passphrase: String,
    /// Milliseconds between ledgers; 0 closes one on each submission.
    #[arg(long, default_value_t = 0)]
    close_ms: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    sandbox_kit::init_logs();
    let service = sandbox_horizon::service::Service::start(&args.passphrase, args.close_ms);
    let router = sandbox_horizon::http::router(service);
    sandbox_kit::run(args.listen, router, CancellationToken::new())
        .await
        .context("serving")
}
