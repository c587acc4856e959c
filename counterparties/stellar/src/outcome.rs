//! The one table that says what an answer to a submission means.

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
}

static UNMAPPED: AtomicU64 = AtomicU64::new(0);

/// How many answers no row of the table fitted.
#[must_use]
pub fn unmapped_total() -> u64 {
    UNMAPPED.load(Ordering::Relaxed)
}

/// The table. `status` is HTTP's, `code` the transaction's result code where the answer has one.
#[must_use]
pub fn hint(status: u16, code: Option<&str>) -> Hint {
    match (status, code) {
        (200, _) => Hint::Landed,
        // Refused before it was queued, and would be accepted later.
        (400, Some("tx_insufficient_fee" | "tx_internal_error")) | (429, _) => Hint::NotSent,
        (
            400,
            Some(
                "tx_bad_auth" | "tx_bad_auth_extra" | "tx_missing_operation" | "tx_insufficient_balance" | "tx_no_source_account"
                | "tx_malformed" | "tx_not_supported" | "tx_bad_sponsorship",
            ),
        ) => Hint::Misconfigured,
        // Failed when applied (the number is used up), somebody has our number, too late or too
        // early, or nobody knows yet: the lane's own list tells.
        (
            400,
            Some(
                "tx_failed" | "tx_fee_bump_inner_failed" | "tx_bad_seq" | "tx_too_late" | "tx_too_early" | "tx_bad_min_seq_age_or_gap",
            ),
        )
        | (408 | 500..=599, _) => Hint::Unknown,
        _ => {
            UNMAPPED.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(status, code, "an answer to a submission that no row of the table fits");
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
            (400, Some("tx_too_late"), Hint::Unknown),
            (400, Some("tx_too_early"), Hint::Unknown),
            (400, Some("tx_insufficient_fee"), Hint::NotSent),
            (400, Some("tx_internal_error"), Hint::NotSent),
            (400, Some("tx_bad_auth"), Hint::Misconfigured),
            (400, Some("tx_insufficient_balance"), Hint::Misconfigured),
            (400, Some("tx_no_source_account"), Hint::Misconfigured),
            (429, None, Hint::NotSent),
            (500, None, Hint::Unknown),
            (503, None, Hint::Unknown),
            (504, None, Hint::Unknown),
        ] {
            assert_eq!(hint(status, code), meaning, "{status} {code:?}");
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_unknown_and_counted() {
        let before = unmapped_total();
        assert_eq!(hint(400, Some("tx_of_the_future")), Hint::Unknown);
        assert_eq!(hint(418, None), Hint::Unknown);
        assert_eq!(unmapped_total(), before + 2);
    }
}
