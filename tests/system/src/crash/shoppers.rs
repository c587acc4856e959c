//! People who buy, whatever happens: they send a command again, with its key, until it is taken.

use super::deployers::{self, Deploys};
use super::dice::Dice;
use super::gather::units;
use super::stage::{HORIZON, STRIPE, Stage};
use anyhow::{Context, Result, bail};
use gridway::demo::{Buyer, text};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long one step of a person may take, outages included. A twin is several transactions, each
/// signed after the last is final, on a chain that loses every third of them, restarts and takes
/// blocks back every other second.
const STEP_WITHIN: Duration = Duration::from_secs(600);

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Pays at once.
    Pays,
    /// Pays when TFT has become dear or rare, if that happens soon.
    PaysInBadTimes,
    /// Never pays.
    NeverPays,
    /// Pays when the purchase is over.
    PaysTooLate,
}

/// Every so many purchases one is paid by USDC.
const BY_USDC: usize = 3;
/// What is paid too much now and then, in 10^-7 USDC.
const TOO_MUCH: i64 = 20_000_000;

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// The purchase.
    pub purchase: String,
}

/// Orders and pays, spread over the kills; gives all orders.
pub async fn run(stage: Arc<Stage>, mut dice: Dice) -> Result<Vec<Order>> {
    let count = stage.plan.purchases;
    let mut people = Vec::with_capacity(count);
    for number in 0..count {
        stage
            .progress(number as u64 * 9, count.max(1) as u64 * 10)
            .await;
        let manner = match dice.below(100) {
            0..70 => Manner::Pays,
            70..85 => Manner::PaysInBadTimes,
            85..93 => Manner::NeverPays,
            _ => Manner::PaysTooLate,
        };
        let deploys = if dice.percent(75) {
            Deploys::AndChanges
        } else {
            Deploys::Nothing
        };
        let hesitates = dice.ms(0, 2_000);
        let stage = Arc::clone(&stage);
        people.push(tokio::spawn(async move {
            buy(&stage, number, manner, deploys, hesitates)
                .await
                .with_context(|| format!("buyer {number}, who {manner:?}"))
        }));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut orders = Vec::with_capacity(count);
    for person in people {
        orders.push(person.await??);
    }
    Ok(orders)
}

/// Buys in this manner, whatever happens.
pub async fn buy(
    stage: &Stage,
    number: usize,
    manner: Manner,
    deploys: Deploys,
    hesitates: Duration,
) -> Result<Order> {
    let buyer = &stage.buyers[number % stage.buyers.len()];
    let key = format!("crash-{}-{number}", stage.plan.seed);
    let (nobody, tft) = (json!({}), json!({"tft": "250"}));
    let quote_key = format!("{key}-quote");
    again("registering", || {
        buyer.command("/users", "register", &nobody, 0)
    })
    .await?;
    let registered = Instant::now();
    again("waiting for the twin", || async {
        let user = buyer.query("/users/me").await?;
        let twin = user["twin_id"].as_u64();
        twin.with_context(|| format!("no twin yet: {user}"))
    })
    .await?;
    let waited = u64::try_from(registered.elapsed().as_millis())?;
    stage.twin_after.fetch_max(waited, Ordering::Relaxed);
    let quote = again("asking for a quote", || {
        buyer.command("/quotes", &quote_key, &tft, 0)
    })
    .await?;
    let by_usdc = number % BY_USDC == BY_USDC - 1;
    let (path, accept) = if by_usdc {
        let accept = json!({"quote_id": quote["id"], "funding": "usdc"});
        ("/purchases", accept)
    } else {
        let accept = json!({"quote_id": quote["id"]});
        ("/payments/create-intent", accept)
    };
    let ordered = again("accepting the quote", || {
        buyer.command(path, &key, &accept, 0)
    })
    .await?;
    let purchase = text(&ordered, "purchase_id")?;
    let deployed = deployers::deploy(buyer, number, deploys, &key, &purchase).await?;
    let order = Order {
        purchase: purchase.clone(),
    };
    let path = format!("/purchases/{purchase}");
    let pays = async {
        if by_usdc {
            deposit(stage, buyer, &path, number, manner, hesitates).await
        } else {
            by_card(stage, buyer, &path, manner, hesitates).await
        }
    };
    let changes = async {
        if deploys == Deploys::AndChanges {
            deployers::changes(stage, buyer, &key, &deployed).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(pays, changes)?;
    Ok(order)
}

/// Pays by card, once there is a PaymentIntent.
async fn by_card(
    stage: &Stage,
    buyer: &Buyer,
    path: &str,
    manner: Manner,
    hesitates: Duration,
) -> Result<()> {
    let seen = again("waiting for the PaymentIntent", || async {
        let seen = buyer.query(path).await?;
        let ready = seen["intent_id"].is_string() || over(&seen);
        if ready { Ok(seen) } else { bail!("{seen}") }
    })
    .await?;
    let Some(intent) = seen["intent_id"].as_str().map(ToOwned::to_owned) else {
        return Ok(());
    };
    tokio::time::sleep(hesitates).await;
    match manner {
        Manner::Pays => {}
        Manner::NeverPays => return Ok(()),
        Manner::PaysInBadTimes => bad_times(stage).await,
        Manner::PaysTooLate => {
            again("waiting for the end", || async {
                let seen = buyer.query(path).await?;
                if over(&seen) { Ok(()) } else { bail!("{seen}") }
            })
            .await?;
        }
    }
    pay(stage, &intent).await
}

/// Pays by USDC as the instructions say: in one payment, in two, a little too much, or in a
/// claimable balance.
async fn deposit(
    stage: &Stage,
    buyer: &Buyer,
    path: &str,
    number: usize,
    manner: Manner,
    hesitates: Duration,
) -> Result<()> {
    let seen = again("waiting for the purchase to wait", || async {
        let seen = buyer.query(path).await?;
        let ready = seen["state"] == "awaiting_deposit" || over(&seen);
        if ready { Ok(seen) } else { bail!("{seen}") }
    })
    .await?;
    let due = units(seen["usdc_due"].as_str().context("what is due")?)?;
    let told = again("asking where to pay", || {
        buyer.query("/deposits/instructions")
    })
    .await?;
    let twin: u64 = text(&told, "memo")?.parse()?;
    tokio::time::sleep(hesitates).await;
    match manner {
        Manner::Pays => {}
        Manner::NeverPays => return Ok(()),
        Manner::PaysInBadTimes => bad_times(stage).await,
        Manner::PaysTooLate => {
            again("waiting for the end", || async {
                let seen = buyer.query(path).await?;
                if over(&seen) { Ok(()) } else { bail!("{seen}") }
            })
            .await?;
        }
    }
    match number % 4 {
        0 => {
            stage.payer.pay(stage, twin, due / 2).await?;
            stage.payer.pay(stage, twin, due - due / 2).await
        }
        1 => stage.payer.pay(stage, twin, due + TOO_MUCH).await,
        2 => stage.payer.set_aside(stage, twin, due).await,
        _ => stage.payer.pay(stage, twin, due).await,
    }
}

fn over(purchase: &Value) -> bool {
    matches!(
        purchase["state"].as_str(),
        Some("settled" | "refunded" | "not_paid" | "lost")
    )
}

/// Waits until a swap would fail, for as long as the purchase can still be paid.
async fn bad_times(stage: &Stage) {
    let asset = |name: &str| {
        let mut parts = stage.setting(name).splitn(2, ':');
        (parts.next().unwrap_or(""), parts.next().unwrap_or(""))
    };
    let ((code, issuer), usdc) = (
        asset("GRIDWAY_TFT_ASSET"),
        stage.setting("GRIDWAY_USDC_ASSET"),
    );
    let kind = if code.len() > 4 {
        "credit_alphanum12"
    } else {
        "credit_alphanum4"
    };
    let path = format!(
        "/paths/strict-receive?source_assets={usdc}&destination_amount=251&destination_asset_type={kind}&destination_asset_code={code}&destination_asset_issuer={issuer}"
    );
    let until = Instant::now() + Duration::from_secs(14);
    let before = stage.look(HORIZON, &path).await.unwrap_or_default();
    while Instant::now() < until && !stage.is_over() {
        if let Ok(now) = stage.look(HORIZON, &path).await
            && cost(&now) != cost(&before)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What the best path costs; `None` where there is none.
fn cost(paths: &Value) -> Option<&str> {
    paths["_embedded"]["records"][0]["source_amount"].as_str()
}

/// Pays by card. A payment page that got no answer shows the payment as it is.
async fn pay(stage: &Stage, intent: &str) -> Result<()> {
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(8))
        .build()?;
    let path = format!("/v1/payment_intents/{intent}");
    let key = stage.setting("GRIDWAY_STRIPE_KEY");
    again("paying", || async {
        let confirmed = http
            .post(stage.url(STRIPE, &format!("{path}/confirm")))
            .bearer_auth(key)
            .form(&[
                ("payment_method", "pm_card_visa"),
                ("return_url", "https://example.com/"),
            ])
            .send()
            .await;
        drop(confirmed);
        let seen: Value = stage
            .calm
            .get(stage.url(STRIPE, &path))
            .bearer_auth(key)
            .send()
            .await?
            .json()
            .await?;
        if seen["status"] == "succeeded" {
            Ok(())
        } else {
            bail!("the card was not charged: {seen}")
        }
    })
    .await
}

/// Does it until it succeeds.
pub async fn again<T, W>(what: &str, attempt: impl Fn() -> W) -> Result<T>
where
    W: Future<Output = Result<T>>,
{
    let until = Instant::now() + STEP_WITHIN;
    let mut wait = Duration::from_millis(50);
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > until => {
                return Err(error.context(format!("{what} was in vain")));
            }
            Err(_) => tokio::time::sleep(wait).await,
        }
        wait = (wait * 2).min(Duration::from_secs(1));
    }
}

/// Waits until every purchase and every deployment has ended; gives how many purchases have not.
pub async fn rest(stage: &Stage, orders: &[Order], within: Duration) -> Result<usize> {
    let until = Instant::now() + within;
    let mut last = String::new();
    loop {
        let (seen, open, deployments) = again("reading the read models", || async {
            let mut database = PgConnection::connect(stage.stack.database_url()).await?;
            let counts: (i64, i64, i64) = sqlx::query_as(
                "SELECT (SELECT count(*) FROM purchases),
                        (SELECT count(*) FROM purchases
                          WHERE state NOT IN ('settled', 'refunded', 'not_paid', 'lost')
                             OR EXISTS (SELECT 1 FROM timeline t WHERE t.correlation = purchases.id
                                   AND t.type LIKE '%.CompensationRequested'
                                   AND NOT EXISTS (SELECT 1 FROM timeline s
                                         WHERE s.correlation = purchases.id
                                           AND s.type LIKE '%.CompensationSettled'))),
                        (SELECT count(*) FROM deployments WHERE state NOT IN ('created', 'cancelled', 'failed'))
                        + (SELECT count(*) FROM deposits WHERE state IN ('unmatched', 'returning', 'set_aside'))",
            )
            .fetch_one(&mut database)
            .await?;
            database.close().await?;
            Ok(counts)
        })
        .await?;
        let seen = usize::try_from(seen)?;
        if seen == orders.len() && open == 0 && deployments == 0 {
            return Ok(0);
        }
        let now = format!("{seen} purchases, {open} open; {deployments} deployments open");
        if now != last {
            stage.say(&now);
            last = now;
        }
        if Instant::now() > until {
            return Ok(usize::try_from(open)?);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
