//! Text messages through Twilio's HTTP API, `Messages.json`.
//!
//! Twilio takes no idempotency key either. But it lists the messages of a number, so what may have
//! been sent is looked for by the reference in which each text ends.

use crate::{Accepted, Text, Texter, reference};
use async_trait::async_trait;
use events::outcome::{Attempt, Find, Refusal};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(30);
/// Pages of the list that are read at most; more messages than that are not sent to one phone.
const PAGES: usize = 20;

/// How to reach Twilio. Not shown: it holds a secret.
#[derive(Clone)]
pub struct TwilioConfig {
    /// `https://api.twilio.com`.
    pub base: String,
    /// The account, `AC…`.
    pub account: String,
    /// Its token.
    pub token: String,
    /// Number that sends, `+…`, or a messaging service, `MG…`.
    pub from: String,
}

/// Sends through Twilio.
pub struct TwilioTexter {
    http: Client,
    config: TwilioConfig,
}

impl TwilioTexter {
    /// A client.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(mut config: TwilioConfig) -> Result<Self, reqwest::Error> {
        config.base = config.base.trim_end_matches('/').to_owned();
        Ok(Self {
            http: Client::builder()
                .timeout(WITHIN)
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
            config,
        })
    }

    fn messages(&self) -> String {
        let TwilioConfig { base, account, .. } = &self.config;
        format!("{base}/2010-04-01/Accounts/{account}/Messages.json")
    }
}

#[derive(Deserialize)]
struct Page {
    messages: Vec<Message>,
    #[serde(default)]
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    sid: String,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Deserialize, Default)]
struct Told {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[async_trait]
impl Texter for TwilioTexter {
    async fn find(&self, text: &Text) -> Find<Accepted> {
        let wanted = reference(text.id);
        let mut url = match url::Url::parse(&self.messages()) {
            Ok(url) => url,
            Err(error) => return Find::NoAnswer(error.to_string()),
        };
        url.query_pairs_mut()
            .append_pair("To", &text.to)
            .append_pair("PageSize", "100");
        for _ in 0..PAGES {
            let asked = self
                .http
                .get(url.clone())
                .basic_auth(&self.config.account, Some(&self.config.token));
            let page: Page = match asked.send().await {
                Ok(answer) if answer.status() == StatusCode::OK => match answer.json().await {
                    Ok(page) => page,
                    Err(error) => return Find::NoAnswer(error.without_url().to_string()),
                },
                Ok(answer) => return Find::NoAnswer(format!("Twilio says {}", answer.status())),
                Err(error) => return Find::NoAnswer(error.without_url().to_string()),
            };
            let found = page.messages.into_iter().find(|message| {
                let body = message.body.as_deref().unwrap_or_default();
                body.trim_end().ends_with(&wanted)
            });
            if let Some(message) = found {
                return Find::Landed(Accepted {
                    answer: message.sid,
                });
            }
            let Some(next) = page.next_page_uri.filter(|next| next.starts_with('/')) else {
                return Find::Absent;
            };
            match url::Url::parse(&format!("{}{next}", self.config.base)) {
                Ok(next) => url = next,
                Err(error) => return Find::NoAnswer(error.to_string()),
            }
        }
        Find::NeverWill("the list of this number's messages has no end".to_owned())
    }

    async fn send(&self, text: &Text) -> Attempt<Accepted> {
        let from = if self.config.from.starts_with('+') {
            "From"
        } else {
            "MessagingServiceSid"
        };
        let body = format!("{} {}", text.text.trim_end(), reference(text.id));
        let form = [
            ("To", text.to.as_str()),
            (from, &self.config.from),
            ("Body", &body),
        ];
        let sent = self
            .http
            .post(self.messages())
            .basic_auth(&self.config.account, Some(&self.config.token))
            .form(&form);
        match sent.send().await {
            Ok(answer) => outcome(answer).await,
            Err(error) if error.is_connect() || error.is_builder() => {
                Attempt::NotSent(error.without_url().to_string())
            }
            Err(error) => Attempt::NoAnswer(error.without_url().to_string()),
        }
    }
}

/// The table from Twilio's answers to outcomes.
async fn outcome(answer: Response) -> Attempt<Accepted> {
    let status = answer.status();
    if status == StatusCode::CREATED {
        return match answer.json::<Message>().await {
            Ok(message) => Attempt::Landed(Accepted {
                answer: message.sid,
            }),
            Err(error) => Attempt::Unknown(error.without_url().to_string()),
        };
    }
    let told: Told = answer.json().await.unwrap_or_default();
    match (status, told.code) {
        // About our account or our sender, not about the recipient: 21212 and 21606 name a sender
        // that is not ours, 21603 a missing one, 21703 a messaging service without numbers.
        (StatusCode::BAD_REQUEST, 21_212 | 21_603 | 21_606 | 21_659 | 21_703 | 21_704) => {
            Attempt::NotSent(format!("Twilio does not take our sender: {}", told.code))
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, code) => {
            Attempt::NotSent(format!("Twilio does not let us in: {code}"))
        }
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            Attempt::NotSent("Twilio wants fewer calls".to_owned())
        }
        (StatusCode::BAD_REQUEST, code) if code > 0 => {
            Attempt::Refused(Refusal::new(format!("twilio_{code}"), told.message))
        }
        (status, _) if status.is_server_error() => {
            Attempt::NoAnswer(format!("Twilio says {status}"))
        }
        (status, code) => Attempt::Unknown(format!("Twilio says {status}, code {code}")),
    }
}
