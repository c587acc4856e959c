//! Events of the `treasury` topic: what our accounts hold, where it crosses what they should.

pub use crate::dead_letters::DeadLetterReleased;
use crate::schema::event_set;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

event_set! {
    /// Any event of the `treasury` topic.
    TreasuryEvent, "treasury", [
        TreasuryBalanceLow,
        TreasuryBalanceRestored,
        DeadLetterReleased,
    ]
}

/// An account of ours holds less than it should; somebody must fund it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreasuryBalanceLow {
    /// What is held and where, such as treasury/USDC; also the record key.
    pub holding: String,
    /// The account, G… on Stellar, SS58 on TFChain.
    pub account: String,
    /// native, CODE:ISSUER, or TFT of TFChain.
    pub asset: String,
    /// What it held. In 10^-7 units.
    pub balance: i64,
    /// The least that it should hold. In 10^-7 units.
    pub threshold: i64,
    /// How often the threshold was crossed so far, this time included.
    pub crossing: i32,
    /// When it was read.
    pub observed_at: Timestamp,
}

/// An account of ours holds enough again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreasuryBalanceRestored {
    /// What is held and where, such as treasury/USDC; also the record key.
    pub holding: String,
    /// The account, G… on Stellar, SS58 on TFChain.
    pub account: String,
    /// native, CODE:ISSUER, or TFT of TFChain.
    pub asset: String,
    /// What it held. In 10^-7 units.
    pub balance: i64,
    /// The least that it should hold. In 10^-7 units.
    pub threshold: i64,
    /// How often the threshold was crossed so far, this time included.
    pub crossing: i32,
    /// When it was read.
    pub observed_at: Timestamp,
}
