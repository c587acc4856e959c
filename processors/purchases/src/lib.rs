//! The policy that owns purchases, compensation included.
//!
//! All its rules stand in [`decide`]; this file ties them to the runtime.

pub mod decide;
pub mod state;

use decide::{Outputs, transition};
use events::envelope::Record;
use events::ids::PurchaseId;
use events::purchases::{PurchaseEvent, TimerFired};
use pipeline::{Decision, Policy, Timer};
pub use state::{Purchase, Rules};

/// The policy `purchases`.
#[derive(Debug, Clone)]
pub struct Purchases {
    rules: Rules,
}

impl Purchases {
    /// The policy under these rules.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

impl Policy for Purchases {
    const NAME: &'static str = "purchases";
    type Event = PurchaseEvent;
    type State = Purchase;

    fn evolve(&self, state: Purchase, record: &Record<PurchaseEvent>) -> Purchase {
        transition(&self.rules, state, record).0
    }

    fn decide(&self, state: &Purchase, record: &Record<PurchaseEvent>) -> Decision<PurchaseEvent> {
        let Outputs { own, forward } = transition(&self.rules, state.clone(), record).1;
        let decision = own.into_iter().fold(Decision::nothing(), Decision::and);
        forward.into_iter().fold(decision, Decision::forward)
    }

    fn timers(&self, state: &Purchase) -> Vec<Timer> {
        state.timers(&self.rules)
    }

    fn timer_fired(&self, key: &str, timer: &Timer) -> Option<PurchaseEvent> {
        let purchase_id: PurchaseId = key.parse().ok()?;
        Some(
            TimerFired {
                purchase_id,
                timer: timer.name.clone(),
                due: timer.due,
            }
            .into(),
        )
    }
}
