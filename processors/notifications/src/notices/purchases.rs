//! Purchases: settled, refunded, not paid, lost, paid late, disputed; alarms, to operators.

use super::{to_operators, to_person};
use crate::kinds::figure;
use events::envelope::Record;
use events::ids::UserId;
use events::money::{Amount, Asset};
use events::notifications::Figure;
use events::purchases::{
    Funding, PurchaseAlarmed, PurchaseEnded, PurchaseEvent, PurchaseOutcome, PurchaseRequested,
};
use pipeline::{Decision, Forward, Policy, Timer};

/// The policy `purchase-notices`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PurchaseNotices;

/// What notices tell of a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    order: Option<Order>,
    ended: Option<PurchaseOutcome>,
    arrived: Option<String>,
    refunded: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    user: UserId,
    tft: String,
    charge: String,
}

fn coins<A: Asset>(amount: Amount<A>) -> String {
    format!("{amount} {}", A::CODE)
}

impl Order {
    fn of(event: &PurchaseRequested) -> Self {
        let charge = match (event.funding, event.usdc_due) {
            (Funding::Usdc, Some(due)) => coins(due),
            (Funding::Card | Funding::Usdc, _) => event.charge.to_string(),
        };
        Self {
            user: event.user_id,
            tft: coins(event.tft),
            charge,
        }
    }
}

/// What is known after the record.
fn known(mut known: Known, event: &PurchaseEvent) -> Known {
    match event {
        PurchaseEvent::PurchaseRequested(e) => {
            known.order.get_or_insert_with(|| Order::of(e));
        }
        PurchaseEvent::HandoffSettled(e) => known.arrived = Some(coins(e.amount)),
        PurchaseEvent::CompensationSettled(e) => known.refunded = Some(e.amount.to_string()),
        PurchaseEvent::UsdcCompensationRequested(e) => known.refunded = Some(coins(e.amount)),
        PurchaseEvent::PurchaseEnded(e) => known.ended = Some(e.outcome),
        PurchaseEvent::LanesOpened(_)
        | PurchaseEvent::PaymentIntentRequested(_)
        | PurchaseEvent::PaymentIntentCreated(_)
        | PurchaseEvent::PaymentIntentFailed(_)
        | PurchaseEvent::StripeEventReceived(_)
        | PurchaseEvent::UserPaid(_)
        | PurchaseEvent::PaymentQuarantined(_)
        | PurchaseEvent::SwapRequested(_)
        | PurchaseEvent::SwapCompleted(_)
        | PurchaseEvent::SwapFailed(_)
        | PurchaseEvent::HandoffRequested(_)
        | PurchaseEvent::TftSentToBridge(_)
        | PurchaseEvent::HandoffFailed(_)
        | PurchaseEvent::HandoffReturned(_)
        | PurchaseEvent::CompensationRequested(_)
        | PurchaseEvent::CompensationFailed(_)
        | PurchaseEvent::FundsRequested(_)
        | PurchaseEvent::PurchaseFunded(_)
        | PurchaseEvent::PurchaseUnfunded(_)
        | PurchaseEvent::UsdcCompensationSettled(_)
        | PurchaseEvent::UsdcCompensationFailed(_)
        | PurchaseEvent::PurchaseAccounted(_)
        | PurchaseEvent::PurchaseAlarmed(_)
        | PurchaseEvent::LossBooked(_)
        | PurchaseEvent::RefundOrdered(_)
        | PurchaseEvent::TimerFired(_)
        | PurchaseEvent::DeadLetterReleased(_) => {}
    }
    known
}

fn ended(known: &Known, order: &Order, event: &PurchaseEnded) -> (&'static str, Vec<Figure>) {
    let mut figures = vec![
        figure("purchase_id", event.purchase_id),
        figure("tft", &order.tft),
        figure("charge", &order.charge),
    ];
    let kind = match event.outcome {
        PurchaseOutcome::Settled => {
            let arrived = known.arrived.as_ref().unwrap_or(&order.tft);
            figures.push(figure("arrived", arrived));
            return ("purchase_settled", figures);
        }
        PurchaseOutcome::Refunded => {
            let refunded = known.refunded.as_ref().unwrap_or(&order.charge);
            figures.push(figure("refunded", refunded));
            "purchase_refunded"
        }
        PurchaseOutcome::NotPaid => "purchase_not_paid",
        PurchaseOutcome::Lost => "purchase_lost",
    };
    figures.push(figure("detail", &event.detail));
    (kind, figures)
}

/// An alarm that its buyer is told of, too.
fn alarmed(
    known: &Known,
    order: &Order,
    event: &PurchaseAlarmed,
) -> Option<(&'static str, Vec<Figure>)> {
    let kind = match event.alarm.as_str() {
        "disputed" => "purchase_disputed",
        "paid_again" if known.ended == Some(PurchaseOutcome::NotPaid) => "purchase_paid_late",
        _ => return None,
    };
    let figures = vec![
        figure("purchase_id", event.purchase_id),
        figure("tft", &order.tft),
        figure("charge", &order.charge),
    ];
    Some((kind, figures))
}

fn notices(known: &Known, record: &Record<PurchaseEvent>) -> Vec<Forward> {
    let mut out = Vec::new();
    if let PurchaseEvent::PurchaseAlarmed(e) = &record.event {
        let figures = vec![
            figure("purchase_id", e.purchase_id),
            figure("alarm", &e.alarm),
            figure("detail", &e.detail),
        ];
        out.push(to_operators(record, "purchase_alarmed", figures));
    }
    let Some(order) = &known.order else {
        return out;
    };
    let told = match &record.event {
        PurchaseEvent::PurchaseEnded(e) => Some(ended(known, order, e)),
        PurchaseEvent::PurchaseAlarmed(e) => alarmed(known, order, e),
        PurchaseEvent::PaymentQuarantined(e) => {
            let received = format!("{} {}", e.received_minor, e.received_currency);
            let figures = vec![
                figure("purchase_id", e.purchase_id),
                figure("expected", e.expected),
                figure("received", received),
                figure("reason", &e.reason),
            ];
            Some(("payment_quarantined", figures))
        }
        // What goes back after the end; before it, the end tells of it.
        PurchaseEvent::CompensationSettled(e) if known.ended.is_some() => {
            let figures = vec![
                figure("purchase_id", e.purchase_id),
                figure("refunded", e.amount),
            ];
            Some(("payment_refunded", figures))
        }
        _ => None,
    };
    if let Some((kind, figures)) = told {
        out.push(to_person(record, order.user, kind, figures));
    }
    out
}

impl Policy for PurchaseNotices {
    const NAME: &'static str = "purchase-notices";
    type Event = PurchaseEvent;
    type State = Known;

    fn evolve(&self, state: Known, record: &Record<PurchaseEvent>) -> Known {
        known(state, &record.event)
    }

    fn decide(&self, state: &Known, record: &Record<PurchaseEvent>) -> Decision<PurchaseEvent> {
        let notices = notices(state, record).into_iter();
        notices.fold(Decision::nothing(), Decision::forward)
    }

    fn timers(&self, _: &Known) -> Vec<Timer> {
        Vec::new()
    }

    fn timer_fired(&self, _: &str, _: &Timer) -> Option<PurchaseEvent> {
        None
    }
}
