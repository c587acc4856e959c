//! Bodies of requests, each read within a limit.

use crate::applications::DOCUMENT_LIMIT;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::{DeserializeOwned, IgnoredAny};

/// No command is longer.
pub(crate) const COMMAND_LIMIT: usize = 64 * 1024;

/// How long the body of a command may be.
pub(crate) fn limit(route: &str) -> usize {
    if route == "/node-applications/{id}/documents/{kind}" {
        DOCUMENT_LIMIT
    } else {
        COMMAND_LIMIT
    }
}

/// The bytes of a body of at most `limit`.
pub(crate) async fn bytes(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Kind::TooLarge,
            format!("the body may have at most {limit} bytes"),
        )
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|n| usize::try_from(n).map_or(true, |n| n > limit)) {
        return Err(too_large());
    }
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        // The body's own limit, or a connection that broke off: nobody hears the latter.
        tracing::debug!(%error, "a body could not be read");
        too_large()
    })
}

/// A command: JSON, its fields exactly those of `T`. No body at all reads as `{}`.
#[derive(Debug)]
pub(crate) struct Command<T>(pub T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Command<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = bytes(&parts.headers, body, COMMAND_LIMIT).await?;
        if bytes.is_empty() {
            return parse(b"{}").map(Self);
        }
        if !is_json(&parts.headers) {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "send the command with Content-Type: application/json",
            ));
        }
        parse(&bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let problem = |error: serde_json::Error| {
        let kind = if error.is_data() {
            Kind::InvalidField
        } else {
            Kind::MalformedJson
        };
        Problem::new(kind, error.to_string())
    };
    // serde takes an array for a struct, its fields in their order.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(problem)?;
        return Err(Problem::new(
            Kind::InvalidField,
            "the body of a command is an object, not an array",
        ));
    }
    serde_json::from_slice(bytes).map_err(problem)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use axum::http::HeaderValue;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        tft: String,
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said() {
        assert_eq!(parse::<Sample>(br#"{"tft":"1"}"#).unwrap().tft, "1");
        for (body, kind) in [
            (&b"{"[..], Kind::MalformedJson),
            (b"\xff", Kind::MalformedJson),
            (b"[1,", Kind::MalformedJson),
            (br#" ["1"]"#, Kind::InvalidField),
            (b"{}", Kind::InvalidField),
            (br#"{"tft":1}"#, Kind::InvalidField),
            (br#"{"tft":"1","more":2}"#, Kind::InvalidField),
        ] {
            assert_eq!(parse::<Sample>(body).unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn only_json_is_taken() {
        let with = |value: &'static str| {
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))])
        };
        assert!(is_json(&with("application/json")));
        assert!(is_json(&with("Application/JSON; charset=utf-8")));
        assert!(!is_json(&with("text/plain")));
        assert!(!is_json(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_long_body_is_refused_announced_or_not() {
        let none = HeaderMap::new();
        assert_eq!(bytes(&none, Body::from("1234"), 4).await.unwrap(), "1234");
        let long = bytes(&none, Body::from("12345"), 4).await;
        assert_eq!(long.unwrap_err().kind(), Kind::TooLarge);
        let announced =
            HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from_static("5"))]);
        let long = bytes(&announced, Body::empty(), 4).await;
        assert_eq!(long.unwrap_err().kind(), Kind::TooLarge);
    }
}
