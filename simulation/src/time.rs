//! The simulated clock: tokio's paused time, counted from the first day of 2026.

use events::time::Timestamp;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600_000;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Starts the clock of this thread.
pub fn start() {
    START.set(Some(Instant::now()));
    pipeline::simulation::simulate_clock(now);
}

/// Now.
#[must_use]
pub fn now() -> Timestamp {
    let elapsed = START.get().map_or(0, |s| s.elapsed().as_millis());
    Timestamp(BEGIN + i64::try_from(elapsed).unwrap_or(i64::MAX / 2))
}

/// Time since the start.
#[must_use]
pub fn elapsed() -> Duration {
    START.get().map_or(Duration::ZERO, |s| s.elapsed())
}
