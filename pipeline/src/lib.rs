//! The runtime of processors over Kafka. It knows no domain.
//!
//! - A [`Policy`] is pure: it decides what should happen, by appending events.
//! - An [`Executor`] carries out requests as recorded and appends their outcomes.
//! - A [`Source`] turns outside facts into events.
//!
//! All three fold their partition from offset 0 when it is assigned to them and then go live.
//! What they know can always be folded again: any of them may die or move at any time.
//! Kafka transactions fence zombies and give subscribers each event once; that no effect
//! happens twice rests on the key that the counterparty enforces, and on the loop in
//! [`drive`](mod@drive), which after an unknown answer only ever looks.

pub mod append;
mod awaited;
mod breaker;
pub mod clock;
pub mod drive;
pub mod executor;
mod gate;
mod ground;
pub mod kafka;
mod kafka_log;
mod log;
mod logic;
pub mod metrics;
mod outbox;
mod pace;
pub mod policy;
mod run;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod source;
mod waiting;
mod worker;

pub use append::{Forward, Planned};
pub use drive::Verdict;
pub use executor::{Executor, Job, Owner};
pub use gate::{CALLS_PER_SECOND, Counterparty};
pub use kafka::KafkaConfig;
pub use policy::{Decision, Policy, Timer};
pub use run::{RunError, Slot, run_executor, run_policy, run_source};
pub use source::{Claim, Reading, Source};
