//! Read model `deployments`: one row per deployment. From topic `deployments`.

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::deployments::{DeploymentEvent, DeploymentRequested};
use events::ids::{ContractId, DeploymentId, NodeId, PurchaseId, TwinId, UserId};
use events::time::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// How far a deployment has come, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The command was accepted.
    Requested,
    /// It waits for the TFT of its purchase.
    WaitingForFunds,
    /// The contract is being created.
    Submitted,
    /// The contract is in a finalized block.
    Created,
    /// It is given up.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Requested,
        Self::WaitingForFunds,
        Self::Submitted,
        Self::Created,
        Self::Failed,
    ];

    /// As it is written in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::WaitingForFunds => "waiting_for_funds",
            Self::Submitted => "submitted",
            Self::Created => "created",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Created | Self::Failed)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deployment {
    /// The deployment.
    pub id: DeploymentId,
    /// Whose it is.
    pub user_id: UserId,
    /// The twin that holds the contract.
    pub twin_id: TwinId,
    /// The purchase whose TFT it waits for.
    pub purchase_id: Option<PurchaseId>,
    /// The node.
    pub node_id: NodeId,
    /// Hash of the workload, 64 hex digits; unique per node.
    pub hash: String,
    /// How far it has come.
    pub state: State,
    /// The node contract.
    pub contract_id: Option<ContractId>,
    /// Hash of the extrinsic; empty when the contract was found by its state.
    pub extrinsic: Option<String>,
    /// TFChain block of the contract.
    pub block: Option<i64>,
    /// Why it failed, or the latest attempt did.
    pub reason: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// When the command was accepted.
    pub created_at: DateTime<Utc>,
    /// Time of the latest event.
    pub updated_at: DateTime<Utc>,
    /// Offset of the latest event in the user's partition.
    pub version: i64,
}

impl FromRow<'_, PgRow> for Deployment {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let state: String = row.try_get("state")?;
        let contract: Option<i64> = row.try_get("contract_id")?;
        Ok(Self {
            id: DeploymentId::from_uuid(row.try_get("id")?),
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            twin_id: TwinId(db::small("twin_id", row.try_get("twin_id")?)?),
            purchase_id: row
                .try_get::<Option<Uuid>, _>("purchase_id")?
                .map(PurchaseId::from_uuid),
            node_id: NodeId(db::small("node_id", row.try_get("node_id")?)?),
            hash: row.try_get("hash")?,
            state: State::parse(&state).ok_or_else(|| db::unreadable("state", &state))?,
            contract_id: contract
                .map(|id| {
                    u64::try_from(id)
                        .map(ContractId)
                        .map_err(|_| db::unreadable("contract_id", &id.to_string()))
                })
                .transpose()?,
            extrinsic: row.try_get("extrinsic")?,
            block: row.try_get("block")?,
            reason: row.try_get("reason")?,
            detail: row.try_get("detail")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// The deployment, or `None`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn get(pool: &PgPool, id: DeploymentId) -> Result<Option<Deployment>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM deployments WHERE id = $1")
        .bind(id.uuid())
        .fetch_optional(pool)
        .await
}

/// The deployments of a user, or of everybody, the latest first: at most `limit` of those after the
/// row `after`, whoever's that is.
///
/// # Errors
/// When Postgres does not answer.
pub async fn list(
    pool: &PgPool,
    user: Option<UserId>,
    after: Option<DeploymentId>,
    limit: i64,
) -> Result<Vec<Deployment>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM deployments
          WHERE ($1::uuid IS NULL OR user_id = $1)
            AND ($2::uuid IS NULL OR (created_at, id) < (SELECT created_at, id FROM deployments WHERE id = $2))
          ORDER BY created_at DESC, id DESC LIMIT $3",
    )
    .bind(user.map(|id| id.uuid()))
    .bind(after.map(|id| id.uuid()))
    .bind(limit)
    .fetch_all(pool)
    .await
}

fn requested(e: &DeploymentRequested, time: DateTime<Utc>, offset: i64) -> Deployment {
    Deployment {
        id: e.deployment_id,
        user_id: e.user_id,
        twin_id: e.twin_id,
        purchase_id: e.waits_for,
        node_id: e.node_id,
        hash: e.hash.clone(),
        state: if e.waits_for.is_some() {
            State::WaitingForFunds
        } else {
            State::Requested
        },
        contract_id: None,
        extrinsic: None,
        block: None,
        reason: None,
        detail: None,
        created_at: e.requested_at.to_datetime().unwrap_or(time),
        updated_at: time,
        version: offset,
    }
}

/// What an event is about.
enum About {
    Deployment(DeploymentId),
    /// Every deployment that waits for the purchase.
    Purchase(PurchaseId),
    Nothing,
}

fn about(event: &DeploymentEvent) -> About {
    match event {
        DeploymentEvent::DeploymentRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentCreated(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractFailed(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentFailed(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::FundsArrived(e) => About::Purchase(e.purchase_id),
        DeploymentEvent::PurchaseEnded(e) => About::Purchase(e.purchase_id),
        DeploymentEvent::TimerFired(_) | DeploymentEvent::DeadLetterReleased(_) => About::Nothing,
    }
}

/// Changes a row that exists by an event that is about it.
fn fold(d: &mut Deployment, event: &DeploymentEvent, at: Timestamp, offset: i64) {
    match event {
        DeploymentEvent::DeploymentRequested(_)
        | DeploymentEvent::TimerFired(_)
        | DeploymentEvent::DeadLetterReleased(_) => {}
        DeploymentEvent::FundsArrived(_) => {
            if d.state != State::WaitingForFunds {
                return;
            }
            d.state = State::Requested;
        }
        DeploymentEvent::PurchaseEnded(e) => {
            if d.state != State::WaitingForFunds {
                return;
            }
            d.detail = Some(e.detail.clone());
        }
        DeploymentEvent::ContractRequested(_) => {
            if !d.state.is_final() {
                d.state = State::Submitted;
            }
        }
        DeploymentEvent::DeploymentCreated(e) => {
            d.state = State::Created;
            d.contract_id = Some(e.contract_id);
            d.extrinsic = Some(e.extrinsic.clone());
            d.block = Some(e.block);
            d.reason = None;
            d.detail = None;
        }
        DeploymentEvent::ContractFailed(e) => {
            d.reason = Some(e.code.clone());
            d.detail = Some(e.detail.clone());
        }
        DeploymentEvent::DeploymentFailed(e) => {
            d.state = State::Failed;
            d.reason = Some(e.reason.clone());
            d.detail = Some(e.detail.clone());
        }
    }
    d.updated_at = at.to_datetime().unwrap_or_default();
    d.version = offset;
}

/// Folds the fresh entries; gives the ids of the deployments that changed.
pub(crate) async fn apply(
    tx: &mut PgConnection,
    fresh: &[&Entry],
) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let mut entries: Vec<(&Entry, &DeploymentEvent)> = Vec::new();
    let (mut ids, mut purchases) = (BTreeSet::new(), BTreeSet::new());
    for entry in fresh {
        let AnyEvent::Deployment(event) = &entry.event else {
            continue;
        };
        match about(event) {
            About::Deployment(id) => ids.insert(id.uuid()),
            About::Purchase(id) => purchases.insert(id.uuid()),
            About::Nothing => continue,
        };
        entries.push((entry, event.as_ref()));
    }
    if entries.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut rows: BTreeMap<Uuid, Deployment> = sqlx::query_as::<_, Deployment>(
        "SELECT * FROM deployments WHERE id = ANY($1) OR purchase_id = ANY($2)",
    )
    .bind(ids.into_iter().collect::<Vec<_>>())
    .bind(purchases.into_iter().collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .map(|d| (d.id.uuid(), d))
    .collect();
    for (entry, event) in entries {
        let (at, offset) = (entry.envelope.time, entry.place.offset);
        match about(event) {
            About::Deployment(id) => {
                if let DeploymentEvent::DeploymentRequested(e) = event {
                    rows.entry(id.uuid()).or_insert_with(|| {
                        requested(e, at.to_datetime().unwrap_or_default(), offset)
                    });
                }
                if let Some(d) = rows.get_mut(&id.uuid()) {
                    fold(d, event, at, offset);
                }
            }
            About::Purchase(id) => rows
                .values_mut()
                .filter(|d| d.purchase_id == Some(id))
                .for_each(|d| fold(d, event, at, offset)),
            About::Nothing => {}
        }
    }
    let changed: Vec<Deployment> = rows.into_values().collect();
    sqlx::query(
        "INSERT INTO deployments SELECT * FROM jsonb_populate_recordset(NULL::deployments, $1)
         ON CONFLICT (id) DO UPDATE SET
            (state, contract_id, extrinsic, block, reason, detail, updated_at, version) =
            (EXCLUDED.state, EXCLUDED.contract_id, EXCLUDED.extrinsic, EXCLUDED.block,
             EXCLUDED.reason, EXCLUDED.detail, EXCLUDED.updated_at, EXCLUDED.version)",
    )
    .bind(db::rows(&changed)?)
    .execute(tx)
    .await?;
    Ok(changed.iter().map(|d| d.id.uuid()).collect())
}
