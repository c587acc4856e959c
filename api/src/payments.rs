//! `POST /payments/create-intent` and `POST /purchases`: a quote is accepted, a purchase begins.

use crate::auth::Caller;
use crate::body::Command;
use crate::contract::Routes;
use crate::idempotency::{self, Claim, Fingerprint, Key};
use crate::log::Append;
use crate::ports::NoSecret;
use crate::pricing::Terms;
use crate::problem::{Kind, Problem};
use crate::quotes::{self, Quote};
use crate::state::ApiState;
use crate::users::{self, Twin};
use crate::{purchases, trace, wait};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::ids::{PurchaseId, QuoteId, TwinId, UserId};
use events::purchases::{Funding, PurchaseEvent, PurchaseRequested};
use projections::progress::Position;
use projections::purchases::{Purchase, State as Stage};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

/// The command that makes purchases by card, as idempotency keys name it.
pub(crate) const ROUTE: &str = "payments/create-intent";
/// The command that makes purchases of any funding.
pub(crate) const PURCHASES: &str = "purchases";

/// The route of this file; that of `POST /purchases` stands with the list of them.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(create_intent))
}

/// The quote to accept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateIntent {
    /// The caller's own, not expired.
    #[schema(value_type = uuid::Uuid)]
    quote_id: QuoteId,
    /// Where Stripe sends the receipt. It goes to Stripe and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt_email: Option<String>,
}

/// The quote to accept, and how it is paid.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreatePurchase {
    #[schema(value_type = uuid::Uuid)]
    quote_id: QuoteId,
    #[schema(inline)]
    funding: ByFunding,
}

/// How the buyer pays.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ByFunding {
    Card,
    Usdc,
}

/// A purchase that has begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct Begun {
    #[schema(value_type = uuid::Uuid)]
    purchase_id: PurchaseId,
    #[schema(schema_with = purchases::stages)]
    state: Stage,
    /// The PaymentIntent, once it stands at Stripe.
    #[serde(skip_serializing_if = "Option::is_none")]
    intent_id: Option<String>,
    /// For Stripe's library in the payer's browser. Nobody keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// Where it says how to pay by USDC.
    #[serde(skip_serializing_if = "Option::is_none")]
    deposit: Option<String>,
}

/// Accepts a quote: a purchase begins, and Stripe is asked for a PaymentIntent.
///
/// Sent again with the same key, or with `Prefer: wait=N`, it shows how the payment stands: the
/// answer holds a secret, so it is made anew each time.
#[utoipa::path(
    post,
    path = "/payments/create-intent",
    operation_id = "createIntent",
    params(Key, wait::Prefer),
    request_body = CreateIntent,
    responses(
        (status = 202, description = "The purchase.", body = Begun),
        (status = 410, description = "The quote has expired."),
    )
)]
async fn create_intent(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    wait: wait::Prefer,
    headers: HeaderMap,
    Command(command): Command<CreateIntent>,
) -> Result<Response, Problem> {
    let email = command.receipt_email.as_deref();
    if let Some(email) = email {
        check_email(email)?;
    }
    let fingerprint = Fingerprint::of(ROUTE, &command)?;
    let accepted = Accepted {
        quote: command.quote_id,
        funding: Funding::Card,
        email,
    };
    accept(&state, user, (key, fingerprint), wait, &headers, accepted).await
}

/// Accepts a quote: a purchase begins, paid by card or by USDC.
#[utoipa::path(
    post,
    path = "/purchases",
    operation_id = "createPurchase",
    params(Key, wait::Prefer),
    request_body = CreatePurchase,
    responses(
        (status = 202, description = "The purchase.", body = Begun),
        (status = 410, description = "The quote has expired."),
    )
)]
pub(crate) async fn create_purchase(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    wait: wait::Prefer,
    headers: HeaderMap,
    Command(command): Command<CreatePurchase>,
) -> Result<Response, Problem> {
    let fingerprint = Fingerprint::of(PURCHASES, &command)?;
    let accepted = Accepted {
        quote: command.quote_id,
        funding: match command.funding {
            ByFunding::Card => Funding::Card,
            ByFunding::Usdc => Funding::Usdc,
        },
        email: None,
    };
    accept(&state, user, (key, fingerprint), wait, &headers, accepted).await
}

/// What the buyer accepted.
struct Accepted<'a> {
    quote: QuoteId,
    funding: Funding,
    /// Where Stripe sends the receipt.
    email: Option<&'a str>,
}

async fn accept(
    state: &ApiState,
    user: UserId,
    (key, fingerprint): (Key, Fingerprint),
    wait::Prefer(patience): wait::Prefer,
    headers: &HeaderMap,
    command: Accepted<'_>,
) -> Result<Response, Problem> {
    let id = PurchaseId::derive(&[&user.to_string(), key.as_str()]);
    let looked = idempotency::look(&state.pool, user, &key, &fingerprint).await?;
    let seen = looked.first;
    let known = match seen {
        Some(_) => projections::purchases::get(&state.pool, id).await?,
        None => None,
    };
    let (hit, position) = if known.is_some() {
        (true, None)
    } else {
        let quote = quotes::get(&state.pool, user, command.quote)
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
        let twin = twin_of(state, user).await?;
        quotes::bind(&state.pool, &quote, id).await?;
        let claim =
            idempotency::claim(state, user, &key, &fingerprint, id.uuid(), state.now()).await?;
        let event = requested(id, (&quote, &state.terms), twin, command.funding, claim);
        let position = append(state, &key, event, headers).await?;
        (claim.hit, Some(position))
    };
    let purchase = match known.filter(|p| p.state != Stage::Opened) {
        Some(purchase) => Some(purchase),
        None if patience.is_zero() => None,
        None => opened(state, id, patience).await?,
    };
    let (purchase, email) = (purchase.as_ref(), command.email);
    answer(state, id, purchase, email, hit, position.as_ref()).await
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

pub(crate) async fn twin_of(state: &ApiState, user: UserId) -> Result<TwinId, Problem> {
    match users::twin(state, user).await? {
        Twin::Of(twin) => Ok(twin),
        Twin::Making => Err(Problem::new(
            Kind::NoTwinYet,
            "your twin is being made; GET /users/me shows when it is there, then send this command again",
        )
        .with("next", "GET /users/me")),
        Twin::Unregistered => Err(Problem::new(
            Kind::NoTwinYet,
            "you are not registered, so there is no twin to deliver to; POST /users makes one",
        )
        .with("next", "POST /users")),
    }
}

fn requested(
    id: PurchaseId,
    (quote, terms): (&Quote, &Terms),
    twin: TwinId,
    funding: Funding,
    claim: Claim,
) -> PurchaseRequested {
    let (usdc_due, within) = match funding {
        Funding::Card => (None, terms.pay_within),
        Funding::Usdc => (Some(quote.usdc_due), terms.deposit_within),
    };
    let give_up_after = terms.give_up_after.as_millis();
    PurchaseRequested {
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
        funding,
        usdc_due,
        pay_until: Some(claim.at.after(within)),
        give_up_after_ms: Some(i64::try_from(give_up_after).unwrap_or(i64::MAX)),
    }
}

async fn append(
    state: &ApiState,
    key: &Key,
    event: PurchaseRequested,
    headers: &HeaderMap,
) -> Result<Position, Problem> {
    let id = event.purchase_id;
    let append = Append {
        key: id.to_string(),
        id: key.event_id(event.user_id),
        correlation: id.to_string(),
        trace: trace::of(headers),
        time: state.now(),
        event: PurchaseEvent::from(event),
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
        deposit: None,
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
    if stage == Stage::AwaitingDeposit {
        body.deposit = Some(format!("/deposits/instructions?purchase={id}"));
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
