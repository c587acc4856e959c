//! Word of changed rows, from the projections to whoever waits for one.
//!
//! The folding transaction announces the ids of the aggregates it changed; Postgres passes them on
//! at commit. It is a wake-up, not the truth: who is woken reads the row, and who misses the word
//! reads it after a while anyway.

use sqlx::PgConnection;
use sqlx::postgres::{PgListener, PgPool};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const CHANNEL: &str = "gridway_read_models";
/// A notification holds 8,000 bytes at most; an id with its comma takes 37.
const IDS_PER_NOTIFICATION: usize = 200;

/// Where the ids of changed aggregates are heard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Changes(broadcast::Sender<Uuid>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::channel(4096).0)
    }
}

impl Changes {
    /// Hears every change from now on. A slow hearer misses the oldest ones.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Uuid> {
        self.0.subscribe()
    }
}

/// Passes announcements from the database on to `changes`, until `stop`. Connects again whenever
/// the connection is lost.
pub async fn listen(pool: PgPool, changes: Changes, stop: CancellationToken) {
    let hearing = async {
        loop {
            if let Err(error) = hear(&pool, &changes).await {
                tracing::warn!(%error, "no word of changed rows for now; waiting commands are answered later");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = hearing => {}
    }
}

async fn hear(pool: &PgPool, changes: &Changes) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let notification = listener.recv().await?;
        for id in notification.payload().split(',') {
            if let Ok(id) = Uuid::parse_str(id) {
                // Nobody waiting is no error.
                let _ = changes.0.send(id);
            }
        }
    }
}

pub(crate) async fn announce(
    tx: &mut PgConnection,
    changed: &BTreeSet<Uuid>,
) -> Result<(), sqlx::Error> {
    if changed.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = changed.iter().map(ToString::to_string).collect();
    let payloads: Vec<String> = ids
        .chunks(IDS_PER_NOTIFICATION)
        .map(|chunk| chunk.join(","))
        .collect();
    sqlx::query("SELECT pg_notify($1, u.payload) FROM unnest($2::text[]) AS u(payload)")
        .bind(CHANNEL)
        .bind(&payloads)
        .execute(tx)
        .await?;
    Ok(())
}
