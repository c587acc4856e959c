//! Deposits of USDC on Stellar.
//!
//! The source `deposit-watcher` turns what our account is paid into facts; the policy `deposits`
//! decides whose it is and what it pays for ([`decide`]); the hand `returns` sends back, on lanes,
//! what the policy wants returned, and the hand `claims` takes what is set aside for our account in
//! claimable balances.

mod claims;
pub mod decide;
mod returns;
mod source;
pub mod state;

pub use claims::Claims;
use decide::transition;
use events::deposits::{DepositEvent, TimerFired};
use events::envelope::Record;
use pipeline::{Decision, Policy, Timer};
pub use returns::Returns;
pub use source::{DepositWatcher, Seen};
pub use state::{Aggregate, Rules};

/// The policy `deposits`.
#[derive(Debug, Clone)]
pub struct Deposits {
    rules: Rules,
}

impl Deposits {
    /// The policy under these rules.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

impl Policy for Deposits {
    const NAME: &'static str = "deposits";
    type Event = DepositEvent;
    type State = Aggregate;

    fn evolve(&self, state: Aggregate, record: &Record<DepositEvent>) -> Aggregate {
        transition(&self.rules, state, record).0
    }

    fn decide(&self, state: &Aggregate, record: &Record<DepositEvent>) -> Decision<DepositEvent> {
        transition(&self.rules, state.clone(), record).1
    }

    fn timers(&self, state: &Aggregate) -> Vec<Timer> {
        state.timers()
    }

    fn timer_fired(&self, key: &str, timer: &Timer) -> Option<DepositEvent> {
        Some(
            TimerFired {
                key: key.to_owned(),
                timer: timer.name.clone(),
                due: timer.due,
            }
            .into(),
        )
    }
}
