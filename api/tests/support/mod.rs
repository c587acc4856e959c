//! The API on a real stack, with counterparties that answer from memory.

use api::auth::oidc::{Oidc, OidcSettings};
use api::auth::passwords::Passwords;
use api::auth::sessions::Sessions;
use api::auth::tokens::Tokens;
use api::auth::{Auth, Limits, ServiceTokens};
use api::log::{Append, CommandLog, Logged};
use api::ports::{
    DeadLetters, DepositPlace, Holding, Letter, Mail, Mailer, NoSecret, NoticeKind, Notices,
    PaymentSecrets, QuoteError, Quoter, SwapQuote, Texter, TreasuryBook, Unavailable,
    WebhookRefusal, WebhookVerifier,
};
use api::pricing::Terms;
use api::{ApiParts, ApiState};
use async_trait::async_trait;
use chrono::Utc;
use counterparties_messaging::{
    Mailer as _, SecretSeed, SmtpMailer, Targets, endpoint_url, is_phone_number,
};
use events::applications::WalletNetwork;
use events::ids::{EventId, PurchaseId, UserId};
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Refusal};
use events::stripe::StripeFacts;
use events::time::Timestamp;
use events::topics;
use projections::progress::Position;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use redis::AsyncCommands;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use sandbox_stack::Stack;
use serde_json::Value;
use sqlx::PgPool;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub const ANNA: &str = "token-of-anna-00001";
pub const BERT: &str = "token-of-bert-00002";
/// An auditor.
pub const CARA: &str = "token-of-cara-00003";

/// A dashboard operator.
#[allow(dead_code, reason = "not every test of this crate decides")]
pub const DORA: &str = "token-of-dora-00004";

pub fn user(name: &str) -> UserId {
    UserId::derive(&[name])
}

/// Sells a TFT for a cent; up to 10,000 of them; does not answer for 666, and takes a second for 677.
struct Market;

#[async_trait]
impl Quoter for Market {
    async fn quote(&self, tft: Amount<Tft>) -> Result<SwapQuote, QuoteError> {
        if tft > Amount::from_whole(10_000) {
            return Err(QuoteError::NoPath);
        }
        if tft == Amount::from_whole(667) {
            return Err(QuoteError::Unavailable(
                "the horizon is behind the clouds".to_owned(),
            ));
        }
        if tft == Amount::from_whole(678) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(SwapQuote {
            usdc: Amount::from_minor(tft.minor() / 100).unwrap(),
            path: vec!["native".to_owned()],
            ledger: 60_000_007,
        })
    }
}

/// Holds ten USDC and less lumens than it should, knows nothing of the bridge; one lane is poor.
struct Vault;

#[async_trait]
impl TreasuryBook for Vault {
    async fn holdings(&self, lanes: &[projections::treasury::Lane]) -> Vec<Holding> {
        let holding = |name: &str, account: &str, balance, threshold| Holding {
            name: name.to_owned(),
            account: account.to_owned(),
            asset: "USDC:GISSUER".to_owned(),
            threshold,
            balance,
        };
        let mut all = vec![
            holding("treasury/USDC", "GT", Ok(100_000_000), 0),
            holding("treasury/XLM", "GT", Ok(7), 8),
            holding("bridge/TFT", "GB", Err("504".to_owned()), 0),
        ];
        all.extend(lanes.iter().map(|lane| {
            let balance = if lane.account == "GPOOR" {
                11_000_000
            } else {
                20_000_000
            };
            let name = format!("lane/{}/{}", lane.executor, lane.account);
            holding(&name, &lane.account, Ok(balance), 12_000_000)
        }));
        all
    }
}

struct Secrets;

#[async_trait]
impl PaymentSecrets for Secrets {
    async fn client_secret(
        &self,
        intent_id: &str,
        receipt_email: Option<&str>,
    ) -> Result<String, NoSecret> {
        match (intent_id, receipt_email) {
            ("pi_mute", _) => Err(NoSecret::Unavailable("503".to_owned())),
            (_, Some("refused@x")) => Err(NoSecret::Email("Invalid email address".to_owned())),
            (intent, _) => Ok(format!("{intent}_secret_x")),
        }
    }
}

/// Believes what is signed with `good`; the body is `event id,purchase id or nothing`.
struct Webhooks;

#[async_trait]
impl WebhookVerifier for Webhooks {
    async fn verify(
        &self,
        body: &[u8],
        header: Option<&str>,
    ) -> Result<StripeFacts, WebhookRefusal> {
        match header {
            None => return Err(WebhookRefusal::Missing),
            Some("good") => {}
            Some("old") => {
                return Err(WebhookRefusal::WrongTime(
                    "the signature is 301 s old".to_owned(),
                ));
            }
            Some("") => return Err(WebhookRefusal::Malformed("it has no time (t=)".to_owned())),
            Some(_) => return Err(WebhookRefusal::WrongSignature),
        }
        let text = String::from_utf8_lossy(body);
        let (id, purchase) = text.split_once(',').unwrap_or((&text, ""));
        Ok(StripeFacts {
            purchase_id: purchase.parse().ok(),
            stripe_event_id: id.to_owned(),
            event_type: "payment_intent.succeeded".to_owned(),
            created: Timestamp(1_796_000_000_000),
            livemode: false,
            object_id: Some("pi_1".to_owned()),
            intent_id: None,
            amount: Some(265),
            amount_received: Some(265),
            amount_refunded: None,
            currency: Some("usd".to_owned()),
            status: Some("succeeded".to_owned()),
            failure_code: None,
            raw: "{}".to_owned(),
            request_id: None,
        })
    }
}

/// Of `purchases`: any at an even offset, for the purchase `letter <offset>`; odd ones are discarded,
/// and from 1,000 on there are none.
struct Letters;

#[async_trait]
impl DeadLetters for Letters {
    async fn find(
        &self,
        processor: &str,
        _: i32,
        offset: i64,
    ) -> Result<Option<Letter>, Unavailable> {
        if processor == "mute" {
            return Err(Unavailable("Kafka is away".to_owned()));
        }
        if processor != "purchases" || !(0..1_000).contains(&offset) {
            return Ok(None);
        }
        Ok(Some(Letter {
            topic: "purchases".to_owned(),
            key: PurchaseId::derive(&["letter", &offset.to_string()]).to_string(),
            discarded: offset % 2 == 1,
        }))
    }
}

/// Mails through the stack's real server.
struct Post(SmtpMailer);

#[async_trait]
impl Mailer for Post {
    async fn send(&self, mail: &Mail) -> Attempt<()> {
        let mail = counterparties_messaging::Mail {
            id: mail.id,
            to: mail.to.clone(),
            subject: mail.subject.clone(),
            text: mail.text.clone(),
            at: mail.at,
        };
        match self.0.send(&mail).await {
            Attempt::Landed(_) => Attempt::Landed(()),
            Attempt::Refused(refusal) => Attempt::Refused(refusal),
            Attempt::NotSent(why) => Attempt::NotSent(why),
            Attempt::Unknown(why) => Attempt::Unknown(why),
            Attempt::NoAnswer(why) => Attempt::NoAnswer(why),
        }
    }
}

/// Text messages, as they were sent: number and text.
pub type Texts = Arc<parking_lot::Mutex<Vec<(String, String)>>>;

/// Keeps what it is told to send; refuses one number and does not answer for another.
struct Phones(Texts);

#[async_trait]
impl Texter for Phones {
    async fn send(&self, _: EventId, to: &str, text: &str) -> Attempt<()> {
        match to {
            "+15005550001" => return Attempt::Refused(Refusal::new("twilio_21211", "no number")),
            "+15005550002" => return Attempt::NotSent("503".to_owned()),
            _ => {}
        }
        self.0.lock().push((to.to_owned(), text.to_owned()));
        Attempt::Landed(())
    }
}

fn notices(texts: &Texts) -> Notices {
    let seed = SecretSeed::parse(SEED).unwrap();
    let targets = Targets::parse("").unwrap();
    Notices {
        kinds: vec![
            NoticeKind {
                name: "purchase_settled",
                usual: [true, false, true],
            },
            NoticeKind {
                name: "deployment_failed",
                usual: [true, true, true],
            },
        ],
        languages: vec!["en"],
        webhook_secret: Arc::new(move |id, generation| seed.secret(id, generation).expose()),
        endpoint_url: Arc::new(move |url| endpoint_url(url, &targets).map(|_| ())),
        is_phone_number,
        texter: Some(Arc::new(Phones(Arc::clone(texts)))),
    }
}

/// The seed of the keys of all worlds.
pub const SEED: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
pub const ISSUER: &str = "https://gridway.test";
pub const AUDIENCE: &str = "gridway-test";

/// How a world differs from the usual one.
#[derive(Clone)]
pub struct Terrain {
    pub limits: Limits,
    pub oidc: Option<OidcSettings>,
    /// Whether it folds the log; of several worlds on a stack only one may.
    pub projections: bool,
}

impl Default for Terrain {
    fn default() -> Self {
        Self {
            limits: Limits {
                user: 1_000_000,
                address: 1_000_000,
                guest: 1_000_000,
            },
            oidc: None,
            projections: true,
        }
    }
}

fn auth(stack: &Stack, terrain: Terrain) -> Auth {
    Auth {
        tokens: Tokens::new(SEED, Duration::from_secs(86_400), ISSUER, AUDIENCE).unwrap(),
        sessions: Sessions::new(stack.redis_url()).unwrap(),
        passwords: Passwords::new().unwrap(),
        oidc: terrain.oidc.map(|settings| Oidc::new(settings).unwrap()),
        service: ServiceTokens::parse(&format!(
            "{ANNA}:{},{BERT}:{},{CARA}:{}/auditor,{DORA}:{}/dashboard_operator",
            user("anna"),
            user("bert"),
            user("cara"),
            user("dora")
        ))
        .unwrap(),
        limits: terrain.limits,
        proxies: 0,
        public_url: "https://console.test".to_owned(),
    }
}

/// The API, served on a real stack beside the projections.
pub struct World {
    pub base: String,
    pub client: Client,
    pub pool: PgPool,
    /// Plays the processors.
    pub log: CommandLog,
    /// What was sent to phones.
    #[allow(dead_code, reason = "not every test of this crate has a phone")]
    pub texts: Texts,
    redis: redis::Client,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

fn lease_key(who: &str, key: &str) -> String {
    format!("gridway:command:{}:{key}", user(who))
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    async fn of(response: Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts a problem of this kind, in the shape that all have.
    pub fn is_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(
            problem["type"],
            format!("https://gridway.dev/problems/{slug}"),
            "{problem}"
        );
        assert_eq!(problem["status"], status);
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

impl World {
    pub async fn open(stack: &Stack) -> Self {
        Self::open_with(stack, Terrain::default()).await
    }

    #[expect(clippy::disallowed_methods, reason = "tests stand at the edge")]
    pub async fn open_with(stack: &Stack, terrain: Terrain) -> Self {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", stack.kafka_brokers())
            .create()
            .unwrap();
        let wanted =
            topics::ALL.map(|t| NewTopic::new(t.name, t.partitions, TopicReplication::Fixed(1)));
        let letters = topics::dead_letters("purchases");
        let letters = NewTopic::new(
            &letters,
            topics::PURCHASES.partitions,
            TopicReplication::Fixed(1),
        );
        for made in admin
            .create_topics(wanted.iter().chain([&letters]), &AdminOptions::new())
            .await
            .unwrap()
        {
            assert!(matches!(
                made,
                Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists))
            ));
        }
        let pool = projections::connect(stack.database_url(), 8).unwrap();
        projections::migrate(&pool).await.unwrap();
        api::migrate(&pool).await.unwrap();
        let log = || CommandLog::new(stack.kafka_brokers(), stack.registry_url()).unwrap();
        let texts = Texts::default();
        let folds = terrain.projections;
        let state = ApiState::new(ApiParts {
            pool: pool.clone(),
            log: log(),
            registry_url: stack.registry_url().to_owned(),
            quoter: Arc::new(Market),
            secrets: Arc::new(Secrets),
            webhooks: Arc::new(Webhooks),
            treasury: Arc::new(Vault),
            deployment_hash: |id, version, data| format!("{id}-{version}-{}", data.len()),
            wallet: |text| match (text.len(), text.as_bytes().first()) {
                (56, Some(b'G')) => Some(WalletNetwork::Stellar),
                (48, Some(b'5')) => Some(WalletNetwork::Tfchain),
                _ => None,
            },
            deposits: DepositPlace {
                account: "GTREASURY".to_owned(),
                asset_code: "USDC".to_owned(),
                asset_issuer: "GISSUER".to_owned(),
                passphrase: "Test SDF Network ; September 2015".to_owned(),
                muxed: |account, id| Some(format!("M{account}{id}")),
            },
            dead_letters: Arc::new(Letters),
            limits: "USDC=500,USD=100".parse().unwrap(),
            auth: auth(stack, terrain),
            mailer: Arc::new(Post(
                SmtpMailer::new(stack.smtp_url(), "Gridway <no-reply@gridway.test>").unwrap(),
            )),
            notices: notices(&texts),
            terms: Terms::default(),
            origins: vec!["https://console.test".parse().unwrap()],
            changes: projections::Changes::default(),
            clock: || Timestamp::from(Utc::now()),
        });
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let config = projections::Config {
            brokers: stack.kafka_brokers().to_owned(),
            registry_url: stack.registry_url().to_owned(),
            database_url: stack.database_url().to_owned(),
        };
        let (serving, folding) = (stop.clone(), stop.clone());
        let mut tasks = vec![tokio::spawn(async move {
            api::serve(listener, state, serving).await.unwrap();
        })];
        if folds {
            tasks.push(tokio::spawn(async move {
                projections::run(config, folding).await.unwrap();
            }));
        }
        Self {
            base,
            client: Client::new(),
            pool,
            log: log(),
            texts,
            redis: redis::Client::open(stack.redis_url()).unwrap(),
            stop,
            tasks,
        }
    }

    pub async fn close(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let connecting = self.redis.get_multiplexed_async_connection();
        connecting.await.unwrap()
    }

    /// What Redis says of a person's command.
    #[allow(dead_code, reason = "not every test of this crate looks")]
    pub async fn leased(&self, who: &str, key: &str) -> Option<String> {
        self.redis().await.get(lease_key(who, key)).await.unwrap()
    }

    /// Waits until Redis has been told that it is answered; gives the command's fingerprint.
    #[allow(dead_code, reason = "not every test of this crate looks")]
    pub async fn answered(&self, who: &str, key: &str) -> String {
        eventually(|| async {
            let word = self.leased(who, key).await?;
            word.strip_prefix("answered:").map(str::to_owned)
        })
        .await
    }

    /// Forgets the answer to it, once it is there.
    #[allow(dead_code, reason = "not every test of this crate looks")]
    pub async fn lose_answer(&self, who: &str, key: &str) {
        self.answered(who, key).await;
        let lost = sqlx::query("DELETE FROM command_answers WHERE key = $1")
            .bind(key)
            .execute(&self.pool)
            .await
            .unwrap();
        assert_eq!(lost.rows_affected(), 1);
    }

    /// Lets Redis say so of it.
    #[allow(dead_code, reason = "not every test of this crate looks")]
    pub async fn lease(&self, who: &str, key: &str, word: &str) {
        let mut redis = self.redis().await;
        let said = redis.set_ex::<_, _, ()>(lease_key(who, key), word, 60);
        said.await.unwrap();
    }

    /// What time it is at Redis, in milliseconds since 1970.
    #[allow(dead_code, reason = "not every test of this crate looks")]
    pub async fn redis_ms(&self) -> u64 {
        let mut redis = self.redis().await;
        let time = redis::cmd("TIME");
        let told = time.query_async::<(u64, u64)>(&mut redis);
        let (seconds, micros) = told.await.unwrap();
        seconds * 1000 + micros / 1000
    }

    /// Lets Redis forget it.
    #[allow(dead_code, reason = "not every test of this crate looks")]
    pub async fn forget(&self, who: &str, key: &str) {
        let forgotten: u64 = self.redis().await.del(lease_key(who, key)).await.unwrap();
        assert_eq!(forgotten, 1);
    }

    /// Plays a processor: appends an event.
    #[expect(clippy::disallowed_methods, reason = "tests stand at the edge")]
    pub async fn append<E: Logged>(
        &self,
        key: &str,
        id: &[&str],
        correlation: &str,
        event: impl Into<E>,
    ) -> Position {
        let append = Append {
            key: key.to_owned(),
            id: EventId::derive(id),
            correlation: correlation.to_owned(),
            trace: None,
            time: Timestamp::from(Utc::now()),
            event: event.into(),
        };
        self.log.append::<E>(append).await.unwrap()
    }

    pub fn request(&self, method: &str, path: &str, token: &str) -> RequestBuilder {
        let method = method.parse().unwrap();
        self.client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(token)
    }

    /// Sends a request; while the read models are behind its token, again, as a client would.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let again = request.try_clone().unwrap();
            let answer = Answer::of(again.send().await.unwrap()).await;
            let behind = answer.header("content-type") == "application/problem+json"
                && answer.text.contains("/not-yet-visible");
            if !behind || Instant::now() > deadline {
                return answer;
            }
        }
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(self.request("GET", path, token)).await
    }

    pub async fn post(&self, path: &str, token: &str, key: &str, body: &Value) -> Answer {
        self.send(
            self.request("POST", path, token)
                .header("Idempotency-Key", key)
                .json(body),
        )
        .await
    }

    #[allow(dead_code, reason = "not every test of this crate waits")]
    pub async fn post_waiting(&self, path: &str, token: &str, key: &str, body: &Value) -> Answer {
        let request = self
            .request("POST", path, token)
            .header("Idempotency-Key", key)
            .header("Prefer", "wait=20");
        self.send(request.json(body)).await
    }

    pub async fn webhook(&self, signature: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
        let mut request = self
            .client
            .post(format!("{}/payments/webhook", self.base))
            .body(body);
        if let Some(signature) = signature {
            request = request.header("Stripe-Signature", signature);
        }
        self.send(request).await
    }
}

/// Asks again until there is an answer, for a minute at most.
pub async fn eventually<T, R: Future<Output = Option<T>>>(ask: impl Fn() -> R) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "no answer within a minute"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
