//! The network between us and the counterparties: slow, lossy, late, and it repeats itself.

use crate::dice::Dice;
use crate::process::Process;
use crate::time;
use crate::trace::Trace;
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// What can go wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Nothing,
    /// The connection is refused.
    NotSent,
    /// It never arrives, and nobody says so.
    LostOnTheWay,
    /// The work is done, the answer is lost.
    AnswerLost,
    /// It arrives long after the sender has given up.
    Late,
    /// It arrives twice, the second time late.
    Duplicated,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Nothing,
        Self::NotSent,
        Self::LostOnTheWay,
        Self::AnswerLost,
        Self::Late,
        Self::Duplicated,
    ];
}

/// A fault for the first request of a kind, and what happens to the process that sends it.
struct Armed {
    what: &'static str,
    fault: Fault,
    then: Arc<dyn Fn(Option<Process>) + Send + Sync>,
}

/// A counterparty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Stripe.
    Stripe,
    /// Stellar, through Horizon.
    Stellar,
    /// TFChain.
    Tfchain,
}

impl Who {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stripe, Self::Stellar, Self::Tfchain];

    /// Whom a request of this kind is for.
    #[must_use]
    pub fn of(what: &str) -> Self {
        match what {
            "create intent" | "find intent" | "create refund" | "find refund" | "list events" => {
                Self::Stripe
            }
            "create contract" | "create name" | "create rent" | "create batch"
            | "find contract" | "find batch" | "update contract" | "find update"
            | "cancel contract" | "find cancel" | "activate" | "accept terms" | "create twin"
            | "head" | "blocks" | READ | CONNECT => Self::Tfchain,
            _ => Self::Stellar,
        }
    }
}

/// What a counterparty that is down does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Connections are refused.
    Refusing,
    /// Nobody ever answers. Every second request is carried out all the same.
    TimingOut,
    /// Every answer is 503.
    Unavailable,
}

impl Outage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Refusing, Self::TimingOut, Self::Unavailable];
}

/// A request as it was sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// When, since the world began.
    pub at: Duration,
    /// Its kind.
    pub what: &'static str,
}

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing left this machine.
    NotSent,
    /// It may have arrived.
    Lost,
    /// The answer was 503.
    Unavailable,
}

/// A read over the wire, of which a find takes many.
pub const READ: &str = "read";
/// The beginning of a connection over the wire.
pub const CONNECT: &str = "connect";
/// Of so many reads over the wire that would meet a wrong, one does.
const READS_SPARED: u64 = 12;

/// How a request fares.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// How long it takes.
    pub there: Duration,
    /// How long the answer takes.
    pub back: Duration,
    /// How much later it comes when it comes late, or again.
    pub late: Duration,
    /// What goes wrong.
    pub fault: Fault,
}

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

struct State {
    dice: Dice,
    faults: Cell<u64>,
    armed: Option<Armed>,
    down: Option<(Who, Outage)>,
    /// Every request, once somebody counts them.
    calls: Option<Vec<Call>>,
    /// What left a process that had not proven that the work is its own.
    unproven: Vec<String>,
}

/// The network. Cloning is cheap.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    trace: Trace,
}

impl Network {
    /// One that does at most `faults` wrongs.
    #[must_use]
    pub fn new(seed: u64, faults: u64, trace: Trace) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                dice: Dice::new(seed, "network"),
                faults: Cell::new(faults),
                armed: None,
                down: None,
                calls: None,
                unproven: Vec::new(),
            })),
            trace,
        }
    }

    fn with<R>(&self, act: impl FnOnce(&State) -> R) -> R {
        act(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        self.with(|s| s.faults.set(0));
    }

    /// The next request of this kind meets this fault; `then` is told who sends it.
    pub fn arm(
        &self,
        what: &'static str,
        fault: Fault,
        then: impl Fn(Option<Process>) + Send + Sync + 'static,
    ) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.armed = Some(Armed {
            what,
            fault,
            then: Arc::new(then),
        });
    }

    /// Whether what was armed was met.
    #[must_use]
    pub fn met(&self) -> bool {
        self.with(|s| s.armed.is_none())
    }

    /// From now on this counterparty is down, or nobody is.
    pub fn set_down(&self, down: Option<(Who, Outage)>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.down = down;
    }

    /// What the counterparty of this kind of request does, if it is down.
    #[must_use]
    pub fn outage(&self, what: &str) -> Option<Outage> {
        self.with(|s| s.down)
            .filter(|(who, _)| *who == Who::of(what))
            .map(|(_, outage)| outage)
    }

    /// Counts all requests from now on.
    pub fn count_calls(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.calls = Some(Vec::new());
    }

    /// The requests that were counted.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.with(|s| s.calls.clone()).unwrap_or_default()
    }

    /// A call that this account signs leaves its sender, which must have proven that it may.
    pub fn signed(&self, what: &'static str, sender: Option<&Process>, account: &str) {
        let Some(wrong) = sender.and_then(|process| process.standing().leaves(account)) else {
            return;
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{what}: sent by a process though {wrong}");
        self.trace.say(|| format!("network: {line}"));
        state.unproven.push(line);
    }

    /// What left a process that had not proven that the work is its own.
    #[must_use]
    pub fn unproven(&self) -> Vec<String> {
        self.with(|s| s.unproven.clone())
    }

    /// Notes a request; gives its number.
    fn note(&self, what: &'static str) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(calls) = &mut state.calls else {
            return 0;
        };
        calls.push(Call {
            at: time::elapsed(),
            what,
        });
        calls.len()
    }

    fn disarm(&self, what: &'static str) -> Option<Armed> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.armed.take_if(|armed| armed.what == what)
    }

    /// How old the state is that a read shows, between nothing and `most`.
    pub fn lag(&self, most: u64) -> u64 {
        self.with(|s| {
            let drawn = s.dice.below(100);
            let lag = s.dice.below(most + 1);
            if s.faults.get() > 0 && drawn < 30 {
                lag
            } else {
                0
            }
        })
    }

    /// How long a message over the wire takes back.
    #[must_use]
    pub fn way_back(&self) -> Duration {
        self.with(|s| s.dice.millis(1, 40))
    }

    /// How the next request of a kind fares, which this process sends.
    #[must_use]
    pub fn passage(&self, what: &'static str, sender: Option<Process>) -> Passage {
        let (there, back, fault, late) = self.with(|s| {
            let there = s.dice.millis(1, 40);
            let back = s.dice.millis(1, 40);
            let fault = s.dice.below(100);
            let late = s.dice.millis(500, 60_000);
            let spared = what == READ && s.dice.below(READS_SPARED) > 0;
            let fault = if fault < 14 && s.faults.get() > 0 && !spared {
                s.faults.set(s.faults.get() - 1);
                Some(fault)
            } else {
                None
            };
            (there, back, fault, late)
        });
        let mut fault = match fault {
            Some(0..=2) => Fault::NotSent,
            Some(3..=4) => Fault::LostOnTheWay,
            Some(5..=8) => Fault::AnswerLost,
            Some(9..=11) => Fault::Late,
            Some(_) => Fault::Duplicated,
            None => Fault::Nothing,
        };
        if let Some(armed) = self.disarm(what) {
            fault = armed.fault;
            (armed.then)(sender);
        }
        if fault != Fault::Nothing {
            self.trace.say(|| format!("network: {what}: {fault:?}"));
        }
        Passage {
            there,
            back,
            late,
            fault,
        }
    }

    /// Carries a request out. What was sent arrives though the sender dies or freezes.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl Fn() -> T + Send + Sync + 'static,
    ) -> Result<T, Unanswered> {
        let Passage {
            there,
            back,
            late,
            fault,
        } = self.passage(what, Process::current());
        if fault == Fault::NotSent {
            tokio::time::sleep(there).await;
            return Err(Unanswered::NotSent);
        }
        let number = self.note(what);
        if let Some(outage) = self.outage(what) {
            tokio::time::sleep(there).await;
            match outage {
                Outage::Refusing => return Err(Unanswered::NotSent),
                Outage::Unavailable => return Err(Unanswered::Unavailable),
                Outage::TimingOut => {
                    if number.is_multiple_of(2) {
                        act();
                    }
                    tokio::time::sleep(PATIENCE).await;
                    return Err(Unanswered::Lost);
                }
            }
        }
        let (tell, told) = oneshot::channel();
        let patience = there + PATIENCE;
        tokio::spawn(async move {
            match fault {
                Fault::LostOnTheWay | Fault::NotSent => {}
                Fault::Late => {
                    tokio::time::sleep(there + late).await;
                    act();
                }
                Fault::AnswerLost => {
                    tokio::time::sleep(there).await;
                    act();
                }
                Fault::Duplicated => {
                    tokio::time::sleep(there).await;
                    let answer = act();
                    tokio::time::sleep(back).await;
                    let _ = tell.send(answer);
                    tokio::time::sleep(late).await;
                    act();
                    return;
                }
                Fault::Nothing => {
                    tokio::time::sleep(there).await;
                    let answer = act();
                    tokio::time::sleep(back).await;
                    let _ = tell.send(answer);
                    return;
                }
            }
            // The connection hangs until the client gives up.
            tokio::time::sleep(patience).await;
            drop(tell);
        });
        told.await.map_err(|_| Unanswered::Lost)
    }
}
