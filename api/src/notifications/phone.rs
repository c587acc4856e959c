//! The phone that text messages go to: its owner tells the code that was sent there.
//!
//! The code is sent while its command is carried out, once for each: a command that is repeated
//! gets its kept answer. Only when the process died in between is another code sent, and that one
//! counts then.

use super::append;
use crate::auth::rules::{PHONE_CODE_ATTEMPTS, PHONE_CODE_LIFETIME, PHONE_CODES};
use crate::auth::{Caller, secret, token_hash};
use crate::body::Command;
use crate::contract::Routes;
use crate::idempotency::{self, Fingerprint, Key};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::wait;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use events::ids::{EventId, UserId};
use events::notifications::{PhoneRemoved, PhoneVerified};
use events::outcome::Attempt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::Row;
use subtle::ConstantTimeEq;
use utoipa::ToSchema;
use utoipa_axum::routes;

/// The routes of this file.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(show, set, remove))
        .routes(routes!(verify))
}

/// The caller's phone.
#[derive(Serialize, ToSchema)]
#[schema(as = Phone)]
struct View {
    /// The verified number, `+…`.
    number: Option<String>,
    verified_at: Option<DateTime<Utc>>,
    /// A number that waits for its code.
    pending: Option<String>,
}

/// A phone number.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPhone {
    /// In E.164: a plus and 8 to 15 digits.
    #[schema(pattern = "^\\+[1-9][0-9]{7,14}$")]
    number: String,
}

/// The code that was sent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyPhone {
    /// Six digits.
    #[schema(pattern = "^[0-9]{6}$")]
    code: String,
}

const LOCATION: [(header::HeaderName, &str); 1] = [(header::LOCATION, "/notifications/phone")];

async fn read(state: &ApiState, user: UserId) -> Result<View, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM phones WHERE user_id = $1")
        .bind(user.uuid())
        .fetch_optional(&state.pool)
        .await?;
    Ok(match row {
        None => View {
            number: None,
            verified_at: None,
            pending: None,
        },
        Some(row) => View {
            number: row.try_get("number")?,
            verified_at: row.try_get("verified_at")?,
            pending: row.try_get("pending")?,
        },
    })
}

/// Shows the phone that text messages go to.
#[utoipa::path(
    get,
    path = "/notifications/phone",
    operation_id = "showPhone",
    responses((status = 200, description = "The phone, if there is one.", body = View))
)]
async fn show(State(state): State<ApiState>, Caller(user): Caller) -> Result<Json<View>, Problem> {
    Ok(Json(read(&state, user).await?))
}

/// Six digits by chance, none likelier than another.
fn code() -> Result<String, Problem> {
    let chance = secret().map_err(|error| {
        tracing::error!(%error, "there is no randomness");
        Problem::new(Kind::Internal, "no code could be made")
    })?;
    let hash = Sha256::digest(chance.as_bytes());
    let number = hash
        .iter()
        .take(8)
        .fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
    Ok(format!("{:06}", number % 1_000_000))
}

fn code_hash(user: UserId, code: &str) -> String {
    token_hash(&format!("{user} {code}"))
}

/// Sets the phone that text messages go to, and sends a code there.
///
/// The number before stays until the code was told.
#[utoipa::path(
    put,
    path = "/notifications/phone",
    operation_id = "setPhone",
    params(Key),
    request_body = SetPhone,
    responses((status = 202, description = "A code is on its way.", body = View))
)]
async fn set(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    Command(wish): Command<SetPhone>,
) -> Result<Response, Problem> {
    if !(state.notices.is_phone_number)(&wish.number) {
        let detail = "a number in E.164: a plus and 8 to 15 digits";
        return Err(Problem::field("number", detail));
    }
    let unavailable = || {
        let detail = "text messages cannot be sent for now";
        Problem::new(Kind::TextsUnavailable, detail)
    };
    let texter = state.notices.texter.as_ref().ok_or_else(unavailable)?;
    let fingerprint = Fingerprint::of("notifications/phone", &wish)?;
    let now = state.now();
    let claim = idempotency::claim(&state, user, &key, &fingerprint, user.uuid(), now).await?;
    let code = code()?;
    keep(&state, user, &wish.number, &code).await?;
    let id = EventId::derive(&["phone", &user.to_string(), key.as_str()]);
    let minutes = PHONE_CODE_LIFETIME.as_secs() / 60;
    let text = format!("Gridway: your code is {code}. It is good for {minutes} minutes.");
    match texter.send(id, &wish.number, &text).await {
        Attempt::Landed(()) => {}
        Attempt::Refused(refusal) => {
            tracing::info!(code = refusal.code, "a code was refused");
            let detail = "text messages to this number are not taken";
            return Err(Problem::field("number", detail));
        }
        // It may arrive all the same; then it can be told.
        Attempt::NotSent(_) | Attempt::Unknown(_) | Attempt::NoAnswer(_) => {
            return Err(unavailable());
        }
    }
    let body = Json(read(&state, user).await?);
    let response = (StatusCode::ACCEPTED, LOCATION, body).into_response();
    Ok(idempotency::mark(response, claim.hit))
}

/// Keeps the hash of a code, unless too many were sent of late.
async fn keep(state: &ApiState, user: UserId, number: &str, code: &str) -> Result<(), Problem> {
    let now = state.datetime();
    let until = state.now().after(PHONE_CODE_LIFETIME).to_datetime();
    let from = state.now().before(PHONE_CODES.within).to_datetime();
    let kept = sqlx::query(
        "INSERT INTO phones (user_id, pending, code_hash, code_until, attempts, codes, codes_since)
         VALUES ($1, $2, $3, $4, 0, 1, $5)
         ON CONFLICT (user_id) DO UPDATE SET
            pending = $2, code_hash = $3, code_until = $4, attempts = 0,
            codes = CASE WHEN phones.codes_since > $6 THEN phones.codes + 1 ELSE 1 END,
            codes_since = CASE WHEN phones.codes_since > $6 THEN phones.codes_since ELSE $5 END
          WHERE phones.codes_since <= $6 OR phones.codes < $7",
    )
    .bind(user.uuid())
    .bind(number)
    .bind(code_hash(user, code))
    .bind(until)
    .bind(now)
    .bind(from)
    .bind(i32::try_from(PHONE_CODES.failures).unwrap_or(i32::MAX))
    .execute(&state.pool)
    .await?
    .rows_affected();
    if kept == 0 {
        let detail = "too many codes were asked for; try again in an hour";
        return Err(Problem::new(Kind::TooManyAttempts, detail));
    }
    Ok(())
}

/// Tells the code that was sent: the number is the caller's from then on.
///
/// A code is good for ten minutes and five attempts.
#[utoipa::path(
    post,
    path = "/notifications/phone/verify",
    operation_id = "verifyPhone",
    params(Key),
    request_body = VerifyPhone,
    responses((status = 202, description = "The number is verified.", body = View))
)]
async fn verify(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    headers: HeaderMap,
    Command(told): Command<VerifyPhone>,
) -> Result<Response, Problem> {
    let wrong = || {
        let detail =
            "the code is wrong, used up or too old; PUT /notifications/phone sends another";
        Problem::new(Kind::CodeInvalid, detail)
    };
    // Counted first, and for good: who guesses does not get another guess by breaking off.
    let taken = sqlx::query(
        "UPDATE phones SET attempts = attempts + 1
          WHERE user_id = $1 AND code_hash IS NOT NULL AND code_until > $2 AND attempts < $3
          RETURNING code_hash",
    )
    .bind(user.uuid())
    .bind(state.datetime())
    .bind(PHONE_CODE_ATTEMPTS)
    .fetch_optional(&state.pool)
    .await?
    .ok_or_else(wrong)?;
    let expected: String = taken.try_get("code_hash")?;
    let given = code_hash(user, &told.code);
    if !bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
        return Err(wrong());
    }
    // Appended first: should the row not follow, nobody is found to be told, and the code is still
    // good for the same command.
    let event = PhoneVerified {
        user_id: user,
        verified_at: state.now(),
    };
    let position = append(&state, user, &key, &headers, event).await?;
    sqlx::query(
        "UPDATE phones SET number = pending, verified_at = $2, pending = NULL, code_hash = NULL
          WHERE user_id = $1 AND code_hash = $3",
    )
    .bind(user.uuid())
    .bind(state.datetime())
    .bind(expected)
    .execute(&state.pool)
    .await?;
    let body = Json(read(&state, user).await?);
    let response = (StatusCode::ACCEPTED, LOCATION, body).into_response();
    Ok(wait::token(response, Some(&position)))
}

/// Forgets the caller's phone.
#[utoipa::path(
    delete,
    path = "/notifications/phone",
    operation_id = "removePhone",
    params(Key),
    responses((status = 202, description = "There is no phone any more.", body = View))
)]
async fn remove(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let event = PhoneRemoved {
        user_id: user,
        removed_at: state.now(),
    };
    let position = append(&state, user, &key, &headers, event).await?;
    // Codes stay counted: removing a number is no way to more of them.
    sqlx::query(
        "UPDATE phones SET number = NULL, verified_at = NULL, pending = NULL, code_hash = NULL
          WHERE user_id = $1",
    )
    .bind(user.uuid())
    .execute(&state.pool)
    .await?;
    let body = Json(read(&state, user).await?);
    let response = (StatusCode::ACCEPTED, LOCATION, body).into_response();
    Ok(wait::token(response, Some(&position)))
}
