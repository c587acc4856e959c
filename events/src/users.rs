//! Events of the `users` topic, keyed by user id.

pub use crate::dead_letters::DeadLetterReleased;
use crate::ids::{EventId, TwinId, UserId};
use crate::money::{Amount, Tft};
use crate::schema::event_set;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

event_set! {
    /// Any event of the `users` topic.
    UserEvent, "users", [
        UserRegistered,
        TwinRequested,
        TwinCreated,
        TwinFailed,
        RoleGranted,
        RoleRevoked,
        TimerFired,
        DeadLetterReleased,
    ]
}

/// A person signed up. Personal data is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRegistered {
    /// Also the record key.
    pub user_id: UserId,
    /// Registered at.
    pub registered_at: Timestamp,
}

/// A TFChain account and twin are to be made for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinRequested {
    /// The user.
    pub user_id: UserId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Transfer that activates the account. In 10^-7 units.
    pub activation: Amount<Tft>,
    /// After this the attempt is over.
    pub deadline: Timestamp,
}

/// The twin exists in a finalized block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinCreated {
    /// The user.
    pub user_id: UserId,
    /// The request that this answers.
    pub request_id: EventId,
    /// The twin on TFChain.
    pub twin_id: TwinId,
    /// SS58 address.
    pub account: String,
    /// TFChain block, finalized.
    pub block: i64,
}

/// This attempt made no twin and never will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinFailed {
    /// The user.
    pub user_id: UserId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Code of the counterparty, or never_will.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// A person may do more from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleGranted {
    /// Also the record key.
    pub user_id: UserId,
    /// The role: user, node_operator, dashboard_operator, admin or auditor.
    pub role: String,
    /// Who decided it: a user id, or the operator of a command line.
    pub by: String,
    /// When.
    pub granted_at: Timestamp,
}

/// A person may do less from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRevoked {
    /// Also the record key.
    pub user_id: UserId,
    /// The role: user, node_operator, dashboard_operator, admin or auditor.
    pub role: String,
    /// Who decided it: a user id, or the operator of a command line.
    pub by: String,
    /// When.
    pub revoked_at: Timestamp,
}

/// A timer of the user became due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFired {
    /// The user.
    pub user_id: UserId,
    /// Name of the timer.
    pub timer: String,
    /// When it was due.
    pub due: Timestamp,
}
