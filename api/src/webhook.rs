//! `POST /payments/webhook`: what Stripe says, verified, as raw facts in the log.
//!
//! The answer is 200 only when the log holds the event: until then Stripe sends it again. The
//! event's id follows from Stripe's own, so a second delivery is an echo.

use crate::body;
use crate::contract::Routes;
use crate::log::Append;
use crate::ports::WebhookRefusal;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::trace;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use events::ids::PurchaseId;
use events::purchases::PurchaseEvent;
use events::stripe::StripeFacts;
use events::unmatched::UnmatchedEvent;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

/// Stripe's events are a few kilobytes.
const LIMIT: usize = 256 * 1024;

/// The route of this file.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(receive))
}

/// That the log holds the event.
#[derive(Serialize, ToSchema)]
pub(crate) struct Received {
    received: bool,
    /// Where it stands, `topic:partition:offset`.
    position: String,
}

/// Takes an event of Stripe, signed by Stripe, into the log.
#[utoipa::path(
    post,
    path = "/payments/webhook",
    operation_id = "receiveStripeEvent",
    params(("Stripe-Signature" = Option<String>, Header, description = "`t=…,v1=…` over the raw body.")),
    responses(
        (status = 200, description = "The log holds it.", body = Received),
        (status = 400, description = "It is not signed, or not as it should be."),
        (status = 413, description = "The body is too large."),
    )
)]
async fn receive(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Received>, Problem> {
    let bytes = body::bytes(&headers, body, LIMIT).await?;
    // A header that is no text cannot match; it is malformed, not missing.
    let signature = headers
        .get("stripe-signature")
        .map(|value| value.to_str().unwrap_or_default());
    let facts = state
        .webhooks
        .verify(&bytes, signature)
        .await
        .map_err(|refusal| refused(&refusal))?;
    let purchase = purchase_of(&state, &facts).await?;
    let (id, trace) = (facts.id(), trace::of(&headers));
    let position = if let Some(purchase) = purchase {
        let append = Append {
            key: purchase.to_string(),
            id,
            correlation: purchase.to_string(),
            trace,
            time: state.now(),
            event: PurchaseEvent::from(facts.received(purchase)),
        };
        state.log.append(append).await?
    } else {
        let append = Append {
            key: facts.stripe_event_id.clone(),
            id,
            correlation: id.to_string(),
            trace,
            time: state.now(),
            event: UnmatchedEvent::from(facts.unmatched()),
        };
        state.log.append(append).await?
    };
    Ok(Json(Received {
        received: true,
        position: position.to_string(),
    }))
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
        WebhookRefusal::Unavailable(_) => Kind::StripeUnavailable,
    };
    tracing::warn!(%refusal, "a webhook was refused");
    Problem::new(kind, refusal.to_string())
}
