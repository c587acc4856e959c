//! One Kafka transaction: a batch of outputs and the offsets of what was read.
//!
//! It opens only when its outcomes are known, never around an effect.

use crate::append::Append;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What to do after a transaction that did not commit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransactionError {
    /// Another process has taken over. This one must stop.
    #[error("fenced: another process has this slot ({0})")]
    Fenced(String),
    /// Nothing is certain but that the log tells: fold again with new clients.
    #[error("the transaction did not commit: {0}")]
    Failed(String),
}

impl TransactionError {
    fn of(step: &str, error: &KafkaError) -> Self {
        let text = format!("{step}: {error}");
        match error {
            KafkaError::Transaction(e)
                if matches!(
                    e.code(),
                    RDKafkaErrorCode::Fenced
                        | RDKafkaErrorCode::ProducerFenced
                        | RDKafkaErrorCode::InvalidProducerEpoch
                        | RDKafkaErrorCode::FencedInstanceId
                ) =>
            {
                Self::Fenced(text)
            }
            _ => Self::Failed(text),
        }
    }
}

/// Counts deliveries that failed, so that a commit never follows one.
#[derive(Default)]
pub(crate) struct Deliveries {
    failed: AtomicUsize,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            tracing::warn!(%error, "a record was not delivered");
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Appends and commits, all or nothing, bounded by `limit`.
pub(crate) fn commit(
    producer: &BaseProducer<Deliveries>,
    appends: &[Append],
    offsets: &TopicPartitionList,
    group: &ConsumerGroupMetadata,
    limit: Duration,
) -> Result<(), TransactionError> {
    let deadline = Instant::now() + limit;
    producer
        .begin_transaction()
        .map_err(|e| TransactionError::of("begin", &e))?;
    let result = fill(producer, appends, offsets, group, deadline);
    if let Err(error) = &result
        && matches!(error, TransactionError::Failed(_))
    {
        // Best effort: the broker aborts it after the transaction timeout anyway, and the
        // next owner of the slot aborts it by initialising.
        let _ = producer.abort_transaction(Duration::from_secs(2));
    }
    result
}

fn fill(
    producer: &BaseProducer<Deliveries>,
    appends: &[Append],
    offsets: &TopicPartitionList,
    group: &ConsumerGroupMetadata,
    deadline: Instant,
) -> Result<(), TransactionError> {
    let late = |step: &str| TransactionError::Failed(format!("{step}: out of time"));
    for append in appends {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&append.topic)
            .key(append.key.as_slice())
            .payload(append.payload.as_slice())
            .headers(append.headers.clone());
        record.partition = append.partition;
        while let Err((error, back)) = producer.send(record) {
            if !matches!(
                error,
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)
            ) {
                return Err(TransactionError::of("produce", &error));
            }
            if Instant::now() > deadline {
                return Err(late("produce"));
            }
            producer.poll(Duration::ZERO);
            std::thread::sleep(Duration::from_millis(1));
            record = back;
        }
    }
    // `flush` and `commit_transaction` cost 100 ms while a delivery report is outstanding.
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::ZERO);
        if producer.in_flight_count() > 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
        if Instant::now() > deadline {
            return Err(late("deliver"));
        }
    }
    if producer.context().failed.swap(0, Ordering::Relaxed) > 0 {
        return Err(TransactionError::Failed(
            "deliver: a record was refused".to_owned(),
        ));
    }
    let left = || {
        deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1))
    };
    if offsets.count() > 0 {
        producer
            .send_offsets_to_transaction(offsets, group, left())
            .map_err(|e| TransactionError::of("send offsets", &e))?;
    }
    producer
        .commit_transaction(left())
        .map_err(|e| TransactionError::of("commit", &e))
}
