//! Child processes that cannot outlive their parent.
//!
//! Every child is launched through `setpriv --pdeathsig`, so the kernel ends it when the thread
//! that spawned it is gone, whatever killed that. The thread is a dedicated one that lives as
//! long as this process: a runtime's worker or blocking thread may end long before.
//! Every child leads its own process group, so a Ctrl-C in the terminal reaches the parent only,
//! which then stops its children in order.

use crate::{Part, StackError};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How often a state that cannot be awaited is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// An account to run a child as.
#[derive(Debug, Clone)]
pub(crate) struct Account(pub(crate) String);

/// A command line with everything that a start, and every restart, needs.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) part: Part,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// The child sees these and a few harmless ones of ours; see [`INHERITED`].
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dir: PathBuf,
    pub(crate) account: Option<Account>,
    /// What the child is asked to stop with.
    pub(crate) stop: Signal,
    /// Stdout and stderr are appended here.
    pub(crate) log: PathBuf,
}

/// Nothing else of our environment reaches a child: neither secrets nor settings that would
/// change how it behaves.
const INHERITED: [&str; 8] = [
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "JAVA_HOME",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "MAVEN_OPTS",
];

/// Gives `command` the environment that children get.
pub(crate) fn clean_environment(command: &mut Command) {
    command.env_clear();
    for name in INHERITED {
        if let Some(value) = crate::tools::variable(name) {
            command.env(name, value);
        }
    }
}

impl Launch {
    /// The whole command line, for `ps` to show and a person to repeat.
    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        if let Some(Account(name)) = &self.account {
            command.args(["--reuid", name, "--regid", name, "--clear-groups"]);
        }
        let signal = self.stop.as_str().trim_start_matches("SIG");
        command
            .args(["--pdeathsig", signal, "--"])
            .arg(&self.program)
            .args(&self.args);
        clean_environment(&mut command);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Starts the child.
    pub(crate) fn start(&self) -> Result<Process, StackError> {
        let spawned = (|| {
            let log = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.log)?;
            let log_from = log.metadata()?.len();
            let mut command = self.command();
            command.stdout(log.try_clone()?).stderr(log);
            Ok((spawn(command)?, log_from))
        })();
        match spawned {
            Ok((child, log_from)) => Ok(Process {
                part: self.part,
                child,
                stop: self.stop,
                log: self.log.clone(),
                log_from,
            }),
            Err(source) => Err(StackError::Spawn {
                part: self.part,
                source,
            }),
        }
    }
}

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Spawns on the one thread whose end the children are tied to.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let gone = || io::Error::other("the spawning thread has ended");
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        // A failed start of the thread drops `queue`, and the send below reports it.
        let _ = thread::Builder::new()
            .name("sandbox-spawner".into())
            .spawn(move || {
                for (mut command, answer) in queue {
                    // The asker waits for the answer; if it is gone, nobody would own the child.
                    if let Err(mpsc::SendError(Ok(mut orphan))) = answer.send(command.spawn()) {
                        let _ = orphan.kill();
                    }
                }
            });
        Mutex::new(jobs)
    });
    let (answer, answered) = mpsc::channel();
    spawner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

/// `kill -9` for a child that leads a process group and for the group; reaps the child.
pub(crate) fn kill_group(child: &mut Child) {
    let _ = killpg(pid(child), Signal::SIGKILL);
    let _ = child.kill();
    let _ = child.wait();
}

fn pid(child: &Child) -> Pid {
    // Pids are positive and far below i32::MAX on Linux (at most 2^22).
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// A started child.
#[derive(Debug)]
pub(crate) struct Process {
    part: Part,
    child: Child,
    stop: Signal,
    log: PathBuf,
    /// Where in the log this start's output begins.
    log_from: u64,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        pid(&self.child)
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What this start has logged so far.
    pub(crate) fn output(&self) -> String {
        read_from(&self.log, self.log_from).unwrap_or_default()
    }

    /// An error that carries the end of the log.
    pub(crate) fn failure(&self, reason: impl Into<String>) -> StackError {
        StackError::NotReady {
            part: self.part,
            reason: reason.into(),
            log: tail(&self.output(), 20),
        }
    }

    /// Asks it to stop, waits until it has, and kills it when it takes longer than `deadline`.
    pub(crate) async fn stop(mut self, deadline: Duration) {
        self.signal_stop();
        let until = Instant::now() + deadline;
        while self.ended().is_none() {
            if Instant::now() >= until {
                return self.kill().await;
            }
            tokio::time::sleep(LOOK).await;
        }
        // Whatever it left behind in its group goes as well.
        let _ = killpg(self.pid(), Signal::SIGKILL);
    }

    /// Sends the signal that asks for a clean stop.
    pub(crate) fn signal_stop(&self) {
        let _ = kill(self.pid(), self.stop);
    }

    /// `kill -9` for it and everything that it started, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.kill_now();
        while self.ended().is_none() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// `kill -9` without waiting.
    pub(crate) fn kill_now(&self) {
        // Postgres' backends leave the process group, so groups alone do not reach them.
        let descendants = descendants(self.child.id());
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = kill(self.pid(), Signal::SIGKILL);
        for pid in descendants {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    /// `kill -9`, and the process is reaped before this returns.
    pub(crate) fn kill_and_reap(&mut self) {
        self.kill_now();
        let _ = self.child.wait();
    }
}

/// The processes below `root`, in no order.
fn descendants(root: u32) -> Vec<Pid> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // `pid (name) state ppid …`, and the name may hold anything.
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1))
            .and_then(|parent| parent.parse::<u32>().ok());
        if let Some(parent) = parent {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found
        .iter()
        .skip(1)
        .filter_map(|pid| i32::try_from(*pid).ok())
        .map(Pid::from_raw)
        .collect()
}

fn read_from(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}
