//! Given / when / then over purchases that a card pays, and what holds for all.

use super::support::{
    CHARGE, START, at, compensated, compensation_failed, given, handoff_failed, intent_created,
    names, paid, requested, returned, rules, sent, settled, stages, stripe_event, swap_completed,
    swap_failed, timer, to_paid, when,
};
use super::table::facts;
use events::money::Amount;
use events::purchases::{PurchaseEvent, SwapFailure};
use events::schema::EventSet;
use processor_purchases::Purchase;
use processor_purchases::decide::{Outputs, broken, transition};
use processor_purchases::state::{Receipt, Stage};
use std::collections::BTreeSet;
use std::time::Duration;

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
            "PurchaseAccounted",
            "CreditBooked to `deposits`",
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
    assert_eq!(after.stage.name(), "Lost");
    assert!(!names(&out).contains(&"HandoffRequested".to_owned()));
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
        assert_eq!(names(&out)[1], "PurchaseAlarmed(payment_quarantined)");
    }
}

#[test]
fn what_arrives_short_of_what_was_sold_rings() {
    let PurchaseEvent::HandoffSettled(mut short) = settled() else {
        panic!("another event")
    };
    short.amount = short.amount.checked_sub(Amount::from_whole(1)).unwrap();
    let way = [to_paid(), vec![swap_completed(), sent()]].concat();
    let (after, out) = when(given(&way), short.into());
    assert_eq!(after.stage.name(), "Settled");
    assert!(names(&out).contains(&"PurchaseAlarmed(delivered_short)".to_owned()));
    let (_, out) = when(given(&way), settled());
    assert!(!names(&out).iter().any(|name| name.contains("Alarmed")));
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
            if matches!(fact, PurchaseEvent::PurchaseFunded(_)) {
                received.insert(Some(format!("funded {step}")));
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
                    PurchaseEvent::UsdcCompensationRequested(_) => requested_refunds += 1,
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
        if let Stage::Settled { intent, order, .. } = &purchase.stage {
            match order.usdc_due {
                None => assert_eq!(purchase.receipts[intent].1, Receipt::Kept),
                Some(_) => assert!(purchase.portions.iter().all(|(_, r)| *r == Receipt::Kept)),
            }
        }
        assert!(purchase.stopped || broken(&purchase, &Outputs::default()).is_none());
    }
}
