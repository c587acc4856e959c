//! What the runtime says of a dispatched call.

use super::sp_weights::weight_v2::Weight;
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Types of `frame_support::dispatch`.
pub mod dispatch {
    use super::{Decode, Encode, TypeInfo, Weight};

    /// What a call took.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct DispatchInfo {
        /// How much.
        pub weight: Weight,
        /// Of what kind.
        pub class: DispatchClass,
        /// Whether it was paid for.
        pub pays_fee: Pays,
    }

    /// Kinds of calls.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    #[expect(missing_docs, reason = "the runtime's names")]
    pub enum DispatchClass {
        Normal,
        Operational,
        Mandatory,
    }

    /// Whether a fee is due.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    #[expect(missing_docs, reason = "the runtime's names")]
    pub enum Pays {
        Yes,
        No,
    }
}

impl dispatch::DispatchInfo {
    /// Of a call that is paid for, or of an inherent.
    #[must_use]
    pub const fn of(paid: bool) -> Self {
        Self {
            weight: Weight {
                ref_time: 150_000_000,
                proof_size: 0,
            },
            class: if paid {
                dispatch::DispatchClass::Normal
            } else {
                dispatch::DispatchClass::Mandatory
            },
            pays_fee: dispatch::Pays::Yes,
        }
    }
}
