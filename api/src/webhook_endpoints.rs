//! Webhooks that a person registers, by Standard Webhooks.

use crate::auth::Caller;
use crate::body::Command;
use crate::contract::{Routes, one_of};
use crate::idempotency::{self, Fingerprint, Key};
use crate::notifications::{self, Notifications, append};
use crate::page::Page;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::wait::{self, CaughtUp};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use events::ids::{EndpointId, NotificationId, UserId};
use events::notifications::{
    ResendRequested, WebhookEndpointAdded, WebhookEndpointEnabled, WebhookEndpointRemoved,
};
use events::time::Timestamp;
use projections::notifications::EndpointState;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;
use utoipa_axum::routes;

/// Endpoints that one person may have.
const MOST: i64 = 10;
/// How long the secret before a rotation signs, too.
const OVERLAP: TimeDelta = TimeDelta::hours(24);
const LONGEST_DESCRIPTION: usize = 200;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, add))
        .routes(routes!(show, remove))
        .routes(routes!(rotate))
        .routes(routes!(enable))
        .routes(routes!(deliveries))
        .routes(routes!(resend))
}

/// A row of the API's own.
#[derive(Debug, Clone)]
struct Endpoint {
    id: EndpointId,
    url: String,
    description: String,
    generation: i32,
    previous_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    removed: bool,
}

impl FromRow<'_, PgRow> for Endpoint {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let removed: Option<DateTime<Utc>> = row.try_get("removed_at")?;
        Ok(Self {
            id: EndpointId::from_uuid(row.try_get("id")?),
            url: row.try_get("url")?,
            description: row.try_get("description")?,
            generation: row.try_get("generation")?,
            previous_until: row.try_get("previous_until")?,
            created_at: row.try_get("created_at")?,
            removed: removed.is_some(),
        })
    }
}

fn states() -> Object {
    one_of(&["active", "disabled"])
}

/// A webhook endpoint.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookEndpoint)]
struct View {
    #[schema(value_type = Uuid)]
    id: EndpointId,
    url: String,
    description: String,
    #[schema(schema_with = states)]
    state: String,
    /// Why it is disabled: `failing` for five days, or `gone` (the receiver answered 410).
    reason: Option<String>,
    failing_since: Option<DateTime<Utc>>,
    /// Until then the secret before the last rotation signs, too.
    previous_secret_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// What its webhooks are signed with, `whsec_…`. Shown when it is made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    secret: Option<String>,
}

/// The caller's endpoints, the oldest first.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookEndpoints)]
struct Endpoints {
    endpoints: Vec<View>,
}

fn view(row: &Endpoint, known: Option<&EndpointState>, now: DateTime<Utc>) -> View {
    let disabled = known.filter(|known| known.state == "disabled");
    View {
        id: row.id,
        url: row.url.clone(),
        description: row.description.clone(),
        state: if disabled.is_some() {
            "disabled".to_owned()
        } else {
            "active".to_owned()
        },
        reason: disabled.and_then(|known| known.reason.clone()),
        failing_since: disabled.and_then(|known| known.failing_since),
        previous_secret_until: row.previous_until.filter(|until| *until > now),
        created_at: row.created_at,
        secret: None,
    }
}

/// The caller's endpoint; what is another's cannot be told from what does not exist.
async fn own(state: &ApiState, user: UserId, id: &str) -> Result<Endpoint, Problem> {
    let missing = || Problem::new(Kind::NotFound, "you have no webhook endpoint with this id");
    let id: EndpointId = id.parse().map_err(|_| missing())?;
    sqlx::query_as("SELECT * FROM webhook_endpoints WHERE id = $1 AND user_id = $2")
        .bind(id.uuid())
        .bind(user.uuid())
        .fetch_optional(&state.pool)
        .await?
        .ok_or_else(missing)
}

/// The same, if it was not removed.
async fn standing(state: &ApiState, user: UserId, id: &str) -> Result<Endpoint, Problem> {
    let endpoint = own(state, user, id).await?;
    if endpoint.removed {
        let detail = "you have no webhook endpoint with this id";
        return Err(Problem::new(Kind::NotFound, detail));
    }
    Ok(endpoint)
}

async fn shown(state: &ApiState, row: &Endpoint) -> Result<View, sqlx::Error> {
    let known = projections::notifications::endpoints(&state.pool, &[row.id]).await?;
    Ok(view(row, known.first(), state.datetime()))
}

/// Answers that hold a secret are kept by nobody.
fn with_secret(state: &ApiState, mut view: View, generation: i32) -> Response {
    let secret = (state.notices.webhook_secret)(view.id, generation);
    let location = format!("/webhook-endpoints/{}", view.id);
    view.secret = Some(secret);
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (StatusCode::ACCEPTED, headers, Json(view)).into_response()
}

fn accepted(view: View) -> Response {
    let location = [(header::LOCATION, format!("/webhook-endpoints/{}", view.id))];
    (StatusCode::ACCEPTED, location, Json(view)).into_response()
}

/// Lists the caller's webhook endpoints, the oldest first.
#[utoipa::path(
    get,
    path = "/webhook-endpoints",
    operation_id = "listWebhookEndpoints",
    params(CaughtUp),
    responses((status = 200, description = "All of them.", body = Endpoints))
)]
async fn list(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
) -> Result<Json<Endpoints>, Problem> {
    let rows: Vec<Endpoint> = sqlx::query_as(
        "SELECT * FROM webhook_endpoints WHERE user_id = $1 AND removed_at IS NULL
          ORDER BY created_at, id",
    )
    .bind(user.uuid())
    .fetch_all(&state.pool)
    .await?;
    let ids: Vec<EndpointId> = rows.iter().map(|row| row.id).collect();
    let known = projections::notifications::endpoints(&state.pool, &ids).await?;
    let now = state.datetime();
    let endpoints = rows
        .iter()
        .map(|row| view(row, known.iter().find(|k| k.id == row.id), now))
        .collect();
    Ok(Json(Endpoints { endpoints }))
}

/// Shows a webhook endpoint.
#[utoipa::path(
    get,
    path = "/webhook-endpoints/{id}",
    operation_id = "showWebhookEndpoint",
    params(("id" = Uuid, Path, description = "The endpoint."), CaughtUp),
    responses((status = 200, description = "The endpoint.", body = View))
)]
async fn show(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
    Path(id): Path<String>,
) -> Result<Json<View>, Problem> {
    let endpoint = standing(&state, user, &id).await?;
    Ok(Json(shown(&state, &endpoint).await?))
}

/// An address that is to be told.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddEndpoint {
    /// `https://…`, reachable from anywhere.
    #[schema(max_length = 2048)]
    url: String,
    /// For its owner.
    #[serde(default)]
    #[schema(max_length = 200)]
    description: String,
}

/// Nothing is asked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Nothing)]
pub(crate) struct Nothing {}

/// Registers a webhook endpoint; the answer shows its secret, and nothing does again.
///
/// What is sent there is signed by Standard Webhooks. Redirects are not followed, and addresses
/// that are not public are refused.
#[utoipa::path(
    post,
    path = "/webhook-endpoints",
    operation_id = "addWebhookEndpoint",
    params(Key),
    request_body = AddEndpoint,
    responses((status = 202, description = "The endpoint with its secret.", body = View))
)]
async fn add(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    headers: HeaderMap,
    Command(wish): Command<AddEndpoint>,
) -> Result<Response, Problem> {
    (state.notices.endpoint_url)(&wish.url).map_err(|why| Problem::field("url", why))?;
    if wish.description.chars().count() > LONGEST_DESCRIPTION
        || wish.description.contains(char::is_control)
    {
        let detail = "at most 200 characters, on one line";
        return Err(Problem::field("description", detail));
    }
    let fingerprint = Fingerprint::of("webhook-endpoints", &wish)?;
    let id = EndpointId::derive(&[&user.to_string(), key.as_str()]);
    let pool = &state.pool;
    let looked = idempotency::look(pool, user, &key, &fingerprint).await?;
    if looked.first.is_none() {
        let count =
            "SELECT count(*) FROM webhook_endpoints WHERE user_id = $1 AND removed_at IS NULL";
        let there: i64 = sqlx::query_scalar(count)
            .bind(user.uuid())
            .fetch_one(pool)
            .await?;
        if there >= MOST {
            let detail = format!("a person has at most {MOST} webhook endpoints; DELETE one first");
            return Err(Problem::new(Kind::TooManyEndpoints, detail));
        }
    }
    let now = state.now();
    let claim = idempotency::claim(&state, user, &key, &fingerprint, id.uuid(), now).await?;
    sqlx::query(
        "INSERT INTO webhook_endpoints (id, user_id, url, description, created_at)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(id.uuid())
    .bind(user.uuid())
    .bind(&wish.url)
    .bind(&wish.description)
    .bind(claim.at.to_datetime().unwrap_or_default())
    .execute(pool)
    .await?;
    let event = WebhookEndpointAdded {
        user_id: user,
        endpoint_id: id,
        added_at: claim.at,
    };
    let position = append(&state, user, &key, &headers, event).await?;
    let endpoint = own(&state, user, &id.to_string()).await?;
    let response = with_secret(&state, shown(&state, &endpoint).await?, endpoint.generation);
    let response = idempotency::mark(response, claim.hit);
    Ok(wait::token(response, Some(&position)))
}

/// Removes a webhook endpoint; what was on its way there is given up.
#[utoipa::path(
    delete,
    path = "/webhook-endpoints/{id}",
    operation_id = "removeWebhookEndpoint",
    params(("id" = Uuid, Path, description = "The endpoint."), Key),
    responses((status = 202, description = "The endpoint as it was.", body = View))
)]
async fn remove(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let endpoint = own(&state, user, &id).await?;
    let fingerprint = Fingerprint::of("webhook-endpoints/remove", &endpoint.id)?;
    let looked = idempotency::look(&state.pool, user, &key, &fingerprint).await?;
    if endpoint.removed && looked.first.is_none() {
        let detail = "you have no webhook endpoint with this id";
        return Err(Problem::new(Kind::NotFound, detail));
    }
    let (hit, at) = claimed(&state, user, &key, &endpoint, &fingerprint).await?;
    let event = WebhookEndpointRemoved {
        user_id: user,
        endpoint_id: endpoint.id,
        removed_at: at,
    };
    let position = append(&state, user, &key, &headers, event).await?;
    sqlx::query(
        "UPDATE webhook_endpoints SET removed_at = $2, url = '', description = ''
          WHERE id = $1 AND removed_at IS NULL",
    )
    .bind(endpoint.id.uuid())
    .bind(at.to_datetime().unwrap_or_default())
    .execute(&state.pool)
    .await?;
    let response = accepted(shown(&state, &endpoint).await?);
    let response = idempotency::mark(response, hit);
    Ok(wait::token(response, Some(&position)))
}

/// Binds the key to the command; gives whether it was before, and since when.
async fn claimed(
    state: &ApiState,
    user: UserId,
    key: &Key,
    endpoint: &Endpoint,
    fingerprint: &Fingerprint,
) -> Result<(bool, Timestamp), Problem> {
    let (id, now) = (endpoint.id.uuid(), state.now());
    let claim = idempotency::claim(state, user, key, fingerprint, id, now).await?;
    Ok((claim.hit, claim.at))
}

/// Gives an endpoint another secret; the answer shows it, and nothing does again.
///
/// For a day each webhook is signed with both.
#[utoipa::path(
    post,
    path = "/webhook-endpoints/{id}/rotate-secret",
    operation_id = "rotateWebhookSecret",
    params(("id" = Uuid, Path, description = "The endpoint."), Key),
    request_body = Nothing,
    responses((status = 202, description = "The endpoint with its new secret.", body = View))
)]
async fn rotate(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    Path(id): Path<String>,
    Command(Nothing {}): Command<Nothing>,
) -> Result<Response, Problem> {
    let endpoint = standing(&state, user, &id).await?;
    let fingerprint = Fingerprint::of("webhook-endpoints/rotate", &endpoint.id)?;
    let (hit, _) = claimed(&state, user, &key, &endpoint, &fingerprint).await?;
    let mut tx = state.pool.begin().await?;
    let new = sqlx::query(
        "INSERT INTO webhook_rotations (endpoint_id, command) VALUES ($1, $2)
         ON CONFLICT DO NOTHING",
    )
    .bind(endpoint.id.uuid())
    .bind(key.event_id(user).uuid())
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if new == 1 {
        sqlx::query(
            "UPDATE webhook_endpoints SET generation = generation + 1, previous_until = $2
              WHERE id = $1",
        )
        .bind(endpoint.id.uuid())
        .bind(state.datetime() + OVERLAP)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    let endpoint = own(&state, user, &id).await?;
    let response = with_secret(&state, shown(&state, &endpoint).await?, endpoint.generation);
    Ok(idempotency::mark(response, hit))
}

/// Enables an endpoint that was disabled.
///
/// What it missed is not sent by itself: each can be sent again.
#[utoipa::path(
    post,
    path = "/webhook-endpoints/{id}/enable",
    operation_id = "enableWebhookEndpoint",
    params(("id" = Uuid, Path, description = "The endpoint."), Key),
    request_body = Nothing,
    responses((status = 202, description = "The endpoint as it stands.", body = View))
)]
async fn enable(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    headers: HeaderMap,
    Path(id): Path<String>,
    Command(Nothing {}): Command<Nothing>,
) -> Result<Response, Problem> {
    let endpoint = standing(&state, user, &id).await?;
    let fingerprint = Fingerprint::of("webhook-endpoints/enable", &endpoint.id)?;
    let (hit, at) = claimed(&state, user, &key, &endpoint, &fingerprint).await?;
    let event = WebhookEndpointEnabled {
        user_id: user,
        endpoint_id: endpoint.id,
        enabled_at: at,
    };
    let position = append(&state, user, &key, &headers, event).await?;
    let response = accepted(shown(&state, &endpoint).await?);
    let response = idempotency::mark(response, hit);
    Ok(wait::token(response, Some(&position)))
}

/// Lists what was sent to an endpoint, with every attempt, the latest first.
#[utoipa::path(
    get,
    path = "/webhook-endpoints/{id}/deliveries",
    operation_id = "listWebhookDeliveries",
    params(("id" = Uuid, Path, description = "The endpoint."), Page, CaughtUp),
    responses((status = 200, description = "A page.", body = Notifications))
)]
async fn deliveries(
    State(state): State<ApiState>,
    Caller(user): Caller,
    page: Page,
    _: CaughtUp,
    Path(id): Path<String>,
) -> Result<Json<Notifications>, Problem> {
    let endpoint = standing(&state, user, &id).await?;
    notifications::page(&state, &page, Some(endpoint.id)).await
}

/// Sends a webhook again, under its `webhook-id`.
///
/// One that waits for its next attempt gets it now.
#[utoipa::path(
    post,
    path = "/webhook-endpoints/{id}/deliveries/{delivery}/resend",
    operation_id = "resendWebhook",
    params(
        ("id" = Uuid, Path, description = "The endpoint."),
        ("delivery" = Uuid, Path, description = "The notification."),
        Key,
    ),
    request_body = Nothing,
    responses((status = 202, description = "The delivery as it stands.", body = notifications::View))
)]
async fn resend(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    headers: HeaderMap,
    Path((id, delivery)): Path<(String, String)>,
    Command(Nothing {}): Command<Nothing>,
) -> Result<Response, Problem> {
    let endpoint = standing(&state, user, &id).await?;
    let missing = || {
        Problem::new(
            Kind::NotFound,
            "nothing of this id was sent to the endpoint",
        )
    };
    let delivery: NotificationId = delivery.parse().map_err(|_| missing())?;
    let row = projections::notifications::get(&state.pool, delivery)
        .await?
        .filter(|row| row.user_id == user && row.endpoint_id == Some(endpoint.id))
        .ok_or_else(missing)?;
    let fingerprint = Fingerprint::of("webhook-endpoints/resend", &delivery)?;
    let (hit, at) = claimed(&state, user, &key, &endpoint, &fingerprint).await?;
    let event = ResendRequested {
        user_id: user,
        notification_id: row.id,
        endpoint_id: endpoint.id,
        kind: row.kind.clone(),
        source_event_id: row.source_event_id,
        figures: row.figures.clone(),
        happened_at: Timestamp::from(row.happened_at),
        requested_at: at,
    };
    let position = append(&state, user, &key, &headers, event).await?;
    let location = format!("/webhook-endpoints/{}/deliveries", endpoint.id);
    let body = Json(notifications::view(&row));
    let response = (StatusCode::ACCEPTED, [(header::LOCATION, location)], body).into_response();
    let response = idempotency::mark(response, hit);
    Ok(wait::token(response, Some(&position)))
}
