//! Reading transaction envelopes: XDR, hashes and signatures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use stellar_base::xdr::{
    AccountId, DecoratedSignature, FeeBumpTransactionInnerTx, Hash, Limits, MuxedAccount,
    Preconditions, PublicKey, ReadXdr, TimeBounds, Transaction, TransactionEnvelope,
    TransactionExt, TransactionSignaturePayload,
    TransactionSignaturePayloadTaggedTransaction as Tagged, Uint256, WriteXdr,
};

/// Raw ed25519 public key of an account.
pub type Key = [u8; 32];

/// A decoded submission: a transaction, perhaps inside a fee-bump.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The envelope as base64 XDR, as it was sent.
    pub envelope_xdr: String,
    /// The transaction itself; that of a fee-bump is its inner one.
    pub tx: Transaction,
    /// Hash of the (inner) transaction.
    pub hash: [u8; 32],
    /// Signatures of the (inner) transaction.
    pub signatures: Vec<DecoratedSignature>,
    /// The fee-bump around it.
    pub bump: Option<Bump>,
}

/// The outer part of a fee-bump.
#[derive(Debug, Clone)]
pub struct Bump {
    /// Who pays.
    pub fee_source: MuxedAccount,
    /// Highest fee in stroops.
    pub fee: i64,
    /// Hash of the outer transaction.
    pub hash: [u8; 32],
    /// Signatures over the outer hash.
    pub signatures: Vec<DecoratedSignature>,
}

impl Submitted {
    /// The hash that the network knows it by: the outer one of a fee-bump.
    pub fn outer_hash(&self) -> [u8; 32] {
        self.bump.as_ref().map_or(self.hash, |bump| bump.hash)
    }

    /// The account whose sequence number it takes.
    pub fn source(&self) -> Key {
        key_of(&self.tx.source_account)
    }

    /// The account that pays the fee.
    pub fn fee_source(&self) -> Key {
        self.bump
            .as_ref()
            .map_or_else(|| self.source(), |bump| key_of(&bump.fee_source))
    }

    /// Operations that the fee counts: a fee-bump is one more.
    pub fn fee_operations(&self) -> i64 {
        i64::try_from(self.tx.operations.len()).unwrap_or(i64::MAX - 1)
            + i64::from(self.bump.is_some())
    }

    /// The highest fee offered, in stroops.
    pub fn max_fee(&self) -> i64 {
        self.bump
            .as_ref()
            .map_or_else(|| i64::from(self.tx.fee), |bump| bump.fee)
    }

    /// Its time bounds, if any.
    pub fn time_bounds(&self) -> Option<&TimeBounds> {
        match &self.tx.cond {
            Preconditions::None => None,
            Preconditions::Time(bounds) => Some(bounds),
            Preconditions::V2(v2) => v2.time_bounds.as_ref(),
        }
    }
}

/// The raw key behind an account, muxed or not.
pub fn key_of(account: &MuxedAccount) -> Key {
    match account {
        MuxedAccount::Ed25519(key) => key.0,
        MuxedAccount::MuxedEd25519(muxed) => muxed.ed25519.0,
    }
}

/// The raw key of an account id.
pub fn key_of_id(account: &AccountId) -> Key {
    let AccountId(PublicKey::PublicKeyTypeEd25519(key)) = account;
    key.0
}

/// The account id of a raw key; its `Display` is the G… address.
pub fn account_id(key: &Key) -> AccountId {
    AccountId(PublicKey::PublicKeyTypeEd25519(Uint256(*key)))
}

/// Id of a network: SHA-256 of its passphrase. The root account's seed as well.
pub fn network_id(passphrase: &str) -> [u8; 32] {
    Sha256::digest(passphrase.as_bytes()).into()
}

/// Public key of the root account of a network.
pub fn root_key(passphrase: &str) -> Key {
    ed25519_dalek::SigningKey::from_bytes(&network_id(passphrase))
        .verifying_key()
        .to_bytes()
}

fn hash_of(network: &[u8; 32], tagged: Tagged) -> Option<[u8; 32]> {
    let payload = TransactionSignaturePayload {
        network_id: Hash(*network),
        tagged_transaction: tagged,
    };
    let bytes = payload.to_xdr(Limits::none()).ok()?;
    Some(Sha256::digest(bytes).into())
}

/// Base64 XDR of a value; empty if it cannot be written, which bounded values never are.
pub fn to_base64(value: &impl WriteXdr) -> String {
    value
        .to_xdr(Limits::none())
        .map(|bytes| STANDARD.encode(bytes))
        .unwrap_or_default()
}

/// Decodes a base64 envelope; `None` if it is malformed.
pub fn decode(envelope_xdr: &str, network: &[u8; 32]) -> Option<Submitted> {
    let bytes = STANDARD.decode(envelope_xdr).ok()?;
    let limits = Limits {
        depth: 100,
        len: 200_000,
    };
    let (tx, signatures, bump) = match TransactionEnvelope::from_xdr(bytes, limits).ok()? {
        TransactionEnvelope::Tx(v1) => (v1.tx, v1.signatures.to_vec(), None),
        TransactionEnvelope::TxV0(v0) => {
            let tx = Transaction {
                source_account: MuxedAccount::Ed25519(v0.tx.source_account_ed25519),
                fee: v0.tx.fee,
                seq_num: v0.tx.seq_num,
                cond: v0
                    .tx
                    .time_bounds
                    .map_or(Preconditions::None, Preconditions::Time),
                memo: v0.tx.memo,
                operations: v0.tx.operations,
                ext: TransactionExt::V0,
            };
            (tx, v0.signatures.to_vec(), None)
        }
        TransactionEnvelope::TxFeeBump(outer) => {
            let hash = hash_of(network, Tagged::TxFeeBump(outer.tx.clone()))?;
            let FeeBumpTransactionInnerTx::Tx(inner) = outer.tx.inner_tx;
            let (fee_source, fee) = (outer.tx.fee_source, outer.tx.fee);
            let bump = Bump {
                fee_source,
                fee,
                hash,
                signatures: outer.signatures.to_vec(),
            };
            (inner.tx, inner.signatures.to_vec(), Some(bump))
        }
    };
    let hash = hash_of(network, Tagged::Tx(tx.clone()))?;
    Some(Submitted {
        envelope_xdr: envelope_xdr.to_owned(),
        tx,
        hash,
        signatures,
        bump,
    })
}

/// Checks signatures over one hash and remembers which were needed.
#[derive(Debug)]
pub struct SignatureCheck<'a> {
    hash: [u8; 32],
    signatures: &'a [DecoratedSignature],
    used: Vec<bool>,
}

impl<'a> SignatureCheck<'a> {
    /// A check of `signatures` over `hash`, none used yet.
    pub fn new(hash: [u8; 32], signatures: &'a [DecoratedSignature]) -> Self {
        Self {
            hash,
            signatures,
            used: vec![false; signatures.len()],
        }
    }

    /// Whether `key` has signed; its signature counts as used.
    pub fn signed_by(&mut self, key: &Key) -> bool {
        for (signature, used) in self.signatures.iter().zip(&mut self.used) {
            if signature.hint.0[..] != key[28..] {
                continue;
            }
            let bytes: Result<[u8; 64], _> = signature.signature.0.as_slice().try_into();
            let (Ok(bytes), Ok(verifier)) = (bytes, VerifyingKey::from_bytes(key)) else {
                continue;
            };
            if *used
                || verifier
                    .verify_strict(&self.hash, &Signature::from_bytes(&bytes))
                    .is_ok()
            {
                *used = true;
                return true;
            }
        }
        false
    }

    /// Whether every signature was needed.
    pub fn all_used(&self) -> bool {
        self.used.iter().all(|used| *used)
    }
}
