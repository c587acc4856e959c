//! The pallet `System`: accounts, events, and the checks that every transaction passes.

use super::frame_support::dispatch::DispatchInfo;
use super::sp_core::crypto::AccountId32;
use super::sp_runtime::DispatchError;
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Types of `frame_system::extensions`.
pub mod extensions {
    use super::super::sp_runtime::generic::era::Era;
    use codec::Encode;
    use scale_info::TypeInfo;

    macro_rules! empty {
        ($($name:ident),*) => {$(
            /// A check that sends nothing along.
            #[derive(TypeInfo)]
            pub struct $name;
        )*};
    }
    empty!(
        CheckNonZeroSender,
        CheckSpecVersion,
        CheckTxVersion,
        CheckGenesis,
        CheckWeight
    );

    /// Sends its mortality along.
    #[derive(TypeInfo)]
    pub struct CheckMortality(pub Era);

    /// Sends its nonce along.
    #[derive(Encode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct CheckNonce(#[codec(compact)] pub u32);
}

/// Calls.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
#[expect(non_camel_case_types, reason = "the runtime's names")]
pub enum Call {
    /// Says something.
    #[codec(index = 0)]
    remark {
        /// What.
        remark: Vec<u8>,
    },
}

/// Events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub enum Event {
    /// A call was carried out.
    ExtrinsicSuccess {
        /// What it took.
        dispatch_info: DispatchInfo,
    },
    /// A call failed.
    ExtrinsicFailed {
        /// Why.
        dispatch_error: DispatchError,
        /// What it took.
        dispatch_info: DispatchInfo,
    },
    /// The runtime was upgraded.
    CodeUpdated,
    /// An account came to be.
    NewAccount {
        /// Which.
        account: AccountId32,
    },
    /// An account ended.
    KilledAccount {
        /// Which.
        account: AccountId32,
    },
}

/// Errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the runtime's names")]
pub enum Error {
    InvalidSpecName,
    SpecVersionNeedsToIncrease,
    FailedToExtractRuntimeVersion,
    NonDefaultComposite,
    NonZeroRefCount,
    CallFiltered,
}

/// An account with its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub struct AccountInfo<Index, AccountData> {
    /// Next nonce.
    pub nonce: Index,
    /// Those that use it.
    pub consumers: u32,
    /// Those that keep it.
    pub providers: u32,
    /// Those that suffice to keep it.
    pub sufficients: u32,
    /// Its balances.
    pub data: AccountData,
}

/// Where in a block an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub enum Phase {
    /// In this transaction.
    ApplyExtrinsic(u32),
    /// At the end.
    Finalization,
    /// At the beginning.
    Initialization,
}

/// An event with its place.
#[derive(Clone, Debug, PartialEq, Eq, Encode, TypeInfo)]
#[codec(crate = codec)]
pub struct EventRecord<E, T> {
    /// Where.
    pub phase: Phase,
    /// What.
    pub event: E,
    /// By what it may be found.
    pub topics: Vec<T>,
}
