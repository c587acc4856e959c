//! What is known of whoever is told.

use events::ids::{EndpointId, EventId, NotificationId, UserId};
use events::notifications::{Channel, Figure};
use events::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A person, or, under the key of the operators, who they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// Language of their texts, once they chose one.
    pub language: Option<String>,
    /// What they want otherwise than is usual.
    pub choices: BTreeMap<(String, Channel), bool>,
    /// Whether they have a verified phone number.
    pub phone: bool,
    /// Their webhook endpoints.
    pub endpoints: BTreeMap<EndpointId, Endpoint>,
    /// What is under way.
    pub open: BTreeMap<NotificationId, Open>,
    /// Under the key of the operators: who they are.
    pub operators: BTreeSet<UserId>,
}

/// A webhook endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// Nothing is sent there.
    pub disabled: bool,
    /// Its first failure after its last success.
    pub failing_since: Option<Timestamp>,
}

/// What one person is told by one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whom.
    pub user: UserId,
    /// Which notification.
    pub id: NotificationId,
    /// What happened.
    pub kind: String,
    /// In which language.
    pub language: String,
    /// The event that it tells of.
    pub source: EventId,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// When it happened.
    pub happened_at: Timestamp,
    /// By which channel.
    pub channel: Channel,
    /// To which endpoint, of a webhook.
    pub endpoint: Option<EndpointId>,
}

/// A notification that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The plan.
    pub plan: Plan,
    /// The attempt under way, or the one that failed.
    pub attempt: i32,
    /// When the next attempt is due; `None` while one is under way.
    pub next: Option<Timestamp>,
}
