//! Given / when / then over purchases that USDC pays.

use super::support::{
    START, at, funded, given, intent_created, names, paid, requested, requested_by_usdc, returned,
    rules, sent, settled, swap_completed, swap_failed, timer, unfunded, usdc_back, when,
};
use events::deposits::{CreditBooked, CreditReason, DepositEvent, FundsWanted, PartReturnWanted};
use events::money::{Amount, Usdc};
use events::purchases::{PurchaseEvent, SwapFailure};
use pipeline::Forward;
use processor_purchases::decide::transition;
use std::time::Duration;

fn deposits(forwards: &[Forward]) -> Vec<(&str, &DepositEvent)> {
    forwards
        .iter()
        .filter_map(|f| f.event::<DepositEvent>().map(|event| (f.key(), event)))
        .collect()
}

fn coins(whole: u32) -> Amount<Usdc> {
    Amount::from_whole(whole)
}

#[test]
fn a_purchase_by_usdc_asks_the_credit_of_its_twin_for_the_whole() {
    let (purchase, out) = when(given(&[]), requested_by_usdc());
    assert_eq!(purchase.stage.name(), "AwaitingDeposit");
    assert_eq!(names(&out), ["FundsRequested", "FundsWanted to `deposits`"]);
    let [(key, DepositEvent::FundsWanted(FundsWanted { amount, until, .. }))] =
        deposits(&out.forward)[..]
    else {
        panic!("{out:?}")
    };
    assert_eq!((key, *amount), ("twin-7", coins(7)));
    assert_eq!(*until, START.after(Duration::from_secs(3600)));
}

#[test]
fn the_way_of_a_purchase_by_usdc() {
    let mut purchase = given(&[]);
    let mut appended = Vec::new();
    for fact in [
        requested_by_usdc(),
        funded(),
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
            "FundsRequested",
            "FundsWanted to `deposits`",
            "SwapRequested",
            "HandoffRequested",
            "PurchaseEnded(Settled)",
            "PurchaseAccounted",
            "CreditBooked to `deposits`",
            "FundsArrived to `deployments`",
        ]
    );
}

/// Seven were paid, six set aside, five spent: one is left over, of what came last.
#[test]
fn what_the_swap_did_not_need_is_credit() {
    let way = [requested_by_usdc(), funded(), swap_completed(), sent()];
    let (_, out) = when(given(&way), settled());
    let PurchaseEvent::PurchaseAccounted(accounted) = &out.own[1] else {
        panic!("{out:?}")
    };
    assert_eq!(accounted.usdc_paid, Some(coins(7)));
    assert_eq!(
        (accounted.usdc_cap, accounted.usdc_spent),
        (coins(6), coins(5))
    );
    assert_eq!((accounted.slippage, accounted.spread), (0, Some(coins(1))));
    assert_eq!(accounted.leftover, coins(1));
    assert_eq!(accounted.bridge_fee, Amount::from_whole(1));
    assert_eq!(accounted.network_fee_stroops, 200);
    let booked: Vec<&CreditBooked> = deposits(&out.forward)
        .into_iter()
        .map(|(key, event)| {
            let DepositEvent::CreditBooked(booked) = event else {
                panic!("{event:?}")
            };
            assert_eq!(key, "twin-7");
            booked
        })
        .collect();
    assert_eq!(booked.len(), 1);
    assert_eq!(booked[0].amount, coins(1));
    assert_eq!(booked[0].reason, CreditReason::Leftover);
    assert_eq!(booked[0].deposit_id, None);
}

#[test]
fn what_a_card_payment_leaves_over_is_credit_without_a_deposit() {
    let way = [
        requested(),
        intent_created(),
        paid(),
        swap_completed(),
        sent(),
    ];
    let (_, out) = when(given(&way), settled());
    let [(_, DepositEvent::CreditBooked(booked))] = deposits(&out.forward)[..] else {
        panic!("{out:?}")
    };
    assert_eq!((booked.amount, &booked.deposit_id), (coins(1), &None));
    let PurchaseEvent::PurchaseAccounted(accounted) = &out.own[1] else {
        panic!("{out:?}")
    };
    assert_eq!((accounted.usdc_paid, accounted.spread), (None, None));
    assert!(accounted.charge.is_some());
}

/// All or nothing: each deposit's part to its sender, what has none to the credit; once.
#[test]
fn a_purchase_that_is_given_up_sends_all_usdc_back_once() {
    let paid = given(&[requested_by_usdc(), funded()]);
    let late = START.after(Duration::from_secs(25 * 3600));
    let failed = at(late, swap_failed(1, SwapFailure::NoPath, None));
    let (refunding, out) = transition(&rules(), paid, &failed);
    assert_eq!(
        names(&out),
        [
            "UsdcCompensationRequested",
            "PartReturnWanted to `deposits`",
            "PartReturnWanted to `deposits`",
            "CreditBooked to `deposits`",
        ]
    );
    let mut back = Vec::new();
    for (key, event) in deposits(&out.forward) {
        match event {
            DepositEvent::PartReturnWanted(PartReturnWanted {
                deposit_id, amount, ..
            }) => {
                assert_eq!(key, deposit_id);
                back.push(*amount);
            }
            DepositEvent::CreditBooked(booked) => {
                assert_eq!((key, booked.reason), ("twin-7", CreditReason::Refund));
                back.push(booked.amount);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(back, [coins(4), coins(2), coins(1)]);
    let (refunding, out) = when(refunding, usdc_back("11", 4));
    assert_eq!((refunding.stage.name(), out.own.len()), ("Refunding", 0));
    let (refunded, out) = when(refunding, usdc_back("12", 2));
    assert_eq!(
        names(&out),
        ["PurchaseEnded(Refunded)", "PurchaseEnded to `deployments`"]
    );
    for again in [usdc_back("12", 2), usdc_back("11", 4), unfunded()] {
        let (same, out) = when(refunded.clone(), again);
        assert_eq!((&same, out.own.len()), (&refunded, 0));
    }
}

#[test]
fn tft_that_comes_back_three_times_sends_the_usdc_back() {
    let way = [
        requested_by_usdc(),
        funded(),
        swap_completed(),
        returned(),
        returned(),
    ];
    let (refunding, out) = when(given(&way), returned());
    assert_eq!(refunding.stage.name(), "Refunding");
    assert_eq!(names(&out)[0], "UsdcCompensationRequested");
}

#[test]
fn without_the_usdc_the_purchase_ends_unpaid() {
    let (ended, out) = when(given(&[requested_by_usdc()]), unfunded());
    assert_eq!(ended.stage.name(), "NotPaid");
    assert_eq!(names(&out)[0], "PurchaseEnded(NotPaid)");
}

/// It cannot be: the credit grants or expires, once. If it were, nothing would be lost.
#[test]
fn usdc_that_no_state_awaits_goes_back_to_the_credit() {
    for way in [
        vec![requested_by_usdc(), unfunded()],
        vec![requested_by_usdc(), funded()],
        vec![requested()],
    ] {
        let before = given(&way);
        let (after, out) = when(before.clone(), funded());
        assert_eq!(after, before);
        let booked: Vec<Amount<Usdc>> = deposits(&out.forward)
            .into_iter()
            .filter_map(|(_, event)| match event {
                DepositEvent::CreditBooked(booked) => Some(booked.amount),
                _ => None,
            })
            .collect();
        assert_eq!(booked, [coins(4), coins(2), coins(1)]);
        assert_eq!(names(&out)[0], "PurchaseAlarmed(funded_amiss)");
    }
}

#[test]
fn a_charge_for_a_purchase_by_usdc_goes_back() {
    let (after, out) = when(given(&[requested_by_usdc()]), paid());
    assert_eq!(after.stage.name(), "AwaitingDeposit");
    assert_eq!(
        names(&out),
        ["PurchaseAlarmed(paid_again)", "CompensationRequested"]
    );
    let (after, _) = when(after, funded());
    assert_eq!(after.stage.name(), "Paid");
}

#[test]
fn whoever_stands_still_is_noticed() {
    let waiting = given(&[requested_by_usdc()]);
    let timers = waiting.timers(&rules());
    assert_eq!(timers.len(), 1);
    assert!(timers[0].due > START.after(Duration::from_secs(3600)));
    let (alarmed, out) = when(waiting, timer("funding_overdue"));
    assert_eq!(names(&out), ["PurchaseAlarmed(funding_overdue)"]);
    assert!(alarmed.timers(&rules()).is_empty());
    let (paid, _) = when(alarmed, funded());
    assert_eq!(paid.stage.name(), "Paid");
}
