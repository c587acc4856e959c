//! The market on the Horizon stand-in, as the stack needs it.

use crate::StackError;

/// The accounts and assets that a run works with.
pub(crate) struct Market {
    pub(crate) usdc_asset: String,
    pub(crate) tft_asset: String,
    pub(crate) treasury_secret: String,
    pub(crate) bridge_address: String,
    pub(crate) bridge_secret: String,
}

/// Makes it.
pub(crate) async fn seed(_horizon: &str, _passphrase: &str) -> Result<Market, StackError> {
    Err(StackError::Market("not there yet".to_owned()))
}
