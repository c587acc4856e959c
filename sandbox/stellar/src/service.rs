//! The network in time: when ledgers close, and who waits for them.

use crate::envelope::{Submitted, network_id, root_key};
use crate::network::{Network, Submission};
use crate::replica::Asked;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stellar_base::xdr::TransactionResult;
use tokio::sync::watch;

/// How long a submission is waited for before the answer is a time-out.
pub const SUBMISSION_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an empty ledger closes when ledgers close on submission.
const IDLE_CLOSE: Duration = Duration::from_secs(1);

/// How a submission ended.
#[derive(Debug)]
pub enum Ended {
    /// It is in a ledger.
    InLedger,
    /// It was refused, nothing was consumed.
    Refused(Box<TransactionResult>),
    /// It is not in a ledger in time.
    TimedOut,
}

/// A running network.
#[derive(Debug, Clone)]
pub struct Service {
    network: Arc<Mutex<Network>>,
    asked: Arc<Mutex<Asked>>,
    closed: Arc<watch::Sender<u32>>,
    close_ms: u64,
    /// The validator is frozen: no ledger closes, while Horizon answers.
    frozen: Arc<AtomicBool>,
    passphrase: Arc<str>,
    network_id: [u8; 32],
}

#[expect(
    clippy::disallowed_methods,
    reason = "a ledger closes at the time it is"
)]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

impl Service {
    /// Starts a network. With `close_ms` 0 a submission closes its own ledger (and an empty one
    /// closes each second, so that time passes); else ledgers close every so many milliseconds.
    /// Must be called within a Tokio runtime.
    pub fn start(passphrase: &str, close_ms: u64) -> Self {
        let network = Network::new(root_key(passphrase), now());
        let (closed, _) = watch::channel(network.latest());
        let service = Self {
            network: Arc::new(Mutex::new(network)),
            asked: Arc::default(),
            closed: Arc::new(closed),
            close_ms,
            frozen: Arc::default(),
            passphrase: passphrase.into(),
            network_id: network_id(passphrase),
        };
        let ticking = service.clone();
        tokio::spawn(async move {
            let period = if close_ms == 0 {
                IDLE_CLOSE
            } else {
                Duration::from_millis(close_ms)
            };
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                ticking.close();
            }
        });
        service
    }

    /// The network's passphrase.
    pub fn passphrase(&self) -> &str {
        &self.passphrase
    }

    /// The network's id.
    pub fn network_id(&self) -> &[u8; 32] {
        &self.network_id
    }

    /// Looks at the network, or asks it something.
    pub fn with<T>(&self, look: impl FnOnce(&mut Network) -> T) -> T {
        look(&mut self.network.lock())
    }

    /// What was read so far, and how replicas lag.
    pub fn asked(&self) -> parking_lot::MutexGuard<'_, Asked> {
        self.asked.lock()
    }

    /// The number of the last ledger, to be waited on.
    pub fn closed(&self) -> watch::Receiver<u32> {
        self.closed.subscribe()
    }

    /// Closes a ledger, unless the validator is frozen.
    pub fn close(&self) {
        self.close_in(&mut self.network.lock());
    }

    fn close_in(&self, network: &mut Network) {
        if !self.frozen.load(Ordering::Relaxed) {
            let ledger = network.close(now());
            self.closed.send_replace(ledger);
        }
    }

    /// Stops or resumes the closing of ledgers. `POST /_control/freeze {"frozen": true}` does it.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Relaxed);
    }

    /// Submits a transaction and waits for its ledger.
    pub async fn submit(&self, submitted: Submitted) -> Ended {
        let hash = submitted.outer_hash();
        let mut closed = self.closed();
        let outcome = {
            let mut network = self.network.lock();
            let outcome = network.submit(submitted, now());
            if self.close_ms == 0 && matches!(outcome, Submission::Pending) {
                self.close_in(&mut network);
            }
            outcome
        };
        match outcome {
            Submission::Known => return Ended::InLedger,
            Submission::Refused(result) => return Ended::Refused(result),
            // As the network does: the node hides "try again later" behind a time-out.
            Submission::TryAgainLater | Submission::Pending => {}
        }
        let landed = async {
            loop {
                if self.with(|network| network.history().find(&hash).is_some())
                    || closed.changed().await.is_err()
                {
                    return;
                }
            }
        };
        match tokio::time::timeout(SUBMISSION_TIMEOUT, landed).await {
            Ok(()) => Ended::InLedger,
            Err(_) => Ended::TimedOut,
        }
    }
}
