//! Refunding, and finding refunds.

use super::*;
use counterparties_stripe::RefundProof;
use events::outcome::Find;

#[tokio::test]
async fn one_request_makes_one_refund_however_often_it_is_sent() {
    let stripe = StandIn::start().await;
    let (client, plan) = (
        stripe.client(),
        stripe.paid("a", "pm_card_visa", 1_000).await,
    );
    assert_eq!(client.find_refund(&plan).await, Find::Absent);
    let first = landed(client.create_refund(&plan).await);
    let shown = RefundProof {
        refund_id: first.refund_id.clone(),
        status: "succeeded".into(),
        amount: plan.amount,
    };
    assert_eq!(first, shown);
    assert_eq!(landed(client.create_refund(&plan).await), first);
    assert_eq!(client.find_refund(&plan).await, Find::Landed(first));
    let of_purchase = stripe.counts().await["by_purchase"][plan.purchase.to_string()].clone();
    assert_eq!(of_purchase["refunded_minor"], 1_000);
}

#[tokio::test]
async fn two_requests_are_told_apart() {
    let stripe = StandIn::start().await;
    let (client, one) = (
        stripe.client(),
        stripe.paid("a", "pm_card_visa", 1_000).await,
    );
    let two = RefundPlan {
        request: EventId::derive(&["second"]),
        ..one.clone()
    };
    let first = landed(client.create_refund(&one).await);
    assert_eq!(client.find_refund(&two).await, Find::Absent);
    assert_ne!(
        landed(client.create_refund(&two).await).refund_id,
        first.refund_id
    );
    assert_eq!(client.find_refund(&one).await, Find::Landed(first));
}

#[tokio::test]
async fn a_lost_answer_is_found() {
    let stripe = StandIn::start().await;
    let (client, plan) = (
        stripe.client(),
        stripe.paid("a", "pm_card_visa", 2_500).await,
    );
    stripe.fault("/v1/refunds", "lose_answer").await;
    assert!(matches!(
        client.create_refund(&plan).await,
        Attempt::NoAnswer(_)
    ));
    let Find::Landed(found) = client.find_refund(&plan).await else {
        panic!("not found")
    };
    assert_eq!(landed(client.create_refund(&plan).await), found);
    assert_eq!(stripe.counts().await["refunds"], 1);
}

#[tokio::test]
async fn what_cannot_be_refunded_is_refused() {
    let stripe = StandIn::start().await;
    let client = stripe.client();
    let too_much = stripe.paid("a", "pm_card_visa", 2_501).await;
    let declined = stripe.paid("b", "pm_card_chargeDeclined", 2_500).await;
    let nowhere = RefundPlan {
        intent_id: "pi_none".into(),
        ..too_much.clone()
    };
    let nowhere = RefundPlan {
        request: EventId::derive(&["nowhere"]),
        ..nowhere
    };
    for (plan, code) in [
        (&too_much, "invalid_request_error"),
        (&declined, "invalid_request_error"),
        (&nowhere, "resource_missing"),
    ] {
        match client.create_refund(plan).await {
            Attempt::Refused(refusal) => assert_eq!(refusal.code, code, "{refusal}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(client.find_refund(plan).await, Find::Absent);
    }
    let all = RefundPlan {
        request: EventId::derive(&["all"]),
        amount: Fiat {
            minor: 2_500,
            currency: Currency::Usd,
        },
        ..too_much
    };
    landed(client.create_refund(&all).await);
    let again = RefundPlan {
        request: EventId::derive(&["again"]),
        ..all
    };
    match client.create_refund(&again).await {
        Attempt::Refused(refusal) => assert_eq!(refusal.code, "charge_already_refunded"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pending_refund_has_landed_and_a_failed_one_is_refused() {
    let stripe = StandIn::start().await;
    let client = stripe.client();
    let slow = stripe.paid("a", "pm_card_pendingRefund", 2_500).await;
    assert_eq!(landed(client.create_refund(&slow).await).status, "pending");
    until(|| async {
        matches!(client.find_refund(&slow).await, Find::Landed(RefundProof { status, .. }) if status == "succeeded")
    })
    .await;
    let failing = stripe.paid("b", "pm_card_refundFail", 2_500).await;
    let made = landed(client.create_refund(&failing).await);
    until(|| async { matches!(client.find_refund(&failing).await, Find::Refused(_)) }).await;
    let Find::Refused(refusal) = client.find_refund(&failing).await else {
        panic!()
    };
    assert_eq!(
        (refusal.code.as_str(), refusal.evidence),
        ("refund_failed", made.refund_id)
    );
}
