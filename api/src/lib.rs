//! The HTTP API: takes commands and webhooks into the log, answers queries from the read models.
//!
//! A command is one event appended with `acks=all`; what follows from it is decided elsewhere. So
//! commands answer 202 with the URL of what they made. What the API needs of the outside it asks
//! through the ports in [`ports`]; it knows no counterparty itself.

pub mod auth;
pub mod log;
pub mod ports;
pub mod pricing;
pub mod problem;

mod body;
mod deployments;
mod deposits;
mod health;
mod idempotency;
mod market;
mod metrics;
mod payments;
mod purchases;
mod quotes;
mod state;
mod trace;
mod treasury;
mod users;
mod wait;
mod webhook;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use problem::{Kind, Problem};
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use state::{ApiParts, ApiState, migrate};

/// How long open requests may take after the stop was asked for.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Every route, with its limits and figures.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/users", post(users::register))
        .route("/users/me", get(users::me))
        .route("/quotes", post(quotes::create))
        .route("/quotes/{id}", get(quotes::show))
        .route("/payments/create-intent", post(payments::create_intent))
        .route("/payments/webhook", post(webhook::receive))
        .route(
            "/purchases",
            post(payments::create_purchase).get(purchases::list),
        )
        .route("/purchases/{id}", get(purchases::show))
        .route("/purchases/{id}/timeline", get(purchases::timeline))
        .route(
            "/deployments",
            post(deployments::create).get(deployments::list),
        )
        .route("/deployments/batch", post(deployments::create_batch))
        .route("/deployments/batch/{id}", get(deployments::show_batch))
        .route(
            "/deployments/{id}",
            get(deployments::show)
                .put(deployments::update)
                .delete(deployments::cancel),
        )
        .route("/deposits", get(deposits::list))
        .route("/deposits/instructions", get(deposits::instructions))
        .route("/treasury", get(treasury::show))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .fallback(|| async { Problem::new(Kind::NotFound, "there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                Kind::MethodNotAllowed,
                "this address does not take this method",
            )
        })
        .layer(middleware::from_fn(metrics::observe))
        .with_state(state)
}

/// Serves the API until `stop`, then lets open requests end, within a deadline.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    stop: CancellationToken,
) -> io::Result<()> {
    let words = tokio::spawn(projections::listen(
        state.pool.clone(),
        state.changes.clone(),
        stop.clone(),
    ));
    let warming = tokio::spawn({
        let state = state.clone();
        async move {
            if let Err(error) = state.log.warm().await {
                tracing::warn!(%error, "the first command will have to wait for the registry");
            }
        }
    });
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays without TCP_NODELAY");
        }
    });
    let serving =
        axum::serve(listener, router(state)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_WITHIN).await;
    };
    let result = tokio::select! {
        result = serving => result,
        () = overdue => {
            tracing::warn!("requests still open at the deadline were cut off");
            Ok(())
        }
    };
    words.abort();
    warming.abort();
    result
}
