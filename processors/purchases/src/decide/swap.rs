//! Buying the TFT: attempts until the give-up time, never above the cap fixed at the purchase.

use super::{Rulebook, waiting};
use crate::state::{Next, Purchase, Stage};
use events::money::{Amount, Usdc};
use events::purchases::{SwapFailed, SwapFailure, SwapRequested};

impl Rulebook<'_> {
    /// Requests the attempt after the last, unless the purchase is held.
    pub(super) fn next_swap(&mut self, stage: Stage, held: bool) -> Stage {
        let Stage::Paid {
            order,
            intent,
            paid_at,
            attempt,
            path,
            ..
        } = stage
        else {
            return stage;
        };
        if held {
            return Stage::Paid {
                order,
                intent,
                paid_at,
                attempt,
                next: Next::Held,
                path,
            };
        }
        let attempt = attempt + 1;
        self.out.push(SwapRequested {
            purchase_id: order.purchase,
            attempt,
            tft: order.swap_tft,
            send_max: order.usdc_cap,
            path: path.clone(),
            deadline: self.now.after(self.rules.stellar_deadline),
        });
        Stage::Paid {
            order,
            intent,
            paid_at,
            attempt,
            next: Next::UnderWay,
            path,
        }
    }

    pub(super) fn swap_failed(&mut self, purchase: &mut Purchase, event: &SwapFailed) {
        let Stage::Paid {
            order,
            intent,
            paid_at,
            attempt,
            next: Next::UnderWay,
            path,
        } = &purchase.stage
        else {
            return;
        };
        let (order, intent, paid_at, attempt) = (order.clone(), intent.clone(), *paid_at, *attempt);
        if event.attempt != attempt {
            return;
        }
        let path = if event.observed_usdc.is_some() {
            event.observed_path.clone()
        } else {
            path.clone()
        };
        if event.reason == SwapFailure::TreasuryDry {
            self.out.alarm(
                &order,
                "treasury_dry",
                format!("swap attempt {attempt}: {}", event.detail),
            );
        }
        let give_up = paid_at.after(self.rules.give_up_after);
        if self.now >= give_up {
            purchase.stage = Stage::Paid {
                order,
                intent,
                paid_at,
                attempt,
                next: Next::Held,
                path,
            };
            self.give_up(purchase, &format!("no swap: {}", event.detail));
            return;
        }
        let stage = Stage::Paid {
            order,
            intent,
            paid_at,
            attempt,
            next: Next::Held,
            path,
        };
        purchase.stage =
            if affordable(event, &stage) && self.rules.retry_at(self.now, attempt + 1).is_none() {
                self.next_swap(stage, purchase.held())
            } else {
                // A price above the cap, or a dry treasury, may be better later.
                let due = self
                    .rules
                    .retry_at(self.now, attempt + 4)
                    .unwrap_or(self.now)
                    .min(give_up);
                waiting(stage, due)
            };
    }
}

/// Whether another attempt right now could succeed within the cap fixed at purchase.
fn affordable(event: &SwapFailed, stage: &Stage) -> bool {
    let cap = match stage {
        Stage::Paid { order, .. } => order.usdc_cap,
        _ => Amount::<Usdc>::ZERO,
    };
    match event.reason {
        SwapFailure::TooExpensive | SwapFailure::NeverLanded => {
            event.observed_usdc.is_some_and(|cost| cost <= cap)
        }
        SwapFailure::NoPath | SwapFailure::TreasuryDry | SwapFailure::Refused => false,
    }
}
