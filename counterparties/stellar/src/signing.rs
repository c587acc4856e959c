//! Building and signing, offline and deterministic: the same plan gives the same bytes.

use crate::claimable::BalanceId;
use crate::ids::{AccountId, AssetId, InvalidStellarId, PathAsset, SecretKey};
use crate::lanes::{InvalidLane, LaneKey, sequence};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use events::ids::EventId;
use events::money::{Amount, Tft, Usdc};
use sha2::{Digest, Sha256};
use stellar_base::xdr::{self, Limits, WriteXdr};

/// A plan that no transaction can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// An account or asset is not one.
    #[error(transparent)]
    Id(#[from] InvalidStellarId),
    /// The lane's number cannot be.
    #[error(transparent)]
    Lane(#[from] InvalidLane),
    /// A field does not fit what Stellar allows.
    #[error("{0} does not fit a Stellar transaction")]
    TooLarge(&'static str),
}

/// The memo of a lane's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneMemo {
    /// 32 bytes.
    Hash([u8; 32]),
    /// At most 28 bytes of text.
    Text(String),
    /// 32 bytes: the hash of a transaction that is returned.
    Return([u8; 32]),
}

impl LaneMemo {
    /// The SHA-256 of an event's id: what a transaction carries where its memo is free.
    #[must_use]
    pub fn of_event(event: &EventId) -> Self {
        Self::Hash(Sha256::digest(event.as_bytes()).into())
    }
}

/// What the treasury does in a lane's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneOperation {
    /// Buys exactly `dest_amount` for at most `send_max`.
    PathPaymentStrictReceive {
        /// What is spent.
        send_asset: AssetId,
        /// At most this much.
        send_max: Amount<Usdc>,
        /// Who receives.
        destination: AccountId,
        /// What is bought.
        dest_asset: AssetId,
        /// Exactly this much.
        dest_amount: Amount<Tft>,
        /// Intermediate assets.
        path: Vec<PathAsset>,
    },
    /// Pays.
    Payment {
        /// Who receives.
        destination: AccountId,
        /// What.
        asset: PathAsset,
        /// How much, in 10^-7 units.
        amount: i64,
    },
    /// Takes what a claimable balance holds.
    ClaimBalance {
        /// Which.
        balance: BalanceId,
    },
}

/// The transaction of a record, before it is built.
#[derive(Debug, Clone)]
pub struct LanePlan {
    /// The lane: source account of the transaction, pays the fee.
    pub lane: LaneKey,
    /// Its base.
    pub base: i64,
    /// The record's offset.
    pub offset: i64,
    /// maxTime, Unix seconds.
    pub deadline: i64,
    /// Memo.
    pub memo: LaneMemo,
    /// Its one operation; the treasury is its source.
    pub operation: LaneOperation,
    /// Fee of the transaction at most, in stroops.
    pub max_fee: u32,
}

/// A signed transaction, ready to be sent any number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    /// The envelope, XDR in base64.
    pub envelope: String,
    /// Its hash, 64 hex digits.
    pub hash: String,
    /// Source account.
    pub lane: AccountId,
    /// Its sequence number.
    pub sequence: i64,
    /// The lane's base; what is below is not opened.
    pub base: i64,
    /// maxTime, Unix seconds.
    pub deadline: i64,
}

pub(crate) fn bounded<T, U: TryInto<T>>(value: U, what: &'static str) -> Result<T, SignError> {
    value.try_into().map_err(|_| SignError::TooLarge(what))
}

fn body(operation: &LaneOperation) -> Result<xdr::OperationBody, SignError> {
    Ok(match operation {
        LaneOperation::PathPaymentStrictReceive {
            send_asset,
            send_max,
            destination,
            dest_asset,
            dest_amount,
            path,
        } => {
            let path = path
                .iter()
                .map(PathAsset::xdr)
                .collect::<Result<Vec<_>, _>>()?;
            xdr::OperationBody::PathPaymentStrictReceive(xdr::PathPaymentStrictReceiveOp {
                send_asset: send_asset.xdr()?,
                send_max: send_max.minor(),
                destination: destination.muxed(),
                dest_asset: dest_asset.xdr()?,
                dest_amount: dest_amount.minor(),
                path: bounded(path, "the path")?,
            })
        }
        LaneOperation::Payment {
            destination,
            asset,
            amount,
        } => xdr::OperationBody::Payment(xdr::PaymentOp {
            destination: destination.muxed(),
            asset: asset.xdr()?,
            amount: *amount,
        }),
        LaneOperation::ClaimBalance { balance } => balance.claim(),
    })
}

fn memo(memo: &LaneMemo) -> Result<xdr::Memo, SignError> {
    Ok(match memo {
        LaneMemo::Hash(hash) => xdr::Memo::Hash(xdr::Hash(*hash)),
        LaneMemo::Return(hash) => xdr::Memo::Return(xdr::Hash(*hash)),
        LaneMemo::Text(text) => {
            xdr::Memo::Text(bounded(text.as_bytes().to_vec(), "the memo text")?)
        }
    })
}

pub(crate) fn time_bounds(deadline: i64) -> xdr::TimeBounds {
    let max = u64::try_from(deadline.max(1)).unwrap_or(1);
    xdr::TimeBounds {
        min_time: xdr::TimePoint(0),
        max_time: xdr::TimePoint(max),
    }
}

/// Signs with each key and encodes.
pub(crate) fn seal(
    transaction: xdr::Transaction,
    keys: &[&SecretKey],
    passphrase: &str,
) -> Result<(String, String), SignError> {
    let payload = xdr::TransactionSignaturePayload {
        network_id: xdr::Hash(Sha256::digest(passphrase.as_bytes()).into()),
        tagged_transaction: xdr::TransactionSignaturePayloadTaggedTransaction::Tx(
            transaction.clone(),
        ),
    };
    let bytes = payload
        .to_xdr(Limits::none())
        .map_err(|_| SignError::TooLarge("the transaction"))?;
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let signatures = keys
        .iter()
        .map(|key| key.sign(&hash))
        .collect::<Option<Vec<_>>>()
        .ok_or(SignError::TooLarge("a signature"))?;
    let envelope = xdr::TransactionEnvelope::Tx(xdr::TransactionV1Envelope {
        tx: transaction,
        signatures: bounded(signatures, "the number of signatures")?,
    });
    let bytes = envelope
        .to_xdr(Limits::none())
        .map_err(|_| SignError::TooLarge("the envelope"))?;
    Ok((STANDARD.encode(bytes), hex::encode(hash)))
}

/// Builds and signs the transaction of a record.
///
/// # Errors
/// [`SignError`], when the plan does not fit what Stellar allows.
pub fn sign(
    plan: &LanePlan,
    treasury: &SecretKey,
    passphrase: &str,
) -> Result<SignedTransaction, SignError> {
    let sequence = sequence(plan.base, plan.offset)?;
    let lane = plan.lane.account();
    let operation = xdr::Operation {
        source_account: Some(treasury.account().muxed()),
        body: body(&plan.operation)?,
    };
    let transaction = xdr::Transaction {
        source_account: lane.muxed(),
        fee: plan.max_fee,
        seq_num: xdr::SequenceNumber(sequence),
        cond: xdr::Preconditions::V2(xdr::PreconditionsV2 {
            time_bounds: Some(time_bounds(plan.deadline)),
            ledger_bounds: None,
            // Offsets have gaps, and a lane that is not opened refuses.
            min_seq_num: Some(xdr::SequenceNumber(plan.base)),
            min_seq_age: xdr::Duration(0),
            min_seq_ledger_gap: 0,
            extra_signers: xdr::VecM::default(),
        }),
        memo: memo(&plan.memo)?,
        operations: bounded(vec![operation], "the operations")?,
        ext: xdr::TransactionExt::V0,
    };
    let (envelope, hash) = seal(transaction, &[&plan.lane.0, treasury], passphrase)?;
    Ok(SignedTransaction {
        envelope,
        hash,
        lane,
        sequence,
        base: plan.base,
        deadline: plan.deadline,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use super::*;
    use crate::lanes::{LaneName, LaneSeed, base};
    use ed25519_dalek::{Signature, VerifyingKey};
    use xdr::ReadXdr;

    const PASSPHRASE: &str = "Standalone Network ; February 2017";

    fn plan() -> LanePlan {
        let seed: LaneSeed = "22".repeat(32).parse().unwrap();
        let name = LaneName {
            cluster: "c",
            executor: "swaps",
            topic: "purchases",
            partition: 3,
            epoch: 1 << 18,
            index: 1,
        };
        let issuer = SecretKey::from_seed(&[9; 32]).account();
        LanePlan {
            lane: seed.derive(name).unwrap(),
            base: base(1 << 18).unwrap(),
            offset: 41,
            deadline: 1_800_000_000,
            memo: LaneMemo::of_event(&EventId::derive(&["x"])),
            operation: LaneOperation::PathPaymentStrictReceive {
                send_asset: AssetId {
                    code: "USDC".into(),
                    issuer: issuer.clone(),
                },
                send_max: Amount::from_whole(6),
                destination: SecretKey::from_seed(&[1; 32]).account(),
                dest_asset: AssetId {
                    code: "TFT".into(),
                    issuer,
                },
                dest_amount: Amount::from_whole(251),
                path: vec![PathAsset::Native],
            },
            max_fee: 1000,
        }
    }

    #[test]
    fn the_same_plan_gives_the_same_bytes_and_both_signatures_hold() {
        let treasury = SecretKey::from_seed(&[1; 32]);
        let signed = sign(&plan(), &treasury, PASSPHRASE).unwrap();
        assert_eq!(signed, sign(&plan(), &treasury, PASSPHRASE).unwrap());
        assert_eq!(signed.sequence, (1 << 62) + 42);
        let bytes = STANDARD.decode(&signed.envelope).unwrap();
        let xdr::TransactionEnvelope::Tx(envelope) =
            xdr::TransactionEnvelope::from_xdr(bytes, Limits::none()).unwrap()
        else {
            panic!("another envelope")
        };
        let xdr::Preconditions::V2(conditions) = &envelope.tx.cond else {
            panic!("other preconditions")
        };
        assert_eq!(conditions.min_seq_num, Some(xdr::SequenceNumber(1 << 62)));
        assert_eq!(
            conditions.time_bounds.as_ref().unwrap().max_time.0,
            1_800_000_000
        );
        let hash = hex::decode(&signed.hash).unwrap();
        let keys = [plan().lane.account(), treasury.account()];
        assert_eq!(envelope.signatures.len(), 2);
        for (account, signature) in keys.iter().zip(envelope.signatures.iter()) {
            let key: [u8; 32] = account.public_key().unwrap().as_bytes().try_into().unwrap();
            let signature = Signature::from_slice(signature.signature.0.as_slice()).unwrap();
            VerifyingKey::from_bytes(&key)
                .unwrap()
                .verify_strict(&hash, &signature)
                .unwrap();
        }
    }

    #[test]
    fn another_network_or_record_is_another_transaction() {
        let treasury = SecretKey::from_seed(&[1; 32]);
        let first = sign(&plan(), &treasury, PASSPHRASE).unwrap().hash;
        assert_ne!(first, sign(&plan(), &treasury, "another").unwrap().hash);
        assert_ne!(
            first,
            sign(
                &LanePlan {
                    offset: 42,
                    ..plan()
                },
                &treasury,
                PASSPHRASE
            )
            .unwrap()
            .hash
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let treasury = SecretKey::from_seed(&[1; 32]);
        let long = LanePlan {
            memo: LaneMemo::Text("x".repeat(29)),
            ..plan()
        };
        assert_eq!(
            sign(&long, &treasury, PASSPHRASE),
            Err(SignError::TooLarge("the memo text"))
        );
        assert!(
            sign(
                &LanePlan {
                    offset: -1,
                    ..plan()
                },
                &treasury,
                PASSPHRASE
            )
            .is_err()
        );
    }
}
