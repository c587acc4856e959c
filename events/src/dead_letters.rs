//! Releases of dead letters; the same in every topic that processors read.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What is to become of a record that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Release {
    /// It is read again: the registry has its schema by now, or the program knows it.
    Redrive,
    /// It is passed over.
    Discard,
}

/// An operator lets an aggregate go on that waits behind a record that a processor cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterReleased {
    /// The processor that could not read it.
    pub processor: String,
    /// Partition of the record.
    pub partition: i32,
    /// Offset of the record.
    pub offset: i64,
    /// Read again, or passed over.
    pub action: Release,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When.
    pub released_at: Timestamp,
}
