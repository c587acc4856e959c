//! Giving money back: the whole of a receipt, once.

use super::{Rulebook, order_of};
use crate::state::{Next, Order, Purchase, Receipt, Stage};
use events::money::Fiat;
use events::purchases::{
    CompensationFailed, CompensationRequested, CompensationSettled, PurchaseOutcome,
};

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
        let (charge, by_card) = (order.charge, order.usdc_due.is_none());
        purchase.stage = Stage::Refunding {
            order,
            intent: intent.clone(),
        };
        if by_card {
            self.refund(purchase, &intent, charge, reason);
        } else {
            self.return_usdc(purchase, reason);
        }
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
        let left = purchase.left(intent, amount);
        if left == 0 {
            let gone = (amount, Receipt::Refunded);
            purchase.receipts.insert(intent.to_owned(), gone);
            self.refund_over(purchase, intent, "somebody else has refunded the charge");
            return;
        }
        let waits = purchase.disputed(intent);
        let refunding = if waits {
            Receipt::Refunding {
                attempt: 0,
                next: Next::Held,
            }
        } else {
            Receipt::Refunding {
                attempt: 1,
                next: Next::UnderWay,
            }
        };
        let receipt = (amount, refunding);
        purchase.receipts.insert(intent.to_owned(), receipt);
        if waits {
            return;
        }
        let left = Fiat {
            minor: left,
            ..amount
        };
        self.request_refund(&order, intent, left, 1, reason);
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

    pub(super) fn refunded(&mut self, purchase: &mut Purchase, event: &CompensationSettled) {
        let intent = &event.intent_id;
        let Some((_, receipt @ Receipt::Refunding { .. })) = purchase.receipts.get_mut(intent)
        else {
            return;
        };
        let Receipt::Refunding { attempt, .. } = *receipt else {
            return;
        };
        if purchase.told.failed.contains(&event.refund_id) {
            // Its failure was told before its making.
            let why = format!("{} failed", event.refund_id);
            self.refund_in_vain(purchase, intent, attempt, &why);
            return;
        }
        *receipt = Receipt::Refunded;
        let made = (intent.clone(), attempt);
        purchase.told.refunds.insert(event.refund_id.clone(), made);
        self.refund_over(purchase, intent, "the charge was refunded");
    }

    /// The purchase ends with the refund of what paid for it.
    pub(super) fn refund_over(&mut self, purchase: &mut Purchase, intent: &str, detail: &str) {
        if let Stage::Refunding {
            order,
            intent: paid,
        } = &purchase.stage
            && paid == intent
        {
            let (order, intent) = (order.clone(), paid.clone());
            if purchase.disputed_away(&intent) > 0 {
                let detail = "a dispute was lost: the bank took the charge back";
                self.out.ended(&order, PurchaseOutcome::Lost, detail);
                purchase.stage = Stage::Lost { order, intent };
            } else {
                self.out.ended(&order, PurchaseOutcome::Refunded, detail);
                purchase.stage = Stage::Refunded { order };
            }
        }
    }

    pub(super) fn refund_failed(&mut self, purchase: &mut Purchase, event: &CompensationFailed) {
        let Some((
            _,
            Receipt::Refunding {
                attempt,
                next: Next::UnderWay,
            },
        )) = purchase.receipts.get(&event.intent_id)
        else {
            return;
        };
        if event.attempt == *attempt {
            let attempt = *attempt;
            self.refund_in_vain(purchase, &event.intent_id, attempt, &event.detail);
        }
    }

    /// This attempt gave nothing back: another one later, or a person is called. While a dispute
    /// over the charge is open it waits for its end, and where a lost one has taken the charge
    /// nothing is left to be asked for.
    pub(super) fn refund_in_vain(
        &mut self,
        purchase: &mut Purchase,
        intent: &str,
        attempt: i32,
        why: &str,
    ) {
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        let Some((amount, _)) = purchase.receipts.get(intent) else {
            return;
        };
        let amount = *amount;
        let next = if purchase.disputed(intent) || purchase.left(intent, amount) == 0 {
            Next::Held
        } else if attempt >= REFUND_ATTEMPTS {
            self.out.alarm(
                &order,
                "refund_failed",
                format!("{intent} of {amount}: {why}"),
            );
            Next::Held
        } else {
            let due = self.rules.retry_at(self.now, attempt + 4);
            Next::At(due.unwrap_or(self.now))
        };
        let receipt = (amount, Receipt::Refunding { attempt, next });
        purchase.receipts.insert(intent.to_owned(), receipt);
    }

    /// The time has come for the next attempt.
    pub(super) fn retry_refund(&mut self, purchase: &mut Purchase, intent: &str) {
        let Some((_, receipt)) = purchase.receipts.get(intent) else {
            return;
        };
        if let Receipt::Refunding {
            attempt,
            next: Next::At(_),
        } = *receipt
        {
            self.next_refund(purchase, intent, attempt, "the refund is tried again");
        }
    }

    /// A dispute over the charge has ended: what waited for that goes on, with what is left.
    pub(super) fn resume_refund(&mut self, purchase: &mut Purchase, intent: &str) {
        let Some((_, receipt)) = purchase.receipts.get(intent) else {
            return;
        };
        if let Receipt::Refunding {
            attempt,
            next: Next::Held,
        } = *receipt
        {
            self.next_refund(purchase, intent, attempt, "the dispute is over");
        }
    }

    fn next_refund(&mut self, purchase: &mut Purchase, intent: &str, attempt: i32, reason: &str) {
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        let Some((amount, _)) = purchase.receipts.get(intent) else {
            return;
        };
        let amount = *amount;
        let left = Fiat {
            minor: purchase.left(intent, amount),
            ..amount
        };
        let waits = left.minor == 0 || purchase.disputed(intent);
        let refunding = if waits {
            Receipt::Refunding {
                attempt,
                next: Next::Held,
            }
        } else {
            Receipt::Refunding {
                attempt: attempt + 1,
                next: Next::UnderWay,
            }
        };
        let receipt = (amount, refunding);
        purchase.receipts.insert(intent.to_owned(), receipt);
        if !waits {
            self.request_refund(&order, intent, left, attempt + 1, reason);
        }
    }
}
