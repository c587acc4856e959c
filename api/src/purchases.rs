//! Queries about purchases. Each shows only the caller's own.

use crate::auth::Caller;
use crate::problem::{Kind, Problem};
use crate::quotes::charge;
use crate::state::ApiState;
use crate::wait::CaughtUp;
use axum::Json;
use axum::extract::{Path, State};
use events::ids::UserId;
use projections::purchases::Purchase;
use serde_json::{Value, json};

/// More are not listed; the latest come first.
const LISTED: i64 = 100;

fn view(p: &Purchase) -> Value {
    json!({
        "id": p.id,
        "state": p.state,
        "twin_id": p.twin_id,
        "quote_id": p.quote_id,
        "tft": p.tft.to_string(),
        "usdc_cap": p.usdc_cap.to_string(),
        "usdc_spent": p.usdc_spent.to_string(),
        "funding": p.funding,
        "usdc_due": p.usdc_due.map(|a| a.to_string()),
        "pay_until": p.fund_until,
        "leftover": p.leftover.map(|a| a.to_string()),
        "fee_stroops": p.fee_stroops,
        "charge": charge(p.charge()),
        "intent_id": p.intent_id,
        "swap_tx": p.swap_tx,
        "handoff_tx": p.handoff_tx,
        "mint_block": p.mint_block,
        "refund_id": p.refund_id,
        "alarm": p.alarm,
        "detail": p.detail,
        "created_at": p.created_at,
        "updated_at": p.updated_at,
        "timeline": format!("/purchases/{}/timeline", p.id),
    })
}

/// The purchase, if it is the caller's; what is not cannot be told from what does not exist.
pub(crate) async fn own(state: &ApiState, user: UserId, id: &str) -> Result<Purchase, Problem> {
    let missing = || Problem::new(Kind::NotFound, "you have no purchase with this id");
    let id = id.parse().map_err(|_| missing())?;
    projections::purchases::get(&state.pool, id)
        .await?
        .filter(|purchase| purchase.user_id == user)
        .ok_or_else(missing)
}

/// `GET /purchases`
pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
) -> Result<Json<Value>, Problem> {
    let purchases = projections::purchases::list(&state.pool, user, LISTED).await?;
    let views: Vec<Value> = purchases.iter().map(view).collect();
    Ok(Json(json!({ "purchases": views })))
}

/// `GET /purchases/{id}`
pub(crate) async fn show(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(view(&own(&state, user, &id).await?)))
}

/// `GET /purchases/{id}/timeline`
pub(crate) async fn timeline(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let purchase = own(&state, user, &id).await?;
    let events = projections::timeline::of(&state.pool, purchase.id).await?;
    Ok(Json(
        json!({ "purchase_id": purchase.id, "state": purchase.state, "events": events }),
    ))
}
