//! Handing the TFT to the bridge, and what the bridge answers.

use super::{Rulebook, order_of, waiting};
use crate::state::{Next, Purchase, Stage};
use events::deployments::{DeploymentEvent, FundsArrived};
use events::purchases::{HandoffRequested, HandoffReturned, HandoffSettled, PurchaseOutcome};
use pipeline::Forward;

/// Attempts at paying the bridge before the charge goes back.
const HANDOFF_ATTEMPTS: i32 = 6;
/// How often a return by the bridge is answered by another hand-off.
const RETURNS: i32 = 2;

impl Rulebook<'_> {
    pub(super) fn next_handoff(&mut self, stage: Stage, held: bool) -> Stage {
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

    pub(super) fn handoff_failed(&mut self, purchase: &mut Purchase, failed: i32) {
        let Stage::Swapped {
            attempt,
            next: Next::UnderWay,
            ..
        } = purchase.stage
        else {
            return;
        };
        if failed != attempt {
            return;
        }
        if attempt >= HANDOFF_ATTEMPTS {
            self.give_up(purchase, "the bridge could not be paid");
            return;
        }
        let stage = std::mem::take(&mut purchase.stage);
        purchase.stage = match self.rules.retry_at(self.now, attempt + 1) {
            None => self.next_handoff(stage, purchase.held()),
            Some(due) => waiting(stage, due),
        };
    }

    pub(super) fn settled(&mut self, purchase: &mut Purchase, event: &HandoffSettled) {
        match &purchase.stage {
            // The mint may be seen before the payment's own outcome is.
            Stage::Swapped { order, intent, .. } | Stage::HandedOff { order, intent, .. } => {
                let (order, intent) = (order.clone(), intent.clone());
                self.out
                    .ended(&order, PurchaseOutcome::Settled, "the TFT arrived");
                self.account(purchase, &order);
                if event.amount < order.tft {
                    let detail = format!(
                        "{} TFT arrived of {}: does the bridge's fee differ from the one that is reckoned with?",
                        event.amount, order.tft
                    );
                    self.out.alarm(&order, "delivered_short", detail);
                }
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

    pub(super) fn returned(&mut self, purchase: &mut Purchase, event: &HandoffReturned) {
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
            purchase.stage = self.next_handoff(stage, purchase.held());
        } else {
            purchase.stage = stage;
            self.give_up(purchase, "the bridge sent the TFT back");
        }
    }
}
