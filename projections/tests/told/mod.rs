//! Who was told what, what they want to be told, and how their endpoints are.

use super::support::{Log, eventually};
use super::{TIME, id, passed};
use events::ids::{EndpointId, EventId, NotificationId, UserId};
use events::notifications::{
    Channel, Choice, Figure, NotificationAttemptFailed, NotificationEvent, NotificationFailed,
    NotificationRefused, NotificationRequested, OperatorsNoticeRaised, PreferencesSet,
    WebhookEndpointAdded, WebhookEndpointDisabled, WebhookEndpointRemoved,
};
use projections::notifications::{self, State};

fn requested(name: &str, attempt: i32) -> NotificationRequested {
    NotificationRequested {
        user_id: UserId::derive(&["told"]),
        notification_id: NotificationId::derive(&[name]),
        kind: "purchase_settled".to_owned(),
        language: "en".to_owned(),
        source_event_id: EventId::derive(&["source"]),
        figures: vec![Figure {
            name: "tft".to_owned(),
            value: "250.0000000 TFT".to_owned(),
        }],
        happened_at: TIME,
        channel: Channel::Email,
        endpoint_id: None,
        attempt,
        retry_after_ms: Some(5_000),
        deadline: TIME,
    }
}

pub async fn it_is_known_who_was_told_what(log: &Log) {
    let user = UserId::derive(&["told"]);
    let key = user.to_string();
    let tell = async |step: &str, event: NotificationEvent| {
        log.append(&key, id(&["told", step]), &key, event).await
    };
    let first = requested("first", 1);
    let failed = NotificationAttemptFailed {
        user_id: user,
        notification_id: first.notification_id,
        request_id: EventId::derive(&["request"]),
        channel: Channel::Email,
        endpoint_id: None,
        attempt: 1,
        status: None,
        code: "unclear".to_owned(),
        detail: String::new(),
        failed_at: TIME,
        next_at: Some(TIME),
    };
    let given_up = NotificationFailed {
        user_id: user,
        notification_id: first.notification_id,
        channel: Channel::Email,
        endpoint_id: None,
        reason: "attempts_used_up".to_owned(),
    };
    let second = requested("second", 1);
    let refused = NotificationRefused {
        user_id: user,
        notification_id: second.notification_id,
        request_id: EventId::derive(&["request 2"]),
        channel: Channel::Email,
        endpoint_id: None,
        attempt: 1,
        code: "no_address".to_owned(),
        detail: String::new(),
        refused_at: TIME,
    };
    let state = async |id: NotificationId, wanted: State| {
        eventually(|| async {
            let row = notifications::get(&log.pool, id).await.unwrap();
            row.filter(|row| row.state == wanted)
        })
        .await
    };
    tell("first", first.clone().into()).await;
    let row = state(first.notification_id, State::Sending).await;
    assert_eq!(
        (row.figures.clone(), row.channel),
        (first.figures.clone(), Channel::Email)
    );
    tell("failed", failed.into()).await;
    let row = state(first.notification_id, State::Waiting).await;
    assert_eq!(
        (row.attempts.len(), row.code.as_deref()),
        (1, Some("unclear"))
    );
    assert!(row.next_at.is_some());
    tell("again", requested("first", 2).into()).await;
    tell("given up", given_up.into()).await;
    let row = state(first.notification_id, State::Failed).await;
    assert_eq!(
        (row.code.as_deref(), row.next_at),
        (Some("attempts_used_up"), None)
    );
    // What it began with stays, and an echo of it changes nothing.
    let echo = tell("first", first.clone().into()).await;
    passed(log, &echo).await;
    let same = state(first.notification_id, State::Failed).await;
    assert_eq!(same, row);
    tell("second", second.clone().into()).await;
    tell("refused", refused.into()).await;
    state(second.notification_id, State::Refused).await;
    let all = notifications::list(&log.pool, Some(user), None, None, 10)
        .await
        .unwrap();
    assert_eq!(all.len(), 2);
    let nobody = UserId::derive(&["nobody"]);
    let none = notifications::list(&log.pool, Some(nobody), None, None, 10)
        .await
        .unwrap();
    assert!(none.is_empty());

    let choice = Choice {
        kind: "purchase_settled".to_owned(),
        channel: Channel::Sms,
        wanted: true,
    };
    let set = |choices| PreferencesSet {
        user_id: user,
        language: "en".to_owned(),
        choices,
        set_at: TIME,
    };
    assert_eq!(
        notifications::preferences(&log.pool, user).await.unwrap(),
        None
    );
    tell("chosen", set(vec![choice.clone()]).into()).await;
    eventually(|| async {
        let chosen = notifications::preferences(&log.pool, user).await.unwrap()?;
        (chosen.choices == [choice.clone()]).then_some(())
    })
    .await;
    tell("chosen anew", set(Vec::new()).into()).await;
    eventually(|| async {
        let chosen = notifications::preferences(&log.pool, user).await.unwrap()?;
        chosen.choices.is_empty().then_some(())
    })
    .await;

    let endpoint_id = EndpointId::derive(&["told"]);
    let endpoint = async |wanted: &str| {
        eventually(|| async {
            let found = notifications::endpoints(&log.pool, &[endpoint_id])
                .await
                .unwrap();
            found.into_iter().find(|row| row.state == wanted)
        })
        .await
    };
    let added = WebhookEndpointAdded {
        user_id: user,
        endpoint_id,
        added_at: TIME,
    };
    tell("added", added.into()).await;
    endpoint("active").await;
    let disabled = WebhookEndpointDisabled {
        user_id: user,
        endpoint_id,
        reason: "gone".to_owned(),
        failing_since: TIME,
    };
    tell("disabled", disabled.into()).await;
    assert_eq!(endpoint("disabled").await.reason.as_deref(), Some("gone"));
    let removed = WebhookEndpointRemoved {
        user_id: user,
        endpoint_id,
        removed_at: TIME,
    };
    tell("removed", removed.into()).await;
    endpoint("removed").await;

    // What concerns operators belongs to no purchase and to nobody, whatever its header says.
    let purchase = EventId::derive(&["a purchase"]).to_string();
    let raised = OperatorsNoticeRaised {
        kind: "purchase_alarmed".to_owned(),
        source_event_id: EventId::derive(&["source"]),
        figures: Vec::new(),
        happened_at: TIME,
    };
    let raised = NotificationEvent::from(raised);
    let place = log
        .append("operators", id(&["told", "operators"]), &purchase, raised)
        .await;
    passed(log, &place).await;
    let correlated: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM timeline WHERE topic = 'notifications' AND correlation IS DISTINCT FROM $1",
    )
    .bind(user.uuid())
    .fetch_one(&log.pool)
    .await
    .unwrap();
    let nobodys: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM timeline WHERE topic = 'notifications' AND correlation IS NULL",
    )
    .fetch_one(&log.pool)
    .await
    .unwrap();
    assert_eq!((correlated, nobodys), (1, 1));
}
