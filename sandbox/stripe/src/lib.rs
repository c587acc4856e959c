//! A stand-in for Stripe behind the real API's protocol and shapes (version `2026-09-30.endive`).
//!
//! PaymentIntents (create, confirm, retrieve, update, list, cancel), charges and refunds (create,
//! retrieve, list), disputes (retrieve, list, evidence, close), events (retrieve, list). Test cards are named as in Stripe's test mode
//! (`pm_card_visa`, `pm_card_chargeDeclined`, `pm_card_refundFail` …). Everything is in memory.
//!
//! - **Keys**: the secret key given, and the publishable one (`sk_` → `pk_`) that may only
//!   retrieve and confirm, showing the client secret.
//! - **Idempotency**: answers are stored under the key once execution began (500s included) and
//!   replayed with `Idempotent-Replayed: true`; changed parameters or another endpoint: 400
//!   `idempotency_error`; a key in use: 409 `idempotency_key_in_use`; forgotten after 24 h.
//! - **Webhooks**: signed, in no promised order, each posted until it is answered 2xx (pauses
//!   from 200 ms to 30 s, for three hours).
//!
//! | control | meaning |
//! |---|---|
//! | `POST /_control/webhook {"url", "secret", "events"?, "copies"?, "jitter_ms"?, "drop_every"?, "thin"?}`, `DELETE` | where webhooks go from now on, how often each is sent, how much they overtake each other, and that every so many-th is never sent; whether they are thin notifications |
//! | `DELETE /_control/events?keep=n` | forgets all events but the newest `n`, as after 30 days |
//! | `POST /_control/idempotency {"kind": "store_500", "work": bool, "path"?, "times"?}` | the next keyed requests get a 500 that is stored under their key, with or without the work done |
//! | `POST /_control/idempotency {"kind": "hold", "delay_ms": n, …}` | the next keyed requests stay at work that long |
//! | `DELETE /_control/idempotency` | disarms these |
//! | `DELETE /_control/idempotency/keys` | forgets all keys, as after 24 h |
//! | `POST /_control/authenticate {"payment_intent"}` | the person passes the bank's check that `requires_action` asks for |
//! | `POST /_control/disputes {"payment_intent", "reason"?}` | the payer's bank takes the charge back |
//! | `GET /_control/counts` | intents, succeeded ones, refunds that stand; the same by `purchase_id`; webhooks never sent |
//! | `/_control/faults` | see `sandbox_kit` |

#![recursion_limit = "256"]

mod call;
mod cards;
mod control;
mod disputes;
mod error;
mod form;
mod intents;
mod keys;
mod objects;
mod refunds;
mod state;
mod table;
mod webhooks;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::any;
pub use webhooks::Target;

/// The secret key that is accepted when none is given.
pub const DEFAULT_KEY: &str = "sk_test_sandbox";

/// The stand-in as routes, to be served by `sandbox_kit`.
///
/// # Errors
/// When the HTTP client for webhooks cannot be made.
pub fn router(secret_key: &str, webhook: Option<Target>) -> Result<Router, reqwest::Error> {
    let shared = state::Shared::new(secret_key.to_owned(), webhooks::Webhooks::new(webhook)?);
    Ok(Router::new()
        .route("/v1/{*path}", any(call::answer))
        .layer(DefaultBodyLimit::max(1 << 20))
        .with_state(std::sync::Arc::clone(&shared))
        .merge(control::router(shared)))
}
