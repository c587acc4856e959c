//! Horizon's problem documents and result codes.

use crate::envelope::to_base64;
use crate::history::operation_results;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use stellar_base::xdr::{
    BumpSequenceResult, ChangeTrustResult, ClaimClaimableBalanceResult, CreateAccountResult,
    CreateClaimableBalanceResult, InnerTransactionResultResult as Inner, ManageSellOfferResult,
    OperationResult, OperationResultTr as Tr, PathPaymentStrictReceiveResult, PaymentResult,
    TransactionResult, TransactionResultResult as Outer,
};

/// An answer that is no success, as `application/problem+json`.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    extras: Option<Value>,
}

impl Problem {
    /// 404.
    pub fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "not_found",
            title: "Resource Missing",
            detail: "The resource at the url requested was not found.".to_owned(),
            extras: None,
        }
    }

    /// 400 for a bad parameter.
    pub fn bad_request(field: &str, reason: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "bad_request",
            title: "Bad Request",
            detail: "The request you sent was invalid in some way.".to_owned(),
            extras: Some(json!({ "invalid_field": field, "reason": reason })),
        }
    }

    /// 400 for an envelope that is not XDR.
    pub fn malformed(envelope_xdr: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "transaction_malformed",
            title: "Transaction Malformed",
            detail: "Horizon could not decode the transaction envelope in this request.".to_owned(),
            extras: Some(json!({ "envelope_xdr": envelope_xdr })),
        }
    }

    /// 504: the transaction is in no ledger yet.
    pub fn timeout(hash: &str, envelope_xdr: &str) -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            kind: "transaction_submission_timeout",
            title: "Transaction Submission Timeout",
            detail: "Your transaction submission request has timed out. This does not necessarily mean the submission has failed.".to_owned(),
            extras: Some(json!({ "hash": hash, "envelope_xdr": envelope_xdr })),
        }
    }

    /// 400 for a transaction that was refused or has failed.
    pub fn failed(hash: &str, envelope_xdr: &str, result: &TransactionResult) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "transaction_failed",
            title: "Transaction Failed",
            detail: "The transaction failed when submitted to the stellar network. The `extras.result_codes` field on this response contains further details.".to_owned(),
            extras: Some(json!({
                "envelope_xdr": envelope_xdr,
                "hash": hash,
                "result_codes": result_codes(result),
                "result_xdr": to_base64(result),
            })),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("https://stellar.org/horizon-errors/{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(extras) = self.extras {
            body["extras"] = extras;
        }
        let mut response = (self.status, body.to_string()).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json; charset=utf-8"),
        );
        response
    }
}

fn result_codes(result: &TransactionResult) -> Value {
    let mut codes = json!({ "transaction": outer_code(&result.result) });
    if let Outer::TxFeeBumpInnerFailed(pair) | Outer::TxFeeBumpInnerSuccess(pair) = &result.result {
        codes["inner_transaction"] = inner_code(&pair.result.result).into();
    }
    let operations = operation_results(result);
    if !operations.is_empty() {
        codes["operations"] = operations.iter().map(operation_code).collect();
    }
    codes
}

fn outer_code(result: &Outer) -> &'static str {
    match result {
        Outer::TxFeeBumpInnerSuccess(_) => "tx_fee_bump_inner_success",
        Outer::TxFeeBumpInnerFailed(_) => "tx_fee_bump_inner_failed",
        Outer::TxSuccess(_) => "tx_success",
        Outer::TxFailed(_) => "tx_failed",
        Outer::TxTooEarly => "tx_too_early",
        Outer::TxTooLate => "tx_too_late",
        Outer::TxMissingOperation => "tx_missing_operation",
        Outer::TxBadSeq => "tx_bad_seq",
        Outer::TxBadAuth => "tx_bad_auth",
        Outer::TxInsufficientBalance => "tx_insufficient_balance",
        Outer::TxNoAccount => "tx_no_source_account",
        Outer::TxInsufficientFee => "tx_insufficient_fee",
        Outer::TxBadAuthExtra => "tx_bad_auth_extra",
        Outer::TxInternalError => "tx_internal_error",
        Outer::TxNotSupported => "tx_not_supported",
        Outer::TxBadSponsorship => "tx_bad_sponsorship",
        Outer::TxBadMinSeqAgeOrGap => "tx_bad_minseq_age_or_gap",
        Outer::TxMalformed => "tx_malformed",
        Outer::TxSorobanInvalid => "tx_soroban_invalid",
    }
}

fn inner_code(result: &Inner) -> &'static str {
    match result {
        Inner::TxSuccess(_) => "tx_success",
        Inner::TxFailed(_) => "tx_failed",
        Inner::TxTooEarly => "tx_too_early",
        Inner::TxTooLate => "tx_too_late",
        Inner::TxMissingOperation => "tx_missing_operation",
        Inner::TxBadSeq => "tx_bad_seq",
        Inner::TxBadAuth => "tx_bad_auth",
        Inner::TxInsufficientBalance => "tx_insufficient_balance",
        Inner::TxNoAccount => "tx_no_source_account",
        Inner::TxInsufficientFee => "tx_insufficient_fee",
        Inner::TxBadAuthExtra => "tx_bad_auth_extra",
        Inner::TxInternalError => "tx_internal_error",
        Inner::TxNotSupported => "tx_not_supported",
        Inner::TxBadSponsorship => "tx_bad_sponsorship",
        Inner::TxBadMinSeqAgeOrGap => "tx_bad_minseq_age_or_gap",
        Inner::TxMalformed => "tx_malformed",
        Inner::TxSorobanInvalid => "tx_soroban_invalid",
    }
}

fn operation_code(result: &OperationResult) -> &'static str {
    match result {
        OperationResult::OpInner(inner) => inner_operation_code(inner),
        OperationResult::OpBadAuth => "op_bad_auth",
        OperationResult::OpNoAccount => "op_no_source_account",
        OperationResult::OpNotSupported => "op_not_supported",
        OperationResult::OpTooManySubentries => "op_too_many_subentries",
        OperationResult::OpExceededWorkLimit => "op_exceeded_work_limit",
        OperationResult::OpTooManySponsoring => "op_too_many_sponsoring",
    }
}

fn inner_operation_code(result: &Tr) -> &'static str {
    use PathPaymentStrictReceiveResult as Path;
    match result {
        Tr::CreateAccount(r) => match r {
            CreateAccountResult::Success => "op_success",
            CreateAccountResult::Malformed => "op_malformed",
            CreateAccountResult::Underfunded => "op_underfunded",
            CreateAccountResult::LowReserve => "op_low_reserve",
            CreateAccountResult::AlreadyExist => "op_already_exists",
        },
        Tr::Payment(r) => match r {
            PaymentResult::Success => "op_success",
            PaymentResult::Malformed => "op_malformed",
            PaymentResult::Underfunded => "op_underfunded",
            PaymentResult::SrcNoTrust => "op_src_no_trust",
            PaymentResult::SrcNotAuthorized => "op_src_not_authorized",
            PaymentResult::NoDestination => "op_no_destination",
            PaymentResult::NoTrust => "op_no_trust",
            PaymentResult::NotAuthorized => "op_not_authorized",
            PaymentResult::LineFull => "op_line_full",
            PaymentResult::NoIssuer => "op_no_issuer",
        },
        Tr::PathPaymentStrictReceive(r) => match r {
            Path::Success(_) => "op_success",
            Path::Malformed => "op_malformed",
            Path::Underfunded => "op_underfunded",
            Path::SrcNoTrust => "op_src_no_trust",
            Path::SrcNotAuthorized => "op_src_not_authorized",
            Path::NoDestination => "op_no_destination",
            Path::NoTrust => "op_no_trust",
            Path::NotAuthorized => "op_not_authorized",
            Path::LineFull => "op_line_full",
            Path::NoIssuer(_) => "op_no_issuer",
            Path::TooFewOffers => "op_too_few_offers",
            Path::OfferCrossSelf => "op_cross_self",
            Path::OverSendmax => "op_over_source_max",
        },
        Tr::ManageSellOffer(r) => match r {
            ManageSellOfferResult::Success(_) => "op_success",
            ManageSellOfferResult::Malformed => "op_malformed",
            ManageSellOfferResult::SellNoTrust => "op_sell_no_trust",
            ManageSellOfferResult::BuyNoTrust => "op_buy_no_trust",
            ManageSellOfferResult::SellNotAuthorized => "sell_not_authorized",
            ManageSellOfferResult::BuyNotAuthorized => "buy_not_authorized",
            ManageSellOfferResult::LineFull => "op_line_full",
            ManageSellOfferResult::Underfunded => "op_underfunded",
            ManageSellOfferResult::CrossSelf => "op_cross_self",
            ManageSellOfferResult::SellNoIssuer => "op_sell_no_issuer",
            ManageSellOfferResult::BuyNoIssuer => "buy_no_issuer",
            ManageSellOfferResult::NotFound => "op_offer_not_found",
            ManageSellOfferResult::LowReserve => "op_low_reserve",
        },
        Tr::ChangeTrust(r) => match r {
            ChangeTrustResult::Success => "op_success",
            ChangeTrustResult::Malformed => "op_malformed",
            ChangeTrustResult::NoIssuer => "op_no_issuer",
            ChangeTrustResult::InvalidLimit => "op_invalid_limit",
            ChangeTrustResult::LowReserve => "op_low_reserve",
            ChangeTrustResult::SelfNotAllowed => "op_self_not_allowed",
            ChangeTrustResult::TrustLineMissing => "op_trust_line_missing",
            ChangeTrustResult::CannotDelete => "op_cannot_delete",
            ChangeTrustResult::NotAuthMaintainLiabilities => "op_not_aut_maintain_liabilities",
        },
        Tr::BumpSequence(r) => match r {
            BumpSequenceResult::Success => "op_success",
            BumpSequenceResult::BadSeq => "op_bad_seq",
        },
        Tr::CreateClaimableBalance(r) => match r {
            CreateClaimableBalanceResult::Success(_) => "op_success",
            CreateClaimableBalanceResult::Malformed => "op_malformed",
            CreateClaimableBalanceResult::LowReserve => "op_low_reserve",
            CreateClaimableBalanceResult::NoTrust => "op_no_trust",
            CreateClaimableBalanceResult::NotAuthorized => "op_not_authorized",
            CreateClaimableBalanceResult::Underfunded => "op_underfunded",
        },
        Tr::ClaimClaimableBalance(r) => match r {
            ClaimClaimableBalanceResult::Success => "op_success",
            ClaimClaimableBalanceResult::DoesNotExist => "op_does_not_exist",
            ClaimClaimableBalanceResult::CannotClaim => "op_cannot_claim",
            ClaimClaimableBalanceResult::LineFull => "op_line_full",
            ClaimClaimableBalanceResult::NoTrust => "op_no_trust",
            ClaimClaimableBalanceResult::NotAuthorized => "op_not_authorized",
        },
        // Other operations are not supported here and have no inner result.
        _ => "op_not_supported",
    }
}
