//! The one place where the runtime reads the time.

use events::time::Timestamp;

/// Now, by the system's clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge at which time enters the runtime"
)]
pub fn now() -> Timestamp {
    chrono::Utc::now().into()
}
