//! What operators decide: one after the other, and never on what is their own.

use super::change::{Asked, Change};
use super::{View, changed, reason};
use crate::auth::Reader;
use crate::body::Command;
use crate::idempotency::Key;
use crate::problem::Problem;
use crate::state::ApiState;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A decision that needs no reason.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approve {
    /// The revision that was looked at.
    #[schema(minimum = 1)]
    revision: i32,
}

/// A decision, and why.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Because {
    /// The revision that was looked at.
    #[schema(minimum = 1)]
    revision: i32,
    /// For the applicant. It stands in an event, for ever: nothing private.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

impl Because {
    fn reason(&self) -> Result<String, Problem> {
        reason(&self.reason)
    }
}

/// Takes the node. The applicant is a node operator from now on.
#[utoipa::path(
    post,
    path = "/node-applications/{id}/approve",
    operation_id = "approveApplication",
    params(("id" = Uuid, Path, description = "The application."), Key),
    request_body = Approve,
    responses((status = 200, description = "The application.", body = View))
)]
pub(super) async fn approve(
    State(state): State<ApiState>,
    reader: Reader,
    key: Key,
    Path(id): Path<String>,
    Command(body): Command<Approve>,
) -> Result<Response, Problem> {
    let asked = Asked::of(
        reader.user,
        &key,
        "node-applications/approve",
        &(&id, &body),
    )?;
    changed(&state, &reader, &id, &asked, Change::Approve(body.revision)).await
}

/// Refuses the node for good.
#[utoipa::path(
    post,
    path = "/node-applications/{id}/reject",
    operation_id = "rejectApplication",
    params(("id" = Uuid, Path, description = "The application."), Key),
    request_body = Because,
    responses((status = 200, description = "The application.", body = View))
)]
pub(super) async fn reject(
    State(state): State<ApiState>,
    reader: Reader,
    key: Key,
    Path(id): Path<String>,
    Command(body): Command<Because>,
) -> Result<Response, Problem> {
    let asked = Asked::of(reader.user, &key, "node-applications/reject", &(&id, &body))?;
    let change = Change::Reject(body.revision, body.reason()?);
    changed(&state, &reader, &id, &asked, change).await
}

/// Asks for changes. It is the applicant's turn then.
#[utoipa::path(
    post,
    path = "/node-applications/{id}/request-changes",
    operation_id = "requestApplicationChanges",
    params(("id" = Uuid, Path, description = "The application."), Key),
    request_body = Because,
    responses((status = 200, description = "The application.", body = View))
)]
pub(super) async fn request_changes(
    State(state): State<ApiState>,
    reader: Reader,
    key: Key,
    Path(id): Path<String>,
    Command(body): Command<Because>,
) -> Result<Response, Problem> {
    let asked = Asked::of(
        reader.user,
        &key,
        "node-applications/request-changes",
        &(&id, &body),
    )?;
    let change = Change::RequestChanges(body.revision, body.reason()?);
    changed(&state, &reader, &id, &asked, change).await
}
