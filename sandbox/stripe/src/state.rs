//! Everything that the stand-in knows, in memory.

use crate::keys::Keys;
use crate::objects::{Charge, Dispute, Event, Intent, Refund};
use crate::table::Table;
use crate::webhooks::Webhooks;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Payments and what happened to them.
#[derive(Debug, Default)]
pub struct Ledger {
    pub intents: Table<Intent>,
    pub charges: Table<Charge>,
    pub refunds: Table<Refund>,
    pub disputes: Table<Dispute>,
    pub events: Table<Event>,
}

/// The stand-in.
#[derive(Debug)]
pub struct Shared {
    pub secret_key: String,
    pub publishable_key: String,
    pub ledger: Mutex<Ledger>,
    pub keys: Mutex<Keys>,
    pub webhooks: Webhooks,
    seed: [u8; 16],
    made: AtomicU64,
}

/// What an event says of the request that caused it.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub request_id: Option<String>,
    pub key: Option<String>,
}

/// Seconds since 1970.
pub fn now() -> i64 {
    since_1970().as_secs().try_into().unwrap_or(i64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a stand-in stamps its objects with the time of now, as Stripe does"
)]
fn since_1970() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

impl Shared {
    pub fn new(secret_key: String, webhooks: Webhooks) -> Arc<Self> {
        let publishable_key = secret_key.replacen("sk_", "pk_", 1);
        Arc::new(Self {
            secret_key,
            publishable_key,
            ledger: Mutex::default(),
            keys: Mutex::default(),
            webhooks,
            // Ids must differ from those of an earlier run, like the real ones do.
            seed: since_1970().as_nanos().to_be_bytes(),
            made: AtomicU64::new(0),
        })
    }

    /// A new id: the prefix and `length` letters and digits.
    pub fn id(&self, prefix: &str, length: usize) -> String {
        const LETTERS: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let digest = Sha256::new()
            .chain_update(self.seed)
            .chain_update(number.to_be_bytes())
            .finalize();
        let tail = digest
            .iter()
            .take(length)
            .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
        prefix.chars().chain(tail).collect()
    }

    /// Records an event and sends it on its way to the webhook.
    pub fn emit(
        self: &Arc<Self>,
        ledger: &mut Ledger,
        kind: &'static str,
        object: Value,
        origin: &Origin,
    ) {
        let wanted = self.webhooks.wants(kind);
        let event = Event {
            id: self.id("evt_3", 23),
            kind,
            created: now(),
            object: object.to_string(),
            request: (origin.request_id.clone(), origin.key.clone()),
            pending_webhooks: u32::from(wanted),
        };
        let id = event.id.clone();
        ledger.events.push(event);
        if wanted && !self.webhooks.drops() {
            tokio::spawn(crate::webhooks::deliver(Arc::clone(self), id));
        }
    }
}
