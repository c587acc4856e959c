//! Deployments: the commands to make, change and end one, and queries about the caller's own.

mod change;

pub(crate) use change::{cancel, update};

use crate::auth::Caller;
use crate::body::Command;
use crate::idempotency::{self, Claim, Fingerprint, Key};
use crate::log::Append;
use crate::payments;
use crate::problem::{Kind, Problem};
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
use projections::deployments::Deployment;
use projections::progress::Position;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The chain keeps no more.
const DATA_LIMIT: usize = 512;
/// More are not listed; the latest come first.
const LISTED: i64 = 100;
/// More public addresses than this no node has to give.
const PUBLIC_IPS: u8 = 16;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateDeployment {
    node_id: NodeId,
    data: String,
    #[serde(default)]
    public_ips: u8,
    solution_provider: Option<u32>,
    purchase_id: Option<PurchaseId>,
    hours: Option<u32>,
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

/// What the account must hold, if the command can be meant.
fn checked(state: &ApiState, command: &CreateDeployment) -> Result<Amount<Tft>, Problem> {
    fits(&command.data)?;
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
    let user = user.to_string();
    let correlation = match purchase {
        Some(purchase) => purchase.to_string(),
        None => deployment.to_string(),
    };
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
        "state": d.state,
        "node_id": d.node_id,
        "twin_id": d.twin_id,
        "purchase_id": d.purchase_id,
        "hash": d.hash,
        "version": d.workload_version,
        "wanted_version": d.wanted_version,
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
    let missing = || Problem::new(Kind::NotFound, "you have no deployment with this id");
    let id = id.parse().map_err(|_| missing())?;
    projections::deployments::get(&state.pool, id)
        .await?
        .filter(|deployment| deployment.user_id == user)
        .ok_or_else(missing)
}
