//! A mail as it travels: RFC 5322 with MIME, in lines that every server takes.

use crate::Mail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::outcome::Refusal;

/// A line has at most 998 octets (RFC 5322, 2.1.1); longer texts go as base64.
const LONGEST: usize = 900;
/// Octets of a base64 line (RFC 2045, 6.8).
const LINE: usize = 76;
/// Octets of text in one encoded word, which may have 75 characters (RFC 2047, 2).
const WORD: usize = 42;

/// A sender: an address, and what its mailbox is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) name: String,
    pub(crate) address: String,
}

impl Sender {
    /// Reads `Name <address>` or an address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, address) = match text
            .trim()
            .strip_suffix('>')
            .and_then(|t| t.split_once('<'))
        {
            Some((name, address)) => (name.trim(), address.trim()),
            None => ("", text.trim()),
        };
        let fit = is_address(address) && name.chars().all(|c| !c.is_control() && c != '"');
        fit.then(|| Self {
            name: name.to_owned(),
            address: address.to_owned(),
        })
    }

    pub(crate) fn domain(&self) -> &str {
        self.address.rsplit('@').next().unwrap_or_default()
    }
}

/// An address that can stand in an SMTP command and in a header without meaning anything else.
pub(crate) fn is_address(text: &str) -> bool {
    let odd = |c: char| {
        !c.is_ascii_graphic() || matches!(c, '<' | '>' | '"' | '(' | ')' | ',' | ';' | ':' | '\\')
    };
    text.len() <= 254
        && !text.contains(odd)
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

/// A header's value: as it is, or in encoded words when it is not plain ASCII. Line ends do not
/// come through.
fn header(text: &str) -> String {
    let one_line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if one_line.is_ascii() && one_line.len() <= LONGEST {
        return one_line;
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for c in one_line.chars() {
        if word.len() + c.len_utf8() > WORD {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encoded: Vec<String> = words
        .iter()
        .map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word)))
        .collect();
    encoded.join("\r\n ")
}

/// The message, its lines ended by CRLF; not yet dot-stuffed.
pub(crate) fn write(mail: &Mail, sender: &Sender) -> Result<String, Refusal> {
    if !is_address(&mail.to) {
        return Err(Refusal::new(
            "not_an_address",
            "the recipient is not an address of mail",
        ));
    }
    let date = mail.at.to_datetime().unwrap_or_default().to_rfc2822();
    let from = if sender.name.is_empty() {
        sender.address.clone()
    } else if sender.name.is_ascii() {
        format!("\"{}\" <{}>", sender.name, sender.address)
    } else {
        format!("{} <{}>", header(&sender.name), sender.address)
    };
    let lines: Vec<&str> = mail.text.lines().collect();
    let plain = mail.text.is_ascii()
        && lines.iter().all(|line| {
            line.len() <= LONGEST && !line.contains(|c: char| c.is_control() && c != '\t')
        });
    let (encoding, body) = if plain {
        ("7bit", lines.join("\r\n"))
    } else {
        let encoded = STANDARD.encode(lines.join("\r\n"));
        let chunks: Vec<&str> = (0..encoded.len())
            .step_by(LINE)
            .filter_map(|at| encoded.get(at..(at + LINE).min(encoded.len())))
            .collect();
        ("base64", chunks.join("\r\n"))
    };
    Ok(format!(
        "Message-ID: <{id}@{domain}>\r\nDate: {date}\r\nFrom: {from}\r\nTo: <{to}>\r\nSubject: {subject}\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\
         Auto-Submitted: auto-generated\r\n\r\n{body}\r\n",
        id = mail.id,
        domain = sender.domain(),
        to = mail.to,
        subject = header(&mail.subject),
    ))
}

/// The message as `DATA` takes it: a dot before each line that begins with one, and the end.
pub(crate) fn stuffed(message: &str) -> String {
    let mut text = String::with_capacity(message.len() + 8);
    for line in message.split_inclusive("\r\n") {
        if line.starts_with('.') {
            text.push('.');
        }
        text.push_str(line);
    }
    text.push_str(".\r\n");
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use events::ids::EventId;
    use events::time::Timestamp;

    fn mail(to: &str, subject: &str, text: &str) -> Mail {
        Mail {
            id: EventId::derive(&["mail"]),
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            at: Timestamp::from_seconds(1_800_000_000),
        }
    }

    fn sender() -> Sender {
        Sender::parse("Gridway <a@example.org>").unwrap()
    }

    #[test]
    fn a_mail_has_its_identity_and_no_more_headers_than_it_should() {
        let text = write(
            &mail("b@example.org", "hi\r\nBcc: eve@example.org", "x"),
            &sender(),
        )
        .unwrap();
        assert!(text.contains(&format!(
            "Message-ID: <{}@example.org>\r\n",
            EventId::derive(&["mail"])
        )));
        assert!(
            text.contains("Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n"),
            "{text}"
        );
        assert!(text.contains("From: \"Gridway\" <a@example.org>\r\n"));
        assert!(!text.lines().any(|line| line.starts_with("Bcc:")), "{text}");
        for bad in [
            "b@example.org\r\nBcc: e@f.g",
            "b",
            "@x",
            "b@",
            "<b@c.d>",
            "b@c@d",
            "b c@d.e",
            "bö@c.d",
        ] {
            assert_eq!(
                write(&mail(bad, "hi", "x"), &sender()).unwrap_err().code,
                "not_an_address",
                "{bad}"
            );
        }
    }

    #[test]
    fn texts_of_every_script_arrive() {
        let text = write(
            &mail(
                "b@example.org",
                "Größe ändern 🐎 und noch viel mehr, was nicht in ein Wort passt",
                "grüße\n",
            ),
            &sender(),
        )
        .unwrap();
        assert!(text.is_ascii());
        let subject: String = text
            .split("\r\n")
            .skip_while(|line| !line.starts_with("Subject:"))
            .take_while(|line| line.contains("=?"))
            .map(|line| {
                assert!(line.len() <= 76 + "Subject: ".len(), "{line}");
                let word = line
                    .split("=?UTF-8?B?")
                    .nth(1)
                    .unwrap()
                    .trim_end_matches("?=");
                String::from_utf8(STANDARD.decode(word).unwrap()).unwrap()
            })
            .collect();
        assert_eq!(
            subject,
            "Größe ändern 🐎 und noch viel mehr, was nicht in ein Wort passt"
        );
        let body = text.split("\r\n\r\n").nth(1).unwrap().replace("\r\n", "");
        assert_eq!(STANDARD.decode(body).unwrap(), "grüße".as_bytes());
    }

    #[test]
    fn a_lone_dot_does_not_end_a_mail() {
        assert_eq!(stuffed("a\r\n.\r\n..b\r\n"), "a\r\n..\r\n...b\r\n.\r\n");
        let text = write(&mail("b@example.org", "hi", "a\n.\nQUIT\r\nb"), &sender()).unwrap();
        assert!(
            stuffed(&text).ends_with("a\r\n..\r\nQUIT\r\nb\r\n.\r\n"),
            "{text}"
        );
    }

    #[test]
    fn a_sender_has_an_address() {
        assert_eq!(Sender::parse("a@b.c").unwrap().name, "");
        for bad in [
            "",
            "Gridway",
            "Gridway <a>",
            "Grid\"way <a@b.c>",
            "x\r\ny <a@b.c>",
        ] {
            assert_eq!(Sender::parse(bad), None, "{bad}");
        }
    }
}
