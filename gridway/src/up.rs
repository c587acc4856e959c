//! `gridway up`: everything on the local stack.

use crate::demo::Buyer;
use crate::fleet::{Fleet, parts};
use crate::serve;
use anyhow::{Context, Result};
use clap::Args;
use sandbox_stack::{Stack, StackOptions};
use std::path::PathBuf;
use std::time::Instant;

/// The person who signs up in the sandbox.
pub const PERSON: (&str, &str) = ("demo@example.org", "a horse of the sandbox");

/// How the local stack is to be.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Milliseconds between Stellar ledgers; 0 closes one on each submission.
    #[arg(long, default_value_t = 0)]
    pub close_ms: u64,
    /// Milliseconds between TFChain blocks; 0 makes one on each submission.
    #[arg(long, default_value_t = 0)]
    pub block_ms: u64,
    /// Blocks of TFChain by which finality trails.
    #[arg(long, default_value_t = 0)]
    pub finality_lag: u32,
    /// Keep the logs of all processes after the end.
    #[arg(long)]
    pub keep: bool,
    /// Gives Kafka's log a disk of its own with so many MiB, which can fill up; needs root.
    #[arg(long)]
    pub kafka_disk_mib: Option<u32>,
    /// Run Kafka's JVM as in production: it takes more memory, and for its first minute under load
    /// most of a core to compile.
    #[arg(long)]
    pub kafka_as_in_production: bool,
    /// Also write the environment, secrets of the sandbox included, to this file as `export` lines.
    #[arg(long)]
    pub environment: Option<PathBuf>,
}

/// The running product on its running stack.
pub struct Sandbox {
    /// The stack.
    pub stack: Stack,
    /// The product's processes.
    pub fleet: Fleet,
    /// What they were configured with.
    pub environment: Vec<(String, String)>,
}

/// The `gridway` binary: beside the running program, whichever of ours that is.
///
/// # Errors
/// When the running program cannot tell where it is.
pub fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding the gridway binary")?;
    let beside = own.with_file_name("gridway");
    // Test binaries stand one folder deeper.
    let above = own
        .parent()
        .and_then(|p| p.parent())
        .map(|p| p.join("gridway"));
    Ok([Some(beside), above]
        .into_iter()
        .flatten()
        .find(|p| p.is_file())
        .unwrap_or(own))
}

/// Settings of the sandbox that are not the stack's.
fn settings(stack: &Stack, overrides: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut environment = stack.environment();
    let seed = "5a".repeat(32);
    for (name, value) in [
        ("GRIDWAY_KAFKA_SESSION_MS", "6000"),
        ("GRIDWAY_KAFKA_REPLICATION", "1"),
        ("GRIDWAY_KAFKA_MIN_ISR", "1"),
        ("GRIDWAY_AUTH_SEEDS", seed.as_str()),
        // One person plays everybody; with limits, `POST /approvals` asks for a second one.
        ("GRIDWAY_ALONE_UP_TO", "any"),
        // Everybody calls from one machine, and asks often.
        ("GRIDWAY_LIMIT_USER", "1000000"),
        ("GRIDWAY_LIMIT_ADDRESS", "1000000"),
        ("GRIDWAY_LIMIT_GUEST", "10000"),
    ]
    .iter()
    .chain(overrides)
    {
        environment.retain(|(n, _)| n != name);
        environment.push(((*name).to_owned(), (*value).to_owned()));
    }
    environment
}

/// Starts the stack and on it the whole product. `overrides` replace settings.
///
/// # Errors
/// When a part does not come up.
pub async fn start(options: &Options, overrides: &[(&str, &str)]) -> Result<Sandbox> {
    let begun = Instant::now();
    let stack = Stack::start(StackOptions {
        close_ms: options.close_ms,
        block_ms: options.block_ms,
        finality_lag: options.finality_lag,
        keep: options.keep,
        kafka_disk_mib: options.kafka_disk_mib,
        kafka_as_in_production: options.kafka_as_in_production,
        ..StackOptions::default()
    })
    .await?;
    let environment = settings(&stack, overrides);
    let mut fleet = Fleet::new(program()?, environment.clone(), stack.folder());
    fleet.once(&["topics", "create"]).await?;
    eprintln!("opening payment lanes on Stellar …");
    fleet.once(&["lanes", "open"]).await?;
    fleet.start_all(&parts()).await?;
    let webhook = format!(
        "{}/payments/webhook",
        fleet.address("api").unwrap_or_default()
    );
    stack
        .set_webhook(&webhook)
        .await
        .context("telling the Stripe stand-in where the webhook is")?;
    eprintln!(
        "gridway runs, {:.1} s after the start",
        begun.elapsed().as_secs_f32()
    );
    Ok(Sandbox {
        stack,
        fleet,
        environment,
    })
}

/// The value of a setting in an environment.
#[must_use]
pub fn setting<'a>(environment: &'a [(String, String)], name: &str) -> &'a str {
    environment
        .iter()
        .find(|(n, _)| n == name)
        .map_or("", |(_, value)| value)
}

impl Sandbox {
    /// Where the API listens.
    #[must_use]
    pub fn api(&self) -> &str {
        self.fleet.address("api").unwrap_or_default()
    }

    /// Stops everything.
    pub async fn stop(mut self) {
        self.fleet.stop().await;
        self.stack.stop().await;
    }
}

/// `gridway up`.
///
/// # Errors
/// When a part does not come up.
pub async fn run(options: &Options) -> Result<()> {
    let stop = serve::on_signal()?;
    let sandbox = tokio::select! {
        started = start(options, &[]) => started?,
        () = stop.cancelled() => return Ok(()),
    };
    if let Some(file) = &options.environment {
        let mut text = format!("export GRIDWAY_API_URL='{}'\n", sandbox.api());
        for (name, value) in &sandbox.environment {
            text.push_str(&format!("export {name}='{value}'\n"));
        }
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    let (email, password) = PERSON;
    let person = Buyer::sign_up(sandbox.api(), &sandbox.environment, email, password).await?;
    println!("\nGridway is up. Stop it with Ctrl-C.\n");
    println!("  API          {}", sandbox.api());
    println!("  person       {email}, password `{password}`   (POST /auth/login gives a token)");
    println!("  mailbox      {}", sandbox.stack.mailbox_url());
    println!("  token        {}", person.token());
    for part in parts().iter().filter(|p| **p != "api") {
        println!(
            "  metrics      {}/metrics   {part}",
            sandbox.fleet.address(part).unwrap_or_default()
        );
    }
    for (name, value) in &sandbox.environment {
        let hidden = ["SECRET", "SEED", "KEY", "TOKENS"]
            .iter()
            .any(|word| name.contains(word));
        println!("  {name}={}", if hidden { "…" } else { value });
    }
    println!("  logs         {}", sandbox.stack.folder().display());
    stop.cancelled().await;
    eprintln!("stopping …");
    sandbox.stop().await;
    Ok(())
}
