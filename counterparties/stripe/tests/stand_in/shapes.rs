//! Everything that the stand-in shows is read by the typed library.

use super::*;
use stripe::{Client, ClientBuilder, StripeError, StripeRequest};
use stripe_core::event::{ListEvent, RetrieveEvent};
use stripe_core::payment_intent::{
    CancelPaymentIntent, ConfirmPaymentIntent, ListPaymentIntent, RetrievePaymentIntent,
};
use stripe_core::refund::{ListRefund, RetrieveRefund};

fn typed(stand_in: &StandIn) -> Client {
    ClientBuilder::new("sk_test_sandbox")
        .url(format!("{}/", stand_in.url))
        .build()
        .unwrap()
}

async fn ask<R: StripeRequest>(stand_in: &StandIn, request: R) -> Result<R::Output, StripeError>
where
    R::Output: Readable,
{
    R::Output::read(request, &typed(stand_in)).await
}

/// The library's own bound, which it does not re-export.
trait Readable: Sized {
    async fn read<R: StripeRequest<Output = Self>>(
        request: R,
        client: &Client,
    ) -> Result<Self, StripeError>;
}

macro_rules! readable {
    ($($type:ty),+) => {$(
        impl Readable for $type {
            async fn read<R: StripeRequest<Output = Self>>(request: R, client: &Client) -> Result<Self, StripeError> {
                request.customize().send(client).await
            }
        }
    )+};
}
readable!(
    stripe_shared::PaymentIntent,
    stripe_shared::Refund,
    stripe_shared::Event,
    stripe_types::List<stripe_shared::PaymentIntent>,
    stripe_types::List<stripe_shared::Refund>,
    stripe_types::List<stripe_shared::Event>
);

#[tokio::test]
async fn typed_requests_read_every_object() {
    let stripe = StandIn::start().await;
    let refunded = stripe.paid("a", "pm_card_visa", 1_000).await;
    landed(stripe.client().create_refund(&refunded).await);
    let intent = ask(
        &stripe,
        RetrievePaymentIntent::new(refunded.intent_id.as_str()).expand(vec![
            "latest_charge".to_owned(),
            "payment_method".to_owned(),
        ]),
    )
    .await
    .unwrap();
    assert_eq!(intent.status.as_str(), "succeeded");
    let charge = intent.latest_charge.unwrap().into_object().unwrap();
    assert_eq!((charge.amount_refunded, charge.refunded), (1_000, false));
    assert_eq!(
        charge.metadata["purchase_id"],
        refunded.purchase.to_string()
    );

    let open = landed(stripe.client().create_intent(&intent_plan("b")).await).intent_id;
    let declined = ask(
        &stripe,
        ConfirmPaymentIntent::new(open.as_str()).payment_method("pm_card_chargeDeclined"),
    )
    .await
    .unwrap_err();
    let StripeError::Stripe(error, 402) = declined else {
        panic!("{declined}")
    };
    assert_eq!(error.decline_code.as_deref(), Some("generic_decline"));
    assert_eq!(error.payment_intent.unwrap().id.as_str(), open);
    let again = ask(&stripe, RetrievePaymentIntent::new(open.as_str()))
        .await
        .unwrap();
    assert_eq!(
        again.last_payment_error.unwrap().code.unwrap().as_str(),
        "card_declined"
    );
    let asking = ask(
        &stripe,
        ConfirmPaymentIntent::new(open.as_str()).payment_method("pm_card_authenticationRequired"),
    )
    .await
    .unwrap();
    assert_eq!(asking.status.as_str(), "requires_action");
    let canceled = ask(&stripe, CancelPaymentIntent::new(open.as_str()))
        .await
        .unwrap();
    assert_eq!(canceled.status.as_str(), "canceled");

    assert_eq!(
        ask(&stripe, ListPaymentIntent::new())
            .await
            .unwrap()
            .data
            .len(),
        2
    );
    let refunds = ask(
        &stripe,
        ListRefund::new().payment_intent(&refunded.intent_id),
    )
    .await
    .unwrap();
    let refund = ask(&stripe, RetrieveRefund::new(refunds.data[0].id.as_str()))
        .await
        .unwrap();
    assert_eq!(refund.amount, 1_000);

    let events = ask(&stripe, ListEvent::new().limit(100)).await.unwrap();
    let kinds: Vec<&str> = events
        .data
        .iter()
        .rev()
        .map(|event| event.type_.as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "refund.created",
            "charge.refunded",
            "payment_intent.created",
            "charge.failed",
            "payment_intent.payment_failed",
            "payment_intent.requires_action",
            "payment_intent.canceled",
        ]
    );
    let event = ask(&stripe, RetrieveEvent::new(events.data[0].id.as_str()))
        .await
        .unwrap();
    assert_eq!(event.api_version.as_deref(), Some("2026-09-30.endive"));
}
