//! The network between us and the counterparties: slow, lossy, late, and it repeats itself.

use crate::dice::Dice;
use crate::process::Process;
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

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing left this machine.
    NotSent,
    /// It may have arrived.
    Lost,
}

struct State {
    dice: Dice,
    faults: Cell<u64>,
    armed: Option<Armed>,
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

    /// Carries a request out. What was sent arrives though the sender dies or freezes.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl Fn() -> T + Send + Sync + 'static,
    ) -> Result<T, Unanswered> {
        let (there, back, fault, late) = self.with(|s| {
            let there = s.dice.millis(1, 40);
            let back = s.dice.millis(1, 40);
            let fault = s.dice.below(100);
            let late = s.dice.millis(500, 60_000);
            let fault = if fault < 14 && s.faults.get() > 0 {
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
            (armed.then)(Process::current());
        }
        if fault != Fault::Nothing {
            self.trace.say(|| format!("network: {what}: {fault:?}"));
        }
        if fault == Fault::NotSent {
            tokio::time::sleep(there).await;
            return Err(Unanswered::NotSent);
        }
        let (tell, told) = oneshot::channel();
        let patience = there + Duration::from_secs(10);
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
