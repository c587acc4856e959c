//! The client against the stand-in, through the real protocol.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod event_list;
mod intents;
mod refunds;
mod shapes;
mod troubles;
mod webhooks;

use counterparties_stripe::{
    Cards, Clock, IntentPlan, IntentProof, RefundPlan, SecretKey, StripeClient, StripeConfig,
};
use events::ids::{EventId, PurchaseId, UserId};
use events::money::{Currency, Fiat};
use events::outcome::Attempt;
use events::time::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A stand-in of its own, stopped when dropped.
struct StandIn {
    url: String,
    http: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock given to the client")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

fn client_at(url: &str, key: &str, timeout: Duration, clock: Clock) -> StripeClient {
    let config = StripeConfig {
        base_url: url.to_owned(),
        secret_key: SecretKey::new(key),
        timeout,
    };
    StripeClient::new(&config, clock).unwrap()
}

impl StandIn {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let router = sandbox_stripe::router(sandbox_stripe::DEFAULT_KEY, None).unwrap();
        tokio::spawn(sandbox_kit::serve(listener, router, stop.clone()));
        Self {
            url,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            stop,
        }
    }

    fn client(&self) -> StripeClient {
        client_at(
            &self.url,
            sandbox_stripe::DEFAULT_KEY,
            Duration::from_secs(20),
            now,
        )
    }

    async fn control(&self, path: &str, body: Value) {
        let answer = self
            .http
            .post(format!("{}/_control/{path}", self.url))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert!(
            answer.status().is_success(),
            "{}",
            answer.text().await.unwrap()
        );
    }

    /// Arms a fault of the serving kit for the next POST.
    async fn fault(&self, path: &str, kind: &str) {
        self.control(
            "faults",
            json!({ "method": "POST", "path": path, "kind": kind, "times": 1 }),
        )
        .await;
    }

    async fn counts(&self) -> Value {
        self.http
            .get(format!("{}/_control/counts", self.url))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    async fn intents(&self) -> u64 {
        self.counts().await["payment_intents"].as_u64().unwrap()
    }

    /// Pays as a browser would.
    async fn pay(&self, intent: &str, card: &str) {
        let secret = self.client().client_secret(intent).await.unwrap();
        self.http
            .post(format!("{}/v1/payment_intents/{intent}/confirm", self.url))
            .bearer_auth("pk_test_sandbox")
            .form(&[("payment_method", card), ("client_secret", secret.expose())])
            .send()
            .await
            .unwrap();
    }

    /// An intent that is paid with this card, and a plan to refund some of it.
    async fn paid(&self, name: &str, card: &str, minor: i64) -> RefundPlan {
        let plan = intent_plan(name);
        let intent = landed(self.client().create_intent(&plan).await);
        self.pay(&intent.intent_id, card).await;
        RefundPlan {
            purchase: plan.purchase,
            request: EventId::derive(&[name, "refund"]),
            intent_id: intent.intent_id,
            amount: Fiat {
                minor,
                currency: Currency::Usd,
            },
            requested_at: now(),
        }
    }
}

fn intent_plan(name: &str) -> IntentPlan {
    IntentPlan {
        purchase: PurchaseId::derive(&[name]),
        user: UserId::derive(&["u"]),
        request: EventId::derive(&[name, "intent"]),
        amount: Fiat {
            minor: 2_500,
            currency: Currency::Usd,
        },
        requested_at: now(),
    }
}

fn landed<P: std::fmt::Debug>(attempt: Attempt<P>) -> P {
    match attempt {
        Attempt::Landed(proof) => proof,
        other => panic!("did not land: {other:?}"),
    }
}

fn proof_of(plan: &IntentPlan, intent_id: &str) -> IntentProof {
    IntentProof {
        intent_id: intent_id.to_owned(),
        status: "requires_payment_method".into(),
        amount: plan.amount,
        livemode: false,
    }
}

/// Waits until `condition` holds, at most 20 seconds.
async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("in time");
}
