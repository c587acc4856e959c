//! What is delivered and what is given back are together no more than what came in: asked of every
//! decision before it goes out, in every build.

use super::{Outputs, order_of};
use crate::state::{Purchase, Receipt, Stage};
use events::money::Amount;
use events::purchases::PurchaseEvent;

/// The alarm of a purchase that was stopped because its books would not hold.
pub const BOOKS_BROKEN: &str = "books_broken";

/// The decision as it may go out: as it is; or, where the books would not hold after it, nothing
/// but an alarm, and the purchase stops. An effect under way still ends, as the log tells, but
/// nothing follows from it.
pub(super) fn hold(mut purchase: Purchase, out: Outputs) -> (Purchase, Outputs) {
    let Some((why, order)) = broken(&purchase, &out).zip(order_of(&purchase.stage).cloned()) else {
        return (purchase, out);
    };
    let withheld: Vec<&str> = out.own.iter().map(events::schema::EventSet::name).collect();
    let mut stopped = Outputs::default();
    stopped.alarm(
        &order,
        BOOKS_BROKEN,
        format!(
            "{why}, in state {}; the purchase is stopped, withheld: {}{}",
            purchase.stage.name(),
            withheld.join(", "),
            match out.forward.len() {
                0 => String::new(),
                events => format!(" and {events} events to other topics"),
            }
        ),
    );
    purchase.stopped = true;
    (purchase, stopped)
}

/// Why the books do not hold in this state with these requests; `None`: they do.
///
/// A purchase that goes on holds its whole payment, one that is given up holds none of it; swaps
/// spend no more than was set aside for them, and no refund exceeds what is left of its receipt.
#[must_use]
pub fn broken(purchase: &Purchase, out: &Outputs) -> Option<String> {
    let order = order_of(&purchase.stage)?;
    let aside = order.usdc_due.unwrap_or(order.usdc_cap);
    if purchase.spent > aside {
        return Some(format!(
            "swaps have spent {} USDC of {aside}",
            purchase.spent
        ));
    }
    for event in &out.own {
        match event {
            PurchaseEvent::HandoffRequested(request) if request.amount > purchase.bought => {
                return Some(format!(
                    "{} TFT to the bridge, of {} that were bought",
                    request.amount, purchase.bought
                ));
            }
            PurchaseEvent::SwapRequested(request) => {
                let bought = purchase.bought.checked_add(request.tft);
                if bought != order.swap_tft.checked_sub(request.rest) {
                    return Some(format!(
                        "a swap of {} TFT beside {} bought, of {}",
                        request.tft, purchase.bought, order.swap_tft
                    ));
                }
                let most = purchase.spent.checked_add(request.send_max);
                if most.is_ok_and(|most| most <= aside) {
                    continue;
                }
                return Some(format!(
                    "a swap might spend {} USDC beside {} spent, of {aside}",
                    request.send_max, purchase.spent
                ));
            }
            PurchaseEvent::CompensationRequested(request) => {
                let intent = &request.intent_id;
                let left = purchase.receipts.get(intent);
                let left = left.map_or(0, |(sum, _)| purchase.left(intent, *sum));
                if request.amount.minor > left {
                    return Some(format!(
                        "a refund of {} of {intent}, of which {left} is left",
                        request.amount
                    ));
                }
            }
            _ => {}
        }
    }
    let (intent, keeps) = match &purchase.stage {
        Stage::Paid { intent, .. }
        | Stage::Swapped { intent, .. }
        | Stage::HandedOff { intent, .. }
        | Stage::Settled { intent, .. } => (intent, true),
        Stage::Refunding { intent, .. } => (intent, false),
        Stage::New
        | Stage::Opened { .. }
        | Stage::AwaitingPayment { .. }
        | Stage::AwaitingDeposit { .. }
        | Stage::Refunded { .. }
        | Stage::Lost { .. }
        | Stage::NotPaid { .. }
        | Stage::Quarantined { .. } => return None,
    };
    let Some(due) = order.usdc_due else {
        return match (purchase.receipts.get(intent), keeps) {
            (Some((_, Receipt::Kept)), true)
            | (Some((_, Receipt::Refunding { .. } | Receipt::Refunded)), false) => None,
            (Some((sum, _)), true) => Some(format!("{sum} of {intent} goes back")),
            (Some((sum, Receipt::Kept)), false) => Some(format!("{sum} of {intent} is kept")),
            (None, _) => Some(format!("nothing was received of {intent}")),
        };
    };
    let kept = purchase
        .portions
        .iter()
        .filter(|(_, receipt)| *receipt == Receipt::Kept)
        .try_fold(Amount::ZERO, |sum, (p, _)| sum.checked_add(p.amount));
    let wanted = if keeps { due } else { Amount::ZERO };
    (kept != Ok(wanted)).then(|| match kept {
        Ok(kept) => format!("{kept} USDC are kept, should be {wanted}"),
        Err(_) => "the USDC that is kept is beyond all sums".to_owned(),
    })
}
