//! What the worker's model of the log takes for granted, asked of a real broker.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use events::topics::DEPOSITS;
use sandbox_stack::{Stack, StackOptions};
use std::thread::sleep;

const NAME: &str = "owner";
const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(5);

fn connect(config: &KafkaConfig) -> KafkaLog {
    KafkaLog::connect(NAME, DEPOSITS.name, 0, config, || ()).unwrap()
}

fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "no answer within a minute");
        sleep(TICK);
    }
}

/// The keys of the next records.
fn next(log: &mut KafkaLog, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| eventually(|| log.poll().unwrap()))
        .map(|polled| String::from_utf8(polled.key).unwrap())
        .collect()
}

fn append(key: &str) -> Append {
    Append {
        topic: DEPOSITS.name.to_owned(),
        partition: Some(0),
        key: key.as_bytes().to_vec(),
        payload: b"fact".to_vec(),
        headers: OwnedHeaders::new(),
    }
}

fn up_to(offset: i64) -> Consumed {
    Consumed {
        partition: 0,
        offset,
        cursor: None,
    }
}

/// A transaction of somebody else with one record, delivered and neither committed nor aborted.
fn open_transaction(config: &KafkaConfig, key: &str) -> BaseProducer {
    let producer: BaseProducer = config.producer(key).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::to(DEPOSITS.name)
        .partition(0)
        .key(key)
        .payload("fact");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer
}

/// A request is acted on once it is committed: what is taken back would be decided anew, otherwise.
fn what_is_taken_back_is_not_read(config: &KafkaConfig) {
    let undone = open_transaction(config, "undone");
    let mut log = connect(config);
    eventually(|| (log.end(0).unwrap() == 1).then_some(()));
    undone.abort_transaction(PATIENCE).unwrap();
    let done = open_transaction(config, "done");
    done.commit_transaction(PATIENCE).unwrap();
    assert_eq!(next(&mut log, 1), ["done"]);
}

/// A process that was frozen and replaced writes nothing more, neither with offsets nor without.
fn who_is_replaced_writes_nothing(config: &KafkaConfig) -> KafkaLog {
    let mut frozen = connect(config);
    next(&mut frozen, 1);
    frozen.committed(&[0]).unwrap();
    assert!(frozen.stands());
    let mut also_frozen = connect(config);
    next(&mut also_frozen, 1);
    also_frozen.committed(&[0]).unwrap();
    let refused = frozen.transact(&[append("a zombie's")], &[up_to(4)]);
    assert!(matches!(refused, Err(Trouble::Fenced(_))), "{refused:?}");
    let mut owner = connect(config);
    next(&mut owner, 1);
    let refused = also_frozen.transact(&[append("a zombie's, without offsets")], &[]);
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(owner.committed(&[0]).unwrap(), [up_to(0)]);
    assert!(owner.stands() && !frozen.stands() && !also_frozen.stands());
    owner
        .transact(&[append("the owner's")], &[up_to(4)])
        .unwrap();
    assert_eq!(next(&mut owner, 1), ["the owner's"]);
    assert_eq!(owner.committed(&[0]).unwrap(), [up_to(4)]);
    owner
}

/// Records and offsets are written together or not at all, and a step that fails holds up no reader:
/// its transaction is over before anybody connects anew.
fn a_step_that_fails_leaves_nothing(config: &KafkaConfig, mut owner: KafkaLog) -> KafkaLog {
    let mut too_large = append("too large");
    too_large.payload = vec![0; 16 << 20];
    let failed = owner.transact(&[append("half"), too_large], &[up_to(5)]);
    assert!(matches!(failed, Err(Trouble::Lost(_))), "{failed:?}");
    // Only when it is over may another begin.
    owner.producer.begin_transaction().unwrap();
    let mut owner = connect(config);
    assert_eq!(next(&mut owner, 2), ["done", "the owner's"]);
    assert_eq!(owner.committed(&[0]).unwrap(), [up_to(4)]);
    owner.transact(&[append("whole")], &[up_to(6)]).unwrap();
    assert_eq!(next(&mut owner, 1), ["whole"]);
    assert_eq!(owner.committed(&[0]).unwrap(), [up_to(6)]);
    owner
}

/// Whoever may write may give a header any bytes for a name; that is a dead letter, no end of all readers.
fn a_header_whose_name_is_no_text_is_survived(config: &KafkaConfig, owner: &mut KafkaLog) {
    #[expect(unsafe_code, reason = "rdkafka's own types take names of UTF-8 alone")]
    // SAFETY: it is copied as bytes, and never read as text here.
    let name = unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe]) };
    let header = rdkafka::message::Header {
        key: &name,
        value: Some(b"1"),
    };
    let producer: BaseProducer = config.client().create().unwrap();
    let record = BaseRecord::to(DEPOSITS.name)
        .partition(0)
        .key("hostile")
        .payload("fact")
        .headers(OwnedHeaders::new().insert(header));
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    let polled = eventually(|| owner.poll().unwrap());
    assert_eq!(
        (polled.key.as_slice(), polled.headers.count()),
        (&b"hostile"[..], 0)
    );
    assert!(polled.envelope.unwrap_err().contains("not UTF-8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_what_the_worker_takes_it_for() {
    let options = StackOptions {
        stand_ins: false,
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await.unwrap();
    let config = KafkaConfig::new(stack.kafka_brokers());
    crate::kafka::create(&config, &[], 1, 1).await.unwrap();
    what_is_taken_back_is_not_read(&config);
    let owner = who_is_replaced_writes_nothing(&config);
    let mut owner = a_step_that_fails_leaves_nothing(&config, owner);
    a_header_whose_name_is_no_text_is_survived(&config, &mut owner);
    stack.stop().await;
}
