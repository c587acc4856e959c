//! The walk to a twin: activation, accepted terms, twin. Each step is taken only if the chain's
//! finalized state lacks it, so the walk may be begun again from anywhere.

use crate::client::{TfchainClient, block_ref, tft};
use crate::era::{Deadline, TOO_NEAR, mortality, standing};
use crate::keys::{ActivatorKey, ChainKey};
use crate::outcome::meaning;
use crate::port::{ReadError, TwinPlan, TwinProof};
use crate::protocol::{AccountState, Call, Header};
use events::ids::TwinId;
use events::outcome::{Attempt, Find};

/// The grid's terms as its own nodes accept them: the hash is that of the link (MD5, the 32
/// characters that the chain has room for).
const TERMS_LINK: &[u8] = b"http://zos.tf/terms/v0.1";
const TERMS_HASH: &[u8] = b"9021d4dee05a661e2cb6838152c67f25";
/// Activation, terms, twin, and the reading that sees the twin.
const STEPS: usize = 4;

pub(crate) async fn find(
    chain: &TfchainClient,
    plan: &TwinPlan,
    key: &ChainKey,
) -> Find<TwinProof> {
    match look(chain, plan, key).await {
        Ok(found) => found,
        Err(error) => Find::NoAnswer(error.to_string()),
    }
}

async fn look(
    chain: &TfchainClient,
    plan: &TwinPlan,
    key: &ChainKey,
) -> Result<Find<TwinProof>, ReadError> {
    let state = chain.account(&key.account_id(), None).await?;
    if let Some(proof) = proof(&state, key) {
        return Ok(Find::Landed(proof));
    }
    Ok(
        match standing(chain, plan.deadline, &block_ref(&state.at)).await? {
            Deadline::Ahead => {
                match mortality(&state.at, plan.deadline, chain.info().await?.block_ms) {
                    Some(_) => Find::Absent,
                    None => Find::Pending(TOO_NEAR.to_owned()),
                }
            }
            Deadline::Closing { last } => {
                Find::Pending(format!("until block {last} a step could still land"))
            }
            Deadline::Closed { last } => Find::NeverWill(format!(
                "no twin by block {last}, the last in which one could be made"
            )),
        },
    )
}

pub(crate) async fn make(
    chain: &TfchainClient,
    plan: &TwinPlan,
    key: &ChainKey,
    activator: &ActivatorKey,
) -> Attempt<TwinProof> {
    let _turn = chain.alone(key.account_id()).await;
    for step in 0..STEPS {
        let state = match chain.account(&key.account_id(), None).await {
            Ok(state) => state,
            // Before the first step nothing has been sent.
            Err(error) if step == 0 => return Attempt::NotSent(error.to_string()),
            Err(error) => return Attempt::NoAnswer(error.to_string()),
        };
        if let Some(proof) = proof(&state, key) {
            return Attempt::Landed(proof);
        }
        let taken = if !activated(&state, plan) {
            activate(chain, plan, key, activator.key()).await
        } else if state.terms_accepted {
            let call = Call::CreateTwin {
                relay: None,
                pk: None,
            };
            send(chain, plan, key, state.nonce, &state.at, call).await
        } else {
            let call = Call::UserAcceptTc {
                document_link: TERMS_LINK.to_vec(),
                document_hash: TERMS_HASH.to_vec(),
            };
            send(chain, plan, key, state.nonce, &state.at, call).await
        };
        if let Err(outcome) = taken {
            return outcome;
        }
    }
    Attempt::Unknown("every step was taken, and the twin does not show yet".to_owned())
}

fn proof(state: &AccountState, key: &ChainKey) -> Option<TwinProof> {
    state.twin.map(|twin| TwinProof {
        twin: TwinId(twin),
        account: key.ss58(),
        block: state.at.number,
    })
}

/// An account that has signed before was activated, whatever it has left.
fn activated(state: &AccountState, plan: &TwinPlan) -> bool {
    state.nonce > 0 || tft(state.free) >= plan.activation
}

/// The activator's nonce is the compare-and-swap, so it is read *before* the state that it
/// guards: whoever activated the account since then made this nonce stale.
async fn activate(
    chain: &TfchainClient,
    plan: &TwinPlan,
    key: &ChainKey,
    activator: &ChainKey,
) -> Result<(), Attempt<TwinProof>> {
    let _turn = chain.alone(activator.account_id()).await;
    let unread = |error: ReadError| Attempt::NotSent(error.to_string());
    let payer = chain
        .account(&activator.account_id(), None)
        .await
        .map_err(unread)?;
    let state = chain
        .account(&key.account_id(), None)
        .await
        .map_err(unread)?;
    if state.at.number < payer.at.number {
        return Err(Attempt::NotSent(
            "two nodes of TFChain answered, and the second one lags".to_owned(),
        ));
    }
    if activated(&state, plan) {
        return Ok(());
    }
    if tft(payer.free) < plan.activation {
        return Err(Attempt::NotSent(format!(
            "the activator {} holds {} TFT alone",
            activator.ss58(),
            tft(payer.free)
        )));
    }
    let value = u128::from(plan.activation.minor().unsigned_abs());
    let call = Call::TransferKeepAlive {
        dest: key.account_id(),
        value,
    };
    send(chain, plan, activator, payer.nonce, &payer.at, call).await
}

async fn send(
    chain: &TfchainClient,
    plan: &TwinPlan,
    key: &ChainKey,
    nonce: u32,
    birth: &Header,
    call: Call,
) -> Result<(), Attempt<TwinProof>> {
    let unread = |error: ReadError| Attempt::NotSent(error.to_string());
    let block_ms = chain.info().await.map_err(unread)?.block_ms;
    let Some(era) = mortality(birth, plan.deadline, block_ms) else {
        return Err(Attempt::NotSent(TOO_NEAR.to_owned()));
    };
    let extrinsic = chain
        .sign(key, nonce, era, birth, call)
        .await
        .map_err(unread)?;
    tracing::debug!(request = %plan.request, account = %key.ss58(), nonce, "submitting a step to a twin");
    chain
        .submit(&extrinsic)
        .await
        .map(drop)
        .map_err(|answer| meaning(&answer))
}
