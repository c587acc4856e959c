//! The port: what Gridway wants of Stellar, whatever serves it.

use crate::ids::{AccountId, AssetId, PathAsset};
use crate::signing::SignedTransaction;
use async_trait::async_trait;
use events::money::{Amount, Tft, Usdc};
use events::outcome::{Attempt, Find};
use events::time::Timestamp;

/// A transaction that was applied and succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandedTransaction {
    /// Hash, 64 hex digits.
    pub hash: String,
    /// Ledger.
    pub ledger: u32,
    /// Source account.
    pub lane: AccountId,
    /// Its sequence number.
    pub sequence: i64,
    /// Fee charged, in stroops.
    pub fee_charged: i64,
    /// What a path payment really spent, in 10^-7 units.
    pub source_amount: Option<i64>,
    /// What a path payment bought, in 10^-7 units.
    pub dest_amount: Option<i64>,
}

/// What a strict receive would cost now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrictReceiveQuote {
    /// Cost.
    pub source_amount: Amount<Usdc>,
    /// Intermediate assets.
    pub path: Vec<PathAsset>,
    /// Ledger that the quote is of; 0 where Horizon does not say.
    pub ledger: u32,
}

/// Why there is no quote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// The books do not hold that much.
    #[error("there is no path: the order books do not hold that much")]
    NoPath,
    /// Horizon does not answer as it should.
    #[error("Horizon cannot be asked: {0}")]
    Unavailable(String),
}

/// A read that gave no answer to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No answer, or one that says to come back later.
    #[error("Horizon cannot be reached: {0}")]
    Unreachable(String),
    /// An answer that cannot be understood.
    #[error("Horizon's answer cannot be read: {0}")]
    Malformed(String),
}

/// An account as Horizon shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Sequence number last used.
    pub sequence: i64,
    /// Asset (`native` or `CODE:ISSUER`) and amount in 10^-7 units.
    pub balances: Vec<(PathAsset, i64)>,
    /// The last ledger that this Horizon has ingested; 0 where it does not say.
    pub ledger: u32,
}

/// A transaction as Horizon shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionView {
    /// Hash, 64 hex digits.
    pub hash: String,
    /// Hash of the inner transaction of a fee-bump.
    pub inner_hash: Option<String>,
    /// Source account.
    pub source_account: AccountId,
    /// Its sequence number.
    pub sequence: i64,
    /// Whether it succeeded.
    pub successful: bool,
    /// `none`, `text`, `id`, `hash` or `return`.
    pub memo_type: String,
    /// The memo as Horizon writes it.
    pub memo: Option<String>,
    /// Ledger.
    pub ledger: u32,
    /// Fee charged, in stroops.
    pub fee_charged: i64,
    /// The result, XDR in base64.
    pub result: String,
    /// Cursor for paging on.
    pub paging_token: String,
}

/// Stellar.
#[async_trait]
pub trait Stellar: Send + Sync + 'static {
    /// Sends a transaction. An answer is a hint: only one that shows the hash in a ledger says
    /// that it landed, and hardly any says that it never will.
    async fn submit(&self, transaction: &SignedTransaction) -> Attempt<LandedTransaction>;

    /// Looks what became of a transaction.
    async fn find(&self, transaction: &SignedTransaction) -> Find<LandedTransaction>;

    /// What it costs now to receive exactly `amount`.
    async fn quote_strict_receive(&self, send: &AssetId, receive: &AssetId, amount: Amount<Tft>) -> Result<StrictReceiveQuote, QuoteError>;

    /// An account; `None` when there is none.
    async fn account(&self, account: &AccountId) -> Result<Option<AccountView>, ReadError>;

    /// A transaction by its hash; `None` when this Horizon does not know it (yet).
    async fn transaction(&self, hash: &str) -> Result<Option<TransactionView>, ReadError>;

    /// The last ledger that was ingested, with its closing time.
    async fn latest_ledger(&self) -> Result<(u32, Timestamp), ReadError>;
}
