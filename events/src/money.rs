//! Money: integers in minor units, tied to their asset by type. Never negative, never a float;
//! every operation is checked, and whatever rounds says so in its name.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::marker::PhantomData;

/// An asset whose amounts are counted in 10^-7 units ("stroops" on Stellar, also TFT on TFChain).
pub trait Asset:
    Copy + Clone + PartialEq + Eq + PartialOrd + Ord + fmt::Debug + Send + Sync + 'static
{
    /// Asset code as shown to people.
    const CODE: &'static str;
}

macro_rules! asset {
    ($(#[$doc:meta])* $name:ident, $code:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {}
        impl Asset for $name {
            const CODE: &'static str = $code;
        }
    };
}
asset!(
    /// ThreeFold token, 7 decimals on Stellar and on TFChain.
    Tft, "TFT"
);
asset!(
    /// USD Coin on Stellar, 7 decimals.
    Usdc, "USDC"
);
asset!(
    /// Stellar lumens, 7 decimals.
    Xlm, "XLM"
);

/// What went wrong with a sum of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit into 63 bits.
    #[error("the amount is too large")]
    Overflow,
    /// The result would be below zero.
    #[error("the amount would be below zero")]
    BelowZero,
    /// Nothing is sold in this currency.
    #[error("nothing is sold in this currency")]
    NotSold,
    /// The text is not a decimal number with at most seven decimals.
    #[error("not an amount: expected digits with at most 7 decimals, such as 250 or 12.5000000")]
    Malformed,
}

/// Units per whole coin: 10^7.
pub const UNIT: i64 = 10_000_000;

/// An amount of `A` in 10^-7 units; `0 ..= i64::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount<A: Asset>(i64, PhantomData<A>);

impl<A: Asset> Amount<A> {
    /// Nothing.
    pub const ZERO: Self = Self(0, PhantomData);

    /// An amount in minor units.
    ///
    /// # Errors
    /// [`MoneyError::BelowZero`] for a negative number.
    pub const fn from_minor(minor: i64) -> Result<Self, MoneyError> {
        if minor < 0 {
            Err(MoneyError::BelowZero)
        } else {
            Ok(Self(minor, PhantomData))
        }
    }

    /// An amount of whole coins.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] above about 9.2 × 10^11 coins.
    pub fn from_whole(coins: u32) -> Self {
        // u32::MAX * 10^7 is below i64::MAX, so this cannot overflow.
        Self(i64::from(coins) * UNIT, PhantomData)
    }

    /// The amount in minor units (10^-7).
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// Whether the amount is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0
            .checked_add(other.0)
            .map(|n| Self(n, PhantomData))
            .ok_or(MoneyError::Overflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::BelowZero`].
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.0
            .checked_sub(other.0)
            .ok_or(MoneyError::BelowZero)
            .and_then(Self::from_minor)
    }

    /// `self × numerator / denominator`, rounded up to a whole minor unit.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`]; also for a zero denominator.
    pub fn mul_ratio_ceil(self, numerator: u64, denominator: u64) -> Result<Self, MoneyError> {
        self.ratio(numerator, denominator, true)
    }

    /// `self × numerator / denominator`, rounded down to a whole minor unit.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`]; also for a zero denominator.
    pub fn mul_ratio_floor(self, numerator: u64, denominator: u64) -> Result<Self, MoneyError> {
        self.ratio(numerator, denominator, false)
    }

    fn ratio(self, numerator: u64, denominator: u64, up: bool) -> Result<Self, MoneyError> {
        if denominator == 0 {
            return Err(MoneyError::Overflow);
        }
        let product = u128::from(self.0.unsigned_abs()) * u128::from(numerator);
        let denominator = u128::from(denominator);
        let quotient = if up {
            product.div_ceil(denominator)
        } else {
            product / denominator
        };
        i64::try_from(quotient)
            .map(|n| Self(n, PhantomData))
            .map_err(|_| MoneyError::Overflow)
    }

    /// Adds basis points (1/10,000), rounded up: `ceil(self × (10,000 + bps) / 10,000)`.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn plus_bps_ceil(self, bps: u32) -> Result<Self, MoneyError> {
        self.mul_ratio_ceil(10_000 + u64::from(bps), 10_000)
    }

    /// Parses a decimal such as `250` or `0.0000001`.
    ///
    /// # Errors
    /// [`MoneyError::Malformed`] or [`MoneyError::Overflow`].
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 7 {
            return Err(MoneyError::Malformed);
        }
        let whole: i64 = whole.parse().map_err(|_| MoneyError::Overflow)?;
        let fraction: i64 = format!("{fraction:0<7}")
            .parse()
            .map_err(|_| MoneyError::Malformed)?;
        whole
            .checked_mul(UNIT)
            .and_then(|n| n.checked_add(fraction))
            .map(|n| Self(n, PhantomData))
            .ok_or(MoneyError::Overflow)
    }
}

/// Decimal with exactly seven places and no asset code, as Stellar writes amounts: `12.5000000`.
impl<A: Asset> fmt::Display for Amount<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:07}", self.0 / UNIT, self.0 % UNIT)
    }
}

impl<A: Asset> fmt::Debug for Amount<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {}", A::CODE)
    }
}

/// As the integer of minor units.
impl<A: Asset> Serialize for Amount<A> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(self.0)
    }
}

impl<'de, A: Asset> Deserialize<'de> for Amount<A> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::from_minor(i64::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// USDC of one origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portion {
    /// The deposit that it came with; `None` for credit that came of a card payment.
    pub deposit_id: Option<String>,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
}

/// A currency that cards are charged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Currency {
    /// US dollar, cents.
    #[serde(rename = "USD")]
    Usd,
    /// Euro, cents.
    #[serde(rename = "EUR")]
    Eur,
    /// Japanese yen; it has no smaller unit.
    #[serde(rename = "JPY")]
    Jpy,
    /// Kuwaiti dinar, fils: a thousandth.
    #[serde(rename = "KWD")]
    Kwd,
}

impl Currency {
    /// All that is sold in.
    pub const ALL: [Self; 4] = [Self::Usd, Self::Eur, Self::Jpy, Self::Kwd];

    /// ISO 4217 code in upper case.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Usd => "USD",
            Self::Eur => "EUR",
            Self::Jpy => "JPY",
            Self::Kwd => "KWD",
        }
    }

    /// Reads an ISO 4217 code in any case; `None` for a currency that is not sold in.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|currency| code.eq_ignore_ascii_case(currency.code()))
    }

    /// Digits after the decimal point.
    #[must_use]
    pub const fn decimals(self) -> u32 {
        match self {
            Self::Usd | Self::Eur => 2,
            Self::Jpy => 0,
            Self::Kwd => 3,
        }
    }

    /// What a charge must be a multiple of, in minor units: card networks know no third decimal.
    /// Source: <https://docs.stripe.com/currencies#three-decimal>.
    #[must_use]
    pub const fn step(self) -> i64 {
        match self {
            Self::Usd | Self::Eur | Self::Jpy => 1,
            Self::Kwd => 10,
        }
    }
}

/// A sum charged to a card, in the currency's minor unit (cents, or whole yen).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fiat {
    /// Minor units, `0 ..= i64::MAX`; Stripe calls it `amount`.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl fmt::Display for Fiat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, decimals) = (self.currency.code(), self.currency.decimals());
        if decimals == 0 {
            return write!(f, "{} {code}", self.minor);
        }
        let unit = 10_i64.pow(decimals);
        let width = decimals as usize;
        write!(
            f,
            "{}.{:0width$} {code}",
            self.minor / unit,
            self.minor % unit
        )
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn decimals_go_in_and_come_out_unchanged() {
        for text in [
            "0.0000000",
            "250.0000000",
            "0.0000001",
            "922337203685.4775807",
        ] {
            assert_eq!(Amount::<Tft>::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Amount::<Tft>::parse("250").unwrap().minor(), 250 * UNIT);
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "-1", "1.", ".5", "1.00000001", "1e3", "+1", "1,5", "٣"] {
            assert_eq!(
                Amount::<Tft>::parse(text),
                Err(MoneyError::Malformed),
                "{text}"
            );
        }
        assert_eq!(
            Amount::<Tft>::parse("922337203685.4775808"),
            Err(MoneyError::Overflow)
        );
        assert_eq!(Amount::<Tft>::from_minor(-1), Err(MoneyError::BelowZero));
    }

    #[test]
    fn rounding_goes_where_the_name_says() {
        let one = Amount::<Usdc>::from_minor(1).unwrap();
        assert_eq!(one.mul_ratio_ceil(1, 3).unwrap().minor(), 1);
        assert_eq!(one.mul_ratio_floor(1, 3).unwrap().minor(), 0);
        assert_eq!(
            Amount::<Usdc>::from_minor(10_001)
                .unwrap()
                .plus_bps_ceil(100)
                .unwrap()
                .minor(),
            10_102
        );
    }

    /// What a swap may spend is `ceil(quote × (10,000 + bps) / 10,000)`: enough, and not a stroop
    /// more. Held against the definition, by wide integers, over a spread of sizes.
    #[test]
    fn a_send_max_is_the_least_that_covers_quote_and_slippage() {
        let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance
        };
        for round in 0..200_000_u32 {
            let size = round % 63;
            let quote = i64::try_from(next() >> (size + 1)).unwrap();
            let bps = u32::try_from(next() % [1, 10, 101, 10_001, 1_000_001][(round % 5) as usize])
                .unwrap();
            let wanted = i128::from(quote) * i128::from(10_000 + bps);
            match Amount::<Usdc>::from_minor(quote)
                .unwrap()
                .plus_bps_ceil(bps)
            {
                Ok(max) => {
                    let max = i128::from(max.minor());
                    assert!(max * 10_000 >= wanted, "{quote} {bps}: {max} is too little");
                    assert!(
                        (max - 1) * 10_000 < wanted,
                        "{quote} {bps}: {max} is too much"
                    );
                }
                Err(error) => {
                    assert_eq!(error, MoneyError::Overflow);
                    assert!(wanted > i128::from(i64::MAX) * 10_000, "{quote} {bps}");
                }
            }
        }
    }

    #[test]
    fn each_currency_has_its_own_decimals() {
        let shown = |minor, currency| Fiat { minor, currency }.to_string();
        assert_eq!(shown(1_205, Currency::Usd), "12.05 USD");
        assert_eq!(shown(5, Currency::Eur), "0.05 EUR");
        assert_eq!(shown(1_205, Currency::Jpy), "1205 JPY");
        assert_eq!(shown(1_050, Currency::Kwd), "1.050 KWD");
        for currency in Currency::ALL {
            let code = currency.code();
            assert_eq!(Currency::parse(code), Some(currency));
            assert_eq!(Currency::parse(&code.to_lowercase()), Some(currency));
            assert_eq!(10_i64.pow(currency.decimals()) % currency.step(), 0);
        }
        assert_eq!(Currency::parse("xyz"), None);
        assert_eq!(Currency::parse(""), None);
    }

    #[test]
    fn sums_never_wrap() {
        let max = Amount::<Usdc>::from_minor(i64::MAX).unwrap();
        assert_eq!(
            max.checked_add(Amount::from_minor(1).unwrap()),
            Err(MoneyError::Overflow)
        );
        assert_eq!(
            Amount::<Usdc>::ZERO.checked_sub(max),
            Err(MoneyError::BelowZero)
        );
        assert_eq!(max.mul_ratio_ceil(2, 1), Err(MoneyError::Overflow));
        assert_eq!(max.mul_ratio_ceil(2, 0), Err(MoneyError::Overflow));
    }
}
