//! Signed webhooks, sent until they are taken.

use crate::state::{Shared, now};
use hmac::{Hmac, Mac};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 3600);
const TIMEOUT: Duration = Duration::from_secs(20);
const AT_ONCE: usize = 64;

/// Where webhooks go.
#[derive(Clone, Serialize, Deserialize)]
pub struct Target {
    /// Absolute URL that events are posted to.
    pub url: String,
    /// Signing secret, `whsec_…`.
    pub secret: String,
    /// Event types that are sent; empty (or `*`) for all.
    #[serde(default)]
    pub events: Vec<String>,
    /// How often each event is sent and taken before it is done with; 0 counts as 1.
    #[serde(default)]
    pub copies: u32,
    /// Sends thin notifications instead of events with their objects.
    #[serde(default)]
    pub thin: bool,
    /// Every so many-th event is never sent; 0: all are.
    #[serde(default)]
    pub drop_every: u64,
    /// Each sending waits up to so many milliseconds, so that events and copies overtake each other.
    #[serde(default)]
    pub jitter_ms: u64,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("url", &self.url)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// The endpoint, if there is one, and the means to reach it.
#[derive(Debug)]
pub struct Webhooks {
    target: RwLock<Option<Target>>,
    client: reqwest::Client,
    at_once: Semaphore,
    offered: AtomicU64,
    dropped: AtomicU64,
}

impl Webhooks {
    pub fn new(target: Option<Target>) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .user_agent("Stripe/1.0 (+https://stripe.com/docs/webhooks)")
            .build()?;
        Ok(Self {
            target: RwLock::new(target),
            client,
            at_once: Semaphore::new(AT_ONCE),
            offered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    pub fn set(&self, target: Option<Target>) {
        *self.target.write() = target;
    }

    /// Events that were wanted and never sent.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether this event, which is wanted, is one of those that are never sent.
    pub fn drops(&self) -> bool {
        let every = self.target.read().as_ref().map_or(0, |t| t.drop_every);
        let number = self.offered.fetch_add(1, Ordering::Relaxed) + 1;
        let drops = every > 0 && number.is_multiple_of(every);
        self.dropped.fetch_add(u64::from(drops), Ordering::Relaxed);
        drops
    }

    pub fn wants(&self, kind: &str) -> bool {
        self.target.read().as_ref().is_some_and(|target| {
            target.events.is_empty()
                || target
                    .events
                    .iter()
                    .any(|wanted| wanted == "*" || wanted == kind)
        })
    }
}

/// The `Stripe-Signature` header for this body at this time.
pub fn signature(body: &[u8], secret: &str, seconds: i64) -> String {
    // HMAC takes a key of any length; the error cannot occur and would give a signature that
    // nobody accepts.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!(
        "t={seconds},v1={}",
        hex::encode(mac.finalize().into_bytes())
    )
}

/// Posts one event to the endpoint until it answers 2xx, as often as the endpoint wants copies.
/// Events travel independently of each
/// other, hence in any order, as the real ones do.
pub async fn deliver(shared: Arc<Shared>, event_id: String) {
    let copies = shared
        .webhooks
        .target
        .read()
        .as_ref()
        .map_or(1, |t| t.copies.max(1));
    for copy in 1..copies {
        let (shared, event_id) = (Arc::clone(&shared), event_id.clone());
        tokio::spawn(async move { deliver_copy(&shared, &event_id, copy).await });
    }
    deliver_copy(&shared, &event_id, 0).await;
}

async fn deliver_copy(shared: &Shared, event_id: &str, copy: u32) {
    let jitter_ms = shared
        .webhooks
        .target
        .read()
        .as_ref()
        .map_or(0, |t| t.jitter_ms);
    if jitter_ms > 0 {
        let digest = Sha256::digest(format!("{event_id}:{copy}"));
        let number = u64::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 8]));
        tokio::time::sleep(Duration::from_millis(number % jitter_ms)).await;
    }
    let started = tokio::time::Instant::now();
    let mut pause = FIRST_PAUSE;
    while started.elapsed() < GIVE_UP_AFTER {
        if attempt(shared, event_id).await {
            if let Some(event) = shared.ledger.lock().events.get_mut(event_id) {
                event.pending_webhooks = 0;
            }
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    tracing::warn!(event_id, "gave up delivering an event");
}

async fn attempt(shared: &Shared, event_id: &str) -> bool {
    let Ok(_permit) = shared.webhooks.at_once.acquire().await else {
        return false;
    };
    // Read anew each time: the endpoint may have been set to another address meanwhile.
    let Some(target) = shared.webhooks.target.read().clone() else {
        return false;
    };
    let event = shared.ledger.lock().events.get(event_id).map(|event| {
        if target.thin {
            event.to_thin_json()
        } else {
            event.to_json()
        }
    });
    let Some(event) = event else { return true };
    // The real API indents the body; whoever parses and prints it again breaks the signature.
    let Ok(body) = serde_json::to_vec_pretty(&event) else {
        return true;
    };
    let sent = shared
        .webhooks
        .client
        .post(&target.url)
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature(&body, &target.secret, now()))
        .body(body)
        .send()
        .await;
    match sent {
        Ok(answer) if answer.status().is_success() => true,
        Ok(answer) => {
            tracing::info!(
                event_id,
                status = answer.status().as_u16(),
                "the webhook was not taken"
            );
            false
        }
        Err(error) => {
            tracing::info!(event_id, %error, "the webhook could not be sent");
            false
        }
    }
}
