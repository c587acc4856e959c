//! Webhooks from the stand-in through verification to facts.

use super::*;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use counterparties_stripe::webhook::{WebhookError, WebhookSecrets, facts, verify};
use events::stripe::StripeFacts;
use tokio::sync::mpsc;

#[tokio::test]
async fn every_event_verifies_and_tells_its_purchase() {
    let stripe = StandIn::start().await;
    let (sender, mut received) = mpsc::unbounded_channel::<(HeaderMap, Bytes)>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = axum::Router::new().route(
        "/hook",
        post(move |headers: HeaderMap, body: Bytes| {
            drop(sender.send((headers, body)));
            std::future::ready(StatusCode::OK)
        }),
    );
    let stop = CancellationToken::new();
    tokio::spawn(sandbox_kit::serve(listener, router, stop.clone()));
    stripe
        .control("webhook", json!({ "url": url, "secret": "whsec_new" }))
        .await;

    let plan = stripe.paid("a", "pm_card_visa", 1_000).await;
    let refund = landed(stripe.client().create_refund(&plan).await);

    let secrets = WebhookSecrets::parse("whsec_old, whsec_new").unwrap();
    let others = WebhookSecrets::parse("whsec_old").unwrap();
    let mut seen: Vec<StripeFacts> = Vec::new();
    while seen.len() < 5 {
        let wait = tokio::time::timeout(Duration::from_secs(20), received.recv());
        let (headers, body) = wait.await.expect("in time").unwrap();
        let header = headers
            .get("stripe-signature")
            .map(|value| value.to_str().unwrap());
        let heard_at = now();
        let now = heard_at.seconds();
        verify(&body, header, &secrets, now).unwrap();
        assert_eq!(
            verify(&body, header, &others, now),
            Err(WebhookError::NoMatch)
        );
        assert!(matches!(
            verify(&body, header, &secrets, now + 400),
            Err(WebhookError::TooOld { .. })
        ));
        seen.push(facts(&body, heard_at).unwrap());
    }
    stop.cancel();
    let of = |kind: &str| {
        seen.iter()
            .find(|facts| facts.event_type == kind)
            .expect(kind)
    };
    for facts in &seen {
        assert_eq!(
            facts.purchase_id,
            Some(plan.purchase),
            "{}",
            facts.event_type
        );
        assert_eq!(
            facts.intent_id.as_deref(),
            Some(plan.intent_id.as_str()),
            "{}",
            facts.event_type
        );
        assert_eq!(facts.currency.as_deref(), Some("usd"));
        assert!(!facts.livemode);
        assert!(
            !facts.raw.contains("client_secret") && !facts.raw.contains("_secret_"),
            "{}",
            facts.raw
        );
    }
    let succeeded = of("payment_intent.succeeded");
    assert_eq!(
        (succeeded.amount, succeeded.amount_received),
        (Some(2_500), Some(2_500))
    );
    assert_eq!(succeeded.status.as_deref(), Some("succeeded"));
    assert_eq!(of("charge.refunded").amount_refunded, Some(1_000));
    let refunded = of("refund.created");
    assert_eq!(
        (refunded.object_id.as_deref(), refunded.amount),
        (Some(refund.refund_id.as_str()), Some(1_000))
    );
}
