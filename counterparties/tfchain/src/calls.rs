//! The one way of every call about a contract: look, prove, sign with exactly the nonce that was
//! read, submit.

use crate::client::{AccountState, Executed, Signed, TfchainClient};
use crate::era::{Deadline, TOO_NEAR, first_block_at, mortality, standing};
use crate::keys::ChainKey;
use crate::node::NodeClient;
use crate::outcome::meaning;
use crate::port::{ContractProof, MAX_DEPLOYMENT_DATA, OwnershipProof, ReadError};
use crate::shapes::{Contract, ContractState, Named};
use crate::traces::{Trace, Traced};
use events::ids::{ContractId, EventId};
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find, Refusal};
use events::time::Timestamp;
use subxt::ext::scale_encode::EncodeAsFields;

/// How far our clock may be ahead of the chain's. In a block before `requested_at` by more than
/// this nothing of a plan is looked for.
const CLOCKS_APART_MS: i64 = 300_000;

/// What holds of every plan.
pub(crate) struct Terms {
    /// The event that asks for it.
    pub request: EventId,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Unix seconds.
    pub deadline: i64,
    /// What the account must hold.
    pub minimum_balance: Amount<Tft>,
}

/// What the chain knows of a plan.
pub(crate) enum Known<P> {
    /// It was done.
    Done(P),
    /// It cannot be done, ever.
    Refused(Refusal),
    /// What was read is too old to tell.
    Behind(String),
    /// It was not done, and can be.
    Open,
}

/// As whom, at which nonce and for how long something is signed.
pub(crate) struct Signing<'a> {
    pub key: &'a ChainKey,
    pub state: &'a AccountState,
    pub period: u32,
}

impl Signing<'_> {
    pub(crate) fn call<C: Named + EncodeAsFields>(
        &self,
        chain: &TfchainClient,
        call: C,
    ) -> Result<Signed, ReadError> {
        chain.sign(self.key, self.state, self.period, call)
    }
}

/// Something that one transaction does.
pub(crate) trait Wanted: Sync {
    /// What shows that it was done.
    type Proof: Send;

    fn terms(&self) -> Terms;

    /// Why no chain could take the plan, whatever its author meant.
    fn malformed(&self) -> Option<Refusal>;

    /// State first, then the blocks since the request.
    fn known(
        &self,
        chain: &TfchainClient,
        state: &AccountState,
    ) -> impl Future<Output = Result<Known<Self::Proof>, ReadError>> + Send;

    /// Signs its call with the nonce of the state, for so many blocks.
    fn sign(&self, chain: &TfchainClient, signing: &Signing<'_>) -> Result<Signed, ReadError>;

    /// What the events of the transaction show.
    fn proof(&self, executed: &Executed) -> Option<Self::Proof>;
}

pub(crate) async fn find<W: Wanted>(
    chain: &TfchainClient,
    wanted: &W,
    key: &ChainKey,
) -> Find<W::Proof> {
    if let Some(refusal) = wanted.malformed() {
        return Find::Refused(refusal);
    }
    match look(chain, wanted, key).await {
        Ok(found) => found,
        Err(error) => Find::NoAnswer(error.to_string()),
    }
}

async fn look<W: Wanted>(
    chain: &TfchainClient,
    wanted: &W,
    key: &ChainKey,
) -> Result<Find<W::Proof>, ReadError> {
    let state = chain.account(&key.account_id()).await?;
    match wanted.known(chain, &state).await? {
        Known::Done(proof) => return Ok(Find::Landed(proof)),
        Known::Refused(refusal) => return Ok(Find::Refused(refusal)),
        Known::Behind(reason) => return Ok(Find::Pending(reason)),
        Known::Open => {}
    }
    let terms = wanted.terms();
    if let Some(refusal) = failed(chain, terms.request, &state).await? {
        return Ok(Find::Refused(refusal));
    }
    let poor = state.free < terms.minimum_balance;
    let block_ms = NodeClient::block_ms(&state.view)?;
    Ok(
        match standing(chain, terms.deadline, &state.at, block_ms).await? {
            // What cannot be tried now is waited for here, where waiting is free: a try that is
            // not sent counts as a failure of the chain.
            Deadline::Ahead if poor => Find::Pending(waiting_for_funds(state.free, &terms)),
            Deadline::Ahead => match mortality(&state.at, terms.deadline, block_ms) {
                Some(_) => Find::Absent,
                None => Find::Pending(TOO_NEAR.to_owned()),
            },
            Deadline::Closing { last } => {
                Find::Pending(format!("until block {last} it could still land"))
            }
            Deadline::Closed { .. } if poor => {
                Find::NeverWill(waiting_for_funds(state.free, &terms))
            }
            Deadline::Closed { last } => Find::NeverWill(format!(
                "not done by block {last}, the last in which it could be"
            )),
        },
    )
}

/// How the call of this request failed in a finalized block, when this process sent it, lost the
/// answer, and the account's nonce has moved on.
async fn failed(
    chain: &TfchainClient,
    request: EventId,
    state: &AccountState,
) -> Result<Option<Refusal>, ReadError> {
    let Some(submitted) = chain.submitted(request) else {
        return Ok(None);
    };
    if state.nonce <= submitted.nonce {
        return Ok(None);
    }
    let found = chain.look_for(&submitted, state.at.number).await?;
    Ok(match found {
        Some(Err(answer)) => match meaning::<()>(&answer) {
            Attempt::Refused(refusal) => Some(refusal),
            Attempt::Landed(())
            | Attempt::NotSent(_)
            | Attempt::Unknown(_)
            | Attempt::NoAnswer(_) => None,
        },
        Some(Ok(_)) | None => None,
    })
}

fn waiting_for_funds(balance: Amount<Tft>, terms: &Terms) -> String {
    format!(
        "waiting for funds: {balance} of {} TFT",
        terms.minimum_balance
    )
}

pub(crate) async fn attempt<W: Wanted>(
    chain: &TfchainClient,
    wanted: &W,
    key: &ChainKey,
    owner: &dyn OwnershipProof,
) -> Attempt<W::Proof> {
    if let Some(refusal) = wanted.malformed() {
        return Attempt::Refused(refusal);
    }
    let _turn = chain.alone(key.account_id()).await;
    match send(chain, wanted, key, owner).await {
        Ok(attempt) => attempt,
        // Reading comes before anything is sent.
        Err(error) => Attempt::NotSent(error.to_string()),
    }
}

async fn send<W: Wanted>(
    chain: &TfchainClient,
    wanted: &W,
    key: &ChainKey,
    owner: &dyn OwnershipProof,
) -> Result<Attempt<W::Proof>, ReadError> {
    let state = chain.account(&key.account_id()).await?;
    match wanted.known(chain, &state).await? {
        Known::Done(proof) => return Ok(Attempt::Landed(proof)),
        Known::Refused(refusal) => return Ok(Attempt::Refused(refusal)),
        Known::Behind(reason) => return Ok(Attempt::Unknown(reason)),
        Known::Open => {}
    }
    let terms = wanted.terms();
    if state.free < terms.minimum_balance {
        return Ok(Attempt::NotSent(waiting_for_funds(state.free, &terms)));
    }
    let block_ms = NodeClient::block_ms(&state.view)?;
    let Some(period) = mortality(&state.at, terms.deadline, block_ms) else {
        return Ok(Attempt::NotSent(TOO_NEAR.to_owned()));
    };
    if !owner.prove().await {
        return Ok(Attempt::NotSent(
            "the work is no longer this process's".to_owned(),
        ));
    }
    let signing = Signing {
        key,
        state: &state,
        period,
    };
    let signed = wanted.sign(chain, &signing)?;
    chain.remember(terms.request, &signed, &state, period);
    tracing::debug!(
        request = %terms.request,
        account = %key.ss58(),
        nonce = state.nonce,
        transaction = signed.hash(),
        "submitting a call about a contract"
    );
    let executed = match chain.submit(&signed).await {
        Ok(executed) => executed,
        Err(answer) => return Ok(meaning(&answer)),
    };
    Ok(match wanted.proof(&executed) {
        Some(proof) => Attempt::Landed(proof),
        None => Attempt::Unknown(
            "the transaction was carried out without an event that shows what it did".to_owned(),
        ),
    })
}

/// Where this happened last since the request; what happened before it, by more than two clocks
/// may be apart, is another's.
pub(crate) async fn since(
    chain: &TfchainClient,
    terms: &Terms,
    state: &AccountState,
    trace: &Trace,
    above: u64,
) -> Result<Option<Traced>, ReadError> {
    let since = terms.requested_at.0.saturating_sub(CLOCKS_APART_MS);
    let from = first_block_at(chain, since, &state.at).await?;
    chain.traced(trace, above, from, state.at.number).await
}

/// What shows a contract: the transaction that did it, or the state alone.
pub(crate) async fn proof_of(
    chain: &TfchainClient,
    contract: ContractId,
    traced: Option<&Traced>,
    state: &AccountState,
) -> Result<ContractProof, ReadError> {
    let (extrinsic_hash, block) = match traced {
        Some(traced) => (chain.doer(traced).await?, traced.block),
        None => (String::new(), state.at.number),
    };
    Ok(ContractProof {
        contract,
        extrinsic_hash,
        block,
    })
}

/// A contract that stands at a view. The chain keeps one that was cancelled for a while.
pub(crate) async fn standing_contract(
    chain: &TfchainClient,
    state: &AccountState,
    contract: ContractId,
) -> Result<Option<Contract>, ReadError> {
    let contract: Option<Contract> = chain
        .value(
            &state.view,
            "SmartContractModule",
            "Contracts",
            (contract.0,),
        )
        .await?;
    Ok(contract.filter(|c| !matches!(c.state, ContractState::Deleted(_))))
}

/// The refusal of what is wanted of a contract that has ended.
pub(crate) fn ended(contract: ContractId, detail: String) -> Refusal {
    Refusal::new("contract_ended", detail).with_evidence(contract.to_string())
}

/// A deployment's hash as the chain takes it.
pub(crate) fn hash_bytes(hash: &str) -> Option<[u8; 32]> {
    let lower = hash.bytes().all(|b| !b.is_ascii_uppercase());
    let bytes = hex::decode(hash).ok()?.try_into().ok();
    bytes.filter(|_| lower)
}

/// Why the chain could not take such a workload.
pub(crate) fn malformed_workload(hash: &str, data: &str) -> Option<Refusal> {
    if data.len() > MAX_DEPLOYMENT_DATA {
        let detail = format!(
            "{} bytes of data, at most {MAX_DEPLOYMENT_DATA} are allowed",
            data.len()
        );
        return Some(Refusal::new("deployment_data_too_long", detail));
    }
    hash_bytes(hash).is_none().then(|| {
        Refusal::new(
            "deployment_hash_malformed",
            "expected 64 hex digits in lower case".to_owned(),
        )
    })
}
