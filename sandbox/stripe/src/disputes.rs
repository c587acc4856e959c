//! Disputes: opened by a test card or a control, won or lost by the evidence, as in test mode.

use crate::call::Call;
use crate::error::ApiError;
use crate::objects::Dispute;
use crate::state::{Ledger, Origin, Shared, now};
use serde_json::Value;
use std::sync::Arc;

/// The payer's bank takes the charge back.
pub fn open(
    shared: &Arc<Shared>,
    ledger: &mut Ledger,
    charge_id: &str,
    reason: &str,
) -> Result<String, ApiError> {
    let charge = ledger.charges.find_mut(charge_id, "charge")?;
    if !charge.succeeded() || charge.dispute.is_some() {
        return Err(ApiError::invalid(format!(
            "Charge {charge_id} cannot be disputed."
        )));
    }
    let dispute = Dispute {
        id: shared.id("dp_1", 23),
        charge: charge_id.to_owned(),
        intent: charge.intent.clone(),
        amount: charge.amount - charge.amount_refunded,
        currency: charge.currency.clone(),
        created: now(),
        reason: reason.to_owned(),
        status: "needs_response",
    };
    charge.dispute = Some(dispute.id.clone());
    let (id, shown, origin) = (dispute.id.clone(), dispute.to_json(), Origin::default());
    ledger.disputes.push(dispute);
    shared.emit(ledger, "charge.dispute.created", shown.clone(), &origin);
    shared.emit(ledger, "charge.dispute.funds_withdrawn", shown, &origin);
    Ok(id)
}

/// `POST /v1/disputes/{id}`: in test mode the evidence decides, `winning_evidence` or
/// `losing_evidence`. Source: <https://docs.stripe.com/testing#disputes>.
pub fn update(shared: &Arc<Shared>, id: &str, mut call: Call) -> Result<Value, ApiError> {
    let evidence = call.form.take_map("evidence");
    let submit = call.form.take_bool("submit")?.unwrap_or(true);
    call.form.take_metadata()?;
    call.form.finish()?;
    let text = evidence
        .iter()
        .find(|(name, _)| name == "uncategorized_text")
        .map(|(_, text)| text.as_str());
    let status = match text {
        Some("winning_evidence") if submit => "won",
        Some("losing_evidence") if submit => "lost",
        _ => {
            return Ok(shared.ledger.lock().disputes.find(id, "dispute")?.to_json());
        }
    };
    end(shared, id, status, &call.origin)
}

/// `POST /v1/disputes/{id}/close`: the dispute is accepted.
pub fn close(shared: &Arc<Shared>, id: &str, call: Call) -> Result<Value, ApiError> {
    call.form.finish()?;
    end(shared, id, "lost", &call.origin)
}

fn end(
    shared: &Arc<Shared>,
    id: &str,
    status: &'static str,
    origin: &Origin,
) -> Result<Value, ApiError> {
    let mut ledger = shared.ledger.lock();
    let dispute = ledger.disputes.find_mut(id, "dispute")?;
    if !dispute.open() {
        return Err(ApiError::invalid("This dispute is already closed").executed());
    }
    dispute.status = status;
    let shown = dispute.to_json();
    if status == "won" {
        let kind = "charge.dispute.funds_reinstated";
        shared.emit(&mut ledger, kind, shown.clone(), origin);
    }
    shared.emit(&mut ledger, "charge.dispute.closed", shown.clone(), origin);
    Ok(shown)
}

/// `GET /v1/disputes/{id}`
pub fn retrieve(shared: &Shared, id: &str, mut call: Call) -> Result<Value, ApiError> {
    call.form.take_list("expand");
    call.form.finish()?;
    Ok(shared.ledger.lock().disputes.find(id, "dispute")?.to_json())
}

/// `GET /v1/disputes`
pub fn list(shared: &Shared, mut call: Call) -> Result<Value, ApiError> {
    let intent = call.form.take("payment_intent");
    let charge = call.form.take("charge");
    call.form.take_list("expand");
    shared.ledger.lock().disputes.page(
        "/v1/disputes",
        call.form,
        |dispute| {
            intent.as_ref().is_none_or(|id| *id == dispute.intent)
                && charge.as_ref().is_none_or(|id| *id == dispute.charge)
        },
        Dispute::to_json,
    )
}
