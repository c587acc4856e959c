//! The pallet `Utility`: several calls in one transaction.

use super::sp_runtime::DispatchError;
use super::tfchain_runtime::RuntimeCall;
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Calls. Decoded by hand, with the calls that they hold.
#[derive(Clone, Debug, PartialEq, Eq, Encode, TypeInfo)]
#[codec(crate = codec)]
#[expect(non_camel_case_types, reason = "the runtime's names")]
pub enum Call {
    /// Stops at the first that fails.
    #[codec(index = 0)]
    batch {
        /// Which.
        calls: Vec<RuntimeCall>,
    },
    /// All or none.
    #[codec(index = 2)]
    batch_all {
        /// Which.
        calls: Vec<RuntimeCall>,
    },
    /// Goes on when one fails.
    #[codec(index = 4)]
    force_batch {
        /// Which.
        calls: Vec<RuntimeCall>,
    },
}

/// Events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub enum Event {
    /// Stopped.
    BatchInterrupted {
        /// Where.
        index: u32,
        /// Why.
        error: DispatchError,
    },
    /// All were carried out.
    BatchCompleted,
    /// Some failed.
    BatchCompletedWithErrors,
    /// One was carried out.
    ItemCompleted,
    /// One failed.
    ItemFailed {
        /// Why.
        error: DispatchError,
    },
}

/// Errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, TypeInfo)]
#[codec(crate = codec)]
pub enum Error {
    /// More than the limit.
    TooManyCalls,
}
