//! What every answer wears: a request id, and headers that keep browsers from doing harm.

use crate::state::ApiState;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The API shows nothing in a browser; only the documentation does, all of it from here.
const CSP: &str = "default-src 'none'; frame-ancestors 'none'";
const CSP_OF_DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Headers that a page may send and read.
const MAY_BE_SENT: &str = "authorization, content-type, idempotency-key, prefer, consistency-token, \
                           last-event-id, x-request-id, traceparent";
const MAY_BE_READ: &str = "location, consistency-token, idempotency-hit, ratelimit, ratelimit-policy, \
                           retry-after, x-request-id";

/// The id of a request, in its log lines and its answer.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub Arc<str>);

/// The caller's own id if it is fit to be logged, else a new one.
fn request_id(headers: &HeaderMap) -> RequestId {
    let fit = |id: &&str| {
        (1..=128).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let given = headers
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(fit);
    if let Some(id) = given {
        return RequestId(id.into());
    }
    let mut bytes = [0_u8; 16];
    // Without randomness the id is all zeros: the request matters more than its name.
    let _ = getrandom::fill(&mut bytes);
    RequestId(hex::encode(bytes).into())
}

/// Around everything.
pub(crate) async fn dress(mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let docs = request.uri().path().starts_with("/docs");
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    let csp = if docs { CSP_OF_DOCS } else { CSP };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, csp),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::STRICT_TRANSPORT_SECURITY,
            "max-age=31536000; includeSubDomains",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets pages of the configured origins call the API from a browser, and answers their questions
/// beforehand. They send tokens themselves; cookies play no part. A page of another origin gets no
/// word of permission, and its browser keeps the answer from it.
pub(crate) async fn cors(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let origin = request
        .headers()
        .get(header::ORIGIN)
        .filter(|origin| state.origins.contains(origin))
        .cloned();
    let asks = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = origin else {
        return response;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let (name, value) = if asks {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"),
        );
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("600"),
        );
        (header::ACCESS_CONTROL_ALLOW_HEADERS, MAY_BE_SENT)
    } else {
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, MAY_BE_READ)
    };
    headers.insert(name, HeaderValue::from_static(value));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_over_if_it_can_be_logged() {
        let of = |id: &'static str| {
            let value = HeaderValue::from_static(id);
            request_id(&HeaderMap::from_iter([(REQUEST_ID, value)]))
        };
        assert_eq!(&*of("order-17_b.c").0, "order-17_b.c");
        for bad in ["", "a b", "x;y", "<script>"] {
            assert_eq!(of(bad).0.len(), 32, "{bad}");
        }
    }
}
