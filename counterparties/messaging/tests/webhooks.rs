//! Webhooks on a real socket: what is sent, and where it is not sent.
#![expect(clippy::unwrap_used, reason = "tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterparties_messaging::{
    NotTaken, SecretSeed, Targets, WebhookCall, WebhookSecret, WebhookSender, endpoint_url,
};
use events::ids::{EndpointId, NotificationId};
use events::time::Timestamp;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A receiver that answers each connection with these bytes and shows what it was sent.
async fn receiver(
    answer: &'static str,
) -> (String, mpsc::UnboundedReceiver<String>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, hears) = mpsc::unbounded_channel();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut request = String::new();
                while !request.ends_with('}') {
                    let mut bytes = [0; 4096];
                    let n = stream.read(&mut bytes).await.unwrap();
                    if n == 0 {
                        break;
                    }
                    request.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                heard.send(request).ok();
            });
        }
    });
    (format!("http://127.0.0.1:{port}/hook"), hears, connections)
}

fn secrets() -> Vec<WebhookSecret> {
    let seed = SecretSeed::parse(&"5a".repeat(32)).unwrap();
    let endpoint = EndpointId::derive(&["e"]);
    vec![seed.secret(endpoint, 2), seed.secret(endpoint, 1)]
}

async fn send(targets: &Targets, url: &str) -> Result<u16, NotTaken> {
    let sender = WebhookSender::new(targets.clone()).unwrap();
    let call = WebhookCall {
        id: NotificationId::derive(&["n"]),
        at: Timestamp::from_seconds(1_800_000_000),
        url,
        secrets: &secrets(),
        body: "{\"a\":1}",
    };
    sender.send(&call).await
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let mut lines = request.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap()
}

#[tokio::test]
async fn it_is_signed_with_each_secret_by_the_standard() {
    let (url, mut hears, _) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let targets = Targets::parse("127.0.0.1/32").unwrap();
    assert_eq!(send(&targets, &url).await, Ok(204));
    let request = hears.recv().await.unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    let id = NotificationId::derive(&["n"]).to_string();
    assert_eq!(header(&request, "webhook-id"), id);
    assert_eq!(header(&request, "webhook-timestamp"), "1800000000");
    assert_eq!(header(&request, "content-type"), "application/json");
    let signatures: Vec<String> = secrets()
        .iter()
        .map(|secret| {
            let shown = secret.expose();
            let key = STANDARD
                .decode(shown.strip_prefix("whsec_").unwrap())
                .unwrap();
            assert_eq!(key.len(), 32);
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(format!("{id}.1800000000.{{\"a\":1}}").as_bytes());
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        })
        .collect();
    assert_eq!(header(&request, "webhook-signature"), signatures.join(" "));
    assert!(!format!("{:?}", secrets()).contains("whsec_"));
}

#[test]
fn the_standards_own_example_has_its_signature() {
    // From the specification of Standard Webhooks; the key is its example's.
    let mut mac = Hmac::<Sha256>::new_from_slice(
        &STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
    )
    .unwrap();
    mac.update(b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}");
    let expected = STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(expected, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[tokio::test]
async fn what_is_not_taken_says_why() {
    let targets = Targets::parse("127.0.0.1/32").unwrap();
    for (answer, code, status) in [
        (
            "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
            "http_status",
            Some(500),
        ),
        (
            "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n",
            "gone",
            Some(410),
        ),
        (
            "HTTP/1.1 302 X\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
            "redirect",
            Some(302),
        ),
        ("nonsense", "no_answer", None),
        ("", "no_answer", None),
    ] {
        let (url, _hears, connections) = receiver(answer).await;
        let sent = send(&targets, &url).await;
        assert_eq!(sent, Err(NotTaken { status, code }), "{answer}");
        // Neither repeated nor followed.
        assert_eq!(connections.load(Ordering::SeqCst), 1, "{answer}");
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", gone.local_addr().unwrap());
    drop(gone);
    let sent = send(&targets, &url).await;
    assert_eq!(
        sent,
        Err(NotTaken {
            status: None,
            code: "not_reached"
        })
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed_to_a_place_that_is_allowed_either() {
    let (_, _second_hears, second) = receiver("HTTP/1.1 204 X\r\n\r\n").await;
    let answer = "HTTP/1.1 307 X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let (url, mut hears, first) = receiver(answer).await;
    let targets = Targets::parse("127.0.0.1/32").unwrap();
    let sent = send(&targets, &url).await;
    assert_eq!(
        sent,
        Err(NotTaken {
            status: Some(307),
            code: "redirect"
        })
    );
    assert!(hears.recv().await.unwrap().starts_with("POST /hook "));
    assert_eq!(first.load(Ordering::SeqCst), 1);
    assert_eq!(second.load(Ordering::SeqCst), 0);
}

/// No connection is made at all, whatever the address looks like.
#[tokio::test]
async fn private_targets_are_refused_by_address_and_by_name() {
    let (url, _hears, connections) = receiver("HTTP/1.1 204 X\r\n\r\n").await;
    let port = url.split(':').nth(2).unwrap().split('/').next().unwrap();
    let nothing = Targets::parse("").unwrap();
    // Names are resolved; another loopback address is allowed, so that plain HTTP is.
    let other = Targets::parse("127.9.9.9/32").unwrap();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "169.254.169.254",
        "10.0.0.1",
        "localhost",
        "LOCALHOST",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/hook");
            for targets in [&nothing, &other] {
                let sent = send(targets, &url).await;
                let forbidden = NotTaken {
                    status: None,
                    code: "forbidden_target",
                };
                assert_eq!(sent, Err(forbidden), "{url}");
            }
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    // The same name is a way to what is allowed: it is the address that counts. A machine may
    // have ::1 for it as well.
    let both = Targets::parse("127.0.0.1/32,::1/128").unwrap();
    let sent = send(&both, &format!("http://localhost:{port}/hook")).await;
    assert_eq!(sent, Ok(204));
}

#[test]
fn addresses_are_judged_when_they_are_registered_too() {
    let public = Targets::parse("").unwrap();
    let allowing = Targets::parse("127.0.0.1/32").unwrap();
    for (url, targets, good) in [
        ("https://example.org/hook", &public, true),
        ("https://example.org:8443/hook?a=b", &public, true),
        ("https://1.1.1.1/hook", &public, true),
        ("http://example.org/hook", &public, false),
        ("http://127.0.0.1:1/hook", &allowing, true),
        ("http://1.1.1.1/hook", &allowing, false),
        ("https://user@example.org/", &public, false),
        ("https://user:p@example.org/", &public, false),
        ("https://example.org/#a", &public, false),
        ("ftp://example.org/", &public, false),
        ("file:///etc/passwd", &public, false),
        ("https:///", &public, false),
        ("/hook", &public, false),
        ("https://10.1.2.3/", &public, false),
        ("https://[fe80::1]/", &public, false),
        ("https://0xa9fea9fe/", &public, false),
    ] {
        assert_eq!(endpoint_url(url, targets).is_ok(), good, "{url}");
    }
    let long = format!("https://example.org/{}", "a".repeat(2048));
    assert!(endpoint_url(&long, &public).is_err());
}
