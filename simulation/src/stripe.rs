//! Stripe, modelled: idempotency keys, charges, refunds, events.

use crate::net::{Network, Unanswered};
use crate::time;
use async_trait::async_trait;
use counterparties_stripe::{
    Cards, ClientSecret, EventPage, IntentPlan, IntentProof, RefundPlan, RefundProof, StripeEvents,
    StripeReadError,
};
use events::ids::{EventId, PurchaseId};
use events::money::Fiat;
use events::outcome::{Attempt, Find, Refusal};
use events::stripe::StripeFacts;
use events::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

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
    /// What went back, by refund of ours.
    pub refunds: Vec<i64>,
    /// What somebody else gave back.
    pub outside: i64,
    /// The dispute about it.
    dispute: Option<Dispute>,
    created: Timestamp,
}

/// A dispute: it is about all that is there of the charge when it begins, and until it is won there
/// is nothing to be refunded.
#[derive(Debug, Clone, Copy)]
struct Dispute {
    amount: i64,
    /// Whether it was won, once it has ended.
    won: Option<bool>,
}

impl Intent {
    /// What a bank took back, because a dispute was lost.
    #[must_use]
    pub fn taken(&self) -> i64 {
        let lost = self.dispute.filter(|dispute| dispute.won == Some(false));
        lost.map_or(0, |dispute| dispute.amount)
    }

    /// What can be refunded.
    fn left(&self) -> i64 {
        let back = self.refunds.iter().sum::<i64>() + self.outside;
        let disputed = self.dispute.filter(|dispute| dispute.won != Some(true));
        self.amount.minor - back - disputed.map_or(0, |dispute| dispute.amount)
    }
}

/// Events in a page of the list; few, so that there are many pages.
const PAGE: usize = 3;

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
    events: Vec<StripeFacts>,
    /// So many of the events were handed to the webhook route.
    told: usize,
    /// Woken by each event.
    news: Arc<Notify>,
    count: u64,
}

impl Model {
    /// Something happened to an intent, or to an object of `amount` that belongs to it.
    fn happened(
        &mut self,
        kind: &str,
        intent: &Intent,
        (object, amount): (&str, i64),
        status: Option<&str>,
        request_id: Option<EventId>,
    ) {
        self.events.push(StripeFacts {
            purchase_id: Some(intent.purchase),
            stripe_event_id: format!("evt_{}", self.events.len() + 1),
            event_type: kind.to_owned(),
            created: time::now(),
            livemode: false,
            object_id: Some(object.to_owned()),
            intent_id: Some(intent.id.clone()),
            amount: Some(amount),
            amount_received: intent.paid.then_some(intent.amount.minor),
            amount_refunded: Some(intent.refunds.iter().sum::<i64>() + intent.outside),
            currency: Some(intent.amount.currency.code().to_owned()),
            status: status.map(ToOwned::to_owned),
            failure_code: None,
            raw: "{}".to_owned(),
            request_id,
        });
        self.news.notify_one();
    }
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
            let intent = intent.clone();
            let about = (intent.id.as_str(), intent.amount.minor);
            model.happened("payment_intent.succeeded", &intent, about, None, None);
        }
    }

    /// A payer's bank takes back what is there of the charge of an intent, once. `false`: nothing is
    /// there.
    pub fn dispute(&self, intent: &str) -> bool {
        let mut model = self.model();
        let model = &mut *model;
        let Some(intent) = model.intents.values_mut().find(|i| i.id == intent) else {
            return false;
        };
        let amount = intent.left();
        if !intent.paid || amount == 0 || intent.dispute.is_some() {
            return false;
        }
        intent.dispute = Some(Dispute { amount, won: None });
        let intent = intent.clone();
        let id = format!("dp_{}", intent.id);
        let status = Some("needs_response");
        model.happened(
            "charge.dispute.created",
            &intent,
            (&id, amount),
            status,
            None,
        );
        true
    }

    /// The dispute about an intent ends.
    pub fn end_dispute(&self, intent: &str, won: bool) {
        let mut model = self.model();
        let model = &mut *model;
        let Some(intent) = model.intents.values_mut().find(|i| i.id == intent) else {
            return;
        };
        let Some(dispute) = &mut intent.dispute else {
            return;
        };
        dispute.won = Some(won);
        let amount = dispute.amount;
        let intent = intent.clone();
        let id = format!("dp_{}", intent.id);
        let status = Some(if won { "won" } else { "lost" });
        model.happened(
            "charge.dispute.closed",
            &intent,
            (&id, amount),
            status,
            None,
        );
    }

    /// Somebody gives back so many percent of a payment, in the dashboard; nothing when more than
    /// the rest has gone back before.
    pub fn refund_outside(&self, intent: &str, percent: i64) {
        let mut model = self.model();
        let model = &mut *model;
        model.count += 1;
        let id = format!("re_{}", model.count);
        let Some(intent) = model.intents.values_mut().find(|i| i.id == intent) else {
            return;
        };
        let sum = (intent.amount.minor * percent / 100).max(1);
        if !intent.paid || sum > intent.left() {
            return;
        }
        intent.outside += sum;
        let intent = intent.clone();
        let charge = (intent.id.as_str(), intent.amount.minor);
        model.happened("charge.refunded", &intent, charge, None, None);
        model.happened(
            "refund.created",
            &intent,
            (&id, sum),
            Some("succeeded"),
            None,
        );
    }

    /// Waits for something to tell, and gives what there is since it was last asked.
    pub async fn told(&self) -> Vec<StripeFacts> {
        let news = Arc::clone(&self.model().news);
        news.notified().await;
        let mut model = self.model();
        let told = model.events.get(model.told..).unwrap_or_default().to_vec();
        model.told = model.events.len();
        told
    }

    /// Some of the events that the list shows at present.
    async fn list<T: Send + 'static>(
        &self,
        pick: impl Fn(&[StripeFacts]) -> T + Send + Sync + 'static,
    ) -> Result<T, StripeReadError> {
        let (stripe, lag) = (self.clone(), self.network.lag(10));
        self.network
            .call("list events", move || {
                let model = stripe.model();
                let shown = model.events.iter().take_while(|e| listed(e.created, lag));
                pick(model.events.get(..shown.count()).unwrap_or_default())
            })
            .await
            .map_err(|_| StripeReadError::Unavailable("no answer".to_owned()))
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
                outside: 0,
                dispute: None,
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
        if intent
            .dispute
            .is_some_and(|dispute| dispute.won != Some(true))
        {
            return Err(Refusal::new("charge_disputed", "a bank has the charge"));
        }
        if !intent.paid || plan.amount.minor > intent.left() {
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
        let intent = intent.clone();
        let charge = (intent.id.as_str(), intent.amount.minor);
        let made = (refund.id.as_str(), plan.amount.minor);
        let status = Some("succeeded");
        model.happened("charge.refunded", &intent, charge, None, None);
        model.happened("refund.created", &intent, made, status, Some(plan.request));
        model.refunds.insert(plan.request, refund.clone());
        Ok(refund)
    }
}

fn attempt<P>(answer: Result<Result<P, Refusal>, Unanswered>) -> Attempt<P> {
    match answer {
        Ok(Ok(proof)) => Attempt::Landed(proof),
        Ok(Err(refusal)) => Attempt::Refused(refusal),
        Err(Unanswered::NotSent) => Attempt::NotSent("connection refused".to_owned()),
        Err(Unanswered::Lost) => Attempt::NoAnswer("no answer".to_owned()),
        Err(Unanswered::Unavailable) => Attempt::NoAnswer("503".to_owned()),
    }
}

fn found<P>(answer: Result<Option<P>, Unanswered>) -> Find<P> {
    match answer {
        Ok(Some(proof)) => Find::Landed(proof),
        Ok(None) => Find::Absent,
        Err(_) => Find::NoAnswer("no answer".to_owned()),
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

    async fn receipt_to(&self, _: &str, _: &str) -> Result<ClientSecret, StripeReadError> {
        Err(StripeReadError::Unavailable("nobody asks here".to_owned()))
    }
    async fn purchase_of(&self, _: &str) -> Result<Option<PurchaseId>, StripeReadError> {
        Err(StripeReadError::Unavailable("nobody asks here".to_owned()))
    }
}

#[async_trait]
impl StripeEvents for Stripe {
    async fn after(&self, event_id: &str) -> Result<EventPage, StripeReadError> {
        let event_id = event_id.to_owned();
        self.list(move |events| {
            let at = events.iter().position(|e| e.stripe_event_id == event_id);
            // What a lagging list does not show yet has nothing after it.
            let newer = at.map_or(&[][..], |at| events.get(at + 1..).unwrap_or_default());
            EventPage {
                events: newer.iter().take(PAGE).cloned().collect(),
                more: newer.len() > PAGE,
            }
        })
        .await
    }

    async fn last_before(&self, time: Timestamp) -> Result<Option<StripeFacts>, StripeReadError> {
        self.list(move |events| events.iter().rev().find(|e| e.created < time).cloned())
            .await
    }

    async fn oldest(&self) -> Result<Option<StripeFacts>, StripeReadError> {
        self.list(|events| events.first().cloned()).await
    }
}
