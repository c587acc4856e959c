//! Stand-ins for two HTTP APIs: SendGrid's `POST /v3/mail/send` and Twilio's `Messages.json`. Each
//! refuses what the real one refuses, in its words, and keeps what it took:
//!
//! - `GET /_control/mails`: mails as SendGrid was sent them, oldest first;
//! - `GET /_control/texts`: messages as Twilio shows them, oldest first;
//! - `/_control/faults`: see `sandbox_kit`.

mod sendgrid;
mod twilio;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;

/// What is accepted of callers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// SendGrid's API key, `SG.…`.
    pub sendgrid_key: String,
    /// The sender that SendGrid has verified.
    pub sender: String,
    /// Twilio's account, `AC…`.
    pub account: String,
    /// Its token.
    pub token: String,
    /// The number that the account owns.
    pub from: String,
}

struct Shared {
    settings: Settings,
    mails: Mutex<Vec<Value>>,
    texts: Mutex<Vec<twilio::Message>>,
}

type World = Arc<Shared>;

/// Both APIs.
pub fn router(settings: Settings) -> Router {
    let world = Arc::new(Shared {
        settings,
        mails: Mutex::default(),
        texts: Mutex::default(),
    });
    Router::new()
        .merge(sendgrid::routes())
        .merge(twilio::routes())
        .route(
            "/_control/mails",
            get(|State(world): State<World>| async move { Json(world.mails.lock().clone()) }),
        )
        .route(
            "/_control/texts",
            get(|State(world): State<World>| async move {
                let texts = world.texts.lock();
                Json(texts.iter().map(|t| t.show(&world)).collect::<Vec<Value>>())
            }),
        )
        .with_state(world)
}
