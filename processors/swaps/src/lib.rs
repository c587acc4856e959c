//! The hand that swaps USDC for TFT on Stellar, into the treasury's own account.
//!
//! A path payment strict receive: exactly the TFT of the request, for at most its `send_max`. Of a swap
//! that failed because the books are thin or dear, it tells what it and parts of it would cost now.

use counterparties_stellar::{
    AccountId, LandedTransaction, LaneMemo, LaneOperation, PathAsset, SignedTransaction,
};
use events::envelope::Record;
use events::ids::EventId;
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find};
use events::purchases::{
    PartQuote, PurchaseEvent, SwapCompleted, SwapFailed, SwapFailure, SwapRequested,
};
use pipeline::{Executor, Job, Verdict};
use processor_lanes::{Lanes, NoTransaction, Treasury, told};
use std::sync::Arc;

/// Into how many equal parts a swap is looked at when the whole cannot be had.
const PARTS: [u64; 3] = [2, 4, 8];

/// What the log says of a partition's swaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Market {
    lanes: Lanes,
    /// Swaps in a row that found no path, of whatever purchase.
    no_path: i32,
}

impl AsRef<Lanes> for Market {
    fn as_ref(&self) -> &Lanes {
        &self.lanes
    }
}

/// The executor `swaps`.
pub struct Swaps {
    treasury: Arc<Treasury>,
    /// The treasury's account: the TFT arrives where the USDC came from.
    account: AccountId,
}

impl Swaps {
    /// The hand, spending from this treasury.
    #[must_use]
    pub fn new(treasury: Arc<Treasury>) -> Self {
        let account = treasury.key.account();
        Self { treasury, account }
    }

    /// What parts of a swap would cost now, the largest first; those without a path are left out.
    async fn parts(&self, whole: Amount<Tft>) -> Vec<PartQuote> {
        let Treasury {
            stellar, usdc, tft, ..
        } = &*self.treasury;
        let mut parts = Vec::new();
        for of in PARTS {
            let Ok(part) = whole.mul_ratio_floor(1, of) else {
                continue;
            };
            if part.is_zero() {
                continue;
            }
            if let Ok(quote) = stellar.quote_strict_receive(usdc, tft, part).await {
                parts.push(PartQuote {
                    tft: part,
                    usdc: quote.source_amount,
                });
            }
        }
        parts
    }

    fn transaction(&self, job: &Job<Self>) -> Result<SignedTransaction, NoTransaction> {
        let request = &job.request;
        let path = request
            .path
            .iter()
            .map(|asset| {
                asset
                    .parse::<PathAsset>()
                    .map_err(|_| NoTransaction::Unbuildable(format!("{asset} is no asset")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let operation = LaneOperation::PathPaymentStrictReceive {
            send_asset: self.treasury.usdc.clone(),
            send_max: request.send_max,
            destination: self.account.clone(),
            dest_asset: self.treasury.tft.clone(),
            dest_amount: request.tft,
            path,
        };
        let memo = LaneMemo::of_event(&job.record.id());
        self.treasury
            .transaction(job, request.deadline, memo, operation)
    }
}

/// What the network's code of a failed swap means to the policy. A code that is not named here
/// is a plain refusal.
#[must_use]
pub fn failure_of(code: &str) -> SwapFailure {
    match code {
        "op_over_source_max" => SwapFailure::TooExpensive,
        "op_too_few_offers" => SwapFailure::NoPath,
        "op_underfunded" => SwapFailure::TreasuryDry,
        _ => SwapFailure::Refused,
    }
}

impl Executor for Swaps {
    const NAME: &'static str = "swaps";
    type Event = PurchaseEvent;
    type Request = SwapRequested;
    type Proof = LandedTransaction;
    type Context = Market;

    fn observe(&self, market: &mut Market, record: &Record<PurchaseEvent>) {
        market.lanes.observe(Self::NAME, record);
        match &record.event {
            PurchaseEvent::SwapCompleted(_) => market.no_path = 0,
            PurchaseEvent::SwapFailed(e) if e.reason == SwapFailure::NoPath => {
                market.no_path = market.no_path.saturating_add(1);
            }
            _ => {}
        }
    }

    fn request(&self, record: &Record<PurchaseEvent>) -> Option<SwapRequested> {
        match &record.event {
            PurchaseEvent::SwapRequested(request) => Some(request.clone()),
            _ => None,
        }
    }

    fn closes(&self, event: &PurchaseEvent) -> Option<EventId> {
        match event {
            PurchaseEvent::SwapCompleted(e) => Some(e.request_id),
            PurchaseEvent::SwapFailed(e) => Some(e.request_id),
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
                return SwapCompleted {
                    purchase_id: request.purchase_id,
                    request_id,
                    attempt: request.attempt,
                    transaction: sent.transaction,
                    ledger: sent.ledger,
                    lane: sent.lane,
                    sequence: sent.sequence,
                    // A strict receive that landed spent something between nothing and send_max.
                    usdc_spent: sent
                        .source_amount
                        .and_then(|n| Amount::from_minor(n).ok())
                        .unwrap_or(request.send_max),
                    tft: request.tft,
                    fee_stroops: sent.fee_stroops,
                    rest: request.rest,
                }
                .into();
            }
            Err(failed) => failed,
        };
        let reason = if failed.in_ledger {
            failure_of(&failed.code)
        } else {
            SwapFailure::NeverLanded
        };
        // What it would cost now, so that the policy can decide on the next attempt.
        let quote = self
            .treasury
            .stellar
            .quote_strict_receive(&self.treasury.usdc, &self.treasury.tft, request.tft)
            .await
            .ok();
        let fits = quote
            .as_ref()
            .is_some_and(|quote| quote.source_amount <= request.send_max);
        let observed_parts = match reason {
            SwapFailure::TooExpensive | SwapFailure::NoPath | SwapFailure::NeverLanded if !fits => {
                self.parts(request.tft).await
            }
            SwapFailure::TooExpensive
            | SwapFailure::NoPath
            | SwapFailure::NeverLanded
            | SwapFailure::TreasuryDry
            | SwapFailure::Refused => Vec::new(),
        };
        SwapFailed {
            purchase_id: request.purchase_id,
            request_id,
            attempt: request.attempt,
            reason,
            code: failed.code,
            detail: failed.detail,
            transaction: failed.transaction,
            observed_usdc: quote.as_ref().map(|q| q.source_amount),
            observed_path: quote
                .map(|q| q.path.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            observed_parts,
            no_path_before: job.context.no_path,
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_a_failed_swap_has_a_meaning() {
        for (code, meaning) in [
            ("op_over_source_max", SwapFailure::TooExpensive),
            ("op_too_few_offers", SwapFailure::NoPath),
            ("op_underfunded", SwapFailure::TreasuryDry),
            ("op_no_trust", SwapFailure::Refused),
            ("op_line_full", SwapFailure::Refused),
            ("op_cross_self", SwapFailure::Refused),
            ("something_new", SwapFailure::Refused),
        ] {
            assert_eq!(failure_of(code), meaning, "{code}");
        }
    }
}
