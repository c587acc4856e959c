//! Processes that can be frozen and killed at every await.

use crate::dice::Dice;
use crate::fence::Standing;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

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
    static CURRENT: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
}

/// A process.
#[derive(Clone)]
pub struct Process(Arc<Memory>);

struct Memory {
    state: Mutex<State>,
    standing: Mutex<Standing>,
}

impl Default for Process {
    fn default() -> Self {
        let state = State {
            life: Life::Running,
            fuse: None,
            wakers: BTreeMap::new(),
            tasks: 0,
        };
        Self(Arc::new(Memory {
            state: Mutex::new(state),
            standing: Mutex::default(),
        }))
    }
}

impl Process {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the log has told it about its partitions.
    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0
            .standing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The one whose task is running on this thread.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(|task| task.as_ref().map(|task| task.process.clone()))
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
    pub fn spawn(&self, task: Work) {
        let id = {
            let mut state = self.state();
            state.tasks += 1;
            state.tasks
        };
        tokio::spawn(Gated(Arc::new(Task {
            process: self.clone(),
            id,
            work: Mutex::new(Some(task)),
        })));
    }
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task of a process.
struct Task {
    process: Process,
    id: u64,
    /// Not there while it runs, nor once it has ended.
    work: Mutex<Option<Work>>,
}

impl Task {
    fn work(&self) -> MutexGuard<'_, Option<Work>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on to its next await.
    fn run(self: &Arc<Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(mut work) = self.work().take() else {
            return Poll::Ready(());
        };
        let before = CURRENT.replace(Some(Arc::clone(self)));
        let polled = work.as_mut().poll(context);
        CURRENT.set(before);
        if polled.is_pending() {
            *self.work() = Some(work);
        }
        polled
    }
}

/// Awaits something. Once it is there the task goes on before whoever brought it does: so it may come
/// about where the two run on threads of their own.
pub async fn at_once<F: Future>(awaited: F) -> F::Output {
    let mut awaited = pin!(awaited);
    poll_fn(|context| {
        let Some(task) = CURRENT.with_borrow(Clone::clone) else {
            return awaited.as_mut().poll(context);
        };
        let usual = context.waker().clone();
        let waker = Waker::from(Arc::new(AtOnce { task, usual }));
        awaited.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

struct AtOnce {
    task: Arc<Task>,
    usual: Waker,
}

impl Wake for AtOnce {
    fn wake(self: Arc<Self>) {
        // It is looked at again in its turn, too, in which its end is noticed.
        self.usual.wake_by_ref();
        if self.task.process.life() == Life::Running {
            let _ = self.task.run(&mut Context::from_waker(&self.usual));
        }
    }
}

/// A task that runs only while its process does.
struct Gated(Arc<Task>);

impl Future for Gated {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Task { process, id, .. } = &*self.0;
        let (life, wake) = {
            let mut state = process.state();
            state.wakers.insert(*id, context.waker().clone());
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
        let polled = match life {
            Life::Frozen => Poll::Pending,
            Life::Dead => {
                let work = self.0.work().take();
                drop(work);
                Poll::Ready(())
            }
            Life::Running => self.0.run(context),
        };
        if polled.is_ready() {
            process.state().wakers.remove(id);
        }
        polled
    }
}
