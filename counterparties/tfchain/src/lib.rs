//! TFChain behind a port.
//!
//! What keeps a thing from happening twice here is the chain: an account's nonce is a
//! compare-and-swap (state and nonce are read at one finalized block, and the transaction is
//! signed with exactly that nonce), a twin is unique per account, and a contract is unique per
//! node and deployment hash. A stale nonce says nothing of the wish itself, so it is unknown and
//! the state is read again.
//!
//! - [`Tfchain`] is the port, [`TfchainClient`] its client, [`outcome`] what errors mean;
//! - [`keys`] derives the users' accounts from one seed;
//! - [`protocol`] is what client and chain say to each other.

pub mod client;
mod contracts;
mod era;
pub mod keys;
pub mod outcome;
pub mod port;
#[expect(
    clippy::cast_possible_truncation,
    reason = "the derive of SCALE enums casts its small indices"
)]
pub mod protocol;
pub mod runtime_events;
mod twins;

pub use client::{InvalidConfig, TfchainClient, TfchainConfig};
pub use keys::{ActivatorKey, ChainKey, InvalidSeed, UserSeed};
pub use port::{
    Block, BlockRef, ChainEvent, ContractPlan, ContractProof, MAX_DEPLOYMENT_DATA, OwnershipProof,
    ReadError, Tfchain, TwinPlan, TwinProof, deployment_hash,
};
pub use subxt::utils::AccountId32;
