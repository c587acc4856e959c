//! A stand-in for a Stellar network behind Horizon.
//!
//! `envelope` reads XDR and checks signatures; `state`, `exchange`, `operations`, `balances` and
//! `network` are the ledger, without clock or I/O; `history` keeps what was closed; `render`,
//! `records`, `problem`, `paging`, `http`, `lists` and `claimable` speak Horizon's JSON; `replica` lets some answers be old,
//! `surge` lets ledgers be full. Nothing is kept on disk.

pub mod balances;
mod claimable;
pub mod envelope;
pub mod exchange;
pub mod history;
pub mod http;
mod lists;
pub mod network;
pub mod operations;
pub mod paging;
mod paths;
pub mod problem;
pub mod records;
pub mod render;
pub mod replica;
pub mod service;
pub mod state;
pub mod surge;
