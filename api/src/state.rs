//! What every request shares.

use crate::auth::{Operators, Tokens};
use crate::log::CommandLog;
use crate::ports::{
    DeploymentHash, DepositPlace, PaymentSecrets, Quoter, TreasuryBook, WebhookVerifier,
};
use crate::pricing::Terms;
use events::time::Timestamp;
use projections::Changes;
use sqlx::PgPool;
use sqlx::migrate::MigrateError;
use std::ops::Deref;
use std::sync::Arc;

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
    /// Where deposits go.
    pub deposits: DepositPlace,
    /// Reads what our accounts hold.
    pub treasury: Arc<dyn TreasuryBook>,
    /// Who may call.
    pub tokens: Tokens,
    /// Who of them are operators.
    pub operators: Operators,
    /// On what terms Gridway sells.
    pub terms: Terms,
    /// Word of changed rows; [`crate::serve`] listens for it.
    pub changes: Changes,
    /// The clock; requests are the edge where time enters.
    pub clock: fn() -> Timestamp,
}

/// Shared by every request; cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<ApiParts>);

impl ApiState {
    /// Wraps the parts.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        Self(Arc::new(parts))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

impl Deref for ApiState {
    type Target = ApiParts;
    fn deref(&self) -> &ApiParts {
        &self.0
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
