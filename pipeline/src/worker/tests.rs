//! A takeover with more to append than one transaction can hold, on a model of one partition.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::append::{Append, Codecs, Forward};
use crate::ground::{Ground, Task, Unconnected};
use crate::log::{Consumed, Log, Polled, Rebalance, Trouble};
use crate::policy::{Decision, OVERLAP, Policy, Timer};
use crate::run::{self, supervise};
use events::codec::Codec;
use events::deposits::{DepositAlarmed, DepositEvent};
use events::envelope::{Envelope, Record};
use events::ids::EventId;
use events::registry::Registry;
use events::schema::EventSet;
use events::time::Timestamp;
use events::unmatched::{StripeEventUnmatched, UnmatchedEvent};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// More than a policy decides again of what it has committed.
const ASKED: usize = 3_000;
const MOST: usize = 150;

/// What becomes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stands.
    Whole,
    /// It never happened, and the worker is told so.
    Never,
    /// It stands, and the worker is told that it failed.
    AnswerLost,
    /// The worker is told that it stands; what it had for the own topic was aborted later.
    Swallowed,
}

/// The fates of the transactions with these numbers; all others stand.
type Fates = &'static [(usize, Fate)];

fn alarm(deposit_id: &str, alarm: &str) -> DepositEvent {
    DepositEvent::from(DepositAlarmed {
        deposit_id: deposit_id.to_owned(),
        alarm: alarm.to_owned(),
        detail: String::new(),
    })
}

/// Answers what is asked in another topic, and every second time in its own, too.
struct Answers;

impl Policy for Answers {
    const NAME: &'static str = "answers";
    type Event = DepositEvent;
    type State = ();

    fn evolve(&self, (): (), _: &Record<DepositEvent>) {}

    fn decide(&self, (): &(), record: &Record<DepositEvent>) -> Decision<DepositEvent> {
        let DepositEvent::DepositAlarmed(asked) = &record.event else {
            return Decision::nothing();
        };
        if asked.alarm != "asked" {
            return Decision::nothing();
        }
        let key = &asked.deposit_id;
        let answer = StripeEventUnmatched {
            stripe_event_id: key.clone(),
            event_type: String::new(),
            created: Timestamp(0),
            livemode: false,
            object_id: None,
            intent_id: None,
            raw: String::new(),
        };
        let forward = Forward::new::<UnmatchedEvent>(key, answer);
        let decision = Decision::nothing().forward(forward);
        if key.ends_with(['0', '2', '4', '6', '8']) {
            decision.and(alarm(key, "answered"))
        } else {
            decision
        }
    }

    fn timers(&self, (): &()) -> Vec<Timer> {
        Vec::new()
    }

    fn timer_fired(&self, _: &str, _: &Timer) -> Option<DepositEvent> {
        None
    }
}

struct Kept {
    own: Vec<Append>,
    forwarded: Vec<Append>,
    committed: i64,
    transactions: usize,
    fates: Fates,
}

#[derive(Clone)]
struct Model(Arc<Mutex<Kept>>);

impl Model {
    fn new(fates: Fates) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            own: Vec::new(),
            forwarded: Vec::new(),
            committed: 0,
            transactions: 0,
            fates,
        })))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) -> i64 {
        i64::try_from(self.kept().own.len()).unwrap()
    }
}

impl Ground for Model {
    fn connect(&self, _: Box<dyn Fn() + Send + Sync>) -> Result<Box<dyn Log>, Unconnected> {
        Ok(Box::new(Connection {
            model: self.clone(),
            at: 0,
            changes: vec![Rebalance::Assigned(vec![0])],
        }))
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn most(&self) -> usize {
        MOST
    }
}

struct Connection {
    model: Model,
    at: usize,
    changes: Vec<Rebalance>,
}

impl Log for Connection {
    fn poll(&mut self) -> Result<Option<Polled>, Trouble> {
        let kept = self.model.kept();
        let Some(append) = kept.own.get(self.at).filter(|_| self.changes.is_empty()) else {
            return Ok(None);
        };
        self.at += 1;
        Ok(Some(Polled {
            partition: 0,
            offset: i64::try_from(self.at - 1).unwrap(),
            key: append.key.clone(),
            payload: Some(append.payload.clone()),
            envelope: Envelope::read(Some(&append.headers)).map_err(|e| e.to_string()),
            headers: append.headers.clone(),
        }))
    }

    fn rebalances(&mut self) -> Vec<Rebalance> {
        std::mem::take(&mut self.changes)
    }

    fn committed(&mut self, _: &[i32]) -> Result<Vec<Consumed>, Trouble> {
        Ok(vec![Consumed {
            partition: 0,
            offset: self.model.kept().committed,
            cursor: None,
        }])
    }

    fn end(&self, _: i32) -> Result<i64, Trouble> {
        Ok(self.model.end())
    }

    fn positions(&self) -> Result<BTreeMap<i32, i64>, Trouble> {
        Ok(BTreeMap::from([(0, i64::try_from(self.at).unwrap())]))
    }

    fn commit(&mut self, offsets: &[Consumed], _: bool) -> Result<(), Trouble> {
        for consumed in offsets {
            self.model.kept().committed = consumed.offset;
        }
        Ok(())
    }

    fn transact(&mut self, appends: &[Append], offsets: &[Consumed]) -> Result<(), Trouble> {
        assert!(
            appends.len() <= MOST,
            "{} in one transaction",
            appends.len()
        );
        let fate = {
            let mut kept = self.model.kept();
            let number = kept.transactions;
            kept.transactions += 1;
            let fate = kept.fates.iter().find(|(which, _)| *which == number);
            fate.map_or(Fate::Whole, |(_, fate)| *fate)
        };
        if fate == Fate::Never {
            return Err(Trouble::Lost("it never happened".to_owned()));
        }
        for append in appends {
            let mut kept = self.model.kept();
            if append.topic != DepositEvent::TOPIC {
                kept.forwarded.push(append.clone());
            } else if fate != Fate::Swallowed {
                kept.own.push(append.clone());
            }
        }
        self.commit(offsets, true)?;
        if fate == Fate::AnswerLost {
            return Err(Trouble::Lost("it stands all the same".to_owned()));
        }
        Ok(())
    }

    fn dead_letters(&mut self, _: i32) -> Result<BTreeMap<String, i64>, Trouble> {
        Ok(BTreeMap::new())
    }

    fn pause(&mut self, _: &[i32], _: bool) -> Result<(), Trouble> {
        Ok(())
    }
}

/// Decides about what was asked before it; gives the numbers that were answered in the own topic, and
/// those that were answered in the other.
async fn answered(fates: Fates) -> (Vec<usize>, Vec<usize>) {
    assert!(i64::try_from(ASKED).unwrap() > 2 * OVERLAP);
    let registry = Registry::new("http://127.0.0.1:1").unwrap();
    let deposits = Codec::<DepositEvent>::local(&registry, 100).unwrap();
    let unmatched = Codec::<UnmatchedEvent>::local(&registry, 200).unwrap();
    let model = Model::new(fates);
    for number in 0..ASKED {
        let (key, event) = (number.to_string(), alarm(&number.to_string(), "asked"));
        let envelope = Envelope {
            id: EventId::derive(&["asked", &key]),
            source: "/gridway/test".to_owned(),
            time: Timestamp(0),
            subject: key.clone(),
            correlation: None,
            causation: None,
            traceparent: None,
        };
        model.kept().own.push(Append {
            topic: DepositEvent::TOPIC.to_owned(),
            partition: Some(0),
            key: key.into_bytes(),
            payload: deposits.encode(&event).unwrap(),
            headers: envelope.headers(&event),
        });
    }
    let stop = CancellationToken::new();
    let codecs = Codecs::default().with(deposits).with(unmatched);
    let plan = run::policy(Answers, codecs, 0, stop.clone()).unwrap();
    let done = async {
        let read = || {
            let (end, committed) = (model.end(), model.kept().committed);
            committed > 0 && committed == end
        };
        let wait = async {
            while !read() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(600), wait).await;
        stop.cancel();
        waited
    };
    let (ended, waited) = tokio::join!(supervise(&plan, &model), done);
    ended.unwrap();
    waited.unwrap();
    let kept = model.kept();
    assert!(fates.iter().all(|(number, _)| *number < kept.transactions));
    let numbers = |appends: &[Append]| {
        let keys = appends.iter().map(|append| append.key.clone());
        let numbers = keys.map(|key| String::from_utf8(key).unwrap().parse::<usize>().unwrap());
        let mut numbers: Vec<usize> = numbers.collect();
        numbers.sort_unstable();
        numbers
    };
    (numbers(&kept.own[ASKED..]), numbers(&kept.forwarded))
}

fn all() -> Vec<usize> {
    (0..ASKED).collect()
}

fn even() -> Vec<usize> {
    (0..ASKED).step_by(2).collect()
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_many_transactions_is_decided_whole_and_once_though_some_fail() {
    let fates = &[
        (0, Fate::Never),
        (3, Fate::Never),
        (4, Fate::Never),
        (9, Fate::AnswerLost),
        (17, Fate::Never),
    ];
    assert_eq!(answered(fates).await, (even(), all()));
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_early_in_a_long_backlog_is_decided_again() {
    // Long before the worker reads back that something is lost, all the others stand.
    let (own, mut forwarded) = answered(&[(2, Fate::Swallowed)]).await;
    assert_eq!(own, even());
    // Where an answer stood without its own event, it is an echo.
    forwarded.dedup();
    assert_eq!(forwarded, all());
}
