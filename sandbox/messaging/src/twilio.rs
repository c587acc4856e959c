//! Twilio: `Messages.json` of an account, with its error codes and its magic test numbers.

use crate::{Shared, World};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The longest text.
const LONGEST: usize = 1_600;
const USUAL_PAGE: usize = 50;

/// A message that was taken.
pub(crate) struct Message {
    sid: String,
    to: String,
    body: String,
    created: DateTime<Utc>,
}

impl Message {
    pub(crate) fn show(&self, world: &Shared) -> Value {
        let account = &world.settings.account;
        let created = self.created.to_rfc2822();
        json!({
            "sid": self.sid,
            "account_sid": account,
            "to": self.to,
            "from": world.settings.from,
            "body": self.body,
            "status": "queued",
            "direction": "outbound-api",
            "date_created": created,
            "date_updated": created,
            "date_sent": null,
            "error_code": null,
            "error_message": null,
            "uri": format!("/2010-04-01/Accounts/{account}/Messages/{}.json", self.sid),
        })
    }
}

pub(crate) fn routes() -> Router<World> {
    let path = "/2010-04-01/Accounts/{account}/Messages.json";
    Router::new().route(path, post(create).get(list))
}

fn refuse(status: StatusCode, code: u32, message: &str) -> Response {
    let body = json!({
        "code": code,
        "message": message,
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        "status": status.as_u16(),
    });
    (status, Json(body)).into_response()
}

fn let_in(world: &Shared, account: &str, headers: &HeaderMap) -> Result<(), Response> {
    let pair = format!("{}:{}", world.settings.account, world.settings.token);
    let expected = format!("Basic {}", STANDARD.encode(pair));
    let given = headers.get("authorization").and_then(|v| v.to_str().ok());
    if given != Some(expected.as_str()) {
        return Err(refuse(StatusCode::UNAUTHORIZED, 20_003, "Authenticate"));
    }
    if account != world.settings.account {
        let why = "The requested resource was not found";
        return Err(refuse(StatusCode::NOT_FOUND, 20_404, why));
    }
    Ok(())
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (8..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
}

#[expect(
    clippy::disallowed_methods,
    reason = "a counterparty has a clock of its own"
)]
async fn create(
    State(world): State<World>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    if let Err(refusal) = let_in(&world, &account, &headers) {
        return refusal;
    }
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let (to, from, text) = (field("To"), field("From"), field("Body"));
    let bad = |code, why: &str| refuse(StatusCode::BAD_REQUEST, code, why);
    if to.is_empty() {
        return bad(21_604, "A 'To' phone number is required.");
    }
    if from.is_empty() && field("MessagingServiceSid").is_empty() {
        return bad(21_603, "A 'From' phone number is required.");
    }
    if text.is_empty() {
        return bad(21_602, "Message body is required.");
    }
    if text.chars().count() > LONGEST {
        let why = "The concatenated message body exceeds the 1600 character limit.";
        return bad(21_617, why);
    }
    if !is_number(to) || to == "+15005550001" {
        return bad(21_211, &format!("Invalid 'To' Phone Number: {to}"));
    }
    match to {
        "+15005550004" => return bad(21_610, "Attempt to send to unsubscribed recipient"),
        "+15005550003" => {
            let why = "Permission to send an SMS has not been enabled for the region.";
            return bad(21_408, why);
        }
        "+15005550009" => return bad(21_614, "'To' number is not a valid mobile number"),
        _ => {}
    }
    if !from.is_empty() && from != world.settings.from {
        let why =
            "The 'From' phone number provided is not a valid message-capable Twilio phone number.";
        return bad(21_606, why);
    }
    let mut texts = world.texts.lock();
    let message = Message {
        sid: format!("SM{:032x}", texts.len() + 1),
        to: to.to_owned(),
        body: text.to_owned(),
        created: Utc::now(),
    };
    let shown = message.show(&world);
    texts.push(message);
    (StatusCode::CREATED, Json(shown)).into_response()
}

/// Lists messages, the latest first.
async fn list(
    State(world): State<World>,
    Path(account): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if let Err(refusal) = let_in(&world, &account, &headers) {
        return refusal;
    }
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let number = |name: &str, usual: usize| {
        let given = query.get(name).and_then(|n| n.parse::<usize>().ok());
        given.unwrap_or(usual)
    };
    let (size, page) = (
        number("PageSize", USUAL_PAGE).clamp(1, 1_000),
        number("Page", 0),
    );
    let texts = world.texts.lock();
    let wanted: Vec<&Message> = texts
        .iter()
        .rev()
        .filter(|message| query.get("To").is_none_or(|to| *to == message.to))
        .collect();
    let shown: Vec<Value> = wanted
        .iter()
        .skip(page * size)
        .take(size)
        .map(|message| message.show(&world))
        .collect();
    let next = ((page + 1) * size < wanted.len()).then(|| {
        let mut next = url::form_urlencoded::Serializer::new(String::new());
        if let Some(to) = query.get("To") {
            next.append_pair("To", to);
        }
        next.append_pair("PageSize", &size.to_string());
        next.append_pair("Page", &(page + 1).to_string());
        format!(
            "/2010-04-01/Accounts/{account}/Messages.json?{}",
            next.finish()
        )
    });
    Json(json!({"messages": shown, "page": page, "page_size": size, "next_page_uri": next}))
        .into_response()
}
