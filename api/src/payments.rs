//! `POST /payments/create-intent`: a quote is accepted, a purchase begins.

use crate::auth::Caller;
use crate::body::Command;
use crate::contract::schema::{or_null, said, uuid, with_optional};
use crate::contract::{Operation, Routes};
use crate::idempotency::{self, Claim, Fingerprint, Key};
use crate::log::Append;
use crate::ports::NoSecret;
use crate::problem::{Kind, Problem};
use crate::quotes::{self, Quote};
use crate::state::ApiState;
use crate::{purchases, trace, wait, webhook};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use events::ids::{EventId, PurchaseId, QuoteId, TwinId, UserId};
use events::purchases::{PurchaseEvent, PurchaseRequested};
use projections::progress::Position;
use projections::purchases::{Purchase, State as Stage};
use serde::{Deserialize, Serialize};

/// The command that makes purchases, as idempotency keys name it.
pub(crate) const ROUTE: &str = "payments/create-intent";

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .add(
            Operation::post(
                "/payments/create-intent",
                "createIntent",
                "Accepts a quote: a purchase begins, and Stripe is asked for a PaymentIntent.",
            )
            .note(
                "Sent again with the same key it shows how the payment stands: the answer holds a secret, so it is \
                 not kept but made anew each time.",
            )
            .waits()
            .takes(with_optional(
                &[("quote_id", uuid())],
                &[(
                    "receipt_email",
                    or_null(said("Where Stripe sends the receipt. It goes to Stripe and nowhere else.")),
                )],
            ))
            .gives(
                202,
                "The purchase.",
                with_optional(
                    &[("purchase_id", uuid()), ("state", purchases::state_schema())],
                    &[
                        ("intent_id", said("The PaymentIntent, once it stands at Stripe.")),
                        ("client_secret", said("For Stripe's library in the payer's browser. Nobody keeps it.")),
                    ],
                ),
            )
            .or(410, "The quote has expired."),
            post(create_intent),
        )
        .merge(webhook::routes())
}

/// The quote to accept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateIntent {
    /// The caller's own, not expired.
    quote_id: QuoteId,
    /// Where Stripe sends the receipt. It goes to Stripe and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt_email: Option<String>,
}

/// A purchase that has begun.
#[derive(Serialize)]
struct Begun {
    purchase_id: PurchaseId,
    state: Stage,
    /// The PaymentIntent, once it stands at Stripe.
    #[serde(skip_serializing_if = "Option::is_none")]
    intent_id: Option<String>,
    /// For Stripe's library in the payer's browser. Nobody keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

/// Accepts a quote: a purchase begins, and Stripe is asked for a PaymentIntent.
///
/// Sent again with the same key, or with `Prefer: wait=N`, it shows how the payment stands: the
/// answer holds a secret, so it is made anew each time.
async fn create_intent(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    wait::Prefer(patience): wait::Prefer,
    headers: HeaderMap,
    Command(command): Command<CreateIntent>,
) -> Result<Response, Problem> {
    let email = command.receipt_email.as_deref();
    if let Some(email) = email {
        check_email(email)?;
    }
    let fingerprint = Fingerprint::of(ROUTE, &command)?;
    let id = PurchaseId::derive(&[&user.to_string(), key.as_str()]);
    let seen = idempotency::look(&state.pool, user, &key, &fingerprint).await?;
    let known = match seen {
        Some(_) => projections::purchases::get(&state.pool, id).await?,
        None => None,
    };
    let (hit, position) = if known.is_some() {
        (true, None)
    } else {
        let quote = quotes::get(&state.pool, user, command.quote_id)
            .await?
            .ok_or_else(|| {
                Problem::new(
                    Kind::UnknownQuote,
                    "you have no quote with this id; POST /quotes makes one",
                )
            })?;
        // A command that was accepted once stays accepted, even if its first append was lost.
        if seen.is_none() && quote.expires_at <= state.now() {
            return Err(Problem::new(
                Kind::QuoteExpired,
                format!(
                    "the quote expired at {}; POST /quotes makes a new one",
                    quote.expires_at
                ),
            ));
        }
        let twin = twin_of(&state, user).await?;
        let claim = idempotency::claim(
            &state.pool,
            user,
            &key,
            &fingerprint,
            id.uuid(),
            state.now(),
        )
        .await?;
        let position = append(&state, &key, id, &quote, twin, claim, &headers).await?;
        (claim.hit, Some(position))
    };
    let purchase = match known.filter(|p| p.state != Stage::Opened) {
        Some(purchase) => Some(purchase),
        None if patience.is_zero() => None,
        None => opened(&state, id, patience).await?,
    };
    answer(&state, id, purchase.as_ref(), email, hit, position.as_ref()).await
}

/// The purchase, once it is past its opening.
async fn opened(
    state: &ApiState,
    id: PurchaseId,
    patience: std::time::Duration,
) -> Result<Option<Purchase>, sqlx::Error> {
    wait::until(state, id.uuid(), patience, || async {
        let purchase = projections::purchases::get(&state.pool, id).await?;
        Ok(purchase.filter(|p| p.state != Stage::Opened))
    })
    .await
}

async fn twin_of(state: &ApiState, user: UserId) -> Result<TwinId, Problem> {
    let user = projections::users::get(&state.pool, user).await?;
    match user {
        Some(user) => user.twin_id.ok_or_else(|| {
            Problem::new(
                Kind::NoTwinYet,
                "your twin is being made; GET /users/me shows when it is there, then send this command again",
            )
            .with("next", "GET /users/me")
        }),
        None => Err(Problem::new(
            Kind::NoTwinYet,
            "you are not registered, so there is no twin to deliver to; POST /users makes one",
        )
        .with("next", "POST /users")),
    }
}

async fn append(
    state: &ApiState,
    key: &Key,
    id: PurchaseId,
    quote: &Quote,
    twin: TwinId,
    claim: Claim,
    headers: &HeaderMap,
) -> Result<Position, Problem> {
    let event = PurchaseEvent::from(PurchaseRequested {
        purchase_id: id,
        user_id: quote.user,
        twin_id: twin,
        quote_id: quote.id,
        tft: quote.tft,
        swap_tft: quote.swap_tft,
        usdc_quoted: quote.usdc,
        usdc_cap: quote.usdc_cap,
        path: quote.path.clone(),
        charge: quote.charge,
        quote_expires_at: quote.expires_at,
        requested_at: claim.at,
    });
    let append = Append {
        key: id.to_string(),
        id: EventId::derive(&["command", &quote.user.to_string(), key.as_str()]),
        correlation: id.to_string(),
        trace: trace::of(headers),
        time: state.now(),
        event,
    };
    Ok(state.log.append(append).await?)
}

async fn answer(
    state: &ApiState,
    id: PurchaseId,
    purchase: Option<&Purchase>,
    email: Option<&str>,
    hit: bool,
    position: Option<&Position>,
) -> Result<Response, Problem> {
    let stage = purchase.map_or(Stage::Opened, |p| p.state);
    let mut body = Begun {
        purchase_id: id,
        state: stage,
        intent_id: None,
        client_secret: None,
    };
    if let Some(intent) = purchase.and_then(|p| p.intent_id.as_deref()) {
        body.intent_id = Some(intent.to_owned());
        if stage == Stage::AwaitingPayment {
            // Read for the payer, and passed on: neither it nor the address is stored or logged.
            let secret = state.secrets.client_secret(intent, email).await;
            let secret = secret.map_err(|error| no_secret(&error, intent, id))?;
            body.client_secret = Some(secret);
        }
    }
    let headers = [
        (header::LOCATION, format!("/purchases/{id}")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let response = (StatusCode::ACCEPTED, headers, Json(body)).into_response();
    Ok(wait::token(idempotency::mark(response, hit), position))
}

/// An address is judged by Stripe; here only what could be none.
fn check_email(email: &str) -> Result<(), Problem> {
    let well_formed = email.len() <= 254
        && !email.contains(|c: char| c.is_whitespace() || c.is_control())
        && email
            .rsplit_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    if well_formed {
        Ok(())
    } else {
        Err(Problem::field("receipt_email", "this is no e-mail address"))
    }
}

fn no_secret(error: &NoSecret, intent: &str, id: PurchaseId) -> Problem {
    match error {
        // Stripe's words may hold the address: they are for its owner, not for the log.
        NoSecret::Email(why) => Problem::field("receipt_email", why.clone()),
        NoSecret::Unavailable(why) => {
            tracing::error!(error = why, intent, purchase = %id, "no client secret for a payer");
            Problem::new(
                Kind::StripeUnavailable,
                "the purchase is taken, but Stripe does not give its client secret for now; send the same command again",
            )
        }
    }
    .with("purchase_id", id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_no_address_is_refused() {
        for email in ["a@b", "a.b+c@example.com", "ä@例え.jp", "\"a@b\"@c"] {
            assert!(check_email(email).is_ok(), "{email}");
        }
        let long = format!("{}@example.com", "a".repeat(250));
        for email in [
            "",
            "a",
            "@b",
            "a@",
            "a b@c",
            "a@b\r\nBcc: c@d",
            long.as_str(),
        ] {
            assert!(check_email(email).is_err(), "{email}");
        }
    }
}
