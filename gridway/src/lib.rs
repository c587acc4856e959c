//! Gridway's one binary, as a library: the wiring of all parts, and the local stack with the
//! product on it, which the system tests use, too.

pub mod config;
pub mod dead_letters;
pub mod demo;
pub mod deposits;
pub mod fleet;
pub mod lanes;
mod notify;
pub mod people;
mod ports;
pub mod processors;
pub mod serve;
pub mod topics;
pub mod treasury;
pub mod up;
