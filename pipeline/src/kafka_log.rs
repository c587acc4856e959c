//! The log on Kafka: one consumer in a group, one transactional producer, one watcher.

use crate::append::Append;
use crate::kafka::KafkaConfig;
use crate::log::{Consumed, Log, Polled, Rebalance, Trouble};
use crate::metrics;
use crash_points::{Point, pass};
use events::envelope::{Envelope, EnvelopeError, readable};
use events::topics;
use rdkafka::bindings::{rd_kafka_mem_free, rd_kafka_memberid};
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::groups::GroupInfo;
use rdkafka::message::{BorrowedMessage, DeliveryResult, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a look at the end of a partition may take.
const LOOK: Duration = Duration::from_secs(10);
/// How long a question about who has the slot may take.
const PROBE: Duration = Duration::from_secs(5);
/// How long the end of a transaction that failed is waited for.
const ABORT: Duration = Duration::from_secs(2);
const TURN: Duration = Duration::from_millis(10);

fn lost(step: &str) -> impl Fn(KafkaError) -> Trouble + '_ {
    move |error| Trouble::Lost(format!("{step}: {error}"))
}

/// What a failed step of a transaction means.
fn torn(step: &str) -> impl Fn(KafkaError) -> Trouble + '_ {
    move |error| {
        let text = format!("{step}: {error}");
        if fences_producer(&error) {
            Trouble::Fenced(text)
        } else {
            Trouble::Lost(text)
        }
    }
}

/// Whether Kafka says that the transactional id has a newer epoch.
fn fences_producer(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::Transaction(e) if matches!(
            e.code(),
            RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
        )
    )
}

/// Assigns and unassigns from within `poll`; the worker reads what happened after it.
struct Group {
    name: &'static str,
    topic: &'static str,
    events: Mutex<Vec<Rebalance>>,
}

impl ClientContext for Group {
    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(self.topic) else {
            return;
        };
        for (partition, stats) in &topic.partitions {
            if *partition >= 0 && stats.consumer_lag >= 0 {
                metrics::lag(self.name, *partition, stats.consumer_lag);
            }
            // Negative until something was fetched.
            if *partition >= 0 && stats.ls_offset >= 0 && stats.hi_offset >= stats.ls_offset {
                metrics::undecided(self.name, *partition, stats.hi_offset - stats.ls_offset);
            }
        }
    }
}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        err: RDKafkaRespErr,
        tpl: &mut TopicPartitionList,
    ) {
        let partitions: Vec<i32> = tpl
            .elements()
            .iter()
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
            .collect();
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let mut from_start = TopicPartitionList::new();
            for partition in &partitions {
                // Cannot fail: 0 is a valid offset.
                let _ = from_start.add_partition_offset(self.topic, *partition, Offset::Offset(0));
            }
            if let Err(error) = consumer.assign(&from_start) {
                tracing::error!(processor = self.name, %error, "assigning partitions failed");
            }
            events.push(Rebalance::Assigned(partitions));
        } else {
            if let Err(error) = consumer.unassign() {
                tracing::error!(processor = self.name, %error, "giving partitions back failed");
            }
            events.push(Rebalance::Revoked(partitions));
        }
    }
}

/// Counts deliveries that failed, so that a commit never follows one.
#[derive(Default)]
struct Deliveries {
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

pub(crate) struct KafkaLog {
    name: &'static str,
    topic: &'static str,
    config: KafkaConfig,
    consumer: BaseConsumer<Group>,
    producer: BaseProducer<Deliveries>,
    watcher: BaseConsumer,
    /// What the group called us when it last gave us partitions.
    member: Option<String>,
}

impl KafkaLog {
    /// Joins the group and fences whoever had this slot before, ending its open transaction.
    /// `wake` is called when records come in.
    pub(crate) fn connect(
        name: &'static str,
        topic: &'static str,
        slot: u32,
        config: &KafkaConfig,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, Trouble> {
        let instance = format!("{name}-{slot}");
        let producer: BaseProducer<Deliveries> = BaseProducer::from_config_and_context(
            &config.producer(&instance),
            Deliveries::default(),
        )
        .map_err(lost("producer"))?;
        let group = Group {
            name,
            topic,
            events: Mutex::default(),
        };
        let mut consumer: BaseConsumer<Group> =
            BaseConsumer::from_config_and_context(&config.consumer(name, &instance), group)
                .map_err(lost("consumer"))?;
        consumer.set_nonempty_callback(wake);
        // In this order: whoever hears that it is replaced in the group asks whether its
        // transactional id is taken, too, and by then it must be. Else it takes itself for the
        // owner, comes back, and two processes take the slot from each other in turns.
        producer
            .init_transactions(config.session_timeout.max(Duration::from_secs(30)))
            .map_err(lost("init transactions"))?;
        consumer.subscribe(&[topic]).map_err(lost("subscribe"))?;
        let watcher = config.watcher().map_err(lost("watcher"))?;
        Ok(Self {
            name,
            topic,
            config: config.clone(),
            consumer,
            producer,
            watcher,
            member: None,
        })
    }

    fn list(&self, offsets: &[Consumed]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for consumed in offsets {
            let mut element = list.add_partition(self.topic, consumed.partition);
            // Cannot fail: a position is a valid offset.
            let _ = element.set_offset(Offset::Offset(consumed.offset));
            if let Some(cursor) = &consumed.cursor {
                element.set_metadata(cursor);
            }
        }
        list
    }

    fn partitions(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(self.topic, *partition);
        }
        list
    }

    fn trouble(&self, error: KafkaError) -> Result<(), Trouble> {
        match &error {
            KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId)
                if !self.stands() && self.producer_is_fenced() =>
            {
                Err(Trouble::Fenced(error.to_string()))
            }
            KafkaError::MessageConsumptionFatal(_)
            | KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::PollExceeded,
            ) => Err(Trouble::Lost(format!("consumer: {error}"))),
            // librdkafka tries again by itself.
            _ => {
                tracing::warn!(processor = self.name, %error, "Kafka reports trouble");
                Ok(())
            }
        }
    }

    /// Asks the transaction coordinator whether another process has initialised our transactional id.
    ///
    /// Who takes a slot over replaces both its group instance and its transactional id. One alone
    /// is no takeover: a member whose answer to a join was lost (the broker died) is told that it
    /// was replaced, by itself; a transaction that timed out has a new epoch.
    fn producer_is_fenced(&self) -> bool {
        let ask = || {
            self.producer.begin_transaction()?;
            let Some(group) = self.consumer.group_metadata() else {
                return Ok(());
            };
            // Aborted in any case.
            let nothing = Consumed {
                partition: 0,
                offset: 0,
                cursor: None,
            };
            let list = self.list(&[nothing]);
            self.producer
                .send_offsets_to_transaction(&list, &group, PROBE)
        };
        let fenced = ask().is_err_and(|error| fences_producer(&error));
        let _ = self.producer.abort_transaction(PROBE);
        fenced
    }

    /// What the group calls us now.
    fn member_id(&self) -> Option<String> {
        let client = self.consumer.client().native_ptr();
        #[expect(unsafe_code, reason = "rdkafka does not give it")]
        // SAFETY: the client lives as long as the consumer; the text is ours until it is given back.
        let id = unsafe {
            let text = rd_kafka_memberid(client);
            if text.is_null() {
                return None;
            }
            let id = CStr::from_ptr(text).to_string_lossy().into_owned();
            rd_kafka_mem_free(client, text.cast());
            id
        };
        Some(id).filter(|id| !id.is_empty())
    }

    /// Whether the group still has us as the member that we were. Whoever takes a slot over becomes a
    /// member of its own, and the one before is gone.
    ///
    /// Both halves of a takeover can be told to a process that nobody has replaced: a broker that comes
    /// back does not know the member until it has read the group, the client drops its name and is
    /// fenced by the member that it was; and the transaction that was open meanwhile has timed out.
    fn stands(&self) -> bool {
        let Some(id) = &self.member else {
            return false;
        };
        let groups = self.watcher.fetch_group_list(Some(self.name), LOOK);
        groups.is_ok_and(|list| {
            let mut members = list.groups().iter().flat_map(GroupInfo::members);
            members.any(|member| member.id() == id)
        })
    }

    /// Asks the group coordinator whether another process has joined as our group instance: by
    /// committing once more what is committed, which only the owner may.
    fn instance_is_replaced(&self, offsets: &[Consumed]) -> bool {
        let told = || {
            let fatal = self.consumer.client().fatal_error();
            fatal.is_some_and(|(code, _)| code == RDKafkaErrorCode::FencedInstanceId)
        };
        if told() {
            return true;
        }
        let partitions: Vec<i32> = offsets.iter().map(|o| o.partition).collect();
        let limit = self.config.transaction_timeout + LOOK;
        let Ok(committed) = self
            .consumer
            .committed_offsets(self.partitions(&partitions), limit)
        else {
            return told();
        };
        let mut again = TopicPartitionList::new();
        // Of a partition that could not be asked about, nobody knows what is committed.
        let known = committed.elements();
        for entry in known.iter().filter(|entry| entry.error().is_ok()) {
            let mut element = again.add_partition(self.topic, entry.partition());
            // Where nothing is committed, 0 says the same; to commit nothing at all would ask nobody.
            let at = match entry.offset() {
                at @ Offset::Offset(_) => at,
                _ => Offset::Offset(0),
            };
            // Cannot fail: it is a valid offset.
            let _ = element.set_offset(at);
            element.set_metadata(entry.metadata());
        }
        matches!(
            self.consumer.commit(&again, CommitMode::Sync),
            Err(KafkaError::ConsumerCommit(
                RDKafkaErrorCode::FencedInstanceId
            ))
        ) || told()
    }

    /// Aborts the open transaction. That waits for the reports on what was produced, and nobody
    /// takes them while it waits: so it is asked for in short turns, with a look for reports between.
    /// While a commit may still go through there is nothing to abort: the log tells.
    fn abort(&self, limit: Duration) -> Result<(), KafkaError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.producer.abort_transaction(TURN) {
                Err(KafkaError::Transaction(error))
                    if error.is_retriable()
                        && error.code() != RDKafkaErrorCode::Conflict
                        && Instant::now() < deadline =>
                {
                    // For as long as it may: without a time it takes one report alone.
                    self.producer.poll(TURN);
                }
                done => return done,
            }
        }
    }

    fn fill(&self, appends: &[Append], offsets: &[Consumed]) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.config.transaction_timeout;
        let late = |step: &str| Trouble::Lost(format!("{step}: out of time"));
        for append in appends {
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&append.topic)
                .key(append.key.as_slice())
                .payload(append.payload.as_slice())
                .headers(append.headers.clone());
            record.partition = append.partition;
            while let Err((error, back)) = self.producer.send(record) {
                if !matches!(
                    error,
                    KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)
                ) {
                    return Err(torn("produce")(error));
                }
                if Instant::now() > deadline {
                    return Err(late("produce"));
                }
                self.producer.poll(Duration::ZERO);
                std::thread::sleep(Duration::from_millis(1));
                record = back;
            }
        }
        // `flush` and `commit_transaction` cost 100 ms while a delivery report is outstanding.
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::ZERO);
            if self.producer.in_flight_count() > 0 {
                std::thread::sleep(Duration::from_micros(100));
            }
            if Instant::now() > deadline {
                return Err(late("deliver"));
            }
        }
        if self.producer.context().failed.swap(0, Ordering::Relaxed) > 0 {
            return Err(Trouble::Lost("deliver: a record was refused".to_owned()));
        }
        pass(Point::AfterProduce);
        let left = || {
            deadline
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1))
        };
        if !offsets.is_empty() {
            let Some(group) = self.consumer.group_metadata() else {
                return Err(Trouble::Lost("the consumer is in no group".to_owned()));
            };
            self.producer
                .send_offsets_to_transaction(&self.list(offsets), &group, left())
                .map_err(torn("send offsets"))?;
        }
        pass(Point::AfterOffsets);
        self.producer
            .commit_transaction(left())
            .map_err(torn("commit"))
    }
}

impl Log for KafkaLog {
    fn poll(&mut self) -> Result<Option<Polled>, Trouble> {
        loop {
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => return Ok(Some(polled(&message))),
                Some(Err(error)) => self.trouble(error)?,
                None => return Ok(None),
            }
        }
    }

    fn rebalances(&mut self) -> Vec<Rebalance> {
        std::mem::take(
            &mut *self
                .consumer
                .context()
                .events
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn committed(&mut self, partitions: &[i32]) -> Result<Vec<Consumed>, Trouble> {
        let limit =
            self.config.transaction_timeout + self.config.session_timeout + Duration::from_secs(5);
        let committed = self
            .consumer
            .committed_offsets(self.partitions(partitions), limit)
            .map_err(lost("committed offsets"))?;
        self.member = self.member_id();
        Ok(committed
            .elements()
            .iter()
            .map(|entry| Consumed {
                partition: entry.partition(),
                offset: match entry.offset() {
                    Offset::Offset(offset) => offset,
                    _ => 0,
                },
                cursor: Some(entry.metadata().to_owned()).filter(|m| !m.is_empty()),
            })
            .collect())
    }

    fn end(&self, partition: i32) -> Result<i64, Trouble> {
        self.watcher
            .fetch_watermarks(self.topic, partition, LOOK)
            .map(|(_, end)| end)
            .map_err(lost("the end of the partition"))
    }

    fn positions(&self) -> Result<BTreeMap<i32, i64>, Trouble> {
        let list = self.consumer.position().map_err(lost("position"))?;
        Ok(list
            .elements()
            .iter()
            .filter_map(|e| match e.offset() {
                Offset::Offset(offset) => Some((e.partition(), offset)),
                _ => None,
            })
            .collect())
    }

    fn commit(&mut self, offsets: &[Consumed], wait: bool) -> Result<(), Trouble> {
        let mode = if wait {
            CommitMode::Sync
        } else {
            CommitMode::Async
        };
        self.consumer
            .commit(&self.list(offsets), mode)
            .map_err(|error| match error {
                KafkaError::ConsumerCommit(RDKafkaErrorCode::FencedInstanceId)
                    if !self.stands() && self.producer_is_fenced() =>
                {
                    Trouble::Fenced(error.to_string())
                }
                error => lost("commit offsets")(error),
            })
    }

    fn transact(&mut self, appends: &[Append], offsets: &[Consumed]) -> Result<(), Trouble> {
        pass(Point::BeforeTransaction);
        self.producer.begin_transaction().map_err(torn("begin"))?;
        let trouble = match self.fill(appends, offsets) {
            Ok(()) => {
                pass(Point::AfterTransaction);
                return Ok(());
            }
            Err(trouble) => trouble,
        };
        // Best effort: the broker aborts it after the transaction timeout anyway, and the next
        // owner of the slot aborts it by initialising. Whoever was fenced hears of it here at the
        // latest: a record that is refused does not say why.
        let aborted = self.abort(ABORT);
        let fenced = matches!(trouble, Trouble::Fenced(_))
            || aborted.is_err_and(|error| fences_producer(&error))
            || self.producer.client().fatal_error().is_some();
        let (Trouble::Fenced(cause) | Trouble::Lost(cause)) = trouble;
        if fenced && !self.stands() && self.instance_is_replaced(offsets) {
            Err(Trouble::Fenced(cause))
        } else {
            Err(Trouble::Lost(cause))
        }
    }

    fn dead_letters(&mut self, partition: i32) -> Result<BTreeMap<String, i64>, Trouble> {
        let topic = topics::dead_letters(self.name);
        let step = lost("dead letters");
        let (_, end) = self
            .watcher
            .fetch_watermarks(&topic, partition, LOOK)
            .map_err(&step)?;
        let mut keys = BTreeMap::new();
        if end == 0 {
            return Ok(keys);
        }
        let reader: BaseConsumer = self
            .config
            .client()
            .set("group.id", self.name)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()
            .map_err(&step)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, partition, Offset::Beginning)
            .map_err(&step)?;
        reader.assign(&list).map_err(&step)?;
        let deadline = Instant::now() + LOOK + self.config.transaction_timeout;
        loop {
            if let Some(message) = reader.poll(Duration::from_millis(50)) {
                let message = message.map_err(&step)?;
                let offset = readable(message.headers())
                    .and_then(|h| h.iter().find(|h| h.key == "dl_offset"))
                    .and_then(|h| std::str::from_utf8(h.value?).ok()?.parse::<i64>().ok());
                let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                let offset = offset.unwrap_or(0);
                let first = keys.entry(key).or_insert(offset);
                *first = offset.min(*first);
            }
            let at = reader.position().map_err(&step)?;
            let read = at
                .find_partition(&topic, partition)
                .is_some_and(|p| matches!(p.offset(), Offset::Offset(o) if o >= end));
            if read {
                return Ok(keys);
            }
            if Instant::now() > deadline {
                return Err(Trouble::Lost("dead letters: out of time".to_owned()));
            }
        }
    }

    fn pause(&mut self, partitions: &[i32], paused: bool) -> Result<(), Trouble> {
        let list = self.partitions(partitions);
        if paused {
            self.consumer.pause(&list).map_err(lost("pause"))
        } else {
            self.consumer.resume(&list).map_err(lost("resume"))
        }
    }
}

fn polled(message: &BorrowedMessage<'_>) -> Polled {
    let envelope = Envelope::read(message.headers());
    let headers = match &envelope {
        // Whoever reads the dead letter could not read them either.
        Err(EnvelopeError::Unnamed) => OwnedHeaders::default(),
        Ok(_) | Err(_) => message
            .headers()
            .map(rdkafka::message::BorrowedHeaders::detach)
            .unwrap_or_default(),
    };
    Polled {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().unwrap_or_default().to_vec(),
        payload: message.payload().map(<[u8]>::to_vec),
        envelope: envelope.map_err(|e| e.to_string()),
        headers,
    }
}

#[cfg(test)]
mod tests;
