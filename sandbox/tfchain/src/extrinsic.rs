//! Transactions as they are submitted: decoded, and checked as a node checks them.

use crate::metadata::BLOCK_HASH_COUNT;
use crate::runtime::frame_system::extensions::CheckNonce;
use crate::runtime::pallet_transaction_payment::ChargeTransactionPayment;
use crate::runtime::sp_core::crypto::AccountId32;
use crate::runtime::sp_core::sr25519;
use crate::runtime::sp_runtime::MultiSignature;
use crate::runtime::sp_runtime::generic::era::Era;
use crate::runtime::sp_runtime::multiaddress::MultiAddress;
use crate::runtime::tfchain_runtime::RuntimeCall;
use crate::runtime::{Version, blake2_256};
use codec::{Compact, Decode, Encode};

/// Payloads above this many bytes are signed by their hash.
const SIGNED_WHOLE: usize = 256;
/// Format 4, signed.
const SIGNED: u8 = 0x84;
/// Format 4, not signed.
const BARE: u8 = 4;

/// An error of `author_submitExtrinsic`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code}): {data}")]
pub struct Rejected {
    /// The node's code.
    pub code: i32,
    /// The node's sentence.
    pub message: &'static str,
    /// Details.
    pub data: String,
}

impl Rejected {
    /// Code 1010.
    #[must_use]
    pub fn invalid(data: &str) -> Self {
        Self {
            code: 1010,
            message: "Invalid Transaction",
            data: data.to_owned(),
        }
    }

    /// The bytes are no transaction.
    #[must_use]
    pub fn unreadable(data: &str) -> Self {
        Self {
            code: 1002,
            message: "Verification Error: Runtime error: Execution failed",
            data: data.to_owned(),
        }
    }
}

/// A signed transaction.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Blake2-256 of the bytes as they were submitted.
    pub hash: [u8; 32],
    /// As they were submitted: length-prefixed.
    pub bytes: Vec<u8>,
    /// Who signs and pays.
    pub account: AccountId32,
    /// Must be the account's next.
    pub nonce: u32,
    /// When it may be included.
    pub era: Era,
    /// What it does.
    pub call: RuntimeCall,
    /// What its signature was found to bind when it came.
    pub checked: Option<Bound>,
    signature: [u8; 64],
    /// Call and extensions, as they are signed.
    payload: Vec<u8>,
}

/// What a signature binds besides what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The runtime.
    pub version: Version,
    /// Hash of block 0.
    pub genesis: [u8; 32],
    /// Hash of the era's birth block.
    pub birth: [u8; 32],
}

impl Signed {
    /// Reads submitted bytes.
    ///
    /// # Errors
    /// [`Rejected`] when they are no signed transaction of this runtime.
    pub fn decode(bytes: &[u8], version: Version) -> Result<Self, Rejected> {
        Self::read(bytes, version).map_err(|e| Rejected::unreadable(&e.to_string()))
    }

    fn read(bytes: &[u8], version: Version) -> Result<Self, codec::Error> {
        let mut input = bytes;
        let length = Compact::<u32>::decode(&mut input)?.0;
        if u32::try_from(input.len()) != Ok(length) {
            return Err("the length prefix does not fit".into());
        }
        if u8::decode(&mut input)? != SIGNED {
            return Err("not a signed transaction of version 4".into());
        }
        let MultiAddress::Id(account) = MultiAddress::<AccountId32, ()>::decode(&mut input)? else {
            return Err("an address of a kind that is not looked up".into());
        };
        let MultiSignature::Sr25519(sr25519::Signature(signature)) =
            MultiSignature::decode(&mut input)?
        else {
            return Err("a signature of a kind that is not verified".into());
        };
        let extra = input;
        let era = Era::decode(&mut input)?;
        let nonce = Compact::<u32>::decode(&mut input)?.0;
        Compact::<u128>::decode(&mut input)?;
        let (extra, call_bytes) = extra.split_at(extra.len() - input.len());
        let call = version.decode_call(&mut input)?;
        if !input.is_empty() {
            return Err("bytes are left over".into());
        }
        let mut payload = call_bytes.to_vec();
        payload.extend(extra);
        Ok(Self {
            hash: blake2_256(bytes),
            bytes: bytes.to_vec(),
            account,
            nonce,
            era,
            call,
            checked: None,
            signature,
            payload,
        })
    }

    /// Whether the account signed this very transaction.
    #[must_use]
    pub fn is_signed(&self, bound: Bound) -> bool {
        if self.checked == Some(bound) {
            return true;
        }
        let message = message(self.payload.clone(), bound);
        subxt_signer::sr25519::verify(
            &subxt_signer::sr25519::Signature(self.signature),
            message,
            &subxt_signer::sr25519::PublicKey(self.account.0),
        )
    }

    /// The first block that may not hold it, when the next one is `next`.
    #[must_use]
    pub fn death(&self, next: u32) -> u64 {
        self.era.death(u64::from(next))
    }

    /// Number of the block whose hash it signs, for inclusion in block `next`.
    ///
    /// # Errors
    /// When that block is not remembered.
    pub fn birth(&self, next: u32) -> Result<u32, Rejected> {
        let birth = self.era.birth(u64::from(next));
        let ancient = || Rejected::invalid("Transaction has an ancient birth block");
        let birth = u32::try_from(birth).map_err(|_| ancient())?;
        let remembered = birth < next
            && (self.era == Era::Immortal || next.saturating_sub(birth) <= BLOCK_HASH_COUNT);
        if remembered {
            Ok(birth)
        } else {
            Err(ancient())
        }
    }
}

/// What is signed, from call and extensions.
fn message(mut payload: Vec<u8>, bound: Bound) -> Vec<u8> {
    bound.version.spec.encode_to(&mut payload);
    bound.version.transaction.encode_to(&mut payload);
    payload.extend(bound.genesis);
    payload.extend(bound.birth);
    if payload.len() > SIGNED_WHOLE {
        blake2_256(&payload).to_vec()
    } else {
        payload
    }
}

/// A signed transaction's bytes, made without any client: for tests.
pub fn sign(
    call: &[u8],
    account: AccountId32,
    nonce: u32,
    era: Era,
    bound: Bound,
    sign: impl Fn(&[u8]) -> [u8; 64],
) -> Vec<u8> {
    let mut extra = era.encode();
    CheckNonce(nonce).encode_to(&mut extra);
    ChargeTransactionPayment(0).encode_to(&mut extra);
    let mut payload = call.to_vec();
    payload.extend(&extra);
    let signature = sign(&message(payload, bound));
    let mut body = vec![SIGNED];
    MultiAddress::<AccountId32, ()>::Id(account).encode_to(&mut body);
    MultiSignature::Sr25519(sr25519::Signature(signature)).encode_to(&mut body);
    body.extend(extra);
    body.extend(call);
    body.encode()
}

/// The inherent that sets a block's time.
#[must_use]
pub fn timestamp(version: Version, now_ms: u64) -> Vec<u8> {
    let mut body = vec![BARE, version.pallet(1), 0];
    Compact(now_ms).encode_to(&mut body);
    body.encode()
}
