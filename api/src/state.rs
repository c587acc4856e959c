//! What every request shares.

use crate::answers::{Answered, Leases, Sent};
use crate::approvals::Limits;
use crate::auth::Auth;
use crate::idempotency::Binding;
use crate::log::CommandLog;
use crate::ports::{
    DeadLetters, DeploymentHash, DepositPlace, Mailer, Notices, PaymentSecrets, Quoter,
    TreasuryBook, WalletNetworkOf, WebhookVerifier,
};
use crate::pricing::Terms;
use crate::together::Together;
use axum::http::HeaderValue;
use chrono::{DateTime, Utc};
use events::ids::{TwinId, UserId};
use events::time::Timestamp;
use parking_lot::Mutex;
use projections::Changes;
use sqlx::PgPool;
use sqlx::migrate::MigrateError;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// Connections for what may be lost.
const QUICK: u32 = 8;
/// Twins that are kept in mind.
const TWINS: usize = 100_000;
/// Streams of events at a time, each of which asks Postgres when something changes.
const STREAMS: usize = 256;

/// What the API is made of.
pub struct ApiParts {
    /// The read models and the API's own tables; see [`projections::connect`].
    pub pool: PgPool,
    /// Where commands go.
    pub log: CommandLog,
    /// The registry's Confluent-compatible API, asked by `/readyz`.
    pub registry_url: String,
    /// The market.
    pub quoter: Arc<dyn Quoter>,
    /// Reads client secrets.
    pub secrets: Arc<dyn PaymentSecrets>,
    /// Believes webhooks.
    pub webhooks: Arc<dyn WebhookVerifier>,
    /// Hash of a deployment.
    pub deployment_hash: DeploymentHash,
    /// Tells wallets.
    pub wallet: WalletNetworkOf,
    /// Where deposits go.
    pub deposits: DepositPlace,
    /// Reads what our accounts hold.
    pub treasury: Arc<dyn TreasuryBook>,
    /// Reads what processors could not.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// What one operator may move alone.
    pub limits: Limits,
    /// Who may call, and what.
    pub auth: Auth,
    /// Sends the mails of sign-up and reset.
    pub mailer: Arc<dyn Mailer>,
    /// What people are told, and how.
    pub notices: Notices,
    /// On what terms Gridway sells.
    pub terms: Terms,
    /// Origins whose pages may call from a browser.
    pub origins: Vec<HeaderValue>,
    /// Word of changed rows; [`crate::serve`] listens for it.
    pub changes: Changes,
    /// The clock; requests are the edge where time enters.
    pub clock: fn() -> Timestamp,
}

/// Shared by every request; cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

/// The parts, and what wakes the API's own tasks.
pub struct Shared {
    parts: ApiParts,
    /// The same Postgres, for what may be lost: its commits do not wait for the disk.
    pub(crate) quick: PgPool,
    /// Keys that are bound to commands, for good.
    pub(crate) bindings: Together<Binding>,
    /// Who carries out a command.
    pub(crate) leases: Leases,
    /// Answers of commands.
    pub(crate) answered: Together<Arc<Answered>>,
    /// Those that are not written yet.
    pub(crate) sent: Sent,
    /// The process is to end; what answers without end must.
    pub(crate) stopping: CancellationToken,
    /// Open streams of events.
    pub(crate) streams: Arc<Semaphore>,
    twins: Mutex<HashMap<UserId, TwinId>>,
    /// There is something in the outbox.
    pub(crate) outbox: Notify,
    /// There is a mail to send.
    pub(crate) mails: Notify,
}

impl ApiState {
    /// Wraps the parts.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let hasty = parts
            .pool
            .connect_options()
            .as_ref()
            .clone()
            .options([("synchronous_commit", "off")]);
        let quick = projections::pool_options(QUICK).connect_lazy_with(hasty);
        Self(Arc::new(Shared {
            bindings: Together::new(&parts.pool.connect_options()),
            leases: Leases::new(parts.auth.sessions.connection()),
            answered: Together::new(&quick.connect_options()),
            sent: Sent::default(),
            parts,
            quick,
            stopping: CancellationToken::new(),
            twins: Mutex::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            outbox: Notify::new(),
            mails: Notify::new(),
        }))
    }

    /// The user's twin, if it was seen before: once it is there it is theirs for good.
    pub(crate) fn twin(&self, user: UserId) -> Option<TwinId> {
        self.0.twins.lock().get(&user).copied()
    }

    /// The user's twin was seen.
    pub(crate) fn saw_twin(&self, user: UserId, twin: TwinId) {
        let mut twins = self.0.twins.lock();
        if twins.len() >= TWINS {
            twins.clear();
        }
        twins.insert(user, twin);
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn datetime(&self) -> DateTime<Utc> {
        self.now().to_datetime().unwrap_or_default()
    }
}

impl Deref for ApiState {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Deref for Shared {
    type Target = ApiParts;
    fn deref(&self) -> &ApiParts {
        &self.parts
    }
}

/// Brings the API's own tables up to date. The read models have their own: [`projections::migrate`].
///
/// # Errors
/// When Postgres does not answer or a migration differs from the one applied.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    let mut migrator = sqlx::migrate!();
    migrator.dangerous_set_table_name("_api_migrations");
    migrator.run(pool).await
}
