//! Reads Stripe's list of events once for all partitions of the process.

use crate::Heard;
use counterparties_stripe::{Cards, StripeEvents, StripeReadError};
use events::ids::PurchaseId;
use events::stripe::StripeFacts;
use events::time::Timestamp;
use pipeline::clock;
use prometheus::{IntCounter, register_int_counter};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::Mutex;

/// Pages in one reading at most.
const PAGES: usize = 10;
/// Intents whose purchase is remembered.
const REMEMBERED: usize = 4_096;

static CURSOR_LOST: LazyLock<Option<IntCounter>> = LazyLock::new(|| {
    register_int_counter!(
        "gridway_reconciler_cursor_lost_total",
        "Stripe did not know the event up to which its list was read: events may be lost."
    )
    .ok()
});

/// Stripe keeps events for 30 days; one that it does not know any more leaves a gap behind it.
fn lost(event: &str, why: &str) {
    if let Some(counter) = &*CURSOR_LOST {
        counter.inc();
    }
    tracing::error!(
        event,
        why,
        "Stripe does not know the event up to which its list was read: events may be lost; reading from the oldest"
    );
}

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// Just after this event.
    After(String),
    /// With the first event that was made at this time or later.
    Since(Timestamp),
    /// With the oldest event that Stripe has.
    Oldest,
}

/// What the list showed.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Oldest first.
    pub events: Vec<Heard>,
    /// Whether it begins with the oldest event that Stripe has.
    pub anew: bool,
    /// Whether there was nothing newer.
    pub to_the_end: bool,
    /// When it was asked, on our clock.
    pub asked_at: Timestamp,
}

#[derive(Default)]
struct Known {
    last: Option<(Start, Seen)>,
    purchases: HashMap<String, Option<PurchaseId>>,
}

/// The list.
pub(crate) struct Listing {
    cards: Arc<dyn Cards>,
    events: Arc<dyn StripeEvents>,
    /// An answer that is not older serves another partition, too.
    fresh: Duration,
    known: Mutex<Known>,
}

impl Listing {
    pub fn new(cards: Arc<dyn Cards>, events: Arc<dyn StripeEvents>, fresh: Duration) -> Self {
        Self {
            cards,
            events,
            fresh,
            known: Mutex::default(),
        }
    }

    /// Reads on; asks again until Stripe answers.
    pub async fn read(&self, start: &Start) -> Seen {
        // Held while Stripe is asked: partitions that want the same wait for the one answer.
        let mut known = self.known.lock().await;
        if let Some((same, seen)) = &known.last
            && same == start
            && clock::now() < seen.asked_at.after(self.fresh)
        {
            return seen.clone();
        }
        let mut wait = Duration::from_millis(100);
        loop {
            match self.ask(start, &mut known.purchases).await {
                Ok(seen) => {
                    known.last = Some((start.clone(), seen.clone()));
                    return seen;
                }
                Err(error) => tracing::warn!(%error, "reading Stripe's list of events failed"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }

    async fn ask(
        &self,
        start: &Start,
        purchases: &mut HashMap<String, Option<PurchaseId>>,
    ) -> Result<Seen, StripeReadError> {
        let asked_at = clock::now();
        let mut found = Vec::new();
        let mut at = match start {
            Start::After(event) => Some(event.clone()),
            Start::Since(time) => {
                let before = self.events.last_before(*time).await?;
                before.map(|event| event.stripe_event_id)
            }
            Start::Oldest => None,
        };
        let (mut anew, mut to_the_end) = (false, false);
        for _ in 0..PAGES {
            let page = match &at {
                Some(event) => self.events.after(event).await,
                None => Err(StripeReadError::Missing(String::new())),
            };
            let page = match page {
                Ok(page) => page,
                // Nothing to begin after: with the oldest, then.
                Err(StripeReadError::Missing(why)) => {
                    anew = true;
                    found.clear();
                    let Some(oldest) = self.events.oldest().await? else {
                        to_the_end = true;
                        break;
                    };
                    if let Some(event) = &at {
                        lost(event, &why);
                    }
                    at = Some(oldest.stripe_event_id.clone());
                    found.push(oldest);
                    continue;
                }
                Err(error @ (StripeReadError::Unavailable(_) | StripeReadError::Refused(_))) => {
                    return Err(error);
                }
            };
            if let Some(last) = page.events.last() {
                at = Some(last.stripe_event_id.clone());
            }
            let more = page.more && !page.events.is_empty();
            found.extend(page.events);
            if !more {
                to_the_end = true;
                break;
            }
        }
        let mut events = Vec::with_capacity(found.len());
        for event in found {
            events.push(self.heard(event, purchases).await?);
        }
        Ok(Seen {
            events,
            anew,
            to_the_end,
            asked_at,
        })
    }

    /// The event, with its purchase from its intent where it names none: of a dispute, say.
    async fn heard(
        &self,
        mut event: StripeFacts,
        purchases: &mut HashMap<String, Option<PurchaseId>>,
    ) -> Result<Heard, StripeReadError> {
        if let (None, Some(intent)) = (event.purchase_id, &event.intent_id) {
            let known = purchases.get(intent).copied();
            event.purchase_id = if let Some(known) = known {
                known
            } else {
                let purchase = match self.cards.purchase_of(intent).await {
                    Ok(purchase) => purchase,
                    Err(StripeReadError::Missing(_)) => None,
                    Err(
                        error @ (StripeReadError::Unavailable(_) | StripeReadError::Refused(_)),
                    ) => return Err(error),
                };
                if purchases.len() >= REMEMBERED {
                    purchases.clear();
                }
                purchases.insert(intent.clone(), purchase);
                purchase
            };
        }
        Ok(Arc::new(event))
    }
}
