//! What a purchase costs. Integers only; what is charged is rounded up, once, at the end.

use crate::ports::SwapQuote;
use events::money::{Amount, Currency, Fiat, MoneyError, Tft, UNIT, Usdc};
use std::time::Duration;

/// Minor units of a currency per one USDC, as a ratio: 100/1 for a dollar at par.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Minor units.
    pub numerator: u64,
    /// USDC; not zero.
    pub denominator: u64,
}

/// On what terms Gridway sells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What the bridge keeps of each transfer; bought on top of what the buyer gets.
    pub bridge_fee: Amount<Tft>,
    /// How much more than quoted a swap may cost, in 1/10,000.
    pub slippage_bps: u32,
    /// What is charged on top of the quoted cost, in 1/10,000. At least the slippage: else a swap
    /// at its cap would cost more than was charged.
    pub spread_bps: u32,
    /// How much dearer a TFT may be than at a small size, in 1/10,000; above it nothing is sold.
    pub max_impact_bps: u32,
    /// Cents per USDC.
    pub usd: Rate,
    /// Euro cents per USDC.
    pub eur: Rate,
    /// Yen per USDC; `None`: yen are not taken.
    pub jpy: Option<Rate>,
    /// Fils (thousandths of a dinar) per USDC; `None`: dinars are not taken.
    pub kwd: Option<Rate>,
    /// No card is charged less, in minor units; Stripe takes no less than 50 cents or 50 yen.
    pub minimum_charge_minor: i64,
    /// The least that is sold.
    pub smallest: Amount<Tft>,
    /// The most that is sold at once.
    pub largest: Amount<Tft>,
    /// How long a quote holds.
    pub quote_ttl: Duration,
    /// How long a person has to pay by card.
    pub pay_within: Duration,
    /// How long a purchase by USDC waits for deposits.
    pub deposit_within: Duration,
    /// How long after the payment a swap is tried before the money goes back.
    pub give_up_after: Duration,
    /// What a deployment's account must hold for each hour that it is to run.
    pub deployment_tft_per_hour: Amount<Tft>,
    /// For how many hours it must hold it when the command does not say.
    pub deployment_hours: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            bridge_fee: Amount::from_whole(1),
            slippage_bps: 100,
            spread_bps: 300,
            max_impact_bps: 500,
            usd: Rate {
                numerator: 100,
                denominator: 1,
            },
            eur: Rate {
                numerator: 95,
                denominator: 1,
            },
            jpy: None,
            kwd: None,
            minimum_charge_minor: 50,
            smallest: Amount::from_whole(1),
            largest: Amount::from_whole(1_000_000),
            quote_ttl: Duration::from_secs(600),
            pay_within: Duration::from_secs(24 * 3600),
            deposit_within: Duration::from_secs(3600),
            give_up_after: Duration::from_secs(24 * 3600),
            deployment_tft_per_hour: Amount::from_whole(1)
                .mul_ratio_ceil(1, 10)
                .unwrap_or(Amount::ZERO),
            deployment_hours: 24,
        }
    }
}

/// Terms that would lose money or sell nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTerms {
    /// See [`Terms::spread_bps`].
    #[error("the spread is below the slippage: a swap at its cap would cost more than was charged")]
    SpreadBelowSlippage,
    /// A rate is zero or has a zero denominator.
    #[error("a currency's rate is zero or no number")]
    Rate,
    /// Nothing lies between the smallest and the largest amount.
    #[error("the smallest amount is zero or above the largest")]
    Bounds,
}

/// What is asked for an amount of TFT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// What the swap may cost at most, over all attempts.
    pub usdc_cap: Amount<Usdc>,
    /// What is paid by USDC: the quote and the spread, rounded up. At least the cap.
    pub usdc_due: Amount<Usdc>,
    /// What the card is charged.
    pub charge: Fiat,
}

impl Terms {
    /// Checks the terms; to be called once, at start.
    ///
    /// # Errors
    /// See [`InvalidTerms`].
    pub fn check(&self) -> Result<(), InvalidTerms> {
        if self.spread_bps < self.slippage_bps {
            return Err(InvalidTerms::SpreadBelowSlippage);
        }
        if Currency::ALL
            .into_iter()
            .filter_map(|currency| self.rate(currency))
            .any(|r| r.numerator == 0 || r.denominator == 0)
        {
            return Err(InvalidTerms::Rate);
        }
        if self.smallest.is_zero() || self.smallest > self.largest {
            return Err(InvalidTerms::Bounds);
        }
        Ok(())
    }

    /// What is bought so that `tft` arrive: the bridge keeps its fee.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn swap_amount(&self, tft: Amount<Tft>) -> Result<Amount<Tft>, MoneyError> {
        tft.checked_add(self.bridge_fee)
    }

    /// Minor units per USDC; `None` for a currency that is not taken.
    #[must_use]
    pub const fn rate(&self, currency: Currency) -> Option<Rate> {
        match currency {
            Currency::Usd => Some(self.usd),
            Currency::Eur => Some(self.eur),
            Currency::Jpy => self.jpy,
            Currency::Kwd => self.kwd,
        }
    }

    /// The least that a card is charged, in minor units.
    pub(crate) const fn minimum_minor(&self, currency: Currency) -> i64 {
        match currency {
            Currency::Usd | Currency::Eur | Currency::Jpy => self.minimum_charge_minor,
            // Half a dollar is about 150 fils; Stripe says no figure, so twice that.
            Currency::Kwd => self.minimum_charge_minor * 6,
        }
    }

    /// What a charge may cost in USDC, the spread included; rounded down, so that the charge of
    /// what it buys is not above it.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`], and [`MoneyError::NotSold`] for a currency that is not taken.
    pub fn budget_floor(&self, charge: Fiat) -> Result<Amount<Usdc>, MoneyError> {
        let rate = self.rate(charge.currency).ok_or(MoneyError::NotSold)?;
        Amount::from_minor(charge.minor)?
            .mul_ratio_floor(UNIT.unsigned_abs(), 1)?
            .mul_ratio_floor(rate.denominator, rate.numerator)
    }

    /// The price of a swap that is quoted at `quote`. The charge is rounded up to what cards of the
    /// currency can be charged.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`], and [`MoneyError::NotSold`] for a currency that is not taken.
    pub fn price(&self, quote: &SwapQuote, currency: Currency) -> Result<Price, MoneyError> {
        let rate = self.rate(currency).ok_or(MoneyError::NotSold)?;
        let minor = charge_minor_ceil(quote.usdc, self.spread_bps, rate)?;
        let minor = minor.max(self.minimum_minor(currency));
        let step = currency.step();
        let over = minor % step;
        let minor = if over == 0 {
            minor
        } else {
            minor - over + step
        };
        Ok(Price {
            usdc_cap: quote.usdc.plus_bps_ceil(self.slippage_bps)?,
            usdc_due: quote.usdc.plus_bps_ceil(self.spread_bps)?,
            charge: Fiat { minor, currency },
        })
    }

    /// What the account of a deployment must hold to run for `hours`.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn deployment_balance(&self, hours: Option<u32>) -> Result<Amount<Tft>, MoneyError> {
        let hours = hours.unwrap_or(self.deployment_hours);
        self.deployment_tft_per_hour
            .mul_ratio_ceil(u64::from(hours), 1)
    }
}

/// `ceil(usdc × (10,000 + bps) / 10,000 × rate)` in minor units.
fn charge_minor_ceil(usdc: Amount<Usdc>, bps: u32, rate: Rate) -> Result<i64, MoneyError> {
    let over = u128::from(usdc.minor().unsigned_abs())
        .checked_mul(10_000 + u128::from(bps))
        .and_then(|n| n.checked_mul(u128::from(rate.numerator)))
        .ok_or(MoneyError::Overflow)?;
    let under = 10_000 * u128::from(UNIT.unsigned_abs()) * u128::from(rate.denominator);
    if under == 0 {
        return Err(MoneyError::Overflow);
    }
    i64::try_from(over.div_ceil(under)).map_err(|_| MoneyError::Overflow)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn quote(usdc: &str) -> SwapQuote {
        SwapQuote {
            usdc: Amount::parse(usdc).unwrap(),
            path: Vec::new(),
            ledger: 60_000_000,
        }
    }

    #[test]
    fn each_currency_is_charged_in_its_own_units() {
        let terms = Terms {
            spread_bps: 300,
            jpy: Some(Rate {
                numerator: 15_050,
                denominator: 100,
            }),
            kwd: Some(Rate {
                numerator: 3_075,
                denominator: 10,
            }),
            ..Terms::default()
        };
        for (usdc, currency, minor, shown) in [
            // 10 × 1.03 × 150.5 = 1550.15 yen: no yen has decimals.
            ("10.0000000", Currency::Jpy, 1_551, "1551 JPY"),
            ("0.0000001", Currency::Jpy, 50, "50 JPY"),
            // 10 × 1.03 × 307.5 = 3167.25 fils: the last digit must be 0.
            ("10.0000000", Currency::Kwd, 3_170, "3.170 KWD"),
            ("0.0000001", Currency::Kwd, 300, "0.300 KWD"),
        ] {
            let charge = terms.price(&quote(usdc), currency).unwrap().charge;
            assert_eq!((charge.minor, charge.to_string().as_str()), (minor, shown));
        }
        assert_eq!(
            Terms::default().price(&quote("1.0000000"), Currency::Jpy),
            Err(MoneyError::NotSold)
        );
    }

    #[test]
    fn the_charge_is_rounded_up_once() {
        let terms = Terms {
            spread_bps: 300,
            ..Terms::default()
        };
        for (usdc, cents) in [
            ("2.5100000", 259), // 258.53
            ("1.0000000", 103), // exactly
            ("1.0000001", 104), // 103.00001
            ("0.0000001", 50),  // the minimum
            ("0.4854368", 50),  // 49.9999904
            ("0.4854369", 51),  // 50.0000007
        ] {
            let price = terms.price(&quote(usdc), Currency::Usd).unwrap();
            assert_eq!(
                price.charge,
                Fiat {
                    minor: cents,
                    currency: Currency::Usd
                },
                "{usdc}"
            );
        }
    }

    #[test]
    fn another_currency_has_its_own_rate() {
        let terms = Terms {
            spread_bps: 0,
            slippage_bps: 0,
            eur: Rate {
                numerator: 1_000_000,
                denominator: 10_837,
            },
            ..Terms::default()
        };
        let price = terms.price(&quote("10.0000000"), Currency::Eur).unwrap();
        // 922.7646…
        assert_eq!(
            price.charge,
            Fiat {
                minor: 923,
                currency: Currency::Eur
            }
        );
    }

    #[test]
    fn the_cap_is_the_quote_and_the_slippage_rounded_up() {
        let terms = Terms {
            slippage_bps: 100,
            ..Terms::default()
        };
        let price = terms.price(&quote("0.0010001"), Currency::Usd).unwrap();
        assert_eq!(price.usdc_cap.to_string(), "0.0010102");
        // 0.00103010…, and never below the cap.
        assert_eq!(price.usdc_due.to_string(), "0.0010302");
    }

    #[test]
    fn what_a_budget_buys_is_not_charged_above_it() {
        let terms = Terms {
            eur: Rate {
                numerator: 1_000_000,
                denominator: 10_837,
            },
            ..Terms::default()
        };
        for currency in [Currency::Usd, Currency::Eur] {
            for minor in [51, 99, 100, 1_000, 1_001, 123_456] {
                let budget = terms.budget_floor(Fiat { minor, currency }).unwrap();
                // The dearest quote whose price with the spread is within the budget.
                let usdc = budget.mul_ratio_floor(10_000, 10_300).unwrap();
                let charge = terms
                    .price(&SwapQuote { usdc, ..quote("1") }, currency)
                    .unwrap()
                    .charge;
                assert!(
                    charge.minor <= minor && charge.minor + 1 >= minor,
                    "{minor} {charge}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let terms = Terms::default();
        assert_eq!(
            terms.price(&quote("922337203685.4775807"), Currency::Usd),
            Err(MoneyError::Overflow)
        );
        let rate = Rate {
            numerator: u64::MAX,
            denominator: 1,
        };
        assert_eq!(
            charge_minor_ceil(quote("922337203685.4775807").usdc, 0, rate),
            Err(MoneyError::Overflow)
        );
        assert_eq!(
            charge_minor_ceil(
                quote("1").usdc,
                0,
                Rate {
                    numerator: 1,
                    denominator: 0
                }
            ),
            Err(MoneyError::Overflow)
        );
    }

    #[test]
    fn terms_that_lose_money_are_refused() {
        assert_eq!(Terms::default().check(), Ok(()));
        let losing = Terms {
            slippage_bps: 500,
            spread_bps: 499,
            ..Terms::default()
        };
        assert_eq!(losing.check(), Err(InvalidTerms::SpreadBelowSlippage));
        let free = Terms {
            eur: Rate {
                numerator: 0,
                denominator: 1,
            },
            ..Terms::default()
        };
        assert_eq!(free.check(), Err(InvalidTerms::Rate));
        let shut = Terms {
            smallest: Amount::ZERO,
            ..Terms::default()
        };
        assert_eq!(shut.check(), Err(InvalidTerms::Bounds));
    }
}
