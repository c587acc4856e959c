//! Freezes: a process stops beyond its session, another takes over, and then the first one wakes.

use super::dice::Dice;
use super::stage::Stage;
use anyhow::{Context, Result};
use gridway::fleet::Running;
use gridway::processors;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Beyond the session of four seconds.
const FROZEN_MS: (u64, u64) = (5_000, 7_500);
/// How long a takeover, or the end of a fenced process, may take while the whole stack is there.
const WITHIN: Duration = Duration::from_secs(30);

/// Freezes as often as planned, spread over the kills.
pub async fn run(stage: Arc<Stage>, mut dice: Dice) -> Result<()> {
    let count = u64::from(stage.plan.freezes);
    for number in 0..count {
        stage.progress(number * 4 + 1, count * 4 + 1).await;
        // Each in turn, so that all come up; the start is left to chance.
        let victims = processors::ALL.len() as u64 + 1;
        let turn = usize::try_from((number + stage.plan.seed) * 4 % victims)?;
        match processors::ALL.get(turn) {
            None => replaced(&stage, &mut dice, "projections").await?,
            Some((name, _)) if dice.percent(30) => replaced(&stage, &mut dice, name).await?,
            Some((name, topic)) => {
                taken_over(&stage, &mut dice, name, topic.partitions).await?;
            }
        }
    }
    Ok(())
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(pid)?), signal).context("signalling a process")
}

/// The processor's other slot takes the partitions over; the zombie must find that out.
async fn taken_over(stage: &Stage, dice: &mut Dice, name: &str, partitions: i32) -> Result<()> {
    stage.parked.add(name);
    let second = format!("{name}/1");
    let lent = {
        let mut fleet = stage.fleet.lock().await;
        let there = fleet.names().any(|part| part == second);
        // Anew, so that none is about to die at its step meanwhile.
        fleet.kill(name).await?;
        fleet.start(name).await?;
        if there {
            fleet.kill(&second).await?;
        }
        fleet.start(&second).await?;
        !there
    };
    // So that both have partitions.
    tokio::time::sleep(dice.ms(1_500, 2_500)).await;
    let (frozen, other) = if dice.percent(50) {
        (name.to_owned(), second.clone())
    } else {
        (second.clone(), name.to_owned())
    };
    let pid = stage.fleet.lock().await.pid(&frozen);
    let pid = pid.with_context(|| format!("{frozen} does not run"))?;
    signal(pid, Signal::SIGSTOP)?;
    stage.say(&format!("freeze     {frozen:<18} {other} is to take over"));
    tokio::time::sleep(dice.ms(FROZEN_MS.0, FROZEN_MS.1)).await;
    let address = stage.fleet.lock().await.address(&other).map(str::to_owned);
    let live = live_partitions(address.as_deref().unwrap_or_default(), partitions).await;
    signal(pid, Signal::SIGCONT)?;
    stage.say(&format!(
        "wakes      {frozen:<18} {other} had {live} of {partitions} partitions"
    ));
    if live < partitions {
        stage.say(&format!(
            "           {other} had not taken everything over yet: the broker may have been away"
        ));
    }
    // The zombie now finds its partitions gone. It may go on with new ones or end, both are right.
    tokio::time::sleep(dice.ms(1_500, 3_000)).await;
    {
        let mut fleet = stage.fleet.lock().await;
        for part in [&frozen, &other] {
            revive(stage, &mut fleet, part).await?;
        }
        if lent {
            fleet.kill(&second).await?;
        }
    }
    stage.parked.remove(name);
    Ok(())
}

/// Starts a part that has ended: it died at its armed step, or was fenced.
async fn revive(stage: &Stage, fleet: &mut gridway::fleet::Fleet, part: &str) -> Result<()> {
    if let Some(status) = fleet.ended(part) {
        stage.say(&format!(
            "           {part} had ended ({status}) and starts again"
        ));
        fleet.take(part);
        fleet.start(part).await?;
    }
    Ok(())
}

/// A new process takes the very slot; the zombie must be fenced and end.
async fn replaced(stage: &Stage, dice: &mut Dice, name: &str) -> Result<()> {
    stage.parked.add(name);
    let mut zombie: Running = {
        let mut fleet = stage.fleet.lock().await;
        fleet.kill(name).await?;
        fleet.start(name).await?;
        fleet
            .take(name)
            .with_context(|| format!("{name} does not run"))?
    };
    tokio::time::sleep(dice.ms(1_500, 2_500)).await;
    let pid = zombie.pid().with_context(|| format!("{name} has ended"))?;
    signal(pid, Signal::SIGSTOP)?;
    stage.say(&format!("freeze     {name:<18} another takes its slot"));
    stage.fleet.lock().await.start(name).await?;
    tokio::time::sleep(dice.ms(2_000, 6_000)).await;
    signal(pid, Signal::SIGCONT)?;
    let woken = Instant::now();
    let seconds = || woken.elapsed().as_secs_f32();
    // Nobody can be told to go by a broker that is away, nor join while the registry is.
    let mut there = woken;
    loop {
        if stage.away.load(Ordering::Acquire) {
            there = Instant::now();
        }
        if let Some(status) = zombie.ended() {
            stage.say(&format!(
                "wakes      {name:<18} and ends after {:.1} s ({status})",
                seconds()
            ));
            break;
        }
        let mut fleet = stage.fleet.lock().await;
        if let Some(status) = fleet.ended(name) {
            // Who wakes with lost connections joins anew, and is then the later one: one of the
            // two goes, which is what counts.
            stage.say(&format!(
                "wakes      {name:<18} and takes the slot back after {:.1} s; the other ends ({status})",
                seconds()
            ));
            fleet.put(name, zombie);
            break;
        }
        drop(fleet);
        if there.elapsed() > WITHIN {
            stage.complain(format!(
                "{name} woke up, its slot taken, and both run after {:.0} s, the last {} s of them \
                 with the whole stack there",
                seconds(),
                WITHIN.as_secs()
            ));
            zombie.kill().await?;
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    {
        let mut fleet = stage.fleet.lock().await;
        revive(stage, &mut fleet, name).await?;
    }
    stage.parked.remove(name);
    Ok(())
}

/// How many partitions a processor works on, by its metrics; waits until they are `all`.
async fn live_partitions(address: &str, all: i32) -> i32 {
    let until = Instant::now() + WITHIN;
    let mut live = 0;
    while Instant::now() < until {
        let text = match reqwest::get(format!("{address}/metrics")).await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        let count = text
            .lines()
            .filter(|line| line.starts_with("gridway_partition_state{"))
            // Live, or paused while a counterparty is down.
            .filter(|line| line.ends_with(" 2") || line.ends_with(" 3"))
            .count();
        live = i32::try_from(count).unwrap_or(0);
        if live >= all {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    live
}
