//! What the API's own tables need not keep for ever.

use crate::answers;
use crate::approvals;
use crate::state::ApiState;
use chrono::{DateTime, TimeDelta, Utc};
use events::time::Timestamp;
use sqlx::PgPool;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(600);
/// What was sent or appended is kept so long, for whoever asks what became of it.
const TRACES: TimeDelta = TimeDelta::days(30);

/// Sweeps now and then, until `stop`.
pub(crate) async fn run(state: ApiState, stop: CancellationToken) {
    loop {
        if let Err(error) = once(&state.pool, state.datetime()).await {
            tracing::warn!(%error, "old rows stay for now");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn once(pool: &PgPool, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    approvals::expire_overdue(pool, Timestamp::from(now)).await?;
    answers::sweep(pool, now).await?;
    sqlx::query("DELETE FROM mailed_tokens WHERE expires_at <= $1")
        .bind(now)
        .execute(pool)
        .await?;
    sqlx::query("DELETE FROM mails WHERE ended_at <= $1")
        .bind(now - TRACES)
        .execute(pool)
        .await?;
    sqlx::query("DELETE FROM outbox WHERE appended AND created_at <= $1")
        .bind(now - TRACES)
        .execute(pool)
        .await?;
    Ok(())
}
