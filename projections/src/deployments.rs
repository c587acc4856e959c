//! Read model `deployments`: one row per deployment. From topic `deployments`.

mod fold;

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::deployments::{DeploymentEvent, DeploymentKind};
use events::ids::{BatchId, ContractId, DeploymentId, NodeId, PurchaseId, TwinId, UserId};
use events::money::{Amount, Tft};
use fold::{About, about, fold, member, requested};
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
    /// The contract gets another workload.
    Updating,
    /// It is to end: what is under way is awaited, then the contract is cancelled.
    Cancelling,
    /// It has ended.
    Cancelled,
    /// It is given up.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Requested,
        Self::WaitingForFunds,
        Self::Submitted,
        Self::Created,
        Self::Updating,
        Self::Cancelling,
        Self::Cancelled,
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
            Self::Updating => "updating",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Created | Self::Cancelled | Self::Failed)
    }

    /// Whether nothing can be asked of it any more.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Cancelled | Self::Failed)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A workload on a node.
    #[default]
    Node,
    /// A name for the grid's gateways.
    Name,
    /// A whole node.
    Rent,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Node, Self::Name, Self::Rent];

    /// As it is written in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Name => "name",
            Self::Rent => "rent",
        }
    }

    /// Whether it is a workload on a node.
    #[must_use]
    pub const fn is_node(&self) -> bool {
        matches!(self, Self::Node)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl From<DeploymentKind> for Kind {
    fn from(kind: DeploymentKind) -> Self {
        match kind {
            DeploymentKind::Node => Self::Node,
            DeploymentKind::Name => Self::Name,
            DeploymentKind::Rent => Self::Rent,
        }
    }
}

/// What the node has said of the workload. A contract alone runs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Nothing yet.
    None,
    /// It has the workload.
    Delivered,
    /// The workload runs.
    Running,
    /// It cannot run the workload.
    Failed,
}

impl Workload {
    /// Everything that a node may have said.
    pub const ALL: [Self; 4] = [Self::None, Self::Delivered, Self::Running, Self::Failed];

    /// As it is written in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Delivered => "delivered",
            Self::Running => "running",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.as_str() == text)
    }
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deployment {
    /// The deployment.
    pub id: DeploymentId,
    /// What is deployed.
    pub kind: Kind,
    /// The name, of a name.
    pub name: Option<String>,
    /// The batch that it was made in.
    pub batch_id: Option<BatchId>,
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
    /// Version of that workload.
    pub workload_version: i32,
    /// The highest version that was asked for.
    pub wanted_version: i32,
    /// What the node has said of the workload.
    pub workload: Workload,
    /// How far it has come.
    pub state: State,
    /// The node contract.
    pub contract_id: Option<ContractId>,
    /// Hash of the extrinsic; empty when the contract was found by its state.
    pub extrinsic: Option<String>,
    /// TFChain block of the contract.
    pub block: Option<i64>,
    /// What the chain has taken for it.
    pub billed: Amount<Tft>,
    /// TFChain block since which there is no money for it.
    pub grace_since: Option<i64>,
    /// TFChain block of the latest word of that; 0 for none.
    pub grace_told: i64,
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
        let kind: String = row.try_get("kind")?;
        let workload: String = row.try_get("workload")?;
        let contract: Option<i64> = row.try_get("contract_id")?;
        Ok(Self {
            id: DeploymentId::from_uuid(row.try_get("id")?),
            kind: Kind::parse(&kind).ok_or_else(|| db::unreadable("kind", &kind))?,
            name: row.try_get("name")?,
            batch_id: row
                .try_get::<Option<Uuid>, _>("batch_id")?
                .map(BatchId::from_uuid),
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            twin_id: TwinId(db::small("twin_id", row.try_get("twin_id")?)?),
            purchase_id: row
                .try_get::<Option<Uuid>, _>("purchase_id")?
                .map(PurchaseId::from_uuid),
            node_id: NodeId(db::small("node_id", row.try_get("node_id")?)?),
            hash: row.try_get("hash")?,
            workload_version: row.try_get("workload_version")?,
            wanted_version: row.try_get("wanted_version")?,
            workload: Workload::parse(&workload)
                .ok_or_else(|| db::unreadable("workload", &workload))?,
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
            billed: crate::purchases::amount(row, "billed")?,
            grace_since: row.try_get("grace_since")?,
            grace_told: row.try_get("grace_told")?,
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

/// The deployments of a batch, in the order of their ids.
///
/// # Errors
/// When Postgres does not answer.
pub async fn of_batch(pool: &PgPool, batch: BatchId) -> Result<Vec<Deployment>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM deployments WHERE batch_id = $1 ORDER BY id")
        .bind(batch.uuid())
        .fetch_all(pool)
        .await
}

/// Folds the fresh entries; gives the ids of the deployments that changed.
pub(crate) async fn apply(
    tx: &mut PgConnection,
    fresh: &[&Entry],
) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let mut entries: Vec<(&Entry, &DeploymentEvent)> = Vec::new();
    let (mut ids, mut purchases, mut batches) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for entry in fresh {
        let AnyEvent::Deployment(event) = &entry.event else {
            continue;
        };
        match about(event) {
            About::Deployment(id) => ids.insert(id.uuid()),
            About::Purchase(id) => purchases.insert(id.uuid()),
            About::Batch(id) => batches.insert(id.uuid()),
            About::Nothing => continue,
        };
        entries.push((entry, event.as_ref()));
    }
    if entries.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut rows: BTreeMap<Uuid, Deployment> = sqlx::query_as::<_, Deployment>(
        "SELECT * FROM deployments
          WHERE id = ANY($1) OR purchase_id = ANY($2) OR batch_id = ANY($3)",
    )
    .bind(ids.into_iter().collect::<Vec<_>>())
    .bind(purchases.into_iter().collect::<Vec<_>>())
    .bind(batches.into_iter().collect::<Vec<_>>())
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
            About::Batch(id) => {
                if let DeploymentEvent::BatchRequested(e) = event {
                    let time = at.to_datetime().unwrap_or_default();
                    for m in &e.members {
                        rows.entry(m.deployment_id.uuid())
                            .or_insert_with(|| member(e, m, time, offset));
                    }
                }
                rows.values_mut()
                    .filter(|d| d.batch_id == Some(id))
                    .for_each(|d| fold(d, event, at, offset));
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
            (hash, workload_version, wanted_version, workload, state, contract_id, extrinsic, block,
             billed, grace_since, grace_told, reason, detail, updated_at, version) =
            (EXCLUDED.hash, EXCLUDED.workload_version, EXCLUDED.wanted_version,
             EXCLUDED.workload, EXCLUDED.state,
             EXCLUDED.contract_id, EXCLUDED.extrinsic, EXCLUDED.block,
             EXCLUDED.billed, EXCLUDED.grace_since, EXCLUDED.grace_told,
             EXCLUDED.reason, EXCLUDED.detail, EXCLUDED.updated_at, EXCLUDED.version)",
    )
    .bind(db::rows(&changed)?)
    .execute(tx)
    .await?;
    Ok(changed.iter().map(|d| d.id.uuid()).collect())
}
