//! The ledger as a state machine: no clock, no network; times come in as arguments.

pub mod close;
pub mod exchange;
pub mod history;
pub mod queue;
pub mod state;
pub mod trade;
pub mod validity;
