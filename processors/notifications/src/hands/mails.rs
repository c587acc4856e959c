//! The hand `mails`.
//!
//! A mail cannot be looked for. So an attempt whose answer is unclear ends, is recorded as that, and
//! the policy has another one made later, a few times at most, each with the same `Message-ID`.
//! A process that dies between the server's answer and its outcome sends once more.

use super::{closes, delivered, failed, refused, request};
use crate::Addresses;
use crate::templates::Templates;
use counterparties_messaging::{Accepted, Mail, Mailer};
use events::envelope::Record;
use events::ids::EventId;
use events::notifications::{Channel, NotificationEvent, NotificationRequested};
use events::outcome::{Attempt, Find, Refusal};
use parking_lot::Mutex;
use pipeline::{Executor, Job, Verdict, clock};
use std::collections::HashMap;
use std::sync::Arc;

/// A mail that was turned away so often for now waits longer, so that others get their turn.
const TURNED_AWAY: u32 = 3;
const UNCLEAR: &str = "unclear";
const NOT_TAKEN: &str = "not_taken";

/// The executor `mails`.
pub struct Mails {
    mailer: Arc<dyn Mailer>,
    addresses: Arc<dyn Addresses>,
    templates: Arc<Templates>,
    /// What came of attempts that have no outcome yet.
    trouble: Mutex<HashMap<EventId, Trouble>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    unclear: bool,
    turned_away: u32,
}

impl Mails {
    /// The hand.
    #[must_use]
    pub fn new(
        mailer: Arc<dyn Mailer>,
        addresses: Arc<dyn Addresses>,
        templates: Arc<Templates>,
    ) -> Self {
        Self {
            mailer,
            addresses,
            templates,
            trouble: Mutex::default(),
        }
    }
}

impl Executor for Mails {
    const NAME: &'static str = "mails";
    type Event = NotificationEvent;
    type Request = NotificationRequested;
    type Proof = Accepted;
    type Context = ();

    fn observe(&self, (): &mut (), _: &Record<NotificationEvent>) {}

    fn request(&self, record: &Record<NotificationEvent>) -> Option<NotificationRequested> {
        request(record, Channel::Email)
    }

    fn closes(&self, event: &NotificationEvent) -> Option<EventId> {
        closes(event)
    }

    /// One person's mails come in order.
    fn queue(&self, job: &Job<Self>) -> String {
        job.record.envelope.subject.clone()
    }

    async fn find(&self, job: &Job<Self>) -> Find<Accepted> {
        let trouble = self.trouble.lock().get(&job.record.id()).copied();
        let trouble = trouble.unwrap_or_default();
        if trouble.unclear {
            Find::Refused(Refusal::new(UNCLEAR, "nobody knows whether it was taken"))
        } else if trouble.turned_away >= TURNED_AWAY {
            Find::Refused(Refusal::new(NOT_TAKEN, "the server did not take it"))
        } else if clock::now() >= job.request.deadline {
            Find::NeverWill("the deadline has passed".to_owned())
        } else {
            Find::Absent
        }
    }

    async fn attempt(&self, job: &Job<Self>) -> Attempt<Accepted> {
        let request = &job.request;
        if clock::now() >= request.deadline {
            return Attempt::Unknown("the deadline has passed".to_owned());
        }
        let to = match self.addresses.email(request.user_id).await {
            Ok(Some(address)) => address,
            Ok(None) => return Attempt::Refused(Refusal::new("no_address", "")),
            Err(why) => return Attempt::NotSent(why.to_string()),
        };
        let written = self
            .templates
            .write(&request.language, &request.kind, &request.figures);
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                tracing::error!(%error, kind = request.kind, "a mail could not be written");
                return Attempt::Refused(Refusal::new("no_text", ""));
            }
        };
        // There is no key against a second copy: whoever lost the partition must not send.
        if !job.owner.prove().await {
            return Attempt::Unknown("the partition may be another's".to_owned());
        }
        let mail = Mail {
            id: EventId::from_uuid(request.notification_id.uuid()),
            to,
            subject: written.subject,
            text: written.text,
            at: request.happened_at,
        };
        let sent = self.mailer.send(&mail).await;
        match &sent {
            Attempt::Unknown(_) | Attempt::NoAnswer(_) => {
                self.trouble
                    .lock()
                    .entry(job.record.id())
                    .or_default()
                    .unclear = true;
            }
            Attempt::NotSent(_) => {
                self.trouble
                    .lock()
                    .entry(job.record.id())
                    .or_default()
                    .turned_away += 1;
            }
            Attempt::Landed(_) | Attempt::Refused(_) => {}
        }
        sent
    }

    async fn outcome(&self, job: &Job<Self>, verdict: Verdict<Accepted>) -> NotificationEvent {
        let (id, request) = (job.record.id(), &job.request);
        self.trouble.lock().remove(&id);
        match verdict {
            Verdict::Landed(taken) => delivered(id, request, None, &taken.answer),
            Verdict::Refused(refusal) => match refusal.code.as_str() {
                UNCLEAR => {
                    let why = (UNCLEAR, "nobody knows whether the server has taken it");
                    failed(id, request, None, why, false)
                }
                NOT_TAKEN => {
                    let why = (NOT_TAKEN, "the server does not take it for now");
                    failed(id, request, None, why, false)
                }
                code => refused(id, request, code),
            },
            Verdict::NeverWill(_) => {
                let why = ("not_sent", "it could not be sent in its time");
                failed(id, request, None, why, true)
            }
        }
    }
}
