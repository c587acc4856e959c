//! What the stand-ins share: serving HTTP, with faults on demand.
//!
//! `POST /_control/faults` arms a fault, `GET` lists the armed ones, `DELETE` clears them:
//!
//! ```json
//! {"method": "POST", "path": "/v1/payment_intents", "kind": "lose_answer", "times": 3, "every": 1}
//! ```
//!
//! `path` is a prefix; `times` is how many matching requests are hit (0: until cleared) and
//! `every` hits only each n-th of them. A request with the header `x-sandbox-calm` is spared.
//!
//! | kind | the work | the answer |
//! |---|---|---|
//! | `lose_answer` | is done | the connection is closed |
//! | `late_work` | is done `delay_ms` after the connection was closed | none |
//! | `late_answer` | is done | comes after `delay_ms` |
//! | `duplicate` | is done twice, one after the other | the second's |
//! | `garble` | is done | 200, and its body breaks off |
//! | `reset` | is not done | the connection is closed |
//! | `http429`, `http500`, `http503`, `http504` | is not done | that status |
//! | `http500_after_work`, `http504_after_work` | is done | that status |

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
use std::time::Duration;
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
    /// The request is answered 429 without any work.
    Http429,
    /// The request is answered 504 without any work.
    Http504,
    /// The work is done, and the answer is a 504 all the same.
    Http504AfterWork,
    /// The connection is closed without any work.
    Reset,
    /// The connection is closed; the work is done later, when nobody waits for it any more.
    LateWork,
    /// The work is done, and the answer comes late.
    LateAnswer,
    /// The work is done twice, as when a proxy sends a request again.
    Duplicate,
    /// The work is done, and the answer's body breaks off.
    Garble,
}

/// A request with this header is spared by all faults: a stand-in's own, and a test's counting.
pub const CALM: &str = "x-sandbox-calm";

/// The largest request that a fault keeps to carry out later or twice.
const LARGEST: usize = 1 << 20;

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
    /// For what comes late: how late, in milliseconds.
    #[serde(default = "late")]
    pub delay_ms: u64,
    #[serde(default, skip_deserializing)]
    seen: u32,
    #[serde(default, skip_deserializing)]
    hits: u32,
}

fn one() -> u32 {
    1
}

fn late() -> u64 {
    1_500
}

/// The faults that are armed.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    /// The fault that applies to this request, which uses it up, and how late is late.
    pub fn hit(&self, method: &str, path: &str) -> Option<(FaultKind, Duration)> {
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
                return Some((fault.kind, Duration::from_millis(fault.delay_ms)));
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
    serve_with(listener, router, Faults::default(), stop).await
}

/// As [`serve`], with faults that the router applies as well, to what is no HTTP request.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    faults: Faults,
    stop: CancellationToken,
) -> io::Result<()> {
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
    let _ = tokio::time::timeout(Duration::from_secs(2), tasks.wait()).await;
    Ok(())
}

async fn answer(router: Router, faults: &Faults, request: Request) -> Result<Response, AnswerLost> {
    let spared =
        request.headers().contains_key(CALM) || request.uri().path().starts_with("/_control/");
    let fault = if spared {
        None
    } else {
        faults.hit(request.method().as_str(), request.uri().path())
    };
    let Some((kind, delay)) = fault else {
        return Ok(route(router, request).await);
    };
    let unavailable = match kind {
        FaultKind::Http429 => Some(StatusCode::TOO_MANY_REQUESTS),
        FaultKind::Http500 => Some(StatusCode::INTERNAL_SERVER_ERROR),
        FaultKind::Http503 => Some(StatusCode::SERVICE_UNAVAILABLE),
        FaultKind::Http504 => Some(StatusCode::GATEWAY_TIMEOUT),
        _ => None,
    };
    if let Some(status) = unavailable {
        return Ok(error(status));
    }
    if kind == FaultKind::Reset {
        return Err(AnswerLost);
    }
    // Whole, so that it outlives the connection and can be carried out twice.
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST).await else {
        return Err(AnswerLost);
    };
    let again = || {
        let mut request = Request::new(Body::from(body.clone()));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        route(router.clone(), request)
    };
    if kind == FaultKind::LateWork {
        let work = again();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            work.await;
        });
        return Err(AnswerLost);
    }
    // On a task of its own: the work goes on though nobody may wait for the answer.
    let Ok(response) = tokio::spawn(again()).await else {
        return Err(AnswerLost);
    };
    match kind {
        FaultKind::LoseAnswer => Err(AnswerLost),
        FaultKind::Http500AfterWork => Ok(error(StatusCode::INTERNAL_SERVER_ERROR)),
        FaultKind::Http504AfterWork => Ok(error(StatusCode::GATEWAY_TIMEOUT)),
        FaultKind::Duplicate => tokio::spawn(again()).await.map_err(|_| AnswerLost),
        FaultKind::Garble => {
            let mut garbled = Response::new(Body::from(r#"{"id":"#));
            garbled.headers_mut().insert(
                "content-type",
                axum::http::HeaderValue::from_static("application/json"),
            );
            Ok(garbled)
        }
        FaultKind::LateAnswer => {
            tokio::time::sleep(delay).await;
            Ok(response)
        }
        FaultKind::Http429
        | FaultKind::Http500
        | FaultKind::Http503
        | FaultKind::Http504
        | FaultKind::Reset
        | FaultKind::LateWork => Ok(response),
    }
}

fn error(status: StatusCode) -> Response {
    let mut response = Response::new(Body::from(
        r#"{"error":{"type":"api_error","message":"an armed fault"}}"#,
    ));
    *response.status_mut() = status;
    response.headers_mut().insert(
        "content-type",
        axum::http::HeaderValue::from_static("application/json"),
    );
    response
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
    run_with(listen, router, Faults::default(), stop).await
}

/// As [`run`], with faults that the router applies as well, to what is no HTTP request.
///
/// # Errors
/// When the address is not loopback or cannot be bound, or serving fails.
pub async fn run_with(
    listen: std::net::SocketAddr,
    router: Router,
    faults: Faults,
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
    serve_with(listener, router, faults, stop).await
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
