//! Deployments: the commands to make, change and end one, and queries about the caller's own.

mod batch;
mod change;
mod order;

use crate::auth::{Caller, Reader};
use crate::body::Command;
use crate::contract::{Routes, one_of};
use crate::idempotency::{self, Fingerprint, Key};
use crate::log::Append;
use crate::page::Page;
use crate::payments;
use crate::problem::{Kind as ProblemKind, Problem};
use crate::state::ApiState;
use crate::trace;
use crate::users;
use crate::wait::{self, CaughtUp};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use events::deployments::{DeploymentEvent, DeploymentRequested};
use events::ids::{BatchId, ContractId, DeploymentId, NodeId, PurchaseId, TwinId, UserId};
use events::money::{Amount, Tft};
use events::time::Timestamp;
use order::{Order, Wanted};
use projections::deployments::{Deployment, Kind, State as Progress, Workload};
use projections::progress::Position;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;
use utoipa_axum::routes;
use uuid::Uuid;

/// The chain keeps no more of a workload.
const DATA_LIMIT: usize = 512;
/// Version of the first workload.
const FIRST: i32 = 1;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(create, list_own))
        .routes(routes!(batch::create_batch))
        .routes(routes!(batch::show_batch))
        .routes(routes!(show, change::update, change::cancel))
}

/// A workload for a node, a name, or a whole node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateDeployment {
    // Told apart by what is written, so that what is not leaves older keys as they are.
    #[serde(default, skip_serializing_if = "Kind::is_node")]
    #[schema(schema_with = kinds)]
    kind: Kind,
    /// Of a workload and of a whole node.
    #[schema(value_type = Option<u32>, minimum = 1)]
    node_id: Option<NodeId>,
    /// Of a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 3, max_length = 64, pattern = "^[a-z0-9-]{3,64}$")]
    name: Option<String>,
    /// The workload of a node, at most 512 bytes of UTF-8.
    #[schema(max_length = 512)]
    data: Option<String>,
    /// Public addresses, of a workload.
    #[serde(default)]
    #[schema(maximum = 16)]
    public_ips: u8,
    solution_provider: Option<u32>,
    /// One of the caller's own: the deployment waits for its TFT.
    #[schema(value_type = Option<Uuid>)]
    purchase_id: Option<PurchaseId>,
    /// For how long it is to run; the account must hold that much.
    #[schema(minimum = 1)]
    hours: Option<u32>,
}

impl CreateDeployment {
    fn wanted(&self) -> Wanted {
        Wanted {
            kind: self.kind,
            node_id: self.node_id,
            name: self.name.clone(),
            data: self.data.clone(),
            public_ips: self.public_ips,
            solution_provider: self.solution_provider,
        }
    }
}

/// Asks for a deployment: a workload on a node, a name, or a whole node.
#[utoipa::path(
    post,
    path = "/deployments",
    operation_id = "createDeployment",
    params(Key, wait::Prefer),
    request_body = CreateDeployment,
    responses((status = 202, description = "The deployment, or its id and state while it is new.", body = Taken))
)]
async fn create(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    wait::Prefer(patience): wait::Prefer,
    headers: HeaderMap,
    Command(command): Command<CreateDeployment>,
) -> Result<Response, Problem> {
    let order = command.wanted().checked()?;
    let minimum_balance = balance(&state, command.hours)?;
    let fingerprint = Fingerprint::of("deployments", &command)?;
    let id = DeploymentId::derive(&[&user.to_string(), key.as_str()]);
    // Whoever has asked for it before still has the twin and the purchase.
    let twin = twin_of(&state, user).await?;
    if let Some(purchase) = command.purchase_id {
        belongs(&state, user, purchase).await?;
    }
    let looked = idempotency::look(&state.pool, user, &key, &fingerprint).await?;
    let (claim, position) = looked
        .append_claimed(&state, id.uuid(), |at| {
            let about = (id, user, twin);
            let event = requested(
                &state,
                about,
                order,
                command.purchase_id,
                minimum_balance,
                at,
            );
            append(&state, &key, event, &headers)
        })
        .await?;
    let known = if claim.hit {
        projections::deployments::get(&state.pool, id).await?
    } else {
        None
    };
    let finished = |d: Option<Deployment>| d.filter(|d| d.state.is_final());
    let deployment = match finished(known.clone()) {
        Some(deployment) => Some(deployment),
        None if patience.is_zero() => known,
        None => {
            let ended = wait::until(&state, id.uuid(), patience, || async {
                Ok(finished(
                    projections::deployments::get(&state.pool, id).await?,
                ))
            })
            .await?;
            match ended {
                Some(deployment) => Some(deployment),
                None => projections::deployments::get(&state.pool, id).await?,
            }
        }
    };
    let location = [(header::LOCATION, format!("/deployments/{id}"))];
    let accepted = StatusCode::ACCEPTED;
    let response = if let Some(deployment) = &deployment {
        (accepted, location, Json(view(deployment))).into_response()
    } else {
        let state = Progress::Requested;
        (accepted, location, Json(Asked { id, state })).into_response()
    };
    Ok(wait::token(
        idempotency::mark(response, claim.hit),
        Some(&position),
    ))
}

/// Refuses data that no contract can carry.
fn fits(data: &str) -> Result<(), Problem> {
    if data.len() <= DATA_LIMIT {
        return Ok(());
    }
    Err(Problem::field(
        "data",
        format!(
            "the chain keeps at most {DATA_LIMIT} bytes, these are {}",
            data.len()
        ),
    ))
}

/// What the account must hold for a deployment.
fn balance(state: &ApiState, hours: Option<u32>) -> Result<Amount<Tft>, Problem> {
    if hours == Some(0) {
        return Err(Problem::field(
            "hours",
            "a deployment runs for at least an hour",
        ));
    }
    state
        .terms
        .deployment_balance(hours)
        .map_err(|_| Problem::field("hours", "that many hours cannot be paid for"))
}

async fn twin_of(state: &ApiState, user: UserId) -> Result<TwinId, Problem> {
    users::twin(state, user).await?.id().ok_or_else(|| {
        Problem::new(
            ProblemKind::NoTwinYet,
            "only a twin can hold a deployment; POST /users makes one, GET /users/me shows it",
        )
        .with("next", "POST /users")
    })
}

/// Refuses a purchase that is not the caller's. One that was made a moment ago counts, although
/// the read models may not show it yet.
async fn belongs(state: &ApiState, user: UserId, purchase: PurchaseId) -> Result<(), Problem> {
    for route in [payments::ROUTE, payments::PURCHASES] {
        if idempotency::made(&state.pool, user, route, purchase.uuid()).await? {
            return Ok(());
        }
    }
    let found = projections::purchases::get(&state.pool, purchase).await?;
    if found.is_some_and(|p| p.user_id == user) {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::UnknownPurchase,
        "you have no purchase with this id",
    )
    .with("field", "purchase_id"))
}

fn requested(
    state: &ApiState,
    (id, user, twin): (DeploymentId, UserId, TwinId),
    order: Order,
    waits_for: Option<PurchaseId>,
    minimum_balance: Amount<Tft>,
    at: Timestamp,
) -> DeploymentRequested {
    DeploymentRequested {
        deployment_id: id,
        user_id: user,
        twin_id: twin,
        node_id: order.node_id,
        version: FIRST,
        hash: order.hash(state, id),
        data: order.data,
        public_ips: order.public_ips,
        solution_provider: order.solution_provider,
        waits_for,
        minimum_balance,
        requested_at: at,
        kind: order.kind,
        name: order.name,
    }
}

async fn append(
    state: &ApiState,
    key: &Key,
    event: DeploymentRequested,
    headers: &HeaderMap,
) -> Result<Position, Problem> {
    let (user, deployment, purchase) = (event.user_id, event.deployment_id, event.waits_for);
    command(state, key, (user, deployment, purchase), event, headers).await
}

/// Appends a command about a deployment.
async fn command(
    state: &ApiState,
    key: &Key,
    (user, deployment, purchase): (UserId, DeploymentId, Option<PurchaseId>),
    event: impl Into<DeploymentEvent>,
    headers: &HeaderMap,
) -> Result<Position, Problem> {
    let about = correlation(deployment, purchase).to_string();
    command_of(state, key, user, about, event, headers).await
}

/// What the events of a deployment belong to.
fn correlation(deployment: DeploymentId, purchase: Option<PurchaseId>) -> Uuid {
    purchase.map_or(deployment.uuid(), |purchase| purchase.uuid())
}

/// Appends a command of a user.
async fn command_of(
    state: &ApiState,
    key: &Key,
    user: UserId,
    correlation: String,
    event: impl Into<DeploymentEvent>,
    headers: &HeaderMap,
) -> Result<Position, Problem> {
    let append = Append {
        key: user.to_string(),
        id: key.event_id(user),
        correlation,
        trace: trace::of(headers),
        time: state.now(),
        event: event.into(),
    };
    Ok(state.log.append(append).await?)
}

fn kinds() -> Object {
    one_of(&Kind::ALL.map(Kind::as_str))
}

fn progress() -> Object {
    one_of(&Progress::ALL.map(Progress::as_str))
}

fn workloads() -> Object {
    one_of(&Workload::ALL.map(Workload::as_str))
}

/// A deployment.
#[derive(Serialize, ToSchema)]
#[schema(as = Deployment)]
struct View {
    #[schema(value_type = Uuid)]
    id: DeploymentId,
    #[schema(schema_with = kinds)]
    kind: Kind,
    /// The name, of a name.
    name: Option<String>,
    /// The batch that it was made in.
    #[schema(value_type = Option<Uuid>)]
    batch_id: Option<BatchId>,
    #[schema(schema_with = progress)]
    state: Progress,
    /// 0 for a name.
    node_id: u32,
    /// The twin that holds the contract.
    twin_id: u32,
    /// The purchase whose TFT it waits for.
    #[schema(value_type = Option<Uuid>)]
    purchase_id: Option<PurchaseId>,
    /// Hash of the workload, 64 hex digits; empty without one.
    hash: String,
    /// Version of that workload.
    version: i32,
    /// The highest version that was asked for.
    wanted_version: i32,
    /// What the node has said of the workload.
    #[schema(schema_with = workloads)]
    workload: Workload,
    /// The contract.
    #[schema(value_type = Option<u64>)]
    contract_id: Option<ContractId>,
    /// Hash of the extrinsic.
    extrinsic: Option<String>,
    /// TFChain block of the contract.
    block: Option<i64>,
    /// TFT that the chain has taken for it, decimal with seven places.
    billed_tft: String,
    /// TFChain block since which there is no money for it.
    grace_since_block: Option<i64>,
    /// Why it failed, or the latest attempt did.
    reason: Option<String>,
    detail: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A deployment that was just asked for. It has nothing else, so that it is told from a whole one.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeploymentAsked)]
struct Asked {
    #[schema(value_type = Uuid)]
    id: DeploymentId,
    #[schema(schema_with = progress)]
    state: Progress,
}

/// What a command is answered: the deployment, or its id and state while it is new.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it only stands in the contract")]
enum Taken {
    Shown(Box<View>),
    Asked(Asked),
}

/// A page of deployments, the latest first.
#[derive(Serialize, ToSchema)]
struct Deployments {
    deployments: Vec<View>,
    /// Whether more follow after the last one.
    has_more: bool,
}

fn view(d: &Deployment) -> View {
    View {
        id: d.id,
        kind: d.kind,
        name: d.name.clone(),
        batch_id: d.batch_id,
        state: d.state,
        node_id: d.node_id.0,
        twin_id: d.twin_id.0,
        purchase_id: d.purchase_id,
        hash: d.hash.clone(),
        version: d.workload_version,
        wanted_version: d.wanted_version,
        workload: d.workload,
        contract_id: d.contract_id,
        extrinsic: d.extrinsic.clone(),
        block: d.block,
        billed_tft: d.billed.to_string(),
        grace_since_block: d.grace_since,
        reason: d.reason.clone(),
        detail: d.detail.clone(),
        created_at: d.created_at,
        updated_at: d.updated_at,
    }
}

/// Lists deployments, the latest first.
#[utoipa::path(
    get,
    path = "/deployments",
    operation_id = "listDeployments",
    params(Page, CaughtUp),
    responses((status = 200, description = "A page.", body = Deployments))
)]
async fn list_own(
    State(state): State<ApiState>,
    reader: Reader,
    page: Page,
    _: CaughtUp,
) -> Result<Json<Deployments>, Problem> {
    let after = page.after.map(DeploymentId::from_uuid);
    if let Some(id) = after {
        projections::deployments::get(&state.pool, id)
            .await?
            .filter(|row| {
                page.owner
                    .map_or(reader.sees_all(), |owner| owner == row.user_id)
            })
            .ok_or_else(Page::<Uuid>::no_such_row)?;
    }
    let mut rows =
        projections::deployments::list(&state.pool, page.owner, after, page.limit + 1).await?;
    let has_more = page.cut(&mut rows);
    Ok(Json(Deployments {
        deployments: rows.iter().map(view).collect(),
        has_more,
    }))
}

/// Shows a deployment.
#[utoipa::path(
    get,
    path = "/deployments/{id}",
    operation_id = "showDeployment",
    params(("id" = Uuid, Path, description = "The deployment."), CaughtUp),
    responses((status = 200, description = "The deployment.", body = View))
)]
async fn show(
    State(state): State<ApiState>,
    reader: Reader,
    _: CaughtUp,
    Path(id): Path<String>,
) -> Result<Json<View>, Problem> {
    let deployment = find(&state, &id).await?;
    let seen = deployment.filter(|deployment| reader.may_see(deployment.user_id));
    seen.map(|d| Json(view(&d))).ok_or_else(missing)
}

/// A deployment of the caller's.
async fn own(state: &ApiState, user: UserId, id: &str) -> Result<Deployment, Problem> {
    let deployment = find(state, id).await?;
    deployment.filter(|d| d.user_id == user).ok_or_else(missing)
}

async fn find(state: &ApiState, id: &str) -> Result<Option<Deployment>, Problem> {
    let id = id.parse().map_err(|_| missing())?;
    Ok(projections::deployments::get(&state.pool, id).await?)
}

fn missing() -> Problem {
    Problem::new(ProblemKind::NotFound, "you have no deployment with this id")
}
