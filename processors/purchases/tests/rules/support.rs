//! Facts of a purchase, and the ways that lead to each of its stages.

use events::deposits::DepositEvent;
use events::envelope::{Envelope, Record};
use events::ids::{EventId, PurchaseId, QuoteId, TwinId, UserId};
use events::money::{Amount, Currency, Fiat, Portion};
use events::purchases::{
    CompensationFailed, CompensationSettled, Funding, HandoffFailed, HandoffReturned,
    HandoffSettled, PaymentIntentCreated, PaymentIntentFailed, PurchaseEvent, PurchaseFunded,
    PurchaseRequested, PurchaseUnfunded, RefundOrdered, StripeEventReceived, SwapCompleted,
    SwapFailed, SwapFailure, TftSentToBridge, TimerFired, UsdcCompensationFailed,
    UsdcCompensationSettled,
};
use events::schema::EventSet;
use events::time::Timestamp;
use processor_purchases::decide::{Outputs, transition};
use processor_purchases::{Purchase, Rules};
use std::time::Duration;

pub const START: Timestamp = Timestamp(1_790_000_000_000);
pub const CHARGE: Fiat = Fiat {
    minor: 523,
    currency: Currency::Usd,
};

pub fn rules() -> Rules {
    Rules::new("GBRIDGE")
}

pub fn purchase_id() -> PurchaseId {
    PurchaseId::derive(&["test"])
}

pub fn user_id() -> UserId {
    UserId::derive(&["test"])
}

pub fn at(time: Timestamp, event: impl Into<PurchaseEvent>) -> Record<PurchaseEvent> {
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

pub fn request() -> EventId {
    EventId::derive(&["request"])
}

pub fn requested() -> PurchaseEvent {
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
        funding: Funding::Card,
        usdc_due: None,
        pay_until: None,
        give_up_after_ms: Some(24 * 3_600_000),
    }
    .into()
}

/// The same, to be paid by seven USDC.
pub fn requested_by_usdc() -> PurchaseEvent {
    let PurchaseEvent::PurchaseRequested(event) = requested() else {
        panic!("another event")
    };
    PurchaseRequested {
        funding: Funding::Usdc,
        usdc_due: Some(Amount::from_whole(7)),
        ..event
    }
    .into()
}

fn portion(deposit: Option<&str>, coins: u32) -> Portion {
    Portion {
        deposit_id: deposit.map(ToOwned::to_owned),
        amount: Amount::from_whole(coins),
    }
}

/// Four of deposit 11, two of deposit 12, one of credit without a deposit.
pub fn funded() -> PurchaseEvent {
    PurchaseFunded {
        purchase_id: purchase_id(),
        twin_id: TwinId(7),
        amount: Amount::from_whole(7),
        portions: vec![
            portion(Some("11"), 4),
            portion(Some("12"), 2),
            portion(None, 1),
        ],
    }
    .into()
}

pub fn unfunded() -> PurchaseEvent {
    PurchaseUnfunded {
        purchase_id: purchase_id(),
        detail: "too late".into(),
    }
    .into()
}

pub fn usdc_back(deposit: &str, coins: u32) -> PurchaseEvent {
    UsdcCompensationSettled {
        purchase_id: purchase_id(),
        deposit_id: deposit.into(),
        amount: Amount::from_whole(coins),
        transaction: "cc".into(),
    }
    .into()
}

pub fn usdc_held(deposit: &str, coins: u32) -> PurchaseEvent {
    UsdcCompensationFailed {
        purchase_id: purchase_id(),
        deposit_id: deposit.into(),
        amount: Amount::from_whole(coins),
        code: "op_no_trust".into(),
        detail: "no trustline".into(),
    }
    .into()
}

pub fn intent_created() -> PurchaseEvent {
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

pub fn intent_failed(attempt: i32) -> PurchaseEvent {
    PaymentIntentFailed {
        purchase_id: purchase_id(),
        request_id: request(),
        attempt,
        code: "never_will".into(),
        detail: "d".into(),
    }
    .into()
}

pub fn stripe_event(
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
pub fn told(kind: &str, object: &str, minor: i64, status: &str) -> PurchaseEvent {
    let PurchaseEvent::StripeEventReceived(mut event) =
        stripe_event(kind, "pi_1", minor, "usd", false, status)
    else {
        panic!("another event")
    };
    event.object_id = Some(object.into());
    event.into()
}

/// The same, of an object that names a request of ours.
pub fn ours(event: PurchaseEvent) -> PurchaseEvent {
    let PurchaseEvent::StripeEventReceived(mut event) = event else {
        panic!("another event")
    };
    event.request_id = Some(request());
    event.into()
}

pub fn paid() -> PurchaseEvent {
    stripe_event(
        "payment_intent.succeeded",
        "pi_1",
        523,
        "usd",
        false,
        "succeeded",
    )
}

pub fn swap_completed() -> PurchaseEvent {
    swap_for(5)
}

/// A swap that has cost so many USDC.
pub fn swap_for(coins: u32) -> PurchaseEvent {
    SwapCompleted {
        purchase_id: purchase_id(),
        request_id: request(),
        attempt: 1,
        transaction: "aa".into(),
        ledger: 1,
        lane: "G".into(),
        sequence: 1,
        usdc_spent: Amount::from_whole(coins),
        tft: Amount::from_whole(251),
        fee_stroops: 100,
        rest: Amount::ZERO,
    }
    .into()
}

pub fn swap_failed(attempt: i32, reason: SwapFailure, observed: Option<u32>) -> PurchaseEvent {
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
        observed_parts: vec![],
        no_path_before: 0,
    }
    .into()
}

pub fn sent() -> PurchaseEvent {
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

pub fn handoff_failed(attempt: i32) -> PurchaseEvent {
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

pub fn settled() -> PurchaseEvent {
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

pub fn returned() -> PurchaseEvent {
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

pub fn compensated(intent: &str) -> PurchaseEvent {
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

pub fn refund_ordered() -> PurchaseEvent {
    RefundOrdered {
        purchase_id: purchase_id(),
        reason: "asked by mail".into(),
        by: "two operators".into(),
        ordered_at: Timestamp(0),
    }
    .into()
}

pub fn compensation_failed(attempt: i32) -> PurchaseEvent {
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

pub fn timer(name: &str) -> PurchaseEvent {
    TimerFired {
        purchase_id: purchase_id(),
        timer: name.into(),
        due: START,
    }
    .into()
}

/// Folds facts, a second apart.
pub fn given(facts: &[PurchaseEvent]) -> Purchase {
    let mut purchase = Purchase::default();
    for (n, fact) in facts.iter().enumerate() {
        let time = START.after(Duration::from_secs(n as u64));
        purchase = transition(&rules(), purchase, &at(time, fact.clone())).0;
    }
    purchase
}

pub fn when(purchase: Purchase, fact: PurchaseEvent) -> (Purchase, Outputs) {
    transition(
        &rules(),
        purchase,
        &at(START.after(Duration::from_secs(60)), fact),
    )
}

pub fn names(out: &Outputs) -> Vec<String> {
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
        if let Some(event) = f.event::<DepositEvent>() {
            return format!("{} to `deposits`", event.name());
        }
        let event = f.event::<events::deployments::DeploymentEvent>().unwrap();
        format!("{} to `deployments`", event.name())
    }));
    names
}

/// A purchase in each stage, by the way that leads there.
pub fn stages() -> Vec<Vec<PurchaseEvent>> {
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
    let by_usdc = [
        requested_by_usdc(),
        funded(),
        swap_completed(),
        sent(),
        settled(),
    ];
    stages.extend((1..=by_usdc.len()).map(|n| by_usdc[..n].to_vec()));
    let mut refunding = by_usdc[..3].to_vec();
    refunding.extend([returned(), returned(), returned()]);
    stages.push(refunding);
    let mut lost = way[..3].to_vec();
    lost.push(told("charge.dispute.closed", "dp_1", 523, "lost"));
    lost.push(swap_failed(1, SwapFailure::TreasuryDry, None));
    stages.push(lost);
    stages
}

pub fn refunded_outside(refund: &str, minor: i64) -> PurchaseEvent {
    told("refund.created", refund, minor, "succeeded")
}

pub fn settled_as(refund: &str) -> PurchaseEvent {
    let PurchaseEvent::CompensationSettled(mut event) = compensated("pi_1") else {
        panic!("another event")
    };
    event.refund_id = refund.into();
    event.into()
}

/// What is asked to be given back.
pub fn asked(out: &Outputs) -> Vec<i64> {
    let refunds = out.own.iter().filter_map(|event| match event {
        PurchaseEvent::CompensationRequested(request) => Some(request.amount.minor),
        _ => None,
    });
    refunds.collect()
}

pub fn to_paid() -> Vec<PurchaseEvent> {
    vec![requested(), intent_created(), paid()]
}
