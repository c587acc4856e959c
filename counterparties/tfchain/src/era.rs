//! How long a transaction may land, and when it is certain that none of a plan can any more.

use crate::client::TfchainClient;
use crate::port::{BlockRef, ReadError};
use futures::{StreamExt, TryStreamExt, stream};

/// Longest validity in blocks. Bounds what is read back once a deadline has passed; well below
/// the 2400 blocks for which the chain remembers a birth hash.
const LONGEST: u32 = 256;
/// Shortest validity in blocks that Substrate knows.
const SHORTEST: u32 = 4;

/// Headers asked for at once.
const AT_ONCE: usize = 32;

/// Why nothing is signed shortly before a deadline.
pub(crate) const TOO_NEAR: &str = "the deadline is too near to sign anything";

/// Validity, in blocks, of a transaction that is born at `birth` and must not land after
/// `deadline` (Unix seconds), at one block in `block_ms`. `None` when too little time is left.
pub(crate) fn mortality(birth: &BlockRef, deadline: i64, block_ms: u64) -> Option<u32> {
    period(birth.timestamp.0, deadline, block_ms)
}

/// Powers of two, as Substrate's eras are. The last block that may hold the transaction is the
/// one before `birth + period`.
fn period(birth_ms: i64, deadline: i64, block_ms: u64) -> Option<u32> {
    let left = deadline.saturating_mul(1000).saturating_sub(birth_ms);
    let blocks = u64::try_from(left).ok()? / block_ms.max(1);
    let blocks = u32::try_from(blocks).unwrap_or(LONGEST).min(LONGEST);
    (blocks >= SHORTEST).then(|| 1 << blocks.ilog2())
}

/// What the chain's clock says of a deadline.
pub(crate) enum Deadline {
    /// It has not passed at the finalized head.
    Ahead,
    /// It has passed, but a transaction signed before it could still land.
    Closing {
        /// Last block in which one could.
        last: u32,
    },
    /// No transaction signed before it can land any more.
    Closed {
        /// Last block in which one could.
        last: u32,
    },
}

/// Where a deadline (Unix seconds) stands at `head`.
pub(crate) async fn standing(
    chain: &TfchainClient,
    deadline: i64,
    head: &BlockRef,
    block_ms: u64,
) -> Result<Deadline, ReadError> {
    if head.timestamp.0 <= deadline.saturating_mul(1000) {
        return Ok(Deadline::Ahead);
    }
    let after = first_block_at(chain, deadline.saturating_mul(1000), head).await?;
    // Older births than these have expired before the deadline's own block.
    let births = after.saturating_sub(LONGEST)..after;
    let headers = stream::iter(births)
        .map(|number| chain.node().header(number))
        .buffered(AT_ONCE);
    let last = headers
        .try_fold(after, |last, birth| async move {
            let period = period(birth.timestamp.0, deadline, block_ms);
            Ok(last.max(period.map_or(0, |period| birth.number + period)))
        })
        .await?;
    Ok(if head.number >= last {
        Deadline::Closed { last }
    } else {
        Deadline::Closing { last }
    })
}

/// Number of the first block at or after `time_ms`; the head's when there is none before it.
pub(crate) async fn first_block_at(
    chain: &TfchainClient,
    time_ms: i64,
    head: &BlockRef,
) -> Result<u32, ReadError> {
    // From the head backwards, in growing steps: what is asked for is near, and nodes forget the
    // state of old blocks.
    let (mut low, mut high, mut step) = (0, head.number, 1_u32);
    while high > 0 {
        let back = high.saturating_sub(step);
        if chain.node().header(back).await?.timestamp.0 < time_ms {
            low = back + 1;
            break;
        }
        high = back;
        step = step.saturating_mul(2);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if chain.node().header(middle).await?.timestamp.0 >= time_ms {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid_for(left_ms: i64, block_ms: u64) -> Option<u32> {
        let birth = BlockRef {
            number: 1_000,
            hash: String::new(),
            timestamp: events::time::Timestamp(1_000_000 - left_ms),
        };
        mortality(&birth, 1_000, block_ms)
    }

    #[test]
    fn a_transaction_expires_before_the_deadline() {
        assert_eq!(valid_for(600_000, 6_000), Some(64));
        assert_eq!(valid_for(24_000, 6_000), Some(4));
        assert_eq!(valid_for(86_400_000, 6_000), Some(LONGEST));
        assert_eq!(valid_for(i64::MAX - 1_000_000, 1), Some(LONGEST));
    }

    #[test]
    fn nothing_is_signed_when_too_little_time_is_left() {
        for (left, block) in [(23_999, 6_000), (0, 6_000), (-5_000, 6_000), (3, 1), (3, 0)] {
            assert_eq!(valid_for(left, block), None, "{left} ms");
        }
    }
}
