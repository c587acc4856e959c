//! Opening lanes, and checking them.

use crate::ids::{PathAsset, SecretKey};
use crate::lanes::LaneKey;
use crate::port::{ReadError, Stellar};
use crate::signing::{SetupOperation, SignError, sign_setup};
use events::money::{Amount, Xlm};
use events::outcome::Attempt;
use std::time::Duration;

/// What a new lane is given, in stroops: two base reserves and fees for many transactions.
const STARTING_BALANCE: i64 = 20_000_000;
/// Accounts created in one transaction.
const CREATED_AT_ONCE: usize = 50;
/// Lanes bumped in one transaction: with the treasury 20 signatures, the most there can be.
const BUMPED_AT_ONCE: usize = 19;
/// How long one transaction may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// Why lanes are not open.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// Horizon does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A transaction cannot be built.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The treasury's account does not exist.
    #[error("the treasury {0} does not exist on this network: check GRIDWAY_TREASURY_SECRET and the network")]
    NoTreasury(String),
    /// The lane was used under this base, or beyond it.
    #[error("lane {account} has sequence {sequence}, above {base}: this epoch was used before; open with the next --epoch")]
    Used {
        /// Account.
        account: String,
        /// Its sequence.
        sequence: i64,
        /// The base of the opening.
        base: i64,
    },
    /// A transaction did not land.
    #[error("a transaction of the treasury did not land: {0}. What was done stays; run it again")]
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

/// Runs an ordinary transaction of `source` to its end: it is built anew only when the earlier
/// one is known never to land.
///
/// # Errors
/// [`OpeningError::NotLanded`] after three of them; [`OpeningError::Read`].
pub async fn run_setup(
    stellar: &dyn Stellar,
    source: &SecretKey,
    operations: &[SetupOperation],
    passphrase: &str,
) -> Result<(), OpeningError> {
    let mut last = String::new();
    for _ in 0..3 {
        let account = source.account();
        let view = stellar.account(&account).await?.ok_or_else(|| OpeningError::NoTreasury(account.to_string()))?;
        let (_, now) = stellar.latest_ledger().await?;
        let deadline = now.after(DEADLINE).seconds();
        let signed = sign_setup(source, view.sequence + 1, operations, deadline, passphrase)?;
        last = match stellar.submit(&signed).await {
            Attempt::Landed(_) => return Ok(()),
            Attempt::Refused(refusal) => refusal.to_string(),
            Attempt::NotSent(why) | Attempt::Unknown(why) => why,
        };
        // Found by its hash, or its number is known to be gone or too late.
        loop {
            match stellar.transaction(&signed.hash).await? {
                Some(found) if found.successful => return Ok(()),
                Some(found) => return Err(OpeningError::NotLanded(format!("{} failed: {last}", found.hash))),
                None => {}
            }
            let current = stellar.account(&account).await?.map_or(0, |a| a.sequence);
            let (_, closed) = stellar.latest_ledger().await?;
            let gone = current >= signed.sequence || closed.seconds() > deadline;
            if gone && stellar.transaction(&signed.hash).await?.is_none() {
                break;
            }
            if let Attempt::Landed(_) = stellar.submit(&signed).await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Err(OpeningError::NotLanded(last))
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
    for lane in lanes {
        match stellar.account(&lane.account()).await? {
            None => {
                missing.push(SetupOperation::CreateAccount { account: lane.account(), balance: STARTING_BALANCE });
                low.push(lane);
            }
            Some(view) if view.sequence > base => {
                return Err(OpeningError::Used { account: lane.account().to_string(), sequence: view.sequence, base });
            }
            Some(view) if view.sequence < base => low.push(lane),
            Some(_) => {}
        }
    }
    for batch in missing.chunks(CREATED_AT_ONCE) {
        run_setup(stellar, treasury, batch, passphrase).await?;
    }
    for batch in low.chunks(BUMPED_AT_ONCE) {
        let bumps: Vec<SetupOperation> =
            batch.iter().map(|lane| SetupOperation::BumpSequence { account: lane.0.clone(), to: base }).collect();
        run_setup(stellar, treasury, &bumps, passphrase).await?;
    }
    for lane in lanes {
        // A bump below the current number is a silent no-op: only the account itself tells.
        let sequence = stellar.account(&lane.account()).await?.map_or(0, |a| a.sequence);
        if sequence != base {
            return Err(OpeningError::Used { account: lane.account().to_string(), sequence, base });
        }
    }
    Ok(())
}

/// Checks that `base <= sequence <= base + end_offset + 1` and that the lane can pay fees.
///
/// # Errors
/// [`OpeningError::Read`].
pub async fn check(
    stellar: &dyn Stellar,
    lanes: &[LaneKey],
    base: i64,
    end_offset: i64,
) -> Result<Vec<LaneReport>, OpeningError> {
    let mut reports = Vec::with_capacity(lanes.len());
    for lane in lanes {
        let account = lane.account();
        let Some(view) = stellar.account(&account).await? else {
            let problem = Some("there is no such account".to_owned());
            reports.push(LaneReport { account: account.to_string(), sequence: 0, balance: Amount::ZERO, problem });
            continue;
        };
        let lumens = view.balances.iter().find(|(asset, _)| *asset == PathAsset::Native).map_or(0, |(_, n)| *n);
        let problem = if view.sequence < base {
            Some(format!("sequence {} is below the base {base}: it was not opened", view.sequence))
        } else if view.sequence > base.saturating_add(end_offset).saturating_add(1) {
            Some(format!("sequence {} is beyond the partition's end: somebody else uses it", view.sequence))
        } else if lumens < STARTING_BALANCE / 2 {
            Some("it holds too few lumens for fees".to_owned())
        } else {
            None
        };
        let balance = Amount::from_minor(lumens).unwrap_or(Amount::ZERO);
        reports.push(LaneReport { account: account.to_string(), sequence: view.sequence, balance, problem });
    }
    Ok(reports)
}
