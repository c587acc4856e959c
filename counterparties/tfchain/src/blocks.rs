//! Blocks with their events, decoded once each.

use crate::client::tft;
use crate::node::{Link, NodeClient, View, malformed};
use crate::port::{Block, BlockRef, ChainEvent, ReadError};
use crate::shapes::{
    ContractBilled, ContractCreated, ContractData, ContractGracePeriodEnded,
    ContractGracePeriodStarted, ContractUpdated, MintCompleted, NameContractCanceled, Named,
    NodeContractCanceled, RefundTransactionProcessed, RentContractCanceled, TwinStored,
};
use events::ids::{ContractId, NodeId, TwinId};
use futures::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;
use subxt::config::{Config, Hasher, SubstrateConfig};
use subxt::error::DispatchError;
use subxt::events::{Event, Phase};
use subxt::ext::codec::Decode;
use subxt::ext::scale_decode::DecodeAsFields;
use subxt::utils::H256;

/// Blocks asked for at once.
const AT_ONCE: usize = 32;

/// How a transaction of a block ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its call was carried out.
    Success,
    /// Its call failed, by this name.
    Failed {
        /// Pallet, or `Token`.
        module: String,
        /// Error.
        name: String,
    },
}

/// An event of a transaction or of the block itself.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    /// Index of the transaction.
    pub transaction: Option<u32>,
    /// What it tells of the transaction.
    pub ended: Option<Ended>,
    /// As the port shows it.
    pub event: ChainEvent,
}

/// A finalized block, with its transactions' hashes.
#[derive(Debug)]
pub(crate) struct Body {
    pub number: u32,
    pub transactions: Vec<H256>,
    pub events: Vec<Happened>,
}

impl Body {
    /// Place of a transaction.
    pub(crate) fn place(&self, transaction: H256) -> Option<u32> {
        let place = self
            .transactions
            .iter()
            .position(|hash| *hash == transaction);
        place.and_then(|place| u32::try_from(place).ok())
    }

    /// How the transaction at a place ended.
    pub(crate) fn ended(&self, place: u32) -> Option<&Ended> {
        self.of(place).find_map(|happened| happened.ended.as_ref())
    }

    /// Events of the transaction at a place.
    pub(crate) fn of(&self, place: u32) -> impl Iterator<Item = &Happened> {
        self.events
            .iter()
            .filter(move |happened| happened.transaction == Some(place))
    }
}

impl NodeClient {
    /// A block by its hash, with transactions and events.
    pub(crate) async fn body(&self, hash: H256) -> Result<Body, ReadError> {
        let link = self.link().await?;
        let details = self
            .within(&link, link.rpc.chain_get_block(Some(hash)))
            .await?
            .ok_or_else(|| malformed(format!("the node has no block {hash:?}")))?;
        let header = &details.block.header;
        let number = u32::try_from(header.number).map_err(malformed)?;
        let view = self
            .runtime(&link, header.parent_hash, number.saturating_sub(1))
            .await?;
        let raw = self.events(&link, hash).await?;
        let fee = self.deposit_fee(&link, hash).await?;
        let hasher = <SubstrateConfig as Config>::Hasher::new(view.metadata_ref());
        Ok(Body {
            number,
            transactions: details
                .block
                .extrinsics
                .iter()
                .map(|bytes| hasher.hash(&bytes.0))
                .collect(),
            events: decode(&view, raw, fee)?,
        })
    }

    /// Finalized blocks `from ..= to`, oldest first. `to` must be final.
    pub(crate) async fn blocks(&self, from: u32, to: u32) -> Result<Vec<Block>, ReadError> {
        let blocks = self.scan(from, to).await?.into_iter();
        let block = |(header, happened): (BlockRef, Vec<Happened>)| Block {
            number: header.number,
            hash: header.hash,
            timestamp: header.timestamp,
            events: happened.into_iter().map(|h| h.event).collect(),
        };
        Ok(blocks.map(block).collect())
    }

    /// Finalized blocks with their events, oldest first. `to` must be final.
    pub(crate) async fn scan(
        &self,
        from: u32,
        to: u32,
    ) -> Result<Vec<(BlockRef, Vec<Happened>)>, ReadError> {
        if from > to {
            return Ok(Vec::new());
        }
        let link = self.link().await?;
        // Versions never go back: where both ends have the same, all blocks between have it.
        let (before, last) = (from.saturating_sub(1), to.saturating_sub(1));
        let first = self.runtime_of(&link, before).await?;
        let same = first.spec_version() == self.runtime_of(&link, last).await?.spec_version();
        stream::iter(from..=to)
            .map(|number| {
                let (link, first) = (&link, &first);
                async move {
                    let hash = self.hash(link, number).await?;
                    let view = if same {
                        Arc::clone(first)
                    } else {
                        self.runtime_of(link, number.saturating_sub(1)).await?
                    };
                    self.happened(link, &view, number, hash).await
                }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn runtime_of(&self, link: &Arc<Link>, parent: u32) -> Result<Arc<View>, ReadError> {
        let hash = self.hash(link, parent).await?;
        self.runtime(link, hash, parent).await
    }

    async fn happened(
        &self,
        link: &Arc<Link>,
        view: &View,
        number: u32,
        hash: H256,
    ) -> Result<(BlockRef, Vec<Happened>), ReadError> {
        let (timestamp, raw) = futures::try_join!(self.time(link, hash), self.events(link, hash))?;
        let header = BlockRef {
            number,
            hash: hex::encode(hash.0),
            timestamp,
        };
        self.remember(header.clone());
        let mut happened = decode(view, raw.clone(), 0)?;
        let minted = |h: &Happened| matches!(h.event, ChainEvent::BridgeMinted { .. });
        if happened.iter().any(minted) {
            let fee = self.deposit_fee(link, hash).await?;
            happened = decode(view, raw, fee)?;
        }
        Ok((header, happened))
    }
}

/// Decodes a block's events. What cannot be read is kept as [`ChainEvent::Other`].
fn decode(view: &View, raw: Vec<u8>, deposit_fee: u64) -> Result<Vec<Happened>, ReadError> {
    let events = view.events().from_bytes(raw);
    let mut happened = Vec::new();
    for event in events.iter() {
        let event = event.map_err(malformed)?;
        let transaction = match event.phase() {
            Phase::ApplyExtrinsic(index) => Some(index),
            Phase::Finalization | Phase::Initialization => None,
        };
        happened.push(Happened {
            transaction,
            ended: ended(view, &event)?,
            event: known(&event, deposit_fee).unwrap_or_else(|| ChainEvent::Other {
                index: event.index(),
                name: format!("{}.{}", event.pallet_name(), event.event_name()),
                raw: hex::encode(event.field_bytes()),
            }),
        });
    }
    Ok(happened)
}

fn ended(view: &View, event: &Event<'_, SubstrateConfig>) -> Result<Option<Ended>, ReadError> {
    if event.pallet_name() != "System" {
        return Ok(None);
    }
    Ok(match event.event_name() {
        "ExtrinsicSuccess" => Some(Ended::Success),
        "ExtrinsicFailed" => {
            let error = DispatchError::decode_from(event.field_bytes(), view.metadata())
                .map_err(malformed)?;
            let (module, name) = name_of(&error);
            Some(Ended::Failed { module, name })
        }
        _ => None,
    })
}

/// Pallet and name of a dispatch error.
fn name_of(error: &DispatchError) -> (String, String) {
    let of = |module: &str, name: String| (module.to_owned(), name);
    match error {
        DispatchError::Module(module) => match module.details() {
            Ok(details) => of(details.pallet.name(), details.variant.name.clone()),
            Err(_) => of("Module", hex::encode(module.bytes())),
        },
        DispatchError::Token(token) => of("Token", format!("{token:?}")),
        DispatchError::Arithmetic(error) => of("Arithmetic", format!("{error:?}")),
        DispatchError::Transactional(error) => of("Transactional", format!("{error:?}")),
        other => of("Dispatch", format!("{other:?}")),
    }
}

fn read<E: Named + DecodeAsFields>(event: &Event<'_, SubstrateConfig>) -> Option<E> {
    (event.pallet_name() == E::PALLET && event.event_name() == E::NAME)
        .then(|| event.decode_fields_unchecked_as::<E>().ok())
        .flatten()
}

/// A Stellar transaction's hash: the chain keeps it as text; bytes are understood as well.
fn stellar_hash(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        64 => String::from_utf8(bytes.to_vec()).ok(),
        32 => Some(hex::encode(bytes)),
        _ => None,
    }
}

fn known(event: &Event<'_, SubstrateConfig>, deposit_fee: u64) -> Option<ChainEvent> {
    let index = event.index();
    if let Some(MintCompleted(mint, hash)) = read(event) {
        return Some(ChainEvent::BridgeMinted {
            index,
            stellar_tx: stellar_hash(&hash)?,
            account: mint.target.to_string(),
            amount: tft(u128::from(mint.amount.checked_sub(deposit_fee)?)),
        });
    }
    if let Some(RefundTransactionProcessed(refund)) = read(event) {
        return Some(ChainEvent::BridgeRefunded {
            index,
            stellar_tx: stellar_hash(&refund.tx_hash)?,
            target: String::from_utf8(refund.target).ok()?,
            amount: tft(u128::from(refund.amount)),
        });
    }
    if let Some(TwinStored(twin)) = read(event) {
        return Some(ChainEvent::TwinCreated {
            index,
            twin: TwinId(twin.id),
            account: twin.account_id.to_string(),
        });
    }
    if let Some(ContractCreated(contract)) = read(event) {
        let (contract_id, twin) = (ContractId(contract.contract_id), TwinId(contract.twin_id));
        return Some(match contract.contract_type {
            ContractData::NodeContract(workload) => ChainEvent::ContractCreated {
                index,
                contract: contract_id,
                twin,
                node: NodeId(workload.node_id),
                hash: hex::encode(workload.deployment_hash),
            },
            ContractData::NameContract(named) => ChainEvent::NameContractCreated {
                index,
                contract: contract_id,
                twin,
                name: String::from_utf8_lossy(&named.name).into_owned(),
            },
            ContractData::RentContract(rent) => ChainEvent::RentContractCreated {
                index,
                contract: contract_id,
                twin,
                node: NodeId(rent.node_id),
            },
        });
    }
    if let Some(ContractUpdated(contract)) = read(event) {
        let ContractData::NodeContract(workload) = contract.contract_type else {
            return None;
        };
        return Some(ChainEvent::ContractUpdated {
            index,
            contract: ContractId(contract.contract_id),
            hash: hex::encode(workload.deployment_hash),
        });
    }
    of_contract(event, index)
}

/// Events that name a contract and little else.
fn of_contract(event: &Event<'_, SubstrateConfig>, index: u32) -> Option<ChainEvent> {
    let cancelled = read::<NodeContractCanceled>(event)
        .map(|e| e.contract_id)
        .or_else(|| read::<NameContractCanceled>(event).map(|e| e.contract_id))
        .or_else(|| read::<RentContractCanceled>(event).map(|e| e.contract_id));
    if let Some(contract) = cancelled {
        return Some(ChainEvent::ContractCancelled {
            index,
            contract: ContractId(contract),
        });
    }
    if let Some(ContractBilled(bill)) = read(event) {
        return Some(ChainEvent::ContractBilled {
            index,
            contract: ContractId(bill.contract_id),
            amount: tft(bill.amount_billed),
        });
    }
    if let Some(started) = read::<ContractGracePeriodStarted>(event) {
        return Some(ChainEvent::GracePeriodStarted {
            index,
            contract: ContractId(started.contract_id),
        });
    }
    let ended = read::<ContractGracePeriodEnded>(event)?;
    Some(ChainEvent::GracePeriodEnded {
        index,
        contract: ContractId(ended.contract_id),
    })
}

/// Decodes a hash written as 64 hex digits.
pub(crate) fn hash_of(text: &str) -> Option<H256> {
    let bytes: [u8; 32] = hex::decode(text).ok()?.try_into().ok()?;
    H256::decode(&mut bytes.as_slice()).ok()
}
