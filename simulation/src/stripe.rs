//! Stripe, modelled: idempotency keys, charges, refunds, events.

use crate::net::{Network, Unanswered};
use crate::time;
use async_trait::async_trait;
use counterparties_stripe::{
    Cards, ClientSecret, IntentPlan, IntentProof, RefundPlan, RefundProof, StripeReadError,
};
use events::ids::{EventId, PurchaseId};
use events::money::Fiat;
use events::outcome::{Attempt, Find, Refusal};
use events::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A PaymentIntent.
#[derive(Debug, Clone)]
pub struct Intent {
    /// `pi_…`.
    pub id: String,
    /// Whose.
    pub purchase: PurchaseId,
    /// What it charges.
    pub amount: Fiat,
    /// Whether it was paid.
    pub paid: bool,
    /// What went back, by refund.
    pub refunds: Vec<i64>,
    created: Timestamp,
}

/// Something that Stripe tells by webhook.
#[derive(Debug, Clone)]
pub struct Told {
    /// `payment_intent.succeeded`, …
    pub kind: &'static str,
    /// The intent.
    pub intent: Intent,
}

#[derive(Debug, Clone)]
struct Refund {
    id: String,
    intent: String,
    amount: Fiat,
    created: Timestamp,
}

#[derive(Default)]
struct Model {
    intents: BTreeMap<EventId, Intent>,
    refunds: BTreeMap<EventId, Refund>,
    told: Vec<Told>,
    count: u64,
}

/// Stripe. Cloning is cheap.
#[derive(Clone)]
pub struct Stripe {
    model: Arc<Mutex<Model>>,
    network: Network,
}

impl Stripe {
    /// An empty account.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self {
            model: Arc::default(),
            network,
        }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All intents, oldest first.
    #[must_use]
    pub fn intents(&self) -> Vec<Intent> {
        let mut all: Vec<Intent> = self.model().intents.values().cloned().collect();
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all
    }

    /// A person pays.
    pub fn pay(&self, id: &str) {
        let mut model = self.model();
        let model = &mut *model;
        if let Some(intent) = model.intents.values_mut().find(|i| i.id == id)
            && !intent.paid
        {
            intent.paid = true;
            model.told.push(Told {
                kind: "payment_intent.succeeded",
                intent: intent.clone(),
            });
        }
    }

    /// What there is to tell since it was last asked.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        std::mem::take(&mut self.model().told)
    }

    fn create(&self, plan: &IntentPlan) -> Intent {
        let mut model = self.model();
        let model = &mut *model;
        model.count += 1;
        let id = format!("pi_{}", model.count);
        model
            .intents
            .entry(plan.request)
            .or_insert_with(|| Intent {
                id,
                purchase: plan.purchase,
                amount: plan.amount,
                paid: false,
                refunds: Vec::new(),
                created: time::now(),
            })
            .clone()
    }

    fn refund(&self, plan: &RefundPlan) -> Result<Refund, Refusal> {
        let mut model = self.model();
        let model = &mut *model;
        if let Some(refund) = model.refunds.get(&plan.request) {
            return Ok(refund.clone());
        }
        let Some(intent) = model.intents.values_mut().find(|i| i.id == plan.intent_id) else {
            return Err(Refusal::new("resource_missing", "no such payment_intent"));
        };
        let back: i64 = intent.refunds.iter().sum();
        if !intent.paid || back + plan.amount.minor > intent.amount.minor {
            return Err(Refusal::new(
                "charge_already_refunded",
                "nothing is left of the charge",
            ));
        }
        intent.refunds.push(plan.amount.minor);
        model.count += 1;
        let refund = Refund {
            id: format!("re_{}", model.count),
            intent: intent.id.clone(),
            amount: plan.amount,
            created: time::now(),
        };
        model.told.push(Told {
            kind: "charge.refunded",
            intent: intent.clone(),
        });
        model.refunds.insert(plan.request, refund.clone());
        Ok(refund)
    }
}

fn attempt<P>(answer: Result<Result<P, Refusal>, Unanswered>) -> Attempt<P> {
    match answer {
        Ok(Ok(proof)) => Attempt::Landed(proof),
        Ok(Err(refusal)) => Attempt::Refused(refusal),
        Err(Unanswered::NotSent) => Attempt::NotSent("connection refused".to_owned()),
        Err(Unanswered::Lost) => Attempt::Unknown("no answer".to_owned()),
    }
}

fn found<P>(answer: Result<Option<P>, Unanswered>) -> Find<P> {
    match answer {
        Ok(Some(proof)) => Find::Landed(proof),
        Ok(None) => Find::Absent,
        Err(_) => Find::Pending("no answer".to_owned()),
    }
}

fn proof(intent: &Intent) -> IntentProof {
    IntentProof {
        intent_id: intent.id.clone(),
        status: if intent.paid {
            "succeeded"
        } else {
            "requires_payment_method"
        }
        .to_owned(),
        amount: intent.amount,
        livemode: false,
    }
}

fn refund_proof(refund: &Refund) -> RefundProof {
    RefundProof {
        refund_id: refund.id.clone(),
        status: "succeeded".to_owned(),
        amount: refund.amount,
    }
}

/// Lists lag by some seconds.
fn listed(created: Timestamp, lag: u64) -> bool {
    created.after(std::time::Duration::from_secs(lag)) <= time::now()
}

#[async_trait]
impl Cards for Stripe {
    async fn create_intent(&self, plan: &IntentPlan) -> Attempt<IntentProof> {
        let (stripe, plan) = (self.clone(), plan.clone());
        attempt(
            self.network
                .call("create intent", move || Ok(proof(&stripe.create(&plan))))
                .await,
        )
    }

    async fn find_intent(&self, plan: &IntentPlan) -> Find<IntentProof> {
        let (stripe, request, lag) = (self.clone(), plan.request, self.network.lag(10));
        let answer = self
            .network
            .call("find intent", move || {
                let model = stripe.model();
                let intent = model.intents.get(&request);
                intent.filter(|i| listed(i.created, lag)).map(proof)
            })
            .await;
        found(answer)
    }

    async fn create_refund(&self, plan: &RefundPlan) -> Attempt<RefundProof> {
        let (stripe, plan) = (self.clone(), plan.clone());
        attempt(
            self.network
                .call("create refund", move || {
                    stripe.refund(&plan).map(|r| refund_proof(&r))
                })
                .await,
        )
    }

    async fn find_refund(&self, plan: &RefundPlan) -> Find<RefundProof> {
        let (stripe, plan, lag) = (self.clone(), plan.clone(), self.network.lag(10));
        let answer = self
            .network
            .call("find refund", move || {
                let model = stripe.model();
                let refund = model.refunds.get(&plan.request);
                refund
                    .filter(|r| r.intent == plan.intent_id && listed(r.created, lag))
                    .map(refund_proof)
            })
            .await;
        found(answer)
    }

    async fn client_secret(&self, _: &str) -> Result<ClientSecret, StripeReadError> {
        Err(StripeReadError::Unavailable("nobody asks here".to_owned()))
    }

    async fn purchase_of(&self, _: &str) -> Result<Option<PurchaseId>, StripeReadError> {
        Err(StripeReadError::Unavailable("nobody asks here".to_owned()))
    }
}
