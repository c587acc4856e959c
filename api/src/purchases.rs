//! Queries about purchases. Each shows only the caller's own.

use crate::auth::Reader;
use crate::contract::{Routes, one_of};
use crate::page::Page;
use crate::payments;
use crate::problem::{Kind, Problem};
use crate::quotes::{Charge, charge};
use crate::state::ApiState;
use crate::wait::CaughtUp;
use axum::Json;
use axum::extract::{Path, State as Shared};
use chrono::{DateTime, Utc};
use events::ids::{PurchaseId, QuoteId};
use projections::purchases::{Purchase, State};
use projections::timeline::Moment;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;
use utoipa_axum::routes;
use uuid::Uuid;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_own, payments::create_purchase))
        .routes(routes!(show))
        .routes(routes!(timeline))
}

/// How far a purchase has come, as the contract has it.
pub(crate) fn stages() -> Object {
    one_of(&State::ALL.map(State::as_str))
}

fn fundings() -> Object {
    one_of(&["card", "usdc"])
}

/// A purchase, with the proofs of each leg.
#[derive(Serialize, ToSchema)]
#[schema(as = Purchase)]
struct View {
    #[schema(value_type = Uuid)]
    id: PurchaseId,
    #[schema(schema_with = stages)]
    state: State,
    /// The twin that receives the TFT.
    twin_id: u32,
    #[schema(value_type = Uuid)]
    quote_id: QuoteId,
    /// What arrives at the twin, decimal with seven places.
    tft: String,
    usdc_cap: String,
    usdc_spent: String,
    /// How it is paid.
    #[schema(schema_with = fundings)]
    funding: String,
    /// What is to be paid in USDC, when it is paid so.
    usdc_due: Option<String>,
    /// Until when USDC is waited for.
    pay_until: Option<DateTime<Utc>>,
    /// What was not spent and is the buyer's credit.
    leftover: Option<String>,
    /// Fees of the Stellar network.
    fee_stroops: Option<i64>,
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

/// An event of a timeline.
#[derive(ToSchema)]
#[schema(as = Moment)]
#[expect(
    dead_code,
    reason = "it only stands in the contract, for the read model's own"
)]
pub(crate) struct MomentView {
    topic: String,
    partition: i32,
    offset: i64,
    event_id: Uuid,
    /// Full name, such as `gridway.purchases.SwapCompleted`.
    #[serde(rename = "type")]
    event_type: String,
    time: DateTime<Utc>,
    /// Who appended it.
    source: String,
    /// The event that caused it.
    causation: Option<Uuid>,
    /// Amounts, hashes and ids.
    #[schema(value_type = Object)]
    facts: serde_json::Value,
}

/// A page of purchases, the latest first.
#[derive(Serialize, ToSchema)]
struct Purchases {
    purchases: Vec<View>,
    /// Whether more follow after the last one.
    has_more: bool,
}

/// Every event of a purchase, in its order.
#[derive(Serialize, ToSchema)]
struct Timeline {
    #[schema(value_type = Uuid)]
    purchase_id: PurchaseId,
    #[schema(schema_with = stages)]
    state: State,
    #[schema(value_type = Vec<MomentView>)]
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
        funding: p.funding.clone(),
        usdc_due: p.usdc_due.map(|a| a.to_string()),
        pay_until: p.fund_until,
        leftover: p.leftover.map(|a| a.to_string()),
        fee_stroops: p.fee_stroops,
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
pub(crate) async fn own(state: &ApiState, reader: &Reader, id: &str) -> Result<Purchase, Problem> {
    let missing = || Problem::new(Kind::NotFound, "you have no purchase with this id");
    let id = id.parse().map_err(|_| missing())?;
    projections::purchases::get(&state.pool, id)
        .await?
        .filter(|purchase| reader.may_see(purchase.user_id))
        .ok_or_else(missing)
}

/// Lists purchases, the latest first.
#[utoipa::path(
    get,
    path = "/purchases",
    operation_id = "listPurchases",
    params(Page, CaughtUp),
    responses((status = 200, description = "A page.", body = Purchases))
)]
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
            .ok_or_else(Page::<Uuid>::no_such_row)?;
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
#[utoipa::path(
    get,
    path = "/purchases/{id}",
    operation_id = "showPurchase",
    params(("id" = Uuid, Path, description = "The purchase."), CaughtUp),
    responses((status = 200, description = "The purchase.", body = View))
)]
async fn show(
    Shared(state): Shared<ApiState>,
    reader: Reader,
    _: CaughtUp,
    Path(id): Path<String>,
) -> Result<Json<View>, Problem> {
    Ok(Json(view(&own(&state, &reader, &id).await?)))
}

/// Shows every event of a purchase, with what caused it.
#[utoipa::path(
    get,
    path = "/purchases/{id}/timeline",
    operation_id = "showTimeline",
    params(("id" = Uuid, Path, description = "The purchase."), Page, CaughtUp),
    responses((status = 200, description = "A page, from the beginning.", body = Timeline))
)]
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
        events.drain(..=last.ok_or_else(Page::<Uuid>::no_such_row)?);
    }
    let has_more = page.cut(&mut events);
    Ok(Json(Timeline {
        purchase_id: purchase.id,
        state: purchase.state,
        events,
        has_more,
    }))
}
