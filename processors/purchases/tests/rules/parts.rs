//! Buying in parts where the books are thin, and waiting where they are empty.

use super::support::{
    given, names, rules, swap_failed, swap_for, timer, to_paid as way_to_paid, told, when,
};
use events::money::Amount;
use events::purchases::{PartQuote, PurchaseEvent, SwapFailure, SwapRequested};
use processor_purchases::Purchase;
use processor_purchases::decide::Outputs;

fn to_paid() -> Purchase {
    given(&way_to_paid())
}

/// A failure that saw what parts would cost, in whole coins.
fn failed(attempt: i32, reason: SwapFailure, parts: &[(u32, u32)]) -> PurchaseEvent {
    let PurchaseEvent::SwapFailed(mut event) = swap_failed(attempt, reason, None) else {
        panic!("another event")
    };
    event.observed_parts = parts
        .iter()
        .map(|(tft, usdc)| PartQuote {
            tft: Amount::from_whole(*tft),
            usdc: Amount::from_whole(*usdc),
        })
        .collect();
    event.into()
}

/// A swap that bought so many TFT for so many USDC.
fn bought(attempt: i32, tft: u32, usdc: u32) -> PurchaseEvent {
    let PurchaseEvent::SwapCompleted(mut event) = swap_for(usdc) else {
        panic!("another event")
    };
    (event.attempt, event.tft) = (attempt, Amount::from_whole(tft));
    event.into()
}

fn request(out: &Outputs) -> SwapRequested {
    match &out.own[..] {
        [PurchaseEvent::SwapRequested(request)] => request.clone(),
        _ => panic!("one request: {:?}", names(out)),
    }
}

fn due_after(purchase: &Purchase) -> u64 {
    let timers = purchase.timers(&rules());
    let [timer] = &timers[..] else {
        panic!("one timer: {timers:?}")
    };
    // `when` is a minute after the start.
    u64::try_from(timer.due.millis_since(super::support::START)).unwrap() / 1000 - 60
}

#[test]
fn what_the_books_hold_is_bought_in_parts_that_never_cost_more_than_the_cap() {
    // 251 TFT for 6 USDC at most; the books hold no more than 125 of them.
    let parts = [(125, 3), (62, 1)];
    let (split, out) = when(to_paid(), failed(1, SwapFailure::NoPath, &parts[1..]));
    let first = request(&out);
    assert_eq!(first.tft, Amount::from_whole(62));
    assert_eq!(first.rest, Amount::from_whole(251 - 62));
    // Its share of 6 USDC, rounded down: as much is left for the rest.
    assert_eq!(first.send_max.minor(), 6 * 10_000_000 * 62 / 251);
    assert_eq!(first.attempt, 2);

    // It is there: all that is missing is asked for at once, for what is left.
    let (rest, out) = when(split, bought(2, 62, 1));
    let second = request(&out);
    assert_eq!(second.tft, Amount::from_whole(251 - 62));
    assert_eq!(second.send_max, Amount::from_whole(5));
    assert_eq!((second.rest, second.attempt), (Amount::ZERO, 3));
    assert_eq!(rest.stage.name(), "Paid");

    // Too much again, so a part of it; the last ends the swaps with one hand-off of everything.
    let (again, out) = when(rest, failed(3, SwapFailure::TooExpensive, &[(94, 2)]));
    assert_eq!(request(&out).tft, Amount::from_whole(94));
    let (last, out) = when(again, bought(4, 94, 2));
    let third = request(&out);
    assert_eq!(third.tft, Amount::from_whole(251 - 62 - 94));
    assert_eq!(third.send_max, Amount::from_whole(3));
    let (whole, out) = when(last, bought(5, 251 - 62 - 94, 3));
    assert_eq!(
        (whole.stage.name(), names(&out)),
        ("Swapped", vec!["HandoffRequested".to_owned()])
    );
    let PurchaseEvent::HandoffRequested(handoff) = &out.own[0] else {
        panic!("another event")
    };
    assert_eq!(handoff.amount, Amount::from_whole(251));
    assert_eq!(whole.spent, Amount::from_whole(6));
}

#[test]
fn a_part_that_would_cost_more_than_its_share_is_not_bought() {
    // Half for 4 of 6 USDC: the other half could not be had for 2.
    let dear = failed(1, SwapFailure::TooExpensive, &[(125, 4), (10, 0)]);
    let (waits, out) = when(to_paid(), dear);
    // And ten of 251 are too few for a lane's number.
    assert!(out.own.is_empty(), "{:?}", names(&out));
    assert_eq!(waits.part, None);
    // Later the whole is tried again.
    let (_, out) = when(waits, timer("retry_swap"));
    assert_eq!(request(&out).tft, Amount::from_whole(251));
}

#[test]
fn a_dry_treasury_splits_nothing() {
    let dry = failed(1, SwapFailure::TreasuryDry, &[(125, 1)]);
    let (waits, out) = when(to_paid(), dry);
    assert_eq!(names(&out), ["PurchaseAlarmed(treasury_dry)"]);
    assert_eq!(waits.part, None);
}

#[test]
fn parts_that_were_bought_are_no_half_delivery() {
    let (split, _) = when(to_paid(), failed(1, SwapFailure::NoPath, &[(125, 2)]));
    let held = when(
        split.clone(),
        told("charge.dispute.created", "dp_1", 523, "needs_response"),
    )
    .0;
    // While a dispute is open no further part is bought; lost, nothing is delivered.
    let (held, out) = when(held, bought(2, 125, 2));
    assert!(out.own.is_empty());
    let (lost, _) = when(held, told("charge.dispute.closed", "dp_1", 523, "lost"));
    assert_eq!(lost.stage.name(), "Lost");
    // Somebody gave back: the rest of the charge goes back, the part stays with the treasury.
    let outside = when(
        split.clone(),
        told("refund.created", "re_1", 100, "succeeded"),
    )
    .0;
    let (after, out) = when(outside, bought(2, 125, 2));
    assert_eq!(after.stage.name(), "Refunding");
    assert_eq!(names(&out), ["CompensationRequested"]);
    // And when the time is over with a part bought, the whole charge goes back.
    let mut hasty = way_to_paid();
    let PurchaseEvent::PurchaseRequested(order) = &mut hasty[0] else {
        panic!("another event")
    };
    order.give_up_after_ms = Some(30_000);
    hasty.push(failed(1, SwapFailure::NoPath, &[(125, 2)]));
    let split = given(&hasty);
    assert_eq!(split.stage.name(), "Paid");
    let (after, out) = when(split, bought(2, 125, 2));
    assert_eq!(after.stage.name(), "Refunding");
    assert_eq!(names(&out), ["CompensationRequested"]);
}

#[test]
fn pauses_begin_anew_after_a_part_was_bought() {
    let (split, _) = when(to_paid(), failed(1, SwapFailure::NoPath, &[(125, 2)]));
    let (rest, _) = when(split, bought(2, 125, 2));
    let (waits, out) = when(rest, failed(3, SwapFailure::NoPath, &[]));
    assert!(out.own.is_empty());
    // As after the first failure of a purchase.
    let (first, _) = when(to_paid(), failed(1, SwapFailure::NoPath, &[]));
    assert_eq!(due_after(&waits), due_after(&first));
}

#[test]
fn where_nobody_finds_a_path_all_wait_longer() {
    let after = |in_a_row: i32, reason| {
        let PurchaseEvent::SwapFailed(mut event) = failed(1, reason, &[]) else {
            panic!("another event")
        };
        event.no_path_before = in_a_row;
        due_after(&when(to_paid(), event.into()).0)
    };
    let usual = after(0, SwapFailure::NoPath);
    assert_eq!(after(3, SwapFailure::NoPath), usual);
    assert!(after(5, SwapFailure::NoPath) > usual);
    assert!(after(8, SwapFailure::NoPath) > after(5, SwapFailure::NoPath));
    assert_eq!(
        after(100, SwapFailure::NoPath),
        rules().longest_retry.as_secs()
    );
    // A dry treasury is another matter.
    assert_eq!(after(100, SwapFailure::TreasuryDry), usual);
}
