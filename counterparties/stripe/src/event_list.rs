//! Stripe's list of events: what it tells by webhook, told again to whoever asks, for 30 days.

use crate::client::StripeClient;
use crate::outcome;
use crate::port::StripeReadError;
use crate::webhook;
use async_trait::async_trait;
use events::stripe::StripeFacts;
use events::time::Timestamp;
use miniserde::json::Value;
use stripe::{StripeError, StripeRequest};
use stripe_core::event::ListEvent;
use stripe_types::RangeQueryTs;

/// Stripe's largest page.
const PAGE: i64 = 100;

/// The types of events that say something about a payment of ours; at most 20, as Stripe takes no
/// more in a list. An endpoint for webhooks should be subscribed to these, too.
pub const KINDS: [&str; 15] = [
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.succeeded",
    "charge.refunded",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
    "refund.created",
    "refund.updated",
    "refund.failed",
];

/// A page of the list, of the types in [`KINDS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<StripeFacts>,
    /// Whether there are newer ones.
    pub more: bool,
}

/// Reads Stripe's list of events.
#[async_trait]
pub trait StripeEvents: Send + Sync {
    /// The events just newer than this one; at most 100.
    ///
    /// # Errors
    /// [`StripeReadError::Missing`] when Stripe does not know the event (any more).
    async fn after(&self, event_id: &str) -> Result<EventPage, StripeReadError>;

    /// The newest event that was made before `time`.
    ///
    /// # Errors
    /// [`StripeReadError::Unavailable`].
    async fn last_before(&self, time: Timestamp) -> Result<Option<StripeFacts>, StripeReadError>;

    /// The oldest event that Stripe still has. Stripe lists the newest first, so this walks
    /// through all of them.
    ///
    /// # Errors
    /// [`StripeReadError::Unavailable`].
    async fn oldest(&self) -> Result<Option<StripeFacts>, StripeReadError>;
}

impl StripeClient {
    /// The facts of a notification: its object is fetched. One that Stripe does not have any more
    /// leaves the notification as it is.
    ///
    /// # Errors
    /// [`StripeReadError::Unavailable`].
    pub async fn fetch(
        &self,
        notification: webhook::Notification,
    ) -> Result<StripeFacts, StripeReadError> {
        let object = match notification.object_path() {
            None => None,
            Some(path) => match self.ask(path, None).await {
                Ok(object) => serde_json::from_str(&miniserde::json::to_string(&object)).ok(),
                Err(StripeReadError::Missing(_)) => None,
                Err(error) => return Err(error),
            },
        };
        Ok(notification.facts(object, (self.clock)()))
    }

    /// As raw JSON: the library's own types refuse what they do not know, and we pass on what
    /// Stripe said.
    async fn ask(&self, path: &str, query: Option<String>) -> Result<Value, StripeReadError> {
        // A request is made by the library alone; of this one path and query are ours.
        let mut request = ListEvent::new().build();
        (request.path, request.query) = (path.to_owned(), query);
        request
            .customize()
            .timeout(self.timeout)
            .send(&self.client)
            .await
            .map_err(|error| match &error {
                StripeError::Stripe(errors, 400 | 404)
                    if errors
                        .code
                        .as_ref()
                        .is_some_and(|c| c.as_str() == "resource_missing") =>
                {
                    StripeReadError::Missing(outcome::describe(&error))
                }
                _ => StripeReadError::Unavailable(outcome::describe(&error)),
            })
    }

    async fn list(&self, list: ListEvent, limit: i64) -> Result<EventPage, StripeReadError> {
        let list = list.types(KINDS.map(str::to_owned)).limit(limit).build();
        let page = self.ask(&list.path, list.query).await?;
        read(&page, (self.clock)()).ok_or_else(|| {
            StripeReadError::Unavailable("Stripe's list of events is no list".into())
        })
    }
}

/// Reads a page, which lists the newest first.
fn read(page: &Value, heard_at: Timestamp) -> Option<EventPage> {
    let Value::Object(page) = page else {
        return None;
    };
    let (Some(Value::Array(data)), Some(Value::Bool(more))) =
        (page.get("data"), page.get("has_more"))
    else {
        return None;
    };
    let events = data
        .iter()
        .rev()
        .map(|event| webhook::facts(miniserde::json::to_string(event).as_bytes(), heard_at).ok())
        .collect::<Option<Vec<StripeFacts>>>()?;
    Some(EventPage {
        events,
        more: *more,
    })
}

#[async_trait]
impl StripeEvents for StripeClient {
    async fn after(&self, event_id: &str) -> Result<EventPage, StripeReadError> {
        self.list(ListEvent::new().ending_before(event_id), PAGE)
            .await
    }

    async fn last_before(&self, time: Timestamp) -> Result<Option<StripeFacts>, StripeReadError> {
        let list = ListEvent::new().created(RangeQueryTs::lt(time.seconds()));
        Ok(self.list(list, 1).await?.events.pop())
    }

    async fn oldest(&self) -> Result<Option<StripeFacts>, StripeReadError> {
        let mut oldest: Option<StripeFacts> = None;
        loop {
            let mut list = ListEvent::new();
            if let Some(known) = &oldest {
                list = list.starting_after(&known.stripe_event_id);
            }
            let page = self.list(list, PAGE).await?;
            let Some(first) = page.events.into_iter().next() else {
                return Ok(oldest);
            };
            // A page that does not advance would loop for ever.
            if !page.more || oldest.as_ref() == Some(&first) {
                return Ok(Some(first));
            }
            oldest = Some(first);
        }
    }
}
