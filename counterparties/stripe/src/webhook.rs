//! Webhooks: who sent it, and what it says.
//!
//! [`verify`] first, on the body exactly as received, then [`facts`].
//! Source of the scheme: <https://docs.stripe.com/webhooks#verify-manually>.

use events::ids::PurchaseId;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::fmt;

/// How far a signature's time may be from ours, in either direction, in seconds.
pub const TOLERANCE_SECONDS: i64 = 300;

/// The signing secret of a webhook endpoint, `whsec_…`. Never shown, never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// Wraps a secret; surrounding white space is dropped.
    ///
    /// # Errors
    /// [`NoWebhookSecret`] when nothing is left: an empty secret would accept what anybody signs.
    pub fn new(secret: &str) -> Result<Self, NoWebhookSecret> {
        let secret = secret.trim();
        if secret.is_empty() {
            return Err(NoWebhookSecret);
        }
        Ok(Self(secret.to_owned()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(hidden)")
    }
}

/// The secrets that are valid now, at least one; several while one is being rolled over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSecrets(Vec<WebhookSecret>);

impl WebhookSecrets {
    /// Takes the secrets.
    ///
    /// # Errors
    /// [`NoWebhookSecret`] when there is none.
    pub fn new(secrets: Vec<WebhookSecret>) -> Result<Self, NoWebhookSecret> {
        if secrets.is_empty() {
            return Err(NoWebhookSecret);
        }
        Ok(Self(secrets))
    }

    /// Reads a list separated by commas.
    ///
    /// # Errors
    /// [`NoWebhookSecret`] when the list or one of its elements is empty.
    pub fn parse(list: &str) -> Result<Self, NoWebhookSecret> {
        list.split(',')
            .map(WebhookSecret::new)
            .collect::<Result<_, _>>()
            .and_then(Self::new)
    }
}

/// A webhook secret is missing or empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is empty or missing; nothing could be verified with it")]
pub struct NoWebhookSecret;

/// Why a webhook is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// There is no `Stripe-Signature` header.
    #[error("the Stripe-Signature header is missing")]
    Missing,
    /// The header is not `t=<seconds>,v1=<hex>[,v1=<hex>…]`.
    #[error("the Stripe-Signature header is malformed: {0}")]
    Malformed(&'static str),
    /// No signature was made with one of our secrets over this body.
    #[error("no signature matches: wrong secret, or the body was changed")]
    NoMatch,
    /// Signed too long ago: a replay, or a clock that is wrong.
    #[error("the signature is {age_seconds} s old, more than the {TOLERANCE_SECONDS} s allowed")]
    TooOld {
        /// Our time less the signature's.
        age_seconds: i64,
    },
    /// Signed in the future: a clock is wrong.
    #[error(
        "the signature is {ahead_seconds} s in the future, more than the {TOLERANCE_SECONDS} s allowed"
    )]
    TooNew {
        /// The signature's time less ours.
        ahead_seconds: i64,
    },
}

/// Believes a webhook only when one of its `v1` signatures was made with one of `secrets` over
/// exactly this body, at most [`TOLERANCE_SECONDS`] from `now` (seconds since 1970).
///
/// # Errors
/// [`WebhookError`]; the age is judged only of what is truly signed.
pub fn verify(
    body: &[u8],
    signature_header: Option<&str>,
    secrets: &WebhookSecrets,
    now: i64,
) -> Result<(), WebhookError> {
    let header = signature_header.ok_or(WebhookError::Missing)?;
    let mut time = None;
    let mut signatures = Vec::new();
    for item in header.split(',') {
        match item.trim().split_once('=') {
            Some(("t", text)) if time.is_none() => time = Some(text),
            // Not 32 bytes of hex: it can match nothing, but another one may.
            Some(("v1", text)) => signatures.push(hex::decode(text).unwrap_or_default()),
            // v0 and whatever Stripe adds are no proof.
            Some(_) => {}
            None => return Err(WebhookError::Malformed("an element is not name=value")),
        }
    }
    let time = time.ok_or(WebhookError::Malformed("it has no time (t=)"))?;
    let seconds: i64 = time
        .parse()
        .map_err(|_| WebhookError::Malformed("its time (t=) is not a number"))?;
    if signatures.is_empty() {
        return Err(WebhookError::Malformed("it has no signature (v1=)"));
    }
    let mut matched = false;
    for secret in &secrets.0 {
        for signature in &signatures {
            // verify_slice compares in constant time; every pair is tried whatever matched.
            matched |=
                mac(secret, time, body).is_some_and(|mac| mac.verify_slice(signature).is_ok());
        }
    }
    if !matched {
        return Err(WebhookError::NoMatch);
    }
    let age_seconds = now.saturating_sub(seconds);
    if age_seconds > TOLERANCE_SECONDS {
        return Err(WebhookError::TooOld { age_seconds });
    }
    if age_seconds < -TOLERANCE_SECONDS {
        return Err(WebhookError::TooNew {
            ahead_seconds: seconds.saturating_sub(now),
        });
    }
    Ok(())
}

/// The MAC over `<t>.<body>`, with the time as it was written.
fn mac(secret: &WebhookSecret, time: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.0.as_bytes()).ok()?;
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac)
}

/// What a Stripe event says, as it says it: nothing is judged here. What an event of a shape
/// that we do not know lacks is `None` (or empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripeFacts {
    /// `evt_…`; empty when the JSON has none.
    pub event_id: String,
    /// Such as `payment_intent.succeeded`; empty when the JSON has none.
    pub event_type: String,
    /// When Stripe made the event, seconds since 1970.
    pub created: Option<i64>,
    /// Whether real money is meant.
    pub livemode: Option<bool>,
    /// Id of the object in the event: `pi_…`, `ch_…`, `re_…`, `dp_…`.
    pub object_id: Option<String>,
    /// The PaymentIntent: the object itself, or the one that it names.
    pub intent_id: Option<String>,
    /// Our purchase, from the object's metadata. A charge carries its intent's metadata, a
    /// dispute does not: ask [`crate::Cards::purchase_of`].
    pub purchase_id: Option<PurchaseId>,
    /// The object's `amount`, minor units. Of a refund: what goes back.
    pub amount: Option<i64>,
    /// The intent's `amount_received`, minor units.
    pub amount_received: Option<i64>,
    /// The charge's `amount_refunded` so far, minor units.
    pub amount_refunded: Option<i64>,
    /// Lower-case code as Stripe sends it.
    pub currency: Option<String>,
    /// The object's status.
    pub status: Option<String>,
    /// The intent's `last_payment_error.code`, the charge's `failure_code` or the refund's
    /// `failure_reason`.
    pub failure_code: Option<String>,
    /// The event as JSON, without any `client_secret` at any depth.
    pub raw: String,
}

/// The body of a webhook is not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's body is not JSON: {0}")]
pub struct NotJson(String);

/// Reads the facts of an event.
///
/// # Errors
/// [`NotJson`]; valid JSON of any shape is read.
pub fn facts(body: &[u8]) -> Result<StripeFacts, NotJson> {
    let mut event: Value = serde_json::from_slice(body).map_err(|e| NotJson(e.to_string()))?;
    strip_client_secrets(&mut event);
    let object = &event["data"]["object"];
    let object_id = text(&object["id"]);
    let is_intent = object["object"] == "payment_intent";
    let named_intent = &object["payment_intent"];
    Ok(StripeFacts {
        event_id: text(&event["id"]).unwrap_or_default(),
        event_type: text(&event["type"]).unwrap_or_default(),
        created: event["created"].as_i64(),
        livemode: event["livemode"].as_bool(),
        intent_id: if is_intent {
            object_id.clone()
        } else {
            // An id, or the intent itself where it was expanded.
            text(named_intent).or_else(|| text(&named_intent["id"]))
        },
        object_id,
        purchase_id: object["metadata"]["purchase_id"]
            .as_str()
            .and_then(|id| id.parse().ok()),
        amount: object["amount"].as_i64(),
        amount_received: object["amount_received"].as_i64(),
        amount_refunded: object["amount_refunded"].as_i64(),
        currency: text(&object["currency"]),
        status: text(&object["status"]),
        failure_code: text(&object["last_payment_error"]["code"])
            .or_else(|| text(&object["failure_code"]))
            .or_else(|| text(&object["failure_reason"])),
        raw: event.to_string(),
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The JSON parser bounds the depth (128), so the recursion is bounded too.
fn strip_client_secrets(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.shift_remove("client_secret");
            fields.values_mut().for_each(strip_client_secrets);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_client_secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn read(event: &Value) -> StripeFacts {
        facts(event.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn json_of_any_shape_is_read() {
        let shapes = [
            json!(null),
            json!(7),
            json!("evt"),
            json!([]),
            json!({}),
            json!({ "data": [] }),
            json!({ "id": 7, "type": null, "created": "now", "data": { "object": "pi_1" } }),
            json!({ "data": { "object": { "payment_intent": null, "metadata": [], "amount": 1.5, "last_payment_error": null } } }),
        ];
        for shape in shapes {
            let facts = read(&shape);
            assert_eq!(
                (facts.event_id.as_str(), facts.purchase_id, facts.amount),
                ("", None, None),
                "{shape}"
            );
            assert_eq!(serde_json::from_str::<Value>(&facts.raw).unwrap(), shape);
        }
        for garbage in [&b""[..], b"{", b"{} {}", b"\xff\xfe", &[b'['; 100_000][..]] {
            assert!(facts(garbage).is_err());
        }
    }

    #[test]
    fn the_intent_is_found_wherever_it_stands() {
        let intent = |object: Value| read(&json!({ "data": { "object": object } })).intent_id;
        assert_eq!(
            intent(json!({ "object": "payment_intent", "id": "pi_1" })).as_deref(),
            Some("pi_1")
        );
        assert_eq!(
            intent(json!({ "object": "charge", "id": "ch_1", "payment_intent": "pi_1" }))
                .as_deref(),
            Some("pi_1")
        );
        assert_eq!(
            intent(json!({ "object": "dispute", "payment_intent": { "id": "pi_1" } })).as_deref(),
            Some("pi_1")
        );
        assert_eq!(intent(json!({ "object": "charge", "id": "ch_1" })), None);
    }

    #[test]
    fn the_code_of_a_failure_is_found_wherever_it_stands() {
        let code = |object: Value| read(&json!({ "data": { "object": object } })).failure_code;
        assert_eq!(
            code(json!({ "last_payment_error": { "code": "card_declined" } })).as_deref(),
            Some("card_declined")
        );
        assert_eq!(
            code(json!({ "failure_code": "expired_card" })).as_deref(),
            Some("expired_card")
        );
        assert_eq!(
            code(json!({ "failure_reason": "declined" })).as_deref(),
            Some("declined")
        );
    }

    #[test]
    fn client_secrets_are_removed_at_any_depth_and_the_rest_keeps_its_order() {
        let event = r#"{"z":1,"client_secret":"s","data":{"object":{"b":[{"client_secret":{"x":1},"k":2}],"a":null,"client_secret":null}}}"#;
        assert_eq!(
            facts(event.as_bytes()).unwrap().raw,
            r#"{"z":1,"data":{"object":{"b":[{"k":2}],"a":null}}}"#
        );
    }

    #[test]
    fn metadata_that_is_not_ours_names_no_purchase() {
        for id in [json!("order-7"), json!(""), json!(null), json!(7)] {
            let event = json!({ "data": { "object": { "metadata": { "purchase_id": id } } } });
            assert_eq!(read(&event).purchase_id, None);
        }
    }
}
