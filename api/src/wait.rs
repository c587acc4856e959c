//! Waiting for read models: `Prefer: wait=N` on commands, `Consistency-Token` on queries.

use crate::contract::{header, text};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use events::topics;
use projections::progress::{self, Position};
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use uuid::Uuid;

/// Nobody waits longer, whatever they prefer.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a query waits for its token.
const QUERY_WAIT: Duration = Duration::from_secs(5);
/// Word of a change may be lost with its connection; the row is read again at the latest then.
const RECHECK: Duration = Duration::from_millis(500);
const TOKEN: HeaderName = HeaderName::from_static("consistency-token");

/// How long the caller prefers to wait for the outcome; zero without a preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefer(pub Duration);

impl FromRequestParts<ApiState> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Infallible> {
        Ok(Self(preferred(&parts.headers)))
    }
}

impl IntoParams for Prefer {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header(
            "Prefer",
            "`wait=N`: answers when there is an outcome, N seconds later at most.",
        )]
    }
}

fn preferred(headers: &HeaderMap) -> Duration {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|preference| preference.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
        .map_or(Duration::ZERO, |seconds| {
            Duration::from_secs(seconds).min(LONGEST)
        })
}

/// Reads again whenever the aggregate changes, until `read` gives a value or the time is over.
pub(crate) async fn until<T, F, R>(
    state: &ApiState,
    aggregate: Uuid,
    wait: Duration,
    read: F,
) -> Result<Option<T>, sqlx::Error>
where
    F: Fn() -> R,
    R: Future<Output = Result<Option<T>, sqlx::Error>>,
{
    let end = Instant::now() + wait;
    // Heard from before the first reading, so that no change falls between the two.
    let mut changes = state.changes.subscribe();
    loop {
        if let Some(value) = read().await? {
            return Ok(Some(value));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        let recheck = (Instant::now() + RECHECK).min(end);
        // A change, a lost word or the time: each is a reason to read again.
        let _ = timeout_at(recheck, async {
            loop {
                match changes.recv().await {
                    Ok(changed) if changed != aggregate => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        })
        .await;
    }
}

/// Gives the place of the command's event to the caller, for its next query.
pub(crate) fn token(mut response: Response, position: Option<&Position>) -> Response {
    if let Some(value) = position.and_then(|p| HeaderValue::from_str(&p.to_string()).ok()) {
        response.headers_mut().insert(TOKEN, value);
    }
    response
}

/// A query that carries a token is answered when the read models have passed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CaughtUp;

/// Whether there is such a partition: nobody waits for one that never comes.
fn is_a_place(position: &Position) -> bool {
    topics::ALL.into_iter().any(|topic| {
        topic.name == position.topic && (0..topic.partitions).contains(&position.partition)
    })
}

impl FromRequestParts<ApiState> for CaughtUp {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(TOKEN) else {
            return Ok(Self);
        };
        let position: Position = value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(is_a_place)
            .ok_or_else(|| {
                Problem::field(
                    "Consistency-Token",
                    "the token is not topic:partition:offset, as a command gave it",
                )
            })?;
        let end = Instant::now() + QUERY_WAIT;
        let mut changes = state.changes.subscribe();
        while !progress::passed(&state.pool, &position).await? {
            if Instant::now() >= end {
                return Err(Problem::new(
                    Kind::NotYetVisible,
                    format!("the read models have not passed {position} yet; ask again"),
                ));
            }
            let _ = timeout_at((Instant::now() + RECHECK).min(end), changes.recv()).await;
        }
        Ok(Self)
    }
}

impl IntoParams for CaughtUp {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut token = header(
            "Consistency-Token",
            "As a command gave it: the answer waits until it sees that command.",
        );
        let mut schema = text();
        schema.pattern = Some("^[a-z-]{1,30}:[0-9]{1,5}:[0-9]{1,15}$".to_owned());
        token.schema = Some(schema.into());
        vec![token]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_read_and_bounded() {
        for (value, seconds) in [
            ("wait=10", 10),
            ("respond-async, wait=5", 5),
            ("Wait = \"7\"", 7),
            ("wait=3600", 30),
            ("wait=soon", 0),
            ("wait=-1", 0),
            ("return=minimal", 0),
        ] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("prefer"),
                HeaderValue::from_static(value),
            )]);
            assert_eq!(preferred(&headers), Duration::from_secs(seconds), "{value}");
        }
        assert_eq!(preferred(&HeaderMap::new()), Duration::ZERO);
    }
}
