//! Figures of the projections, in the default registry of `prometheus`.

use crate::batch::{Done, Place};
use prometheus::{
    Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    records: IntCounterVec,
    retries: IntCounterVec,
    lag: IntGaugeVec,
    batch_records: Histogram,
    batch_seconds: Histogram,
    visible_seconds: Histogram,
}

impl Metrics {
    /// Registers the figures; a second runner in the same process shares none of them and its
    /// figures are not shown, which does no harm.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            records: IntCounterVec::new(
                Opts::new(
                    "gridway_projections_records_total",
                    "Records read: folded, echo or undecodable",
                ),
                &["outcome"],
            )?,
            retries: IntCounterVec::new(
                Opts::new(
                    "gridway_projections_retries_total",
                    "Waits for a part that does not answer",
                ),
                &["part"],
            )?,
            lag: IntGaugeVec::new(
                Opts::new(
                    "gridway_projections_lag_records",
                    "Offsets between what is folded and the end of the partition",
                ),
                &["topic", "partition"],
            )?,
            batch_records: Histogram::with_opts(
                HistogramOpts::new("gridway_projections_batch_records", "Records in a batch")
                    .buckets(exponential_buckets(1.0, 2.0, 10)?),
            )?,
            batch_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "gridway_projections_batch_seconds",
                    "From the first record of a batch to its commit",
                )
                .buckets(exponential_buckets(0.001, 2.0, 14)?),
            )?,
            visible_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "gridway_projections_visible_seconds",
                    "From the time of an event to its commit in Postgres",
                )
                .buckets(exponential_buckets(0.001, 2.0, 18)?),
            )?,
        };
        for collector in [
            Box::new(metrics.records.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(metrics.retries.clone()),
            Box::new(metrics.lag.clone()),
            Box::new(metrics.batch_records.clone()),
            Box::new(metrics.batch_seconds.clone()),
            Box::new(metrics.visible_seconds.clone()),
        ] {
            match registry.register(collector) {
                Ok(()) | Err(prometheus::Error::AlreadyReg) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(metrics)
    }

    pub(crate) fn committed(&self, records: usize, done: Done, seconds: f64) {
        for (outcome, count) in [
            ("folded", done.folded),
            ("echo", done.echoes),
            ("undecodable", done.undecodable),
        ] {
            self.records.with_label_values(&[outcome]).inc_by(count);
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a batch has at most some hundred records"
        )]
        self.batch_records.observe(records as f64);
        self.batch_seconds.observe(seconds);
    }

    pub(crate) fn visible(&self, seconds: f64) {
        self.visible_seconds.observe(seconds);
    }

    pub(crate) fn retry(&self, part: &str) {
        self.retries.with_label_values(&[part]).inc();
    }

    pub(crate) fn lag(&self, topic: &str, partition: i32, records: i64) {
        self.lag
            .with_label_values(&[topic, &partition.to_string()])
            .set(records);
    }

    pub(crate) fn undecodable(&self, place: Place, reason: &str) {
        tracing::error!(
            topic = place.topic,
            partition = place.partition,
            offset = place.offset,
            reason,
            "a record is no event of its topic; it is kept in table undecodable and skipped"
        );
    }
}
