//! The event types of a topic, tied to their `.avsc` files.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, from_value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{LazyLock, PoisonError, RwLock};

/// Full record name of an event, such as `gridway.purchases.SwapCompleted`. Avro's names have no
/// hyphen, so a topic's becomes an underscore.
#[must_use]
pub fn full_name(topic: &str, name: &str) -> String {
    format!("gridway.{}.{name}", topic.replace('-', "_"))
}

/// One schema file of `events/schemas/<topic>/`.
#[derive(Debug, Clone, Copy)]
pub struct SchemaFile {
    /// Short record name, such as `SwapCompleted`.
    pub name: &'static str,
    /// The file's content.
    pub avsc: &'static str,
}

/// A record schema whose names are resolved, ready to read and write. Resolving them anew for
/// each record would cost more than the record.
pub struct Prepared<'s> {
    full_name: String,
    schema: &'s Schema,
    reader: GenericDatumReader<'s>,
    writer: GenericDatumWriter<'s>,
}

impl<'s> Prepared<'s> {
    /// Prepares a schema.
    ///
    /// # Errors
    /// When it is not a named record, or refers to a name that it does not define.
    pub fn new(schema: &'s Schema) -> Result<Self, String> {
        let full_name = schema
            .name()
            .map(|name| name.fullname(None).clone())
            .ok_or("it is not a named record")?;
        let said = |error: apache_avro::Error| error.to_string();
        Ok(Self {
            full_name,
            schema,
            reader: GenericDatumReader::builder(schema).build().map_err(said)?,
            writer: GenericDatumWriter::builder(schema).build().map_err(said)?,
        })
    }

    /// Full record name, such as `gridway.purchases.SwapCompleted`.
    #[must_use]
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// Writes `value` as a datum.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn write<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, apache_avro::Error> {
        self.writer.write_ser_to_vec(value)
    }
}

impl Debug for Prepared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("full_name", &self.full_name)
            .finish_non_exhaustive()
    }
}

/// The schema of this text, prepared; the same text gives the same one. It is kept for the life
/// of the process: there are only as many as there are versions of event types.
///
/// # Errors
/// When it is no Avro schema of a named record, in words.
pub fn prepared(avsc: &str) -> Result<&'static Prepared<'static>, String> {
    static KEPT: LazyLock<RwLock<HashMap<String, &'static Prepared<'static>>>> =
        LazyLock::new(RwLock::default);
    if let Some(kept) = KEPT
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(avsc)
    {
        return Ok(kept);
    }
    let schema = Schema::parse_str(avsc).map_err(|error| error.to_string())?;
    let schema: &'static Schema = Box::leak(Box::new(schema));
    let prepared: &'static Prepared<'static> = Box::leak(Box::new(Prepared::new(schema)?));
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    Ok(*kept.entry(avsc.to_owned()).or_insert(prepared))
}

/// The event types of one topic. Made by `event_set!`.
pub trait EventSet: Sized + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Name of the topic.
    const TOPIC: &'static str;
    /// Every schema of the topic.
    const SCHEMAS: &'static [SchemaFile];

    /// Short record name of this event.
    fn name(&self) -> &'static str;

    /// The release of a dead letter that this event is.
    fn release(&self) -> Option<&crate::dead_letters::DeadLetterReleased>;

    /// The opening of lanes that this event is.
    fn opening(&self) -> Option<&crate::lanes::LanesOpened>;

    /// The event as JSON, to be kept until it is appended.
    ///
    /// # Errors
    /// When a value has no form in JSON.
    fn to_json(&self) -> Result<serde_json::Value, serde_json::Error>;

    /// Reads the event type called `name` from JSON; `None` for a name the topic does not know.
    ///
    /// # Errors
    /// When it is not such an event.
    fn from_json(name: &str, json: serde_json::Value) -> Option<Result<Self, serde_json::Error>>;

    /// The event as an Avro datum (no header).
    ///
    /// # Errors
    /// When the value does not fit the schema: a defect of ours, which the schema tests rule out.
    fn encode(&self, schema: &Prepared<'_>) -> Result<Vec<u8>, apache_avro::Error>;

    /// Reads the datum of the event type called `name`; `None` for a name the topic does not know.
    ///
    /// # Errors
    /// When the bytes are not such a datum.
    fn decode(name: &str, datum: &Datum<'_>) -> Option<Result<Self, apache_avro::Error>>;
}

/// Bytes with the schema they were written with, and the one they are read with when it differs.
#[derive(Debug)]
pub struct Datum<'a> {
    /// The Avro datum.
    pub bytes: &'a [u8],
    /// What it was written with.
    pub writer: &'a Prepared<'a>,
    /// Ours; `None` when it equals the writer's, which allows the faster way.
    pub reader: Option<&'a Prepared<'a>>,
}

impl Datum<'_> {
    /// Reads the datum as `T`, resolving the writer's schema to the reader's.
    ///
    /// # Errors
    /// When the bytes do not fit or are followed by others.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, apache_avro::Error> {
        let mut rest = self.bytes;
        let value = match self.reader {
            None => self.writer.reader.read_deser(&mut rest)?,
            Some(reader) => {
                let resolving = GenericDatumReader::builder(self.writer.schema)
                    .reader_schema(reader.schema)
                    .build()?;
                from_value(&resolving.read_value(&mut rest)?)?
            }
        };
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(apache_avro::Error::new(
                apache_avro::error::Details::DeserializeValue(format!(
                    "{} bytes are left over after the record",
                    rest.len()
                )),
            ))
        }
    }
}

/// Declares the enum of a topic's events and ties each to its schema file.
macro_rules! event_set {
    ($(#[$doc:meta])* $set:ident, $topic:literal, [$($event:ident),* $(,)?]) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $set {
            $(
                #[doc = concat!("See [`", stringify!($event), "`](struct@", stringify!($event), ").")]
                $event($event),
            )*
        }

        impl crate::schema::EventSet for $set {
            const TOPIC: &'static str = $topic;
            const SCHEMAS: &'static [crate::schema::SchemaFile] = &[$(crate::schema::SchemaFile {
                name: stringify!($event),
                avsc: include_str!(concat!("../schemas/", $topic, "/", stringify!($event), ".avsc")),
            }),*];

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$event(_) => stringify!($event),)*
                }
            }

            fn release(&self) -> Option<&crate::dead_letters::DeadLetterReleased> {
                match self {
                    $(Self::$event(event) => (event as &dyn std::any::Any).downcast_ref(),)*
                }
            }

            fn opening(&self) -> Option<&crate::lanes::LanesOpened> {
                match self {
                    $(Self::$event(event) => (event as &dyn std::any::Any).downcast_ref(),)*
                }
            }

            fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self {
                    $(Self::$event(event) => serde_json::to_value(event),)*
                }
            }

            fn from_json(name: &str, json: serde_json::Value) -> Option<Result<Self, serde_json::Error>> {
                match name {
                    $(stringify!($event) => Some(serde_json::from_value(json).map(Self::$event)),)*
                    _ => None,
                }
            }

            fn encode(&self, schema: &crate::schema::Prepared<'_>) -> Result<Vec<u8>, apache_avro::Error> {
                match self {
                    $(Self::$event(event) => schema.write(event),)*
                }
            }

            fn decode(name: &str, datum: &crate::schema::Datum<'_>) -> Option<Result<Self, apache_avro::Error>> {
                match name {
                    $(stringify!($event) => Some(datum.read().map(Self::$event)),)*
                    _ => None,
                }
            }
        }

        $(
            impl From<$event> for $set {
                fn from(event: $event) -> Self {
                    Self::$event(event)
                }
            }
        )*
    };
}
pub(crate) use event_set;
