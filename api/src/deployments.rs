//! Deployments: the commands to make, change and end one, and queries about the caller's own.

mod batch;
mod change;
mod order;

pub(crate) use batch::{create as create_batch, show as show_batch};
pub(crate) use change::{cancel, update};

use crate::auth::Caller;
use crate::body::Command;
use crate::idempotency::{self, Fingerprint, Key};
use crate::log::Append;
use crate::payments;
use crate::problem::{Kind as ProblemKind, Problem};
use crate::state::ApiState;
use crate::trace;
use crate::wait::{self, CaughtUp};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::deployments::{DeploymentEvent, DeploymentRequested};
use events::ids::{DeploymentId, EventId, NodeId, PurchaseId, TwinId, UserId};
use events::money::{Amount, Tft};
use events::time::Timestamp;
use order::{Order, Wanted};
use projections::deployments::{Deployment, Kind};
use projections::progress::Position;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The chain keeps no more of a workload.
const DATA_LIMIT: usize = 512;
/// More are not listed; the latest come first.
const LISTED: i64 = 100;
/// Version of the first workload.
const FIRST: i32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateDeployment {
    // Told apart by what is written, so that what is not leaves older keys as they are.
    #[serde(default, skip_serializing_if = "Kind::is_node")]
    kind: Kind,
    node_id: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    data: Option<String>,
    #[serde(default)]
    public_ips: u8,
    solution_provider: Option<u32>,
    purchase_id: Option<PurchaseId>,
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

/// `POST /deployments`
pub(crate) async fn create(
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
        let about = (id, user, twin);
        let (waits_for, at) = (command.purchase_id, claim.at);
        let event = requested(&state, about, order, waits_for, minimum_balance, at);
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
    let body = match &deployment {
        Some(deployment) => view(deployment),
        None => json!({ "id": id, "state": projections::deployments::State::Requested }),
    };
    let response = (StatusCode::ACCEPTED, location, Json(body)).into_response();
    Ok(wait::token(
        idempotency::mark(response, hit),
        position.as_ref(),
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
    projections::users::get(&state.pool, user)
        .await?
        .and_then(|user| user.twin_id)
        .ok_or_else(|| {
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
    let correlation = match purchase {
        Some(purchase) => purchase.to_string(),
        None => deployment.to_string(),
    };
    command_of(state, key, user, correlation, event, headers).await
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
    let user = user.to_string();
    let append = Append {
        key: user.clone(),
        id: EventId::derive(&["command", &user, key.as_str()]),
        correlation,
        trace: trace::of(headers),
        time: state.now(),
        event: event.into(),
    };
    Ok(state.log.append(append).await?)
}

fn view(d: &Deployment) -> Value {
    json!({
        "id": d.id,
        "kind": d.kind,
        "name": d.name,
        "batch_id": d.batch_id,
        "state": d.state,
        "node_id": d.node_id,
        "twin_id": d.twin_id,
        "purchase_id": d.purchase_id,
        "hash": d.hash,
        "version": d.workload_version,
        "wanted_version": d.wanted_version,
        "workload": d.workload,
        "contract_id": d.contract_id,
        "extrinsic": d.extrinsic,
        "block": d.block,
        "billed_tft": d.billed.to_string(),
        "grace_since_block": d.grace_since,
        "reason": d.reason,
        "detail": d.detail,
        "created_at": d.created_at,
        "updated_at": d.updated_at,
    })
}

/// `GET /deployments`
pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
) -> Result<Json<Value>, Problem> {
    let deployments = projections::deployments::list(&state.pool, user, LISTED).await?;
    let views: Vec<Value> = deployments.iter().map(view).collect();
    Ok(Json(json!({ "deployments": views })))
}

/// `GET /deployments/{id}`
pub(crate) async fn show(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    own(&state, user, &id).await.map(|d| Json(view(&d)))
}

/// A deployment of the caller's.
async fn own(state: &ApiState, user: UserId, id: &str) -> Result<Deployment, Problem> {
    let missing = || Problem::new(ProblemKind::NotFound, "you have no deployment with this id");
    let id = id.parse().map_err(|_| missing())?;
    projections::deployments::get(&state.pool, id)
        .await?
        .filter(|deployment| deployment.user_id == user)
        .ok_or_else(missing)
}
