//! Stellar behind a port.
//!
//! A payment lane is an account that gives the sequence number and the fee; the treasury is the
//! source of the operation and signs, too. A record of the log has exactly one transaction: its
//! number is the lane's base + the record's offset + 1, and the ledger takes a number once.
//!
//! - [`Stellar`] is the port, [`HorizonClient`] its client;
//! - [`sign`] builds and signs a record's transaction offline, the same bytes every time;
//! - [`fee_bump()`] offers more for it when ledgers are full, without changing it;
//! - [`outcome`] holds the one table that says what an answer to a submission means;
//! - [`opening`] opens and checks lanes, [`tending`] looks after them.

mod claimable;
mod client;
mod fee_bump;
mod fees;
mod find;
mod ids;
mod lanes;
mod metrics;
pub mod opening;
pub mod outcome;
mod port;
mod records;
mod results;
mod setup;
mod signing;
mod submit;
pub mod tending;

pub use claimable::{BalanceId, InvalidBalanceId, Predicate, Window};
pub use client::{ConfigError, HorizonClient, StellarConfig};
pub use fee_bump::{FeeBump, fee_bump};
pub use fees::{Fees, LANE_FEE};
pub use find::{LaneReads, find, landed};
pub use ids::{AccountId, AssetId, InvalidStellarId, PathAsset, SecretKey};
pub use lanes::{InvalidLane, LaneKey, LaneName, LaneSeed, base, lane_index, sequence};
pub use port::{
    AccountView, ClaimableView, LandedTransaction, PaymentRecord, PaymentView, PaymentsPage,
    QuoteError, ReadError, Stellar, StrictReceiveQuote, TransactionView,
};
pub use records::{Listed, TransactionsPage};
pub use setup::{Payment, SetAside, SetupOperation, sign_payment, sign_set_aside, sign_setup};
pub use signing::{LaneMemo, LaneOperation, LanePlan, SignError, SignedTransaction, sign};
