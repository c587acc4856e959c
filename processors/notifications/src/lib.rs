//! Who is told what, by which channel.
//!
//! Four policies read the other topics and say what a person may want to be told ([`notices`]).
//! The policy `notifications` keeps what each person wants and decides who is told how
//! ([`decide`]); the hands `mails`, `texts` and `webhooks` tell them ([`hands`]). Addresses,
//! numbers and secrets are looked up when something is sent ([`Addresses`]): no event has them.

pub mod decide;
pub mod hands;
pub mod kinds;
pub mod notices;
pub mod state;
pub mod templates;

use async_trait::async_trait;
use counterparties_messaging::WebhookSecret;
use decide::{Rules, timers, transition};
use events::envelope::Record;
use events::ids::{EndpointId, UserId};
use events::notifications::{NotificationEvent, TimerFired};
use pipeline::{Decision, Policy, Timer};
use state::Person;

/// The policy `notifications`.
#[derive(Debug, Clone, Default)]
pub struct Notifications {
    rules: Rules,
}

impl Notifications {
    /// The policy under these rules.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

impl Policy for Notifications {
    const NAME: &'static str = "notifications";
    type Event = NotificationEvent;
    type State = Person;

    fn evolve(&self, state: Person, record: &Record<NotificationEvent>) -> Person {
        transition(&self.rules, state, record).0
    }

    fn decide(
        &self,
        state: &Person,
        record: &Record<NotificationEvent>,
    ) -> Decision<NotificationEvent> {
        transition(&self.rules, state.clone(), record).1
    }

    fn timers(&self, state: &Person) -> Vec<Timer> {
        timers(state)
    }

    fn timer_fired(&self, key: &str, timer: &Timer) -> Option<NotificationEvent> {
        let user_id: UserId = key.parse().ok()?;
        Some(
            TimerFired {
                user_id,
                timer: timer.name.clone(),
                due: timer.due,
            }
            .into(),
        )
    }
}

/// What cannot be looked up for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Where webhooks of an endpoint go.
#[derive(Clone)]
pub struct Endpoint {
    /// The address.
    pub url: String,
    /// What they are signed with: two during a rotation.
    pub secrets: Vec<WebhookSecret>,
}

/// Looks up where somebody is told.
#[async_trait]
pub trait Addresses: Send + Sync {
    /// The verified address of mail.
    ///
    /// # Errors
    /// When it cannot be looked up for now.
    async fn email(&self, user: UserId) -> Result<Option<String>, Unavailable>;

    /// The verified phone number.
    ///
    /// # Errors
    /// When it cannot be looked up for now.
    async fn phone(&self, user: UserId) -> Result<Option<String>, Unavailable>;

    /// A webhook endpoint that was not removed.
    ///
    /// # Errors
    /// When it cannot be looked up for now.
    async fn endpoint(&self, endpoint: EndpointId) -> Result<Option<Endpoint>, Unavailable>;
}
