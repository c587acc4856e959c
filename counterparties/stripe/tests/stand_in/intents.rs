//! Creating and finding PaymentIntents.

use super::*;
use events::outcome::{Find, Refusal};

#[tokio::test]
async fn one_request_makes_one_intent_however_often_it_is_sent() {
    let stripe = StandIn::start().await;
    let (client, plan) = (stripe.client(), intent_plan("a"));
    assert_eq!(client.find_intent(&plan).await, Find::Absent);
    let first = landed(client.create_intent(&plan).await);
    assert_eq!(first, proof_of(&plan, &first.intent_id));
    assert_eq!(landed(client.create_intent(&plan).await), first);
    assert_eq!(client.find_intent(&plan).await, Find::Landed(first.clone()));
    assert_eq!(stripe.intents().await, 1);
    let of_purchase = stripe.counts().await["by_purchase"][plan.purchase.to_string()].clone();
    assert_eq!(of_purchase["intents"], json!([first.intent_id]));
}

#[tokio::test]
async fn two_senders_at_once_make_one_intent() {
    let stripe = StandIn::start().await;
    let plan = intent_plan("a");
    stripe
        .control("idempotency", json!({ "kind": "hold", "delay_ms": 500 }))
        .await;
    let (client, other) = (stripe.client(), stripe.client());
    let (one, two) = tokio::join!(client.create_intent(&plan), other.create_intent(&plan));
    let (proof, unknown) = match (one, two) {
        (Attempt::Landed(proof), Attempt::Unknown(why))
        | (Attempt::Unknown(why), Attempt::Landed(proof)) => (proof, why),
        other => panic!("{other:?}"),
    };
    assert!(unknown.contains("409 idempotency_key_in_use"), "{unknown}");
    assert_eq!(client.find_intent(&plan).await, Find::Landed(proof));
    assert_eq!(stripe.intents().await, 1);
}

#[tokio::test]
async fn finds_the_intent_far_down_the_list() {
    let stripe = StandIn::start().await;
    let (client, plan) = (stripe.client(), intent_plan("a"));
    let first = landed(client.create_intent(&plan).await);
    let others = (0..230).map(|n| {
        stripe
            .http
            .post(format!("{}/v1/payment_intents", stripe.url))
            .bearer_auth("sk_test_sandbox")
            .form(&[
                ("amount", (1000 + n).to_string()),
                ("currency", "usd".into()),
            ])
            .send()
    });
    for other in others {
        assert!(other.await.unwrap().status().is_success());
    }
    assert_eq!(client.find_intent(&plan).await, Find::Landed(first));
    assert_eq!(client.find_intent(&intent_plan("b")).await, Find::Absent);
}

#[tokio::test]
async fn shows_the_status_of_now_when_looking_and_of_then_when_replayed() {
    let stripe = StandIn::start().await;
    let (client, plan) = (stripe.client(), intent_plan("a"));
    let first = landed(client.create_intent(&plan).await);
    stripe.pay(&first.intent_id, "pm_card_visa").await;
    assert_eq!(landed(client.create_intent(&plan).await), first);
    let paid = IntentProof {
        status: "succeeded".into(),
        ..first
    };
    assert_eq!(client.find_intent(&plan).await, Find::Landed(paid));
}

#[tokio::test]
async fn a_charge_that_stripe_does_not_take_is_refused_with_its_code() {
    let stripe = StandIn::start().await;
    for (minor, code) in [(49, "amount_too_small"), (100_000_000, "amount_too_large")] {
        let amount = Fiat {
            minor,
            currency: Currency::Eur,
        };
        let plan = IntentPlan {
            amount,
            ..intent_plan("a")
        };
        match stripe.client().create_intent(&plan).await {
            Attempt::Refused(Refusal { code: shown, .. }) => assert_eq!(shown, code),
            other => panic!("{other:?}"),
        }
        assert_eq!(stripe.client().find_intent(&plan).await, Find::Absent);
    }
}

#[tokio::test]
async fn a_key_used_for_something_else_is_unknown_until_looked_up() {
    let stripe = StandIn::start().await;
    let (client, plan) = (stripe.client(), intent_plan("a"));
    let first = landed(client.create_intent(&plan).await);
    let changed = IntentPlan {
        amount: Fiat {
            minor: 9_900,
            currency: Currency::Usd,
        },
        ..plan
    };
    match client.create_intent(&changed).await {
        Attempt::Unknown(why) => assert!(why.contains("idempotency_error"), "{why}"),
        other => panic!("{other:?}"),
    }
    // What stands there is shown with its own amount; the policy compares.
    assert_eq!(client.find_intent(&changed).await, Find::Landed(first));
}

#[tokio::test]
async fn a_request_older_than_its_key_is_only_looked_for() {
    let stripe = StandIn::start().await;
    let tomorrow: Clock = || now().after(Duration::from_secs(24 * 3600));
    let client = client_at(
        &stripe.url,
        "sk_test_sandbox",
        Duration::from_secs(5),
        tomorrow,
    );
    let plan = intent_plan("a");
    assert!(matches!(
        client.create_intent(&plan).await,
        Attempt::Unknown(_)
    ));
    assert_eq!(client.find_intent(&plan).await, Find::Absent);
    assert_eq!(stripe.intents().await, 0);
    let made = landed(stripe.client().create_intent(&plan).await);
    assert_eq!(client.find_intent(&plan).await, Find::Landed(made));
}

#[tokio::test]
async fn the_client_secret_and_the_purchase_are_read_from_the_intent() {
    let stripe = StandIn::start().await;
    let (client, plan) = (stripe.client(), intent_plan("a"));
    let intent = landed(client.create_intent(&plan).await).intent_id;
    let secret = client.client_secret(&intent).await.unwrap();
    assert!(secret.expose().starts_with(&format!("{intent}_secret_")));
    assert!(!format!("{secret:?}").contains(&intent));
    assert_eq!(client.purchase_of(&intent).await, Ok(Some(plan.purchase)));
    for wrong in ["pi_none", "pi_../events", "re_1", ""] {
        let error = client.client_secret(wrong).await.unwrap_err();
        assert!(
            matches!(error, counterparties_stripe::StripeReadError::Missing(_)),
            "{error}"
        );
    }
}
