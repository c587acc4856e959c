//! E-mail through any SMTP server (RFC 5321), with TLS from the start, STARTTLS or, for a server on
//! this machine, in the clear. One connection per mail.
//!
//! Written by hand, so that it is known how far a failed sending came: before the text's last line
//! nothing can have been taken, after it anything may.

use crate::message::{self, Sender};
use crate::{Accepted, Mail, Mailer};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::outcome::{Attempt, Refusal};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

/// How long the server may take for a step (RFC 5321, 4.5.3.2 allows minutes; nobody waits here).
const WITHIN: Duration = Duration::from_secs(30);
/// A reply has no more lines and bytes.
const REPLY_LIMIT: usize = 64 * 1024;

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
    /// TLS cannot be set up: a fault of ours.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    Never,
    FromTheStart,
    StartTls,
}

/// Sends through one SMTP server.
pub struct SmtpMailer {
    host: String,
    port: u16,
    tls: Tls,
    /// `\0user\0password`, in base64.
    login: Option<String>,
    connector: TlsConnector,
    sender: Sender,
}

impl SmtpMailer {
    /// A mailer. `url` is `smtps://user:password@host` (TLS from the start), `smtp://…?tls=required`
    /// (STARTTLS) or `smtp://host:port` (in the clear, for a server on this machine). Connects when
    /// it sends.
    ///
    /// # Errors
    /// See [`InvalidSmtp`].
    pub fn new(url: &str, sender: &str) -> Result<Self, InvalidSmtp> {
        let parsed = Url::parse(url).map_err(|_| InvalidSmtp::Url)?;
        let required = parsed
            .query_pairs()
            .any(|(k, v)| k == "tls" && v == "required");
        let (tls, port) = match (parsed.scheme(), required) {
            ("smtps", _) => (Tls::FromTheStart, 465),
            ("smtp", true) => (Tls::StartTls, 587),
            ("smtp", false) => (Tls::Never, 25),
            _ => return Err(InvalidSmtp::Url),
        };
        let host = parsed.host_str().ok_or(InvalidSmtp::Url)?.to_owned();
        let login = match (parsed.username(), parsed.password()) {
            ("", _) => None,
            (user, password) => {
                let plain = [
                    &[0],
                    unescaped(user).as_slice(),
                    &[0],
                    unescaped(password.unwrap_or_default()).as_slice(),
                ]
                .concat();
                Some(STANDARD.encode(plain))
            }
        };
        if login.is_some() && tls == Tls::Never {
            return Err(InvalidSmtp::PasswordInTheClear);
        }
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| InvalidSmtp::Tls(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            host,
            port: parsed.port().unwrap_or(port),
            tls,
            login,
            connector: TlsConnector::from(Arc::new(config)),
            sender: Sender::parse(sender).ok_or_else(|| InvalidSmtp::Sender(sender.to_owned()))?,
        })
    }

    async fn secured(&self, stream: Stream) -> Result<Stream, Failure> {
        let name = ServerName::try_from(self.host.clone()).map_err(Failure::connection)?;
        let secured = self.connector.connect(name, stream);
        Ok(Box::new(within(secured).await?))
    }

    async fn deliver(&self, to: &str, message: &str) -> Result<Accepted, Failure> {
        let connected = TcpStream::connect((self.host.as_str(), self.port));
        let mut stream: Stream = Box::new(within(connected).await?);
        if self.tls == Tls::FromTheStart {
            stream = self.secured(stream).await?;
        }
        let mut session = Session(BufStream::new(stream));
        session.reply(220).await?;
        session.ask("EHLO gridway", 250).await?;
        if self.tls == Tls::StartTls {
            session.ask("STARTTLS", 220).await?;
            // What came in the clear behind the answer is not believed.
            if !session.0.buffer().is_empty() {
                return Err(Failure::connection("the server spoke before TLS was up"));
            }
            let secured = self.secured(session.0.into_inner()).await?;
            session = Session(BufStream::new(secured));
            session.ask("EHLO gridway", 250).await?;
        }
        if let Some(login) = &self.login {
            session
                .ask(&format!("AUTH PLAIN {login}"), 235)
                .await
                .map_err(Failure::of_login)?;
        }
        session
            .ask(&format!("MAIL FROM:<{}>", self.sender.address), 250)
            .await?;
        session.ask(&format!("RCPT TO:<{to}>"), 250).await?;
        session.ask("DATA", 354).await?;
        let answer = session.hand_over(message).await?;
        // It is taken; how the server takes leave changes nothing.
        let _ = session.ask("QUIT", 221).await;
        Ok(Accepted { answer })
    }
}

/// Undoes the percent-encoding of a URL's part.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}
type Stream = Box<dyn Wire>;

/// What is known of a failed sending.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// The server answered something else than it should; its code and words.
    Answer { code: u16, words: String },
    /// It did not let us in. That is about us, never about the mail.
    Login(String),
    /// The connection failed or fell silent before the text was handed over.
    Connection(String),
    /// The same, after it was: the server may have taken it.
    AfterHandOver(String),
}

impl Failure {
    fn connection(error: impl std::fmt::Display) -> Self {
        Self::Connection(error.to_string())
    }

    fn of_login(self) -> Self {
        match self {
            Self::Answer { code, words } => Self::Login(format!("{code} {words}")),
            other => other,
        }
    }

    fn after_hand_over(self) -> Self {
        match self {
            Self::Connection(why) => Self::AfterHandOver(why),
            other => other,
        }
    }
}

async fn within<T, E: std::fmt::Display>(
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    timeout(WITHIN, step)
        .await
        .map_err(|_| Failure::connection("no answer in time"))?
        .map_err(Failure::connection)
}

struct Session(BufStream<Stream>);

impl Session {
    async fn say(&mut self, text: &str) -> Result<(), Failure> {
        within(self.0.write_all(text.as_bytes())).await?;
        within(self.0.flush()).await
    }

    /// Says a command, and hears what must come.
    async fn ask(&mut self, command: &str, expected: u16) -> Result<String, Failure> {
        self.say(&format!("{command}\r\n")).await?;
        self.reply(expected).await
    }

    /// Hands the text over. Once its last line is on its way, the server may have taken it.
    async fn hand_over(&mut self, message: &str) -> Result<String, Failure> {
        let stuffed = message::stuffed(message);
        self.say(&stuffed).await.map_err(Failure::after_hand_over)?;
        self.reply(250).await.map_err(Failure::after_hand_over)
    }

    /// A reply: lines `250-…`, the last `250 …`.
    async fn reply(&mut self, expected: u16) -> Result<String, Failure> {
        let mut words = String::new();
        loop {
            let mut line = String::new();
            let read = within(self.0.read_line(&mut line)).await?;
            if read == 0 {
                return Err(Failure::connection("the server hung up"));
            }
            let line = line.trim_end();
            let code: u16 = line
                .get(..3)
                .and_then(|code| code.parse().ok())
                .ok_or_else(|| Failure::connection("not a reply of SMTP"))?;
            words.push_str(line.get(4..).unwrap_or_default());
            if line.as_bytes().get(3) == Some(&b'-') {
                words.push(' ');
                if words.len() > REPLY_LIMIT {
                    return Err(Failure::connection("a reply without end"));
                }
                continue;
            }
            // 251 and 252 take a recipient, too.
            if code == expected || (expected == 250 && matches!(code, 251 | 252)) {
                return Ok(words);
            }
            return Err(Failure::Answer { code, words });
        }
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Attempt<Accepted> {
        let message = match message::write(mail, &self.sender) {
            Ok(message) => message,
            Err(refusal) => return Attempt::Refused(refusal),
        };
        match self.deliver(&mail.to, &message).await {
            Ok(accepted) => Attempt::Landed(accepted),
            Err(failure) => outcome(failure),
        }
    }
}

/// The table from SMTP's answers to outcomes.
fn outcome(failure: Failure) -> Attempt<Accepted> {
    match failure {
        // Permanent (RFC 5321, 4.2.1): the same mail will not be taken.
        Failure::Answer { code, words } if (500..600).contains(&code) => {
            Attempt::Refused(Refusal::new(format!("smtp_{code}"), words))
        }
        // "Try again later", or something that is no answer to a mail.
        Failure::Answer { code, words } => Attempt::NotSent(format!("{code} {words}")),
        Failure::Login(why) => Attempt::NotSent(format!("the server does not let us in: {why}")),
        Failure::Connection(why) => Attempt::NotSent(why),
        Failure::AfterHandOver(why) => Attempt::Unknown(why),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use events::ids::EventId;
    use events::time::Timestamp;
    use tokio::io::{AsyncReadExt, BufReader};
    use tokio::net::TcpListener;

    fn mail() -> Mail {
        Mail {
            id: EventId::derive(&["mail"]),
            to: "b@example.org".to_owned(),
            subject: "hi".to_owned(),
            text: "text".to_owned(),
            at: Timestamp::from_seconds(1_800_000_000),
        }
    }

    #[test]
    fn each_failure_has_its_outcome() {
        let answer = |code| Failure::Answer {
            code,
            words: "no".to_owned(),
        };
        let why = || "why".to_owned();
        for (failure, expected) in [
            (
                answer(550),
                Attempt::Refused(Refusal::new("smtp_550", "no")),
            ),
            (answer(451), Attempt::NotSent("451 no".to_owned())),
            (answer(200), Attempt::NotSent("200 no".to_owned())),
            (
                Failure::Login(why()),
                Attempt::NotSent("the server does not let us in: why".to_owned()),
            ),
            (Failure::Connection(why()), Attempt::NotSent(why())),
            (Failure::AfterHandOver(why()), Attempt::Unknown(why())),
        ] {
            assert_eq!(outcome(failure.clone()), expected, "{failure:?}");
        }
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
    async fn how_far_it_came_decides_what_is_known() {
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
            (UP_TO_DATA, "Unknown"),
            (TAKEN, "Landed"),
            (NOBODY, "Refused"),
            (LATER, "NotSent"),
            (EARLY, "NotSent"),
            (ODD, "NotSent"),
        ] {
            let mailer = SmtpMailer::new(&server(lines).await, "a@example.org").unwrap();
            let sent = format!("{:?}", mailer.send(&mail()).await);
            assert!(sent.starts_with(expected), "{sent}");
        }
        let nobody = SmtpMailer::new("smtp://127.0.0.1:1", "a@example.org").unwrap();
        assert!(matches!(nobody.send(&mail()).await, Attempt::NotSent(_)));
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
        let mailer =
            SmtpMailer::new("smtps://u%40x:p%25%3A@mail.example.org", "a@example.org").unwrap();
        assert_eq!((mailer.port, mailer.tls), (465, Tls::FromTheStart));
        assert_eq!(mailer.login, Some(STANDARD.encode("\0u@x\0p%:")));
        assert_eq!(
            SmtpMailer::new("smtp://x", "nobody").err(),
            Some(InvalidSmtp::Sender("nobody".to_owned()))
        );
    }
}
