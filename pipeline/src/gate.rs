//! The way to a counterparty: everybody who calls it passes its gate. While it is down one call
//! at a time looks whether it is back; after that, and always, calls are paced, so that whoever
//! waited does not run it over.

use crate::breaker::{Admission, Breaker, Ticket};
use crate::metrics;
use crate::pace::Pace;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

/// Calls a second that a process sends to a counterparty at most, unless told otherwise.
pub const CALLS_PER_SECOND: u32 = 200;

/// Whom an executor calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counterparty {
    /// Labels its metrics, such as `stripe`.
    pub name: &'static str,
    /// Calls a second that this process sends it at most; at least one.
    pub calls_per_second: u32,
}

impl Counterparty {
    /// One with the usual limit.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            calls_per_second: CALLS_PER_SECOND,
        }
    }
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    pace: Pace,
}

/// The gate of one counterparty in one process.
#[derive(Debug)]
pub(crate) struct Gate {
    name: &'static str,
    /// Whoever has the turn is the next to go; the others wait in the order in which they came.
    turn: Semaphore,
    state: Mutex<State>,
    changed: Notify,
}

impl Gate {
    pub fn new(counterparty: Counterparty) -> Self {
        metrics::breaker(counterparty.name, 0);
        Self {
            name: counterparty.name,
            turn: Semaphore::new(1),
            state: Mutex::new(State {
                breaker: Breaker::new(),
                pace: Pace::new(counterparty.calls_per_second, Instant::now()),
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a call may go. What came of it is to be told to the pass.
    pub async fn pass(&self) -> Pass<'_> {
        let _waiting = metrics::CallWaiting::new(self.name);
        // It is never closed; were it, the state below would still hold everybody up.
        let _turn = self.turn.acquire().await;
        loop {
            // Whoever listens before looking misses no change.
            let changed = self.changed.notified();
            let wait_until = {
                let now = Instant::now();
                let mut state = self.state();
                match state.breaker.admits(now) {
                    Admission::NotBefore(at) => Some(at),
                    Admission::AfterProbe => None,
                    Admission::Go(_) => {
                        if let Err(at) = state.pace.take(now) {
                            Some(at)
                        } else {
                            metrics::call_limit(self.name, state.pace.rate());
                            if let Admission::Go(ticket) = state.breaker.admit(now) {
                                metrics::breaker(self.name, state.breaker.code());
                                return Pass {
                                    gate: self,
                                    ticket: Some(ticket),
                                };
                            }
                            Some(now)
                        }
                    }
                }
            };
            match wait_until {
                None => changed.await,
                Some(at) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
            }
        }
    }

    /// Whether the counterparty is taken to be down.
    pub fn is_down(&self) -> bool {
        self.state().breaker.is_down(Instant::now())
    }

    fn told(&self, tell: impl FnOnce(&mut State, Instant)) {
        let mut state = self.state();
        let before = state.breaker.code();
        tell(&mut state, Instant::now());
        let after = state.breaker.code();
        metrics::breaker(self.name, after);
        drop(state);
        if before != after {
            self.changed.notify_waiters();
        }
    }
}

/// The leave to make one call. Dropped without a word, nothing is known of the counterparty.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    ticket: Option<Ticket>,
}

impl Pass<'_> {
    /// The counterparty answered, whatever it said.
    pub fn answered(mut self) {
        let name = self.gate.name;
        self.ticket = None;
        self.gate.told(|state, now| {
            state.pace.answered(now);
            if state.breaker.answered(now) {
                state.pace.back(now);
                tracing::info!(counterparty = name, "the counterparty answers again");
            }
        });
    }

    /// It did not answer, or with nothing but that it cannot. `seed` spreads the pauses of
    /// processes that notice together.
    pub fn silent(mut self, seed: u64) {
        let name = self.gate.name;
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        self.gate.told(|state, now| {
            if state.breaker.silent(ticket, now, seed) {
                metrics::outage(name);
                tracing::warn!(
                    counterparty = name,
                    "the counterparty is taken to be down: one call at a time looks whether it is back"
                );
            }
        });
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate
                .told(|state, now| state.breaker.undecided(ticket, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Duration;

    fn gate() -> Arc<Gate> {
        Arc::new(Gate::new(Counterparty::new("test")))
    }

    async fn break_it(gate: &Gate) {
        for _ in 0..5 {
            gate.pass().await.silent(1);
        }
        assert!(gate.is_down());
    }

    /// Callers that try until they are answered, as long as `up` says so; counts their calls.
    fn callers(gate: &Arc<Gate>, many: u32, up: &Arc<AtomicBool>) -> Arc<AtomicU32> {
        let calls = Arc::new(AtomicU32::new(0));
        for seed in 0..many {
            let (gate, up, calls) = (Arc::clone(gate), Arc::clone(up), Arc::clone(&calls));
            tokio::spawn(async move {
                loop {
                    let pass = gate.pass().await;
                    calls.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    if up.load(Ordering::Relaxed) {
                        pass.answered();
                        return;
                    }
                    pass.silent(seed.into());
                }
            });
        }
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_neither_knocks_during_an_outage_nor_runs_over_what_comes_back() {
        let (gate, up) = (gate(), Arc::new(AtomicBool::new(false)));
        let calls = callers(&gate, 500, &up);
        tokio::time::sleep(Duration::from_secs(600)).await;
        let meanwhile = calls.load(Ordering::Relaxed);
        assert!((40..80).contains(&meanwhile), "{meanwhile} calls");
        up.store(true, Ordering::Relaxed);
        while gate.is_down() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let back = calls.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let first = calls.load(Ordering::Relaxed) - back;
        assert!(
            (10..=20).contains(&first),
            "{first} calls in the first second"
        );
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(calls.load(Ordering::Relaxed) - meanwhile, 500);
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_goes_and_its_answer_lets_the_others_go() {
        let gate = gate();
        break_it(&gate).await;
        let probe = gate.pass().await;
        let second = {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.pass().await.answered() })
        };
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!second.is_finished(), "a second call went beside the probe");
        probe.answered();
        assert!(second.await.is_ok());
        assert!(!gate.is_down());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_task_is_dropped_makes_room() {
        let gate = gate();
        break_it(&gate).await;
        drop(gate.pass().await);
        let again = tokio::time::timeout(Duration::from_secs(1), gate.pass()).await;
        assert!(again.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_is_dropped_does_not_hold_up_the_others() {
        let gate = gate();
        break_it(&gate).await;
        let gone = tokio::time::timeout(Duration::from_millis(1), gate.pass()).await;
        assert!(gone.is_err());
        let next = tokio::time::timeout(Duration::from_secs(2), gate.pass()).await;
        assert!(next.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_calls_do_not_wait() {
        let gate = gate();
        let began = Instant::now();
        for _ in 0..6 {
            gate.pass().await.answered();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
