//! Money is conserved, to the last unit: what a counterparty holds is what the log accounts for.

use crate::{Harm, Violation};

/// Sums over all books. Amounts on Stellar and TFChain are in 10^-7 units, those at Stripe in the
/// currency's minor unit. "Recorded" is the sum over the events of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Books {
    /// USDC of the treasury before the first purchase.
    pub usdc_before: i64,
    /// USDC of the treasury now.
    pub usdc_after: i64,
    /// TFT of the treasury before the first purchase.
    pub tft_before: i64,
    /// TFT of the treasury now.
    pub tft_after: i64,
    /// USDC that outsiders paid to us, as the ledger has it.
    pub deposited: i64,
    /// The same, as recorded.
    pub deposits: i64,
    /// USDC that we paid back, as the ledger has it.
    pub sent_back: i64,
    /// The same, as recorded.
    pub returns: i64,
    /// Credit as recorded: what was added.
    pub credited: i64,
    /// What was added to it, as it should be: deposits that are somebody's, what swaps left over,
    /// and what purchases gave back to it.
    pub credit_due: i64,
    /// What swaps cost, as recorded.
    pub swap_usdc: i64,
    /// What swaps bought, as recorded.
    pub swap_tft: i64,
    /// TFT paid to the bridge, as recorded.
    pub handed_off: i64,
    /// TFT that the bridge paid back, as recorded.
    pub returned: i64,
    /// TFT paid to the bridge, as the ledger has it.
    pub to_bridge: i64,
    /// TFT that the bridge paid back, as the ledger has it.
    pub from_bridge: i64,
    /// Charges at Stripe.
    pub charged: i64,
    /// Refunds at Stripe.
    pub refunded: i64,
    /// Charges that were kept or are to be refunded, as recorded, minus refunds as recorded.
    pub kept: i64,
}

impl Books {
    /// The sums that do not agree.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        [
            (
                "USDC of the treasury",
                self.usdc_before - self.usdc_after,
                "recorded: cost of swaps, minus deposits, plus returns",
                self.swap_usdc - self.deposits + self.returns,
            ),
            (
                "USDC that was paid to us",
                self.deposited,
                "recorded deposits",
                self.deposits,
            ),
            (
                "USDC that we paid back",
                self.sent_back,
                "recorded returns",
                self.returns,
            ),
            (
                "credit that was added",
                self.credited,
                "deposits that are somebody's, leftovers and refunds",
                self.credit_due,
            ),
            (
                "TFT of the treasury",
                self.tft_after - self.tft_before,
                "recorded: bought, minus handed off, plus returned",
                self.swap_tft - self.handed_off + self.returned,
            ),
            (
                "TFT paid to the bridge",
                self.to_bridge,
                "recorded hand-offs",
                self.handed_off,
            ),
            (
                "TFT paid back by the bridge",
                self.from_bridge,
                "recorded returns",
                self.returned,
            ),
            (
                "charges minus refunds at Stripe",
                self.charged - self.refunded,
                "recorded payments minus refunds",
                self.kept,
            ),
        ]
        .into_iter()
        .filter(|(_, found, _, wanted)| found != wanted)
        .map(|(book, found, record, wanted)| {
            Violation::new(
                Harm::Unbalanced,
                book,
                format!("{found}, but {record}: {wanted}"),
            )
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Books);

    fn balanced() -> Books {
        Books {
            usdc_before: 1_000,
            usdc_after: 760,
            deposited: 70,
            deposits: 70,
            sent_back: 10,
            returns: 10,
            credited: 55,
            credit_due: 55,
            tft_before: 0,
            tft_after: 51,
            swap_usdc: 300,
            swap_tft: 151,
            handed_off: 200,
            returned: 100,
            to_bridge: 200,
            from_bridge: 100,
            charged: 30,
            refunded: 10,
            kept: 20,
        }
    }

    #[test]
    fn a_unit_that_is_missing_shows() {
        let changes: [Change; 10] = [
            |b| b.usdc_after -= 1,
            |b| b.deposited += 1,
            |b| b.sent_back += 1,
            |b| b.credited += 1,
            |b| b.tft_after += 1,
            |b| b.to_bridge -= 1,
            |b| b.from_bridge += 1,
            |b| b.refunded += 1,
            |b| b.charged += 1,
            |b| b.swap_tft -= 1,
        ];
        assert_eq!(balanced().violations(), []);
        for (n, change) in changes.into_iter().enumerate() {
            let mut books = balanced();
            change(&mut books);
            assert_eq!(books.violations().len(), 1, "{n}");
        }
    }
}
