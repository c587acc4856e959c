//! What an answer to a submission means: one table, held by its test.
//!
//! | answer | hint | why |
//! |---|---|---|
//! | 200 | `Landed`, if its own fields show our hash in a ledger | Horizon answers so only after the ledger |
//! | no connection | `NotSent` | nothing left this machine |
//! | 429 | `NotSent` | turned away before any work |
//! | 400 `tx_insufficient_fee`, `tx_internal_error` | `NotSent` | not queued; accepted later, when there is room. The client raises the fee first, where it may |
//! | 400 `tx_bad_auth`, `tx_bad_auth_extra`, `tx_missing_operation`, `tx_malformed`, `tx_not_supported`, `tx_bad_sponsorship`, `tx_no_source_account`, `tx_insufficient_balance`; `transaction_malformed` | `Misconfigured` | our keys, passphrase or lanes are wrong, or a lane has no lumens: an operator must look, and no purchase is refused for it |
//! | 400 `tx_failed`, `tx_fee_bump_inner_failed` | `Unknown` | applied, and the number is used up; or refused for a signature: the lane's list tells |
//! | 400 `tx_bad_seq`, `tx_bad_min_seq_age_or_gap` | `Unknown` | the number may be ours already, or nothing landed |
//! | 400 `tx_too_late`, `tx_too_early` | `Unknown` | only a ledger closed after maxTime says that it never landed |
//! | 408, 504 | `Unknown` | Horizon is there, the ledger did not tell in time: pending, refused, evicted or landed |
//! | 5xx otherwise, timeout, connection lost | `NoAnswer` | the same, and nobody says so |
//! | anything else | `Unknown` | not in this table; counted in [`unmapped_total`] |
//!
//! After `NotSent` and `Misconfigured` the runtime looks before it sends again, and the same
//! envelope can be applied once only, so no row can make anything happen twice.

use std::sync::atomic::{AtomicU64, Ordering};

/// What an answer to a submission is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// It says that it landed; its own fields prove it.
    Landed,
    /// It did not get into the queue and used up nothing; the same envelope may be sent again.
    NotSent,
    /// It says that our own set-up is wrong: nothing was used up, sending again is in vain until
    /// somebody looks.
    Misconfigured,
    /// Only looking tells.
    Unknown,
    /// Only looking tells, and Horizon itself is in trouble.
    NoAnswer,
}

static UNMAPPED: AtomicU64 = AtomicU64::new(0);
static FOREIGN: AtomicU64 = AtomicU64::new(0);

/// How many answers of this process stood in no row of the table. Anything above zero means
/// that the table needs a row.
#[must_use]
pub fn unmapped_total() -> u64 {
    UNMAPPED.load(Ordering::Relaxed)
}

/// How many times a transaction that is not ours was seen at a number of ours. Anything above
/// zero is an alarm: somebody else signs with a lane's key.
#[must_use]
pub fn foreign_total() -> u64 {
    FOREIGN.load(Ordering::Relaxed)
}

pub(crate) fn count_foreign() {
    FOREIGN.fetch_add(1, Ordering::Relaxed);
    crate::metrics::foreign();
}

/// The table. `status` is HTTP's; `code` the transaction's result code or, where the answer has
/// none, the last part of the problem's type.
#[must_use]
pub fn hint(status: u16, code: Option<&str>) -> Hint {
    match (status, code) {
        (200, _) => Hint::Landed,
        (400, Some("tx_insufficient_fee" | "tx_internal_error")) | (429, _) => Hint::NotSent,
        (
            400,
            Some(
                "tx_bad_auth"
                | "tx_bad_auth_extra"
                | "tx_missing_operation"
                | "tx_insufficient_balance"
                | "tx_no_source_account"
                | "tx_malformed"
                | "tx_not_supported"
                | "tx_bad_sponsorship"
                | "transaction_malformed",
            ),
        ) => Hint::Misconfigured,
        (
            400,
            Some(
                "tx_failed"
                | "tx_fee_bump_inner_failed"
                | "tx_bad_seq"
                | "tx_too_late"
                | "tx_too_early"
                | "tx_bad_min_seq_age_or_gap",
            ),
        )
        | (408 | 504, _) => Hint::Unknown,
        (500..=599, _) => Hint::NoAnswer,
        _ => {
            UNMAPPED.fetch_add(1, Ordering::Relaxed);
            crate::metrics::unmapped();
            tracing::warn!(
                status,
                code,
                "an answer to a submission stands in no row of the outcome table"
            );
            Hint::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        for (status, code, meaning) in [
            (200, None, Hint::Landed),
            (400, Some("tx_failed"), Hint::Unknown),
            (400, Some("tx_fee_bump_inner_failed"), Hint::Unknown),
            (400, Some("tx_bad_seq"), Hint::Unknown),
            (400, Some("tx_bad_min_seq_age_or_gap"), Hint::Unknown),
            (400, Some("tx_too_late"), Hint::Unknown),
            (400, Some("tx_too_early"), Hint::Unknown),
            (400, Some("tx_insufficient_fee"), Hint::NotSent),
            (400, Some("tx_internal_error"), Hint::NotSent),
            (400, Some("tx_bad_auth"), Hint::Misconfigured),
            (400, Some("tx_bad_auth_extra"), Hint::Misconfigured),
            (400, Some("tx_missing_operation"), Hint::Misconfigured),
            (400, Some("tx_malformed"), Hint::Misconfigured),
            (400, Some("tx_not_supported"), Hint::Misconfigured),
            (400, Some("tx_bad_sponsorship"), Hint::Misconfigured),
            (400, Some("tx_insufficient_balance"), Hint::Misconfigured),
            (400, Some("tx_no_source_account"), Hint::Misconfigured),
            (400, Some("transaction_malformed"), Hint::Misconfigured),
            (429, Some("rate_limit_exceeded"), Hint::NotSent),
            (408, None, Hint::Unknown),
            (500, None, Hint::NoAnswer),
            (503, None, Hint::NoAnswer),
            (504, Some("transaction_submission_timeout"), Hint::Unknown),
        ] {
            assert_eq!(hint(status, code), meaning, "{status} {code:?}");
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_unknown_and_counted() {
        let before = unmapped_total();
        assert_eq!(hint(400, Some("tx_of_the_future")), Hint::Unknown);
        assert_eq!(hint(418, None), Hint::Unknown);
        assert!(unmapped_total() >= before + 2);
    }
}
