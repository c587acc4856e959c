//! Read model `deployments`: one row per deployment. From topic `deployments`.

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::deployments::{DeploymentEvent, DeploymentRequested};
use events::ids::{ContractId, DeploymentId, NodeId, PurchaseId, TwinId, UserId};
use events::money::{Amount, Tft};
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
    const ALL: [Self; 8] = [
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
    /// Version of that workload.
    pub workload_version: i32,
    /// The highest version that was asked for.
    pub wanted_version: i32,
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
            workload_version: row.try_get("workload_version")?,
            wanted_version: row.try_get("wanted_version")?,
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

/// The deployments of a user, the latest first, at most `limit`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn list(pool: &PgPool, user: UserId, limit: i64) -> Result<Vec<Deployment>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM deployments WHERE user_id = $1 ORDER BY created_at DESC, id LIMIT $2",
    )
    .bind(user.uuid())
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
        workload_version: e.version,
        wanted_version: e.version,
        state: if e.waits_for.is_some() {
            State::WaitingForFunds
        } else {
            State::Requested
        },
        contract_id: None,
        extrinsic: None,
        block: None,
        billed: Amount::ZERO,
        grace_since: None,
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
        DeploymentEvent::DeploymentUpdateRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractUpdateRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractUpdated(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentUpdateRejected(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentUpdateFailed(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentCancelRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractCancelRequested(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractCancelled(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentCancelFailed(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::DeploymentCancelled(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractAppeared(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractBilled(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::GracePeriodStarted(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::GracePeriodEnded(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractCancelledByChain(e) => About::Deployment(e.deployment_id),
        DeploymentEvent::ContractUpdatedByOther(e) => About::Deployment(e.deployment_id),
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
        DeploymentEvent::DeploymentUpdateRequested(e) => {
            // What does not raise the version is rejected.
            if d.state == State::Created && e.version > d.wanted_version {
                d.state = State::Updating;
            }
            d.wanted_version = d.wanted_version.max(e.version);
        }
        DeploymentEvent::DeploymentCancelRequested(_) => {
            if !d.state.has_ended() {
                d.state = State::Cancelling;
            }
        }
        DeploymentEvent::ContractRequested(e) => {
            (d.hash, d.workload_version) = (e.hash.clone(), e.version);
            under_way(d, State::Submitted);
        }
        DeploymentEvent::DeploymentCreated(e) => {
            d.contract_id = Some(e.contract_id);
            done(d, &e.extrinsic, e.block);
            came_to_be(d);
        }
        DeploymentEvent::ContractUpdateRequested(_) => under_way(d, State::Updating),
        DeploymentEvent::ContractUpdated(e) => {
            (d.hash, d.workload_version) = (e.hash.clone(), e.version);
            done(d, &e.extrinsic, e.block);
            came_to_be(d);
        }
        DeploymentEvent::ContractCancelRequested(_) => under_way(d, State::Cancelling),
        DeploymentEvent::ContractCancelled(e) => done(d, &e.extrinsic, e.block),
        DeploymentEvent::ContractFailed(e) => because(d, &e.code, &e.detail),
        DeploymentEvent::DeploymentUpdateRejected(e) => because(d, &e.reason, &e.detail),
        DeploymentEvent::DeploymentUpdateFailed(e) => {
            if e.version >= d.wanted_version {
                under_way(d, State::Created);
            }
            because(d, &e.reason, &e.detail);
        }
        DeploymentEvent::DeploymentCancelFailed(e) => {
            if d.state == State::Cancelling {
                d.state = State::Created;
            }
            because(d, &e.reason, &e.detail);
        }
        DeploymentEvent::ContractAppeared(e) => {
            d.contract_id = d.contract_id.or(Some(e.contract_id));
        }
        DeploymentEvent::ContractBilled(e) => {
            // What does not fit stays at the most that does.
            d.billed = d.billed.checked_add(e.amount).unwrap_or(d.billed);
        }
        DeploymentEvent::GracePeriodStarted(e) => d.grace_since = Some(e.block),
        DeploymentEvent::GracePeriodEnded(_) => d.grace_since = None,
        DeploymentEvent::ContractUpdatedByOther(e) => d.hash.clone_from(&e.hash),
        DeploymentEvent::ContractCancelledByChain(e) => {
            d.contract_id = Some(e.contract_id);
            done(d, "", e.block);
        }
        DeploymentEvent::DeploymentCancelled(e) => {
            d.grace_since = None;
            d.state = State::Cancelled;
            d.contract_id = d.contract_id.or(e.contract_id);
            because(d, &e.reason, &e.detail);
        }
        DeploymentEvent::DeploymentFailed(e) => {
            d.state = State::Failed;
            because(d, &e.reason, &e.detail);
        }
    }
    d.updated_at = at.to_datetime().unwrap_or_default();
    d.version = offset;
}

/// A request is open. Of what is being cancelled people see that, whatever is awaited before.
fn under_way(d: &mut Deployment, state: State) {
    if !d.state.has_ended() && d.state != State::Cancelling {
        d.state = state;
    }
}

/// A workload stands. A newer one may wait for its turn.
fn came_to_be(d: &mut Deployment) {
    under_way(
        d,
        if d.wanted_version > d.workload_version {
            State::Updating
        } else {
            State::Created
        },
    );
}

/// The chain has done something.
fn done(d: &mut Deployment, extrinsic: &str, block: i64) {
    (d.extrinsic, d.block) = (Some(extrinsic.to_owned()), Some(block));
    (d.reason, d.detail) = (None, None);
}

fn because(d: &mut Deployment, reason: &str, detail: &str) {
    (d.reason, d.detail) = (Some(reason.to_owned()), Some(detail.to_owned()));
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
            (hash, workload_version, wanted_version, state, contract_id, extrinsic, block,
             billed, grace_since, reason, detail, updated_at, version) =
            (EXCLUDED.hash, EXCLUDED.workload_version, EXCLUDED.wanted_version, EXCLUDED.state,
             EXCLUDED.contract_id, EXCLUDED.extrinsic, EXCLUDED.block,
             EXCLUDED.billed, EXCLUDED.grace_since, EXCLUDED.reason, EXCLUDED.detail, EXCLUDED.updated_at, EXCLUDED.version)",
    )
    .bind(db::rows(&changed)?)
    .execute(tx)
    .await?;
    Ok(changed.iter().map(|d| d.id.uuid()).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, reason = "tests fail by panicking")]
    use super::*;
    use events::deployments::{
        ContractBilled, ContractCancelledByChain, ContractFailed, ContractRequested,
        ContractUpdated, DeploymentCancelFailed, DeploymentCancelRequested, DeploymentCancelled,
        DeploymentCreated, DeploymentUpdateFailed, DeploymentUpdateRequested, GracePeriodEnded,
        GracePeriodStarted, Operation,
    };
    use events::ids::EventId;

    const AT: Timestamp = Timestamp(1_790_000_000_000);

    fn id() -> DeploymentId {
        DeploymentId::derive(&["d"])
    }

    fn user() -> UserId {
        UserId::derive(&["u"])
    }

    fn order() -> DeploymentRequested {
        DeploymentRequested {
            deployment_id: id(),
            user_id: user(),
            twin_id: TwinId(7),
            node_id: NodeId(3),
            version: 1,
            data: String::new(),
            hash: "h1".to_owned(),
            public_ips: 0,
            solution_provider: None,
            waits_for: None,
            minimum_balance: Amount::ZERO,
            requested_at: AT,
        }
    }

    fn asked(version: i32) -> DeploymentEvent {
        DeploymentUpdateRequested {
            deployment_id: id(),
            user_id: user(),
            version,
            data: String::new(),
            hash: format!("h{version}"),
            requested_at: AT,
        }
        .into()
    }

    fn submitted() -> DeploymentEvent {
        ContractRequested {
            deployment_id: id(),
            user_id: user(),
            twin_id: TwinId(7),
            attempt: 1,
            node_id: NodeId(3),
            version: 1,
            hash: "h1".to_owned(),
            data: String::new(),
            public_ips: 0,
            solution_provider: None,
            minimum_balance: Amount::ZERO,
            deadline: AT,
        }
        .into()
    }

    fn created() -> DeploymentEvent {
        DeploymentCreated {
            deployment_id: id(),
            user_id: user(),
            request_id: EventId::derive(&["c"]),
            node_id: NodeId(3),
            contract_id: ContractId(9),
            hash: "h1".to_owned(),
            extrinsic: "x1".to_owned(),
            block: 5,
        }
        .into()
    }

    fn updated(version: i32) -> DeploymentEvent {
        ContractUpdated {
            deployment_id: id(),
            user_id: user(),
            request_id: EventId::derive(&["u"]),
            contract_id: ContractId(9),
            version,
            hash: format!("h{version}"),
            extrinsic: format!("x{version}"),
            block: 6,
        }
        .into()
    }

    fn update_failed(version: i32) -> DeploymentEvent {
        DeploymentUpdateFailed {
            deployment_id: id(),
            user_id: user(),
            version,
            reason: "never_will".to_owned(),
            detail: String::new(),
        }
        .into()
    }

    fn end_asked() -> DeploymentEvent {
        DeploymentCancelRequested {
            deployment_id: id(),
            user_id: user(),
            requested_at: AT,
        }
        .into()
    }

    fn end_failed() -> DeploymentEvent {
        DeploymentCancelFailed {
            deployment_id: id(),
            user_id: user(),
            reason: "NodeHasActiveContracts".to_owned(),
            detail: String::new(),
        }
        .into()
    }

    fn ended() -> DeploymentEvent {
        DeploymentCancelled {
            deployment_id: id(),
            user_id: user(),
            contract_id: Some(ContractId(9)),
            reason: "by_user".to_owned(),
            detail: String::new(),
        }
        .into()
    }

    /// The states after each event of a deployment that was asked for, and the row in the end.
    fn states(events: &[DeploymentEvent]) -> (Vec<&'static str>, Deployment) {
        let Some(at) = AT.to_datetime() else {
            panic!("no time")
        };
        let mut row = requested(&order(), at, 0);
        let states = (1..).zip(events).map(|(offset, event)| {
            fold(&mut row, event, AT, offset);
            row.state.as_str()
        });
        (states.collect(), row)
    }

    #[test]
    fn a_deployment_goes_from_workload_to_workload_to_its_end() {
        let way = [
            submitted(),
            created(),
            asked(2),
            updated(2),
            end_asked(),
            ended(),
        ];
        let (seen, row) = states(&way);
        let wanted = [
            "submitted",
            "created",
            "updating",
            "created",
            "cancelling",
            "cancelled",
        ];
        assert_eq!(seen, wanted);
        assert_eq!((row.hash.as_str(), row.workload_version), ("h2", 2));
        assert_eq!(row.extrinsic.as_deref(), Some("x2"));
        assert_eq!(
            (row.contract_id, row.version),
            (Some(ContractId(9)), 6),
            "{row:?}"
        );
        assert!(row.state.has_ended());
    }

    #[test]
    fn what_was_asked_meanwhile_shows_until_it_is_done() {
        let (seen, _) = states(&[submitted(), asked(2), created(), updated(2)]);
        assert_eq!(seen, ["submitted", "submitted", "updating", "created"]);
        let (seen, _) = states(&[submitted(), end_asked(), created(), ended(), created()]);
        assert_eq!(
            seen[1..],
            ["cancelling", "cancelling", "cancelled", "cancelled"]
        );
    }

    #[test]
    fn what_failed_leaves_the_deployment_as_it_was() {
        let (seen, row) = states(&[created(), asked(2), asked(2), update_failed(2)]);
        assert_eq!(seen, ["created", "updating", "updating", "created"]);
        assert_eq!((row.workload_version, row.wanted_version), (1, 2));
        assert_eq!(row.reason.as_deref(), Some("never_will"));
        let (seen, _) = states(&[created(), asked(2), asked(3), update_failed(2), updated(3)]);
        assert_eq!(seen[3..], ["updating", "created"]);
        let (seen, _) = states(&[created(), end_asked(), end_failed()]);
        assert_eq!(seen[1..], ["cancelling", "created"]);
        let failed = ContractFailed {
            deployment_id: id(),
            user_id: user(),
            request_id: EventId::derive(&["c"]),
            attempt: 1,
            code: "never_will".to_owned(),
            detail: String::new(),
            operation: Operation::Create,
        };
        let (seen, row) = states(&[submitted(), failed.into()]);
        assert_eq!(seen[1], "submitted");
        assert_eq!(row.reason.as_deref(), Some("never_will"));
    }

    #[test]
    fn what_the_chain_does_by_itself_shows() {
        let billed = |amount| {
            DeploymentEvent::from(ContractBilled {
                deployment_id: id(),
                user_id: user(),
                contract_id: ContractId(9),
                amount: Amount::from_whole(amount),
                block: 20,
                event_index: 1,
            })
        };
        let started = DeploymentEvent::from(GracePeriodStarted {
            deployment_id: id(),
            user_id: user(),
            contract_id: ContractId(9),
            block: 21,
            event_index: 1,
        });
        let before = [created(), billed(2), billed(3), started];
        let (seen, row) = states(&before);
        assert!(seen.iter().all(|state| *state == "created"));
        assert_eq!(
            (row.billed, row.grace_since),
            (Amount::from_whole(5), Some(21))
        );
        let ended = DeploymentEvent::from(GracePeriodEnded {
            deployment_id: id(),
            user_id: user(),
            contract_id: ContractId(9),
            block: 22,
            event_index: 1,
        });
        let (_, row) = states(&[before.as_slice(), &[ended]].concat());
        assert_eq!(row.grace_since, None);
        let gone = DeploymentEvent::from(ContractCancelledByChain {
            deployment_id: id(),
            user_id: user(),
            contract_id: ContractId(9),
            block: 23,
            event_index: 1,
        });
        let (seen, row) = states(&[created(), gone, self::ended()]);
        assert_eq!(seen, ["created", "created", "cancelled"]);
        assert_eq!((row.extrinsic.as_deref(), row.block), (Some(""), Some(23)));
    }
}
