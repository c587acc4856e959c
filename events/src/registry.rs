//! The schema registry, spoken to in its Confluent dialect.

use crate::schema::{Prepared, prepared};
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_id, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};
use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// Tries at registering a subject that another process registers at the same time.
const SAME_TIME: u32 = 5;

/// What can go wrong with the registry.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// It did not answer, or answered with trouble of its own. Try again later.
    #[error(
        "the schema registry at {url} is not available: {cause}. Check GRIDWAY_REGISTRY_URL and that it runs"
    )]
    Unavailable {
        /// Where it should be.
        url: String,
        /// What happened.
        cause: String,
    },
    /// It knows no schema of this id.
    #[error("the schema registry knows no schema with id {0}")]
    UnknownId(u32),
    /// It refuses the schema, usually as incompatible with released versions.
    #[error(
        "the schema registry refuses {subject}: {cause}. A released schema may only be extended by fields with defaults"
    )]
    Refused {
        /// The subject.
        subject: String,
        /// In the registry's words.
        cause: String,
    },
    /// A schema in the registry cannot be parsed.
    #[error("schema {id} of the registry is not a usable Avro record schema: {cause}")]
    Unusable {
        /// Its id.
        id: u32,
        /// What is wrong.
        cause: String,
    },
}

/// A registry client that remembers every schema it has seen; ids never change their meaning.
#[derive(Debug, Clone)]
pub struct Registry {
    url: String,
    settings: SrSettings,
    seen: Arc<RwLock<HashMap<u32, &'static Prepared<'static>>>>,
}

impl Registry {
    /// A client of the Confluent-compatible API at `url`, such as `http://host/apis/ccompat/v7`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str) -> Result<Self, RegistryError> {
        let settings = SrSettings::new_builder(url.to_owned())
            .set_timeout(Duration::from_secs(10))
            .build()
            .map_err(|e| RegistryError::Unavailable {
                url: url.to_owned(),
                cause: e.to_string(),
            })?;
        Ok(Self {
            url: url.to_owned(),
            settings,
            seen: Arc::default(),
        })
    }

    /// The schema of `id`, if it has been resolved before.
    #[must_use]
    pub fn known(&self, id: u32) -> Option<&'static Prepared<'static>> {
        self.seen
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&id)
            .copied()
    }

    /// The schema of `id`, from the registry when it is not known yet.
    ///
    /// # Errors
    /// [`RegistryError::UnknownId`] and [`RegistryError::Unusable`] are final, `Unavailable` is not.
    pub async fn resolve(&self, id: u32) -> Result<&'static Prepared<'static>, RegistryError> {
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        let found = get_schema_by_id(id, &self.settings)
            .await
            .map_err(|e| self.lookup_error(id, &e))?;
        self.remember(id, &found.schema)
    }

    /// Registers a schema (or finds it registered) and gives its id.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] when it is incompatible, `Unavailable` when nobody answers.
    pub async fn register(&self, subject: &str, avsc: &str) -> Result<u32, RegistryError> {
        let mut tries = 0;
        loop {
            let supplied = SuppliedSchema::new(None, SchemaType::Avro, avsc.to_owned());
            let error = match post_schema(&self.settings, subject.to_owned(), supplied).await {
                Ok(registered) => {
                    self.remember(registered.id, avsc)?;
                    return Ok(registered.id);
                }
                Err(error) => error,
            };
            if error.retriable {
                return Err(self.unavailable(&error));
            }
            let cause = said(&error);
            tries += 1;
            // Another process registered the subject at the same time: next time it is there.
            if tries == SAME_TIME || !cause.contains("already exists") {
                let subject = subject.to_owned();
                return Err(RegistryError::Refused { subject, cause });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn remember(
        &self,
        id: u32,
        avsc: &str,
    ) -> Result<&'static Prepared<'static>, RegistryError> {
        let schema = prepared(avsc).map_err(|cause| RegistryError::Unusable { id, cause })?;
        self.seen
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(id, schema);
        Ok(schema)
    }

    fn lookup_error(&self, id: u32, error: &SRCError) -> RegistryError {
        // The library tells a 404 apart only by its text.
        let text = said(error);
        if !error.retriable
            && (text.contains("404")
                || text.contains("40403")
                || text.to_lowercase().contains("not found"))
        {
            RegistryError::UnknownId(id)
        } else {
            self.unavailable(error)
        }
    }

    fn unavailable(&self, error: &SRCError) -> RegistryError {
        RegistryError::Unavailable {
            url: self.url.clone(),
            cause: said(error),
        }
    }
}

fn said(error: &SRCError) -> String {
    match &error.cause {
        Some(cause) => format!("{}: {cause}", error.error),
        None => error.error.clone(),
    }
}
