//! Deaths: at random times by `kill -9`, and at named steps by the process itself.

use super::dice::Dice;
use super::stage::{Stage, processor};
use anyhow::Result;
use crash_points::{Point, VARIABLE};
use gridway::fleet::Fleet;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long an armed process is left alone; then it may be killed like any other.
const PATIENCE: Duration = Duration::from_secs(6);
const SIGKILL: i32 = 9;

/// Who died where.
#[derive(Debug, Default)]
pub struct Tally {
    /// All deaths.
    pub kills: u32,
    /// Those at a random time.
    pub at_random: u32,
    /// Those at a step.
    pub hits: BTreeMap<Point, u32>,
    /// By processor.
    pub victims: BTreeMap<String, u32>,
}

/// An armed process.
struct Armed {
    point: Point,
    since: Instant,
}

struct Killer {
    stage: Arc<Stage>,
    dice: Dice,
    tally: Tally,
    armed: BTreeMap<String, Armed>,
    /// How often each step was hit, by kind of process: what was hit least is armed next.
    covered: BTreeMap<(&'static str, Point), u32>,
}

/// What a part does, which decides the steps that it passes.
fn kind(part: &str) -> &'static str {
    match processor(part) {
        "api" => "api",
        "projections" => "projections",
        "purchases"
        | "deployments"
        | "users"
        | "deposits"
        | "notifications"
        | "purchase-notices"
        | "deployment-notices"
        | "user-notices"
        | "treasury-notices"
        | "deposit-notices"
        | "application-notices" => "policy",
        "tfchain-watcher" | "contract-watcher" | "reconciler" | "deposit-watcher"
        | "treasury-watcher" => "source",
        _ => "executor",
    }
}

fn steps(kind: &str) -> &'static [Point] {
    const TRANSACTION: [Point; 6] = [
        Point::Assigned,
        Point::Live,
        Point::BeforeTransaction,
        Point::AfterProduce,
        Point::AfterOffsets,
        Point::AfterTransaction,
    ];
    const EXECUTOR: [Point; 10] = [
        Point::BeforeFind,
        Point::AfterFind,
        Point::BeforeAttempt,
        Point::AfterAttempt,
        Point::BeforeTransaction,
        Point::AfterProduce,
        Point::AfterOffsets,
        Point::AfterTransaction,
        Point::Assigned,
        Point::Live,
    ];
    match kind {
        "api" => &[Point::BeforeAppend, Point::AfterAppend],
        "projections" => &[Point::BeforeCommit, Point::AfterCommit],
        "executor" => &EXECUTOR,
        _ => &TRANSACTION,
    }
}

/// Kills as often as planned.
pub async fn run(stage: Arc<Stage>, dice: Dice) -> Result<Tally> {
    let wanted = stage.plan.kills;
    let mut killer = Killer {
        stage,
        dice,
        tally: Tally::default(),
        armed: BTreeMap::new(),
        covered: BTreeMap::new(),
    };
    let mut next = Instant::now();
    while killer.tally.kills < wanted {
        killer.collect().await?;
        if Instant::now() >= next && killer.tally.kills < wanted {
            killer.strike().await?;
            next = Instant::now() + killer.dice.ms(300, 1_500);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    killer.collect().await?;
    // Nobody dies any more: what is still armed starts again without.
    let stage = Arc::clone(&killer.stage);
    let mut fleet = stage.fleet.lock().await;
    for part in std::mem::take(&mut killer.armed).into_keys() {
        if !stage.parked.has(&part) {
            fleet.kill(&part).await?;
            fleet.start(&part).await?;
        }
    }
    Ok(killer.tally)
}

impl Killer {
    /// Those who died by themselves: at their step, or of something that must not be.
    async fn collect(&mut self) -> Result<()> {
        let stage = Arc::clone(&self.stage);
        let mut fleet = stage.fleet.lock().await;
        let names: Vec<String> = fleet.names().map(ToOwned::to_owned).collect();
        for part in names {
            if stage.parked.has(&part) {
                // It may die at its step meanwhile, which counts later; one that was started anew
                // does not die by itself.
                continue;
            }
            let Some(status) = fleet.ended(&part) else {
                continue;
            };
            let armed = self.armed.remove(&part);
            match (armed, status.signal()) {
                (Some(armed), Some(SIGKILL)) => {
                    *self.tally.hits.entry(armed.point).or_default() += 1;
                    *self.covered.entry((kind(&part), armed.point)).or_default() += 1;
                    self.died(&part, armed.point.name());
                }
                _ => stage.complain(format!("{part} ended by itself: {status}; see its log")),
            }
            fleet.take(&part);
            // Not again at once, or those that are busy would die all the time.
            self.start(&mut fleet, &part, 25).await?;
        }
        Ok(())
    }

    /// Kills one at this very moment.
    async fn strike(&mut self) -> Result<()> {
        let stage = Arc::clone(&self.stage);
        let mut fleet = stage.fleet.lock().await;
        let candidates: Vec<String> = fleet
            .names()
            .filter(|part| !stage.parked.has(part))
            .filter(|part| {
                self.armed
                    .get(*part)
                    .is_none_or(|armed| armed.since.elapsed() > PATIENCE)
            })
            .map(ToOwned::to_owned)
            .collect();
        let Some(victim) = self.dice.pick(&candidates).cloned() else {
            return Ok(());
        };
        // It may have died at its step a moment ago.
        let by_itself = fleet.ended(&victim).is_some();
        if by_itself {
            return Ok(());
        }
        self.armed.remove(&victim);
        fleet.kill(&victim).await?;
        self.tally.at_random += 1;
        self.died(&victim, "at a random time");
        tokio::time::sleep(self.dice.ms(0, 400)).await;
        self.start(&mut fleet, &victim, 85).await
    }

    fn died(&mut self, part: &str, at: &str) {
        self.tally.kills += 1;
        *self
            .tally
            .victims
            .entry(processor(part).to_owned())
            .or_default() += 1;
        self.stage.kills.store(self.tally.kills, Ordering::Release);
        self.stage
            .say(&format!("kill {:>4}  {part:<18} {at}", self.tally.kills));
    }

    /// Starts a part again, so many times in a hundred with a step at which it is to die.
    async fn start(&mut self, fleet: &mut Fleet, part: &str, share: u64) -> Result<()> {
        let done = self.tally.kills >= self.stage.plan.kills;
        if done || !self.dice.percent(share) {
            return fleet.start(part).await;
        }
        let kind = kind(part);
        let hit = |point: &Point| self.covered.get(&(kind, *point)).copied().unwrap_or(0);
        let least = steps(kind).iter().map(hit).min().unwrap_or(0);
        let open: Vec<Point> = steps(kind)
            .iter()
            .copied()
            .filter(|point| hit(point) <= least + 1)
            .collect();
        let Some(point) = self.dice.pick(&open).copied() else {
            return fleet.start(part).await;
        };
        let nth = 1 + match point {
            Point::Assigned | Point::BeforeFind | Point::AfterFind => 0,
            _ => self.dice.below(3),
        };
        let armed = format!("{}:{nth}", point.name());
        fleet.start_with(part, &[(VARIABLE, &armed)]).await?;
        let since = Instant::now();
        self.armed.insert(part.to_owned(), Armed { point, since });
        Ok(())
    }
}
