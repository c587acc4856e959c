//! The Stripe stand-in as a process; see the library's documentation.

use anyhow::Context;
use clap::Parser;
use sandbox_stripe::{DEFAULT_KEY, Target};
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// A stand-in for Stripe: PaymentIntents, refunds, events, idempotency keys, signed webhooks.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Loopback address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where webhooks are posted; can be set later by POST /_control/webhook.
    #[arg(long, requires = "webhook_secret")]
    webhook_url: Option<String>,
    /// Secret that webhooks are signed with.
    #[arg(long, env = "SANDBOX_STRIPE_WEBHOOK_SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,
    /// Secret key that is accepted.
    #[arg(long, env = "SANDBOX_STRIPE_KEY", hide_env_values = true, default_value = DEFAULT_KEY)]
    key: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    sandbox_kit::init_logs();
    let webhook = args
        .webhook_url
        .zip(args.webhook_secret)
        .map(|(url, secret)| Target {
            url,
            secret,
            events: Vec::new(),
            copies: 1,
            thin: false,
            drop_every: 0,
            jitter_ms: 0,
        });
    let router =
        sandbox_stripe::router(&args.key, webhook).context("the HTTP client for webhooks")?;
    sandbox_kit::run(args.listen, router, CancellationToken::new())
        .await
        .context("serving")
}
