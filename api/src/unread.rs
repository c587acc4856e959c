//! A connection whose request was answered before all of its body was read can't carry another
//! request: what is left of the body would be taken for it. Who sent it has to be told, or finds the
//! connection gone with its next request.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// A body that remembers whether somebody read it to its end.
struct Watched {
    body: Body,
    ended: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.ended.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Says `Connection: close` with an answer that comes before the end of its request.
pub(crate) async fn close(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let watched = ended.clone();
    let request = request.map(|body| {
        Body::new(Watched {
            body,
            ended: watched,
        })
    });
    let mut response = next.run(request).await;
    if !ended.load(Ordering::Acquire) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use tower::ServiceExt;

    async fn connection(path: &str, body: &'static str) -> Option<HeaderValue> {
        let router: Router = Router::new()
            .route("/reads", post(|body: Bytes| async move { body }))
            .route("/refuses", post(|| async { "no" }))
            .layer(from_fn(close));
        let request = Request::post(path).body(Body::from(body)).unwrap();
        let response = router.oneshot(request).await.unwrap();
        response.headers().get(header::CONNECTION).cloned()
    }

    #[tokio::test]
    async fn only_an_unread_body_ends_the_connection() {
        assert_eq!(connection("/reads", "whole").await, None);
        assert_eq!(connection("/refuses", "").await, None);
        assert_eq!(connection("/refuses", "left").await.unwrap(), "close");
    }
}
