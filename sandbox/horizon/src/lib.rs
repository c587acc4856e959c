//! A stand-in for Stellar: a ledger in memory behind Horizon's HTTP interface.
//!
//! It decodes, hashes and verifies real XDR, and keeps the rules of protocol 19 that a client of
//! payment lanes meets: sequence numbers with gaps (CAP-21), one waiting transaction for each
//! account, fees, reserves, trustlines, an order book with the protocol's rounding, fee-bumps,
//! failed transactions that are recorded and charged.
//!
//! - **Operations**: create account, payment, path payments (both), sell, buy and passive offers,
//!   set options, change trust, account merge, bump sequence. Others are `op_not_supported`.
//! - **Paths**: `/`, `/fee_stats`, `/ledgers`, `/accounts/{id}` with its lists, `/transactions`,
//!   `/operations`, `/payments`, `/offers`, `/order_book`, `/paths/strict-receive`,
//!   `/paths/strict-send`; lists as pages or, with `Accept: text/event-stream`, as streams.
//! - **Ledgers** start at 60,000,000. They close on submission (what is waiting right then goes
//!   together; after a second of silence an empty one closes, so that time bounds come to pass) or
//!   regularly; then a submission waits for the next.
//! - **Not modelled**: what Horizon cannot show (bans, surge pricing), liquidity pools, contracts,
//!   claimable balances, sponsoring, extra signers, effects, trades. `result_meta_xdr` is empty.
//! - `/_control/faults`: see `sandbox_kit`.

mod address;
mod codes;
mod envelope;
mod http;
mod ledger;
mod node;
mod ops;
mod stroops;

use axum::Router;
use std::time::Duration;

/// The passphrase of networks that stand alone.
pub const STANDALONE: &str = "Standalone Network ; February 2017";

/// What a network is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// The network's passphrase; the root account's seed is its SHA-256.
    pub passphrase: String,
    /// A ledger closes each so often; `None`: on submission.
    pub close_every: Option<Duration>,
}

/// A new network as routes, to be served by `sandbox_kit`. To be called inside a tokio runtime.
pub fn router(config: &Config) -> Router {
    http::router(node::Node::start(&config.passphrase, config.close_every))
}
