//! Substrate's runtime primitives: addresses, signatures, eras, errors.

#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "a field has a method `ty` for each form of the registry: by its name alone it is not told which"
)]

use super::sp_core::{ecdsa, ed25519, sr25519};
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Types of `sp_runtime::multiaddress`.
pub mod multiaddress {
    use super::{Decode, Encode, TypeInfo};

    /// Who is meant.
    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub enum MultiAddress<AccountId, AccountIndex> {
        /// By account.
        Id(AccountId),
        /// By index.
        Index(#[codec(compact)] AccountIndex),
        /// By bytes.
        Raw(Vec<u8>),
        /// By 32 bytes.
        Address32([u8; 32]),
        /// By 20 bytes.
        Address20([u8; 20]),
    }
}

/// A signature of some kind.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub enum MultiSignature {
    /// Ed25519.
    Ed25519(ed25519::Signature),
    /// Sr25519, the only one that the stand-in verifies.
    Sr25519(sr25519::Signature),
    /// ECDSA.
    Ecdsa(ecdsa::Signature),
}

/// Types of `sp_runtime::generic`.
pub mod generic {
    use scale_info::build::Fields;
    use scale_info::{Path, Type, TypeInfo, TypeParameter, meta_type};
    use std::marker::PhantomData;

    /// Types of `sp_runtime::generic::era`.
    pub mod era {
        use codec::{Decode, Encode, Error, Input, Output};
        use scale_info::build::{Fields, Variants};
        use scale_info::{Path, Type, TypeInfo};

        /// When a transaction may be included.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Era {
            /// Always.
            Immortal,
            /// Within `period` blocks, counted from those whose number is `phase` modulo it.
            Mortal {
                /// A power of two from 4.
                period: u64,
                /// Below the period.
                phase: u64,
            },
        }

        impl Era {
            /// The block whose hash is signed, for inclusion in block `current`.
            #[must_use]
            pub fn birth(self, current: u64) -> u64 {
                match self {
                    Self::Immortal => 0,
                    Self::Mortal { period, phase } => {
                        (current.max(phase) - phase) / period * period + phase
                    }
                }
            }

            /// The first block that may not hold it any more.
            #[must_use]
            pub fn death(self, current: u64) -> u64 {
                match self {
                    Self::Immortal => u64::MAX,
                    Self::Mortal { period, .. } => self.birth(current) + period,
                }
            }

            /// Mortal for `period` blocks from `current`.
            #[must_use]
            pub fn mortal(period: u64, current: u64) -> Self {
                let period = period.next_power_of_two().clamp(4, 1 << 16);
                let quantize = (period >> 12).max(1);
                Self::Mortal {
                    period,
                    phase: current % period / quantize * quantize,
                }
            }
        }

        impl Encode for Era {
            fn encode_to<O: Output + ?Sized>(&self, out: &mut O) {
                match self {
                    Self::Immortal => out.push_byte(0),
                    Self::Mortal { period, phase } => {
                        let quantize = (period >> 12).max(1);
                        let low = u64::from(period.trailing_zeros() - 1).clamp(1, 15);
                        let bits = low | ((phase / quantize) << 4);
                        out.write(&u16::try_from(bits).unwrap_or(u16::MAX).to_le_bytes());
                    }
                }
            }
        }

        impl Decode for Era {
            fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
                let first = input.read_byte()?;
                if first == 0 {
                    return Ok(Self::Immortal);
                }
                let bits = u64::from(first) | (u64::from(input.read_byte()?) << 8);
                let period = 2_u64 << (bits % 16);
                let quantize = (period >> 12).max(1);
                let phase = (bits >> 4) * quantize;
                if period >= 4 && phase < period {
                    Ok(Self::Mortal { period, phase })
                } else {
                    Err("Invalid period and phase".into())
                }
            }
        }

        impl TypeInfo for Era {
            type Identity = Self;

            fn type_info() -> Type {
                let mut variants = Variants::new().variant("Immortal", |v| v.index(0));
                for index in 1..=255_u8 {
                    let name: &'static str = Box::leak(format!("Mortal{index}").into_boxed_str());
                    variants = variants.variant(name, |v| {
                        v.index(index)
                            .fields(Fields::unnamed().field(|f| f.ty::<u8>()))
                    });
                }
                Type::builder()
                    .path(Path::new("Era", module_path!()))
                    .variant(variants)
            }
        }
    }

    /// What its name says; a type for the metadata alone.
    pub struct UncheckedExtrinsic<Address, Call, Signature, Extra>(
        PhantomData<(Address, Call, Signature, Extra)>,
    );

    impl<Address, Call, Signature, Extra> TypeInfo
        for UncheckedExtrinsic<Address, Call, Signature, Extra>
    where
        Address: TypeInfo + 'static,
        Call: TypeInfo + 'static,
        Signature: TypeInfo + 'static,
        Extra: TypeInfo + 'static,
    {
        type Identity = Self;

        fn type_info() -> Type {
            Type::builder()
                .path(Path::new("UncheckedExtrinsic", module_path!()))
                .type_params([
                    TypeParameter::new("Address", Some(meta_type::<Address>())),
                    TypeParameter::new("Call", Some(meta_type::<Call>())),
                    TypeParameter::new("Signature", Some(meta_type::<Signature>())),
                    TypeParameter::new("Extra", Some(meta_type::<Extra>())),
                ])
                .composite(Fields::unnamed().field(|f| f.ty::<Vec<u8>>()))
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub enum DispatchError {
    /// Something.
    Other,
    /// A look-up failed.
    CannotLookup,
    /// Who sends it may not.
    BadOrigin,
    /// An error of a pallet.
    Module(ModuleError),
    /// Somebody still uses the account.
    ConsumerRemaining,
    /// Nothing keeps the account.
    NoProviders,
    /// Too many use the account.
    TooManyConsumers,
    /// About tokens.
    Token(TokenError),
    /// About numbers.
    Arithmetic(ArithmeticError),
    /// About storage layers.
    Transactional(TransactionalError),
    /// Too large.
    Exhausted,
    /// The state is broken.
    Corruption,
    /// Not there now.
    Unavailable,
    /// Root may not.
    RootNotAllowed,
}

/// An error of a pallet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub struct ModuleError {
    /// The pallet.
    pub index: u8,
    /// The error, and three bytes of its own.
    pub error: [u8; 4],
}

/// About tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the runtime's names")]
pub enum TokenError {
    FundsUnavailable,
    OnlyProvider,
    BelowMinimum,
    CannotCreate,
    UnknownAsset,
    Frozen,
    Unsupported,
    CannotCreateHold,
    NotExpendable,
    Blocked,
}

/// About numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the runtime's names")]
pub enum ArithmeticError {
    Underflow,
    Overflow,
    DivisionByZero,
}

/// About storage layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the runtime's names")]
pub enum TransactionalError {
    LimitReached,
    NoLayer,
}
