//! Deposits: what came and is nobody's, and what rings, to operators.

use super::to_operators;
use super::treasury::decimal;
use crate::kinds::figure;
use events::deposits::DepositEvent;
use events::envelope::Record;
use pipeline::{Decision, Policy, Timer};

/// The policy `deposit-notices`.
#[derive(Debug, Clone, Copy, Default)]
pub struct DepositNotices;

/// Why a deposit is nobody's, where nobody need be told: on Stellar anybody may send anything, and
/// many do, to be seen. What is no USDC of ours waits until somebody asks for it.
const UNTOLD: [&str; 2] = ["wrong_asset", "wrong_issuer"];

impl Policy for DepositNotices {
    const NAME: &'static str = "deposit-notices";
    type Event = DepositEvent;
    type State = ();

    fn evolve(&self, (): (), _: &Record<DepositEvent>) {}

    fn decide(&self, (): &(), record: &Record<DepositEvent>) -> Decision<DepositEvent> {
        let (kind, figures) = match &record.event {
            DepositEvent::DepositUnmatched(e) if !UNTOLD.contains(&e.reason.as_str()) => (
                "deposit_unmatched",
                vec![
                    figure("deposit_id", &e.deposit_id),
                    figure("reason", &e.reason),
                    figure("detail", &e.detail),
                    figure("from", &e.from),
                    figure("asset", &e.asset),
                    figure("amount", decimal(e.amount)),
                ],
            ),
            DepositEvent::DepositAlarmed(e) => (
                "deposit_alarmed",
                vec![
                    figure("deposit_id", &e.deposit_id),
                    figure("alarm", &e.alarm),
                    figure("detail", &e.detail),
                ],
            ),
            _ => return Decision::nothing(),
        };
        Decision::nothing().forward(to_operators(record, kind, figures))
    }

    fn timers(&self, (): &()) -> Vec<Timer> {
        Vec::new()
    }

    fn timer_fired(&self, _: &str, _: &Timer) -> Option<DepositEvent> {
        None
    }
}
