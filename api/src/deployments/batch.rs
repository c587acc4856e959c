//! Several deployments at once, all or none.

use super::order::{Order, Wanted};
use super::{FIRST, View, balance, belongs, command_of, twin_of, view};
use crate::auth::{Caller, Reader};
use crate::body::Command;
use crate::idempotency::{self, Fingerprint, Key};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::wait::{self, CaughtUp};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::deployments::{BatchMember, BatchRequested};
use events::ids::{BatchId, DeploymentId, PurchaseId};
use projections::deployments::Deployment;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// More are not taken at once.
const MEMBERS: usize = 100;

/// Several deployments, all or none.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateBatch)]
pub(super) struct CreateBatch {
    #[schema(value_type = Vec<Wanted>, min_items = 1, max_items = 100)]
    deployments: Vec<Member>,
    /// One of the caller's own: the deployments wait for its TFT.
    #[schema(value_type = Option<Uuid>)]
    purchase_id: Option<PurchaseId>,
    /// For how long they are to run; the account must hold that much.
    #[schema(minimum = 1)]
    hours: Option<u32>,
}

/// A deployment of a batch, as an object: serde would take an array, too.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Member(Wanted);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Wanted;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a deployment, as an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Wanted, A::Error> {
                Wanted::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Object).map(Self)
    }
}

/// A batch.
#[derive(Serialize, ToSchema)]
#[schema(as = Batch)]
pub(super) struct Batch {
    #[schema(value_type = Uuid)]
    id: BatchId,
    deployments: Vec<View>,
}

/// A batch that was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchAsked)]
struct Asked {
    #[schema(value_type = Uuid)]
    id: BatchId,
    /// Its deployments, in the order of the command.
    #[schema(value_type = Vec<Uuid>)]
    deployment_ids: Vec<DeploymentId>,
    /// As they stand, in the order of their ids; none while the batch is new.
    deployments: Vec<View>,
}

/// Asks for several deployments, all or none.
///
/// Their contracts are created by one transaction.
#[utoipa::path(
    post,
    path = "/deployments/batch",
    operation_id = "createBatch",
    params(Key, wait::Prefer),
    request_body = CreateBatch,
    responses((status = 202, description = "The batch.", body = Asked))
)]
pub(super) async fn create_batch(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    wait::Prefer(patience): wait::Prefer,
    headers: HeaderMap,
    Command(batch): Command<CreateBatch>,
) -> Result<Response, Problem> {
    let count = batch.deployments.len();
    if !(1..=MEMBERS).contains(&count) {
        let detail = format!("a batch has 1 to {MEMBERS} deployments, these are {count}");
        return Err(Problem::field("deployments", detail));
    }
    let fingerprint = Fingerprint::of("deployments/batch", &batch)?;
    let each = balance(&state, batch.hours)?;
    let minimum_balance = each
        .mul_ratio_ceil(u64::try_from(count).unwrap_or(u64::MAX), 1)
        .map_err(|_| Problem::field("hours", "that many hours cannot be paid for"))?;
    let orders = batch.deployments.into_iter().map(|m| m.0.checked());
    let orders = orders.collect::<Result<Vec<Order>, _>>()?;
    let id = BatchId::derive(&[&user.to_string(), key.as_str()]);
    let looked = idempotency::look(&state.pool, user, &key, &fingerprint).await?;
    let twin = twin_of(&state, user).await?;
    if let Some(purchase) = batch.purchase_id {
        belongs(&state, user, purchase).await?;
    }
    let members = orders.into_iter().enumerate().map(|(place, order)| {
        let parts = [&user.to_string(), key.as_str(), &place.to_string()];
        let deployment = DeploymentId::derive(&parts);
        BatchMember {
            deployment_id: deployment,
            kind: order.kind,
            node_id: order.node_id,
            version: FIRST,
            hash: order.hash(&state, deployment),
            name: order.name,
            data: order.data,
            public_ips: order.public_ips,
            solution_provider: order.solution_provider,
            above: 0,
        }
    });
    let requested: Vec<BatchMember> = members.collect();
    let members: Vec<DeploymentId> = requested.iter().map(|m| m.deployment_id).collect();
    let correlation = match batch.purchase_id {
        Some(purchase) => purchase.to_string(),
        None => id.to_string(),
    };
    let event = |at| BatchRequested {
        batch_id: id,
        user_id: user,
        twin_id: twin,
        members: requested,
        waits_for: batch.purchase_id,
        minimum_balance,
        requested_at: at,
    };
    let (claim, position) = looked
        .append_claimed(&state, id.uuid(), |at| {
            command_of(&state, &key, user, correlation, event(at), &headers)
        })
        .await?;
    let read = || async {
        let found = projections::deployments::of_batch(&state.pool, id).await?;
        let all = found.len() == count && found.iter().all(|d| d.state.is_final());
        Ok(all.then_some(found))
    };
    let first = members.first().map_or(id.uuid(), DeploymentId::uuid);
    let shown = match wait::until(&state, first, patience, read).await? {
        Some(shown) => shown,
        None => projections::deployments::of_batch(&state.pool, id).await?,
    };
    let location = [(header::LOCATION, format!("/deployments/batch/{id}"))];
    let body = Asked {
        id,
        deployment_ids: members,
        deployments: views(&shown),
    };
    let response = (StatusCode::ACCEPTED, location, Json(body)).into_response();
    Ok(wait::token(
        idempotency::mark(response, claim.hit),
        Some(&position),
    ))
}

/// Shows a batch.
#[utoipa::path(
    get,
    path = "/deployments/batch/{id}",
    operation_id = "showBatch",
    params(("id" = Uuid, Path, description = "The batch."), CaughtUp),
    responses((status = 200, description = "The batch.", body = Batch))
)]
pub(super) async fn show_batch(
    State(state): State<ApiState>,
    reader: Reader,
    _: CaughtUp,
    Path(id): Path<String>,
) -> Result<Json<Batch>, Problem> {
    let missing = || Problem::new(Kind::NotFound, "you have no batch with this id");
    let id: BatchId = id.parse().map_err(|_| missing())?;
    let found = projections::deployments::of_batch(&state.pool, id).await?;
    if found.first().is_none_or(|d| !reader.may_see(d.user_id)) {
        return Err(missing());
    }
    Ok(Json(Batch {
        id,
        deployments: views(&found),
    }))
}

fn views(deployments: &[Deployment]) -> Vec<View> {
    deployments.iter().map(view).collect()
}
