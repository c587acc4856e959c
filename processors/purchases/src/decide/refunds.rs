//! Refunds as Stripe tells of them: those that somebody else made, in the dashboard say, and ours
//! that fail after they were taken on.
//!
//! All or nothing: once somebody has given back of what pays for a delivery, or its bank has taken
//! it back because a dispute was lost, nothing more is delivered, and the rest goes back, too. What
//! was delivered already is booked as a loss, and so is what a bank took, of whichever payment.

use super::{Rulebook, order_of};
use crate::state::{Next, Purchase, Receipt, Stage};
use events::money::Fiat;
use events::purchases::{LossBooked, StripeEventReceived};

impl Rulebook<'_> {
    /// `charge.refunded`: how much of the charge has gone back so far, by whomever.
    pub(super) fn charge_refunded(&mut self, purchase: &mut Purchase, event: &StripeEventReceived) {
        let (Some(intent), Some(total)) = (&event.intent_id, event.amount_refunded) else {
            return;
        };
        let before = purchase.outside(intent);
        let ours = match purchase.receipts.get(intent) {
            Some((sum, Receipt::Refunding { .. } | Receipt::Refunded)) => sum.minor,
            Some((_, Receipt::Kept)) | None => 0,
        };
        let outside = purchase.told.outside.entry(intent.clone()).or_default();
        let theirs: i64 = outside.refunds.values().map(|(minor, _)| minor).sum();
        outside.unexplained = outside.unexplained.max(total - ours - theirs);
        self.told_outside(purchase, intent, before, "a refund");
    }

    /// An event about one refund, in whatever order.
    pub(super) fn refund_told(&mut self, purchase: &mut Purchase, event: &StripeEventReceived) {
        let (Some(intent), Some(refund)) = (&event.intent_id, &event.object_id) else {
            return;
        };
        let over = matches!(event.status.as_deref(), Some("failed" | "canceled"));
        if event.request_id.is_some() {
            if over && purchase.told.failed.insert(refund.clone()) {
                self.ours_came_back(purchase, refund, event);
            }
            return;
        }
        let before = purchase.outside(intent);
        let outside = purchase.told.outside.entry(intent.clone()).or_default();
        let known = outside.refunds.get(refund).copied();
        let stands = !over && known.is_none_or(|(_, stands)| stands);
        let amount = event.amount.unwrap_or_default();
        let fell = known.is_some_and(|(_, stood)| stood) && !stands;
        if known.is_none() {
            outside.unexplained = (outside.unexplained - amount).max(0);
        }
        outside.refunds.insert(refund.clone(), (amount, stands));
        if fell && let Some(order) = order_of(&purchase.stage).cloned() {
            self.out.alarm(
                &order,
                "outside_refund_failed",
                format!(
                    "{refund} of {intent}, made by somebody else, failed: the money is ours again"
                ),
            );
        }
        self.told_outside(purchase, intent, before, refund);
    }

    fn told_outside(&mut self, purchase: &Purchase, intent: &str, before: i64, what: &str) {
        let now = purchase.outside(intent);
        let Some(order) = order_of(&purchase.stage) else {
            return;
        };
        if now > before {
            let sum = Fiat {
                minor: now,
                currency: order.charge.currency,
            };
            self.out.alarm(
                order,
                "refunded_outside",
                format!("{what}, made by somebody else: {sum} of {intent} have gone back so far"),
            );
        }
    }

    /// A refund of ours that was taken on failed at the bank: Stripe has the money back.
    fn ours_came_back(
        &mut self,
        purchase: &mut Purchase,
        refund: &str,
        event: &StripeEventReceived,
    ) {
        // Of one that was not told as taken on, its own outcome says the same.
        let Some((intent, attempt)) = purchase.told.refunds.remove(refund) else {
            return;
        };
        let why = event.failure_code.as_deref().unwrap_or("no reason given");
        let why = format!("{refund} failed later: {why}");
        if let Some(order) = order_of(&purchase.stage).cloned() {
            self.out.alarm(&order, "refund_came_back", &*why);
        }
        self.refund_in_vain(purchase, &intent, attempt, &why);
    }

    /// What follows from money that somebody else gave back; asked after every fact.
    pub(super) fn given_back(&mut self, purchase: &mut Purchase) {
        match &purchase.stage {
            // With no leg under way. While a dispute is open the charge cannot be refunded.
            Stage::Paid {
                intent,
                next: Next::At(_) | Next::Held,
                ..
            }
            | Stage::Swapped {
                intent,
                next: Next::At(_) | Next::Held,
                ..
            } if purchase.holds.is_empty() && purchase.gone(intent) > 0 => {
                let reason = if purchase.disputed_away(intent) > 0 {
                    "a dispute was lost"
                } else {
                    "somebody else has refunded a part of the charge"
                };
                self.give_up(purchase, reason);
            }
            Stage::Paid { .. }
            | Stage::Swapped { .. }
            | Stage::Settled { .. }
            | Stage::New
            | Stage::Opened { .. }
            | Stage::AwaitingPayment { .. }
            | Stage::AwaitingDeposit { .. }
            | Stage::HandedOff { .. }
            | Stage::Refunding { .. }
            | Stage::Refunded { .. }
            | Stage::Lost { .. }
            | Stage::NotPaid { .. }
            | Stage::Quarantined { .. } => {}
        }
        // A refund of ours that waits, where nothing is left to be given back.
        let over: Vec<String> = purchase
            .receipts
            .iter()
            .filter(|(intent, (sum, receipt))| {
                let waits = matches!(
                    receipt,
                    Receipt::Refunding {
                        next: Next::At(_) | Next::Held,
                        ..
                    }
                );
                waits && purchase.left(intent, *sum) == 0
            })
            .map(|(intent, _)| intent.clone())
            .collect();
        for intent in over {
            if let Some((_, receipt)) = purchase.receipts.get_mut(&intent) {
                *receipt = Receipt::Refunded;
            }
            // Where a bank has taken it, that is what the purchase ends with.
            self.refund_over(purchase, &intent, "somebody else has refunded the charge");
        }
        self.lost(purchase);
    }

    /// Books what is lost, once: of a delivery, what its payment no longer is; of any other receipt
    /// what a bank took of it, once it is known that no more of it is given back. What somebody
    /// refunded is no loss where nothing was delivered.
    fn lost(&mut self, purchase: &mut Purchase) {
        let Some(order) = order_of(&purchase.stage) else {
            return;
        };
        let delivered = match &purchase.stage {
            Stage::Settled { intent, .. } => Some(intent),
            Stage::New
            | Stage::Opened { .. }
            | Stage::AwaitingPayment { .. }
            | Stage::AwaitingDeposit { .. }
            | Stage::Paid { .. }
            | Stage::Swapped { .. }
            | Stage::HandedOff { .. }
            | Stage::Refunding { .. }
            | Stage::Refunded { .. }
            | Stage::Lost { .. }
            | Stage::NotPaid { .. }
            | Stage::Quarantined { .. } => None,
        };
        for (intent, (sum, receipt)) in &purchase.receipts {
            let refunded = match receipt {
                Receipt::Kept if delivered == Some(intent) => purchase.outside(intent),
                Receipt::Refunded => 0,
                Receipt::Kept | Receipt::Refunding { .. } => continue,
            };
            let disputed = purchase.disputed_away(intent);
            let all = refunded.saturating_add(disputed).min(sum.minor);
            let before = purchase.told.booked.get(intent).copied().unwrap_or(0);
            if all <= before {
                continue;
            }
            let reason = match (refunded > 0, disputed > 0) {
                (true, true) => "refunded_outside, dispute_lost",
                (false, true) => "dispute_lost",
                (_, false) => "refunded_outside",
            };
            self.out.push(LossBooked {
                purchase_id: order.purchase,
                intent_id: intent.clone(),
                reason: reason.to_owned(),
                amount: Fiat {
                    minor: all - before,
                    ..*sum
                },
            });
            purchase.told.booked.insert(intent.clone(), all);
        }
    }
}
