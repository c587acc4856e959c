//! The hand that creates PaymentIntents and refunds at Stripe.
//!
//! The key that Stripe enforces is derived from the request event's id. After the deadline and
//! a grace period an effect that Stripe does not list is given up; the policy decides what next.

use counterparties_stripe::{Cards, IntentPlan, IntentProof, RefundPlan, RefundProof};
use events::envelope::Record;
use events::ids::EventId;
use events::outcome::{Attempt, Find, Refusal};
use events::purchases::{
    CompensationFailed, CompensationRequested, CompensationSettled, PaymentIntentCreated,
    PaymentIntentFailed, PaymentIntentRequested, PurchaseEvent,
};
use events::time::Timestamp;
use pipeline::{Executor, Job, Verdict, clock};
use std::sync::Arc;
use std::time::Duration;

/// How long after the deadline an effect that Stripe does not list is still waited for: no
/// request of ours is under way for so long.
const GRACE: Duration = Duration::from_secs(120);

/// The executor `payments`.
pub struct Payments {
    cards: Arc<dyn Cards>,
}

impl Payments {
    /// The hand, working at this card processor.
    #[must_use]
    pub fn new(cards: Arc<dyn Cards>) -> Self {
        Self { cards }
    }
}

/// What is asked of Stripe.
#[derive(Debug, Clone)]
pub enum Request {
    /// A PaymentIntent.
    Intent(PaymentIntentRequested),
    /// A refund.
    Refund(CompensationRequested),
}

impl Request {
    fn deadline(&self) -> Timestamp {
        match self {
            Self::Intent(r) => r.deadline,
            Self::Refund(r) => r.deadline,
        }
    }
}

/// What Stripe showed.
#[derive(Debug, Clone)]
pub enum Proof {
    /// Of a PaymentIntent.
    Intent(IntentProof),
    /// Of a refund.
    Refund(RefundProof),
}

fn intent_plan(job: &Job<Payments>, request: &PaymentIntentRequested) -> IntentPlan {
    IntentPlan {
        purchase: request.purchase_id,
        user: request.user_id,
        request: job.record.id(),
        amount: request.charge,
        requested_at: job.record.time(),
    }
}

fn refund_plan(job: &Job<Payments>, request: &CompensationRequested) -> RefundPlan {
    RefundPlan {
        purchase: request.purchase_id,
        request: job.record.id(),
        intent_id: request.intent_id.clone(),
        amount: request.amount,
        requested_at: job.record.time(),
    }
}

impl Executor for Payments {
    const NAME: &'static str = "payments";
    type Event = PurchaseEvent;
    type Request = Request;
    type Proof = Proof;
    type Context = ();

    fn observe(&self, (): &mut (), _: &Record<PurchaseEvent>) {}

    fn request(&self, record: &Record<PurchaseEvent>) -> Option<Request> {
        match &record.event {
            PurchaseEvent::PaymentIntentRequested(request) => {
                Some(Request::Intent(request.clone()))
            }
            PurchaseEvent::CompensationRequested(request) => Some(Request::Refund(request.clone())),
            _ => None,
        }
    }

    fn closes(&self, event: &PurchaseEvent) -> Option<EventId> {
        match event {
            PurchaseEvent::PaymentIntentCreated(e) => Some(e.request_id),
            PurchaseEvent::PaymentIntentFailed(e) => Some(e.request_id),
            PurchaseEvent::CompensationSettled(e) => Some(e.request_id),
            PurchaseEvent::CompensationFailed(e) => Some(e.request_id),
            _ => None,
        }
    }

    /// Stripe takes them side by side; only those of one purchase keep their order.
    fn queue(&self, job: &Job<Self>) -> String {
        job.record.envelope.subject.clone()
    }

    async fn find(&self, job: &Job<Self>) -> Find<Proof> {
        let seen = match &job.request {
            Request::Intent(request) => {
                let seen = self.cards.find_intent(&intent_plan(job, request)).await;
                seen.map(Proof::Intent)
            }
            Request::Refund(request) => {
                let seen = self.cards.find_refund(&refund_plan(job, request)).await;
                seen.map(Proof::Refund)
            }
        };
        match seen {
            Find::Absent if clock::now() >= job.request.deadline().after(GRACE) => {
                Find::NeverWill("the deadline passed and Stripe lists nothing of it".to_owned())
            }
            Find::Absent if clock::now() >= job.request.deadline() => {
                Find::Pending("the deadline passed; waiting for a last sign of it".to_owned())
            }
            other => other,
        }
    }

    async fn attempt(&self, job: &Job<Self>) -> Attempt<Proof> {
        if clock::now() >= job.request.deadline() {
            return Attempt::Unknown("the deadline has passed".to_owned());
        }
        match &job.request {
            Request::Intent(request) => {
                let made = self.cards.create_intent(&intent_plan(job, request)).await;
                made.map(Proof::Intent)
            }
            Request::Refund(request) => {
                let made = self.cards.create_refund(&refund_plan(job, request)).await;
                made.map(Proof::Refund)
            }
        }
    }

    async fn outcome(&self, job: &Job<Self>, verdict: Verdict<Proof>) -> PurchaseEvent {
        let request_id = job.record.id();
        let refusal = match verdict {
            Verdict::Landed(Proof::Intent(proof)) => {
                return PaymentIntentCreated {
                    purchase_id: purchase(&job.request),
                    request_id,
                    intent_id: proof.intent_id,
                    status: proof.status,
                    amount: proof.amount,
                    livemode: proof.livemode,
                }
                .into();
            }
            Verdict::Landed(Proof::Refund(proof)) => {
                let intent_id = match &job.request {
                    Request::Refund(request) => request.intent_id.clone(),
                    Request::Intent(_) => String::new(),
                };
                return CompensationSettled {
                    purchase_id: purchase(&job.request),
                    request_id,
                    intent_id,
                    refund_id: proof.refund_id,
                    status: proof.status,
                    amount: proof.amount,
                }
                .into();
            }
            Verdict::Refused(refusal) => refusal,
            Verdict::NeverWill(reason) => Refusal::new("never_will", reason),
        };
        match &job.request {
            Request::Intent(request) => PaymentIntentFailed {
                purchase_id: request.purchase_id,
                request_id,
                attempt: request.attempt,
                code: refusal.code,
                detail: refusal.detail,
            }
            .into(),
            Request::Refund(request) => CompensationFailed {
                purchase_id: request.purchase_id,
                request_id,
                intent_id: request.intent_id.clone(),
                attempt: request.attempt,
                code: refusal.code,
                detail: refusal.detail,
            }
            .into(),
        }
    }
}

fn purchase(request: &Request) -> events::ids::PurchaseId {
    match request {
        Request::Intent(r) => r.purchase_id,
        Request::Refund(r) => r.purchase_id,
    }
}
