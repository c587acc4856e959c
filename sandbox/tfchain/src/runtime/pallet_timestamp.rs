//! The pallet `Timestamp`.

use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Calls.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
#[expect(non_camel_case_types, reason = "the runtime's names")]
pub enum Call {
    /// The block's own time; by its author alone.
    #[codec(index = 0)]
    set {
        /// Unix milliseconds.
        #[codec(compact)]
        now: u64,
    },
}
