//! A decision after which the books would not hold does not go out.

use super::support::{
    CHARGE, funded, given, intent_created, names, paid, requested, requested_by_usdc, rules,
    settled, stages, swap_failed, swap_for, told, when,
};
use events::money::{Amount, Fiat};
use events::purchases::{CompensationRequested, PurchaseEvent, SwapFailure};
use processor_purchases::decide::{Outputs, broken};
use processor_purchases::state::Receipt;

#[test]
fn a_swap_that_cost_more_than_was_set_aside_stops_the_purchase() {
    for (way, spent) in [
        (vec![requested(), intent_created(), paid()], 7),
        (vec![requested_by_usdc(), funded()], 8),
    ] {
        let (stopped, out) = when(given(&way), swap_for(spent));
        assert_eq!(names(&out), ["PurchaseAlarmed(books_broken)"]);
        let PurchaseEvent::PurchaseAlarmed(alarm) = &out.own[0] else {
            panic!("no alarm")
        };
        assert!(alarm.detail.contains("HandoffRequested"), "{alarm:?}");
        assert!(stopped.stopped && stopped.timers(&rules()).is_empty());
        // Whatever comes now, nothing follows, and it is alarmed once.
        for fact in [
            swap_for(spent),
            settled(),
            told("charge.dispute.created", "dp_1", 523, "needs_response"),
        ] {
            let (same, out) = when(stopped.clone(), fact);
            assert_eq!((&same, names(&out).len()), (&stopped, 0));
        }
    }
}

#[test]
fn what_was_set_aside_may_be_spent_to_the_last() {
    let (after, _) = when(given(&[requested(), intent_created(), paid()]), swap_for(6));
    assert_eq!(
        (after.stage.name(), after.stopped),
        ("Swapped", false),
        "{after:?}"
    );
}

#[test]
fn a_payment_that_goes_back_pays_for_nothing() {
    // No fact leads here: this is what the rules must never decide.
    for way in &stages()[3..=5] {
        let mut purchase = given(way);
        let back = (CHARGE, Receipt::Refunded);
        purchase.receipts.insert("pi_1".into(), back);
        assert!(broken(&purchase, &Outputs::default()).is_some(), "{way:?}");
        purchase.receipts.clear();
        assert!(broken(&purchase, &Outputs::default()).is_some(), "{way:?}");
    }
    let mut by_usdc = given(&[requested_by_usdc(), funded()]);
    by_usdc.portions[0].1 = Receipt::Refunded;
    let failed = swap_failed(1, SwapFailure::TooExpensive, Some(6));
    let (stopped, out) = when(by_usdc, failed);
    assert_eq!(names(&out), ["PurchaseAlarmed(books_broken)"]);
    assert!(stopped.stopped);
}

#[test]
fn no_request_goes_beyond_what_is_left() {
    let refunding = given(&stages()[7]);
    let refund = |minor| Outputs {
        own: vec![
            CompensationRequested {
                purchase_id: super::support::purchase_id(),
                attempt: 1,
                intent_id: "pi_1".into(),
                amount: Fiat { minor, ..CHARGE },
                reason: "r".into(),
                deadline: super::support::START,
            }
            .into(),
        ],
        forward: vec![],
    };
    assert_eq!(broken(&refunding, &refund(523)), None);
    assert!(broken(&refunding, &refund(524)).is_some());
    let mut spent = given(&[requested(), intent_created(), paid()]);
    let (_, again) = when(
        spent.clone(),
        swap_failed(1, SwapFailure::TooExpensive, Some(6)),
    );
    assert_eq!(names(&again), ["SwapRequested n+1"]);
    assert_eq!(broken(&spent, &again), None);
    spent.spent = Amount::from_whole(1);
    assert!(broken(&spent, &again).is_some());
}
