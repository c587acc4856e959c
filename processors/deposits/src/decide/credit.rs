//! The credit of a twin, and which purchase it pays for.
//!
//! Purchases are served in the order in which they began to wait, each in full or not at all: until
//! there is enough for the oldest, deposits add up. A deposit of exactly what one of them costs is
//! meant for that one. What is paid too much, too late or without a purchase stays credit and pays
//! for the next one. It is never sent back by itself: the sender is often an exchange, which would
//! not know whose it is.

use super::Rulebook;
use crate::state::{Credit, EXPIRE, Want};
use events::deposits::{
    CreditBooked, CreditReason, CreditRefused, DepositEvent, FundsExpired, FundsGranted,
    FundsWanted,
};
use events::ids::PurchaseId;
use events::money::{Amount, Portion, Usdc};
use events::purchases::{PurchaseEvent, PurchaseFunded, PurchaseUnfunded};
use pipeline::Forward;

impl Rulebook<'_> {
    pub(super) fn booked(&mut self, credit: &mut Credit, event: &CreditBooked) {
        let offered = match event.reason {
            CreditReason::Deposit | CreditReason::Assigned => event.deposit_id.clone(),
            CreditReason::Leftover | CreditReason::Refund => None,
        };
        if let (None, Some(deposit_id)) = (credit.user, offered) {
            let refused = CreditRefused {
                twin_id: credit.twin,
                deposit_id: deposit_id.clone(),
                amount: event.amount,
            };
            self.push(refused.clone());
            self.forward(Forward::new::<DepositEvent>(deposit_id, refused));
            return;
        }
        let lot = Portion {
            deposit_id: event.deposit_id.clone(),
            amount: event.amount,
        };
        let exact = credit.wants.iter().position(|w| w.amount == lot.amount);
        if let Some(index) = exact
            && event.reason == CreditReason::Deposit
        {
            let want = credit.wants.remove(index);
            self.grant(credit, &want, vec![lot]);
        } else {
            credit.lots.push_back(lot);
        }
        self.serve(credit);
    }

    pub(super) fn wanted(&mut self, credit: &mut Credit, event: &FundsWanted) {
        if !credit.asked.insert(event.purchase_id) {
            return;
        }
        let want = Want {
            purchase: event.purchase_id,
            amount: event.amount,
            until: event.until,
        };
        if *credit.user.get_or_insert(event.user_id) != event.user_id {
            self.give_up(credit, &want, "the twin is somebody else's");
            return;
        }
        credit.wants.push(want);
        self.serve(credit);
    }

    /// Pays for those that wait, oldest first, as long as there is enough.
    fn serve(&mut self, credit: &mut Credit) {
        while let Some(oldest) = credit.wants.first() {
            // More than fits into an amount is enough for anything.
            if credit.balance().is_ok_and(|held| held < oldest.amount) {
                return;
            }
            let want = credit.wants.remove(0);
            let portions = take(credit, want.amount);
            self.grant(credit, &want, portions);
        }
    }

    fn grant(&mut self, credit: &Credit, want: &Want, portions: Vec<Portion>) {
        let purchase = want.purchase.to_string();
        let granted = FundsGranted {
            purchase_id: want.purchase,
            twin_id: credit.twin,
            amount: want.amount,
            portions: portions.clone(),
        };
        self.push_one(granted, purchase.clone());
        let funded = PurchaseFunded {
            purchase_id: want.purchase,
            twin_id: credit.twin,
            amount: want.amount,
            portions,
        };
        self.forward(
            Forward::new::<PurchaseEvent>(purchase.clone(), funded).discriminated(purchase),
        );
    }

    pub(super) fn expired(&mut self, credit: &mut Credit, timer: &str) {
        let purchase: Option<PurchaseId> =
            timer.strip_prefix(EXPIRE).and_then(|id| id.parse().ok());
        let Some(index) = credit
            .wants
            .iter()
            .position(|w| Some(w.purchase) == purchase)
        else {
            return;
        };
        let want = credit.wants.remove(index);
        let held = credit.balance().unwrap_or(Amount::ZERO);
        let detail = format!(
            "{held} of {} USDC came in time; it stays as credit",
            want.amount
        );
        self.give_up(credit, &want, &detail);
        // It no longer stands before those that came after it.
        self.serve(credit);
    }

    fn give_up(&mut self, credit: &Credit, want: &Want, detail: &str) {
        self.push(FundsExpired {
            purchase_id: want.purchase,
            twin_id: credit.twin,
            credit: credit.balance().unwrap_or(Amount::ZERO),
        });
        let unfunded = PurchaseUnfunded {
            purchase_id: want.purchase,
            detail: detail.to_owned(),
        };
        self.forward(Forward::new::<PurchaseEvent>(
            want.purchase.to_string(),
            unfunded,
        ));
    }
}

/// Takes this much off the credit, of the oldest origins first; one portion for each origin.
fn take(credit: &mut Credit, amount: Amount<Usdc>) -> Vec<Portion> {
    let mut portions: Vec<Portion> = Vec::new();
    let mut rest = amount;
    while !rest.is_zero() {
        let Some(lot) = credit.lots.front_mut() else {
            break;
        };
        let taken = rest.min(lot.amount);
        rest = rest.checked_sub(taken).unwrap_or(Amount::ZERO);
        lot.amount = lot.amount.checked_sub(taken).unwrap_or(Amount::ZERO);
        let origin = lot.deposit_id.clone();
        if lot.amount.is_zero() {
            credit.lots.pop_front();
        }
        match portions.iter_mut().find(|p| p.deposit_id == origin) {
            Some(known) => {
                known.amount = known.amount.checked_add(taken).unwrap_or(known.amount);
            }
            None => portions.push(Portion {
                deposit_id: origin,
                amount: taken,
            }),
        }
    }
    portions
}
