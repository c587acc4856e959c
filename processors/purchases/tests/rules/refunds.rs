//! What Stripe tells of refunds and slow payments, in any order.

use super::support::{
    START, asked, compensated, compensation_failed, given, handoff_failed, intent_created, names,
    ours, paid, refund_ordered, refunded_outside, requested, returned, rules, sent, settled,
    settled_as, stages, stripe_event, swap_completed, swap_failed, timer, to_paid, told, when,
};
use events::purchases::PurchaseEvent;
use events::purchases::SwapFailure;
use processor_purchases::Purchase;
use processor_purchases::state::Receipt;
use std::time::Duration;

fn charge_refunded(total: i64) -> PurchaseEvent {
    stripe_event("charge.refunded", "pi_1", total, "usd", false, "succeeded")
}

#[test]
fn a_part_refunded_by_somebody_else_stops_the_next_leg_and_the_rest_goes_back() {
    // While the swap is under way nothing can be stopped.
    let held = given(&[to_paid(), vec![refunded_outside("re_x", 200)]].concat());
    assert_eq!(held.stage.name(), "Paid");
    // It landed: the TFT stays with the treasury, and the rest of the charge goes back.
    let (after, out) = when(held.clone(), swap_completed());
    assert_eq!((after.stage.name(), asked(&out)), ("Refunding", vec![323]));
    let (after, out) = when(after, compensated("pi_1"));
    assert_eq!(after.stage.name(), "Refunded");
    assert_eq!(names(&out)[0], "PurchaseEnded(Refunded)");
    // Or it failed, and no other is tried.
    let failed = swap_failed(1, SwapFailure::TooExpensive, Some(6));
    let (after, out) = when(held, failed);
    assert_eq!((after.stage.name(), asked(&out)), ("Refunding", vec![323]));
}

#[test]
fn a_waiting_attempt_is_given_up_at_once() {
    let dry = swap_failed(1, SwapFailure::TreasuryDry, None);
    let waiting = given(&[to_paid(), vec![dry]].concat());
    let (after, out) = when(waiting, refunded_outside("re_x", 523));
    // All of it went back: there is nothing to be asked for.
    assert_eq!(after.stage.name(), "Refunded");
    assert_eq!(
        names(&out),
        [
            "PurchaseAlarmed(refunded_outside)",
            "PurchaseEnded(Refunded)",
            "PurchaseEnded to `deployments`"
        ]
    );
    assert!(after.timers(&rules()).is_empty());
}

#[test]
fn a_hand_off_under_way_is_not_stopped_but_not_tried_again() {
    let way = [
        to_paid(),
        vec![swap_completed(), refunded_outside("re_x", 100)],
    ]
    .concat();
    let purchase = given(&way);
    assert_eq!(purchase.stage.name(), "Swapped");
    let (after, out) = when(purchase.clone(), handoff_failed(1));
    assert_eq!((after.stage.name(), asked(&out)), ("Refunding", vec![423]));
    let (after, out) = when(purchase, sent());
    assert!(out.own.is_empty());
    // It arrives: what was given back is a loss, booked once.
    let (after, out) = when(after, settled());
    assert_eq!(
        names(&out)[..3],
        ["PurchaseEnded(Settled)", "PurchaseAccounted", "LossBooked"]
    );
    let (after, out) = when(after, refunded_outside("re_y", 50));
    let PurchaseEvent::LossBooked(loss) = out.own.last().unwrap() else {
        panic!("no loss: {:?}", names(&out))
    };
    assert_eq!(
        (loss.amount.minor, loss.reason.as_str()),
        (50, "refunded_outside")
    );
    let lost = told("charge.dispute.closed", "dp_1", 523, "lost");
    let (after, out) = when(after, lost);
    let PurchaseEvent::LossBooked(loss) = out.own.last().unwrap() else {
        panic!("no loss: {:?}", names(&out))
    };
    // Never more than was received.
    assert_eq!(loss.amount.minor, 523 - 150);
    let (_, out) = when(after, refunded_outside("re_z", 400));
    assert!(!names(&out).contains(&"LossBooked".to_owned()));
}

#[test]
fn refunds_by_somebody_else_are_counted_once_however_they_are_told() {
    let (a, b) = (refunded_outside("re_a", 200), refunded_outside("re_b", 100));
    let (first, second) = (charge_refunded(200), charge_refunded(300));
    let updated = told("charge.refund.updated", "re_a", 200, "succeeded");
    for way in [
        vec![a.clone(), first.clone(), b.clone(), second.clone(), updated],
        vec![second.clone(), first.clone(), b.clone(), a.clone()],
        vec![first.clone(), second.clone(), a.clone(), b.clone()],
        vec![
            b.clone(),
            second.clone(),
            a.clone(),
            a.clone(),
            first.clone(),
        ],
        vec![second.clone(), second.clone(), first.clone()],
        vec![a, b],
    ] {
        let all = [to_paid(), way.clone()].concat();
        let purchase = given(&all);
        assert_eq!(purchase.outside("pi_1"), 300, "{way:?}");
        let (_, out) = when(purchase, swap_completed());
        assert_eq!(asked(&out), [223], "{way:?}");
    }
}

#[test]
fn a_refund_told_before_the_payment_is_counted_all_the_same() {
    let way = [requested(), intent_created(), refunded_outside("re_x", 523)];
    let (after, out) = when(given(&way), paid());
    assert_eq!(after.stage.name(), "Refunded");
    let names = names(&out);
    assert!(!names.contains(&"SwapRequested".to_owned()), "{names:?}");
    assert!(
        names.contains(&"PurchaseEnded(Refunded)".to_owned()),
        "{names:?}"
    );
}

#[test]
fn our_own_refund_is_nobody_elses() {
    let refunding = given(&stages()[7]);
    for fact in [
        ours(told("refund.created", "re_1", 523, "pending")),
        ours(told("refund.updated", "re_1", 523, "succeeded")),
        charge_refunded(523),
    ] {
        let (same, out) = when(refunding.clone(), fact.clone());
        assert_eq!(same.outside("pi_1"), 0, "{fact:?}");
        assert!(out.own.is_empty(), "{:?}", names(&out));
    }
}

#[test]
fn what_an_operator_refunds_by_hand_ends_a_refund_that_waits() {
    let mut purchase = given(&stages()[7]);
    for attempt in 1..=5 {
        purchase = when(purchase, compensation_failed(attempt)).0;
        purchase = when(purchase, timer("retry_refund:pi_1")).0;
    }
    assert_eq!(purchase.stage.name(), "Refunding");
    let (part, out) = when(purchase, refunded_outside("re_x", 500));
    assert_eq!(names(&out), ["PurchaseAlarmed(refunded_outside)"]);
    let (after, out) = when(part, refunded_outside("re_y", 23));
    assert_eq!(after.stage.name(), "Refunded");
    assert!(names(&out).contains(&"PurchaseEnded(Refunded)".to_owned()));
}

#[test]
fn another_attempt_asks_for_no_more_than_is_left() {
    let failed = given(&[stages()[7].clone(), vec![compensation_failed(1)]].concat());
    let (part, out) = when(failed, refunded_outside("re_x", 200));
    assert!(asked(&out).is_empty());
    let (_, out) = when(part, timer("retry_refund:pi_1"));
    assert_eq!(asked(&out), [323]);
}

#[test]
fn a_refund_of_ours_that_fails_later_is_made_again_and_the_purchase_ends_once() {
    let ended = given(&[stages()[7].clone(), vec![settled_as("re_1")]].concat());
    let failed = ours(told("refund.failed", "re_1", 523, "failed"));
    let (waiting, out) = when(ended, failed.clone());
    assert_eq!(names(&out), ["PurchaseAlarmed(refund_came_back)"]);
    assert_eq!(waiting.stage.name(), "Refunded");
    // Told in three ways, it failed once.
    let updated = ours(told("charge.refund.updated", "re_1", 523, "failed"));
    let (same, out) = when(waiting.clone(), updated);
    assert_eq!((&same, out.own.len()), (&waiting, 0));
    let (again, out) = when(waiting, timer("retry_refund:pi_1"));
    assert_eq!(
        (names(&out), asked(&out)),
        (vec!["CompensationRequested n+1".to_owned()], vec![523])
    );
    let (done, out) = when(again, settled_as("re_2"));
    assert!(out.own.is_empty(), "it ended before: {:?}", names(&out));
    let (same, out) = when(done.clone(), failed);
    assert_eq!((same, out.own.len()), (done, 0));
}

#[test]
fn the_last_refund_that_fails_later_calls_a_person_too() {
    let mut purchase = given(&stages()[7]);
    for attempt in 1..=4 {
        purchase = when(purchase, compensation_failed(attempt)).0;
        purchase = when(purchase, timer("retry_refund:pi_1")).0;
    }
    let (ended, out) = when(purchase, settled_as("re_5"));
    assert_eq!(names(&out)[0], "PurchaseEnded(Refunded)");
    let failed = ours(told("refund.failed", "re_5", 523, "failed"));
    let (held, out) = when(ended, failed);
    assert_eq!(
        names(&out),
        [
            "PurchaseAlarmed(refund_came_back)",
            "PurchaseAlarmed(refund_failed)"
        ]
    );
    assert!(held.timers(&rules()).is_empty());
}

#[test]
fn the_failure_of_a_refund_may_be_told_before_its_making() {
    let failed = ours(told("refund.failed", "re_1", 523, "failed"));
    let early = given(&[stages()[7].clone(), vec![failed]].concat());
    let (after, out) = when(early, settled_as("re_1"));
    assert_eq!((after.stage.name(), out.own.len()), ("Refunding", 0));
    let (after, out) = when(after, timer("retry_refund:pi_1"));
    assert_eq!(asked(&out), [523]);
    let (after, _) = when(after, settled_as("re_2"));
    assert_eq!(after.stage.name(), "Refunded");
}

#[test]
fn a_refund_by_somebody_else_that_fails_is_ours_again_and_a_person_is_told() {
    let way = [
        to_paid(),
        vec![swap_completed(), refunded_outside("re_x", 100)],
    ]
    .concat();
    let (after, out) = when(given(&way), told("refund.failed", "re_x", 100, "failed"));
    assert_eq!(names(&out), ["PurchaseAlarmed(outside_refund_failed)"]);
    assert_eq!(after.outside("pi_1"), 0);
    assert!(!after.held());
    // Stripe may tell its making late: it stays failed.
    let (same, out) = when(after.clone(), refunded_outside("re_x", 100));
    assert_eq!((same, out.own.len()), (after, 0));
}

/// A Stripe event made so many seconds after the order.
fn made(seconds: u64, event: PurchaseEvent) -> PurchaseEvent {
    let PurchaseEvent::StripeEventReceived(mut event) = event else {
        panic!("another event")
    };
    event.created = START.after(Duration::from_secs(seconds));
    event.into()
}

fn due(purchase: &Purchase) -> u64 {
    let timers = purchase.timers(&rules());
    let [timer] = &timers[..] else {
        panic!("one timer")
    };
    u64::try_from(timer.due.millis_since(START)).unwrap() / 1000
}

#[test]
fn a_payment_that_is_processed_is_waited_for() {
    const DAY: u64 = 24 * 3600;
    let way = [requested(), intent_created()];
    assert_eq!(due(&given(&way)), DAY);
    let processing = made(
        10,
        told("payment_intent.processing", "pi_1", 0, "processing"),
    );
    let failed = made(
        20 * 3600,
        told("payment_intent.payment_failed", "pi_1", 0, "failed"),
    );
    let waits = given(&[&way[..], std::slice::from_ref(&processing)].concat());
    assert_eq!(due(&waits), 14 * DAY + 10);
    // The timer that was on its way when processing began ends nothing.
    let (same, out) = when(waits.clone(), timer("expire"));
    assert_eq!((same, out.own.len()), (waits.clone(), 0));
    // It may fail long after the order would have ended: then it can still be paid otherwise.
    let late = made(3 * DAY, failed.clone());
    let (after, _) = when(waits.clone(), late);
    assert_eq!(due(&after), 3 * DAY + 3600);
    // Told the other way round, it is as if it had never been processed.
    let early = given(&[&way[..], &[failed, processing]].concat());
    assert_eq!(due(&early), DAY);
    // And it may succeed.
    let (after, _) = when(waits, paid());
    assert_eq!(after.stage.name(), "Paid");
}

#[test]
fn a_cancelled_intent_ends_the_purchase_even_when_it_is_told_first() {
    let cancelled = told("payment_intent.canceled", "pi_1", 0, "canceled");
    let (after, out) = when(given(&[requested(), cancelled]), intent_created());
    assert_eq!(after.stage.name(), "NotPaid");
    assert_eq!(names(&out)[0], "PurchaseEnded(NotPaid)");
    let other = told("payment_intent.canceled", "pi_1", 0, "canceled");
    let PurchaseEvent::StripeEventReceived(mut other) = other else {
        panic!("another event")
    };
    other.intent_id = Some("pi_other".into());
    let (after, _) = when(given(&[requested(), other.into()]), intent_created());
    assert_eq!(after.stage.name(), "AwaitingPayment");
}

#[test]
fn money_that_nobody_awaited_and_somebody_refunded_is_not_refunded_again() {
    let mut way = stages()[9].clone();
    way.push(refunded_outside("re_x", 523));
    let (after, out) = when(given(&way), paid());
    assert_eq!(names(&out), ["PurchaseAlarmed(paid_again)"]);
    assert_eq!(after.receipts["pi_1"].1, Receipt::Refunded);
}

#[test]
fn an_ordered_refund_waits_for_the_leg_under_way_and_begins_no_other() {
    let ordered = given(&[to_paid(), vec![refund_ordered()]].concat());
    assert_eq!((ordered.stage.name(), ordered.held()), ("Paid", true));
    // Ordered twice is ordered once.
    let (twice, out) = when(ordered.clone(), refund_ordered());
    assert_eq!((&twice, names(&out).len()), (&ordered, 0));
    for outcome in [
        swap_completed(),
        swap_failed(1, SwapFailure::TooExpensive, Some(6)),
        swap_failed(1, SwapFailure::TreasuryDry, None),
    ] {
        let (after, out) = when(ordered.clone(), outcome);
        assert_eq!((after.stage.name(), asked(&out)), ("Refunding", vec![523]));
        let (after, out) = when(after, compensated("pi_1"));
        assert_eq!(after.stage.name(), "Refunded");
        assert_eq!(names(&out)[0], "PurchaseEnded(Refunded)");
    }
    // Between two attempts it goes back at once.
    let between = [
        to_paid(),
        vec![swap_failed(1, SwapFailure::TreasuryDry, None)],
    ];
    let (after, out) = when(given(&between.concat()), refund_ordered());
    assert_eq!((after.stage.name(), asked(&out)), ("Refunding", vec![523]));
}

#[test]
fn an_ordered_refund_of_what_is_handed_off_is_refused_unless_the_bridge_returns_it() {
    let swapped = [to_paid(), vec![swap_completed()]].concat();
    let ordered = given(&[swapped.clone(), vec![refund_ordered()]].concat());
    // The hand-off was under way and failed.
    let (after, out) = when(ordered.clone(), handoff_failed(1));
    assert_eq!((after.stage.name(), asked(&out)), ("Refunding", vec![523]));
    // It landed: the TFT is on its way.
    let (on_its_way, out) = when(ordered, sent());
    assert_eq!(
        (on_its_way.stage.name(), asked(&out)),
        ("HandedOff", vec![])
    );
    let (after, out) = when(on_its_way.clone(), settled());
    assert_eq!((after.stage.name(), asked(&out)), ("Settled", vec![]));
    assert!(names(&out).contains(&"PurchaseAlarmed(refund_refused)".to_owned()));
    // Nothing was given back, so what the swap did not need is the buyer's all the same.
    assert!(names(&out).contains(&"CreditBooked to `deposits`".to_owned()));
    // Orders of before said no terms, and what was decided of them is decided again as it was.
    let mut before = [swapped.clone(), vec![refund_ordered(), sent()]].concat();
    let PurchaseEvent::PurchaseRequested(order) = &mut before[0] else {
        panic!("another event")
    };
    order.give_up_after_ms = None;
    let (_, out) = when(given(&before), settled());
    assert!(!names(&out).contains(&"CreditBooked to `deposits`".to_owned()));
    let (again, out) = when(after, charge_refunded(0));
    assert_eq!((again.stage.name(), names(&out).len()), ("Settled", 0));
    let (after, out) = when(on_its_way, returned());
    assert_eq!((after.stage.name(), asked(&out)), ("Refunding", vec![523]));
    // With nothing to give back it is refused; where it goes back already, nothing is said.
    for history in stages() {
        let before = given(&history);
        let (after, out) = when(before.clone(), refund_ordered());
        match before.stage.name() {
            "Opened" | "AwaitingPayment" | "AwaitingDeposit" | "Settled" | "Lost" | "NotPaid"
            | "Quarantined" => {
                assert_eq!(after, before);
                assert_eq!(names(&out), ["PurchaseAlarmed(refund_refused)"]);
            }
            "–" | "Refunding" | "Refunded" => {
                assert_eq!((&after, names(&out).len()), (&before, 0));
            }
            _ => assert!(after != before, "{}", before.stage.name()),
        }
    }
}
