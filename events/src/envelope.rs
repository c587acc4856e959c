//! The envelope around each event: CloudEvents 1.0 in binary mode, as Kafka headers.
//!
//! | header | meaning |
//! |---|---|
//! | `ce_specversion` | `1.0` |
//! | `ce_id` | the event id; a later record with the same id in a partition is an echo |
//! | `ce_type` | full record name, `gridway.<topic>.<Event>` |
//! | `ce_source` | who appended it, `/gridway/<processor>` |
//! | `ce_time` | when it was appended, RFC 3339 |
//! | `ce_subject` | the record key |
//! | `ce_correlationid` | the purchase (or user) that the event belongs to |
//! | `ce_causationid` | id of the event that caused it |
//! | `traceparent` | W3C trace context |
//! | `content-type` | `application/avro` |

use crate::ids::{EventId, TraceId};
use crate::schema::{EventSet, full_name};
use crate::time::Timestamp;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is known of an event besides its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Identity; derived, never random.
    pub id: EventId,
    /// Who appended it.
    pub source: String,
    /// When it was appended.
    pub time: Timestamp,
    /// The record key: id of the aggregate.
    pub subject: String,
    /// What it belongs to, usually the purchase.
    pub correlation: Option<String>,
    /// The event that caused it.
    pub causation: Option<EventId>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// An envelope that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// A header is missing.
    #[error("the record has no header {0}")]
    Missing(&'static str),
    /// A header is not what it should be.
    #[error("the record's header {0} is not readable: {1}")]
    Malformed(&'static str, String),
    /// A header's name is not UTF-8.
    #[error("the name of one of the record's headers is not UTF-8")]
    Unnamed,
}

/// The headers, unless one has a name that is not UTF-8: Kafka takes any bytes for a name, and
/// rdkafka panics as soon as somebody reads it.
#[must_use]
pub fn readable<H: Headers>(headers: Option<&H>) -> Option<&H> {
    headers.filter(|headers| quietly(|| headers.iter().count()).is_some())
}

/// What `read` gives, or nothing where it panics.
fn quietly<T>(read: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(read)).ok()
}

impl Envelope {
    /// The Kafka headers for an event of this envelope.
    #[must_use]
    pub fn headers<E: EventSet>(&self, event: &E) -> OwnedHeaders {
        let event_type = full_name(E::TOPIC, event.name());
        let id = self.id.to_string();
        let time = self.time.to_string();
        let mut headers = OwnedHeaders::new_with_capacity(10);
        for (key, value) in [
            ("ce_specversion", "1.0"),
            ("ce_id", &id),
            ("ce_type", &event_type),
            ("ce_source", &self.source),
            ("ce_time", &time),
            ("ce_subject", &self.subject),
            ("content-type", "application/avro"),
        ] {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        if let Some(correlation) = &self.correlation {
            headers = headers.insert(Header {
                key: "ce_correlationid",
                value: Some(correlation),
            });
        }
        if let Some(causation) = &self.causation {
            headers = headers.insert(Header {
                key: "ce_causationid",
                value: Some(&causation.to_string()),
            });
        }
        if let Some(traceparent) = &self.traceparent {
            headers = headers.insert(Header {
                key: "traceparent",
                value: Some(traceparent),
            });
        }
        headers
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// When `ce_id`, `ce_time`, `ce_source` or `ce_subject` is missing or unreadable, or the name of
    /// any header is.
    pub fn read<H: Headers>(headers: Option<&H>) -> Result<Self, EnvelopeError> {
        // One pass: looking each header up by its name walks the list again for each.
        let values = || {
            let mut found: [Option<&[u8]>; 7] = [None; 7];
            for header in headers.iter().flat_map(|headers| headers.iter()) {
                if let Some(place) = NAMES.iter().position(|name| *name == header.key) {
                    // Of a header that is there twice the first counts.
                    found[place].get_or_insert(header.value.unwrap_or_default());
                }
            }
            found
        };
        let [id, source, time, subject, correlation, causation, trace] =
            quietly(values).ok_or(EnvelopeError::Unnamed)?;
        let time = required(TIME, time)?;
        Ok(Self {
            id: event_id(ID, required(ID, id)?)?,
            source: required(SOURCE, source)?.to_owned(),
            time: Timestamp::parse(time)
                .ok_or_else(|| EnvelopeError::Malformed(TIME, time.to_owned()))?,
            subject: required(SUBJECT, subject)?.to_owned(),
            correlation: text(CORRELATION, correlation)?.map(str::to_owned),
            causation: text(CAUSATION, causation)?
                .map(|c| event_id(CAUSATION, c))
                .transpose()?,
            traceparent: text(TRACE, trace)?.map(str::to_owned),
        })
    }
}

const ID: &str = "ce_id";
const SOURCE: &str = "ce_source";
const TIME: &str = "ce_time";
const SUBJECT: &str = "ce_subject";
const CORRELATION: &str = "ce_correlationid";
const CAUSATION: &str = "ce_causationid";
const TRACE: &str = "traceparent";

/// The headers that are read.
const NAMES: [&str; 7] = [ID, SOURCE, TIME, SUBJECT, CORRELATION, CAUSATION, TRACE];

fn text<'a>(name: &'static str, value: Option<&'a [u8]>) -> Result<Option<&'a str>, EnvelopeError> {
    value
        .map(std::str::from_utf8)
        .transpose()
        .map_err(|error| EnvelopeError::Malformed(name, error.to_string()))
}

fn required<'a>(name: &'static str, value: Option<&'a [u8]>) -> Result<&'a str, EnvelopeError> {
    text(name, value)?.ok_or(EnvelopeError::Missing(name))
}

fn event_id(name: &'static str, value: &str) -> Result<EventId, EnvelopeError> {
    value
        .parse()
        .map_err(|_| EnvelopeError::Malformed(name, value.to_owned()))
}

/// The trace context of an event: the trace is the aggregate it belongs to, the span is the
/// event itself. Derived, so that every echo carries the same.
#[must_use]
pub fn traceparent(trace: &TraceId, event: &EventId) -> String {
    let span: String = event
        .as_bytes()
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("00-{trace}-{span}-01")
}

/// A record as read: where it stands, its envelope and its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<E> {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The envelope.
    pub envelope: Envelope,
    /// The event.
    pub event: E,
}

impl<E> Record<E> {
    /// Id of the event.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.envelope.id
    }

    /// When the event was appended.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.envelope.time
    }
}
