//! The objects, and how the API shows them.

use crate::cards::{PaymentMethod, no_billing_details};
use crate::table::Row;
use serde_json::{Map, Value, json};

/// The API version whose shapes these are.
pub const API_VERSION: &str = "2026-09-30.endive";

/// Metadata in the order in which it was given.
pub type Metadata = Vec<(String, String)>;

fn metadata_json(metadata: &Metadata) -> Value {
    Value::Object(
        metadata
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect::<Map<_, _>>(),
    )
}

/// Status of a PaymentIntent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentStatus {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    Succeeded,
    Canceled,
}

impl IntentStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Intent {
    pub id: String,
    pub secret: String,
    pub amount: i64,
    pub amount_received: i64,
    pub currency: String,
    pub status: IntentStatus,
    pub created: i64,
    pub metadata: Metadata,
    pub customer: Option<String>,
    pub description: Option<String>,
    pub receipt_email: Option<String>,
    pub automatic: bool,
    pub allow_redirects: &'static str,
    pub method_types: Vec<String>,
    pub method: Option<PaymentMethod>,
    pub latest_charge: Option<String>,
    pub last_error: Option<Value>,
    pub canceled: Option<(i64, Option<String>)>,
}

impl Row for Intent {
    const KIND: &'static str = "payment_intent";
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
}

impl Intent {
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }

    pub fn to_json(&self) -> Value {
        let next_action = (self.status == IntentStatus::RequiresAction).then(|| {
            json!({
                "type": "use_stripe_sdk",
                "use_stripe_sdk": { "type": "three_d_secure_redirect", "stripe_js": "https://hooks.stripe.com/3d_secure_2/hosted" }
            })
        });
        json!({
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_capturable": 0,
            "amount_details": { "tip": {} },
            "amount_received": self.amount_received,
            "application": null,
            "application_fee_amount": null,
            "automatic_payment_methods": self.automatic.then(|| json!({ "allow_redirects": self.allow_redirects, "enabled": true })),
            "canceled_at": self.canceled.as_ref().map(|(at, _)| *at),
            "cancellation_reason": self.canceled.as_ref().and_then(|(_, reason)| reason.as_deref()),
            "capture_method": "automatic_async",
            "client_secret": self.secret,
            "confirmation_method": "automatic",
            "created": self.created,
            "currency": self.currency,
            "customer": self.customer,
            "customer_account": null,
            "description": self.description,
            "excluded_payment_method_types": null,
            "last_payment_error": self.last_error,
            "latest_charge": self.latest_charge,
            "livemode": false,
            "metadata": metadata_json(&self.metadata),
            "next_action": next_action,
            "on_behalf_of": null,
            "payment_method": self.method.as_ref().map(|method| method.id.as_str()),
            "payment_method_configuration_details": self.automatic.then(|| json!({ "id": "pmc_sandbox", "parent": null })),
            "payment_method_options": {
                "card": { "installments": null, "mandate_options": null, "network": null, "request_three_d_secure": "automatic" }
            },
            "payment_method_types": self.method_types,
            "processing": null,
            "receipt_email": self.receipt_email,
            "review": null,
            "setup_future_usage": null,
            "shipping": null,
            "source": null,
            "statement_descriptor": null,
            "statement_descriptor_suffix": null,
            "status": self.status.as_str(),
            "transfer_data": null,
            "transfer_group": null
        })
    }

    /// What a browser sees with the publishable key.
    pub fn to_public_json(&self) -> Value {
        const SHOWN: [&str; 24] = [
            "id",
            "object",
            "amount",
            "amount_details",
            "automatic_payment_methods",
            "canceled_at",
            "cancellation_reason",
            "capture_method",
            "client_secret",
            "confirmation_method",
            "created",
            "currency",
            "description",
            "last_payment_error",
            "livemode",
            "next_action",
            "payment_method",
            "payment_method_configuration_details",
            "payment_method_types",
            "processing",
            "receipt_email",
            "setup_future_usage",
            "shipping",
            "status",
        ];
        match self.to_json() {
            Value::Object(mut all) => {
                all.retain(|field, _| SHOWN.contains(&field.as_str()));
                Value::Object(all)
            }
            other => other,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Charge {
    pub id: String,
    pub intent: String,
    pub amount: i64,
    pub amount_refunded: i64,
    pub currency: String,
    pub created: i64,
    pub metadata: Metadata,
    pub customer: Option<String>,
    pub description: Option<String>,
    pub receipt_email: Option<String>,
    pub method: PaymentMethod,
    /// The dispute about it.
    pub dispute: Option<String>,
    /// Code, decline code and message, where it was declined.
    pub failure: Option<(String, Option<String>, String)>,
}

impl Row for Charge {
    const KIND: &'static str = "charge";
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
}

impl Charge {
    pub fn succeeded(&self) -> bool {
        self.failure.is_none()
    }

    pub fn to_json(&self) -> Value {
        let paid = self.succeeded();
        let outcome = match &self.failure {
            None => json!({
                "advice_code": null, "network_advice_code": null, "network_decline_code": null,
                "network_status": "approved_by_network", "reason": null, "risk_level": "normal",
                "risk_score": 12, "seller_message": "Payment complete.", "type": "authorized"
            }),
            Some((code, decline, message)) => json!({
                "advice_code": "try_again_later", "network_advice_code": null, "network_decline_code": null,
                "network_status": "declined_by_network", "reason": decline.as_ref().unwrap_or(code),
                "risk_level": "normal", "risk_score": 12, "seller_message": message, "type": "issuer_declined"
            }),
        };
        json!({
            "id": self.id,
            "object": "charge",
            "amount": self.amount,
            "amount_captured": if paid { self.amount } else { 0 },
            "amount_refunded": self.amount_refunded,
            "application": null,
            "application_fee": null,
            "application_fee_amount": null,
            "balance_transaction": paid.then(|| self.id.replacen("ch_", "txn_", 1)),
            "billing_details": no_billing_details(),
            "calculated_statement_descriptor": "GRIDWAY",
            "captured": paid,
            "created": self.created,
            "currency": self.currency,
            "customer": self.customer,
            "description": self.description,
            "destination": null,
            "dispute": self.dispute,
            "disputed": self.dispute.is_some(),
            "failure_balance_transaction": null,
            "failure_code": self.failure.as_ref().map(|(code, _, _)| code),
            "failure_message": self.failure.as_ref().map(|(_, _, message)| message),
            "fraud_details": {},
            "livemode": false,
            "metadata": metadata_json(&self.metadata),
            "on_behalf_of": null,
            "order": null,
            "outcome": outcome,
            "paid": paid,
            "payment_intent": self.intent,
            "payment_method": self.method.id,
            "payment_method_details": self.method.details(),
            "presentment_details": null,
            "radar_options": {},
            "receipt_email": self.receipt_email,
            "receipt_number": null,
            "receipt_url": paid.then(|| format!("https://pay.stripe.com/receipts/{}", self.id)),
            "refunded": paid && self.amount_refunded == self.amount,
            "review": null,
            "shipping": null,
            "source": null,
            "source_transfer": null,
            "statement_descriptor": null,
            "statement_descriptor_suffix": null,
            "status": if paid { "succeeded" } else { "failed" },
            "transfer_data": null,
            "transfer_group": null
        })
    }
}

#[derive(Debug, Clone)]
pub struct Refund {
    pub id: String,
    pub intent: String,
    pub charge: String,
    pub amount: i64,
    pub currency: String,
    pub created: i64,
    pub metadata: Metadata,
    pub reason: Option<String>,
    /// `succeeded`, `pending` or `failed`.
    pub status: &'static str,
}

impl Row for Refund {
    const KIND: &'static str = "refund";
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
}

impl Refund {
    pub fn to_json(&self) -> Value {
        let mut refund = json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "balance_transaction": (self.status == "succeeded").then(|| self.id.replacen("re_", "txn_", 1)),
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency,
            "destination_details": {
                "card": { "reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund" },
                "type": "card"
            },
            "metadata": metadata_json(&self.metadata),
            "payment_intent": self.intent,
            "payment_method": null,
            "reason": self.reason,
            "receipt_number": null,
            "source_transfer_reversal": null,
            "status": self.status,
            "transfer_reversal": null
        });
        if self.status == "failed" {
            refund["failure_reason"] = json!("expired_or_canceled_card");
        }
        if self.status == "pending" {
            refund["pending_reason"] = json!("processing");
        }
        refund
    }
}

#[derive(Debug, Clone)]
pub struct Dispute {
    pub id: String,
    pub charge: String,
    pub intent: String,
    pub amount: i64,
    pub currency: String,
    pub created: i64,
    pub reason: String,
    /// `needs_response`, `won` or `lost`.
    pub status: &'static str,
}

impl Row for Dispute {
    const KIND: &'static str = "dispute";
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
}

impl Dispute {
    pub fn open(&self) -> bool {
        self.status == "needs_response"
    }

    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "dispute",
            "amount": self.amount,
            "balance_transactions": [],
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency,
            "enhanced_eligibility_types": [],
            "evidence": {},
            "evidence_details": {
                "due_by": self.created + 7 * 86_400, "enhanced_eligibility": {}, "has_evidence": !self.open(),
                "past_due": false, "submission_count": u32::from(!self.open())
            },
            "is_charge_refundable": false,
            "livemode": false,
            "metadata": {},
            "payment_intent": self.intent,
            "payment_method_details": {
                "card": { "brand": "visa", "case_type": "chargeback", "network_reason_code": "10.4" }, "type": "card"
            },
            "reason": self.reason,
            "status": self.status
        })
    }
}

/// What happened; `object` is frozen as it was then.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: String,
    pub kind: &'static str,
    pub created: i64,
    /// As text: a parsed tree takes ten times the memory, and events are kept for good.
    pub object: String,
    /// Request id and idempotency key of what caused it; `None` where it came by itself.
    pub request: (Option<String>, Option<String>),
    pub pending_webhooks: u32,
}

impl Row for Event {
    const KIND: &'static str = "event";
    fn id(&self) -> &str {
        &self.id
    }
    fn created(&self) -> i64 {
        self.created
    }
}

impl Event {
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "event",
            "api_version": API_VERSION,
            "created": self.created,
            "data": { "object": serde_json::from_str::<Value>(&self.object).unwrap_or_default() },
            "livemode": false,
            "pending_webhooks": self.pending_webhooks,
            "request": { "id": self.request.0, "idempotency_key": self.request.1 },
            "type": self.kind
        })
    }

    /// As a thin notification tells it: what it is about, not what that looks like.
    pub fn to_thin_json(&self) -> Value {
        let object = serde_json::from_str::<Value>(&self.object).unwrap_or_default();
        let (id, kind) = (
            object["id"].as_str().unwrap_or_default(),
            object["object"].as_str().unwrap_or_default(),
        );
        let created = chrono::DateTime::from_timestamp(self.created, 0).unwrap_or_default();
        json!({
            "id": self.id.replacen("evt_", "evt_test_", 1),
            "object": "v2.core.event",
            "type": format!("v1.{}", self.kind),
            "created": created.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            "livemode": false,
            "context": null,
            "reason": null,
            "related_object": { "id": id, "type": kind, "url": format!("/v1/{kind}s/{id}") }
        })
    }
}
