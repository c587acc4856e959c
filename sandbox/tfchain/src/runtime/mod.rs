//! Our own definitions of the parts of TFChain's runtime that are used: calls, events, errors and
//! types, in modules named as the real ones are, because the metadata tells these names.

pub mod frame_support;
pub mod frame_system;
pub mod pallet_balances;
pub mod pallet_smart_contract;
pub mod pallet_tfgrid;
pub mod pallet_tft_bridge;
pub mod pallet_tft_price;
pub mod pallet_timestamp;
pub mod pallet_transaction_payment;
pub mod pallet_utility;
pub mod sp_core;
pub mod sp_runtime;
pub mod sp_weights;
pub mod tfchain_runtime;

use codec::{Compact, Decode, Encode, Error};
use tfchain_runtime::{RuntimeCall, RuntimeEvent};

/// Most bytes of data that a contract holds (`SmartContractModule.MaxDeploymentDataLength`).
pub const MAX_DATA: usize = 512;
/// Calls within calls, at most.
const DEEPEST: u32 = 8;

/// What a runtime upgrade changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The version alone.
    #[default]
    Nothing,
    /// The indices of the pallets.
    Indices,
    /// A field of `create_node_contract` has another name.
    Field,
}

/// A version of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// `spec_version`.
    pub spec: u32,
    /// `transaction_version`.
    pub transaction: u32,
    /// What it changed.
    pub change: Change,
}

impl Version {
    /// Where pallets are in spec 149, and after an upgrade that moves them.
    const MOVED: [(u8, u8); 9] = [
        (0, 0),
        (1, 2),
        (3, 23),
        (20, 3),
        (21, 8),
        (25, 11),
        (26, 12),
        (27, 13),
        (28, 14),
    ];

    /// The version that the stand-in begins with.
    pub const FIRST: Self = Self {
        spec: 149,
        transaction: 2,
        change: Change::Nothing,
    };

    /// The index of the pallet that has `index` in spec 149.
    #[must_use]
    pub fn pallet(self, index: u8) -> u8 {
        match self.change {
            Change::Nothing | Change::Field => index,
            Change::Indices => Self::MOVED
                .iter()
                .find(|(from, _)| *from == index)
                .map_or(index, |(_, to)| *to),
        }
    }

    fn original(self, index: u8) -> Option<u8> {
        Self::MOVED
            .iter()
            .find(|(from, _)| self.pallet(*from) == index)
            .map(|(from, _)| *from)
    }

    /// Reads a call.
    ///
    /// # Errors
    /// When the bytes are none, or hold what the runtime has no room for.
    pub fn decode_call(self, input: &mut &[u8]) -> Result<RuntimeCall, Error> {
        self.decode(input, 0)
    }

    fn decode(self, input: &mut &[u8], depth: u32) -> Result<RuntimeCall, Error> {
        if depth > DEEPEST {
            return Err("too deep".into());
        }
        let pallet = self
            .original(u8::decode(input)?)
            .ok_or_else(|| Error::from("no such pallet"))?;
        Ok(match pallet {
            0 => RuntimeCall::System(Decode::decode(input)?),
            1 => RuntimeCall::Timestamp(Decode::decode(input)?),
            3 => RuntimeCall::Utility(self.decode_batch(input, depth)?),
            20 => RuntimeCall::Balances(Decode::decode(input)?),
            25 => RuntimeCall::TfgridModule(Decode::decode(input)?),
            26 => RuntimeCall::SmartContractModule(bounded(Decode::decode(input)?)?),
            _ => return Err("the pallet has no calls".into()),
        })
    }

    fn decode_batch(self, input: &mut &[u8], depth: u32) -> Result<pallet_utility::Call, Error> {
        let kind = u8::decode(input)?;
        let count = Compact::<u32>::decode(input)?.0;
        let mut calls = Vec::new();
        for _ in 0..count {
            calls.push(self.decode(input, depth + 1)?);
        }
        match kind {
            0 => Ok(pallet_utility::Call::batch { calls }),
            2 => Ok(pallet_utility::Call::batch_all { calls }),
            4 => Ok(pallet_utility::Call::force_batch { calls }),
            _ => Err("no such call".into()),
        }
    }

    /// The bytes of an event.
    #[must_use]
    pub fn encode_event(self, event: &RuntimeEvent) -> Vec<u8> {
        let mut bytes = event.encode();
        if let Some(pallet) = bytes.first_mut() {
            *pallet = self.pallet(*pallet);
        }
        bytes
    }
}

/// Bounded vectors refuse in decoding what they have no room for.
fn bounded(call: pallet_smart_contract::Call) -> Result<pallet_smart_contract::Call, Error> {
    use pallet_smart_contract::Call;
    match &call {
        Call::create_node_contract {
            deployment_data, ..
        }
        | Call::update_node_contract {
            deployment_data, ..
        } if deployment_data.len() > MAX_DATA => Err("deployment data too long".into()),
        Call::create_node_contract { .. }
        | Call::update_node_contract { .. }
        | Call::cancel_contract { .. }
        | Call::create_name_contract { .. }
        | Call::create_rent_contract { .. } => Ok(call),
    }
}

/// BLAKE2b with 32 bytes of output, Substrate's hash.
#[must_use]
pub fn blake2_256(bytes: &[u8]) -> [u8; 32] {
    use blake2::Digest;
    blake2::Blake2b::<blake2::digest::consts::U32>::digest(bytes).into()
}

/// BLAKE2b with 16 bytes of output, for storage keys.
#[must_use]
pub fn blake2_128(bytes: &[u8]) -> [u8; 16] {
    use blake2::Digest;
    blake2::Blake2b::<blake2::digest::consts::U16>::digest(bytes).into()
}
