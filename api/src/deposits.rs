//! Paying by USDC: how to, what came, and the credit.

use crate::auth::Caller;
use crate::payments::twin_of;
use crate::ports::DepositPlace;
use crate::problem::{Kind, Problem};
use crate::purchases;
use crate::quotes;
use crate::state::ApiState;
use crate::wait::CaughtUp;
use axum::Json;
use axum::extract::{Query, State};
use events::ids::{QuoteId, TwinId};
use events::money::{Amount, Usdc};
use projections::deposits::Deposit;
use projections::purchases::State as Stage;
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// More are not listed; the latest come first.
const LISTED: i64 = 100;
/// Wallets take the public network for granted.
const PUBLIC: &str = "Public Global Stellar Network ; September 2015";
/// Pixels of a code's module.
const MODULE: u32 = 6;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct For {
    quote: Option<QuoteId>,
    purchase: Option<String>,
}

/// `GET /deposits/instructions`
pub(crate) async fn instructions(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
    Query(wanted): Query<For>,
) -> Result<Json<Value>, Problem> {
    let twin = twin_of(&state, user).await?;
    let mut amount = None;
    let mut until = Value::Null;
    if let Some(id) = &wanted.purchase {
        let purchase = purchases::own(&state, user, id).await?;
        // One that no longer waits is not to be paid again.
        let due = purchase
            .usdc_due
            .filter(|_| matches!(purchase.state, Stage::Opened | Stage::AwaitingDeposit));
        amount =
            Some(due.ok_or_else(|| {
                Problem::field("purchase", "this purchase does not wait for USDC")
            })?);
        until = json!(purchase.fund_until);
    } else if let Some(id) = wanted.quote {
        let quote = quotes::get(&state.pool, user, id).await?.ok_or_else(|| {
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
    let svg = code
        .render::<svg::Color<'_>>()
        .module_dimensions(MODULE, MODULE)
        .build();
    Ok(Json(json!({
        "account": place.account,
        "memo_type": "id",
        "memo": twin.to_string(),
        "muxed_account": (place.muxed)(&place.account, twin.0),
        "asset": { "code": place.asset_code, "issuer": place.asset_issuer },
        "amount": amount.map(|a| a.to_string()),
        "until": until,
        "network_passphrase": place.passphrase,
        "uri": uri,
        "qr_svg": svg,
    })))
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

fn view(d: &Deposit) -> Value {
    json!({
        "id": d.id,
        "from": d.sender,
        "amount": Amount::<Usdc>::from_minor(d.amount).unwrap_or(Amount::ZERO).to_string(),
        "state": d.state,
        "transaction": d.transaction,
        "ledger": d.ledger,
        "closed_at": d.closed_at,
        "returned": Amount::<Usdc>::from_minor(d.returned).unwrap_or(Amount::ZERO).to_string(),
        "return_tx": d.return_tx,
    })
}

/// `GET /deposits`: the caller's credit and what came for their twin.
pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(user): Caller,
    _: CaughtUp,
) -> Result<Json<Value>, Problem> {
    let twin = twin_of(&state, user).await?;
    let credit = projections::credits::get(&state.pool, twin).await?;
    let deposits = projections::deposits::of_twin(&state.pool, twin, LISTED).await?;
    let views: Vec<Value> = deposits.iter().map(view).collect();
    let balance = credit.map_or(Amount::ZERO, |c| c.balance());
    Ok(Json(json!({
        "twin_id": twin,
        "credit": balance.to_string(),
        "deposits": views,
    })))
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
