//! The one place where the runtime reads the time.

use events::time::Timestamp;

/// Now, by the system's clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge at which time enters the runtime"
)]
pub fn now() -> Timestamp {
    #[cfg(feature = "simulation")]
    if let Some(simulated) = SIMULATED.get() {
        return simulated();
    }
    chrono::Utc::now().into()
}

#[cfg(feature = "simulation")]
thread_local! {
    static SIMULATED: std::cell::Cell<Option<fn() -> Timestamp>> = const { std::cell::Cell::new(None) };
}

/// On this thread, time is what `clock` says.
#[cfg(feature = "simulation")]
pub fn simulate(clock: fn() -> Timestamp) {
    SIMULATED.set(Some(clock));
}
