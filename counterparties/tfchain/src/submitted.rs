//! What is remembered of a transaction, from before it was sent.

use subxt::utils::H256;

/// A transaction that was sent, or was about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Submitted {
    /// Its hash.
    pub hash: H256,
    /// The account's nonce that it uses.
    pub nonce: u32,
    /// The block at which the nonce was read; it stands in none up to this.
    pub birth: u32,
    /// Last block that may hold it.
    pub last: u32,
}
