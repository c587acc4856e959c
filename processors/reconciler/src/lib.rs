//! The source `reconciler`: it reads Stripe's list of events, so that a webhook that never came is
//! a fact all the same.
//!
//! It appends what the webhook route would have appended, under the same id
//! ([`events::stripe::StripeFacts`]); what the log has already is left out.
//!
//! Stripe lists the newest event first. The cursor is an event that is old enough for its
//! neighbours to be there (*settled*); everything newer is read again each time. After a start it
//! reads an overlap of ten minutes again. When Stripe does not know the cursor any more (it keeps
//! events for 30 days), it reads from the oldest event and says so loudly.

mod cursor;
mod listing;

use counterparties_stripe::{Cards, StripeEvents};
use cursor::Cursor;
use events::envelope::Record;
use events::ids::PurchaseId;
use events::purchases::PurchaseEvent;
use events::stripe::StripeFacts;
use listing::{Listing, Start};
use pipeline::{Claim, Reading, Source};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What is read again after a start.
const OVERLAP: Duration = Duration::from_secs(600);

/// The source `reconciler`.
pub struct Reconciler {
    listing: Listing,
    every: Duration,
}

/// An event of Stripe with the purchase that it is about, looked up where it names none.
pub type Heard = Arc<StripeFacts>;

impl Reconciler {
    /// Reads the list once in `every`.
    #[must_use]
    pub fn new(cards: Arc<dyn Cards>, events: Arc<dyn StripeEvents>, every: Duration) -> Self {
        Self {
            listing: Listing::new(cards, events, every / 2),
            every,
        }
    }
}

impl Source for Reconciler {
    const NAME: &'static str = "reconciler";
    type Event = PurchaseEvent;
    type Fact = Heard;
    type State = HashSet<PurchaseId>;

    fn evolve(&self, state: &mut Self::State, record: &Record<PurchaseEvent>) {
        if let PurchaseEvent::PurchaseRequested(event) = &record.event {
            state.insert(event.purchase_id);
        }
    }

    async fn read(&self, cursor: Option<&str>, restarted: bool) -> Reading<Heard> {
        let cursor = cursor.and_then(Cursor::parse);
        let start = match &cursor {
            Some(cursor) if restarted => Start::Since(cursor.settled_at.before(OVERLAP)),
            Some(cursor) => Start::After(cursor.next().to_owned()),
            None => Start::Oldest,
        };
        let behind = cursor.as_ref().is_some_and(|c| c.reached.is_some());
        if !restarted && !behind {
            tokio::time::sleep(self.every).await;
        }
        let seen = self.listing.read(&start).await;
        Reading {
            cursor: Cursor::over(cursor, &seen).map_or_else(String::new, |c| c.to_string()),
            up_to: seen.to_the_end.then_some(seen.asked_at),
            facts: seen.events,
        }
    }

    fn claim(&self, state: &Self::State, _: i32, fact: &Heard) -> Claim<PurchaseEvent> {
        match fact.purchase_id {
            Some(purchase) if state.contains(&purchase) => Claim::Outside {
                subject: purchase.to_string(),
                id: fact.id(),
                event: Box::new(StripeFacts::clone(fact).received(purchase).into()),
            },
            Some(_) | None => Claim::NotMine,
        }
    }
}
