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
use crate::contract::schema::{
    anything, boolean, integer, list, object, one_of, or_null, said, text, uuid,
};
use crate::contract::{Operation, Routes};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use events::ids::UserId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const MAILED: &str = "A mail is on its way, if there is anybody to send it to.";

fn email() -> Value {
    json!({ "type": "string", "format": "email", "maxLength": 254 })
}

fn password() -> Value {
    json!({ "type": "string", "minLength": rules::PASSWORD_MIN, "maxLength": rules::PASSWORD_MAX })
}

fn mailed_schema() -> Value {
    object(&[("status", one_of(&["look_into_your_mail"]))])
}

fn issued_schema() -> Value {
    object(&[
        ("access_token", text()),
        ("token_type", one_of(&["Bearer"])),
        ("expires_in", integer()),
        ("refresh_token", text()),
        ("refresh_expires_in", integer()),
    ])
}

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .add(
            Operation::post("/auth/sign-up", "signUp", "Signs a person up: mails a token to verify the address with.")
                .note("Answers the same whether the address is known or not.")
                .takes(object(&[("email", email()), ("password", password())]))
                .gives(202, MAILED, mailed_schema()),
            post(sign_up),
        )
        .add(
            Operation::post("/auth/verify", "verifyEmail", "Verifies the address of a sign-up with the token from the mail.")
                .takes(object(&[("token", text())]))
                .gives(200, "The address is verified.", object(&[("user_id", uuid())]))
                .or(400, "The token is none, or the body is not JSON."),
            post(verify),
        )
        .add(
            Operation::post("/auth/login", "login", "Begins a session.")
                .note("Failed logins lock, whether there is an account or not.")
                .takes(object(&[("email", text()), ("password", text())]))
                .gives(200, "Tokens; both are secrets.", issued_schema())
                .or(401, "There is no account with this address and password.")
                .or(403, "The address is not verified."),
            post(login),
        )
        .add(
            Operation::post("/auth/refresh", "refresh", "Takes a refresh token for new tokens.")
                .note("Each token once. One that comes again was stolen, from us or from the thief: its session ends.")
                .takes(object(&[("refresh_token", text())]))
                .gives(200, "Tokens; both are secrets.", issued_schema())
                .or(401, "The session has ended."),
            post(refresh),
        )
        .add(
            Operation::post("/auth/logout", "logout", "Ends the session, and with it its tokens, at once.")
                .or(204, "The session has ended.")
                .or(409, "A service token has no session."),
            post(logout),
        )
        .add(
            Operation::post("/auth/logout-all", "logoutEverywhere", "Ends every session of the caller, at once.")
                .or(204, "All sessions have ended.")
                .or(409, "A service token has no session."),
            post(logout_all),
        )
        .add(
            Operation::post("/auth/password-reset", "askForReset", "Mails a token to choose a new password with.")
                .note("Answers the same whether the address is known or not.")
                .takes(object(&[("email", email())]))
                .gives(202, MAILED, mailed_schema()),
            post(ask_reset),
        )
        .add(
            Operation::post(
                "/auth/password-reset/confirm",
                "resetPassword",
                "Sets a new password with the token from the mail; every session ends.",
            )
            .takes(object(&[("token", text()), ("password", password())]))
            .or(204, "The password is set, and every session has ended.")
            .or(400, "The token is none, or the body is not JSON."),
            post(reset),
        )
        .add(
            Operation::get("/auth/me", "whoAmI", "Says who calls, and as what.").gives(
                200,
                "The caller.",
                object(&[
                    ("user_id", uuid()),
                    ("roles", list(one_of(&Role::ALL.map(Role::as_str)))),
                    ("email", or_null(text())),
                    ("email_verified", boolean()),
                    ("session", or_null(said("A name for the session, not its secret."))),
                ]),
            ),
            get(me),
        )
        .add(
            Operation::get("/.well-known/jwks.json", "jwks", "Shows the public keys that verify access tokens.")
                .gives(200, "A JWK set.", anything()),
            get(jwks),
        )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    /// Address of e-mail.
    email: String,
    /// 10 to 128 characters.
    password: String,
}

/// That a mail is on its way, if there is anybody to send it to.
#[derive(Serialize)]
struct LookIntoYourMail {
    status: &'static str,
}

/// Whose address was verified.
#[derive(Serialize)]
struct Verified {
    user_id: UserId,
}

/// Who calls.
#[derive(Serialize)]
struct Me {
    user_id: UserId,
    roles: Vec<Role>,
    email: Option<String>,
    email_verified: bool,
    /// A name for the session, not its secret.
    session: Option<String>,
}

/// Tokens of a session: both are secrets.
#[derive(Serialize)]
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
async fn sign_up(
    State(state): State<ApiState>,
    Command(wish): Command<Credentials>,
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

#[derive(Deserialize)]
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
    let now = state.now().seconds();
    let (session, secret) = (fresh_secret()?, fresh_secret()?);
    let refresh = state
        .auth
        .sessions
        .begin(account.user, &session, &secret, now)
        .await?;
    issue(&state, account.user, &session, refresh, now).await
}

fn too_many(seconds: u64) -> Response {
    let problem = Problem::new(
        Kind::TooManyAttempts,
        format!("too many failed logins; try again in {seconds} s"),
    );
    later(problem.into_response(), seconds)
}

async fn issue(
    state: &ApiState,
    user: UserId,
    session: &str,
    refresh_token: String,
    now: i64,
) -> Result<Response, Problem> {
    let roles: Vec<Role> = accounts::roles(&state.pool, user).await?;
    let access_token = state
        .auth
        .tokens
        .sign(user, session, &roles, now, ACCESS_LIFETIME)
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    refresh_token: String,
}

/// Takes a refresh token for new tokens.
///
/// Each token once. One that comes again was stolen, from us or from the thief: its session ends.
async fn refresh(
    State(state): State<ApiState>,
    Command(given): Command<Refresh>,
) -> Result<Response, Problem> {
    let over = || Problem::new(Kind::RefreshInvalid, "the session has ended; log in again");
    let fresh = fresh_secret()?;
    match state
        .auth
        .sessions
        .refresh(&given.refresh_token, &fresh)
        .await?
    {
        Refreshed::Gone => Err(over()),
        Refreshed::Reused { user, session } => {
            tracing::warn!(%user, session, "a refresh token was used twice; its session is over");
            Err(over())
        }
        Refreshed::Fresh {
            user,
            session,
            refresh,
            created,
        } => {
            // Postgres has the last word on what was ended, should Redis have forgotten it.
            let account = accounts::by_user(&state.pool, user).await?;
            if account.is_none_or(|a| created < a.sessions_from.timestamp()) {
                state.auth.sessions.end(user, &session).await?;
                return Err(over());
            }
            issue(&state, user, &session, refresh, state.now().seconds()).await
        }
    }
}

/// Ends the session, and with it its tokens, at once.
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskReset {
    /// Address of e-mail.
    email: String,
}

/// Mails a token to choose a new password with.
///
/// Answers the same whether the address is known or not.
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    /// The token that was mailed.
    token: String,
    /// 10 to 128 characters.
    password: String,
}

/// Sets a new password with the token from the mail; every session ends.
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
async fn jwks(State(state): State<ApiState>) -> Response {
    let headers = [(header::CACHE_CONTROL, "public, max-age=300")];
    (headers, Json(state.auth.tokens.jwks(state.now().seconds()))).into_response()
}
