//! Answers that are lost, late, wrong or absent: each is one outcome, and looking settles it.

use super::*;
use axum::http::{StatusCode, header};
use axum::routing::any;
use events::outcome::Find;

#[tokio::test]
async fn an_answer_lost_after_the_work_is_found() {
    for kind in ["lose_answer", "http500_after_work"] {
        let stripe = StandIn::start().await;
        let (client, plan) = (stripe.client(), intent_plan("a"));
        stripe.fault("/v1/payment_intents", kind).await;
        assert!(
            matches!(client.create_intent(&plan).await, Attempt::NoAnswer(_)),
            "{kind}"
        );
        let Find::Landed(found) = client.find_intent(&plan).await else {
            panic!("not found")
        };
        assert_eq!(landed(client.create_intent(&plan).await), found);
        assert_eq!(stripe.intents().await, 1);
    }
}

#[tokio::test]
async fn a_500_without_the_work_is_absent_and_tried_again() {
    for kind in ["http500", "http503"] {
        let stripe = StandIn::start().await;
        let (client, plan) = (stripe.client(), intent_plan("a"));
        stripe.fault("/v1/payment_intents", kind).await;
        assert!(
            matches!(client.create_intent(&plan).await, Attempt::NoAnswer(_)),
            "{kind}"
        );
        assert_eq!(client.find_intent(&plan).await, Find::Absent);
        landed(client.create_intent(&plan).await);
        assert_eq!(stripe.intents().await, 1);
    }
}

#[tokio::test]
async fn a_stored_500_stays_unknown_and_looking_tells() {
    for work in [true, false] {
        let stripe = StandIn::start().await;
        let (client, plan) = (stripe.client(), intent_plan("a"));
        stripe
            .control("idempotency", json!({ "kind": "store_500", "work": work }))
            .await;
        for _ in 0..2 {
            assert!(matches!(
                client.create_intent(&plan).await,
                Attempt::NoAnswer(_)
            ));
            let found = client.find_intent(&plan).await;
            assert_eq!(matches!(found, Find::Landed(_)), work, "{found:?}");
            assert_eq!(matches!(found, Find::Absent), !work, "{found:?}");
        }
        assert_eq!(stripe.intents().await, u64::from(work));
    }
}

#[tokio::test]
async fn an_answer_too_late_is_unknown_and_trying_again_does_not_do_it_twice() {
    let stripe = StandIn::start().await;
    let plan = intent_plan("a");
    stripe
        .control("idempotency", json!({ "kind": "hold", "delay_ms": 1_500 }))
        .await;
    let hasty = client_at(
        &stripe.url,
        "sk_test_sandbox",
        Duration::from_millis(200),
        now,
    );
    assert_eq!(
        hasty.create_intent(&plan).await,
        Attempt::NoAnswer("Stripe did not answer in time".into())
    );
    // Still at work over there: nothing to be seen yet, and the key holds off a second one.
    let client = stripe.client();
    until(|| async {
        match client.find_intent(&plan).await {
            Find::Landed(_) => true,
            Find::Absent => {
                drop(client.create_intent(&plan).await);
                false
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert_eq!(stripe.intents().await, 1);
}

#[tokio::test]
async fn a_wrong_key_is_our_trouble_and_refuses_nobody() {
    let stripe = StandIn::start().await;
    for key in ["sk_test_wrong", "pk_test_sandbox"] {
        let client = client_at(&stripe.url, key, Duration::from_secs(5), now);
        let plan = intent_plan("a");
        assert!(
            matches!(client.create_intent(&plan).await, Attempt::NotSent(_)),
            "{key}"
        );
        assert!(
            matches!(client.find_intent(&plan).await, Find::NoAnswer(_)),
            "{key}"
        );
    }
}

#[tokio::test]
async fn nobody_there_means_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = client_at(&url, "sk_test_sandbox", Duration::from_secs(5), now);
    let plan = intent_plan("a");
    assert_eq!(
        client.create_intent(&plan).await,
        Attempt::NotSent("no connection to Stripe".into())
    );
    assert_eq!(
        client.find_intent(&plan).await,
        Find::NoAnswer("no connection to Stripe".into())
    );
    let error = client.client_secret("pi_1").await.unwrap_err();
    assert!(matches!(
        error,
        counterparties_stripe::StripeReadError::Unavailable(_)
    ));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_unknown() {
    let answers: [(StatusCode, &str); 5] = [
        (StatusCode::OK, "<html>a proxy says hello</html>"),
        (StatusCode::OK, "{}"),
        (
            StatusCode::OK,
            r#"{"id": "pi_1", "object": "payment_intent"}"#,
        ),
        (StatusCode::BAD_GATEWAY, "<html>bad gateway</html>"),
        (StatusCode::PAYMENT_REQUIRED, r#"{"error": "no object"}"#),
    ];
    for (status, body) in answers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(any(move || async move {
            (status, [(header::CONTENT_TYPE, "text/html")], body)
        }));
        let stop = CancellationToken::new();
        tokio::spawn(sandbox_kit::serve(listener, router, stop.clone()));
        let client = client_at(&url, "sk_test_sandbox", Duration::from_secs(5), now);
        let plan = intent_plan("a");
        let attempt = client.create_intent(&plan).await;
        assert!(
            matches!(attempt, Attempt::Unknown(_)),
            "{status} {body}: {attempt:?}"
        );
        let found = client.find_intent(&plan).await;
        assert!(
            matches!(found, Find::NoAnswer(_)),
            "{status} {body}: {found:?}"
        );
        stop.cancel();
    }
}

#[tokio::test]
async fn a_list_that_does_not_advance_ends() {
    let stripe = StandIn::start().await;
    landed(stripe.client().create_intent(&intent_plan("other")).await);
    let list = stripe
        .http
        .get(format!("{}/v1/payment_intents", stripe.url))
        .bearer_auth("sk_test_sandbox")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
        .replace(r#""has_more": false"#, r#""has_more": true"#);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(any(move || std::future::ready(list.clone())));
    let stop = CancellationToken::new();
    tokio::spawn(sandbox_kit::serve(listener, router, stop.clone()));
    let client = client_at(&url, "sk_test_sandbox", Duration::from_secs(5), now);
    assert!(matches!(
        client.find_intent(&intent_plan("a")).await,
        Find::Pending(_)
    ));
    stop.cancel();
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    use counterparties_stripe::ConfigError;
    let config = |base_url: &str, key: &str, seconds| StripeConfig {
        base_url: base_url.into(),
        secret_key: SecretKey::new(key),
        timeout: Duration::from_secs(seconds),
    };
    let refused = |config: StripeConfig| StripeClient::new(&config, now).map(drop).unwrap_err();
    assert_eq!(
        refused(config("http://localhost", " ", 1)),
        ConfigError::Key
    );
    assert_eq!(
        refused(config("http://localhost", "sk_test\nx", 1)),
        ConfigError::Key
    );
    assert_eq!(
        refused(config("http://localhost", "sk_test", 0)),
        ConfigError::Timeout
    );
    for url in [
        "",
        "localhost",
        "ftp://x",
        "http://",
        "/v1",
        "http://x?y",
        "http://x y",
    ] {
        assert_eq!(
            refused(config(url, "sk_test", 1)),
            ConfigError::BaseUrl(url.into()),
            "{url}"
        );
    }
    for url in [
        "http://127.0.0.1:1",
        "https://api.stripe.com/",
        "https://proxy.example/stripe",
    ] {
        assert!(
            StripeClient::new(&config(url, "sk_test", 1), now).is_ok(),
            "{url}"
        );
    }
    let shown = format!("{:?}", config("http://x", "sk_test_secret", 1));
    assert!(!shown.contains("sk_test_secret"), "{shown}");
}
