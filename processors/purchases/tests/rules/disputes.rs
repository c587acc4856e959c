//! What a bank takes back.

use super::support::{
    CHARGE, asked, compensated, compensation_failed, given, handoff_failed, intent_created, names,
    ours, paid, refunded_outside, requested, returned, rules, sent, settled, settled_as, stages,
    stripe_event, swap_completed, swap_failed, timer, to_paid, told, when,
};
use events::purchases::{PurchaseEvent, SwapFailure};
use processor_purchases::decide::Outputs;
use processor_purchases::state::Receipt;

#[test]
fn nothing_is_given_back_while_a_dispute_is_open() {
    let dispute = told(
        "charge.dispute.funds_withdrawn",
        "dp_1",
        523,
        "needs_response",
    );
    let way = [
        to_paid(),
        vec![dispute, refunded_outside("re_x", 100), swap_completed()],
    ]
    .concat();
    let held = given(&way);
    assert_eq!(held.stage.name(), "Swapped");
    // Won, it is still not delivered: part of it went back.
    let won = told("charge.dispute.closed", "dp_1", 523, "won");
    let (after, out) = when(held.clone(), won);
    assert_eq!((after.stage.name(), asked(&out)), ("Refunding", vec![423]));
    // Lost, there is nothing to give back.
    let (after, out) = when(held, lost(523));
    assert_eq!((after.stage.name(), asked(&out)), ("Lost", vec![]));
}

fn lost(minor: i64) -> PurchaseEvent {
    told("charge.dispute.closed", "dp_1", minor, "lost")
}

fn disputed() -> PurchaseEvent {
    told("charge.dispute.created", "dp_1", 523, "needs_response")
}

fn won() -> PurchaseEvent {
    told("charge.dispute.closed", "dp_1", 523, "won")
}

/// A purchase that nobody paid in time, then its late payment: it goes back.
fn paid_late() -> Vec<PurchaseEvent> {
    [stages()[9].clone(), vec![paid()]].concat()
}

/// A payment that pays, and a second one, which goes back.
fn paid_twice() -> Vec<PurchaseEvent> {
    let PurchaseEvent::StripeEventReceived(mut again) = paid() else {
        panic!("another event")
    };
    again.intent_id = Some("pi_2".into());
    [to_paid(), vec![again.into()]].concat()
}

/// The same fact about the second payment.
fn of_the_second(event: PurchaseEvent) -> PurchaseEvent {
    let second = Some("pi_2".to_owned());
    match event {
        PurchaseEvent::StripeEventReceived(mut event) => {
            event.intent_id = second;
            event.into()
        }
        PurchaseEvent::CompensationFailed(mut event) => {
            event.intent_id = "pi_2".to_owned();
            event.into()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_dispute_took_of_a_late_payment_is_a_loss_and_its_refund_is_not_asked_for_again() {
    let refunding = given(&paid_late());
    // The refund is under way until its outcome is known; then nothing is left.
    let (taken, out) = when(refunding.clone(), lost(523));
    assert_eq!((names(&out).len(), losses(&out)), (1, vec![]));
    let (over, out) = when(taken.clone(), compensation_failed(1));
    assert_eq!((losses(&out), asked(&out)), (vec![523], vec![]));
    let PurchaseEvent::LossBooked(loss) = &out.own[0] else {
        panic!("no loss: {:?}", names(&out))
    };
    let about = (loss.intent_id.as_str(), loss.reason.as_str());
    assert_eq!(about, ("pi_1", "dispute_lost"));
    // It ended before, and does so once.
    assert_eq!(over.stage.name(), "NotPaid");
    assert!(over.timers(&rules()).is_empty());
    for fact in [
        timer("retry_refund:pi_1"),
        compensation_failed(1),
        lost(523),
        won(),
    ] {
        let (same, out) = when(over.clone(), fact);
        assert_eq!((&same, out.own.len()), (&over, 0));
    }
    // The dispute may have ended before the payment was known at all.
    let (early, out) = when(given(&[&stages()[9][..], &[lost(523)]].concat()), paid());
    assert_eq!((losses(&out), asked(&out)), (vec![523], vec![]));
    assert_eq!(early.receipts["pi_1"].1, Receipt::Refunded);
}

#[test]
fn what_a_dispute_took_of_a_second_payment_is_a_loss_beside_the_delivery() {
    let failed = given(&[paid_twice(), vec![of_the_second(compensation_failed(1))]].concat());
    let (after, out) = when(failed, of_the_second(lost(523)));
    assert_eq!((losses(&out), asked(&out)), (vec![523], vec![]));
    // The delivery goes on, and what is lost of it later is booked for itself.
    let (after, _) = when(after, swap_completed());
    assert_eq!((after.stage.name(), after.held()), ("Swapped", false));
    let (after, out) = when(after, settled());
    assert_eq!((after.stage.name(), losses(&out)), ("Settled", vec![]));
    let first = told("charge.dispute.closed", "dp_9", 523, "lost");
    let (_, out) = when(after, first);
    assert_eq!(losses(&out), [523]);
}

#[test]
fn a_dispute_over_what_was_refunded_before_is_a_loss() {
    let ended = given(&[stages()[7].clone(), vec![settled_as("re_1")]].concat());
    let (after, out) = when(ended, lost(523));
    assert_eq!((after.stage.name(), losses(&out)), ("Refunded", vec![523]));
    // The bank has the money, so the refund that comes back is not made again.
    let failed = ours(told("refund.failed", "re_1", 523, "failed"));
    let (after, out) = when(after, failed);
    assert_eq!((losses(&out), asked(&out)), (vec![], vec![]));
    assert!(after.timers(&rules()).is_empty());
}

#[test]
fn a_refund_waits_for_the_end_of_a_dispute_over_its_charge() {
    // Refused because of the dispute, when it was due again, or never asked for yet.
    let refused = [paid_late(), vec![disputed(), compensation_failed(1)]].concat();
    let due = [
        paid_late(),
        vec![
            compensation_failed(1),
            disputed(),
            timer("retry_refund:pi_1"),
        ],
    ]
    .concat();
    let unasked = [stages()[9].clone(), vec![disputed(), paid()]].concat();
    for (way, next) in [(refused, 2), (due, 2), (unasked, 1)] {
        let waits = given(&way);
        assert!(waits.timers(&rules()).is_empty(), "{way:?}");
        let (same, out) = when(waits.clone(), timer("retry_refund:pi_1"));
        assert_eq!((&same, out.own.len()), (&waits, 0));
        // Won, it goes on, once.
        let (after, out) = when(waits.clone(), won());
        let PurchaseEvent::CompensationRequested(request) = &out.own[0] else {
            panic!("no refund: {:?}", names(&out))
        };
        assert_eq!((request.attempt, request.amount), (next, CHARGE));
        let (same, out) = when(after.clone(), won());
        assert_eq!((same, out.own.len()), (after, 0));
        // Lost, there is nothing to be asked for, and it is booked.
        let (after, out) = when(waits.clone(), lost(523));
        assert_eq!((losses(&out), asked(&out)), (vec![523], vec![]));
        assert_eq!(after.stage.name(), "NotPaid");
        // Lost for a part, the rest goes back, and then the part is booked.
        let (after, out) = when(waits, lost(200));
        assert_eq!((losses(&out), asked(&out)), (vec![], vec![323]));
        let (_, out) = when(after, settled_as("re_7"));
        assert_eq!((losses(&out), asked(&out)), (vec![200], vec![]));
    }
}

#[test]
fn a_dispute_over_one_charge_does_not_hold_the_refund_of_another() {
    let failed = given(
        &[
            paid_twice(),
            vec![disputed(), of_the_second(compensation_failed(1))],
        ]
        .concat(),
    );
    let (_, out) = when(failed, timer("retry_refund:pi_2"));
    assert_eq!(asked(&out), [523]);
}

fn losses(out: &Outputs) -> Vec<i64> {
    let losses = out.own.iter().filter_map(|event| match event {
        PurchaseEvent::LossBooked(loss) => Some(loss.amount.minor),
        _ => None,
    });
    losses.collect()
}

#[test]
fn a_dispute_that_is_lost_before_the_delivery_ends_the_purchase_as_a_loss() {
    let dispute = told("charge.dispute.created", "dp_1", 523, "needs_response");
    let dry = swap_failed(1, SwapFailure::TreasuryDry, None);
    // Before the swap and after it, with no leg under way.
    for legs in [vec![dry.clone()], vec![swap_completed()]] {
        let way = [to_paid(), vec![dispute.clone()], legs].concat();
        let (after, out) = when(given(&way), lost(523));
        assert_eq!(
            names(&out),
            [
                "PurchaseAlarmed(dispute_lost)",
                "PurchaseEnded(Lost)",
                "LossBooked",
                "PurchaseEnded to `deployments`"
            ]
        );
        assert_eq!((after.stage.name(), losses(&out)), ("Lost", vec![523]));
        // It is over: nothing later asks for a leg, and nothing is booked twice.
        for fact in [
            timer("retry_swap"),
            timer("retry_handoff"),
            lost(523),
            told("charge.dispute.closed", "dp_1", 523, "won"),
        ] {
            let (same, out) = when(after.clone(), fact);
            assert_eq!((&same, out.own.len()), (&after, 0));
        }
    }
    // A leg under way ends first, and no other is asked for.
    let swapping = given(&[to_paid(), vec![dispute.clone(), lost(523)]].concat());
    assert_eq!(swapping.stage.name(), "Paid");
    for outcome in [dry, swap_completed()] {
        let (after, out) = when(swapping.clone(), outcome);
        assert_eq!((after.stage.name(), losses(&out)), ("Lost", vec![523]));
    }
    let handing = given(&[to_paid(), vec![swap_completed(), dispute, lost(523)]].concat());
    for outcome in [handoff_failed(1), returned()] {
        let (after, out) = when(handing.clone(), outcome);
        assert_eq!((after.stage.name(), losses(&out)), ("Lost", vec![523]));
    }
    // What is told before the payment counts when it comes.
    let early = given(&[requested(), intent_created(), lost(523)]);
    let (after, out) = when(early, paid());
    assert_eq!((after.stage.name(), losses(&out)), ("Lost", vec![523]));
}

#[test]
fn of_a_dispute_over_a_part_the_rest_goes_back() {
    let way = [to_paid(), vec![lost(200)]].concat();
    let (after, out) = when(given(&way), swap_completed());
    assert_eq!(
        (after.stage.name(), asked(&out), losses(&out)),
        ("Refunding", vec![323], vec![])
    );
    let (after, out) = when(after, compensated("pi_1"));
    assert_eq!((after.stage.name(), losses(&out)), ("Lost", vec![200]));
    assert_eq!(names(&out)[0], "PurchaseEnded(Lost)");
}

#[test]
fn a_dispute_over_another_charge_does_not_stop_the_delivery() {
    let again = stripe_event(
        "payment_intent.succeeded",
        "pi_2",
        523,
        "usd",
        false,
        "succeeded",
    );
    let about = |kind: &str, status: &str| {
        let PurchaseEvent::StripeEventReceived(mut event) = told(kind, "dp_2", 523, status) else {
            panic!("another event")
        };
        event.intent_id = Some("pi_2".into());
        PurchaseEvent::from(event)
    };
    let way = [
        to_paid(),
        vec![
            again,
            about("charge.dispute.created", "needs_response"),
            swap_completed(),
        ],
    ]
    .concat();
    let held = given(&way);
    assert!(held.held());
    let (after, out) = when(held, about("charge.dispute.closed", "lost"));
    assert_eq!(
        names(&out),
        ["PurchaseAlarmed(dispute_lost)", "HandoffRequested"]
    );
    assert_eq!(after.stage.name(), "Swapped");
}

#[test]
fn a_refund_that_a_lost_dispute_forestalls_ends_as_a_loss() {
    let failed = given(&[stages()[7].clone(), vec![compensation_failed(1)]].concat());
    let (after, out) = when(failed, lost(523));
    assert_eq!((after.stage.name(), losses(&out)), ("Lost", vec![523]));
    assert!(after.timers(&rules()).is_empty());
}

#[test]
fn a_dispute_that_is_lost_before_the_mint_is_a_loss_when_it_arrives() {
    let lost = told("charge.dispute.closed", "dp_1", 523, "lost");
    let way = [to_paid(), vec![swap_completed(), sent(), lost]].concat();
    let (_, out) = when(given(&way), settled());
    let PurchaseEvent::LossBooked(loss) = &out.own[2] else {
        panic!("no loss: {:?}", names(&out))
    };
    assert_eq!(
        (loss.amount, loss.reason.as_str()),
        (CHARGE, "dispute_lost")
    );
}
