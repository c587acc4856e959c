//! The routes under `/auth`, and the public keys.
//!
//! They need no `Idempotency-Key`: what they do twice they do once, and their answers hold secrets,
//! which are not kept to be given out again.

use super::accounts::{self, SignUp};
use super::guard::{CameFrom, later};
use super::principal::{Principal, Proof};
use super::rules::{
    self, ACCESS_LIFETIME, Attempts, MAILS_PER_ACCOUNT, PER_ACCOUNT, PER_ADDRESS_AND_ACCOUNT, Role,
    SESSION_LIFETIME,
};
use super::sessions::Refreshed;
use super::{fresh_secret, token_hash};
use crate::body::Command;
use crate::contract::{Routes, one_of, text};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::ids::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, KnownFormat, Object, SchemaFormat};
use utoipa_axum::routes;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(sign_up))
        .routes(routes!(verify))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(logout_all))
        .routes(routes!(ask_reset))
        .routes(routes!(reset))
        .routes(routes!(me))
        .routes(routes!(jwks))
}

fn email() -> Object {
    let mut email = text();
    email.format = Some(SchemaFormat::Custom("email".to_owned()));
    email.max_length = Some(254);
    email
}

fn password() -> Object {
    let mut password = text();
    password.format = Some(SchemaFormat::KnownFormat(KnownFormat::Password));
    password.min_length = Some(rules::PASSWORD_MIN);
    password.max_length = Some(rules::PASSWORD_MAX);
    password
}

fn roles() -> Array {
    Array::new(one_of(&Role::ALL.map(Role::as_str)))
}

/// Who signs up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Person {
    /// Address of e-mail.
    #[schema(schema_with = email)]
    email: String,
    /// 10 to 128 characters.
    #[schema(schema_with = password)]
    password: String,
}

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    /// Address of e-mail.
    email: String,
    password: String,
}

fn mailed() -> Object {
    one_of(&["look_into_your_mail"])
}

/// That a mail is on its way, if there is anybody to send it to.
#[derive(Serialize, ToSchema)]
struct LookIntoYourMail {
    #[schema(schema_with = mailed)]
    status: &'static str,
}

/// Whose address was verified.
#[derive(Serialize, ToSchema)]
struct Verified {
    #[schema(value_type = uuid::Uuid)]
    user_id: UserId,
}

/// Who calls.
#[derive(Serialize, ToSchema)]
struct Me {
    #[schema(value_type = uuid::Uuid)]
    user_id: UserId,
    #[schema(schema_with = roles)]
    roles: Vec<Role>,
    email: Option<String>,
    email_verified: bool,
    /// A name for the session, not its secret.
    session: Option<String>,
}

/// Tokens of a session: both are secrets.
#[derive(Serialize, ToSchema)]
struct Issued {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: String,
    refresh_expires_in: u64,
}

fn no_store(body: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], body).into_response()
}

fn email_key(email: &str) -> Result<String, Problem> {
    rules::email_key(email).ok_or_else(|| {
        Problem::field(
            "email",
            "this is not an e-mail address such as a@example.org",
        )
    })
}

fn checked_password(password: &str, key: &str) -> Result<(), Problem> {
    match rules::password_fault(password, key) {
        Some(fault) => Err(Problem::field("password", fault)),
        None => Ok(()),
    }
}

/// Attempts are counted under a hash: Redis gets no personal data.
fn account_name(state: &ApiState, key: &str) -> String {
    token_hash(&format!("{}\0{key}", state.auth.tokens.pepper()))
}

/// Refuses once too many mails went to an address in an hour. Says nothing of whether it is known.
async fn may_mail(state: &ApiState, key: &str) -> Result<bool, Problem> {
    let what = format!("mail:{}", account_name(state, key));
    let count = state
        .auth
        .sessions
        .attempt(&what, MAILS_PER_ACCOUNT)
        .await?;
    Ok(count <= MAILS_PER_ACCOUNT.failures)
}

fn look_into_your_mail() -> Response {
    let body = Json(LookIntoYourMail {
        status: "look_into_your_mail",
    });
    no_store((StatusCode::ACCEPTED, body))
}

/// Signs a person up: mails a token to verify the address with.
///
/// Answers the same whether the address is known or not.
#[utoipa::path(
    post,
    path = "/auth/sign-up",
    operation_id = "signUp",
    request_body = Person,
    responses((status = 202, description = "A mail is on its way, if there is anybody to send it to.", body = LookIntoYourMail))
)]
async fn sign_up(
    State(state): State<ApiState>,
    Command(wish): Command<Person>,
) -> Result<Response, Problem> {
    let key = email_key(&wish.email)?;
    checked_password(&wish.password, &key)?;
    let password_hash = state.auth.passwords.hash(wish.password).await?;
    if may_mail(&state, &key).await? {
        let (chance, token) = (fresh_secret()?, fresh_secret()?);
        let wish = SignUp {
            email: &wish.email,
            key: &key,
            password_hash: &password_hash,
            chance: &chance,
            token: &token,
        };
        accounts::sign_up(&state.pool, &wish, state.now()).await?;
        state.mails.notify_one();
    }
    Ok(look_into_your_mail())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Mailed {
    token: String,
}

fn not_a_token() -> Problem {
    Problem::new(
        Kind::TokenInvalid,
        "the token is not one that was mailed, was used before or has expired",
    )
}

/// Verifies the address of a sign-up with the token from the mail.
#[utoipa::path(
    post,
    path = "/auth/verify",
    operation_id = "verifyEmail",
    request_body = Mailed,
    responses(
        (status = 200, description = "The address is verified.", body = Verified),
        (status = 400, description = "The token is none, or the body is not JSON."),
    )
)]
async fn verify(
    State(state): State<ApiState>,
    Command(mailed): Command<Mailed>,
) -> Result<Response, Problem> {
    let user = accounts::verify(&state.pool, &mailed.token, state.now())
        .await?
        .ok_or_else(not_a_token)?;
    state.outbox.notify_one();
    Ok(no_store(Json(Verified { user_id: user })))
}

/// Begins a session.
///
/// Failed logins lock, whether there is an account or not.
#[utoipa::path(
    post,
    path = "/auth/login",
    operation_id = "login",
    request_body = Credentials,
    responses(
        (status = 200, description = "Tokens; both are secrets.", body = Issued),
        (status = 401, description = "There is no account with this address and password."),
        (status = 403, description = "The address is not verified."),
    )
)]
async fn login(
    State(state): State<ApiState>,
    Extension(CameFrom(address)): Extension<CameFrom>,
    Command(given): Command<Credentials>,
) -> Result<Response, Problem> {
    // What is no address has no account; it is refused like a wrong password.
    let key = rules::email_key(&given.email);
    let account_name = account_name(&state, key.as_deref().unwrap_or(&given.email));
    let here = format!("login:{address}:{account_name}");
    let anywhere = format!("login:{account_name}");
    let counts: [(&str, Attempts); 2] =
        [(&here, PER_ADDRESS_AND_ACCOUNT), (&anywhere, PER_ACCOUNT)];
    // Counted before it is known to be wrong, so that many at once are not too many; forgiven after.
    for (what, attempts) in counts {
        if let Some(seconds) = state.auth.sessions.locked(what, attempts).await? {
            return Ok(too_many(seconds));
        }
        if state.auth.sessions.attempt(what, attempts).await? > attempts.failures {
            return Ok(too_many(attempts.within.as_secs()));
        }
    }
    let account = match &key {
        Some(key) => accounts::by_email(&state.pool, key).await?,
        None => None,
    };
    let kept = account.as_ref().map(|a| a.password_hash.clone());
    let right = if given.password.chars().count() > rules::PASSWORD_MAX {
        false
    } else {
        state.auth.passwords.verify(given.password, kept).await?
    };
    let Some(account) = account.filter(|_| right) else {
        return Err(Problem::new(
            Kind::WrongCredentials,
            "there is no account with this e-mail address and password",
        ));
    };
    for (what, _) in counts {
        state.auth.sessions.forgive(what).await?;
    }
    if account.verified_at.is_none() {
        return Err(Problem::new(
            Kind::EmailNotVerified,
            "verify your e-mail address with the token that was mailed; POST /auth/sign-up mails another",
        )
        .with("next", "POST /auth/verify"));
    }
    let roles = accounts::roles(&state.pool, account.user).await?;
    let now = state.now().seconds();
    let (session, secret) = (fresh_secret()?, fresh_secret()?);
    let refresh = state
        .auth
        .sessions
        .begin(account.user, &session, &secret, now)
        .await?;
    issue(&state, account.user, &roles, &session, refresh)
}

fn too_many(seconds: u64) -> Response {
    let problem = Problem::new(
        Kind::TooManyAttempts,
        format!("too many failed logins; try again in {seconds} s"),
    );
    later(problem.into_response(), seconds)
}

fn issue(
    state: &ApiState,
    user: UserId,
    roles: &[Role],
    session: &str,
    refresh_token: String,
) -> Result<Response, Problem> {
    let now = state.now().seconds();
    let access_token = state
        .auth
        .tokens
        .sign(user, session, roles, now, ACCESS_LIFETIME)
        .map_err(|error| {
            tracing::error!(%error, "a token cannot be signed");
            Problem::new(Kind::Internal, "no token could be made")
        })?;
    Ok(no_store(Json(Issued {
        access_token,
        token_type: "Bearer",
        expires_in: ACCESS_LIFETIME.as_secs(),
        refresh_token,
        refresh_expires_in: SESSION_LIFETIME.as_secs(),
    })))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    refresh_token: String,
}

/// Takes a refresh token for new tokens.
///
/// Each token once. One that comes again was stolen, from us or from the thief: its session ends.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    operation_id = "refresh",
    request_body = Refresh,
    responses(
        (status = 200, description = "Tokens; both are secrets.", body = Issued),
        (status = 401, description = "The session has ended."),
    )
)]
async fn refresh(
    State(state): State<ApiState>,
    Command(given): Command<Refresh>,
) -> Result<Response, Problem> {
    let over = || Problem::new(Kind::RefreshInvalid, "the session has ended; log in again");
    let sessions = &state.auth.sessions;
    let Some((user, began)) = sessions.whose(&given.refresh_token).await? else {
        return Err(over());
    };
    // Asked before the token is used up: whoever is told that Postgres is away can come again.
    let account = accounts::by_user(&state.pool, user).await?;
    let roles = accounts::roles(&state.pool, user).await?;
    let fresh = fresh_secret()?;
    match sessions.refresh(&given.refresh_token, &fresh).await? {
        Refreshed::Gone => Err(over()),
        Refreshed::Reused { user, session } => {
            tracing::warn!(%user, session, "a refresh token was used twice; its session is over");
            Err(over())
        }
        Refreshed::Fresh {
            user,
            session,
            refresh,
        } => {
            // Postgres has the last word on what was ended, should Redis have forgotten it.
            if account.is_none_or(|a| began < a.sessions_from.timestamp()) {
                sessions.end(user, &session).await?;
                return Err(over());
            }
            issue(&state, user, &roles, &session, refresh)
        }
    }
}

/// Ends the session, and with it its tokens, at once.
#[utoipa::path(
    post,
    path = "/auth/logout",
    operation_id = "logout",
    responses(
        (status = 204, description = "The session has ended."),
        (status = 409, description = "A service token has no session."),
    )
)]
async fn logout(State(state): State<ApiState>, who: Principal) -> Result<Response, Problem> {
    match &who.proof {
        Proof::Session(session) => state.auth.sessions.end(who.user, session).await?,
        Proof::Outside { token, expires, .. } => {
            let left = expires.saturating_sub(state.now().seconds());
            let left = u64::try_from(left).unwrap_or(0);
            state.auth.sessions.revoke(token, left).await?;
        }
        Proof::Service => return Err(no_session()),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn no_session() -> Problem {
    Problem::new(
        Kind::NoSession,
        "a service token has no session; it ends with the configuration",
    )
}

/// Ends every session of the caller, at once.
#[utoipa::path(
    post,
    path = "/auth/logout-all",
    operation_id = "logoutEverywhere",
    responses(
        (status = 204, description = "All sessions have ended."),
        (status = 409, description = "A service token has no session."),
    )
)]
async fn logout_all(State(state): State<ApiState>, who: Principal) -> Result<Response, Problem> {
    if who.proof == Proof::Service {
        return Err(no_session());
    }
    end_all(&state, who.user).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn end_all(state: &ApiState, user: UserId) -> Result<(), Problem> {
    let now = state.now();
    accounts::end_sessions(&state.pool, user, now).await?;
    state.auth.sessions.end_all(user, now.seconds()).await?;
    Ok(())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AskReset {
    /// Address of e-mail.
    #[schema(schema_with = email)]
    email: String,
}

/// Mails a token to choose a new password with.
///
/// Answers the same whether the address is known or not.
#[utoipa::path(
    post,
    path = "/auth/password-reset",
    operation_id = "askForReset",
    request_body = AskReset,
    responses((status = 202, description = "A mail is on its way, if there is anybody to send it to.", body = LookIntoYourMail))
)]
async fn ask_reset(
    State(state): State<ApiState>,
    Command(wish): Command<AskReset>,
) -> Result<Response, Problem> {
    let key = email_key(&wish.email)?;
    if may_mail(&state, &key).await? {
        accounts::ask_reset(&state.pool, &key, &fresh_secret()?, state.now()).await?;
        state.mails.notify_one();
    }
    Ok(look_into_your_mail())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reset {
    /// The token that was mailed.
    token: String,
    /// 10 to 128 characters.
    #[schema(schema_with = password)]
    password: String,
}

/// Sets a new password with the token from the mail; every session ends.
#[utoipa::path(
    post,
    path = "/auth/password-reset/confirm",
    operation_id = "resetPassword",
    request_body = Reset,
    responses(
        (status = 204, description = "The password is set, and every session has ended."),
        (status = 400, description = "The token is none, or the body is not JSON."),
    )
)]
async fn reset(
    State(state): State<ApiState>,
    Command(given): Command<Reset>,
) -> Result<Response, Problem> {
    checked_password(&given.password, "")?;
    // Refused while Redis is down: a thief's session would go on.
    state.auth.sessions.ping().await?;
    let hash = state.auth.passwords.hash(given.password).await?;
    let user = accounts::reset(&state.pool, &given.token, &hash, state.now())
        .await?
        .ok_or_else(not_a_token)?;
    state.outbox.notify_one();
    end_all(&state, user).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Says who calls, and as what.
#[utoipa::path(
    get,
    path = "/auth/me",
    operation_id = "whoAmI",
    responses((status = 200, description = "The caller.", body = Me))
)]
async fn me(State(state): State<ApiState>, who: Principal) -> Result<Response, Problem> {
    let account = accounts::by_user(&state.pool, who.user).await?;
    let (email, verified) = match (&account, &who.proof) {
        (Some(account), _) => (Some(account.email.clone()), account.verified_at.is_some()),
        (
            None,
            Proof::Outside {
                email,
                email_verified,
                ..
            },
        ) => (email.clone(), *email_verified),
        (None, Proof::Session(_) | Proof::Service) => (None, false),
    };
    let session = match &who.proof {
        Proof::Session(session) => Some(token_hash(session)),
        Proof::Outside { .. } | Proof::Service => None,
    };
    let body = Me {
        user_id: who.user,
        roles: who.roles,
        email,
        email_verified: verified,
        session,
    };
    Ok(no_store(Json(body)))
}

/// Shows the public keys that verify access tokens.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "jwks",
    responses((status = 200, description = "A JWK set.", body = Object))
)]
async fn jwks(State(state): State<ApiState>) -> Response {
    let headers = [(header::CACHE_CONTROL, "public, max-age=300")];
    (headers, Json(state.auth.tokens.jwks(state.now().seconds()))).into_response()
}
