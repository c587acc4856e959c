//! The walk to a twin: activation, accepted terms, twin. Each step is taken only if the chain's
//! finalized state lacks it, so the walk may be begun again from anywhere.

use crate::activations::{activate, activated};
use crate::client::{AccountState, TfchainClient};
use crate::era::{Deadline, TOO_NEAR, mortality, standing};
use crate::keys::{ActivatorKey, ChainKey};
use crate::node::NodeClient;
use crate::outcome::meaning;
use crate::port::{ReadError, TwinPlan, TwinProof};
use crate::shapes::{CreateTwin, Named, UserAcceptTc};
use events::outcome::{Attempt, Find};
use subxt::ext::scale_encode::EncodeAsFields;

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
    let state = chain.account(&key.account_id()).await?;
    if let Some(proof) = proof(chain, &state, key).await? {
        return Ok(Find::Landed(proof));
    }
    let block_ms = NodeClient::block_ms(&state.view)?;
    Ok(
        match standing(chain, plan.deadline, &state.at, block_ms).await? {
            Deadline::Ahead => match mortality(&state.at, plan.deadline, block_ms) {
                Some(_) => Find::Absent,
                None => Find::Pending(TOO_NEAR.to_owned()),
            },
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
        let taken = match next_step(chain, plan, key, activator).await {
            Ok(taken) => taken,
            // Before the first step nothing has been sent.
            Err(error) if step == 0 => return Attempt::NotSent(error.to_string()),
            Err(error) => return Attempt::NoAnswer(error.to_string()),
        };
        match taken {
            Ok(Some(proof)) => return Attempt::Landed(proof),
            Ok(None) => {}
            Err(outcome) => return outcome,
        }
    }
    Attempt::Unknown("every step was taken, and the twin does not show yet".to_owned())
}

/// Takes the step that the chain's state lacks; gives the twin when it lacks none.
async fn next_step(
    chain: &TfchainClient,
    plan: &TwinPlan,
    key: &ChainKey,
    activator: &ActivatorKey,
) -> Result<Result<Option<TwinProof>, Attempt<TwinProof>>, ReadError> {
    let state = chain.account(&key.account_id()).await?;
    if let Some(proof) = proof(chain, &state, key).await? {
        return Ok(Ok(Some(proof)));
    }
    let taken = if !activated(&state, plan) {
        activate(chain, plan, key, activator).await
    } else if chain.accepted_at(&state.view, &key.account_id()).await? {
        let call = CreateTwin {
            relay: None,
            pk: None,
        };
        send(chain, plan, key, &state, call).await
    } else {
        let call = UserAcceptTc {
            document_link: TERMS_LINK.to_vec(),
            document_hash: TERMS_HASH.to_vec(),
        };
        send(chain, plan, key, &state, call).await
    };
    Ok(taken.map(|()| None))
}

async fn proof(
    chain: &TfchainClient,
    state: &AccountState,
    key: &ChainKey,
) -> Result<Option<TwinProof>, ReadError> {
    let twin = chain.twin_at(&state.view, &key.account_id()).await?;
    Ok(twin.map(|twin| TwinProof {
        twin,
        account: key.ss58(),
        block: state.at.number,
    }))
}

/// Signs a step to a twin with the nonce of `state`, and waits until it is in a finalized block.
pub(crate) async fn send<C: Named + EncodeAsFields>(
    chain: &TfchainClient,
    plan: &TwinPlan,
    key: &ChainKey,
    state: &AccountState,
    call: C,
) -> Result<(), Attempt<TwinProof>> {
    let unread = |error: ReadError| Attempt::NotSent(error.to_string());
    let block_ms = NodeClient::block_ms(&state.view).map_err(unread)?;
    let Some(period) = mortality(&state.at, plan.deadline, block_ms) else {
        return Err(Attempt::NotSent(TOO_NEAR.to_owned()));
    };
    let signed = chain.sign(key, state, period, call).map_err(unread)?;
    tracing::debug!(
        request = %plan.request,
        account = %key.ss58(),
        nonce = state.nonce,
        transaction = signed.hash(),
        call = C::NAME,
        "submitting a step to a twin"
    );
    chain
        .submit(&signed)
        .await
        .map(drop)
        .map_err(|answer| meaning(&answer))
}
