//! What the hands do with what counterparties say.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

use async_trait::async_trait;
use counterparties_messaging::{Accepted, Mail, Mailer, Text, Texter};
use events::envelope::{Envelope, Record};
use events::ids::{EndpointId, EventId, NotificationId, UserId};
use events::notifications::{Channel, NotificationEvent, NotificationRequested};
use events::outcome::{Attempt, Find, Refusal};
use events::time::Timestamp;
use parking_lot::Mutex;
use pipeline::{Executor, Job, Owner, Verdict, clock};
use processor_notifications::hands::{Mails, Texts, payload};
use processor_notifications::kinds::figure;
use processor_notifications::templates::Templates;
use processor_notifications::{Addresses, Endpoint, Unavailable};
use std::sync::Arc;
use std::time::Duration;

/// Somebody with a mailbox and a phone, nobody, or a database that does not answer.
enum People {
    There,
    Nobody,
    Down,
}

#[async_trait]
impl Addresses for People {
    async fn email(&self, _: UserId) -> Result<Option<String>, Unavailable> {
        match self {
            Self::There => Ok(Some("anna@example.org".to_owned())),
            Self::Nobody => Ok(None),
            Self::Down => Err(Unavailable("no route to Postgres".to_owned())),
        }
    }

    async fn phone(&self, _: UserId) -> Result<Option<String>, Unavailable> {
        let there = self.email(UserId::derive(&["u"])).await?;
        Ok(there.map(|_| "+491701234567".to_owned()))
    }

    async fn endpoint(&self, _: EndpointId) -> Result<Option<Endpoint>, Unavailable> {
        Ok(None)
    }
}

/// Answers what it is told to, one after the other, and keeps what it was sent.
#[derive(Default)]
struct Post {
    answers: Mutex<Vec<Attempt<Accepted>>>,
    sent: Mutex<Vec<(EventId, String, String)>>,
    listed: Mutex<bool>,
}

impl Post {
    fn answering(answers: Vec<Attempt<Accepted>>) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers),
            ..Self::default()
        })
    }

    fn next(&self) -> Attempt<Accepted> {
        self.answers.lock().remove(0)
    }
}

#[async_trait]
impl Mailer for Post {
    async fn send(&self, mail: &Mail) -> Attempt<Accepted> {
        let told = (mail.id, mail.to.clone(), mail.subject.clone());
        self.sent.lock().push(told);
        self.next()
    }
}

#[async_trait]
impl Texter for Post {
    async fn find(&self, _: &Text) -> Find<Accepted> {
        if *self.listed.lock() {
            return Find::Landed(taken());
        }
        Find::Absent
    }

    async fn send(&self, text: &Text) -> Attempt<Accepted> {
        let told = (text.id, text.to.clone(), text.text.clone());
        self.sent.lock().push(told);
        self.next()
    }
}

fn taken() -> Accepted {
    Accepted {
        answer: "250 taken".to_owned(),
    }
}

fn request(channel: Channel) -> NotificationRequested {
    NotificationRequested {
        user_id: UserId::derive(&["u"]),
        notification_id: NotificationId::derive(&["n"]),
        kind: "payment_refunded".to_owned(),
        language: "en".to_owned(),
        source_event_id: EventId::derive(&["s"]),
        figures: vec![figure("purchase_id", "p-1"), figure("refunded", "5.30 EUR")],
        happened_at: Timestamp(1_790_000_000_000),
        channel,
        endpoint_id: None,
        attempt: 1,
        retry_after_ms: Some(300_000),
        deadline: clock::now().after(Duration::from_secs(3_600)),
    }
}

fn job<X>(request: NotificationRequested) -> Job<X>
where
    X: Executor<Event = NotificationEvent, Request = NotificationRequested, Context = ()>,
{
    let envelope = Envelope {
        id: EventId::derive(&["request"]),
        source: "/test".into(),
        time: Timestamp(1_790_000_000_000),
        subject: request.user_id.to_string(),
        correlation: None,
        causation: None,
        traceparent: None,
    };
    Job {
        record: Record {
            partition: 0,
            offset: 0,
            envelope,
            event: request.clone().into(),
        },
        request,
        context: (),
        owner: Owner::unchecked(),
    }
}

fn mails(post: &Arc<Post>, people: People) -> Mails {
    let templates = Arc::new(Templates::new().unwrap());
    Mails::new(
        Arc::clone(post) as Arc<dyn Mailer>,
        Arc::new(people),
        templates,
    )
}

fn texts(post: &Arc<Post>, people: People, settle: Duration) -> Texts {
    let templates = Arc::new(Templates::new().unwrap());
    let texter = Arc::clone(post) as Arc<dyn Texter>;
    Texts::new(texter, Arc::new(people), templates, settle)
}

#[tokio::test]
async fn a_mail_is_sent_to_the_address_of_the_moment_under_its_notifications_id() {
    let post = Post::answering(vec![Attempt::Landed(taken())]);
    let hand = mails(&post, People::There);
    let job = job(request(Channel::Email));
    assert_eq!(hand.find(&job).await, Find::Absent);
    let Attempt::Landed(proof) = hand.attempt(&job).await else {
        panic!("not sent")
    };
    let id = EventId::from_uuid(NotificationId::derive(&["n"]).uuid());
    let subject = "5.30 EUR are on their way back to you".to_owned();
    assert_eq!(
        *post.sent.lock(),
        [(id, "anna@example.org".to_owned(), subject)]
    );
    let NotificationEvent::NotificationDelivered(event) =
        hand.outcome(&job, Verdict::Landed(proof)).await
    else {
        panic!("another outcome")
    };
    assert_eq!(event.reference.as_deref(), Some("250 taken"));
}

/// Whatever the loop around a hand does next, a mail of which nobody knows is not sent again by it.
#[tokio::test]
async fn a_mail_of_which_nobody_knows_ends_its_attempt() {
    for unclear in [
        Attempt::NoAnswer("the connection broke".to_owned()),
        Attempt::Unknown("what?".to_owned()),
    ] {
        let post = Post::answering(vec![unclear]);
        let hand = mails(&post, People::There);
        let job = job(request(Channel::Email));
        hand.attempt(&job).await;
        let Find::Refused(refusal) = hand.find(&job).await else {
            panic!("it would be sent again at once")
        };
        let NotificationEvent::NotificationAttemptFailed(event) =
            hand.outcome(&job, Verdict::Refused(refusal)).await
        else {
            panic!("another outcome")
        };
        assert_eq!(event.code, "unclear");
        let wait = event.next_at.unwrap().millis_since(event.failed_at);
        assert_eq!(wait, 300_000);
        // The next request is another one: it is tried.
        assert_eq!(hand.find(&job).await, Find::Absent);
    }
}

#[tokio::test]
async fn a_mail_that_is_turned_away_for_now_gives_way_after_three_times() {
    let away = || Attempt::NotSent("451 later".to_owned());
    let post = Post::answering(vec![away(), away(), away()]);
    let hand = mails(&post, People::There);
    let job = job(request(Channel::Email));
    for _ in 0..3 {
        assert_eq!(hand.find(&job).await, Find::Absent);
        hand.attempt(&job).await;
    }
    let Find::Refused(refusal) = hand.find(&job).await else {
        panic!("it would be tried for ever")
    };
    assert_eq!(refusal.code, "not_taken");
}

#[tokio::test]
async fn who_has_no_address_is_not_told_and_a_database_that_is_down_is_waited_for() {
    let post = Post::answering(Vec::new());
    let job = job(request(Channel::Email));
    let nobody = mails(&post, People::Nobody).attempt(&job).await;
    assert!(
        matches!(&nobody, Attempt::Refused(r) if r.code == "no_address"),
        "{nobody:?}"
    );
    let down = mails(&post, People::Down).attempt(&job).await;
    assert!(matches!(down, Attempt::NotSent(_)), "{down:?}");
    assert!(post.sent.lock().is_empty());
}

/// A refusal of the server may quote the address; the log must not.
#[tokio::test]
async fn what_a_counterparty_says_in_words_stays_out_of_the_log() {
    let said = Refusal::new("smtp_550", "no such user anna@example.org");
    let post = Post::answering(Vec::new());
    let job = job(request(Channel::Email));
    let hand = mails(&post, People::There);
    let event = hand.outcome(&job, Verdict::Refused(said)).await;
    let NotificationEvent::NotificationRefused(event) = event else {
        panic!("another outcome")
    };
    assert_eq!(event.code, "smtp_550");
    assert!(!event.detail.contains("anna"));
}

#[tokio::test]
async fn after_the_deadline_nothing_is_sent() {
    let post = Post::answering(Vec::new());
    let mut late = request(Channel::Email);
    late.deadline = clock::now();
    let hand = mails(&post, People::There);
    let job = job(late);
    assert!(matches!(hand.attempt(&job).await, Attempt::Unknown(_)));
    assert!(matches!(hand.find(&job).await, Find::NeverWill(_)));
    assert!(post.sent.lock().is_empty());
}

#[tokio::test]
async fn a_text_is_looked_for_until_it_must_have_arrived() {
    let lost = Attempt::NoAnswer("the connection broke".to_owned());
    let post = Post::answering(vec![lost]);
    // Long enough that the test is within it.
    let hand = texts(&post, People::There, Duration::from_secs(3_600));
    let job = job(request(Channel::Sms));
    // A process that has just begun does not know what another one sent.
    assert!(matches!(hand.find(&job).await, Find::Pending(_)));
    hand.attempt(&job).await;
    assert!(matches!(hand.find(&job).await, Find::Pending(_)));
    *post.listed.lock() = true;
    assert_eq!(hand.find(&job).await, Find::Landed(taken()));
    let sent = post.sent.lock().clone();
    assert_eq!(sent[0].2, "Gridway: 5.30 EUR are on their way back to you");
}

#[tokio::test]
async fn a_text_that_never_arrived_may_be_sent_again_then() {
    let lost = Attempt::NoAnswer("the connection broke".to_owned());
    let post = Post::answering(vec![lost]);
    let hand = texts(&post, People::There, Duration::ZERO);
    let job = job(request(Channel::Sms));
    hand.attempt(&job).await;
    assert_eq!(hand.find(&job).await, Find::Absent);
    let nobody = texts(&post, People::Nobody, Duration::ZERO)
        .find(&job)
        .await;
    assert!(
        matches!(&nobody, Find::Refused(r) if r.code == "no_address"),
        "{nobody:?}"
    );
}

#[test]
fn a_webhook_has_the_same_body_at_each_attempt() {
    let first = request(Channel::Webhook);
    let mut second = first.clone();
    second.attempt = 5;
    second.deadline = Timestamp(0);
    assert_eq!(payload(&first), payload(&second));
    let body: serde_json::Value = serde_json::from_str(&payload(&first)).unwrap();
    assert_eq!(body["type"], "payment_refunded");
    assert_eq!(body["timestamp"], "2026-09-21T14:13:20.000Z");
    assert_eq!(body["data"]["refunded"], "5.30 EUR");
}
