//! The stand-ins of SendGrid and Twilio as a process; see the library's documentation.

use anyhow::Context;
use clap::Parser;
use sandbox_messaging::Settings;
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// Stand-ins for SendGrid's mail API and Twilio's message API.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Loopback address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// API key that SendGrid accepts.
    #[arg(long, env = "SANDBOX_SENDGRID_KEY", hide_env_values = true)]
    sendgrid_key: String,
    /// The sender that SendGrid has verified.
    #[arg(long, default_value = "no-reply@gridway.dev")]
    sender: String,
    /// Twilio's account.
    #[arg(long, env = "SANDBOX_TWILIO_ACCOUNT")]
    account: String,
    /// Its token.
    #[arg(long, env = "SANDBOX_TWILIO_TOKEN", hide_env_values = true)]
    token: String,
    /// The number that the account owns.
    #[arg(long, default_value = "+15005550006")]
    from: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    sandbox_kit::init_logs();
    let router = sandbox_messaging::router(Settings {
        sendgrid_key: args.sendgrid_key,
        sender: args.sender,
        account: args.account,
        token: args.token,
        from: args.from,
    });
    sandbox_kit::run(args.listen, router, CancellationToken::new())
        .await
        .context("serving")
}
