//! Looking at the chain.

use super::{Chain, Header, Status};
use crate::ledger::account_of;
use crate::metadata;
use crate::runtime::Version;
use crate::runtime::frame_system::Phase;
use crate::runtime::sp_core::crypto::AccountId32;
use crate::runtime::tfchain_runtime::RuntimeEvent;
use crate::state::{Key, double_map, map};
use codec::Decode;
use std::sync::Arc;

/// A block as tests see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Height.
    pub number: u32,
    /// Hash.
    pub hash: [u8; 32],
    /// Unix milliseconds.
    pub timestamp_ms: i64,
}

/// An account as tests see it, at the finalized head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountView {
    /// Next nonce.
    pub nonce: u32,
    /// In 10^-7 TFT.
    pub free: u64,
    /// Whether the terms are accepted.
    pub terms_accepted: bool,
    /// The account's twin.
    pub twin: Option<u32>,
}

impl Chain {
    /// The finalized head.
    #[must_use]
    pub fn finalized(&self) -> Head {
        let number = self.inner.lock().finalized;
        self.at(number)
    }

    /// The best block.
    #[must_use]
    pub fn best(&self) -> Head {
        let number = self.inner.lock().head();
        self.at(number)
    }

    fn at(&self, number: u32) -> Head {
        let inner = self.inner.lock();
        inner.block(number).map_or(
            Head {
                number: 0,
                hash: self.genesis,
                timestamp_ms: 0,
            },
            |block| Head {
                number,
                hash: block.hash,
                timestamp_ms: i64::try_from(block.timestamp_ms).unwrap_or(i64::MAX),
            },
        )
    }

    /// Hash of a block of the best chain.
    #[must_use]
    pub fn hash_of(&self, number: u32) -> Option<[u8; 32]> {
        self.inner.lock().block(number).map(|block| block.hash)
    }

    /// Number of a block that is part of the best chain.
    #[must_use]
    pub fn number_of(&self, hash: [u8; 32]) -> Option<u32> {
        self.inner.lock().by_hash.get(&hash).copied()
    }

    /// Header of a block of the best chain.
    #[must_use]
    pub fn header(&self, number: u32) -> Option<Header> {
        self.inner.lock().block(number).map(|block| block.header)
    }

    /// Transactions of a block, as they were submitted, the inherent first.
    #[must_use]
    pub fn body(&self, number: u32) -> Option<Vec<Vec<u8>>> {
        let inner = self.inner.lock();
        inner.block(number).map(|block| block.extrinsics.clone())
    }

    /// What the blocks of the best chain did, the first one first: of each what happened, and
    /// whether by a transaction or by itself.
    #[must_use]
    pub fn happened(&self) -> Vec<Vec<(Phase, RuntimeEvent)>> {
        let inner = self.inner.lock();
        let blocks = inner.blocks.iter();
        blocks.map(|block| block.happened.clone()).collect()
    }

    /// The runtime that a block has left.
    #[must_use]
    pub fn version(&self, number: u32) -> Option<Version> {
        self.inner.lock().block(number).map(|block| block.version)
    }

    /// Metadata of the runtime that a block has left.
    #[must_use]
    pub fn metadata(&self, number: u32) -> Option<Arc<[u8]>> {
        let version = self.version(number)?;
        let mut inner = self.inner.lock();
        let known = inner
            .metadata
            .entry(version.spec)
            .or_insert_with(|| metadata::encoded(version, self.pace.block_ms()).into());
        Some(Arc::clone(known))
    }

    /// A storage value in a block.
    #[must_use]
    pub fn storage(&self, key: &[u8], number: u32) -> Option<Vec<u8>> {
        let inner = self.inner.lock();
        inner.state.raw_at(key, number).map(<[u8]>::to_vec)
    }

    /// Storage keys with a prefix, after `start`, in a block.
    #[must_use]
    pub fn keys(&self, prefix: &[u8], start: &[u8], count: usize, number: u32) -> Vec<Key> {
        self.inner.lock().state.keys(prefix, start, count, number)
    }

    /// What was said of a transaction after the first `from` statuses; nothing, once it was settled
    /// long ago.
    #[must_use]
    pub fn said(&self, hash: &[u8; 32], from: usize) -> Vec<Status> {
        let inner = self.inner.lock();
        let said = inner.said.get(hash);
        said.map(|said| said.after(from)).unwrap_or_default()
    }

    /// Next nonce of an account, those in the pool counted.
    #[must_use]
    pub fn next_nonce(&self, account: AccountId32) -> u32 {
        let inner = self.inner.lock();
        let nonce = account_of(&inner.state, account, u32::MAX).nonce;
        let waiting = inner.pool.iter().filter(|p| p.account == account).count();
        nonce + u32::try_from(waiting).unwrap_or(0)
    }

    /// Nonce of an account in a block.
    #[must_use]
    pub fn nonce(&self, account: AccountId32, number: u32) -> u32 {
        account_of(&self.inner.lock().state, account, number).nonce
    }

    /// The fee of a transaction, in 10^-7 TFT.
    #[must_use]
    pub const fn fee(&self) -> u64 {
        self.rules.extrinsic_fee
    }

    /// What the bridge keeps of a deposit, in 10^-7 TFT.
    #[must_use]
    pub const fn deposit_fee(&self) -> u64 {
        self.rules.deposit_fee
    }

    /// An account at the finalized head.
    #[must_use]
    pub fn account(&self, account: impl Into<AccountId32>) -> AccountView {
        let account = account.into();
        let inner = self.inner.lock();
        let number = inner.finalized;
        let info = account_of(&inner.state, account, number);
        let terms = map("TfgridModule", "UsersTermsAndConditions", &account);
        let twin = map("TfgridModule", "TwinIdByAccountID", &account);
        AccountView {
            nonce: info.nonce,
            free: u64::try_from(info.data.free).unwrap_or(u64::MAX),
            terms_accepted: inner.state.raw_at(&terms, number).is_some(),
            twin: inner.state.get_at(&twin, number),
        }
    }

    /// The contract of a node and hash at the finalized head.
    #[must_use]
    pub fn contract(&self, node: u32, hash: [u8; 32]) -> Option<u64> {
        let key = double_map(
            "SmartContractModule",
            "ContractIDByNodeIDAndHash",
            &node,
            &hash,
        );
        self.finalized_value(&key)
    }

    /// A storage value at the finalized head.
    #[must_use]
    pub fn finalized_value<T: Decode>(&self, key: &[u8]) -> Option<T> {
        let inner = self.inner.lock();
        inner.state.get_at(key, inner.finalized)
    }
}
