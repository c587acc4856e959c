//! What only a stand-in has: counting, and making things go wrong.

use crate::error::ApiError;
use crate::keys::KeyFault;
use crate::objects::IntentStatus;
use crate::state::Shared;
use crate::webhooks::Target;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Body of `POST /_control/idempotency`; the fault's own fields stand beside these.
#[derive(Debug, Deserialize)]
struct Arm {
    /// Prefix of the paths that are hit; all when absent.
    #[serde(default)]
    path: String,
    /// How many keyed requests are hit; 1 when absent.
    #[serde(default)]
    times: u32,
    #[serde(flatten)]
    fault: KeyFault,
}

/// Body of the controls that concern one PaymentIntent.
#[derive(Debug, Deserialize)]
struct OfIntent {
    payment_intent: String,
    #[serde(default)]
    reason: Option<String>,
}

/// Query of `DELETE /_control/events`.
#[derive(Debug, Deserialize)]
struct Forget {
    /// How many of the newest events are kept.
    #[serde(default)]
    keep: usize,
}

/// What was done for one purchase.
#[derive(Debug, Default, Serialize)]
struct PurchaseCount {
    intents: Vec<String>,
    succeeded: u32,
    charged_minor: i64,
    refunds: u32,
    refunded_minor: i64,
}

/// Answer of `GET /_control/counts`.
#[derive(Debug, Default, Serialize)]
struct Counts {
    payment_intents: u32,
    succeeded: u32,
    refunds: u32,
    webhooks_dropped: u64,
    by_purchase: BTreeMap<String, PurchaseCount>,
}

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(
            "/_control/webhook",
            post(
                |State(s): State<Arc<Shared>>, Json(target): Json<Target>| async move {
                    s.webhooks.set(Some(target));
                    StatusCode::NO_CONTENT
                },
            )
            .delete(|State(s): State<Arc<Shared>>| async move {
                s.webhooks.set(None);
                StatusCode::NO_CONTENT
            }),
        )
        .route(
            "/_control/idempotency",
            post(
                |State(s): State<Arc<Shared>>, Json(arm): Json<Arm>| async move {
                    s.keys.lock().arm(arm.path, arm.times, arm.fault);
                    StatusCode::NO_CONTENT
                },
            )
            .delete(|State(s): State<Arc<Shared>>| async move {
                s.keys.lock().disarm();
                StatusCode::NO_CONTENT
            }),
        )
        .route(
            "/_control/idempotency/keys",
            axum::routing::delete(|State(s): State<Arc<Shared>>| async move {
                s.keys.lock().forget_all();
                StatusCode::NO_CONTENT
            }),
        )
        .route(
            "/_control/authenticate",
            post(
                |State(s): State<Arc<Shared>>, Json(of): Json<OfIntent>| async move {
                    answer(crate::intents::authenticate(&s, &of.payment_intent))
                },
            ),
        )
        .route(
            "/_control/disputes",
            post(
                |State(s): State<Arc<Shared>>, Json(of): Json<OfIntent>| async move {
                    answer(dispute(&s, &of))
                },
            ),
        )
        .route(
            "/_control/events",
            axum::routing::delete(
                |State(s): State<Arc<Shared>>, Query(forget): Query<Forget>| async move {
                    s.ledger.lock().events.forget_all_but(forget.keep);
                    StatusCode::NO_CONTENT
                },
            ),
        )
        .route(
            "/_control/counts",
            get(|State(s): State<Arc<Shared>>| async move { Json(counts(&s)) }),
        )
        .with_state(shared)
}

fn answer(done: Result<(), ApiError>) -> Response {
    match done {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::CONFLICT, Json(error.to_json())).into_response(),
    }
}

fn dispute(shared: &Arc<Shared>, of: &OfIntent) -> Result<(), ApiError> {
    let mut ledger = shared.ledger.lock();
    let intent = ledger.intents.find(&of.payment_intent, "payment_intent")?;
    let charge = intent.latest_charge.clone().unwrap_or_default();
    let reason = of.reason.as_deref().unwrap_or("fraudulent");
    crate::disputes::open(shared, &mut ledger, &charge, reason)?;
    Ok(())
}

fn counts(shared: &Shared) -> Counts {
    let ledger = shared.ledger.lock();
    let mut counts = Counts {
        webhooks_dropped: shared.webhooks.dropped(),
        ..Counts::default()
    };
    for intent in ledger.intents.iter() {
        let succeeded = u32::from(intent.status == IntentStatus::Succeeded);
        counts.payment_intents += 1;
        counts.succeeded += succeeded;
        if let Some(purchase) = intent.metadata("purchase_id") {
            let of = counts.by_purchase.entry(purchase.to_owned()).or_default();
            of.intents.push(intent.id.clone());
            of.succeeded += succeeded;
            of.charged_minor += intent.amount * i64::from(succeeded);
        }
    }
    for refund in ledger
        .refunds
        .iter()
        .filter(|refund| refund.status != "failed")
    {
        counts.refunds += 1;
        // By the intent, not by the refund's own metadata: a refund made by hand counts too.
        let purchase = ledger
            .intents
            .get(&refund.intent)
            .and_then(|intent| intent.metadata("purchase_id"));
        if let Some(purchase) = purchase {
            let of = counts.by_purchase.entry(purchase.to_owned()).or_default();
            of.refunds += 1;
            of.refunded_minor += refund.amount;
        }
    }
    counts
}
