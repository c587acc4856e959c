//! Deployments: the command to make one, and queries about the caller's own.

use crate::auth::{Caller, Reader};
use crate::body::Command;
use crate::contract::{Routes, one_of};
use crate::idempotency::{self, Claim, Fingerprint, Key};
use crate::log::Append;
use crate::page::Page;
use crate::payments;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::trace;
use crate::wait::{self, CaughtUp};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use events::deployments::{DeploymentEvent, DeploymentRequested};
use events::ids::{ContractId, DeploymentId, EventId, NodeId, PurchaseId, TwinId, UserId};
use events::money::{Amount, Tft};
use projections::deployments::{Deployment, State as Progress};
use projections::progress::Position;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;
use utoipa_axum::routes;
use uuid::Uuid;

/// The chain keeps no more.
const DATA_LIMIT: usize = 512;
/// More public addresses than this no node has to give.
const PUBLIC_IPS: u8 = 16;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(create, list_own))
        .routes(routes!(show))
}

/// A workload for a node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateDeployment {
    #[schema(value_type = u32, minimum = 1)]
    node_id: NodeId,
    /// The workload, at most 512 bytes of UTF-8.
    #[schema(max_length = 512)]
    data: String,
    /// Public addresses.
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

/// Asks for a deployment.
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
    let minimum_balance = checked(&state, &command)?;
    let fingerprint = Fingerprint::of("deployments", &command)?;
    let id = DeploymentId::derive(&[&user.to_string(), key.as_str()]);
    let seen = idempotency::look(&state.pool, user, &key, &fingerprint).await?;
    let known = match seen {
        Some(_) => projections::deployments::get(&state.pool, id).await?,
        None => None,
    };
    let (hit, position) = if known.is_some() {
        (true, None)
    } else {
        let twin = twin_of(&state, user).await?;
        if let Some(purchase) = command.purchase_id {
            belongs(&state, user, purchase).await?;
        }
        let claim = idempotency::claim(
            &state.pool,
            user,
            &key,
            &fingerprint,
            id.uuid(),
            state.now(),
        )
        .await?;
        let event = requested(&state, (id, user, twin), &command, minimum_balance, claim);
        let position = append(&state, &key, event, &headers).await?;
        (claim.hit, Some(position))
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
        idempotency::mark(response, hit),
        position.as_ref(),
    ))
}

/// What the account must hold, if the command can be meant.
fn checked(state: &ApiState, command: &CreateDeployment) -> Result<Amount<Tft>, Problem> {
    if command.data.len() > DATA_LIMIT {
        return Err(Problem::field(
            "data",
            format!(
                "the chain keeps at most {DATA_LIMIT} bytes, these are {}",
                command.data.len()
            ),
        ));
    }
    if command.node_id.0 == 0 {
        return Err(Problem::field("node_id", "nodes count from 1"));
    }
    if command.public_ips > PUBLIC_IPS {
        return Err(Problem::field(
            "public_ips",
            format!("at most {PUBLIC_IPS} public addresses can be had"),
        ));
    }
    if command.hours == Some(0) {
        return Err(Problem::field(
            "hours",
            "a deployment runs for at least an hour",
        ));
    }
    state
        .terms
        .deployment_balance(command.hours)
        .map_err(|_| Problem::field("hours", "that many hours cannot be paid for"))
}

async fn twin_of(state: &ApiState, user: UserId) -> Result<TwinId, Problem> {
    projections::users::get(&state.pool, user)
        .await?
        .and_then(|user| user.twin_id)
        .ok_or_else(|| {
            Problem::new(
                Kind::NoTwinYet,
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
    Err(
        Problem::new(Kind::UnknownPurchase, "you have no purchase with this id")
            .with("field", "purchase_id"),
    )
}

fn requested(
    state: &ApiState,
    (id, user, twin): (DeploymentId, UserId, TwinId),
    command: &CreateDeployment,
    minimum_balance: Amount<Tft>,
    claim: Claim,
) -> DeploymentRequested {
    let version = 1;
    DeploymentRequested {
        deployment_id: id,
        user_id: user,
        twin_id: twin,
        node_id: command.node_id,
        version,
        data: command.data.clone(),
        hash: (state.deployment_hash)(id, version, &command.data),
        public_ips: i32::from(command.public_ips),
        solution_provider: command.solution_provider.map(i64::from),
        waits_for: command.purchase_id,
        minimum_balance,
        requested_at: claim.at,
    }
}

async fn append(
    state: &ApiState,
    key: &Key,
    event: DeploymentRequested,
    headers: &HeaderMap,
) -> Result<Position, Problem> {
    let user = event.user_id.to_string();
    let correlation = match event.waits_for {
        Some(purchase) => purchase.to_string(),
        None => event.deployment_id.to_string(),
    };
    let append = Append {
        key: user.clone(),
        id: EventId::derive(&["command", &user, key.as_str()]),
        correlation,
        trace: trace::of(headers),
        time: state.now(),
        event: DeploymentEvent::from(event),
    };
    Ok(state.log.append(append).await?)
}

fn progress() -> Object {
    one_of(&Progress::ALL.map(Progress::as_str))
}

/// A deployment.
#[derive(Serialize, ToSchema)]
#[schema(as = Deployment)]
struct View {
    #[schema(value_type = Uuid)]
    id: DeploymentId,
    #[schema(schema_with = progress)]
    state: Progress,
    node_id: u32,
    /// The twin that holds the contract.
    twin_id: u32,
    /// The purchase whose TFT it waits for.
    #[schema(value_type = Option<Uuid>)]
    purchase_id: Option<PurchaseId>,
    /// Hash of the workload, 64 hex digits.
    hash: String,
    /// The node contract.
    #[schema(value_type = Option<u64>)]
    contract_id: Option<ContractId>,
    /// Hash of the extrinsic.
    extrinsic: Option<String>,
    /// TFChain block of the contract.
    block: Option<i64>,
    /// Why it failed, or the latest attempt did.
    reason: Option<String>,
    detail: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A deployment that was just asked for.
#[derive(Serialize, ToSchema)]
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
        state: d.state,
        node_id: d.node_id.0,
        twin_id: d.twin_id.0,
        purchase_id: d.purchase_id,
        hash: d.hash.clone(),
        contract_id: d.contract_id,
        extrinsic: d.extrinsic.clone(),
        block: d.block,
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
    let missing = || Problem::new(Kind::NotFound, "you have no deployment with this id");
    let id = id.parse().map_err(|_| missing())?;
    let deployment = projections::deployments::get(&state.pool, id)
        .await?
        .filter(|deployment| reader.may_see(deployment.user_id))
        .ok_or_else(missing)?;
    Ok(Json(view(&deployment)))
}
