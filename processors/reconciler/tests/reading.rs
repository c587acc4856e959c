//! The reconciler over a list of events that behaves as Stripe's.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use async_trait::async_trait;
use counterparties_stripe::{
    Cards, ClientSecret, EventPage, IntentPlan, IntentProof, RefundPlan, RefundProof, StripeEvents,
    StripeReadError,
};
use events::envelope::{Envelope, Record};
use events::ids::{EventId, PurchaseId, QuoteId, TwinId, UserId};
use events::money::{Amount, Currency, Fiat};
use events::outcome::{Attempt, Find};
use events::purchases::{Funding, PurchaseEvent, PurchaseRequested};
use events::stripe::StripeFacts;
use events::time::Timestamp;
use pipeline::{Claim, Reading, Source, clock};
use processor_reconciler::{Heard, Reconciler};
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Small, so that there are many pages.
const PAGE: usize = 3;

#[derive(Default)]
struct Stripe {
    /// Oldest first.
    events: Mutex<Vec<StripeFacts>>,
    asked: AtomicU32,
    looked_up: AtomicU32,
    /// So many questions go unanswered.
    down: AtomicU32,
}

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The clock goes with tokio's paused time.
fn simulate() {
    START.set(Some(Instant::now()));
    pipeline::simulation::simulate_clock(|| {
        let elapsed = START.get().map_or(Duration::ZERO, |start| start.elapsed());
        Timestamp(1_790_000_000_000).after(elapsed)
    });
}

fn purchase() -> PurchaseId {
    PurchaseId::derive(&["test"])
}

fn event(number: u32, age: Duration) -> StripeFacts {
    StripeFacts {
        purchase_id: Some(purchase()),
        stripe_event_id: format!("evt_{number}"),
        event_type: "payment_intent.succeeded".to_owned(),
        created: clock::now().before(age),
        livemode: false,
        object_id: Some("pi_1".to_owned()),
        intent_id: Some("pi_1".to_owned()),
        amount: Some(523),
        amount_received: Some(523),
        amount_refunded: None,
        currency: Some("usd".to_owned()),
        status: Some("succeeded".to_owned()),
        failure_code: None,
        raw: "{}".to_owned(),
        request_id: None,
    }
}

impl Stripe {
    /// `count` events, the first one the oldest, a minute apart, the last one just now.
    fn with(count: u32) -> Arc<Self> {
        simulate();
        let stripe = Self::default();
        for number in 0..count {
            stripe.add(event(
                number,
                Duration::from_secs(u64::from(60 * (count - 1 - number))),
            ));
        }
        Arc::new(stripe)
    }

    fn add(&self, event: StripeFacts) {
        let mut events = self.events.lock().unwrap();
        events.push(event);
        events.sort_by_key(|event| event.created);
    }

    fn answers(&self) -> Result<(), StripeReadError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let down = self.down.load(Ordering::Relaxed);
        self.down.store(down.saturating_sub(1), Ordering::Relaxed);
        if down > 0 {
            return Err(StripeReadError::Unavailable("503".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl StripeEvents for Stripe {
    async fn after(&self, event_id: &str) -> Result<EventPage, StripeReadError> {
        self.answers()?;
        let events = self.events.lock().unwrap();
        let at = events
            .iter()
            .position(|e| e.stripe_event_id == event_id)
            .ok_or_else(|| StripeReadError::Missing(event_id.to_owned()))?;
        Ok(EventPage {
            events: events.iter().skip(at + 1).take(PAGE).cloned().collect(),
            more: events.len() > at + 1 + PAGE,
        })
    }

    async fn last_before(&self, time: Timestamp) -> Result<Option<StripeFacts>, StripeReadError> {
        self.answers()?;
        let events = self.events.lock().unwrap();
        Ok(events.iter().rev().find(|e| e.created < time).cloned())
    }

    async fn oldest(&self) -> Result<Option<StripeFacts>, StripeReadError> {
        self.answers()?;
        Ok(self.events.lock().unwrap().first().cloned())
    }
}

#[async_trait]
impl Cards for Stripe {
    async fn create_intent(&self, _: &IntentPlan) -> Attempt<IntentProof> {
        panic!("a reconciler has no effects")
    }
    async fn find_intent(&self, _: &IntentPlan) -> Find<IntentProof> {
        panic!("a reconciler has no effects")
    }
    async fn create_refund(&self, _: &RefundPlan) -> Attempt<RefundProof> {
        panic!("a reconciler has no effects")
    }
    async fn find_refund(&self, _: &RefundPlan) -> Find<RefundProof> {
        panic!("a reconciler has no effects")
    }
    async fn client_secret(&self, _: &str) -> Result<ClientSecret, StripeReadError> {
        panic!("a reconciler has no payer")
    }
    async fn receipt_to(&self, _: &str, _: &str) -> Result<ClientSecret, StripeReadError> {
        panic!("a reconciler has no payer")
    }
    async fn purchase_of(&self, intent: &str) -> Result<Option<PurchaseId>, StripeReadError> {
        self.looked_up.fetch_add(1, Ordering::Relaxed);
        match intent {
            "pi_gone" => Err(StripeReadError::Missing(intent.to_owned())),
            _ => Ok(Some(purchase())),
        }
    }
}

fn reconciler(stripe: &Arc<Stripe>) -> Reconciler {
    Reconciler::new(stripe.clone(), stripe.clone(), Duration::from_secs(15))
}

fn names(reading: &Reading<Heard>) -> Vec<String> {
    let events = reading.facts.iter();
    events.map(|e| e.stripe_event_id.clone()).collect()
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("evt_{n}")).collect()
}

/// Reads on from `cursor` until the end of the list: what was read, and the cursor then.
async fn to_the_end(source: &Reconciler, cursor: &str) -> (Vec<String>, String) {
    let (mut read, mut cursor) = (Vec::new(), cursor.to_owned());
    loop {
        let reading = source.read(Some(&cursor), false).await;
        read.extend(names(&reading));
        cursor = reading.cursor;
        if reading.up_to.is_some() {
            return (read, cursor);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_start_reads_everything_from_the_oldest_in_order() {
    let stripe = Stripe::with(50);
    let source = reconciler(&stripe);
    let first = source.read(None, true).await;
    assert!(first.up_to.is_none(), "there is more");
    let (rest, cursor) = to_the_end(&source, &first.cursor).await;
    assert_eq!([names(&first), rest].concat(), numbers(0..50));
    // Everything but the youngest is settled, so only that is read again.
    let again = source.read(Some(&cursor), false).await;
    assert_eq!(names(&again), ["evt_49"]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_no_trouble() {
    let stripe = Stripe::with(0);
    let source = reconciler(&stripe);
    let nothing = source.read(None, true).await;
    assert!(nothing.facts.is_empty() && nothing.up_to.is_some());
    stripe.add(event(7, Duration::ZERO));
    let first = source.read(Some(&nothing.cursor), false).await;
    assert_eq!(names(&first), ["evt_7"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_listed_late_is_not_passed_over() {
    let stripe = Stripe::with(5);
    let source = reconciler(&stripe);
    let first = source.read(None, true).await;
    // Made ten seconds ago, hence before the newest one that was read.
    stripe.add(event(9, Duration::from_secs(10)));
    let next = source.read(Some(&first.cursor), false).await;
    assert_eq!(names(&next), ["evt_9", "evt_4"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_reads_the_last_ten_minutes_again() {
    let stripe = Stripe::with(60);
    let first = reconciler(&stripe).read(None, true).await;
    let (_, cursor) = to_the_end(&reconciler(&stripe), &first.cursor).await;
    let again = reconciler(&stripe).read(Some(&cursor), true).await;
    // The cursor is at the newest settled one, 58; it was made a minute ago.
    assert_eq!(names(&again), numbers(48..60));
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_stripe_has_forgotten_is_an_alarm_and_no_end() {
    let stripe = Stripe::with(5);
    let source = reconciler(&stripe);
    let lost = || -> f64 {
        let gathered = prometheus::gather();
        let found = gathered
            .iter()
            .find(|f| f.name() == "gridway_reconciler_cursor_lost_total");
        found.map_or(0.0, |f| f.get_metric()[0].get_counter().get_value())
    };
    let before = lost();
    let reading = source
        .read(Some("1700000000000 evt_forgotten"), false)
        .await;
    assert_eq!(names(&reading), numbers(0..5));
    assert!(lost() > before);
    // It goes on from there.
    stripe.add(event(5, Duration::ZERO));
    let next = source.read(Some(&reading.cursor), false).await;
    assert_eq!(names(&next), ["evt_4", "evt_5"]);
    // Nothing at all is left: nothing can be missing after it.
    stripe.events.lock().unwrap().clear();
    let known = lost();
    let empty = source.read(Some(&next.cursor), false).await;
    assert!(empty.facts.is_empty() && empty.cursor.is_empty());
    assert!((lost() - known).abs() < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn partitions_share_one_answer_and_an_outage_is_waited_out() {
    let stripe = Stripe::with(2);
    let source = reconciler(&stripe);
    stripe.down.store(3, Ordering::Relaxed);
    let (one, two) = tokio::join!(source.read(None, true), source.read(None, true));
    assert_eq!((names(&one), names(&two)), (numbers(0..2), numbers(0..2)));
    assert_eq!(one.cursor, two.cursor);
    // Three times in vain, then the oldest and what is after it.
    assert_eq!(stripe.asked.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn what_names_no_purchase_is_looked_up_once() {
    let stripe = Stripe::with(0);
    for (number, intent) in [
        (1, Some("pi_1")),
        (2, Some("pi_1")),
        (3, Some("pi_gone")),
        (4, None),
    ] {
        let mut dispute = event(number, Duration::from_secs(u64::from(100 - number)));
        dispute.purchase_id = None;
        dispute.intent_id = intent.map(str::to_owned);
        stripe.add(dispute);
    }
    let reading = reconciler(&stripe).read(None, true).await;
    let found: Vec<_> = reading.facts.iter().map(|f| f.purchase_id).collect();
    assert_eq!(found, [Some(purchase()), Some(purchase()), None, None]);
    assert_eq!(stripe.looked_up.load(Ordering::Relaxed), 2);
}

#[test]
fn only_the_partition_that_knows_the_purchase_claims_the_fact() {
    let source = reconciler(&Stripe::with(0));
    let mut state = HashSet::new();
    let fact = Arc::new(event(1, Duration::ZERO));
    assert!(matches!(source.claim(&state, 0, &fact), Claim::NotMine));
    let requested = PurchaseEvent::from(PurchaseRequested {
        purchase_id: purchase(),
        user_id: UserId::derive(&["u"]),
        twin_id: TwinId(1),
        quote_id: QuoteId::derive(&["q"]),
        tft: Amount::from_whole(1),
        swap_tft: Amount::from_whole(2),
        usdc_quoted: Amount::from_whole(1),
        usdc_cap: Amount::from_whole(1),
        path: Vec::new(),
        charge: Fiat {
            minor: 523,
            currency: Currency::Usd,
        },
        funding: Funding::Card,
        usdc_due: None,
        pay_until: None,
        give_up_after_ms: None,
        quote_expires_at: Timestamp(0),
        requested_at: Timestamp(0),
    });
    let record = Record {
        partition: 0,
        offset: 0,
        envelope: Envelope {
            id: EventId::derive(&["r"]),
            source: "/test".to_owned(),
            time: Timestamp(0),
            subject: purchase().to_string(),
            correlation: None,
            causation: None,
            traceparent: None,
        },
        event: requested,
    };
    source.evolve(&mut state, &record);
    let Claim::Outside { subject, id, event } = source.claim(&state, 0, &fact) else {
        panic!("it is ours")
    };
    // As the webhook route would append it.
    assert_eq!(subject, purchase().to_string());
    assert_eq!(id, EventId::derive(&["stripe", "evt_1"]));
    let expected = StripeFacts::clone(&fact).received(purchase());
    assert_eq!(*event, expected.into());
}
