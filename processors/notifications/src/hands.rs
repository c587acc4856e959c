//! The hands: one for each channel. Each makes the attempts of its own channel alone.

mod mails;
mod texts;
mod webhooks;

pub use mails::Mails;
pub use texts::{SETTLE, Texts};
pub use webhooks::{Webhooks, payload};

use events::envelope::Record;
use events::ids::EventId;
use events::notifications::{
    Channel, NotificationAttemptFailed, NotificationDelivered, NotificationEvent,
    NotificationRefused, NotificationRequested,
};
use pipeline::clock;
use std::time::Duration;

/// The request, if it is for this channel.
fn request(record: &Record<NotificationEvent>, channel: Channel) -> Option<NotificationRequested> {
    match &record.event {
        NotificationEvent::NotificationRequested(request) if request.channel == channel => {
            Some(request.clone())
        }
        _ => None,
    }
}

/// The request that this event is the outcome of.
fn closes(event: &NotificationEvent) -> Option<EventId> {
    match event {
        NotificationEvent::NotificationDelivered(e) => Some(e.request_id),
        NotificationEvent::NotificationAttemptFailed(e) => Some(e.request_id),
        NotificationEvent::NotificationRefused(e) => Some(e.request_id),
        _ => None,
    }
}

fn delivered(
    id: EventId,
    request: &NotificationRequested,
    status: Option<u16>,
    reference: &str,
) -> NotificationEvent {
    NotificationDelivered {
        user_id: request.user_id,
        notification_id: request.notification_id,
        request_id: id,
        channel: request.channel,
        endpoint_id: request.endpoint_id,
        attempt: request.attempt,
        status: status.map(i32::from),
        reference: (!reference.is_empty()).then(|| reference.to_owned()),
        delivered_at: clock::now(),
    }
    .into()
}

/// The attempt is over; the next one follows as the request says, unless it is the `last`.
fn failed(
    id: EventId,
    request: &NotificationRequested,
    status: Option<u16>,
    (code, detail): (&str, &str),
    last: bool,
) -> NotificationEvent {
    let now = clock::now();
    let wait = request.retry_after_ms.filter(|_| !last);
    let wait = wait.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default()));
    NotificationAttemptFailed {
        user_id: request.user_id,
        notification_id: request.notification_id,
        request_id: id,
        channel: request.channel,
        endpoint_id: request.endpoint_id,
        attempt: request.attempt,
        status: status.map(i32::from),
        code: code.to_owned(),
        detail: detail.to_owned(),
        failed_at: now,
        next_at: wait.map(|wait| now.after(wait)),
    }
    .into()
}

/// For good. What the counterparty says in words may quote an address: only its code is told.
fn refused(id: EventId, request: &NotificationRequested, code: &str) -> NotificationEvent {
    let detail = match code {
        "no_address" => "there is no verified address to tell",
        "no_endpoint" => "the endpoint is not there any more",
        "no_text" => "there is no text for it",
        _ => "the counterparty will not take it",
    };
    NotificationRefused {
        user_id: request.user_id,
        notification_id: request.notification_id,
        request_id: id,
        channel: request.channel,
        endpoint_id: request.endpoint_id,
        attempt: request.attempt,
        code: code.to_owned(),
        detail: detail.to_owned(),
        refused_at: clock::now(),
    }
    .into()
}
