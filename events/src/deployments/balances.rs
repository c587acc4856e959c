//! What users' accounts on TFChain hold, and how long that pays for their contracts.

use crate::ids::{EventId, UserId};
use crate::money::{Amount, Tft};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// It is to be read what a user's account on TFChain holds, now that its contracts were billed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserBalanceRequested {
    /// The user; also the record key.
    pub user_id: UserId,
    /// What its contracts were billed between the two instants. In 10^-7 units.
    pub spent: Amount<Tft>,
    /// From when on: the last reading that was asked for, or the first contract.
    pub spent_from: Timestamp,
    /// Until when: the bill that gave the occasion.
    pub spent_until: Timestamp,
}

/// What a user's account on TFChain held at the chain's last finalized block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserBalanceObserved {
    /// The user; also the record key.
    pub user_id: UserId,
    /// The `UserBalanceRequested` that this is the outcome of.
    pub request_id: EventId,
    /// What is free; null when it could not be read. In 10^-7 units.
    pub balance: Option<Amount<Tft>>,
    /// When.
    pub observed_at: Timestamp,
}

/// How long a user's account on TFChain pays for its contracts, at what they cost lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserBalanceAssessed {
    /// The user; also the record key.
    pub user_id: UserId,
    /// What the account held. In 10^-7 units.
    pub balance: Amount<Tft>,
    /// What its contracts cost in a day. In 10^-7 units.
    pub spent_per_day: Amount<Tft>,
    /// How long the balance pays for that; null when they cost nothing.
    pub lasts_seconds: Option<i64>,
    /// How long it should last at least.
    pub threshold_seconds: i64,
    /// Whether it lasts for less.
    pub low: bool,
    /// When the balance was read.
    pub observed_at: Timestamp,
}
