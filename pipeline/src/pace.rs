//! How fast a counterparty may be called: a bucket of tokens whose rate grows after a silence.
//! Pure: it is told the time.

use std::time::Duration;
use tokio::time::Instant;

/// Calls a second right after an outage; as many more come with each second.
const AFTER_OUTAGE: f64 = 10.0;
/// Calls a second at the start and when nothing was heard for [`QUIET`]: what the counterparty
/// could bear then is not known. As many more come with each second.
const AFTER_QUIET: f64 = 25.0;
/// After this long without an answer nothing is known any more.
const QUIET: Duration = Duration::from_secs(60);
/// The bucket holds what flows in this time, and one token at least.
const BURST: f64 = 0.25;

/// A token bucket. Its rate grows from a careful start to the standing limit.
#[derive(Debug)]
pub(crate) struct Pace {
    standing: f64,
    rate: f64,
    /// What the rate grows by in a second.
    growth: f64,
    tokens: f64,
    at: Instant,
    /// The last answer or, where that is later, the last careful start.
    known_at: Instant,
}

impl Pace {
    /// `standing` calls a second at most.
    pub fn new(standing: u32, now: Instant) -> Self {
        let mut pace = Self {
            standing: f64::from(standing.max(1)),
            rate: 0.0,
            growth: 0.0,
            tokens: 0.0,
            at: now,
            known_at: now,
        };
        pace.restart(AFTER_QUIET, now);
        pace
    }

    fn restart(&mut self, rate: f64, now: Instant) {
        self.rate = rate.min(self.standing);
        self.growth = rate;
        self.tokens = self.room();
        self.at = now;
        self.known_at = now;
    }

    fn room(&self) -> f64 {
        (self.rate * BURST).max(1.0)
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let grown = (self.rate + self.growth * passed).min(self.standing);
        self.tokens += f64::midpoint(self.rate, grown) * passed;
        self.rate = grown;
        self.tokens = self.tokens.min(self.room());
        self.at = self.at.max(now);
    }

    /// Takes a token, or says when there will be one at the latest.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if now.saturating_duration_since(self.known_at) > QUIET {
            self.restart(AFTER_QUIET, now);
        }
        self.advance(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // A little more than enough, so that a timer's grain does not wake us too early.
        let wait = (1.0 - self.tokens) / self.rate + 0.000_1;
        Err(now + Duration::from_secs_f64(wait))
    }

    /// The counterparty answered.
    pub fn answered(&mut self, now: Instant) {
        self.known_at = self.known_at.max(now);
    }

    /// An outage has ended.
    pub fn back(&mut self, now: Instant) {
        self.restart(AFTER_OUTAGE, now);
    }

    /// Calls a second at this moment.
    pub fn rate(&self) -> f64 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls that a crowd gets through in each second from `start` on.
    fn crowd(pace: &mut Pace, start: Instant, seconds: u64) -> Vec<u32> {
        let mut now = start;
        (1..=seconds)
            .map(|second| {
                let end = start + Duration::from_secs(second);
                let mut calls = 0;
                while now < end {
                    match pace.take(now) {
                        Ok(()) => {
                            pace.answered(now);
                            calls += 1;
                        }
                        Err(at) => now = at,
                    }
                }
                calls
            })
            .collect()
    }

    #[test]
    fn after_an_outage_the_rate_grows_by_ten_each_second() {
        let start = Instant::now();
        let mut pace = Pace::new(200, start);
        pace.back(start);
        let calls = crowd(&mut pace, start, 25);
        assert!(calls[0] <= 18, "{calls:?}");
        for second in 1..10_usize {
            let grown = calls[second] - calls[second - 1];
            assert!((8..=12).contains(&grown), "{calls:?}");
        }
        assert!((198..=202).contains(&calls[22]), "{calls:?}");
    }

    #[test]
    fn a_start_is_careful_and_the_standing_limit_holds() {
        let start = Instant::now();
        let mut pace = Pace::new(200, start);
        let calls = crowd(&mut pace, start, 12);
        assert!(calls[0] <= 50, "{calls:?}");
        assert!(
            calls[9..].iter().all(|c| (198..=202).contains(c)),
            "{calls:?}"
        );
        // A quarter of a second's worth has gathered, no more.
        let calls = crowd(&mut pace, start + Duration::from_secs(30), 1);
        assert!((248..=252).contains(&calls[0]), "{calls:?}");
    }

    #[test]
    fn after_a_quiet_minute_the_start_is_careful_again() {
        let start = Instant::now();
        let mut pace = Pace::new(200, start);
        crowd(&mut pace, start, 10);
        let calls = crowd(&mut pace, start + Duration::from_secs(75), 1);
        assert!(calls[0] <= 50, "{calls:?}");
    }

    #[test]
    fn a_low_limit_holds_from_the_start() {
        let start = Instant::now();
        let mut pace = Pace::new(3, start);
        let calls = crowd(&mut pace, start, 5);
        assert!(calls.iter().all(|c| (2..=4).contains(c)), "{calls:?}");
    }
}
