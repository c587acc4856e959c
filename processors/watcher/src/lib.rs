//! Sources that read TFChain's finalized blocks.
//!
//! `tfchain-watcher` turns mints and returns of the bridge into facts of purchases, and
//! [`ContractWatcher`] what happens to contracts into facts of deployments.
//!
//! A mint names the Stellar transaction that it answers. That transaction's source account is a
//! lane, which belongs to one partition; its sequence number is an offset there; at that offset
//! stands the `HandoffRequested`. So a fact finds its purchase though no memo names it.

mod blocks;
mod contracts;

pub use contracts::{ContractFact, ContractWatcher, Contracts};

use blocks::Blocks;
use counterparties_stellar::{Stellar, base};
use counterparties_tfchain::{ChainEvent, Tfchain};
use events::envelope::Record;
use events::ids::EventId;
use events::money::{Amount, Tft};
use events::purchases::{HandoffRequested, HandoffReturned, HandoffSettled, PurchaseEvent};
use pipeline::{Claim, Planned, Reading, Source};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Name of the executor whose payments the bridge answers.
const EXECUTOR: &str = "handoffs";
/// Stellar transactions that are remembered.
const REMEMBERED: usize = 4_096;

/// The source `tfchain-watcher`.
pub struct Watcher {
    blocks: Blocks,
    stellar: Arc<dyn Stellar>,
    /// A transaction is looked up once for all partitions.
    seen: Mutex<HashMap<String, (String, i64)>>,
}

/// Whether the bridge minted or returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Minted to this account.
    Minted {
        /// SS58 address.
        account: String,
    },
    /// Sent back.
    Returned,
}

/// What the bridge did about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeFact {
    /// What.
    pub answer: Answer,
    /// How much.
    pub amount: Amount<Tft>,
    /// Block on TFChain.
    pub block: u32,
    /// Index of the event in it.
    pub index: u32,
    /// Hash of the Stellar payment.
    pub transaction: String,
    /// Its source account.
    pub lane: String,
    /// Its sequence number.
    pub sequence: i64,
}

/// Lanes and open hand-offs of a partition.
#[derive(Debug, Default)]
pub struct Handoffs {
    /// Lane account → lane base.
    lanes: HashMap<String, i64>,
    /// Offset → the request there, until the bridge has answered.
    open: HashMap<i64, (Record<PurchaseEvent>, HandoffRequested)>,
    offsets: HashMap<EventId, i64>,
}

impl Watcher {
    /// The source; without a cursor it begins at `first_block`.
    #[must_use]
    pub fn new(chain: Arc<dyn Tfchain>, stellar: Arc<dyn Stellar>, first_block: u32) -> Self {
        Self {
            blocks: Blocks::new(chain, first_block),
            stellar,
            seen: Mutex::default(),
        }
    }

    /// Lane and sequence number of a Stellar transaction; waits for a Horizon that lags.
    async fn origin(&self, hash: &str) -> (String, i64) {
        if let Some(known) = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(hash)
        {
            return known.clone();
        }
        let mut wait = Duration::from_millis(5);
        loop {
            match self.stellar.transaction(hash).await {
                Ok(Some(view)) => {
                    let origin = (view.source_account.to_string(), view.sequence);
                    let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                    if seen.len() >= REMEMBERED {
                        seen.clear();
                    }
                    seen.insert(hash.to_owned(), origin.clone());
                    return origin;
                }
                Ok(None) => tracing::warn!(
                    hash,
                    "the bridge names a Stellar transaction that Horizon does not show (yet)"
                ),
                Err(error) => tracing::warn!(hash, %error, "looking up a bridged payment failed"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }
}

impl Source for Watcher {
    const NAME: &'static str = "tfchain-watcher";
    type Event = PurchaseEvent;
    type Fact = BridgeFact;
    type State = Handoffs;

    fn evolve(&self, state: &mut Handoffs, record: &Record<PurchaseEvent>) {
        match &record.event {
            PurchaseEvent::LanesOpened(opened) if opened.executor == EXECUTOR => {
                if let Some(base) = u32::try_from(opened.epoch).ok().and_then(|e| base(e).ok()) {
                    state
                        .lanes
                        .extend(opened.accounts.iter().map(|a| (a.clone(), base)));
                }
            }
            PurchaseEvent::HandoffRequested(request) => {
                state.offsets.insert(record.id(), record.offset);
                state
                    .open
                    .insert(record.offset, (record.clone(), request.clone()));
            }
            PurchaseEvent::HandoffSettled(HandoffSettled { request_id, .. })
            | PurchaseEvent::HandoffReturned(HandoffReturned { request_id, .. }) => {
                if let Some(offset) = state.offsets.remove(request_id) {
                    state.open.remove(&offset);
                }
            }
            _ => {}
        }
    }

    /// The cursor is the number of the last block that was read.
    async fn read(&self, cursor: Option<&str>, restarted: bool) -> Reading<BridgeFact> {
        let next = self.blocks.next(cursor, restarted).await;
        let mut facts = Vec::new();
        for block in next.blocks {
            for event in &block.events {
                let (answer, index, hash, amount) = match event {
                    ChainEvent::BridgeMinted {
                        index,
                        stellar_tx,
                        account,
                        amount,
                        ..
                    } => (
                        Answer::Minted {
                            account: account.clone(),
                        },
                        *index,
                        stellar_tx,
                        *amount,
                    ),
                    ChainEvent::BridgeRefunded {
                        index,
                        stellar_tx,
                        amount,
                        ..
                    } => (Answer::Returned, *index, stellar_tx, *amount),
                    _ => continue,
                };
                let (lane, sequence) = self.origin(hash).await;
                facts.push(BridgeFact {
                    answer,
                    amount,
                    block: block.number,
                    index,
                    transaction: hash.clone(),
                    lane,
                    sequence,
                });
            }
        }
        Reading {
            facts,
            cursor: next.cursor,
            up_to: next.up_to,
        }
    }

    fn claim(&self, state: &Handoffs, _: i32, fact: &BridgeFact) -> Claim<PurchaseEvent> {
        let Some(base) = state.lanes.get(&fact.lane) else {
            return Claim::NotMine;
        };
        let offset = fact.sequence - base - 1;
        // Answered before: the log has it.
        let Some((record, request)) = state.open.get(&offset) else {
            return Claim::NotMine;
        };
        let id = EventId::derive(&["tfchain", &fact.block.to_string(), &fact.index.to_string()]);
        let (purchase_id, request_id) = (request.purchase_id, record.id());
        let (block, event_index) = (
            i64::from(fact.block),
            i32::try_from(fact.index).unwrap_or(i32::MAX),
        );
        let transaction = fact.transaction.clone();
        let event: PurchaseEvent = match &fact.answer {
            Answer::Minted { account } => HandoffSettled {
                purchase_id,
                request_id,
                transaction,
                block,
                event_index,
                account: account.clone(),
                amount: fact.amount,
            }
            .into(),
            Answer::Returned => HandoffReturned {
                purchase_id,
                request_id,
                transaction,
                block,
                event_index,
                amount: fact.amount,
            }
            .into(),
        };
        Claim::Mine(Box::new(record.clone()), Planned::new(event).with_id(id))
    }
}
