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
use crate::shapes::{Destination, ForceBatch, TransferKeepAlive};
use crate::twins::send;
use events::outcome::Attempt;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use subxt::utils::AccountId32;

/// Accounts that one transaction activates at most; far below what a block or a batch has room for.
const TOGETHER: usize = 100;
/// A transaction that may be valid for so many blocks has time enough to become final.
const LONG: u32 = 16;
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
        match chain.account(&payer.account_id()).await {
            Ok(paying) => {
                let lacking = lacking(chain, &paying, &together).await;
                pay(chain, payer, &paying, lacking).await;
            }
            Err(error) => {
                for asked in &together {
                    asked.tell(Err(Attempt::NotSent(error.to_string())));
                }
            }
        }
    }
}

/// One that lacks activation, and for how many blocks a transaction for it may be valid.
struct Lacks<'a> {
    asked: &'a Asked,
    period: u32,
}

/// Those that lack it at the very block of the payer's state: its nonce is the compare-and-swap, for
/// whoever activates one of them after that block has made this nonce stale. All others are told.
async fn lacking<'a>(
    chain: &TfchainClient,
    paying: &AccountState,
    together: &'a [Arc<Asked>],
) -> Vec<Lacks<'a>> {
    let reads = together.iter().map(|asked| {
        let (view, account) = (Arc::clone(&paying.view), asked.account);
        async move { chain.account_at(view, &account).await }
    });
    let states: Vec<Result<AccountState, ReadError>> = stream::iter(reads.collect::<Vec<_>>())
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut lacking = Vec::new();
    for (asked, state) in together.iter().zip(states) {
        match state.and_then(|state| missing(&asked.plan, &state)) {
            Ok(Missing::Nothing) => asked.tell(Ok(())),
            Ok(Missing::Payment(Some(period))) => lacking.push(Lacks { asked, period }),
            Ok(Missing::Payment(None)) => asked.tell(Err(Attempt::NotSent(TOO_NEAR.to_owned()))),
            Err(error) => asked.tell(Err(Attempt::NotSent(error.to_string()))),
        }
    }
    lacking
}

enum Missing {
    Nothing,
    /// For so many blocks a transaction may be valid; `None`: the deadline is too near for any.
    Payment(Option<u32>),
}

fn missing(plan: &TwinPlan, state: &AccountState) -> Result<Missing, ReadError> {
    if activated(state, plan) {
        return Ok(Missing::Nothing);
    }
    let block_ms = NodeClient::block_ms(&state.view)?;
    let period = mortality(&state.at, plan.deadline, block_ms);
    Ok(Missing::Payment(period))
}

/// Pays them by one transaction, and tells each how it ended. Those whose deadline would make it too
/// short-lived for the others are left for the next one, untold.
async fn pay(
    chain: &TfchainClient,
    payer: &ChainKey,
    paying: &AccountState,
    lacking: Vec<Lacks<'_>>,
) {
    let longest = lacking.iter().map(|lacks| lacks.period).max();
    let long = longest.unwrap_or(0).min(LONG);
    let mut left = paying.free;
    let mut paid: Vec<&Asked> = Vec::new();
    for Lacks { asked, .. } in lacking.iter().filter(|lacks| lacks.period >= long) {
        if let Ok(rest) = left.checked_sub(asked.plan.activation) {
            left = rest;
            paid.push(asked);
        } else {
            let (payer, free) = (payer.ss58(), paying.free);
            let reason = format!("the activator {payer} holds {free} TFT alone");
            asked.tell(Err(Attempt::NotSent(reason)));
        }
    }
    // The transaction may land no later than the nearest of the deadlines allows.
    let plans = paid.iter().map(|asked| &asked.plan);
    let Some(nearest) = plans.min_by_key(|plan| plan.deadline) else {
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
        .map(|call| call_data(metadata, call))
        .collect::<Result<_, _>>()
        .map_err(malformed)?;
    Ok(ForceBatch { calls })
}
