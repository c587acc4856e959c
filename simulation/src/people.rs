//! Who buys, and what Stripe tells of it: facts from outside, told more than once and in any order.

use crate::broker::partition_of;
use crate::depositors::twin_of;
use crate::dice::Dice;
use crate::script::{Buyer, Change, Poison, What};
use crate::stellar::cost;
use crate::stripe::Intent;
use crate::time;
use crate::world::World;
use counterparties_tfchain::deployment_hash;
use events::dead_letters::{DeadLetterReleased, Release};
use events::deployments::{
    BatchMember, BatchRequested, DeploymentCancelRequested, DeploymentEvent, DeploymentKind,
    DeploymentRequested, DeploymentUpdateRequested,
};
use events::ids::{BatchId, DeploymentId, EventId, NodeId, PurchaseId, QuoteId, TwinId, UserId};
use events::money::{Amount, Currency, Fiat, Tft, Usdc};
use events::purchases::{Funding, PurchaseEvent, PurchaseRequested};
use events::schema::EventSet;
use events::stripe::StripeFacts;
use pipeline::simulation::Append;
use std::time::Duration;

impl World {
    /// Says it as often as wanted, with echoes in between.
    pub(crate) async fn tell(&self, append: Append, dice: &Dice, times: u64) {
        for telling in 0..times {
            if telling > 0 {
                tokio::time::sleep(dice.millis(10, 20_000)).await;
            }
            self.broker.produce(&append);
        }
    }

    /// Lives as this buyer.
    pub async fn buyer(self, seed: u64, number: usize, buyer: Buyer) {
        let dice = Dice::new(seed, &format!("buyer {number}"));
        tokio::time::sleep(Duration::from_millis(buyer.at)).await;
        let (purchase, _) = ids(seed, number);
        self.open_credit(seed, number);
        if let Ok(append) = self.order(seed, number, buyer.usdc.is_some()) {
            let (world, times) = (self.clone(), buyer.tellings);
            let dice = Dice::new(seed, &format!("order {number}"));
            tokio::spawn(async move { world.tell(append, &dice, times).await });
        }
        if buyer.deploys {
            tokio::time::sleep(dice.millis(0, 40_000)).await;
            if let Ok(append) = self.deployment(seed, number, buyer.what) {
                let (world, times) = (self.clone(), buyer.tellings);
                let dice = Dice::new(seed, &format!("deployment {number}"));
                tokio::spawn(async move { world.tell(append, &dice, times).await });
            }
            tokio::spawn(self.clone().changes(seed, number, buyer.clone()));
        }
        let Some(pays_after) = buyer.pays_after else {
            return;
        };
        tokio::time::sleep(Duration::from_millis(pays_after)).await;
        if let (Some(way), Ok(due)) = (buyer.usdc, due(number)) {
            self.pay_by_usdc(number, way, due.minor(), &dice).await;
            return;
        }
        let mut paid = 0;
        for _ in 0..600 {
            let mine: Vec<Intent> = self
                .stripe
                .intents()
                .into_iter()
                .filter(|i| i.purchase == purchase && !i.paid)
                .collect();
            for intent in mine {
                if paid > 0 && !buyer.pays_all {
                    return;
                }
                self.trace
                    .say(|| format!("buyer {number} pays {}", intent.id));
                self.stripe.pay(&intent.id);
                paid += 1;
            }
            if paid > 0 && !buyer.pays_all {
                return;
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }

    fn order(&self, seed: u64, number: usize, by_usdc: bool) -> anyhow::Result<Append> {
        let (purchase, user) = ids(seed, number);
        let (tft, swap_tft, quoted) = quote(number)?;
        let event = PurchaseEvent::from(PurchaseRequested {
            purchase_id: purchase,
            user_id: user,
            twin_id: twin_of(number),
            quote_id: QuoteId::derive(&["simulated", &number.to_string()]),
            tft,
            swap_tft,
            usdc_quoted: quoted,
            usdc_cap: quoted.plus_bps_ceil(100)?,
            path: Vec::new(),
            charge: Fiat {
                minor: 500 + i64::try_from(number)?,
                currency: Currency::Usd,
            },
            quote_expires_at: time::now().after(Duration::from_secs(300)),
            requested_at: time::now(),
            funding: if by_usdc {
                Funding::Usdc
            } else {
                Funding::Card
            },
            usdc_due: by_usdc.then(|| due(number)).transpose()?,
            // Of the patient nothing is said: they wait as long as orders do that say nothing.
            pay_until: (!self.patient).then(|| time::now().after(Duration::from_secs(600))),
            give_up_after_ms: (!self.patient).then_some(1_200_000),
        });
        let id = EventId::derive(&["order", &purchase.to_string()]);
        self.encode(&self.fixture.purchases, &purchase.to_string(), id, &event)
    }

    fn deployment(&self, seed: u64, number: usize, what: What) -> anyhow::Result<Append> {
        let (purchase, user) = ids(seed, number);
        let twin = TwinId(1 + u32::try_from(number)?);
        let deployment = deployment_id(seed, number);
        let event = if what == What::Batch {
            DeploymentEvent::from(BatchRequested {
                batch_id: BatchId::derive(&["simulated", &deployment.to_string()]),
                user_id: user,
                twin_id: twin,
                members: members(seed, number, what),
                waits_for: Some(purchase),
                minimum_balance: Amount::ZERO,
                requested_at: time::now(),
            })
        } else {
            let member = member(deployment, number, what);
            DeploymentEvent::from(DeploymentRequested {
                deployment_id: deployment,
                user_id: user,
                twin_id: twin,
                node_id: member.node_id,
                version: 1,
                hash: member.hash,
                data: member.data,
                public_ips: 0,
                solution_provider: None,
                waits_for: Some(purchase),
                minimum_balance: Amount::ZERO,
                requested_at: time::now(),
                kind: member.kind,
                name: member.name,
            })
        };
        let id = EventId::derive(&["deploy", &deployment.to_string()]);
        self.encode(&self.fixture.deployments, &user.to_string(), id, &event)
    }

    /// Changes their mind about a deployment, as often as they do.
    async fn changes(self, seed: u64, number: usize, buyer: Buyer) {
        let (_, user) = ids(seed, number);
        let deployment = deployment_id(seed, number);
        for (version, change) in (2..).zip(&buyer.changes) {
            let (Change::Update(after) | Change::Cancel(after)) = change;
            tokio::time::sleep(Duration::from_millis(*after)).await;
            let event = match change {
                Change::Update(_) => {
                    let data = later(version);
                    DeploymentEvent::from(DeploymentUpdateRequested {
                        deployment_id: deployment,
                        user_id: user,
                        version,
                        hash: deployment_hash(&deployment, version.unsigned_abs(), &data),
                        data,
                        requested_at: time::now(),
                    })
                }
                Change::Cancel(_) => DeploymentEvent::from(DeploymentCancelRequested {
                    deployment_id: deployment,
                    user_id: user,
                    requested_at: time::now(),
                }),
            };
            let id = EventId::derive(&["change", &deployment.to_string(), &version.to_string()]);
            let codec = &self.fixture.deployments;
            let Ok(append) = self.encode(codec, &user.to_string(), id, &event) else {
                continue;
            };
            let (world, times) = (self.clone(), buyer.tellings);
            let dice = Dice::new(seed, &format!("change {number} {version}"));
            tokio::spawn(async move { world.tell(append, &dice, times).await });
        }
    }

    /// Writes a record that nobody can read, and later what an operator says of it.
    pub async fn poison(self, seed: u64, number: usize, poison: Poison) {
        tokio::time::sleep(Duration::from_millis(poison.at)).await;
        let (purchase, user) = ids(seed, poison.buyer);
        let (key, topic, readers): (String, &str, &[&str]) = if poison.deployment {
            let readers = &["deployments", "contracts", "contract-watcher"];
            (user.to_string(), DeploymentEvent::TOPIC, readers)
        } else {
            let readers = &[
                "purchases",
                "payments",
                "swaps",
                "handoffs",
                "tfchain-watcher",
                "reconciler",
            ];
            (purchase.to_string(), PurchaseEvent::TOPIC, readers)
        };
        let partition = partition_of(topic, key.as_bytes());
        let offset = self.broker.produce(&Append {
            topic: topic.to_owned(),
            partition: Some(partition),
            key: key.clone().into_bytes(),
            payload: b"no event".to_vec(),
            headers: rdkafka::message::OwnedHeaders::new(),
        });
        tokio::time::sleep(Duration::from_millis(poison.release_after)).await;
        for reader in readers {
            let released = DeadLetterReleased {
                processor: (*reader).to_owned(),
                partition,
                offset,
                action: Release::Discard,
                reason: "simulated".to_owned(),
                by: "operator".to_owned(),
                released_at: time::now(),
            };
            let id = EventId::derive(&["release", reader, topic, &number.to_string()]);
            let append = if poison.deployment {
                self.encode(&self.fixture.deployments, &key, id, &released.into())
            } else {
                self.encode(&self.fixture.purchases, &key, id, &released.into())
            };
            if let Ok(append) = append {
                self.broker.produce(&append);
            }
        }
    }

    /// The webhook route: what Stripe tells becomes facts, in any order, again and again. Some of
    /// it never comes: then only the reconciler hears of it.
    pub async fn webhooks(self, seed: u64, buyers: Vec<Buyer>) {
        let dice = Dice::new(seed, "webhooks");
        loop {
            for told in self.stripe.told().await {
                let lost = dice.percent(20);
                let buyer = buyers
                    .iter()
                    .enumerate()
                    .find(|(n, _)| Some(ids(seed, *n).0) == told.purchase_id)
                    .map(|(_, b)| b.clone());
                let Some(buyer) = buyer else { continue };
                if let (Some(won), "payment_intent.succeeded", Some(intent)) =
                    (buyer.dispute, told.event_type.as_str(), &told.intent_id)
                {
                    tokio::spawn(self.clone().dispute(seed, intent.clone(), won));
                }
                if let (Some((after, percent)), "payment_intent.succeeded", Some(intent)) =
                    (buyer.gives_back, told.event_type.as_str(), &told.intent_id)
                {
                    let (world, intent) = (self.clone(), intent.clone());
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(after)).await;
                        let trace = &world.trace;
                        trace.say(|| format!("somebody gives back {percent} % of {intent}"));
                        world.stripe.refund_outside(&intent, percent);
                    });
                }
                if lost {
                    let (id, kind) = (&told.stripe_event_id, &told.event_type);
                    self.trace.say(|| format!("no webhook of {id} {kind}"));
                } else {
                    self.webhook(seed, told, buyer.tellings);
                }
            }
        }
    }

    async fn dispute(self, seed: u64, intent: String, won: bool) {
        let dice = Dice::new(seed, &format!("dispute of {intent}"));
        let most = if dice.percent(50) { 10_000 } else { 600_000 };
        let soon = if dice.percent(50) { 2_000 } else { 60_000 };
        tokio::time::sleep(dice.millis(0, soon)).await;
        if !self.stripe.dispute(&intent) {
            return;
        }
        self.trace.say(|| {
            format!(
                "a bank disputes {intent}: {}",
                if won { "won" } else { "lost" }
            )
        });
        tokio::time::sleep(dice.millis(1_000, most)).await;
        self.stripe.end_dispute(&intent, won);
    }

    fn webhook(&self, seed: u64, told: StripeFacts, times: u64) {
        let Some(purchase) = told.purchase_id else {
            return;
        };
        let dice = Dice::new(seed, &format!("webhook {}", told.stripe_event_id));
        let (id, key) = (told.id(), purchase.to_string());
        let event = PurchaseEvent::from(told.received(purchase));
        let Ok(append) = self.encode(&self.fixture.purchases, &key, id, &event) else {
            return;
        };
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(dice.millis(1, 5_000)).await;
            world.tell(append, &dice, times).await;
        });
    }
}

/// What a buyer deploys at once.
#[must_use]
pub fn members(seed: u64, number: usize, what: What) -> Vec<BatchMember> {
    let deployment = deployment_id(seed, number);
    if what != What::Batch {
        return vec![member(deployment, number, what)];
    }
    let kinds = [What::Node, What::Name, What::Rent].into_iter().enumerate();
    kinds
        .map(|(place, what)| {
            let place = place.to_string();
            let id = match place.as_str() {
                "0" => deployment,
                _ => DeploymentId::derive(&["member", &deployment.to_string(), &place]),
            };
            member(id, number, what)
        })
        .collect()
}

/// The workload of a later version: its data.
#[must_use]
pub fn later(version: i32) -> String {
    format!("{{\"version\":{version}}}")
}

/// A deployment of a buyer's. Each has a name and a node of their own.
fn member(id: DeploymentId, number: usize, what: What) -> BatchMember {
    let data = "{}".to_owned();
    let whole = 100 + u32::try_from(number).unwrap_or(0);
    let (kind, node, name) = match what {
        What::Node | What::Batch => (DeploymentKind::Node, 1, None),
        What::Name => (DeploymentKind::Name, 0, Some(format!("name-{number}"))),
        What::Rent => (DeploymentKind::Rent, whole, None),
    };
    BatchMember {
        deployment_id: id,
        kind,
        node_id: NodeId(node),
        name,
        version: 1,
        hash: deployment_hash(&id, 1, &data),
        data,
        public_ips: 0,
        solution_provider: None,
        above: 0,
    }
}

/// What a buyer wants, what is bought for it, and what that costs.
fn quote(number: usize) -> anyhow::Result<(Amount<Tft>, Amount<Tft>, Amount<Usdc>)> {
    let tft = Amount::from_whole(100 + u32::try_from(number)?);
    let swap_tft = tft.checked_add(Amount::from_whole(1))?;
    let quoted = Amount::from_minor(cost(swap_tft.minor(), 100))?;
    Ok((tft, swap_tft, quoted))
}

/// What a buyer pays by USDC.
fn due(number: usize) -> anyhow::Result<Amount<Usdc>> {
    Ok(quote(number)?.2.plus_bps_ceil(300)?)
}

/// Purchase and user of a buyer.
#[must_use]
pub fn ids(seed: u64, number: usize) -> (PurchaseId, UserId) {
    let (seed, number) = (seed.to_string(), number.to_string());
    (
        PurchaseId::derive(&["simulated", &seed, &number]),
        UserId::derive(&["simulated", &seed, &number]),
    )
}

fn deployment_id(seed: u64, number: usize) -> DeploymentId {
    DeploymentId::derive(&["simulated", &seed.to_string(), &number.to_string()])
}
