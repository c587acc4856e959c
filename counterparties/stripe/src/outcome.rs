//! What an answer of Stripe means: one table, held by its test.
//!
//! | answer | outcome | why |
//! |---|---|---|
//! | connection refused, name not found, TLS failed | `NotSent` | nothing left this machine |
//! | 401, 403; a code about our own account or key | `NotSent` | turned away before any work; trouble with our set-up, never a refusal of the payment |
//! | 429 (rate limit, `lock_timeout`) | `NotSent` | turned away before any work, and not stored under the key |
//! | 409 (`idempotency_key_in_use`) | `Unknown` | another request with this key is at work right now |
//! | 400 `idempotency_error` | `Unknown` | this key was used with other parameters, so something may exist under it: look |
//! | 400, 402, 404 otherwise | `Refused` | definite, with Stripe's code |
//! | 5xx | `NoAnswer` | the work may be done; Stripe stores the answer under the key all the same |
//! | timeout, connection lost | `NoAnswer` | the work may be done |
//! | body cannot be read | `Unknown` | the work may be done |
//! | anything else | `Unknown` | not in this table; counted in [`unmapped_total`] |

use events::outcome::{Attempt, Refusal};
use std::sync::atomic::{AtomicU64, Ordering};
use stripe::{ApiErrors, ApiErrorsCode, ApiErrorsType, StripeError};

/// Why an effect did not land, as [`Attempt`] without its good variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// See [`Attempt::Refused`].
    Refused(Refusal),
    /// See [`Attempt::NotSent`].
    NotSent(String),
    /// See [`Attempt::Unknown`].
    Unknown(String),
    /// See [`Attempt::NoAnswer`].
    NoAnswer(String),
}

impl<P> From<Failure> for Attempt<P> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::Refused(refusal),
            Failure::NotSent(why) => Self::NotSent(why),
            Failure::Unknown(why) => Self::Unknown(why),
            Failure::NoAnswer(why) => Self::NoAnswer(why),
        }
    }
}

static UNMAPPED: AtomicU64 = AtomicU64::new(0);

/// How many answers of this process stood in no row of the table. Anything above zero means
/// that the table needs a row.
#[must_use]
pub fn unmapped_total() -> u64 {
    UNMAPPED.load(Ordering::Relaxed)
}

/// The library gives transport errors as text only. The HTTP client below it writes the phase
/// in which it failed; this is the one phase in which no byte of the request was sent.
const CONNECT_FAILED: &str = "client error (Connect)";

/// Maps a failed call; see the module's table.
#[must_use]
pub fn failure(error: &StripeError) -> Failure {
    match error {
        StripeError::Stripe(errors, status) => answered(errors, *status),
        StripeError::ClientError(text) if text == CONNECT_FAILED => {
            Failure::NotSent("no connection to Stripe".into())
        }
        StripeError::ConfigError(text) => Failure::NotSent(text.clone()),
        StripeError::JSONDeserialize(_) => Failure::Unknown(describe(error)),
        StripeError::ClientError(_) | StripeError::Timeout => Failure::NoAnswer(describe(error)),
    }
}

fn answered(errors: &ApiErrors, status: u16) -> Failure {
    let sentence = sentence(errors, status);
    match status {
        401 | 403 | 429 => Failure::NotSent(sentence),
        409 => Failure::Unknown(sentence),
        500..=599 => Failure::NoAnswer(sentence),
        400 if errors.type_ == ApiErrorsType::IdempotencyError => Failure::Unknown(sentence),
        400 | 402 | 404 if errors.code.as_ref().is_some_and(is_our_set_up) => {
            Failure::NotSent(sentence)
        }
        400 | 402 | 404 => Failure::Refused(Refusal::new(code(errors), sentence)),
        _ => {
            UNMAPPED.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                status,
                code = code(errors),
                "an answer of Stripe stands in no row of the outcome table"
            );
            Failure::Unknown(sentence)
        }
    }
}

/// Codes that speak of our key or account, whatever status they come with.
fn is_our_set_up(code: &ApiErrorsCode) -> bool {
    matches!(
        code.as_str(),
        "account_closed"
            | "account_invalid"
            | "api_key_expired"
            | "lock_timeout"
            | "livemode_mismatch"
            | "platform_api_key_expired"
            | "rate_limit"
            | "secret_key_required"
            | "testmode_charges_only"
            | "tls_version_unsupported"
    )
}

/// Stripe's most telling code: the decline code where the bank gave one is left to the detail.
fn code(errors: &ApiErrors) -> &str {
    match &errors.code {
        Some(code) => code.as_str(),
        None => errors.type_.as_str(),
    }
}

fn sentence(errors: &ApiErrors, status: u16) -> String {
    let message = errors.message.as_deref().unwrap_or("no message");
    let decline = errors
        .decline_code
        .as_deref()
        .map(|code| format!(", declined as {code}"))
        .unwrap_or_default();
    format!(
        "Stripe answered {status} {}{decline}: {message}",
        code(errors)
    )
}

/// An error in a sentence for people and logs, without what Stripe sends along as objects
/// (those hold client secrets).
#[must_use]
pub fn describe(error: &StripeError) -> String {
    match error {
        StripeError::Stripe(errors, status) => sentence(errors, *status),
        StripeError::ClientError(text) if text == CONNECT_FAILED => {
            "no connection to Stripe".into()
        }
        StripeError::ClientError(text) => format!("the connection to Stripe broke: {text}"),
        StripeError::JSONDeserialize(text) => format!("Stripe's answer cannot be read: {text}"),
        StripeError::ConfigError(text) => format!("the Stripe client is not set up: {text}"),
        StripeError::Timeout => "Stripe did not answer in time".into(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn stripe(status: u16, kind: &str, code: Option<&str>) -> StripeError {
        let errors = json!({ "type": kind, "code": code, "message": "words" });
        StripeError::Stripe(Box::new(serde_json::from_value(errors).unwrap()), status)
    }

    fn named(failure: &Failure) -> String {
        match failure {
            Failure::Refused(refusal) => format!("refused {}", refusal.code),
            Failure::NotSent(_) => "not sent".into(),
            Failure::Unknown(_) => "unknown".into(),
            Failure::NoAnswer(_) => "no answer".into(),
        }
    }

    #[test]
    fn the_table() {
        const INVALID: &str = "invalid_request_error";
        const CARD: &str = "card_error";
        let answers = [
            (
                400,
                INVALID,
                Some("amount_too_small"),
                "refused amount_too_small",
            ),
            (
                400,
                INVALID,
                Some("charge_already_refunded"),
                "refused charge_already_refunded",
            ),
            (
                400,
                INVALID,
                Some("a_code_of_tomorrow"),
                "refused a_code_of_tomorrow",
            ),
            (400, INVALID, None, "refused invalid_request_error"),
            (400, "idempotency_error", None, "unknown"),
            (400, INVALID, Some("testmode_charges_only"), "not sent"),
            (400, INVALID, Some("lock_timeout"), "not sent"),
            (401, INVALID, None, "not sent"),
            (401, INVALID, Some("api_key_expired"), "not sent"),
            (402, CARD, Some("card_declined"), "refused card_declined"),
            (402, CARD, Some("expired_card"), "refused expired_card"),
            (402, CARD, None, "refused card_error"),
            (403, INVALID, Some("secret_key_required"), "not sent"),
            (
                404,
                INVALID,
                Some("resource_missing"),
                "refused resource_missing",
            ),
            (
                409,
                "idempotency_error",
                Some("idempotency_key_in_use"),
                "unknown",
            ),
            (409, INVALID, None, "unknown"),
            (429, INVALID, Some("rate_limit"), "not sent"),
            (429, INVALID, Some("lock_timeout"), "not sent"),
            (500, "api_error", None, "no answer"),
            (502, "api_error", None, "no answer"),
            (503, "api_error", None, "no answer"),
            (504, "api_error", None, "no answer"),
            (
                400,
                "a_type_of_tomorrow",
                None,
                "refused a_type_of_tomorrow",
            ),
        ];
        let before = unmapped_total();
        for (status, kind, code, expected) in answers {
            assert_eq!(
                named(&failure(&stripe(status, kind, code))),
                expected,
                "{status} {kind} {code:?}"
            );
        }
        assert_eq!(unmapped_total(), before, "all of these are in the table");
        for (status, kind) in [
            (302, INVALID),
            (405, INVALID),
            (413, INVALID),
            (418, "api_error"),
            (424, "api_error"),
        ] {
            assert_eq!(
                named(&failure(&stripe(status, kind, None))),
                "unknown",
                "{status}"
            );
        }
        assert_eq!(unmapped_total(), before + 5);
        let others = [
            (
                StripeError::ClientError("client error (Connect)".into()),
                "not sent",
            ),
            (
                StripeError::ClientError("client error (SendRequest)".into()),
                "no answer",
            ),
            (
                StripeError::ClientError("connection reset by peer".into()),
                "no answer",
            ),
            (StripeError::JSONDeserialize("?".into()), "unknown"),
            (StripeError::Timeout, "no answer"),
            (StripeError::ConfigError("?".into()), "not sent"),
        ];
        for (error, expected) in others {
            assert_eq!(named(&failure(&error)), expected, "{error:?}");
        }
    }

    #[test]
    fn a_refusal_speaks_stripes_words_and_no_more() {
        let errors = json!({
            "type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds",
            "message": "Your card has insufficient funds."
        });
        let error = StripeError::Stripe(Box::new(serde_json::from_value(errors).unwrap()), 402);
        let Failure::Refused(refusal) = failure(&error) else {
            unreachable!("402 is a refusal")
        };
        assert_eq!(
            refusal.to_string(),
            "card_declined: Stripe answered 402 card_declined, declined as insufficient_funds: Your card has insufficient funds."
        );
    }
}
