//! What client and chain say to each other, defined once for both sides.
//!
//! Transactions are SCALE-encoded and signed as Substrate's are: over the call, the nonce, the
//! mortality, and the genesis and birth hashes that are not sent along; longer payloads are
//! signed by their hash. Everything else is JSON over HTTP:
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/chain` | [`ChainInfo`] |
//! | `GET /v1/finalized?after=N&wait_ms=M` | [`Header`] of the finalized head, above N if one came within M ms |
//! | `GET /v1/headers/{number}` | [`Header`], 404 above the finalized head |
//! | `GET /v1/blocks?from=&to=` | finalized [`BlockBody`]s, at most [`MAX_BLOCKS`] |
//! | `GET /v1/accounts/{ss58}?node=&hash=` | [`AccountState`], everything at one finalized block |
//! | `POST /v1/extrinsics?wait_ms=M` with [`Submission`] | [`ExtrinsicStatus`] after at most M ms; 400 and [`RpcError`] when it is not taken |
//! | `GET /v1/extrinsics/{hash}?wait_ms=M` | [`ExtrinsicStatus`], 404 when it is not known |

use blake2::Digest;
use blake2::digest::consts::U32;
use serde::{Deserialize, Serialize};
use subxt::ext::codec::{self, Decode, Encode};
use subxt::utils::AccountId32;
use subxt_signer::sr25519;

/// Most blocks in one answer.
pub const MAX_BLOCKS: u32 = 1_000;

/// Payloads above this many bytes are signed by their hash, as in Substrate.
const SIGNED_WHOLE: usize = 256;

/// BLAKE2b with 32 bytes of output, Substrate's hash.
#[must_use]
pub fn blake2_256(bytes: &[u8]) -> [u8; 32] {
    blake2::Blake2b::<U32>::digest(bytes).into()
}

/// What a transaction does. Names and fields are the runtime's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[codec(crate = codec)]
pub enum Call {
    /// `Balances.transfer_keep_alive`.
    #[codec(index = 0)]
    TransferKeepAlive {
        /// Who receives.
        dest: AccountId32,
        /// In 10^-7 TFT.
        #[codec(compact)]
        value: u128,
    },
    /// `TfgridModule.user_accept_tc`.
    #[codec(index = 1)]
    UserAcceptTc {
        /// Where the terms are.
        document_link: Vec<u8>,
        /// Hash of the terms, hex.
        document_hash: Vec<u8>,
    },
    /// `TfgridModule.create_twin`.
    #[codec(index = 2)]
    CreateTwin {
        /// Relay of the twin.
        relay: Option<Vec<u8>>,
        /// Its public key.
        pk: Option<Vec<u8>>,
    },
    /// `SmartContractModule.create_node_contract`.
    #[codec(index = 3)]
    CreateNodeContract {
        /// The node.
        node_id: u32,
        /// Hash of the deployment, unique per node.
        deployment_hash: [u8; 32],
        /// Kept on chain.
        deployment_data: Vec<u8>,
        /// Addresses to reserve.
        public_ips: u32,
        /// Solution provider.
        solution_provider_id: Option<u64>,
    },
    /// `SmartContractModule.cancel_contract`.
    #[codec(index = 4)]
    CancelContract {
        /// The contract.
        contract_id: u64,
    },
}

/// When a transaction may be included: after its birth block and until `mortal_until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[codec(crate = codec)]
pub struct Era {
    /// Number of the finalized block that its state was read at.
    pub birth: u32,
    /// Last block that may hold it.
    pub mortal_until: u32,
}

/// What is signed. The hashes bind it to one chain and one fork and are not sent.
#[derive(Debug, Clone, Encode)]
#[codec(crate = codec)]
struct Payload<'a> {
    call: &'a Call,
    era: Era,
    #[codec(compact)]
    nonce: u32,
    account: AccountId32,
    genesis: [u8; 32],
    birth_hash: [u8; 32],
}

/// A signed transaction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[codec(crate = codec)]
pub struct Extrinsic {
    /// Who signs and pays.
    pub account: AccountId32,
    /// sr25519.
    pub signature: [u8; 64],
    /// When it may be included.
    pub era: Era,
    /// Must be the account's next.
    #[codec(compact)]
    pub nonce: u32,
    /// What it does.
    pub call: Call,
}

/// The text is not a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SCALE-encoded transaction in hex")]
pub struct NotAnExtrinsic;

impl Extrinsic {
    /// Signs a call. `genesis` and `birth_hash` are the hashes of block 0 and of the birth block.
    #[must_use]
    pub fn sign(
        key: &crate::ChainKey,
        nonce: u32,
        era: Era,
        call: Call,
        genesis: [u8; 32],
        birth_hash: [u8; 32],
    ) -> Self {
        let account = key.account_id();
        let payload = signed_bytes(&Payload {
            call: &call,
            era,
            nonce,
            account,
            genesis,
            birth_hash,
        });
        Self {
            account,
            signature: key.sign(&payload),
            era,
            nonce,
            call,
        }
    }

    /// Whether the account signed this very transaction for this chain and fork.
    #[must_use]
    pub fn is_signed(&self, genesis: [u8; 32], birth_hash: [u8; 32]) -> bool {
        let Self {
            account,
            signature,
            era,
            nonce,
            call,
        } = self;
        let payload = signed_bytes(&Payload {
            call,
            era: *era,
            nonce: *nonce,
            account: *account,
            genesis,
            birth_hash,
        });
        sr25519::verify(
            &sr25519::Signature(*signature),
            payload,
            &sr25519::PublicKey(account.0),
        )
    }

    /// The bytes that are submitted: length-prefixed.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        self.encode().encode()
    }

    /// Hash of the bytes that are submitted, 64 hex digits.
    #[must_use]
    pub fn hash(&self) -> String {
        hex::encode(blake2_256(&self.encoded()))
    }

    /// Reads submitted hex, with or without `0x`.
    ///
    /// # Errors
    /// [`NotAnExtrinsic`]; also when bytes are left over.
    pub fn from_hex(text: &str) -> Result<Self, NotAnExtrinsic> {
        let bytes = hex::decode(text.trim_start_matches("0x")).map_err(|_| NotAnExtrinsic)?;
        let body: Vec<u8> = whole(&bytes)?;
        whole(&body)
    }
}

fn whole<T: Decode>(mut bytes: &[u8]) -> Result<T, NotAnExtrinsic> {
    let value = T::decode(&mut bytes).map_err(|_| NotAnExtrinsic)?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(NotAnExtrinsic)
    }
}

fn signed_bytes(payload: &Payload<'_>) -> Vec<u8> {
    let bytes = payload.encode();
    if bytes.len() > SIGNED_WHOLE {
        blake2_256(&bytes).to_vec()
    } else {
        bytes
    }
}

/// What does not change while a chain runs one runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainInfo {
    /// Hash of block 0, 64 hex digits.
    pub genesis_hash: String,
    /// Version of the runtime.
    pub spec_version: u32,
    /// Time that a block normally takes; blocks may come sooner on a stand-in.
    pub block_ms: u64,
    /// Fee that the bridge keeps of a deposit, in 10^-7 TFT (`TFTBridgeModule.DepositFee`).
    pub deposit_fee: u64,
}

/// A block without its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Height.
    pub number: u32,
    /// 64 hex digits.
    pub hash: String,
    /// Unix milliseconds.
    pub timestamp_ms: i64,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockBody {
    /// Number, hash, time.
    #[serde(flatten)]
    pub header: Header,
    /// In order.
    pub events: Vec<Event>,
}

/// An event as the runtime names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Pallet, such as `SmartContractModule`.
    pub pallet: String,
    /// Event, such as `ContractCreated`.
    pub name: String,
    /// Its fields; accounts as SS58, bytes as hex, `Vec<u8>` that holds text as text.
    pub data: serde_json::Value,
}

/// Everything that a decision about an account rests on, read at one finalized block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountState {
    /// The block.
    pub at: Header,
    /// Next nonce.
    pub nonce: u32,
    /// In 10^-7 TFT.
    pub free: u64,
    /// Whether the terms are accepted.
    pub terms_accepted: bool,
    /// The account's twin.
    pub twin: Option<u32>,
    /// Contract with the node and hash asked for (`ContractIDByNodeIDAndHash`); a cancelled one is
    /// not in the state any more.
    pub contract: Option<u64>,
}

/// Body of a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Hex of [`Extrinsic::encoded`].
    pub extrinsic: String,
}

/// How far a transaction is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtrinsicStatus {
    /// 64 hex digits.
    pub hash: String,
    /// The stage.
    #[serde(flatten)]
    pub stage: Stage,
}

/// Stages of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// In the pool.
    Ready,
    /// In a block that is not finalized.
    InBlock {
        /// The block.
        block: u32,
    },
    /// In a finalized block.
    Finalized {
        /// The block.
        block: u32,
        /// Why its call failed; `None` when it was carried out.
        error: Option<DispatchError>,
        /// Events that it caused.
        events: Vec<Event>,
    },
    /// Left the pool without getting into a block.
    Dropped,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DispatchError {
    /// Pallet; `Token` for the errors of balances in general.
    pub module: String,
    /// Name, such as `ContractIsNotUnique`.
    pub name: String,
}

/// A submission that was not taken. Codes are the node's: 1010 invalid (stale or future nonce, bad
/// signature, expired, cannot pay), 1013 known already, 1014 another one holds the nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcError {
    /// Code.
    pub code: i32,
    /// Sentence.
    pub message: String,
    /// Details, such as `Transaction is outdated`.
    #[serde(default)]
    pub data: String,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::UserSeed;
    use events::ids::UserId;

    fn key() -> crate::ChainKey {
        let seed =
            UserSeed::parse("0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a")
                .unwrap();
        seed.user_key(&UserId::derive(&["ada"]))
    }

    fn contract(data: usize) -> Call {
        Call::CreateNodeContract {
            node_id: 7,
            deployment_hash: [9; 32],
            deployment_data: vec![b'x'; data],
            public_ips: 0,
            solution_provider_id: Some(3),
        }
    }

    #[test]
    fn a_transaction_survives_the_wire() {
        for call in [
            contract(0),
            contract(512),
            Call::CreateTwin {
                relay: None,
                pk: None,
            },
        ] {
            let signed = Extrinsic::sign(
                &key(),
                70_000,
                Era {
                    birth: 5,
                    mortal_until: 69,
                },
                call,
                [1; 32],
                [2; 32],
            );
            let read =
                Extrinsic::from_hex(&format!("0x{}", hex::encode(signed.encoded()))).unwrap();
            assert_eq!(read, signed);
            assert!(read.is_signed([1; 32], [2; 32]));
        }
    }

    #[test]
    fn everything_is_covered_by_the_signature() {
        let era = Era {
            birth: 5,
            mortal_until: 69,
        };
        let signed = Extrinsic::sign(&key(), 1, era, contract(10), [1; 32], [2; 32]);
        assert!(!signed.is_signed([0; 32], [2; 32]), "another chain");
        assert!(!signed.is_signed([1; 32], [0; 32]), "another fork");
        let changes: [fn(&mut Extrinsic); 4] = [
            |e| e.nonce += 1,
            |e| e.era.mortal_until += 1,
            |e| e.call = contract(11),
            |e| e.account = AccountId32([1; 32]),
        ];
        for change in changes {
            let mut changed = signed.clone();
            change(&mut changed);
            assert!(!changed.is_signed([1; 32], [2; 32]), "{changed:?}");
        }
    }

    #[test]
    fn what_is_no_transaction_is_refused() {
        let whole = Extrinsic::sign(
            &key(),
            1,
            Era {
                birth: 0,
                mortal_until: 9,
            },
            contract(1),
            [1; 32],
            [2; 32],
        );
        let hex = hex::encode(whole.encoded());
        for text in [
            "",
            "0x",
            "zz",
            "0xff",
            &hex[..hex.len() - 2],
            &format!("{hex}00"),
        ] {
            assert_eq!(Extrinsic::from_hex(text), Err(NotAnExtrinsic), "{text}");
        }
    }
}
