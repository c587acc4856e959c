//! Giving money back: the whole of a receipt, once.

use super::{Rulebook, order_of};
use crate::state::{Next, Order, Purchase, Receipt, Stage};
use events::money::Fiat;
use events::purchases::{CompensationFailed, CompensationRequested, PurchaseOutcome};

/// Refund attempts before a person is called.
const REFUND_ATTEMPTS: i32 = 5;

impl Rulebook<'_> {
    /// The whole charge goes back; TFT already bought stays with the treasury.
    pub(super) fn give_up(&mut self, purchase: &mut Purchase, reason: &str) {
        let (order, intent) = match std::mem::take(&mut purchase.stage) {
            Stage::Paid { order, intent, .. }
            | Stage::Swapped { order, intent, .. }
            | Stage::HandedOff { order, intent, .. } => (order, intent),
            other => {
                purchase.stage = other;
                return;
            }
        };
        let charge = order.charge;
        purchase.stage = Stage::Refunding {
            order,
            intent: intent.clone(),
        };
        self.refund(purchase, &intent, charge, reason);
    }

    /// Requests the refund of a receipt, once.
    pub(super) fn refund(
        &mut self,
        purchase: &mut Purchase,
        intent: &str,
        amount: Fiat,
        reason: &str,
    ) {
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        match purchase.receipts.get(intent) {
            None | Some((_, Receipt::Kept)) => {}
            Some((_, Receipt::Refunding { .. } | Receipt::Refunded)) => return,
        }
        purchase.receipts.insert(
            intent.to_owned(),
            (
                amount,
                Receipt::Refunding {
                    attempt: 1,
                    next: Next::UnderWay,
                },
            ),
        );
        self.request_refund(&order, intent, amount, 1, reason);
    }

    pub(super) fn request_refund(
        &mut self,
        order: &Order,
        intent: &str,
        amount: Fiat,
        attempt: i32,
        reason: &str,
    ) {
        self.out.push(CompensationRequested {
            purchase_id: order.purchase,
            attempt,
            intent_id: intent.to_owned(),
            amount,
            reason: reason.to_owned(),
            deadline: self.now.after(self.rules.stripe_deadline),
        });
    }

    pub(super) fn refunded(&mut self, purchase: &mut Purchase, intent: &str) {
        let Some((_, receipt @ Receipt::Refunding { .. })) = purchase.receipts.get_mut(intent)
        else {
            return;
        };
        *receipt = Receipt::Refunded;
        if let Stage::Refunding {
            order,
            intent: paid,
        } = &purchase.stage
            && paid == intent
        {
            let order = order.clone();
            self.out
                .ended(&order, PurchaseOutcome::Refunded, "the charge was refunded");
            purchase.stage = Stage::Refunded { order };
        }
    }

    pub(super) fn refund_failed(&mut self, purchase: &mut Purchase, event: &CompensationFailed) {
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        let Some((
            amount,
            Receipt::Refunding {
                attempt,
                next: next @ Next::UnderWay,
            },
        )) = purchase.receipts.get_mut(&event.intent_id)
        else {
            return;
        };
        if event.attempt != *attempt {
            return;
        }
        if *attempt >= REFUND_ATTEMPTS {
            self.out.alarm(
                &order,
                "refund_failed",
                format!("{} of {amount}: {}", event.intent_id, event.detail),
            );
            *next = Next::Held;
        } else {
            *next = Next::At(
                self.rules
                    .retry_at(self.now, *attempt + 4)
                    .unwrap_or(self.now),
            );
        }
    }

    pub(super) fn retry_refund(&mut self, purchase: &mut Purchase, intent: &str) {
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        let Some((
            amount,
            Receipt::Refunding {
                attempt,
                next: next @ Next::At(_),
            },
        )) = purchase.receipts.get_mut(intent)
        else {
            return;
        };
        *attempt += 1;
        *next = Next::UnderWay;
        let (amount, attempt) = (*amount, *attempt);
        self.request_refund(&order, intent, amount, attempt, "the refund is tried again");
    }
}
