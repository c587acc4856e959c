//! What must hold in every world, counted at the counterparties and read from the log.

use crate::balances::{self, Readings};
use crate::broker::Stored;
use crate::counts::{Charge, Counts};
use crate::deployed::{self, Deployed};
use crate::newcomers::{self, Newcomer};
use crate::script::Script;
use crate::stellar::Stellar;
use crate::stripe::Stripe;
use crate::tfchain::{FEE, Holds, Ledger};
use crate::world::Fixture;
use events::deployments::DeploymentEvent;
use events::deposits::{CreditReason, DepositEvent};
use events::envelope::Envelope;
use events::ids::{DeploymentId, EventId, PurchaseId, TwinId, UserId};
use events::purchases::{Funding, PurchaseEvent, PurchaseOutcome};
use events::schema::EventSet;
use events::users::UserEvent;
use invariants::{Observed, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// The books of a world.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// By purchase.
    pub purchases: BTreeMap<PurchaseId, Counts>,
    /// What was appended.
    pub appends: Vec<invariants::Append>,
    /// What TFChain holds.
    pub chain: Holds,
    /// Who wants a twin, as the log has them.
    pub newcomers: BTreeMap<UserId, Newcomer>,
    /// How many there are.
    pub strangers: usize,
    /// Batches of which the log says that they came to be.
    pub batches: usize,
    /// What the log says of deployments.
    pub deployed: BTreeMap<DeploymentId, Deployed>,
    /// What it says of users' balances.
    pub balances: BTreeMap<UserId, Readings>,
    /// Effects on Stellar that no purchase explains.
    pub unexplained: Vec<String>,
    /// Calls that left a process which had not proven that the work is its own.
    pub unproven: Vec<String>,
    /// The sums.
    pub sums: invariants::Books,
    /// Records in the log.
    pub records: usize,
    /// Buyers whose order is not even in the log.
    pub buyers: usize,
    /// Deposits by id.
    pub deposits: BTreeMap<String, Seen>,
    /// Deposits that are not in the log yet.
    pub unseen: usize,
    /// USDC that is set aside for us and neither claimed nor given up.
    pub set_aside: BTreeSet<String>,
    /// Returns and claims that were asked for and have no outcome.
    pub open_returns: BTreeSet<EventId>,
    /// Credit by twin: added and spent.
    pub credits: BTreeMap<TwinId, (i64, i64)>,
    /// Returns as recorded, by the hash of their transaction.
    returns: BTreeMap<String, (String, Option<PurchaseId>)>,
}

/// A deposit as the log has it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What came.
    pub amount: i64,
    /// Hash of its transaction.
    pub transaction: String,
    /// Whether it waits for an operator.
    pub waits: bool,
    /// Whose credit it was offered to, less what was refused.
    pub credited: i64,
    /// What went back of it, as the ledger has it.
    pub back: i64,
}

impl Books {
    /// Reads them.
    ///
    /// # Errors
    /// When an event cannot be read.
    pub fn read(
        all: &[Stored],
        fixture: &Fixture,
        stripe: &Stripe,
        stellar: &Stellar,
        chain: &Ledger,
        usdc: &str,
        script: &Script,
    ) -> anyhow::Result<Self> {
        let holds = chain.holds();
        let mut books = Self {
            records: all.len(),
            buyers: script.buyers.len(),
            strangers: if script.wire {
                script.newcomers.len()
            } else {
                0
            },
            sums: invariants::Books {
                usdc_after: paid(stellar, usdc)
                    - back(stellar, usdc)
                    - stellar.swaps().iter().map(|s| s.usdc).sum::<i64>(),
                deposited: paid(stellar, usdc),
                sent_back: back(stellar, usdc),
                tft_after: stellar.treasury_tft(),
                to_bridge: stellar.bridge_payments().iter().map(|p| p.amount).sum(),
                from_bridge: holds.returns.values().sum(),
                ..invariants::Books::default()
            },
            ..Self::default()
        };
        let mut seen: BTreeSet<EventId> = BTreeSet::new();
        let mut open: BTreeMap<EventId, PurchaseId> = BTreeMap::new();
        let mut by_hash: BTreeMap<String, PurchaseId> = BTreeMap::new();
        for stored in all {
            // What nobody can read is no event.
            let Ok(envelope) = Envelope::read(Some(&stored.append.headers)) else {
                continue;
            };
            books.appends.push(invariants::Append {
                topic: stored.topic.clone(),
                id: envelope.id.to_string(),
                kind: format!("at {}:{}", stored.partition, stored.offset),
                source: envelope.source.clone(),
            });
            if !seen.insert(envelope.id) {
                continue;
            }
            match stored.topic.as_str() {
                "purchases" => {
                    let event = fixture.purchases.decode(Some(&stored.append.payload))?;
                    let Ok(purchase) = envelope.subject.parse::<PurchaseId>() else {
                        continue;
                    };
                    books.purchase(purchase, &event, envelope.id, &mut open, &mut by_hash);
                }
                "deposits" => {
                    let event = fixture.deposits.decode(Some(&stored.append.payload))?;
                    books.of_deposits(&event, &envelope, usdc);
                }
                "deployments" => {
                    let event = fixture.deployments.decode(Some(&stored.append.payload))?;
                    books.deployment(&event, envelope.id);
                }
                UserEvent::TOPIC => {
                    let event = fixture.users.decode(Some(&stored.append.payload))?;
                    newcomers::take(&mut books.newcomers, &event, envelope.id);
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
                books.sums.charged += intent.amount.minor;
                let back: i64 = intent.refunds.iter().sum();
                books.sums.refunded += back + intent.outside;
                counts.charges.push(Charge {
                    taken: intent.taken(),
                    intent: intent.id,
                    received: intent.amount.minor,
                    back,
                    outside: intent.outside,
                });
            }
        }
        books.returned(stellar, usdc);
        let came = stellar.deposits().into_iter().map(|(id, ..)| id);
        books.unseen = came
            .chain(stellar.asides())
            .filter(|id| !books.deposits.contains_key(id))
            .count();
        for swap in stellar.swaps() {
            books.explain(&by_hash, &swap.hash, "swap", |c| {
                c.swapped.1 += swap.tft;
                c.cost.1 += swap.usdc;
            });
        }
        for payment in stellar.bridge_payments() {
            books.explain(&by_hash, &payment.hash, "bridge payment", |c| {
                c.payments += 1;
            });
        }
        for hash in holds.returns.keys() {
            books.explain(&by_hash, hash, "return", |c| c.returns += 1);
        }
        for (hash, amount) in &holds.mints {
            books.explain(&by_hash, hash, "mint", |c| c.mints += 1);
            if *amount <= 0 {
                books
                    .unexplained
                    .push(format!("mint of {amount}: less than {FEE} was sent"));
            }
        }
        books.chain = holds;
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
            PurchaseEvent::CompensationSettled(e) => {
                open.remove(&e.request_id);
                self.sums.kept -= e.amount.minor;
            }
            PurchaseEvent::PurchaseRequested(e) => {
                counts.charge = e.charge.minor;
                counts.swapped.0 = e.swap_tft.minor();
                counts.cost.0 = e.usdc_cap.minor();
                if e.funding == Funding::Usdc {
                    counts.usdc_due = e.usdc_due.map_or(0, events::money::Amount::minor);
                }
            }
            PurchaseEvent::PurchaseFunded(e) => counts.usdc.0 += e.amount.minor(),
            PurchaseEvent::PurchaseAccounted(e) => {
                self.sums.credit_due += e.leftover.minor();
                counts.accounted = Some((e.usdc_spent.minor(), e.leftover.minor()));
            }
            PurchaseEvent::UsdcCompensationRequested(e) => {
                let without = e.portions.iter().filter(|p| p.deposit_id.is_none());
                self.sums.credit_due += without.map(|p| p.amount.minor()).sum::<i64>();
            }
            PurchaseEvent::StripeEventReceived(e) if e.event_type == "payment_intent.succeeded" => {
                self.sums.kept += e.amount_received.unwrap_or_default();
            }
            PurchaseEvent::StripeEventReceived(e)
                if e.event_type == "refund.created" && e.request_id.is_none() =>
            {
                self.sums.kept -= e.amount.unwrap_or_default();
            }
            PurchaseEvent::LossBooked(e) if e.reason == "refunded_outside" => {
                counts.lost += e.amount.minor;
            }
            PurchaseEvent::LossBooked(e) if e.reason == "dispute_lost" => {
                *counts.disputed.entry(e.intent_id.clone()).or_default() += e.amount.minor;
            }
            PurchaseEvent::UserPaid(e) => counts.paid_by = Some(e.intent_id.clone()),
            PurchaseEvent::HandoffReturned(e) => self.sums.returned += e.amount.minor(),
            PurchaseEvent::CompensationFailed(e) => drop(open.remove(&e.request_id)),
            PurchaseEvent::SwapFailed(e) => drop(open.remove(&e.request_id)),
            PurchaseEvent::HandoffFailed(e) => drop(open.remove(&e.request_id)),
            PurchaseEvent::SwapCompleted(e) => {
                open.remove(&e.request_id);
                self.sums.swap_tft += e.tft.minor();
                self.sums.swap_usdc += e.usdc_spent.minor();
                by_hash.insert(e.transaction.clone(), purchase);
            }
            PurchaseEvent::TftSentToBridge(e) => {
                open.remove(&e.request_id);
                self.sums.handed_off += e.amount.minor();
                by_hash.insert(e.transaction.clone(), purchase);
            }
            PurchaseEvent::PurchaseEnded(e) => counts.outcomes.push(match e.outcome {
                PurchaseOutcome::Settled => Outcome::Settled,
                PurchaseOutcome::Refunded => Outcome::Refunded,
                PurchaseOutcome::NotPaid => Outcome::NotPaid,
                PurchaseOutcome::Lost => Outcome::Lost,
            }),
            PurchaseEvent::PurchaseAlarmed(e) => {
                counts.alarms.insert(e.alarm.clone());
            }
            _ => {}
        }
    }

    fn of_deposits(&mut self, event: &DepositEvent, envelope: &Envelope, usdc: &str) {
        match event {
            DepositEvent::PaymentReceived(e) => {
                let seen = self.deposits.entry(e.deposit_id.clone()).or_default();
                seen.amount = e.amount;
                seen.transaction.clone_from(&e.transaction);
                if e.asset == usdc {
                    self.sums.deposits += e.amount;
                }
            }
            // It is no deposit yet: nothing of it may be credit, and nothing may go back.
            DepositEvent::ClaimableBalanceCreated(e) => {
                let seen = self.deposits.entry(e.deposit_id.clone()).or_default();
                seen.transaction.clone_from(&e.transaction);
                if e.asset == usdc {
                    self.set_aside.insert(e.deposit_id.clone());
                }
            }
            DepositEvent::ClaimRequested(_) => drop(self.open_returns.insert(envelope.id)),
            DepositEvent::ClaimFailed(e) => drop(self.open_returns.remove(&e.request_id)),
            DepositEvent::BalanceClaimed(e) => {
                self.open_returns.remove(&e.request_id);
                self.set_aside.remove(&e.deposit_id);
                let seen = self.deposits.entry(e.deposit_id.clone()).or_default();
                seen.amount = e.amount;
                self.sums.deposits += e.amount;
            }
            DepositEvent::BalanceLapsed(e) => {
                self.set_aside.remove(&e.deposit_id);
                self.deposits.entry(e.deposit_id.clone()).or_default().waits = false;
            }
            DepositEvent::DepositUnmatched(e) if !e.from.is_empty() => {
                self.deposits.entry(e.deposit_id.clone()).or_default().waits = true;
            }
            DepositEvent::UsdcDeposited(e) => {
                let seen = self.deposits.entry(e.deposit_id.clone()).or_default();
                seen.waits = false;
                seen.credited += e.amount.minor();
                self.sums.credit_due += e.amount.minor();
            }
            DepositEvent::CreditBooked(e) => {
                let (added, _) = self.credits.entry(e.twin_id).or_default();
                *added += e.amount.minor();
                self.sums.credited += e.amount.minor();
                if let (CreditReason::Refund, Some(purchase)) = (e.reason, e.purchase_id) {
                    self.purchases.entry(purchase).or_default().usdc.1 += e.amount.minor();
                }
            }
            DepositEvent::CreditRefused(e) if envelope.subject == e.deposit_id => {
                let seen = self.deposits.entry(e.deposit_id.clone()).or_default();
                seen.credited -= e.amount.minor();
                self.sums.credit_due -= e.amount.minor();
            }
            DepositEvent::CreditRefused(e) => {
                let (added, _) = self.credits.entry(e.twin_id).or_default();
                *added -= e.amount.minor();
                self.sums.credited -= e.amount.minor();
            }
            DepositEvent::FundsGranted(e) => {
                let (_, spent) = self.credits.entry(e.twin_id).or_default();
                *spent += e.amount.minor();
            }
            DepositEvent::DepositReturnRequested(e) => {
                self.open_returns.insert(envelope.id);
                if e.purchase_id.is_none() {
                    self.deposits.entry(e.deposit_id.clone()).or_default().waits = false;
                }
            }
            DepositEvent::DepositReturnFailed(e) => {
                self.open_returns.remove(&e.request_id);
            }
            DepositEvent::DepositReturned(e) => {
                self.open_returns.remove(&e.request_id);
                self.returns
                    .insert(e.transaction.clone(), (e.deposit_id.clone(), e.purchase_id));
            }
            _ => {}
        }
    }

    /// Counts on the ledger what went back, and to whom.
    fn returned(&mut self, stellar: &Stellar, usdc: &str) {
        for back in stellar.paid_back() {
            let Some((deposit, purchase)) = self.returns.get(&back.hash) else {
                self.unexplained.push(format!("return {}", back.hash));
                continue;
            };
            if back.asset == usdc {
                self.sums.returns += back.amount;
            }
            let seen = self.deposits.entry(deposit.clone()).or_default();
            seen.back += back.amount;
            if seen.transaction != back.answers {
                self.unexplained
                    .push(format!("return {} answers {}", back.hash, back.answers));
            }
            if let Some(purchase) = purchase {
                self.purchases.entry(*purchase).or_default().usdc.1 += back.amount;
            }
        }
    }

    fn deployment(&mut self, event: &DeploymentEvent, id: EventId) {
        if let DeploymentEvent::DeploymentRequested(e) = event
            && let Some(purchase) = e.waits_for
        {
            let counts = self.purchases.entry(purchase).or_default();
            counts.deployments.push(e.deployment_id);
        }
        if let DeploymentEvent::BatchRequested(e) = event
            && let Some(purchase) = e.waits_for
        {
            let counts = self.purchases.entry(purchase).or_default();
            let members = e.members.iter().map(|member| member.deployment_id);
            counts.deployments.extend(members);
        }
        self.batches += usize::from(matches!(event, DeploymentEvent::BatchCreated(_)));
        deployed::take(&mut self.deployed, event, id);
        balances::take(&mut self.balances, event, id);
    }
}

fn paid(stellar: &Stellar, usdc: &str) -> i64 {
    let all = stellar.deposits();
    let ours = all.iter().filter(|(_, asset, _)| asset == usdc);
    ours.map(|(.., amount)| amount).sum()
}

fn back(stellar: &Stellar, usdc: &str) -> i64 {
    let all = stellar.paid_back();
    let ours = all.iter().filter(|back| back.asset == usdc);
    ours.map(|back| back.amount).sum()
}

/// Whether nothing is under way any more.
#[must_use]
pub fn at_rest(books: &Books) -> bool {
    let delivering = [Outcome::Settled, Outcome::Refunded, Outcome::Lost];
    books.purchases.len() >= books.buyers
        && books.unseen == 0
        && books.open_returns.is_empty()
        && books.set_aside.is_empty()
        && books.deposits.values().all(|seen| !seen.waits)
        && books.sums.credited == books.sums.credit_due
        && books.sums.charged - books.sums.refunded == books.sums.kept
        && books.deployed.values().all(Deployed::at_rest)
        && books.balances.values().all(Readings::at_rest)
        && books.newcomers.len() >= books.strangers
        && books.newcomers.values().all(Newcomer::at_rest)
        && deployed::told(&books.deployed, &books.chain.contracts)
        && books.purchases.values().all(|c| {
            let purchase = c.observed("", books);
            let outcome = c.outcomes.first();
            (outcome.is_some() || purchase.handed_over())
                && !c.open
                && (outcome.is_none()
                    || c.deployments
                        .iter()
                        .all(|id| books.deployed.get(id).is_some_and(Deployed::has_ended)))
                && (!outcome.is_some_and(|o| delivering.contains(o))
                    || c.payments == c.mints + c.returns)
                && (outcome != Some(&Outcome::NotPaid)
                    || purchase.charged_minor
                        == purchase.refunded_minor + purchase.disputed_beside_minor)
                && (outcome != Some(&Outcome::Settled)
                    || purchase.outside_minor == 0
                    || purchase.charged_minor - purchase.refunded_minor + purchase.lost_minor
                        >= c.charge)
                && purchase.taken_minor <= purchase.disputed_minor + purchase.disputed_beside_minor
        })
}

/// What must not be: the rules that the crash harness holds the real system to, and that no
/// request is left open.
#[must_use]
pub fn violations(books: &Books) -> Vec<String> {
    let observed = Observed {
        purchases: books
            .purchases
            .iter()
            .map(|(id, counts)| counts.observed(&id.to_string(), books))
            .collect(),
        unaccounted: books.unexplained.clone(),
        books: books.sums.clone(),
        appends: books.appends.clone(),
        ..Observed::default()
    };
    let mut wrong: Vec<String> = observed
        .violations()
        .iter()
        .map(ToString::to_string)
        .collect();
    for (purchase, counts) in &books.purchases {
        if counts.open {
            wrong.push(format!("{purchase}: a request is still open"));
        }
        let (asked, made) = counts.intents;
        if made > asked {
            wrong.push(format!(
                "{purchase}: {made} PaymentIntents, {asked} were asked for"
            ));
        }
    }
    for (id, seen) in &books.deposits {
        if seen.back > seen.amount {
            wrong.push(format!(
                "{} of {} went back of deposit {id}",
                seen.back, seen.amount
            ));
        }
        if seen.credited > seen.amount {
            wrong.push(format!(
                "{} of {} is credit of deposit {id}",
                seen.credited, seen.amount
            ));
        }
        if seen.waits {
            wrong.push(format!("deposit {id} still waits for the operator"));
        }
    }
    for (twin, (added, spent)) in &books.credits {
        if spent > added {
            wrong.push(format!(
                "{spent} of {added} was spent of the credit of twin {twin}"
            ));
        }
    }
    if books.unseen > 0 || !books.open_returns.is_empty() || !books.set_aside.is_empty() {
        wrong.push(format!(
            "{} deposits are not in the log, {} returns and claims are open, {} balances are neither claimed nor given up",
            books.unseen,
            books.open_returns.len(),
            books.set_aside.len()
        ));
    }
    wrong.extend(deployed::violations(
        &books.deployed,
        &books.chain.contracts,
    ));
    wrong.extend(balances::violations(&books.balances));
    wrong.extend(books.unproven.clone());
    wrong.extend(newcomers::violations(
        &books.newcomers,
        books.strangers,
        &books.chain,
    ));
    if books.purchases.len() < books.buyers {
        wrong.push(format!(
            "{} orders, {} purchases",
            books.buyers,
            books.purchases.len()
        ));
    }
    wrong
}
