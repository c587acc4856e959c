//! Metrics of the runtime, in the default registry. Names carry their unit.

use prometheus::{
    GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec, exponential_buckets, register_gauge_vec,
    register_histogram_vec, register_int_counter_vec, register_int_gauge_vec,
};
use std::sync::LazyLock;
use std::time::Duration;

type Lazy<T> = LazyLock<Option<T>>;

// Registering fails only for a name that is taken: then the metric is missing, not the service.
macro_rules! counter {
    ($name:literal, $help:literal, $labels:expr) => {
        LazyLock::new(|| register_int_counter_vec!($name, $help, &$labels).ok())
    };
}
macro_rules! gauge {
    ($name:literal, $help:literal, $labels:expr) => {
        LazyLock::new(|| register_int_gauge_vec!($name, $help, &$labels).ok())
    };
}
macro_rules! seconds {
    ($name:literal, $help:literal, $labels:expr) => {
        LazyLock::new(|| {
            let buckets = exponential_buckets(0.001, 2.0, 17).unwrap_or_default();
            register_histogram_vec!($name, $help, &$labels, buckets).ok()
        })
    };
}

static RECORDS: Lazy<IntCounterVec> = counter!(
    "gridway_records_total",
    "Records read: fact, echo, blocked or poison.",
    ["processor", "kind"]
);
static APPENDED: Lazy<IntCounterVec> =
    counter!("gridway_appended_total", "Events appended.", ["processor"]);
static OUTCOMES: Lazy<IntCounterVec> = counter!(
    "gridway_effect_steps_total",
    "Steps of effects: landed, found, refused, never_will, pending, not_sent, unknown.",
    ["processor", "step"]
);
static DEAD_LETTERS: Lazy<IntCounterVec> = counter!(
    "gridway_dead_letters_total",
    "Records that could not be read.",
    ["processor"]
);
static RESTARTS: Lazy<IntCounterVec> = counter!(
    "gridway_worker_restarts_total",
    "Workers rebuilt after trouble.",
    ["processor"]
);
static TRANSACTION: Lazy<HistogramVec> = seconds!(
    "gridway_transaction_seconds",
    "From begin to commit.",
    ["processor"]
);
static EFFECT: Lazy<HistogramVec> = seconds!(
    "gridway_effect_seconds",
    "From the start of an effect to its outcome.",
    ["processor"]
);
static FOLD: Lazy<HistogramVec> = seconds!(
    "gridway_fold_seconds",
    "From assignment to live.",
    ["processor"]
);
static LAG: Lazy<IntGaugeVec> = gauge!(
    "gridway_lag_records",
    "Records behind the end.",
    ["processor", "partition"]
);
static UNDECIDED: Lazy<IntGaugeVec> = gauge!(
    "gridway_undecided_records",
    "Records at the end of the partition that nobody gets to read, because a transaction before them has not ended. Does it stay above zero for longer than a transaction may last, one hangs.",
    ["processor", "partition"]
);
static OPEN: Lazy<IntGaugeVec> = gauge!(
    "gridway_open_requests",
    "Requests without an outcome in the log.",
    ["processor", "partition"]
);
static OLDEST: Lazy<IntGaugeVec> = gauge!(
    "gridway_oldest_open_request_ms",
    "Age of the oldest open request.",
    ["processor", "partition"]
);
static SOURCE_LAG: Lazy<IntGaugeVec> = gauge!(
    "gridway_source_lag_ms",
    "How long ago the outside was read to its end: facts older than that are in the log.",
    ["processor", "partition"]
);
static AGGREGATES: Lazy<IntGaugeVec> = gauge!(
    "gridway_aggregates",
    "Aggregates in memory.",
    ["processor", "partition"]
);
static BLOCKED: Lazy<IntGaugeVec> = gauge!(
    "gridway_blocked_aggregates",
    "Aggregates that wait behind a dead letter.",
    ["processor", "partition"]
);
static HELD: Lazy<IntGaugeVec> = gauge!(
    "gridway_held_records",
    "Records held behind a dead letter.",
    ["processor", "partition"]
);
static RELEASED: Lazy<IntCounterVec> = counter!(
    "gridway_dead_letters_released_total",
    "Dead letters that an operator settled: redriven, discarded or still_unreadable.",
    ["processor", "how"]
);
static STATE: Lazy<IntGaugeVec> = gauge!(
    "gridway_partition_state",
    "0 not ours, 1 folding, 2 live, 3 paused.",
    ["processor", "partition"]
);
static BREAKER: Lazy<IntGaugeVec> = gauge!(
    "gridway_breaker_state",
    "0 closed, 1 one call looks whether the counterparty is back, 2 open: it is taken to be down.",
    ["counterparty"]
);
static OUTAGES: Lazy<IntCounterVec> = counter!(
    "gridway_breaker_opened_total",
    "Times that a counterparty was taken to be down.",
    ["counterparty"]
);
static CALLS_WAITING: Lazy<IntGaugeVec> = gauge!(
    "gridway_calls_waiting",
    "Calls that wait for an open breaker or for their turn.",
    ["counterparty"]
);
static CALL_LIMIT: Lazy<GaugeVec> = LazyLock::new(|| {
    let help = "Calls a second that a counterparty is sent at most; grows after an outage.";
    register_gauge_vec!("gridway_calls_per_second_limit", help, &["counterparty"]).ok()
});

pub(crate) fn records(processor: &str, kind: &str) {
    if let Some(m) = &*RECORDS {
        m.with_label_values(&[processor, kind]).inc();
    }
}

pub(crate) fn appended(processor: &str, count: usize) {
    if let Some(m) = &*APPENDED {
        m.with_label_values(&[processor]).inc_by(count as u64);
    }
}

pub(crate) fn outcome(processor: &str, step: &str) {
    if let Some(m) = &*OUTCOMES {
        m.with_label_values(&[processor, step]).inc();
    }
}

pub(crate) fn dead_letter(processor: &str) {
    if let Some(m) = &*DEAD_LETTERS {
        m.with_label_values(&[processor]).inc();
    }
}

pub(crate) fn restart(processor: &str) {
    if let Some(m) = &*RESTARTS {
        m.with_label_values(&[processor]).inc();
    }
}

fn observe(metric: &Lazy<HistogramVec>, processor: &str, took: Duration) {
    if let Some(m) = &**metric {
        m.with_label_values(&[processor])
            .observe(took.as_secs_f64());
    }
}

pub(crate) fn transaction(processor: &str, took: Duration) {
    observe(&TRANSACTION, processor, took);
}

pub(crate) fn effect(processor: &str, took: Duration) {
    observe(&EFFECT, processor, took);
}

pub(crate) fn fold(processor: &str, took: Duration) {
    observe(&FOLD, processor, took);
}

fn set(metric: &Lazy<IntGaugeVec>, processor: &str, partition: i32, value: i64) {
    if let Some(m) = &**metric {
        m.with_label_values(&[processor, &partition.to_string()])
            .set(value);
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(crate) fn lag(processor: &str, partition: i32, records: i64) {
    set(&LAG, processor, partition, records);
}

pub(crate) fn undecided(processor: &str, partition: i32, records: i64) {
    set(&UNDECIDED, processor, partition, records);
}

pub(crate) fn open_requests(processor: &str, partition: i32, open: usize, oldest_ms: i64) {
    set(&OPEN, processor, partition, count(open));
    set(&OLDEST, processor, partition, oldest_ms);
}

pub(crate) fn source_lag(processor: &str, partition: i32, lag_ms: i64) {
    set(&SOURCE_LAG, processor, partition, lag_ms);
}

pub(crate) fn aggregates(processor: &str, partition: i32, all: usize) {
    set(&AGGREGATES, processor, partition, count(all));
}

/// Aggregates that wait, and records held.
pub(crate) fn waiting(processor: &str, partition: i32, (aggregates, held): (usize, usize)) {
    set(&BLOCKED, processor, partition, count(aggregates));
    set(&HELD, processor, partition, count(held));
}

pub(crate) fn released(processor: &str, how: &str) {
    if let Some(m) = &*RELEASED {
        m.with_label_values(&[processor, how]).inc();
    }
}

pub(crate) fn partition_state(processor: &str, partition: i32, state: i64) {
    set(&STATE, processor, partition, state);
}

pub(crate) fn breaker(counterparty: &str, state: i64) {
    if let Some(m) = &*BREAKER {
        m.with_label_values(&[counterparty]).set(state);
    }
}

pub(crate) fn outage(counterparty: &str) {
    if let Some(m) = &*OUTAGES {
        m.with_label_values(&[counterparty]).inc();
    }
}

pub(crate) fn call_limit(counterparty: &str, calls_per_second: f64) {
    if let Some(m) = &*CALL_LIMIT {
        m.with_label_values(&[counterparty]).set(calls_per_second);
    }
}

/// Counts as a waiting call until it is dropped.
pub(crate) struct CallWaiting(&'static str);

impl CallWaiting {
    pub fn new(counterparty: &'static str) -> Self {
        if let Some(m) = &*CALLS_WAITING {
            m.with_label_values(&[counterparty]).inc();
        }
        Self(counterparty)
    }
}

impl Drop for CallWaiting {
    fn drop(&mut self) {
        if let Some(m) = &*CALLS_WAITING {
            m.with_label_values(&[self.0]).dec();
        }
    }
}
