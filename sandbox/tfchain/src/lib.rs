//! A stand-in for TFChain and its Stellar bridge, behind Substrate's own JSON-RPC.
//!
//! [`runtime`] defines the parts of the runtime that are used, [`metadata`] tells of them,
//! [`ledger`] holds what calls do to the [`state`], [`chain`] makes blocks over it, [`rpc`] and
//! [`http`] serve it, and [`bridge`] watches a Horizon: deposits are minted to twins or paid back.
//! Nothing is kept on disk.

pub mod bridge;
pub mod chain;
pub mod extrinsic;
pub mod http;
pub mod ledger;
pub mod metadata;
pub mod rpc;
#[expect(
    clippy::cast_possible_truncation,
    reason = "the derive of SCALE enums casts its small indices"
)]
pub mod runtime;
pub mod signal;
pub mod state;
pub mod tally;

pub use chain::{Chain, Clock, Pace, Person};
pub use http::router;
pub use ledger::Rules;
