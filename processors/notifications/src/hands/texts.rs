//! The hand `texts`.
//!
//! Twilio lists what it took, so an attempt is looked for before another one is made, and only once
//! what may be on its way must have arrived. What is left: a process that was frozen while it sent,
//! for longer than that.

use super::{closes, delivered, failed, refused, request};
use crate::Addresses;
use crate::templates::Templates;
use counterparties_messaging::{Accepted, Text, Texter};
use events::envelope::Record;
use events::ids::EventId;
use events::notifications::{Channel, NotificationEvent, NotificationRequested};
use events::outcome::{Attempt, Find, Refusal};
use events::time::Timestamp;
use parking_lot::Mutex;
use pipeline::{Executor, Job, Verdict, clock};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// No request of ours is under way for so long: the client waits half of it.
pub const SETTLE: Duration = Duration::from_secs(60);

/// The executor `texts`.
pub struct Texts {
    texter: Arc<dyn Texter>,
    addresses: Arc<dyn Addresses>,
    templates: Arc<Templates>,
    settle: Duration,
    /// Earlier attempts were another process's, and may have been made until then.
    began: Timestamp,
    /// When a request was last tried by this process.
    tried: Mutex<HashMap<EventId, Timestamp>>,
}

impl Texts {
    /// The hand; `settle` is how long a message that was sent may take to be listed.
    #[must_use]
    pub fn new(
        texter: Arc<dyn Texter>,
        addresses: Arc<dyn Addresses>,
        templates: Arc<Templates>,
        settle: Duration,
    ) -> Self {
        Self {
            texter,
            addresses,
            templates,
            settle,
            began: clock::now(),
            tried: Mutex::default(),
        }
    }

    async fn message(&self, job: &Job<Self>) -> Result<Text, Message> {
        let request = &job.request;
        let to = match self.addresses.phone(request.user_id).await {
            Ok(Some(number)) => number,
            Ok(None) => return Err(Message::Never("no_address")),
            Err(why) => return Err(Message::NotNow(why.to_string())),
        };
        let written = self
            .templates
            .write(&request.language, &request.kind, &request.figures)
            .map_err(|error| {
                tracing::error!(%error, kind = request.kind, "a text could not be written");
                Message::Never("no_text")
            })?;
        Ok(Text {
            id: EventId::from_uuid(request.notification_id.uuid()),
            to,
            text: format!("Gridway: {}", written.subject),
            at: request.happened_at,
        })
    }
}

/// Why there is no message.
enum Message {
    Never(&'static str),
    NotNow(String),
}

impl Executor for Texts {
    const NAME: &'static str = "texts";
    type Event = NotificationEvent;
    type Request = NotificationRequested;
    type Proof = Accepted;
    type Context = ();

    fn observe(&self, (): &mut (), _: &Record<NotificationEvent>) {}

    fn request(&self, record: &Record<NotificationEvent>) -> Option<NotificationRequested> {
        request(record, Channel::Sms)
    }

    fn closes(&self, event: &NotificationEvent) -> Option<EventId> {
        closes(event)
    }

    /// One person's messages come in order.
    fn queue(&self, job: &Job<Self>) -> String {
        job.record.envelope.subject.clone()
    }

    async fn find(&self, job: &Job<Self>) -> Find<Accepted> {
        let text = match self.message(job).await {
            Ok(text) => text,
            Err(Message::Never(code)) => return Find::Refused(Refusal::new(code, "")),
            Err(Message::NotNow(why)) => return Find::NoAnswer(why),
        };
        let tried = self.tried.lock().get(&job.record.id()).copied();
        // Read before it is looked for: what is listed later was sent before.
        let now = clock::now();
        match self.texter.find(&text).await {
            Find::Absent if now < tried.unwrap_or(self.began).after(self.settle) => {
                Find::Pending("it may be on its way still".to_owned())
            }
            Find::Absent if now >= job.request.deadline => {
                Find::NeverWill("the deadline has passed".to_owned())
            }
            other => other,
        }
    }

    async fn attempt(&self, job: &Job<Self>) -> Attempt<Accepted> {
        if clock::now() >= job.request.deadline {
            return Attempt::Unknown("the deadline has passed".to_owned());
        }
        let text = match self.message(job).await {
            Ok(text) => text,
            Err(Message::Never(code)) => return Attempt::Refused(Refusal::new(code, "")),
            Err(Message::NotNow(why)) => return Attempt::NotSent(why),
        };
        if !job.owner.prove().await {
            return Attempt::Unknown("the partition may be another's".to_owned());
        }
        let sent = self.texter.send(&text).await;
        if !matches!(sent, Attempt::NotSent(_)) {
            self.tried.lock().insert(job.record.id(), clock::now());
        }
        sent
    }

    async fn outcome(&self, job: &Job<Self>, verdict: Verdict<Accepted>) -> NotificationEvent {
        let (id, request) = (job.record.id(), &job.request);
        self.tried.lock().remove(&id);
        match verdict {
            Verdict::Landed(taken) => delivered(id, request, None, &taken.answer),
            Verdict::Refused(refusal) => refused(id, request, &refusal.code),
            Verdict::NeverWill(_) => {
                let why = ("not_sent", "it could not be sent in its time");
                failed(id, request, None, why, true)
            }
        }
    }
}
