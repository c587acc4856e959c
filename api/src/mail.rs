//! Mails of sign-up and reset: written with the rows they tell of, sent afterwards.

use crate::ports::Mail;
use crate::state::ApiState;
use chrono::{DateTime, Utc};
use events::ids::EventId;
use events::outcome::Attempt;
use events::time::Timestamp;
use sqlx::{PgConnection, Row};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What a mail is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Verify the address of a sign-up.
    Verify,
    /// Choose a new password.
    Reset,
    /// Somebody signed up with an address that has an account.
    HasAccount,
}

impl Purpose {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Reset => "reset",
            Self::HasAccount => "has_account",
        }
    }

    const fn subject(self) -> &'static str {
        match self {
            Self::Verify => "Verify your e-mail address for Gridway",
            Self::Reset => "Choose a new password for Gridway",
            Self::HasAccount => "You have a Gridway account already",
        }
    }

    /// The text; `{token}` and `{link}` are filled in when it is sent.
    const fn text(self) -> &'static str {
        match self {
            Self::Verify => {
                "Welcome to Gridway.\n\nSomebody, we hope you, signed up with this address. Confirm it within a day:\n\n\
                 {link}/verify?token={token}\n\nToken: {token}\n\nIf it was not you, do nothing: no account is made.\n"
            }
            Self::Reset => {
                "A new password was asked for. Choose it within an hour:\n\n\
                 {link}/reset?token={token}\n\nToken: {token}\n\nIf it was not you, do nothing: your password stays.\n"
            }
            Self::HasAccount => {
                "Somebody, perhaps you, signed up with this address. It has an account already: log in, or ask for a \
                 new password.\n\n{link}/login\n\nNothing was changed.\n"
            }
        }
    }
}

/// How long a mail is tried: the token in it is good for a day at most.
const GIVE_UP: i32 = 12;
/// Another process takes a mail up again when this one has not said what came of it.
const CLAIM: &str = "1 minute";
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Writes a mail down, to be sent once the transaction is committed.
pub(crate) async fn enqueue(
    tx: &mut PgConnection,
    to: &str,
    purpose: Purpose,
    token: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let at = now.to_datetime().unwrap_or_default();
    // The token is used up with the mail; its hash names the mail.
    let id = EventId::derive(&["mail", purpose.as_str(), &crate::auth::token_hash(token)]);
    sqlx::query(
        "INSERT INTO mails (id, recipient, subject, body, created_at, next_at)
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING",
    )
    .bind(id.uuid())
    .bind(to)
    .bind(purpose.subject())
    .bind(purpose.text().replace("{token}", token))
    .bind(at)
    .execute(tx)
    .await
    .map(|_| ())
}

/// Sends what is due, until `stop`.
pub(crate) async fn send(state: ApiState, stop: CancellationToken) {
    loop {
        match send_one(&state).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "mails wait: Postgres does not answer"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = state.mails.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Claims one mail, sends it and writes down what came of it; whether there was one.
async fn send_one(state: &ApiState) -> Result<bool, sqlx::Error> {
    let now = state.now().to_datetime().unwrap_or_default();
    let claimed = sqlx::query(
        "UPDATE mails SET attempts = attempts + 1, next_at = $1 + $2::interval
          WHERE id = (SELECT id FROM mails WHERE ended_at IS NULL AND next_at <= $1
                       ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
          RETURNING *",
    )
    .bind(now)
    .bind(CLAIM)
    .fetch_optional(&state.pool)
    .await?;
    let Some(row) = claimed else {
        return Ok(false);
    };
    let id: Uuid = row.try_get("id")?;
    let attempts: i32 = row.try_get("attempts")?;
    let body: String = row.try_get("body")?;
    let link = state.auth.public_url.trim_end_matches('/');
    let mail = Mail {
        id: EventId::from_uuid(id),
        to: row.try_get("recipient")?,
        subject: row.try_get("subject")?,
        text: body.replace("{link}", link),
        at: Timestamp::from(row.try_get::<DateTime<Utc>, _>("created_at")?),
    };
    let outcome = match state.mailer.send(&mail).await {
        Attempt::Landed(()) => "sent".to_owned(),
        Attempt::Refused(refusal) => {
            // The refusal may quote the address: only its code is logged.
            tracing::warn!(mail = %id, code = refusal.code, "a mail was refused");
            format!("refused: {}", refusal.code)
        }
        // A second copy has the same Message-ID; no copy would leave its reader outside.
        Attempt::NotSent(_) | Attempt::Unknown(_) | Attempt::NoAnswer(_) if attempts < GIVE_UP => {
            let wait = 1_i64 << attempts.clamp(0, 11);
            tracing::warn!(mail = %id, attempts, wait_s = wait, "a mail was not taken, and is sent again");
            sqlx::query("UPDATE mails SET next_at = $2 WHERE id = $1")
                .bind(id)
                .bind(now + chrono::TimeDelta::seconds(wait))
                .execute(&state.pool)
                .await?;
            return Ok(true);
        }
        Attempt::NotSent(_) | Attempt::Unknown(_) | Attempt::NoAnswer(_) => {
            tracing::error!(mail = %id, attempts, "a mail was given up");
            "given_up".to_owned()
        }
    };
    sqlx::query(
        "UPDATE mails SET ended_at = $2, outcome = $3, body = '', recipient = '' WHERE id = $1",
    )
    .bind(id)
    .bind(now)
    .bind(outcome)
    .execute(&state.pool)
    .await?;
    Ok(true)
}
