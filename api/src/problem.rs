//! Errors as RFC 9457 problems: a stable type, what went wrong, what to do next.

use crate::log::AppendError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// Every kind of problem that the API answers with. The last part of its type URI never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the table below gives status, name and title of each"
)]
pub enum Kind {
    MalformedJson,
    InvalidField,
    Unauthorized,
    Forbidden,
    WrongCredentials,
    EmailNotVerified,
    TokenInvalid,
    RefreshInvalid,
    NoSession,
    TooManyAttempts,
    TooManyRequests,
    SessionsUnavailable,
    IssuerUnavailable,
    Busy,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    UnsupportedMediaType,
    IdempotencyKeyMissing,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    CommandInProgress,
    NoTwinYet,
    UnknownQuote,
    QuoteExpired,
    QuoteUsed,
    NoPath,
    PriceImpact,
    MarketUnavailable,
    UnknownPurchase,
    DeploymentEnded,
    NoWorkload,
    TooManyEndpoints,
    CodeInvalid,
    TextsUnavailable,
    OwnApplication,
    ApplicationDecided,
    ApplicationChanged,
    DocumentsMissing,
    FarmTaken,
    TooManyApplications,
    OwnApproval,
    ApprovalEnded,
    ApprovalExpired,
    NothingToApprove,
    SignatureMissing,
    SignatureMalformed,
    SignatureWrong,
    SignatureTime,
    WebhookNotJson,
    NotYetVisible,
    LogUnavailable,
    DatabaseUnavailable,
    StripeUnavailable,
    NotReady,
    TimedOut,
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 57] = [
        Self::MalformedJson,
        Self::InvalidField,
        Self::Unauthorized,
        Self::Forbidden,
        Self::WrongCredentials,
        Self::EmailNotVerified,
        Self::TokenInvalid,
        Self::RefreshInvalid,
        Self::NoSession,
        Self::TooManyAttempts,
        Self::TooManyRequests,
        Self::SessionsUnavailable,
        Self::IssuerUnavailable,
        Self::Busy,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::IdempotencyKeyMissing,
        Self::IdempotencyKeyInvalid,
        Self::IdempotencyKeyReused,
        Self::CommandInProgress,
        Self::NoTwinYet,
        Self::UnknownQuote,
        Self::QuoteExpired,
        Self::QuoteUsed,
        Self::NoPath,
        Self::PriceImpact,
        Self::MarketUnavailable,
        Self::UnknownPurchase,
        Self::DeploymentEnded,
        Self::NoWorkload,
        Self::TooManyEndpoints,
        Self::CodeInvalid,
        Self::TextsUnavailable,
        Self::OwnApplication,
        Self::ApplicationDecided,
        Self::ApplicationChanged,
        Self::DocumentsMissing,
        Self::FarmTaken,
        Self::TooManyApplications,
        Self::OwnApproval,
        Self::ApprovalEnded,
        Self::ApprovalExpired,
        Self::NothingToApprove,
        Self::SignatureMissing,
        Self::SignatureMalformed,
        Self::SignatureWrong,
        Self::SignatureTime,
        Self::WebhookNotJson,
        Self::NotYetVisible,
        Self::LogUnavailable,
        Self::DatabaseUnavailable,
        Self::StripeUnavailable,
        Self::NotReady,
        Self::TimedOut,
        Self::Internal,
    ];

    /// Status, last part of the type URI, title.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedJson => (S::BAD_REQUEST, "malformed-json", "The body is not JSON"),
            Self::InvalidField => (
                S::UNPROCESSABLE_ENTITY,
                "invalid-field",
                "A field is not valid",
            ),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized", "Who are you?"),
            Self::Forbidden => (S::FORBIDDEN, "forbidden", "You may not do this"),
            Self::WrongCredentials => (
                S::UNAUTHORIZED,
                "wrong-credentials",
                "E-mail address or password is wrong",
            ),
            Self::EmailNotVerified => (
                S::FORBIDDEN,
                "email-not-verified",
                "The e-mail address is not verified",
            ),
            Self::TokenInvalid => (
                S::BAD_REQUEST,
                "token-invalid",
                "The mailed token is not valid",
            ),
            Self::RefreshInvalid => (
                S::UNAUTHORIZED,
                "refresh-invalid",
                "The session cannot be refreshed",
            ),
            Self::NoSession => (S::CONFLICT, "no-session", "There is no session to end"),
            Self::TooManyAttempts => (
                S::TOO_MANY_REQUESTS,
                "too-many-attempts",
                "Too many failed logins",
            ),
            Self::TooManyRequests => (
                S::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests",
            ),
            Self::SessionsUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "sessions-unavailable",
                "Sessions cannot be looked up for now",
            ),
            Self::IssuerUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "issuer-unavailable",
                "The issuer cannot be asked for now",
            ),
            Self::Busy => (S::SERVICE_UNAVAILABLE, "busy", "Too busy for now"),
            Self::NotFound => (S::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body is of a type that is not taken here",
            ),
            Self::IdempotencyKeyMissing => (
                S::BAD_REQUEST,
                "idempotency-key-missing",
                "Commands need an Idempotency-Key",
            ),
            Self::IdempotencyKeyInvalid => (
                S::BAD_REQUEST,
                "idempotency-key-invalid",
                "The Idempotency-Key is not valid",
            ),
            Self::IdempotencyKeyReused => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The Idempotency-Key stands for another command",
            ),
            Self::CommandInProgress => (
                S::CONFLICT,
                "command-in-progress",
                "The command is being carried out",
            ),
            Self::NoTwinYet => (
                S::CONFLICT,
                "no-twin-yet",
                "There is no twin to deliver to yet",
            ),
            Self::UnknownQuote => (
                S::UNPROCESSABLE_ENTITY,
                "unknown-quote",
                "There is no such quote",
            ),
            Self::QuoteExpired => (S::GONE, "quote-expired", "The quote has expired"),
            Self::QuoteUsed => (S::CONFLICT, "quote-used", "The quote was accepted before"),
            Self::NoPath => (
                S::UNPROCESSABLE_ENTITY,
                "no-path",
                "The market does not sell that much",
            ),
            Self::PriceImpact => (
                S::UNPROCESSABLE_ENTITY,
                "price-impact",
                "So much at once would move the price too far",
            ),
            Self::MarketUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "market-unavailable",
                "The market cannot be asked for now",
            ),
            Self::NoWorkload => (
                S::CONFLICT,
                "no-workload",
                "This deployment carries no workload",
            ),
            Self::DeploymentEnded => (S::CONFLICT, "deployment-ended", "The deployment has ended"),
            Self::UnknownPurchase => (
                S::UNPROCESSABLE_ENTITY,
                "unknown-purchase",
                "There is no such purchase",
            ),
            Self::TooManyEndpoints => (
                S::CONFLICT,
                "too-many-endpoints",
                "There are too many webhook endpoints",
            ),
            Self::CodeInvalid => (S::CONFLICT, "code-invalid", "The code is not valid"),
            Self::TextsUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "texts-unavailable",
                "Text messages cannot be sent for now",
            ),
            Self::OwnApplication => (
                S::FORBIDDEN,
                "own-application",
                "Nobody decides on their own application",
            ),
            Self::ApplicationDecided => (
                S::CONFLICT,
                "application-decided",
                "The application does not wait for this",
            ),
            Self::ApplicationChanged => (
                S::CONFLICT,
                "application-changed",
                "The application says something else by now",
            ),
            Self::DocumentsMissing => (S::CONFLICT, "documents-missing", "Documents are missing"),
            Self::FarmTaken => (S::CONFLICT, "farm-taken", "The farm is another person's"),
            Self::TooManyApplications => (
                S::CONFLICT,
                "too-many-applications",
                "Too many open applications",
            ),
            Self::OwnApproval => (
                S::FORBIDDEN,
                "own-approval",
                "Nobody agrees to what they have asked for",
            ),
            Self::ApprovalEnded => (
                S::CONFLICT,
                "approval-ended",
                "The approval does not wait any more",
            ),
            Self::ApprovalExpired => (S::GONE, "approval-expired", "The approval has expired"),
            Self::NothingToApprove => (
                S::CONFLICT,
                "nothing-to-approve",
                "There is nothing to be done",
            ),
            Self::SignatureMissing => (
                S::BAD_REQUEST,
                "signature-missing",
                "The webhook is not signed",
            ),
            Self::SignatureMalformed => (
                S::BAD_REQUEST,
                "signature-malformed",
                "The webhook's signature cannot be read",
            ),
            Self::SignatureWrong => (
                S::BAD_REQUEST,
                "signature-wrong",
                "The webhook's signature is wrong",
            ),
            Self::SignatureTime => (
                S::BAD_REQUEST,
                "signature-time",
                "The webhook was signed at another time",
            ),
            Self::WebhookNotJson => (
                S::BAD_REQUEST,
                "webhook-not-json",
                "The webhook is not JSON",
            ),
            Self::NotYetVisible => (
                S::SERVICE_UNAVAILABLE,
                "not-yet-visible",
                "The command is not visible to queries yet",
            ),
            Self::LogUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "log-unavailable",
                "Commands cannot be taken for now",
            ),
            Self::DatabaseUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "database-unavailable",
                "Queries cannot be answered for now",
            ),
            Self::StripeUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "stripe-unavailable",
                "Stripe cannot be asked for now",
            ),
            Self::NotReady => (S::SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
            Self::TimedOut => (S::SERVICE_UNAVAILABLE, "timed-out", "It took too long"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "A fault of ours"),
        }
    }

    /// Last part of the type URI.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        self.row().1
    }
}

/// A problem on its way to the caller.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: Kind,
    detail: String,
    more: Map<String, Value>,
}

impl Problem {
    /// A problem; `detail` says what is wrong here and, where there is something, what to do.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            more: Map::new(),
        }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// A field of the body is not valid.
    pub(crate) fn field(name: &str, detail: impl Into<String>) -> Self {
        Self::new(Kind::InvalidField, detail).with("field", name)
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

/// A failed statement: said in the log with its cause, to the caller without it.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::database(&error)
    }
}

impl Problem {
    pub(crate) fn database(error: &sqlx::Error) -> Self {
        tracing::error!(%error, "Postgres did not answer a request");
        Self::new(
            Kind::DatabaseUnavailable,
            "the database does not answer; try again later with the same Idempotency-Key",
        )
    }
}

/// A failed append: said in the log with its cause, to the caller without it.
impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        tracing::error!(%error, "a command could not be appended");
        match error {
            AppendError::Kafka(_) | AppendError::Registry(_) => Self::new(
                Kind::LogUnavailable,
                "the log does not take the command; send it again with the same Idempotency-Key",
            ),
            AppendError::Encode(_) => Self::new(Kind::Internal, "the command could not be written"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, slug, title) = self.kind.row();
        let mut body = Map::new();
        body.insert(
            "type".into(),
            json!(format!("https://gridway.dev/problems/{slug}")),
        );
        body.insert("title".into(), json!(title));
        body.insert("status".into(), json!(status.as_u16()));
        body.insert("detail".into(), json!(self.detail));
        body.extend(self.more);
        let mut response = (status, Value::Object(body).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE || self.kind == Kind::CommandInProgress {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::HashSet;

    #[tokio::test]
    async fn a_problem_has_the_shape_of_rfc_9457() {
        let response = Problem::new(Kind::NoTwinYet, "register first")
            .with("next", "POST /users")
            .into_response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({
                "type": "https://gridway.dev/problems/no-twin-yet",
                "title": "There is no twin to deliver to yet",
                "status": 409,
                "detail": "register first",
                "next": "POST /users",
            })
        );
    }

    #[test]
    fn no_two_kinds_share_a_type() {
        let slugs: HashSet<&str> = Kind::ALL.into_iter().map(Kind::slug).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
    }
}
