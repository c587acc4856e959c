//! Every rule of what needs a second person, and of who may agree. Pure: whoever calls holds the
//! row's lock.

use events::ids::UserId;
use events::money::{Amount, Currency, Tft, Usdc, Xlm};
use events::time::Timestamp;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// For how long somebody may agree.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What one person may move alone, by asset in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limits {
    /// Anything: the rule is off.
    Any,
    /// So much of each; of what is not here, nothing.
    UpTo(BTreeMap<String, i64>),
}

/// Limits that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: expected any, or sums such as USDC=500,USD=500,EUR=500")]
pub struct InvalidLimits(String);

impl FromStr for Limits {
    type Err = InvalidLimits;

    fn from_str(text: &str) -> Result<Self, InvalidLimits> {
        if text.trim() == "any" {
            return Ok(Self::Any);
        }
        let mut sums = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let wrong = || InvalidLimits(pair.to_owned());
            let (asset, sum) = pair.split_once('=').ok_or_else(wrong)?;
            let minor = minor(asset, sum).ok_or_else(wrong)?;
            if sums.insert(asset.to_owned(), minor).is_some() {
                return Err(wrong());
            }
        }
        Ok(Self::UpTo(sums))
    }
}

/// A decimal sum of an asset in its minor units; `None` for what is none.
#[must_use]
pub fn minor(asset: &str, sum: &str) -> Option<i64> {
    match asset {
        "USDC" => Amount::<Usdc>::parse(sum).ok().map(Amount::minor),
        "TFT" => Amount::<Tft>::parse(sum).ok().map(Amount::minor),
        "XLM" => Amount::<Xlm>::parse(sum).ok().map(Amount::minor),
        code => fiat(Currency::parse(code)?, sum),
    }
}

fn fiat(currency: Currency, sum: &str) -> Option<i64> {
    let places = usize::try_from(currency.decimals()).ok()?;
    let (whole, part) = sum.split_once('.').unwrap_or((sum, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || part.len() > places || !digits(whole) || !digits(part) {
        return None;
    }
    format!("{whole}{part:0<places$}").parse().ok()
}

/// A sum that is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// `USDC`, `XLM`, `TFT`, `CODE:ISSUER`, or a currency of ISO 4217.
    pub asset: String,
    /// In its minor units.
    pub minor: i64,
}

impl Limits {
    /// The most of an asset that one person may move alone; `None` where no sum is set.
    #[must_use]
    pub fn of(&self, asset: &str) -> Option<i64> {
        match self {
            Self::Any => None,
            Self::UpTo(sums) => sums.get(asset).copied(),
        }
    }

    /// Whether somebody else must agree: above the limit, and to whatever has no sum.
    #[must_use]
    pub fn need_second(&self, sum: Option<&Sum>) -> bool {
        match (self, sum) {
            (Self::Any, _) => false,
            (Self::UpTo(_), None) => true,
            (Self::UpTo(sums), Some(sum)) => {
                let alone = sums.get(&sum.asset).copied().unwrap_or(0);
                !(0..=alone).contains(&sum.minor)
            }
        }
    }
}

/// How far an approval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for a second person.
    Waiting,
    /// It is done, or may be.
    Granted,
    /// Somebody did not agree.
    Rejected,
    /// Nobody agreed in time.
    Expired,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Granted, Self::Rejected, Self::Expired];

    /// As rows and answers name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Granted => "granted",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What the rules know of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Who asked.
    pub asked_by: UserId,
    /// How far it is.
    pub state: State,
    /// Until when somebody may agree.
    pub expires_at: Timestamp,
}

/// What somebody says to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Do it.
    Approve,
    /// Do not. Whoever asked may say so, too.
    Reject,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody agrees to what they have asked for.
    Own,
    /// It does not wait any more.
    Ended(State),
    /// It is too late.
    Expired,
}

/// The state after a word of `by`, or why it is refused.
///
/// # Errors
/// See [`Refusal`].
pub fn decide(
    standing: &Standing,
    word: Word,
    by: UserId,
    now: Timestamp,
) -> Result<State, Refusal> {
    match standing.state {
        State::Waiting => {}
        State::Expired => return Err(Refusal::Expired),
        ended @ (State::Granted | State::Rejected) => return Err(Refusal::Ended(ended)),
    }
    if now >= standing.expires_at {
        return Err(Refusal::Expired);
    }
    match word {
        Word::Approve if standing.asked_by == by => Err(Refusal::Own),
        Word::Approve => Ok(State::Granted),
        Word::Reject => Ok(State::Rejected),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn limits() -> Limits {
        "USDC=500, USD=500.5,EUR=100,JPY=10000,KWD=1.005"
            .parse()
            .unwrap()
    }

    fn sum(asset: &str, minor: i64) -> Sum {
        Sum {
            asset: asset.to_owned(),
            minor,
        }
    }

    #[test]
    fn above_the_limit_and_without_a_sum_a_second_person_is_needed() {
        let limits = limits();
        for (asset, minor, needed) in [
            ("USDC", 5_000_000_000, false),
            ("USDC", 5_000_000_001, true),
            ("USDC", 0, false),
            ("USDC", -1, true),
            ("USDC", i64::MAX, true),
            ("USD", 50_050, false),
            ("USD", 50_051, true),
            ("JPY", 10_000, false),
            ("JPY", 10_001, true),
            ("KWD", 1_005, false),
            ("KWD", 1_006, true),
            // No sum is set, not even of a token that calls itself so.
            ("XLM", 1, true),
            ("USDC:GISSUER", 1, true),
            ("usdc", 1, true),
        ] {
            let need = limits.need_second(Some(&sum(asset, minor)));
            assert_eq!(need, needed, "{asset} {minor}");
            assert!(!Limits::Any.need_second(Some(&sum(asset, minor))));
        }
        assert!(limits.need_second(None));
        assert!(!Limits::Any.need_second(None));
        let nothing: Limits = "".parse().unwrap();
        assert!(nothing.need_second(Some(&sum("USD", 1))));
        assert_eq!((limits.of("EUR"), limits.of("TFT")), (Some(10_000), None));
    }

    #[test]
    fn limits_are_read_strictly() {
        for wrong in [
            "USDC",
            "USDC=",
            "USDC=-1",
            "USDC=1,USDC=2",
            "DOGE=1",
            "USD=1.005",
            "USD=1e3",
            "=5",
            "USD=.5",
            "JPY=1.5",
            "all",
        ] {
            assert!(wrong.parse::<Limits>().is_err(), "{wrong}");
        }
    }

    /// Every state, by everybody, in time and too late.
    #[test]
    fn every_word_in_every_state() {
        let (anna, bert) = (UserId::derive(&["anna"]), UserId::derive(&["bert"]));
        let end = Timestamp(1_000);
        let standing = |state| Standing {
            asked_by: anna,
            state,
            expires_at: end,
        };
        for (state, word, by, now, expected) in [
            (State::Waiting, Word::Approve, bert, 999, Ok(State::Granted)),
            (State::Waiting, Word::Approve, anna, 999, Err(Refusal::Own)),
            (State::Waiting, Word::Reject, bert, 999, Ok(State::Rejected)),
            (State::Waiting, Word::Reject, anna, 999, Ok(State::Rejected)),
        ] {
            let got = decide(&standing(state), word, by, Timestamp(now));
            assert_eq!(got, expected, "{state:?} {word:?}");
        }
        for word in [Word::Approve, Word::Reject] {
            for by in [anna, bert] {
                for now in [1_000, i64::MAX] {
                    let got = decide(&standing(State::Waiting), word, by, Timestamp(now));
                    assert_eq!(got, Err(Refusal::Expired));
                }
                for state in [State::Granted, State::Rejected] {
                    let got = decide(&standing(state), word, by, Timestamp(0));
                    assert_eq!(got, Err(Refusal::Ended(state)));
                }
                let got = decide(&standing(State::Expired), word, by, Timestamp(0));
                assert_eq!(got, Err(Refusal::Expired));
            }
        }
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
    }
}
