//! What operators do with other people's money and with records that cannot be read, and who agrees.
//!
//! An operator asks; the rule says whether a second person is needed ([`rules`]): above a configured
//! sum, and for whatever has no sum. Nothing happens before another operator has agreed, and then
//! once: the event that makes it happen has an id that follows from the approval's.

mod change;
mod rows;
pub mod rules;
mod target;

use crate::applications::reason;
use crate::auth::Reader;
use crate::body::Command;
use crate::contract::{Routes, one_of, query};
use crate::idempotency::{self, Fingerprint, Key};
use crate::page::Page;
use crate::problem::Problem;
use crate::purchases::MomentView;
use crate::state::ApiState;
use axum::Json;
use axum::extract::{FromRequestParts, Path, State as Shared};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use change::missing;
use chrono::{DateTime, Utc};
use events::ids::{ApprovalId, TwinId, UserId};
use projections::timeline::Moment;
use rows::{ACTIONS, Approval, action, action_name};
use rules::{State, Word};
use serde::{Deserialize, Serialize};
use target::Wish;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use uuid::Uuid;

pub(crate) use change::expire_overdue;
pub use change::{NotUsable, use_up};
pub use rules::{Limits, Sum};
pub use target::{LANES, deposit_sum, letter_sum, waits};

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(ask, list))
        .routes(routes!(show))
        .routes(routes!(history))
        .routes(routes!(approve))
        .routes(routes!(reject))
}

fn actions() -> Object {
    one_of(&ACTIONS.map(action_name))
}

fn states() -> Object {
    one_of(&State::ALL.map(State::as_str))
}

/// What is to be done.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    #[schema(schema_with = actions)]
    action: String,
    /// Of a dead letter `processor/partition/offset`, of a deposit or a purchase its id, of a transfer
    /// of the treasury `lanes`.
    #[schema(min_length = 1, max_length = 100)]
    target: String,
    /// Whose a deposit becomes, of an assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    twin_id: Option<u32>,
    /// How much the treasury pays, of a transfer. Decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 30)]
    amount: Option<String>,
    /// `XLM`, `USDC` or `TFT`, of a transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 12)]
    asset: Option<String>,
    /// Why. It stands in an event, for ever.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// An approval.
#[derive(Serialize, ToSchema)]
#[schema(as = Approval)]
struct View {
    #[schema(value_type = Uuid)]
    id: ApprovalId,
    #[schema(schema_with = actions)]
    action: &'static str,
    target: String,
    twin_id: Option<u32>,
    /// What is moved, in minor units of the asset; without one nobody can say.
    amount_minor: Option<i64>,
    asset: Option<String>,
    /// The most that one person may move alone.
    threshold_minor: Option<i64>,
    /// Whether somebody else must agree.
    second_person: bool,
    #[schema(schema_with = states)]
    state: &'static str,
    #[schema(value_type = Uuid)]
    asked_by: UserId,
    reason: String,
    requested_at: DateTime<Utc>,
    /// Until when somebody may agree.
    expires_at: DateTime<Utc>,
    #[schema(value_type = Option<Uuid>)]
    decided_by: Option<UserId>,
    decision_reason: Option<String>,
    decided_at: Option<DateTime<Utc>>,
    /// When a transfer by hand was begun with it.
    used_at: Option<DateTime<Utc>>,
}

fn view(a: Approval) -> View {
    let (asset, amount_minor) = match a.sum {
        Some(sum) => (Some(sum.asset), Some(sum.minor)),
        None => (None, None),
    };
    View {
        id: a.id,
        action: action_name(a.action),
        target: a.target,
        twin_id: a.twin.map(|twin| twin.0),
        amount_minor,
        asset,
        threshold_minor: a.threshold,
        second_person: a.second_person,
        state: a.state.as_str(),
        asked_by: a.asked_by,
        reason: a.reason,
        requested_at: a.requested_at,
        expires_at: a.expires_at,
        decided_by: a.decided_by,
        decision_reason: a.decision_reason,
        decided_at: a.decided_at,
        used_at: a.used_at,
    }
}

async fn find(state: &ApiState, id: &str) -> Result<Approval, Problem> {
    let id = id.parse().map_err(|_| missing())?;
    rows::get(&state.pool, id).await?.ok_or_else(missing)
}

async fn answer(
    state: &ApiState,
    id: ApprovalId,
    hit: bool,
    status: StatusCode,
) -> Result<Response, Problem> {
    let approval = rows::get(&state.pool, id).await?.ok_or_else(missing)?;
    let location = [(header::LOCATION, format!("/approvals/{id}"))];
    let response = (status, location, Json(view(approval))).into_response();
    Ok(idempotency::mark(response, hit))
}

/// Asks for something to be done.
///
/// What one person may do alone is done at once; the rest waits until another operator agrees, for a
/// day.
#[utoipa::path(
    post,
    path = "/approvals",
    operation_id = "askApproval",
    params(Key),
    request_body = Ask,
    responses((status = 201, description = "The approval.", body = View))
)]
async fn ask(
    Shared(state): Shared<ApiState>,
    reader: Reader,
    key: Key,
    Command(body): Command<Ask>,
) -> Result<Response, Problem> {
    let reason = reason(&body.reason)?;
    let action = action(&body.action).ok_or_else(|| {
        let names = ACTIONS.map(action_name).join(", ");
        Problem::field("action", format!("one of {names}"))
    })?;
    if body.target.is_empty() || body.target.len() > 100 || body.target.contains('\0') {
        return Err(Problem::field("target", "1 to 100 characters"));
    }
    let wish = Wish {
        action,
        target: &body.target,
        twin: body.twin_id.map(TwinId),
        amount: body.amount.as_deref(),
        asset: body.asset.as_deref(),
    };
    let fingerprint = Fingerprint::of("approvals", &body)?;
    let (id, hit) = change::ask(&state, reader.user, &key, &fingerprint, (&wish, reason)).await?;
    answer(&state, id, hit, StatusCode::CREATED).await
}

/// Nothing is asked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agree {}

/// Agrees. It is done then; never by whoever asked.
#[utoipa::path(
    post,
    path = "/approvals/{id}/approve",
    operation_id = "approve",
    params(("id" = Uuid, Path, description = "The approval."), Key),
    request_body = Agree,
    responses(
        (status = 200, description = "The approval.", body = View),
        (status = 410, description = "Nobody agreed in time."),
    )
)]
async fn approve(
    Shared(state): Shared<ApiState>,
    reader: Reader,
    key: Key,
    Path(id): Path<String>,
    Command(Agree {}): Command<Agree>,
) -> Result<Response, Problem> {
    let id = find(&state, &id).await?.id;
    let hit = change::decide(&state, (reader.user, &key), id, Word::Approve, None).await?;
    answer(&state, id, hit, StatusCode::OK).await
}

/// Why not.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disagree {
    /// It stands in an event, for ever.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// Does not agree, or takes back what one has asked for. Nothing happens then.
#[utoipa::path(
    post,
    path = "/approvals/{id}/reject",
    operation_id = "rejectApproval",
    params(("id" = Uuid, Path, description = "The approval."), Key),
    request_body = Disagree,
    responses(
        (status = 200, description = "The approval.", body = View),
        (status = 410, description = "Its time is over."),
    )
)]
async fn reject(
    Shared(state): Shared<ApiState>,
    reader: Reader,
    key: Key,
    Path(id): Path<String>,
    Command(body): Command<Disagree>,
) -> Result<Response, Problem> {
    let reason = reason(&body.reason)?;
    let id = find(&state, &id).await?.id;
    let by = (reader.user, &key);
    let hit = change::decide(&state, by, id, Word::Reject, Some(reason)).await?;
    answer(&state, id, hit, StatusCode::OK).await
}

/// Shows an approval.
#[utoipa::path(
    get,
    path = "/approvals/{id}",
    operation_id = "showApproval",
    params(("id" = Uuid, Path, description = "The approval.")),
    responses((status = 200, description = "The approval.", body = View))
)]
async fn show(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<View>, Problem> {
    Ok(Json(view(find(&state, &id).await?)))
}

/// A page of approvals, and which of them.
struct Filter {
    page: Page,
    state: Option<State>,
}

impl FromRequestParts<ApiState> for Filter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let reader = Reader::from_request_parts(parts, state).await?;
        let text = parts.uri.query().unwrap_or_default();
        let (page, more) = Page::parse_with(text, &reader, &["state"])?;
        let state = more
            .first()
            .map(|(name, value)| {
                State::parse(value)
                    .ok_or_else(|| Problem::field(name, "waiting, granted, rejected or expired"))
            })
            .transpose()?;
        Ok(Self { page, state })
    }
}

impl IntoParams for Filter {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut all = Page::<Uuid>::into_params(place);
        all.push(query("state", "Those in this state.", states()));
        all
    }
}

/// A page of approvals, the latest first.
#[derive(Serialize, ToSchema)]
struct Approvals {
    approvals: Vec<View>,
    /// Whether more follow after the last one.
    has_more: bool,
}

/// Lists approvals, the latest first: what the caller asked for, or with `scope=all` everybody's.
#[utoipa::path(
    get,
    path = "/approvals",
    operation_id = "listApprovals",
    params(Filter),
    responses((status = 200, description = "A page.", body = Approvals))
)]
async fn list(Shared(state): Shared<ApiState>, filter: Filter) -> Result<Json<Approvals>, Problem> {
    let Filter { page, state: stage } = filter;
    if let Some(after) = page.after {
        rows::get(&state.pool, ApprovalId::from_uuid(after))
            .await?
            .filter(|row| page.owner.is_none_or(|owner| owner == row.asked_by))
            .ok_or_else(Page::<Uuid>::no_such_row)?;
    }
    let limit = page.limit + 1;
    let mut found = rows::list(&state.pool, page.owner, stage, page.after, limit).await?;
    let has_more = page.cut(&mut found);
    Ok(Json(Approvals {
        approvals: found.into_iter().map(view).collect(),
        has_more,
    }))
}

/// Every event of an approval, in its order.
#[derive(Serialize, ToSchema)]
#[schema(as = ApprovalHistory)]
struct History {
    #[schema(value_type = Uuid)]
    approval_id: ApprovalId,
    #[schema(value_type = Vec<MomentView>)]
    events: Vec<Moment>,
}

/// Shows every event of an approval: who asked and who decided, when and why.
#[utoipa::path(
    get,
    path = "/approvals/{id}/history",
    operation_id = "showApprovalHistory",
    params(("id" = Uuid, Path, description = "The approval.")),
    responses((status = 200, description = "From the beginning.", body = History))
)]
async fn history(
    Shared(state): Shared<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<History>, Problem> {
    let approval_id = find(&state, &id).await?.id;
    let events = projections::timeline::about(&state.pool, approval_id.uuid()).await?;
    Ok(Json(History {
        approval_id,
        events,
    }))
}
