//! The rules of the purchase policy.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod books;
mod card;
mod disputes;
mod parts;
mod refunds;
mod support;
mod table;
mod usdc;
