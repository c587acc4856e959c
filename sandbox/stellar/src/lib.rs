//! A stand-in for a Stellar network behind Horizon.
//!
//! `envelope` reads XDR and checks signatures; `state`, `exchange`, `operations` and `network` are the
//! ledger, without clock or I/O; `history` keeps what was closed; `render`, `problem`, `paging` and
//! `http` speak Horizon's JSON; `replica` lets some answers be old,
//! `surge` lets ledgers be full. Nothing is kept on disk.

pub mod envelope;
pub mod exchange;
pub mod history;
pub mod http;
pub mod network;
pub mod operations;
pub mod paging;
mod paths;
pub mod problem;
pub mod render;
pub mod replica;
pub mod service;
pub mod state;
pub mod surge;
