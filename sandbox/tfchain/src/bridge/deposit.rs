//! What the bridge makes of a Stellar transaction: pure, and as the real bridge decides.

use serde::Deserialize;
use std::collections::BTreeMap;
use stellar_base::crypto::PublicKey;
use stellar_base::xdr::{
    self, FeeBumpTransactionInnerTx, MuxedAccount, OperationBody, TransactionEnvelope,
    XDRDeserialize,
};

/// A transaction as Horizon lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct TransactionRecord {
    /// 64 hex digits.
    pub hash: String,
    /// Failed ones move nothing.
    pub successful: bool,
    /// `none`, `text`, `id`, `hash` or `return`.
    pub memo_type: String,
    /// The memo; absent for `none`.
    #[serde(default)]
    pub memo: Option<String>,
    /// The whole transaction, XDR in base64.
    pub envelope_xdr: String,
}

/// An asset with its issuer.
#[derive(Debug, Clone)]
pub struct Asset {
    base: stellar_base::asset::Asset,
    xdr: xdr::Asset,
}

impl Asset {
    /// Reads `CODE:ISSUER`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (code, issuer) = text.trim().split_once(':')?;
        let issuer = PublicKey::from_account_id(issuer).ok()?;
        let base = stellar_base::asset::Asset::new_credit(code, issuer).ok()?;
        let xdr = base.to_xdr().ok()?;
        Some(Self { base, xdr })
    }

    /// For building payments.
    #[must_use]
    pub const fn base(&self) -> &stellar_base::asset::Asset {
        &self.base
    }
}

/// What is to be done about a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Ignore(&'static str),
    /// Mint it, if the twin exists.
    Mint {
        /// The twin that the memo names.
        twin: u32,
        /// The whole deposit, in 10^-7.
        amount: u64,
        /// Who paid, should it have to be paid back.
        from: [u8; 32],
    },
    /// Pay it back.
    Refund {
        /// Who paid.
        to: [u8; 32],
        /// The whole deposit, in 10^-7.
        amount: u64,
        /// Why.
        reason: &'static str,
    },
}

/// Decides. `bridge` is the public key of the bridge's account; `fee` in 10^-7.
#[must_use]
pub fn verdict(record: &TransactionRecord, bridge: [u8; 32], asset: &Asset, fee: u64) -> Verdict {
    if !record.successful {
        return Verdict::Ignore("failed");
    }
    let Ok(envelope) = TransactionEnvelope::from_xdr_base64(&record.envelope_xdr) else {
        return Verdict::Ignore("its envelope cannot be read");
    };
    let (source, operations) = match &envelope {
        TransactionEnvelope::TxV0(e) => (e.tx.source_account_ed25519.0, &e.tx.operations),
        TransactionEnvelope::Tx(e) => (key(&e.tx.source_account), &e.tx.operations),
        TransactionEnvelope::TxFeeBump(e) => match &e.tx.inner_tx {
            FeeBumpTransactionInnerTx::Tx(inner) => {
                (key(&inner.tx.source_account), &inner.tx.operations)
            }
        },
    };
    let mut senders: BTreeMap<[u8; 32], u64> = BTreeMap::new();
    for operation in operations.iter() {
        let OperationBody::Payment(payment) = &operation.body else {
            return Verdict::Ignore("it holds an operation other than a payment");
        };
        let from = operation.source_account.as_ref().map_or(source, key);
        if key(&payment.destination) == bridge && from != bridge && payment.asset == asset.xdr {
            let sum = senders.entry(from).or_default();
            *sum = sum.saturating_add(u64::try_from(payment.amount).unwrap_or(0));
        }
    }
    let Some((from, amount)) = senders
        .first_key_value()
        .map(|(from, amount)| (*from, *amount))
    else {
        return Verdict::Ignore("nothing of it is a deposit");
    };
    let refund = |reason| Verdict::Refund {
        to: from,
        amount,
        reason,
    };
    let memo = record.memo.as_deref().unwrap_or_default();
    if senders.len() > 1 {
        return refund("several senders");
    }
    if memo.is_empty() {
        return refund("no memo");
    }
    if record.memo_type == "return" {
        return Verdict::Ignore("a returned payment");
    }
    if amount <= fee {
        return refund("not more than the fee");
    }
    match twin(record, memo) {
        Some(twin) => Verdict::Mint { twin, amount, from },
        None => refund("a memo that names no twin"),
    }
}

/// `twin_<id>`, exactly.
fn twin(record: &TransactionRecord, memo: &str) -> Option<u32> {
    let id = memo
        .strip_prefix("twin_")
        .filter(|_| record.memo_type == "text")?;
    id.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| id.parse().ok())
        .flatten()
}

fn key(account: &MuxedAccount) -> [u8; 32] {
    match account {
        MuxedAccount::Ed25519(key) => key.0,
        MuxedAccount::MuxedEd25519(muxed) => muxed.ed25519.0,
    }
}
