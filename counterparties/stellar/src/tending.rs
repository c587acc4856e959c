//! Looking after open lanes: lumens for their fees, and fences.

use crate::ids::{AccountId, PathAsset, SecretKey};
use crate::lanes::LaneKey;
use crate::opening::{OpeningError, run_setup};
use crate::port::Stellar;
use crate::setup::SetupOperation;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Payments in one transaction.
const PAID_AT_ONCE: usize = 100;
/// How long a replica may lag behind what another has shown.
const LAG: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Pays each account so many stroops of lumens from the treasury. Accounts of one transaction are
/// paid together or not at all.
///
/// # Errors
/// [`OpeningError`]; what was paid before stays.
pub async fn top_up(
    stellar: &dyn Stellar,
    treasury: &SecretKey,
    payments: &[(AccountId, i64)],
    passphrase: &str,
) -> Result<(), OpeningError> {
    for some in payments.chunks(PAID_AT_ONCE) {
        let operations: Vec<SetupOperation> = some
            .iter()
            .map(|(to, amount)| SetupOperation::Fund {
                to: to.clone(),
                amount: *amount,
            })
            .collect();
        run_setup(stellar, treasury, &operations, passphrase).await?;
    }
    Ok(())
}

/// How a fence came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fenced {
    /// The number is passed; what bears it and is in no ledger yet never will be.
    Passed,
    /// It had been used or passed before: what became of it is settled already.
    Before,
}

/// Moves a lane to a number, so that no transaction with it or a lower one can land any more. The
/// treasury is the source, so the lane's own queue does not hold it up. Where the transaction
/// with that number lands first, the fence changes nothing.
///
/// # Errors
/// [`OpeningError`].
pub async fn fence(
    stellar: &dyn Stellar,
    treasury: &SecretKey,
    lane: &LaneKey,
    number: i64,
    passphrase: &str,
) -> Result<Fenced, OpeningError> {
    let account = lane.account();
    let missing = || OpeningError::NoTreasury(account.to_string());
    let view = stellar.account(&account).await?.ok_or_else(missing)?;
    if view.sequence >= number {
        return Ok(Fenced::Before);
    }
    run_setup(stellar, treasury, &[lane.bump_to(number)], passphrase).await?;
    // A bump below the current number is a silent no-op, so only the account tells.
    let give_up = Instant::now() + LAG;
    loop {
        let view = stellar.account(&account).await?.ok_or_else(missing)?;
        if view.sequence >= number {
            return Ok(Fenced::Passed);
        }
        if Instant::now() > give_up {
            return Err(OpeningError::NotBumped {
                account: account.to_string(),
                sequence: view.sequence,
                base: number,
            });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What each account lacks of `to` stroops of lumens, for those that hold less than `below`.
/// Accounts that do not exist are left out.
///
/// # Errors
/// [`OpeningError::Read`].
pub async fn lacking(
    stellar: &dyn Stellar,
    accounts: &[AccountId],
    below: i64,
    to: i64,
) -> Result<Vec<(AccountId, i64)>, OpeningError> {
    let mut lacking = Vec::new();
    for account in accounts {
        let Some(view) = stellar.account(account).await? else {
            continue;
        };
        let held = view.balance(&PathAsset::Native);
        if held < below && held < to {
            lacking.push((account.clone(), to - held));
        }
    }
    Ok(lacking)
}
