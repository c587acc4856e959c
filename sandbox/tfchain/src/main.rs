//! The TFChain stand-in as a process; see the library's documentation.

use anyhow::{Context, ensure};
use clap::Parser;
use sandbox_tfchain::bridge::{Bridge, BridgeConfig};
use sandbox_tfchain::{Chain, Pace, Rules};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use subxt_signer::SecretUri;
use subxt_signer::sr25519::Keypair;
use tokio_util::sync::CancellationToken;

/// A stand-in for TFChain and its Stellar bridge.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Loopback address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Base URL of the Horizon that the bridge watches; without it there is no bridge.
    #[arg(long, requires_all = ["passphrase", "tft", "bridge_secret"])]
    horizon: Option<String>,
    /// Passphrase of the Stellar network.
    #[arg(long)]
    passphrase: Option<String>,
    /// TFT on Stellar, as CODE:ISSUER.
    #[arg(long)]
    tft: Option<String>,
    /// A block every so many milliseconds; 0: one for each transaction or mint, at once.
    #[arg(long, default_value_t = 0)]
    block_ms: u64,
    /// With --block-ms 0: an empty block when none came for so many milliseconds.
    #[arg(long, default_value_t = 250)]
    idle_block_ms: u64,
    /// Blocks by which finality trails.
    #[arg(long, default_value_t = 0)]
    finality_lag: u32,
    /// Nodes 1 to this exist.
    #[arg(long, default_value_t = 10)]
    nodes: u32,
    /// Fee of a transaction, in 10^-7 TFT.
    #[arg(long, default_value_t = 10_000)]
    extrinsic_fee: u64,
    /// What the bridge keeps of a deposit, in 10^-7 TFT.
    #[arg(long, default_value_t = 10_000_000)]
    deposit_fee: u64,
    /// Secret of the bridge's Stellar account, S….
    #[arg(long, env = "SANDBOX_BRIDGE_SECRET", hide_env_values = true)]
    bridge_secret: Option<String>,
    /// URI of the account that starts with 1,000,000 TFT.
    #[arg(long, env = "SANDBOX_ACTIVATOR", hide_env_values = true)]
    activator: String,
}

/// What the activator starts with, in 10^-7 TFT.
const ENDOWMENT: u64 = 1_000_000 * 10_000_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    sandbox_kit::init_logs();
    ensure!(args.idle_block_ms > 0, "--idle-block-ms must be above 0");
    let uri = SecretUri::from_str(&args.activator)
        .ok()
        .context("SANDBOX_ACTIVATOR is not a secret URI")?;
    let activator = Keypair::from_uri(&uri)
        .ok()
        .context("SANDBOX_ACTIVATOR is not a secret URI")?
        .public_key();
    let rules = Rules {
        nodes: args.nodes,
        extrinsic_fee: args.extrinsic_fee,
        deposit_fee: args.deposit_fee,
    };
    let pace = Pace {
        block: Duration::from_millis(args.block_ms),
        idle: Duration::from_millis(args.idle_block_ms),
        finality_lag: args.finality_lag,
    };
    let chain = Arc::new(Chain::new(
        rules,
        pace,
        activator.to_account_id(),
        ENDOWMENT,
    ));
    let sealing = Arc::clone(&chain);
    tokio::spawn(async move { sealing.run().await });
    if let (Some(horizon), Some(passphrase), Some(tft), Some(secret)) =
        (args.horizon, args.passphrase, args.tft, args.bridge_secret)
    {
        let bridge = Bridge::new(
            Arc::clone(&chain),
            &BridgeConfig {
                horizon,
                passphrase,
                tft,
                secret,
            },
        )?;
        tracing::info!(account = bridge.address(), "the bridge watches its account");
        tokio::spawn(bridge.run());
    }
    let faults = sandbox_kit::Faults::default();
    sandbox_kit::run_with(
        args.listen,
        sandbox_tfchain::router(chain, faults.clone()),
        faults,
        CancellationToken::new(),
    )
    .await
    .context("serving")
}
