//! The runtime's outer enums. Their indices are those of spec 149; see [`super::Version`].

use super::{
    frame_system, pallet_balances, pallet_smart_contract, pallet_tfgrid, pallet_tft_bridge,
    pallet_tft_price, pallet_timestamp, pallet_transaction_payment, pallet_utility,
};
use codec::Encode;
use scale_info::TypeInfo;

/// Any call. Decoded with [`super::Version::decode_call`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the pallets' names")]
pub enum RuntimeCall {
    #[codec(index = 0)]
    System(frame_system::Call),
    #[codec(index = 1)]
    Timestamp(pallet_timestamp::Call),
    #[codec(index = 3)]
    Utility(pallet_utility::Call),
    #[codec(index = 20)]
    Balances(pallet_balances::Call),
    #[codec(index = 25)]
    TfgridModule(pallet_tfgrid::Call),
    #[codec(index = 26)]
    SmartContractModule(pallet_smart_contract::Call),
}

/// Any event. Encoded with [`super::Version::encode_event`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the pallets' names")]
pub enum RuntimeEvent {
    #[codec(index = 0)]
    System(frame_system::Event),
    #[codec(index = 3)]
    Utility(pallet_utility::Event),
    #[codec(index = 20)]
    Balances(pallet_balances::Event),
    #[codec(index = 21)]
    TransactionPayment(pallet_transaction_payment::Event),
    #[codec(index = 25)]
    TfgridModule(pallet_tfgrid::Event),
    #[codec(index = 26)]
    SmartContractModule(pallet_smart_contract::Event),
    #[codec(index = 27)]
    TFTBridgeModule(pallet_tft_bridge::Event),
    #[codec(index = 28)]
    TFTPriceModule(pallet_tft_price::Event),
}

/// The runtime itself.
#[derive(TypeInfo)]
pub struct Runtime;
