//! What a processor appends, before and after it is encoded.

use crate::clock;
use events::codec::{Codec, EncodeError};
use events::envelope::{Envelope, Record, traceparent};
use events::ids::EventId;
use events::schema::EventSet;
use rdkafka::message::OwnedHeaders;
use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::HashMap;

/// An event that a processor wants appended to its own topic, on the partition and for the
/// aggregate of its cause.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<E> {
    /// The event.
    pub event: E,
    /// Tells several events of one type and one cause apart; usually empty.
    pub discriminator: String,
    /// Replaces the derived id: outside facts are identified by what they are, not by who saw them.
    pub id: Option<EventId>,
}

impl<E> Planned<E> {
    /// The only event of its type that the cause leads to.
    pub fn new(event: impl Into<E>) -> Self {
        Self {
            event: event.into(),
            discriminator: String::new(),
            id: None,
        }
    }

    /// With an identity of its own.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    /// One of several of its type that the cause leads to.
    #[must_use]
    pub fn discriminated(mut self, by: impl Into<String>) -> Self {
        self.discriminator = by.into();
        self
    }
}

/// An event for another topic.
pub struct Forward {
    key: String,
    /// Tells several of one type and one cause apart; usually empty.
    discriminator: String,
    event: Box<dyn AnyEvent>,
}

impl Forward {
    /// An event for the topic of `E`, keyed by `key`.
    pub fn new<E: EventSet>(key: impl Into<String>, event: impl Into<E>) -> Self {
        let event: E = event.into();
        Self {
            key: key.into(),
            discriminator: String::new(),
            event: Box::new(event),
        }
    }

    /// One of several of its type that the cause leads to.
    #[must_use]
    pub fn discriminated(mut self, by: impl Into<String>) -> Self {
        self.discriminator = by.into();
        self
    }

    /// The key that it is for.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The event, if it is one of `E`.
    #[must_use]
    pub fn event<E: EventSet>(&self) -> Option<&E> {
        self.event.as_any().downcast_ref()
    }
}

impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} to {}/{}",
            self.event.name(),
            self.event.topic(),
            self.key
        )
    }
}

trait AnyEvent: Send + Sync {
    fn name(&self) -> &'static str;
    fn topic(&self) -> &'static str;
    fn as_any(&self) -> &dyn Any;
    fn encode(&self, codecs: &Codecs) -> Result<Vec<u8>, EncodeError>;
    fn headers(&self, envelope: &Envelope) -> OwnedHeaders;
}

impl<E: EventSet> AnyEvent for E {
    fn name(&self) -> &'static str {
        EventSet::name(self)
    }
    fn topic(&self) -> &'static str {
        E::TOPIC
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn encode(&self, codecs: &Codecs) -> Result<Vec<u8>, EncodeError> {
        codecs.of::<E>()?.encode(self)
    }
    fn headers(&self, envelope: &Envelope) -> OwnedHeaders {
        envelope.headers(self)
    }
}

/// The codecs of all topics that a processor writes to.
#[derive(Default)]
pub struct Codecs(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl Codecs {
    /// Adds the codec of a topic.
    #[must_use]
    pub fn with<E: EventSet>(mut self, codec: Codec<E>) -> Self {
        self.0.insert(TypeId::of::<E>(), Box::new(codec));
        self
    }

    pub(crate) fn of<E: EventSet>(&self) -> Result<&Codec<E>, EncodeError> {
        self.0
            .get(&TypeId::of::<E>())
            .and_then(|c| c.downcast_ref())
            .ok_or_else(|| EncodeError::unregistered(E::TOPIC))
    }
}

/// An encoded record on its way into a transaction.
#[derive(Debug, Clone)]
pub struct Append {
    /// Topic.
    pub topic: String,
    /// `None` leaves it to the partitioner: by key, as everywhere.
    pub partition: Option<i32>,
    /// Key.
    pub key: Vec<u8>,
    /// Value.
    pub payload: Vec<u8>,
    /// The envelope.
    pub headers: OwnedHeaders,
}

/// Id of an event that `processor` appends because of `cause`.
#[must_use]
pub fn caused_id(cause: EventId, processor: &str, name: &str, discriminator: &str) -> EventId {
    EventId::derive(&[&cause.to_string(), processor, name, discriminator])
}

/// The correlation id to hand on: the cause's own, else its key.
fn correlation_of<E>(cause: &Record<E>) -> String {
    cause
        .envelope
        .correlation
        .clone()
        .unwrap_or_else(|| cause.envelope.subject.clone())
}

fn envelope_for<E>(processor: &str, cause: &Record<E>, id: EventId, subject: &str) -> Envelope {
    let correlation = correlation_of(cause);
    // The trace is the aggregate. A caller's own trace id, once in the first event, is kept.
    let trace = cause
        .envelope
        .traceparent
        .as_deref()
        .and_then(|t| t.get(3..35))
        .and_then(correlation_trace)
        .or_else(|| correlation_trace(&correlation));
    Envelope {
        id,
        source: format!("/gridway/{processor}"),
        time: clock::now(),
        subject: subject.to_owned(),
        traceparent: trace.map(|t| traceparent(&t, &id)),
        correlation: Some(correlation),
        causation: Some(cause.id()),
    }
}

fn correlation_trace(text: &str) -> Option<events::ids::TraceId> {
    events::ids::TraceId::parse(text)
}

/// What tells an event from those of its type before it in the same decision: two are two, or the
/// second would be taken for an echo of the first.
fn told_apart_by<E: EventSet>(before: &[Planned<E>], planned: &Planned<E>) -> Option<String> {
    let same = |other: &&Planned<E>| {
        other.id.is_none()
            && other.discriminator.is_empty()
            && other.event.name() == planned.event.name()
    };
    if !same(&planned) {
        return None;
    }
    let count = before.iter().filter(same).count();
    (count > 0).then(|| (count + 1).to_string())
}

/// The events of one decision, each with an id of its own.
pub(crate) fn told_apart<E: EventSet>(own: &[Planned<E>]) -> Vec<Cow<'_, Planned<E>>> {
    own.iter()
        .enumerate()
        .map(|(n, planned)| match told_apart_by(&own[..n], planned) {
            None => Cow::Borrowed(planned),
            Some(by) => Cow::Owned(planned.clone().discriminated(by)),
        })
        .collect()
}

/// Encodes an event for the processor's own topic.
pub(crate) fn own<E: EventSet>(
    codecs: &Codecs,
    processor: &str,
    cause: &Record<E>,
    planned: &Planned<E>,
) -> Result<(EventId, Append), EncodeError> {
    let id = planned.id.unwrap_or_else(|| {
        caused_id(
            cause.id(),
            processor,
            planned.event.name(),
            &planned.discriminator,
        )
    });
    let key = &cause.envelope.subject;
    let envelope = envelope_for(processor, cause, id, key);
    let append = Append {
        topic: E::TOPIC.to_owned(),
        partition: Some(cause.partition),
        key: key.clone().into_bytes(),
        payload: codecs.of::<E>()?.encode(&planned.event)?,
        headers: envelope.headers(&planned.event),
    };
    Ok((id, append))
}

/// Encodes an outside fact about the aggregate `subject`, which nothing in the log has caused.
pub(crate) fn outside<E: EventSet>(
    codecs: &Codecs,
    processor: &str,
    partition: i32,
    subject: &str,
    id: EventId,
    event: &E,
) -> Result<Append, EncodeError> {
    let envelope = Envelope {
        id,
        source: format!("/gridway/{processor}"),
        time: clock::now(),
        subject: subject.to_owned(),
        correlation: Some(subject.to_owned()),
        causation: None,
        traceparent: correlation_trace(subject).map(|t| traceparent(&t, &id)),
    };
    Ok(Append {
        topic: E::TOPIC.to_owned(),
        partition: Some(partition),
        key: subject.as_bytes().to_vec(),
        payload: codecs.of::<E>()?.encode(event)?,
        headers: envelope.headers(event),
    })
}

/// Encodes an event for another topic.
pub(crate) fn forwarded<E: EventSet>(
    codecs: &Codecs,
    processor: &str,
    cause: &Record<E>,
    forward: &Forward,
) -> Result<Append, EncodeError> {
    // The topic is part of the id: one name may stand in both.
    let discriminator = if forward.discriminator.is_empty() {
        forward.event.topic().to_owned()
    } else {
        format!("{} {}", forward.event.topic(), forward.discriminator)
    };
    let id = caused_id(cause.id(), processor, forward.event.name(), &discriminator);
    let envelope = envelope_for(processor, cause, id, &forward.key);
    Ok(Append {
        topic: forward.event.topic().to_owned(),
        partition: None,
        key: forward.key.clone().into_bytes(),
        payload: forward.event.encode(codecs)?,
        headers: forward.event.headers(&envelope),
    })
}

#[cfg(test)]
mod tests {
    use super::{Planned, told_apart};
    use events::ids::{EventId, PurchaseId};
    use events::money::{Currency, Fiat};
    use events::purchases::{LossBooked, PurchaseAlarmed, PurchaseEvent};

    fn alarm() -> Planned<PurchaseEvent> {
        Planned::new(PurchaseAlarmed {
            purchase_id: PurchaseId::derive(&["a"]),
            alarm: "rings".to_owned(),
            detail: String::new(),
        })
    }

    #[test]
    fn two_events_of_one_type_and_cause_are_two() {
        let loss = Planned::new(LossBooked {
            purchase_id: PurchaseId::derive(&["a"]),
            intent_id: "pi_1".to_owned(),
            reason: String::new(),
            amount: Fiat {
                minor: 1,
                currency: Currency::Usd,
            },
        });
        let known = alarm().with_id(EventId::derive(&["known"]));
        let named = alarm().discriminated("named");
        let own = [alarm(), loss, known, alarm(), named, alarm()];
        let told: Vec<String> = told_apart(&own)
            .iter()
            .map(|planned| planned.discriminator.clone())
            .collect();
        // The first keeps the id that it always had.
        assert_eq!(told, ["", "", "", "2", "named", "3"]);
    }
}
