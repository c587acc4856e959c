//! Making blocks, making them final, and making others in their place.

use super::{Chain, Header, Inner, Sealed, Status};
use crate::extrinsic::{Bound, Signed, timestamp};
use crate::ledger::{Machine, OfItself, account_of};
use crate::metadata::EXISTENTIAL_DEPOSIT;
use crate::runtime::blake2_256;
use crate::runtime::frame_system::Phase;
use crate::state::plain;
use codec::{Compact, Encode};

/// Blocks after which nothing is remembered of a transaction that is settled.
const REMEMBERED: u32 = 256;

impl Chain {
    /// Makes one block of what waits, and finalizes what is due.
    pub(super) fn seal(&self, inner: &mut Inner) {
        if let Err(error) = self.seal_with(inner, None) {
            tracing::warn!(error, "a block without what was asked for");
        }
    }

    pub(super) fn seal_with(&self, inner: &mut Inner, act: Option<OfItself>) -> Result<(), String> {
        let number = inner.head() + 1;
        let (parent, parent_ms, running) = inner
            .blocks
            .last()
            .map_or(([0; 32], 0, inner.version), |block| {
                (block.hash, block.timestamp_ms, block.version)
            });
        let now_ms = inner.now_ms().max(parent_ms + 1);
        let after = inner.version;
        inner.state.begin(number);
        inner.state.put(plain("System", "Number"), &number);
        inner.state.put(plain("Timestamp", "Now"), &now_ms);
        let ready = self.ready(inner, number);
        let voted = std::mem::take(&mut inner.voted);
        let mut machine = Machine {
            state: &mut inner.state,
            rules: self.rules,
            activator: self.activator,
            // What is in force is the code that the block before has left.
            version: running,
            number,
            now_ms,
            phase: Phase::Initialization,
            events: Vec::new(),
            tallies: Vec::new(),
        };
        let mut refused = None;
        for vote in &voted {
            if let Err(error) = machine.voted(vote) {
                tracing::warn!(?error, ?vote, "a vote that the runtime refuses");
            }
        }
        if let Some(act) = act
            && let Err(error) = machine.of_itself(act)
        {
            refused = Some(format!("{error:?}"));
        }
        machine.phase = Phase::ApplyExtrinsic(0);
        machine.ended(Ok(()), false);
        let mut extrinsics = vec![timestamp(running, now_ms)];
        for (index, signed) in (1..).zip(&ready) {
            machine.phase = Phase::ApplyExtrinsic(index);
            machine.signed(signed.account, &signed.call);
            extrinsics.push(signed.bytes.clone());
        }
        let (events, tallies) = (machine.events, machine.tallies);
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let mut records = Compact(count).encode();
        for (phase, event) in &events {
            phase.encode_to(&mut records);
            records.extend(running.encode_event(event));
            // No topics.
            records.push(0);
        }
        inner
            .state
            .put_raw(plain("System", "Events"), records.clone());
        inner.state.put(plain("System", "EventCount"), &count);
        let header = Header {
            parent,
            number,
            state_root: blake2_256(&(records, now_ms, inner.salt).encode()),
            extrinsics_root: blake2_256(&extrinsics.encode()),
        };
        let hash = header.hash();
        for tally in &tallies {
            inner.counts.count(tally, true);
        }
        inner.by_hash.insert(hash, number);
        for signed in &ready {
            inner.say(signed.hash, Status::InBlock(hash));
        }
        inner.blocks.push(Sealed {
            header,
            hash,
            timestamp_ms: now_ms,
            extrinsics,
            signed: ready,
            voted,
            tallies,
            happened: events,
            version: after,
        });
        inner.sealed_at = tokio::time::Instant::now();
        self.finalize(inner);
        self.news.change();
        refused.map_or(Ok(()), Err)
    }

    /// Takes from the pool what may stand in block `number`, each account's in the order of its
    /// nonces; what never can any more is told so and forgotten.
    fn ready(&self, inner: &mut Inner, number: u32) -> Vec<Signed> {
        if inner.held {
            return Vec::new();
        }
        let mut pool = std::mem::take(&mut inner.pool);
        let mut ready: Vec<Signed> = Vec::new();
        loop {
            let (mut waiting, before) = (Vec::new(), ready.len());
            for signed in pool {
                let ahead = ready.iter().filter(|r| r.account == signed.account).count();
                let account = account_of(&inner.state, signed.account, u32::MAX);
                let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
                let next = account.nonce.saturating_add(ahead);
                let fees = u128::from(self.rules.extrinsic_fee) * u128::from(ahead + 1);
                let stale = signed.nonce < next
                    || !self.still_signed(inner, &signed, number)
                    || account.data.free < fees + EXISTENTIAL_DEPOSIT;
                if signed.nonce > next {
                    waiting.push(signed);
                } else if stale {
                    inner.say(signed.hash, Status::Invalid);
                } else {
                    ready.push(signed);
                }
            }
            pool = waiting;
            if ready.len() == before {
                break;
            }
        }
        inner.pool = pool;
        ready
    }

    /// Its birth block may be another one than when it came, after a fork or a whole period; so
    /// may the runtime.
    fn still_signed(&self, inner: &Inner, signed: &Signed, number: u32) -> bool {
        let birth = signed.birth(number).ok().and_then(|n| inner.block(n));
        let version = inner.blocks.last().map_or(inner.version, |b| b.version);
        birth.is_some_and(|birth| {
            signed.is_signed(Bound {
                version,
                genesis: self.genesis,
                birth: birth.hash,
            })
        })
    }

    fn finalize(&self, inner: &mut Inner) {
        let due = inner.head().saturating_sub(self.pace.finality_lag);
        while inner.finalized < due {
            let number = inner.finalized + 1;
            let Some(block) = usize::try_from(number)
                .ok()
                .and_then(|n| inner.blocks.get_mut(n))
            else {
                return;
            };
            let (hash, signed) = (block.hash, std::mem::take(&mut block.signed));
            block.voted.clear();
            block.tallies.clear();
            inner.finalized = number;
            for signed in signed {
                inner.say(signed.hash, Status::Finalized(hash));
            }
        }
        let head = inner.head();
        while let Some((at, hash)) = inner.settled.front().copied() {
            if head.saturating_sub(at) < REMEMBERED {
                break;
            }
            inner.settled.pop_front();
            if inner
                .said
                .get(&hash)
                .is_some_and(|said| said.last().is_some_and(Status::is_last))
            {
                inner.said.remove(&hash);
            }
        }
    }

    /// Other blocks take the place of the last `depth` that are not final; returns how many.
    /// Transactions go back to the pool, or are lost.
    pub fn fork(&self, depth: u32, lose: bool) -> u32 {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let depth = depth.min(inner.head().saturating_sub(inner.finalized));
        if depth == 0 {
            return 0;
        }
        inner.salt += 1;
        inner.counts.forks += 1;
        let (mut again, mut votes) = (Vec::new(), Vec::new());
        for _ in 0..depth {
            let Some(block) = inner.blocks.pop() else {
                break;
            };
            inner.by_hash.remove(&block.hash);
            for tally in &block.tallies {
                inner.counts.count(tally, false);
            }
            for signed in &block.signed {
                inner.say(signed.hash, Status::Retracted(block.hash));
            }
            again.splice(0..0, block.signed);
            votes.splice(0..0, block.voted);
        }
        let head = inner.head();
        inner.state.retract(head);
        if lose {
            for signed in again {
                inner.counts.dropped += 1;
                inner.say(signed.hash, Status::Dropped);
            }
        } else {
            inner.pool.splice(0..0, again);
        }
        votes.append(&mut inner.voted);
        inner.voted = votes;
        for _ in 0..=depth {
            self.seal(inner);
        }
        depth
    }
}
