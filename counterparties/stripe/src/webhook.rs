//! Webhooks: who sent it, and what it says.
//!
//! [`verify`] first, on the body exactly as received, then [`facts`].
//! Source of the scheme: <https://docs.stripe.com/webhooks#verify-manually>.

use events::stripe::StripeFacts;
use events::time::Timestamp;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
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

/// The body of a webhook is not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's body is not JSON: {0}")]
pub struct NotJson(String);

/// Reads the facts of an event: the body of a webhook, or one of Stripe's list of events. An event
/// that says no time was made when it was heard of.
///
/// # Errors
/// [`NotJson`]; valid JSON of any shape is read, and what it lacks is `None` (or empty).
pub fn facts(body: &[u8], heard_at: Timestamp) -> Result<StripeFacts, NotJson> {
    let event = serde_json::from_slice(body).map_err(|e| NotJson(e.to_string()))?;
    // Stripe gives every event an id; one without is told from others by its content.
    Ok(read(event, heard_at, || hex::encode(Sha256::digest(body))))
}

fn read(mut event: Value, heard_at: Timestamp, no_id: impl Fn() -> String) -> StripeFacts {
    strip_private(&mut event);
    let object = &event["data"]["object"];
    let object_id = text(&object["id"]);
    let is_intent = object["object"] == "payment_intent";
    let named_intent = &object["payment_intent"];
    StripeFacts {
        stripe_event_id: text(&event["id"])
            .filter(|id| !id.is_empty())
            .unwrap_or_else(no_id),
        event_type: event_type(&event),
        created: event["created"]
            .as_i64()
            .map(Timestamp::from_seconds)
            .or_else(|| event["created"].as_str().and_then(Timestamp::parse))
            .unwrap_or(heard_at),
        livemode: event["livemode"].as_bool().unwrap_or(false),
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
        request_id: object["metadata"]["request_id"]
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
    }
}

/// A notification names the event of an object of the first API `v1.<type>`.
fn event_type(event: &Value) -> String {
    let name = text(&event["type"]).unwrap_or_default();
    match name.strip_prefix("v1.") {
        Some(rest) if event["object"] == NOTIFICATION => rest.to_owned(),
        _ => name,
    }
}

/// What the `object` of a thin notification says.
const NOTIFICATION: &str = "v2.core.event";
/// Objects of the first API that are fetched for a notification, as their URLs name them.
const FETCHED: [&str; 4] = ["payment_intents", "charges", "refunds", "disputes"];

/// A thin notification: it names the object that it is about, and does not hold it.
/// Source: <https://docs.stripe.com/event-destinations#thin-events>.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification(Value);

impl Notification {
    /// The notification that a webhook's body is; `None` when it is another event, or no JSON.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let event: Value = serde_json::from_slice(body).ok()?;
        (event["object"] == NOTIFICATION && event["data"]["object"].is_null())
            .then_some(Self(event))
    }

    /// Path of its object below `/v1`, such as `/refunds/re_1`; `None` for an object that says
    /// nothing about a payment. What stands there is sent with our key: nothing but an id may.
    #[must_use]
    pub fn object_path(&self) -> Option<&str> {
        let path = self.0["related_object"]["url"]
            .as_str()?
            .strip_prefix("/v1")?;
        let (kind, id) = path.strip_prefix('/')?.split_once('/')?;
        let is_id =
            |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (FETCHED.contains(&kind) && is_id(id)).then_some(path)
    }

    /// Its facts, with the object as Stripe shows it now.
    #[must_use]
    pub fn facts(mut self, object: Option<Value>, heard_at: Timestamp) -> StripeFacts {
        if let Some(object) = object {
            self.0["data"] = serde_json::json!({ "object": object });
        }
        read(self.0, heard_at, String::new)
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// What an event tells of the payer, or lets somebody act for them. None of it goes into the log:
/// events are kept for ever and read by others.
const PRIVATE: [&str; 10] = [
    "client_secret",
    "receipt_email",
    "receipt_url",
    "billing_details",
    "shipping",
    "payment_method_details",
    // What is shown to the bank in a dispute: names, addresses, letters.
    "evidence",
    "customer_details",
    "email",
    "phone",
];

/// The JSON parser bounds the depth (128), so the recursion is bounded too.
fn strip_private(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for field in PRIVATE {
                fields.shift_remove(field);
            }
            // An id says nothing; the method itself, where it was expanded, whose card it is.
            if fields.get("payment_method").is_some_and(Value::is_object) {
                fields.shift_remove("payment_method");
            }
            fields.values_mut().for_each(strip_private);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_private),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn read(event: &Value) -> StripeFacts {
        facts(event.to_string().as_bytes(), NOW).unwrap()
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
                (facts.stripe_event_id.len(), facts.purchase_id, facts.amount),
                (64, None, None),
                "{shape}"
            );
            assert_eq!(facts.created, NOW);
            assert_eq!(serde_json::from_str::<Value>(&facts.raw).unwrap(), shape);
        }
        for garbage in [&b""[..], b"{", b"{} {}", b"\xff\xfe", &[b'['; 100_000][..]] {
            assert!(facts(garbage, NOW).is_err());
        }
    }

    fn notification(url: &str) -> Notification {
        let body = json!({
            "id": "evt_test_1", "object": "v2.core.event", "type": "v1.refund.failed",
            "created": "2026-11-25T17:00:00.250Z", "livemode": true,
            "related_object": { "id": "re_1", "type": "refund", "url": url }
        });
        Notification::read(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_notification_has_the_facts_of_its_object() {
        let object = json!({
            "id": "re_1", "object": "refund", "amount": 5, "status": "failed",
            "payment_intent": { "id": "pi_1", "client_secret": "s" }
        });
        let thin = notification("/v1/refunds/re_1");
        assert_eq!(thin.object_path(), Some("/refunds/re_1"));
        let facts = thin.facts(Some(object), NOW);
        assert_eq!(facts.stripe_event_id, "evt_test_1");
        assert_eq!(facts.event_type, "refund.failed");
        assert_eq!(facts.created, Timestamp(1_795_626_000_250));
        assert_eq!((facts.livemode, facts.amount), (true, Some(5)));
        assert_eq!(facts.intent_id.as_deref(), Some("pi_1"));
        assert!(!facts.raw.contains("client_secret"));
    }

    #[test]
    fn nothing_is_fetched_but_objects_of_payments() {
        for url in [
            "/v1/billing/meters/mtr_1",
            "/v1/customers/cus_1",
            "/v1/refunds/",
            "/v1/refunds/re_1/cancel",
            "/v1/refunds/re_1?expand=x",
            "/v1/refunds/../keys",
            "/v2/refunds/re_1",
            "https://example.com/v1/refunds/re_1",
        ] {
            assert_eq!(notification(url).object_path(), None, "{url}");
        }
        let facts = notification("/v1/customers/cus_1").facts(None, NOW);
        assert_eq!((facts.object_id, facts.intent_id), (None, None));
        assert_eq!(facts.event_type, "refund.failed");
    }

    #[test]
    fn an_event_that_holds_its_object_is_no_notification() {
        for event in [
            json!({ "object": "event", "data": { "object": {} } }),
            json!({ "object": "v2.core.event", "data": { "object": { "id": "re_1" } } }),
            json!(7),
        ] {
            assert_eq!(Notification::read(event.to_string().as_bytes()), None);
        }
        assert_eq!(Notification::read(b"{"), None);
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
            facts(event.as_bytes(), NOW).unwrap().raw,
            r#"{"z":1,"data":{"object":{"b":[{"k":2}],"a":null}}}"#
        );
    }

    #[test]
    fn nothing_of_the_payer_is_kept() {
        let event = json!({ "type": "charge.refunded", "data": { "object": {
            "id": "ch_1", "payment_intent": "pi_1", "payment_method": "pm_1",
            "receipt_email": "anna@example.com", "receipt_url": "https://pay.example/anna",
            "billing_details": { "name": "Anna", "email": "anna@example.com", "address": { "city": "Ghent" } },
            "payment_method_details": { "card": { "last4": "4242", "fingerprint": "f" } },
            "shipping": { "name": "Anna" }, "evidence": { "customer_name": "Anna" },
            "last_payment_error": { "code": "card_declined", "payment_method": {
                "id": "pm_2", "billing_details": { "name": "Anna" }, "card": { "last4": "4242" }
            } },
        } } });
        let facts = read(&event);
        for private in ["nna", "4242", "Ghent", "fingerprint"] {
            assert!(!facts.raw.contains(private), "{private}: {}", facts.raw);
        }
        assert!(facts.raw.contains(r#""payment_method":"pm_1""#));
        assert_eq!(facts.failure_code.as_deref(), Some("card_declined"));
    }

    #[test]
    fn metadata_that_is_not_ours_names_no_purchase() {
        for id in [json!("order-7"), json!(""), json!(null), json!(7)] {
            let event = json!({ "data": { "object": { "metadata": { "purchase_id": id } } } });
            assert_eq!(read(&event).purchase_id, None);
        }
    }
}
