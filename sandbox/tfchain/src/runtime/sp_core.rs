//! Substrate's primitives.

use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Types of `sp_core::crypto`.
pub mod crypto {
    use super::{Decode, Encode, TypeInfo};

    /// An account.
    #[derive(
        Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo,
    )]
    #[codec(crate = codec)]
    pub struct AccountId32(pub [u8; 32]);

    impl From<subxt::utils::AccountId32> for AccountId32 {
        fn from(account: subxt::utils::AccountId32) -> Self {
            Self(account.0)
        }
    }

    impl From<AccountId32> for subxt::utils::AccountId32 {
        fn from(account: AccountId32) -> Self {
            Self(account.0)
        }
    }

    impl std::fmt::Display for AccountId32 {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            subxt::utils::AccountId32::from(*self).fmt(f)
        }
    }
}

/// Types of `sp_core::sr25519`.
pub mod sr25519 {
    use super::{Decode, Encode, TypeInfo};

    /// A signature.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Signature(pub [u8; 64]);
}

/// Types of `sp_core::ed25519`.
pub mod ed25519 {
    use super::{Decode, Encode, TypeInfo};

    /// A signature.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Signature(pub [u8; 64]);
}

/// Types of `sp_core::ecdsa`.
pub mod ecdsa {
    use super::{Decode, Encode, TypeInfo};

    /// A signature.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Signature(pub [u8; 65]);
}

/// A hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub struct H256(pub [u8; 32]);
