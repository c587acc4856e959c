//! `system-tests stripe-calls`: every call that our Stripe client can make, once and more, for
//! tests/stripe-mock to judge.

use anyhow::{Context, Result, bail};
use counterparties_stripe::webhook::Notification;
use counterparties_stripe::{
    Cards, IntentPlan, RefundPlan, SecretKey, StripeClient, StripeConfig, StripeEvents,
};
use events::ids::{EventId, PurchaseId, UserId};
use events::money::{Currency, Fiat};
use events::outcome::{Attempt, Find};
use pipeline::clock;
use serde_json::json;
use std::fmt::Debug;
use std::time::Duration;

fn landed<P>(what: &str, attempt: Attempt<P>) -> Result<P> {
    match attempt {
        Attempt::Landed(proof) => Ok(proof),
        Attempt::Refused(refusal) => bail!("{what}: {refusal}"),
        Attempt::NotSent(why) | Attempt::Unknown(why) | Attempt::NoAnswer(why) => {
            bail!("{what}: {why}")
        }
    }
}

/// The mock lists an object of its own, never ours: whoever looks finds nothing, and learns it.
fn looked<P: Debug>(what: &str, find: Find<P>) -> Result<()> {
    match find {
        Find::Absent => Ok(()),
        other => bail!("{what}: {other:?}"),
    }
}

/// Makes every call at this base URL.
///
/// # Errors
/// When an answer is not what stripe-mock gives to a valid request.
pub async fn run(url: &str) -> Result<()> {
    let config = StripeConfig {
        base_url: url.to_owned(),
        secret_key: SecretKey::new("sk_test_123"),
        timeout: Duration::from_secs(20),
    };
    let stripe = StripeClient::new(&config, clock::now)?;
    let now = clock::now();
    for currency in Currency::ALL {
        let name = currency.code();
        let intent = IntentPlan {
            purchase: PurchaseId::derive(&["mock", name]),
            user: UserId::derive(&["mock"]),
            request: EventId::derive(&["intent", name]),
            amount: Fiat {
                minor: 1_990,
                currency,
            },
            requested_at: now,
        };
        let made = landed("creating an intent", stripe.create_intent(&intent).await)?;
        if made.amount != intent.amount {
            bail!("the intent is over {}, not {}", made.amount, intent.amount);
        }
        looked("finding an intent", stripe.find_intent(&intent).await)?;
        let refund = RefundPlan {
            purchase: intent.purchase,
            request: EventId::derive(&["refund", name]),
            intent_id: made.intent_id.clone(),
            amount: Fiat {
                minor: 990,
                currency,
            },
            requested_at: now,
        };
        landed("refunding", stripe.create_refund(&refund).await)?;
        looked("finding a refund", stripe.find_refund(&refund).await)?;
        stripe.client_secret(&made.intent_id).await?;
        stripe.purchase_of(&made.intent_id).await?;
        stripe
            .receipt_to(&made.intent_id, "payer@example.com")
            .await?;
    }
    for object in [
        "payment_intents/pi_1",
        "charges/ch_1",
        "refunds/re_1",
        "disputes/dp_1",
    ] {
        let body = json!({
            "id": "evt_test_1", "object": "v2.core.event", "type": "v1.charge.succeeded",
            "related_object": { "url": format!("/v1/{object}") },
        });
        let notification = Notification::read(body.to_string().as_bytes()).context("it is one")?;
        let facts = stripe.fetch(notification).await?;
        if facts.object_id.is_none() {
            bail!("the object of {object} was not fetched: {}", facts.raw);
        }
    }
    let oldest = stripe.oldest().await?.context("the mock lists an event")?;
    stripe.after(&oldest.stripe_event_id).await?;
    stripe
        .last_before(now)
        .await?
        .context("the mock lists an event")?;
    Ok(())
}
