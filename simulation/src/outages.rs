//! Ten minutes without a counterparty: each of them, in each way in which it can be down, while
//! people go on buying.

use crate::broker::Stored;
use crate::net::{Call, Outage, Who};
use crate::script::{Buyer, Script, What};
use crate::trace::Trace;
use crate::world::{Fixture, Outcome, World, in_time};
use anyhow::Result;
use events::deployments::DeploymentEvent;
use events::envelope::Envelope;
use events::ids::{EventId, PurchaseId};
use events::purchases::{PurchaseEvent, PurchaseOutcome};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// When it goes.
const DOWN_AT: Duration = Duration::from_secs(150);
/// When it comes back.
const UP_AT: Duration = Duration::from_secs(750);
/// Meanwhile everybody's partitions are taken away and given back, so often and so far apart: who
/// comes back to a partition goes on with it.
const REASSIGNED: u32 = 8;
const REASSIGNED_EVERY: Duration = Duration::from_secs(53);
/// The last order.
const LAST_ORDER: Duration = Duration::from_secs(900);
/// One order in this many milliseconds.
const ORDER_EVERY: u64 = 4_000;
/// What hands may send while it is down: five calls until a process notices, the calls that are on
/// their way then, and probes that are fifteen seconds apart.
const WHILE_DOWN: usize = 80;
/// Steps of effects that a process may begin in the first second when the counterparty is back, or
/// when it starts carefully because it heard nothing for a minute.
const STEPS_AFTER: usize = 45;
/// As many more with each second.
const MORE_EACH_SECOND: usize = 25;
/// The standing limit, with what gathers in a quarter of a second.
const STANDING: usize = 250;
/// When everything that waited must have ended.
const DRAINED_WITHIN: Duration = Duration::from_secs(900);
/// Requests of the others, at least, on which the pace during the outage is judged.
const SAMPLES: usize = 10;

/// Runs every case and prints the closing line.
///
/// # Errors
/// When a world cannot be built.
pub fn run(fixture: &Fixture) -> Result<bool> {
    let (mut cases, mut passed) = (0, 0);
    println!(
        "{:<22} {:>11} {:>12} {:>14} {:>15}",
        "down for 10 minutes", "calls down", "first second", "drained after", "others' pace"
    );
    for who in Who::ALL {
        for outage in Outage::ALL {
            cases += 1;
            let seen = live(fixture, who, outage)?;
            let name = format!("{who:?}, {outage:?}");
            println!(
                "{name:<22} {:>11} {:>12} {:>12} s {:>6} → {:>4} s",
                seen.while_down,
                seen.first_second,
                seen.drained.as_secs(),
                format!("{:.1}", seen.pace.0),
                format!("{:.1}", seen.pace.1),
            );
            if seen.wrong.is_empty() {
                passed += 1;
            }
            for wrong in seen.wrong {
                println!("  wrong: {wrong}");
            }
        }
    }
    println!("outages: {cases} cases, {passed} passed");
    Ok(cases == passed)
}

/// What was seen in a world.
struct Seen {
    /// Calls of hands while it was down.
    while_down: usize,
    /// Calls in the second that begins with the first call that finds it back.
    first_second: usize,
    /// From the return to the end of the last purchase that was ordered before.
    drained: Duration,
    /// Median seconds of a request to the others, before and during the outage.
    pace: (f64, f64),
    wrong: Vec<String>,
}

fn live(fixture: &Fixture, who: Who, outage: Outage) -> Result<Seen> {
    let script = script();
    let mut kept = None;
    let outcome = in_time(async {
        let world = World::new(1, &script, fixture, &Trace::default())?.patient();
        world.network().count_calls();
        let (network, broker) = (world.network().clone(), world.broker.clone());
        tokio::spawn(async move {
            tokio::time::sleep(DOWN_AT).await;
            network.set_down(Some((who, outage)));
            for _ in 0..REASSIGNED {
                tokio::time::sleep(REASSIGNED_EVERY).await;
                broker.reassign();
            }
            let meanwhile = REASSIGNED_EVERY * REASSIGNED;
            tokio::time::sleep(UP_AT.saturating_sub(DOWN_AT + meanwhile)).await;
            network.set_down(None);
        });
        let mut processes = world.start_all(&script);
        let outcome = world.run(1, &script, &mut processes).await?;
        kept = Some((world.broker.all(), world.network().calls()));
        Ok(outcome)
    })?;
    let (log, calls) = kept.unwrap_or_default();
    judge(fixture, who, outcome, &log, &calls, script.buyers.len())
}

/// Orders at an even pace. Every second buyer takes minutes to pay, so that payments come in while
/// Stripe is down, too.
fn script() -> Script {
    let last = u64::try_from(LAST_ORDER.as_millis()).unwrap_or(u64::MAX);
    Script {
        buyers: (0..last / ORDER_EVERY)
            .map(|number| Buyer {
                pays_after: Some(if number.is_multiple_of(2) {
                    3_000
                } else {
                    60_000 + number * 37_000 % 500_000
                }),
                pays_all: false,
                ..Buyer::prompt(number * ORDER_EVERY, What::Node)
            })
            .collect(),
        mishaps: Vec::new(),
        poisons: Vec::new(),
        network: 0,
        tears: 0,
        doubts: 0,
        returns: 0,
        of_itself: 0,
        wire: false,
        troubles: Vec::new(),
        newcomers: Vec::new(),
    }
}

/// Whom a source asks, not a hand: it reads one thing after the other.
fn of_a_source(call: &Call) -> bool {
    matches!(
        call.what,
        "head" | "blocks" | "transaction" | "list events" | "deposits"
    )
}

/// Calls that a step of an effect makes at most: on Stellar a look reads the account, the last
/// ledger and the account's list.
const fn calls_of_a_step(who: Who) -> usize {
    match who {
        Who::Stripe | Who::Tfchain => 1,
        Who::Stellar => 3,
    }
}

/// Processes of hands that call it: two slots each.
const fn processes(who: Who) -> usize {
    match who {
        Who::Stripe | Who::Tfchain => 2,
        Who::Stellar => 4,
    }
}

fn judge(
    fixture: &Fixture,
    who: Who,
    outcome: Outcome,
    log: &[Stored],
    calls: &[Call],
    buyers: usize,
) -> Result<Seen> {
    let mut wrong = outcome.violations;
    for stored in log.iter().filter(|s| s.topic.contains("dead-letters")) {
        wrong.push(format!("dead-lettered: {}:{}", stored.topic, stored.offset));
    }
    let ours: Vec<&Call> = calls
        .iter()
        .filter(|c| Who::of(c.what) == who && !of_a_source(c))
        .collect();
    let while_down = ours
        .iter()
        .filter(|c| (DOWN_AT..UP_AT).contains(&c.at))
        .count();
    if while_down > WHILE_DOWN * processes(who) {
        wrong.push(format!(
            "{while_down} calls while it was down, at most {} are few",
            WHILE_DOWN * processes(who)
        ));
    }
    let after: Vec<Duration> = ours
        .iter()
        .map(|c| c.at)
        .filter(|at| *at >= UP_AT)
        .collect();
    let first_second = stampede(after, processes(who) * calls_of_a_step(who), &mut wrong);
    let log = Read::of(fixture, log)?;
    if log.ends.len() < buyers {
        wrong.push(format!("{buyers} bought, {} ended", log.ends.len()));
    }
    for (purchase, (end, _)) in &log.ends {
        if *end != PurchaseOutcome::Settled {
            wrong.push(format!("{purchase} was paid and ended as {end:?}"));
        }
    }
    let drained = log
        .ends
        .iter()
        .filter(|(purchase, _)| log.ordered.get(purchase).is_some_and(|at| *at < UP_AT))
        .map(|(_, (_, at))| at.saturating_sub(UP_AT))
        .max()
        .unwrap_or_default();
    if drained > DRAINED_WITHIN {
        wrong.push(format!(
            "what waited ended {} s after the return",
            drained.as_secs()
        ));
    }
    let pace = pace(&log, who, &mut wrong);
    Ok(Seen {
        while_down,
        first_second,
        drained,
        pace,
        wrong,
    })
}

/// Holds every second after the return to what may be called in it; gives the calls of the first.
/// `factor`: how many processes call it, and how often in a step.
fn stampede(mut calls: Vec<Duration>, factor: usize, wrong: &mut Vec<String>) -> usize {
    calls.sort_unstable();
    let (mut first_second, mut to) = (0, 0);
    for (from, at) in calls.iter().enumerate() {
        while calls
            .get(to)
            .is_some_and(|next| *next < *at + Duration::from_secs(1))
        {
            to += 1;
        }
        let in_second = to - from;
        if from == 0 {
            first_second = in_second;
        }
        let since_up = at.saturating_sub(UP_AT);
        let since = usize::try_from(since_up.as_secs()).unwrap_or(1_000);
        let bound = (STEPS_AFTER + since * MORE_EACH_SECOND).min(STANDING) * factor;
        if in_second > bound {
            let millis = since_up.as_millis();
            wrong.push(format!(
                "{in_second} calls in the second from {millis} ms after the return, at most {bound} are no stampede"
            ));
            break;
        }
    }
    first_second
}

/// The log's requests with their ends.
#[derive(Default)]
struct Read {
    ordered: BTreeMap<PurchaseId, Duration>,
    ends: BTreeMap<PurchaseId, (PurchaseOutcome, Duration)>,
    /// Requests to a counterparty: when they were made.
    requests: BTreeMap<EventId, (Who, Duration)>,
    outcomes: BTreeMap<EventId, Duration>,
}

impl Read {
    fn of(fixture: &Fixture, log: &[Stored]) -> Result<Self> {
        let mut read = Self::default();
        let mut seen = BTreeSet::new();
        let begun = log
            .iter()
            .filter_map(|s| Envelope::read(Some(&s.append.headers)).ok())
            .map(|e| e.time)
            .min();
        for stored in log {
            let Ok(envelope) = Envelope::read(Some(&stored.append.headers)) else {
                continue;
            };
            if !seen.insert(envelope.id) {
                continue;
            }
            let since = begun.map_or(0, |begun| envelope.time.millis_since(begun));
            let at = Duration::from_millis(u64::try_from(since).unwrap_or(0));
            match stored.topic.as_str() {
                "purchases" => {
                    let event = fixture.purchases.decode(Some(&stored.append.payload))?;
                    read.purchase(&event, envelope.id, at);
                }
                "deployments" => {
                    let event = fixture.deployments.decode(Some(&stored.append.payload))?;
                    read.deployment(&event, envelope.id, at);
                }
                _ => {}
            }
        }
        Ok(read)
    }

    fn purchase(&mut self, event: &PurchaseEvent, id: EventId, at: Duration) {
        let mut requested = |who| {
            self.requests.insert(id, (who, at));
        };
        match event {
            PurchaseEvent::PurchaseRequested(e) => {
                self.ordered.insert(e.purchase_id, at);
            }
            PurchaseEvent::PurchaseEnded(e) => {
                self.ends.insert(e.purchase_id, (e.outcome, at));
            }
            PurchaseEvent::PaymentIntentRequested(_) | PurchaseEvent::CompensationRequested(_) => {
                requested(Who::Stripe);
            }
            PurchaseEvent::SwapRequested(_) | PurchaseEvent::HandoffRequested(_) => {
                requested(Who::Stellar);
            }
            PurchaseEvent::PaymentIntentCreated(e) => self.ended(e.request_id, at),
            PurchaseEvent::SwapCompleted(e) => self.ended(e.request_id, at),
            PurchaseEvent::TftSentToBridge(e) => self.ended(e.request_id, at),
            _ => {}
        }
    }

    fn deployment(&mut self, event: &DeploymentEvent, id: EventId, at: Duration) {
        match event {
            DeploymentEvent::ContractRequested(_)
            | DeploymentEvent::BatchContractsRequested(_)
            | DeploymentEvent::ContractUpdateRequested(_)
            | DeploymentEvent::ContractCancelRequested(_) => {
                self.requests.insert(id, (Who::Tfchain, at));
            }
            DeploymentEvent::DeploymentCreated(e) => self.ended(e.request_id, at),
            DeploymentEvent::BatchCreated(e) => self.ended(e.request_id, at),
            DeploymentEvent::ContractUpdated(e) => self.ended(e.request_id, at),
            DeploymentEvent::ContractCancelled(e) => self.ended(e.request_id, at),
            _ => {}
        }
    }

    fn ended(&mut self, request: EventId, at: Duration) {
        self.outcomes.insert(request, at);
    }

    /// How long requests to a counterparty took that were made in this time, shortest first.
    fn took(&self, who: Who, made: std::ops::Range<Duration>) -> Vec<Duration> {
        let mut took: Vec<Duration> = self
            .requests
            .iter()
            .filter(|(_, (whose, at))| *whose == who && made.contains(at))
            .filter_map(|(id, (_, at))| Some(self.outcomes.get(id)?.saturating_sub(*at)))
            .collect();
        took.sort_unstable();
        took
    }
}

/// Median seconds of the others' requests before and during; what waits for the one that is down
/// must not hold up the others.
fn pace(log: &Read, down: Who, wrong: &mut Vec<String>) -> (f64, f64) {
    let mut judged = 0;
    let (mut before, mut during) = (Vec::new(), Vec::new());
    for who in Who::ALL.into_iter().filter(|w| *w != down) {
        let usual = log.took(who, Duration::ZERO..DOWN_AT);
        let then = log.took(who, DOWN_AT..UP_AT);
        if usual.len() < SAMPLES || then.len() < SAMPLES {
            continue;
        }
        judged += 1;
        let half = |took: &[Duration]| took[took.len() / 2];
        let most = |took: &[Duration]| took[took.len() - 1];
        let slack = Duration::from_secs(2);
        if half(&then) > half(&usual) + slack || most(&then) > most(&usual) * 2 + slack {
            wrong.push(format!(
                "{who:?} is up, and its requests took {:?} and at most {:?}; before {:?} and at most {:?}",
                half(&then),
                most(&then),
                half(&usual),
                most(&usual)
            ));
        }
        before.extend(usual);
        during.extend(then);
    }
    if judged == 0 {
        wrong.push("too few requests to the others to judge their pace".to_owned());
    }
    before.sort_unstable();
    during.sort_unstable();
    let median = |took: &[Duration]| took.get(took.len() / 2).map_or(0.0, Duration::as_secs_f64);
    (median(&before), median(&during))
}
