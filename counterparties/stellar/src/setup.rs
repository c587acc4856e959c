//! Ordinary transactions: setting things up, and what other people do.

use crate::claimable::{BalanceId, Predicate};
use crate::ids::{AccountId, AssetId, InvalidStellarId, PathAsset, SecretKey};
use crate::signing::{SignError, SignedTransaction, bounded, seal, time_bounds};
use stellar_base::xdr;

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
    /// Takes what a claimable balance holds.
    Claim {
        /// Signs.
        account: SecretKey,
        /// Which.
        balance: BalanceId,
    },
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

/// Something set aside for others, in a claimable balance.
#[derive(Debug, Clone)]
pub struct SetAside {
    /// Signs.
    pub from: SecretKey,
    /// Who may claim it, and when.
    pub claimants: Vec<(AccountId, Predicate)>,
    /// What.
    pub asset: PathAsset,
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
            Self::Claim { account, balance } => (Some(account), balance.claim()),
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
    let body = xdr::OperationBody::Payment(xdr::PaymentOp {
        destination: payment.to.muxed(),
        asset: payment.asset.xdr()?,
        amount: payment.amount,
    });
    single(&payment.from, body, memo, sequence, deadline, passphrase)
}

/// Builds and signs the setting aside of a claimable balance, which names somebody at the
/// claimant's by a memo id.
///
/// # Errors
/// [`SignError`].
pub fn sign_set_aside(
    aside: &SetAside,
    memo: Option<u64>,
    sequence: i64,
    deadline: i64,
    passphrase: &str,
) -> Result<SignedTransaction, SignError> {
    let claimant = |(account, predicate): &(AccountId, Predicate)| {
        Ok(xdr::Claimant::ClaimantTypeV0(xdr::ClaimantV0 {
            destination: account.xdr(),
            predicate: predicate.xdr()?,
        }))
    };
    let claimants: Vec<xdr::Claimant> = aside
        .claimants
        .iter()
        .map(claimant)
        .collect::<Result<_, SignError>>()?;
    let body = xdr::OperationBody::CreateClaimableBalance(xdr::CreateClaimableBalanceOp {
        asset: aside.asset.xdr()?,
        amount: aside.amount,
        claimants: bounded(claimants, "the claimants")?,
    });
    single(&aside.from, body, memo, sequence, deadline, passphrase)
}

/// An ordinary transaction of one operation.
fn single(
    source: &SecretKey,
    body: xdr::OperationBody,
    memo: Option<u64>,
    sequence: i64,
    deadline: i64,
    passphrase: &str,
) -> Result<SignedTransaction, SignError> {
    let operation = xdr::Operation {
        source_account: None,
        body,
    };
    let account = source.account();
    let transaction = xdr::Transaction {
        source_account: account.muxed(),
        fee: 1_000,
        seq_num: xdr::SequenceNumber(sequence),
        cond: xdr::Preconditions::Time(time_bounds(deadline)),
        memo: memo.map_or(xdr::Memo::None, xdr::Memo::Id),
        operations: bounded(vec![operation], "the operations")?,
        ext: xdr::TransactionExt::V0,
    };
    let (envelope, hash) = seal(transaction, &[source], passphrase)?;
    Ok(SignedTransaction {
        envelope,
        hash,
        lane: account,
        sequence,
        base: 0,
        deadline,
    })
}
