//! Operations: their form, their effect, their result.

mod accounts;
mod offers;
mod payments;

use crate::address::Address;
use crate::ledger::state::State;
use stellar_base::xdr::{
    AccountMergeResult, BumpSequenceResult, ChangeTrustResult, CreateAccountResult, ManageBuyOfferResult,
    ManageSellOfferResult, OperationBody, OperationResult, OperationResultTr, PathPaymentStrictReceiveResult,
    PathPaymentStrictSendResult, PaymentResult, SetOptionsResult,
};

/// Which of an account's thresholds an operation must reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Sequence numbers.
    Low = 0,
    /// Everything else.
    Medium = 1,
    /// Signers, and the account's end.
    High = 2,
}

/// The threshold that an operation must reach.
pub fn level(body: &OperationBody) -> Level {
    match body {
        OperationBody::BumpSequence(_) => Level::Low,
        OperationBody::AccountMerge(_) => Level::High,
        OperationBody::SetOptions(o)
            if o.master_weight.is_some()
                || o.low_threshold.is_some()
                || o.med_threshold.is_some()
                || o.high_threshold.is_some()
                || o.signer.is_some() =>
        {
            Level::High
        }
        _ => Level::Medium,
    }
}

/// The result of an operation that was not looked at: success without content, as core shows it.
pub fn blank(body: &OperationBody) -> OperationResult {
    use OperationResultTr as T;
    OperationResult::OpInner(match body {
        OperationBody::CreateAccount(_) => T::CreateAccount(CreateAccountResult::Success),
        OperationBody::Payment(_) => T::Payment(PaymentResult::Success),
        OperationBody::PathPaymentStrictReceive(_) => {
            T::PathPaymentStrictReceive(PathPaymentStrictReceiveResult::default())
        }
        OperationBody::PathPaymentStrictSend(_) => T::PathPaymentStrictSend(PathPaymentStrictSendResult::default()),
        OperationBody::ManageSellOffer(_) => T::ManageSellOffer(ManageSellOfferResult::default()),
        OperationBody::CreatePassiveSellOffer(_) => T::CreatePassiveSellOffer(ManageSellOfferResult::default()),
        OperationBody::ManageBuyOffer(_) => T::ManageBuyOffer(ManageBuyOfferResult::default()),
        OperationBody::SetOptions(_) => T::SetOptions(SetOptionsResult::Success),
        OperationBody::ChangeTrust(_) => T::ChangeTrust(ChangeTrustResult::Success),
        OperationBody::AccountMerge(_) => T::AccountMerge(AccountMergeResult::Success(0)),
        OperationBody::BumpSequence(_) => T::BumpSequence(BumpSequenceResult::Success),
        _ => return OperationResult::OpNotSupported,
    })
}

/// What is wrong with an operation whatever the ledger holds; `None` when nothing is.
pub fn malformed(source: Address, body: &OperationBody) -> Option<OperationResult> {
    use OperationResultTr as T;
    let wrong = match body {
        OperationBody::CreateAccount(op) => accounts::create_malformed(source, op).map(T::CreateAccount),
        OperationBody::Payment(op) => payments::malformed(op).map(T::Payment),
        OperationBody::PathPaymentStrictReceive(op) => {
            payments::receive_malformed(op).map(T::PathPaymentStrictReceive)
        }
        OperationBody::PathPaymentStrictSend(op) => payments::send_malformed(op).map(T::PathPaymentStrictSend),
        OperationBody::ManageSellOffer(op) => offers::sell_malformed(op).map(T::ManageSellOffer),
        OperationBody::CreatePassiveSellOffer(op) => offers::passive_malformed(op).map(T::CreatePassiveSellOffer),
        OperationBody::ManageBuyOffer(op) => offers::buy_malformed(op).map(T::ManageBuyOffer),
        OperationBody::SetOptions(op) => accounts::options_malformed(source, op).map(T::SetOptions),
        OperationBody::ChangeTrust(op) => return accounts::trust_malformed(source, op),
        OperationBody::AccountMerge(to) => accounts::merge_malformed(source, to).map(T::AccountMerge),
        OperationBody::BumpSequence(op) => accounts::bump_malformed(op).map(T::BumpSequence),
        _ => return Some(OperationResult::OpNotSupported),
    };
    wrong.map(OperationResult::OpInner)
}

/// Applies an operation whose form was checked. A result that is no success may leave changes
/// behind; the caller undoes them.
pub fn apply(state: &mut State, source: Address, body: &OperationBody) -> OperationResult {
    use OperationResultTr as T;
    if state.account(source).is_none() {
        // An operation before this one merged it away.
        return OperationResult::OpNoAccount;
    }
    OperationResult::OpInner(match body {
        OperationBody::CreateAccount(op) => T::CreateAccount(accounts::create(state, source, op)),
        OperationBody::Payment(op) => T::Payment(payments::pay(state, source, op)),
        OperationBody::PathPaymentStrictReceive(op) => {
            T::PathPaymentStrictReceive(payments::receive(state, source, op))
        }
        OperationBody::PathPaymentStrictSend(op) => T::PathPaymentStrictSend(payments::send(state, source, op)),
        OperationBody::ManageSellOffer(op) => T::ManageSellOffer(offers::sell(state, source, op)),
        OperationBody::CreatePassiveSellOffer(op) => T::CreatePassiveSellOffer(offers::passive(state, source, op)),
        OperationBody::ManageBuyOffer(op) => T::ManageBuyOffer(offers::buy(state, source, op)),
        OperationBody::SetOptions(op) => T::SetOptions(accounts::options(state, source, op)),
        OperationBody::ChangeTrust(op) => T::ChangeTrust(accounts::trust(state, source, op)),
        OperationBody::AccountMerge(to) => T::AccountMerge(accounts::merge(state, source, to)),
        OperationBody::BumpSequence(op) => T::BumpSequence(accounts::bump(state, source, op)),
        _ => return OperationResult::OpNotSupported,
    })
}

/// Whether the result is a success.
pub fn succeeded(result: &OperationResult) -> bool {
    use OperationResultTr as T;
    match result {
        OperationResult::OpInner(inner) => matches!(
            inner,
            T::CreateAccount(CreateAccountResult::Success)
                | T::Payment(PaymentResult::Success)
                | T::PathPaymentStrictReceive(PathPaymentStrictReceiveResult::Success(_))
                | T::PathPaymentStrictSend(PathPaymentStrictSendResult::Success(_))
                | T::ManageSellOffer(ManageSellOfferResult::Success(_))
                | T::CreatePassiveSellOffer(ManageSellOfferResult::Success(_))
                | T::ManageBuyOffer(ManageBuyOfferResult::Success(_))
                | T::SetOptions(SetOptionsResult::Success)
                | T::ChangeTrust(ChangeTrustResult::Success)
                | T::AccountMerge(AccountMergeResult::Success(_))
                | T::BumpSequence(BumpSequenceResult::Success)
        ),
        _ => false,
    }
}
