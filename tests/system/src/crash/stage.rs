//! What everybody in a run works on.

use super::dice::Dice;
use super::payer::Payer;
use crate::world::World;
use anyhow::{Context, Result};
use gridway::demo::Buyer;
use gridway::fleet::Fleet;
use gridway::processors;
use gridway::up::{Sandbox, setting};
use parking::Parking;
use reqwest::Client;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sandbox_stack::Stack;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The stand-ins' addresses, as settings.
pub const STRIPE: &str = "GRIDWAY_STRIPE_URL";
/// Horizon's.
pub const HORIZON: &str = "GRIDWAY_HORIZON_URL";
/// `TFChain`'s.
pub const TFCHAIN: &str = "GRIDWAY_TFCHAIN_URL";

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Deaths of our processes.
    pub kills: u32,
    /// Freezes of our processes.
    pub freezes: u32,
    /// Purchases meanwhile.
    pub purchases: usize,
    /// Decides everything that is left to chance.
    pub seed: u64,
}

/// The running product, with what is being done to it.
pub struct Stage {
    /// How much of it.
    pub plan: Plan,
    /// Kafka and the rest.
    pub stack: Stack,
    /// Our processes.
    pub fleet: tokio::sync::Mutex<Fleet>,
    /// What they were configured with.
    pub environment: Vec<(String, String)>,
    /// Where the API listens, always.
    pub api: String,
    /// Those who buy.
    pub buyers: Vec<Buyer>,
    /// Who pays by USDC for them.
    pub payer: Payer,
    /// For counting: spared by the armed faults.
    pub calm: Client,
    /// Who is frozen, or near it: not to be killed.
    pub parked: Parking,
    /// Deaths so far.
    pub kills: AtomicU32,
    /// Whether a part of the stack is away.
    pub away: AtomicBool,
    /// The longest that somebody waited for their twin, in milliseconds.
    pub twin_after: AtomicU64,
    over: AtomicBool,
    rested: AtomicBool,
    complaints: Mutex<Vec<String>>,
    begun: Instant,
}

/// Who is set aside.
mod parking {
    use super::{BTreeSet, Mutex, lock};

    /// Processors that are set aside for a while.
    #[derive(Default)]
    pub struct Parking(Mutex<BTreeSet<String>>);

    impl Parking {
        /// Sets one aside.
        pub fn add(&self, name: &str) {
            lock(&self.0).insert(name.to_owned());
        }

        /// Puts it back.
        pub fn remove(&self, name: &str) {
            lock(&self.0).remove(name);
        }

        /// Whether a part's processor is set aside.
        pub fn has(&self, part: &str) -> bool {
            lock(&self.0).contains(super::processor(part))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The processor of a part's name, without its slot.
pub fn processor(part: &str) -> &str {
    part.split('/').next().unwrap_or(part)
}

impl Stage {
    /// The stage of a world.
    pub fn new(world: World, plan: Plan) -> Self {
        let World { sandbox, buyers } = world;
        let api = sandbox.api().to_owned();
        let Sandbox {
            stack,
            fleet,
            environment,
        } = sandbox;
        let calm: HeaderMap = [(
            HeaderName::from_static(sandbox_kit::CALM),
            HeaderValue::from_static("1"),
        )]
        .into_iter()
        .collect();
        let calm = Client::builder()
            .default_headers(calm)
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap_or_default();
        Self {
            plan,
            stack,
            fleet: tokio::sync::Mutex::new(fleet),
            environment,
            api,
            buyers,
            payer: Payer::default(),
            calm,
            parked: Parking::default(),
            kills: AtomicU32::new(0),
            away: AtomicBool::new(false),
            twin_after: AtomicU64::new(0),
            over: AtomicBool::new(false),
            rested: AtomicBool::new(false),
            complaints: Mutex::default(),
            begun: Instant::now(),
        }
    }

    /// The value of a setting.
    pub fn setting(&self, name: &str) -> &str {
        setting(&self.environment, name)
    }

    /// An address at a stand-in.
    pub fn url(&self, stand_in: &str, path: &str) -> String {
        // TFChain's is of a WebSocket; its controls are on the same port.
        let base = self.setting(stand_in).replacen("ws://", "http://", 1);
        format!("{}{path}", base.trim_end_matches('/'))
    }

    /// Says so on stderr, with the time.
    pub fn say(&self, text: &str) {
        eprintln!("{:>6.1} s  {text}", self.begun.elapsed().as_secs_f32());
    }

    /// Notes something that must not happen.
    pub fn complain(&self, text: String) {
        self.say(&format!("WRONG: {text}"));
        lock(&self.complaints).push(text);
    }

    /// What must not have happened, and did.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.complaints).clone()
    }

    /// The trouble is over.
    pub fn over(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Whether the trouble is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Everything has ended, or is given up.
    pub fn rest(&self) {
        self.rested.store(true, Ordering::Release);
    }

    /// Whether everything has ended.
    pub fn is_at_rest(&self) -> bool {
        self.rested.load(Ordering::Acquire)
    }

    /// Sleeps, unless the trouble ends before.
    pub async fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_over() && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
    }

    /// Waits until `share` (of `of`) of the kills are done; at once where nobody is killed.
    pub async fn progress(&self, share: u64, of: u64) {
        let due = u64::from(self.plan.kills) * share / of.max(1);
        while u64::from(self.kills.load(Ordering::Acquire)) < due && !self.is_over() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs five processors with a second process each, and says which.
    pub async fn start_second_slots(&self, dice: &mut Dice) -> Result<String> {
        let mut names: Vec<&str> = processors::ALL.iter().map(|(name, _)| *name).collect();
        while names.len() > 5 {
            let index = usize::try_from(dice.below(names.len() as u64)).unwrap_or(0);
            names.remove(index);
        }
        let mut fleet = self.fleet.lock().await;
        for name in &names {
            fleet.start(&format!("{name}/1")).await?;
        }
        Ok(names.join(", "))
    }

    /// A body sent to a control of a stand-in.
    pub async fn control(&self, stand_in: &str, path: &str, body: &Value) -> Result<()> {
        let sent = self
            .calm
            .post(self.url(stand_in, path))
            .json(body)
            .send()
            .await;
        sent.and_then(reqwest::Response::error_for_status)
            .with_context(|| format!("POST {path}"))?;
        Ok(())
    }

    /// What a stand-in shows, spared by the faults.
    pub async fn look(&self, stand_in: &str, path: &str) -> Result<Value> {
        let answer = self.calm.get(self.url(stand_in, path)).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        answer
            .with_context(|| format!("GET {path}"))?
            .json()
            .await
            .with_context(|| format!("GET {path}"))
    }
}
