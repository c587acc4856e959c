//! Activations of accounts, many by one transaction.
//!
//! The activator is one account for everybody, and its nonce admits one transaction until the next
//! is final. So whoever asks while one is on its way goes with the next, together with all others
//! who ask: how long an activation takes does not grow with how many register at once.

use crate::client::{AccountState, TfchainClient};
use crate::era::{TOO_NEAR, mortality};
use crate::guard::call_data;
use crate::keys::{ActivatorKey, ChainKey};
use crate::node::{NodeClient, malformed};
use crate::port::{ReadError, TwinPlan, TwinProof};
use crate::shapes::{Destination, EncodedCall, ForceBatch, TransferKeepAlive};
use crate::twins::send;
use events::money::{Amount, Tft};
use events::outcome::Attempt;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use subxt::utils::AccountId32;

/// Accounts that one transaction activates at most; far below what a block or a batch has room for.
const TOGETHER: usize = 100;
/// Accounts that are read at once.
const AT_ONCE: usize = 16;

/// How the step ended. A step that was taken is seen in the chain's state, not believed.
type Taken = Result<(), Attempt<TwinProof>>;

/// One account that is to be activated.
struct Asked {
    payer: AccountId32,
    account: AccountId32,
    plan: TwinPlan,
    taken: OnceLock<Taken>,
}

impl Asked {
    fn tell(&self, taken: Taken) {
        // Only who has the activator's turn tells, and only those that were told nothing.
        let _ = self.taken.set(taken);
    }
}

/// Those who ask, in the order in which they came.
#[derive(Default)]
pub(crate) struct Activations(Mutex<Vec<Arc<Asked>>>);

/// A place in line, given up when whoever asks goes away.
struct Place<'a> {
    line: &'a Activations,
    asked: Arc<Asked>,
}

impl Activations {
    fn ask(&self, asked: Asked) -> Place<'_> {
        let asked = Arc::new(asked);
        self.0.lock().push(Arc::clone(&asked));
        Place { line: self, asked }
    }

    /// The first in line for this payer, each account once.
    fn next(&self, payer: &AccountId32) -> Vec<Arc<Asked>> {
        let mut accounts = BTreeSet::new();
        let line = self.0.lock();
        line.iter()
            .filter(|asked| asked.payer == *payer && asked.taken.get().is_none())
            .filter(|asked| accounts.insert(asked.account))
            .take(TOGETHER)
            .cloned()
            .collect()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.line.0.lock();
        line.retain(|asked| !Arc::ptr_eq(asked, &self.asked));
    }
}

/// An account that has signed before was activated, whatever it has left.
pub(crate) fn activated(state: &AccountState, plan: &TwinPlan) -> bool {
    state.nonce > 0 || state.free >= plan.activation
}

/// Activates the account, unless it is; with it all others who wait for the same activator.
pub(crate) async fn activate(
    chain: &TfchainClient,
    plan: &TwinPlan,
    key: &ChainKey,
    activator: &ActivatorKey,
) -> Taken {
    let payer = activator.key();
    let place = chain.activations().ask(Asked {
        payer: payer.account_id(),
        account: key.account_id(),
        plan: plan.clone(),
        taken: OnceLock::new(),
    });
    let _turn = chain.alone(payer.account_id()).await;
    loop {
        if let Some(taken) = place.asked.taken.get() {
            return taken.clone();
        }
        let together = chain.activations().next(&payer.account_id());
        match states(chain, payer, &together).await {
            Ok((paying, states)) => pay(chain, payer, &paying, &together, &states).await,
            Err(error) => {
                for asked in &together {
                    asked.tell(Err(Attempt::NotSent(error.to_string())));
                }
            }
        }
    }
}

/// The payer's state and everybody's, at one finalized block. The nonce of that block is the
/// compare-and-swap: whoever activates one of them after it has made this nonce stale.
async fn states(
    chain: &TfchainClient,
    payer: &ChainKey,
    together: &[Arc<Asked>],
) -> Result<(AccountState, Vec<AccountState>), ReadError> {
    let paying = chain.account(&payer.account_id()).await?;
    let reads = together.iter().map(|asked| {
        let (view, account) = (Arc::clone(&paying.view), asked.account);
        async move { chain.account_at(view, &account).await }
    });
    let states = stream::iter(reads.collect::<Vec<_>>())
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok((paying, states))
}

/// Pays those that lack it, by one transaction, and tells each of them how it ended.
async fn pay(
    chain: &TfchainClient,
    payer: &ChainKey,
    paying: &AccountState,
    together: &[Arc<Asked>],
    states: &[AccountState],
) {
    let mut left = paying.free;
    let mut paid: Vec<&Asked> = Vec::new();
    for (asked, state) in together.iter().zip(states) {
        match admitted(&asked.plan, state, paying, left) {
            Ok(Some(rest)) => {
                left = rest;
                paid.push(asked);
            }
            Ok(None) => asked.tell(Ok(())),
            Err(reason) => asked.tell(Err(Attempt::NotSent(match reason {
                Unpaid::TooLate => TOO_NEAR.to_owned(),
                Unpaid::NoMoney => format!(
                    "the activator {} holds {} TFT alone",
                    payer.ss58(),
                    paying.free
                ),
                Unpaid::Unread(error) => error.to_string(),
            }))),
        }
    }
    // The transaction may land no later than the nearest of the deadlines allows.
    let Some(nearest) = paid
        .iter()
        .map(|asked| &asked.plan)
        .min_by_key(|p| p.deadline)
    else {
        return;
    };
    let transfers: Vec<_> = paid.iter().map(|asked| transfer(asked)).collect();
    let taken = match <[_; 1]>::try_from(transfers) {
        Ok([only]) => send(chain, nearest, payer, paying, only).await,
        Err(transfers) => match encoded(paying, &transfers) {
            Ok(batch) => send(chain, nearest, payer, paying, batch).await,
            Err(error) => Err(Attempt::NotSent(error.to_string())),
        },
    };
    for asked in paid {
        asked.tell(taken.clone());
    }
}

/// Why one cannot go along.
enum Unpaid {
    TooLate,
    NoMoney,
    Unread(ReadError),
}

/// What the payer has left when this one is paid, too; `None` when it need not be.
fn admitted(
    plan: &TwinPlan,
    state: &AccountState,
    paying: &AccountState,
    left: Amount<Tft>,
) -> Result<Option<Amount<Tft>>, Unpaid> {
    if activated(state, plan) {
        return Ok(None);
    }
    let block_ms = NodeClient::block_ms(&paying.view).map_err(Unpaid::Unread)?;
    if mortality(&paying.at, plan.deadline, block_ms).is_none() {
        return Err(Unpaid::TooLate);
    }
    let rest = left.checked_sub(plan.activation);
    rest.map(Some).map_err(|_| Unpaid::NoMoney)
}

fn transfer(asked: &Asked) -> TransferKeepAlive {
    TransferKeepAlive {
        dest: Destination::Id(asked.account),
        value: u128::from(asked.plan.activation.minor().unsigned_abs()),
    }
}

/// A transfer that fails holds up none of the others.
fn encoded(
    paying: &AccountState,
    transfers: &[TransferKeepAlive],
) -> Result<ForceBatch, ReadError> {
    let metadata = paying.view.metadata_ref();
    let calls = transfers
        .iter()
        .map(|call| call_data(metadata, call).map(EncodedCall))
        .collect::<Result<_, _>>()
        .map_err(malformed)?;
    Ok(ForceBatch { calls })
}
