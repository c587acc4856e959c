//! What people are told: each kind with the figures that its template names.
//!
//! To add one: a row here, a template of its name in each language, and the event that raises it
//! in [`crate::notices`]. A test renders every template with exactly these figures.

use events::notifications::{Channel, Figure};

/// Whom a kind concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The person whose thing it is.
    Owner,
    /// All operators.
    Operators,
}

/// A kind of notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its name, also its template's.
    pub name: &'static str,
    /// Whom it concerns.
    pub audience: Audience,
    /// Whether a phone rings for it unless its owner wants otherwise.
    pub urgent: bool,
    /// The figures of its template.
    pub figures: &'static [&'static str],
}

const fn owner(name: &'static str, figures: &'static [&'static str]) -> Kind {
    Kind {
        name,
        audience: Audience::Owner,
        urgent: false,
        figures,
    }
}

const fn urgent(name: &'static str, figures: &'static [&'static str]) -> Kind {
    Kind {
        urgent: true,
        ..owner(name, figures)
    }
}

const fn operators(name: &'static str, figures: &'static [&'static str]) -> Kind {
    Kind {
        audience: Audience::Operators,
        ..urgent(name, figures)
    }
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    owner(
        "purchase_settled",
        &["purchase_id", "tft", "charge", "arrived"],
    ),
    urgent(
        "purchase_refunded",
        &["purchase_id", "tft", "charge", "refunded", "detail"],
    ),
    owner(
        "purchase_not_paid",
        &["purchase_id", "tft", "charge", "detail"],
    ),
    urgent("purchase_lost", &["purchase_id", "tft", "charge", "detail"]),
    owner("purchase_paid_late", &["purchase_id", "tft", "charge"]),
    owner("payment_refunded", &["purchase_id", "refunded"]),
    urgent("purchase_disputed", &["purchase_id", "tft", "charge"]),
    urgent(
        "payment_quarantined",
        &["purchase_id", "expected", "received", "reason"],
    ),
    owner(
        "deployment_created",
        &["deployment_id", "contract_id", "node_id", "block"],
    ),
    owner(
        "batch_created",
        &["batch_id", "count", "contract_ids", "block"],
    ),
    urgent("deployment_failed", &["deployment_id", "reason", "detail"]),
    owner(
        "deployment_update_failed",
        &["deployment_id", "version", "reason", "detail"],
    ),
    owner(
        "deployment_cancelled",
        &["deployment_id", "contract_id", "detail"],
    ),
    urgent(
        "deployment_cancelled_by_chain",
        &["deployment_id", "contract_id", "detail"],
    ),
    owner(
        "deployment_cancel_failed",
        &["deployment_id", "reason", "detail"],
    ),
    urgent(
        "grace_period_started",
        &[
            "deployment_id",
            "contract_id",
            "block",
            "last_billed",
            "billed",
        ],
    ),
    urgent(
        "balance_low",
        &["balance", "spent_per_day", "lasts", "threshold"],
    ),
    owner(
        "grace_period_ended",
        &["deployment_id", "contract_id", "block"],
    ),
    urgent(
        "workload_failed",
        &[
            "deployment_id",
            "contract_id",
            "node_id",
            "version",
            "reason",
            "detail",
        ],
    ),
    owner("twin_created", &["twin_id", "account", "block"]),
    owner("twin_failed", &["attempt", "code", "detail"]),
    urgent(
        "webhook_endpoint_disabled",
        &["endpoint_id", "reason", "failing_since"],
    ),
    operators(
        "treasury_low",
        &["holding", "account", "asset", "balance", "threshold"],
    ),
    operators(
        "treasury_restored",
        &["holding", "account", "asset", "balance", "threshold"],
    ),
    operators("purchase_alarmed", &["purchase_id", "alarm", "detail"]),
    Kind {
        urgent: false,
        ..operators(
            "deposit_unmatched",
            &["deposit_id", "reason", "detail", "from", "asset", "amount"],
        )
    },
    operators("deposit_alarmed", &["deposit_id", "alarm", "detail"]),
    owner("node_application_approved", &["application_id", "farm"]),
    owner(
        "node_application_rejected",
        &["application_id", "farm", "reason"],
    ),
    owner(
        "node_application_changes_requested",
        &["application_id", "farm", "reason"],
    ),
    Kind {
        urgent: false,
        ..operators(
            "node_application_waits",
            &["application_id", "farm", "country", "revision"],
        )
    },
];

impl Kind {
    /// The kind of a name; `None` for one that this program does not know.
    #[must_use]
    pub fn of(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// Whether somebody who chose nothing is told of it by this channel.
    #[must_use]
    pub const fn usual(&self, channel: Channel) -> bool {
        match channel {
            Channel::Email | Channel::Webhook => true,
            Channel::Sms => self.urgent,
        }
    }
}

/// A figure.
pub fn figure(name: &str, value: impl ToString) -> Figure {
    Figure {
        name: name.to_owned(),
        value: value.to_string(),
    }
}
