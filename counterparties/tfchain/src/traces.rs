//! What happened to contracts in finalized blocks, whoever did it: read once for all requests.
//!
//! The state forgets a contract that ended and a workload that was replaced; their events stay in
//! the blocks. So before something is believed not to have happened, the blocks since its request
//! are looked through.

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

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Trace {
    /// A node contract came to be, by node and hash (64 hex digits).
    Node(u32, String),
    /// A name contract came to be, by name and twin.
    Name(String, u32),
    /// A rent contract came to be, by node and twin.
    Rent(u32, u32),
    /// A contract got the workload with this hash.
    Updated(u64, String),
    /// A contract ended.
    Ended(u64),
}

/// Where it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Traced {
    pub contract: ContractId,
    pub block: u32,
    /// Place of the transaction in the block.
    place: Option<u32>,
}

/// What happened in a range of blocks.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// First and last block that were read.
    range: Option<(u32, u32)>,
    /// Oldest first.
    seen: HashMap<Trace, Vec<Traced>>,
}

impl Traces {
    fn take(&mut self, block: u32, events: &[Happened]) {
        for happened in events {
            let Some((trace, contract)) = trace_of(&happened.event) else {
                continue;
            };
            let seen = self.seen.entry(trace).or_default();
            seen.push(Traced {
                contract,
                block,
                place: happened.transaction,
            });
            seen.sort_by_key(|traced| traced.block);
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
        self.seen.retain(|_, seen| {
            seen.retain(|traced| traced.block >= oldest);
            !seen.is_empty()
        });
        self.range = Some((oldest, high));
    }
}

/// What an event tells, if it is of use here.
pub(crate) fn trace_of(event: &ChainEvent) -> Option<(Trace, ContractId)> {
    Some(match event {
        ChainEvent::ContractCreated {
            contract,
            node,
            hash,
            ..
        } => (Trace::Node(node.0, hash.clone()), *contract),
        ChainEvent::NameContractCreated {
            contract,
            name,
            twin,
            ..
        } => (Trace::Name(name.clone(), twin.0), *contract),
        ChainEvent::RentContractCreated {
            contract,
            node,
            twin,
            ..
        } => (Trace::Rent(node.0, twin.0), *contract),
        ChainEvent::ContractUpdated { contract, hash, .. } => {
            (Trace::Updated(contract.0, hash.clone()), *contract)
        }
        ChainEvent::ContractCancelled { contract, .. } => (Trace::Ended(contract.0), *contract),
        ChainEvent::BridgeMinted { .. }
        | ChainEvent::BridgeRefunded { .. }
        | ChainEvent::TwinCreated { .. }
        | ChainEvent::ContractBilled { .. }
        | ChainEvent::GracePeriodStarted { .. }
        | ChainEvent::GracePeriodEnded { .. }
        | ChainEvent::Other { .. } => return None,
    })
}

impl TfchainClient {
    /// Where this happened last to a contract with a number above `above`, from block `from` to
    /// `head`, both final.
    pub(crate) async fn traced(
        &self,
        trace: &Trace,
        above: u64,
        from: u32,
        head: u32,
    ) -> Result<Option<Traced>, ReadError> {
        let from = from.max(1);
        let mut traces = self.traces().lock().await;
        match traces.range {
            Some((low, high))
                if from <= high.saturating_add(WIDEST_GAP)
                    && head <= high.saturating_add(WIDEST_GAP)
                    && low <= from.saturating_add(WIDEST_GAP) =>
            {
                // Back first: the range has to stay whole when reading fails in between.
                if from < low {
                    self.read(&mut traces, from, low - 1).await?;
                    traces.range = Some((from, high));
                }
                self.forward(&mut traces, high + 1, head).await?;
            }
            Some(_) | None => {
                *traces = Traces::default();
                self.forward(&mut traces, from, head).await?;
            }
        }
        traces.prune();
        let newest = traces.seen.get(trace).and_then(|seen| {
            let mut newest = seen.iter().rev();
            newest
                .find(|c| c.block >= from && c.block <= head && c.contract.0 > above)
                .cloned()
        });
        Ok(newest)
    }

    async fn forward(&self, traces: &mut Traces, mut from: u32, to: u32) -> Result<(), ReadError> {
        while from <= to {
            let last = to.min(from.saturating_add(AT_ONCE - 1));
            self.read(traces, from, last).await?;
            let low = traces.range.map_or(from, |(low, _)| low);
            traces.range = Some((low, last));
            from = last + 1;
        }
        Ok(())
    }

    async fn read(&self, traces: &mut Traces, from: u32, to: u32) -> Result<(), ReadError> {
        for (header, events) in self.node().scan(from, to).await? {
            traces.take(header.number, &events);
        }
        Ok(())
    }

    /// Hash of the transaction that did it, 64 hex digits; empty when the chain did it by itself.
    pub(crate) async fn doer(&self, traced: &Traced) -> Result<String, ReadError> {
        let header = self.node().header(traced.block).await?;
        let hash = hash_of(&header.hash).ok_or_else(|| malformed("a block's hash"))?;
        let body = self.body(hash).await?;
        let place = traced.place.and_then(|place| usize::try_from(place).ok());
        let transaction = place.and_then(|place| body.transactions.get(place));
        Ok(transaction.map_or_else(String::new, |hash| hex::encode(hash.0)))
    }
}
