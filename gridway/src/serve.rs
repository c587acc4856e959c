//! `gridway serve`: one part of the product as a process.

use crate::config::Config;
use crate::{ports, processors};
use anyhow::{Context, Result, bail};
use axum::Router;
use axum::routing::get;
use clap::Subcommand;
use pipeline::Slot;
use prometheus::{Encoder, TextEncoder};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long a part may take to stop after a signal.
const DEADLINE: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Subcommand)]
pub enum Part {
    /// The REST API and the webhook.
    Api,
    /// A processor.
    Processor {
        /// Its name, one of those that `gridway processors` prints.
        name: String,
        /// Which of the processor's processes this is; each running one has its own.
        #[arg(long, default_value_t = 0)]
        slot: u32,
        /// After transactions were aborted by hand: has a policy append once more what decisions of
        /// so many last records in each partition forwarded to other topics.
        #[arg(long, value_name = "RECORDS", default_value_t = 0)]
        forward_again: u32,
    },
    /// The read models.
    Projections,
}

/// Cancelled by SIGTERM or Ctrl-C.
///
/// # Errors
/// When signals cannot be watched.
pub fn on_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (token, mut term) = (stop.clone(), signal(SignalKind::terminate())?);
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
        token.cancel();
    });
    Ok(stop)
}

async fn listen(setting: &str) -> Result<TcpListener> {
    let address: SocketAddr = Config::parse(setting)?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{setting}={address} cannot be listened on"))?;
    // For whoever started this process with port 0.
    println!(
        "{}",
        serde_json::json!({ "listening": format!("http://{}", listener.local_addr()?) })
    );
    Ok(listener)
}

/// Metrics in Prometheus' text format.
fn metrics() -> String {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&prometheus::gather(), &mut text) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => format!("# {error}\n"),
    }
}

async fn serve_metrics(stop: CancellationToken) -> Result<()> {
    let listener = listen("GRIDWAY_METRICS_LISTEN").await?;
    let router = Router::new()
        .route("/metrics", get(|| async { metrics() }))
        .route("/healthz", get(|| async { "ok\n" }));
    tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    Ok(())
}

/// Runs the part until a signal; ends with an error if it died, or did not stop in time.
///
/// # Errors
/// When it cannot start, dies, or does not stop in time.
pub async fn run(part: Part) -> Result<()> {
    let stop = on_signal()?;
    let work = async {
        match part {
            Part::Api => {
                let listener = listen("GRIDWAY_API_LISTEN").await?;
                let state = ports::api_state().await?;
                api::serve(listener, state, stop.clone())
                    .await
                    .context("the API")
            }
            Part::Processor {
                name,
                slot,
                forward_again,
            } => {
                serve_metrics(stop.clone()).await?;
                processors::run(&name, Slot(slot), forward_again, stop.clone())
                    .await
                    .with_context(|| format!("the processor {name}"))
            }
            Part::Projections => {
                serve_metrics(stop.clone()).await?;
                ports::projections(stop.clone())
                    .await
                    .context("the projections")
            }
        }
    };
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(DEADLINE).await;
    };
    tokio::select! {
        result = work => result,
        () = too_late => bail!("the part did not stop within {} s", DEADLINE.as_secs()),
    }
}
