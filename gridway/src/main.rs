//! Gridway turns money into grid capacity: one binary for every part of it.

use anyhow::Result;
use clap::{Parser, Subcommand};
use gridway::{config, dead_letters, demo, deposits, lanes, people, processors, serve, topics, up};
use std::io::IsTerminal;
use std::process::ExitCode;

/// A request makes and frees some hundred small pieces, on whichever thread it is.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "gridway", version, about = "Turns money into grid capacity.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a part of the product against the services of the configuration.
    Serve {
        #[command(subcommand)]
        part: serve::Part,
    },
    /// Creates the topics, or checks them.
    Topics {
        #[command(subcommand)]
        action: topics::Action,
    },
    /// Opens the payment lanes on Stellar, or checks them.
    Lanes {
        #[command(subcommand)]
        action: lanes::Action,
    },
    /// What processors could not read: list, show, redrive, discard.
    Deadletters {
        #[command(subcommand)]
        action: dead_letters::Action,
    },
    /// What was paid to us on Stellar that is nobody's: list, assign, return.
    Deposits {
        #[command(subcommand)]
        action: deposits::Action,
    },
    /// People and their roles: sets the first ones up.
    Users {
        #[command(subcommand)]
        action: people::Action,
    },
    /// Runs everything on the local stack until Ctrl-C and prints the addresses.
    Up(up::Options),
    /// Like `up`, then buys 250 TFT by card, deploys, and shows every proof.
    Demo(up::Options),
    /// Prints the configuration reference.
    Configuration,
    /// Prints the names of the processors.
    Processors,
    /// Prints the contract of the API (OpenAPI).
    Openapi,
    /// Prints the contract of the topics (AsyncAPI).
    Asyncapi,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with every cause: a backtrace says nothing to who runs it.
            eprintln!("gridway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    let quiet = matches!(cli.command, Command::Up(_) | Command::Demo(_));
    init_logs(if quiet { "warn" } else { "info" });
    match cli.command {
        Command::Serve { part } => serve::run(part).await,
        Command::Topics { action } => topics::run(action).await,
        Command::Lanes { action } => lanes::run(action).await,
        Command::Deadletters { action } => dead_letters::run(action).await,
        Command::Deposits { action } => deposits::run(action).await,
        Command::Users { action } => people::run(action).await,
        Command::Up(options) => up::run(&options).await,
        Command::Demo(options) => demo::run(&options).await,
        Command::Asyncapi => {
            print!("{}", events::asyncapi::document()?);
            Ok(())
        }
        Command::Openapi => {
            print!("{}", api::contract::yaml());
            Ok(())
        }
        Command::Configuration => {
            print!("{}", config::document());
            Ok(())
        }
        Command::Processors => {
            for (name, _) in processors::ALL {
                println!("{name}");
            }
            Ok(())
        }
    }
}

fn init_logs(default: &str) {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
