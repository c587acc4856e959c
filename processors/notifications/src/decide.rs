//! Every rule of who is told what, how, how often, and when it is given up.

use crate::kinds::{Kind, figure};
use crate::state::{Endpoint, Open, Person, Plan};
use events::envelope::Record;
use events::ids::{EndpointId, EventId, NotificationId, UserId};
use events::notifications::{
    Channel, NoticeRaised, NotificationAttemptFailed, NotificationEvent, NotificationFailed,
    NotificationRequested, OperatorsNoticeRaised, ResendRequested, WebhookEndpointDisabled,
};
use events::time::Timestamp;
use pipeline::{Decision, Forward, Planned, Timer};
use std::time::Duration;

/// The language of whoever chose none.
pub const LANGUAGE: &str = "en";
/// An answer by which a receiver says that it wants nothing more.
pub const GONE: &str = "gone";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// The policy's figures.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Waits before the second, third, … attempt at a webhook; the first is made at once. By the
    /// schedule that Standard Webhooks recommends.
    pub webhooks: Vec<Duration>,
    /// The same at a mail that was not taken, or of which nobody knows.
    pub mails: Vec<Duration>,
    /// An endpoint that has failed for so long is disabled.
    pub disable_after: Duration,
    /// Of what happened longer ago nobody is told: after an outage, or when this is run on a log
    /// that is older than it.
    pub stale_after: Duration,
    /// How long one attempt may take to be made at all, while a counterparty is down.
    pub deadline: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            webhooks: vec![
                5 * SECOND,
                5 * MINUTE,
                30 * MINUTE,
                2 * HOUR,
                5 * HOUR,
                10 * HOUR,
                10 * HOUR,
            ],
            mails: vec![5 * MINUTE, HOUR, 6 * HOUR],
            disable_after: 5 * 24 * HOUR,
            stale_after: 24 * HOUR,
            deadline: 24 * HOUR,
        }
    }
}

impl Rules {
    /// How long after a failure of this attempt the next one follows; `None` after the last.
    fn wait(&self, channel: Channel, attempt: i32) -> Option<Duration> {
        let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
        match channel {
            Channel::Webhook => self.webhooks.get(index).copied(),
            Channel::Email => self.mails.get(index).copied(),
            // What became of a text message is found out before it is tried again, within one request.
            Channel::Sms => None,
        }
    }
}

/// The timer of a notification's next attempt.
#[must_use]
pub fn retry(id: NotificationId) -> String {
    format!("retry {id}")
}

/// The timers that run in this state.
#[must_use]
pub fn timers(state: &Person) -> Vec<Timer> {
    let waiting = state.open.iter();
    waiting
        .filter_map(|(id, open)| {
            Some(Timer {
                due: open.next?,
                name: retry(*id),
            })
        })
        .collect()
}

/// Identity of what one person is told of one event by one channel, at one endpoint.
#[must_use]
pub fn notification_id(
    source: EventId,
    user: UserId,
    channel: Channel,
    endpoint: Option<EndpointId>,
) -> NotificationId {
    let endpoint = endpoint.map(|e| e.to_string()).unwrap_or_default();
    NotificationId::derive(&[
        &source.to_string(),
        &user.to_string(),
        channel.as_str(),
        &endpoint,
    ])
}

/// The state after the fact, and what is to be appended because of it.
#[must_use]
pub fn transition(
    rules: &Rules,
    mut state: Person,
    record: &Record<NotificationEvent>,
) -> (Person, Decision<NotificationEvent>) {
    let mut book = Book {
        rules,
        now: record.time(),
        out: Decision::nothing(),
    };
    match &record.event {
        NotificationEvent::NoticeRaised(event) => book.notice(&mut state, event),
        NotificationEvent::OperatorsNoticeRaised(event) => book.operators(&state, event),
        NotificationEvent::OperatorAdded(event) => {
            state.operators.insert(event.user_id);
        }
        NotificationEvent::OperatorRemoved(event) => {
            state.operators.remove(&event.user_id);
        }
        NotificationEvent::PreferencesSet(event) => {
            state.language = Some(event.language.clone());
            let choices = event.choices.iter();
            state.choices = choices
                .map(|choice| ((choice.kind.clone(), choice.channel), choice.wanted))
                .collect();
        }
        NotificationEvent::PhoneVerified(_) => state.phone = true,
        NotificationEvent::PhoneRemoved(_) => state.phone = false,
        NotificationEvent::WebhookEndpointAdded(event) => {
            state.endpoints.entry(event.endpoint_id).or_default();
        }
        NotificationEvent::WebhookEndpointRemoved(event) => {
            state.endpoints.remove(&event.endpoint_id);
            book.drop_endpoint(&mut state, event.endpoint_id, "endpoint_removed");
        }
        NotificationEvent::WebhookEndpointEnabled(event) => {
            if let Some(endpoint) = state.endpoints.get_mut(&event.endpoint_id) {
                *endpoint = Endpoint::default();
            }
        }
        NotificationEvent::ResendRequested(event) => book.resend(&mut state, event),
        NotificationEvent::NotificationDelivered(event) => {
            state.open.remove(&event.notification_id);
            let endpoint = event
                .endpoint_id
                .and_then(|id| state.endpoints.get_mut(&id));
            if let Some(endpoint) = endpoint {
                endpoint.failing_since = None;
            }
        }
        NotificationEvent::NotificationRefused(event) => {
            state.open.remove(&event.notification_id);
        }
        NotificationEvent::NotificationAttemptFailed(event) => {
            book.attempt_failed(&mut state, event, record.id());
        }
        NotificationEvent::TimerFired(event) => book.timer(&mut state, &event.timer),
        // Ours: they change nothing.
        NotificationEvent::WebhookEndpointDisabled(_)
        | NotificationEvent::NotificationRequested(_)
        | NotificationEvent::NotificationFailed(_)
        | NotificationEvent::DeadLetterReleased(_) => {}
    }
    (state, book.out)
}

struct Book<'a> {
    rules: &'a Rules,
    now: Timestamp,
    out: Decision<NotificationEvent>,
}

impl Book<'_> {
    fn push(&mut self, event: impl Into<NotificationEvent>, discriminator: impl ToString) {
        let planned = Planned::new(event).discriminated(discriminator.to_string());
        self.out.own.push(planned);
    }

    /// Has an attempt made.
    fn request(&mut self, plan: &Plan, attempt: i32) {
        let wait = self.rules.wait(plan.channel, attempt);
        let event = NotificationRequested {
            user_id: plan.user,
            notification_id: plan.id,
            kind: plan.kind.clone(),
            language: plan.language.clone(),
            source_event_id: plan.source,
            figures: plan.figures.clone(),
            happened_at: plan.happened_at,
            channel: plan.channel,
            endpoint_id: plan.endpoint,
            attempt,
            retry_after_ms: wait.map(|w| i64::try_from(w.as_millis()).unwrap_or(i64::MAX)),
            deadline: self.now.after(self.rules.deadline),
        };
        self.push(event, plan.id);
    }

    fn begin(&mut self, state: &mut Person, plan: Plan) {
        if state.open.contains_key(&plan.id) {
            return;
        }
        self.request(&plan, 1);
        let open = Open {
            plan,
            attempt: 1,
            next: None,
        };
        state.open.insert(open.plan.id, open);
    }

    fn notice(&mut self, state: &mut Person, event: &NoticeRaised) {
        let age = self.now.millis_since(event.happened_at);
        let stale = i64::try_from(self.rules.stale_after.as_millis()).unwrap_or(i64::MAX);
        let Some(kind) = Kind::of(&event.kind) else {
            return;
        };
        if age > stale {
            return;
        }
        for (channel, endpoint) in ways(state, kind) {
            let plan = Plan {
                user: event.user_id,
                id: notification_id(event.source_event_id, event.user_id, channel, endpoint),
                kind: event.kind.clone(),
                language: language(state),
                source: event.source_event_id,
                figures: event.figures.clone(),
                happened_at: event.happened_at,
                channel,
                endpoint,
            };
            self.begin(state, plan);
        }
    }

    /// Each operator is told by themselves, as they want to be.
    fn operators(&mut self, state: &Person, event: &OperatorsNoticeRaised) {
        for user in &state.operators {
            let notice = NoticeRaised {
                user_id: *user,
                kind: event.kind.clone(),
                source_event_id: event.source_event_id,
                figures: event.figures.clone(),
                happened_at: event.happened_at,
            };
            let forward = Forward::new::<NotificationEvent>(user.to_string(), notice);
            self.out
                .forward
                .push(forward.discriminated(user.to_string()));
        }
    }

    fn timer(&mut self, state: &mut Person, timer: &str) {
        let due = state.open.values_mut();
        let Some(open) = due
            .filter(|open| open.next.is_some())
            .find(|open| retry(open.plan.id) == timer)
        else {
            return;
        };
        open.next = None;
        open.attempt += 1;
        let (plan, attempt) = (open.plan.clone(), open.attempt);
        self.request(&plan, attempt);
    }

    fn attempt_failed(
        &mut self,
        state: &mut Person,
        event: &NotificationAttemptFailed,
        record: EventId,
    ) {
        if let Some(open) = state.open.get_mut(&event.notification_id)
            && open.attempt == event.attempt
            && open.next.is_none()
        {
            open.next = event.next_at;
            if event.next_at.is_none() {
                let plan = open.plan.clone();
                state.open.remove(&plan.id);
                self.failed(&plan, "attempts_used_up");
            }
        }
        let Some(id) = event.endpoint_id else {
            return;
        };
        let Some(endpoint) = state.endpoints.get_mut(&id).filter(|e| !e.disabled) else {
            return;
        };
        let since = *endpoint.failing_since.get_or_insert(event.failed_at);
        let failing = event.failed_at.millis_since(since);
        let limit = i64::try_from(self.rules.disable_after.as_millis()).unwrap_or(i64::MAX);
        let reason = match event.code.as_str() {
            GONE => GONE,
            _ if failing >= limit => "failing",
            _ => return,
        };
        endpoint.disabled = true;
        let disabled = WebhookEndpointDisabled {
            user_id: event.user_id,
            endpoint_id: id,
            reason: reason.to_owned(),
            failing_since: since,
        };
        self.push(disabled, "");
        self.drop_endpoint(state, id, "endpoint_disabled");
        // Its owner is told, by the ways that are left.
        let notice = NoticeRaised {
            user_id: event.user_id,
            kind: "webhook_endpoint_disabled".to_owned(),
            source_event_id: record,
            figures: vec![
                figure("endpoint_id", id),
                figure("reason", reason),
                figure("failing_since", since),
            ],
            happened_at: self.now,
        };
        self.notice(state, &notice);
    }

    fn resend(&mut self, state: &mut Person, event: &ResendRequested) {
        let plan = Plan {
            user: event.user_id,
            id: event.notification_id,
            kind: event.kind.clone(),
            language: language(state),
            source: event.source_event_id,
            figures: event.figures.clone(),
            happened_at: event.happened_at,
            channel: Channel::Webhook,
            endpoint: Some(event.endpoint_id),
        };
        match state.endpoints.get(&event.endpoint_id) {
            None => return self.failed(&plan, "endpoint_removed"),
            Some(endpoint) if endpoint.disabled => {
                return self.failed(&plan, "endpoint_disabled");
            }
            Some(_) => {}
        }
        match state.open.get_mut(&plan.id) {
            None => self.begin(state, plan),
            // It waits for its next attempt, which is made now.
            Some(open) if open.next.is_some() => {
                open.next = None;
                open.attempt += 1;
                let (plan, attempt) = (open.plan.clone(), open.attempt);
                self.request(&plan, attempt);
            }
            // It is being sent.
            Some(_) => {}
        }
    }

    /// Nothing more is sent to an endpoint.
    fn drop_endpoint(&mut self, state: &mut Person, endpoint: EndpointId, reason: &str) {
        let dropped: Vec<Plan> = state
            .open
            .values()
            .filter(|open| open.plan.endpoint == Some(endpoint))
            .map(|open| open.plan.clone())
            .collect();
        for plan in dropped {
            state.open.remove(&plan.id);
            self.failed(&plan, reason);
        }
    }

    fn failed(&mut self, plan: &Plan, reason: &str) {
        let event = NotificationFailed {
            user_id: plan.user,
            notification_id: plan.id,
            channel: plan.channel,
            endpoint_id: plan.endpoint,
            reason: reason.to_owned(),
        };
        self.push(event, plan.id);
    }
}

fn language(state: &Person) -> String {
    state
        .language
        .clone()
        .unwrap_or_else(|| LANGUAGE.to_owned())
}

/// By which ways somebody is told of a kind.
fn ways(state: &Person, kind: &Kind) -> Vec<(Channel, Option<EndpointId>)> {
    let mut ways = Vec::new();
    for channel in Channel::ALL {
        let chosen = state.choices.get(&(kind.name.to_owned(), channel)).copied();
        if !chosen.unwrap_or(kind.usual(channel)) {
            continue;
        }
        match channel {
            Channel::Email => ways.push((channel, None)),
            Channel::Sms if state.phone => ways.push((channel, None)),
            Channel::Sms => {}
            Channel::Webhook => {
                let endpoints = state.endpoints.iter().filter(|(_, e)| !e.disabled);
                ways.extend(endpoints.map(|(id, _)| (channel, Some(*id))));
            }
        }
    }
    ways
}
