//! A circuit breaker per counterparty: when it is down, its executors wait and their
//! partitions are paused, instead of everybody knocking.

use crate::metrics;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

const FAILURES_TO_OPEN: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy)]
struct State {
    failures: u32,
    pause: Duration,
    until: Option<Instant>,
}

/// Opens after five failures in a row; lets one after the other through again after a pause
/// that doubles from 250 ms to 15 s.
#[derive(Debug)]
pub struct Breaker {
    name: &'static str,
    state: Mutex<State>,
}

impl Breaker {
    /// A closed breaker; `name` labels its metric.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            state: Mutex::new(State {
                failures: 0,
                pause: FIRST_PAUSE,
                until: None,
            }),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The counterparty answered.
    pub fn success(&self) {
        *self.state() = State {
            failures: 0,
            pause: FIRST_PAUSE,
            until: None,
        };
        metrics::breaker(self.name, false);
    }

    /// The counterparty could not be reached.
    pub fn failure(&self) {
        let mut state = self.state();
        state.failures += 1;
        if state.failures >= FAILURES_TO_OPEN {
            state.until = Some(Instant::now() + state.pause);
            state.pause = (state.pause * 2).min(LONGEST_PAUSE);
            metrics::breaker(self.name, true);
        }
    }

    /// Whether the counterparty is taken to be down.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state()
            .until
            .is_some_and(|until| until > Instant::now())
    }

    /// Waits until a try is allowed.
    pub async fn ready(&self) {
        loop {
            let until = self.state().until;
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }
}
