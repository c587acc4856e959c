//! Deposits: what came and is nobody's, and what rings, to operators.

use super::to_operators;
use super::treasury::decimal;
use crate::kinds::figure;
use events::deposits::{DepositEvent, DepositUnmatched};
use events::envelope::Record;
use pipeline::{Decision, Policy, Timer};

/// The policy `deposit-notices`.
#[derive(Debug, Clone, Copy, Default)]
pub struct DepositNotices;

/// On Stellar anybody may send anything, and many do, to be seen: what is no USDC of ours, or less than
/// one, waits until somebody asks for it. What cannot be read is told of: it may be any sum.
fn is_told(event: &DepositUnmatched) -> bool {
    match event.reason.as_str() {
        "wrong_asset" | "wrong_issuer" => false,
        "unreadable" => true,
        _ => event.amount >= ONE_USDC,
    }
}

/// In 10^-7 units.
const ONE_USDC: i64 = 10_000_000;

impl Policy for DepositNotices {
    const NAME: &'static str = "deposit-notices";
    type Event = DepositEvent;
    type State = ();

    fn evolve(&self, (): (), _: &Record<DepositEvent>) {}

    fn decide(&self, (): &(), record: &Record<DepositEvent>) -> Decision<DepositEvent> {
        let (kind, figures) = match &record.event {
            DepositEvent::DepositUnmatched(e) if is_told(e) => (
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
