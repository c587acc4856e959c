//! Errors as problem documents.

use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error as Horizon tells it.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: &'static str,
    extras: Option<Value>,
}

impl Problem {
    /// Nothing is there.
    pub fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "not_found",
            title: "Resource Missing",
            detail: "The resource at the url requested was not found. This usually occurs for one of two reasons: \
                     The url requested is not valid, or no data in our database could be found with the parameters provided.",
            extras: None,
        }
    }

    /// A parameter is none.
    pub fn bad_request(field: &str, reason: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "bad_request",
            title: "Bad Request",
            detail: "The request you sent was invalid in some way.",
            extras: Some(json!({ "invalid_field": field, "reason": reason })),
        }
    }

    /// The envelope does not decode.
    pub fn malformed(envelope: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "transaction_malformed",
            title: "Transaction Malformed",
            detail: "Horizon could not decode the transaction envelope in this request. A transaction should be an XDR \
                     TransactionEnvelope struct encoded using base64. The envelope read from this request is echoed in \
                     the `extras.envelope_xdr` field of this response for your convenience.",
            extras: Some(json!({ "envelope_xdr": envelope })),
        }
    }

    /// The network refused the transaction, or it failed.
    pub fn failed(extras: Value) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "transaction_failed",
            title: "Transaction Failed",
            detail: "The transaction failed when submitted to the stellar network. The `extras.result_codes` field on \
                     this response contains further details. Descriptions of each code can be found at: \
                     https://developers.stellar.org/api/errors/http-status-codes/horizon-specific/transaction-failed/",
            extras: Some(extras),
        }
    }

    /// No verdict in time.
    pub fn timeout(extras: Value) -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            kind: "timeout",
            title: "Timeout",
            detail: "Your request timed out before completing. Please try your request again. If you are submitting a \
                     transaction make sure you are sending exactly the same transaction (with the same sequence number).",
            extras: Some(extras),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("https://stellar.org/horizon-errors/{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(extras) = self.extras {
            body["extras"] = extras;
        }
        let mut response = (self.status, body.to_string()).into_response();
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/problem+json; charset=utf-8"));
        response
    }
}
