//! Quotes: what an amount of TFT would cost now. Offers, not facts; they live in a table.

use crate::auth::Caller;
use crate::body::Command;
use crate::idempotency::{self, Fingerprint, Key};
use crate::ports::QuoteError;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use events::ids::{QuoteId, UserId};
use events::money::{Amount, Asset, Currency, Fiat, Tft, Usdc};
use events::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};

/// A quote as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quote {
    pub id: QuoteId,
    pub user: UserId,
    pub tft: Amount<Tft>,
    pub swap_tft: Amount<Tft>,
    pub usdc: Amount<Usdc>,
    pub usdc_cap: Amount<Usdc>,
    pub usdc_due: Amount<Usdc>,
    pub charge: Fiat,
    pub path: Vec<String>,
    pub ledger: i64,
    pub expires_at: Timestamp,
}

impl FromRow<'_, PgRow> for Quote {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let currency: String = row.try_get("currency")?;
        Ok(Self {
            id: QuoteId::from_uuid(row.try_get("id")?),
            user: UserId::from_uuid(row.try_get("user_id")?),
            tft: amount(row, "tft")?,
            swap_tft: amount(row, "swap_tft")?,
            usdc: amount(row, "usdc")?,
            usdc_cap: amount(row, "usdc_cap")?,
            usdc_due: amount(row, "usdc_due")?,
            charge: Fiat {
                minor: row.try_get("charge_minor")?,
                currency: Currency::parse(&currency).ok_or_else(|| unreadable("currency"))?,
            },
            path: row.try_get("path")?,
            ledger: row.try_get("ledger")?,
            expires_at: Timestamp::from(row.try_get::<DateTime<Utc>, _>("expires_at")?),
        })
    }
}

fn amount<A: Asset>(row: &PgRow, column: &str) -> Result<Amount<A>, sqlx::Error> {
    Amount::from_minor(row.try_get(column)?).map_err(|_| unreadable(column))
}

fn unreadable(column: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: "the value is not one of ours".into(),
    }
}

/// A charge, as answers show it.
pub(crate) fn charge(charge: Fiat) -> Value {
    json!({ "minor": charge.minor, "currency": charge.currency.code() })
}

impl Quote {
    fn view(&self) -> Value {
        json!({
            "id": self.id,
            "tft": self.tft.to_string(),
            "usdc": self.usdc.to_string(),
            "usdc_cap": self.usdc_cap.to_string(),
            "usdc_due": self.usdc_due.to_string(),
            "charge": charge(self.charge),
            "path": self.path,
            "ledger": self.ledger,
            "expires_at": self.expires_at.to_string(),
        })
    }
}

/// The quote, if it is one of this user's.
pub(crate) async fn get(
    pool: &PgPool,
    user: UserId,
    id: QuoteId,
) -> Result<Option<Quote>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM quotes WHERE id = $1 AND user_id = $2")
        .bind(id.uuid())
        .bind(user.uuid())
        .fetch_optional(pool)
        .await
}

async fn keep(pool: &PgPool, quote: &Quote) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO quotes (id, user_id, tft, swap_tft, usdc, usdc_cap, charge_minor, currency,
                             path, ledger, expires_at, usdc_due)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
    )
    .bind(quote.id.uuid())
    .bind(quote.user.uuid())
    .bind(quote.tft.minor())
    .bind(quote.swap_tft.minor())
    .bind(quote.usdc.minor())
    .bind(quote.usdc_cap.minor())
    .bind(quote.charge.minor)
    .bind(quote.charge.currency.code())
    .bind(&quote.path)
    .bind(quote.ledger)
    .bind(quote.expires_at.to_datetime().unwrap_or_default())
    .bind(quote.usdc_due.minor())
    .execute(pool)
    .await
    .map(|_| ())
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateQuote {
    /// Decimal, at most seven places.
    tft: String,
    /// ISO 4217: `USD`, `EUR`, or another that there is a rate for.
    #[serde(default = "usd")]
    currency: String,
}

fn usd() -> String {
    Currency::Usd.code().to_owned()
}

/// `POST /quotes`
pub(crate) async fn create(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    Command(command): Command<CreateQuote>,
) -> Result<Response, Problem> {
    let (tft, currency) = checked(&state, &command)?;
    let fingerprint = Fingerprint::of("quotes", &command)?;
    let id = QuoteId::derive(&[&user.to_string(), key.as_str()]);
    if idempotency::look(&state.pool, user, &key, &fingerprint)
        .await?
        .is_some()
        && let Some(quote) = get(&state.pool, user, id).await?
    {
        return Ok(answer(&quote, true));
    }
    let too_much = |_| Problem::field("tft", "the amount is too large to be priced");
    let swap_tft = state.terms.swap_amount(tft).map_err(too_much)?;
    let market = state.quoter.quote(swap_tft).await.map_err(no_quote)?;
    let price = state.terms.price(&market, currency).map_err(too_much)?;
    let now = state.now();
    let claim = idempotency::claim(&state.pool, user, &key, &fingerprint, id.uuid(), now).await?;
    let quote = Quote {
        id,
        user,
        tft,
        swap_tft,
        usdc: market.usdc,
        usdc_cap: price.usdc_cap,
        usdc_due: price.usdc_due,
        charge: price.charge,
        path: market.path,
        ledger: market.ledger,
        expires_at: now.after(state.terms.quote_ttl),
    };
    keep(&state.pool, &quote).await?;
    // Of two equal commands at once, the one that came first made the offer.
    let kept = get(&state.pool, user, id).await?.unwrap_or(quote);
    Ok(answer(&kept, claim.hit))
}

fn checked(state: &ApiState, command: &CreateQuote) -> Result<(Amount<Tft>, Currency), Problem> {
    let tft = Amount::<Tft>::parse(&command.tft)
        .map_err(|error| Problem::field("tft", error.to_string()))?;
    let (smallest, largest) = (state.terms.smallest, state.terms.largest);
    if tft < smallest || tft > largest {
        return Err(Problem::field(
            "tft",
            format!("between {smallest} and {largest} TFT are sold at once"),
        ));
    }
    let currency = Currency::parse(&command.currency)
        .filter(|currency| state.terms.rate(*currency).is_some())
        .ok_or_else(|| {
            let sold = Currency::ALL.into_iter();
            let sold = sold.filter(|currency| state.terms.rate(*currency).is_some());
            let sold: Vec<&str> = sold.map(Currency::code).collect();
            Problem::field(
                "currency",
                format!("cards are charged in {}", sold.join(", ")),
            )
        })?;
    Ok((tft, currency))
}

fn no_quote(error: QuoteError) -> Problem {
    match error {
        QuoteError::NoPath => Problem::new(Kind::NoPath, error.to_string()),
        QuoteError::Unavailable(cause) => {
            tracing::error!(cause, "the market could not be asked for a quote");
            Problem::new(
                Kind::MarketUnavailable,
                "the market cannot be asked for now; try again later",
            )
        }
    }
}

fn answer(quote: &Quote, hit: bool) -> Response {
    let location = [(header::LOCATION, format!("/quotes/{}", quote.id))];
    idempotency::mark(
        (StatusCode::CREATED, location, Json(quote.view())).into_response(),
        hit,
    )
}

/// `GET /quotes/{id}`
pub(crate) async fn show(
    State(state): State<ApiState>,
    Caller(user): Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let missing = || Problem::new(Kind::NotFound, "you have no quote with this id");
    let id = id.parse().map_err(|_| missing())?;
    let quote = get(&state.pool, user, id).await?.ok_or_else(missing)?;
    Ok(Json(quote.view()))
}
