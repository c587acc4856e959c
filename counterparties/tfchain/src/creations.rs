//! Contracts that came to be in finalized blocks, whoever made them: read once for all requests.
//!
//! The state forgets a contract that ended; its creation stays in the blocks. So before a contract
//! is believed absent, the blocks since its request are looked through.

use crate::blocks::{Happened, hash_of};
use crate::client::TfchainClient;
use crate::node::malformed;
use crate::port::{ChainEvent, ReadError};
use events::ids::ContractId;
use std::collections::HashMap;

/// Blocks in one reading.
const AT_ONCE: u32 = 256;
/// A gap wider than this is not filled: reading begins anew.
const WIDEST_GAP: u32 = 4_096;
/// Blocks that are kept at least.
const KEPT: u32 = 8_192;

/// What tells contracts apart before they have a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Made {
    /// A node contract, by node and hash (64 hex digits).
    Node(u32, String),
    /// A name contract.
    Name(String),
    /// A rent contract, by its node and twin.
    Rent(u32, u32),
}

/// Where a contract came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creation {
    pub contract: ContractId,
    pub block: u32,
    /// Place of the transaction in the block.
    place: Option<u32>,
}

/// Creations in a range of blocks.
#[derive(Debug, Default)]
pub(crate) struct Creations {
    /// First and last block that were read.
    range: Option<(u32, u32)>,
    /// Oldest first.
    made: HashMap<Made, Vec<Creation>>,
}

impl Creations {
    fn take(&mut self, block: u32, events: &[Happened]) {
        for happened in events {
            let (made, contract) = match &happened.event {
                ChainEvent::ContractCreated {
                    contract,
                    node,
                    hash,
                    ..
                } => (Made::Node(node.0, hash.clone()), *contract),
                ChainEvent::NameContractCreated { contract, name, .. } => {
                    (Made::Name(name.clone()), *contract)
                }
                ChainEvent::RentContractCreated {
                    contract,
                    node,
                    twin,
                    ..
                } => (Made::Rent(node.0, twin.0), *contract),
                _ => continue,
            };
            let creations = self.made.entry(made).or_default();
            creations.push(Creation {
                contract,
                block,
                place: happened.transaction,
            });
            creations.sort_by_key(|creation| creation.block);
        }
    }

    fn prune(&mut self) {
        let Some((low, high)) = self.range else {
            return;
        };
        if high - low < 2 * KEPT {
            return;
        }
        let oldest = high - KEPT;
        self.made.retain(|_, creations| {
            creations.retain(|creation| creation.block >= oldest);
            !creations.is_empty()
        });
        self.range = Some((oldest, high));
    }
}

impl TfchainClient {
    /// The newest creation in a block from `from` to `head`, both final.
    pub(crate) async fn creation(
        &self,
        made: &Made,
        from: u32,
        head: u32,
    ) -> Result<Option<Creation>, ReadError> {
        let from = from.max(1);
        let mut creations = self.creations().lock().await;
        match creations.range {
            Some((low, high))
                if from <= high.saturating_add(WIDEST_GAP)
                    && head <= high.saturating_add(WIDEST_GAP)
                    && low <= from.saturating_add(WIDEST_GAP) =>
            {
                // Back first: the range has to stay whole when reading fails in between.
                if from < low {
                    self.read(&mut creations, from, low - 1).await?;
                    creations.range = Some((from, high));
                }
                self.forward(&mut creations, high + 1, head).await?;
            }
            Some(_) | None => {
                *creations = Creations::default();
                self.forward(&mut creations, from, head).await?;
            }
        }
        creations.prune();
        let newest = creations.made.get(made).and_then(|creations| {
            let mut newest = creations.iter().rev();
            newest.find(|c| c.block >= from && c.block <= head).cloned()
        });
        Ok(newest)
    }

    async fn forward(
        &self,
        creations: &mut Creations,
        mut from: u32,
        to: u32,
    ) -> Result<(), ReadError> {
        while from <= to {
            let last = to.min(from.saturating_add(AT_ONCE - 1));
            self.read(creations, from, last).await?;
            let low = creations.range.map_or(from, |(low, _)| low);
            creations.range = Some((low, last));
            from = last + 1;
        }
        Ok(())
    }

    async fn read(&self, creations: &mut Creations, from: u32, to: u32) -> Result<(), ReadError> {
        for (header, events) in self.node().scan(from, to).await? {
            creations.take(header.number, &events);
        }
        Ok(())
    }

    /// Hash of the transaction that made a contract, 64 hex digits.
    pub(crate) async fn creator(&self, creation: &Creation) -> Result<String, ReadError> {
        let header = self.node().header(creation.block).await?;
        let hash = hash_of(&header.hash).ok_or_else(|| malformed("a block's hash"))?;
        let body = self.body(hash).await?;
        let place = creation.place.and_then(|place| usize::try_from(place).ok());
        let transaction = place.and_then(|place| body.transactions.get(place));
        Ok(transaction.map_or_else(String::new, |hash| hex::encode(hash.0)))
    }
}
