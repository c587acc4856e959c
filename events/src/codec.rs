//! Confluent wire format (a zero byte, a four-byte schema id, an Avro datum) over the registry.

use crate::registry::{Registry, RegistryError};
use crate::schema::{Datum, EventSet, Prepared, full_name, prepared};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// Why bytes could not be read as an event of the topic.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The schema has not been fetched yet; [`Registry::resolve`] it and decode again.
    #[error("schema {0} has not been fetched from the registry yet")]
    Unresolved(u32),
    /// No value: Gridway's topics carry no tombstones.
    #[error("the record has no value")]
    Empty,
    /// The bytes do not begin as the Confluent wire format does.
    #[error(
        "the value is not in Confluent wire format: expected a zero byte and a schema id, found {0}"
    )]
    NotWireFormat(String),
    /// The schema is of a record that the topic does not know.
    #[error("the topic knows no event type {0}")]
    UnknownType(String),
    /// The bytes do not fit the schema that they name.
    #[error("the value is not a {name} as schema {schema_id} describes it: {cause}")]
    Malformed {
        /// Short record name.
        name: String,
        /// Id of the writer's schema.
        schema_id: u32,
        /// In the Avro library's words.
        cause: String,
    },
}

/// Why an event could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{name} does not fit its schema: {cause}")]
pub struct EncodeError {
    name: &'static str,
    cause: String,
}

#[derive(Debug)]
struct Ours {
    id: u32,
    schema: &'static Prepared<'static>,
}

impl Ours {
    fn parse(id: u32, avsc: &str) -> Result<Self, RegistryError> {
        let schema = prepared(avsc).map_err(|cause| RegistryError::Unusable { id, cause })?;
        Ok(Self { id, schema })
    }
}

impl EncodeError {
    /// The topic's codec was not given to the writer.
    #[must_use]
    pub fn unregistered(topic: &'static str) -> Self {
        Self {
            name: topic,
            cause: "no codec of this topic is at hand".to_owned(),
        }
    }
}

/// Encoder and decoder of one topic's events.
pub struct Codec<E> {
    registry: Registry,
    ours: Arc<HashMap<&'static str, Ours>>,
    /// What the full names of the topic's events begin with.
    prefix: Arc<str>,
    events: PhantomData<fn() -> E>,
}

impl<E> Clone for Codec<E> {
    fn clone(&self) -> Self {
        Self {
            registry: self.registry.clone(),
            ours: Arc::clone(&self.ours),
            prefix: Arc::clone(&self.prefix),
            events: PhantomData,
        }
    }
}

/// Subject of an event type: topic-record naming, `<topic>-<full record name>`.
#[must_use]
pub fn subject(topic: &str, name: &str) -> String {
    format!("{topic}-{}", full_name(topic, name))
}

impl<E: EventSet> Codec<E> {
    /// Registers the topic's schemas (a registry that has them answers with their ids).
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub async fn connect(registry: &Registry) -> Result<Self, RegistryError> {
        let mut ours = HashMap::new();
        for file in E::SCHEMAS {
            let subject = subject(E::TOPIC, file.name);
            let id = registry.register(&subject, file.avsc).await?;
            ours.insert(file.name, Ours::parse(id, file.avsc)?);
        }
        Ok(Self {
            registry: registry.clone(),
            ours: Arc::new(ours),
            prefix: full_name(E::TOPIC, "").into(),
            events: PhantomData,
        })
    }

    /// A codec whose schemas have ids from `first_id` on and that asks no registry: for a log
    /// that no other program reads.
    ///
    /// # Errors
    /// When a schema of ours cannot be parsed.
    pub fn local(registry: &Registry, first_id: u32) -> Result<Self, RegistryError> {
        let mut ours = HashMap::new();
        for (id, file) in (first_id..).zip(E::SCHEMAS) {
            registry.remember(id, file.avsc)?;
            ours.insert(file.name, Ours::parse(id, file.avsc)?);
        }
        Ok(Self {
            registry: registry.clone(),
            ours: Arc::new(ours),
            prefix: full_name(E::TOPIC, "").into(),
            events: PhantomData,
        })
    }

    /// The registry behind the codec.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The event in wire format.
    ///
    /// # Errors
    /// When it does not fit its schema.
    pub fn encode(&self, event: &E) -> Result<Vec<u8>, EncodeError> {
        let name = event.name();
        let ours = self.ours.get(name).ok_or_else(|| EncodeError {
            name,
            cause: "it is not registered".to_owned(),
        })?;
        let datum = event.encode(ours.schema).map_err(|e| EncodeError {
            name,
            cause: e.to_string(),
        })?;
        let mut bytes = Vec::with_capacity(datum.len() + 5);
        bytes.push(0);
        bytes.extend_from_slice(&ours.id.to_be_bytes());
        bytes.extend_from_slice(&datum);
        Ok(bytes)
    }

    /// Reads an event. A schema that was not seen before is [`DecodeError::Unresolved`], so that
    /// the caller chooses where to wait for the registry.
    ///
    /// # Errors
    /// See [`DecodeError`]; all but `Unresolved` are final for these bytes.
    pub fn decode(&self, value: Option<&[u8]>) -> Result<E, DecodeError> {
        let value = value.ok_or(DecodeError::Empty)?;
        let Some(([0], rest)) = value.split_first_chunk::<1>() else {
            return Err(DecodeError::NotWireFormat(beginning(value)));
        };
        let Some((id, bytes)) = rest.split_first_chunk::<4>() else {
            return Err(DecodeError::NotWireFormat(beginning(value)));
        };
        let schema_id = u32::from_be_bytes(*id);
        let writer = self
            .registry
            .known(schema_id)
            .ok_or(DecodeError::Unresolved(schema_id))?;
        let Some((name, ours)) = writer
            .full_name()
            .strip_prefix(&*self.prefix)
            .and_then(|name| self.ours.get(name).map(|ours| (name, ours)))
        else {
            return Err(DecodeError::UnknownType(writer.full_name().to_owned()));
        };
        let reader = (ours.id != schema_id).then_some(ours.schema);
        let datum = Datum {
            bytes,
            writer,
            reader,
        };
        E::decode(name, &datum)
            .ok_or_else(|| DecodeError::UnknownType(writer.full_name().to_owned()))?
            .map_err(|e| DecodeError::Malformed {
                name: name.to_owned(),
                schema_id,
                cause: e.to_string(),
            })
    }

    /// Reads an event, fetching its schema when need be.
    ///
    /// # Errors
    /// The outer error is the registry's (try again unless it is final), the inner one the record's.
    pub async fn decode_resolving(
        &self,
        value: Option<&[u8]>,
    ) -> Result<Result<E, DecodeError>, RegistryError> {
        match self.decode(value) {
            Err(DecodeError::Unresolved(id)) => {
                self.registry.resolve(id).await?;
                Ok(self.decode(value))
            }
            other => Ok(other),
        }
    }
}

fn beginning(value: &[u8]) -> String {
    let shown: Vec<String> = value.iter().take(5).map(|b| format!("{b:02x}")).collect();
    if shown.is_empty() {
        "nothing".to_owned()
    } else {
        shown.join(" ")
    }
}
