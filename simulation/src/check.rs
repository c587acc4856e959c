//! What must hold in every world, counted at the counterparties and read from the log.

use crate::broker::Stored;
use crate::chain::{Chain, FEE};
use crate::script::Script;
use crate::stellar::Stellar;
use crate::stripe::Stripe;
use events::codec::Codec;
use events::deployments::DeploymentEvent;
use events::envelope::Envelope;
use events::ids::{EventId, PurchaseId};
use events::purchases::{PurchaseEvent, PurchaseOutcome};
use std::collections::{BTreeMap, BTreeSet};

/// What is counted of a purchase.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// How it ended.
    pub outcome: Option<PurchaseOutcome>,
    /// Alarms that were raised.
    pub alarms: BTreeSet<String>,
    /// PaymentIntents that were asked for, and that there are.
    pub intents: (usize, usize),
    /// PaymentIntents that were paid: received and refunded, in minor units.
    pub charges: Vec<(i64, i64)>,
    /// Swaps that landed.
    pub swaps: usize,
    /// Payments that reached the bridge.
    pub payments: usize,
    /// What the bridge sent back.
    pub returns: usize,
    /// What the bridge minted.
    pub mints: usize,
    /// What the events say was bought, spent, sent.
    pub recorded: (i64, i64, i64),
    /// Deployments that wait for it, and how each ended.
    pub deployments: BTreeMap<String, Option<bool>>,
    /// Whether it has open requests.
    pub open: bool,
}

impl Counts {
    /// Whether an alarm has left the rest to a person. A dispute alone has not: it may be won.
    fn handed_over(&self) -> bool {
        ["dispute_lost", "refunded_outside", "refund_failed"]
            .iter()
            .any(|alarm| self.alarms.contains(*alarm))
    }
}

/// The books of a world.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// By purchase.
    pub purchases: BTreeMap<PurchaseId, Counts>,
    /// Events of ours that stand more than once.
    pub doubled: Vec<String>,
    /// Contracts by node and hash.
    pub contracts: BTreeMap<(u32, String), u32>,
    /// Effects on Stellar that no purchase explains.
    pub unexplained: Vec<String>,
    /// TFT that the treasury holds.
    pub treasury_tft: i64,
    /// USDC that left the treasury.
    pub usdc_spent: i64,
    /// Records in the log.
    pub records: usize,
    /// Buyers whose order is not even in the log.
    pub buyers: usize,
}

impl Books {
    /// Reads them.
    ///
    /// # Errors
    /// When an event cannot be read.
    pub fn read(
        all: &[Stored],
        purchases: &Codec<PurchaseEvent>,
        deployments: &Codec<DeploymentEvent>,
        stripe: &Stripe,
        stellar: &Stellar,
        chain: &Chain,
        script: &Script,
    ) -> anyhow::Result<Self> {
        let mut books = Self {
            records: all.len(),
            buyers: script.buyers.len(),
            contracts: chain.made(),
            treasury_tft: stellar.treasury_tft(),
            usdc_spent: stellar.swaps().iter().map(|s| s.usdc).sum(),
            ..Self::default()
        };
        let mut seen: BTreeMap<EventId, u32> = BTreeMap::new();
        let mut open: BTreeMap<EventId, PurchaseId> = BTreeMap::new();
        let mut by_hash: BTreeMap<String, PurchaseId> = BTreeMap::new();
        for stored in all {
            // What nobody can read is no event.
            let Ok(envelope) = Envelope::read(Some(&stored.append.headers)) else {
                continue;
            };
            let times = seen.entry(envelope.id).or_default();
            *times += 1;
            if *times > 1 {
                if envelope.source != "/gridway/api" {
                    books.doubled.push(format!(
                        "{} of {} at {}:{}:{}",
                        envelope.id, envelope.source, stored.topic, stored.partition, stored.offset
                    ));
                }
                continue;
            }
            match stored.topic.as_str() {
                "purchases" => {
                    let event = purchases.decode(Some(&stored.append.payload))?;
                    let Ok(purchase) = envelope.subject.parse::<PurchaseId>() else {
                        continue;
                    };
                    books.purchase(purchase, &event, envelope.id, &mut open, &mut by_hash);
                }
                "deployments" => {
                    let event = deployments.decode(Some(&stored.append.payload))?;
                    books.deployment(&event);
                }
                _ => {}
            }
        }
        for purchase in open.values() {
            books.purchases.entry(*purchase).or_default().open = true;
        }
        for intent in stripe.intents() {
            let counts = books.purchases.entry(intent.purchase).or_default();
            counts.intents.1 += 1;
            if intent.paid {
                counts
                    .charges
                    .push((intent.amount.minor, intent.refunds.iter().sum()));
            }
        }
        for swap in stellar.swaps() {
            books.explain(&by_hash, &swap.hash, "swap", |c| c.swaps += 1);
        }
        for payment in stellar.bridge_payments() {
            books.explain(&by_hash, &payment.hash, "bridge payment", |c| {
                c.payments += 1;
            });
        }
        for hash in chain.returns().keys() {
            books.explain(&by_hash, hash, "return", |c| c.returns += 1);
        }
        for (hash, (_, amount)) in chain.mints() {
            books.explain(&by_hash, &hash, "mint", |c| c.mints += 1);
            if amount <= 0 {
                books
                    .unexplained
                    .push(format!("mint of {amount}: less than {FEE} was sent"));
            }
        }
        Ok(books)
    }

    fn explain(
        &mut self,
        by_hash: &BTreeMap<String, PurchaseId>,
        hash: &str,
        what: &str,
        count: impl Fn(&mut Counts),
    ) {
        match by_hash.get(hash) {
            Some(purchase) => count(self.purchases.entry(*purchase).or_default()),
            None => self.unexplained.push(format!("{what} {hash}")),
        }
    }

    fn purchase(
        &mut self,
        purchase: PurchaseId,
        event: &PurchaseEvent,
        id: EventId,
        open: &mut BTreeMap<EventId, PurchaseId>,
        by_hash: &mut BTreeMap<String, PurchaseId>,
    ) {
        let counts = self.purchases.entry(purchase).or_default();
        if matches!(event, PurchaseEvent::PaymentIntentRequested(_)) {
            counts.intents.0 += 1;
        }
        match event {
            PurchaseEvent::PaymentIntentRequested(_)
            | PurchaseEvent::SwapRequested(_)
            | PurchaseEvent::HandoffRequested(_)
            | PurchaseEvent::CompensationRequested(_) => {
                open.insert(id, purchase);
            }
            PurchaseEvent::PaymentIntentCreated(e) => drop(open.remove(&e.request_id)),
            PurchaseEvent::PaymentIntentFailed(e) => drop(open.remove(&e.request_id)),
            PurchaseEvent::CompensationSettled(e) => drop(open.remove(&e.request_id)),
            PurchaseEvent::CompensationFailed(e) => drop(open.remove(&e.request_id)),
            PurchaseEvent::SwapFailed(e) => drop(open.remove(&e.request_id)),
            PurchaseEvent::HandoffFailed(e) => drop(open.remove(&e.request_id)),
            PurchaseEvent::SwapCompleted(e) => {
                open.remove(&e.request_id);
                counts.recorded.0 += e.tft.minor();
                counts.recorded.1 += e.usdc_spent.minor();
                by_hash.insert(e.transaction.clone(), purchase);
            }
            PurchaseEvent::TftSentToBridge(e) => {
                open.remove(&e.request_id);
                counts.recorded.2 += e.amount.minor();
                by_hash.insert(e.transaction.clone(), purchase);
            }
            PurchaseEvent::PurchaseEnded(e) => counts.outcome = Some(e.outcome),
            PurchaseEvent::PurchaseAlarmed(e) => {
                counts.alarms.insert(e.alarm.clone());
            }
            _ => {}
        }
    }

    fn deployment(&mut self, event: &DeploymentEvent) {
        let of = |counts: &mut BTreeMap<PurchaseId, Counts>, id: String, created: bool| {
            for counts in counts.values_mut() {
                if let Some(ended) = counts.deployments.get_mut(&id) {
                    *ended = Some(created);
                }
            }
        };
        match event {
            DeploymentEvent::DeploymentRequested(e) => {
                if let Some(purchase) = e.waits_for {
                    let counts = self.purchases.entry(purchase).or_default();
                    counts.deployments.insert(e.deployment_id.to_string(), None);
                }
            }
            DeploymentEvent::DeploymentCreated(e) => {
                of(&mut self.purchases, e.deployment_id.to_string(), true);
            }
            DeploymentEvent::DeploymentFailed(e) => {
                of(&mut self.purchases, e.deployment_id.to_string(), false);
            }
            _ => {}
        }
    }
}

/// Whether nothing is under way any more.
#[must_use]
pub fn at_rest(books: &Books) -> bool {
    books.purchases.len() >= books.buyers
        && books.purchases.values().all(|c| {
            let ended = c.outcome.is_some() || c.handed_over();
            let whole = c.outcome != Some(PurchaseOutcome::Settled)
                && c.outcome != Some(PurchaseOutcome::Refunded);
            ended
                && !c.open
                && (c.outcome.is_none() || c.deployments.values().all(Option::is_some))
                && (whole || c.payments == c.mints + c.returns)
                && (c.outcome != Some(PurchaseOutcome::NotPaid)
                    || c.charges.iter().all(|(got, back)| got == back))
        })
}

/// What must not be.
#[must_use]
pub fn violations(books: &Books) -> Vec<String> {
    let mut wrong: Vec<String> = books
        .doubled
        .iter()
        .map(|d| format!("appended twice: {d}"))
        .collect();
    wrong.extend(
        books
            .unexplained
            .iter()
            .map(|u| format!("no purchase explains {u}")),
    );
    for ((node, hash), times) in &books.contracts {
        if *times != 1 {
            wrong.push(format!("{times} contracts {hash} on node {node}"));
        }
    }
    let (mut bought, mut spent, mut sent) = (0, 0, 0);
    for (purchase, counts) in &books.purchases {
        wrong.extend(
            of_purchase(counts)
                .into_iter()
                .map(|w| format!("{purchase}: {w}")),
        );
        bought += counts.recorded.0;
        spent += counts.recorded.1;
        sent += counts.recorded.2;
    }
    if spent != books.usdc_spent {
        wrong.push(format!(
            "the log says {spent} USDC were spent, the treasury {}",
            books.usdc_spent
        ));
    }
    let returned: i64 = books.treasury_tft - (bought - sent);
    if returned < 0 {
        wrong.push(format!("{} TFT are missing from the treasury", -returned));
    }
    if books.purchases.len() < books.buyers {
        wrong.push(format!(
            "{} orders, {} purchases",
            books.buyers,
            books.purchases.len()
        ));
    }
    wrong
}

fn of_purchase(c: &Counts) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{what}: {c:?}"));
        }
    };
    let received: i64 = c.charges.iter().map(|(got, _)| got).sum();
    let refunded: i64 = c.charges.iter().map(|(_, back)| back).sum();
    let kept = c.charges.iter().filter(|(got, back)| got > back).count();
    must(
        c.outcome.is_some() || c.handed_over(),
        "lost: neither ended nor handed to a person",
    );
    must(!c.open, "a request is still open");
    must(
        c.intents.1 <= c.intents.0,
        "more PaymentIntents than were asked for",
    );
    must(c.swaps <= 1, "swapped more than once");
    must(c.mints <= 1, "minted more than once");
    must(
        c.payments <= c.returns + 1,
        "paid to the bridge more than once",
    );
    must(refunded <= received, "more refunded than received");
    must(
        c.mints == 0 || kept <= 1,
        "delivered once and kept more than one charge",
    );
    match c.outcome {
        Some(PurchaseOutcome::Settled) => {
            must(c.swaps == 1, "settled without one swap");
            must(c.mints == 1, "settled without one mint");
            must(kept == 1, "settled without one kept charge");
            must(
                c.deployments.values().all(|d| *d == Some(true)),
                "settled, but its deployment was not made",
            );
        }
        Some(PurchaseOutcome::Refunded) => {
            must(kept == 0, "refunded, but a charge was kept");
            must(c.mints == 0, "refunded and delivered");
        }
        Some(PurchaseOutcome::NotPaid) => {
            must(kept == 0, "not paid, but a charge was kept");
            must(c.swaps == 0, "swapped without a payment");
        }
        None => {}
        #[allow(unreachable_patterns, reason = "outcomes of newer schemas")]
        Some(_) => {}
    }
    wrong
}
