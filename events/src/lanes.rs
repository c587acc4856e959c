//! Openings of payment lanes; the same in every topic whose hands pay on Stellar.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The payment lanes of an executor on this partition were opened on Stellar and verified; valid for later offsets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanesOpened {
    /// The executor that owns the lanes.
    pub executor: String,
    /// Lane base is epoch << 44; 2^18 <= epoch < 2^19.
    pub epoch: i32,
    /// Number of lanes K.
    pub lanes: i32,
    /// The lane accounts in order of their index.
    pub accounts: Vec<String>,
    /// When the opening was verified.
    pub opened_at: Timestamp,
}
