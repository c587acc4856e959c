//! Given / when / then over the purchase policy, and the purchase table of `ARCHITECTURE.md`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use events::envelope::{Envelope, Record};
use events::ids::{EventId, PurchaseId, QuoteId, TwinId, UserId};
use events::money::{Amount, Currency, Fiat};
use events::purchases::{
    CompensationFailed, CompensationSettled, HandoffFailed, HandoffReturned, HandoffSettled,
    PaymentIntentCreated, PaymentIntentFailed, PurchaseEvent, PurchaseRequested,
    StripeEventReceived, SwapCompleted, SwapFailed, SwapFailure, TftSentToBridge, TimerFired,
};
use events::schema::EventSet;
use events::time::Timestamp;
use processor_purchases::decide::{Outputs, transition};
use processor_purchases::state::{Receipt, Stage};
use processor_purchases::{Purchase, Rules};
use std::collections::BTreeSet;
use std::time::Duration;

#[path = "rules/refunds.rs"]
mod refunds;

const START: Timestamp = Timestamp(1_790_000_000_000);
const CHARGE: Fiat = Fiat {
    minor: 523,
    currency: Currency::Usd,
};

fn rules() -> Rules {
    Rules::new("GBRIDGE")
}

fn purchase_id() -> PurchaseId {
    PurchaseId::derive(&["test"])
}

fn user_id() -> UserId {
    UserId::derive(&["test"])
}

fn at(time: Timestamp, event: impl Into<PurchaseEvent>) -> Record<PurchaseEvent> {
    let event = event.into();
    let envelope = Envelope {
        id: EventId::derive(&[event.name(), &time.to_string()]),
        source: "/test".into(),
        time,
        subject: purchase_id().to_string(),
        correlation: None,
        causation: None,
        traceparent: None,
    };
    Record {
        partition: 0,
        offset: 0,
        envelope,
        event,
    }
}

fn request() -> EventId {
    EventId::derive(&["request"])
}

fn requested() -> PurchaseEvent {
    PurchaseRequested {
        purchase_id: purchase_id(),
        user_id: user_id(),
        twin_id: TwinId(7),
        quote_id: QuoteId::derive(&["q"]),
        tft: Amount::from_whole(250),
        swap_tft: Amount::from_whole(251),
        usdc_quoted: Amount::from_whole(5),
        usdc_cap: Amount::from_whole(6),
        path: vec![],
        charge: CHARGE,
        quote_expires_at: START.after(Duration::from_secs(600)),
        requested_at: START,
    }
    .into()
}

fn intent_created() -> PurchaseEvent {
    PaymentIntentCreated {
        purchase_id: purchase_id(),
        request_id: request(),
        intent_id: "pi_1".into(),
        status: "requires_payment_method".into(),
        amount: CHARGE,
        livemode: false,
    }
    .into()
}

fn intent_failed(attempt: i32) -> PurchaseEvent {
    PaymentIntentFailed {
        purchase_id: purchase_id(),
        request_id: request(),
        attempt,
        code: "never_will".into(),
        detail: "d".into(),
    }
    .into()
}

fn stripe_event(
    kind: &str,
    intent: &str,
    received: i64,
    currency: &str,
    livemode: bool,
    status: &str,
) -> PurchaseEvent {
    StripeEventReceived {
        purchase_id: purchase_id(),
        stripe_event_id: format!("evt_{kind}_{intent}"),
        event_type: kind.into(),
        created: START,
        livemode,
        object_id: Some("obj_1".into()),
        intent_id: Some(intent.into()),
        amount: Some(received),
        amount_received: Some(received),
        amount_refunded: (kind == "charge.refunded").then_some(received),
        currency: Some(currency.into()),
        status: Some(status.into()),
        failure_code: None,
        raw: "{}".into(),
        request_id: None,
    }
    .into()
}

/// A Stripe event about an object: a refund, a dispute, or the PaymentIntent `pi_1` itself.
fn told(kind: &str, object: &str, minor: i64, status: &str) -> PurchaseEvent {
    let PurchaseEvent::StripeEventReceived(mut event) =
        stripe_event(kind, "pi_1", minor, "usd", false, status)
    else {
        panic!("another event")
    };
    event.object_id = Some(object.into());
    event.into()
}

/// The same, of an object that names a request of ours.
fn ours(event: PurchaseEvent) -> PurchaseEvent {
    let PurchaseEvent::StripeEventReceived(mut event) = event else {
        panic!("another event")
    };
    event.request_id = Some(request());
    event.into()
}

fn paid() -> PurchaseEvent {
    stripe_event(
        "payment_intent.succeeded",
        "pi_1",
        523,
        "usd",
        false,
        "succeeded",
    )
}

fn swap_completed() -> PurchaseEvent {
    SwapCompleted {
        purchase_id: purchase_id(),
        request_id: request(),
        attempt: 1,
        transaction: "aa".into(),
        ledger: 1,
        lane: "G".into(),
        sequence: 1,
        usdc_spent: Amount::from_whole(5),
        tft: Amount::from_whole(251),
        fee_stroops: 100,
    }
    .into()
}

fn swap_failed(attempt: i32, reason: SwapFailure, observed: Option<u32>) -> PurchaseEvent {
    SwapFailed {
        purchase_id: purchase_id(),
        request_id: request(),
        attempt,
        reason,
        code: "c".into(),
        detail: "d".into(),
        transaction: None,
        observed_usdc: observed.map(Amount::from_whole),
        observed_path: vec![],
    }
    .into()
}

fn sent() -> PurchaseEvent {
    TftSentToBridge {
        purchase_id: purchase_id(),
        request_id: request(),
        attempt: 1,
        transaction: "bb".into(),
        ledger: 2,
        lane: "G".into(),
        sequence: 2,
        amount: Amount::from_whole(251),
        fee_stroops: 100,
    }
    .into()
}

fn handoff_failed(attempt: i32) -> PurchaseEvent {
    HandoffFailed {
        purchase_id: purchase_id(),
        request_id: request(),
        attempt,
        code: "op_underfunded".into(),
        detail: "d".into(),
        transaction: None,
    }
    .into()
}

fn settled() -> PurchaseEvent {
    HandoffSettled {
        purchase_id: purchase_id(),
        request_id: request(),
        transaction: "bb".into(),
        block: 9,
        event_index: 0,
        account: "5F".into(),
        amount: Amount::from_whole(250),
    }
    .into()
}

fn returned() -> PurchaseEvent {
    HandoffReturned {
        purchase_id: purchase_id(),
        request_id: request(),
        transaction: "bb".into(),
        block: 9,
        event_index: 1,
        amount: Amount::from_whole(250),
    }
    .into()
}

fn compensated(intent: &str) -> PurchaseEvent {
    CompensationSettled {
        purchase_id: purchase_id(),
        request_id: request(),
        intent_id: intent.into(),
        refund_id: "re_1".into(),
        status: "succeeded".into(),
        amount: CHARGE,
    }
    .into()
}

fn compensation_failed(attempt: i32) -> PurchaseEvent {
    CompensationFailed {
        purchase_id: purchase_id(),
        request_id: request(),
        intent_id: "pi_1".into(),
        attempt,
        code: "c".into(),
        detail: "d".into(),
    }
    .into()
}

fn timer(name: &str) -> PurchaseEvent {
    TimerFired {
        purchase_id: purchase_id(),
        timer: name.into(),
        due: START,
    }
    .into()
}

/// Folds facts, a second apart.
fn given(facts: &[PurchaseEvent]) -> Purchase {
    let mut purchase = Purchase::default();
    for (n, fact) in facts.iter().enumerate() {
        let time = START.after(Duration::from_secs(n as u64));
        purchase = transition(&rules(), purchase, &at(time, fact.clone())).0;
    }
    purchase
}

fn when(purchase: Purchase, fact: PurchaseEvent) -> (Purchase, Outputs) {
    transition(
        &rules(),
        purchase,
        &at(START.after(Duration::from_secs(60)), fact),
    )
}

fn names(out: &Outputs) -> Vec<String> {
    let mut names: Vec<String> = out
        .own
        .iter()
        .map(|e| match e {
            PurchaseEvent::PurchaseAlarmed(a) => format!("PurchaseAlarmed({})", a.alarm),
            PurchaseEvent::PurchaseEnded(e) => format!("PurchaseEnded({:?})", e.outcome),
            PurchaseEvent::SwapRequested(r) if r.attempt > 1 => "SwapRequested n+1".to_owned(),
            PurchaseEvent::HandoffRequested(r) if r.attempt > 1 => {
                "HandoffRequested n+1".to_owned()
            }
            PurchaseEvent::CompensationRequested(r) if r.attempt > 1 => {
                "CompensationRequested n+1".to_owned()
            }
            PurchaseEvent::PaymentIntentRequested(r) if r.attempt > 1 => {
                "PaymentIntentRequested n+1".to_owned()
            }
            other => other.name().to_owned(),
        })
        .collect();
    names.extend(out.forward.iter().map(|f| {
        let event = f.event::<events::deployments::DeploymentEvent>().unwrap();
        format!("{} to `deployments`", event.name())
    }));
    names
}

/// A purchase in each stage, by the way that leads there.
fn stages() -> Vec<Vec<PurchaseEvent>> {
    let way = [
        requested(),
        intent_created(),
        paid(),
        swap_completed(),
        sent(),
        settled(),
    ];
    let mut stages: Vec<Vec<PurchaseEvent>> = (0..=way.len()).map(|n| way[..n].to_vec()).collect();
    let mut refunding = way[..4].to_vec();
    refunding.extend([returned(), returned(), returned()]);
    stages.push(refunding.clone());
    refunding.push(compensated("pi_1"));
    stages.push(refunding);
    stages.push(vec![requested(), intent_created(), timer("expire")]);
    let wrong = stripe_event(
        "payment_intent.succeeded",
        "pi_1",
        522,
        "usd",
        false,
        "succeeded",
    );
    stages.push(vec![requested(), intent_created(), wrong]);
    stages
}

struct Fact {
    name: &'static str,
    from: &'static str,
    event: PurchaseEvent,
    /// Further facts that must come before for this one to make sense.
    after: Vec<PurchaseEvent>,
}

fn facts() -> Vec<Fact> {
    let fact = |name, from, event| Fact {
        name,
        from,
        event,
        after: vec![],
    };
    let dispute = || {
        stripe_event(
            "charge.dispute.created",
            "pi_1",
            523,
            "usd",
            false,
            "needs_response",
        )
    };
    let dry = || swap_failed(1, SwapFailure::TreasuryDry, None);
    let failures: Vec<PurchaseEvent> = (1..=2).map(handoff_failed).collect();
    vec![
        fact("PurchaseRequested", "API", requested()),
        fact("PaymentIntentCreated", "payments", intent_created()),
        fact("PaymentIntentFailed", "payments", intent_failed(1)),
        Fact {
            name: "PaymentIntentFailed, the third",
            from: "payments",
            event: intent_failed(3),
            after: vec![intent_failed(1), intent_failed(2)],
        },
        fact("StripeEventReceived: succeeded", "webhook", paid()),
        fact(
            "StripeEventReceived: succeeded, of another intent",
            "webhook",
            stripe_event(
                "payment_intent.succeeded",
                "pi_2",
                523,
                "usd",
                false,
                "succeeded",
            ),
        ),
        fact(
            "StripeEventReceived: succeeded, with another amount",
            "webhook",
            stripe_event(
                "payment_intent.succeeded",
                "pi_3",
                522,
                "usd",
                false,
                "succeeded",
            ),
        ),
        fact(
            "StripeEventReceived: canceled",
            "webhook",
            stripe_event(
                "payment_intent.canceled",
                "pi_1",
                0,
                "usd",
                false,
                "canceled",
            ),
        ),
        fact(
            "StripeEventReceived: refunded by somebody else",
            "webhook",
            stripe_event("charge.refunded", "pi_1", 523, "usd", false, "succeeded"),
        ),
        fact(
            "StripeEventReceived: processing",
            "webhook",
            told("payment_intent.processing", "pi_1", 0, "processing"),
        ),
        Fact {
            name: "StripeEventReceived: failed after processing",
            from: "webhook",
            event: told("payment_intent.payment_failed", "pi_1", 0, "failed"),
            after: vec![told("payment_intent.processing", "pi_1", 0, "processing")],
        },
        fact(
            "StripeEventReceived: part refunded by somebody else",
            "webhook",
            told("refund.created", "re_1", 200, "succeeded"),
        ),
        Fact {
            name: "StripeEventReceived: our refund failed later",
            from: "webhook",
            event: ours(told("refund.failed", "re_1", 523, "failed")),
            after: vec![],
        },
        fact("StripeEventReceived: dispute opened", "webhook", dispute()),
        Fact {
            name: "StripeEventReceived: dispute won",
            from: "webhook",
            event: stripe_event("charge.dispute.closed", "pi_1", 523, "usd", false, "won"),
            after: vec![dispute()],
        },
        Fact {
            name: "StripeEventReceived: dispute lost",
            from: "webhook",
            event: stripe_event("charge.dispute.closed", "pi_1", 523, "usd", false, "lost"),
            after: vec![dispute()],
        },
        fact("SwapCompleted", "swaps", swap_completed()),
        fact(
            "SwapFailed, affordable now",
            "swaps",
            swap_failed(1, SwapFailure::TooExpensive, Some(6)),
        ),
        fact(
            "SwapFailed, above the cap",
            "swaps",
            swap_failed(1, SwapFailure::TooExpensive, Some(7)),
        ),
        fact("SwapFailed, treasury dry", "swaps", dry()),
        fact("TftSentToBridge", "handoffs", sent()),
        fact("HandoffFailed", "handoffs", handoff_failed(1)),
        Fact {
            name: "HandoffFailed, the sixth",
            from: "handoffs",
            event: handoff_failed(6),
            after: failures
                .into_iter()
                .chain([
                    handoff_failed(3),
                    timer("retry_handoff"),
                    handoff_failed(4),
                    timer("retry_handoff"),
                    handoff_failed(5),
                    timer("retry_handoff"),
                ])
                .collect(),
        },
        fact("HandoffSettled", "tfchain-watcher", settled()),
        fact("HandoffReturned", "tfchain-watcher", returned()),
        Fact {
            name: "HandoffReturned, the third",
            from: "tfchain-watcher",
            event: returned(),
            after: vec![returned(), returned()],
        },
        fact("CompensationSettled", "payments", compensated("pi_1")),
        fact("CompensationFailed", "payments", compensation_failed(1)),
        fact("TimerFired: expire", "timer", timer("expire")),
        Fact {
            name: "TimerFired: retry_swap",
            from: "timer",
            event: timer("retry_swap"),
            after: vec![dry()],
        },
        Fact {
            name: "TimerFired: retry_handoff",
            from: "timer",
            event: timer("retry_handoff"),
            after: vec![handoff_failed(1), handoff_failed(2), handoff_failed(3)],
        },
        fact("TimerFired: mint_overdue", "timer", timer("mint_overdue")),
        Fact {
            name: "TimerFired: retry_refund",
            from: "timer",
            event: timer("retry_refund:pi_1"),
            after: vec![compensation_failed(1)],
        },
    ]
}

/// The purchase table: every pair of fact and state in which something follows. A pair that is
/// not in it changes nothing.
fn table() -> String {
    let mut rows: Vec<(&str, &str, Vec<String>, String)> = Vec::new();
    for fact in facts() {
        for way in stages() {
            let mut history = way.clone();
            let base = given(&history);
            history.extend(fact.after.iter().cloned());
            let before = given(&history);
            if before.stage.name() != base.stage.name() {
                continue;
            }
            let (after, out) = when(before.clone(), fact.event.clone());
            if after == before && out.own.is_empty() && out.forward.is_empty() {
                continue;
            }
            let state = if before.stage.name() == after.stage.name() {
                let how = match (before.held(), after.held()) {
                    (false, true) => ", held",
                    (true, false) => ", released",
                    _ => "",
                };
                format!("{}{how}", after.stage.name())
            } else {
                format!("{} → {}", before.stage.name(), after.stage.name())
            };
            let out = names(&out);
            let out = if out.is_empty() {
                "–".to_owned()
            } else {
                out.join(", ")
            };
            match rows.iter_mut().find(|r| r.0 == fact.name && r.3 == out) {
                Some(row) if row.2.contains(&state) => {}
                Some(row) => row.2.push(state),
                None => rows.push((fact.name, fact.from, vec![state], out)),
            }
        }
    }
    let mut lines = vec![
        "| fact | from | state before → after | appended |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    lines.extend(rows.iter().map(|(fact, from, states, out)| {
        format!("| {fact} | {from} | {} | {out} |", states.join("; "))
    }));
    lines.join("\n")
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "only says whether to write the table anew"
)]
fn the_purchase_table_of_the_documentation_is_the_code() {
    let path = "../../ARCHITECTURE.md";
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = (
        "<!-- purchase table -->\n",
        "\n<!-- end of the purchase table -->",
    );
    let start = text.find(begin).unwrap() + begin.len();
    let stop = text.find(end).unwrap();
    let table = table();
    if std::env::var("UPDATE_TABLE").is_ok() {
        let updated = format!("{}{table}{}", &text[..start], &text[stop..]);
        std::fs::write(path, updated).unwrap();
        return;
    }
    assert!(
        text[start..stop] == table,
        "run this test with UPDATE_TABLE=1 and review the change:\n{table}"
    );
}

#[test]
fn the_way_of_a_purchase() {
    let mut purchase = Purchase::default();
    let mut appended = Vec::new();
    for fact in [
        requested(),
        intent_created(),
        paid(),
        swap_completed(),
        sent(),
        settled(),
    ] {
        let (next, out) = when(purchase, fact);
        appended.extend(names(&out));
        purchase = next;
    }
    assert_eq!(
        appended,
        [
            "PaymentIntentRequested",
            "UserPaid",
            "SwapRequested",
            "HandoffRequested",
            "PurchaseEnded(Settled)",
            "FundsArrived to `deployments`",
        ]
    );
}

#[test]
fn the_outcome_of_a_returned_attempt_is_not_that_of_the_next() {
    // The watcher saw the return before the hand told that it had paid.
    let again = given(&[
        requested(),
        intent_created(),
        paid(),
        swap_completed(),
        returned(),
    ]);
    let (same, out) = when(again.clone(), sent());
    assert_eq!((&same, out.own.len()), (&again, 0));
    let (next, out) = when(same, handoff_failed(2));
    assert_eq!(names(&out), ["HandoffRequested n+1"]);
    assert_eq!(next.stage.name(), "Swapped");
}

#[test]
fn the_swap_never_spends_more_than_the_cap_of_the_purchase() {
    let mut purchase = given(&[requested(), intent_created(), paid()]);
    for attempt in 1..=3 {
        let (next, out) = when(
            purchase,
            swap_failed(attempt, SwapFailure::TooExpensive, Some(6)),
        );
        purchase = next;
        for event in &out.own {
            if let PurchaseEvent::SwapRequested(request) = event {
                assert_eq!(request.send_max, Amount::from_whole(6));
            }
        }
    }
}

#[test]
fn a_swap_that_fails_until_the_give_up_time_is_refunded_whole_and_once() {
    let purchase = given(&[requested(), intent_created(), paid()]);
    let late = START.after(Duration::from_secs(25 * 3600));
    let failed = at(late, swap_failed(1, SwapFailure::NoPath, None));
    let (purchase, out) = transition(&rules(), purchase, &failed);
    assert_eq!(names(&out), ["CompensationRequested"]);
    let PurchaseEvent::CompensationRequested(refund) = &out.own[0] else {
        panic!("no refund")
    };
    assert_eq!(refund.amount, CHARGE);
    let (purchase, out) = when(purchase, compensated("pi_1"));
    assert_eq!(
        names(&out),
        ["PurchaseEnded(Refunded)", "PurchaseEnded to `deployments`"]
    );
    // Told again, by whatever way, nothing more goes back.
    for fact in [
        compensated("pi_1"),
        paid(),
        compensation_failed(1),
        timer("retry_refund:pi_1"),
    ] {
        let (same, out) = when(purchase.clone(), fact);
        assert_eq!((same, out.own.len()), (purchase.clone(), 0));
    }
}

#[test]
fn a_refund_is_tried_again_until_a_person_is_called() {
    let mut refunding = given(&stages()[7]);
    assert_eq!(refunding.stage.name(), "Refunding");
    for attempt in 1..5 {
        let (waiting, out) = when(refunding, compensation_failed(attempt));
        assert!(out.own.is_empty(), "attempt {attempt}: {:?}", names(&out));
        assert_eq!(waiting.timers(&rules()).len(), 1);
        let (next, out) = when(waiting, timer("retry_refund:pi_1"));
        assert_eq!(names(&out), ["CompensationRequested n+1"]);
        refunding = next;
    }
    let (held, out) = when(refunding, compensation_failed(5));
    assert_eq!(names(&out), ["PurchaseAlarmed(refund_failed)"]);
    assert!(held.timers(&rules()).is_empty());
}

#[test]
fn a_dispute_stops_later_legs_but_not_the_open_one() {
    let dispute = stripe_event(
        "charge.dispute.created",
        "pi_1",
        523,
        "usd",
        false,
        "needs_response",
    );
    let held = given(&[requested(), intent_created(), paid(), dispute]);
    let (swapped, out) = when(held, swap_completed());
    assert_eq!((swapped.stage.name(), out.own.len()), ("Swapped", 0));
    let won = stripe_event("charge.dispute.closed", "pi_1", 523, "usd", false, "won");
    let (_, out) = when(swapped, won);
    assert_eq!(names(&out), ["HandoffRequested"]);
}

/// Stripe tells in any order: a dispute's end before its beginning, a dispute before the payment.
#[test]
fn a_dispute_may_be_told_in_any_order() {
    let dispute = |kind: &str, status: &str| {
        stripe_event(
            &format!("charge.dispute.{kind}"),
            "pi_1",
            523,
            "usd",
            false,
            status,
        )
    };
    let (created, won) = (
        dispute("created", "needs_response"),
        dispute("closed", "won"),
    );
    for way in [
        [paid(), created.clone(), won.clone()],
        [paid(), won.clone(), created.clone()],
        [created.clone(), paid(), won.clone()],
        [won.clone(), created.clone(), paid()],
    ] {
        let all = [vec![requested(), intent_created()], way.to_vec()].concat();
        let (after, out) = when(given(&all), swap_completed());
        assert!(!after.held());
        assert_eq!(names(&out), ["HandoffRequested"]);
    }
    let lost = dispute("closed", "lost");
    let held = given(&[requested(), intent_created(), paid(), lost, created]);
    let (after, out) = when(held, swap_completed());
    assert!(after.held() && out.own.is_empty());
}

/// The mint or the return may be seen before the payment's own outcome is.
#[test]
fn the_outcome_of_a_hand_off_that_came_back_changes_nothing() {
    let way = [requested(), intent_created(), paid(), swap_completed()];
    let purchase = given(&[way.as_slice(), &[returned()]].concat());
    for old in [sent(), handoff_failed(1)] {
        let (after, out) = when(purchase.clone(), old);
        assert_eq!(after, purchase);
        assert!(out.own.is_empty());
    }
}

#[test]
fn money_of_the_wrong_kind_is_quarantined() {
    for (event, reason) in [
        (
            stripe_event(
                "payment_intent.succeeded",
                "pi_1",
                522,
                "usd",
                false,
                "succeeded",
            ),
            "amount_mismatch",
        ),
        (
            stripe_event(
                "payment_intent.succeeded",
                "pi_1",
                523,
                "eur",
                false,
                "succeeded",
            ),
            "currency_mismatch",
        ),
        (
            stripe_event(
                "payment_intent.succeeded",
                "pi_1",
                523,
                "xyz",
                false,
                "succeeded",
            ),
            "currency_mismatch",
        ),
        (
            stripe_event(
                "payment_intent.succeeded",
                "pi_1",
                523,
                "usd",
                true,
                "succeeded",
            ),
            "livemode_mismatch",
        ),
    ] {
        let (after, out) = when(given(&[requested(), intent_created()]), event);
        assert_eq!(after.stage.name(), "Quarantined");
        let PurchaseEvent::PaymentQuarantined(event) = &out.own[0] else {
            panic!("not quarantined")
        };
        assert_eq!(event.reason, reason);
    }
}

/// Whatever comes in whatever order: nothing panics, what the policy appended itself changes
/// nothing, and no receipt is both kept for a delivery and given back.
#[test]
fn delivered_and_compensated_never_exceed_what_was_received() {
    let all: Vec<PurchaseEvent> = facts().into_iter().map(|f| f.event).collect();
    let mut seed = 1_u64;
    for _ in 0..3_000 {
        let mut purchase = Purchase::default();
        let (mut requested_refunds, mut deliveries, mut received) = (0_i64, 0_i64, BTreeSet::new());
        for step in 0..40 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let fact = all[usize::try_from(seed >> 33).unwrap() % all.len()].clone();
            if let PurchaseEvent::StripeEventReceived(e) = &fact
                && e.event_type == "payment_intent.succeeded"
                && e.amount_received == Some(523)
            {
                received.insert(e.intent_id.clone());
            }
            let (next, out) = transition(
                &rules(),
                purchase,
                &at(START.after(Duration::from_secs(step)), fact),
            );
            for event in &out.own {
                match event {
                    PurchaseEvent::CompensationRequested(r) if r.attempt == 1 => {
                        requested_refunds += 1;
                    }
                    PurchaseEvent::PurchaseEnded(e)
                        if e.outcome == events::purchases::PurchaseOutcome::Settled =>
                    {
                        deliveries += 1;
                    }
                    _ => {}
                }
                let own = at(START, event.clone());
                let same = transition(&rules(), next.clone(), &own);
                assert_eq!(same.0, next, "{} changed the state", event.name());
                assert!(same.1.own.is_empty());
            }
            purchase = next;
        }
        let received = i64::try_from(received.len()).unwrap();
        assert!(
            requested_refunds + deliveries <= received.max(0),
            "{requested_refunds} + {deliveries} > {received}"
        );
        if let Stage::Settled { intent, .. } = &purchase.stage {
            assert_eq!(purchase.receipts[intent].1, Receipt::Kept);
        }
    }
}
