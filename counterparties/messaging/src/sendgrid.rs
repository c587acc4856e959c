//! E-mail through SendGrid's HTTP API, `POST /v3/mail/send`.
//!
//! SendGrid takes no idempotency key, and lists what it took only where "Email Activity" was
//! bought. So, as with SMTP, the `Message-ID` is all that a second copy is known by; it is not
//! among the headers that SendGrid reserves.

use crate::{Accepted, InvalidSmtp, Mail, Mailer};
use async_trait::async_trait;
use events::outcome::{Attempt, Refusal};
use lettre::message::Mailbox;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(30);

/// Sends through SendGrid.
pub struct SendGridMailer {
    http: Client,
    url: String,
    key: String,
    sender: Mailbox,
}

impl SendGridMailer {
    /// A mailer at `base` (`https://api.sendgrid.com`) with an API key.
    ///
    /// # Errors
    /// When the sender is not `Name <address>`, or `base` not an address of HTTP.
    pub fn new(base: &str, key: &str, sender: &str) -> Result<Self, InvalidSmtp> {
        let sender: Mailbox = sender
            .parse()
            .map_err(|_| InvalidSmtp::Sender(sender.to_owned()))?;
        let http = Client::builder()
            .timeout(WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| InvalidSmtp::Url)?;
        if !base.starts_with("https://") && !base.starts_with("http://127.0.0.1:") {
            return Err(InvalidSmtp::Url);
        }
        Ok(Self {
            http,
            url: format!("{}/v3/mail/send", base.trim_end_matches('/')),
            key: key.to_owned(),
            sender,
        })
    }
}

#[async_trait]
impl Mailer for SendGridMailer {
    async fn send(&self, mail: &Mail) -> Attempt<Accepted> {
        let mut from = json!({ "email": self.sender.email.to_string() });
        if let Some(name) = &self.sender.name {
            from["name"] = json!(name);
        }
        let body = json!({
            "personalizations": [{ "to": [{ "email": mail.to }] }],
            "from": from,
            "subject": mail.subject.replace(char::is_control, " "),
            "content": [{ "type": "text/plain", "value": mail.text }],
            "headers": {
                "Message-ID": format!("<{}@{}>", mail.id, self.sender.email.domain()),
                "Auto-Submitted": "auto-generated",
            },
            // Links in our mails are read by people, not counted.
            "tracking_settings": {
                "click_tracking": { "enable": false, "enable_text": false },
                "open_tracking": { "enable": false },
            },
        });
        let sent = self.http.post(&self.url).bearer_auth(&self.key).json(&body);
        match sent.send().await {
            Ok(answer) => outcome(answer).await,
            Err(error) if error.is_connect() || error.is_builder() => {
                Attempt::NotSent(error.without_url().to_string())
            }
            Err(error) => Attempt::NoAnswer(error.without_url().to_string()),
        }
    }
}

#[derive(Deserialize, Default)]
struct Told {
    #[serde(default)]
    errors: Vec<ToldError>,
}

#[derive(Deserialize)]
struct ToldError {
    #[serde(default)]
    message: String,
    #[serde(default)]
    field: Option<String>,
}

/// The table from SendGrid's answers to outcomes.
async fn outcome(answer: Response) -> Attempt<Accepted> {
    let status = answer.status();
    let id = answer
        .headers()
        .get("x-message-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let told: Told = answer.json().await.unwrap_or_default();
    let first = told.errors.into_iter().next();
    let field = first.as_ref().and_then(|e| e.field.clone());
    let said = first.map(|e| e.message).unwrap_or_default();
    match status {
        StatusCode::ACCEPTED => Attempt::Landed(Accepted { answer: id }),
        // What it says of our own sender is no word about the recipient.
        StatusCode::BAD_REQUEST if field.as_deref().is_some_and(|f| f.starts_with("from")) => {
            Attempt::NotSent(format!("SendGrid does not take our sender: {said}"))
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
            Attempt::Refused(Refusal::new(format!("sendgrid_{}", status.as_u16()), said))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Attempt::NotSent(format!("SendGrid does not let us in: {said}"))
        }
        StatusCode::TOO_MANY_REQUESTS => Attempt::NotSent("SendGrid wants fewer calls".to_owned()),
        status if status.is_server_error() => Attempt::NoAnswer(format!("SendGrid says {status}")),
        status => Attempt::Unknown(format!("SendGrid says {status}: {said}")),
    }
}
