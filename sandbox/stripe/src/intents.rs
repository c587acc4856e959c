//! PaymentIntents and their charges.

use crate::call::{Call, Caller};
use crate::cards::{self, Charging, PaymentMethod};
use crate::disputes;
use crate::error::ApiError;
use crate::form::Form;
use crate::objects::{Charge, Intent, IntentStatus};
use crate::state::{Ledger, Origin, Shared, now};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Currencies with their smallest charge, in minor units.
/// Source: <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>.
const CURRENCIES: [(&str, i64); 13] = [
    ("usd", 50),
    ("eur", 50),
    ("gbp", 30),
    ("chf", 50),
    ("aud", 50),
    ("cad", 50),
    ("jpy", 50),
    ("dkk", 250),
    ("nok", 300),
    ("sek", 300),
    ("pln", 200),
    ("sgd", 50),
    ("kwd", 150),
];
/// How long a bank takes for a debit.
const PROCESSED_AFTER: Duration = Duration::from_millis(300);
const LARGEST: i64 = 99_999_999;

fn amount_and_currency(form: &mut Form) -> Result<(i64, String), ApiError> {
    let amount = form
        .take_int("amount")?
        .ok_or_else(|| ApiError::missing("amount"))?;
    let currency = form.require("currency")?.to_lowercase();
    let Some((_, least)) = CURRENCIES.iter().find(|(code, _)| *code == currency) else {
        let known: Vec<&str> = CURRENCIES.iter().map(|(code, _)| *code).collect();
        return Err(ApiError::invalid(format!(
            "Invalid currency: {currency}. Stripe currently supports these currencies: {}",
            known.join(", ")
        ))
        .param("currency"));
    };
    if amount < 1 {
        return Err(
            ApiError::invalid("This value must be greater than or equal to 1.")
                .param("amount")
                .code("parameter_invalid_integer"),
        );
    }
    if amount < *least {
        return Err(ApiError::invalid(format!(
            "The amount is below the smallest charge of {least} {currency} in minor units."
        ))
        .param("amount")
        .code("amount_too_small"));
    }
    // Source: <https://docs.stripe.com/currencies#three-decimal>.
    if currency == "kwd" && amount % 10 != 0 {
        return Err(ApiError::invalid(
            "Invalid amount. The last digit of an amount in a three-decimal currency must be 0.",
        )
        .param("amount")
        .code("parameter_invalid_integer"));
    }
    if amount > LARGEST {
        return Err(
            ApiError::invalid("Amount must be no more than 99999999 in minor units.")
                .param("amount")
                .code("amount_too_large"),
        );
    }
    Ok((amount, currency))
}

fn receipt_email(form: &mut Form) -> Result<Option<String>, ApiError> {
    let given = form.take("receipt_email").filter(|email| !email.is_empty());
    if let Some(email) = &given
        && !email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
    {
        return Err(ApiError::invalid(format!("Invalid email address: {email}"))
            .param("receipt_email")
            .code("email_invalid"));
    }
    Ok(given)
}

/// `POST /v1/payment_intents`
pub fn create(shared: &Arc<Shared>, mut call: Call) -> Result<Value, ApiError> {
    let form = &mut call.form;
    let (amount, currency) = amount_and_currency(form)?;
    let enabled = form.take_bool("automatic_payment_methods[enabled]")?;
    let redirects = form.take("automatic_payment_methods[allow_redirects]");
    let listed = form.take_list("payment_method_types");
    if enabled == Some(true) && !listed.is_empty() {
        return Err(ApiError::invalid(
            "You may only specify one of these parameters: automatic_payment_methods, payment_method_types.",
        ));
    }
    let metadata = form.take_metadata()?;
    let receipt_email = receipt_email(form)?;
    let confirm = form.take_bool("confirm")?.unwrap_or(false);
    let method = form.take("payment_method");
    for ignored in [
        "return_url",
        "off_session",
        "error_on_requires_action",
        "capture_method",
        "confirmation_method",
    ] {
        form.take(ignored);
    }
    let expand = form.take_list("expand");
    let customer = form.take("customer");
    let description = form.take("description");
    std::mem::take(form).finish()?;
    let card = method
        .as_deref()
        .map(|name| payment_method(shared, name))
        .transpose()?;
    if confirm && card.is_none() {
        return Err(ApiError::missing("payment_method"));
    }

    let id = shared.id("pi_3", 23);
    let intent = Intent {
        secret: shared.id(&format!("{id}_secret_"), 25),
        id: id.clone(),
        amount,
        amount_received: 0,
        currency,
        status: if card.is_some() {
            IntentStatus::RequiresConfirmation
        } else {
            IntentStatus::RequiresPaymentMethod
        },
        created: now(),
        metadata,
        customer,
        description,
        receipt_email,
        automatic: enabled.unwrap_or(listed.is_empty()),
        allow_redirects: if redirects.as_deref() == Some("never") {
            "never"
        } else {
            "always"
        },
        method_types: if listed.is_empty() {
            vec!["card".into()]
        } else {
            listed
        },
        method: card,
        latest_charge: None,
        last_error: None,
        canceled: None,
    };
    let mut ledger = shared.ledger.lock();
    shared.emit(
        &mut ledger,
        "payment_intent.created",
        intent.to_json(),
        &call.origin,
    );
    ledger.intents.push(intent);
    if confirm {
        charge(shared, &mut ledger, &id, &call.origin)?;
    }
    show(&ledger, &id, &Caller::Secret, &expand)
}

/// `GET /v1/payment_intents/{id}`
pub fn retrieve(shared: &Shared, id: &str, mut call: Call) -> Result<Value, ApiError> {
    let ledger = shared.ledger.lock();
    let intent = ledger.intents.find(id, "intent")?;
    check_secret(intent, &mut call)?;
    let expand = call.form.take_list("expand");
    call.form.finish()?;
    show(&ledger, id, &call.caller, &expand)
}

/// `POST /v1/payment_intents/{id}`
pub fn update(shared: &Shared, id: &str, mut call: Call) -> Result<Value, ApiError> {
    let mut ledger = shared.ledger.lock();
    let intent = ledger.intents.find_mut(id, "intent")?;
    let metadata = call.form.take_metadata()?;
    let description = call.form.take("description");
    let receipt_email = receipt_email(&mut call.form)?;
    call.form.finish()?;
    for (key, value) in metadata {
        intent.metadata.retain(|(known, _)| *known != key);
        if !value.is_empty() {
            intent.metadata.push((key, value));
        }
    }
    if description.is_some() {
        intent.description = description;
    }
    if receipt_email.is_some() {
        intent.receipt_email = receipt_email;
    }
    Ok(intent.to_json())
}

/// `GET /v1/payment_intents`
pub fn list(shared: &Shared, mut call: Call) -> Result<Value, ApiError> {
    let customer = call.form.take("customer");
    let expand: Vec<String> = call
        .form
        .take_list("expand")
        .into_iter()
        .filter_map(|path| path.strip_prefix("data.").map(str::to_owned))
        .collect();
    let ledger = shared.ledger.lock();
    ledger.intents.page(
        "/v1/payment_intents",
        call.form,
        |intent| customer.is_none() || intent.customer == customer,
        |intent| expanded(&ledger, intent, intent.to_json(), &expand),
    )
}

/// `POST /v1/payment_intents/{id}/confirm`
pub fn confirm(shared: &Arc<Shared>, id: &str, mut call: Call) -> Result<Value, ApiError> {
    let form = &mut call.form;
    let method = form.take("payment_method");
    let expand = form.take_list("expand");
    let receipt_email = form.take("receipt_email");
    // What Stripe.js sends along, and what only matters where a bank's page is opened.
    for ignored in [
        "return_url",
        "use_stripe_sdk",
        "off_session",
        "error_on_requires_action",
        "expected_payment_method_type",
    ] {
        form.take(ignored);
    }
    form.take_map("mandate_data");
    let mut ledger = shared.ledger.lock();
    check_secret(ledger.intents.find(id, "intent")?, &mut call)?;
    std::mem::take(&mut call.form).finish()?;
    let card = method
        .as_deref()
        .map(|name| payment_method(shared, name))
        .transpose()?;
    let intent = ledger.intents.find_mut(id, "intent")?;
    match intent.status {
        IntentStatus::RequiresPaymentMethod
        | IntentStatus::RequiresConfirmation
        | IntentStatus::RequiresAction => {}
        IntentStatus::Processing => {
            return Err(unexpected(
                intent,
                "You cannot confirm this PaymentIntent because it has a status of processing. Only a PaymentIntent with one of the following statuses may be confirmed: requires_confirmation, requires_action, requires_payment_method.",
            ));
        }
        IntentStatus::Succeeded => {
            return Err(unexpected(
                intent,
                "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed.",
            ));
        }
        IntentStatus::Canceled => {
            return Err(unexpected(
                intent,
                "You cannot confirm this PaymentIntent because it has a status of canceled. Only a PaymentIntent with one of the following statuses may be confirmed: requires_confirmation, requires_action, requires_payment_method.",
            ));
        }
    }
    if card.is_some() {
        intent.method = card;
    }
    if intent.method.is_none() {
        return Err(unexpected(
            intent,
            "You cannot confirm this PaymentIntent because it's missing a payment method. Update the PaymentIntent with a payment method and then confirm it again.",
        ));
    }
    if receipt_email.is_some() {
        intent.receipt_email = receipt_email;
    }
    charge(shared, &mut ledger, id, &call.origin)?;
    show(&ledger, id, &call.caller, &expand)
}

/// `POST /v1/payment_intents/{id}/cancel`
pub fn cancel(shared: &Arc<Shared>, id: &str, mut call: Call) -> Result<Value, ApiError> {
    let reason = call.form.take("cancellation_reason");
    call.form.finish()?;
    if let Some(reason) = &reason
        && ![
            "duplicate",
            "fraudulent",
            "requested_by_customer",
            "abandoned",
        ]
        .contains(&reason.as_str())
    {
        return Err(ApiError::invalid(
            "Invalid cancellation_reason: must be one of duplicate, fraudulent, requested_by_customer, or abandoned",
        )
        .param("cancellation_reason"));
    }
    let mut ledger = shared.ledger.lock();
    let intent = ledger.intents.find_mut(id, "intent")?;
    if matches!(
        intent.status,
        IntentStatus::Succeeded | IntentStatus::Canceled
    ) {
        let message = format!(
            "You cannot cancel this PaymentIntent because it has a status of {}. Only a PaymentIntent with one of the following statuses may be canceled: requires_payment_method, requires_capture, requires_reauthorization, requires_confirmation, requires_action, processing.",
            intent.status.as_str()
        );
        return Err(unexpected(intent, &message));
    }
    intent.status = IntentStatus::Canceled;
    intent.canceled = Some((now(), reason));
    let shown = intent.to_json();
    shared.emit(
        &mut ledger,
        "payment_intent.canceled",
        shown.clone(),
        &call.origin,
    );
    Ok(shown)
}

fn unexpected(intent: &Intent, message: &str) -> ApiError {
    ApiError::invalid(message)
        .code("payment_intent_unexpected_state")
        .with("payment_intent", intent.to_json())
        .executed()
}

/// A browser must show the intent's client secret; a server may.
fn check_secret(intent: &Intent, call: &mut Call) -> Result<(), ApiError> {
    match (call.form.take("client_secret"), &call.caller) {
        (None, Caller::Secret) => Ok(()),
        (None, Caller::Publishable) => Err(ApiError::missing("client_secret")),
        (Some(secret), _) if secret == intent.secret => Ok(()),
        (Some(_), _) => Err(ApiError::invalid(
            "The client_secret provided does not match the client_secret associated with the PaymentIntent.",
        )
        .param("client_secret")
        .code("payment_intent_invalid_parameter")),
    }
}

fn payment_method(shared: &Shared, name: &str) -> Result<PaymentMethod, ApiError> {
    let card = cards::by_name(name)
        .ok_or_else(|| ApiError::no_such("PaymentMethod", name, "payment_method"))?;
    Ok(PaymentMethod {
        id: shared.id("pm_1", 23),
        created: now(),
        card,
    })
}

/// Charges the intent's card.
fn charge(
    shared: &Arc<Shared>,
    ledger: &mut Ledger,
    id: &str,
    origin: &Origin,
) -> Result<(), ApiError> {
    let Some(intent) = ledger.intents.get_mut(id) else {
        return Ok(());
    };
    let Some(method) = intent.method.clone() else {
        return Ok(());
    };
    let failure = match method.card.charging {
        Charging::AsksForAuthentication => {
            intent.status = IntentStatus::RequiresAction;
            let shown = intent.to_json();
            shared.emit(ledger, "payment_intent.requires_action", shown, origin);
            return Ok(());
        }
        Charging::Processes { succeeds } => {
            intent.status = IntentStatus::Processing;
            let shown = intent.to_json();
            shared.emit(ledger, "payment_intent.processing", shown, origin);
            if let Some(succeeds) = succeeds {
                let (shared, id) = (Arc::clone(shared), id.to_owned());
                tokio::spawn(async move {
                    tokio::time::sleep(PROCESSED_AFTER).await;
                    processed(&shared, &id, succeeds);
                });
            }
            return Ok(());
        }
        Charging::Succeeds => None,
        Charging::Declined {
            code,
            decline,
            message,
        } => Some((code, decline, message)),
    };
    conclude(shared, ledger, id, &method, failure, origin)
}

/// What a declined charge is given: code, decline code, message.
type Failure = (&'static str, Option<&'static str>, &'static str);

/// The bank has answered a debit.
fn processed(shared: &Arc<Shared>, id: &str, succeeds: bool) {
    let mut ledger = shared.ledger.lock();
    let waiting = ledger
        .intents
        .get(id)
        .filter(|intent| intent.status == IntentStatus::Processing);
    let Some(method) = waiting.and_then(|intent| intent.method.clone()) else {
        return;
    };
    let failure = (!succeeds).then_some((
        "payment_method_microdeposit_failed",
        Some("insufficient_funds"),
        "The customer's account has insufficient funds to cover this payment.",
    ));
    // A failure is told by its events: nobody waits for the answer.
    let _ = conclude(
        shared,
        &mut ledger,
        id,
        &method,
        failure,
        &Origin::default(),
    );
}

/// The person has shown their bank that it is them.
pub fn authenticate(shared: &Arc<Shared>, id: &str) -> Result<(), ApiError> {
    let mut ledger = shared.ledger.lock();
    let intent = ledger.intents.find(id, "intent")?;
    if intent.status != IntentStatus::RequiresAction {
        return Err(unexpected(intent, "This PaymentIntent requires no action."));
    }
    let Some(method) = intent.method.clone() else {
        return Ok(());
    };
    conclude(shared, &mut ledger, id, &method, None, &Origin::default())
}

/// The charge, as the bank decided.
fn conclude(
    shared: &Arc<Shared>,
    ledger: &mut Ledger,
    id: &str,
    method: &PaymentMethod,
    failure: Option<Failure>,
    origin: &Origin,
) -> Result<(), ApiError> {
    let Some(intent) = ledger.intents.get_mut(id) else {
        return Ok(());
    };
    let charge = Charge {
        id: shared.id("ch_3", 23),
        intent: intent.id.clone(),
        amount: intent.amount,
        amount_refunded: 0,
        currency: intent.currency.clone(),
        created: now(),
        metadata: intent.metadata.clone(),
        customer: intent.customer.clone(),
        description: intent.description.clone(),
        receipt_email: intent.receipt_email.clone(),
        method: method.clone(),
        dispute: None,
        failure: failure.map(|(code, decline, message)| {
            (
                code.to_owned(),
                decline.map(str::to_owned),
                message.to_owned(),
            )
        }),
    };
    intent.latest_charge = Some(charge.id.clone());
    let Some((code, decline, message)) = failure else {
        intent.status = IntentStatus::Succeeded;
        intent.amount_received = intent.amount;
        intent.last_error = None;
        let shown = intent.to_json();
        shared.emit(ledger, "charge.succeeded", charge.to_json(), origin);
        shared.emit(ledger, "payment_intent.succeeded", shown, origin);
        let charge_id = charge.id.clone();
        ledger.charges.push(charge);
        if method.card.disputed {
            disputes::open(shared, ledger, &charge_id, "fraudulent")?;
        }
        return Ok(());
    };
    let error = ApiError::card(code, decline, message)
        .with("charge", json!(charge.id))
        .with("payment_method", method.to_json());
    intent.status = IntentStatus::RequiresPaymentMethod;
    intent.method = None;
    intent.last_error = Some(error.object());
    let shown = intent.to_json();
    shared.emit(ledger, "charge.failed", charge.to_json(), origin);
    shared.emit(
        ledger,
        "payment_intent.payment_failed",
        shown.clone(),
        origin,
    );
    ledger.charges.push(charge);
    Err(error.with("payment_intent", shown))
}

fn show(ledger: &Ledger, id: &str, caller: &Caller, expand: &[String]) -> Result<Value, ApiError> {
    let intent = ledger.intents.find(id, "intent")?;
    Ok(match caller {
        Caller::Secret => expanded(ledger, intent, intent.to_json(), expand),
        Caller::Publishable => intent.to_public_json(),
    })
}

fn expanded(ledger: &Ledger, intent: &Intent, mut shown: Value, expand: &[String]) -> Value {
    for field in expand {
        match field.as_str() {
            "latest_charge" => {
                let charge = intent
                    .latest_charge
                    .as_deref()
                    .and_then(|id| ledger.charges.get(id));
                if let Some(charge) = charge {
                    shown["latest_charge"] = charge.to_json();
                }
            }
            "payment_method" => {
                if let Some(method) = &intent.method {
                    shown["payment_method"] = method.to_json();
                }
            }
            _ => {}
        }
    }
    shown
}

/// `GET /v1/charges/{id}`
pub fn retrieve_charge(shared: &Shared, id: &str, mut call: Call) -> Result<Value, ApiError> {
    call.form.take_list("expand");
    call.form.finish()?;
    Ok(shared.ledger.lock().charges.find(id, "charge")?.to_json())
}

/// `GET /v1/charges`
pub fn list_charges(shared: &Shared, mut call: Call) -> Result<Value, ApiError> {
    let intent = call.form.take("payment_intent");
    let customer = call.form.take("customer");
    call.form.take_list("expand");
    shared.ledger.lock().charges.page(
        "/v1/charges",
        call.form,
        |charge| {
            intent
                .as_ref()
                .is_none_or(|intent| *intent == charge.intent)
                && (customer.is_none() || charge.customer == customer)
        },
        Charge::to_json,
    )
}
