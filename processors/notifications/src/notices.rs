//! What the other topics tell that somebody may want to know. Each policy here reads one topic and
//! appends to `notifications` alone; whether and how somebody is told is decided there.

mod applications;
mod deployments;
mod deposits;
mod purchases;
mod treasury;
mod users;

pub use applications::ApplicationNotices;
pub use deployments::DeploymentNotices;
pub use deposits::DepositNotices;
pub use purchases::PurchaseNotices;
pub use treasury::TreasuryNotices;
pub use users::UserNotices;

use events::envelope::Record;
use events::ids::UserId;
use events::notifications::{
    Figure, NoticeRaised, NotificationEvent, OPERATORS, OperatorsNoticeRaised,
};
use pipeline::Forward;

/// Tells a person what the record says.
fn to_person<E>(
    record: &Record<E>,
    user: UserId,
    kind: &'static str,
    figures: Vec<Figure>,
) -> Forward {
    let notice = NoticeRaised {
        user_id: user,
        kind: kind.to_owned(),
        source_event_id: record.id(),
        figures,
        happened_at: record.time(),
    };
    Forward::new::<NotificationEvent>(user.to_string(), notice)
}

/// Tells all operators what the record says.
fn to_operators<E>(record: &Record<E>, kind: &'static str, figures: Vec<Figure>) -> Forward {
    let notice = OperatorsNoticeRaised {
        kind: kind.to_owned(),
        source_event_id: record.id(),
        figures,
        happened_at: record.time(),
    };
    Forward::new::<NotificationEvent>(OPERATORS, notice)
}
