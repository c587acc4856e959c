//! The market on the Horizon stand-in, as the stack needs it.

use crate::StackError;

/// The accounts and assets that a run works with.
pub(crate) struct Market {
    pub(crate) usdc_asset: String,
    pub(crate) tft_asset: String,
    pub(crate) treasury_secret: String,
    pub(crate) treasury_address: String,
    pub(crate) funders: String,
    pub(crate) bridge_address: String,
    pub(crate) bridge_secret: String,
}

/// Makes it, in about a second where ledgers close on submission.
pub(crate) async fn seed(horizon: &str, passphrase: &str) -> Result<Market, StackError> {
    let market = sandbox_market::seed(horizon, passphrase)
        .await
        .map_err(|e| StackError::Market(e.to_string()))?;
    Ok(Market {
        usdc_asset: market.usdc.to_string(),
        tft_asset: market.tft.to_string(),
        treasury_secret: market.treasury_secret,
        treasury_address: market.treasury_address,
        funders: market.funders.join(","),
        bridge_address: market.bridge_address,
        bridge_secret: market.bridge_secret,
    })
}
