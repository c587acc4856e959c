//! A batch of records on its way from the log into the tables.

use crate::{
    applications, balances, changes, credits, db, deployments, deposits, notifications, progress,
    purchases, timeline, treasury, undecodable, users,
};
use crash_points::{Point, pass};
use events::applications::NodeApplicationEvent;
use events::approvals::ApprovalEvent;
use events::deployments::DeploymentEvent;
use events::deposits::DepositEvent;
use events::envelope::Envelope;
use events::notifications::NotificationEvent;
use events::purchases::PurchaseEvent;
use events::treasury::TreasuryEvent;
use events::users::UserEvent;
use sqlx::PgPool;
use std::collections::BTreeMap;

/// Where a record stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub topic: &'static str,
    pub partition: i32,
    pub offset: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

/// An event of any topic that is folded.
#[derive(Debug, Clone)]
pub(crate) enum AnyEvent {
    Purchase(Box<PurchaseEvent>),
    Deployment(Box<DeploymentEvent>),
    User(UserEvent),
    Deposit(Box<DepositEvent>),
    Treasury(Box<TreasuryEvent>),
    Notification(Box<NotificationEvent>),
    Application(Box<NodeApplicationEvent>),
    Approval(Box<ApprovalEvent>),
}

/// A record that is an event.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub place: Place,
    pub envelope: Envelope,
    pub event: AnyEvent,
}

/// A record as it came out of the log.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events")]
pub(crate) enum Item {
    Event(Entry),
    Undecodable { place: Place, reason: String },
}

impl Item {
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Event(entry) => entry.place,
            Self::Undecodable { place, .. } => *place,
        }
    }
}

/// From where to where a partition moves with a batch: `(next offset before, next offset after)`.
pub(crate) type Moves = BTreeMap<(&'static str, i32), (i64, i64)>;

/// What a committed batch did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    pub folded: u64,
    pub echoes: u64,
    pub undecodable: u64,
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("another process has taken the projection over")]
    Fenced,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Who writes: the projection's name and the epoch that it took.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub projection: String,
    pub epoch: i64,
}

/// Folds `items` and moves the offsets, all in one transaction.
pub(crate) async fn apply(
    pool: &PgPool,
    writer: &Writer,
    items: &[Item],
    moves: &Moves,
) -> Result<Done, ApplyError> {
    let mut tx = pool.begin().await?;
    // First the offsets: a writer that was fenced is turned away before it touches a row.
    match progress::advance(&mut tx, writer, moves).await? {
        progress::Advance::Moved => {}
        // The answer to an earlier commit of this very batch was lost.
        progress::Advance::AlreadyThere => return Ok(Done::default()),
        progress::Advance::Fenced => return Err(ApplyError::Fenced),
    }
    let entries: Vec<&Entry> = items
        .iter()
        .filter_map(|item| match item {
            Item::Event(entry) => Some(entry),
            Item::Undecodable { .. } => None,
        })
        .collect();
    let fresh = timeline::insert(&mut tx, &entries).await?;
    let mut changed = purchases::apply(&mut tx, &fresh).await?;
    changed.extend(deployments::apply(&mut tx, &fresh).await?);
    changed.extend(users::apply(&mut tx, &fresh).await?);
    deposits::apply(&mut tx, &fresh).await?;
    credits::apply(&mut tx, &fresh).await?;
    balances::apply(&mut tx, &fresh).await?;
    treasury::apply(&mut tx, &fresh).await?;
    changed.extend(notifications::apply(&mut tx, &fresh).await?);
    changed.extend(applications::apply(&mut tx, &fresh).await?);
    let bad: Vec<(Place, &str)> = items
        .iter()
        .filter_map(|item| match item {
            Item::Event(_) => None,
            Item::Undecodable { place, reason } => Some((*place, reason.as_str())),
        })
        .collect();
    undecodable::insert(&mut tx, &bad).await?;
    changes::announce(&mut tx, &changed).await?;
    pass(Point::BeforeCommit);
    tx.commit().await?;
    pass(Point::AfterCommit);
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Ok(Done {
        folded: count(fresh.len()),
        echoes: count(entries.len() - fresh.len()),
        undecodable: count(bad.len()),
    })
}

/// Whether an error means that a record of the batch cannot be held by the tables.
pub(crate) fn is_about_content(error: &ApplyError) -> bool {
    match error {
        ApplyError::Fenced => false,
        ApplyError::Database(e) => db::refuses_content(e),
    }
}
