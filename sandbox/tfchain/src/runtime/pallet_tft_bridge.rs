//! The pallet `TFTBridgeModule`: what came from Stellar and went back there.

use super::sp_core::crypto::AccountId32;
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub enum Event {
    /// A deposit on Stellar was minted; with the hash of its transaction, hex as text.
    #[codec(index = 2)]
    MintCompleted(MintTransaction, Vec<u8>),
    /// A deposit was paid back on Stellar.
    #[codec(index = 13)]
    RefundTransactionProcessed(RefundTransaction),
}

/// Errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the runtime's names")]
pub enum Error {
    #[codec(index = 5)]
    MintTransactionAlreadyExecuted,
    #[codec(index = 14)]
    RefundTransactionAlreadyExecuted,
    #[codec(index = 18)]
    AmountIsLessThanDepositFee,
    #[codec(index = 19)]
    WrongParametersProvided,
}

/// A mint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub struct MintTransaction {
    /// The whole deposit; the target receives it less the fee. In 10^-7 TFT.
    pub amount: u64,
    /// Who receives.
    pub target: AccountId32,
    /// Block of the mint.
    pub block: u32,
    /// Validators that agreed.
    pub votes: u32,
}

/// A refund.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub struct RefundTransaction {
    /// Block in which it was proposed.
    pub block: u32,
    /// The whole deposit, in 10^-7 TFT.
    pub amount: u64,
    /// Stellar account, as text.
    pub target: Vec<u8>,
    /// Hash of the deposit on Stellar, hex as text.
    pub tx_hash: Vec<u8>,
    /// Of the validators.
    pub signatures: Vec<StellarSignature>,
    /// Of the refund on Stellar.
    pub sequence_number: u64,
}

/// A validator's signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub struct StellarSignature {
    /// The signature.
    pub signature: Vec<u8>,
    /// Whose.
    pub stellar_pub_key: Vec<u8>,
}
