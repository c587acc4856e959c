//! What changes an approval: under the lock of its row, by the rules. What is agreed to happens by an
//! event whose id follows from the approval's, so it happens once.

use super::rows::{self, Approval};
use super::rules::{self, LIFETIME, Refusal, State, Word};
use super::target::{self, Wish};
use crate::idempotency::{Fingerprint, Key};
use crate::outbox;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use chrono::{DateTime, Utc};
use events::applications::NodeApplicationEvent;
use events::approvals::{
    ApprovalEvent, ApprovalExpired, ApprovalGranted, ApprovalRejected, ApprovalRequested,
    ApprovalUsed, OperatorAction,
};
use events::dead_letters::{DeadLetterReleased, Release};
use events::deployments::DeploymentEvent;
use events::deposits::{DepositAssigned, DepositEvent, DepositReturnOrdered};
use events::ids::{ApprovalId, EventId, PurchaseId, TwinId, UserId};
use events::notifications::NotificationEvent;
use events::purchases::{PurchaseEvent, RefundOrdered};
use events::schema::EventSet;
use events::time::Timestamp;
use events::topics;
use events::treasury::TreasuryEvent;
use events::users::UserEvent;
use sqlx::{PgConnection, PgPool};

fn instant(time: Timestamp) -> DateTime<Utc> {
    time.to_datetime().unwrap_or_default()
}

pub(super) fn missing() -> Problem {
    Problem::new(Kind::NotFound, "there is no approval with this id")
}

/// Of a key that stands for another command.
fn reused() -> Problem {
    Problem::new(
        Kind::IdempotencyKeyReused,
        "this Idempotency-Key was used for a command with another content; take a new one",
    )
}

/// Asks for something. What needs no second person is done at once. Gives the approval's id, and
/// whether the command had come before.
pub(super) async fn ask(
    state: &ApiState,
    by: UserId,
    key: &Key,
    fingerprint: &Fingerprint,
    (wish, reason): (&Wish<'_>, String),
) -> Result<(ApprovalId, bool), Problem> {
    let id = ApprovalId::derive(&[&by.to_string(), key.as_str()]);
    if let Some(known) = rows::get(&state.pool, id).await? {
        return same(&known, fingerprint).map(|()| (id, true));
    }
    let found = target::find(state, wish).await?;
    let second_person = state.limits.need_second(found.sum.as_ref());
    let threshold = found
        .sum
        .as_ref()
        .and_then(|sum| state.limits.of(&sum.asset));
    let now = state.now();
    let mut approval = Approval {
        id,
        action: wish.action,
        target: wish.target.to_owned(),
        twin: wish.twin,
        sum: found.sum,
        threshold,
        second_person,
        state: State::Waiting,
        asked_by: by,
        reason,
        requested_at: instant(now),
        expires_at: instant(now.after(LIFETIME)),
        fingerprint: fingerprint.bytes().to_vec(),
        effect_topic: found.topic,
        effect_key: found.key,
        effect_partition: found.partition,
        decided_by: None,
        decision_reason: None,
        decided_at: None,
        decided_command: None,
        used_at: None,
    };
    let mut tx = state.pool.begin().await?;
    if !rows::insert(&mut tx, &approval)
        .await
        .map_err(waits_already)?
    {
        drop(tx);
        let known = rows::get(&state.pool, id).await?.ok_or_else(missing)?;
        return same(&known, fingerprint).map(|()| (id, true));
    }
    let event = ApprovalRequested {
        approval_id: id,
        action: approval.action,
        target: approval.target.clone(),
        twin_id: approval.twin,
        amount: approval.sum.as_ref().map(|sum| sum.minor),
        asset: approval.sum.as_ref().map(|sum| sum.asset.clone()),
        threshold,
        second_person,
        asked_by: by,
        reason: approval.reason.clone(),
        expires_at: now.after(LIFETIME),
        requested_at: now,
    };
    tell(&mut tx, id, "requested", event, now).await?;
    if !second_person {
        grant(&mut tx, &mut approval, by, key.event_id(by), now).await?;
    }
    tx.commit().await?;
    state.outbox.notify_one();
    Ok((id, false))
}

fn same(known: &Approval, fingerprint: &Fingerprint) -> Result<(), Problem> {
    if known.fingerprint == fingerprint.bytes() {
        return Ok(());
    }
    Err(reused())
}

fn waits_already(error: sqlx::Error) -> Problem {
    let twice = error
        .as_database_error()
        .is_some_and(|e| e.constraint() == Some("approvals_waiting"));
    if twice {
        return Problem::new(
            Kind::NothingToApprove,
            "an approval for this waits already: GET /approvals?state=waiting shows it",
        );
    }
    error.into()
}

/// Says yes or no. Gives whether the command had come before.
pub(super) async fn decide(
    state: &ApiState,
    (by, key): (UserId, &Key),
    id: ApprovalId,
    word: Word,
    reason: Option<String>,
) -> Result<bool, Problem> {
    let (now, command) = (state.now(), key.event_id(by));
    let mut tx = state.pool.begin().await?;
    let mut approval = rows::lock(&mut tx, id).await?.ok_or_else(missing)?;
    if approval.decided_command == Some(command) {
        let same = match word {
            Word::Approve => approval.state == State::Granted,
            Word::Reject => approval.state == State::Rejected,
        };
        return if same { Ok(true) } else { Err(reused()) };
    }
    match rules::decide(&approval.standing(), word, by, now) {
        Ok(State::Granted) => grant(&mut tx, &mut approval, by, command, now).await?,
        Ok(_) => {
            approval.state = State::Rejected;
            approval.decided_by = Some(by);
            approval.decided_at = Some(instant(now));
            approval.decided_command = Some(command);
            approval.decision_reason.clone_from(&reason);
            rows::decided(&mut tx, &approval).await?;
            let event = ApprovalRejected {
                approval_id: id,
                by,
                reason: reason.unwrap_or_default(),
                rejected_at: now,
            };
            tell(&mut tx, id, "rejected", event, now).await?;
        }
        Err(Refusal::Expired) => {
            if approval.state == State::Waiting {
                expire(&mut tx, &mut approval, now).await?;
                tx.commit().await?;
                state.outbox.notify_one();
            }
            return Err(Problem::new(
                Kind::ApprovalExpired,
                "nobody agreed in time; POST /approvals asks again",
            ));
        }
        Err(Refusal::Own) => {
            return Err(Problem::new(
                Kind::OwnApproval,
                "nobody agrees to what they have asked for; another operator has to",
            ));
        }
        Err(Refusal::Ended(ended)) => {
            let detail = format!("it is {}: nothing more can be said to it", ended.as_str());
            return Err(Problem::new(Kind::ApprovalEnded, detail).with("state", ended.as_str()));
        }
    }
    tx.commit().await?;
    state.outbox.notify_one();
    Ok(false)
}

async fn tell(
    tx: &mut PgConnection,
    id: ApprovalId,
    step: &str,
    event: impl Into<ApprovalEvent>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let event_id = EventId::derive(&["approval", &id.to_string(), step]);
    outbox::put(tx, event_id, &id.to_string(), &event.into(), now).await
}

async fn expire(
    tx: &mut PgConnection,
    approval: &mut Approval,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    approval.state = State::Expired;
    rows::decided(tx, approval).await?;
    let event = ApprovalExpired {
        approval_id: approval.id,
        expired_at: Timestamp::from(approval.expires_at),
    };
    tell(tx, approval.id, "expired", event, now).await
}

/// Ends those that nobody agreed to in time, so that the log says so even if nobody asks again.
pub(crate) async fn expire_overdue(pool: &PgPool, now: Timestamp) -> Result<(), sqlx::Error> {
    loop {
        let mut tx = pool.begin().await?;
        let Some(mut approval) = rows::lock_overdue(&mut tx, instant(now)).await? else {
            return Ok(());
        };
        expire(&mut tx, &mut approval, now).await?;
        tx.commit().await?;
    }
}

/// It is agreed to: the event that makes it happen goes to the log behind the one that says so.
async fn grant(
    tx: &mut PgConnection,
    approval: &mut Approval,
    by: UserId,
    command: EventId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let id = approval.id;
    approval.state = State::Granted;
    approval.decided_by = Some(by);
    approval.decided_at = Some(instant(now));
    approval.decided_command = Some(command);
    rows::decided(tx, approval).await?;
    let effect_id = EventId::derive(&["approval", &id.to_string(), "effect"]);
    let event = ApprovalGranted {
        approval_id: id,
        by,
        second_person: approval.second_person,
        effect_id: approval.effect_topic.is_some().then_some(effect_id),
        effect_topic: approval.effect_topic.clone(),
        granted_at: now,
    };
    tell(tx, id, "granted", event, now).await?;
    let who = if approval.second_person {
        format!("{}, agreed to by {by}", approval.asked_by)
    } else {
        by.to_string()
    };
    effect(tx, approval, who, effect_id, now).await
}

async fn effect(
    tx: &mut PgConnection,
    approval: &Approval,
    by: String,
    id: EventId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let key = approval.effect_key.as_str();
    let reason = approval.reason.clone();
    match approval.action {
        OperatorAction::Redrive => release(tx, approval, (by, Release::Redrive), id, now).await,
        OperatorAction::Discard => release(tx, approval, (by, Release::Discard), id, now).await,
        OperatorAction::DepositReturn => {
            let event = DepositReturnOrdered {
                deposit_id: key.to_owned(),
                reason,
                by,
                ordered_at: now,
            };
            outbox::put(tx, id, key, &DepositEvent::from(event), now).await
        }
        OperatorAction::DepositAssignment => {
            let event = DepositAssigned {
                deposit_id: key.to_owned(),
                twin_id: approval.twin.unwrap_or(TwinId(0)),
                reason,
                by,
                assigned_at: now,
            };
            outbox::put(tx, id, key, &DepositEvent::from(event), now).await
        }
        OperatorAction::PurchaseRefund => {
            let purchase_id: PurchaseId = key
                .parse()
                .map_err(|_| sqlx::Error::Encode("the key of a refund is no purchase".into()))?;
            let event = RefundOrdered {
                purchase_id,
                reason,
                by,
                ordered_at: now,
            };
            outbox::put(tx, id, key, &PurchaseEvent::from(event), now).await
        }
        // By hand, with the approval: see `use_up`.
        OperatorAction::TreasuryTransfer => Ok(()),
    }
}

async fn release(
    tx: &mut PgConnection,
    approval: &Approval,
    (by, action): (String, Release),
    id: EventId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let Some((processor, partition, offset)) = target::place(&approval.target) else {
        return Err(sqlx::Error::Encode("the target is no dead letter".into()));
    };
    let released = DeadLetterReleased {
        processor: processor.to_owned(),
        partition,
        offset,
        action,
        reason: approval.reason.clone(),
        by,
        released_at: now,
    };
    let note = released.clone();
    let topic = approval.effect_topic.as_deref().unwrap_or_default();
    if topic == topics::PURCHASES.name {
        release_in::<PurchaseEvent>(tx, approval, released, id, now).await?;
    } else if topic == topics::DEPLOYMENTS.name {
        release_in::<DeploymentEvent>(tx, approval, released, id, now).await?;
    } else if topic == topics::DEPOSITS.name {
        release_in::<DepositEvent>(tx, approval, released, id, now).await?;
    } else if topic == topics::TREASURY.name {
        release_in::<TreasuryEvent>(tx, approval, released, id, now).await?;
    } else if topic == topics::USERS.name {
        release_in::<UserEvent>(tx, approval, released, id, now).await?;
    } else if topic == topics::NOTIFICATIONS.name {
        release_in::<NotificationEvent>(tx, approval, released, id, now).await?;
    } else if topic == topics::NODE_APPLICATIONS.name {
        release_in::<NodeApplicationEvent>(tx, approval, released, id, now).await?;
    } else {
        return Err(sqlx::Error::Encode(
            format!("no processor reads {topic}").into(),
        ));
    }
    // Behind it, for `gridway deadletters list`.
    outbox::put_note(tx, id, &approval.effect_key, &note, now).await
}

async fn release_in<E: EventSet + From<DeadLetterReleased>>(
    tx: &mut PgConnection,
    approval: &Approval,
    released: DeadLetterReleased,
    id: EventId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let place = (approval.effect_key.as_str(), approval.effect_partition);
    outbox::put_into(tx, id, place, &E::from(released), now).await
}

/// Why an approval is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum NotUsable {
    /// Postgres does not answer.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    /// It is not about this, not agreed to, or used already.
    #[error("{0}")]
    Refused(String),
}

/// Takes a granted approval for a transfer of the treasury, once: who goes on without it, or with it
/// a second time, is refused. To be done before the transfer.
///
/// # Errors
/// See [`NotUsable`].
pub async fn use_up(
    pool: &PgPool,
    id: ApprovalId,
    (target, sum): (&str, &rules::Sum),
    by: &str,
    now: Timestamp,
) -> Result<(), NotUsable> {
    let refused = |why: String| Err(NotUsable::Refused(why));
    let mut tx = pool.begin().await?;
    let Some(mut approval) = rows::lock(&mut tx, id).await? else {
        return refused(format!("there is no approval {id}"));
    };
    if approval.action != OperatorAction::TreasuryTransfer || approval.target != target {
        return refused(format!("approval {id} is about something else"));
    }
    if approval.state != State::Granted {
        return refused(format!("approval {id} is {}", approval.state.as_str()));
    }
    if approval.used_at.is_some() {
        return refused(format!("approval {id} was used before"));
    }
    if now >= Timestamp::from(approval.expires_at) {
        return refused(format!("approval {id} has expired"));
    }
    let covers = approval
        .sum
        .as_ref()
        .is_some_and(|granted| granted.asset == sum.asset && granted.minor >= sum.minor);
    if !covers {
        return refused(format!(
            "approval {id} is about less, or about another asset"
        ));
    }
    approval.used_at = Some(instant(now));
    rows::decided(&mut tx, &approval).await?;
    let event = ApprovalUsed {
        approval_id: id,
        by: by.to_owned(),
        amount: sum.minor,
        used_at: now,
    };
    tell(&mut tx, id, "used", event, now).await?;
    tx.commit().await?;
    Ok(())
}
