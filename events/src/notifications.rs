//! Events of the `notifications` topic, keyed by the user id of whoever is told; what concerns all
//! operators is keyed by `operators`. Addresses, numbers and secrets are never in it.

pub use crate::dead_letters::DeadLetterReleased;
use crate::ids::{EndpointId, EventId, NotificationId, UserId};
use crate::schema::event_set;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The record key of what concerns all operators.
pub const OPERATORS: &str = "operators";

event_set! {
    /// Any event of the `notifications` topic.
    NotificationEvent, "notifications", [
        NoticeRaised,
        OperatorsNoticeRaised,
        OperatorAdded,
        OperatorRemoved,
        PreferencesSet,
        PhoneVerified,
        PhoneRemoved,
        WebhookEndpointAdded,
        WebhookEndpointRemoved,
        WebhookEndpointEnabled,
        WebhookEndpointDisabled,
        ResendRequested,
        NotificationRequested,
        NotificationDelivered,
        NotificationAttemptFailed,
        NotificationRefused,
        NotificationFailed,
        TimerFired,
        DeadLetterReleased,
    ]
}

/// Something happened that a person may want to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeRaised {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// What happened, such as purchase_settled; names the template.
    pub kind: String,
    /// The event that it tells of.
    pub source_event_id: EventId,
    /// The figures that the text names; never an address, never personal data.
    pub figures: Vec<Figure>,
    /// When it happened.
    pub happened_at: Timestamp,
}

/// Something happened that every operator may want to be told; keyed by operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorsNoticeRaised {
    /// What happened, such as purchase_settled; names the template.
    pub kind: String,
    /// The event that it tells of.
    pub source_event_id: EventId,
    /// The figures that the text names; never an address, never personal data.
    pub figures: Vec<Figure>,
    /// When it happened.
    pub happened_at: Timestamp,
}

/// A person is told what operators are told from now on; keyed by operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAdded {
    /// Who.
    pub user_id: UserId,
}

/// A person is not told any more what operators are told; keyed by operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRemoved {
    /// Who.
    pub user_id: UserId,
}

/// A person chose what they want to be told, and how; it replaces what they chose before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreferencesSet {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// Language of the text, such as en.
    pub language: String,
    /// Where they want something else than is usual.
    pub choices: Vec<Choice>,
    /// When.
    pub set_at: Timestamp,
}

/// A person has shown that a phone number is theirs; the number is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneVerified {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// When.
    pub verified_at: Timestamp,
}

/// A person has no phone number any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneRemoved {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// When.
    pub removed_at: Timestamp,
}

/// A person registered a webhook endpoint; its address and secret are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookEndpointAdded {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// The webhook endpoint.
    pub endpoint_id: EndpointId,
    /// When.
    pub added_at: Timestamp,
}

/// A person removed a webhook endpoint; nothing is sent there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookEndpointRemoved {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// The webhook endpoint.
    pub endpoint_id: EndpointId,
    /// When.
    pub removed_at: Timestamp,
}

/// A person wants a disabled webhook endpoint to be told again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookEndpointEnabled {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// The webhook endpoint.
    pub endpoint_id: EndpointId,
    /// When.
    pub enabled_at: Timestamp,
}

/// A webhook endpoint has failed for too long, or said that it is gone; nothing is sent there until it is enabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookEndpointDisabled {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// The webhook endpoint.
    pub endpoint_id: EndpointId,
    /// failing or gone.
    pub reason: String,
    /// Its first failure after its last success.
    pub failing_since: Timestamp,
}

/// A person wants a webhook sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResendRequested {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// The notification: one of what happened, to one recipient by one channel.
    pub notification_id: NotificationId,
    /// The webhook endpoint.
    pub endpoint_id: EndpointId,
    /// What happened, such as purchase_settled; names the template.
    pub kind: String,
    /// The event that it tells of.
    pub source_event_id: EventId,
    /// The figures that the text names; never an address, never personal data.
    pub figures: Vec<Figure>,
    /// When it happened.
    pub happened_at: Timestamp,
    /// When.
    pub requested_at: Timestamp,
}

/// Somebody is to be told by one channel, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationRequested {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// The notification: one of what happened, to one recipient by one channel.
    pub notification_id: NotificationId,
    /// What happened, such as purchase_settled; names the template.
    pub kind: String,
    /// Language of the text, such as en.
    pub language: String,
    /// The event that it tells of.
    pub source_event_id: EventId,
    /// The figures that the text names; never an address, never personal data.
    pub figures: Vec<Figure>,
    /// When it happened.
    pub happened_at: Timestamp,
    /// By which channel.
    pub channel: Channel,
    /// The webhook endpoint; null for another channel.
    pub endpoint_id: Option<EndpointId>,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// If this attempt fails, the next one follows so long after; null for the last attempt.
    pub retry_after_ms: Option<i64>,
    /// After this the attempt is over.
    pub deadline: Timestamp,
}

/// The counterparty has taken it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationDelivered {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// The notification: one of what happened, to one recipient by one channel.
    pub notification_id: NotificationId,
    /// The request that this answers.
    pub request_id: EventId,
    /// By which channel.
    pub channel: Channel,
    /// The webhook endpoint; null for another channel.
    pub endpoint_id: Option<EndpointId>,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// HTTP status of a webhook's receiver; null where none came.
    pub status: Option<i32>,
    /// What the counterparty calls it; null where it says nothing.
    pub reference: Option<String>,
    /// When.
    pub delivered_at: Timestamp,
}

/// This attempt told nobody, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationAttemptFailed {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// The notification: one of what happened, to one recipient by one channel.
    pub notification_id: NotificationId,
    /// The request that this answers.
    pub request_id: EventId,
    /// By which channel.
    pub channel: Channel,
    /// The webhook endpoint; null for another channel.
    pub endpoint_id: Option<EndpointId>,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// HTTP status of a webhook's receiver; null where none came.
    pub status: Option<i32>,
    /// A word for programs: of the counterparty, or ours.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// When.
    pub failed_at: Timestamp,
    /// When the next attempt is due; null when there is none.
    pub next_at: Option<Timestamp>,
}

/// The counterparty will never take it, or there is nobody to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationRefused {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// The notification: one of what happened, to one recipient by one channel.
    pub notification_id: NotificationId,
    /// The request that this answers.
    pub request_id: EventId,
    /// By which channel.
    pub channel: Channel,
    /// The webhook endpoint; null for another channel.
    pub endpoint_id: Option<EndpointId>,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// A word for programs: of the counterparty, or ours.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// When.
    pub refused_at: Timestamp,
}

/// It is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationFailed {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// The notification: one of what happened, to one recipient by one channel.
    pub notification_id: NotificationId,
    /// By which channel.
    pub channel: Channel,
    /// The webhook endpoint; null for another channel.
    pub endpoint_id: Option<EndpointId>,
    /// attempts_used_up, endpoint_disabled or endpoint_removed.
    pub reason: String,
}

/// A timer of the person became due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFired {
    /// Who is told; also the record key.
    pub user_id: UserId,
    /// Name of the timer.
    pub timer: String,
    /// When it was due.
    pub due: Timestamp,
}

/// A figure of what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// Its name in the template.
    pub name: String,
    /// As people read it.
    pub value: String,
}

/// What a person wants of a kind and channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What happened, such as purchase_settled.
    pub kind: String,
    /// By which channel.
    pub channel: Channel,
    /// Whether they want to be told.
    pub wanted: bool,
}

/// How somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Channel {
    /// By mail.
    Email,
    /// By a text message to a phone.
    Sms,
    /// By a webhook.
    Webhook,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 3] = [Self::Email, Self::Sms, Self::Webhook];

    /// As answers and tables name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Webhook => "webhook",
        }
    }
}
