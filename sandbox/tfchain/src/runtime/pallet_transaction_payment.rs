//! The pallet `TransactionPayment`: fees.

use super::sp_core::crypto::AccountId32;
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Sends its tip along.
#[derive(Encode, TypeInfo)]
#[codec(crate = codec)]
pub struct ChargeTransactionPayment(#[codec(compact)] pub u128);

/// Events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub enum Event {
    /// A fee was paid.
    TransactionFeePaid {
        /// By whom.
        who: AccountId32,
        /// In 10^-7 TFT.
        actual_fee: u128,
        /// In 10^-7 TFT.
        tip: u128,
    },
}
