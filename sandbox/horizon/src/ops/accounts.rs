//! Accounts, their trustlines, options and sequence numbers.

use crate::address::{self, Address};
use crate::ledger::state::{AUTH_IMMUTABLE, AUTH_REQUIRED, Account, BASE_RESERVE, Liabilities, Line, Moment, State};
use crate::ledger::validity::starting_sequence;
use stellar_base::xdr::{
    AccountMergeResult, Asset, BumpSequenceOp, BumpSequenceResult, ChangeTrustAsset, ChangeTrustOp, ChangeTrustResult,
    CreateAccountOp, CreateAccountResult, MuxedAccount, OperationResult, OperationResultTr, SetOptionsOp,
    SetOptionsResult, SignerKey,
};

/// Most trustlines, offers and signers of an account.
const MOST_SUBENTRIES: u32 = 1_000;
const MOST_SIGNERS: usize = 20;
const KNOWN_FLAGS: u32 = 0xf;

pub fn create_malformed(source: Address, op: &CreateAccountOp) -> Option<CreateAccountResult> {
    let wrong = op.starting_balance < 0 || Address::from(&op.destination) == source;
    wrong.then_some(CreateAccountResult::Malformed)
}

pub fn create(state: &mut State, source: Address, op: &CreateAccountOp) -> CreateAccountResult {
    let new = Address::from(&op.destination);
    if state.account(new).is_some() {
        return CreateAccountResult::AlreadyExist;
    }
    if op.starting_balance < 2 * BASE_RESERVE {
        return CreateAccountResult::LowReserve;
    }
    if state.take_from(source, &Asset::Native, op.starting_balance).is_err() {
        return CreateAccountResult::Underfunded;
    }
    let sequence = starting_sequence(state.now.ledger);
    state.set_account(new, Some(Account::new(op.starting_balance, sequence)));
    CreateAccountResult::Success
}

pub fn bump_malformed(op: &BumpSequenceOp) -> Option<BumpSequenceResult> {
    (op.bump_to.0 < 0).then_some(BumpSequenceResult::BadSeq)
}

pub fn bump(state: &mut State, source: Address, op: &BumpSequenceOp) -> BumpSequenceResult {
    let now = state.now;
    // A bump to a lower number is no error and does nothing.
    if state.account(source).is_some_and(|account| account.sequence < op.bump_to.0)
        && let Some(account) = state.account_mut(source)
    {
        account.sequence = op.bump_to.0;
        account.sequence_at = Some(now);
    }
    BumpSequenceResult::Success
}

pub fn merge_malformed(source: Address, to: &MuxedAccount) -> Option<AccountMergeResult> {
    (Address::of(to) == source).then_some(AccountMergeResult::Malformed)
}

pub fn merge(state: &mut State, source: Address, to: &MuxedAccount) -> AccountMergeResult {
    let to = Address::of(to);
    if state.account(to).is_none() {
        return AccountMergeResult::NoAccount;
    }
    let Some(account) = state.account(source) else { return AccountMergeResult::NoAccount };
    let balance = account.balance;
    if account.flags & AUTH_IMMUTABLE != 0 {
        return AccountMergeResult::ImmutableSet;
    }
    let signers = u32::try_from(account.signers.len()).unwrap_or(u32::MAX);
    if account.subentries != signers {
        return AccountMergeResult::HasSubEntries;
    }
    if account.sequence >= starting_sequence(state.now.ledger) {
        return AccountMergeResult::SeqnumTooFar;
    }
    if state.give_to(to, &Asset::Native, balance).is_err() {
        return AccountMergeResult::DestFull;
    }
    state.set_account(source, None);
    AccountMergeResult::Success(balance)
}

fn trusted(op: &ChangeTrustOp) -> Option<Asset> {
    match &op.line {
        ChangeTrustAsset::CreditAlphanum4(a) => Some(Asset::CreditAlphanum4(a.clone())),
        ChangeTrustAsset::CreditAlphanum12(a) => Some(Asset::CreditAlphanum12(a.clone())),
        ChangeTrustAsset::Native | ChangeTrustAsset::PoolShare(_) => None,
    }
}

pub fn trust_malformed(source: Address, op: &ChangeTrustOp) -> Option<OperationResult> {
    let fail = |result| Some(OperationResult::OpInner(OperationResultTr::ChangeTrust(result)));
    if matches!(op.line, ChangeTrustAsset::PoolShare(_)) {
        return Some(OperationResult::OpNotSupported);
    }
    match trusted(op) {
        Some(asset) if address::is_valid(&asset) && op.limit >= 0 => {
            if address::issuer(&asset) == Some(source) { fail(ChangeTrustResult::Malformed) } else { None }
        }
        _ => fail(ChangeTrustResult::Malformed),
    }
}

pub fn trust(state: &mut State, source: Address, op: &ChangeTrustOp) -> ChangeTrustResult {
    let Some(asset) = trusted(op) else { return ChangeTrustResult::Malformed };
    let issuer_flags = address::issuer(&asset).and_then(|issuer| state.account(issuer)).map(|issuer| issuer.flags);
    let now = state.now;
    let Some(account) = state.account_mut(source) else { return ChangeTrustResult::Malformed };
    if let Some(line) = account.lines.get_mut(&asset) {
        if op.limit < line.balance + line.liabilities.buying {
            return ChangeTrustResult::InvalidLimit;
        }
        if op.limit == 0 {
            if line.liabilities != Liabilities::default() {
                return ChangeTrustResult::CannotDelete;
            }
            account.lines.remove(&asset);
            account.subentries = account.subentries.saturating_sub(1);
            return ChangeTrustResult::Success;
        }
        if issuer_flags.is_none() {
            return ChangeTrustResult::NoIssuer;
        }
        line.limit = op.limit;
        line.modified = now;
        return ChangeTrustResult::Success;
    }
    if op.limit == 0 {
        return ChangeTrustResult::InvalidLimit;
    }
    let Some(flags) = issuer_flags else { return ChangeTrustResult::NoIssuer };
    if !add_subentry(account) {
        return ChangeTrustResult::LowReserve;
    }
    account.lines.insert(
        asset,
        Line {
            balance: 0,
            limit: op.limit,
            liabilities: Liabilities::default(),
            authorized: flags & AUTH_REQUIRED == 0,
            modified: Moment { ..now },
        },
    );
    ChangeTrustResult::Success
}

/// Counts one more entry; `false` when the reserve for it is not at hand.
pub fn add_subentry(account: &mut Account) -> bool {
    let room = account.balance.saturating_sub(account.reserve()).saturating_sub(account.liabilities.selling);
    if room < BASE_RESERVE || account.subentries >= MOST_SUBENTRIES {
        return false;
    }
    account.subentries += 1;
    true
}

pub fn options_malformed(source: Address, op: &SetOptionsOp) -> Option<SetOptionsResult> {
    let (set, clear) = (op.set_flags.unwrap_or(0), op.clear_flags.unwrap_or(0));
    if (set | clear) & !KNOWN_FLAGS != 0 {
        return Some(SetOptionsResult::UnknownFlag);
    }
    if set & clear != 0 {
        return Some(SetOptionsResult::BadFlags);
    }
    let weights = [op.master_weight, op.low_threshold, op.med_threshold, op.high_threshold];
    if weights.into_iter().flatten().any(|weight| weight > 255) {
        return Some(SetOptionsResult::ThresholdOutOfRange);
    }
    if let Some(signer) = &op.signer {
        // Other kinds of signers are not modelled.
        let SignerKey::Ed25519(key) = &signer.key else { return Some(SetOptionsResult::BadSigner) };
        if key.0 == source.0 || signer.weight > 255 {
            return Some(SetOptionsResult::BadSigner);
        }
    }
    let domain = op.home_domain.as_ref().map(|domain| domain.0.to_utf8_string());
    match domain {
        Some(Err(_)) => Some(SetOptionsResult::InvalidHomeDomain),
        Some(Ok(domain)) if domain.chars().any(char::is_control) => Some(SetOptionsResult::InvalidHomeDomain),
        _ => None,
    }
}

pub fn options(state: &mut State, source: Address, op: &SetOptionsOp) -> SetOptionsResult {
    let byte = |weight: u32| u8::try_from(weight).unwrap_or(u8::MAX);
    let inflation = op.inflation_dest.as_ref().map(Address::from);
    if inflation.is_some_and(|to| state.account(to).is_none()) {
        return SetOptionsResult::InvalidInflation;
    }
    let Some(account) = state.account_mut(source) else { return SetOptionsResult::BadSigner };
    let (set, clear) = (op.set_flags.unwrap_or(0), op.clear_flags.unwrap_or(0));
    if (set | clear) != 0 && account.flags & AUTH_IMMUTABLE != 0 {
        return SetOptionsResult::CantChange;
    }
    account.flags = (account.flags | set) & !clear;
    if let Some(weight) = op.master_weight {
        account.master_weight = byte(weight);
    }
    for (threshold, new) in account.thresholds.iter_mut().zip([op.low_threshold, op.med_threshold, op.high_threshold]) {
        if let Some(new) = new {
            *threshold = byte(new);
        }
    }
    if let Some(domain) = &op.home_domain {
        account.home_domain = domain.0.to_utf8_string_lossy();
    }
    if let Some(signer) = &op.signer
        && let SignerKey::Ed25519(key) = &signer.key
    {
        let key = Address(key.0);
        if signer.weight == 0 {
            if account.signers.remove(&key).is_some() {
                account.subentries = account.subentries.saturating_sub(1);
            }
        } else if account.signers.contains_key(&key) {
            account.signers.insert(key, byte(signer.weight));
        } else if account.signers.len() >= MOST_SIGNERS {
            return SetOptionsResult::TooManySigners;
        } else if add_subentry(account) {
            account.signers.insert(key, byte(signer.weight));
        } else {
            return SetOptionsResult::LowReserve;
        }
    }
    SetOptionsResult::Success
}
