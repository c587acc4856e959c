//! Finalized blocks, read once for all partitions of a process.

use counterparties_tfchain::{Block, ReadError, Tfchain};
use events::time::Timestamp;
use pipeline::clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Blocks that are read again after a start.
const OVERLAP: u32 = 20;
/// Blocks in one reading at most.
const BLOCKS: u32 = 100;
/// Blocks that are kept for the other partitions.
const KEPT: usize = 512;

/// Reads blocks on from a cursor, without a gap.
pub(crate) struct Blocks {
    chain: Arc<dyn Tfchain>,
    first: u32,
    recent: Mutex<BTreeMap<u32, Arc<Block>>>,
}

/// Blocks that follow a cursor.
pub(crate) struct Next {
    /// Oldest first, without a gap.
    pub blocks: Vec<Arc<Block>>,
    /// The number of the last block that was read.
    pub cursor: String,
    /// Up to when the chain is known, when nothing is left to be read.
    pub up_to: Option<Timestamp>,
}

impl Blocks {
    /// Without a cursor it begins at `first`.
    pub fn new(chain: Arc<dyn Tfchain>, first: u32) -> Self {
        Self {
            chain,
            first,
            recent: Mutex::default(),
        }
    }

    /// What follows the cursor; waits a while for a block, and for a node that does not answer.
    pub async fn next(&self, cursor: Option<&str>, restarted: bool) -> Next {
        let last = cursor.and_then(|c| c.parse::<u32>().ok());
        let from = match last {
            Some(last) if restarted => last.saturating_sub(OVERLAP).max(self.first),
            Some(last) => last.saturating_add(1),
            None => self.first,
        };
        let mut wait = Duration::from_millis(50);
        loop {
            match self.read(from).await {
                Ok(next) => return next,
                Err(error) => tracing::warn!(%error, from, "reading TFChain blocks failed"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }

    async fn read(&self, from: u32) -> Result<Next, ReadError> {
        let asked_at = clock::now();
        let mut head = self.chain.finalized_head().await?.number;
        if head < from {
            let before = from.saturating_sub(1);
            let wait = Duration::from_secs(5);
            head = self.chain.wait_for_block_after(before, wait).await?.number;
        }
        let blocks = if head < from {
            Vec::new()
        } else {
            let to = head.min(from.saturating_add(BLOCKS - 1));
            self.range(from, to).await?
        };
        // A node that lags gives fewer than were asked for; the cursor stays before the rest.
        let last = blocks
            .last()
            .map_or(from.saturating_sub(1), |block| block.number);
        Ok(Next {
            blocks,
            cursor: last.to_string(),
            up_to: (last >= head).then_some(asked_at),
        })
    }

    async fn range(&self, from: u32, to: u32) -> Result<Vec<Arc<Block>>, ReadError> {
        let mut recent = self.recent.lock().await;
        if let Some(missing) = (from..=to).find(|number| !recent.contains_key(number)) {
            for block in self.chain.blocks(missing, to).await? {
                recent.insert(block.number, Arc::new(block));
            }
        }
        let blocks = (from..=to)
            .map_while(|number| recent.get(&number).cloned())
            .collect();
        while recent.len() > KEPT {
            recent.pop_first();
        }
        Ok(blocks)
    }
}
