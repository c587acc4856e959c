//! Words of JSON Schema.

use serde_json::{Map, Value, json};

/// A text.
pub(crate) fn text() -> Value {
    json!({ "type": "string" })
}

/// A text that says what it is.
pub(crate) fn said(what: &str) -> Value {
    json!({ "type": "string", "description": what })
}

/// An id.
pub(crate) fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

/// An instant.
pub(crate) fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// An integer.
pub(crate) fn integer() -> Value {
    json!({ "type": "integer" })
}

/// True or false.
pub(crate) fn boolean() -> Value {
    json!({ "type": "boolean" })
}

/// One of these texts.
pub(crate) fn one_of(texts: &[&str]) -> Value {
    json!({ "type": "string", "enum": texts })
}

/// Several of these.
pub(crate) fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// This, or null.
pub(crate) fn or_null(mut schema: Value) -> Value {
    if let Some(kind) = schema.get("type").cloned() {
        schema["type"] = json!([kind, "null"]);
    }
    schema
}

/// An object with exactly these fields, all of which are there.
pub(crate) fn object(fields: &[(&str, Value)]) -> Value {
    with_optional(fields, &[])
}

/// An object with these fields, and those that may be left out.
pub(crate) fn with_optional(fields: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let all: Map<String, Value> = fields
        .iter()
        .chain(optional)
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    json!({
        "type": "object",
        "properties": all,
        "required": required,
        "additionalProperties": false,
    })
}

/// An object of whatever fields.
pub(crate) fn anything() -> Value {
    json!({ "type": "object" })
}
