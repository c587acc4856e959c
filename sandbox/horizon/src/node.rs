//! The network at work: takes submissions, closes ledgers, tells those who wait.

use crate::envelope::{Hash, Submission};
use crate::ledger::close::Ledger;
use crate::ledger::history::TxRecord;
use crate::ledger::queue::{Queue, Queued};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use stellar_base::xdr::TransactionResult;
use tokio::sync::{Notify, oneshot, watch};

/// How long a submission waits for its ledger before it is told so.
const PATIENCE: Duration = Duration::from_secs(30);
/// With ledgers that close on submission, an empty one closes after this silence, so that time
/// bounds come to pass.
const SILENCE: Duration = Duration::from_secs(1);

/// The answer to a submission.
#[derive(Debug)]
pub enum Answer {
    /// A ledger took it, now or before.
    Recorded(Arc<TxRecord>),
    /// It is invalid; nothing was consumed.
    Invalid(Box<TransactionResult>),
    /// No ledger took it in time: no verdict.
    Timeout,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    queue: Queue,
    waiters: HashMap<Hash, Vec<oneshot::Sender<Arc<TxRecord>>>>,
}

/// A network with its Horizon.
#[derive(Debug)]
pub struct Node {
    /// As configured.
    pub passphrase: String,
    inner: Mutex<Inner>,
    submitted: Notify,
    closed: watch::Sender<u32>,
}

#[expect(clippy::disallowed_methods, reason = "the stand-in's one clock: it stamps ledgers as the network does")]
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What can be read while no ledger closes.
pub struct Reading<'a>(MutexGuard<'a, Inner>);

impl std::ops::Deref for Reading<'_> {
    type Target = Ledger;
    fn deref(&self) -> &Ledger {
        &self.0.ledger
    }
}

impl Node {
    /// Starts a network; a ledger closes each `every`, or on submission. Its closer ends with the
    /// last reference. To be called inside a tokio runtime.
    pub fn start(passphrase: &str, every: Option<Duration>) -> Arc<Self> {
        let ledger = Ledger::new(passphrase, now());
        let closed = watch::Sender::new(ledger.last().at.ledger);
        let inner = Inner { ledger, queue: Queue::default(), waiters: HashMap::new() };
        let node = Arc::new(Self {
            passphrase: passphrase.to_owned(),
            inner: Mutex::new(inner),
            submitted: Notify::new(),
            closed,
        });
        match every {
            Some(every) => tokio::spawn(close_regularly(Arc::downgrade(&node), every)),
            None => tokio::spawn(close_on_submission(Arc::downgrade(&node))),
        };
        node
    }

    /// The ledger, standing still while it is read.
    pub fn read(&self) -> Reading<'_> {
        Reading(self.inner.lock())
    }

    /// Tells the sequence of each ledger that closes from now on.
    pub fn closings(&self) -> watch::Receiver<u32> {
        self.closed.subscribe()
    }

    fn close(&self, even_if_empty: bool) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if inner.queue.is_empty() && !even_if_empty {
            return;
        }
        let submissions = inner.queue.drain();
        for record in inner.ledger.close(&submissions, now()) {
            for waiter in inner.waiters.remove(&record.submission.id()).unwrap_or_default() {
                // Who hung up needs no answer.
                let _ = waiter.send(Arc::clone(&record));
            }
        }
        self.closed.send_replace(inner.ledger.last().at.ledger);
    }

    /// Submits, and waits for the ledger.
    pub async fn submit(&self, submission: Arc<Submission>) -> Answer {
        let id = submission.id();
        let taken = {
            let mut inner = self.inner.lock();
            let Inner { ledger, queue, waiters } = &mut *inner;
            match queue.submit(ledger, &submission, now()) {
                Queued::Recorded(record) => return Answer::Recorded(record),
                Queued::Invalid(result) => return Answer::Invalid(result),
                // The real one hides "try again later" behind its time-out as well.
                Queued::Pending | Queued::TryAgainLater => {
                    let (sender, receiver) = oneshot::channel();
                    waiters.entry(id).or_default().push(sender);
                    receiver
                }
            }
        };
        self.submitted.notify_one();
        if let Ok(Ok(record)) = tokio::time::timeout(PATIENCE, taken).await {
            return Answer::Recorded(record);
        }
        let mut inner = self.inner.lock();
        if let Some(waiters) = inner.waiters.get_mut(&id) {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                inner.waiters.remove(&id);
            }
        }
        Answer::Timeout
    }
}

async fn close_regularly(node: Weak<Node>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(node) = node.upgrade() else { return };
        node.close(true);
    }
}

async fn close_on_submission(node: Weak<Node>) {
    loop {
        let silent = {
            let Some(node) = node.upgrade() else { return };
            tokio::time::timeout(SILENCE, node.submitted.notified()).await.is_err()
        };
        // Those who submit at the same time come into the same ledger.
        tokio::task::yield_now().await;
        let Some(node) = node.upgrade() else { return };
        node.close(silent);
    }
}
