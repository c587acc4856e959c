//! Errors in the real API's shape.

use serde_json::{Map, Value, json};

/// An answer that is not 200.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    extra: Map<String, Value>,
    /// Whether the endpoint had begun to execute: only then is the answer stored under the key.
    pub began: bool,
}

impl ApiError {
    fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: None,
            param: None,
            message: message.into(),
            extra: Map::new(),
            began: false,
        }
    }

    /// 400 `invalid_request_error`, found before anything was executed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    pub fn missing(param: &str) -> Self {
        Self::invalid(format!("Missing required param: {param}."))
            .param(param)
            .code("parameter_missing")
    }

    pub fn no_such(what: &str, id: &str, param: &str) -> Self {
        Self::new(
            404,
            "invalid_request_error",
            format!("No such {what}: '{id}'"),
        )
        .param(param)
        .code("resource_missing")
    }

    pub fn no_such_url(method: &str, path: &str) -> Self {
        Self::new(
            404,
            "invalid_request_error",
            format!(
                "Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at https://support.stripe.com/."
            ),
        )
    }

    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "invalid_request_error", message)
    }

    pub fn secret_key_required() -> Self {
        Self::new(
            403,
            "invalid_request_error",
            "This API call cannot be made with a publishable API key. Please use a secret API key.",
        )
        .code("secret_key_required")
    }

    /// 402 `card_error`.
    pub fn card(code: &'static str, decline: Option<&str>, message: &str) -> Self {
        let mut error = Self::new(402, "card_error", message).code(code).executed();
        if let Some(decline) = decline {
            error = error.with("decline_code", json!(decline));
        }
        error
    }

    pub fn key_in_use(key: &str) -> Self {
        Self::new(
            409,
            "idempotency_error",
            format!("There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the other request is still going through): {key}. Please try again later."),
        )
        .code("idempotency_key_in_use")
    }

    pub fn key_reused(key: &str, what: &str) -> Self {
        Self::new(
            400,
            "idempotency_error",
            format!(
                "Keys for idempotent requests can only be used {what} they were first used with. Try using a key other than '{key}' if you meant to execute a different request."
            ),
        )
    }

    pub fn internal() -> Self {
        Self::new(500, "api_error", "An unknown error occurred").executed()
    }

    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.extra.insert(field.to_owned(), value);
        self
    }

    /// The same with status 400: a parameter, not the path, names nothing.
    pub fn into_bad_request(mut self) -> Self {
        self.status = 400;
        self
    }

    /// Says that the endpoint had begun to execute.
    pub fn executed(mut self) -> Self {
        self.began = true;
        self
    }

    /// The inner object, as in `last_payment_error` too.
    pub fn object(&self) -> Value {
        let mut error = Map::new();
        if let Some(code) = self.code {
            error.insert("code".into(), json!(code));
            error.insert(
                "doc_url".into(),
                json!(format!(
                    "https://stripe.com/docs/error-codes/{}",
                    code.replace('_', "-")
                )),
            );
        }
        error.insert("message".into(), json!(self.message));
        if let Some(param) = &self.param {
            error.insert("param".into(), json!(param));
        }
        error.extend(self.extra.clone());
        error.insert("type".into(), json!(self.kind));
        Value::Object(error)
    }

    pub fn to_json(&self) -> Value {
        json!({ "error": self.object() })
    }
}
