//! Webhooks by Standard Webhooks: what is sent is signed, where it goes is judged.

use crate::targets::{Forbidden, Targets};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::ids::{EndpointId, NotificationId};
use events::time::Timestamp;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use reqwest::{Client, StatusCode};
use sha2::Sha256;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;
use url::{Host, Url};

/// How long a receiver may take; Standard Webhooks recommends 15 to 30 s.
const WITHIN: Duration = Duration::from_secs(15);
const LONGEST_URL: usize = 2_048;

/// What all secrets of endpoints derive from. So none of them stands anywhere.
#[derive(Clone)]
pub struct SecretSeed([u8; 32]);

impl SecretSeed {
    /// Reads 64 hex digits; `None` for another text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut seed = [0; 32];
        hex::decode_to_slice(text, &mut seed).ok()?;
        Some(Self(seed))
    }

    /// The secret of an endpoint; each rotation has a generation of its own.
    #[must_use]
    pub fn secret(&self, endpoint: EndpointId, generation: i32) -> WebhookSecret {
        let info = format!("gridway webhook {endpoint} {generation}");
        let mut secret = [0; 32];
        // 32 bytes are within what HKDF gives; were they not, the secret would be useless, not known.
        let _ = Hkdf::<Sha256>::new(None, &self.0).expand(info.as_bytes(), &mut secret);
        WebhookSecret(secret)
    }
}

/// The secret of an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret([u8; 32]);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

impl WebhookSecret {
    /// As its owner is shown it, `whsec_…`.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// The signature of a message, `v1,…`.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        mac.update(format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The address of an endpoint, if it may be one at all; what it resolves to is judged when it is
/// connected to.
///
/// # Errors
/// A sentence for people.
pub fn endpoint_url(text: &str, targets: &Targets) -> Result<Url, &'static str> {
    if text.len() > LONGEST_URL {
        return Err("an address has at most 2048 characters");
    }
    let url = Url::parse(text)
        .map_err(|_| "not an absolute address, such as https://example.org/hook")?;
    let targets = match url.scheme() {
        "https" => targets.clone(),
        "http" if !targets.is_public_only() => targets.allowed_only(),
        _ => return Err("webhooks go to https:// addresses"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address holds no user and no password");
    }
    if url.fragment().is_some() {
        return Err("an address has no fragment");
    }
    let literal = match url.host() {
        None => return Err("an address names a host"),
        Some(Host::Domain(_)) => None,
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
    };
    if literal.is_some_and(|address| !targets.admits(address)) {
        return Err("webhooks do not go to addresses that are not public");
    }
    Ok(url)
}

/// One webhook on its way.
#[derive(Debug, Clone, Copy)]
pub struct WebhookCall<'a> {
    /// The same each time it is sent: by it the receiver knows what it has.
    pub id: NotificationId,
    /// When this attempt is made.
    pub at: Timestamp,
    /// Where to.
    pub url: &'a str,
    /// Signs with each: during a rotation there are two.
    pub secrets: &'a [WebhookSecret],
    /// JSON.
    pub body: &'a str,
}

/// The receiver did not take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTaken {
    /// HTTP status, if any came.
    pub status: Option<u16>,
    /// `http_status`, `redirect`, `gone`, `time_out`, `not_reached`, `forbidden_target` or `no_answer`.
    pub code: &'static str,
}

impl NotTaken {
    const fn code(code: &'static str) -> Self {
        Self { status: None, code }
    }
}

/// Sends webhooks.
pub struct WebhookSender {
    targets: Targets,
    tls: Client,
    plain: Client,
}

impl WebhookSender {
    /// A sender to these targets.
    ///
    /// # Errors
    /// When the HTTP clients cannot be made.
    pub fn new(targets: Targets) -> Result<Self, reqwest::Error> {
        let client = |targets: Targets| {
            Client::builder()
                .timeout(WITHIN)
                .redirect(reqwest::redirect::Policy::none())
                // A proxy would connect in our place, to what nobody judged.
                .no_proxy()
                .pool_max_idle_per_host(0)
                .dns_resolver(std::sync::Arc::new(targets))
                .user_agent("gridway-webhooks")
        };
        Ok(Self {
            tls: client(targets.clone()).https_only(true).build()?,
            plain: client(targets.allowed_only()).build()?,
            targets,
        })
    }

    /// Sends once and gives the status, one of 2xx.
    ///
    /// # Errors
    /// See [`NotTaken`].
    pub async fn send(&self, call: &WebhookCall<'_>) -> Result<u16, NotTaken> {
        // Again, and not only when it was registered: what is allowed may have changed.
        let url = endpoint_url(call.url, &self.targets)
            .map_err(|_| NotTaken::code("forbidden_target"))?;
        let client = if url.scheme() == "https" {
            &self.tls
        } else {
            &self.plain
        };
        let (id, seconds) = (call.id.to_string(), call.at.seconds());
        let signatures: Vec<String> = call
            .secrets
            .iter()
            .map(|secret| secret.sign(&id, seconds, call.body))
            .collect();
        let sent = client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signatures.join(" "))
            .body(call.body.to_owned())
            .send()
            .await;
        match sent {
            // What else the receiver says is not read.
            Ok(answer) => match answer.status() {
                status if status.is_success() => Ok(status.as_u16()),
                status => Err(NotTaken {
                    status: Some(status.as_u16()),
                    code: match status {
                        StatusCode::GONE => "gone",
                        status if status.is_redirection() => "redirect",
                        _ => "http_status",
                    },
                }),
            },
            Err(error) if caused_by_us(&error) => Err(NotTaken::code("forbidden_target")),
            Err(error) if error.is_timeout() => Err(NotTaken::code("time_out")),
            Err(error) if error.is_connect() => Err(NotTaken::code("not_reached")),
            Err(_) => Err(NotTaken::code("no_answer")),
        }
    }
}

/// Whether the resolver turned the name away.
fn caused_by_us(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.is::<Forbidden>() {
            return true;
        }
        source = error.source();
    }
    false
}
