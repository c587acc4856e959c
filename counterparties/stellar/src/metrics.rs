//! Metrics of the Stellar client, in the default registry.

use prometheus::{IntCounter, IntCounterVec, register_int_counter, register_int_counter_vec};
use std::sync::LazyLock;

// Registering fails only for a name that is taken: then the metric is missing, not the service.
static UNMAPPED: LazyLock<Option<IntCounter>> = LazyLock::new(|| {
    register_int_counter!(
        "gridway_stellar_unmapped_answers_total",
        "Answers to submissions that stand in no row of the outcome table: it needs a row."
    )
    .ok()
});
static FOREIGN: LazyLock<Option<IntCounter>> = LazyLock::new(|| {
    register_int_counter!(
        "gridway_stellar_foreign_transactions_total",
        "Sightings of a transaction that is not ours at a number of ours: an alarm."
    )
    .ok()
});
static OFFERS: LazyLock<Option<IntCounterVec>> = LazyLock::new(|| {
    register_int_counter_vec!(
        "gridway_stellar_offers_total",
        "Envelopes sent: plain, bumped, or capped where no more may be offered.",
        &["kind"]
    )
    .ok()
});

pub(crate) fn unmapped() {
    if let Some(metric) = &*UNMAPPED {
        metric.inc();
    }
}

pub(crate) fn foreign() {
    if let Some(metric) = &*FOREIGN {
        metric.inc();
    }
}

/// `kind`: plain, bumped or capped.
pub(crate) fn offer(kind: &str) {
    if let Some(metric) = &*OFFERS {
        metric.with_label_values(&[kind]).inc();
    }
}
