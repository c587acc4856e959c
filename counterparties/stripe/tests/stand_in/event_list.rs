//! The list of events, thin notifications, receipts, disputes and slow payments.

use super::*;
use counterparties_stripe::webhook::{self, Notification};
use counterparties_stripe::{EventPage, StripeEvents, StripeReadError};

fn kinds(page: &EventPage) -> Vec<&str> {
    page.events.iter().map(|e| e.event_type.as_str()).collect()
}

/// Every event that the client lists, oldest first.
async fn all(client: &StripeClient) -> EventPage {
    let Some(oldest) = client.oldest().await.unwrap() else {
        return EventPage {
            events: Vec::new(),
            more: false,
        };
    };
    let mut page = client.after(&oldest.stripe_event_id).await.unwrap();
    page.events.insert(0, oldest);
    page
}

#[tokio::test]
async fn the_list_of_events_goes_on_from_any_of_them_and_forgets() {
    let stripe = StandIn::start().await;
    let client = stripe.client();
    assert_eq!(client.oldest().await, Ok(None));
    assert_eq!(client.last_before(now()).await, Ok(None));
    for number in 0..3 {
        let plan = stripe
            .paid(&format!("p{number}"), "pm_card_visa", 500)
            .await;
        landed(client.create_refund(&plan).await);
    }
    let page = all(&client).await;
    let story = [
        "payment_intent.succeeded",
        "refund.created",
        "charge.refunded",
    ];
    assert_eq!(kinds(&page), [story, story, story].concat());
    assert!(!page.more);
    for (place, event) in page.events.iter().enumerate() {
        let rest = client.after(&event.stripe_event_id).await.unwrap();
        assert_eq!(rest.events, page.events[place + 1..]);
        // As the webhook tells it, but for how its JSON is laid out.
        assert_eq!(
            event.id(),
            EventId::derive(&["stripe", &event.stripe_event_id])
        );
        assert!(event.purchase_id.is_some() && event.intent_id.is_some());
        assert!(!event.raw.contains("_secret_"));
        // The intent and the refund are of our making; a charge carries its intent's metadata.
        assert!(event.request_id.is_some(), "{}", event.event_type);
    }
    let later = Timestamp(now().0 + 5_000);
    let last = client.last_before(later).await.unwrap().unwrap();
    assert_eq!(Some(&last), page.events.last());
    assert_eq!(client.last_before(Timestamp(1_000_000)).await, Ok(None));
    // A page holds a hundred.
    for number in 0..110 {
        stripe.paid(&format!("q{number}"), "pm_card_visa", 1).await;
    }
    let first = client.after(&last.stripe_event_id).await.unwrap();
    assert_eq!((first.events.len(), first.more), (100, true));
    let next = &first.events[99].stripe_event_id;
    let second = client.after(next).await.unwrap();
    assert_eq!((second.events.len(), second.more), (10, false));
    assert_eq!(
        client.oldest().await.unwrap().unwrap().stripe_event_id,
        page.events[0].stripe_event_id
    );

    let url = format!("{}/_control/events?keep=1", stripe.url);
    stripe.http.delete(url).send().await.unwrap();
    assert!(matches!(
        client.after(&last.stripe_event_id).await,
        Err(StripeReadError::Missing(_))
    ));
    assert_eq!(
        client.oldest().await.unwrap().as_ref(),
        second.events.last()
    );
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_no_end_of_the_list() {
    let stripe = StandIn::start().await;
    stripe.paid("a", "pm_card_visa", 500).await;
    let client = stripe.client();
    let oldest = client.oldest().await.unwrap().unwrap();
    for kind in ["http500", "http503", "http429", "garble", "reset"] {
        let fault = json!({ "method": "GET", "path": "/v1/events", "kind": kind, "times": 1 });
        stripe.control("faults", fault).await;
        let error = client.after(&oldest.stripe_event_id).await.unwrap_err();
        assert!(
            matches!(error, StripeReadError::Unavailable(_)),
            "{kind}: {error}"
        );
    }
}

#[tokio::test]
async fn a_notification_tells_what_the_event_tells() {
    let stripe = StandIn::start().await;
    let client = stripe.client();
    let plan = stripe.paid("a", "pm_card_visa", 1_000).await;
    landed(client.create_refund(&plan).await);
    for event in all(&client).await.events {
        let raw: Value = serde_json::from_str(&event.raw).unwrap();
        let object = &raw["data"]["object"];
        let kind = object["object"].as_str().unwrap();
        let body = json!({
            "id": event.stripe_event_id, "object": "v2.core.event", "livemode": false,
            "type": format!("v1.{}", event.event_type), "created": event.created.to_string(),
            "related_object": {
                "id": event.object_id, "type": kind,
                "url": format!("/v1/{kind}s/{}", event.object_id.as_deref().unwrap()),
            },
        });
        let body = body.to_string();
        // Without the object it says nothing of money.
        let bare = webhook::facts(body.as_bytes(), now()).unwrap();
        assert_eq!((bare.purchase_id, bare.amount), (None, None));
        let notification = Notification::read(body.as_bytes()).unwrap();
        let fetched = client.fetch(notification).await.unwrap();
        assert!(fetched.raw.contains(event.object_id.as_deref().unwrap()));
        assert!(!fetched.raw.contains("client_secret"));
        let same = events::stripe::StripeFacts {
            raw: event.raw.clone(),
            ..fetched
        };
        assert_eq!(same, event);
    }
    // Of an object that is not there any more only the notification itself is known.
    let gone = json!({
        "id": "evt_test_9", "object": "v2.core.event", "type": "v1.refund.failed",
        "related_object": { "url": "/v1/refunds/re_gone" },
    });
    let gone = Notification::read(gone.to_string().as_bytes()).unwrap();
    let facts = client.fetch(gone).await.unwrap();
    assert_eq!(
        (facts.event_type.as_str(), facts.object_id),
        ("refund.failed", None)
    );
}

#[tokio::test]
async fn the_receipt_goes_to_the_payers_address() {
    let stripe = StandIn::start().await;
    let client = stripe.client();
    let intent = landed(client.create_intent(&intent_plan("a")).await).intent_id;
    for email in ["payer@example.com", "payer+2@example.com"] {
        let secret = client.receipt_to(&intent, email).await.unwrap();
        assert!(secret.expose().starts_with(&format!("{intent}_secret_")));
        let url = format!("{}/v1/payment_intents/{intent}", stripe.url);
        let request = stripe
            .http
            .get(url)
            .bearer_auth(sandbox_stripe::DEFAULT_KEY);
        let shown: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(shown["receipt_email"], email);
    }
    let refused = client.receipt_to(&intent, "nobody").await.unwrap_err();
    assert!(
        matches!(refused, StripeReadError::Refused(_)),
        "{refused:?}"
    );
    for wrong in ["pi_none", "pi_1/cancel"] {
        assert!(matches!(
            client.receipt_to(wrong, "payer@example.com").await,
            Err(StripeReadError::Missing(_))
        ));
    }
}

#[tokio::test]
async fn a_disputed_charge_tells_its_story_and_is_not_refunded() {
    let stripe = StandIn::start().await;
    let client = stripe.client();
    let plan = stripe.paid("a", "pm_card_createDispute", 1_000).await;
    let page = all(&client).await;
    assert_eq!(
        kinds(&page),
        [
            "payment_intent.succeeded",
            "charge.dispute.created",
            "charge.dispute.funds_withdrawn"
        ]
    );
    let dispute = &page.events[1];
    assert_eq!(dispute.purchase_id, None, "a dispute has no metadata");
    assert_eq!(dispute.intent_id.as_ref(), Some(&plan.intent_id));
    assert_eq!(dispute.status.as_deref(), Some("needs_response"));
    assert_eq!(dispute.amount, Some(2_500));
    let Attempt::Refused(refusal) = client.create_refund(&plan).await else {
        panic!("a disputed charge was refunded")
    };
    assert_eq!(refusal.code, "charge_disputed");

    let id = dispute.object_id.clone().unwrap();
    let url = format!("{}/v1/disputes/{id}", stripe.url);
    let evidence = [("evidence[uncategorized_text]", "winning_evidence")];
    let request = stripe
        .http
        .post(url)
        .bearer_auth(sandbox_stripe::DEFAULT_KEY);
    assert!(
        request
            .form(&evidence)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let after = client.after(&page.events[2].stripe_event_id).await.unwrap();
    assert_eq!(
        kinds(&after),
        ["charge.dispute.funds_reinstated", "charge.dispute.closed"]
    );
    assert_eq!(after.events[1].status.as_deref(), Some("won"));
}

#[tokio::test]
async fn a_payment_may_take_its_time_or_ask_for_something() {
    let stripe = StandIn::start().await;
    let client = stripe.client();
    let paid = stripe.paid("a", "pm_usBankAccount_success", 1).await;
    let failed = stripe
        .paid("b", "pm_usBankAccount_insufficientFunds", 1)
        .await;
    let asked = stripe.paid("c", "pm_card_authenticationRequired", 1).await;
    stripe
        .control("authenticate", json!({ "payment_intent": asked.intent_id }))
        .await;
    until(|| async { all(&client).await.events.len() >= 6 }).await;
    let page = all(&client).await;
    let story = |intent: &str| -> Vec<&str> {
        let events = page.events.iter();
        events
            .filter(|e| e.intent_id.as_deref() == Some(intent))
            .map(|e| e.event_type.as_str())
            .collect()
    };
    assert_eq!(
        story(&paid.intent_id),
        ["payment_intent.processing", "payment_intent.succeeded"]
    );
    assert_eq!(
        story(&failed.intent_id),
        ["payment_intent.processing", "payment_intent.payment_failed"]
    );
    assert_eq!(
        story(&asked.intent_id),
        ["payment_intent.requires_action", "payment_intent.succeeded"]
    );
}
