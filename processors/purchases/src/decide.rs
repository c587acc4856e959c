//! Every rule of a purchase.
//!
//! [`transition`] is one function from (state, fact) to (state, events): what the policy evolves
//! to and what it decides cannot drift apart. What the policy itself appends changes nothing.

mod books;
mod card;
mod compensation;
mod handoff;
mod refunds;
mod swap;
mod usdc;

use crate::state::{
    EXPIRE, FUNDING_OVERDUE, MINT_OVERDUE, Next, Order, Purchase, RETRY_HANDOFF, RETRY_REFUND,
    RETRY_SWAP, Rules, Stage,
};
use events::deployments::{self, DeploymentEvent};
use events::envelope::Record;
use events::purchases::{
    PurchaseAlarmed, PurchaseEnded, PurchaseEvent, PurchaseOutcome, PurchaseRequested, TimerFired,
};
use events::time::Timestamp;
use pipeline::Forward;

pub use books::{BOOKS_BROKEN, broken};

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

/// The state after the fact, and what is to be appended because of it. A decision after which the
/// books would not hold is replaced by the alarm [`BOOKS_BROKEN`]; from then on nothing follows.
#[must_use]
pub fn transition(
    rules: &Rules,
    mut purchase: Purchase,
    record: &Record<PurchaseEvent>,
) -> (Purchase, Outputs) {
    if purchase.stopped {
        return (purchase, Outputs::default());
    }
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
                book.cancelled(&mut purchase);
            }
        }
        PurchaseEvent::PaymentIntentFailed(event) => book.intent_failed(&mut purchase, event),
        PurchaseEvent::StripeEventReceived(event) => book.stripe(&mut purchase, event),
        PurchaseEvent::PurchaseFunded(event) => book.funded(&mut purchase, event),
        PurchaseEvent::PurchaseUnfunded(event) => {
            if let Stage::AwaitingDeposit { order, .. } = &purchase.stage {
                let order = order.clone();
                book.out
                    .ended(&order, PurchaseOutcome::NotPaid, &event.detail);
                purchase.stage = Stage::NotPaid { order };
            }
        }
        PurchaseEvent::SwapCompleted(event) => book.swap_completed(&mut purchase, event),
        PurchaseEvent::SwapFailed(event) => book.swap_failed(&mut purchase, event),
        PurchaseEvent::TftSentToBridge(event) => {
            // Of an attempt that came back meanwhile, this is old news.
            if let Stage::Swapped {
                attempt,
                next: Next::UnderWay,
                ..
            } = purchase.stage
                && attempt == event.attempt
                && let Stage::Swapped {
                    order,
                    intent,
                    attempt,
                    returns,
                    ..
                } = std::mem::take(&mut purchase.stage)
            {
                purchase.fees = purchase.fees.saturating_add(event.fee_stroops);
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
        PurchaseEvent::CompensationSettled(event) => book.refunded(&mut purchase, event),
        PurchaseEvent::CompensationFailed(event) => book.refund_failed(&mut purchase, event),
        PurchaseEvent::UsdcCompensationFailed(event) => book.usdc_held(&purchase, event),
        PurchaseEvent::UsdcCompensationSettled(event) => book.usdc_back(&mut purchase, event),
        PurchaseEvent::RefundOrdered(event) => book.refund_ordered(&mut purchase, event),
        PurchaseEvent::TimerFired(event) => book.timer(&mut purchase, event),
        // Our own decisions, and the lanes of the hands.
        PurchaseEvent::LanesOpened(_)
        | PurchaseEvent::PaymentIntentRequested(_)
        | PurchaseEvent::UserPaid(_)
        | PurchaseEvent::FundsRequested(_)
        | PurchaseEvent::UsdcCompensationRequested(_)
        | PurchaseEvent::PurchaseAccounted(_)
        | PurchaseEvent::PaymentQuarantined(_)
        | PurchaseEvent::SwapRequested(_)
        | PurchaseEvent::HandoffRequested(_)
        | PurchaseEvent::CompensationRequested(_)
        | PurchaseEvent::PurchaseEnded(_)
        | PurchaseEvent::PurchaseAlarmed(_)
        | PurchaseEvent::LossBooked(_)
        | PurchaseEvent::DeadLetterReleased(_) => return (purchase, book.out),
    }
    book.given_back(&mut purchase);
    books::hold(purchase, book.out)
}

impl Rulebook<'_> {
    fn requested(&mut self, purchase: &mut Purchase, event: &PurchaseRequested) {
        if purchase.stage != Stage::New {
            return;
        }
        let order = Order::of(event, &self.rules.unsaid);
        if let Some(due) = order.usdc_due {
            purchase.stage = self.request_funds(order, due);
        } else {
            self.request_intent(&order, 1);
            purchase.stage = Stage::Opened { order, attempt: 1 };
        }
    }

    fn timer(&mut self, purchase: &mut Purchase, event: &TimerFired) {
        let name = event.timer.as_str();
        if let Some(intent) = name.strip_prefix(RETRY_REFUND) {
            self.retry_refund(purchase, intent);
            return;
        }
        if name == EXPIRE && !purchase.told.processing.is_empty() {
            // Processing began, or ended, when this was on its way: there is another timer.
            let order = order_of(&purchase.stage);
            if order.is_some_and(|order| event.due < purchase.pay_until(order, self.rules)) {
                return;
            }
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
                    next: Next::At(_),
                    path,
                },
            ) => {
                // By what the timer itself says: the wait that is folded may be another one today.
                let over = event.due >= order.give_up_at(paid_at);
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
                    purchase.stage = self.next_swap(purchase, stage);
                }
            }
            (FUNDING_OVERDUE, Stage::AwaitingDeposit { order, until, .. }) => {
                self.out.alarm(
                    &order,
                    FUNDING_OVERDUE,
                    format!("the credit of twin {} waited until {until}; nothing was said of it since: does `deposits` run?", order.twin),
                );
                purchase.stage = Stage::AwaitingDeposit {
                    order,
                    until,
                    alarmed: true,
                };
            }
            (
                RETRY_HANDOFF,
                stage @ Stage::Swapped {
                    next: Next::At(_), ..
                },
            ) => {
                purchase.stage = self.next_handoff(stage, purchase.held());
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

fn order_of(stage: &Stage) -> Option<&Order> {
    match stage {
        Stage::New => None,
        Stage::Opened { order, .. }
        | Stage::AwaitingPayment { order, .. }
        | Stage::AwaitingDeposit { order, .. }
        | Stage::Paid { order, .. }
        | Stage::Swapped { order, .. }
        | Stage::HandedOff { order, .. }
        | Stage::Settled { order, .. }
        | Stage::Refunding { order, .. }
        | Stage::Refunded { order }
        | Stage::Lost { order, .. }
        | Stage::NotPaid { order }
        | Stage::Quarantined { order } => Some(order),
    }
}

/// The PaymentIntent that pays, or [`crate::state::USDC`]; `None` while nothing does.
fn paid_by(stage: &Stage) -> Option<&str> {
    match stage {
        Stage::AwaitingPayment { intent, .. }
        | Stage::Paid { intent, .. }
        | Stage::Swapped { intent, .. }
        | Stage::HandedOff { intent, .. }
        | Stage::Settled { intent, .. }
        | Stage::Refunding { intent, .. }
        | Stage::Lost { intent, .. } => Some(intent),
        Stage::New
        | Stage::Opened { .. }
        | Stage::AwaitingDeposit { .. }
        | Stage::Refunded { .. }
        | Stage::NotPaid { .. }
        | Stage::Quarantined { .. } => None,
    }
}
