//! Counting, at the counterparties and in the log.

use super::deployed::Deployments;
use super::deposits::Deposits;
use super::shoppers::Order;
use super::stage::{HORIZON, STRIPE, Stage, TFCHAIN};
use crate::log::{Entry, Log};
use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use counterparties_stellar::{SecretKey, base};
use events::codec::Codec;
use events::deployments::DeploymentEvent;
use events::deposits::DepositEvent;
use events::purchases::{Funding, PurchaseEvent, PurchaseOutcome};
use events::registry::Registry;
use events::schema::EventSet;
use events::topics;
use events::users::UserEvent;
use invariants::{Append, Books, Observed, Outcome, Purchase};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What the treasury holds, in 10^-7 units.
#[derive(Debug, Clone, Copy)]
pub struct Holdings {
    usdc: i64,
    tft: i64,
}

fn treasury_account(stage: &Stage) -> Result<String> {
    let secret: SecretKey = stage
        .setting("GRIDWAY_TREASURY_SECRET")
        .parse()
        .ok()
        .context("the treasury's secret")?;
    Ok(secret.account().to_string())
}

/// Asks Horizon what the treasury holds.
pub async fn treasury(stage: &Stage) -> Result<Holdings> {
    let path = format!("/accounts/{}", treasury_account(stage)?);
    let account = stage.look(HORIZON, &path).await?;
    let held = |setting: &str| {
        let (code, issuer) = stage.setting(setting).split_once(':').unwrap_or_default();
        let lines = account["balances"].as_array();
        let line = lines.into_iter().flatten().find(|line| {
            line["asset_code"].as_str() == Some(code)
                && line["asset_issuer"].as_str() == Some(issuer)
        });
        let balance = line.and_then(|line| line["balance"].as_str());
        units(balance.unwrap_or("0"))
    };
    Ok(Holdings {
        usdc: held("GRIDWAY_USDC_ASSET")?,
        tft: held("GRIDWAY_TFT_ASSET")?,
    })
}

/// A decimal with seven places, in 10^-7 units.
pub fn units(text: &str) -> Result<i64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{places:0<7}");
    digits.parse().with_context(|| format!("the amount {text}"))
}

/// The log, read and sorted.
#[derive(Default)]
struct Told {
    appends: Vec<Append>,
    /// Lane account → partition and base.
    lanes: HashMap<String, (i32, i64)>,
    /// Partition and offset → the purchase whose request stands there.
    requests: HashMap<(i32, i64), String>,
    purchases: BTreeMap<String, Purchase>,
    deployments: Deployments,
    /// Swaps in a ledger, by purchase.
    swaps: BTreeMap<String, u32>,
    twins: BTreeMap<String, BTreeSet<String>>,
    books: Books,
    deposits: Deposits,
}

async fn read<E: EventSet>(codec: &Codec<E>, entry: &Entry) -> Result<E> {
    codec
        .decode_resolving(Some(&entry.payload))
        .await?
        .with_context(|| format!("{}:{}:{}", entry.topic, entry.partition, entry.offset))
}

impl Told {
    async fn read(stage: &Stage) -> Result<Self> {
        let brokers = stage.setting("GRIDWAY_KAFKA_BROKERS").to_owned();
        let entries = tokio::task::spawn_blocking(move || {
            let all: Vec<(&str, i32)> = topics::ALL
                .iter()
                .map(|topic| (topic.name, topic.partitions))
                .collect();
            Log::open(&brokers, &all, false)?.all()
        })
        .await??;
        stage.say(&format!("{} records in the log", entries.len()));
        let registry = Registry::new(stage.setting("GRIDWAY_REGISTRY_URL"))?;
        let purchases = Codec::<PurchaseEvent>::connect(&registry).await?;
        let deployments = Codec::<DeploymentEvent>::connect(&registry).await?;
        let users = Codec::<UserEvent>::connect(&registry).await?;
        let deposits = Codec::<DepositEvent>::connect(&registry).await?;
        let usdc = stage.setting("GRIDWAY_USDC_ASSET");
        let own = stage.setting("GRIDWAY_TREASURY_FUNDERS").split(',');
        let bridge = stage.setting("GRIDWAY_BRIDGE_ADDRESS");
        let mut told = Self {
            deposits: Deposits::new(own.chain([bridge])),
            ..Self::default()
        };
        let mut seen = BTreeSet::new();
        let mut paid = BTreeSet::new();
        for entry in &entries {
            let id = entry.envelope.id.to_string();
            told.appends.push(Append {
                topic: entry.topic.clone(),
                id: id.clone(),
                kind: entry.event_type.clone(),
                source: entry.envelope.source.clone(),
            });
            if !seen.insert((entry.topic.clone(), entry.partition, id)) {
                continue;
            }
            if entry.topic == topics::PURCHASES.name {
                let event = read(&purchases, entry).await?;
                told.purchase(entry, &event, &mut paid);
            } else if entry.topic == topics::DEPLOYMENTS.name {
                told.deployments.take(&read(&deployments, entry).await?);
            } else if entry.topic == topics::DEPOSITS.name {
                let event = read(&deposits, entry).await?;
                told.deposits
                    .take(entry, &event, &mut told.books, &mut told.purchases, usdc);
            } else if entry.topic == topics::USERS.name {
                match read(&users, entry).await? {
                    UserEvent::TwinRequested(e) => {
                        told.twins.entry(e.user_id.to_string()).or_default();
                    }
                    UserEvent::TwinCreated(e) => {
                        let twins = told.twins.entry(e.user_id.to_string()).or_default();
                        twins.insert(e.twin_id.to_string());
                    }
                    _ => {}
                }
            }
        }
        Ok(told)
    }

    fn purchase(&mut self, entry: &Entry, event: &PurchaseEvent, paid: &mut BTreeSet<String>) {
        let place = (entry.partition, entry.offset);
        match event {
            PurchaseEvent::LanesOpened(e) => {
                let base = u32::try_from(e.epoch).ok().and_then(|e| base(e).ok());
                for account in &e.accounts {
                    let lane = (entry.partition, base.unwrap_or(i64::MAX));
                    self.lanes.insert(account.clone(), lane);
                }
            }
            PurchaseEvent::PurchaseRequested(e) => {
                let id = e.purchase_id.to_string();
                let purchase = self.purchases.entry(id.clone()).or_default();
                (purchase.id, purchase.charge_minor) = (id, e.charge.minor);
                purchase.swap_wanted = e.swap_tft.minor();
                purchase.swap_aside = e.usdc_cap.minor();
                if e.funding == Funding::Usdc {
                    purchase.usdc_due = e.usdc_due.map_or(0, events::money::Amount::minor);
                }
            }
            PurchaseEvent::PurchaseFunded(e) => {
                let purchase = self.purchases.entry(e.purchase_id.to_string());
                purchase.or_default().usdc_paid += e.amount.minor();
            }
            PurchaseEvent::PurchaseAccounted(e) => {
                self.books.credit_due += e.leftover.minor();
                let purchase = self.purchases.entry(e.purchase_id.to_string());
                purchase.or_default().accounted = Some((e.usdc_spent.minor(), e.leftover.minor()));
            }
            PurchaseEvent::UsdcCompensationRequested(e) => {
                let without = e.portions.iter().filter(|p| p.deposit_id.is_none());
                self.books.credit_due += without.map(|p| p.amount.minor()).sum::<i64>();
            }
            PurchaseEvent::SwapRequested(e) => {
                self.requests.insert(place, e.purchase_id.to_string());
            }
            PurchaseEvent::HandoffRequested(e) => {
                self.requests.insert(place, e.purchase_id.to_string());
            }
            PurchaseEvent::SwapCompleted(e) => {
                self.books.swap_usdc += e.usdc_spent.minor();
                self.books.swap_tft += e.tft.minor();
            }
            PurchaseEvent::TftSentToBridge(e) => self.books.handed_off += e.amount.minor(),
            PurchaseEvent::HandoffReturned(e) => self.books.returned += e.amount.minor(),
            PurchaseEvent::StripeEventReceived(e) => {
                if e.event_type == "payment_intent.succeeded"
                    && let Some(intent) = &e.intent_id
                    && paid.insert(intent.clone())
                {
                    self.books.kept += e.amount_received.unwrap_or_default();
                }
            }
            PurchaseEvent::CompensationSettled(e) => self.books.kept -= e.amount.minor,
            PurchaseEvent::PurchaseEnded(e) => {
                let outcome = match e.outcome {
                    PurchaseOutcome::Settled => Outcome::Settled,
                    PurchaseOutcome::Refunded => Outcome::Refunded,
                    PurchaseOutcome::NotPaid => Outcome::NotPaid,
                    PurchaseOutcome::Lost => Outcome::Lost,
                };
                let purchase = self.purchases.entry(e.purchase_id.to_string());
                purchase.or_default().outcomes.push(outcome);
            }
            PurchaseEvent::LossBooked(e) if e.reason == "dispute_lost" => {
                let purchase = self.purchases.entry(e.purchase_id.to_string());
                purchase.or_default().disputed_minor += e.amount.minor;
            }
            PurchaseEvent::PurchaseAlarmed(e) => {
                let purchase = self.purchases.entry(e.purchase_id.to_string());
                purchase.or_default().alarms.push(e.alarm.clone());
            }
            _ => {}
        }
    }
}

/// Everything that the rules look at.
pub async fn observe(stage: &Stage, orders: &[Order], before: Holdings) -> Result<Observed> {
    let mut told = Told::read(stage).await?;
    let mut unaccounted = Vec::new();
    // An order that the log does not know of is lost: it shows as a purchase without an end.
    for order in orders {
        let purchase = told.purchases.entry(order.purchase.clone()).or_default();
        purchase.id.clone_from(&order.purchase);
    }
    stripe(stage, &mut told, &mut unaccounted).await?;
    let payments = stellar(stage, &mut told, &mut unaccounted).await?;
    tfchain(stage, &mut told, &payments, &mut unaccounted).await?;
    let in_parts = told.swaps.values().filter(|swaps| **swaps > 1).count();
    stage.say(&format!("{in_parts} purchases were bought in parts"));
    let after = treasury(stage).await?;
    let mut books = std::mem::take(&mut told.books);
    (books.usdc_before, books.tft_before) = (before.usdc, before.tft);
    (books.usdc_after, books.tft_after) = (after.usdc, after.tft);
    let twins = told.twins.iter();
    let twins = twins.map(|(user, twins)| (user.clone(), u32::try_from(twins.len()).unwrap_or(0)));
    let twins = twins.collect();
    Ok(Observed {
        purchases: told.purchases.into_values().collect(),
        unaccounted,
        books,
        appends: told.appends,
        twins,
    })
}

fn count(value: &Value) -> u32 {
    value
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(0)
}

async fn stripe(stage: &Stage, told: &mut Told, unaccounted: &mut Vec<String>) -> Result<()> {
    let counts = stage.look(STRIPE, "/_control/counts").await?;
    let dropped = counts["webhooks_dropped"].as_u64().unwrap_or(0);
    stage.say(&format!("{dropped} webhooks were never sent"));
    if dropped == 0 {
        stage.complain("every webhook was sent: nothing was left to the reconciler".to_owned());
    }
    for (id, seen) in counts["by_purchase"].as_object().into_iter().flatten() {
        let Some(purchase) = told.purchases.get_mut(id) else {
            unaccounted.push(format!(
                "PaymentIntents of {id}, which nobody ordered: {seen}"
            ));
            continue;
        };
        purchase.charges = count(&seen["succeeded"]);
        purchase.charged_minor = seen["charged_minor"].as_i64().unwrap_or(0);
        purchase.refunds = count(&seen["refunds"]);
        purchase.refunded_minor = seen["refunded_minor"].as_i64().unwrap_or(0);
        told.books.charged += purchase.charged_minor;
        told.books.refunded += purchase.refunded_minor;
    }
    Ok(())
}

/// Swaps, payments to the bridge, deposits and returns; gives the purchase of each payment, by its hash.
async fn stellar(
    stage: &Stage,
    told: &mut Told,
    unaccounted: &mut Vec<String>,
) -> Result<HashMap<String, String>> {
    let bridge = json!(stage.setting("GRIDWAY_BRIDGE_ADDRESS"));
    let treasury = treasury_account(stage)?;
    let mut payments = HashMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!(
            "/accounts/{treasury}/operations?order=asc&limit=200&join=transactions&cursor={cursor}"
        );
        let page = stage.look(HORIZON, &path).await?;
        let records = page["_embedded"]["records"].as_array().cloned();
        let records = records.unwrap_or_default();
        let Some(last) = records.last() else {
            return Ok(payments);
        };
        cursor = last["paging_token"]
            .as_str()
            .context("a paging token")?
            .to_owned();
        for record in &records {
            if record["type"] == "claim_claimable_balance" {
                let balance = record["balance_id"].as_str().unwrap_or_default();
                let path = format!("/claimable_balances/{balance}/operations?order=asc&limit=1");
                let created = &stage.look(HORIZON, &path).await?["_embedded"]["records"][0];
                told.deposits
                    .claimed(created, &mut told.books, unaccounted)?;
                continue;
            }
            let swap = record["type"] == "path_payment_strict_receive";
            let (out, back) = (record["to"] == bridge, record["from"] == bridge);
            if !(swap || out || back) {
                if told.deposits.counts(record, &treasury) {
                    let Told {
                        deposits,
                        books,
                        purchases,
                        ..
                    } = &mut *told;
                    deposits.landed(record, &treasury, books, purchases, unaccounted)?;
                }
                continue;
            }
            let transaction = &record["transaction"];
            let hash = record["transaction_hash"].as_str().unwrap_or_default();
            let amount = units(record["amount"].as_str().unwrap_or("0"))?;
            let of = if back {
                returned(transaction).and_then(|hash| payments.get(&hash).cloned())
            } else {
                requested(told, transaction)
            };
            if out {
                told.books.to_bridge += amount;
                payments.insert(hash.to_owned(), of.clone().unwrap_or_default());
            } else if back {
                told.books.from_bridge += amount;
            }
            let Some(purchase) = of.and_then(|id| told.purchases.get_mut(&id)) else {
                unaccounted.push(format!("{} {hash} on Stellar", record["type"]));
                continue;
            };
            if swap {
                *told.swaps.entry(purchase.id.clone()).or_default() += 1;
                purchase.swapped += amount;
                purchase.swap_cost += units(record["source_amount"].as_str().unwrap_or("0"))?;
            } else if out {
                purchase.bridge_payments += 1;
            } else {
                purchase.bridge_returns += 1;
            }
        }
    }
}

/// The purchase of the request that a lane's number points to.
fn requested(told: &Told, transaction: &Value) -> Option<String> {
    let (partition, base) = told.lanes.get(transaction["source_account"].as_str()?)?;
    let sequence: i64 = transaction["source_account_sequence"]
        .as_str()?
        .parse()
        .ok()?;
    let offset = sequence.checked_sub(*base)? - 1;
    told.requests.get(&(*partition, offset)).cloned()
}

/// The payment that a return's memo names.
fn returned(transaction: &Value) -> Option<String> {
    let memo = BASE64_STANDARD.decode(transaction["memo"].as_str()?).ok()?;
    Some(hex::encode(memo))
}

async fn tfchain(
    stage: &Stage,
    told: &mut Told,
    payments: &HashMap<String, String>,
    unaccounted: &mut Vec<String>,
) -> Result<()> {
    let counts = stage.look(TFCHAIN, "/_control/counts").await?;
    for (hash, times) in counts["by_stellar_tx"].as_object().into_iter().flatten() {
        let purchase = payments.get(hash).and_then(|id| told.purchases.get_mut(id));
        match purchase {
            Some(purchase) => purchase.mints += count(times),
            None => unaccounted.push(format!("{times} mints of {hash}")),
        }
    }
    for (purchase, contract) in told.deployments.contracts(&counts) {
        if let Some(purchase) = told.purchases.get_mut(&purchase) {
            purchase.deployments.push(contract);
        }
    }
    let (wrong, ends) = told.deployments.check(&counts);
    unaccounted.extend(wrong);
    stage.say(&format!("deployments: {ends}"));
    let recorded: usize = told.twins.values().map(BTreeSet::len).sum();
    if counts["twins"] != json!(recorded) {
        unaccounted.push(format!(
            "{} twins on TFChain, {recorded} recorded",
            counts["twins"]
        ));
    }
    Ok(())
}
