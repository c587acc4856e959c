//! A circuit breaker: whether a counterparty is taken to be there. Pure: it is told the time.

use crate::drive::jittered;
use std::time::Duration;
use tokio::time::Instant;

/// Calls without an answer, one after the other and none answered between them, that open it.
const SILENT_CALLS: u32 = 5;
/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause. One that opens again within this time goes on with its last pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everybody may call.
    Closed { silent: u32 },
    /// Nobody may, until then.
    Open { until: Instant },
    /// One call is on its way to see whether the counterparty is back.
    HalfOpen,
}

/// A call that the breaker let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    epoch: u64,
    probe: bool,
}

/// Whether a call may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Go(Ticket),
    /// Ask again then.
    NotBefore(Instant),
    /// Ask again when the probe has ended.
    AfterProbe,
}

/// Opens after five calls without an answer. Lets one call through after a pause: an answer
/// closes it, none makes the next pause twice as long, from half a second to fifteen seconds, ± an
/// eighth.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    pause: Duration,
    closed_at: Option<Instant>,
    /// Counts openings and closings: what was sent before the last of them says nothing about now.
    epoch: u64,
}

impl Breaker {
    pub const fn new() -> Self {
        Self {
            state: State::Closed { silent: 0 },
            pause: FIRST_PAUSE,
            closed_at: None,
            epoch: 0,
        }
    }

    /// What [`Breaker::admit`] would say, without letting a probe through.
    pub fn admits(&self, now: Instant) -> Admission {
        let epoch = self.epoch;
        match self.state {
            State::Closed { .. } => Admission::Go(Ticket {
                epoch,
                probe: false,
            }),
            State::Open { until } if now < until => Admission::NotBefore(until),
            State::Open { .. } => Admission::Go(Ticket { epoch, probe: true }),
            State::HalfOpen => Admission::AfterProbe,
        }
    }

    pub fn admit(&mut self, now: Instant) -> Admission {
        let admission = self.admits(now);
        if let Admission::Go(Ticket { probe: true, .. }) = admission {
            self.state = State::HalfOpen;
        }
        admission
    }

    /// The counterparty answered, whatever it said. Gives whether that ends an outage.
    pub fn answered(&mut self, now: Instant) -> bool {
        let ended = !matches!(self.state, State::Closed { .. });
        if ended {
            self.epoch += 1;
            self.closed_at = Some(now);
        }
        self.state = State::Closed { silent: 0 };
        ended
    }

    /// A call ended without an answer. Gives whether that begins an outage.
    pub fn silent(&mut self, ticket: Ticket, now: Instant, seed: u64) -> bool {
        if ticket.epoch != self.epoch {
            return false;
        }
        match &mut self.state {
            State::Closed { silent } => {
                *silent += 1;
                if *silent < SILENT_CALLS {
                    return false;
                }
                let lately = self.closed_at.is_some_and(|at| now < at + LONGEST_PAUSE);
                if !lately {
                    self.pause = FIRST_PAUSE;
                }
                self.epoch += 1;
                self.open(now, seed);
                true
            }
            State::HalfOpen if ticket.probe => {
                self.open(now, seed);
                false
            }
            State::Open { .. } | State::HalfOpen => false,
        }
    }

    /// A call ended, and nothing is known of the counterparty: it may have been given up.
    pub fn undecided(&mut self, ticket: Ticket, now: Instant) {
        if ticket.probe && ticket.epoch == self.epoch && self.state == State::HalfOpen {
            self.state = State::Open { until: now };
        }
    }

    fn open(&mut self, now: Instant, seed: u64) {
        let mut seed = seed.wrapping_add(self.epoch);
        self.state = State::Open {
            until: now + jittered(self.pause, &mut seed),
        };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// 0 closed, 1 half open, 2 open.
    pub const fn code(&self) -> i64 {
        match self.state {
            State::Closed { .. } => 0,
            State::HalfOpen => 1,
            State::Open { .. } => 2,
        }
    }

    /// Whether nobody but a probe gets through at this moment.
    pub fn is_down(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::HalfOpen => true,
            // Once the pause is over a new request may be the probe.
            State::Open { until } => now < until,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, reason = "tests fail by panicking")]
    use super::*;

    fn go(breaker: &mut Breaker, now: Instant) -> Option<Ticket> {
        match breaker.admit(now) {
            Admission::Go(ticket) => Some(ticket),
            _ => None,
        }
    }

    /// A breaker that has just opened, and when it did.
    fn opened() -> (Breaker, Instant) {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        for call in 1..=5 {
            let ticket = go(&mut breaker, now);
            assert_eq!(ticket.map(|t| breaker.silent(t, now, 1)), Some(call == 5));
        }
        assert!(breaker.is_down(now));
        (breaker, now)
    }

    #[test]
    fn an_answer_between_keeps_it_closed() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        for _ in 0..20 {
            for _ in 0..4 {
                let ticket = go(&mut breaker, now);
                assert_eq!(ticket.map(|t| breaker.silent(t, now, 1)), Some(false));
            }
            assert!(!breaker.answered(now));
        }
        assert_eq!(breaker.code(), 0);
    }

    #[test]
    fn five_silent_calls_open_it_and_one_probe_gets_through() {
        let (mut breaker, now) = opened();
        assert!(matches!(breaker.admit(now), Admission::NotBefore(_)));
        let later = now + FIRST_PAUSE * 2;
        let probe = go(&mut breaker, later);
        assert!(probe.is_some());
        assert_eq!(breaker.admit(later), Admission::AfterProbe);
        assert!(breaker.answered(later));
        assert!(go(&mut breaker, later).is_some() && go(&mut breaker, later).is_some());
    }

    #[test]
    fn a_silent_probe_makes_the_pause_longer_up_to_its_bound() {
        let (mut breaker, mut now) = opened();
        let mut last = Duration::ZERO;
        for _ in 0..8 {
            let Admission::NotBefore(until) = breaker.admit(now) else {
                panic!("it is closed")
            };
            let pause = until - now;
            assert!(pause > last || pause > LONGEST_PAUSE / 8 * 7, "{pause:?}");
            assert!(pause <= LONGEST_PAUSE / 8 * 9, "{pause:?}");
            (last, now) = (pause, until);
            let probe = go(&mut breaker, now);
            assert_eq!(probe.map(|t| breaker.silent(t, now, 7)), Some(false));
        }
        assert!(last > Duration::from_secs(12));
    }

    #[test]
    fn what_was_sent_before_it_opened_does_not_lengthen_the_pause() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        let old: Vec<Ticket> = (0..100).filter_map(|_| go(&mut breaker, now)).collect();
        for ticket in &old {
            breaker.silent(*ticket, now, 1);
        }
        let Admission::NotBefore(until) = breaker.admit(now) else {
            panic!("it is closed")
        };
        assert!(until - now <= FIRST_PAUSE / 8 * 9);
        // Nor does it open it again once it has closed.
        breaker.answered(now);
        for ticket in old {
            assert!(!breaker.silent(ticket, now, 1));
        }
        assert_eq!(breaker.code(), 0);
    }

    #[test]
    fn a_probe_that_was_given_up_makes_room_for_another() {
        let (mut breaker, now) = opened();
        let later = now + FIRST_PAUSE * 2;
        let probe = go(&mut breaker, later);
        if let Some(ticket) = probe {
            breaker.undecided(ticket, later);
        }
        assert!(go(&mut breaker, later).is_some_and(|t| t.probe));
    }

    #[test]
    fn opening_again_soon_goes_on_with_the_last_pause() {
        let (mut breaker, now) = opened();
        let later = now + FIRST_PAUSE * 2;
        assert!(go(&mut breaker, later).is_some());
        assert!(breaker.answered(later));
        for _ in 0..5 {
            if let Some(ticket) = go(&mut breaker, later) {
                breaker.silent(ticket, later, 1);
            }
        }
        let Admission::NotBefore(until) = breaker.admit(later) else {
            panic!("it is closed")
        };
        assert!(until - later > FIRST_PAUSE / 8 * 9);
    }
}
