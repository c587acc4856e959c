//! Refunds that operators order, and what refunds made elsewhere have cost.

use crate::ids::PurchaseId;
use crate::money::Fiat;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Operators have the charge of a purchase go back that is not delivered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundOrdered {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who asked and who agreed.
    pub by: String,
    /// When.
    pub ordered_at: Timestamp,
}

/// What was delivered is no longer paid for, or a bank took back what was not; the sum is a loss of
/// ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossBooked {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The PaymentIntent that had paid, pi_….
    pub intent_id: String,
    /// refunded_outside, dispute_lost or both.
    pub reason: String,
    /// What is lost, beyond what was booked before.
    pub amount: Fiat,
}
