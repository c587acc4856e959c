//! Figures of the requests, and `/metrics` for all of the process.

use crate::dress::RequestId;
use crate::problem::{Kind, Problem};
use crate::trace;
use axum::extract::{MatchedPath, Request};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, Opts, TextEncoder, exponential_buckets,
};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// No request takes longer; above the longest wait that a caller may prefer.
const LONGEST: Duration = Duration::from_secs(45);

struct Figures {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

/// `None` when the figures cannot be registered: requests are served all the same.
static FIGURES: LazyLock<Option<Figures>> = LazyLock::new(|| match figures() {
    Ok(figures) => Some(figures),
    Err(error) => {
        tracing::error!(%error, "requests are not counted");
        None
    }
});

fn figures() -> Result<Figures, prometheus::Error> {
    let requests = IntCounterVec::new(
        Opts::new("gridway_http_requests_total", "Requests answered"),
        &["method", "route", "status"],
    )?;
    let seconds = HistogramVec::new(
        HistogramOpts::new("gridway_http_request_seconds", "From request to answer")
            .buckets(exponential_buckets(0.001, 2.0, 16)?),
        &["method", "route"],
    )?;
    prometheus::register(Box::new(requests.clone()))?;
    prometheus::register(Box::new(seconds.clone()))?;
    Ok(Figures { requests, seconds })
}

/// Around every request: its span, its deadline, its figures.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = known_method(&request);
    // The route as written in the router: a path would make as many series as there are ids.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let trace_id = trace::of(request.headers())
        .map(|t| t.to_string())
        .unwrap_or_default();
    let request_id = request
        .extensions()
        .get::<RequestId>()
        .map(|id| id.0.to_string())
        .unwrap_or_default();
    let span = tracing::info_span!("request", method, route, trace_id, request_id);
    let response = match tokio::time::timeout(LONGEST, next.run(request))
        .instrument(span.clone())
        .await
    {
        Ok(response) => response,
        Err(_) => Problem::new(
            Kind::TimedOut,
            "the request took too long; send it again with the same Idempotency-Key",
        )
        .into_response(),
    };
    let status = response.status();
    let elapsed = begun.elapsed();
    span.in_scope(|| {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(status = status.as_u16(), elapsed_ms, "answered");
    });
    if let Some(figures) = FIGURES.as_ref() {
        figures
            .requests
            .with_label_values(&[method, &route, status.as_str()])
            .inc();
        figures
            .seconds
            .with_label_values(&[method, &route])
            .observe(elapsed.as_secs_f64());
    }
    response
}

fn known_method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Shows the process's figures, in Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    responses((status = 200, description = "The figures.", body = String, content_type = "text/plain"))
)]
pub(crate) async fn show() -> Result<Response, Problem> {
    let text = TextEncoder::new()
        .encode_to_string(&prometheus::gather())
        .map_err(|error| {
            tracing::error!(%error, "the figures cannot be written");
            Problem::new(Kind::Internal, "the figures cannot be written")
        })?;
    let plain = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((plain, text).into_response())
}
