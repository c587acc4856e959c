//! Our own clients against the stand-ins: what is taken, what is refused, what is found again.
#![expect(clippy::unwrap_used, reason = "tests")]

use counterparties_messaging::{
    Mail, Mailer, SendGridMailer, Text, Texter, TwilioConfig, TwilioTexter, reference,
};
use events::ids::EventId;
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use sandbox_messaging::Settings;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const FROM: &str = "+15005550006";

async fn stand_in() -> String {
    let router = sandbox_messaging::router(Settings {
        sendgrid_key: "SG.key".to_owned(),
        sender: "no-reply@gridway.dev".to_owned(),
        account: "AC1".to_owned(),
        token: "token".to_owned(),
        from: FROM.to_owned(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(sandbox_kit::serve(
        listener,
        router,
        CancellationToken::new(),
    ));
    base
}

async fn kept(base: &str, what: &str) -> Vec<Value> {
    let answer = reqwest::get(format!("{base}/_control/{what}"))
        .await
        .unwrap();
    answer.json().await.unwrap()
}

async fn arm(base: &str, path: &str, kind: &str) {
    let fault = json!({"method": "POST", "path": path, "kind": kind, "times": 1});
    let client = reqwest::Client::new();
    let armed = client.post(format!("{base}/_control/faults")).json(&fault);
    assert!(armed.send().await.unwrap().status().is_success());
}

fn mail(to: &str) -> Mail {
    Mail {
        id: EventId::derive(&["mail"]),
        to: to.to_owned(),
        subject: "Grüße\n🐎".to_owned(),
        text: "a\n\nb\n".to_owned(),
        at: Timestamp::from_seconds(1_800_000_000),
    }
}

#[tokio::test]
async fn sendgrid_takes_a_mail_and_its_refusals_are_told_apart() {
    let base = stand_in().await;
    let sender = "Gridway <no-reply@gridway.dev>";
    let mailer = SendGridMailer::new(&base, "SG.key", sender).unwrap();
    let sent = mailer.send(&mail("anna@example.org")).await;
    assert!(
        matches!(&sent, Attempt::Landed(taken) if taken.answer == "standin-1"),
        "{sent:?}"
    );
    let mails = kept(&base, "mails").await;
    assert_eq!(
        mails[0]["personalizations"][0]["to"][0]["email"],
        "anna@example.org"
    );
    assert_eq!(mails[0]["subject"], "Grüße 🐎");
    let id = format!("<{}@gridway.dev>", EventId::derive(&["mail"]));
    assert_eq!(mails[0]["headers"]["Message-ID"], id);

    let sent = mailer.send(&mail("anna")).await;
    assert!(
        matches!(&sent, Attempt::Refused(r) if r.code == "sendgrid_400"),
        "{sent:?}"
    );
    for (kind, expected) in [
        ("http429", "NotSent"),
        ("http503", "NoAnswer"),
        ("lose_answer", "NoAnswer"),
        ("reset", "NoAnswer"),
        ("http500_after_work", "NoAnswer"),
    ] {
        arm(&base, "/v3/mail/send", kind).await;
        let sent = format!("{:?}", mailer.send(&mail("anna@example.org")).await);
        assert!(sent.starts_with(expected), "{kind}: {sent}");
    }
    // What is wrong with us says nothing of the recipient.
    for (key, sender) in [("SG.other", sender), ("SG.key", "eve@example.org")] {
        let mailer = SendGridMailer::new(&base, key, sender).unwrap();
        let sent = mailer.send(&mail("anna@example.org")).await;
        assert!(matches!(sent, Attempt::NotSent(_)), "{sent:?}");
    }
    // lose_answer and http500_after_work were done.
    assert_eq!(kept(&base, "mails").await.len(), 3);
}

fn text(number: u32, to: &str) -> Text {
    Text {
        id: EventId::derive(&["text", &number.to_string()]),
        to: to.to_owned(),
        text: "Gridway: twelve".to_owned(),
        at: Timestamp::from_seconds(1_800_000_000),
    }
}

#[tokio::test]
async fn twilio_takes_a_text_and_shows_it_again_and_its_refusals_are_told_apart() {
    let base = stand_in().await;
    let config = |token: &str, from: &str| TwilioConfig {
        base: base.clone(),
        account: "AC1".to_owned(),
        token: token.to_owned(),
        from: from.to_owned(),
    };
    let texter = TwilioTexter::new(config("token", FROM)).unwrap();
    let to = "+491701234567";
    assert_eq!(texter.find(&text(0, to)).await, Find::Absent);
    let sent = texter.send(&text(0, to)).await;
    assert!(
        matches!(&sent, Attempt::Landed(taken) if taken.answer.starts_with("SM")),
        "{sent:?}"
    );
    // Behind two pages of others to the same number, and not to another.
    for number in 1..=250 {
        texter.send(&text(number, to)).await;
    }
    let found = texter.find(&text(0, to)).await;
    assert!(
        matches!(&found, Find::Landed(taken) if taken.answer.ends_with("01")),
        "{found:?}"
    );
    assert_eq!(texter.find(&text(0, "+491701234568")).await, Find::Absent);
    assert_eq!(texter.find(&text(251, to)).await, Find::Absent);
    let texts = kept(&base, "texts").await;
    let body = format!("Gridway: twelve {}", reference(text(0, to).id));
    assert_eq!(texts[0]["body"], body);

    for (to, code) in [
        ("12", "twilio_21211"),
        ("+15005550001", "twilio_21211"),
        ("+15005550003", "twilio_21408"),
        ("+15005550004", "twilio_21610"),
        ("+15005550009", "twilio_21614"),
    ] {
        let sent = texter.send(&text(0, to)).await;
        assert!(
            matches!(&sent, Attempt::Refused(r) if r.code == code),
            "{to}: {sent:?}"
        );
    }
    for (kind, expected) in [
        ("http429", "NotSent"),
        ("http503", "NoAnswer"),
        ("lose_answer", "NoAnswer"),
        ("garble", "Unknown"),
    ] {
        arm(&base, "/2010-04-01", kind).await;
        let sent = format!("{:?}", texter.send(&text(500, to)).await);
        assert!(sent.starts_with(expected), "{kind}: {sent}");
    }
    let found = texter.find(&text(500, to)).await;
    assert!(matches!(found, Find::Landed(_)), "{found:?}");
    for config in [config("other", FROM), config("token", "+15005550007")] {
        let sent = TwilioTexter::new(config).unwrap().send(&text(0, to)).await;
        assert!(matches!(sent, Attempt::NotSent(_)), "{sent:?}");
    }
}
