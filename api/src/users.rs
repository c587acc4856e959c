//! The caller's own registration and twin.

use crate::auth::{Caller, Principal};
use crate::body::Command;
use crate::contract::Routes;
use crate::idempotency::{self, Fingerprint, Key};
use crate::log::Append;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::trace;
use crate::wait::{self, CaughtUp};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use events::ids::{TwinId, UserId};
use events::users::{UserEvent, UserRegistered};
use projections::balances::Balance;
use projections::users::User;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(register)).routes(routes!(me))
}

/// A user and their twin.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
struct View {
    #[schema(value_type = uuid::Uuid)]
    id: UserId,
    /// The twin on TFChain, once it exists in a finalized block.
    twin_id: Option<u32>,
    /// SS58 address of the account on TFChain.
    account: Option<String>,
    registered_at: Option<DateTime<Utc>>,
    /// What last went wrong.
    detail: Option<String>,
    /// What the account holds, once a contract was billed.
    balance: Option<BalanceView>,
}

/// What an account on TFChain held when it was last read, and how long that lasts.
#[derive(Serialize, ToSchema)]
#[schema(as = Balance)]
struct BalanceView {
    /// What was free, in TFT.
    tft: String,
    /// What the contracts cost in a day, at what they were billed lately, in TFT.
    spent_per_day_tft: String,
    /// How long the balance pays for that; `null` when they cost nothing.
    lasts_seconds: Option<i64>,
    /// Whether it lasts for less than it should.
    low: bool,
    observed_at: DateTime<Utc>,
}

impl From<Balance> for BalanceView {
    fn from(balance: Balance) -> Self {
        Self {
            tft: balance.balance.to_string(),
            spent_per_day_tft: balance.spent_per_day.to_string(),
            lasts_seconds: balance.lasts_seconds,
            low: balance.low,
            observed_at: balance.observed_at,
        }
    }
}

fn view(id: UserId, user: Option<&User>) -> View {
    View {
        id,
        twin_id: user.and_then(|u| u.twin_id).map(|twin| twin.0),
        account: user.and_then(|u| u.account.clone()),
        registered_at: user.map(|u| u.registered_at),
        detail: user.and_then(|u| u.detail.clone()),
        balance: None,
    }
}

/// How far a user's twin is.
pub(crate) enum Twin {
    /// It is there.
    Of(TwinId),
    /// The user is registered; it is not there yet.
    Making,
    /// Nobody asked for one.
    Unregistered,
}

impl Twin {
    /// The twin, if it is there.
    pub(crate) fn id(self) -> Option<TwinId> {
        match self {
            Self::Of(twin) => Some(twin),
            Self::Making | Self::Unregistered => None,
        }
    }
}

/// Looks for the user's twin. One that was seen is kept in mind: it is theirs for good.
pub(crate) async fn twin(state: &ApiState, user: UserId) -> Result<Twin, sqlx::Error> {
    if let Some(twin) = state.twin(user) {
        return Ok(Twin::Of(twin));
    }
    let Some(found) = projections::users::get(&state.pool, user).await? else {
        return Ok(Twin::Unregistered);
    };
    Ok(found.twin_id.map_or(Twin::Making, |twin| {
        state.saw_twin(user, twin);
        Twin::Of(twin)
    }))
}

/// Nothing is asked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {}

/// Registers the caller, who gets a twin on TFChain.
///
/// People who signed up here are registered already. With `Prefer: wait=N` it answers when the
/// twin is there.
#[utoipa::path(
    post,
    path = "/users",
    operation_id = "registerUser",
    params(Key, wait::Prefer),
    request_body = Register,
    responses((status = 202, description = "Registered.", body = View))
)]
async fn register(
    State(state): State<ApiState>,
    who: Principal,
    key: Key,
    wait::Prefer(patience): wait::Prefer,
    headers: HeaderMap,
    Command(command): Command<Register>,
) -> Result<Response, Problem> {
    let user = who.user;
    who.may_register()?;
    let fingerprint = Fingerprint::of("users", &command)?;
    let claim =
        idempotency::claim(&state, user, &key, &fingerprint, user.uuid(), state.now()).await?;
    let known = projections::users::get(&state.pool, user).await?;
    // Whoever is registered stays so: another key adds no second registration.
    let position = if known.is_some() {
        None
    } else {
        let append = Append {
            key: user.to_string(),
            id: key.event_id(user),
            correlation: user.to_string(),
            trace: trace::of(&headers),
            time: state.now(),
            event: UserEvent::from(UserRegistered {
                user_id: user,
                registered_at: claim.at,
            }),
        };
        Some(state.log.append(append).await?)
    };
    let with_twin = |user: Option<User>| user.filter(|u| u.twin_id.is_some());
    let user_now = match with_twin(known.clone()) {
        Some(user) => Some(user),
        None if patience.is_zero() => known,
        None => {
            wait::until(&state, user.uuid(), patience, || async {
                Ok(with_twin(projections::users::get(&state.pool, user).await?))
            })
            .await?
        }
    };
    let location = [(header::LOCATION, "/users/me")];
    let body = Json(view(user, user_now.as_ref()));
    let response = (StatusCode::ACCEPTED, location, body).into_response();
    Ok(wait::token(
        idempotency::mark(response, claim.hit),
        position.as_ref(),
    ))
}

/// Shows the caller, their twin and what its account holds.
#[utoipa::path(
    get,
    path = "/users/me",
    operation_id = "showMe",
    params(CaughtUp),
    responses(
        (status = 200, description = "The caller.", body = View),
        (status = 404, description = "Not registered yet."),
    )
)]
async fn me(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
) -> Result<Json<View>, Problem> {
    let found = projections::users::get(&state.pool, user).await?;
    match found {
        Some(found) => {
            let balance = projections::balances::get(&state.pool, user).await?;
            Ok(Json(View {
                balance: balance.map(BalanceView::from),
                ..view(user, Some(&found))
            }))
        }
        None => Err(Problem::new(
            Kind::NotFound,
            "you are not registered yet; POST /users registers you",
        )
        .with("next", "POST /users")),
    }
}
