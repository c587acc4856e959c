//! Amounts as Horizon writes them: stroops with seven decimals.

use stellar_base::xdr::Price;

/// Stroops in one unit.
pub const UNIT: i64 = 10_000_000;

/// `12345` → `0.0012345`.
pub fn show(stroops: i64) -> String {
    let sign = if stroops < 0 { "-" } else { "" };
    let all = stroops.unsigned_abs();
    format!("{sign}{}.{:07}", all / UNIT.unsigned_abs(), all % UNIT.unsigned_abs())
}

/// A positive amount with at most seven decimals; `None` when it is none or too large.
pub fn parse(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if part.len() > 7 || whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let stroops = format!("{whole}{part:0<7}").parse::<i64>().ok()?;
    (stroops > 0).then_some(stroops)
}

/// A price with seven decimals, rounded to the nearest.
pub fn show_price(price: &Price) -> String {
    let (n, d) = (i128::from(price.n), i128::from(price.d).max(1));
    let scaled = (n * i128::from(UNIT) * 2 + d) / (2 * d);
    format!("{}.{:07}", scaled / i128::from(UNIT), scaled % i128::from(UNIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_go_there_and_back() {
        for (text, stroops) in [("20.0000000", 200_000_000), ("0.0000001", 1), ("922337203685.4775807", i64::MAX)] {
            assert_eq!(parse(text), Some(stroops));
            assert_eq!(show(stroops), text);
        }
        assert_eq!(parse("1.5"), Some(15_000_000));
        for none in ["", "0", "-1", "1.00000001", "1e3", ".5", "922337203685.4775808", "x"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_price_is_rounded_to_seven_decimals() {
        assert_eq!(show_price(&Price { n: 3, d: 7 }), "0.4285714");
        assert_eq!(show_price(&Price { n: 2, d: 3 }), "0.6666667");
        assert_eq!(show_price(&Price { n: 202, d: 10_000 }), "0.0202000");
    }
}
