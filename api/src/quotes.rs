//! Quotes: what an amount of TFT would cost now. Offers, not facts; they live in a table.

use crate::auth::{Caller, Reader};
use crate::body::Command;
use crate::contract::{Routes, one_of};
use crate::idempotency::{self, Fingerprint, Key};
use crate::market::{self, NoOffer};
use crate::pricing::Terms;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use events::ids::{PurchaseId, QuoteId, UserId};
use events::money::{Amount, Asset, Currency, Fiat, Tft, Usdc};
use events::time::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;
use utoipa_axum::routes;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(create)).routes(routes!(show))
}

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
    /// The terms at the time of the quote, in 1/10,000.
    pub impact_bps: i64,
    pub slippage_bps: i32,
    pub spread_bps: i32,
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
            impact_bps: row.try_get("impact_bps")?,
            slippage_bps: row.try_get("slippage_bps")?,
            spread_bps: row.try_get("spread_bps")?,
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

/// A sum in a currency's minor unit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Charge {
    /// In the currency's minor unit, such as cents.
    minor: i64,
    /// ISO 4217.
    #[schema(schema_with = currencies)]
    currency: &'static str,
}

fn currencies() -> Object {
    one_of(&Currency::ALL.map(Currency::code))
}

/// A charge, as answers show it.
pub(crate) const fn charge(charge: Fiat) -> Charge {
    Charge {
        minor: charge.minor,
        currency: charge.currency.code(),
    }
}

/// What an amount of TFT costs for a while.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quote)]
pub(crate) struct View {
    #[schema(value_type = uuid::Uuid)]
    id: QuoteId,
    /// What arrives at the twin, decimal with seven places.
    tft: String,
    /// What the swap costs now.
    usdc: String,
    /// What the swap may cost at most.
    usdc_cap: String,
    /// What whoever pays by USDC pays.
    usdc_due: String,
    /// What the card is charged.
    charge: Charge,
    /// Assets in between, each `native` or `CODE:ISSUER`.
    path: Vec<String>,
    /// The Stellar ledger that it was read at.
    ledger: i64,
    #[schema(format = DateTime)]
    expires_at: String,
    /// What is bought: what arrives, and the fee.
    swap_tft: String,
    /// USDC for one TFT, ten places, rounded up.
    rate: String,
    /// How far so much at once moves the price, in 1/10,000.
    price_impact_bps: i64,
    /// How far the price may move until the swap, in 1/10,000.
    slippage_bps: i32,
    /// As `usdc_cap`.
    send_max: String,
    fee: Fee,
    spread: Spread,
}

/// What is bought and does not arrive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fee {
    tft: String,
    /// Who keeps it.
    what: &'static str,
}

/// What is charged beyond the price.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Spread {
    /// In 1/10,000.
    bps: i32,
    usdc: Option<String>,
}

/// USDC for one TFT, ten places, rounded up.
fn rate_ceil(usdc: Amount<Usdc>, tft: Amount<Tft>) -> String {
    const PLACES: u128 = 10_000_000_000;
    let wide = |minor: i64| u128::from(minor.unsigned_abs());
    let rate = (wide(usdc.minor()) * PLACES).div_ceil(wide(tft.minor()).max(1));
    format!("{}.{:010}", rate / PLACES, rate % PLACES)
}

impl Quote {
    fn view(&self) -> View {
        let fee = self.swap_tft.checked_sub(self.tft).unwrap_or(Amount::ZERO);
        let spread = u32::try_from(self.spread_bps)
            .ok()
            .and_then(|bps| self.usdc.plus_bps_ceil(bps).ok())
            .and_then(|total| total.checked_sub(self.usdc).ok());
        View {
            id: self.id,
            tft: self.tft.to_string(),
            usdc: self.usdc.to_string(),
            usdc_cap: self.usdc_cap.to_string(),
            usdc_due: self.usdc_due.to_string(),
            charge: charge(self.charge),
            path: self.path.clone(),
            ledger: self.ledger,
            expires_at: self.expires_at.to_string(),
            swap_tft: self.swap_tft.to_string(),
            rate: rate_ceil(self.usdc, self.swap_tft),
            price_impact_bps: self.impact_bps,
            slippage_bps: self.slippage_bps,
            send_max: self.usdc_cap.to_string(),
            fee: Fee {
                tft: fee.to_string(),
                what: "the bridge keeps it",
            },
            spread: Spread {
                bps: self.spread_bps,
                usdc: spread.map(|s| s.to_string()),
            },
        }
    }
}

/// A quote, whoever's it is.
async fn any(pool: &PgPool, id: QuoteId) -> Result<Option<Quote>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM quotes WHERE id = $1")
        .bind(id.uuid())
        .fetch_optional(pool)
        .await
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
                             path, ledger, expires_at, usdc_due, impact_bps, slippage_bps,
                             spread_bps)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT DO NOTHING",
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
    .bind(quote.impact_bps)
    .bind(quote.slippage_bps)
    .bind(quote.spread_bps)
    .execute(pool)
    .await
    .map(|_| ())
}

/// Binds a quote to the purchase that accepts it: a quote is accepted once. Doing it again for
/// the same purchase changes nothing.
///
/// # Errors
/// When another purchase has it, or Postgres does not answer.
pub(crate) async fn bind(
    pool: &PgPool,
    quote: &Quote,
    purchase: PurchaseId,
) -> Result<(), Problem> {
    let bound = sqlx::query(
        "UPDATE quotes SET purchase_id = $2
         WHERE id = $1 AND (purchase_id IS NULL OR purchase_id = $2)",
    )
    .bind(quote.id.uuid())
    .bind(purchase.uuid())
    .execute(pool)
    .await?
    .rows_affected();
    if bound == 1 {
        return Ok(());
    }
    Err(Problem::new(
        Kind::QuoteUsed,
        "another command has accepted this quote, and it holds for one purchase; POST /quotes makes a new one",
    )
    .with("next", "POST /quotes"))
}

/// What is to be priced: exactly one of `tft`, `usdc` and `fiat`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateQuote {
    /// What is to arrive. Decimal, at most seven places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tft: Option<String>,
    /// What may be spent in USDC, the spread included. Decimal, at most seven places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    usdc: Option<String>,
    /// What may be charged, in `currency`. Decimal, with its currency's places at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fiat: Option<String>,
    /// ISO 4217: `USD`, `EUR`, or another that there is a rate for.
    #[serde(default = "usd")]
    currency: String,
}

fn usd() -> String {
    Currency::Usd.code().to_owned()
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Tft(Amount<Tft>),
    Usdc(Amount<Usdc>),
    Fiat(Fiat),
}

impl Wish {
    const fn field(self) -> &'static str {
        match self {
            Self::Tft(_) => "tft",
            Self::Usdc(_) => "usdc",
            Self::Fiat(_) => "fiat",
        }
    }
}

/// Prices an amount of TFT, or says how much a sum buys.
#[utoipa::path(
    post,
    path = "/quotes",
    operation_id = "createQuote",
    params(Key),
    request_body = CreateQuote,
    responses((status = 201, description = "The quote.", body = View))
)]
async fn create(
    State(state): State<ApiState>,
    Caller(user): Caller,
    key: Key,
    Command(command): Command<CreateQuote>,
) -> Result<Response, Problem> {
    let (wish, currency) = checked(&state, &command)?;
    let fingerprint = Fingerprint::of("quotes", &command)?;
    let id = QuoteId::derive(&[&user.to_string(), key.as_str()]);
    let looked = idempotency::look(&state.pool, user, &key, &fingerprint).await?;
    if looked.first.is_some()
        && let Some(quote) = get(&state.pool, user, id).await?
    {
        return Ok(answer(&quote, true));
    }
    let (quoter, terms) = (&*state.quoter, &state.terms);
    let offered = match wish {
        Wish::Tft(tft) => market::exactly(quoter, terms, tft).await,
        Wish::Usdc(budget) => market::within(quoter, terms, budget).await,
        Wish::Fiat(budget) => match terms.budget_floor(budget) {
            Ok(budget) => market::within(quoter, terms, budget).await,
            Err(_) => Err(NoOffer::Overflow),
        },
    };
    let offer = offered.map_err(|why| no_offer(&state, wish, why))?;
    let price = terms
        .price(&offer.quote, currency)
        .map_err(|_| no_offer(&state, wish, NoOffer::Overflow))?;
    let now = state.now();
    let claim = idempotency::claim(&state, user, &key, &fingerprint, id.uuid(), now).await?;
    let bps = |bps: u32| i32::try_from(bps).unwrap_or(i32::MAX);
    let quote = Quote {
        id,
        user,
        tft: offer.tft,
        swap_tft: offer.swap_tft,
        usdc: offer.quote.usdc,
        usdc_cap: price.usdc_cap,
        usdc_due: price.usdc_due,
        charge: price.charge,
        path: offer.quote.path,
        ledger: offer.quote.ledger,
        expires_at: now.after(terms.quote_ttl),
        impact_bps: i64::from(offer.impact_bps),
        slippage_bps: bps(terms.slippage_bps),
        spread_bps: bps(terms.spread_bps),
    };
    keep(&state.pool, &quote).await?;
    // Of two equal commands at once, the one that came first made the offer.
    let kept = get(&state.pool, user, id).await?.unwrap_or(quote);
    Ok(answer(&kept, claim.hit))
}

fn checked(state: &ApiState, command: &CreateQuote) -> Result<(Wish, Currency), Problem> {
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
    let wish = match (&command.tft, &command.usdc, &command.fiat) {
        (Some(tft), None, None) => {
            Wish::Tft(Amount::parse(tft).map_err(|error| Problem::field("tft", error.to_string()))?)
        }
        (None, Some(usdc), None) => Wish::Usdc(
            Amount::parse(usdc).map_err(|error| Problem::field("usdc", error.to_string()))?,
        ),
        (None, None, Some(fiat)) => Wish::Fiat(fiat_of(fiat, currency)?),
        _ => {
            return Err(Problem::field(
                "tft",
                "send exactly one of tft (what is to arrive), usdc or fiat (what it may cost)",
            ));
        }
    };
    let Terms {
        smallest, largest, ..
    } = state.terms;
    match wish {
        Wish::Tft(tft) if tft < smallest || tft > largest => Err(out_of_bounds(state, "tft")),
        Wish::Fiat(charge) if charge.minor < state.terms.minimum_minor(currency) => {
            let least = Fiat {
                minor: state.terms.minimum_minor(currency),
                ..charge
            };
            Err(Problem::field(
                "fiat",
                format!("no card is charged less than {least}"),
            ))
        }
        Wish::Tft(_) | Wish::Usdc(_) | Wish::Fiat(_) => Ok((wish, currency)),
    }
}

/// A sum in a currency's major unit, with no more places than its minor unit has.
fn fiat_of(text: &str, currency: Currency) -> Result<Fiat, Problem> {
    let places = currency.decimals();
    let wrong = || {
        let places = if places == 0 {
            "no places".to_owned()
        } else {
            format!("at most {places} places")
        };
        Problem::field(
            "fiat",
            format!("not an amount: expected a decimal with {places}"),
        )
    };
    // Seven places, as every amount here; the rest must be zero.
    let sum = Amount::<Usdc>::parse(text).map_err(|_| wrong())?.minor();
    let unit = 10_i64.pow(7_u32.saturating_sub(places));
    let minor = sum / unit;
    // Cards of some currencies are charged in steps of more than one minor unit.
    if sum % unit != 0 || minor % currency.step() != 0 {
        return Err(wrong());
    }
    Ok(Fiat { minor, currency })
}

fn out_of_bounds(state: &ApiState, field: &str) -> Problem {
    let Terms {
        smallest, largest, ..
    } = &state.terms;
    Problem::field(
        field,
        format!("between {smallest} and {largest} TFT are sold at once"),
    )
    .with("smallest_tft", smallest.to_string())
    .with("largest_tft", largest.to_string())
    .with("next", "POST /quotes with an amount in between")
}

fn no_offer(state: &ApiState, wish: Wish, why: NoOffer) -> Problem {
    let field = wish.field();
    match why {
        NoOffer::NoMarket => Problem::new(
            Kind::NoPath,
            "nobody sells TFT for USDC at present, not even a little; try again later",
        )
        .with("reason", "no-market")
        .with("next", "POST /quotes again later"),
        NoOffer::TooThin => Problem::new(
            Kind::NoPath,
            "the market does not hold that much TFT at present; ask for less, or again later",
        )
        .with("reason", "too-thin")
        .with("next", "POST /quotes for less"),
        NoOffer::Impact { bps, limit } => Problem::new(
            Kind::PriceImpact,
            format!(
                "so much at once costs {}.{:02} % more for each TFT than a little, and {}.{:02} % is the limit; ask for less, or buy in several purchases",
                bps / 100, bps % 100, limit / 100, limit % 100
            ),
        )
        .with("price_impact_bps", bps)
        .with("limit_bps", limit)
        .with("next", "POST /quotes for less"),
        NoOffer::BudgetTooSmall | NoOffer::BudgetTooLarge => out_of_bounds(state, field),
        NoOffer::Overflow => Problem::field(field, "the amount is too large to be priced")
            .with("next", "POST /quotes for less"),
        NoOffer::Unavailable(cause) => {
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

/// Shows a quote.
#[utoipa::path(
    get,
    path = "/quotes/{id}",
    operation_id = "showQuote",
    params(("id" = uuid::Uuid, Path, description = "The quote.")),
    responses((status = 200, description = "The quote.", body = View))
)]
async fn show(
    State(state): State<ApiState>,
    reader: Reader,
    Path(id): Path<String>,
) -> Result<Json<View>, Problem> {
    let missing = || Problem::new(Kind::NotFound, "you have no quote with this id");
    let id = id.parse().map_err(|_| missing())?;
    let quote = any(&state.pool, id)
        .await?
        .filter(|quote| reader.may_see(quote.user))
        .ok_or_else(missing)?;
    Ok(Json(quote.view()))
}
