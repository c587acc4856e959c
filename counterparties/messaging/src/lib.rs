//! How people are told: ports for mail and text messages with their clients, and webhooks.
//!
//! None of it has a key that the other side enforces, so each has the best that there is:
//!
//! | channel | how a second copy is known | what is guaranteed |
//! |---|---|---|
//! | mail (SMTP, SendGrid) | `Message-ID`, the same each time; a mailbox may show it once | at least once, a second copy only after an unclear answer or a crash |
//! | text message (Twilio) | the text ends in a reference, and Twilio lists what it took | looked for before each further attempt; a second copy only from a process that was frozen while it sent |
//! | webhook | `webhook-id`, the same each time; the receiver drops what it has | at least once, by Standard Webhooks |
//!
//! There is one message per recipient, never "some sent".

mod sendgrid;
mod smtp;
mod targets;
mod twilio;
mod webhooks;

pub use sendgrid::SendGridMailer;
pub use smtp::{InvalidSmtp, SmtpMailer};
pub use targets::{Forbidden, Targets};
pub use twilio::{TwilioConfig, TwilioTexter};
pub use webhooks::{NotTaken, SecretSeed, WebhookCall, WebhookSecret, WebhookSender, endpoint_url};

use async_trait::async_trait;
use events::ids::EventId;
use events::outcome::{Attempt, Find};
use events::time::Timestamp;

/// One mail to one person, in plain text.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Identity of the mail; becomes its `Message-ID`.
    pub id: EventId,
    /// Address of the recipient, without a display name.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// When it was written; its `Date`.
    pub at: Timestamp,
}

/// Neither the recipient nor the text is shown: both are personal.
impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What a server said when it took a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The server's answer, one line.
    pub answer: String,
}

/// Sends mail.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends one mail, once. `Refused` is for good (no such mailbox, not an address); `NotSent`
    /// may be tried again; after `Unknown` it may have arrived, and sending it again risks a
    /// second copy with the same `Message-ID`.
    async fn send(&self, mail: &Mail) -> Attempt<Accepted>;
}

/// One text message to one phone.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// What tells it from others to the same phone; the text ends in it, see [`reference()`].
    pub id: EventId,
    /// Number in E.164, `+…`.
    pub to: String,
    /// Plain text, without the reference.
    pub text: String,
    /// When it was first wanted.
    pub at: Timestamp,
}

/// Neither the number nor the text is shown: both are personal.
impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Text")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The end of every text message, by which it is found again: `[1a2b3c4d]`.
#[must_use]
pub fn reference(id: EventId) -> String {
    format!("[{}]", hex::encode(&id.as_bytes()[..4]))
}

/// Sends text messages.
#[async_trait]
pub trait Texter: Send + Sync {
    /// Looks whether the message was taken. `Absent` says that it is not listed now; one that is
    /// on its way may be listed later.
    async fn find(&self, text: &Text) -> Find<Accepted>;

    /// Sends one message, once.
    async fn send(&self, text: &Text) -> Attempt<Accepted>;
}

/// Whether a text is a number in E.164.
#[must_use]
pub fn is_phone_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (8..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
}
