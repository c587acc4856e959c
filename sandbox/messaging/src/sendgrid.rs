//! SendGrid: `POST /v3/mail/send`, as its reference and its page of errors have it.

use crate::{Shared, World};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// Headers that a mail may not set.
const RESERVED: [&str; 11] = [
    "x-sg-id",
    "x-sg-eid",
    "received",
    "dkim-signature",
    "content-type",
    "content-transfer-encoding",
    "to",
    "from",
    "subject",
    "reply-to",
    "cc",
];

pub(crate) fn routes() -> Router<World> {
    Router::new().route("/v3/mail/send", post(send))
}

fn refuse(status: StatusCode, message: &str, field: Option<&str>) -> Response {
    let error = json!({"message": message, "field": field, "help": null});
    (status, Json(json!({"errors": [error]}))).into_response()
}

async fn send(State(world): State<World>, headers: HeaderMap, body: String) -> Response {
    let bearer = format!("Bearer {}", world.settings.sendgrid_key);
    let given = headers.get("authorization").and_then(|v| v.to_str().ok());
    if given != Some(bearer.as_str()) {
        let why = "The provided authorization grant is invalid, expired, or revoked";
        return refuse(StatusCode::UNAUTHORIZED, why, None);
    }
    let json_type = headers.get("content-type").and_then(|v| v.to_str().ok());
    if !json_type.is_some_and(|t| t.starts_with("application/json")) {
        let why = "Content-Type should be application/json.";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, why, None);
    }
    let Ok(mail) = serde_json::from_str::<Value>(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "Bad Request", None);
    };
    if let Err((status, why, field)) = check(&world, &mail) {
        return refuse(status, why, Some(&field));
    }
    let mut mails = world.mails.lock();
    mails.push(mail);
    let id = format!("standin-{}", mails.len());
    (StatusCode::ACCEPTED, [("x-message-id", id)]).into_response()
}

type Fault = (StatusCode, &'static str, String);

fn is_address(value: &Value) -> bool {
    let address = value.as_str().unwrap_or_default();
    let parts = address.split_once('@');
    parts.is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !address.contains([' ', '<', '>', '\n'])
    })
}

fn check(world: &Shared, mail: &Value) -> Result<(), Fault> {
    let bad = |why, field: &str| Err((StatusCode::BAD_REQUEST, why, field.to_owned()));
    let personalizations = mail["personalizations"].as_array();
    let Some(personalizations) = personalizations.filter(|p| !p.is_empty()) else {
        return bad(
            "The personalizations field is required and must have at least one personalization.",
            "personalizations",
        );
    };
    for (index, one) in personalizations.iter().enumerate() {
        let Some(to) = one["to"].as_array().filter(|to| !to.is_empty()) else {
            return bad(
                "The to array is required for all personalization objects, and must have at least one email object \
                 with a valid email address.",
                &format!("personalizations.{index}.to"),
            );
        };
        for (number, recipient) in to.iter().enumerate() {
            if !is_address(&recipient["email"]) {
                let field = format!("personalizations.{index}.to.{number}.email");
                return bad("Does not contain a valid address.", &field);
            }
        }
    }
    if !is_address(&mail["from"]["email"]) {
        return bad(
            "The from object must be provided for every email send. It is an object that requires the email \
             parameter, but may also contain a name parameter.",
            "from.email",
        );
    }
    if mail["from"]["email"] != world.settings.sender.as_str() {
        let why = "The from address does not match a verified Sender Identity. Mail cannot be sent until this error \
                   is resolved.";
        return Err((StatusCode::FORBIDDEN, why, "from".to_owned()));
    }
    if mail["subject"].as_str().unwrap_or_default().is_empty() {
        return bad(
            "The subject is required. You can get around this requirement if you use a template with a subject \
             defined or if every personalization has a subject defined.",
            "subject",
        );
    }
    let contents = mail["content"].as_array();
    let Some(contents) = contents.filter(|c| !c.is_empty()) else {
        return bad(
            "Unless a valid template_id is provided, the content parameter is required. There must be at least one \
             defined content block.",
            "content",
        );
    };
    for (index, content) in contents.iter().enumerate() {
        if content["value"].as_str().unwrap_or_default().is_empty() {
            let field = format!("content.{index}.value");
            return bad(
                "The content value must be a string at least one character in length.",
                &field,
            );
        }
    }
    for (name, value) in mail["headers"].as_object().into_iter().flatten() {
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || lower == "bcc" || !value.is_string() {
            return bad(
                "The headers parameter may not contain reserved headers, and its values must be strings.",
                &format!("headers.{name}"),
            );
        }
    }
    Ok(())
}
