//! Another workload for a deployment, and its end.

use super::{View, command, correlation, fits, own, view};
use crate::auth::Caller;
use crate::body::Command;
use crate::idempotency::{self, Fingerprint, Key, Looked};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::wait;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::deployments::{DeploymentCancelRequested, DeploymentEvent, DeploymentUpdateRequested};
use events::time::Timestamp;
use projections::deployments::{Deployment, Kind as What, State as Stage};
use projections::timeline;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Another workload.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateDeployment {
    /// The whole workload anew, at most 512 bytes of UTF-8.
    #[schema(max_length = 512)]
    data: String,
}

/// Asks for another workload, as the next version.
#[utoipa::path(
    put,
    path = "/deployments/{id}",
    operation_id = "updateDeployment",
    params(("id" = Uuid, Path, description = "The deployment."), Key, wait::Prefer),
    request_body = UpdateDeployment,
    responses((status = 202, description = "The deployment as it stands.", body = View))
)]
pub(super) async fn update(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    patience: wait::Prefer,
    headers: HeaderMap,
    Path(id): Path<String>,
    Command(update): Command<UpdateDeployment>,
) -> Result<Response, Problem> {
    fits(&update.data)?;
    let deployment = own(&state, user, &id).await?;
    if deployment.kind != What::Node {
        let detail = "only a deployment on a node carries a workload; DELETE ends this one";
        return Err(Problem::new(Kind::NoWorkload, detail));
    }
    let fingerprint = Fingerprint::of("deployments/update", &(deployment.id, &update))?;
    let (id, version) = (deployment.id, deployment.wanted_version.saturating_add(1));
    let change = Change::in_time(&state, &key, deployment, &fingerprint, |stage| {
        stage == Stage::Cancelling || stage.has_ended()
    })
    .await?;
    let hash = (state.deployment_hash)(id, version, &update.data);
    let event = |at| DeploymentUpdateRequested {
        deployment_id: id,
        user_id: user,
        version,
        hash,
        data: update.data,
        requested_at: at,
    };
    change.taken(&state, patience, &headers, event).await
}

/// Asks for the end of a deployment.
///
/// What is under way is awaited, then the contract is cancelled.
#[utoipa::path(
    delete,
    path = "/deployments/{id}",
    operation_id = "cancelDeployment",
    params(("id" = Uuid, Path, description = "The deployment."), Key, wait::Prefer),
    responses((status = 202, description = "The deployment as it stands.", body = View))
)]
pub(super) async fn cancel(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    patience: wait::Prefer,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let deployment = own(&state, user, &id).await?;
    let fingerprint = Fingerprint::of("deployments/cancel", &deployment.id)?;
    let id = deployment.id;
    let change = Change::in_time(&state, &key, deployment, &fingerprint, Stage::has_ended).await?;
    let event = |at| DeploymentCancelRequested {
        deployment_id: id,
        user_id: user,
        requested_at: at,
    };
    change.taken(&state, patience, &headers, event).await
}

/// A command about a deployment that can still be taken.
struct Change<'a> {
    key: &'a Key,
    looked: Looked<'a>,
    deployment: Deployment,
    /// Whether the command came before.
    seen: bool,
}

impl<'a> Change<'a> {
    /// What comes too late is refused, but not the repetition of what came in time.
    async fn in_time(
        state: &ApiState,
        key: &'a Key,
        deployment: Deployment,
        fingerprint: &'a Fingerprint,
        too_late: impl Fn(Stage) -> bool,
    ) -> Result<Self, Problem> {
        let user = deployment.user_id;
        let looked = idempotency::look(&state.pool, user, key, fingerprint).await?;
        let mut seen = looked.first.is_some();
        if !seen && too_late(deployment.state) {
            // What was appended while its key could not be bound came in time, too.
            let about = correlation(deployment.id, deployment.purchase_id);
            seen = timeline::holds(&state.pool, about, key.event_id(user)).await?;
        }
        if !seen && too_late(deployment.state) {
            let detail = format!(
                "the deployment is {}: nothing more can be asked of it; POST /deployments makes another",
                deployment.state.as_str()
            );
            let ended = Problem::new(Kind::DeploymentEnded, detail);
            return Err(ended.with("state", deployment.state.as_str()));
        }
        Ok(Self {
            key,
            looked,
            deployment,
            seen,
        })
    }

    /// Binds and appends the command, and waits for what comes of it.
    async fn taken<E: Into<DeploymentEvent>>(
        self,
        state: &ApiState,
        wait::Prefer(patience): wait::Prefer,
        headers: &HeaderMap,
        event: impl FnOnce(Timestamp) -> E,
    ) -> Result<Response, Problem> {
        let mut shown = self.deployment;
        let (id, user) = (shown.id, shown.user_id);
        let about = (user, id, shown.purchase_id);
        let (claim, position) = self
            .looked
            .append_claimed(state, id.uuid(), |at| {
                command(state, self.key, about, event(at), headers)
            })
            .await?;
        let hit = self.seen || claim.hit;
        if !patience.is_zero() {
            // A repetition changes nothing; the first one was taken in long ago.
            let after = if hit { 0 } else { position.offset };
            let ended = wait::until(state, id.uuid(), patience, || async {
                let found = projections::deployments::get(&state.pool, id).await?;
                Ok(found.filter(|d| d.version >= after && d.state.is_final()))
            })
            .await?;
            let latest = match ended {
                Some(deployment) => Some(deployment),
                None => projections::deployments::get(&state.pool, id).await?,
            };
            shown = latest.unwrap_or(shown);
        }
        let location = [(header::LOCATION, format!("/deployments/{id}"))];
        let response = (StatusCode::ACCEPTED, location, Json(view(&shown))).into_response();
        Ok(wait::token(
            idempotency::mark(response, hit),
            Some(&position),
        ))
    }
}
