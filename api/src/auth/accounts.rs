//! Accounts: whose e-mail address it is, the password's hash, the roles, the tokens on their way
//! by mail. Personal data stands here only.

use super::rules::{AT_SIGN_UP, RESET_LIFETIME, Role, VERIFY_LIFETIME};
use super::sessions::hash;
use crate::mail::{self, Purpose};
use crate::outbox;
use chrono::{DateTime, Utc};
use events::ids::{EventId, UserId};
use events::time::Timestamp;
use events::users::{RoleGranted, RoleRevoked, UserEvent, UserRegistered};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::time::Duration;
use uuid::Uuid;

/// An account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose it is.
    pub user: UserId,
    /// The address as its owner writes it.
    pub email: String,
    /// PHC string of the password.
    pub password_hash: String,
    /// When the address was verified.
    pub verified_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Sessions that began before are over.
    pub sessions_from: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Account {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user: UserId::from_uuid(row.try_get("user_id")?),
            email: row.try_get("email")?,
            password_hash: row.try_get("password_hash")?,
            verified_at: row.try_get("verified_at")?,
            created_at: row.try_get("created_at")?,
            sessions_from: row.try_get("sessions_from")?,
        })
    }
}

/// The account of an address, by its [key](super::rules::email_key).
///
/// # Errors
/// When Postgres does not answer.
pub async fn by_email(pool: &PgPool, key: &str) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM accounts WHERE email_key = $1")
        .bind(key)
        .fetch_optional(pool)
        .await
}

/// The account of a user.
///
/// # Errors
/// When Postgres does not answer.
pub async fn by_user(pool: &PgPool, user: UserId) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM accounts WHERE user_id = $1")
        .bind(user.uuid())
        .fetch_optional(pool)
        .await
}

/// The roles of a user, in their order. A role that this program does not know is left out.
///
/// # Errors
/// When Postgres does not answer.
pub async fn roles(pool: &PgPool, user: UserId) -> Result<Vec<Role>, sqlx::Error> {
    let rows = sqlx::query("SELECT role FROM account_roles WHERE user_id = $1")
        .bind(user.uuid())
        .fetch_all(pool)
        .await?;
    let mut roles = Vec::new();
    for row in rows {
        if let Ok(role) = row.try_get::<String, _>("role")?.parse() {
            roles.push(role);
        }
    }
    roles.sort_unstable();
    Ok(roles)
}

fn instant(time: Timestamp) -> DateTime<Utc> {
    time.to_datetime().unwrap_or_default()
}

/// The account of an address, locked until the transaction ends.
async fn lock(tx: &mut PgConnection, key: &str) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM accounts WHERE email_key = $1 FOR UPDATE")
        .bind(key)
        .fetch_optional(tx)
        .await
}

/// A wish to sign up: the address with its key, the hash of the wished password, and chance: for
/// the id of a new user and for the mailed token.
pub(crate) struct SignUp<'a> {
    pub email: &'a str,
    pub key: &'a str,
    pub password_hash: &'a str,
    pub chance: &'a str,
    pub token: &'a str,
}

/// Makes the account if there is none, and has a mail sent in any case: whoever asked learns
/// nothing, whoever owns the mailbox learns all.
pub(crate) async fn sign_up(
    pool: &PgPool,
    wish: &SignUp<'_>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    // The id says nothing of the person, and it is recorded here before anything follows from it.
    sqlx::query(
        "INSERT INTO accounts (user_id, email, email_key, password_hash, created_at, sessions_from)
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING",
    )
    .bind(UserId::derive(&["sign-up", wish.chance]).uuid())
    .bind(wish.email)
    .bind(wish.key)
    .bind(wish.password_hash)
    .bind(instant(now))
    .execute(&mut *tx)
    .await?;
    let Some(account) = lock(&mut tx, wish.key).await? else {
        return Ok(());
    };
    if account.verified_at.is_some() {
        mail::enqueue(
            &mut tx,
            &account.email,
            Purpose::HasAccount,
            wish.token,
            now,
        )
        .await?;
    } else {
        keep_token(
            &mut tx,
            account.user,
            Purpose::Verify,
            wish.token,
            Some(wish.password_hash),
            now,
        )
        .await?;
        mail::enqueue(&mut tx, &account.email, Purpose::Verify, wish.token, now).await?;
    }
    tx.commit().await
}

async fn keep_token(
    tx: &mut PgConnection,
    user: UserId,
    purpose: Purpose,
    token: &str,
    password_hash: Option<&str>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let lifetime: Duration = match purpose {
        Purpose::Verify => VERIFY_LIFETIME,
        Purpose::Reset | Purpose::HasAccount => RESET_LIFETIME,
    };
    sqlx::query(
        "INSERT INTO mailed_tokens (hash, user_id, purpose, password_hash, expires_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(hash(token))
    .bind(user.uuid())
    .bind(purpose.as_str())
    .bind(password_hash)
    .bind(instant(now.after(lifetime)))
    .execute(tx)
    .await
    .map(|_| ())
}

/// Has a mail for a new password sent, if the address has an account.
pub(crate) async fn ask_reset(
    pool: &PgPool,
    key: &str,
    token: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let Some(account) = lock(&mut tx, key).await? else {
        return Ok(());
    };
    keep_token(&mut tx, account.user, Purpose::Reset, token, None, now).await?;
    mail::enqueue(&mut tx, &account.email, Purpose::Reset, token, now).await?;
    tx.commit().await
}

/// Takes a mailed token, once: gives its account, locked, and the password that came with it.
async fn take_token(
    tx: &mut PgConnection,
    purpose: Purpose,
    token: &str,
    now: Timestamp,
) -> Result<Option<(Account, Option<String>)>, sqlx::Error> {
    let taken = sqlx::query(
        "DELETE FROM mailed_tokens WHERE hash = $1 AND purpose = $2 AND expires_at > $3
         RETURNING user_id, password_hash",
    )
    .bind(hash(token))
    .bind(purpose.as_str())
    .bind(instant(now))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = taken else {
        return Ok(None);
    };
    let account = sqlx::query_as("SELECT * FROM accounts WHERE user_id = $1 FOR UPDATE")
        .bind(row.try_get::<Uuid, _>("user_id")?)
        .fetch_optional(&mut *tx)
        .await?;
    let password = row.try_get("password_hash")?;
    Ok(account.map(|account| (account, password)))
}

/// Verifies the address of a sign-up. From here on the account is a user of the log.
pub(crate) async fn verify(
    pool: &PgPool,
    token: &str,
    now: Timestamp,
) -> Result<Option<UserId>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let Some((account, password)) = take_token(&mut tx, Purpose::Verify, token, now).await? else {
        return Ok(None);
    };
    if account.verified_at.is_none() {
        let password = password.unwrap_or_else(|| account.password_hash.clone());
        become_user(&mut tx, account.user, &password, now).await?;
    }
    tx.commit().await?;
    Ok(Some(account.user))
}

/// The mailbox is theirs: the account counts, and its user is registered with its first role.
async fn become_user(
    tx: &mut PgConnection,
    user: UserId,
    password_hash: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE accounts SET verified_at = $2, password_hash = $3 WHERE user_id = $1")
        .bind(user.uuid())
        .bind(instant(now))
        .bind(password_hash)
        .execute(&mut *tx)
        .await?;
    // The other sign-ups of this address, with their passwords, are void.
    sqlx::query("DELETE FROM mailed_tokens WHERE user_id = $1 AND purpose = $2")
        .bind(user.uuid())
        .bind(Purpose::Verify.as_str())
        .execute(&mut *tx)
        .await?;
    let event = UserRegistered {
        user_id: user,
        registered_at: now,
    };
    let id = EventId::derive(&["registered", &user.to_string()]);
    outbox::put(tx, id, &user.to_string(), &UserEvent::from(event), now).await?;
    grant_in(tx, user, AT_SIGN_UP, "sign-up", now).await
}

/// Sets the password that a reset token allows. Gives the user, whose sessions are all over.
pub(crate) async fn reset(
    pool: &PgPool,
    token: &str,
    password_hash: &str,
    now: Timestamp,
) -> Result<Option<UserId>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let Some((account, _)) = take_token(&mut tx, Purpose::Reset, token, now).await? else {
        return Ok(None);
    };
    sqlx::query("DELETE FROM mailed_tokens WHERE user_id = $1")
        .bind(account.user.uuid())
        .execute(&mut *tx)
        .await?;
    if account.verified_at.is_none() {
        become_user(&mut tx, account.user, password_hash, now).await?;
    }
    sqlx::query("UPDATE accounts SET password_hash = $2, sessions_from = $3 WHERE user_id = $1")
        .bind(account.user.uuid())
        .bind(password_hash)
        .bind(instant(now))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some(account.user))
}

/// Ends every session of the user that began before `now`, for good.
///
/// # Errors
/// When Postgres does not answer.
pub async fn end_sessions(pool: &PgPool, user: UserId, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE accounts SET sessions_from = $2 WHERE user_id = $1")
        .bind(user.uuid())
        .bind(instant(now))
        .execute(pool)
        .await
        .map(|_| ())
}

/// Grants a role in the transaction of what it follows from; whoever has it gets no second one.
pub(crate) async fn grant_within(
    tx: &mut PgConnection,
    user: UserId,
    role: Role,
    by: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    // The events of a user are put under their account's lock. Who comes from another issuer has
    // no account, and no other event goes through the outbox for them.
    sqlx::query("SELECT 1 FROM accounts WHERE user_id = $1 FOR UPDATE")
        .bind(user.uuid())
        .execute(&mut *tx)
        .await?;
    grant_in(tx, user, role, by, now).await
}

async fn grant_in(
    tx: &mut PgConnection,
    user: UserId,
    role: Role,
    by: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let new = sqlx::query(
        "INSERT INTO account_roles (user_id, role, granted_at) VALUES ($1, $2, $3)
         ON CONFLICT DO NOTHING",
    )
    .bind(user.uuid())
    .bind(role.as_str())
    .bind(instant(now))
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if new == 0 {
        return Ok(());
    }
    let event = RoleGranted {
        user_id: user,
        role: role.to_string(),
        by: by.to_owned(),
        granted_at: now,
    };
    let id = change_id("granted", user, role, now);
    outbox::put(tx, id, &user.to_string(), &UserEvent::from(event), now).await
}

/// A grant may follow a revocation of the same role: the time tells them apart.
fn change_id(what: &str, user: UserId, role: Role, now: Timestamp) -> EventId {
    EventId::derive(&[what, &user.to_string(), role.as_str(), &now.0.to_string()])
}

/// Grants a role. Tokens that are out do not have it: end the sessions.
///
/// # Errors
/// When Postgres does not answer.
pub async fn grant(
    pool: &PgPool,
    user: UserId,
    role: Role,
    by: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    grant_in(&mut tx, user, role, by, now).await?;
    tx.commit().await
}

/// Takes a role away. Tokens that are out still have it: end the sessions.
///
/// # Errors
/// When Postgres does not answer.
pub async fn revoke(
    pool: &PgPool,
    user: UserId,
    role: Role,
    by: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let had = sqlx::query("DELETE FROM account_roles WHERE user_id = $1 AND role = $2")
        .bind(user.uuid())
        .bind(role.as_str())
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if had > 0 {
        let event = RoleRevoked {
            user_id: user,
            role: role.to_string(),
            by: by.to_owned(),
            revoked_at: now,
        };
        let id = change_id("revoked", user, role, now);
        outbox::put(&mut tx, id, &user.to_string(), &UserEvent::from(event), now).await?;
    }
    tx.commit().await
}

/// Makes a verified account, for whoever sets an installation up; `None` when the address has one.
///
/// # Errors
/// When Postgres does not answer.
pub async fn create(
    pool: &PgPool,
    (email, key): (&str, &str),
    password_hash: &str,
    chance: &str,
    now: Timestamp,
) -> Result<Option<UserId>, sqlx::Error> {
    let user = UserId::derive(&["sign-up", chance]);
    let mut tx = pool.begin().await?;
    let made = sqlx::query(
        "INSERT INTO accounts (user_id, email, email_key, password_hash, created_at, sessions_from)
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING",
    )
    .bind(user.uuid())
    .bind(email)
    .bind(key)
    .bind(password_hash)
    .bind(instant(now))
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if made == 0 {
        return Ok(None);
    }
    become_user(&mut tx, user, password_hash, now).await?;
    tx.commit().await?;
    Ok(Some(user))
}
