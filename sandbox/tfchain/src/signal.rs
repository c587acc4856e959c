//! Something that changes, and wakes who waits for it in the order of their waiting: what happens
//! next is then the same in every world with the same seed. (`tokio::sync::watch` wakes in an order
//! that it draws.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    changes: AtomicU64,
    notify: Notify,
}

/// What changes.
#[derive(Debug, Default)]
pub struct Signal(Arc<Shared>);

/// Waits for changes; one that comes while nobody waits is not missed.
#[derive(Debug)]
pub struct Changes {
    shared: Arc<Shared>,
    seen: u64,
}

impl Signal {
    /// It has changed.
    pub fn change(&self) {
        self.0.changes.fetch_add(1, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    /// Changes from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {
            seen: self.0.changes.load(Ordering::SeqCst),
            shared: Arc::clone(&self.0),
        }
    }
}

impl Changes {
    /// What has changed so far was seen.
    pub fn see(&mut self) {
        self.seen = self.shared.changes.load(Ordering::SeqCst);
    }

    /// Waits until it changes, or has since it was last seen.
    pub async fn changed(&mut self) {
        loop {
            let notified = self.shared.notify.notified();
            let now = self.shared.changes.load(Ordering::SeqCst);
            if now != self.seen {
                self.seen = now;
                return;
            }
            notified.await;
        }
    }
}
