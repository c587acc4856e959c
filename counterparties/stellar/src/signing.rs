//! Building and signing, offline and deterministic: the same plan gives the same bytes.

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

fn bounded<T, U: TryInto<T>>(value: U, what: &'static str) -> Result<T, SignError> {
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

fn time_bounds(deadline: i64) -> xdr::TimeBounds {
    let max = u64::try_from(deadline.max(1)).unwrap_or(1);
    xdr::TimeBounds {
        min_time: xdr::TimePoint(0),
        max_time: xdr::TimePoint(max),
    }
}

/// Signs with each key and encodes.
fn seal(
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

/// An operation of an ordinary transaction: setting things up, not moving people's money.
#[derive(Debug, Clone)]
pub enum SetupOperation {
    /// Creates an account.
    CreateAccount {
        /// Which.
        account: AccountId,
        /// Its lumens, in stroops.
        balance: i64,
    },
    /// Pays lumens from the transaction's source.
    Fund {
        /// Receives.
        to: AccountId,
        /// How many, in stroops.
        amount: i64,
    },
    /// Moves an account's sequence number.
    BumpSequence {
        /// Signs.
        account: SecretKey,
        /// To this number.
        to: i64,
    },
    /// Trusts an asset without limit.
    Trust {
        /// Signs.
        account: SecretKey,
        /// The asset.
        asset: AssetId,
    },
    /// Pays an issued asset.
    Pay(Payment),
    /// Sells `amount` of an asset at `price` = (n, d) units of the other: as a new offer, or in
    /// place of an earlier one (0 takes that away).
    Sell {
        /// Id of the earlier offer; 0 for a new one.
        offer: i64,
        /// Signs.
        account: SecretKey,
        /// What is sold.
        selling: AssetId,
        /// For what.
        buying: AssetId,
        /// How much, in 10^-7 units.
        amount: i64,
        /// Price, n / d.
        price: (i32, i32),
    },
}

/// A payment of an ordinary transaction.
#[derive(Debug, Clone)]
pub struct Payment {
    /// Signs.
    pub from: SecretKey,
    /// Receives.
    pub to: AccountId,
    /// What.
    pub asset: AssetId,
    /// How much, in 10^-7 units.
    pub amount: i64,
}

impl SetupOperation {
    fn parts(&self) -> Result<(Option<&SecretKey>, xdr::OperationBody), SignError> {
        Ok(match self {
            Self::CreateAccount { account, balance } => {
                let create = xdr::CreateAccountOp {
                    destination: account.xdr(),
                    starting_balance: *balance,
                };
                (None, xdr::OperationBody::CreateAccount(create))
            }
            Self::Fund { to, amount } => {
                let payment = xdr::PaymentOp {
                    destination: to.muxed(),
                    asset: xdr::Asset::Native,
                    amount: *amount,
                };
                (None, xdr::OperationBody::Payment(payment))
            }
            Self::BumpSequence { account, to } => (
                Some(account),
                xdr::OperationBody::BumpSequence(xdr::BumpSequenceOp {
                    bump_to: xdr::SequenceNumber(*to),
                }),
            ),
            Self::Trust { account, asset } => {
                let line = match asset.xdr()? {
                    xdr::Asset::Native => return Err(InvalidStellarId::Asset.into()),
                    xdr::Asset::CreditAlphanum4(a) => xdr::ChangeTrustAsset::CreditAlphanum4(a),
                    xdr::Asset::CreditAlphanum12(a) => xdr::ChangeTrustAsset::CreditAlphanum12(a),
                };
                (
                    Some(account),
                    xdr::OperationBody::ChangeTrust(xdr::ChangeTrustOp {
                        line,
                        limit: i64::MAX,
                    }),
                )
            }
            Self::Pay(Payment {
                from,
                to,
                asset,
                amount,
            }) => {
                let payment = xdr::PaymentOp {
                    destination: to.muxed(),
                    asset: asset.xdr()?,
                    amount: *amount,
                };
                (Some(from), xdr::OperationBody::Payment(payment))
            }
            Self::Sell {
                offer,
                account,
                selling,
                buying,
                amount,
                price,
            } => {
                let sale = xdr::ManageSellOfferOp {
                    selling: selling.xdr()?,
                    buying: buying.xdr()?,
                    amount: *amount,
                    price: xdr::Price {
                        n: price.0,
                        d: price.1,
                    },
                    offer_id: *offer,
                };
                (Some(account), xdr::OperationBody::ManageSellOffer(sale))
            }
        })
    }
}

/// Builds and signs an ordinary transaction of `source`; everybody who is named signs, too.
///
/// # Errors
/// [`SignError`].
pub fn sign_setup(
    source: &SecretKey,
    sequence: i64,
    operations: &[SetupOperation],
    deadline: i64,
    passphrase: &str,
) -> Result<SignedTransaction, SignError> {
    let mut keys: Vec<&SecretKey> = vec![source];
    let mut bodies = Vec::with_capacity(operations.len());
    for operation in operations {
        let (signer, body) = operation.parts()?;
        if let Some(signer) = signer
            && keys.iter().all(|k| k.account() != signer.account())
        {
            keys.push(signer);
        }
        bodies.push(xdr::Operation {
            source_account: signer.map(|k| k.account().muxed()),
            body,
        });
    }
    let count: u32 = bounded(bodies.len(), "the operations")?;
    let transaction = xdr::Transaction {
        source_account: source.account().muxed(),
        fee: count.saturating_mul(1_000),
        seq_num: xdr::SequenceNumber(sequence),
        cond: xdr::Preconditions::Time(time_bounds(deadline)),
        memo: xdr::Memo::None,
        operations: bounded(bodies, "the operations")?,
        ext: xdr::TransactionExt::V0,
    };
    let (envelope, hash) = seal(transaction, &keys, passphrase)?;
    Ok(SignedTransaction {
        envelope,
        hash,
        lane: source.account(),
        sequence,
        base: 0,
        deadline,
    })
}

/// Builds and signs a payment that names somebody at the receiver's by a memo id.
///
/// # Errors
/// [`SignError`].
pub fn sign_payment(
    payment: &Payment,
    memo: Option<u64>,
    sequence: i64,
    deadline: i64,
    passphrase: &str,
) -> Result<SignedTransaction, SignError> {
    let operation = xdr::Operation {
        source_account: None,
        body: xdr::OperationBody::Payment(xdr::PaymentOp {
            destination: payment.to.muxed(),
            asset: payment.asset.xdr()?,
            amount: payment.amount,
        }),
    };
    let source = payment.from.account();
    let transaction = xdr::Transaction {
        source_account: source.muxed(),
        fee: 1_000,
        seq_num: xdr::SequenceNumber(sequence),
        cond: xdr::Preconditions::Time(time_bounds(deadline)),
        memo: memo.map_or(xdr::Memo::None, xdr::Memo::Id),
        operations: bounded(vec![operation], "the operations")?,
        ext: xdr::TransactionExt::V0,
    };
    let (envelope, hash) = seal(transaction, &[&payment.from], passphrase)?;
    Ok(SignedTransaction {
        envelope,
        hash,
        lane: source,
        sequence,
        base: 0,
        deadline,
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
