//! `POST /transactions`.

use super::ask::Ask;
use super::problem::Problem;
use super::{Net, document, tx};
use crate::codes::result_codes;
use crate::envelope::Submission;
use crate::ledger::history::base64_xdr;
use crate::node::Answer;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;
use stellar_base::xdr::TransactionResult;

fn failed(submission: &Submission, result: &TransactionResult) -> Problem {
    Problem::failed(json!({
        "envelope_xdr": submission.xdr,
        "hash": hex::encode(submission.id()),
        "result_codes": result_codes(result),
        "result_xdr": base64_xdr(result),
    }))
}

/// Takes a form with `tx`, waits for the ledger, shows the transaction.
pub async fn submit(State(node): State<Net>, ask: Ask, body: Bytes) -> Result<Response, Problem> {
    let field = url::form_urlencoded::parse(&body).find(|(key, _)| key == "tx");
    let envelope = field.map(|(_, value)| value.into_owned()).unwrap_or_default();
    let network = node.read().network;
    let Ok(submission) = Submission::decode(&envelope, network) else { return Err(Problem::malformed(&envelope)) };
    let submission = Arc::new(submission);
    match node.submit(Arc::clone(&submission)).await {
        Answer::Recorded(record) if record.successful => {
            Ok(document(&tx::render(&record, Some(submission.id()), &ask.base)))
        }
        Answer::Recorded(record) => Err(failed(&submission, &record.result)),
        Answer::Invalid(result) => Err(failed(&submission, &result)),
        Answer::Timeout => Err(Problem::timeout(json!({
            "hash": hex::encode(submission.id()),
            "envelope_xdr": submission.xdr,
        }))),
    }
}
