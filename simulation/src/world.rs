//! One world, from its first order to rest.

use crate::broker::{Broker, Tear, partition_of};
use crate::chain::Chain;
use crate::check::{self, Books};
use crate::dice::Dice;
use crate::fence::{Fence, Fenced};
pub use crate::fixture::Fixture;
use crate::net::Network;
use crate::process::{Life, Process};
use crate::reached::Reached;
use crate::script::{Kind, PROCESSORS, SLOTS, Script};
use crate::stellar::Stellar;
use crate::stripe::Stripe;
use crate::tfchain::{Habits, Ledger};
use crate::time;
use crate::trace::Trace;
use crate::wire::Wired;
use counterparties_stellar::{AssetId, LaneSeed, SecretKey};
use events::codec::Codec;
use events::deployments::DeploymentEvent;
use events::deposits::DepositEvent;
use events::envelope::Envelope;
use events::ids::EventId;
use events::purchases::PurchaseEvent;
use events::schema::EventSet;
use events::users::UserEvent;
use pipeline::simulation::{self, Append, Ground, Log, Task, Unconnected};
use processor_lanes::Treasury;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Minor units of a coin.
const COIN: i64 = 10_000_000;
const SESSION: Duration = Duration::from_secs(6);
/// No world takes longer.
const END: Duration = Duration::from_secs(3 * 3600);
const PASSPHRASE: &str = "Simulated Network";

/// What became of a world.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What must not be.
    pub violations: Vec<String>,
    /// What TFChain came to hold.
    pub reached: Reached,
    /// Records in its log.
    pub records: usize,
    /// How long it lived, in simulated seconds.
    pub lived: u64,
}

/// A processor's process, standing on the model.
struct Stand {
    broker: Broker,
    process: Process,
    name: &'static str,
    topic: &'static str,
    slot: u32,
    most: usize,
}

impl Ground for Stand {
    fn connect(&self, wake: Box<dyn Fn() + Send + Sync>) -> Result<Box<dyn Log>, Unconnected> {
        Ok(self.broker.join(
            self.name,
            self.topic,
            self.slot,
            self.process.clone(),
            Arc::from(wake),
        ))
    }

    fn spawn(&self, task: Task) {
        self.process.spawn(task);
    }

    fn most(&self) -> usize {
        self.most
    }

    fn tick(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// The parts of a world.
#[derive(Clone)]
pub struct World {
    pub(crate) fixture: Fixture,
    pub(crate) broker: Broker,
    pub(crate) stripe: Stripe,
    pub(crate) stellar: Stellar,
    chain: Ledger,
    pub(crate) treasury: Arc<Treasury>,
    bridge: String,
    network: Network,
    pub(crate) fence: Arc<Fence>,
    pub(crate) trace: Trace,
    /// Deadlines as in production, instead of ones that many worlds meet.
    pub(crate) patient: bool,
    /// How many records a process appends in one transaction at most.
    most: usize,
    /// Processes of the policy of purchases that were started.
    starts: Arc<AtomicU64>,
}

/// Lives through a script.
///
/// # Errors
/// When the runtime cannot be built.
pub fn live(
    seed: u64,
    script: &Script,
    fixture: &Fixture,
    trace: &Trace,
) -> anyhow::Result<Outcome> {
    in_time(async {
        let world = World::new(seed, script, fixture, trace)?;
        world.run(seed, script, &mut world.start_all(script)).await
    })
}

/// Runs in a time of its own, which passes only while everybody waits.
///
/// # Errors
/// When the runtime cannot be built, and as `life` does.
pub fn in_time(life: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(async {
        time::start();
        life.await
    })
}

impl World {
    /// A world in which nothing has happened.
    ///
    /// # Errors
    /// When its keys cannot be made.
    pub fn new(
        seed: u64,
        script: &Script,
        fixture: &Fixture,
        trace: &Trace,
    ) -> anyhow::Result<Self> {
        let network = Network::new(seed, script.network, trace.clone());
        let tears = Dice::new(seed, "tears");
        let mut left = script.tears;
        let tear = move || {
            if left == 0 || !tears.percent(8) {
                return Tear::Whole;
            }
            left -= 1;
            match tears.below(5) {
                0 => Tear::Aborted,
                1 => Tear::AnswerLost,
                2 => Tear::OffsetsLost,
                3 => Tear::OutputsLost,
                _ => Tear::Swallowed,
            }
        };
        let bridge = SecretKey::from_seed(&[3; 32]).account().to_string();
        let stellar = Stellar::new(network.clone(), bridge.clone());
        let issuer = SecretKey::from_seed(&[4; 32]).account();
        let asset = |code: &str| AssetId {
            code: code.to_owned(),
            issuer: issuer.clone(),
        };
        let treasury = Treasury {
            stellar: Arc::new(stellar.clone()),
            passphrase: PASSPHRASE.to_owned(),
            key: SecretKey::from_seed(&[5; 32]),
            seed: "11".repeat(32).parse::<LaneSeed>()?,
            cluster: "simulated".to_owned(),
            usdc: asset("USDC"),
            tft: asset("TFT"),
        };
        Ok(Self {
            fixture: fixture.clone(),
            broker: Broker::new(Box::new(tear), Dice::new(seed, "fetches"), trace.clone()),
            stripe: Stripe::new(network.clone()),
            stellar,
            chain: if script.wire {
                Ledger::Wire(Wired::new(seed, script, fixture, &network, trace)?)
            } else {
                Ledger::Model(Chain::new(network.clone()))
            },
            treasury: Arc::new(treasury),
            bridge,
            network,
            fence: Arc::new(Fence::new(seed, script, fixture)),
            trace: trace.clone(),
            patient: false,
            // In many worlds nearly each decision is a transaction of its own.
            most: [1, 2, 2_000][usize::try_from(seed % 3).unwrap_or(0)],
            starts: Arc::default(),
        })
    }

    /// The same with deadlines as in production.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Its network.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Its TFChain.
    pub const fn chain(&self) -> &Ledger {
        &self.chain
    }

    /// Its trace.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Every processor of the script in all its slots.
    pub fn start_all(&self, script: &Script) -> Vec<Process> {
        (0..script.running() * SLOTS as usize)
            .map(|place| self.start(place))
            .collect()
    }

    /// Lives until everything is at rest.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn run(
        &self,
        seed: u64,
        script: &Script,
        processes: &mut [Process],
    ) -> anyhow::Result<Outcome> {
        let begun = tokio::time::Instant::now();
        self.open_lanes()?;
        tokio::spawn(self.stellar.clone().run(Duration::from_secs(5)));
        let chain = self.chain.clone();
        let habits = Habits {
            returns: script.returns,
            of_itself: script.of_itself,
        };
        tokio::spawn(chain.run(self.stellar.clone(), seed, habits));
        for (number, buyer) in script.buyers.iter().enumerate() {
            tokio::spawn(self.clone().buyer(seed, number, buyer.clone()));
        }
        if script.wire {
            for (number, at) in script.newcomers.iter().enumerate() {
                tokio::spawn(self.clone().newcomer(seed, number, *at));
            }
        }
        for (number, poison) in script.poisons.iter().enumerate() {
            tokio::spawn(self.clone().poison(seed, number, poison.clone()));
        }
        tokio::spawn(self.clone().webhooks(seed, script.buyers.clone()));
        tokio::spawn(self.clone().operator(script.buyers.len()));
        self.mishaps(seed, script, processes).await;
        tokio::time::sleep_until(
            begun + Duration::from_secs(if seed.is_multiple_of(4) { 1_500 } else { 240 }),
        )
        .await;
        self.network.heal();
        self.chain.calm();
        self.trace.say(|| "healed".to_owned());
        self.settle(script, processes).await;
        let books = self.books(script)?;
        Ok(Outcome {
            violations: check::violations(&books),
            reached: Reached::of(&books),
            records: books.records,
            lived: time::elapsed().as_secs(),
        })
    }

    /// Everything as it must be at rest, or out of time.
    async fn settle(&self, script: &Script, processes: &mut [Process]) {
        let begun = tokio::time::Instant::now();
        let mut quiet = 0;
        while begun.elapsed() < END && quiet < 2 {
            for (place, process) in processes.iter_mut().enumerate() {
                match process.life() {
                    Life::Dead => *process = self.start(place),
                    Life::Frozen => process.set(Life::Running),
                    Life::Running => {}
                }
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
            // Late requests still arrive in the minute after everything seems to be at rest.
            quiet = match self.books(script) {
                Ok(books) if check::at_rest(&books) => quiet + 1,
                _ => 0,
            };
        }
    }

    async fn mishaps(&self, seed: u64, script: &Script, processes: &mut [Process]) {
        let dice = Dice::new(seed, "mishaps");
        let mut due: Vec<(u64, usize)> = Vec::new();
        let mut script_at = 0;
        let mut now = 0;
        loop {
            // Whatever comes next: a mishap, or the end of one.
            let next_mishap = script.mishaps.get(script_at).map(|m| m.at);
            due.sort_unstable();
            let next_end = due.first().map(|d| d.0);
            let Some(next) = [next_mishap, next_end].into_iter().flatten().min() else {
                break;
            };
            tokio::time::sleep(Duration::from_millis(next.saturating_sub(now))).await;
            now = now.max(next);
            if next_end == Some(next) {
                let (_, place) = due.remove(0);
                match processes[place].life() {
                    Life::Frozen => {
                        self.trace.say(|| format!("thawed: {}", name_of(place)));
                        processes[place].set(Life::Running);
                    }
                    Life::Dead => processes[place] = self.start(place),
                    Life::Running => {}
                }
                continue;
            }
            let mishap = &script.mishaps[script_at];
            script_at += 1;
            match &mishap.kind {
                Kind::Price(price) => {
                    self.trace.say(|| format!("price {price:?}"));
                    self.stellar.set_price(*price);
                }
                Kind::Depth(most) => {
                    self.trace.say(|| format!("depth {most:?}"));
                    self.stellar.set_depth(most.map(|tft| tft * COIN));
                }
                Kind::Kill {
                    victim,
                    back_after,
                    at_await,
                } => {
                    let place = place_of(*victim);
                    if is_running(processes, place) {
                        self.trace
                            .say(|| format!("kill (at await: {at_await}): {}", name_of(place)));
                        if *at_await {
                            processes[place].light(true, &dice);
                        } else {
                            processes[place].set(Life::Dead);
                        }
                        self.watch_session(place, &processes[place]);
                        due.push((now + back_after, place));
                    }
                }
                Kind::Freeze {
                    victim,
                    thaw_after,
                    at_await,
                } => {
                    let place = place_of(*victim);
                    if is_running(processes, place) {
                        self.trace
                            .say(|| format!("freeze (at await: {at_await}): {}", name_of(place)));
                        if *at_await {
                            processes[place].light(false, &dice);
                        } else {
                            processes[place].set(Life::Frozen);
                        }
                        self.watch_session(place, &processes[place]);
                        due.push((now + thaw_after, place));
                    }
                }
            }
        }
    }

    /// Expels the member once its process has not run for a session.
    pub fn watch_session(&self, place: usize, process: &Process) {
        let (broker, process) = (self.broker.clone(), process.clone());
        let (name, slot) = (PROCESSORS[place / SLOTS as usize], slot_of(place));
        tokio::spawn(async move {
            let mut still = Duration::ZERO;
            for _ in 0..40 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if process.life() == Life::Running {
                    still = Duration::ZERO;
                } else {
                    still += Duration::from_secs(1);
                }
                if still >= SESSION {
                    broker.expire(name, slot, &process);
                    return;
                }
            }
        });
    }

    /// Starts the process of a place.
    pub fn start(&self, place: usize) -> Process {
        let process = Process::default();
        let name = PROCESSORS[place / SLOTS as usize];
        let topic = match name {
            "deployments" | "contracts" | "contract-watcher" => DeploymentEvent::TOPIC,
            "deposits" | "deposit-watcher" | "returns" | "claims" => DepositEvent::TOPIC,
            "twins" => UserEvent::TOPIC,
            _ => PurchaseEvent::TOPIC,
        };
        self.trace.say(|| format!("start: {}", name_of(place)));
        let ground: Arc<dyn Ground> = Arc::new(Stand {
            broker: self.broker.clone(),
            process: process.clone(),
            name,
            topic,
            slot: slot_of(place),
            most: self.most,
        });
        let (world, trace, inner) = (self.clone(), self.trace.clone(), process.clone());
        process.spawn(Box::pin(async move {
            let ended = world.processor(place, ground).await;
            trace.say(|| format!("{}: ended: {ended:?}", name_of(place)));
            inner.set(Life::Dead);
        }));
        process
    }

    async fn processor(
        &self,
        place: usize,
        ground: Arc<dyn Ground>,
    ) -> Result<(), pipeline::RunError> {
        let (codecs, stop) = (self.fixture.codecs(), CancellationToken::new());
        match PROCESSORS[place / SLOTS as usize] {
            "purchases" => {
                let mut rules = processor_purchases::Rules::new(self.bridge.clone());
                if !self.patient {
                    // Each process has other settings than the one before: what it folds must come
                    // out the same.
                    let start = self.starts.fetch_add(1, Ordering::Relaxed);
                    let shorter = |seconds| Duration::from_secs(seconds / (1 + start % 2));
                    rules.stripe_deadline = shorter(120);
                    rules.stellar_deadline = shorter(60);
                    rules.mint_within = shorter(600);
                    rules.first_retry = shorter(2);
                    rules.longest_retry = shorter(600);
                }
                let policy = processor_purchases::Purchases::new(rules);
                simulation::policy(policy, codecs, ground, stop).await
            }
            "payments" => {
                let hand = processor_payments::Payments::new(Arc::new(self.stripe.clone()));
                simulation::executor(hand, codecs, ground, stop).await
            }
            "swaps" => {
                let hand = processor_swaps::Swaps::new(Arc::clone(&self.treasury));
                simulation::executor(hand, codecs, ground, stop).await
            }
            "handoffs" => {
                let hand = processor_handoffs::Handoffs::new(Arc::clone(&self.treasury));
                simulation::executor(hand, codecs, ground, stop).await
            }
            "tfchain-watcher" => {
                let source = processor_watcher::Watcher::new(
                    self.chain.client(),
                    Arc::new(self.stellar.clone()),
                    1,
                );
                simulation::source(source, codecs, ground, stop).await
            }
            "reconciler" => {
                let stripe = Arc::new(self.stripe.clone());
                let every = Duration::from_secs(15);
                let source = processor_reconciler::Reconciler::new(stripe.clone(), stripe, every);
                simulation::source(source, codecs, ground, stop).await
            }
            "deposits" => {
                let mut rules = processor_deposits::Rules::new(self.treasury.usdc.to_string());
                rules.own.insert(self.bridge.clone());
                rules.stellar_deadline = Duration::from_secs(60);
                let policy = processor_deposits::Deposits::new(rules);
                simulation::policy(policy, codecs, ground, stop).await
            }
            "deposit-watcher" => {
                let source = processor_deposits::DepositWatcher::new(
                    Arc::new(self.stellar.clone()),
                    self.treasury.key.account(),
                    "0",
                );
                // More often than ledgers close.
                let source = source.polling(Duration::from_secs(2));
                simulation::source(source, codecs, ground, stop).await
            }
            "returns" => {
                let hand = processor_deposits::Returns::new(Arc::clone(&self.treasury));
                simulation::executor(hand, codecs, ground, stop).await
            }
            "claims" => {
                let hand = processor_deposits::Claims::new(Arc::clone(&self.treasury));
                simulation::executor(hand, codecs, ground, stop).await
            }
            "twins" => {
                let (seed, activator) = (&self.fixture.users_seed, &self.fixture.activator);
                let client = self.chain.client();
                let hand = processor_twins::Twins::new(client, seed.clone(), activator.clone());
                simulation::executor(hand, codecs, ground, stop).await
            }
            "deployments" => {
                let rules = processor_deployments::decide::Rules {
                    balance_every: Duration::from_secs(60),
                    ..processor_deployments::decide::Rules::default()
                };
                let policy = processor_deployments::DeploymentPolicy::new(rules);
                simulation::policy(policy, codecs, ground, stop).await
            }
            "contract-watcher" => {
                let source = processor_watcher::ContractWatcher::new(self.chain.client(), 1);
                simulation::source(source, codecs, ground, stop).await
            }
            _ => {
                let chain = Arc::new(Fenced::new(self.clone(), place));
                let seed = self.fixture.users_seed.clone();
                let hand = processor_deployments::Contracts::new(chain, seed);
                simulation::executor(hand, codecs, ground, stop).await
            }
        }
    }

    pub(crate) fn encode<E: EventSet>(
        &self,
        codec: &Codec<E>,
        key: &str,
        id: EventId,
        event: &E,
    ) -> anyhow::Result<Append> {
        let envelope = Envelope {
            id,
            source: "/gridway/api".to_owned(),
            time: time::now(),
            subject: key.to_owned(),
            correlation: None,
            causation: None,
            traceparent: None,
        };
        Ok(Append {
            topic: E::TOPIC.to_owned(),
            partition: Some(partition_of(E::TOPIC, key.as_bytes())),
            key: key.as_bytes().to_vec(),
            payload: codec.encode(event)?,
            headers: envelope.headers(event),
        })
    }

    fn books(&self, script: &Script) -> anyhow::Result<Books> {
        let mut books = Books::read(
            &self.broker.all(),
            &self.fixture,
            &self.stripe,
            &self.stellar,
            &self.chain,
            &self.treasury.usdc.to_string(),
            script,
        )?;
        books.unproven = self.network.unproven();
        Ok(books)
    }
}

/// Whether there is such a process, and it runs.
fn is_running(processes: &[Process], place: usize) -> bool {
    let process = processes.get(place);
    process.is_some_and(|process| process.life() == Life::Running)
}

fn place_of((processor, slot): (usize, u32)) -> usize {
    processor * SLOTS as usize + slot as usize
}

fn slot_of(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(0) % SLOTS
}

/// Processor and slot of a place.
#[must_use]
pub fn name_of(place: usize) -> String {
    format!("{}-{}", PROCESSORS[place / SLOTS as usize], slot_of(place))
}
