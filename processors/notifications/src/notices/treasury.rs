//! The treasury: what holds less than it should, to operators.

use super::to_operators;
use crate::kinds::figure;
use events::envelope::Record;
use events::notifications::Figure;
use events::treasury::TreasuryEvent;
use pipeline::{Decision, Policy, Timer};

/// The policy `treasury-notices`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TreasuryNotices;

/// Units of 10^-7, as people write them.
pub(super) fn decimal(units: i64) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let units = units.unsigned_abs();
    format!("{sign}{}.{:07}", units / 10_000_000, units % 10_000_000)
}

fn figures(holding: &str, account: &str, asset: &str, balance: i64, threshold: i64) -> Vec<Figure> {
    vec![
        figure("holding", holding),
        figure("account", account),
        figure("asset", asset),
        figure("balance", decimal(balance)),
        figure("threshold", decimal(threshold)),
    ]
}

impl Policy for TreasuryNotices {
    const NAME: &'static str = "treasury-notices";
    type Event = TreasuryEvent;
    type State = ();

    fn evolve(&self, (): (), _: &Record<TreasuryEvent>) {}

    fn decide(&self, (): &(), record: &Record<TreasuryEvent>) -> Decision<TreasuryEvent> {
        let (kind, figures) = match &record.event {
            TreasuryEvent::TreasuryBalanceLow(e) => (
                "treasury_low",
                figures(&e.holding, &e.account, &e.asset, e.balance, e.threshold),
            ),
            TreasuryEvent::TreasuryBalanceRestored(e) => (
                "treasury_restored",
                figures(&e.holding, &e.account, &e.asset, e.balance, e.threshold),
            ),
            TreasuryEvent::DeadLetterReleased(_) => return Decision::nothing(),
        };
        Decision::nothing().forward(to_operators(record, kind, figures))
    }

    fn timers(&self, (): &()) -> Vec<Timer> {
        Vec::new()
    }

    fn timer_fired(&self, _: &str, _: &Timer) -> Option<TreasuryEvent> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn units_are_written_with_seven_places() {
        for (units, text) in [
            (0, "0.0000000"),
            (15_000_001, "1.5000001"),
            (-1, "-0.0000001"),
        ] {
            assert_eq!(decimal(units), text);
        }
    }
}
