//! `POST /payments/webhook`: what Stripe says, verified, as raw facts in the log.
//!
//! The answer is 200 only when the log holds the event: until then Stripe sends it again. The
//! event's id follows from Stripe's own, so a second delivery is an echo.

use crate::body;
use crate::log::Append;
use crate::ports::{StripeFacts, WebhookRefusal};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::trace;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use events::ids::{EventId, PurchaseId};
use events::purchases::{PurchaseEvent, StripeEventReceived};
use events::unmatched::{StripeEventUnmatched, UnmatchedEvent};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Stripe's events are a few kilobytes.
const LIMIT: usize = 256 * 1024;

pub(crate) async fn receive(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let bytes = body::bytes(&headers, body, LIMIT).await?;
    // A header that is no text cannot match; it is malformed, not missing.
    let signature = headers
        .get("stripe-signature")
        .map(|value| value.to_str().unwrap_or_default());
    let facts = state
        .webhooks
        .verify(&bytes, signature)
        .map_err(|refusal| refused(&refusal))?;
    let purchase = purchase_of(&state, &facts).await?;
    // Stripe gives every event an id; one without is told from others by its content.
    let identity = if facts.stripe_event_id.is_empty() {
        hex::encode(Sha256::digest(&bytes))
    } else {
        facts.stripe_event_id.clone()
    };
    let id = EventId::derive(&["stripe", &identity]);
    let trace = trace::of(&headers);
    let position = if let Some(purchase) = purchase {
        let append = Append {
            key: purchase.to_string(),
            id,
            correlation: purchase.to_string(),
            trace,
            time: state.now(),
            event: PurchaseEvent::from(received(facts, purchase)),
        };
        state.log.append(append).await?
    } else {
        let append = Append {
            key: identity.clone(),
            id,
            correlation: id.to_string(),
            trace,
            time: state.now(),
            event: UnmatchedEvent::from(unmatched(facts, identity)),
        };
        state.log.append(append).await?
    };
    Ok(Json(
        json!({ "received": true, "position": position.to_string() }),
    ))
}

async fn purchase_of(state: &ApiState, facts: &StripeFacts) -> Result<Option<PurchaseId>, Problem> {
    match (facts.purchase_id, facts.intent_id.as_deref()) {
        (Some(purchase), _) => Ok(Some(purchase)),
        (None, None) => Ok(None),
        (None, Some(intent)) => state.webhooks.purchase_of(intent).await.map_err(|error| {
            tracing::error!(%error, intent, "Stripe does not say whose intent it is");
            Problem::new(
                Kind::StripeUnavailable,
                "the intent of the event could not be looked up; send it again later",
            )
        }),
    }
}

fn refused(refusal: &WebhookRefusal) -> Problem {
    let kind = match refusal {
        WebhookRefusal::Missing => Kind::SignatureMissing,
        WebhookRefusal::Malformed(_) => Kind::SignatureMalformed,
        WebhookRefusal::WrongSignature => Kind::SignatureWrong,
        WebhookRefusal::WrongTime(_) => Kind::SignatureTime,
        WebhookRefusal::NotJson(_) => Kind::WebhookNotJson,
    };
    tracing::warn!(%refusal, "a webhook was refused");
    Problem::new(kind, refusal.to_string())
}

fn received(facts: StripeFacts, purchase_id: PurchaseId) -> StripeEventReceived {
    StripeEventReceived {
        purchase_id,
        stripe_event_id: facts.stripe_event_id,
        event_type: facts.event_type,
        created: facts.created,
        livemode: facts.livemode,
        object_id: facts.object_id,
        intent_id: facts.intent_id,
        amount: facts.amount,
        amount_received: facts.amount_received,
        amount_refunded: facts.amount_refunded,
        currency: facts.currency,
        status: facts.status,
        failure_code: facts.failure_code,
        raw: facts.raw,
    }
}

fn unmatched(facts: StripeFacts, identity: String) -> StripeEventUnmatched {
    StripeEventUnmatched {
        stripe_event_id: identity,
        event_type: facts.event_type,
        created: facts.created,
        livemode: facts.livemode,
        object_id: facts.object_id,
        intent_id: facts.intent_id,
        raw: facts.raw,
    }
}
