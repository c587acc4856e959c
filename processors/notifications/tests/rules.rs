//! Given / when / then over the policy `notifications`.
#![expect(clippy::panic, reason = "tests fail by panicking")]

use events::envelope::{Envelope, Record};
use events::ids::{EndpointId, EventId, NotificationId, UserId};
use events::notifications::{
    Channel, Choice, NoticeRaised, NotificationAttemptFailed, NotificationDelivered,
    NotificationEvent, NotificationRefused, NotificationRequested, OperatorAdded, OperatorRemoved,
    OperatorsNoticeRaised, PhoneRemoved, PhoneVerified, PreferencesSet, ResendRequested,
    TimerFired, WebhookEndpointAdded, WebhookEndpointEnabled, WebhookEndpointRemoved,
};
use events::schema::EventSet;
use events::time::Timestamp;
use pipeline::Decision;
use processor_notifications::decide::{Rules, notification_id, retry, timers, transition};
use processor_notifications::kinds::figure;
use processor_notifications::state::Person;
use std::time::Duration;

const START: Timestamp = Timestamp(1_790_000_000_000);
const HOUR: u64 = 3_600;

fn user() -> UserId {
    UserId::derive(&["u"])
}

fn source() -> EventId {
    EventId::derive(&["source"])
}

fn hook() -> EndpointId {
    EndpointId::derive(&["hook"])
}

fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

fn record(event: NotificationEvent, time: Timestamp) -> Record<NotificationEvent> {
    let envelope = Envelope {
        id: EventId::derive(&[event.name(), &time.0.to_string()]),
        source: "/test".into(),
        time,
        subject: user().to_string(),
        correlation: None,
        causation: None,
        traceparent: None,
    };
    Record {
        partition: 0,
        offset: 0,
        envelope,
        event,
    }
}

/// A person and everything that was appended.
#[derive(Default)]
struct Story {
    state: Person,
    out: Vec<NotificationEvent>,
}

impl Story {
    fn then(mut self, fact: impl Into<NotificationEvent>, time: Timestamp) -> Self {
        let record = record(fact.into(), time);
        let (state, decision) = transition(&Rules::default(), self.state.clone(), &record);
        // What it appends itself changes nothing.
        for planned in &decision.own {
            let own = self::record(planned.event.clone(), time);
            assert_eq!(transition(&Rules::default(), state.clone(), &own).0, state);
        }
        self.state = state;
        self.out = own(decision);
        self
    }

    fn requests(&self) -> Vec<&NotificationRequested> {
        self.out
            .iter()
            .filter_map(|event| match event {
                NotificationEvent::NotificationRequested(request) => Some(request),
                _ => None,
            })
            .collect()
    }

    fn channels(&self) -> Vec<Channel> {
        self.requests().iter().map(|r| r.channel).collect()
    }

    fn names(&self) -> Vec<&'static str> {
        self.out.iter().map(EventSet::name).collect()
    }
}

fn own(decision: Decision<NotificationEvent>) -> Vec<NotificationEvent> {
    decision.own.into_iter().map(|p| p.event).collect()
}

fn notice(kind: &str) -> NoticeRaised {
    NoticeRaised {
        user_id: user(),
        kind: kind.to_owned(),
        source_event_id: source(),
        figures: vec![figure("tft", "250.0000000 TFT")],
        happened_at: START,
    }
}

fn with_hook() -> Story {
    let added = WebhookEndpointAdded {
        user_id: user(),
        endpoint_id: hook(),
        added_at: START,
    };
    Story::default().then(added, START)
}

fn hooked() -> NotificationId {
    notification_id(source(), user(), Channel::Webhook, Some(hook()))
}

/// The hand's report, as it makes it from the request.
fn failed(
    request: &NotificationRequested,
    time: Timestamp,
    code: &str,
) -> NotificationAttemptFailed {
    let wait = request.retry_after_ms.filter(|_| code != "gone");
    NotificationAttemptFailed {
        user_id: user(),
        notification_id: request.notification_id,
        request_id: EventId::derive(&["request", &request.attempt.to_string()]),
        channel: request.channel,
        endpoint_id: request.endpoint_id,
        attempt: request.attempt,
        status: Some(500),
        code: code.to_owned(),
        detail: String::new(),
        failed_at: time,
        next_at: wait.map(|ms| Timestamp(time.0 + ms)),
    }
}

fn delivered(request: &NotificationRequested, time: Timestamp) -> NotificationDelivered {
    NotificationDelivered {
        user_id: user(),
        notification_id: request.notification_id,
        request_id: EventId::derive(&["request"]),
        channel: request.channel,
        endpoint_id: request.endpoint_id,
        attempt: request.attempt,
        status: Some(200),
        reference: None,
        delivered_at: time,
    }
}

fn fired(id: NotificationId, due: Timestamp) -> TimerFired {
    TimerFired {
        user_id: user(),
        timer: retry(id),
        due,
    }
}

#[test]
fn whoever_chose_nothing_gets_a_mail() {
    let story = Story::default().then(notice("purchase_settled"), START);
    let requests = story.requests();
    assert_eq!(story.channels(), [Channel::Email]);
    let request = requests[0];
    assert_eq!(request.language, "en");
    assert_eq!(request.attempt, 1);
    assert_eq!(request.figures, notice("purchase_settled").figures);
    let id = notification_id(source(), user(), Channel::Email, None);
    assert_eq!(request.notification_id, id);
    // The same fact again, under another record: it is under way, and nobody is told twice.
    let again = story.then(notice("purchase_settled"), at(1));
    assert!(again.out.is_empty(), "{:?}", again.names());
}

#[test]
fn a_phone_rings_for_what_is_urgent_once_it_is_verified() {
    let verified = PhoneVerified {
        user_id: user(),
        verified_at: START,
    };
    let removed = PhoneRemoved {
        user_id: user(),
        removed_at: START,
    };
    let without = Story::default().then(notice("grace_period_started"), START);
    assert_eq!(without.channels(), [Channel::Email]);
    let story = Story::default().then(verified.clone(), START);
    let urgent = story.then(notice("grace_period_started"), START);
    assert_eq!(urgent.channels(), [Channel::Email, Channel::Sms]);
    // A text message has one request: what became of it is found out within.
    assert_eq!(urgent.requests()[1].retry_after_ms, None);
    let story = Story::default().then(verified.clone(), START);
    let usual = story.then(notice("purchase_settled"), START);
    assert_eq!(usual.channels(), [Channel::Email]);
    let story = Story::default().then(verified, START).then(removed, START);
    let gone = story.then(notice("grace_period_started"), START);
    assert_eq!(gone.channels(), [Channel::Email]);
}

#[test]
fn choices_replace_what_is_usual_and_what_was_chosen_before() {
    let choice = |kind: &str, channel, wanted| Choice {
        kind: kind.to_owned(),
        channel,
        wanted,
    };
    let set = |choices, language: &str| PreferencesSet {
        user_id: user(),
        language: language.to_owned(),
        choices,
        set_at: START,
    };
    let verified = PhoneVerified {
        user_id: user(),
        verified_at: START,
    };
    let first = set(
        vec![
            choice("purchase_settled", Channel::Email, false),
            choice("purchase_settled", Channel::Sms, true),
        ],
        "de",
    );
    let story = with_hook().then(verified, START).then(first, START);
    let Story { state, .. } = story;
    let told = Story {
        state: state.clone(),
        out: Vec::new(),
    }
    .then(notice("purchase_settled"), START);
    assert_eq!(told.channels(), [Channel::Sms, Channel::Webhook]);
    assert_eq!(told.requests()[0].language, "de");
    let second = set(
        vec![choice("purchase_settled", Channel::Webhook, false)],
        "en",
    );
    let story = Story {
        state,
        out: Vec::new(),
    }
    .then(second, START);
    let told = story.then(notice("purchase_settled"), START);
    assert_eq!(told.channels(), [Channel::Email]);
}

#[test]
fn what_is_unknown_or_old_is_not_told() {
    let story = Story::default().then(notice("of_another_version"), START);
    assert!(story.out.is_empty());
    let story = Story::default().then(notice("purchase_settled"), at(24 * HOUR));
    assert_eq!(story.channels(), [Channel::Email]);
    let story = Story::default().then(notice("purchase_settled"), at(24 * HOUR + 1));
    assert!(story.out.is_empty());
}

#[test]
fn operators_are_told_one_by_one() {
    let (anna, bert) = (UserId::derive(&["anna"]), UserId::derive(&["bert"]));
    let raised = OperatorsNoticeRaised {
        kind: "treasury_low".to_owned(),
        source_event_id: source(),
        figures: vec![figure("balance", "1.0000000")],
        happened_at: START,
    };
    let added = |user_id| OperatorAdded { user_id };
    let state = Story::default()
        .then(added(anna), START)
        .then(added(bert), START)
        .then(added(UserId::derive(&["carl"])), START)
        .then(
            OperatorRemoved {
                user_id: UserId::derive(&["carl"]),
            },
            START,
        )
        .state;
    let raised = record(raised.into(), START);
    let (after, decision) = transition(&Rules::default(), state.clone(), &raised);
    assert_eq!(after, state);
    assert!(decision.own.is_empty());
    let mut told: Vec<(String, UserId)> = decision
        .forward
        .iter()
        .map(|forward| match forward.event::<NotificationEvent>() {
            Some(NotificationEvent::NoticeRaised(notice)) => {
                assert_eq!(notice.source_event_id, source());
                (forward.key().to_owned(), notice.user_id)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    told.sort();
    let mut expected = vec![(anna.to_string(), anna), (bert.to_string(), bert)];
    expected.sort();
    assert_eq!(told, expected);
}

/// The schedule of Standard Webhooks, walked to its end: eight attempts.
#[test]
fn a_webhook_is_tried_by_the_schedule_and_then_given_up() {
    let mut story = with_hook().then(notice("purchase_settled"), START);
    let mut now = START;
    let mut waits = Vec::new();
    loop {
        let request = match story
            .requests()
            .iter()
            .find(|r| r.channel == Channel::Webhook)
        {
            Some(request) => (*request).clone(),
            None => panic!("no attempt: {:?}", story.names()),
        };
        assert_eq!(request.notification_id, hooked());
        let attempt = failed(&request, now, "http_status");
        story = story.then(attempt.clone(), now);
        let Some(next) = attempt.next_at else {
            assert_eq!(request.attempt, 8);
            break;
        };
        assert!(story.out.is_empty());
        let running = timers(&story.state);
        assert_eq!(running.len(), 1);
        assert_eq!(
            (running[0].due, running[0].name.clone()),
            (next, retry(hooked()))
        );
        waits.push(next.millis_since(now) / 1000);
        now = next;
        story = story.then(fired(hooked(), next), next);
        assert!(timers(&story.state).is_empty());
    }
    let hour = 3_600;
    assert_eq!(
        waits,
        [5, 300, 1_800, 2 * hour, 5 * hour, 10 * hour, 10 * hour]
    );
    assert_eq!(story.names(), ["NotificationFailed"]);
    assert!(!story.state.endpoints[&hook()].disabled);
    // A timer that fires once more, or for another, does nothing.
    let late = story.then(fired(hooked(), now), now);
    assert!(late.out.is_empty());
}

#[test]
fn an_endpoint_that_fails_for_five_days_is_disabled_and_its_owner_told() {
    let mut story = with_hook().then(notice("purchase_settled"), START);
    let first = (*story.requests()[1]).clone();
    story = story.then(failed(&first, START, "not_reached"), START);
    // Another one, that keeps failing; a success in between would begin anew.
    let five_days = 5 * 24 * HOUR;
    let mut other = notice("twin_created");
    other.source_event_id = EventId::derive(&["other"]);
    other.happened_at = at(five_days);
    let mut nearly = Story {
        state: story.state.clone(),
        out: Vec::new(),
    };
    nearly = nearly.then(
        failed(&first, at(five_days - 1), "not_reached"),
        at(five_days - 1),
    );
    assert!(nearly.out.is_empty(), "{:?}", nearly.names());
    story = story.then(other, at(five_days));
    let last = (*story.requests()[1]).clone();
    story = story.then(failed(&last, at(five_days), "not_reached"), at(five_days));
    assert_eq!(
        story.names(),
        [
            "WebhookEndpointDisabled",
            "NotificationFailed",
            "NotificationFailed",
            "NotificationRequested"
        ]
    );
    let mail = story.requests()[0];
    assert_eq!(
        (mail.channel, mail.kind.as_str()),
        (Channel::Email, "webhook_endpoint_disabled")
    );
    assert!(mail.figures.contains(&figure("failing_since", START)));
    assert!(story.state.endpoints[&hook()].disabled);
    assert!(timers(&story.state).is_empty());
    // Nothing goes there any more, until it is enabled.
    let mut third = notice("purchase_settled");
    third.source_event_id = EventId::derive(&["third"]);
    third.happened_at = at(five_days);
    let story = story.then(third.clone(), at(five_days));
    assert_eq!(story.channels(), [Channel::Email]);
    let enabled = WebhookEndpointEnabled {
        user_id: user(),
        endpoint_id: hook(),
        enabled_at: at(five_days),
    };
    third.source_event_id = EventId::derive(&["fourth"]);
    let story = story
        .then(enabled, at(five_days))
        .then(third, at(five_days));
    assert_eq!(story.channels(), [Channel::Email, Channel::Webhook]);
}

#[test]
fn a_success_begins_the_five_days_anew() {
    let story = with_hook().then(notice("purchase_settled"), START);
    let first = (*story.requests()[1]).clone();
    let story = story
        .then(failed(&first, START, "http_status"), START)
        .then(fired(hooked(), at(5)), at(5));
    let second = (*story.requests()[0]).clone();
    assert_eq!(second.attempt, 2);
    let story = story.then(delivered(&second, at(6)), at(6));
    assert_eq!(story.state.endpoints[&hook()].failing_since, None);
    assert!(
        story
            .state
            .open
            .values()
            .all(|o| o.plan.channel != Channel::Webhook)
    );
}

#[test]
fn a_receiver_that_says_it_is_gone_is_believed_at_once() {
    let story = with_hook().then(notice("purchase_settled"), START);
    let request = (*story.requests()[1]).clone();
    let story = story.then(failed(&request, at(1), "gone"), at(1));
    assert_eq!(
        story.names(),
        [
            "NotificationFailed",
            "WebhookEndpointDisabled",
            "NotificationRequested"
        ]
    );
}

#[test]
fn an_endpoint_that_is_removed_gets_nothing_more() {
    let removed = WebhookEndpointRemoved {
        user_id: user(),
        endpoint_id: hook(),
        removed_at: START,
    };
    let story = with_hook().then(notice("purchase_settled"), START);
    let request = (*story.requests()[1]).clone();
    let story = story
        .then(failed(&request, START, "http_status"), START)
        .then(removed, at(1));
    assert_eq!(story.names(), ["NotificationFailed"]);
    assert!(timers(&story.state).is_empty());
    // What an attempt that was under way says later changes nothing.
    let before = story.state.clone();
    let story = story.then(failed(&request, at(2), "http_status"), at(2));
    assert_eq!((story.out.len(), &story.state), (0, &before));
}

#[test]
fn a_webhook_is_sent_again_under_its_id() {
    let asked = ResendRequested {
        user_id: user(),
        notification_id: hooked(),
        endpoint_id: hook(),
        kind: "purchase_settled".to_owned(),
        source_event_id: source(),
        figures: Vec::new(),
        happened_at: START,
        requested_at: at(9),
    };
    // However old it is.
    let story = with_hook().then(asked.clone(), at(100 * HOUR));
    assert_eq!(story.requests()[0].notification_id, hooked());
    // While one is under way, another is not begun.
    let story = story.then(asked.clone(), at(101 * HOUR));
    assert!(story.out.is_empty());
    // One that waits gets its attempt now, and its timer is gone.
    let story = with_hook().then(notice("purchase_settled"), START);
    let request = (*story.requests()[1]).clone();
    let story = story
        .then(failed(&request, START, "http_status"), START)
        .then(asked.clone(), at(2));
    assert_eq!(story.requests()[0].attempt, 2);
    assert!(timers(&story.state).is_empty());
    // To one that is not there.
    let story = Story::default().then(asked, START);
    assert_eq!(story.names(), ["NotificationFailed"]);
}

#[test]
fn a_mail_of_which_nobody_knows_is_sent_again_a_few_times_and_a_refused_one_never() {
    let mut story = Story::default().then(notice("purchase_settled"), START);
    let mut waits = Vec::new();
    loop {
        let request = (*story.requests()[0]).clone();
        let attempt = failed(&request, START, "unclear");
        story = story.then(attempt.clone(), START);
        let Some(next) = attempt.next_at else { break };
        waits.push(next.millis_since(START) / 1000);
        story = story.then(fired(request.notification_id, next), next);
    }
    assert_eq!(waits, [300, 3_600, 6 * 3_600]);
    assert_eq!(story.names(), ["NotificationFailed"]);

    let story = Story::default().then(notice("purchase_settled"), START);
    let request = (*story.requests()[0]).clone();
    let refused = NotificationRefused {
        user_id: user(),
        notification_id: request.notification_id,
        request_id: source(),
        channel: request.channel,
        endpoint_id: None,
        attempt: 1,
        code: "smtp_550".to_owned(),
        detail: String::new(),
        refused_at: START,
    };
    let story = story.then(refused, START);
    assert!(story.out.is_empty() && story.state.open.is_empty());
}
