//! Substrate's JSON-RPC, as far as clients of TFChain use it. Methods that answer at once are
//! here; [`connection`] carries them and the subscriptions.

pub mod connection;

use crate::chain::{Chain, Header, Status};
use crate::extrinsic::Rejected;
use crate::runtime::Version;
use crate::runtime::sp_core::crypto::AccountId32;
use codec::{Compact, Decode, Encode};
use serde_json::{Value, json};
use std::fmt::Write;

/// An error of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Code.
    pub code: i32,
    /// Sentence.
    pub message: String,
    /// Details.
    pub data: Option<String>,
}

impl Failure {
    fn new(code: i32, message: &str) -> Self {
        Self {
            code,
            message: message.to_owned(),
            data: None,
        }
    }

    fn params(what: &str) -> Self {
        Self::new(-32_602, &format!("Invalid params: {what}"))
    }

    /// What a node says when it is in trouble.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(-32_603, "Internal error")
    }
}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        Self {
            code: rejected.code,
            message: rejected.message.to_owned(),
            data: Some(rejected.data),
        }
    }
}

/// APIs of the runtime that are told, by their hashes, with their versions.
const APIS: [(&str, u32); 4] = [
    ("df6acb689907609b", 4),
    ("37e397fc7c91f5e4", 1),
    ("bc9d89904f5b923f", 1),
    ("37c8bb1350a9a2a8", 4),
];
/// Methods that are served.
const METHODS: &[&str] = &[
    "author_pendingExtrinsics",
    "author_submitAndWatchExtrinsic",
    "author_submitExtrinsic",
    "author_unwatchExtrinsic",
    "chain_getBlock",
    "chain_getBlockHash",
    "chain_getFinalizedHead",
    "chain_getHeader",
    "chain_subscribeAllHeads",
    "chain_subscribeFinalizedHeads",
    "chain_subscribeNewHeads",
    "chain_unsubscribeAllHeads",
    "chain_unsubscribeFinalizedHeads",
    "chain_unsubscribeNewHeads",
    "payment_queryInfo",
    "rpc_methods",
    "state_call",
    "state_getKeysPaged",
    "state_getMetadata",
    "state_getRuntimeVersion",
    "state_getStorage",
    "state_queryStorageAt",
    "state_subscribeRuntimeVersion",
    "state_subscribeStorage",
    "state_unsubscribeRuntimeVersion",
    "state_unsubscribeStorage",
    "system_accountNextIndex",
    "system_chain",
    "system_chainType",
    "system_health",
    "system_name",
    "system_properties",
    "system_version",
    "system_localPeerId",
];
const NAME: &str = "substrate-threefold";

/// Bytes as JSON-RPC writes them.
#[must_use]
pub fn hex0x(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("0x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn bytes(text: &str) -> Result<Vec<u8>, Failure> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|_| Failure::params("not hex"))
}

/// Parameters of a call.
pub struct Params(Vec<Value>);

impl Params {
    /// From what came.
    #[must_use]
    pub fn new(value: Option<Value>) -> Self {
        Self(match value {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        })
    }

    fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    fn text(&self, index: usize) -> Result<&str, Failure> {
        self.get(index)
            .and_then(Value::as_str)
            .ok_or_else(|| Failure::params("text expected"))
    }

    fn bytes(&self, index: usize) -> Result<Vec<u8>, Failure> {
        bytes(self.text(index)?)
    }

    /// A list of bytes.
    ///
    /// # Errors
    /// When it is none.
    pub fn list(&self, index: usize) -> Result<Vec<Vec<u8>>, Failure> {
        let values = self.get(index).and_then(Value::as_array);
        values
            .ok_or_else(|| Failure::params("a list expected"))?
            .iter()
            .map(|value| bytes(value.as_str().unwrap_or("-")))
            .collect()
    }

    /// Number of the block whose hash stands there; the best one's without.
    fn block(&self, chain: &Chain, index: usize) -> Result<u32, Failure> {
        if self.get(index).is_none() {
            return Ok(chain.best().number);
        }
        let hash = self.bytes(index)?;
        let number = hash.try_into().ok().and_then(|hash| chain.number_of(hash));
        number.ok_or_else(|| {
            Failure::new(
                -32_000,
                "Client error: UnknownBlock: Header was not found in the database",
            )
        })
    }
}

/// A header as JSON-RPC tells it.
#[must_use]
pub fn header(header: &Header) -> Value {
    json!({
        "parentHash": hex0x(&header.parent),
        "number": format!("0x{:x}", header.number),
        "stateRoot": hex0x(&header.state_root),
        "extrinsicsRoot": hex0x(&header.extrinsics_root),
        "digest": { "logs": [] },
    })
}

/// A transaction's status as JSON-RPC tells it.
#[must_use]
pub fn status(status: Status) -> Value {
    match status {
        Status::Future => json!("future"),
        Status::Ready => json!("ready"),
        Status::InBlock(hash) => json!({ "inBlock": hex0x(&hash) }),
        Status::Retracted(hash) => json!({ "retracted": hex0x(&hash) }),
        Status::Finalized(hash) => json!({ "finalized": hex0x(&hash) }),
        Status::Dropped => json!("dropped"),
        Status::Invalid => json!("invalid"),
    }
}

/// A runtime's version as JSON-RPC tells it.
#[must_use]
pub fn runtime_version(version: Version) -> Value {
    json!({
        "specName": NAME,
        "implName": NAME,
        "authoringVersion": 1,
        "specVersion": version.spec,
        "implVersion": 1,
        "apis": APIS.map(|(id, version)| json!([format!("0x{id}"), version])),
        "transactionVersion": version.transaction,
        "stateVersion": 1,
    })
}

fn core_version(version: Version) -> Vec<u8> {
    let apis: Vec<([u8; 8], u32)> = APIS
        .iter()
        .map(|(id, version)| {
            let bytes = hex::decode(id).ok().and_then(|id| id.try_into().ok());
            (bytes.unwrap_or_default(), *version)
        })
        .collect();
    (
        NAME,
        NAME,
        1_u32,
        version.spec,
        1_u32,
        apis,
        version.transaction,
        1_u8,
    )
        .encode()
}

/// Answers a call that needs no subscription.
///
/// # Errors
/// [`Failure`].
pub fn answer(chain: &Chain, method: &str, params: &Params) -> Result<Value, Failure> {
    Ok(match method {
        "chain_getBlockHash" => match params.get(0) {
            None => json!(hex0x(&chain.best().hash)),
            Some(Value::Array(numbers)) => numbers
                .iter()
                .map(|number| block_hash(chain, number))
                .collect::<Result<Vec<_>, _>>()?
                .into(),
            Some(number) => block_hash(chain, number)?,
        },
        "chain_getFinalizedHead" => json!(hex0x(&chain.finalized().hash)),
        "chain_getHeader" => match params.block(chain, 0) {
            Ok(number) => chain.header(number).as_ref().map_or(Value::Null, header),
            Err(_) => Value::Null,
        },
        "chain_getBlock" => match params.block(chain, 0) {
            Ok(number) => block(chain, number),
            Err(_) => Value::Null,
        },
        "state_getStorage" => {
            let (key, number) = (params.bytes(0)?, params.block(chain, 1)?);
            chain
                .storage(&key, number)
                .map_or(Value::Null, |value| json!(hex0x(&value)))
        }
        "state_getKeysPaged" => {
            let prefix = params.text(0).map_or_else(|_| Ok(Vec::new()), bytes)?;
            let count = params.get(1).and_then(Value::as_u64).unwrap_or(100);
            let start = params.text(2).map_or_else(|_| Ok(Vec::new()), bytes)?;
            let number = params.block(chain, 3)?;
            let count = usize::try_from(count.min(1_000)).unwrap_or(1_000);
            chain
                .keys(&prefix, &start, count, number)
                .iter()
                .map(|key| json!(hex0x(key)))
                .collect()
        }
        "state_queryStorageAt" => {
            let (keys, number) = (params.list(0)?, params.block(chain, 1)?);
            json!([changes(chain, &keys, number)])
        }
        "state_getMetadata" => {
            let metadata = chain.metadata(params.block(chain, 0)?);
            json!(hex0x(&metadata.unwrap_or_default()))
        }
        "state_getRuntimeVersion" | "chain_getRuntimeVersion" => chain
            .version(params.block(chain, 0)?)
            .map_or(Value::Null, runtime_version),
        "state_call" => {
            let call = params.text(0)?;
            let (input, number) = (params.bytes(1)?, params.block(chain, 2)?);
            json!(hex0x(&runtime_call(chain, call, &input, number)?))
        }
        "author_submitExtrinsic" => json!(hex0x(&chain.submit(&params.bytes(0)?)?.0)),
        "author_pendingExtrinsics" => chain
            .pending()
            .iter()
            .map(|bytes| json!(hex0x(bytes)))
            .collect(),
        "payment_queryInfo" => json!({
            "weight": { "refTime": 150_000_000, "proofSize": 0 },
            "class": "Normal",
            "partialFee": chain.fee().to_string(),
        }),
        "system_accountNextIndex" | "account_nextIndex" => {
            let account = params.text(0)?.parse::<subxt::utils::AccountId32>();
            let account = account.map_err(|_| Failure::params("not an account"))?;
            json!(chain.next_nonce(AccountId32::from(account)))
        }
        "system_chain" => json!("Gridway sandbox"),
        "system_chainType" => json!("Local"),
        "system_name" => json!("gridway-sandbox-tfchain"),
        "system_version" => json!(env!("CARGO_PKG_VERSION")),
        "system_localPeerId" => json!("12D3KooWGridwaySandbox"),
        "system_health" => {
            json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false })
        }
        "system_properties" => {
            json!({ "ss58Format": 42, "tokenDecimals": 7, "tokenSymbol": "TFT" })
        }
        "rpc_methods" => json!({ "methods": METHODS }),
        _ => {
            tracing::debug!(method, "a call that is not served");
            return Err(Failure::new(-32_601, "Method not found"));
        }
    })
}

fn block_hash(chain: &Chain, number: &Value) -> Result<Value, Failure> {
    let number = match number {
        Value::String(text) => {
            u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
        }
        other => other.as_u64().and_then(|n| u32::try_from(n).ok()),
    };
    let number = number.ok_or_else(|| Failure::params("not a block's number"))?;
    Ok(chain
        .hash_of(number)
        .map_or(Value::Null, |hash| json!(hex0x(&hash))))
}

fn block(chain: &Chain, number: u32) -> Value {
    let (Some(top), Some(body)) = (chain.header(number), chain.body(number)) else {
        return Value::Null;
    };
    let extrinsics: Vec<String> = body.iter().map(|bytes| hex0x(bytes)).collect();
    json!({
        "block": { "header": header(&top), "extrinsics": extrinsics },
        "justifications": null,
    })
}

/// Values of keys in a block, as a change set.
fn changes(chain: &Chain, keys: &[Vec<u8>], number: u32) -> Value {
    let changes: Vec<Value> = keys
        .iter()
        .map(|key| {
            let value = chain.storage(key, number);
            json!([hex0x(key), value.map(|value| hex0x(&value))])
        })
        .collect();
    let hash = chain.hash_of(number).unwrap_or_default();
    json!({ "block": hex0x(&hash), "changes": changes })
}

fn runtime_call(
    chain: &Chain,
    call: &str,
    mut input: &[u8],
    number: u32,
) -> Result<Vec<u8>, Failure> {
    match call {
        "Core_version" => Ok(core_version(
            chain.version(number).unwrap_or(Version::FIRST),
        )),
        "Metadata_metadata" => Ok(chain.metadata(number).unwrap_or_default().encode()),
        "AccountNonceApi_account_nonce" => {
            let account =
                AccountId32::decode(&mut input).map_err(|_| Failure::params("not an account"))?;
            Ok(chain.nonce(account, number).encode())
        }
        "TransactionPaymentApi_query_info" => Ok((
            Compact(150_000_000_u64),
            Compact(0_u64),
            0_u8,
            u128::from(chain.fee()),
        )
            .encode()),
        _ => {
            tracing::debug!(call, "a runtime call that is not served");
            let message = format!(
                "Client error: Execution failed: Other: Exported method {call} is not found"
            );
            Err(Failure::new(-32_000, &message))
        }
    }
}
