//! Blocks over the state: admission, pool, sealing, forks, finality, upgrades.

mod look;
mod pool;
mod seal;

use crate::extrinsic::Signed;
use crate::ledger::{Machine, OfItself, Rules, Voted, answered, genesis, has_twin, move_in};
use crate::runtime::frame_system::Phase;
use crate::runtime::sp_core::crypto::AccountId32;
use crate::runtime::tfchain_runtime::RuntimeEvent;
use crate::runtime::{Change, Version, blake2_256};
use crate::signal::{Changes, Signal};
use crate::state::State;
use crate::tally::{Counts, Tally};
use codec::{Compact, Encode};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

pub use look::{AccountView, Head};

/// How blocks come.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A block every so often; zero: one for each transaction and mint, at once.
    pub block: Duration,
    /// With `block` zero: an empty block when none came for so long.
    pub idle: Duration,
    /// Blocks by which finality trails.
    pub finality_lag: u32,
}

impl Pace {
    /// What a block normally takes, in milliseconds.
    #[must_use]
    pub fn block_ms(&self) -> u64 {
        let block = if self.block.is_zero() {
            self.idle
        } else {
            self.block
        };
        u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// Unix milliseconds, by whoever counts them.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Somebody who has a twin from block 0 on.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    /// Their account.
    pub account: AccountId32,
    /// What it holds, in 10^-7 TFT.
    pub endowment: u64,
}

/// The machine's own clock.
#[expect(clippy::disallowed_methods, reason = "a chain has a clock of its own")]
fn wall_clock() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A block's header, as it is hashed and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Hash of the block before it.
    pub parent: [u8; 32],
    /// Height.
    pub number: u32,
    /// Stands for the state.
    pub state_root: [u8; 32],
    /// Stands for the transactions.
    pub extrinsics_root: [u8; 32],
}

impl Header {
    /// Blake2-256 of the SCALE header.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut bytes = self.parent.to_vec();
        Compact(self.number).encode_to(&mut bytes);
        bytes.extend(self.state_root);
        bytes.extend(self.extrinsics_root);
        // A digest without logs.
        bytes.push(0);
        blake2_256(&bytes)
    }
}

struct Sealed {
    header: Header,
    hash: [u8; 32],
    timestamp_ms: u64,
    /// As they are told: the inherent first.
    extrinsics: Vec<Vec<u8>>,
    /// Kept until it is final, to be carried out again after a fork.
    signed: Vec<Signed>,
    voted: Vec<Voted>,
    tallies: Vec<Tally>,
    /// What it did, in the order of its events.
    happened: Vec<(Phase, RuntimeEvent)>,
    /// The runtime after this block.
    version: Version,
}

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// In the pool, before its turn.
    Future,
    /// In the pool.
    Ready,
    /// In a block.
    InBlock([u8; 32]),
    /// Its block is no more.
    Retracted([u8; 32]),
    /// In a finalized block.
    Finalized([u8; 32]),
    /// Left the pool.
    Dropped,
    /// Cannot be included any more.
    Invalid,
}

impl Status {
    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Finalized(_) | Self::Dropped | Self::Invalid)
    }
}

/// Everything that was said of a transaction, oldest first.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Vec<Status>>>);

impl History {
    /// What was said after the first `from` statuses.
    #[must_use]
    pub fn after(&self, from: usize) -> Vec<Status> {
        let said = self.0.lock();
        said.get(from..).unwrap_or_default().to_vec()
    }

    fn last(&self) -> Option<Status> {
        self.0.lock().last().copied()
    }
}

struct Inner {
    state: State,
    blocks: Vec<Sealed>,
    by_hash: HashMap<[u8; 32], u32>,
    pool: Vec<Signed>,
    voted: Vec<Voted>,
    /// Everything that was said of each transaction. Who watches one keeps its history.
    said: HashMap<[u8; 32], History>,
    /// Transactions of which nothing more will be said, with the block in which that was.
    settled: VecDeque<(u32, [u8; 32])>,
    finalized: u32,
    version: Version,
    counts: Counts,
    clock: Clock,
    clock_ahead_ms: i64,
    held: bool,
    /// Each n-th transaction, chosen by its hash, is dropped from the pool; 0: none.
    drop_each: u32,
    /// So many of the next ones are dropped, too.
    drop_next: u32,
    /// Each n-th deposit is paid back; 0: none.
    returns: u32,
    /// Makes blocks of different forks differ.
    salt: u64,
    sealed_at: Instant,
    metadata: HashMap<u32, Arc<[u8]>>,
}

/// The chain.
pub struct Chain {
    inner: Mutex<Inner>,
    rules: Rules,
    activator: AccountId32,
    pace: Pace,
    news: Signal,
    restarts: Signal,
    down_until: Mutex<Option<Instant>>,
    genesis: [u8; 32],
}

/// Why a deposit was not minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotMinted {
    /// It was minted or refunded before.
    Answered,
    /// There is no such twin.
    NoTwin,
    /// It does not exceed the fee.
    TooSmall,
}

impl Inner {
    fn now_ms(&self) -> u64 {
        let now = i64::try_from((self.clock)()).unwrap_or(i64::MAX);
        u64::try_from(now.saturating_add(self.clock_ahead_ms)).unwrap_or_default()
    }

    fn head(&self) -> u32 {
        u32::try_from(self.blocks.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    fn block(&self, number: u32) -> Option<&Sealed> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    fn say(&mut self, hash: [u8; 32], status: Status) {
        self.said.entry(hash).or_default().0.lock().push(status);
        if status.is_last() {
            let head = self.head();
            self.settled.push_back((head, hash));
        }
    }
}

impl Chain {
    /// A chain at block 0, where `activator` holds `endowment` (10^-7 TFT).
    #[must_use]
    pub fn new(
        rules: Rules,
        pace: Pace,
        activator: impl Into<AccountId32>,
        endowment: u64,
    ) -> Self {
        Self::inhabited(rules, pace, activator, endowment, &[], Arc::new(wall_clock))
    }

    /// The same with people, whose twins are numbered from 1 on, by another clock.
    #[must_use]
    pub fn inhabited(
        rules: Rules,
        pace: Pace,
        activator: impl Into<AccountId32>,
        endowment: u64,
        people: &[Person],
        clock: Clock,
    ) -> Self {
        let activator = activator.into();
        let mut inner = Inner {
            state: State::default(),
            blocks: Vec::new(),
            by_hash: HashMap::new(),
            pool: Vec::new(),
            voted: Vec::new(),
            said: HashMap::new(),
            settled: VecDeque::new(),
            finalized: 0,
            version: Version::FIRST,
            counts: Counts::default(),
            clock,
            clock_ahead_ms: 0,
            held: false,
            drop_each: 0,
            drop_next: 0,
            returns: 0,
            salt: 0,
            sealed_at: Instant::now(),
            metadata: HashMap::new(),
        };
        let timestamp_ms = inner.now_ms();
        let mut machine = Machine {
            state: &mut inner.state,
            rules,
            activator,
            version: Version::FIRST,
            number: 0,
            now_ms: timestamp_ms,
            phase: Phase::Initialization,
            events: Vec::new(),
            tallies: Vec::new(),
        };
        genesis(&mut machine, endowment);
        for person in people {
            move_in(&mut machine, person.account, person.endowment);
        }
        let header = Header {
            parent: [0; 32],
            number: 0,
            state_root: blake2_256(&(b"gridway sandbox", activator, timestamp_ms).encode()),
            extrinsics_root: [0; 32],
        };
        let hash = header.hash();
        inner.by_hash.insert(hash, 0);
        inner.blocks.push(Sealed {
            header,
            hash,
            timestamp_ms,
            extrinsics: Vec::new(),
            signed: Vec::new(),
            voted: Vec::new(),
            tallies: Vec::new(),
            happened: Vec::new(),
            version: Version::FIRST,
        });
        Self {
            inner: Mutex::new(inner),
            rules,
            activator,
            pace,
            news: Signal::default(),
            restarts: Signal::default(),
            down_until: Mutex::new(None),
            genesis: hash,
        }
    }

    /// Seals blocks for as long as it is polled.
    pub async fn run(&self) {
        let fast = self.pace.block.is_zero();
        let every = if fast {
            self.pace.idle
        } else {
            self.pace.block
        };
        loop {
            let due = self.inner.lock().sealed_at + every;
            tokio::time::sleep_until(due).await;
            let mut inner = self.inner.lock();
            if !fast || inner.sealed_at.elapsed() >= every {
                self.seal(&mut inner);
            }
        }
    }

    /// Mints a deposit to the twin's account, once.
    ///
    /// # Errors
    /// [`NotMinted`].
    pub fn mint(&self, deposit: &str, twin: u32, amount: u64) -> Result<(), NotMinted> {
        let mut inner = self.inner.lock();
        let waiting = inner
            .voted
            .iter()
            .any(|m| matches!(m, Voted::Mint { deposit: d, .. } if d == deposit));
        if waiting || answered(&inner.state, deposit) {
            return Err(NotMinted::Answered);
        }
        if amount <= self.rules.deposit_fee {
            return Err(NotMinted::TooSmall);
        }
        if !has_twin(&inner.state, twin) {
            return Err(NotMinted::NoTwin);
        }
        let deposit = deposit.to_owned();
        let mint = Voted::Mint {
            deposit,
            twin,
            amount,
        };
        self.by_the_bridge(&mut inner, mint);
        Ok(())
    }

    /// Records that a deposit was paid back.
    pub fn refunded(&self, deposit: &str, target: &str, amount: u64, sequence: u64) {
        let refunded = Voted::Refunded {
            deposit: deposit.to_owned(),
            target: target.to_owned(),
            amount,
            sequence,
        };
        self.by_the_bridge(&mut self.inner.lock(), refunded);
    }

    fn by_the_bridge(&self, inner: &mut Inner, voted: Voted) {
        inner.voted.push(voted);
        if self.pace.block.is_zero() {
            self.seal(inner);
        }
    }

    /// Whether the deposit was minted or refunded.
    #[must_use]
    pub fn is_answered(&self, deposit: &str) -> bool {
        answered(&self.inner.lock().state, deposit)
    }

    /// From now on each n-th deposit, chosen by its hash, is paid back as if the bridge's
    /// validators had voted so; 0: none.
    pub fn return_deposits(&self, each: u32) {
        self.inner.lock().returns = each;
    }

    /// Whether the validators vote to pay this deposit back.
    #[must_use]
    pub fn returns(&self, deposit: &str) -> bool {
        let each = self.inner.lock().returns;
        let number = deposit
            .get(..8)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        each > 0 && number.is_some_and(|number| number % each == 0)
    }

    /// What was done so far, finalized or not.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.lock().counts.clone()
    }

    /// Sets the chain's clock forward.
    pub fn advance_clock(&self, by_ms: i64) {
        let mut inner = self.inner.lock();
        inner.clock_ahead_ms = inner.clock_ahead_ms.saturating_add(by_ms);
    }

    /// Seals so many blocks at once.
    pub fn seal_blocks(&self, count: u32) {
        let mut inner = self.inner.lock();
        for _ in 0..count {
            self.seal(&mut inner);
        }
    }

    /// While held, transactions are taken and stay in the pool.
    pub fn hold(&self, held: bool) {
        let mut inner = self.inner.lock();
        inner.held = held;
        if !held && self.pace.block.is_zero() && !inner.pool.is_empty() {
            self.seal(&mut inner);
        }
    }

    /// From the next block on another runtime is in force.
    pub fn upgrade(&self, spec: u32, change: Change) {
        let mut inner = self.inner.lock();
        inner.version = Version {
            spec,
            transaction: inner.version.transaction,
            change,
        };
        self.seal(&mut inner);
    }

    /// Does to a contract what the chain does by itself, in a block of its own.
    ///
    /// # Errors
    /// When there is no such contract.
    pub fn of_itself(&self, act: OfItself) -> Result<(), String> {
        let mut inner = self.inner.lock();
        self.seal_with(&mut inner, Some(act))
    }

    /// The node stops and comes back after so long: connections break, what is in the pool is
    /// lost, blocks stay.
    pub fn restart(&self, down: Duration) {
        {
            let mut inner = self.inner.lock();
            let lost = std::mem::take(&mut inner.pool);
            inner.counts.dropped += u64::try_from(lost.len()).unwrap_or_default();
            for signed in lost {
                inner.say(signed.hash, Status::Dropped);
            }
        }
        *self.down_until.lock() = Some(Instant::now() + down);
        self.restarts.change();
    }

    /// Whether the node is down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.down_until
            .lock()
            .is_some_and(|until| Instant::now() < until)
    }

    /// Changes with each restart.
    #[must_use]
    pub fn restarts(&self) -> Changes {
        self.restarts.changes()
    }

    /// Changes whenever something happened.
    #[must_use]
    pub fn news(&self) -> Changes {
        self.news.changes()
    }

    /// Hash of block 0.
    #[must_use]
    pub const fn genesis(&self) -> [u8; 32] {
        self.genesis
    }
}
