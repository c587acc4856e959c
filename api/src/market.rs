//! What the market sells for what is asked: a fixed amount of TFT, or as much as a budget buys.

use crate::ports::{QuoteError, Quoter, SwapQuote};
use crate::pricing::Terms;
use events::money::{Amount, MoneyError, Tft, Usdc};

/// The market is asked so many times at most for what a budget buys.
const QUESTIONS: u32 = 10;
/// The small size that the price of the full one is held against: a hundredth of it, and not
/// less than a whole TFT, whose price in stroops would be rounded too coarsely.
const SMALL_PART: u64 = 100;

/// An offer of the market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// What is bought: what arrives and the bridge's fee.
    pub swap_tft: Amount<Tft>,
    /// What arrives.
    pub tft: Amount<Tft>,
    /// What it costs.
    pub quote: SwapQuote,
    /// How much dearer a TFT is than at the small size, in 1/10,000, rounded up.
    pub impact_bps: u32,
}

/// Why there is no offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoOffer {
    /// Nobody sells TFT for USDC, not even a little.
    NoMarket,
    /// The books hold less than that.
    TooThin,
    /// The full size moves the price by more than the terms allow.
    Impact {
        /// By how much, in 1/10,000.
        bps: u32,
        /// How much is allowed.
        limit: u32,
    },
    /// The budget does not buy the least that is sold.
    BudgetTooSmall,
    /// It would buy more than is sold at once.
    BudgetTooLarge,
    /// The sums do not fit.
    Overflow,
    /// The market could not be asked.
    Unavailable(String),
}

impl From<MoneyError> for NoOffer {
    fn from(_: MoneyError) -> Self {
        Self::Overflow
    }
}

async fn asked(quoter: &dyn Quoter, tft: Amount<Tft>) -> Result<Option<SwapQuote>, NoOffer> {
    match quoter.quote(tft).await {
        Ok(quote) => Ok(Some(quote)),
        Err(QuoteError::NoPath) => Ok(None),
        Err(QuoteError::Unavailable(cause)) => Err(NoOffer::Unavailable(cause)),
    }
}

/// The small size of a full one.
fn small_of(full: Amount<Tft>) -> Amount<Tft> {
    full.mul_ratio_floor(1, SMALL_PART)
        .unwrap_or(full)
        .max(Amount::from_whole(1))
        .min(full)
}

/// How much dearer the full size is than the small one, in 1/10,000, rounded up; what does not
/// fit is beyond every limit.
fn impact_bps(
    (full_tft, full_usdc): (Amount<Tft>, Amount<Usdc>),
    (small_tft, small_usdc): (Amount<Tft>, Amount<Usdc>),
) -> u32 {
    let wide = |minor: i64| u128::from(minor.unsigned_abs());
    let dear = wide(full_usdc.minor()) * wide(small_tft.minor());
    let cheap = wide(small_usdc.minor()) * wide(full_tft.minor());
    if cheap == 0 {
        return if dear == 0 { 0 } else { u32::MAX };
    }
    dear.saturating_sub(cheap)
        .checked_mul(10_000)
        .map_or(u32::MAX, |over| {
            u32::try_from(over.div_ceil(cheap)).unwrap_or(u32::MAX)
        })
}

fn held(
    terms: &Terms,
    swap_tft: Amount<Tft>,
    quote: SwapQuote,
    small: (Amount<Tft>, Amount<Usdc>),
) -> Result<Offer, NoOffer> {
    let impact_bps = impact_bps((swap_tft, quote.usdc), small);
    if impact_bps > terms.max_impact_bps {
        return Err(NoOffer::Impact {
            bps: impact_bps,
            limit: terms.max_impact_bps,
        });
    }
    Ok(Offer {
        swap_tft,
        tft: swap_tft.checked_sub(terms.bridge_fee)?,
        quote,
        impact_bps,
    })
}

/// An offer for exactly `tft`, to arrive.
///
/// # Errors
/// [`NoOffer`].
pub(crate) async fn exactly(
    quoter: &dyn Quoter,
    terms: &Terms,
    tft: Amount<Tft>,
) -> Result<Offer, NoOffer> {
    let swap_tft = terms.swap_amount(tft)?;
    let small_tft = small_of(swap_tft);
    let (full, small) = tokio::join!(asked(quoter, swap_tft), asked(quoter, small_tft));
    match (full?, small?) {
        (Some(full), Some(small)) => held(terms, swap_tft, full, (small_tft, small.usdc)),
        // The small size went meanwhile; the full one is still the whole truth.
        (Some(full), None) => {
            let own = (swap_tft, full.usdc);
            held(terms, swap_tft, full, own)
        }
        (None, Some(_)) => Err(NoOffer::TooThin),
        (None, None) => Err(NoOffer::NoMarket),
    }
}

/// An offer for as much as `budget` buys, the spread included, to a hundred-thousandth of it.
///
/// The average price only rises with the size, so what is cheaper than the budget is bracketed
/// between a size that fits and one that does not.
///
/// # Errors
/// [`NoOffer`].
pub(crate) async fn within(
    quoter: &dyn Quoter,
    terms: &Terms,
    budget: Amount<Usdc>,
) -> Result<Offer, NoOffer> {
    let largest = terms.swap_amount(terms.largest)?;
    let smallest = terms.swap_amount(terms.smallest)?;
    let least = Amount::<Tft>::from_whole(1).min(smallest);
    let Some(first) = asked(quoter, least).await? else {
        return Err(NoOffer::NoMarket);
    };
    let mut low: Option<(i64, i64, SwapQuote)> = None;
    // What the budget would buy if nothing became dearer, and one stroop that it does not.
    let mut high = (
        bought_at(budget, terms.spread_bps, least, first.usdc).min(largest.minor()) + 1,
        None::<i64>,
    );
    let mut next = high.0 - 1;
    for _ in 0..QUESTIONS {
        let size = Amount::<Tft>::from_minor(next)?;
        match asked(quoter, size).await? {
            None => high = (next, None),
            Some(quote) => {
                let cost = quote.usdc.plus_bps_ceil(terms.spread_bps)?.minor();
                if cost <= budget.minor() {
                    low = Some((next, cost, quote));
                    if budget.minor() - cost <= budget.minor() / 100_000 {
                        break;
                    }
                } else {
                    high = (next, Some(cost));
                }
            }
        }
        let (from, paid) = low
            .as_ref()
            .map_or((0, 0), |(size, cost, _)| (*size, *cost));
        if high.0 - from <= 1 {
            break;
        }
        next = between((from, paid), high, budget.minor());
    }
    let Some((size, cost, quote)) = low else {
        return Err(if high.1.is_none() && high.0 > smallest.minor() {
            NoOffer::TooThin
        } else {
            NoOffer::BudgetTooSmall
        });
    };
    let swap_tft = Amount::<Tft>::from_minor(size)?;
    if swap_tft < smallest {
        return Err(NoOffer::BudgetTooSmall);
    }
    // Much of the budget would be left over.
    if budget.minor() - cost > budget.minor() / 100 {
        return Err(if size >= largest.minor() {
            NoOffer::BudgetTooLarge
        } else {
            NoOffer::TooThin
        });
    }
    let small_tft = small_of(swap_tft);
    let small = asked(quoter, small_tft)
        .await?
        .map_or_else(|| (swap_tft, quote.usdc), |small| (small_tft, small.usdc));
    held(terms, swap_tft, quote, small)
}

/// How many 10^-7 TFT a budget buys, the spread included, at the price of a size; rounded down.
fn bought_at(budget: Amount<Usdc>, spread_bps: u32, size: Amount<Tft>, cost: Amount<Usdc>) -> i64 {
    let wide = |minor: i64| u128::from(minor.unsigned_abs());
    let over = wide(budget.minor()) * wide(size.minor());
    let under = wide(cost.minor()).max(1);
    let bought = (over / under).saturating_mul(10_000) / (10_000 + u128::from(spread_bps));
    i64::try_from(bought)
        .unwrap_or(i64::MAX - 1)
        .min(i64::MAX - 1)
}

/// The next size to ask for: where the line between the two meets the budget, or the middle
/// while nobody sells the larger one. Strictly between them.
fn between(low: (i64, i64), high: (i64, Option<i64>), budget: i64) -> i64 {
    let width = high.0 - low.0;
    let step = match high.1 {
        Some(cost) if cost > low.1 => {
            let part = i128::from(width) * i128::from(budget - low.1) / i128::from(cost - low.1);
            i64::try_from(part).unwrap_or(width / 2)
        }
        _ => width / 2,
    };
    low.0 + step.clamp(1, (width - 1).max(1))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A book of offers, cheapest first: TFT and stroops of USDC for each whole TFT.
    struct Book(Vec<(i64, i64)>, AtomicU32);

    #[async_trait]
    impl Quoter for Book {
        async fn quote(&self, tft: Amount<Tft>) -> Result<SwapQuote, QuoteError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let (mut left, mut cost) = (i128::from(tft.minor()), 0_i128);
            for (amount, price) in &self.0 {
                let taken = left.min(i128::from(*amount) * 10_000_000);
                cost += (taken * i128::from(*price) + 9_999_999) / 10_000_000;
                left -= taken;
            }
            if left > 0 {
                return Err(QuoteError::NoPath);
            }
            Ok(SwapQuote {
                usdc: Amount::from_minor(i64::try_from(cost).unwrap()).unwrap(),
                path: Vec::new(),
                ledger: 7,
            })
        }
    }

    fn book(levels: &[(i64, i64)]) -> Book {
        Book(levels.to_vec(), AtomicU32::new(0))
    }

    fn usdc(text: &str) -> Amount<Usdc> {
        Amount::parse(text).unwrap()
    }

    #[tokio::test]
    async fn the_impact_is_the_full_size_against_a_small_one() {
        let terms = Terms {
            max_impact_bps: 10_000,
            ..Terms::default()
        };
        let two = book(&[(101, 200_000), (1_000, 300_000)]);
        let offer = exactly(&two, &terms, Amount::from_whole(201))
            .await
            .unwrap();
        // 101 at 0.02 and 101 at 0.03 are 0.025 each: a quarter dearer than the small size.
        assert_eq!((offer.quote.usdc, offer.impact_bps), (usdc("5.05"), 2_500));
        assert_eq!(offer.swap_tft, Amount::from_whole(202));
        let flat = exactly(&two, &terms, Amount::from_whole(50)).await.unwrap();
        assert_eq!(flat.impact_bps, 0);
    }

    #[tokio::test]
    async fn no_offer_says_why() {
        let terms = Terms {
            max_impact_bps: 500,
            ..Terms::default()
        };
        let two = book(&[(101, 200_000), (1_000, 300_000)]);
        let ask = async |book: &Book, tft| exactly(book, &terms, Amount::from_whole(tft)).await;
        assert_eq!(
            ask(&two, 201).await,
            Err(NoOffer::Impact {
                bps: 2_500,
                limit: 500
            })
        );
        assert_eq!(ask(&two, 1_101).await, Err(NoOffer::TooThin));
        assert_eq!(ask(&book(&[]), 1).await, Err(NoOffer::NoMarket));
    }

    #[tokio::test]
    async fn a_budget_buys_as_much_as_it_covers_and_no_more() {
        let terms = Terms {
            max_impact_bps: 100_000,
            ..Terms::default()
        };
        let steep = book(&[
            (100, 200_000),
            (200, 250_000),
            (5_000, 400_000),
            (50_000, 410_000),
        ]);
        for budget in ["1", "2.06", "3.3", "12.345", "99.99", "150", "2000"] {
            let budget = usdc(budget);
            steep.1.store(0, Ordering::Relaxed);
            let offer = within(&steep, &terms, budget).await.unwrap();
            let total = offer.quote.usdc.plus_bps_ceil(terms.spread_bps).unwrap();
            assert!(total <= budget, "{budget}: {total}");
            assert!(
                budget.minor() - total.minor() <= budget.minor() / 1_000,
                "{budget}: {total} leaves too much"
            );
            assert_eq!(
                offer.tft.checked_add(terms.bridge_fee).unwrap(),
                offer.swap_tft
            );
            assert!(steep.1.load(Ordering::Relaxed) <= QUESTIONS + 2);
        }
    }

    #[tokio::test]
    async fn a_budget_that_buys_nothing_or_too_much_is_refused() {
        let terms = Terms {
            max_impact_bps: 100_000,
            ..Terms::default()
        };
        let thin = book(&[(100, 200_000)]);
        assert_eq!(
            within(&thin, &terms, usdc("0.03")).await,
            Err(NoOffer::BudgetTooSmall)
        );
        assert_eq!(
            within(&thin, &terms, usdc("10")).await,
            Err(NoOffer::TooThin)
        );
        assert_eq!(
            within(&book(&[]), &terms, usdc("10")).await,
            Err(NoOffer::NoMarket)
        );
        let deep = book(&[(100_000_000, 200_000)]);
        assert_eq!(
            within(&deep, &terms, usdc("1000000")).await,
            Err(NoOffer::BudgetTooLarge)
        );
        // What the whole book costs, with the spread: 100 × 0.02 × 1.03.
        let whole = within(&thin, &terms, usdc("2.06")).await.unwrap();
        assert_eq!(whole.swap_tft, Amount::from_whole(100));
    }

    #[test]
    fn sums_that_do_not_fit_are_beyond_every_limit() {
        let most = Amount::<Usdc>::from_minor(i64::MAX).unwrap();
        let little = Amount::<Tft>::from_minor(1).unwrap();
        let much = Amount::<Tft>::from_minor(i64::MAX).unwrap();
        assert_eq!(
            impact_bps((little, most), (much, usdc("0.0000001"))),
            u32::MAX
        );
        assert_eq!(impact_bps((little, most), (little, Amount::ZERO)), u32::MAX);
        assert_eq!(impact_bps((much, most), (much, most)), 0);
    }
}
