//! `system-tests webhooks`: our verdicts on signed webhooks, for the official libraries to judge.

use anyhow::{Context, Result};
use counterparties_stripe::webhook::{WebhookError, WebhookSecret, WebhookSecrets, facts, verify};
use events::time::Timestamp;
use serde_json::{Value, json};
use std::io::Read;

/// Reads cases (`body`, `header`, `secrets`, `now`) from stdin and prints one verdict each.
///
/// # Errors
/// When the cases cannot be read.
pub fn run() -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let cases: Vec<Value> = serde_json::from_str(&text).context("the cases are no JSON array")?;
    let verdicts = cases.iter().map(judge).collect::<Result<Vec<Value>>>()?;
    println!("{}", Value::Array(verdicts));
    Ok(())
}

fn judge(case: &Value) -> Result<Value> {
    let body = case["body"].as_str().context("body")?.as_bytes();
    let secrets = case["secrets"].as_array().context("secrets")?;
    let secrets = secrets
        .iter()
        .map(|secret| Ok(WebhookSecret::new(secret.as_str().context("secret")?)?))
        .collect::<Result<Vec<_>>>()?;
    let secrets = WebhookSecrets::new(secrets)?;
    let now = case["now"].as_i64().context("now")?;
    let verdict = match verify(body, case["header"].as_str(), &secrets, now) {
        Ok(()) => "ok",
        Err(WebhookError::Missing) => "missing",
        Err(WebhookError::Malformed(_)) => "malformed",
        Err(WebhookError::NoMatch) => "no_match",
        Err(WebhookError::TooOld { .. }) => "too_old",
        Err(WebhookError::TooNew { .. }) => "too_new",
    };
    let event = facts(body, Timestamp::from_seconds(now));
    Ok(json!({
        "name": case["name"],
        "verdict": verdict,
        "event": event.map(|facts| facts.stripe_event_id).ok(),
    }))
}
