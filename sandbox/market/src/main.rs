//! Makes the market on a sandbox's Stellar network and prints it as JSON; see the library.

use anyhow::Context;
use clap::Parser;

/// Makes the market of the sandbox on a fresh Stellar network.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Base URL of Horizon.
    #[arg(long)]
    horizon: String,
    /// The network's passphrase; SHA-256 of it is the root account's seed.
    #[arg(long, default_value = "Standalone Network ; February 2017")]
    passphrase: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let market = sandbox_market::seed(&args.horizon, &args.passphrase)
        .await
        .context("making the market")?;
    println!("{}", market.to_json());
    Ok(())
}
