//! Claimable balances: what is set aside for others, and whoever takes it.

use crate::envelope::{Key, account_id, key_of_id};
use crate::operations::{Closing, good_asset};
use crate::state::{BASE_RESERVE, BalanceHash, ClaimableBalance, State};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use stellar_base::xdr::{
    Asset, ClaimClaimableBalanceOp, ClaimClaimableBalanceResult, ClaimPredicate,
    ClaimableBalanceId, Claimant, ClaimantV0, CreateClaimableBalanceOp,
    CreateClaimableBalanceResult, Hash, HashIdPreimage, HashIdPreimageOperationId, Limits,
    SequenceNumber, WriteXdr,
};

/// How deep conditions may be nested.
const DEPTH: u32 = 4;

/// The id of the balance that an operation creates: the hash of its transaction's source and number,
/// and of its place in it, from 0.
pub fn balance_hash(source: &Key, sequence: i64, place: u32) -> BalanceHash {
    let preimage = HashIdPreimage::OpId(HashIdPreimageOperationId {
        source_account: account_id(source),
        seq_num: SequenceNumber(sequence),
        op_num: place,
    });
    Sha256::digest(preimage.to_xdr(Limits::none()).unwrap_or_default()).into()
}

/// The id as Horizon writes it.
pub fn written(id: &BalanceHash) -> String {
    format!("00000000{}", hex::encode(id))
}

/// The id that Horizon writes so.
pub fn read(text: &str) -> Option<BalanceHash> {
    let bytes = hex::decode(text.strip_prefix("00000000")?).ok()?;
    bytes.try_into().ok()
}

fn parts(claimant: &Claimant) -> &ClaimantV0 {
    let Claimant::ClaimantTypeV0(parts) = claimant;
    parts
}

/// Who may claim, and on what condition.
pub fn claimant(claimant: &Claimant) -> (Key, &ClaimPredicate) {
    let parts = parts(claimant);
    (key_of_id(&parts.destination), &parts.predicate)
}

fn good_predicate(predicate: &ClaimPredicate, depth: u32) -> bool {
    if depth > DEPTH {
        return false;
    }
    match predicate {
        ClaimPredicate::Unconditional => true,
        ClaimPredicate::And(two) | ClaimPredicate::Or(two) => {
            two.len() == 2 && two.iter().all(|inner| good_predicate(inner, depth + 1))
        }
        ClaimPredicate::Not(inner) => inner
            .as_ref()
            .is_some_and(|inner| good_predicate(inner, depth + 1)),
        ClaimPredicate::BeforeAbsoluteTime(time) | ClaimPredicate::BeforeRelativeTime(time) => {
            *time >= 0
        }
    }
}

/// Whether what is to be set aside is well-formed.
pub fn well_formed(op: &CreateClaimableBalanceOp) -> bool {
    let claimants: BTreeSet<Key> = op.claimants.iter().map(|c| claimant(c).0).collect();
    op.amount > 0
        && good_asset(&op.asset)
        && !op.claimants.is_empty()
        && claimants.len() == op.claimants.len()
        && op
            .claimants
            .iter()
            .all(|c| good_predicate(claimant(c).1, 1))
}

/// The condition with its relative times made absolute, from a ledger that closes at `now`.
fn absolute(predicate: &ClaimPredicate, now: u64) -> ClaimPredicate {
    let inner = |two: &[ClaimPredicate]| {
        let two: Vec<ClaimPredicate> = two.iter().map(|inner| absolute(inner, now)).collect();
        two.try_into().unwrap_or_default()
    };
    match predicate {
        ClaimPredicate::Unconditional => ClaimPredicate::Unconditional,
        ClaimPredicate::And(two) => ClaimPredicate::And(inner(two)),
        ClaimPredicate::Or(two) => ClaimPredicate::Or(inner(two)),
        ClaimPredicate::Not(not) => ClaimPredicate::Not(
            not.as_ref()
                .map(|predicate| Box::new(absolute(predicate, now))),
        ),
        ClaimPredicate::BeforeAbsoluteTime(time) => ClaimPredicate::BeforeAbsoluteTime(*time),
        ClaimPredicate::BeforeRelativeTime(seconds) => ClaimPredicate::BeforeAbsoluteTime(
            i64::try_from(now)
                .unwrap_or(i64::MAX)
                .saturating_add(*seconds),
        ),
    }
}

/// Whether the condition holds in a ledger that closes at `now`.
fn holds(predicate: &ClaimPredicate, now: u64) -> bool {
    match predicate {
        ClaimPredicate::Unconditional => true,
        ClaimPredicate::And(two) => two.iter().all(|inner| holds(inner, now)),
        ClaimPredicate::Or(two) => two.iter().any(|inner| holds(inner, now)),
        ClaimPredicate::Not(inner) => inner.as_ref().is_some_and(|inner| !holds(inner, now)),
        ClaimPredicate::BeforeAbsoluteTime(time) => {
            u64::try_from(*time).is_ok_and(|time| now < time)
        }
        // None is left in a balance.
        ClaimPredicate::BeforeRelativeTime(_) => false,
    }
}

/// Sets something aside.
pub fn create(
    state: &mut State,
    source: &Key,
    op: &CreateClaimableBalanceOp,
    id: BalanceHash,
    closing: Closing,
) -> CreateClaimableBalanceResult {
    use CreateClaimableBalanceResult as R;
    match state.spendable(source, &op.asset) {
        None => return R::NoTrust,
        Some(held) if held < op.amount => return R::Underfunded,
        Some(_) => {}
    }
    if !state.add(source, &op.asset, -op.amount, closing.at()) {
        return R::Underfunded;
    }
    let reserves = i64::try_from(op.claimants.len()).unwrap_or(i64::MAX / BASE_RESERVE);
    let free = state.spendable(source, &Asset::Native).unwrap_or(0);
    if free < reserves * BASE_RESERVE {
        return R::LowReserve;
    }
    if let Some(account) = state.account_mut(source) {
        account.sponsoring += reserves;
        account.modified = closing.at();
    }
    let claimants = op.claimants.iter().map(|claimant| {
        let parts = parts(claimant);
        Claimant::ClaimantTypeV0(ClaimantV0 {
            destination: parts.destination.clone(),
            predicate: absolute(&parts.predicate, closing.time),
        })
    });
    let balance = ClaimableBalance {
        sponsor: *source,
        asset: op.asset.clone(),
        amount: op.amount,
        claimants: claimants.collect(),
        modified: closing.at(),
    };
    state.set_claimable_balance(id, Some(balance));
    R::Success(ClaimableBalanceId::ClaimableBalanceIdTypeV0(Hash(id)))
}

/// Takes what was set aside.
pub fn claim(
    state: &mut State,
    source: &Key,
    op: &ClaimClaimableBalanceOp,
    closing: Closing,
) -> ClaimClaimableBalanceResult {
    use ClaimClaimableBalanceResult as R;
    let ClaimableBalanceId::ClaimableBalanceIdTypeV0(Hash(id)) = &op.balance_id;
    let Some(balance) = state.claimable_balance(id).cloned() else {
        return R::DoesNotExist;
    };
    let may = balance
        .claimants
        .iter()
        .map(claimant)
        .any(|(key, predicate)| key == *source && holds(predicate, closing.time));
    if !may {
        return R::CannotClaim;
    }
    match state.receivable(source, &balance.asset) {
        None => return R::NoTrust,
        Some(room) if room < balance.amount => return R::LineFull,
        Some(_) => {}
    }
    if !state.add(source, &balance.asset, balance.amount, closing.at()) {
        return R::LineFull;
    }
    if let Some(sponsor) = state.account_mut(&balance.sponsor) {
        sponsor.sponsoring -= i64::try_from(balance.claimants.len()).unwrap_or(0);
        sponsor.modified = closing.at();
    }
    state.set_claimable_balance(*id, None);
    R::Success
}
