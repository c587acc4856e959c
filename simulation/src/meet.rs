//! A world in which one request meets a fault, and the process that sends it a fate.

use crate::net::Fault;
use crate::process::Life;
use crate::script::{Script, Trouble};
use crate::tfchain::Ledger;
use crate::trace::Trace;
use crate::world::{Fixture, Outcome, World, in_time, name_of};
use anyhow::Result;
use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What befalls a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Befalls {
    /// The network does it.
    Network(Fault),
    /// TFChain does, once the transaction has come; over the wire alone.
    Chain(Trouble),
}

impl Display for Befalls {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(fault) => write!(f, "{fault:?}"),
            Self::Chain(trouble) => write!(f, "{trouble:?}"),
        }
    }
}

/// What becomes of the sender of a request, right after it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: the first try.
    GoesOn,
    /// Killed and started again: the record is delivered again.
    Restarted,
    /// Frozen beyond its session; another takes over, then it wakes: a zombie.
    Frozen,
    /// Killed; the other slot takes over: a second owner.
    Replaced,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::GoesOn, Self::Restarted, Self::Frozen, Self::Replaced];
}

/// Lives through a script in which something befalls the first request of a kind, and its sender
/// meets a fate. The outcome has a violation if that never happened.
///
/// # Errors
/// When the world cannot be built.
pub fn meet(
    script: &Script,
    fixture: &Fixture,
    trace: &Trace,
    what: &'static str,
    befalls: Befalls,
    fate: Fate,
) -> Result<Outcome> {
    in_time(async {
        let world = World::new(1, script, fixture, trace)?;
        let mut processes = world.start_all(script);
        let sender: Arc<Mutex<Option<usize>>> = Arc::default();
        let (told, known) = watch::channel(());
        let (places, noted) = (processes.clone(), Arc::clone(&sender));
        let fault = match befalls {
            Befalls::Network(fault) => fault,
            Befalls::Chain(_) => Fault::Nothing,
        };
        let chain = world.chain().clone();
        world.network().arm(what, fault, move |process| {
            let place = process.and_then(|p| places.iter().position(|other| other.is(&p)));
            if let (Some(place), Ok(mut noted)) = (place, noted.lock()) {
                *noted = Some(place);
                match fate {
                    Fate::GoesOn => {}
                    Fate::Frozen => places[place].set(Life::Frozen),
                    Fate::Restarted | Fate::Replaced => places[place].set(Life::Dead),
                }
            }
            if let (Befalls::Chain(trouble), Ledger::Wire(wired)) = (befalls, &chain) {
                wired.arm(trouble);
            }
            let _ = told.send(());
        });
        let places = processes.clone();
        tokio::spawn(after(world.clone(), places, sender, known, fate));
        let mut outcome = world.run(1, script, &mut processes).await?;
        if !world.network().met() {
            outcome.violations.push(format!("{what} never happened"));
        }
        Ok(outcome)
    })
}

/// What follows the fate.
async fn after(
    world: World,
    places: Vec<crate::process::Process>,
    sender: Arc<Mutex<Option<usize>>>,
    mut known: watch::Receiver<()>,
    fate: Fate,
) {
    let _ = known.changed().await;
    let Some(place) = sender.lock().ok().and_then(|s| *s) else {
        return;
    };
    world
        .trace()
        .say(|| format!("{fate:?}: {}", name_of(place)));
    match fate {
        Fate::GoesOn => {}
        Fate::Restarted => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.start(place);
        }
        Fate::Frozen => {
            world.watch_session(place, &places[place]);
            tokio::time::sleep(Duration::from_secs(45)).await;
            places[place].set(Life::Running);
        }
        Fate::Replaced => world.watch_session(place, &places[place]),
    }
}
