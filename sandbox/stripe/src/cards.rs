//! The test cards of the real API: what each payment method comes to.

use serde_json::{Value, json};

/// What happens when the card is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charging {
    Succeeds,
    Declined {
        code: &'static str,
        decline: Option<&'static str>,
        message: &'static str,
    },
    AsksForAuthentication,
    /// Takes its time, as a bank debit does, and ends well, badly or never.
    Processes {
        succeeds: Option<bool>,
    },
}

/// What happens when the charge is refunded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refunding {
    Succeeds,
    /// `pending` first, then `succeeded`.
    PendingFirst,
    /// `succeeded` first, then `failed`.
    FailsLater,
}

/// A test card.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    pub charging: Charging,
    pub refunding: Refunding,
    /// Whether the charge is disputed at once.
    pub disputed: bool,
    pub brand: &'static str,
    pub last4: &'static str,
}

fn card(
    charging: Charging,
    refunding: Refunding,
    brand: &'static str,
    last4: &'static str,
) -> Card {
    Card {
        charging,
        refunding,
        disputed: false,
        brand,
        last4,
    }
}

/// A bank account, for debits that take their time.
fn bank(succeeds: Option<bool>, last4: &'static str) -> Card {
    let charging = Charging::Processes { succeeds };
    card(charging, Refunding::Succeeds, BANK, last4)
}

/// The brand of what is no card.
const BANK: &str = "us_bank_account";

/// The card behind a test payment method (`pm_card_visa`); `None` for a name that Stripe does
/// not have either. Source: <https://docs.stripe.com/testing>.
pub fn by_name(name: &str) -> Option<Card> {
    const DECLINED: &str = "Your card was declined.";
    let ok = Refunding::Succeeds;
    let declined = |code, decline, message, last4| {
        Some(card(
            Charging::Declined {
                code,
                decline,
                message,
            },
            ok,
            "visa",
            last4,
        ))
    };
    match name {
        "pm_card_visa" | "pm_card_us" => Some(card(Charging::Succeeds, ok, "visa", "4242")),
        "pm_card_visa_debit" => Some(card(Charging::Succeeds, ok, "visa", "5556")),
        "pm_card_mastercard" => Some(card(Charging::Succeeds, ok, "mastercard", "4444")),
        "pm_card_amex" => Some(card(Charging::Succeeds, ok, "amex", "8431")),
        "pm_card_pendingRefund" => Some(card(
            Charging::Succeeds,
            Refunding::PendingFirst,
            "visa",
            "7726",
        )),
        "pm_card_refundFail" => Some(card(
            Charging::Succeeds,
            Refunding::FailsLater,
            "visa",
            "5126",
        )),
        "pm_card_authenticationRequired" => {
            Some(card(Charging::AsksForAuthentication, ok, "visa", "3184"))
        }
        "pm_card_createDispute" => Some(Card {
            disputed: true,
            ..card(Charging::Succeeds, ok, "visa", "0259")
        }),
        "pm_usBankAccount_success" => Some(bank(Some(true), "6789")),
        "pm_usBankAccount_insufficientFunds" => Some(bank(Some(false), "2227")),
        "pm_usBankAccount_processing" => Some(bank(None, "0009")),
        "pm_card_chargeDeclined" | "pm_card_visa_chargeDeclined" => {
            declined("card_declined", Some("generic_decline"), DECLINED, "0002")
        }
        "pm_card_chargeDeclinedInsufficientFunds"
        | "pm_card_visa_chargeDeclinedInsufficientFunds" => declined(
            "card_declined",
            Some("insufficient_funds"),
            "Your card has insufficient funds.",
            "9995",
        ),
        "pm_card_chargeDeclinedFraudulent" | "pm_card_radarBlock" => {
            declined("card_declined", Some("fraudulent"), DECLINED, "0019")
        }
        "pm_card_visa_chargeDeclinedLostCard" => {
            declined("card_declined", Some("lost_card"), DECLINED, "9987")
        }
        "pm_card_visa_chargeDeclinedStolenCard" => {
            declined("card_declined", Some("stolen_card"), DECLINED, "9979")
        }
        "pm_card_chargeDeclinedExpiredCard" => declined(
            "expired_card",
            Some("expired_card"),
            "Your card has expired.",
            "0069",
        ),
        "pm_card_chargeDeclinedIncorrectCvc" => declined(
            "incorrect_cvc",
            Some("incorrect_cvc"),
            "Your card's security code is incorrect.",
            "0127",
        ),
        "pm_card_chargeDeclinedProcessingError" => declined(
            "processing_error",
            Some("processing_error"),
            "An error occurred while processing your card. Try again in a little bit.",
            "0119",
        ),
        _ => None,
    }
}

/// A card put to use: a PaymentMethod of its own, as the real API makes of a test name.
#[derive(Debug, Clone)]
pub struct PaymentMethod {
    pub id: String,
    pub created: i64,
    pub card: Card,
}

pub fn no_billing_details() -> Value {
    json!({
        "address": { "city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null },
        "email": null, "name": null, "phone": null, "tax_id": null
    })
}

impl PaymentMethod {
    /// As the API calls the kind of method.
    fn kind(&self) -> &'static str {
        if self.card.brand == BANK {
            BANK
        } else {
            "card"
        }
    }

    fn bank(&self) -> Value {
        json!({
            "account_holder_type": "individual", "account_type": "checking", "bank_name": "STRIPE TEST BANK",
            "financial_connections_account": null, "fingerprint": "sandboxfingerprn", "last4": self.card.last4,
            "routing_number": "110000000"
        })
    }

    pub fn to_json(&self) -> Value {
        if self.kind() == BANK {
            return json!({
                "id": self.id,
                "object": "payment_method",
                "allow_redisplay": "unspecified",
                "billing_details": no_billing_details(),
                "created": self.created,
                "customer": null,
                "customer_account": null,
                "livemode": false,
                "metadata": {},
                "type": BANK,
                "us_bank_account": self.bank()
            });
        }
        json!({
            "id": self.id,
            "object": "payment_method",
            "allow_redisplay": "unspecified",
            "billing_details": no_billing_details(),
            "card": {
                "brand": self.card.brand,
                "checks": { "address_line1_check": null, "address_postal_code_check": null, "cvc_check": "unchecked" },
                "country": "US",
                "display_brand": self.card.brand,
                "exp_month": 12,
                "exp_year": 2034,
                "fingerprint": "sandboxfingerprn",
                "funding": "credit",
                "generated_from": null,
                "last4": self.card.last4,
                "networks": { "available": [self.card.brand], "preferred": null },
                "regulated_status": "unregulated",
                "three_d_secure_usage": { "supported": true },
                "wallet": null
            },
            "created": self.created,
            "customer": null,
            "customer_account": null,
            "livemode": false,
            "metadata": {},
            "type": "card"
        })
    }

    /// As it stands in a charge.
    pub fn details(&self) -> Value {
        if self.kind() == BANK {
            return json!({ "type": BANK, "us_bank_account": self.bank() });
        }
        json!({
            "card": {
                "amount_authorized": null,
                "authorization_code": null,
                "brand": self.card.brand,
                "checks": { "address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass" },
                "country": "US",
                "exp_month": 12,
                "exp_year": 2034,
                "extended_authorization": { "status": "disabled" },
                "fingerprint": "sandboxfingerprn",
                "funding": "credit",
                "incremental_authorization": { "status": "unavailable" },
                "installments": null,
                "last4": self.card.last4,
                "mandate": null,
                "multicapture": { "status": "unavailable" },
                "network": self.card.brand,
                "network_token": { "used": false },
                "network_transaction_id": "000000000000000",
                "overcapture": { "maximum_amount_capturable": 0, "status": "unavailable" },
                "regulated_status": "unregulated",
                "three_d_secure": null,
                "wallet": null
            },
            "type": "card"
        })
    }
}
