//! The HTTP API: takes commands and webhooks into the log, answers queries from the read models.
//!
//! A command is one event appended with `acks=all`; what follows from it is decided elsewhere. So
//! commands answer 202 with the URL of what they made. What the API needs of the outside it asks
//! through the ports in [`ports`]; it knows no counterparty itself.

pub mod approvals;
pub mod auth;
pub mod contacts;
pub mod contract;
pub mod log;
pub mod ports;
pub mod pricing;
pub mod problem;

mod answers;
mod applications;
mod body;
mod deployments;
mod deposits;
mod dress;
mod health;
mod idempotency;
mod mail;
mod market;
mod metrics;
mod notifications;
mod outbox;
mod page;
mod payments;
mod purchases;
mod quotes;
mod state;
mod stream;
mod sweep;
mod together;
mod trace;
mod treasury;
mod unread;
mod users;
mod wait;
mod webhook;
mod webhook_endpoints;

use axum::Router;
use axum::middleware;
use axum::serve::ListenerExt;
use contract::Routes;
use problem::{Kind, Problem};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use state::{ApiParts, ApiState, migrate};

/// How long open requests may take after the stop was asked for.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Every route of the contract. One that is registered elsewhere has no rule, and lets nobody in.
fn documented() -> Routes {
    Routes::with_openapi(contract::beginning())
        .merge(auth::routes())
        .merge(users::routes())
        .merge(quotes::routes())
        .merge(payments::routes())
        .merge(webhook::routes())
        .merge(purchases::routes())
        .merge(deployments::routes())
        .merge(deposits::routes())
        .merge(treasury::routes())
        .merge(notifications::routes())
        .merge(webhook_endpoints::routes())
        .merge(applications::routes())
        .merge(approvals::routes())
        .merge(stream::routes())
        .merge(health::routes())
}

/// Every route, with its limits and figures.
pub fn router(state: ApiState) -> Router {
    let (router, _) = documented().split_for_parts();
    router
        .merge(contract::pages::routes(contract::yaml()))
        .fallback(|| async { Problem::new(Kind::NotFound, "there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                Kind::MethodNotAllowed,
                "this address does not take this method",
            )
        })
        .layer(middleware::from_fn_with_state(state.clone(), answers::keep))
        .layer(middleware::from_fn_with_state(state.clone(), auth::guard))
        .layer(middleware::from_fn(unread::close))
        .layer(middleware::from_fn(metrics::observe))
        .layer(middleware::from_fn(dress::dress))
        .layer(middleware::from_fn_with_state(state.clone(), dress::cors))
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
    let relaying = tokio::spawn(outbox::relay(state.clone(), stop.clone()));
    let mailing = tokio::spawn(mail::send(state.clone(), stop.clone()));
    let sweeping = tokio::spawn(sweep::run(state.clone(), stop.clone()));
    let streams = state.stopping.clone();
    tokio::spawn({
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            streams.cancel();
        }
    });
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays without TCP_NODELAY");
        }
    });
    let service = router(state).into_make_service_with_connect_info::<SocketAddr>();
    let serving =
        axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
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
    // What they were at is done again by the next process; only a mail would be sent twice.
    relaying.abort();
    sweeping.abort();
    if tokio::time::timeout(STOP_WITHIN, mailing).await.is_err() {
        tracing::warn!("a mail was still being sent at the deadline; it may be sent again");
    }
    result
}
