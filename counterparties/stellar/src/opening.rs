//! Opening lanes, and checking them.
//!
//! An opening that was interrupted is taken up again by running it once more: accounts that are
//! there are not created anew, lanes that stand at their base are not bumped again.

use crate::ids::{AccountId, PathAsset, SecretKey};
use crate::lanes::LaneKey;
use crate::port::{AccountView, ReadError, Stellar};
use crate::setup::{SetupOperation, sign_setup};
use crate::signing::{SignError, SignedTransaction};
use events::money::{Amount, Xlm};
use events::outcome::{Attempt, Find};
use futures::stream::{self, StreamExt, TryStreamExt};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What a new lane is given, in stroops: a reserve of 1 XLM, and fees for thousands of transactions.
const STARTING_BALANCE: i64 = 20_000_000;
/// Below this a lane is about to run dry: a tenth of a lumen above its reserve.
const LOW_BALANCE: i64 = 11_000_000;
/// Accounts created in one transaction.
const CREATED_AT_ONCE: usize = 50;
/// Lanes bumped in one transaction: with the treasury 20 signatures, the most there can be.
const BUMPED_AT_ONCE: usize = 19;
/// Accounts read at the same time.
const READ_AT_ONCE: usize = 16;
/// How long one transaction may take, by the network's clock.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long its outcome is waited for, by ours; longer, so that the network's comes first.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long a replica may lag behind what another has shown.
const LAG: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why lanes are not open.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// Horizon does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A transaction cannot be built.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The account that pays for it does not exist.
    #[error(
        "account {0}, which is to pay for it, does not exist on this network: check its secret and the network"
    )]
    NoTreasury(String),
    /// The lane was used under this base, or beyond it.
    #[error(
        "lane {account} has sequence {sequence}, above {base}: this epoch was used before; open with the next --epoch"
    )]
    Used {
        /// Account.
        account: String,
        /// Its sequence.
        sequence: i64,
        /// The base of the opening.
        base: i64,
    },
    /// The bump is in a ledger, but the lane does not show it.
    #[error("lane {account} has sequence {sequence} after it was bumped to {base}; run it again")]
    NotBumped {
        /// Account.
        account: String,
        /// Its sequence.
        sequence: i64,
        /// The base of the opening.
        base: i64,
    },
    /// A transaction did not land.
    #[error("a set-up transaction did not land: {0}. What was done stays; run it again")]
    NotLanded(String),
}

/// How a lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneReport {
    /// Account.
    pub account: String,
    /// Sequence number last used.
    pub sequence: i64,
    /// Lumens.
    pub balance: Amount<Xlm>,
    /// What is wrong, if anything.
    pub problem: Option<String>,
}

/// Runs an ordinary transaction of `source` to its end, with its next sequence number. It is
/// built anew only when the earlier one is known never to land.
///
/// # Errors
/// [`OpeningError::NotLanded`] when it fails, or three were passed by; [`OpeningError::Read`].
pub async fn run_setup(
    stellar: &dyn Stellar,
    source: &SecretKey,
    operations: &[SetupOperation],
    passphrase: &str,
) -> Result<(), OpeningError> {
    let account = source.account();
    let mut reason = String::new();
    let mut used = 0;
    for _ in 0..3 {
        let view = stellar
            .account(&account)
            .await?
            .ok_or_else(|| OpeningError::NoTreasury(account.to_string()))?;
        let (_, now) = stellar.latest_ledger().await?;
        // A replica that lags would give a number that was used a moment ago.
        let number = view.sequence.max(used) + 1;
        let signed = sign_setup(
            source,
            number,
            operations,
            now.after(DEADLINE).seconds(),
            passphrase,
        )?;
        match drive(stellar, &signed).await? {
            None => return Ok(()),
            Some(why) => reason = why,
        }
        used = number;
    }
    Err(OpeningError::NotLanded(reason))
}

/// Sends it until its outcome is known: `None` when it landed, `Some` when it never will.
async fn drive(
    stellar: &dyn Stellar,
    signed: &SignedTransaction,
) -> Result<Option<String>, OpeningError> {
    let give_up = Instant::now() + PATIENCE;
    let mut said = String::new();
    let mut free = true;
    loop {
        if free {
            match stellar.submit(signed).await {
                Attempt::Landed(_) => return Ok(None),
                Attempt::Refused(refusal) => {
                    return Err(OpeningError::NotLanded(refusal.to_string()));
                }
                Attempt::NotSent(why) | Attempt::Unknown(why) | Attempt::NoAnswer(why) => {
                    said = why;
                }
            }
        }
        free = match stellar.find(signed).await {
            Find::Landed(_) => return Ok(None),
            Find::Refused(refusal) => return Err(OpeningError::NotLanded(refusal.to_string())),
            Find::NeverWill(why) => return Ok(Some(format!("{why} ({said})"))),
            Find::Absent => true,
            Find::Pending(_) | Find::NoAnswer(_) => false,
        };
        if Instant::now() > give_up {
            return Err(OpeningError::NotLanded(format!(
                "{} is still open: {said}",
                signed.hash
            )));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The accounts of lanes, in their order; several are read at the same time.
async fn accounts(
    stellar: &dyn Stellar,
    lanes: &[LaneKey],
) -> Result<Vec<(AccountId, Option<AccountView>)>, ReadError> {
    // Collected first: a stream that borrows from the closure's argument is not `Send`.
    let ids: Vec<AccountId> = lanes.iter().map(LaneKey::account).collect();
    stream::iter(ids)
        .map(|id| async move {
            let view = stellar.account(&id).await?;
            Ok((id, view))
        })
        .buffered(READ_AT_ONCE)
        .try_collect()
        .await
}

/// Creates the lanes that are not there, bumps all to `base` and verifies each. May be run again
/// after it was interrupted.
///
/// # Errors
/// [`OpeningError`]; nothing is to be recorded then.
pub async fn open(
    stellar: &dyn Stellar,
    treasury: &SecretKey,
    lanes: &[LaneKey],
    base: i64,
    passphrase: &str,
) -> Result<(), OpeningError> {
    let (mut missing, mut low) = (Vec::new(), Vec::new());
    for (lane, (account, view)) in lanes.iter().zip(accounts(stellar, lanes).await?) {
        match view {
            None => {
                missing.push(SetupOperation::CreateAccount {
                    account,
                    balance: STARTING_BALANCE,
                });
                low.push(lane);
            }
            Some(view) if view.sequence > base => {
                return Err(OpeningError::Used {
                    account: account.to_string(),
                    sequence: view.sequence,
                    base,
                });
            }
            Some(view) if view.sequence < base => low.push(lane),
            Some(_) => {}
        }
    }
    for batch in missing.chunks(CREATED_AT_ONCE) {
        run_setup(stellar, treasury, batch, passphrase).await?;
    }
    for batch in low.chunks(BUMPED_AT_ONCE) {
        let bumps: Vec<SetupOperation> = batch.iter().map(|lane| lane.bump_to(base)).collect();
        run_setup(stellar, treasury, &bumps, passphrase).await?;
    }
    verify(stellar, lanes, base).await
}

/// Each lane stands exactly at its base. A bump below the current number is a silent no-op, so
/// only the account itself tells.
async fn verify(stellar: &dyn Stellar, lanes: &[LaneKey], base: i64) -> Result<(), OpeningError> {
    let give_up = Instant::now() + LAG;
    loop {
        let mut behind = None;
        for (account, view) in accounts(stellar, lanes).await? {
            let sequence = view.map_or(0, |view| view.sequence);
            let account = account.to_string();
            if sequence > base {
                return Err(OpeningError::Used {
                    account,
                    sequence,
                    base,
                });
            }
            if sequence < base {
                behind = Some((account, sequence));
            }
        }
        let Some((account, sequence)) = behind else {
            return Ok(());
        };
        if Instant::now() > give_up {
            return Err(OpeningError::NotBumped {
                account,
                sequence,
                base,
            });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Checks that `base <= sequence <= base + end_offset + 1` and that each lane can pay fees.
///
/// # Errors
/// [`OpeningError::Read`].
pub async fn check(
    stellar: &dyn Stellar,
    lanes: &[LaneKey],
    base: i64,
    end_offset: i64,
) -> Result<Vec<LaneReport>, OpeningError> {
    let accounts = accounts(stellar, lanes).await?;
    Ok(accounts
        .into_iter()
        .map(|(account, view)| report(&account, view.as_ref(), base, end_offset))
        .collect())
}

fn report(
    account: &AccountId,
    view: Option<&AccountView>,
    base: i64,
    end_offset: i64,
) -> LaneReport {
    let account = account.to_string();
    let Some(view) = view else {
        let problem = Some("there is no such account".to_owned());
        return LaneReport {
            account,
            sequence: 0,
            balance: Amount::ZERO,
            problem,
        };
    };
    let lumens = view.balance(&PathAsset::Native);
    let last = base.saturating_add(end_offset).saturating_add(1);
    let problem = if view.sequence < base {
        Some(format!(
            "sequence {} is below the base {base}: it was not opened",
            view.sequence
        ))
    } else if view.sequence > last {
        Some(format!(
            "sequence {} is beyond the partition's end, {last}: somebody else uses it",
            view.sequence
        ))
    } else if lumens < LOW_BALANCE {
        Some("it holds too few lumens for fees: pay it some".to_owned())
    } else {
        None
    };
    LaneReport {
        account,
        sequence: view.sequence,
        balance: Amount::from_minor(lumens).unwrap_or(Amount::ZERO),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_right_between_its_base_and_the_end_of_its_partition() {
        let account = SecretKey::from_seed(&[1; 32]).account();
        let view = |sequence, lumens| AccountView {
            sequence,
            sequence_ledger: None,
            balances: vec![(PathAsset::Native, lumens)],
            ledger: 7,
        };
        for (sequence, lumens, wrong) in [
            (99, STARTING_BALANCE, Some("below the base")),
            (100, STARTING_BALANCE, None),
            (111, STARTING_BALANCE, None),
            (112, STARTING_BALANCE, Some("beyond the partition's end")),
            (100, LOW_BALANCE - 1, Some("too few lumens")),
        ] {
            let report = report(&account, Some(&view(sequence, lumens)), 100, 10);
            assert_eq!(
                report.problem.is_some(),
                wrong.is_some(),
                "{sequence} {lumens}"
            );
            assert!(
                report
                    .problem
                    .unwrap_or_default()
                    .contains(wrong.unwrap_or_default())
            );
        }
        assert!(report(&account, None, 100, 10).problem.is_some());
    }
}
