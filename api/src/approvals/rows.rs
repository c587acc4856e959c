//! Approvals as they stand in Postgres: the row that decides.

use super::rules::{Standing, State, Sum};
use chrono::{DateTime, Utc};
use events::approvals::OperatorAction;
use events::ids::{ApprovalId, EventId, TwinId, UserId};
use events::time::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use uuid::Uuid;

/// An approval.
#[derive(Debug, Clone)]
pub(super) struct Approval {
    pub id: ApprovalId,
    pub action: OperatorAction,
    pub target: String,
    pub twin: Option<TwinId>,
    pub sum: Option<Sum>,
    pub threshold: Option<i64>,
    pub second_person: bool,
    pub state: State,
    pub asked_by: UserId,
    pub reason: String,
    pub requested_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub fingerprint: Vec<u8>,
    pub effect_topic: Option<String>,
    pub effect_key: String,
    pub effect_partition: Option<i32>,
    pub decided_by: Option<UserId>,
    pub decision_reason: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    pub decided_command: Option<EventId>,
    pub used_at: Option<DateTime<Utc>>,
}

/// Every action.
pub(super) const ACTIONS: [OperatorAction; 6] = [
    OperatorAction::Redrive,
    OperatorAction::Discard,
    OperatorAction::DepositReturn,
    OperatorAction::DepositAssignment,
    OperatorAction::PurchaseRefund,
    OperatorAction::TreasuryTransfer,
];

/// As rows and bodies name it.
pub(super) const fn action_name(action: OperatorAction) -> &'static str {
    match action {
        OperatorAction::Redrive => "redrive",
        OperatorAction::Discard => "discard",
        OperatorAction::DepositReturn => "deposit_return",
        OperatorAction::DepositAssignment => "deposit_assignment",
        OperatorAction::PurchaseRefund => "purchase_refund",
        OperatorAction::TreasuryTransfer => "treasury_transfer",
    }
}

/// The action of this name.
pub(super) fn action(name: &str) -> Option<OperatorAction> {
    ACTIONS.into_iter().find(|a| action_name(*a) == name)
}

fn unknown(column: &str, found: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: format!("unknown value {found:?}").into(),
    }
}

impl FromRow<'_, PgRow> for Approval {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (state, name): (String, String) = (row.try_get("state")?, row.try_get("action")?);
        let sum = row
            .try_get::<Option<String>, _>("asset")?
            .zip(row.try_get::<Option<i64>, _>("amount")?)
            .map(|(asset, minor)| Sum { asset, minor });
        let twin: Option<i64> = row.try_get("twin_id")?;
        let user = |id: Option<Uuid>| id.map(UserId::from_uuid);
        Ok(Self {
            id: ApprovalId::from_uuid(row.try_get("id")?),
            action: action(&name).ok_or_else(|| unknown("action", &name))?,
            target: row.try_get("target")?,
            twin: twin
                .map(|n| u32::try_from(n).map_err(|_| unknown("twin_id", &n.to_string())))
                .transpose()?
                .map(TwinId),
            sum,
            threshold: row.try_get("threshold")?,
            second_person: row.try_get("second_person")?,
            state: State::parse(&state).ok_or_else(|| unknown("state", &state))?,
            asked_by: UserId::from_uuid(row.try_get("asked_by")?),
            reason: row.try_get("reason")?,
            requested_at: row.try_get("requested_at")?,
            expires_at: row.try_get("expires_at")?,
            fingerprint: row.try_get("fingerprint")?,
            effect_topic: row.try_get("effect_topic")?,
            effect_key: row.try_get("effect_key")?,
            effect_partition: row.try_get("effect_partition")?,
            decided_by: user(row.try_get("decided_by")?),
            decision_reason: row.try_get("decision_reason")?,
            decided_at: row.try_get("decided_at")?,
            decided_command: row
                .try_get::<Option<Uuid>, _>("decided_command")?
                .map(EventId::from_uuid),
            used_at: row.try_get("used_at")?,
        })
    }
}

impl Approval {
    /// What the rules are told.
    pub fn standing(&self) -> Standing {
        Standing {
            asked_by: self.asked_by,
            state: self.state,
            expires_at: Timestamp::from(self.expires_at),
        }
    }
}

pub(super) async fn get(pool: &PgPool, id: ApprovalId) -> Result<Option<Approval>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM approvals WHERE id = $1")
        .bind(id.uuid())
        .fetch_optional(pool)
        .await
}

/// The approval, locked until the transaction ends.
pub(super) async fn lock(
    tx: &mut PgConnection,
    id: ApprovalId,
) -> Result<Option<Approval>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM approvals WHERE id = $1 FOR UPDATE")
        .bind(id.uuid())
        .fetch_optional(tx)
        .await
}

/// The oldest of those that still wait and whose time is over, locked; those that somebody else has
/// locked are theirs.
pub(super) async fn lock_overdue(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<Option<Approval>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM approvals WHERE state = 'waiting' AND expires_at <= $1
          ORDER BY expires_at LIMIT 1 FOR UPDATE SKIP LOCKED",
    )
    .bind(now)
    .fetch_optional(tx)
    .await
}

/// Writes a new approval; false when the id is there already.
///
/// # Errors
/// When another one for the same target waits (`approvals_waiting`), or Postgres does not answer.
pub(super) async fn insert(tx: &mut PgConnection, a: &Approval) -> Result<bool, sqlx::Error> {
    sqlx::query(
        "INSERT INTO approvals
             (id, action, target, twin_id, asset, amount, threshold, second_person, state, asked_by,
              reason, requested_at, expires_at, fingerprint, effect_topic, effect_key, effect_partition)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(a.id.uuid())
    .bind(action_name(a.action))
    .bind(&a.target)
    .bind(a.twin.map(|twin| i64::from(twin.0)))
    .bind(a.sum.as_ref().map(|sum| &sum.asset))
    .bind(a.sum.as_ref().map(|sum| sum.minor))
    .bind(a.threshold)
    .bind(a.second_person)
    .bind(a.state.as_str())
    .bind(a.asked_by.uuid())
    .bind(&a.reason)
    .bind(a.requested_at)
    .bind(a.expires_at)
    .bind(&a.fingerprint)
    .bind(&a.effect_topic)
    .bind(&a.effect_key)
    .bind(a.effect_partition)
    .execute(tx)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Writes what became of it.
pub(super) async fn decided(tx: &mut PgConnection, a: &Approval) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE approvals SET state = $2, decided_by = $3, decision_reason = $4, decided_at = $5,
                decided_command = $6, used_at = $7 WHERE id = $1",
    )
    .bind(a.id.uuid())
    .bind(a.state.as_str())
    .bind(a.decided_by.map(|user| user.uuid()))
    .bind(&a.decision_reason)
    .bind(a.decided_at)
    .bind(a.decided_command.map(|id| id.uuid()))
    .bind(a.used_at)
    .execute(tx)
    .await
    .map(|_| ())
}

/// The latest first, those after a row that the caller has seen.
pub(super) async fn list(
    pool: &PgPool,
    asked_by: Option<UserId>,
    state: Option<State>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Approval>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM approvals
          WHERE ($1::uuid IS NULL OR asked_by = $1)
            AND ($2::text IS NULL OR state = $2)
            AND ($3::uuid IS NULL OR (requested_at, id) < (SELECT requested_at, id FROM approvals WHERE id = $3))
          ORDER BY requested_at DESC, id DESC LIMIT $4",
    )
    .bind(asked_by.map(|user| user.uuid()))
    .bind(state.map(State::as_str))
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await
}
