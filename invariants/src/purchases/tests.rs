//! What the rules of a purchase accept and what they find.

use super::*;

fn settled() -> Purchase {
    Purchase {
        id: "p".to_owned(),
        outcomes: vec![Outcome::Settled],
        charge_minor: 500,
        charges: 1,
        charged_minor: 500,
        swap_wanted: 700,
        swapped: 700,
        swap_aside: 30,
        swap_cost: 28,
        accounted: Some((28, 2)),
        bridge_payments: 1,
        mints: 1,
        deployments: vec![Contract {
            hash: "h".to_owned(),
            created: 1,
            recorded: true,
            ..Contract::default()
        }],
        ..Purchase::default()
    }
}

fn refunded() -> Purchase {
    Purchase {
        outcomes: vec![Outcome::Refunded],
        refunds: 1,
        refunded_minor: 500,
        bridge_payments: 3,
        bridge_returns: 3,
        mints: 0,
        deployments: vec![Contract {
            hash: "h".to_owned(),
            given_up: true,
            ..Contract::default()
        }],
        ..settled()
    }
}

fn not_paid() -> Purchase {
    Purchase {
        outcomes: vec![Outcome::NotPaid],
        charges: 0,
        charged_minor: 0,
        swapped: 0,
        bridge_payments: 0,
        bridge_returns: 0,
        refunds: 0,
        refunded_minor: 0,
        ..refunded()
    }
}

fn lost() -> Purchase {
    Purchase {
        outcomes: vec![Outcome::Lost],
        alarms: vec!["dispute_lost".to_owned()],
        refunds: 0,
        refunded_minor: 0,
        disputed_minor: 500,
        taken_minor: 500,
        ..refunded()
    }
}

#[test]
fn what_a_bank_took_back_is_booked_and_delivers_nothing() {
    type Change = fn(&mut Purchase);
    let changes: [Change; 4] = [
        |p| p.disputed_minor = 499,
        |p| (p.refunds, p.refunded_minor) = (1, 500),
        |p| p.bridge_returns = 2,
        |p| p.mints = 1,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut purchase = lost();
        change(&mut purchase);
        assert!(!purchase.violations().is_empty(), "{n}");
    }
}

#[test]
fn good_ends_break_no_rule() {
    let late = Purchase {
        charges: 1,
        charged_minor: 500,
        refunds: 1,
        refunded_minor: 500,
        ..not_paid()
    };
    let returned = Purchase {
        bridge_payments: 3,
        bridge_returns: 2,
        ..settled()
    };
    let alarmed = Purchase {
        id: "p".to_owned(),
        alarms: vec!["refund_failed".to_owned()],
        ..Purchase::default()
    };
    let delivered_and_lost = Purchase {
        refunds: 1,
        refunded_minor: 500,
        outside_minor: 500,
        lost_minor: 500,
        ..settled()
    };
    let late_and_taken = Purchase {
        refunds: 1,
        refunded_minor: 200,
        disputed_beside_minor: 300,
        taken_minor: 300,
        ..late.clone()
    };
    let delivered_and_taken = Purchase {
        disputed_minor: 500,
        taken_minor: 500,
        ..settled()
    };
    let disputed_and_kept = Purchase {
        alarms: vec!["disputed".to_owned()],
        accounted: Some((28, 0)),
        ..settled()
    };
    let partly = Purchase {
        outside_minor: 200,
        ..refunded()
    };
    let twice = Purchase {
        charges: 2,
        charged_minor: 1000,
        refunds: 1,
        refunded_minor: 500,
        ..settled()
    };
    for good in [
        settled(),
        refunded(),
        not_paid(),
        late,
        returned,
        alarmed,
        twice,
        delivered_and_lost,
        lost(),
        partly,
        late_and_taken,
        delivered_and_taken,
        disputed_and_kept,
    ] {
        assert_eq!(good.violations(), [], "{good:?}");
    }
}

#[test]
fn each_count_is_held() {
    type Change = fn(&mut Purchase);
    let changes: [(Harm, Change); 15] = [
        (Harm::Lost, |p| {
            (p.refunded_minor, p.outside_minor) = (100, 100);
        }),
        (Harm::Doubled, |p| p.charges = 2),
        (Harm::Lost, |p| p.charges = 0),
        (Harm::Lost, |p| p.charged_minor = 499),
        (Harm::Doubled, |p| p.refunds = 1),
        (Harm::Doubled, |p| p.swapped = 1_400),
        (Harm::Lost, |p| p.swapped = 350),
        (Harm::Doubled, |p| p.bridge_payments = 2),
        (Harm::Lost, |p| p.bridge_payments = 0),
        (Harm::Doubled, |p| p.mints = 2),
        (Harm::Lost, |p| p.mints = 0),
        (Harm::Doubled, |p| p.deployments[0].created = 2),
        (Harm::Lost, |p| p.deployments[0].created = 0),
        (Harm::Lost, |p| p.deployments[0].recorded = false),
        (Harm::Doubled, |p| p.outcomes.push(Outcome::Refunded)),
    ];
    for (n, (harm, change)) in changes.into_iter().enumerate() {
        let mut purchase = settled();
        change(&mut purchase);
        let found = purchase.violations();
        assert!(found.iter().any(|v| v.harm == harm), "{n}: {found:?}");
    }
}

#[test]
fn what_swaps_left_is_the_buyers() {
    type Change = fn(&mut Purchase);
    let changes: [Change; 5] = [
        |p| p.swap_cost = 31,
        |p| p.accounted = None,
        |p| p.accounted = Some((27, 2)),
        |p| p.accounted = Some((28, 3)),
        |p| p.accounted = Some((28, 0)),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut purchase = settled();
        change(&mut purchase);
        assert!(!purchase.violations().is_empty(), "{n}");
    }
}

#[test]
fn a_refund_is_whole_and_instead_of_the_delivery() {
    type Change = fn(&mut Purchase);
    let changes: [Change; 5] = [
        |p| p.refunds = 2,
        |p| p.refunds = 0,
        |p| p.refunded_minor = 499,
        |p| p.bridge_returns = 2,
        |p| p.mints = 1,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut purchase = refunded();
        change(&mut purchase);
        assert!(!purchase.violations().is_empty(), "{n}");
    }
}

#[test]
fn what_nobody_paid_for_is_not_delivered_and_no_charge_is_kept() {
    let kept = Purchase {
        charges: 1,
        charged_minor: 500,
        ..not_paid()
    };
    let delivered = Purchase {
        swapped: 700,
        ..not_paid()
    };
    // What a bank took of a late charge, and nobody booked.
    let taken = Purchase {
        refunds: 1,
        taken_minor: 500,
        ..kept.clone()
    };
    for bad in [kept, delivered, taken] {
        assert!(!bad.violations().is_empty(), "{bad:?}");
    }
}

#[test]
fn a_purchase_that_had_to_be_stopped_is_a_defect() {
    let stopped = Purchase {
        alarms: vec!["books_broken".to_owned()],
        ..settled()
    };
    assert_eq!(stopped.violations()[0].harm, Harm::Unbalanced);
}

#[test]
fn what_was_cancelled_was_made_once_or_never() {
    let with = |created, recorded| {
        let mut purchase = settled();
        purchase.deployments[0] = Contract {
            hash: "h".to_owned(),
            created,
            recorded,
            cancelled: true,
            ..Contract::default()
        };
        purchase.violations()
    };
    assert!(with(0, false).is_empty() && with(1, true).is_empty());
    assert_eq!(with(2, true)[0].harm, Harm::Doubled);
    let mut back = refunded();
    back.deployments[0].given_up = false;
    assert!(!back.violations().is_empty());
    back.deployments[0].cancelled = true;
    assert!(back.violations().is_empty());
}

#[test]
fn without_an_end_there_is_an_alarm() {
    let silent = Purchase::default();
    assert_eq!(silent.violations()[0].harm, Harm::Lost);
}
