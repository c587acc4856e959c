//! What happened, for people: kept only when somebody wants to read it.

use crate::time;
use pipeline::simulation::Append;
use rdkafka::message::Headers;
use std::sync::{Arc, Mutex, PoisonError};

/// A trace; cloning shares it.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<Mutex<Vec<String>>>>);

impl Trace {
    /// One that keeps its lines.
    #[must_use]
    pub fn kept() -> Self {
        Self(Some(Arc::default()))
    }

    /// Adds a line.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            let line = format!("{:>9.3} s  {}", time::elapsed().as_secs_f64(), line());
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.as_ref().map_or_else(Vec::new, |lines| {
            lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
        })
    }
}

/// A record, in a line.
#[must_use]
pub fn said(append: &Append, partition: i32, at: i64) -> String {
    let header = |name: &str| {
        let header = append.headers.iter().find(|h| h.key == name);
        String::from_utf8_lossy(header.and_then(|h| h.value).unwrap_or_default()).into_owned()
    };
    let (key, kind) = (String::from_utf8_lossy(&append.key), header("ce_type"));
    let source = header("ce_source");
    format!(
        "{partition}:{at:<4} {:.8}  {:<24} {}",
        key,
        kind.rsplit('.').next().unwrap_or_default(),
        source.rsplit('/').next().unwrap_or_default()
    )
}
