//! The hand `webhooks`.
//!
//! Each request is one attempt, whose end is recorded whatever it is: when the next one follows is
//! the policy's. An attempt that may have been made before a crash is made again, under the same
//! `webhook-id`, by which the receiver knows it.

use super::{closes, delivered, failed, refused, request};
use crate::Addresses;
use crate::decide::GONE;
use counterparties_messaging::{WebhookCall, WebhookSender};
use events::envelope::Record;
use events::ids::EventId;
use events::notifications::{Channel, NotificationEvent, NotificationRequested};
use events::outcome::{Attempt, Find, Refusal};
use pipeline::{Executor, Job, Verdict, clock};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const NO_ENDPOINT: &str = "no_endpoint";

/// The executor `webhooks`.
pub struct Webhooks {
    sender: WebhookSender,
    addresses: Arc<dyn Addresses>,
}

impl Webhooks {
    /// The hand.
    #[must_use]
    pub fn new(sender: WebhookSender, addresses: Arc<dyn Addresses>) -> Self {
        Self { sender, addresses }
    }
}

/// What a receiver is sent: the same bytes at each attempt.
#[must_use]
pub fn payload(request: &NotificationRequested) -> String {
    let data: Map<String, Value> = request
        .figures
        .iter()
        .map(|figure| (figure.name.clone(), json!(figure.value)))
        .collect();
    json!({
        "type": request.kind,
        "timestamp": request.happened_at.to_string(),
        "data": data,
        "source_event_id": request.source_event_id,
    })
    .to_string()
}

impl Executor for Webhooks {
    const NAME: &'static str = "webhooks";
    type Event = NotificationEvent;
    type Request = NotificationRequested;
    /// The receiver's status.
    type Proof = u16;
    type Context = ();

    fn observe(&self, (): &mut (), _: &Record<NotificationEvent>) {}

    fn request(&self, record: &Record<NotificationEvent>) -> Option<NotificationRequested> {
        request(record, Channel::Webhook)
    }

    fn closes(&self, event: &NotificationEvent) -> Option<EventId> {
        closes(event)
    }

    /// An endpoint gets one at a time; a slow one holds up nobody else's.
    fn queue(&self, job: &Job<Self>) -> String {
        let endpoint = job.request.endpoint_id.map(|id| id.to_string());
        endpoint.unwrap_or_default()
    }

    async fn find(&self, job: &Job<Self>) -> Find<u16> {
        if clock::now() >= job.request.deadline {
            return Find::NeverWill("the deadline has passed".to_owned());
        }
        Find::Absent
    }

    async fn attempt(&self, job: &Job<Self>) -> Attempt<u16> {
        let Some(id) = job.request.endpoint_id else {
            return Attempt::Refused(Refusal::new(NO_ENDPOINT, ""));
        };
        let endpoint = match self.addresses.endpoint(id).await {
            Ok(Some(endpoint)) => endpoint,
            Ok(None) => return Attempt::Refused(Refusal::new(NO_ENDPOINT, "")),
            Err(why) => return Attempt::NotSent(why.to_string()),
        };
        let body = payload(&job.request);
        let call = WebhookCall {
            id: job.request.notification_id,
            at: clock::now(),
            url: &endpoint.url,
            secrets: &endpoint.secrets,
            body: &body,
        };
        match self.sender.send(&call).await {
            Ok(status) => Attempt::Landed(status),
            // A receiver that is down says nothing of others: no breaker, no loop.
            Err(why) => {
                let status = why.status.map(|s| s.to_string()).unwrap_or_default();
                Attempt::Refused(Refusal::new(why.code, "").with_evidence(status))
            }
        }
    }

    async fn outcome(&self, job: &Job<Self>, verdict: Verdict<u16>) -> NotificationEvent {
        let (id, request) = (job.record.id(), &job.request);
        let refusal = match verdict {
            Verdict::Landed(status) => return delivered(id, request, Some(status), ""),
            Verdict::Refused(refusal) if refusal.code == NO_ENDPOINT => {
                return refused(id, request, NO_ENDPOINT);
            }
            Verdict::Refused(refusal) => refusal,
            Verdict::NeverWill(_) => Refusal::new("not_sent", ""),
        };
        let detail = match refusal.code.as_str() {
            "http_status" => "the receiver answered with another status than 2xx",
            "redirect" => "the receiver redirects, which is not followed",
            GONE => "the receiver says that it is gone",
            "time_out" => "the receiver did not answer in time",
            "not_reached" => "the receiver was not reached",
            "forbidden_target" => "the address is not a public one",
            "not_sent" => "it could not be sent in its time",
            _ => "the receiver did not answer",
        };
        let status = refusal.evidence.parse().ok();
        let last = refusal.code == GONE;
        failed(id, request, status, (&refusal.code, detail), last)
    }
}
