//! Buying the TFT: attempts until the give-up time, never above the cap fixed at the purchase.
//!
//! All at once where the books hold it; else in parts, one after the other. Each part may cost its
//! share of what is left of the cap, so all of them together never cost more than the cap. Parts are
//! no half deliveries: what is bought goes on when all of it is there, or the purchase is given up as
//! a whole.

use super::{Rulebook, waiting};
use crate::state::{Next, Order, Purchase, Stage};
use events::money::{Amount, Tft, Usdc};
use events::purchases::{SwapCompleted, SwapFailed, SwapFailure, SwapRequested};

/// A purchase is bought in parts no smaller than this share of it.
const SMALLEST_PART: i64 = 16;
/// So many swaps in a row without a path, of whatever purchases, and all that fail so wait longer.
const THIN: i32 = 5;

/// What is to be bought and what it may cost.
struct Missing {
    tft: Amount<Tft>,
    usdc: Amount<Usdc>,
}

impl Missing {
    fn of(purchase: &Purchase, order: &Order) -> Self {
        let tft = order.swap_tft.checked_sub(purchase.bought);
        let usdc = order.usdc_cap.checked_sub(purchase.spent);
        Self {
            tft: tft.unwrap_or(Amount::ZERO),
            usdc: usdc.unwrap_or(Amount::ZERO),
        }
    }

    /// What the next swap buys.
    fn next(&self, purchase: &Purchase) -> Amount<Tft> {
        purchase.part.map_or(self.tft, |part| part.min(self.tft))
    }

    /// What a part may cost: its share, so that as much is left for the rest.
    fn share(&self, part: Amount<Tft>) -> Amount<Usdc> {
        let ratio = (u64::try_from(part.minor()), u64::try_from(self.tft.minor()));
        match ratio {
            (Ok(part), Ok(whole)) if part < whole => self
                .usdc
                .mul_ratio_floor(part, whole)
                .unwrap_or(Amount::ZERO),
            _ => self.usdc,
        }
    }
}

impl Rulebook<'_> {
    /// Requests the attempt after the last, unless the purchase is held.
    pub(super) fn next_swap(&mut self, purchase: &Purchase, mut stage: Stage) -> Stage {
        let Stage::Paid {
            order,
            attempt,
            next,
            path,
            ..
        } = &mut stage
        else {
            return stage;
        };
        if purchase.held() {
            *next = Next::Held;
            return stage;
        }
        *attempt += 1;
        *next = Next::UnderWay;
        let missing = Missing::of(purchase, order);
        let tft = missing.next(purchase);
        self.out.push(SwapRequested {
            purchase_id: order.purchase,
            attempt: *attempt,
            tft,
            send_max: missing.share(tft),
            path: path.clone(),
            deadline: self.now.after(self.rules.stellar_deadline),
            rest: missing.tft.checked_sub(tft).unwrap_or(Amount::ZERO),
        });
        stage
    }

    pub(super) fn swap_completed(&mut self, purchase: &mut Purchase, event: &SwapCompleted) {
        let Stage::Paid {
            order,
            intent,
            paid_at,
            attempt,
            path,
            ..
        } = &purchase.stage
        else {
            return;
        };
        let (order, intent, paid_at, attempt, path) = (
            order.clone(),
            intent.clone(),
            *paid_at,
            *attempt,
            path.clone(),
        );
        let spent = purchase.spent.checked_add(event.usdc_spent);
        purchase.spent = spent.unwrap_or(purchase.spent);
        let bought = purchase.bought.checked_add(event.tft);
        purchase.bought = bought.unwrap_or(purchase.bought);
        purchase.fees = purchase.fees.saturating_add(event.fee_stroops);
        (purchase.part, purchase.bought_by) = (None, attempt);
        if purchase.bought >= order.swap_tft {
            let stage = Stage::Swapped {
                order,
                intent,
                attempt: 0,
                next: Next::Held,
                returns: 0,
            };
            purchase.stage = self.next_handoff(stage, purchase.held());
            return;
        }
        let give_up = order.give_up_at(paid_at);
        let stage = Stage::Paid {
            order,
            intent,
            paid_at,
            attempt,
            next: Next::Held,
            path,
        };
        if self.now >= give_up {
            purchase.stage = stage;
            self.give_up(purchase, "only a part was bought until the give-up time");
        } else {
            purchase.stage = self.next_swap(purchase, stage);
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
        let give_up = order.give_up_at(paid_at);
        let fits = fit(purchase, &order, event);
        let stage = Stage::Paid {
            order,
            intent,
            paid_at,
            attempt,
            next: Next::Held,
            path,
        };
        if self.now >= give_up {
            purchase.stage = stage;
            self.give_up(purchase, &format!("no swap: {}", event.detail));
            return;
        }
        let tries = attempt - purchase.bought_by;
        purchase.stage = if fits && self.rules.retry_at(self.now, tries + 1).is_none() {
            self.next_swap(purchase, stage)
        } else {
            // A price above the cap, empty books or a dry treasury may be better later.
            let thin = event.reason == SwapFailure::NoPath && event.no_path_before >= THIN;
            let tries = if thin && !fits {
                // Nobody finds a path: more and more patience, whoever asks.
                tries.max(event.no_path_before.saturating_sub(THIN).saturating_add(2))
            } else {
                tries
            };
            let due = self
                .rules
                .retry_at(self.now, tries + 4)
                .unwrap_or(self.now)
                .min(give_up);
            waiting(stage, due)
        };
    }
}

/// Whether another attempt right now could succeed within the cap fixed at purchase; notes how
/// much it should buy.
fn fit(purchase: &mut Purchase, order: &Order, event: &SwapFailed) -> bool {
    let missing = Missing::of(purchase, order);
    let asked = missing.next(purchase);
    let again = match event.reason {
        SwapFailure::TooExpensive | SwapFailure::NeverLanded => event
            .observed_usdc
            .is_some_and(|cost| cost <= missing.share(asked)),
        SwapFailure::NoPath => false,
        // Not for want of TFT in the books.
        SwapFailure::TreasuryDry | SwapFailure::Refused => return false,
    };
    if again {
        return true;
    }
    let least = order.swap_tft.minor() / SMALLEST_PART;
    purchase.part = event
        .observed_parts
        .iter()
        .filter(|part| part.tft < asked && part.tft.minor() >= least.max(1))
        .filter(|part| part.usdc <= missing.share(part.tft))
        .map(|part| part.tft)
        .max();
    purchase.part.is_some()
}
