//! Stripe behind a port.
//!
//! - [`Cards`] is the port: create and find a PaymentIntent or a refund, read the client secret.
//! - [`StripeClient`] is its real client, on typed `async-stripe` requests.
//! - [`outcome`] holds the one table that says what an answer of Stripe means.
//! - [`StripeEvents`] reads Stripe's list of events.
//! - [`webhook`] verifies the signature of a webhook and reads its facts.
//!
//! Nothing here decides to try again: an answer becomes exactly one outcome, and the runtime
//! owns the loop. Every effect carries an `Idempotency-Key` derived from the recorded request
//! (`<event id>:create-intent`, `<event id>:refund`), which Stripe enforces for at least
//! 24 hours; what is older is only ever looked for.

mod client;
mod event_list;
pub mod outcome;
mod port;
pub mod webhook;

pub use client::{Clock, ConfigError, SecretKey, StripeClient, StripeConfig};
pub use event_list::{EventPage, KINDS, StripeEvents};
pub use port::{
    Cards, ClientSecret, IntentPlan, IntentProof, RefundPlan, RefundProof, StripeReadError,
};
