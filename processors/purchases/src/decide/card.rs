//! What Stripe tells: the PaymentIntent, the charge, disputes and refunds by somebody else.

use super::{Rulebook, order_of, paid_by};
use crate::state::{Next, Order, Purchase, Receipt, Stage, USDC};
use events::money::{Currency, Fiat};
use events::purchases::{
    PaymentIntentFailed, PaymentIntentRequested, PaymentQuarantined, PurchaseOutcome,
    StripeEventReceived, UserPaid,
};
use std::collections::btree_map::Entry;

/// Attempts at creating a PaymentIntent before the purchase ends unpaid.
const INTENT_ATTEMPTS: i32 = 3;

impl Rulebook<'_> {
    pub(super) fn request_intent(&mut self, order: &Order, attempt: i32) {
        self.out.push(PaymentIntentRequested {
            purchase_id: order.purchase,
            user_id: order.user,
            attempt,
            charge: order.charge,
            deadline: self.now.after(self.rules.stripe_deadline),
        });
    }

    pub(super) fn intent_failed(&mut self, purchase: &mut Purchase, event: &PaymentIntentFailed) {
        let Stage::Opened { order, attempt } = &purchase.stage else {
            return;
        };
        let (order, attempt) = (order.clone(), *attempt);
        if event.attempt != attempt {
            return;
        }
        if attempt < INTENT_ATTEMPTS {
            self.request_intent(&order, attempt + 1);
            purchase.stage = Stage::Opened {
                order,
                attempt: attempt + 1,
            };
        } else {
            self.out.ended(
                &order,
                PurchaseOutcome::NotPaid,
                &format!("no PaymentIntent: {}", event.detail),
            );
            purchase.stage = Stage::NotPaid { order };
        }
    }

    pub(super) fn stripe(&mut self, purchase: &mut Purchase, event: &StripeEventReceived) {
        match event.event_type.as_str() {
            "payment_intent.succeeded" => self.money_came(purchase, event),
            "payment_intent.processing" => processing(purchase, event, true),
            "payment_intent.payment_failed" | "payment_intent.requires_action" => {
                processing(purchase, event, false);
            }
            "payment_intent.canceled" => {
                processing(purchase, event, false);
                purchase.told.cancelled.extend(event.intent_id.clone());
                self.cancelled(purchase);
            }
            "charge.refunded" => self.charge_refunded(purchase, event),
            "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
                self.refund_told(purchase, event);
            }
            // The money is gone when a dispute begins; which of the two is told first is chance.
            "charge.dispute.created" | "charge.dispute.funds_withdrawn" => {
                let dispute = event.object_id.clone().unwrap_or_default();
                // Its end may have been told before its beginning.
                if !purchase.disputes_closed.contains(&dispute) {
                    self.hold(purchase, dispute, event.intent_id.clone());
                }
            }
            "charge.dispute.closed" => self.dispute_closed(purchase, event),
            _ => {}
        }
    }

    /// A purchase whose PaymentIntent was cancelled is over; it may be told before the intent.
    pub(super) fn cancelled(&mut self, purchase: &mut Purchase) {
        if let Stage::AwaitingPayment { order, intent } = &purchase.stage
            && purchase.told.cancelled.contains(intent)
        {
            let order = order.clone();
            self.out.ended(
                &order,
                PurchaseOutcome::NotPaid,
                "the PaymentIntent was cancelled",
            );
            purchase.stage = Stage::NotPaid { order };
        }
    }

    /// Later legs wait, and a person is told why; once for each dispute.
    fn hold(&mut self, purchase: &mut Purchase, dispute: String, intent: Option<String>) {
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        let detail = format!("{dispute}: later legs wait");
        if let Entry::Vacant(held) = purchase.holds.entry(dispute) {
            held.insert(intent);
            self.out.alarm(&order, "disputed", detail);
        }
    }

    pub(super) fn dispute_closed(&mut self, purchase: &mut Purchase, event: &StripeEventReceived) {
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        let dispute = event.object_id.clone().unwrap_or_default();
        if !purchase.disputes_closed.insert(dispute.clone()) {
            return;
        }
        if !matches!(
            event.status.as_deref(),
            Some("won" | "warning_closed" | "prevented")
        ) {
            self.dispute_lost(purchase, &order, &dispute, event);
            if !purchase.told.lost.contains_key(&dispute) {
                // Nobody knows what it was about: a person must.
                purchase.holds.insert(dispute, None);
                return;
            }
        }
        let held = purchase.holds.remove(&dispute);
        if let Some(intent) = event
            .intent_id
            .as_ref()
            .or(held.as_ref().and_then(Option::as_ref))
        {
            self.resume_refund(purchase, intent);
        }
        if held.is_none() || purchase.held() {
            return;
        }
        match std::mem::take(&mut purchase.stage) {
            stage @ Stage::Paid {
                next: Next::Held, ..
            } => purchase.stage = self.next_swap(purchase, stage),
            stage @ Stage::Swapped {
                next: Next::Held, ..
            } => purchase.stage = self.next_handoff(stage, false),
            stage => purchase.stage = stage,
        }
    }

    /// The bank took back what the dispute was about. What follows from that for the delivery is
    /// [`Rulebook::given_back`]'s.
    fn dispute_lost(
        &mut self,
        purchase: &mut Purchase,
        order: &Order,
        dispute: &str,
        event: &StripeEventReceived,
    ) {
        let intent = event.intent_id.clone();
        // A bank has no USDC to take back.
        let paid = paid_by(&purchase.stage).filter(|intent| *intent != USDC);
        let intent = intent.or_else(|| paid.map(ToOwned::to_owned));
        // In another currency, its share of the charge is not known: all of it is taken as gone.
        let currency = event.currency.as_deref().and_then(Currency::parse);
        let minor = event
            .amount
            .filter(|_| currency == Some(order.charge.currency))
            .unwrap_or(order.charge.minor);
        let detail = format!(
            "{dispute} was lost: the bank took back {} of {}; nothing more is delivered for it",
            Fiat {
                minor,
                currency: order.charge.currency
            },
            intent.as_deref().unwrap_or("an unnamed PaymentIntent")
        );
        if let Some(intent) = intent {
            let lost = (intent, minor);
            purchase.told.lost.insert(dispute.to_owned(), lost);
        }
        self.out.alarm(order, "dispute_lost", detail);
    }

    pub(super) fn money_came(&mut self, purchase: &mut Purchase, event: &StripeEventReceived) {
        let Some(intent) = event.intent_id.clone() else {
            return;
        };
        if purchase.receipts.contains_key(&intent) {
            return;
        }
        let received = (
            event.amount_received.unwrap_or_default(),
            event.currency.as_deref().unwrap_or_default(),
        );
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        let mismatch = if event.livemode != self.rules.livemode {
            Some("livemode_mismatch")
        } else if Currency::parse(received.1) != Some(order.charge.currency) {
            Some("currency_mismatch")
        } else if received.0 != order.charge.minor {
            Some("amount_mismatch")
        } else {
            None
        };
        let awaited = matches!(
            purchase.stage,
            Stage::Opened { .. } | Stage::AwaitingPayment { .. }
        );
        if let Some(reason) = mismatch {
            self.out.push(PaymentQuarantined {
                purchase_id: order.purchase,
                intent_id: intent.clone(),
                reason: reason.to_owned(),
                expected: order.charge,
                received_minor: received.0,
                received_currency: received.1.to_owned(),
            });
            let detail = format!(
                "{intent} brought {} {} ({reason}), and {} was asked for",
                received.0, received.1, order.charge
            );
            self.out.alarm(&order, "payment_quarantined", detail);
            if awaited {
                purchase.stage = Stage::Quarantined { order };
            }
            return;
        }
        if awaited {
            purchase
                .receipts
                .insert(intent.clone(), (order.charge, Receipt::Kept));
            self.out.push(UserPaid {
                purchase_id: order.purchase,
                user_id: order.user,
                intent_id: intent.clone(),
                charge: order.charge,
            });
            let path = order.path.clone();
            let stage = Stage::Paid {
                order,
                intent,
                paid_at: self.now,
                attempt: 0,
                next: Next::Held,
                path,
            };
            purchase.stage = self.next_swap(purchase, stage);
            return;
        }
        // Paid after expiry, or paid twice: no state awaits this money.
        self.out.alarm(
            &order,
            "paid_again",
            format!("{intent} was paid though nothing awaited it; it is refunded"),
        );
        self.refund(
            purchase,
            &intent,
            order.charge,
            "paid though nothing awaited it",
        );
    }
}

/// Notes whether a payment is being processed, as Stripe told last by its own time. Of two of the
/// same second the end counts.
fn processing(purchase: &mut Purchase, event: &StripeEventReceived, now: bool) {
    let Some(intent) = event.intent_id.clone() else {
        return;
    };
    let known = purchase.told.processing.get(&intent).copied();
    // What was never processed needs no note that it is not.
    if !now && known.is_none() && event.event_type != "payment_intent.payment_failed" {
        return;
    }
    if known.is_none_or(|(since, _)| event.created > since || (event.created == since && !now)) {
        purchase
            .told
            .processing
            .insert(intent, (event.created, now));
    }
}
