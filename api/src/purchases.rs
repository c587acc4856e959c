//! Queries about purchases. Each shows only the caller's own.

use crate::auth::Reader;
use crate::contract::schema::{
    anything, boolean, integer, list, object, one_of, or_null, said, text, time, uuid,
};
use crate::contract::{Operation, Routes};
use crate::page::Page;
use crate::problem::{Kind, Problem};
use crate::quotes::{Charge, charge, charge_schema};
use crate::state::ApiState;
use crate::wait::CaughtUp;
use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::routing::get;
use chrono::{DateTime, Utc};
use events::ids::{PurchaseId, QuoteId};
use projections::purchases::{Purchase, State};
use projections::timeline::Moment;
use serde::Serialize;
use serde_json::Value;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .add(
            Operation::get(
                "/purchases",
                "listPurchases",
                "Lists purchases, the latest first.",
            )
            .pages()
            .catches_up()
            .gives(
                200,
                "A page.",
                object(&[("purchases", list(schema())), ("has_more", boolean())]),
            ),
            get(list_own),
        )
        .add(
            Operation::get("/purchases/{id}", "showPurchase", "Shows a purchase.")
                .of("The purchase.")
                .catches_up()
                .gives(200, "The purchase.", schema()),
            get(show),
        )
        .add(
            Operation::get(
                "/purchases/{id}/timeline",
                "showTimeline",
                "Shows every event of a purchase, with what caused it.",
            )
            .of("The purchase.")
            .pages()
            .catches_up()
            .gives(200, "A page, from the beginning.", timeline_schema()),
            get(timeline),
        )
}

/// How far a purchase has come, as the contract has it.
pub(crate) fn state_schema() -> Value {
    one_of(&State::ALL.map(State::as_str))
}

fn schema() -> Value {
    object(&[
        ("id", uuid()),
        ("state", state_schema()),
        ("twin_id", integer()),
        ("quote_id", uuid()),
        (
            "tft",
            said("What arrives at the twin, decimal with seven places."),
        ),
        ("usdc_cap", text()),
        ("usdc_spent", text()),
        ("charge", charge_schema()),
        ("intent_id", or_null(said("The PaymentIntent, `pi_…`."))),
        ("swap_tx", or_null(said("Hash of the swap on Stellar."))),
        (
            "handoff_tx",
            or_null(said("Hash of the latest payment to the bridge.")),
        ),
        ("mint_block", or_null(integer())),
        ("refund_id", or_null(said("The refund, `re_…`."))),
        ("alarm", or_null(text())),
        ("detail", or_null(text())),
        ("created_at", time()),
        ("updated_at", time()),
        ("timeline", said("Address of its timeline.")),
    ])
}

/// An event of a timeline, as the contract has it.
fn moment_schema() -> Value {
    object(&[
        ("topic", text()),
        ("partition", integer()),
        ("offset", integer()),
        ("event_id", uuid()),
        (
            "type",
            said("Full name, such as `gridway.purchases.SwapCompleted`."),
        ),
        ("time", time()),
        ("source", said("Who appended it.")),
        ("causation", or_null(uuid())),
        ("facts", anything()),
    ])
}

fn timeline_schema() -> Value {
    object(&[
        ("purchase_id", uuid()),
        ("state", state_schema()),
        ("events", list(moment_schema())),
        ("has_more", boolean()),
    ])
}

/// A purchase, with the proofs of each leg.
#[derive(Serialize)]
struct View {
    id: PurchaseId,
    state: State,
    /// The twin that receives the TFT.
    twin_id: u32,
    quote_id: QuoteId,
    /// What arrives at the twin, decimal with seven places.
    tft: String,
    usdc_cap: String,
    usdc_spent: String,
    charge: Charge,
    /// The PaymentIntent, `pi_…`.
    intent_id: Option<String>,
    /// Hash of the swap on Stellar.
    swap_tx: Option<String>,
    /// Hash of the latest payment to the bridge.
    handoff_tx: Option<String>,
    /// TFChain block of the mint.
    mint_block: Option<i64>,
    /// The refund, `re_…`.
    refund_id: Option<String>,
    alarm: Option<String>,
    detail: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Address of its timeline.
    timeline: String,
}

/// A page of purchases, the latest first.
#[derive(Serialize)]
struct Purchases {
    purchases: Vec<View>,
    /// Whether more follow after the last one.
    has_more: bool,
}

/// Every event of a purchase, in its order.
#[derive(Serialize)]
struct Timeline {
    purchase_id: PurchaseId,
    state: State,
    events: Vec<Moment>,
    /// Whether more follow after the last one.
    has_more: bool,
}

fn view(p: &Purchase) -> View {
    View {
        id: p.id,
        state: p.state,
        twin_id: p.twin_id.0,
        quote_id: p.quote_id,
        tft: p.tft.to_string(),
        usdc_cap: p.usdc_cap.to_string(),
        usdc_spent: p.usdc_spent.to_string(),
        charge: charge(p.charge()),
        intent_id: p.intent_id.clone(),
        swap_tx: p.swap_tx.clone(),
        handoff_tx: p.handoff_tx.clone(),
        mint_block: p.mint_block,
        refund_id: p.refund_id.clone(),
        alarm: p.alarm.clone(),
        detail: p.detail.clone(),
        created_at: p.created_at,
        updated_at: p.updated_at,
        timeline: format!("/purchases/{}/timeline", p.id),
    }
}

/// The purchase, if it is the caller's; what is not cannot be told from what does not exist.
async fn own(state: &ApiState, reader: &Reader, id: &str) -> Result<Purchase, Problem> {
    let missing = || Problem::new(Kind::NotFound, "you have no purchase with this id");
    let id = id.parse().map_err(|_| missing())?;
    projections::purchases::get(&state.pool, id)
        .await?
        .filter(|purchase| reader.may_see(purchase.user_id))
        .ok_or_else(missing)
}

/// Lists purchases, the latest first.
async fn list_own(
    Shared(state): Shared<ApiState>,
    reader: Reader,
    page: Page,
    _: CaughtUp,
) -> Result<Json<Purchases>, Problem> {
    let after = page.after.map(PurchaseId::from_uuid);
    if let Some(id) = after {
        projections::purchases::get(&state.pool, id)
            .await?
            .filter(|row| {
                page.owner
                    .map_or(reader.sees_all(), |owner| owner == row.user_id)
            })
            .ok_or_else(Page::no_such_row)?;
    }
    let mut rows =
        projections::purchases::list(&state.pool, page.owner, after, page.limit + 1).await?;
    let has_more = page.cut(&mut rows);
    Ok(Json(Purchases {
        purchases: rows.iter().map(view).collect(),
        has_more,
    }))
}

/// Shows a purchase.
async fn show(
    Shared(state): Shared<ApiState>,
    reader: Reader,
    _: CaughtUp,
    Path(id): Path<String>,
) -> Result<Json<View>, Problem> {
    Ok(Json(view(&own(&state, &reader, &id).await?)))
}

/// Shows every event of a purchase, with what caused it.
async fn timeline(
    Shared(state): Shared<ApiState>,
    reader: Reader,
    page: Page,
    _: CaughtUp,
    Path(id): Path<String>,
) -> Result<Json<Timeline>, Problem> {
    let purchase = own(&state, &reader, &id).await?;
    let mut events = projections::timeline::of(&state.pool, purchase.id).await?;
    if let Some(after) = page.after {
        let last = events
            .iter()
            .position(|event| event.event_id.uuid() == after);
        events.drain(..=last.ok_or_else(Page::no_such_row)?);
    }
    let has_more = page.cut(&mut events);
    Ok(Json(Timeline {
        purchase_id: purchase.id,
        state: purchase.state,
        events,
        has_more,
    }))
}
