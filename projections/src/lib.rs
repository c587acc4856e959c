//! Folds the log into Postgres read models, exactly once, and answers queries from them.
//!
//! One runner reads every partition of the topics it folds. The offsets that it has reached live in
//! Postgres and move in the transaction that writes the rows, by compare-and-set under an epoch:
//! a record is folded once whatever dies when, and a second writer is turned away.
//! Folding cannot cause an effect: nothing here can append to the log or call anybody.
//!
//! Each read model is one file: its row, its fold, its queries. Every row follows from one
//! partition alone, so folds commute across partitions and a rebuild gives the same tables.
//!
//! Statements are checked when they run, not when they are compiled: the compile-time macros of
//! sqlx need a database or a cache of its answers in every build. Each statement is exercised by
//! the tests against a real Postgres instead.

mod batch;
mod changes;
mod consumer;
mod db;
mod facts;
mod metrics;
mod runner;

pub mod applications;
pub mod balances;
pub mod credits;
pub mod deployments;
pub mod deposits;
pub mod notifications;
pub mod progress;
pub mod purchases;
pub mod timeline;
pub mod treasury;
pub mod undecodable;
pub mod users;

pub use changes::{Changes, listen};
pub use db::{TRUSTED, connect, migrate, pool_options};
pub use runner::{Config, Error, run};
