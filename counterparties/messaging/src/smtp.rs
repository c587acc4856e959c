//! E-mail through any SMTP server, by lettre: TLS from the start, STARTTLS or, for a server on this
//! machine, in the clear. One connection per mail.

use crate::{Accepted, Mail, Mailer};
use async_trait::async_trait;
use events::outcome::{Attempt, Refusal};
use lettre::address::AddressError;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::error::Error as StdError;
use std::time::{Duration, UNIX_EPOCH};

/// How long the server may take for a step (RFC 5321, 4.5.3.2 allows minutes; nobody waits here).
const WITHIN: Duration = Duration::from_secs(30);

/// A mailer that cannot be made. Shows no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSmtp {
    /// Not an address such as `smtps://user:password@mail.example.org`.
    #[error("not smtp://… or smtps://user:password@host:port")]
    Url,
    /// A password would travel in the clear.
    #[error("a password needs smtps:// or ?tls=required")]
    PasswordInTheClear,
    /// The sender is not `Name <address>` or an address.
    #[error("the sender is not `Name <address>`: {0}")]
    Sender(String),
}

/// Sends through one SMTP server.
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    sender: Mailbox,
}

impl SmtpMailer {
    /// A mailer. `url` is `smtps://user:password@host` (TLS from the start), `smtp://…?tls=required`
    /// (STARTTLS) or `smtp://host:port` (in the clear, for a server on this machine). Connects when
    /// it sends.
    ///
    /// # Errors
    /// See [`InvalidSmtp`].
    pub fn new(url: &str, sender: &str) -> Result<Self, InvalidSmtp> {
        let in_the_clear = url.starts_with("smtp://") && !url.contains("tls=required");
        if in_the_clear && url.contains('@') {
            return Err(InvalidSmtp::PasswordInTheClear);
        }
        let sender: Mailbox = sender
            .parse()
            .map_err(|_: AddressError| InvalidSmtp::Sender(sender.to_owned()))?;
        // lettre's own error may quote the address, and with it the password.
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            .map_err(|_| InvalidSmtp::Url)?
            .timeout(Some(WITHIN))
            .hello_name(ClientId::Domain(sender.email.domain().to_owned()))
            .build();
        Ok(Self { transport, sender })
    }

    fn message(&self, mail: &Mail) -> Result<Message, Refusal> {
        let to: Address = mail.to.parse().map_err(|_: AddressError| {
            Refusal::new("not_an_address", "the recipient is not an address of mail")
        })?;
        let written = u64::try_from(mail.at.seconds()).unwrap_or(0);
        Message::builder()
            .message_id(Some(format!(
                "<{}@{}>",
                mail.id,
                self.sender.email.domain()
            )))
            .date(UNIX_EPOCH + Duration::from_secs(written))
            .from(self.sender.clone())
            .to(to.into())
            .subject(mail.subject.replace(char::is_control, " "))
            .header(ContentType::TEXT_PLAIN)
            .header(AutoSubmitted)
            .body(mail.text.clone())
            .map_err(|error| Refusal::new("not_a_mail", error.to_string()))
    }
}

/// RFC 3834: nobody's holiday reply is to answer it.
#[derive(Debug, Clone, Copy)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Attempt<Accepted> {
        let message = match self.message(mail) {
            Ok(message) => message,
            Err(refusal) => return Attempt::Refused(refusal),
        };
        match self.transport.send(message).await {
            Ok(response) => Attempt::Landed(Accepted {
                answer: response.first_line().unwrap_or_default().to_owned(),
            }),
            Err(error) => outcome(&error),
        }
    }
}

/// The table from lettre's errors to outcomes.
fn outcome(error: &SmtpError) -> Attempt<Accepted> {
    let said = told(error);
    match error.status() {
        // Permanent (RFC 5321, 4.2.1): the same mail will not be taken. Answers about us (the login,
        // or a service that is closing) say nothing of the mail.
        Some(code) if error.is_permanent() => {
            let code = u16::from(code);
            if matches!(code, 530 | 534 | 535 | 538) {
                return Attempt::NotSent(format!("the server does not let us in: {said}"));
            }
            Attempt::Refused(Refusal::new(format!("smtp_{code}"), said))
        }
        // "Try again later."
        Some(_) => Attempt::NotSent(said),
        // What lettre could not even begin.
        None if error.is_client() || error.is_tls() || refused(error) => Attempt::NotSent(said),
        // The connection broke at some step; the text may have been handed over before.
        None => Attempt::NoAnswer(said),
    }
}

/// Whether nobody was there to connect to.
fn refused(error: &SmtpError) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::ConnectionRefused;
        }
        source = error.source();
    }
    false
}

/// An error with its causes.
fn told(error: &SmtpError) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_said = cause.to_string();
        if !said.contains(&cause_said) {
            said.push_str(": ");
            said.push_str(&cause_said);
        }
        source = cause.source();
    }
    said
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use events::ids::EventId;
    use events::time::Timestamp;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    fn mail(to: &str, subject: &str, text: &str) -> Mail {
        Mail {
            id: EventId::derive(&["mail"]),
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            at: Timestamp::from_seconds(1_800_000_000),
        }
    }

    fn written(mail: &Mail) -> Result<String, Refusal> {
        let mailer = SmtpMailer::new("smtp://127.0.0.1:25", "Gridway <a@example.org>").unwrap();
        let message = mailer.message(mail)?;
        Ok(String::from_utf8(message.formatted()).unwrap())
    }

    #[test]
    fn a_mail_has_its_identity_and_no_more_headers_than_it_should() {
        let text = written(&mail("b@example.org", "hi\r\nBcc: eve@example.org", "x")).unwrap();
        let id = EventId::derive(&["mail"]);
        assert!(text.contains(&format!("Message-ID: <{id}@example.org>\r\n")));
        assert!(
            text.contains("Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n"),
            "{text}"
        );
        assert!(text.contains("From: Gridway <a@example.org>\r\n"), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"));
        assert!(!text.lines().any(|line| line.starts_with("Bcc:")), "{text}");
        for bad in [
            "b@example.org\r\nBcc: e@f.g",
            "b",
            "@x",
            "b@",
            "<b@c.d>",
            "b@c@d",
            "b c@d.e",
        ] {
            let refusal = written(&mail(bad, "hi", "x")).unwrap_err();
            assert_eq!(refusal.code, "not_an_address", "{bad}");
        }
    }

    #[test]
    fn texts_of_every_script_travel_in_ascii() {
        let text = written(&mail("b@example.org", "Größe 🐎", "grüße\n")).unwrap();
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("Subject: =?utf-8?b?"), "{text}");
    }

    /// A server that says these lines, one after each of ours, and then hangs up.
    async fn server(lines: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            for line in lines {
                stream.get_mut().write_all(line.as_bytes()).await.unwrap();
                if line.starts_with("354") {
                    let mut text = String::new();
                    while !text.ends_with("\r\n.\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).await.unwrap();
                        text.push(char::from(byte[0]));
                    }
                } else {
                    let mut heard = String::new();
                    stream.read_line(&mut heard).await.unwrap();
                }
            }
        });
        url
    }

    #[tokio::test]
    async fn what_the_server_says_decides_what_is_known() {
        const UP_TO_DATA: &[&str] = &[
            "220 hi\r\n",
            "250-a\r\n250 b\r\n",
            "250 ok\r\n",
            "250 ok\r\n",
            "354 go\r\n",
        ];
        const TAKEN: &[&str] = &[
            "220 hi\r\n",
            "250 b\r\n",
            "250 ok\r\n",
            "251 ok\r\n",
            "354 go\r\n",
            "250 taken\r\n",
        ];
        const NOBODY: &[&str] = &[
            "220 hi\r\n",
            "250 b\r\n",
            "250 ok\r\n",
            "550 nobody here\r\n",
        ];
        const LATER: &[&str] = &["220 hi\r\n", "250 b\r\n", "250 ok\r\n", "451 later\r\n"];
        const EARLY: &[&str] = &["220 hi\r\n", "250 b\r\n"];
        const ODD: &[&str] = &["HTTP/1.1 400\r\n"];
        for (lines, expected) in [
            (UP_TO_DATA, "NoAnswer"),
            (TAKEN, "Landed"),
            (NOBODY, "Refused"),
            (LATER, "NotSent"),
            (EARLY, "NoAnswer"),
            (ODD, "NoAnswer"),
        ] {
            let mailer = SmtpMailer::new(&server(lines).await, "a@example.org").unwrap();
            let sent = format!("{:?}", mailer.send(&mail("b@example.org", "hi", "x")).await);
            assert!(sent.starts_with(expected), "{lines:?}: {sent}");
        }
        // A port on which nobody listens any more.
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", gone.local_addr().unwrap());
        drop(gone);
        let nobody = SmtpMailer::new(&url, "a@example.org").unwrap();
        let sent = nobody.send(&mail("b@example.org", "hi", "x")).await;
        assert!(matches!(sent, Attempt::NotSent(_)), "{sent:?}");
    }

    #[test]
    fn a_password_travels_in_tls_only_and_is_not_shown() {
        let error = |url: &str| SmtpMailer::new(url, "a@example.org").err();
        assert_eq!(
            error("smtp://u:hunter2@x"),
            Some(InvalidSmtp::PasswordInTheClear)
        );
        assert_eq!(error("ftp://u:hunter2@x"), Some(InvalidSmtp::Url));
        assert!(!format!("{:?}", error("ftp://u:hunter2@x")).contains("hunter2"));
        assert_eq!(error("smtps://u%40x:p%25%3A@mail.example.org"), None);
        assert_eq!(error("smtp://u:p@mail.example.org?tls=required"), None);
        assert_eq!(
            SmtpMailer::new("smtp://x", "nobody").err(),
            Some(InvalidSmtp::Sender("nobody".to_owned()))
        );
    }
}
