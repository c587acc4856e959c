//! Users: their twin, and who is an operator.

use super::to_person;
use crate::kinds::figure;
use events::envelope::Record;
use events::notifications::{NotificationEvent, OPERATORS, OperatorAdded, OperatorRemoved};
use events::users::UserEvent;
use pipeline::{Decision, Forward, Policy, Timer};
use std::collections::BTreeSet;

/// The policy `user-notices`.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserNotices;

/// Roles whose holders are told what concerns all operators.
const OPERATING: [&str; 2] = ["dashboard_operator", "admin"];
/// A twin is tried again by itself; its user is told at this failure, once.
const TOLD_AT: i32 = 3;

/// Which of the operating roles a user has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles(BTreeSet<String>);

impl Policy for UserNotices {
    const NAME: &'static str = "user-notices";
    type Event = UserEvent;
    type State = Roles;

    fn evolve(&self, mut state: Roles, record: &Record<UserEvent>) -> Roles {
        match &record.event {
            UserEvent::RoleGranted(e) if OPERATING.contains(&e.role.as_str()) => {
                state.0.insert(e.role.clone());
            }
            UserEvent::RoleRevoked(e) => {
                state.0.remove(&e.role);
            }
            _ => {}
        }
        state
    }

    fn decide(&self, state: &Roles, record: &Record<UserEvent>) -> Decision<UserEvent> {
        let nothing = Decision::nothing();
        match &record.event {
            UserEvent::TwinCreated(e) => {
                let figures = vec![
                    figure("twin_id", e.twin_id),
                    figure("account", &e.account),
                    figure("block", e.block),
                ];
                nothing.forward(to_person(record, e.user_id, "twin_created", figures))
            }
            UserEvent::TwinFailed(e) if e.attempt == TOLD_AT => {
                let figures = vec![
                    figure("attempt", e.attempt),
                    figure("code", &e.code),
                    figure("detail", &e.detail),
                ];
                nothing.forward(to_person(record, e.user_id, "twin_failed", figures))
            }
            UserEvent::RoleGranted(e)
                if state.0.is_empty() && OPERATING.contains(&e.role.as_str()) =>
            {
                let added = OperatorAdded { user_id: e.user_id };
                nothing.forward(Forward::new::<NotificationEvent>(OPERATORS, added))
            }
            UserEvent::RoleRevoked(e) if state.0.len() == 1 && state.0.contains(&e.role) => {
                let removed = OperatorRemoved { user_id: e.user_id };
                nothing.forward(Forward::new::<NotificationEvent>(OPERATORS, removed))
            }
            UserEvent::UserRegistered(_)
            | UserEvent::TwinRequested(_)
            | UserEvent::TwinFailed(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::TimerFired(_)
            | UserEvent::DeadLetterReleased(_) => nothing,
        }
    }

    fn timers(&self, _: &Roles) -> Vec<Timer> {
        Vec::new()
    }

    fn timer_fired(&self, _: &str, _: &Timer) -> Option<UserEvent> {
        None
    }
}
