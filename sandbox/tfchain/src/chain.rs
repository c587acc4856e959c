//! Blocks over the [`Ledger`]: admission, pool, sealing, finality, and waiting for them.

use crate::ledger::{Counts, Effect, Ledger, Operation, Rules};
use counterparties_tfchain::AccountId32;
use counterparties_tfchain::protocol::{
    AccountState, BlockBody, ChainInfo, Event, Extrinsic, ExtrinsicStatus, Header, MAX_BLOCKS,
    RpcError, Stage, blake2_256,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use subxt::ext::codec::Encode;
use tokio::sync::watch;
use tokio::time::Instant;

/// Blocks for which birth hashes are remembered, as on the real chain.
const BLOCK_HASH_COUNT: u32 = 2_400;
/// Version of the runtime whose names are used.
const SPEC_VERSION: u32 = 149;

/// How blocks come.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A block every so often; zero: one for each transaction and mint, at once.
    pub block: Duration,
    /// With `block` zero: an empty block when none came for so long.
    pub idle: Duration,
    /// Blocks by which finality trails. Needs `block`.
    pub finality_lag: u32,
}

struct Sealed {
    header: Header,
    hash: [u8; 32],
    /// For the finalized state, which trails.
    operations: Vec<Operation>,
    /// Transactions of the block: hash and effect.
    extrinsics: Vec<(String, Effect)>,
    events: Vec<Event>,
}

struct Pooled {
    hash: String,
    extrinsic: Extrinsic,
}

struct Inner {
    best: Ledger,
    /// Trails by the lag; `None` when there is no lag.
    finalized: Option<Ledger>,
    blocks: Vec<Sealed>,
    pool: Vec<Pooled>,
    mints: Vec<Operation>,
    stages: HashMap<String, Stage>,
    clock_ahead_ms: i64,
    held: bool,
    /// Each n-th deposit is paid back; 0: none.
    returns: u32,
    sealed_at: Instant,
}

/// The chain.
pub struct Chain {
    inner: Mutex<Inner>,
    pace: Pace,
    news: watch::Sender<u64>,
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

fn rejected(code: i32, message: &str, data: &str) -> RpcError {
    RpcError {
        code,
        message: message.to_owned(),
        data: data.to_owned(),
    }
}

fn invalid(data: &str) -> RpcError {
    rejected(1010, "Invalid Transaction", data)
}

impl Inner {
    fn finalized_number(&self, lag: u32) -> u32 {
        self.head().number.saturating_sub(lag)
    }

    fn head(&self) -> &Header {
        // Block 0 is there from the beginning, so the fallback is never taken.
        static NONE: Header = Header {
            number: 0,
            hash: String::new(),
            timestamp_ms: 0,
        };
        self.blocks.last().map_or(&NONE, |b| &b.header)
    }

    fn block(&self, number: u32) -> Option<&Sealed> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    #[expect(clippy::disallowed_methods, reason = "a chain has a clock of its own")]
    fn now_ms(&self) -> i64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(now.as_millis())
            .unwrap_or(i64::MAX)
            .saturating_add(self.clock_ahead_ms)
    }
}

impl Chain {
    /// A chain at block 0, where `activator` holds `endowment` (10^-7 TFT).
    #[must_use]
    pub fn new(rules: Rules, pace: Pace, activator: AccountId32, endowment: u64) -> Self {
        let best = Ledger::new(rules, activator, endowment);
        let finalized = (pace.finality_lag > 0).then(|| best.clone());
        let mut inner = Inner {
            best,
            finalized,
            blocks: Vec::new(),
            pool: Vec::new(),
            mints: Vec::new(),
            stages: HashMap::new(),
            clock_ahead_ms: 0,
            held: false,
            returns: 0,
            sealed_at: Instant::now(),
        };
        let genesis = blake2_256(&(b"gridway sandbox", activator, rules.nodes).encode());
        let header = Header {
            number: 0,
            hash: hex::encode(genesis),
            timestamp_ms: inner.now_ms(),
        };
        let block = Sealed {
            header,
            hash: genesis,
            operations: Vec::new(),
            extrinsics: Vec::new(),
            events: Vec::new(),
        };
        inner.blocks.push(block);
        Self {
            inner: Mutex::new(inner),
            pace,
            news: watch::Sender::new(0),
            genesis,
        }
    }

    /// What does not change.
    #[must_use]
    pub fn info(&self) -> ChainInfo {
        let block = if self.pace.block.is_zero() {
            self.pace.idle
        } else {
            self.pace.block
        };
        ChainInfo {
            genesis_hash: hex::encode(self.genesis),
            spec_version: SPEC_VERSION,
            block_ms: u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1),
            deposit_fee: self.inner.lock().best.rules().deposit_fee,
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

    /// Checks a transaction as a node's pool does and takes it.
    ///
    /// # Errors
    /// [`RpcError`] with the node's codes.
    pub fn submit(&self, extrinsic: Extrinsic) -> Result<String, RpcError> {
        let birth_hash = self.inner.lock().block(extrinsic.era.birth).map(|b| b.hash);
        // Outside of the lock: checking a signature costs more than all the rest.
        if !birth_hash.is_some_and(|birth| extrinsic.is_signed(self.genesis, birth)) {
            return Err(invalid("Transaction has a bad signature"));
        }
        let hash = extrinsic.hash();
        let mut inner = self.inner.lock();
        admit(&inner, &hash, &extrinsic)?;
        inner.stages.insert(hash.clone(), Stage::Ready);
        inner.pool.push(Pooled {
            hash: hash.clone(),
            extrinsic,
        });
        if self.pace.block.is_zero() && !inner.held {
            self.seal(&mut inner);
        }
        Ok(hash)
    }

    /// Mints a deposit to the twin's account, once.
    ///
    /// # Errors
    /// [`NotMinted`].
    pub fn mint(&self, deposit: &str, twin: u32, amount: u64) -> Result<(), NotMinted> {
        let mut inner = self.inner.lock();
        let waiting = inner
            .mints
            .iter()
            .any(|m| matches!(m, Operation::Mint { deposit: d, .. } if d == deposit));
        if waiting || inner.best.is_answered(deposit) {
            return Err(NotMinted::Answered);
        }
        if amount <= inner.best.rules().deposit_fee {
            return Err(NotMinted::TooSmall);
        }
        if !inner.best.has_twin(twin) {
            return Err(NotMinted::NoTwin);
        }
        self.by_the_bridge(
            &mut inner,
            Operation::Mint {
                deposit: deposit.to_owned(),
                twin,
                amount,
            },
        );
        Ok(())
    }

    /// Records that a deposit was paid back.
    pub fn refunded(&self, deposit: &str, target: &str, amount: u64, sequence: u64) {
        let (deposit, target) = (deposit.to_owned(), target.to_owned());
        self.by_the_bridge(
            &mut self.inner.lock(),
            Operation::Refunded {
                deposit,
                target,
                amount,
                sequence,
            },
        );
    }

    /// Whether the deposit was minted or refunded.
    #[must_use]
    pub fn is_answered(&self, deposit: &str) -> bool {
        self.inner.lock().best.is_answered(deposit)
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

    fn by_the_bridge(&self, inner: &mut Inner, operation: Operation) {
        inner.mints.push(operation);
        if self.pace.block.is_zero() {
            self.seal(inner);
        }
    }

    /// Makes one block of what waits, and finalizes what is due.
    fn seal(&self, inner: &mut Inner) {
        let parent = inner.head();
        let number = parent.number + 1;
        let timestamp_ms = inner.now_ms().max(parent.timestamp_ms + 1);
        let parent_hash = inner.blocks.last().map_or([0; 32], |b| b.hash);
        let (mut operations, mut extrinsics, mut events, mut hashes) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for operation in std::mem::take(&mut inner.mints) {
            events.extend(inner.best.apply(&operation, number).events);
            operations.push(operation);
        }
        let pool = if inner.held {
            Vec::new()
        } else {
            std::mem::take(&mut inner.pool)
        };
        for Pooled { hash, extrinsic } in pool {
            let (nonce, free) = inner.best.purse(&extrinsic.account);
            let valid = extrinsic.nonce == nonce
                && number <= extrinsic.era.mortal_until
                && free >= inner.best.rules().extrinsic_fee;
            if !valid {
                inner.stages.insert(hash, Stage::Dropped);
                continue;
            }
            let operation = Operation::Signed {
                account: extrinsic.account,
                call: extrinsic.call,
            };
            let effect = inner.best.apply(&operation, number);
            events.extend(effect.events.iter().cloned());
            operations.push(operation);
            hashes.push(hash.clone());
            inner
                .stages
                .insert(hash.clone(), Stage::InBlock { block: number });
            extrinsics.push((hash, effect));
        }
        let hash = blake2_256(
            &(
                parent_hash,
                number,
                timestamp_ms,
                &hashes,
                events.len() as u64,
            )
                .encode(),
        );
        let header = Header {
            number,
            hash: hex::encode(hash),
            timestamp_ms,
        };
        inner.blocks.push(Sealed {
            header,
            hash,
            operations,
            extrinsics,
            events,
        });
        inner.sealed_at = Instant::now();
        self.finalize(inner);
        self.news.send_modify(|n| *n += 1);
    }

    fn finalize(&self, inner: &mut Inner) {
        let lag = self.pace.finality_lag;
        if inner.head().number < lag {
            return;
        }
        let number = inner.finalized_number(lag);
        let Inner {
            finalized,
            blocks,
            stages,
            ..
        } = inner;
        let Some(block) = usize::try_from(number).ok().and_then(|n| blocks.get_mut(n)) else {
            return;
        };
        if let Some(ledger) = finalized {
            for operation in std::mem::take(&mut block.operations) {
                ledger.apply(&operation, number);
            }
        }
        block.operations.clear();
        for (hash, effect) in std::mem::take(&mut block.extrinsics) {
            stages.insert(
                hash,
                Stage::Finalized {
                    block: number,
                    error: effect.error,
                    events: effect.events,
                },
            );
        }
    }

    /// Header of the finalized head.
    #[must_use]
    pub fn finalized(&self) -> Header {
        let inner = self.inner.lock();
        let number = inner.finalized_number(self.pace.finality_lag);
        inner
            .block(number)
            .map_or_else(|| inner.head().clone(), |b| b.header.clone())
    }

    /// Waits until the finalized head is above `number`, at most for `wait`; returns the head.
    pub async fn finalized_after(&self, number: u32, wait: Duration) -> Header {
        self.wait_for(wait, || {
            Some(self.finalized()).filter(|head| head.number > number)
        })
        .await
        .unwrap_or_else(|| self.finalized())
    }

    /// A finalized header.
    #[must_use]
    pub fn header(&self, number: u32) -> Option<Header> {
        let inner = self.inner.lock();
        (number <= inner.finalized_number(self.pace.finality_lag))
            .then(|| inner.block(number).map(|b| b.header.clone()))
            .flatten()
    }

    /// Finalized blocks, at most [`MAX_BLOCKS`].
    #[must_use]
    pub fn blocks(&self, from: u32, to: u32) -> Vec<BlockBody> {
        let inner = self.inner.lock();
        let to = to
            .min(inner.finalized_number(self.pace.finality_lag))
            .min(from.saturating_add(MAX_BLOCKS - 1));
        (from..=to)
            .filter_map(|number| inner.block(number))
            .map(|b| BlockBody {
                header: b.header.clone(),
                events: b.events.clone(),
            })
            .collect()
    }

    /// An account at the finalized head.
    #[must_use]
    pub fn account(
        &self,
        account: &AccountId32,
        contract: Option<(u32, [u8; 32])>,
    ) -> AccountState {
        let inner = self.inner.lock();
        let number = inner.finalized_number(self.pace.finality_lag);
        let at = inner
            .block(number)
            .map_or_else(|| inner.head().clone(), |b| b.header.clone());
        inner
            .finalized
            .as_ref()
            .unwrap_or(&inner.best)
            .account(account, contract, at)
    }

    /// How far a transaction is; waits, at most for `wait`, until its way is at an end.
    pub async fn status(&self, hash: &str, wait: Duration) -> Option<ExtrinsicStatus> {
        let look = || self.inner.lock().stages.get(hash).cloned();
        let ended = |stage: &Stage| matches!(stage, Stage::Finalized { .. } | Stage::Dropped);
        look()?;
        let stage = match self.wait_for(wait, || look().filter(ended)).await {
            Some(stage) => stage,
            None => look()?,
        };
        Some(ExtrinsicStatus {
            hash: hash.to_owned(),
            stage,
        })
    }

    async fn wait_for<T>(&self, wait: Duration, look: impl Fn() -> Option<T>) -> Option<T> {
        let mut news = self.news.subscribe();
        let until = Instant::now() + wait;
        loop {
            news.borrow_and_update();
            if let Some(found) = look() {
                return Some(found);
            }
            if tokio::time::timeout_at(until, news.changed())
                .await
                .is_err()
            {
                return None;
            }
        }
    }

    /// What was done so far, finalized or not.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.lock().best.counts().clone()
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
}

/// The checks that a node makes before a transaction enters its pool, the signature aside.
fn admit(inner: &Inner, hash: &str, extrinsic: &Extrinsic) -> Result<(), RpcError> {
    let era = extrinsic.era;
    let next = inner.head().number + 1;
    if inner.pool.iter().any(|p| p.hash == hash) {
        return Err(rejected(1013, "Transaction Already Imported", hash));
    }
    let period = era.mortal_until.saturating_sub(era.birth);
    if period == 0
        || period >= BLOCK_HASH_COUNT
        || next.saturating_sub(era.birth) > BLOCK_HASH_COUNT
    {
        return Err(invalid("Transaction has an ancient birth block"));
    }
    if next > era.mortal_until {
        return Err(invalid("Transaction is outdated"));
    }
    let (nonce, free) = inner.best.purse(&extrinsic.account);
    let waiting = inner
        .pool
        .iter()
        .filter(|p| p.extrinsic.account == extrinsic.account);
    if waiting
        .clone()
        .any(|p| p.extrinsic.nonce == extrinsic.nonce)
    {
        return Err(rejected(
            1014,
            "Priority is too low",
            "The transaction has too low priority to replace another one",
        ));
    }
    let expected = nonce + u32::try_from(waiting.count()).unwrap_or(0);
    if extrinsic.nonce < expected {
        return Err(invalid("Transaction is outdated"));
    }
    if extrinsic.nonce > expected {
        return Err(invalid("Transaction will be valid in the future"));
    }
    if free < inner.best.rules().extrinsic_fee {
        return Err(invalid(
            "Inability to pay some fees (e.g. account balance too low)",
        ));
    }
    Ok(())
}
