//! Processes that can be frozen and killed at every await.

use crate::dice::Dice;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// `SIGSTOP`: it does nothing, and the world goes on.
    Frozen,
    /// `SIGKILL`.
    Dead,
}

/// What befalls a process when its fuse has burnt down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuse {
    /// Polls of its tasks left.
    pub polls: u64,
    /// Killed, or else frozen.
    pub kill: bool,
}

struct State {
    life: Life,
    fuse: Option<Fuse>,
    wakers: BTreeMap<u64, Waker>,
    tasks: u64,
}

thread_local! {
    static CURRENT: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// A process.
#[derive(Clone)]
pub struct Process(Arc<Mutex<State>>);

impl Default for Process {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            life: Life::Running,
            fuse: None,
            wakers: BTreeMap::new(),
            tasks: 0,
        })))
    }
}

impl Process {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one whose task is running on this thread.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Whether both are the same process.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What it is doing.
    #[must_use]
    pub fn life(&self) -> Life {
        self.state().life
    }

    /// Kills, freezes or wakes it.
    pub fn set(&self, life: Life) {
        let wakers: Vec<Waker> = {
            let mut state = self.state();
            if state.life == Life::Dead {
                return;
            }
            state.life = life;
            state.fuse = None;
            state.wakers.values().cloned().collect()
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// Lets something befall it after some more polls of its tasks.
    pub fn light(&self, kill: bool, dice: &Dice) {
        self.state().fuse = Some(Fuse {
            polls: dice.below(40),
            kill,
        });
    }

    /// Runs a task as part of the process.
    pub fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let id = {
            let mut state = self.state();
            state.tasks += 1;
            state.tasks
        };
        tokio::spawn(Gated {
            process: self.clone(),
            id,
            task: Some(task),
        });
    }
}

/// A task that runs only while its process does.
struct Gated {
    process: Process,
    id: u64,
    task: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Future for Gated {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let id = self.id;
        let (life, wake) = {
            let mut state = self.process.state();
            state.wakers.insert(id, context.waker().clone());
            let mut wake = Vec::new();
            if state.life == Life::Running
                && let Some(fuse) = &mut state.fuse
            {
                if fuse.polls == 0 {
                    state.life = if fuse.kill { Life::Dead } else { Life::Frozen };
                    state.fuse = None;
                    wake = state.wakers.values().cloned().collect();
                } else {
                    fuse.polls -= 1;
                }
            }
            (state.life, wake)
        };
        for waker in wake {
            waker.wake();
        }
        match life {
            Life::Frozen => return Poll::Pending,
            Life::Dead => {
                self.task = None;
                self.process.state().wakers.remove(&id);
                return Poll::Ready(());
            }
            Life::Running => {}
        }
        let process = self.process.clone();
        let Some(task) = &mut self.task else {
            return Poll::Ready(());
        };
        CURRENT.set(Some(process.clone()));
        let polled = task.as_mut().poll(context);
        CURRENT.set(None);
        match polled {
            Poll::Ready(()) => {
                self.process.state().wakers.remove(&id);
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
