//! Paying by USDC: how to, what came, and the credit.

use crate::auth::{Caller, Reader};
use crate::contract::{Routes, common, one_of, query};
use crate::page::{OperationId, Page};
use crate::payments::twin_of;
use crate::ports::DepositPlace;
use crate::problem::{Kind, Problem};
use crate::purchases;
use crate::quotes;
use crate::state::ApiState;
use crate::wait::CaughtUp;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use chrono::{DateTime, Utc};
use events::ids::{QuoteId, TwinId};
use events::money::{Amount, Usdc};
use projections::deposits::{Deposit, State as Progress};
use projections::purchases::State as Stage;
use qrcode::QrCode;
use qrcode::render::svg;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// Wallets take the public network for granted.
const PUBLIC: &str = "Public Global Stellar Network ; September 2015";
/// Pixels of a code's module.
const MODULE: u32 = 6;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_own))
        .routes(routes!(instructions))
}

/// What is to be paid for, if anything is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct For {
    quote: Option<QuoteId>,
    purchase: Option<String>,
}

impl IntoParams for For {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            query(
                "quote",
                "The quote whose amount is to be paid.",
                common::uuid(),
            ),
            query(
                "purchase",
                "The purchase that waits for its USDC.",
                common::uuid(),
            ),
        ]
    }
}

/// How to pay.
#[derive(Serialize, ToSchema)]
struct Instructions {
    /// The account, `G…`.
    account: String,
    #[schema(schema_with = memo_types)]
    memo_type: &'static str,
    /// The twin's id: whose credit the payment becomes.
    memo: String,
    /// Account and memo in one address, `M…`.
    muxed_account: Option<String>,
    asset: AssetView,
    /// What is due, if the question named it.
    amount: Option<String>,
    /// Until when the purchase waits.
    until: Option<DateTime<Utc>>,
    network_passphrase: String,
    /// SEP-7: what a wallet opens.
    uri: String,
    /// The same as a QR code.
    qr_svg: String,
}

/// An asset of Stellar.
#[derive(Serialize, ToSchema)]
#[schema(as = Asset)]
struct AssetView {
    code: String,
    issuer: String,
}

fn memo_types() -> Object {
    one_of(&["id"])
}

fn progress() -> Object {
    one_of(&Progress::ALL.map(Progress::as_str))
}

/// Shows how to pay by USDC: account, memo, muxed address, URI and QR code.
#[utoipa::path(
    get,
    path = "/deposits/instructions",
    operation_id = "showDepositInstructions",
    params(For, CaughtUp),
    responses(
        (status = 200, description = "How to pay.", body = Instructions),
        (status = 404, description = "The caller has no such purchase."),
        (status = 409, description = "The caller has no twin yet."),
    )
)]
async fn instructions(
    State(state): State<ApiState>,
    reader: Reader,
    _: CaughtUp,
    wanted: Result<Query<For>, QueryRejection>,
) -> Result<Json<Instructions>, Problem> {
    let Query(wanted) = wanted.map_err(|rejection| {
        Problem::new(Kind::InvalidField, rejection.body_text())
            .with("next", "take a quote or a purchase by its id, or neither")
    })?;
    let twin = twin_of(&state, reader.user).await?;
    let mut amount = None;
    let mut until = None;
    if let Some(id) = &wanted.purchase {
        let purchase = purchases::own(&state, &reader, id).await?;
        // One that no longer waits is not to be paid again.
        let due = purchase
            .usdc_due
            .filter(|_| matches!(purchase.state, Stage::Opened | Stage::AwaitingDeposit));
        amount =
            Some(due.ok_or_else(|| {
                Problem::field("purchase", "this purchase does not wait for USDC")
            })?);
        until = purchase.fund_until;
    } else if let Some(id) = wanted.quote {
        let quote = quotes::get(&state.pool, reader.user, id).await?;
        let quote = quote.ok_or_else(|| {
            Problem::new(
                Kind::UnknownQuote,
                "you have no quote with this id; POST /quotes makes one",
            )
        })?;
        amount = Some(quote.usdc_due);
    }
    let place = &state.deposits;
    let uri = pay_uri(place, twin, amount);
    let code = QrCode::new(&uri).map_err(|error| {
        tracing::error!(%error, "the payment URI fits into no QR code");
        Problem::new(Kind::Internal, "the QR code could not be drawn")
    })?;
    let qr_svg = code
        .render::<svg::Color<'_>>()
        .module_dimensions(MODULE, MODULE)
        .build();
    Ok(Json(Instructions {
        account: place.account.clone(),
        memo_type: "id",
        memo: twin.to_string(),
        muxed_account: (place.muxed)(&place.account, twin.0),
        asset: AssetView {
            code: place.asset_code.clone(),
            issuer: place.asset_issuer.clone(),
        },
        amount: amount.map(|a| a.to_string()),
        until,
        network_passphrase: place.passphrase.clone(),
        uri,
        qr_svg,
    }))
}

/// SEP-7: what a wallet opens to pay.
fn pay_uri(place: &DepositPlace, twin: TwinId, amount: Option<Amount<Usdc>>) -> String {
    let mut uri = format!("web+stellar:pay?destination={}", place.account);
    let mut add = |name: &str, value: &str| {
        let _ = write!(uri, "&{name}={}", encoded(value));
    };
    if let Some(amount) = amount {
        add("amount", &amount.to_string());
    }
    add("asset_code", &place.asset_code);
    add("asset_issuer", &place.asset_issuer);
    add("memo", &twin.to_string());
    add("memo_type", "MEMO_ID");
    if place.passphrase != PUBLIC {
        add("network_passphrase", &place.passphrase);
    }
    uri
}

/// Percent-encoding of everything that RFC 3986 does not leave as it is.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// A deposit.
#[derive(Serialize, ToSchema)]
#[schema(as = Deposit)]
struct View {
    /// Horizon's id of the operation.
    id: String,
    from: String,
    /// USDC, decimal with seven places.
    amount: String,
    #[schema(schema_with = progress)]
    state: Progress,
    /// Hash of the transaction.
    transaction: String,
    ledger: i64,
    closed_at: Option<DateTime<Utc>>,
    /// What went back.
    returned: String,
    return_tx: Option<String>,
}

/// The caller's credit, and a page of what came for their twin, the latest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Deposits)]
struct OfTwin {
    twin_id: u32,
    /// USDC that was paid and has bought nothing yet.
    credit: String,
    deposits: Vec<View>,
    /// Whether more follow after the last one.
    has_more: bool,
}

fn view(d: &Deposit) -> View {
    let usdc = |minor| Amount::<Usdc>::from_minor(minor).unwrap_or(Amount::ZERO);
    View {
        id: d.id.clone(),
        from: d.sender.clone(),
        amount: usdc(d.amount).to_string(),
        state: d.state,
        transaction: d.transaction.clone(),
        ledger: d.ledger,
        closed_at: d.closed_at,
        returned: usdc(d.returned).to_string(),
        return_tx: d.return_tx.clone(),
    }
}

/// Shows the caller's credit and lists what was paid for their twin, the latest first.
#[utoipa::path(
    get,
    path = "/deposits",
    operation_id = "listDeposits",
    params(Page<OperationId>, CaughtUp),
    responses(
        (status = 200, description = "The credit and a page.", body = OfTwin),
        (status = 409, description = "The caller has no twin yet."),
    )
)]
async fn list_own(
    State(state): State<ApiState>,
    Caller(user): Caller,
    page: Page<OperationId>,
    _: CaughtUp,
) -> Result<Json<OfTwin>, Problem> {
    let twin = twin_of(&state, user).await?;
    let credit = projections::credits::get(&state.pool, twin).await?;
    let after = page.after.as_ref().map(|id| id.0.as_str());
    if let Some(id) = after {
        projections::deposits::get(&state.pool, id)
            .await?
            .filter(|row| row.twin_id == Some(twin))
            .ok_or_else(Page::<OperationId>::no_such_row)?;
    }
    let mut rows = projections::deposits::of_twin(&state.pool, twin, after, page.limit + 1).await?;
    let has_more = page.cut(&mut rows);
    let balance = credit.map_or(Amount::ZERO, |c| c.balance());
    Ok(Json(OfTwin {
        twin_id: twin.0,
        credit: balance.to_string(),
        deposits: rows.iter().map(view).collect(),
        has_more,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(passphrase: &str) -> DepositPlace {
        DepositPlace {
            account: "GA".to_owned(),
            asset_code: "USDC".to_owned(),
            asset_issuer: "GB".to_owned(),
            passphrase: passphrase.to_owned(),
            muxed: |_, _| None,
        }
    }

    #[test]
    fn a_wallet_is_told_everything_that_it_needs() {
        let amount = Amount::from_minor(51_500_001).ok();
        assert_eq!(
            pay_uri(
                &place("Test SDF Network ; September 2015"),
                TwinId(7),
                amount
            ),
            "web+stellar:pay?destination=GA&amount=5.1500001&asset_code=USDC&asset_issuer=GB&memo=7\
             &memo_type=MEMO_ID&network_passphrase=Test%20SDF%20Network%20%3B%20September%202015"
        );
        assert_eq!(
            pay_uri(&place(PUBLIC), TwinId(7), None),
            "web+stellar:pay?destination=GA&asset_code=USDC&asset_issuer=GB&memo=7&memo_type=MEMO_ID"
        );
    }
}
