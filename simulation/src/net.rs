//! The network between us and the counterparties: slow, lossy, late, and it repeats itself.

use crate::dice::Dice;
use crate::trace::Trace;
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

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
        let kind = match fault {
            Some(0..=2) => "not sent",
            Some(3..=4) => "lost on the way",
            Some(5..=8) => "answer lost",
            Some(9..=11) => "late",
            Some(_) => "duplicated",
            None => "",
        };
        if !kind.is_empty() {
            self.trace.say(|| format!("network: {what}: {kind}"));
        }
        if kind == "not sent" {
            tokio::time::sleep(there).await;
            return Err(Unanswered::NotSent);
        }
        let (tell, told) = oneshot::channel();
        let patience = there + Duration::from_secs(10);
        tokio::spawn(async move {
            match kind {
                "lost on the way" => {}
                "late" => {
                    tokio::time::sleep(there + late).await;
                    act();
                }
                "answer lost" => {
                    tokio::time::sleep(there).await;
                    act();
                }
                "duplicated" => {
                    tokio::time::sleep(there).await;
                    let answer = act();
                    tokio::time::sleep(back).await;
                    let _ = tell.send(answer);
                    tokio::time::sleep(late).await;
                    act();
                    return;
                }
                _ => {
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
