//! `gridway demo`: buys 250 TFT by card, deploys, and shows every proof.

use crate::serve;
use crate::up::{self, Options, PERSON, Sandbox, setting};
use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A buyer who uses the API and, for the payment itself, Stripe.
pub struct Buyer {
    http: Client,
    api: String,
    stripe: String,
    stripe_key: String,
    token: String,
}

impl Buyer {
    /// The person of this bearer token.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(api: &str, environment: &[(String, String)], token: &str) -> Result<Self> {
        let http = Client::builder().timeout(Duration::from_secs(40)).build()?;
        Ok(Self {
            http,
            api: api.to_owned(),
            stripe: setting(environment, "GRIDWAY_STRIPE_URL")
                .trim_end_matches('/')
                .to_owned(),
            stripe_key: setting(environment, "GRIDWAY_STRIPE_KEY").to_owned(),
            token: token.to_owned(),
        })
    }

    /// Signs a person up as people do: with the token from their mailbox. Then logs them in.
    ///
    /// # Errors
    /// When the API refuses, or no mail comes within a minute.
    pub async fn sign_up(
        api: &str,
        environment: &[(String, String)],
        email: &str,
        password: &str,
    ) -> Result<Self> {
        let mut buyer = Self::new(api, environment, "")?;
        let person = json!({"email": email, "password": password});
        buyer.post("/auth/sign-up", &person).await?;
        let mailbox = setting(environment, "GRIDWAY_SANDBOX_MAILBOX");
        let token = buyer.mailed_token(mailbox, email).await?;
        buyer.post("/auth/verify", &json!({"token": token})).await?;
        let tokens = buyer.post("/auth/login", &person).await?;
        buyer.token = text(&tokens, "access_token")?;
        Ok(buyer)
    }

    /// The bearer token that they use.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.http.post(format!("{}{path}", self.api)).json(body);
        let answer = request.send().await;
        read(path, answer.with_context(|| format!("POST {path}"))?).await
    }

    /// The token in the latest mail of a sandbox mailbox.
    async fn mailed_token(&self, mailbox: &str, email: &str) -> Result<String> {
        self.mailed(mailbox, email, |text| {
            let line = text.lines().find_map(|line| line.strip_prefix("Token: "))?;
            Some(line.trim().to_owned())
        })
        .await
    }

    /// What `read` finds in the latest mail that has it, within a minute.
    ///
    /// # Errors
    /// When no such mail comes in time.
    pub async fn mailed(
        &self,
        mailbox: &str,
        email: &str,
        read: impl Fn(&str) -> Option<String>,
    ) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let url = format!("{mailbox}/api/user/{email}/messages/INBOX");
        loop {
            let answer = self.http.get(&url).send().await.context("the mailbox")?;
            // There is no mailbox until its first mail.
            let mails: Value = answer.json().await.unwrap_or_default();
            let found = mails
                .as_array()
                .into_iter()
                .flatten()
                .rev()
                .find_map(|mail| read(mail["mimeMessage"].as_str()?));
            if let Some(found) = found {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("no such mail came to {email} within a minute");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A command with its idempotency key; `wait` is for how many seconds its outcome is waited for.
    ///
    /// # Errors
    /// When the API refuses it or does not answer.
    pub async fn command(&self, path: &str, key: &str, body: &Value, wait: u32) -> Result<Value> {
        let mut request = self
            .http
            .post(format!("{}{path}", self.api))
            .bearer_auth(&self.token)
            .header("Idempotency-Key", key)
            .json(body);
        if wait > 0 {
            request = request.header("Prefer", format!("wait={wait}"));
        }
        read(
            path,
            request
                .send()
                .await
                .with_context(|| format!("POST {path}"))?,
        )
        .await
    }

    /// A request with its idempotency key; gives the answer, whatever its status.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, String)> {
        let what = format!("{method} {path}");
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.api))
            .bearer_auth(&self.token)
            .header("Idempotency-Key", key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| what.clone())?;
        let status = answer.status();
        Ok((status, answer.text().await.with_context(|| what)?))
    }

    /// A query.
    ///
    /// # Errors
    /// When the API refuses it or does not answer.
    pub async fn query(&self, path: &str) -> Result<Value> {
        let answer = self
            .http
            .get(format!("{}{path}", self.api))
            .bearer_auth(&self.token)
            .send()
            .await;
        read(path, answer.with_context(|| format!("GET {path}"))?).await
    }

    /// Queries until `done`, for at most a minute.
    ///
    /// # Errors
    /// When it is not done by then; the error shows the last answer.
    pub async fn until(
        &self,
        path: &str,
        what: &str,
        done: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            // A view follows its command: what is not there yet may come.
            let answer = match self.query(path).await {
                Err(error) if error.downcast_ref() == Some(&Refused(StatusCode::NOT_FOUND)) => {
                    Value::String(format!("{error:#}"))
                }
                answer => answer?,
            };
            if done(&answer) {
                return Ok(answer);
            }
            if Instant::now() > deadline {
                bail!("{what} did not happen within a minute; GET {path} says {answer}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Registers the user and waits for the twin; gives its id.
    ///
    /// # Errors
    /// When there is no twin in time.
    pub async fn register(&self) -> Result<u64> {
        self.command("/users", "register", &json!({}), 20).await?;
        let user = self
            .until("/users/me", "the twin", |u| u["twin_id"].is_u64())
            .await?;
        user["twin_id"].as_u64().context("a twin id")
    }

    /// Accepts a quote for `tft`; gives purchase id and PaymentIntent.
    ///
    /// # Errors
    /// When the API refuses, or no PaymentIntent comes.
    pub async fn order(&self, tft: &str, key: &str) -> Result<(Value, String, String)> {
        let quote = self
            .command("/quotes", &format!("{key}-quote"), &json!({"tft": tft}), 0)
            .await?;
        let ordered = self
            .command(
                "/payments/create-intent",
                key,
                &json!({"quote_id": quote["id"]}),
                20,
            )
            .await?;
        let purchase = text(&ordered, "purchase_id")?;
        let intent = if let Some(intent) = ordered["intent_id"].as_str() {
            intent.to_owned()
        } else {
            let path = format!("/purchases/{purchase}");
            text(
                &self
                    .until(&path, "the PaymentIntent", |p| p["intent_id"].is_string())
                    .await?,
                "intent_id",
            )?
        };
        Ok((quote, purchase, intent))
    }

    /// Pays a PaymentIntent with Stripe's test card.
    ///
    /// # Errors
    /// When Stripe refuses.
    pub async fn pay(&self, intent: &str) -> Result<()> {
        let answer = self
            .http
            .post(format!(
                "{}/v1/payment_intents/{intent}/confirm",
                self.stripe
            ))
            .bearer_auth(&self.stripe_key)
            .form(&[
                ("payment_method", "pm_card_visa"),
                ("return_url", "https://example.com/"),
            ])
            .send()
            .await
            .context("confirming the payment at Stripe")?;
        let paid = read("the confirmation", answer).await?;
        match paid["status"].as_str() {
            Some("succeeded") => Ok(()),
            _ => bail!("the card was not charged: {paid}"),
        }
    }
}

/// A text of an answer.
///
/// # Errors
/// When it is not there.
pub fn text(value: &Value, field: &str) -> Result<String> {
    value[field]
        .as_str()
        .map(ToOwned::to_owned)
        .with_context(|| format!("{field} in {value}"))
}

/// The API or Stripe refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was {0}")]
struct Refused(StatusCode);

async fn read(what: &str, answer: reqwest::Response) -> Result<Value> {
    let status = answer.status();
    let body = answer
        .text()
        .await
        .with_context(|| format!("reading the answer to {what}"))?;
    if !status.is_success() {
        return Err(anyhow::Error::new(Refused(status)).context(format!("{what}: {body}")));
    }
    serde_json::from_str(&body).with_context(|| format!("{what}: {body}"))
}

/// `gridway demo`.
///
/// # Errors
/// When the purchase does not come to its contract.
pub async fn run(options: &Options) -> Result<()> {
    let stop = serve::on_signal()?;
    let mut sandbox = tokio::select! {
        started = up::start(options, &[]) => started?,
        () = stop.cancelled() => return Ok(()),
    };
    let result = tokio::select! {
        result = buy(&sandbox) => result,
        () = stop.cancelled() => Ok(()),
    };
    if result.is_err() {
        for part in sandbox.fleet.dead() {
            eprintln!("ended by itself: {part}");
        }
        eprintln!(
            "logs were in {}; run with --keep to keep them",
            sandbox.stack.folder().display()
        );
    }
    sandbox.stop().await;
    result
}

async fn buy(sandbox: &Sandbox) -> Result<()> {
    let (email, password) = PERSON;
    let buyer = Buyer::sign_up(sandbox.api(), &sandbox.environment, email, password).await?;
    println!(
        "\nA person signs up as {email} and verifies the address with the token from the mail."
    );
    let twin = buyer.register().await?;
    println!("They have twin {twin} on TFChain.");
    let (quote, purchase, intent) = buyer.order("250", "demo-purchase").await?;
    println!(
        "They accept a quote: {} TFT for {} {}.",
        quote["tft"], quote["charge"]["minor"], quote["charge"]["currency"]
    );
    let order = json!({"node_id": 1, "data": "{\"name\":\"demo\",\"cpu\":2,\"memory\":4}", "purchase_id": purchase});
    let ordered = buyer
        .command("/deployments", "demo-deployment", &order, 0)
        .await?;
    let deployment = text(&ordered, "deployment_id").or_else(|_| text(&ordered, "id"))?;
    println!("They ask for a deployment on node 1; it waits for the TFT.");
    println!("They pay {intent} by card.");
    let paid = Instant::now();
    buyer.pay(&intent).await?;
    let path = format!("/deployments/{deployment}");
    let done = buyer
        .until(&path, "the deployment", |d| {
            matches!(d["state"].as_str(), Some("created" | "failed"))
        })
        .await?;
    let took = paid.elapsed();
    if done["state"] != "created" {
        bail!("the deployment failed: {done}");
    }
    let timeline = buyer
        .query(&format!("/purchases/{purchase}/timeline"))
        .await?;
    print_timeline(&timeline);
    let mailbox = setting(&sandbox.environment, "GRIDWAY_SANDBOX_MAILBOX");
    let mail = buyer.mailed(mailbox, email, arrived).await?;
    println!("\nThe mail that they got:\n\n{mail}");
    println!(
        "\nFrom the payment to contract {} in {} ms. Everything above is in the log.",
        done["contract_id"],
        took.as_millis()
    );
    Ok(())
}

/// The mail that tells of the purchase's end: its subject and text.
fn arrived(mail: &str) -> Option<String> {
    let mail = mail.replace('\r', "");
    let (headers, text) = mail.split_once("\n\n")?;
    let mut headers = headers.lines();
    let subject = headers.find(|line| line.starts_with("Subject: "))?;
    let told = subject.contains("have arrived");
    // Quoted-printable breaks long lines so.
    let text = text.replace("=\n", "");
    told.then(|| format!("  {subject}\n\n  {}", text.trim().replace('\n', "\n  ")))
}

fn print_timeline(timeline: &Value) {
    println!("\nThe purchase's timeline:\n");
    let moments = timeline["events"].as_array();
    for moment in moments.into_iter().flatten() {
        let time = moment["time"].as_str().unwrap_or_default();
        let kind = moment["type"].as_str().unwrap_or_default();
        let kind = kind.rsplit('.').next().unwrap_or_default();
        let source = moment["source"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches("/gridway/");
        println!(
            "  {}  {kind:<24} {source}",
            time.get(11..23).unwrap_or(time)
        );
        for (name, value) in moment["facts"].as_object().into_iter().flatten() {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), ToOwned::to_owned);
            println!("                  {name}: {value}");
        }
    }
}
