//! What a transaction's result says, read from XDR.

use crate::signing::SignedTransaction;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use stellar_base::xdr::{self, Limits, ReadXdr};

/// Far above what a transaction of 100 operations needs, and a bound for what a vendor sends.
const LIMITS: Limits = Limits {
    depth: 100,
    len: 1_000_000,
};

/// The result of a transaction, of the inner one if it is a fee-bump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Result code as Horizon writes it.
    pub(crate) code: String,
    /// Results of the operations; empty where the transaction did not get that far.
    pub(crate) operations: Vec<xdr::OperationResult>,
}

impl Applied {
    /// Reads a result, XDR in base64; `None` when it is none.
    pub(crate) fn read(result: &str) -> Option<Self> {
        use xdr::{InnerTransactionResultResult as Inner, TransactionResultResult as Outer};
        let bytes = STANDARD.decode(result).ok()?;
        let (name, operations) = match xdr::TransactionResult::from_xdr(bytes, LIMITS).ok()?.result
        {
            Outer::TxSuccess(operations) => ("TxSuccess", operations.to_vec()),
            Outer::TxFailed(operations) => ("TxFailed", operations.to_vec()),
            Outer::TxFeeBumpInnerSuccess(pair) | Outer::TxFeeBumpInnerFailed(pair) => {
                match pair.result.result {
                    Inner::TxSuccess(operations) => ("TxSuccess", operations.to_vec()),
                    Inner::TxFailed(operations) => ("TxFailed", operations.to_vec()),
                    other => (other.name(), Vec::new()),
                }
            }
            other => (other.name(), Vec::new()),
        };
        Some(Self {
            code: horizon_name(name),
            operations,
        })
    }

    /// Its number had been passed when it was applied: charged, never executed.
    pub(crate) fn was_fenced(&self) -> bool {
        self.code == "tx_bad_seq"
    }

    /// It was executed, well or not, so its number was the account's at that time.
    pub(crate) fn used_its_number(&self) -> bool {
        self.code == "tx_success" || self.code == "tx_failed"
    }

    /// The code that says why it failed: the first failed operation's, or the transaction's.
    pub(crate) fn reason(&self) -> String {
        let failed = self
            .operations
            .iter()
            .map(operation_code)
            .find(|code| *code != "op_success");
        failed.map_or_else(|| self.code.clone(), ToOwned::to_owned)
    }
}

/// `TxBadSeq` → `tx_bad_seq`.
fn horizon_name(name: &str) -> String {
    if name == "TxNoAccount" {
        return "tx_no_source_account".to_owned();
    }
    let mut text = String::with_capacity(name.len() + 4);
    for (place, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && place > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// Horizon's name of an operation's result.
fn operation_code(result: &xdr::OperationResult) -> &'static str {
    use xdr::{
        ClaimClaimableBalanceResult as Claim, OperationResult as Op, OperationResultTr as Tr,
        PathPaymentStrictReceiveResult as Swap, PaymentResult as Pay,
    };
    match result {
        Op::OpInner(Tr::PathPaymentStrictReceive(swap)) => match swap {
            Swap::Success(_) => "op_success",
            Swap::Malformed => "op_malformed",
            Swap::Underfunded => "op_underfunded",
            Swap::SrcNoTrust => "op_src_no_trust",
            Swap::SrcNotAuthorized => "op_src_not_authorized",
            Swap::NoDestination => "op_no_destination",
            Swap::NoTrust => "op_no_trust",
            Swap::NotAuthorized => "op_not_authorized",
            Swap::LineFull => "op_line_full",
            Swap::NoIssuer(_) => "op_no_issuer",
            Swap::TooFewOffers => "op_too_few_offers",
            Swap::OfferCrossSelf => "op_cross_self",
            Swap::OverSendmax => "op_over_source_max",
        },
        Op::OpInner(Tr::Payment(payment)) => match payment {
            Pay::Success => "op_success",
            Pay::Malformed => "op_malformed",
            Pay::Underfunded => "op_underfunded",
            Pay::SrcNoTrust => "op_src_no_trust",
            Pay::SrcNotAuthorized => "op_src_not_authorized",
            Pay::NoDestination => "op_no_destination",
            Pay::NoTrust => "op_no_trust",
            Pay::NotAuthorized => "op_not_authorized",
            Pay::LineFull => "op_line_full",
            Pay::NoIssuer => "op_no_issuer",
        },
        Op::OpInner(Tr::ClaimClaimableBalance(claim)) => match claim {
            Claim::Success => "op_success",
            Claim::DoesNotExist => "op_does_not_exist",
            Claim::CannotClaim => "op_cannot_claim",
            Claim::LineFull => "op_line_full",
            Claim::NoTrust => "op_no_trust",
            Claim::NotAuthorized => "op_not_authorized",
        },
        Op::OpInner(
            Tr::CreateAccount(xdr::CreateAccountResult::Success)
            | Tr::ChangeTrust(xdr::ChangeTrustResult::Success)
            | Tr::BumpSequence(xdr::BumpSequenceResult::Success)
            | Tr::ManageSellOffer(xdr::ManageSellOfferResult::Success(_))
            | Tr::CreateClaimableBalance(xdr::CreateClaimableBalanceResult::Success(_)),
        ) => "op_success",
        Op::OpInner(Tr::CreateAccount(xdr::CreateAccountResult::AlreadyExist)) => {
            "op_already_exists"
        }
        Op::OpInner(Tr::CreateAccount(xdr::CreateAccountResult::Underfunded)) => "op_underfunded",
        Op::OpInner(Tr::CreateAccount(xdr::CreateAccountResult::LowReserve)) => "op_low_reserve",
        // The other operations are nothing that Gridway sends; it is told that one failed.
        Op::OpInner(_) => "op_failed",
        Op::OpBadAuth => "op_bad_auth",
        Op::OpNoAccount => "op_no_source_account",
        Op::OpNotSupported => "op_not_supported",
        Op::OpTooManySubentries => "op_too_many_subentries",
        Op::OpExceededWorkLimit => "op_exceeded_work_limit",
        Op::OpTooManySponsoring => "op_too_many_sponsoring",
    }
}

/// What a strict receive spent and bought, in 10^-7 units; `None` for any other transaction.
pub(crate) fn swapped(transaction: &SignedTransaction, applied: &Applied) -> Option<(i64, i64)> {
    let [
        xdr::OperationResult::OpInner(xdr::OperationResultTr::PathPaymentStrictReceive(
            xdr::PathPaymentStrictReceiveResult::Success(success),
        )),
    ] = applied.operations.as_slice()
    else {
        return None;
    };
    if success.offers.is_empty() {
        // The asset that was sent is the one that was to be received.
        return Some((success.last.amount, success.last.amount));
    }
    let sent = sent_asset(transaction)?;
    let mut spent: i64 = 0;
    // The offers of the first hop come first. What their makers bought is what we spent.
    for claim in success.offers.iter() {
        let (bought, amount) = match claim {
            xdr::ClaimAtom::V0(c) => (&c.asset_bought, c.amount_bought),
            xdr::ClaimAtom::OrderBook(c) => (&c.asset_bought, c.amount_bought),
            xdr::ClaimAtom::LiquidityPool(c) => (&c.asset_bought, c.amount_bought),
        };
        if *bought != sent {
            break;
        }
        spent = spent.checked_add(amount)?;
    }
    Some((spent, success.last.amount))
}

fn sent_asset(transaction: &SignedTransaction) -> Option<xdr::Asset> {
    let bytes = STANDARD.decode(&transaction.envelope).ok()?;
    let xdr::TransactionEnvelope::Tx(envelope) =
        xdr::TransactionEnvelope::from_xdr(bytes, LIMITS).ok()?
    else {
        return None;
    };
    match &envelope.tx.operations.first()?.body {
        xdr::OperationBody::PathPaymentStrictReceive(op) => Some(op.send_asset.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use stellar_base::xdr::{
        TransactionResult, TransactionResultExt, TransactionResultResult as Outer, WriteXdr,
    };

    fn result(result: Outer) -> Applied {
        let result = TransactionResult {
            fee_charged: 100,
            result,
            ext: TransactionResultExt::V0,
        };
        Applied::read(&STANDARD.encode(result.to_xdr(Limits::none()).unwrap())).unwrap()
    }

    #[test]
    fn codes_are_written_as_horizon_writes_them() {
        assert_eq!(result(Outer::TxBadSeq).code, "tx_bad_seq");
        assert_eq!(result(Outer::TxNoAccount).code, "tx_no_source_account");
        assert_eq!(
            result(Outer::TxBadMinSeqAgeOrGap).code,
            "tx_bad_min_seq_age_or_gap"
        );
        assert!(result(Outer::TxBadSeq).was_fenced() && !result(Outer::TxBadSeq).used_its_number());
    }

    #[test]
    fn the_first_failed_operation_is_the_reason() {
        use xdr::{
            ClaimClaimableBalanceResult as Claim, OperationResult as Op, OperationResultTr as Tr,
            PathPaymentStrictReceiveResult as Swap, PaymentResult as Pay,
        };
        for (operations, code) in [
            (
                vec![Op::OpInner(Tr::PathPaymentStrictReceive(Swap::OverSendmax))],
                "op_over_source_max",
            ),
            (
                vec![Op::OpInner(Tr::PathPaymentStrictReceive(
                    Swap::TooFewOffers,
                ))],
                "op_too_few_offers",
            ),
            (
                vec![Op::OpInner(Tr::PathPaymentStrictReceive(Swap::Underfunded))],
                "op_underfunded",
            ),
            (
                vec![Op::OpInner(Tr::PathPaymentStrictReceive(Swap::LineFull))],
                "op_line_full",
            ),
            (
                vec![
                    Op::OpInner(Tr::Payment(Pay::Success)),
                    Op::OpInner(Tr::Payment(Pay::NoTrust)),
                ],
                "op_no_trust",
            ),
            (
                vec![Op::OpInner(Tr::Payment(Pay::NoDestination))],
                "op_no_destination",
            ),
            (
                vec![Op::OpInner(Tr::ClaimClaimableBalance(Claim::DoesNotExist))],
                "op_does_not_exist",
            ),
            (
                vec![Op::OpInner(Tr::ClaimClaimableBalance(Claim::CannotClaim))],
                "op_cannot_claim",
            ),
            (vec![Op::OpBadAuth], "op_bad_auth"),
        ] {
            let applied = result(Outer::TxFailed(operations.try_into().unwrap()));
            assert_eq!(applied.reason(), code);
            assert!(applied.used_its_number());
        }
        assert_eq!(
            result(Outer::TxInsufficientBalance).reason(),
            "tx_insufficient_balance"
        );
    }

    #[test]
    fn what_is_no_result_is_none() {
        for text in ["", "AAAA", "?", "AAAAAAAAAGT////7AAAA"] {
            assert_eq!(Applied::read(text), None, "{text}");
        }
    }
}
