//! How people are told: a port for e-mail, and the SMTP client behind it.
//!
//! Mail has no key that the other side enforces: what was sent twice may arrive twice. So every
//! mail carries a `Message-ID` derived from what it is about, the same each time it is sent, by
//! which a mailbox may show it once; and there is one mail per recipient, never "some sent".

mod smtp;

pub use smtp::{InvalidSmtp, SmtpMailer};

use async_trait::async_trait;
use events::ids::EventId;
use events::outcome::Attempt;
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
