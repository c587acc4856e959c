//! The hand `returns`: pays what came with a deposit back to its sender.
//!
//! The memo of the payment is the hash of the transaction that it answers.

use counterparties_stellar::{
    LandedTransaction, LaneMemo, LaneOperation, PathAsset, SignedTransaction,
};
use events::deposits::{
    DepositEvent, DepositReturnFailed, DepositReturnRequested, DepositReturned,
};
use events::envelope::Record;
use events::ids::EventId;
use events::outcome::{Attempt, Find};
use pipeline::{Executor, Job, Verdict};
use processor_lanes::{Lanes, NoTransaction, Treasury, account, told};
use std::sync::Arc;

/// The executor `returns`.
pub struct Returns {
    treasury: Arc<Treasury>,
}

impl Returns {
    /// The hand, paying from this treasury.
    #[must_use]
    pub const fn new(treasury: Arc<Treasury>) -> Self {
        Self { treasury }
    }

    fn transaction(&self, job: &Job<Self>) -> Result<SignedTransaction, NoTransaction> {
        let request = &job.request;
        let unbuildable = |what: &str| NoTransaction::Unbuildable(what.to_owned());
        let asset: PathAsset = request
            .asset
            .parse()
            .map_err(|_| unbuildable("the asset of the deposit is none"))?;
        let answered: [u8; 32] = hex::decode(&request.deposit_transaction)
            .ok()
            .and_then(|hash| hash.try_into().ok())
            .ok_or_else(|| unbuildable("the hash of the deposit's transaction is none"))?;
        let operation = LaneOperation::Payment {
            destination: account(&request.destination)?,
            asset,
            amount: request.amount,
        };
        self.treasury
            .transaction(job, request.deadline, LaneMemo::Hash(answered), operation)
    }
}

impl Executor for Returns {
    const NAME: &'static str = "returns";
    type Event = DepositEvent;
    type Request = DepositReturnRequested;
    type Proof = LandedTransaction;
    type Context = Lanes;

    fn observe(&self, lanes: &mut Lanes, record: &Record<DepositEvent>) {
        lanes.observe(Self::NAME, record);
    }

    fn request(&self, record: &Record<DepositEvent>) -> Option<DepositReturnRequested> {
        match &record.event {
            DepositEvent::DepositReturnRequested(request) => Some(request.clone()),
            _ => None,
        }
    }

    fn closes(&self, event: &DepositEvent) -> Option<EventId> {
        match event {
            DepositEvent::DepositReturned(e) => Some(e.request_id),
            DepositEvent::DepositReturnFailed(e) => Some(e.request_id),
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

    async fn outcome(&self, job: &Job<Self>, verdict: Verdict<LandedTransaction>) -> DepositEvent {
        let (request_id, request) = (job.record.id(), &job.request);
        let failed = match told(verdict) {
            Ok(sent) => {
                return DepositReturned {
                    deposit_id: request.deposit_id.clone(),
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
        DepositReturnFailed {
            deposit_id: request.deposit_id.clone(),
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
