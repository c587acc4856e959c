//! Fee-bumps: a signed transaction, unchanged, in an envelope that offers a higher fee.
//!
//! The record's own transaction stays what it is, with its hash and number, so whatever envelope
//! lands, it lands once. The network counts the envelope as one more operation.

use crate::ids::SecretKey;
use crate::signing::{SignError, SignedTransaction};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use stellar_base::xdr::{self, Limits, ReadXdr, WriteXdr};

/// What is read back is our own envelope of one transaction.
const LIMITS: Limits = Limits {
    depth: 100,
    len: 200_000,
};

/// A signed transaction in a fee-bump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeBump {
    /// The envelope, XDR in base64.
    pub envelope: String,
    /// Hash of the outer transaction, 64 hex digits.
    pub hash: String,
    /// The most that it pays, in stroops.
    pub fee: i64,
}

fn strange() -> SignError {
    SignError::TooLarge("the envelope that is to be bumped")
}

fn inner(transaction: &SignedTransaction) -> Result<xdr::TransactionV1Envelope, SignError> {
    let bytes = STANDARD
        .decode(&transaction.envelope)
        .map_err(|_| strange())?;
    match xdr::TransactionEnvelope::from_xdr(bytes, LIMITS) {
        Ok(xdr::TransactionEnvelope::Tx(inner)) => Ok(inner),
        _ => Err(strange()),
    }
}

/// A transaction holds at most 100.
fn count(inner: &xdr::TransactionV1Envelope) -> i64 {
    i64::try_from(inner.tx.operations.len()).unwrap_or(100)
}

/// How many operations a transaction holds.
pub(crate) fn operations(transaction: &SignedTransaction) -> Option<i64> {
    inner(transaction).ok().as_ref().map(count)
}

/// Wraps `transaction` so that `payer` pays at most `stroops_per_operation` for each operation,
/// the envelope counted as one.
///
/// # Errors
/// [`SignError`], when the transaction is none of ours or the fee does not fit.
pub fn fee_bump(
    transaction: &SignedTransaction,
    payer: &SecretKey,
    stroops_per_operation: i64,
    passphrase: &str,
) -> Result<FeeBump, SignError> {
    let inner = inner(transaction)?;
    let fee = stroops_per_operation
        .checked_mul(count(&inner) + 1)
        .filter(|fee| *fee > 0)
        .ok_or(SignError::TooLarge("the fee"))?;
    let outer = xdr::FeeBumpTransaction {
        fee_source: payer.account().muxed(),
        fee,
        inner_tx: xdr::FeeBumpTransactionInnerTx::Tx(inner),
        ext: xdr::FeeBumpTransactionExt::V0,
    };
    let payload = xdr::TransactionSignaturePayload {
        network_id: xdr::Hash(Sha256::digest(passphrase.as_bytes()).into()),
        tagged_transaction: xdr::TransactionSignaturePayloadTaggedTransaction::TxFeeBump(
            outer.clone(),
        ),
    };
    let bytes = payload.to_xdr(Limits::none()).map_err(|_| strange())?;
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let signature = payer
        .sign(&hash)
        .ok_or(SignError::TooLarge("a signature"))?;
    let envelope = xdr::TransactionEnvelope::TxFeeBump(xdr::FeeBumpTransactionEnvelope {
        tx: outer,
        signatures: vec![signature].try_into().map_err(|_| strange())?,
    });
    let bytes = envelope.to_xdr(Limits::none()).map_err(|_| strange())?;
    Ok(FeeBump {
        envelope: STANDARD.encode(bytes),
        hash: hex::encode(hash),
        fee,
    })
}
