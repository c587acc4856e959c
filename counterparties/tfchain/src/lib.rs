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
//! - [`shapes`] are the calls, events and storage entries that are used, and [`guard`] compares
//!   them with the node's metadata before anything is signed.

mod activations;
mod batches;
mod blocks;
mod calls;
mod changes;
pub mod client;
mod contracts;
mod era;
pub mod guard;
pub mod keys;
mod metrics;
mod node;
pub mod outcome;
pub mod port;
pub mod shapes;
mod submitted;
mod traces;
mod twins;
pub mod wire;

pub use client::{InvalidConfig, TfchainClient, TfchainConfig};
pub use keys::{ActivatorKey, ChainKey, InvalidSeed, UserSeed};
pub use port::{
    BatchPlan, Block, BlockRef, CancelPlan, ChainEvent, ContractKind, ContractPlan, ContractProof,
    MAX_DEPLOYMENT_DATA, OwnershipProof, ReadError, Tfchain, TwinPlan, TwinProof, UpdatePlan,
    deployment_hash,
};
pub use subxt::Metadata;
pub use subxt::utils::AccountId32;
pub use wire::{Connect, Refused, Wire};
