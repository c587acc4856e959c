//! JSON values as YAML: block style, every text in double quotes as JSON writes it.

use serde_json::Value;
use std::fmt::Write as _;

/// The document.
pub(crate) fn write(value: &Value) -> String {
    let mut text = String::new();
    block(&mut text, value, 0);
    text
}

/// Words that YAML takes for something else than a text.
const TAKEN: [&str; 10] = [
    "true", "false", "null", "yes", "no", "on", "off", "y", "n", "~",
];

fn key(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !TAKEN.contains(&name.to_ascii_lowercase().as_str());
    if plain {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}

/// A value that fits behind its key.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) if !fields.is_empty() => None,
        Value::Array(values) if !values.is_empty() => None,
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => Some(value.to_string()),
    }
}

fn block(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                // Writing to a text cannot fail.
                let _ = match inline(value) {
                    Some(short) => writeln!(text, "{indent}{}: {short}", key(name)),
                    None => writeln!(text, "{indent}{}:", key(name)),
                };
                if inline(value).is_none() {
                    block(text, value, depth + 1);
                }
            }
        }
        Value::Array(values) if !values.is_empty() => {
            for value in values {
                if let Some(short) = inline(value) {
                    let _ = writeln!(text, "{indent}- {short}");
                } else {
                    let mut inner = String::new();
                    block(&mut inner, value, depth + 1);
                    // The first line of the item stands behind its dash.
                    let first = indent.len() + 2;
                    text.push_str(&indent);
                    text.push_str("- ");
                    text.push_str(inner.get(first..).unwrap_or_default());
                }
            }
        }
        _ => text.push_str(&format!("{indent}{value}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_in_blocks() {
        let value = json!({
            "a": 1, "200": "x: y", "no": [], "list": [1, {"b": "two\nlines", "c": [true]}, [2]], "empty": {},
        });
        assert_eq!(
            write(&value),
            "a: 1\n\"200\": \"x: y\"\n\"no\": []\nlist:\n  - 1\n  - b: \"two\\nlines\"\n    c:\n      - true\n  - - 2\nempty: {}\n"
        );
    }
}
