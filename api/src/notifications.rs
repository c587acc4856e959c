//! What a person was told, and what they want to be told.

mod phone;

use crate::auth::{Caller, Reader};
use crate::body::Command;
use crate::contract::{Routes, one_of};
use crate::idempotency::{self, Fingerprint, Key};
use crate::log::Append;
use crate::page::Page;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::trace;
use crate::wait::{self, CaughtUp};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use events::ids::{EndpointId, EventId, NotificationId, UserId};
use events::notifications::{Channel, Choice, NotificationEvent, PreferencesSet};
use projections::notifications::{Attempt, Notification, State as Progress};
use projections::progress::Position;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;
use utoipa_axum::routes;
use uuid::Uuid;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_own))
        .routes(routes!(show_preferences, set_preferences))
        .merge(phone::routes())
}

pub(crate) fn channels() -> Object {
    one_of(&Channel::ALL.map(Channel::as_str))
}

fn states() -> Object {
    one_of(&Progress::ALL.map(Progress::as_str))
}

/// Appends a command of the caller to their own partition.
pub(crate) async fn append(
    state: &ApiState,
    user: UserId,
    key: &Key,
    headers: &HeaderMap,
    event: impl Into<NotificationEvent>,
) -> Result<Position, Problem> {
    let append = Append {
        key: user.to_string(),
        id: key.event_id(user),
        correlation: user.to_string(),
        trace: trace::of(headers),
        time: state.now(),
        event: event.into(),
    };
    Ok(state.log.append(append).await?)
}

/// An attempt that has ended.
#[derive(Serialize, ToSchema)]
#[schema(as = NotificationAttempt)]
struct AttemptView {
    attempt: i32,
    at: DateTime<Utc>,
    /// HTTP status of a webhook's receiver, if one came.
    status: Option<i32>,
    /// Why it was not taken; null when it was.
    code: Option<String>,
}

/// What one person is told of one event by one channel.
#[derive(Serialize, ToSchema)]
#[schema(as = Notification)]
pub(crate) struct View {
    /// Also the `webhook-id` of a webhook.
    #[schema(value_type = Uuid)]
    id: NotificationId,
    /// What happened.
    kind: String,
    #[schema(schema_with = channels)]
    channel: &'static str,
    #[schema(value_type = Option<Uuid>)]
    endpoint_id: Option<EndpointId>,
    #[schema(schema_with = states)]
    state: Progress,
    /// The event that it tells of.
    #[schema(value_type = Uuid)]
    source_event_id: EventId,
    happened_at: DateTime<Utc>,
    /// The figures of its text.
    #[schema(value_type = Object)]
    figures: Map<String, Value>,
    attempts: Vec<AttemptView>,
    /// Why it was not taken, or is given up.
    code: Option<String>,
    /// When the next attempt is due.
    next_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

pub(crate) fn view(row: &Notification) -> View {
    let figures = row.figures.iter();
    let attempts = row.attempts.iter();
    View {
        id: row.id,
        kind: row.kind.clone(),
        channel: row.channel.as_str(),
        endpoint_id: row.endpoint_id,
        state: row.state,
        source_event_id: row.source_event_id,
        happened_at: row.happened_at,
        figures: figures
            .map(|figure| (figure.name.clone(), json!(figure.value)))
            .collect(),
        attempts: attempts
            .map(|a: &Attempt| AttemptView {
                attempt: a.attempt,
                at: a.at,
                status: a.status,
                code: a.code.clone(),
            })
            .collect(),
        code: row.code.clone(),
        next_at: row.next_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// A page of notifications, the latest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Notifications)]
pub(crate) struct Notifications {
    notifications: Vec<View>,
    /// Whether more follow after the last one.
    has_more: bool,
}

/// The page of a list, of a user or of one of their endpoints.
pub(crate) async fn page(
    state: &ApiState,
    page: &Page,
    endpoint: Option<EndpointId>,
) -> Result<Json<Notifications>, Problem> {
    let after = page.after.map(NotificationId::from_uuid);
    if let Some(id) = after {
        projections::notifications::get(&state.pool, id)
            .await?
            .filter(|row| page.owner.is_none_or(|owner| owner == row.user_id))
            .filter(|row| endpoint.is_none() || row.endpoint_id == endpoint)
            .ok_or_else(Page::<Uuid>::no_such_row)?;
    }
    let (owner, limit) = (page.owner, page.limit + 1);
    let mut rows =
        projections::notifications::list(&state.pool, owner, endpoint, after, limit).await?;
    let has_more = page.cut(&mut rows);
    Ok(Json(Notifications {
        notifications: rows.iter().map(view).collect(),
        has_more,
    }))
}

/// Lists what the caller was told, or is being told, the latest first.
#[utoipa::path(
    get,
    path = "/notifications",
    operation_id = "listNotifications",
    params(Page, CaughtUp),
    responses((status = 200, description = "A page.", body = Notifications))
)]
async fn list_own(
    State(state): State<ApiState>,
    _: Reader,
    wanted: Page,
    _: CaughtUp,
) -> Result<Json<Notifications>, Problem> {
    page(&state, &wanted, None).await
}

/// Whether somebody is told of a kind by a channel.
#[derive(Serialize, ToSchema)]
#[schema(as = NotificationChoice)]
struct ChoiceView {
    kind: String,
    #[schema(schema_with = channels)]
    channel: &'static str,
    wanted: bool,
    /// What holds for whoever chose nothing.
    usual: bool,
}

/// What the caller is told, and in which language.
#[derive(Serialize, ToSchema)]
#[schema(as = NotificationPreferences)]
struct PreferencesView {
    language: String,
    /// Every kind and channel.
    choices: Vec<ChoiceView>,
}

/// A wish about a kind and channel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedChoice {
    kind: String,
    #[schema(schema_with = channels)]
    channel: String,
    wanted: bool,
}

/// What somebody wants to be told; it replaces what they wanted before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPreferences {
    /// Such as `en`.
    #[serde(default)]
    language: Option<String>,
    /// Where something else is wanted than is usual.
    #[serde(default)]
    #[schema(max_items = 200)]
    choices: Vec<WantedChoice>,
}

const MOST_CHOICES: usize = 200;

fn shown(state: &ApiState, language: &str, choices: &[Choice]) -> PreferencesView {
    let mut all = Vec::new();
    for kind in &state.notices.kinds {
        for (channel, usual) in Channel::ALL.into_iter().zip(kind.usual) {
            let chosen = choices
                .iter()
                .rfind(|c| c.kind == kind.name && c.channel == channel);
            all.push(ChoiceView {
                kind: kind.name.to_owned(),
                channel: channel.as_str(),
                wanted: chosen.map_or(usual, |c| c.wanted),
                usual,
            });
        }
    }
    PreferencesView {
        language: language.to_owned(),
        choices: all,
    }
}

/// Shows what the caller is told of by which channel.
#[utoipa::path(
    get,
    path = "/notifications/preferences",
    operation_id = "showNotificationPreferences",
    params(CaughtUp),
    responses((status = 200, description = "Every kind and channel.", body = PreferencesView))
)]
async fn show_preferences(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
) -> Result<Json<PreferencesView>, Problem> {
    let chosen = projections::notifications::preferences(&state.pool, user).await?;
    let usual = state.notices.languages.first().copied().unwrap_or("en");
    Ok(Json(match &chosen {
        Some(chosen) => shown(&state, &chosen.language, &chosen.choices),
        None => shown(&state, usual, &[]),
    }))
}

/// Sets what the caller is told of by which channel; it replaces what they chose before.
#[utoipa::path(
    put,
    path = "/notifications/preferences",
    operation_id = "setNotificationPreferences",
    params(Key),
    request_body = SetPreferences,
    responses((status = 202, description = "What holds from now on.", body = PreferencesView))
)]
async fn set_preferences(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    headers: HeaderMap,
    Command(wish): Command<SetPreferences>,
) -> Result<Response, Problem> {
    let (language, choices) = checked(&state, &wish)?;
    let fingerprint = Fingerprint::of("notifications/preferences", &wish)?;
    let event = |at| PreferencesSet {
        user_id: user,
        language: language.clone(),
        choices: choices.clone(),
        set_at: at,
    };
    let looked = idempotency::look(&state.pool, user, &key, &fingerprint).await?;
    let (claim, position) = looked
        .append_claimed(&state, user.uuid(), |at| {
            append(&state, user, &key, &headers, event(at))
        })
        .await?;
    let location = [(header::LOCATION, "/notifications/preferences")];
    let body = Json(shown(&state, &language, &choices));
    let response = (StatusCode::ACCEPTED, location, body).into_response();
    let response = idempotency::mark(response, claim.hit);
    Ok(wait::token(response, Some(&position)))
}

fn checked(state: &ApiState, wish: &SetPreferences) -> Result<(String, Vec<Choice>), Problem> {
    let languages = &state.notices.languages;
    let language = match &wish.language {
        None => languages.first().copied().unwrap_or("en").to_owned(),
        Some(wanted) if languages.contains(&wanted.as_str()) => wanted.clone(),
        Some(_) => {
            let detail = format!("there are {}", languages.join(", "));
            return Err(Problem::field("language", detail));
        }
    };
    if wish.choices.len() > MOST_CHOICES {
        return Err(Problem::field("choices", "at most 200 choices"));
    }
    let mut seen = BTreeSet::new();
    let mut choices = Vec::new();
    for choice in &wish.choices {
        if !state.notices.kinds.iter().any(|k| k.name == choice.kind) {
            let detail = "there is no such kind; GET /notifications/preferences lists them";
            return Err(Problem::field("choices.kind", detail));
        }
        let channel = Channel::ALL
            .into_iter()
            .find(|channel| channel.as_str() == choice.channel)
            .ok_or_else(|| Problem::field("choices.channel", "email, sms or webhook"))?;
        if !seen.insert((choice.kind.as_str(), channel)) {
            let detail = "a kind and channel may be chosen once";
            return Err(Problem::field("choices", detail));
        }
        choices.push(Choice {
            kind: choice.kind.clone(),
            channel,
            wanted: choice.wanted,
        });
    }
    Ok((language, choices))
}
