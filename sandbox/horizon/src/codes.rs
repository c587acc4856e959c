//! Result codes in Horizon's words.

use crate::ledger::history::operation_results;
use serde_json::{Value, json};
use stellar_base::xdr::{
    InnerTransactionResultResult, OperationResult, OperationResultTr, TransactionResult, TransactionResultResult,
};

/// `extras.result_codes` of a result.
pub fn result_codes(result: &TransactionResult) -> Value {
    let mut codes = json!({ "transaction": transaction(&result.result) });
    if let TransactionResultResult::TxFeeBumpInnerSuccess(pair) | TransactionResultResult::TxFeeBumpInnerFailed(pair) =
        &result.result
    {
        codes["inner_transaction"] = inner(&pair.result.result).into();
    }
    let operations = operation_results(result);
    if !operations.is_empty() {
        codes["operations"] = operations.iter().map(operation).collect();
    }
    codes
}

fn transaction(result: &TransactionResultResult) -> &'static str {
    use TransactionResultResult as R;
    match result {
        R::TxFeeBumpInnerSuccess(_) => "tx_fee_bump_inner_success",
        R::TxFeeBumpInnerFailed(_) => "tx_fee_bump_inner_failed",
        R::TxSuccess(_) => "tx_success",
        R::TxFailed(_) => "tx_failed",
        R::TxTooEarly => "tx_too_early",
        R::TxTooLate => "tx_too_late",
        R::TxMissingOperation => "tx_missing_operation",
        R::TxBadSeq => "tx_bad_seq",
        R::TxBadAuth => "tx_bad_auth",
        R::TxInsufficientBalance => "tx_insufficient_balance",
        R::TxNoAccount => "tx_no_source_account",
        R::TxInsufficientFee => "tx_insufficient_fee",
        R::TxBadAuthExtra => "tx_bad_auth_extra",
        R::TxInternalError => "tx_internal_error",
        R::TxNotSupported => "tx_not_supported",
        R::TxBadSponsorship => "tx_bad_sponsorship",
        R::TxBadMinSeqAgeOrGap => "tx_bad_minseq_age_or_gap",
        R::TxMalformed => "tx_malformed",
        R::TxSorobanInvalid => "tx_soroban_invalid",
    }
}

fn inner(result: &InnerTransactionResultResult) -> &'static str {
    use InnerTransactionResultResult as R;
    match result {
        R::TxSuccess(_) => "tx_success",
        R::TxFailed(_) => "tx_failed",
        R::TxTooEarly => "tx_too_early",
        R::TxTooLate => "tx_too_late",
        R::TxMissingOperation => "tx_missing_operation",
        R::TxBadSeq => "tx_bad_seq",
        R::TxBadAuth => "tx_bad_auth",
        R::TxInsufficientBalance => "tx_insufficient_balance",
        R::TxNoAccount => "tx_no_source_account",
        R::TxInsufficientFee => "tx_insufficient_fee",
        R::TxBadAuthExtra => "tx_bad_auth_extra",
        R::TxInternalError => "tx_internal_error",
        R::TxNotSupported => "tx_not_supported",
        R::TxBadSponsorship => "tx_bad_sponsorship",
        R::TxBadMinSeqAgeOrGap => "tx_bad_minseq_age_or_gap",
        R::TxMalformed => "tx_malformed",
        R::TxSorobanInvalid => "tx_soroban_invalid",
    }
}

/// Horizon's word for an operation's result. Two words are its own, the others are XDR's name
/// with `op_` before it.
fn operation(result: &OperationResult) -> String {
    let inner = match result {
        OperationResult::OpBadAuth => return "op_bad_auth".to_owned(),
        OperationResult::OpNoAccount => return "op_no_source_account".to_owned(),
        OperationResult::OpNotSupported => return "op_not_supported".to_owned(),
        OperationResult::OpTooManySubentries => return "op_too_many_subentries".to_owned(),
        OperationResult::OpExceededWorkLimit => return "op_exceeded_work_limit".to_owned(),
        OperationResult::OpTooManySponsoring => return "op_too_many_sponsoring".to_owned(),
        OperationResult::OpInner(inner) => inner,
    };
    use OperationResultTr as T;
    let name = match inner {
        T::CreateAccount(result) => result.name(),
        T::Payment(result) => result.name(),
        T::PathPaymentStrictReceive(result) => result.name(),
        T::PathPaymentStrictSend(result) => result.name(),
        T::ManageSellOffer(result) | T::CreatePassiveSellOffer(result) => return offer(result.name()),
        T::ManageBuyOffer(result) => return offer(result.name()),
        T::SetOptions(result) => result.name(),
        T::ChangeTrust(result) => result.name(),
        T::AccountMerge(result) => result.name(),
        T::BumpSequence(result) => result.name(),
        other => other.name(),
    };
    match name {
        "AlreadyExist" => "op_already_exists".to_owned(),
        "OfferCrossSelf" => "op_cross_self".to_owned(),
        "OverSendmax" => "op_over_source_max".to_owned(),
        "UnderDestmin" => "op_under_dest_min".to_owned(),
        "SeqnumTooFar" => "op_seq_num_too_far".to_owned(),
        "HasSubEntries" => "op_has_sub_entries".to_owned(),
        "TrustLineMissing" => "op_trust_line_missing".to_owned(),
        "NotAuthMaintainLiabilities" => "op_not_auth_maintain_liabilities".to_owned(),
        name => snake(name),
    }
}

fn offer(name: &str) -> String {
    match name {
        "SellNotAuthorized" => "sell_not_authorized".to_owned(),
        "BuyNotAuthorized" => "buy_not_authorized".to_owned(),
        "BuyNoIssuer" => "buy_no_issuer".to_owned(),
        "NotFound" => "op_offer_not_found".to_owned(),
        name => snake(name),
    }
}

/// `LowReserve` → `op_low_reserve`.
fn snake(name: &str) -> String {
    let mut word = "op".to_owned();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}
