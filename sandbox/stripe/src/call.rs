//! From an HTTP request to a call of the API and back: authentication, idempotency, routing.

use crate::error::ApiError;
use crate::form::Form;
use crate::keys::{Begin, KeyFault, Stored};
use crate::objects::{API_VERSION, Event};
use crate::state::{Origin, Shared, now};
use crate::{disputes, intents, refunds};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use base64::Engine;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A server, with the secret key.
    Secret,
    /// A browser, with the publishable key; it must show a client secret.
    Publishable,
}

/// A call that is allowed.
#[derive(Debug)]
pub struct Call {
    pub caller: Caller,
    pub form: Form,
    pub origin: Origin,
}

/// Answers everything under `/v1`.
pub async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request_id = shared.id("req_", 14);
    let path = uri.path().trim_end_matches('/').to_owned();
    let mut form = Form::parse(uri.query().unwrap_or_default().as_bytes());
    form.append(Form::parse(&body));
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
        .map(str::to_owned);
    // Stripe.js brings the publishable key and its own marks as parameters.
    let key_parameter = form.take("key");
    form.take("_stripe_version");
    let caller = match authenticate(&shared, &headers, key_parameter) {
        Ok(caller) => caller,
        Err(error) => return respond(&failed(&error, &request_id), &request_id, key.as_deref()),
    };
    let origin = Origin {
        request_id: Some(request_id.clone()),
        key: key.clone(),
    };
    let call = Call {
        caller,
        form,
        origin,
    };
    let Some(key) = key.filter(|_| method == Method::POST) else {
        let stored = stored(&execute(&shared, &method, &path, call), &request_id);
        return respond(&stored, &request_id, None);
    };
    let answered = keyed(shared, method, path, key.clone(), call, request_id.clone()).await;
    respond(&answered, &request_id, Some(&key))
}

/// Executes a call under its key.
async fn keyed(
    shared: Arc<Shared>,
    method: Method,
    path: String,
    key: String,
    call: Call,
    request_id: String,
) -> Stored {
    if key.len() > 255 {
        let error = ApiError::invalid("Idempotency keys can have at most 255 characters.");
        return failed(&error, &request_id);
    }
    let begin = shared
        .keys
        .lock()
        .begin(&key, &path, call.form.fingerprint(), now());
    let fault = match begin {
        Begin::Execute(fault) => fault,
        Begin::Replay(answer) => return answer,
        Begin::InUse => return failed(&ApiError::key_in_use(&key), &request_id),
        Begin::OtherPath => {
            return failed(
                &ApiError::key_reused(&key, "for the same endpoint"),
                &request_id,
            );
        }
        Begin::OtherParameters => {
            return failed(
                &ApiError::key_reused(&key, "with the same parameters"),
                &request_id,
            );
        }
    };
    // A task of its own: the work goes on though the caller hangs up.
    let (task_shared, task_key, task_id) = (Arc::clone(&shared), key.clone(), request_id.clone());
    let task = tokio::spawn(async move {
        let result = match fault {
            Some(KeyFault::Store500 { work: false }) => Err(ApiError::internal()),
            Some(KeyFault::Store500 { work: true }) => {
                let _ = execute(&task_shared, &method, &path, call);
                Err(ApiError::internal())
            }
            Some(KeyFault::Hold { delay_ms }) => {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                execute(&task_shared, &method, &path, call)
            }
            None => execute(&task_shared, &method, &path, call),
        };
        let began = result.as_ref().err().is_none_or(|error| error.began);
        let answer = stored(&result, &task_id);
        task_shared
            .keys
            .lock()
            .end(&task_key, began.then(|| answer.clone()));
        answer
    });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a call failed");
        shared.keys.lock().end(&key, None);
        failed(&ApiError::internal(), &request_id)
    })
}

fn authenticate(
    shared: &Shared,
    headers: &HeaderMap,
    parameter: Option<String>,
) -> Result<Caller, ApiError> {
    let header = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let key = match header.and_then(|header| header.split_once(' ')) {
        Some(("Bearer", key)) => Some(key.trim().to_owned()),
        // curl -u sk_…: with an empty password.
        Some(("Basic", encoded)) => base64::engine::general_purpose::STANDARD
            .decode(encoded.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|pair| pair.split(':').next().map(str::to_owned)),
        _ => parameter,
    };
    match key.filter(|key| !key.is_empty()) {
        None => Err(ApiError::unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )),
        Some(key) if key == shared.secret_key => Ok(Caller::Secret),
        Some(key) if key == shared.publishable_key => Ok(Caller::Publishable),
        Some(key) => {
            let tail: String = key
                .chars()
                .rev()
                .take(4)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            Err(ApiError::unauthorized(format!(
                "Invalid API Key provided: ****{tail}"
            )))
        }
    }
}

fn execute(
    shared: &Arc<Shared>,
    method: &Method,
    path: &str,
    mut call: Call,
) -> Result<Value, ApiError> {
    let segments: Vec<&str> = path
        .trim_start_matches("/v1")
        .split('/')
        .filter(|s| !s.is_empty())
        .collect();
    let for_browsers = matches!(
        (method.as_str(), segments.as_slice()),
        ("GET", ["payment_intents", _]) | ("POST", ["payment_intents", _, "confirm"])
    );
    if call.caller == Caller::Publishable && !for_browsers {
        return Err(ApiError::secret_key_required());
    }
    match (method.as_str(), segments.as_slice()) {
        ("POST", ["payment_intents"]) => intents::create(shared, call),
        ("GET", ["payment_intents"]) => intents::list(shared, call),
        ("GET", ["payment_intents", id]) => intents::retrieve(shared, id, call),
        ("POST", ["payment_intents", id]) => intents::update(shared, id, call),
        ("POST", ["payment_intents", id, "confirm"]) => intents::confirm(shared, id, call),
        ("POST", ["payment_intents", id, "cancel"]) => intents::cancel(shared, id, call),
        ("GET", ["charges"]) => intents::list_charges(shared, call),
        ("GET", ["charges", id]) => intents::retrieve_charge(shared, id, call),
        ("POST", ["refunds"]) => refunds::create(shared, call),
        ("GET", ["refunds"]) => refunds::list(shared, call),
        ("GET", ["refunds", id]) => refunds::retrieve(shared, id, call),
        ("GET", ["disputes"]) => disputes::list(shared, call),
        ("GET", ["disputes", id]) => disputes::retrieve(shared, id, call),
        ("POST", ["disputes", id]) => disputes::update(shared, id, call),
        ("POST", ["disputes", id, "close"]) => disputes::close(shared, id, call),
        ("GET", ["events", id]) => {
            call.form.finish()?;
            Ok(shared.ledger.lock().events.find(id, "id")?.to_json())
        }
        ("GET", ["events"]) => {
            let kinds = call.form.take_list("types");
            let kind = call.form.take("type");
            if kind.is_some() && !kinds.is_empty() {
                return Err(ApiError::invalid(
                    "You may only specify one of these parameters: type, types.",
                ));
            }
            if kinds.len() > 20 {
                return Err(
                    ApiError::invalid("You may pass at most 20 event types in `types`.")
                        .param("types"),
                );
            }
            shared.ledger.lock().events.page(
                "/v1/events",
                call.form,
                |event| match &kind {
                    Some(wanted) => matches(wanted, event.kind),
                    None => kinds.is_empty() || kinds.iter().any(|kind| kind == event.kind),
                },
                Event::to_json,
            )
        }
        _ => Err(ApiError::no_such_url(method.as_str(), path)),
    }
}

/// Whether an event type is meant by `payment_intent.*` or by its full name.
fn matches(wanted: &str, kind: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => wanted == kind,
    }
}

fn failed(error: &ApiError, request_id: &str) -> Stored {
    Stored {
        status: error.status,
        body: pretty(&error.to_json()),
        request_id: request_id.to_owned(),
    }
}

fn stored(result: &Result<Value, ApiError>, request_id: &str) -> Stored {
    match result {
        Ok(object) => Stored {
            status: 200,
            body: pretty(object),
            request_id: request_id.to_owned(),
        },
        Err(error) => failed(error, request_id),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn respond(stored: &Stored, request_id: &str, key: Option<&str>) -> Response {
    let mut response = Response::builder()
        .status(stored.status)
        .header("content-type", "application/json")
        .header("cache-control", "no-cache, no-store")
        .header("request-id", request_id)
        .header("stripe-version", API_VERSION);
    if let Some(key) = key {
        response = response
            .header("idempotency-key", key)
            .header("original-request", stored.request_id.as_str());
        if stored.request_id != request_id {
            response = response.header("idempotent-replayed", "true");
        }
    }
    response
        .body(Body::from(stored.body.clone()))
        .unwrap_or_else(|_| {
            let mut plain = Response::new(Body::empty());
            *plain.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
            plain
        })
}
