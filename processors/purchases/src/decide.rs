//! Every rule of a purchase.
//!
//! [`transition`] is one function from (state, fact) to (state, events): what the policy evolves
//! to and what it decides cannot drift apart. What the policy itself appends changes nothing.

use crate::state::{
    EXPIRE, MINT_OVERDUE, Next, Order, Purchase, RETRY_HANDOFF, RETRY_REFUND, RETRY_SWAP, Receipt,
    Rules, Stage,
};
use events::deployments::{self, DeploymentEvent, FundsArrived};
use events::envelope::Record;
use events::money::{Amount, Currency, Fiat, Usdc};
use events::purchases::{
    CompensationFailed, CompensationRequested, HandoffRequested, HandoffReturned, HandoffSettled,
    PaymentIntentFailed, PaymentIntentRequested, PaymentQuarantined, PurchaseAlarmed,
    PurchaseEnded, PurchaseEvent, PurchaseOutcome, PurchaseRequested, StripeEventReceived,
    SwapFailed, SwapFailure, SwapRequested, TimerFired, UserPaid,
};
use events::time::Timestamp;
use pipeline::Forward;

/// Attempts at creating a PaymentIntent before the purchase ends unpaid.
const INTENT_ATTEMPTS: i32 = 3;
/// Attempts at paying the bridge before the charge goes back.
const HANDOFF_ATTEMPTS: i32 = 6;
/// How often a return by the bridge is answered by another hand-off.
const RETURNS: i32 = 2;
/// Refund attempts before a person is called.
const REFUND_ATTEMPTS: i32 = 5;

/// What is to be appended.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To `purchases`.
    pub own: Vec<PurchaseEvent>,
    /// To other topics.
    pub forward: Vec<Forward>,
}

impl Outputs {
    fn push(&mut self, event: impl Into<PurchaseEvent>) {
        self.own.push(event.into());
    }

    fn alarm(&mut self, order: &Order, alarm: &str, detail: impl Into<String>) {
        self.push(PurchaseAlarmed {
            purchase_id: order.purchase,
            alarm: alarm.to_owned(),
            detail: detail.into(),
        });
    }

    fn ended(&mut self, order: &Order, outcome: PurchaseOutcome, detail: &str) {
        self.push(PurchaseEnded {
            purchase_id: order.purchase,
            user_id: order.user,
            outcome,
            detail: detail.to_owned(),
        });
        if outcome != PurchaseOutcome::Settled {
            // What waits for the TFT need not wait any longer.
            let ended = deployments::PurchaseEnded {
                user_id: order.user,
                purchase_id: order.purchase,
                detail: detail.to_owned(),
            };
            self.forward.push(Forward::new::<DeploymentEvent>(
                order.user.to_string(),
                ended,
            ));
        }
    }
}

struct Rulebook<'a> {
    rules: &'a Rules,
    now: Timestamp,
    out: Outputs,
}

/// The state after the fact, and what is to be appended because of it.
#[must_use]
pub fn transition(
    rules: &Rules,
    mut purchase: Purchase,
    record: &Record<PurchaseEvent>,
) -> (Purchase, Outputs) {
    let mut book = Rulebook {
        rules,
        now: record.time(),
        out: Outputs::default(),
    };
    match &record.event {
        PurchaseEvent::PurchaseRequested(event) => book.requested(&mut purchase, event),
        PurchaseEvent::PaymentIntentCreated(event) => {
            if let Stage::Opened { order, .. } = purchase.stage {
                purchase.stage = Stage::AwaitingPayment {
                    order,
                    intent: event.intent_id.clone(),
                };
            }
        }
        PurchaseEvent::PaymentIntentFailed(event) => book.intent_failed(&mut purchase, event),
        PurchaseEvent::StripeEventReceived(event) => book.stripe(&mut purchase, event),
        PurchaseEvent::SwapCompleted(_) => {
            if let Stage::Paid { order, intent, .. } = purchase.stage {
                let stage = Stage::Swapped {
                    order,
                    intent,
                    attempt: 0,
                    next: Next::Held,
                    returns: 0,
                };
                purchase.stage = book.next_handoff(stage, purchase.held);
            }
        }
        PurchaseEvent::SwapFailed(event) => book.swap_failed(&mut purchase, event),
        PurchaseEvent::TftSentToBridge(event) => {
            // The return of an attempt may be seen before its outcome, which then is not that of
            // the attempt under way.
            let awaited = matches!(&purchase.stage, Stage::Swapped { attempt, .. } if *attempt == event.attempt);
            if awaited
                && let Stage::Swapped {
                    order,
                    intent,
                    attempt,
                    returns,
                    ..
                } = purchase.stage
            {
                purchase.stage = Stage::HandedOff {
                    order,
                    intent,
                    attempt,
                    transaction: event.transaction.clone(),
                    sent_at: record.time(),
                    alarmed: false,
                    returns,
                };
            }
        }
        PurchaseEvent::HandoffFailed(event) => book.handoff_failed(&mut purchase, event.attempt),
        PurchaseEvent::HandoffSettled(event) => book.settled(&mut purchase, event),
        PurchaseEvent::HandoffReturned(event) => book.returned(&mut purchase, event),
        PurchaseEvent::CompensationSettled(event) => book.refunded(&mut purchase, &event.intent_id),
        PurchaseEvent::CompensationFailed(event) => book.refund_failed(&mut purchase, event),
        PurchaseEvent::TimerFired(event) => book.timer(&mut purchase, event),
        // Our own decisions, and the lanes of the hands.
        PurchaseEvent::LanesOpened(_)
        | PurchaseEvent::PaymentIntentRequested(_)
        | PurchaseEvent::UserPaid(_)
        | PurchaseEvent::PaymentQuarantined(_)
        | PurchaseEvent::SwapRequested(_)
        | PurchaseEvent::HandoffRequested(_)
        | PurchaseEvent::CompensationRequested(_)
        | PurchaseEvent::PurchaseEnded(_)
        | PurchaseEvent::PurchaseAlarmed(_) => {}
    }
    (purchase, book.out)
}

impl Rulebook<'_> {
    fn requested(&mut self, purchase: &mut Purchase, event: &PurchaseRequested) {
        if purchase.stage != Stage::New {
            return;
        }
        let order = Order {
            purchase: event.purchase_id,
            user: event.user_id,
            twin: event.twin_id,
            tft: event.tft,
            swap_tft: event.swap_tft,
            usdc_cap: event.usdc_cap,
            path: event.path.clone(),
            charge: event.charge,
            requested_at: event.requested_at,
        };
        self.request_intent(&order, 1);
        purchase.stage = Stage::Opened { order, attempt: 1 };
    }

    fn request_intent(&mut self, order: &Order, attempt: i32) {
        self.out.push(PaymentIntentRequested {
            purchase_id: order.purchase,
            user_id: order.user,
            attempt,
            charge: order.charge,
            deadline: self.now.after(self.rules.stripe_deadline),
        });
    }

    fn intent_failed(&mut self, purchase: &mut Purchase, event: &PaymentIntentFailed) {
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

    fn stripe(&mut self, purchase: &mut Purchase, event: &StripeEventReceived) {
        match event.event_type.as_str() {
            "payment_intent.succeeded" => self.money_came(purchase, event),
            "payment_intent.canceled" => {
                if let Stage::AwaitingPayment { order, intent } = &purchase.stage
                    && event.intent_id.as_ref() == Some(intent)
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
            "charge.refunded" | "charge.dispute.created" => {
                // Our own refunds say so, too.
                let ours = event
                    .intent_id
                    .as_ref()
                    .and_then(|i| purchase.receipts.get(i))
                    .is_none_or(|(_, r)| *r != Receipt::Kept);
                let Some(order) = order_of(&purchase.stage).cloned() else {
                    return;
                };
                if !ours && !purchase.held {
                    purchase.held = true;
                    let alarm = if event.event_type == "charge.refunded" {
                        "refunded_outside"
                    } else {
                        "disputed"
                    };
                    let id = event.object_id.as_deref().unwrap_or_default();
                    self.out.alarm(
                        &order,
                        alarm,
                        format!("{} {id}: later legs wait", event.event_type),
                    );
                }
            }
            "charge.dispute.closed" => self.dispute_closed(purchase, event),
            _ => {}
        }
    }

    fn dispute_closed(&mut self, purchase: &mut Purchase, event: &StripeEventReceived) {
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        if !purchase.held {
            return;
        }
        if event.status.as_deref() != Some("won") {
            self.out.alarm(
                &order,
                "dispute_lost",
                "the charge is a loss; nothing more is delivered",
            );
            return;
        }
        purchase.held = false;
        match std::mem::take(&mut purchase.stage) {
            Stage::Paid {
                order,
                intent,
                paid_at,
                attempt,
                next: Next::Held,
                path,
            } => {
                let stage = Stage::Paid {
                    order,
                    intent,
                    paid_at,
                    attempt,
                    next: Next::Held,
                    path,
                };
                purchase.stage = self.next_swap(stage, false);
            }
            stage @ Stage::Swapped {
                next: Next::Held, ..
            } => purchase.stage = self.next_handoff(stage, false),
            stage => purchase.stage = stage,
        }
    }

    fn money_came(&mut self, purchase: &mut Purchase, event: &StripeEventReceived) {
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
                intent_id: intent,
                reason: reason.to_owned(),
                expected: order.charge,
                received_minor: received.0,
                received_currency: received.1.to_owned(),
            });
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
            purchase.stage = self.next_swap(stage, purchase.held);
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

    /// Requests the attempt after the last, unless the purchase is held.
    fn next_swap(&mut self, stage: Stage, held: bool) -> Stage {
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

    fn swap_failed(&mut self, purchase: &mut Purchase, event: &SwapFailed) {
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
                self.next_swap(stage, purchase.held)
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

    /// The whole charge goes back; TFT already bought stays with the treasury.
    fn give_up(&mut self, purchase: &mut Purchase, reason: &str) {
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
    fn refund(&mut self, purchase: &mut Purchase, intent: &str, amount: Fiat, reason: &str) {
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

    fn request_refund(
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

    fn refunded(&mut self, purchase: &mut Purchase, intent: &str) {
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

    fn refund_failed(&mut self, purchase: &mut Purchase, event: &CompensationFailed) {
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

    fn next_handoff(&mut self, stage: Stage, held: bool) -> Stage {
        let Stage::Swapped {
            order,
            intent,
            attempt,
            returns,
            ..
        } = stage
        else {
            return stage;
        };
        if held {
            return Stage::Swapped {
                order,
                intent,
                attempt,
                next: Next::Held,
                returns,
            };
        }
        let attempt = attempt + 1;
        self.out.push(HandoffRequested {
            purchase_id: order.purchase,
            attempt,
            twin_id: order.twin,
            amount: order.swap_tft,
            bridge: self.rules.bridge.clone(),
            deadline: self.now.after(self.rules.stellar_deadline),
        });
        Stage::Swapped {
            order,
            intent,
            attempt,
            next: Next::UnderWay,
            returns,
        }
    }

    fn handoff_failed(&mut self, purchase: &mut Purchase, failed: i32) {
        let Stage::Swapped {
            attempt,
            next: Next::UnderWay,
            ..
        } = &purchase.stage
        else {
            return;
        };
        let attempt = *attempt;
        if attempt != failed {
            return;
        }
        if attempt >= HANDOFF_ATTEMPTS {
            self.give_up(purchase, "the bridge could not be paid");
            return;
        }
        let stage = std::mem::take(&mut purchase.stage);
        purchase.stage = match self.rules.retry_at(self.now, attempt + 1) {
            None => self.next_handoff(stage, purchase.held),
            Some(due) => waiting(stage, due),
        };
    }

    fn settled(&mut self, purchase: &mut Purchase, event: &HandoffSettled) {
        match &purchase.stage {
            // The mint may be seen before the payment's own outcome is.
            Stage::Swapped { order, intent, .. } | Stage::HandedOff { order, intent, .. } => {
                let (order, intent) = (order.clone(), intent.clone());
                self.out
                    .ended(&order, PurchaseOutcome::Settled, "the TFT arrived");
                let funds = FundsArrived {
                    user_id: order.user,
                    purchase_id: order.purchase,
                    amount: event.amount,
                    block: event.block,
                };
                self.out.forward.push(Forward::new::<DeploymentEvent>(
                    order.user.to_string(),
                    funds,
                ));
                purchase.stage = Stage::Settled {
                    order,
                    intent,
                    transaction: event.transaction.clone(),
                };
            }
            stage => {
                let Some(order) = order_of(stage).cloned() else {
                    return;
                };
                self.out.alarm(
                    &order,
                    "minted_again",
                    format!("{} was minted in state {}", event.transaction, stage.name()),
                );
            }
        }
    }

    fn returned(&mut self, purchase: &mut Purchase, event: &HandoffReturned) {
        let (order, intent, attempt, returns) = match &purchase.stage {
            Stage::Swapped {
                order,
                intent,
                attempt,
                returns,
                ..
            }
            | Stage::HandedOff {
                order,
                intent,
                attempt,
                returns,
                ..
            } => (order.clone(), intent.clone(), *attempt, *returns),
            stage => {
                let Some(order) = order_of(stage).cloned() else {
                    return;
                };
                self.out.alarm(
                    &order,
                    "returned_late",
                    format!("{} came back in state {}", event.transaction, stage.name()),
                );
                return;
            }
        };
        let stage = Stage::Swapped {
            order,
            intent,
            attempt,
            next: Next::Held,
            returns: returns + 1,
        };
        if returns < RETURNS {
            purchase.stage = self.next_handoff(stage, purchase.held);
        } else {
            purchase.stage = stage;
            self.give_up(purchase, "the bridge sent the TFT back");
        }
    }

    fn timer(&mut self, purchase: &mut Purchase, event: &TimerFired) {
        let name = event.timer.as_str();
        if let Some(intent) = name.strip_prefix(RETRY_REFUND) {
            self.retry_refund(purchase, intent);
            return;
        }
        match (name, std::mem::take(&mut purchase.stage)) {
            (EXPIRE, Stage::Opened { order, .. } | Stage::AwaitingPayment { order, .. }) => {
                self.out
                    .ended(&order, PurchaseOutcome::NotPaid, "nobody paid in time");
                purchase.stage = Stage::NotPaid { order };
            }
            (
                RETRY_SWAP,
                Stage::Paid {
                    order,
                    intent,
                    paid_at,
                    attempt,
                    next: Next::At(due),
                    path,
                },
            ) => {
                let over = due >= paid_at.after(self.rules.give_up_after);
                let stage = Stage::Paid {
                    order,
                    intent,
                    paid_at,
                    attempt,
                    next: Next::Held,
                    path,
                };
                if over {
                    purchase.stage = stage;
                    self.give_up(purchase, "no swap until the give-up time");
                } else {
                    purchase.stage = self.next_swap(stage, purchase.held);
                }
            }
            (
                RETRY_HANDOFF,
                stage @ Stage::Swapped {
                    next: Next::At(_), ..
                },
            ) => {
                purchase.stage = self.next_handoff(stage, purchase.held);
            }
            (
                MINT_OVERDUE,
                Stage::HandedOff {
                    order,
                    intent,
                    attempt,
                    transaction,
                    sent_at,
                    returns,
                    ..
                },
            ) => {
                self.out.alarm(
                    &order,
                    MINT_OVERDUE,
                    format!("{transaction} was paid to the bridge at {sent_at}; no mint was seen"),
                );
                purchase.stage = Stage::HandedOff {
                    order,
                    intent,
                    attempt,
                    transaction,
                    sent_at,
                    alarmed: true,
                    returns,
                };
            }
            (_, stage) => purchase.stage = stage,
        }
    }

    fn retry_refund(&mut self, purchase: &mut Purchase, intent: &str) {
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

/// The stage with its next attempt at `due`.
fn waiting(stage: Stage, due: Timestamp) -> Stage {
    match stage {
        Stage::Paid {
            order,
            intent,
            paid_at,
            attempt,
            path,
            ..
        } => Stage::Paid {
            order,
            intent,
            paid_at,
            attempt,
            next: Next::At(due),
            path,
        },
        Stage::Swapped {
            order,
            intent,
            attempt,
            returns,
            ..
        } => Stage::Swapped {
            order,
            intent,
            attempt,
            next: Next::At(due),
            returns,
        },
        other => other,
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

fn order_of(stage: &Stage) -> Option<&Order> {
    match stage {
        Stage::New => None,
        Stage::Opened { order, .. }
        | Stage::AwaitingPayment { order, .. }
        | Stage::Paid { order, .. }
        | Stage::Swapped { order, .. }
        | Stage::HandedOff { order, .. }
        | Stage::Settled { order, .. }
        | Stage::Refunding { order, .. }
        | Stage::Refunded { order }
        | Stage::NotPaid { order }
        | Stage::Quarantined { order } => Some(order),
    }
}
