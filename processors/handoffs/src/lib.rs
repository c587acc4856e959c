//! The hand that pays TFT to the TFChain bridge.
//!
//! A transaction of its own with exactly one payment and the memo text `twin_<id>`: the bridge
//! ignores anything else.

use counterparties_stellar::{
    LandedTransaction, LaneMemo, LaneOperation, PathAsset, SignedTransaction,
};
use events::envelope::Record;
use events::ids::EventId;
use events::outcome::{Attempt, Find};
use events::purchases::{HandoffFailed, HandoffRequested, PurchaseEvent, TftSentToBridge};
use pipeline::{Executor, Job, Verdict};
use processor_lanes::{Lanes, NoTransaction, Treasury, account, told};
use std::sync::Arc;

/// The executor `handoffs`.
pub struct Handoffs {
    treasury: Arc<Treasury>,
}

impl Handoffs {
    /// The hand, paying from this treasury.
    #[must_use]
    pub fn new(treasury: Arc<Treasury>) -> Self {
        Self { treasury }
    }

    fn transaction(&self, job: &Job<Self>) -> Result<SignedTransaction, NoTransaction> {
        let request = &job.request;
        let operation = LaneOperation::Payment {
            destination: account(&request.bridge)?,
            asset: PathAsset::Credit(self.treasury.tft.clone()),
            amount: request.amount.minor(),
        };
        let memo = LaneMemo::Text(format!("twin_{}", request.twin_id));
        self.treasury
            .transaction(job, request.deadline, memo, operation)
    }
}

impl Executor for Handoffs {
    const NAME: &'static str = "handoffs";
    type Event = PurchaseEvent;
    type Request = HandoffRequested;
    type Proof = LandedTransaction;
    type Context = Lanes;

    fn observe(&self, lanes: &mut Lanes, record: &Record<PurchaseEvent>) {
        lanes.observe(Self::NAME, record);
    }

    fn request(&self, record: &Record<PurchaseEvent>) -> Option<HandoffRequested> {
        match &record.event {
            PurchaseEvent::HandoffRequested(request) => Some(request.clone()),
            _ => None,
        }
    }

    fn closes(&self, event: &PurchaseEvent) -> Option<EventId> {
        match event {
            PurchaseEvent::TftSentToBridge(e) => Some(e.request_id),
            PurchaseEvent::HandoffFailed(e) => Some(e.request_id),
            _ => None,
        }
    }

    fn queue(&self, job: &Job<Self>) -> String {
        self.treasury.queue(job)
    }

    async fn find(&self, job: &Job<Self>) -> Find<LandedTransaction> {
        self.treasury.find(self.transaction(job)).await
    }

    async fn attempt(&self, job: &Job<Self>) -> Attempt<LandedTransaction> {
        self.treasury.attempt(self.transaction(job)).await
    }

    async fn outcome(&self, job: &Job<Self>, verdict: Verdict<LandedTransaction>) -> PurchaseEvent {
        let (request_id, request) = (job.record.id(), &job.request);
        let failed = match told(verdict) {
            Ok(sent) => {
                return TftSentToBridge {
                    purchase_id: request.purchase_id,
                    request_id,
                    attempt: request.attempt,
                    transaction: sent.transaction,
                    ledger: sent.ledger,
                    lane: sent.lane,
                    sequence: sent.sequence,
                    amount: request.amount,
                    fee_stroops: sent.fee_stroops,
                }
                .into();
            }
            Err(failed) => failed,
        };
        HandoffFailed {
            purchase_id: request.purchase_id,
            request_id,
            attempt: request.attempt,
            code: failed.code,
            detail: failed.detail,
            transaction: failed.transaction,
        }
        .into()
    }
}
