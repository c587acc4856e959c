//! A stand-in for TFChain and its Stellar bridge.
//!
//! [`ledger`] holds the runtime's rules, [`chain`] makes blocks over it, [`http`] serves it and
//! [`bridge`] watches a Horizon: deposits are minted to twins or paid back. Nothing is kept on
//! disk.

pub mod bridge;
pub mod chain;
pub mod http;
pub mod ledger;

pub use chain::{Chain, Pace};
pub use http::router;
pub use ledger::Rules;
