//! What the stand-ins share: serving HTTP, with faults on demand.
//!
//! `POST /_control/faults` arms a fault, `GET` lists the armed ones, `DELETE` clears them:
//!
//! ```json
//! {"method": "POST", "path": "/v1/payment_intents", "kind": "lose_answer", "times": 3, "every": 1}
//! ```
//!
//! `path` is a prefix; `times` is how many matching requests are hit (0: until cleared) and
//! `every` hits only each n-th of them.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// What an armed fault does to a request that it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The work is done, then the connection is closed without an answer.
    LoseAnswer,
    /// The request is answered 500 without any work.
    Http500,
    /// The work is done, and the answer is a 500 all the same.
    Http500AfterWork,
    /// The request is answered 503 without any work.
    Http503,
}

/// An armed fault; see the module documentation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// HTTP method it applies to; empty for any.
    #[serde(default)]
    pub method: String,
    /// Prefix of the path it applies to.
    pub path: String,
    /// What happens.
    pub kind: FaultKind,
    /// How many requests it hits before it is spent; 0 for no limit.
    #[serde(default)]
    pub times: u32,
    /// It hits each n-th matching request (1: each).
    #[serde(default = "one")]
    pub every: u32,
    #[serde(default, skip_deserializing)]
    seen: u32,
    #[serde(default, skip_deserializing)]
    hits: u32,
}

fn one() -> u32 {
    1
}

/// The faults that are armed.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    fn hit(&self, method: &str, path: &str) -> Option<FaultKind> {
        let mut faults = self.0.lock();
        for fault in faults.iter_mut() {
            let applies = (fault.method.is_empty() || fault.method.eq_ignore_ascii_case(method))
                && path.starts_with(&fault.path)
                && (fault.times == 0 || fault.hits < fault.times);
            if !applies {
                continue;
            }
            fault.seen += 1;
            if fault.seen % fault.every.max(1) == 0 {
                fault.hits += 1;
                return Some(fault.kind);
            }
        }
        None
    }
}

#[derive(Debug)]
struct AnswerLost;

impl std::fmt::Display for AnswerLost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("answer lost on purpose")
    }
}
impl std::error::Error for AnswerLost {}

fn control(faults: Faults) -> Router {
    Router::new()
        .route(
            "/_control/faults",
            get(|State(f): State<Faults>| async move { Json(f.0.lock().clone()) })
                .post(
                    |State(f): State<Faults>, Json(fault): Json<Fault>| async move {
                        f.0.lock().push(fault);
                        StatusCode::NO_CONTENT
                    },
                )
                .delete(|State(f): State<Faults>| async move {
                    f.0.lock().clear();
                    StatusCode::NO_CONTENT
                }),
        )
        .with_state(faults)
}

/// Serves `router` with fault injection until `stop` is cancelled; requests under way get
/// two seconds to end.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let faults = Faults::default();
    let router = router.merge(control(faults.clone()));
    let tasks = tokio_util::task::TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (router, faults, stop) = (router.clone(), faults.clone(), stop.clone());
        tasks.spawn(async move {
            let service = hyper::service::service_fn(
                move |request: hyper::Request<hyper::body::Incoming>| {
                    let (router, faults) = (router.clone(), faults.clone());
                    async move { answer(router, &faults, request.map(Body::new)).await }
                },
            );
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
            tokio::select! {
                result = connection => if let Err(error) = result {
                    tracing::debug!(%error, "connection ended early");
                },
                () = stop.cancelled() => {}
            }
        });
    }
    tasks.close();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), tasks.wait()).await;
    Ok(())
}

async fn answer(router: Router, faults: &Faults, request: Request) -> Result<Response, AnswerLost> {
    let fault = faults.hit(request.method().as_str(), request.uri().path());
    let error = |status: StatusCode| {
        let mut response = Response::new(Body::from(
            r#"{"error":{"type":"api_error","message":"an armed fault"}}"#,
        ));
        *response.status_mut() = status;
        response.headers_mut().insert(
            "content-type",
            axum::http::HeaderValue::from_static("application/json"),
        );
        response
    };
    match fault {
        None => Ok(route(router, request).await),
        Some(FaultKind::LoseAnswer) => {
            // On a task of its own: the work goes on though nobody waits for the answer.
            let _ = tokio::spawn(route(router, request)).await;
            Err(AnswerLost)
        }
        Some(FaultKind::Http500) => Ok(error(StatusCode::INTERNAL_SERVER_ERROR)),
        Some(FaultKind::Http503) => Ok(error(StatusCode::SERVICE_UNAVAILABLE)),
        Some(FaultKind::Http500AfterWork) => {
            let _ = tokio::spawn(route(router, request)).await;
            Ok(error(StatusCode::INTERNAL_SERVER_ERROR))
        }
    }
}

async fn route(router: Router, request: Request) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Runs a stand-in as a process: logs to stderr, listens, prints `{"listening":"http://…"}` on
/// stdout once it accepts connections, and stops on SIGTERM or Ctrl-C.
///
/// `listen` must be a loopback address; port 0 takes a free one.
///
/// # Errors
/// When the address is not loopback or cannot be bound, or serving fails.
pub async fn run(
    listen: std::net::SocketAddr,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    if !listen.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "stand-ins listen on loopback only",
        ));
    }
    let listener = TcpListener::bind(listen).await?;
    println!(
        "{}",
        serde_json::json!({ "listening": format!("http://{}", listener.local_addr()?) })
    );
    let on_signal = stop.clone();
    tokio::spawn(async move {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        match &mut term {
            Ok(term) => tokio::select! { _ = term.recv() => {}, _ = tokio::signal::ctrl_c() => {} },
            Err(_) => drop(tokio::signal::ctrl_c().await),
        }
        on_signal.cancel();
    });
    serve(listener, router, stop).await
}

/// Logs to stderr, filtered by `RUST_LOG` (default `info`).
pub fn init_logs() {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}
