//! Runs the very workers of production on a model of the log, of time and of tasks.

pub use crate::append::Append;
use crate::append::Codecs;
pub use crate::clock::simulate as simulate_clock;
use crate::executor::Executor;
use crate::gate::Counterparty;
pub use crate::ground::{Ground, Task, Unconnected};
pub use crate::log::{Consumed, Log, Polled, Rebalance, Trouble};
use crate::policy::Policy;
use crate::run::{self, RunError, supervise};
use crate::source::Source;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Runs a policy on a model until `stop`.
///
/// # Errors
/// See [`RunError`].
pub async fn policy<P: Policy>(
    rules: P,
    codecs: Codecs,
    ground: Arc<dyn Ground>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    supervise(&run::policy(rules, codecs, 0, stop)?, &*ground).await
}

/// Runs an executor on a model until `stop`.
///
/// # Errors
/// See [`RunError`].
pub async fn executor<X: Executor>(
    hand: X,
    codecs: Codecs,
    ground: Arc<dyn Ground>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    supervise(
        &run::executor(hand, Counterparty::new(X::NAME), codecs, stop)?,
        &*ground,
    )
    .await
}

/// Runs a source on a model until `stop`.
///
/// # Errors
/// See [`RunError`].
pub async fn source<S: Source>(
    reader: S,
    codecs: Codecs,
    ground: Arc<dyn Ground>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    supervise(&run::source(reader, codecs, stop)?, &*ground).await
}
