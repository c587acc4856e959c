//! People who offer nodes: their applications, and what operators decide.
//!
//! What becomes of an application is decided under the lock of its row, by [`rules`]: of two
//! operators who decide at once one is the first, and the other is told so. The event that tells of
//! it goes into the outbox, and the role of a node operator is granted, in the same transaction.

mod change;
mod decisions;
mod documents;
mod requirements;
mod rows;
pub mod rules;

use crate::auth::Reader;
use crate::auth::rules::Role;
use crate::body::Command;
use crate::contract::{Routes, common, query};
use crate::idempotency::{self, Key};
use crate::page::Page;
use crate::problem::{Kind, Problem};
use crate::purchases::MomentView;
use crate::state::ApiState;
use crate::wait;
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use change::{Asked, Change, missing, stages};
use chrono::{DateTime, Utc};
use events::ids::{ApplicationId, UserId};
use projections::timeline::Moment;
use requirements::{Apply, DocumentKind, Requirements, kinds, requirements};
use rows::{Application, Document, Wanted};
use rules::Stage;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use uuid::Uuid;

pub(crate) use requirements::DOCUMENT_LIMIT;

/// How long the history waits for the log to have what the row has.
const HISTORY_WAIT: Duration = Duration::from_secs(5);
/// Characters of a reason.
const REASON: usize = 1_000;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(show_requirements))
        .routes(routes!(submit, list))
        .routes(routes!(show))
        .routes(routes!(history))
        .routes(routes!(resubmit))
        .routes(routes!(withdraw))
        .routes(routes!(decisions::request_changes))
        .routes(routes!(decisions::approve))
        .routes(routes!(decisions::reject))
        .routes(routes!(documents::attach, documents::download))
}

fn networks() -> utoipa::openapi::schema::Object {
    crate::contract::one_of(&["STELLAR", "TFCHAIN"])
}

/// A document that is attached.
#[derive(Serialize, ToSchema)]
#[schema(as = ApplicationDocument)]
struct DocumentView {
    #[schema(schema_with = kinds)]
    kind: DocumentKind,
    content_type: String,
    size_bytes: i32,
    /// 64 hex digits.
    sha256: String,
    attached_at: DateTime<Utc>,
}

/// An application.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeApplication)]
struct View {
    #[schema(value_type = Uuid)]
    id: ApplicationId,
    #[schema(value_type = Uuid)]
    applicant_id: UserId,
    #[schema(schema_with = stages)]
    status: &'static str,
    /// What the application says is counted; a decision names the one that it is about.
    revision: i32,
    farm_name: String,
    country: String,
    city: String,
    #[schema(schema_with = networks)]
    wallet_network: events::applications::WalletNetwork,
    wallet: String,
    cpu_cores: i32,
    memory_gib: i32,
    ssd_gib: i32,
    hdd_gib: i32,
    uplink_mbps: i32,
    public_ipv4_count: i32,
    /// Only the applicant and those who decide see it.
    street_address: Option<String>,
    contact_name: Option<String>,
    contact_email: Option<String>,
    documents: Vec<DocumentView>,
    /// The operator who decided last.
    #[schema(value_type = Option<Uuid>)]
    decided_by: Option<UserId>,
    /// Why.
    reason: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Address of every event of it.
    history: String,
}

fn sees_private(reader: &Reader, applicant: UserId) -> bool {
    reader.user == applicant || reader.is(Role::DashboardOperator)
}

fn view(a: Application, documents: Vec<Document>, reader: &Reader) -> View {
    let private = sees_private(reader, a.applicant);
    View {
        id: a.id,
        applicant_id: a.applicant,
        status: a.stage.as_str(),
        revision: a.revision,
        farm_name: a.offer.farm_name,
        country: a.offer.country,
        city: a.offer.city,
        wallet_network: a.offer.wallet_network,
        wallet: a.offer.wallet,
        cpu_cores: a.offer.cpu_cores,
        memory_gib: a.offer.memory_gib,
        ssd_gib: a.offer.ssd_gib,
        hdd_gib: a.offer.hdd_gib,
        uplink_mbps: a.offer.uplink_mbps,
        public_ipv4_count: a.offer.public_ipv4_count,
        street_address: private.then_some(a.personal.street_address),
        contact_name: private.then_some(a.personal.contact_name),
        contact_email: private.then_some(a.personal.contact_email),
        documents: documents
            .into_iter()
            .map(|d| DocumentView {
                kind: d.kind,
                content_type: d.content_type,
                size_bytes: d.size_bytes,
                sha256: d.sha256,
                attached_at: d.attached_at,
            })
            .collect(),
        decided_by: a.decided_by,
        reason: a.reason,
        created_at: a.created_at,
        updated_at: a.updated_at,
        history: format!("/node-applications/{}/history", a.id),
    }
}

/// The application, if the caller sees it; what they do not cannot be told from what does not
/// exist.
async fn seen(state: &ApiState, reader: &Reader, id: &str) -> Result<Application, Problem> {
    let id = id.parse().map_err(|_| missing())?;
    let found = rows::get(&state.pool, id).await?;
    found
        .filter(|application| reader.may_see(application.applicant))
        .ok_or_else(missing)
}

/// Shows what is asked of an application.
#[utoipa::path(
    get,
    path = "/node-applications/requirements",
    operation_id = "showApplicationRequirements",
    responses((status = 200, description = "What is asked.", body = Requirements))
)]
async fn show_requirements() -> Json<Requirements> {
    Json(requirements())
}

/// Offers a node.
///
/// `GET /node-applications/requirements` says what is asked; documents are attached to what this
/// makes.
#[utoipa::path(
    post,
    path = "/node-applications",
    operation_id = "submitApplication",
    params(Key),
    request_body = Apply,
    responses((status = 201, description = "The application.", body = View))
)]
async fn submit(
    State(state): State<ApiState>,
    reader: Reader,
    key: Key,
    Command(apply): Command<Apply>,
) -> Result<Response, Problem> {
    let asked = Asked::of(reader.user, &key, "node-applications", &apply)?;
    let (id, hit) = change::submit(&state, &asked, &apply).await?;
    answer(&state, &reader, id, hit, StatusCode::CREATED).await
}

/// The answer to a command: the application as it stands.
async fn answer(
    state: &ApiState,
    reader: &Reader,
    id: ApplicationId,
    hit: bool,
    status: StatusCode,
) -> Result<Response, Problem> {
    let application = rows::get(&state.pool, id).await?.ok_or_else(missing)?;
    let documents = rows::documents(&state.pool, id).await?;
    let location = [(header::LOCATION, format!("/node-applications/{id}"))];
    let body = Json(view(application, documents, reader));
    let response = (status, location, body).into_response();
    Ok(idempotency::mark(response, hit))
}

/// Changes an application that the caller sees.
async fn changed(
    state: &ApiState,
    reader: &Reader,
    id: &str,
    asked: &Asked<'_>,
    change: Change,
) -> Result<Response, Problem> {
    let id = seen(state, reader, id).await?.id;
    let hit = change::change(state, asked, id, change).await?;
    answer(state, reader, id, hit, StatusCode::OK).await
}

/// Offers the node anew, after changes were asked for.
#[utoipa::path(
    post,
    path = "/node-applications/{id}/resubmit",
    operation_id = "resubmitApplication",
    params(("id" = Uuid, Path, description = "The application."), Key),
    request_body = Apply,
    responses((status = 200, description = "The application.", body = View))
)]
async fn resubmit(
    State(state): State<ApiState>,
    reader: Reader,
    key: Key,
    Path(id): Path<String>,
    Command(apply): Command<Apply>,
) -> Result<Response, Problem> {
    // Whose it is comes before what is wrong with the body.
    let own = seen(&state, &reader, &id).await?;
    if own.applicant != reader.user {
        return Err(missing());
    }
    let offered = apply.checked(&state)?;
    let asked = Asked::of(
        reader.user,
        &key,
        "node-applications/resubmit",
        &(&id, &apply),
    )?;
    let change = Change::Resubmit(Box::new(offered));
    changed(&state, &reader, &id, &asked, change).await
}

/// Nothing is asked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Withdraw {}

/// Takes an application back that is not decided yet.
#[utoipa::path(
    post,
    path = "/node-applications/{id}/withdraw",
    operation_id = "withdrawApplication",
    params(("id" = Uuid, Path, description = "The application."), Key),
    request_body = Withdraw,
    responses((status = 200, description = "The application.", body = View))
)]
async fn withdraw(
    State(state): State<ApiState>,
    reader: Reader,
    key: Key,
    Path(id): Path<String>,
    Command(body): Command<Withdraw>,
) -> Result<Response, Problem> {
    let asked = Asked::of(
        reader.user,
        &key,
        "node-applications/withdraw",
        &(&id, &body),
    )?;
    changed(&state, &reader, &id, &asked, Change::Withdraw).await
}

/// A reason as it is kept.
pub(crate) fn reason(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let fit = !text.is_empty() && text.chars().count() <= REASON && !text.contains('\0');
    fit.then(|| text.to_owned())
        .ok_or_else(|| Problem::field("reason", "1 to 1000 characters that say why"))
}

/// Shows an application.
#[utoipa::path(
    get,
    path = "/node-applications/{id}",
    operation_id = "showApplication",
    params(("id" = Uuid, Path, description = "The application.")),
    responses((status = 200, description = "The application.", body = View))
)]
async fn show(
    State(state): State<ApiState>,
    reader: Reader,
    Path(id): Path<String>,
) -> Result<Json<View>, Problem> {
    let application = seen(&state, &reader, &id).await?;
    let documents = rows::documents(&state.pool, application.id).await?;
    Ok(Json(view(application, documents, &reader)))
}

/// A page of applications, and which of them.
struct Filter {
    page: Page,
    wanted: Wanted,
}

impl Filter {
    const NAMES: [&'static str; 3] = ["status", "country", "applicant"];

    fn parse(text: &str, reader: &Reader) -> Result<Self, Problem> {
        let (page, more) = Page::parse_with(text, reader, &Self::NAMES)?;
        let mut wanted = Wanted {
            owner: page.owner,
            ..Wanted::default()
        };
        for (name, value) in more {
            match name {
                "status" => {
                    let stage = Stage::parse(&value);
                    wanted.stage = Some(stage.ok_or_else(|| {
                        Problem::field(
                            name,
                            "submitted, changes_requested, approved, rejected or withdrawn",
                        )
                    })?);
                }
                "country" => {
                    if !requirements::is_country(&value) {
                        return Err(Problem::field(
                            name,
                            "a code of ISO 3166-1 alpha-2, such as BE",
                        ));
                    }
                    wanted.country = Some(value);
                }
                _ => {
                    let user = value.parse();
                    wanted.applicant =
                        Some(user.map_err(|_| Problem::field(name, "the id of a user"))?);
                }
            }
        }
        Ok(Self { page, wanted })
    }
}

impl FromRequestParts<ApiState> for Filter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let reader = Reader::from_request_parts(parts, state).await?;
        Self::parse(parts.uri.query().unwrap_or_default(), &reader)
    }
}

impl IntoParams for Filter {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut all = Page::<Uuid>::into_params(place);
        all.push(query("status", "Those in this state.", stages()));
        all.push(query(
            "country",
            "Those in this country.",
            requirements::country(),
        ));
        all.push(query("applicant", "Those of this user.", common::uuid()));
        all
    }
}

/// An application as lists show it: nothing private, no documents.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeApplicationLine)]
struct Line {
    #[schema(value_type = Uuid)]
    id: ApplicationId,
    #[schema(value_type = Uuid)]
    applicant_id: UserId,
    #[schema(schema_with = stages)]
    status: &'static str,
    revision: i32,
    farm_name: String,
    country: String,
    city: String,
    #[schema(value_type = Option<Uuid>)]
    decided_by: Option<UserId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A page of applications, the latest first.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeApplications)]
struct Lines {
    applications: Vec<Line>,
    /// Whether more follow after the last one.
    has_more: bool,
}

/// Lists applications, the latest first.
#[utoipa::path(
    get,
    path = "/node-applications",
    operation_id = "listApplications",
    params(Filter),
    responses((status = 200, description = "A page.", body = Lines))
)]
async fn list(
    State(state): State<ApiState>,
    reader: Reader,
    filter: Filter,
) -> Result<Json<Lines>, Problem> {
    let Filter { page, wanted } = filter;
    if let Some(after) = page.after {
        rows::get(&state.pool, ApplicationId::from_uuid(after))
            .await?
            .filter(|row| {
                page.owner
                    .map_or(reader.sees_all(), |owner| owner == row.applicant)
            })
            .ok_or_else(Page::<Uuid>::no_such_row)?;
    }
    let mut found = rows::list(&state.pool, &wanted, page.after, page.limit + 1).await?;
    let has_more = page.cut(&mut found);
    let applications = found
        .into_iter()
        .map(|a| Line {
            id: a.id,
            applicant_id: a.applicant,
            status: a.stage.as_str(),
            revision: a.revision,
            farm_name: a.offer.farm_name,
            country: a.offer.country,
            city: a.offer.city,
            decided_by: a.decided_by,
            created_at: a.created_at,
            updated_at: a.updated_at,
        })
        .collect();
    Ok(Json(Lines {
        applications,
        has_more,
    }))
}

/// Every event of an application, in its order.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeApplicationHistory)]
struct History {
    #[schema(value_type = Uuid)]
    application_id: ApplicationId,
    #[schema(value_type = Vec<MomentView>)]
    events: Vec<Moment>,
    /// Whether more follow after the last one.
    has_more: bool,
}

/// Shows every event of an application: who did what, and when.
///
/// It is read from the log, and waits until that has what the application has taken.
#[utoipa::path(
    get,
    path = "/node-applications/{id}/history",
    operation_id = "showApplicationHistory",
    params(("id" = Uuid, Path, description = "The application."), Page),
    responses((status = 200, description = "A page, from the beginning.", body = History))
)]
async fn history(
    State(state): State<ApiState>,
    reader: Reader,
    page: Page,
    Path(id): Path<String>,
) -> Result<Json<History>, Problem> {
    let application = seen(&state, &reader, &id).await?;
    let aggregate = application.id.uuid();
    let last = rows::last_step(&state.pool, application.id).await?;
    let whole = wait::until(&state, aggregate, HISTORY_WAIT, || async {
        let events = projections::timeline::about(&state.pool, aggregate).await?;
        let there = last.is_none_or(|last| events.iter().any(|e| e.event_id.uuid() == last));
        Ok(there.then_some(events))
    })
    .await?;
    let mut events = whole.ok_or_else(|| {
        Problem::new(
            Kind::NotYetVisible,
            "the log does not have yet what the application has taken; ask again",
        )
    })?;
    if let Some(after) = page.after {
        let last = events
            .iter()
            .position(|event| event.event_id.uuid() == after);
        events.drain(..=last.ok_or_else(Page::<Uuid>::no_such_row)?);
    }
    let has_more = page.cut(&mut events);
    Ok(Json(History {
        application_id: application.id,
        events,
        has_more,
    }))
}
