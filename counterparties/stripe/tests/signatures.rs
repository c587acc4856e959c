//! Signatures made by Stripe's official library; see `tests/stripe/vectors.py`.
#![expect(clippy::unwrap_used, reason = "tests")]

use counterparties_stripe::webhook::{WebhookError, WebhookSecret, WebhookSecrets, verify};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    name: String,
    body: String,
    header: Option<String>,
    secrets: Vec<String>,
    now: i64,
    expect: String,
}

#[test]
fn we_agree_with_the_official_library() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("signatures.json")).unwrap();
    assert!(vectors.len() >= 20);
    for vector in vectors {
        let secrets = vector
            .secrets
            .iter()
            .map(|secret| WebhookSecret::new(secret).unwrap())
            .collect();
        let secrets = WebhookSecrets::new(secrets).unwrap();
        let verdict = verify(
            vector.body.as_bytes(),
            vector.header.as_deref(),
            &secrets,
            vector.now,
        );
        let named = match verdict {
            Ok(()) => "ok",
            Err(WebhookError::Missing) => "missing",
            Err(WebhookError::Malformed(_)) => "malformed",
            Err(WebhookError::NoMatch) => "no_match",
            Err(WebhookError::TooOld { .. }) => "too_old",
            Err(WebhookError::TooNew { .. }) => "too_new",
        };
        assert_eq!(named, vector.expect, "{}", vector.name);
    }
}

#[test]
fn each_error_says_what_is_wrong() {
    let secrets = WebhookSecrets::parse("whsec_x").unwrap();
    let said = |header: Option<&str>| verify(b"{}", header, &secrets, 0).unwrap_err().to_string();
    assert_eq!(said(None), "the Stripe-Signature header is missing");
    assert!(said(Some("x")).contains("malformed"));
    assert!(said(Some("t=0,v1=00")).contains("no signature matches"));
    assert!(
        WebhookError::TooOld { age_seconds: 301 }
            .to_string()
            .contains("301 s old")
    );
}

#[test]
fn without_a_secret_nothing_can_be_verified() {
    assert!(WebhookSecrets::new(Vec::new()).is_err());
    for list in ["", " ", ",", "whsec_a,", "whsec_a, ,whsec_b"] {
        assert!(WebhookSecrets::parse(list).is_err(), "{list:?}");
    }
    let secrets = WebhookSecrets::parse("whsec_a,whsec_b").unwrap();
    assert!(!format!("{secrets:?}").contains("whsec_a"));
}
