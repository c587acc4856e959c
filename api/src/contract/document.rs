//! The document from the operations, and what holds for all of them.

use super::Operation;
use super::schema::{integer, one_of, text};
use crate::auth::rules::{self, Access, Rule};
use crate::problem::Kind;
use axum::http::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The whole document.
pub(crate) fn of(operations: &[Operation]) -> Value {
    let mut paths = Map::new();
    for operation in operations {
        let item = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        item[operation.method.to_ascii_lowercase()] = one(operation);
    }
    let slugs: Vec<String> = Kind::ALL
        .iter()
        .map(|kind| format!("https://gridway.dev/problems/{}", kind.slug()))
        .collect();
    let slugs: Vec<&str> = slugs.iter().map(String::as_str).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gridway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Turns money into grid capacity. Commands answer 202 with the address of what they make and a \
                            Consistency-Token; a query that carries the token is answered once it can see the command. \
                            Errors are problems (RFC 9457) whose `type` never changes.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The access token of POST /auth/login.",
                },
            },
            "schemas": {
                "Problem": {
                    "type": "object",
                    "description": "What went wrong (RFC 9457), and where there is something, what to do.",
                    "properties": {
                        "type": one_of(&slugs),
                        "title": text(),
                        "status": integer(),
                        "detail": text(),
                    },
                    "required": ["type", "title", "status", "detail"],
                },
            },
        },
    })
}

fn problem(when: &str) -> Value {
    json!({
        "description": when,
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

/// Who may call, in words; `None` when anybody may.
fn callers(access: Access) -> Option<String> {
    match access {
        Access::Probe | Access::Anyone | Access::Guest | Access::Signed => None,
        Access::SignedIn => Some("Whoever is logged in.".to_owned()),
        Access::Roles(roles) => {
            let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            Some(format!("Roles: {}.", roles.join(", ")))
        }
    }
}

/// The problems that may come, by status.
fn problems(operation: &Operation, access: Access, command: bool) -> BTreeMap<u16, &'static str> {
    let mut all = BTreeMap::new();
    let counted = !matches!(access, Access::Probe | Access::Signed);
    let body = operation.body.is_some();
    let parameters = operation.parameters.iter().any(|p| p["in"] != "path");
    let roles = matches!(access, Access::Roles(_));
    for (may, status, when) in [
        (
            command,
            400,
            "The Idempotency-Key is missing or not valid, or the body is not JSON.",
        ),
        (body, 400, "The body is not JSON."),
        (
            matches!(access, Access::SignedIn | Access::Roles(_)),
            401,
            "There is no token, or it is not good any more.",
        ),
        (roles, 403, "None of the caller's roles may do this."),
        (
            operation.path.contains('{'),
            404,
            "The caller sees no such object.",
        ),
        (
            command,
            409,
            "The same command is being carried out, or the state does not allow it.",
        ),
        (body, 413, "The body is too large."),
        (body, 415, "The body is not application/json."),
        (
            command,
            422,
            "A field is not valid, or the Idempotency-Key stands for another command.",
        ),
        (
            body || parameters,
            422,
            "A field or a parameter is not valid.",
        ),
        (
            counted,
            429,
            "Too many requests; Retry-After says when one more is free.",
        ),
        (
            true,
            503,
            "Something that this needs does not answer for now; Retry-After says when to ask again.",
        ),
    ] {
        if may {
            all.entry(status).or_insert(when);
        }
    }
    all
}

fn one(operation: &Operation) -> Value {
    let method = operation.method.parse().unwrap_or(Method::GET);
    let access = match rules::rule(&method, operation.path) {
        Rule::Found(access) => access,
        // Nobody may, which a test rules out.
        Rule::OtherMethod | Rule::Missing => Access::Roles(&[]),
    };
    let command = rules::is_command(&method, operation.path);
    let mut parameters = operation.parameters.clone();
    if command {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": true,
            "description": "New for each command, the same when it is sent again: then the first answer comes again.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$" },
        }));
    }
    let mut answers: BTreeMap<u16, Value> = BTreeMap::new();
    for (status, when, content) in &operation.answers {
        let answer = match content {
            Some((kind, schema)) => {
                json!({ "description": when, "content": { *kind: { "schema": schema } } })
            }
            None if *status >= 400 => problem(when),
            None => json!({ "description": when }),
        };
        answers.insert(*status, answer);
    }
    for (status, when) in problems(operation, access, command) {
        answers.entry(status).or_insert_with(|| problem(when));
    }
    let answers: Map<String, Value> = answers
        .into_iter()
        .map(|(status, mut answer)| {
            answer["headers"] = headers(status, access, command);
            (status.to_string(), answer)
        })
        .collect();
    let said: Vec<String> = [Some(operation.description.to_owned()), callers(access)]
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
        .collect();
    let tag = operation
        .path
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    let mut written = json!({
        "operationId": operation.id,
        "tags": [tag],
        "summary": operation.summary,
        "description": said.join("\n\n"),
        "parameters": parameters,
        "responses": answers,
    });
    if callers(access).is_some() {
        written["security"] = json!([{ "bearer": [] }]);
    }
    if let Some(schema) = &operation.body {
        written["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    written
}

fn headers(status: u16, access: Access, command: bool) -> Value {
    let mut all = Map::new();
    let mut add = |name: &str, what: &str| {
        all.insert(
            name.to_owned(),
            json!({ "description": what, "schema": { "type": "string" } }),
        );
    };
    add("X-Request-Id", "The request's name in our logs.");
    if !matches!(access, Access::Probe | Access::Signed) {
        add("RateLimit", "What is left of the tightest limit.");
        add("RateLimit-Policy", "The limits that count this request.");
    }
    if command && status < 300 {
        add(
            "Idempotency-Hit",
            "`true` when the command was sent before.",
        );
        add("Location", "Address of what the command made.");
        add(
            "Consistency-Token",
            "For the next query, which then sees this command.",
        );
    }
    if matches!(status, 429 | 503) {
        add("Retry-After", "Seconds.");
    }
    Value::Object(all)
}
