//! What became of a transaction: the lane's own sequence number and list tell, nothing else does.

use crate::client::{HorizonClient, landed, operation_results};
use crate::port::{LandedTransaction, ReadError, Stellar, TransactionView};
use crate::signing::SignedTransaction;
use events::outcome::{Find, Refusal};
use stellar_base::xdr;

/// Pages that are read back at most; a lane's list grows by one a record, strangers' dust aside.
const PAGES: usize = 40;

pub(crate) async fn find(horizon: &HorizonClient, ours: &SignedTransaction) -> Result<Find<LandedTransaction>, ReadError> {
    let Some(account) = horizon.account(&ours.lane).await? else {
        return Ok(Find::Pending(format!("lane {} is not opened: there is no such account", ours.lane)));
    };
    if account.sequence < ours.base {
        return Ok(Find::Pending(format!("lane {} is not opened: its sequence is {}", ours.lane, account.sequence)));
    }
    if account.sequence < ours.sequence {
        return not_taken(horizon, ours).await;
    }
    taken(horizon, ours, account.sequence).await
}

/// The number is free: before the deadline it may be tried, after it only a closed ledger tells.
async fn not_taken(horizon: &HorizonClient, ours: &SignedTransaction) -> Result<Find<LandedTransaction>, ReadError> {
    let (ledger, closed) = horizon.latest_ledger().await?;
    if closed.seconds() <= ours.deadline {
        return Ok(Find::Absent);
    }
    // A ledger closed after maxTime. What the account shows at or after it is final.
    match horizon.account(&ours.lane).await? {
        Some(account) if account.sequence < ours.sequence && (account.ledger == 0 || account.ledger >= ledger) => {
            Ok(Find::NeverWill(format!("ledger {ledger} closed after the deadline, and number {} was not taken", ours.sequence)))
        }
        _ => Ok(Find::Pending("the lane moved while it was read".to_owned())),
    }
}

/// The number is taken, or was passed: the list says by whom.
async fn taken(horizon: &HorizonClient, ours: &SignedTransaction, current: i64) -> Result<Find<LandedTransaction>, ReadError> {
    let mut cursor: Option<String> = None;
    let mut shows_current = false;
    for _ in 0..PAGES {
        let page = horizon.transactions_desc(&ours.lane, cursor.as_deref()).await?;
        for view in page.iter().filter(|v| v.source_account == ours.lane) {
            shows_current |= view.sequence >= current;
            if view.hash == ours.hash || view.inner_hash.as_ref() == Some(&ours.hash) {
                return Ok(verdict(ours, view));
            }
            if view.sequence == ours.sequence && !was_fenced(view) {
                tracing::error!(lane = %ours.lane, sequence = ours.sequence, foreign = view.hash, "a foreign transaction has our number: the lane's key is known to somebody else");
                return Ok(Find::Pending(format!("a foreign transaction, {}, has number {}", view.hash, ours.sequence)));
            }
            if view.sequence < ours.sequence {
                // The list reaches back beyond our number and does not show it.
                return Ok(if shows_current {
                    Find::NeverWill(format!("number {} was passed without this transaction", ours.sequence))
                } else {
                    Find::Pending("the list is older than the account".to_owned())
                });
            }
        }
        match page.last() {
            Some(last) => cursor = Some(last.paging_token.clone()),
            // The beginning of the list. The bump that opened the lane may have had another
            // source account, so it need not be in it.
            None if shows_current => {
                return Ok(Find::NeverWill(format!("number {} was passed without this transaction", ours.sequence)));
            }
            None => return Ok(Find::Pending("the list is older than the account".to_owned())),
        }
    }
    Ok(Find::Pending(format!("number {} is further back than {PAGES} pages", ours.sequence)))
}

/// Whether a record with a number was told `tx_bad_seq`: charged, never executed.
fn was_fenced(view: &TransactionView) -> bool {
    matches!(operation_results(&view.result), Some((Some("tx_bad_seq" | "TxBadSeq"), _)))
}

fn verdict(ours: &SignedTransaction, view: &TransactionView) -> Find<LandedTransaction> {
    if view.successful {
        return Find::Landed(landed(ours, view));
    }
    if was_fenced(view) {
        return Find::NeverWill(format!("{} was fenced: its number had been passed when it was applied", view.hash));
    }
    let code = match operation_results(&view.result) {
        Some((_, results)) if !results.is_empty() => {
            results.iter().map(operation_code).find(|c| *c != "op_success").unwrap_or("tx_failed").to_owned()
        }
        Some((Some(code), _)) => code.to_owned(),
        _ => "tx_failed".to_owned(),
    };
    let detail = format!("transaction {} failed in ledger {}: {code}", view.hash, view.ledger);
    Find::Refused(Refusal::new(code, detail).with_evidence(view.hash.clone()))
}

/// Horizon's name of an operation's result.
fn operation_code(result: &xdr::OperationResult) -> &'static str {
    use xdr::{OperationResult as Op, OperationResultTr as Tr, PathPaymentStrictReceiveResult as Swap, PaymentResult as Pay};
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
        Op::OpInner(_) => "op_failed",
        Op::OpBadAuth => "op_bad_auth",
        Op::OpNoAccount => "op_no_source_account",
        Op::OpNotSupported => "op_not_supported",
        Op::OpTooManySubentries => "op_too_many_subentries",
        Op::OpExceededWorkLimit => "op_exceeded_work_limit",
        Op::OpTooManySponsoring => "op_too_many_sponsoring",
    }
}
