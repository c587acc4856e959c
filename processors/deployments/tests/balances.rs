//! Given / when / then: when a user's balance is read, and when it is low.
#![expect(clippy::panic, reason = "tests fail by panicking")]

use events::deployments::{
    ContractBilled, DeploymentCreated, DeploymentEvent, UserBalanceAssessed, UserBalanceObserved,
    UserBalanceRequested,
};
use events::envelope::{Envelope, Record};
use events::ids::{ContractId, DeploymentId, EventId, NodeId, UserId};
use events::money::{Amount, Tft};
use events::time::Timestamp;
use processor_deployments::decide::{Rules, transition};
use processor_deployments::state::Deployments;
use std::time::Duration;

const START: Timestamp = Timestamp(1_790_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

fn user() -> UserId {
    UserId::derive(&["u"])
}

fn hours(n: u32) -> Timestamp {
    START.after(n * HOUR)
}

/// The user's log, at the time of whoever writes it.
struct Story {
    state: Deployments,
    now: Timestamp,
}

impl Story {
    fn begun() -> Self {
        let mut story = Self {
            state: Deployments::default(),
            now: START,
        };
        let created = DeploymentCreated {
            deployment_id: DeploymentId::derive(&["d"]),
            user_id: user(),
            request_id: EventId::derive(&["r"]),
            node_id: NodeId(3),
            contract_id: ContractId(9),
            hash: "h".into(),
            extrinsic: "e".into(),
            block: 5,
        };
        assert!(story.then(created).is_empty());
        story
    }

    fn then(&mut self, fact: impl Into<DeploymentEvent>) -> Vec<DeploymentEvent> {
        let record = Record {
            partition: 0,
            offset: 0,
            envelope: Envelope {
                id: EventId::derive(&["e"]),
                source: "/test".into(),
                time: self.now,
                subject: user().to_string(),
                correlation: None,
                causation: None,
                traceparent: None,
            },
            event: fact.into(),
        };
        let (state, out) = transition(&Rules::default(), self.state.clone(), &record);
        self.state = state;
        out.own.into_iter().map(|planned| planned.event).collect()
    }

    fn billed(&mut self, coins: u32, at: Timestamp) -> Vec<DeploymentEvent> {
        self.now = self.now.max(at);
        self.then(ContractBilled {
            deployment_id: DeploymentId::derive(&["d"]),
            user_id: user(),
            contract_id: ContractId(9),
            amount: Amount::from_whole(coins),
            block: 20,
            event_index: 1,
            billed_at: Some(at),
        })
    }

    fn observed(&mut self, balance: Option<Amount<Tft>>) -> Vec<DeploymentEvent> {
        self.then(UserBalanceObserved {
            user_id: user(),
            request_id: EventId::derive(&["asked"]),
            balance,
            observed_at: self.now,
        })
    }

    fn judged(&mut self, coins: u32) -> UserBalanceAssessed {
        let told = self.observed(Some(Amount::from_whole(coins)));
        match told.as_slice() {
            [DeploymentEvent::UserBalanceAssessed(e)] => e.clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn asked(told: &[DeploymentEvent]) -> UserBalanceRequested {
    match told {
        [DeploymentEvent::UserBalanceRequested(e)] => e.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bill_has_the_balance_read_and_held_against_what_was_billed() {
    let mut story = Story::begun();
    let request = asked(&story.billed(2, hours(1)));
    assert_eq!(request.spent, Amount::from_whole(2));
    assert_eq!((request.spent_from, request.spent_until), (START, hours(1)));
    // 2 TFT an hour: 96 pay for 48 hours, which is the threshold.
    let enough = story.judged(96);
    assert!(!enough.low);
    assert_eq!(enough.lasts_seconds, Some(48 * 3_600));
    assert_eq!(enough.spent_per_day, Amount::from_whole(48));

    asked(&story.billed(2, hours(2)));
    let low = story.judged(95);
    assert!(low.low);
    assert_eq!(low.lasts_seconds, Some(95 * 1_800));
    assert_eq!(low.threshold_seconds, 48 * 3_600);
}

#[test]
fn the_bills_of_all_contracts_count_and_each_once() {
    let mut story = Story::begun();
    assert!(
        story
            .billed(1, START.after(Duration::from_secs(600)))
            .is_empty()
    );
    let first = asked(&story.billed(2, hours(1)));
    assert_eq!(first.spent, Amount::from_whole(3));
    // While one reading is awaited no other is asked for, and nothing is forgotten.
    assert!(story.billed(4, hours(2)).is_empty());
    story.judged(1_000);
    let second = asked(&story.billed(8, hours(3)));
    assert_eq!(second.spent, Amount::from_whole(12));
    assert_eq!(
        (second.spent_from, second.spent_until),
        (hours(1), hours(3))
    );
}

#[test]
fn hours_that_are_read_at_once_are_judged_by_the_time_of_the_chain() {
    let mut story = Story::begun();
    // The chain could not be read for ten hours; all its bills are appended in one second.
    story.now = hours(10);
    let first = asked(&story.billed(1, hours(1)));
    assert_eq!((first.spent_from, first.spent_until), (START, hours(1)));
    assert!(!story.judged(48).low);
    let second = asked(&story.billed(1, hours(2)));
    assert_eq!(
        (second.spent_from, second.spent_until),
        (hours(1), hours(2))
    );
}

#[test]
fn a_balance_that_could_not_be_read_is_read_at_the_next_bill() {
    let mut story = Story::begun();
    asked(&story.billed(1, hours(1)));
    assert!(story.observed(None).is_empty());
    asked(&story.billed(1, hours(2)));
    assert!(!story.judged(100).low);
    // An answer that comes again changes nothing.
    assert!(story.observed(Some(Amount::ZERO)).is_empty());
}

#[test]
fn time_without_contracts_does_not_make_them_cheap() {
    let mut story = Story::begun();
    asked(&story.billed(1, hours(1)));
    story.judged(100);
    // Weeks later there is a contract again.
    story.now = hours(500);
    let created = DeploymentCreated {
        deployment_id: DeploymentId::derive(&["d2"]),
        user_id: user(),
        request_id: EventId::derive(&["r2"]),
        node_id: NodeId(3),
        contract_id: ContractId(10),
        hash: "h2".into(),
        extrinsic: "e2".into(),
        block: 50,
    };
    story.then(created);
    let request = asked(&story.billed(5, hours(501)));
    assert_eq!(request.spent_from, hours(500));
    assert!(story.judged(100).low);
}

#[test]
fn contracts_that_cost_nothing_are_never_low() {
    let mut story = Story::begun();
    asked(&story.billed(0, hours(1)));
    let free = story.judged(0);
    assert_eq!((free.low, free.lasts_seconds), (false, None));
}
