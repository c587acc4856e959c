//! Paying by USDC: the credit of the buyer's twin pays, and gets back what is not needed.
//!
//! Which deposits pay for which purchase is decided where all money of a twin stands in one order,
//! by the policy `deposits`. It grants the whole amount or nothing.

use super::{Rulebook, order_of};
use crate::state::{Next, Order, Purchase, Receipt, Stage, USDC};
use events::deposits::credit_key;
use events::deposits::{CreditBooked, CreditReason, DepositEvent, FundsWanted, PartReturnWanted};
use events::ids::TwinId;
use events::money::{Amount, Portion, Usdc};
use events::purchases::{
    FundsRequested, PurchaseAccounted, PurchaseFunded, PurchaseOutcome, UsdcCompensationFailed,
    UsdcCompensationRequested, UsdcCompensationSettled,
};
use pipeline::Forward;

impl Rulebook<'_> {
    pub(super) fn request_funds(&mut self, order: Order, due: Amount<Usdc>) -> Stage {
        let until = order.pay_until;
        self.out.push(FundsRequested {
            purchase_id: order.purchase,
            user_id: order.user,
            twin_id: order.twin,
            amount: due,
            until,
        });
        let wanted = FundsWanted {
            purchase_id: order.purchase,
            user_id: order.user,
            twin_id: order.twin,
            amount: due,
            until,
        };
        self.out
            .forward
            .push(Forward::new::<DepositEvent>(credit_key(order.twin), wanted));
        Stage::AwaitingDeposit {
            order,
            until,
            alarmed: false,
        }
    }

    pub(super) fn funded(&mut self, purchase: &mut Purchase, event: &PurchaseFunded) {
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        let whole =
            sum(&event.portions) == Some(event.amount) && order.usdc_due == Some(event.amount);
        if !whole || !matches!(purchase.stage, Stage::AwaitingDeposit { .. }) {
            // The credit grants once and in full; anything else goes back to where it came from.
            self.out.alarm(
                &order,
                "funded_amiss",
                format!(
                    "{} USDC came in state {}",
                    event.amount,
                    purchase.stage.name()
                ),
            );
            self.back_to_credit(&order, event);
            return;
        }
        purchase.portions = event
            .portions
            .iter()
            .map(|portion| (portion.clone(), Receipt::Kept))
            .collect();
        let path = order.path.clone();
        let stage = Stage::Paid {
            order,
            intent: USDC.to_owned(),
            paid_at: self.now,
            attempt: 0,
            next: Next::Held,
            path,
        };
        purchase.stage = self.next_swap(purchase, stage);
    }

    fn back_to_credit(&mut self, order: &Order, event: &PurchaseFunded) {
        self.out.push(UsdcCompensationRequested {
            purchase_id: order.purchase,
            twin_id: event.twin_id,
            amount: event.amount,
            portions: event.portions.clone(),
            reason: "the purchase did not wait for it".to_owned(),
        });
        for portion in &event.portions {
            self.credit(order, event.twin_id, portion, CreditReason::Refund);
        }
    }

    /// Adds to the credit of a twin; once for each origin.
    fn credit(&mut self, order: &Order, twin: TwinId, portion: &Portion, reason: CreditReason) {
        let booked = CreditBooked {
            twin_id: twin,
            deposit_id: portion.deposit_id.clone(),
            purchase_id: Some(order.purchase),
            amount: portion.amount,
            reason,
        };
        let origin = portion.deposit_id.clone().unwrap_or_default();
        self.out
            .forward
            .push(Forward::new::<DepositEvent>(credit_key(twin), booked).discriminated(origin));
    }

    /// All USDC goes back: to the senders of its deposits, or to the credit where it has none.
    pub(super) fn return_usdc(&mut self, purchase: &mut Purchase, reason: &str) {
        let Some(order) = order_of(&purchase.stage).cloned() else {
            return;
        };
        let mut portions = Vec::new();
        for (portion, receipt) in &mut purchase.portions {
            if *receipt != Receipt::Kept {
                continue;
            }
            portions.push(portion.clone());
            *receipt = if portion.deposit_id.is_some() {
                Receipt::Refunding {
                    attempt: 1,
                    next: Next::UnderWay,
                }
            } else {
                Receipt::Refunded
            };
        }
        let Some(amount) = sum(&portions).filter(|amount| !amount.is_zero()) else {
            return;
        };
        self.out.push(UsdcCompensationRequested {
            purchase_id: order.purchase,
            twin_id: order.twin,
            amount,
            portions: portions.clone(),
            reason: reason.to_owned(),
        });
        for portion in &portions {
            let Some(deposit_id) = portion.deposit_id.clone() else {
                self.credit(&order, order.twin, portion, CreditReason::Refund);
                continue;
            };
            let wanted = PartReturnWanted {
                deposit_id: deposit_id.clone(),
                purchase_id: order.purchase,
                amount: portion.amount,
                reason: reason.to_owned(),
            };
            self.out.forward.push(
                Forward::new::<DepositEvent>(deposit_id.clone(), wanted).discriminated(deposit_id),
            );
        }
        self.usdc_all_back(purchase);
    }

    pub(super) fn usdc_back(&mut self, purchase: &mut Purchase, event: &UsdcCompensationSettled) {
        for (portion, receipt) in &mut purchase.portions {
            if portion.deposit_id.as_deref() == Some(event.deposit_id.as_str())
                && matches!(receipt, Receipt::Refunding { .. })
            {
                *receipt = Receipt::Refunded;
            }
        }
        self.usdc_all_back(purchase);
    }

    /// It is tried on, or a person has it returned; the purchase ends by it all the same.
    pub(super) fn usdc_held(&mut self, purchase: &Purchase, event: &UsdcCompensationFailed) {
        let waits = purchase.portions.iter().any(|(portion, receipt)| {
            portion.deposit_id.as_deref() == Some(event.deposit_id.as_str())
                && matches!(receipt, Receipt::Refunding { .. })
        });
        if let Some(order) = order_of(&purchase.stage).filter(|_| waits) {
            self.out.alarm(order, "refund_failed", &event.detail);
        }
    }

    fn usdc_all_back(&mut self, purchase: &mut Purchase) {
        let all = purchase
            .portions
            .iter()
            .all(|(_, receipt)| *receipt == Receipt::Refunded);
        if let Stage::Refunding { order, intent } = &purchase.stage
            && intent == USDC
            && all
        {
            let order = order.clone();
            self.out
                .ended(&order, PurchaseOutcome::Refunded, "the USDC went back");
            purchase.stage = Stage::Refunded { order };
        }
    }

    /// What a settled purchase cost; what its swap did not need becomes the buyer's credit.
    pub(super) fn account(&mut self, purchase: &Purchase, order: &Order) {
        // Of a charge that is disputed, or that somebody else gave back, nothing is left over. Of one
        // whose refund was ordered too late, nothing was, while orders did not say their terms.
        let withheld = if order.says_terms {
            purchase.doubted()
        } else {
            purchase.held()
        };
        let left = order.usdc_cap.checked_sub(purchase.spent);
        let leftover = left.ok().filter(|_| !withheld).unwrap_or(Amount::ZERO);
        self.out.push(PurchaseAccounted {
            purchase_id: order.purchase,
            twin_id: order.twin,
            charge: order.usdc_due.is_none().then_some(order.charge),
            usdc_paid: order.usdc_due,
            usdc_quoted: order.usdc_quoted,
            usdc_cap: order.usdc_cap,
            usdc_spent: purchase.spent,
            slippage: purchase.spent.minor() - order.usdc_quoted.minor(),
            spread: order
                .usdc_due
                .map(|due| due.checked_sub(order.usdc_cap).unwrap_or(Amount::ZERO)),
            leftover,
            bridge_fee: order
                .swap_tft
                .checked_sub(order.tft)
                .unwrap_or(Amount::ZERO),
            network_fee_stroops: purchase.fees,
        });
        for portion in unspent(&purchase.portions, leftover, order.usdc_due.is_some()) {
            self.credit(order, order.twin, &portion, CreditReason::Leftover);
        }
    }
}

/// Of which origins `leftover` is: of those that came last. What a card paid has none.
fn unspent(portions: &[(Portion, Receipt)], leftover: Amount<Usdc>, usdc: bool) -> Vec<Portion> {
    let mut rest = leftover;
    let mut parts = Vec::new();
    for (portion, _) in portions.iter().rev().filter(|_| usdc) {
        let amount = rest.min(portion.amount);
        rest = rest.checked_sub(amount).unwrap_or(Amount::ZERO);
        parts.push(Portion {
            deposit_id: portion.deposit_id.clone(),
            amount,
        });
    }
    if !usdc {
        parts.push(Portion {
            deposit_id: None,
            amount: rest,
        });
    }
    parts.retain(|part| !part.amount.is_zero());
    parts
}

fn sum(portions: &[Portion]) -> Option<Amount<Usdc>> {
    portions
        .iter()
        .try_fold(Amount::ZERO, |sum, p| sum.checked_add(p.amount))
        .ok()
}
