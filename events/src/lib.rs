//! The contract between Gridway's parts, and with other teams.
//!
//! Every fact is an Avro record in a Kafka topic. This crate holds what all sides agree on:
//! the event types and their schemas, the envelope around them, ids, money, the topic
//! catalogue and the wire codec. It knows no rule and performs no effect.

pub mod applications;
pub mod approvals;
pub mod asyncapi;
mod claims;
pub mod codec;
pub mod dead_letters;
pub mod deployments;
pub mod deposits;
pub mod envelope;
pub mod ids;
pub mod lanes;
pub mod money;
pub mod notifications;
pub mod outcome;
pub mod purchases;
pub mod registry;
pub mod schema;
pub mod stripe;
pub mod time;
pub mod topics;
pub mod treasury;
pub mod unmatched;
pub mod users;
