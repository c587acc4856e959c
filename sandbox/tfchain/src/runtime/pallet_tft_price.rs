//! The pallet `TFTPriceModule`: what a TFT costs.

use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
pub enum Event {
    /// A price, in thousandths of a dollar.
    #[codec(index = 0)]
    PriceStored(u32),
    /// The average price, in thousandths of a dollar.
    #[codec(index = 2)]
    AveragePriceStored(u32),
}
