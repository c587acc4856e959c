//! Refunds.

use crate::call::Call;
use crate::cards::Refunding;
use crate::error::ApiError;
use crate::objects::Refund;
use crate::state::{Origin, Shared, now};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long a refund of a test card for slow refunds stays in its first status.
const SETTLES_AFTER: Duration = Duration::from_millis(300);

/// `POST /v1/refunds`
pub fn create(shared: &Arc<Shared>, mut call: Call) -> Result<Value, ApiError> {
    let form = &mut call.form;
    let intent_id = form.take("payment_intent");
    let charge_id = form.take("charge");
    let amount = form.take_int("amount")?;
    let metadata = form.take_metadata()?;
    let reason = form.take("reason");
    form.take_list("expand");
    std::mem::take(form).finish()?;
    if let Some(reason) = &reason
        && !["duplicate", "fraudulent", "requested_by_customer"].contains(&reason.as_str())
    {
        return Err(ApiError::invalid(
            "Invalid reason: must be one of duplicate, fraudulent, or requested_by_customer",
        )
        .param("reason"));
    }

    let mut ledger = shared.ledger.lock();
    let charge_id = match (&intent_id, charge_id) {
        (Some(id), None) => {
            let intent = ledger.intents.find(id, "payment_intent")?;
            let charged = intent
                .latest_charge
                .clone()
                .filter(|_| intent.amount_received > 0);
            charged.ok_or_else(|| {
                ApiError::invalid(format!(
                    "This PaymentIntent ({id}) does not have a successful charge to refund."
                ))
                .param("payment_intent")
                .executed()
            })?
        }
        (None, Some(id)) => id,
        (None, None) => {
            return Err(ApiError::invalid(
                "One of the following params should be provided for this request: payment_intent or charge.",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "You may only specify one of these parameters: charge, payment_intent.",
            ));
        }
    };
    let charge = ledger.charges.find_mut(&charge_id, "charge")?;
    let left = charge.amount - charge.amount_refunded;
    if !charge.succeeded() {
        return Err(ApiError::invalid(format!(
            "Charge {charge_id} was not successful and cannot be refunded."
        ))
        .param("charge")
        .executed());
    }
    let dispute = charge.dispute.clone();
    if let Some(dispute) = dispute.and_then(|id| ledger.disputes.get(&id))
        && dispute.status != "won"
    {
        return Err(ApiError::invalid(format!(
            "Charge {charge_id} has been charged back; cannot issue a refund."
        ))
        .code("charge_disputed")
        .executed());
    }
    let charge = ledger.charges.find_mut(&charge_id, "charge")?;
    if left == 0 {
        return Err(
            ApiError::invalid(format!("Charge {charge_id} has already been refunded."))
                .code("charge_already_refunded")
                .executed(),
        );
    }
    let amount = amount.unwrap_or(left);
    if amount < 1 {
        return Err(
            ApiError::invalid("This value must be greater than or equal to 1.")
                .param("amount")
                .code("parameter_invalid_integer"),
        );
    }
    if amount > left {
        return Err(ApiError::invalid(format!(
            "Refund amount ({amount}) is greater than unrefunded amount on charge ({left}), in minor units of {}",
            charge.currency
        ))
        .param("amount")
        .executed());
    }
    let refunding = charge.method.card.refunding;
    charge.amount_refunded += amount;
    let refund = Refund {
        id: shared.id("re_3", 23),
        intent: charge.intent.clone(),
        charge: charge_id,
        amount,
        currency: charge.currency.clone(),
        created: now(),
        metadata,
        reason,
        status: if refunding == Refunding::PendingFirst {
            "pending"
        } else {
            "succeeded"
        },
    };
    let (shown_charge, shown) = (charge.to_json(), refund.to_json());
    let id = refund.id.clone();
    ledger.refunds.push(refund);
    shared.emit(&mut ledger, "refund.created", shown.clone(), &call.origin);
    shared.emit(&mut ledger, "charge.refunded", shown_charge, &call.origin);
    drop(ledger);
    let later = match refunding {
        Refunding::Succeeds => None,
        Refunding::PendingFirst => Some("succeeded"),
        Refunding::FailsLater => Some("failed"),
    };
    if let Some(status) = later {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            tokio::time::sleep(SETTLES_AFTER).await;
            settle(&shared, &id, status);
        });
    }
    Ok(shown)
}

/// Gives a refund its last status, as the bank does days later.
fn settle(shared: &Arc<Shared>, id: &str, status: &'static str) {
    let mut ledger = shared.ledger.lock();
    let Some(refund) = ledger.refunds.get_mut(id) else {
        return;
    };
    refund.status = status;
    let (charge_id, amount, shown) = (refund.charge.clone(), refund.amount, refund.to_json());
    let origin = Origin::default();
    shared.emit(&mut ledger, "refund.updated", shown.clone(), &origin);
    if status == "failed" {
        if let Some(charge) = ledger.charges.get_mut(&charge_id) {
            charge.amount_refunded -= amount;
        }
        shared.emit(&mut ledger, "refund.failed", shown, &origin);
    }
}

/// `GET /v1/refunds/{id}`
pub fn retrieve(shared: &Shared, id: &str, mut call: Call) -> Result<Value, ApiError> {
    call.form.take_list("expand");
    call.form.finish()?;
    Ok(shared.ledger.lock().refunds.find(id, "refund")?.to_json())
}

/// `GET /v1/refunds`
pub fn list(shared: &Shared, mut call: Call) -> Result<Value, ApiError> {
    let intent = call.form.take("payment_intent");
    let charge = call.form.take("charge");
    call.form.take_list("expand");
    let ledger = shared.ledger.lock();
    if let Some(id) = &intent {
        ledger.intents.find(id, "payment_intent")?;
    }
    if let Some(id) = &charge {
        ledger.charges.find(id, "charge")?;
    }
    ledger.refunds.page(
        "/v1/refunds",
        call.form,
        |refund| {
            intent.as_ref().is_none_or(|id| *id == refund.intent)
                && charge.as_ref().is_none_or(|id| *id == refund.charge)
        },
        Refund::to_json,
    )
}
