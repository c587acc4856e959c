//! The port: what Gridway wants of Stellar, whatever serves it.

use crate::claimable::{BalanceId, Window};
use crate::ids::{AccountId, AssetId, PathAsset};
use crate::signing::SignedTransaction;
use async_trait::async_trait;
use events::money::{Amount, Tft, Usdc};
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use serde_json::Value;

/// A transaction that was applied and succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandedTransaction {
    /// Hash, 64 hex digits; of the outer one, if it was wrapped in a fee-bump.
    pub hash: String,
    /// Ledger.
    pub ledger: u32,
    /// When that ledger closed.
    pub closed_at: Timestamp,
    /// Source account.
    pub lane: AccountId,
    /// Its sequence number.
    pub sequence: i64,
    /// Fee charged, in stroops.
    pub fee_charged: i64,
    /// What a path payment really spent, in 10^-7 units; `None` for anything else.
    pub source_amount: Option<i64>,
    /// What a path payment bought, in 10^-7 units; `None` for anything else.
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
    /// Ledger in which the sequence number last changed; `None` if it never did since it was made.
    pub sequence_ledger: Option<u32>,
    /// Asset and amount in 10^-7 units.
    pub balances: Vec<(PathAsset, i64)>,
    /// The last ledger that this Horizon has ingested; 0 where it does not say.
    pub ledger: u32,
}

impl AccountView {
    /// What it holds of an asset, in 10^-7 units.
    #[must_use]
    pub fn balance(&self, asset: &PathAsset) -> i64 {
        self.balances
            .iter()
            .find(|(held, _)| held == asset)
            .map_or(0, |(_, amount)| *amount)
    }
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
    /// When that ledger closed.
    pub created_at: Timestamp,
    /// Fee charged, in stroops.
    pub fee_charged: i64,
    /// The result, XDR in base64.
    pub result: String,
    /// Cursor for paging on.
    pub paging_token: String,
}

/// A payment into or out of an account, with its transaction's memo, source and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentView {
    /// Horizon's operation id.
    pub id: String,
    /// Cursor for paging on.
    pub paging_token: String,
    /// `payment`, `path_payment_strict_receive`, `path_payment_strict_send` or `create_account`.
    pub kind: String,
    /// Hash of its transaction.
    pub transaction_hash: String,
    /// Whether the transaction succeeded.
    pub successful: bool,
    /// When its ledger closed.
    pub created_at: Timestamp,
    /// Who paid.
    pub from: AccountId,
    /// Who received.
    pub to: AccountId,
    /// Id within the receiving account, where a muxed address was paid.
    pub to_muxed_id: Option<u64>,
    /// What arrived. Code *and* issuer count.
    pub asset: PathAsset,
    /// How much arrived, in 10^-7 units.
    pub amount: i64,
    /// `none`, `text`, `id`, `hash` or `return`.
    pub memo_type: String,
    /// The memo as Horizon writes it.
    pub memo: Option<String>,
    /// Source account of the transaction.
    pub source_account: AccountId,
    /// Its sequence number.
    pub sequence: i64,
}

/// Something that was set aside for an account in a claimable balance, with the memo of the
/// transaction that did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimableView {
    /// Horizon's id of the operation that created it.
    pub id: String,
    /// Cursor for paging on.
    pub paging_token: String,
    /// The balance.
    pub balance: BalanceId,
    /// Hash of the transaction.
    pub transaction_hash: String,
    /// Whether the transaction succeeded.
    pub successful: bool,
    /// When its ledger closed.
    pub created_at: Timestamp,
    /// Who set it aside.
    pub from: AccountId,
    /// What. Code *and* issuer count.
    pub asset: PathAsset,
    /// How much, in 10^-7 units.
    pub amount: i64,
    /// When the account may claim it.
    pub claimable: Vec<Window>,
    /// The same as Horizon writes it, JSON.
    pub predicate: String,
    /// `none`, `text`, `id`, `hash` or `return`.
    pub memo_type: String,
    /// The memo as Horizon writes it.
    pub memo: Option<String>,
}

/// A record of a list of what an account was given.
#[derive(Debug, Clone, PartialEq)]
pub enum PaymentRecord {
    /// A payment that was understood.
    Read(Box<PaymentView>),
    /// Something was set aside for it in a claimable balance.
    SetAside(Box<ClaimableView>),
    /// It was not, so it is kept as it came: nothing may be lost because it is strange.
    Unread {
        /// What was wrong with it.
        why: String,
        /// The record.
        raw: Value,
    },
}

/// A page of payments, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct PaymentsPage {
    /// The records, in order.
    pub records: Vec<PaymentRecord>,
    /// Whether there was no room for more.
    pub full: bool,
    /// Where the next page begins: the last record's token, or what was asked with if there is none.
    pub cursor: Option<String>,
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
    async fn quote_strict_receive(
        &self,
        send: &AssetId,
        receive: &AssetId,
        amount: Amount<Tft>,
    ) -> Result<StrictReceiveQuote, QuoteError>;

    /// An account; `None` when there is none.
    async fn account(&self, account: &AccountId) -> Result<Option<AccountView>, ReadError>;

    /// A transaction by its hash; `None` when this Horizon does not know it (yet).
    async fn transaction(&self, hash: &str) -> Result<Option<TransactionView>, ReadError>;

    /// The last ledger that was ingested, with its closing time.
    async fn latest_ledger(&self) -> Result<(u32, Timestamp), ReadError>;

    /// Payments into and out of an account, and claimable balances that it may claim, after
    /// `cursor`, oldest first, of at most `limit` (200) operations.
    async fn payments_after(
        &self,
        account: &AccountId,
        cursor: Option<&str>,
        limit: u8,
    ) -> Result<PaymentsPage, ReadError>;
}
