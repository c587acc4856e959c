//! The hand `claims`: takes what somebody set aside for our account in a claimable balance.
//!
//! A balance can be claimed once: whoever comes second, with whatever number, is told that it does not
//! exist.

use counterparties_stellar::{
    BalanceId, LandedTransaction, LaneMemo, LaneOperation, SignedTransaction,
};
use events::deposits::{BalanceClaimed, ClaimFailed, ClaimRequested, DepositEvent};
use events::envelope::Record;
use events::ids::EventId;
use events::outcome::{Attempt, Find};
use pipeline::{Executor, Job, Verdict};
use processor_lanes::{Lanes, NoTransaction, Treasury, told};
use std::sync::Arc;

/// The executor `claims`.
pub struct Claims {
    treasury: Arc<Treasury>,
}

impl Claims {
    /// The hand, claiming for this treasury.
    #[must_use]
    pub const fn new(treasury: Arc<Treasury>) -> Self {
        Self { treasury }
    }

    fn transaction(&self, job: &Job<Self>) -> Result<SignedTransaction, NoTransaction> {
        let request = &job.request;
        let balance: BalanceId = request
            .balance_id
            .parse()
            .map_err(|error| NoTransaction::Unbuildable(format!("{error}")))?;
        self.treasury.transaction(
            job,
            request.deadline,
            LaneMemo::of_event(&job.record.id()),
            LaneOperation::ClaimBalance { balance },
        )
    }
}

impl Executor for Claims {
    const NAME: &'static str = "claims";
    type Event = DepositEvent;
    type Request = ClaimRequested;
    type Proof = LandedTransaction;
    type Context = Lanes;

    fn observe(&self, lanes: &mut Lanes, record: &Record<DepositEvent>) {
        lanes.observe(Self::NAME, record);
    }

    fn request(&self, record: &Record<DepositEvent>) -> Option<ClaimRequested> {
        match &record.event {
            DepositEvent::ClaimRequested(request) => Some(request.clone()),
            _ => None,
        }
    }

    fn closes(&self, event: &DepositEvent) -> Option<EventId> {
        match event {
            DepositEvent::BalanceClaimed(e) => Some(e.request_id),
            DepositEvent::ClaimFailed(e) => Some(e.request_id),
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
                return BalanceClaimed {
                    deposit_id: request.deposit_id.clone(),
                    balance_id: request.balance_id.clone(),
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
        ClaimFailed {
            deposit_id: request.deposit_id.clone(),
            balance_id: request.balance_id.clone(),
            request_id,
            attempt: request.attempt,
            code: failed.code,
            detail: failed.detail,
            transaction: failed.transaction,
        }
        .into()
    }
}
