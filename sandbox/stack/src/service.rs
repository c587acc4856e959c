//! One part of the stack: started, killed, started again on the same port, stopped.

use crate::child::{LOOK, Launch, Process};
use crate::ports::{self, Reserved};
use crate::ready::Ready;
use crate::{Part, StackError, progress::Progress, tools::Tools};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_mins(2);
/// The JVMs write their class archive at the first clean stop, which takes them some seconds.
const STOP_WITHIN: Duration = Duration::from_secs(30);
const START_ATTEMPTS: u32 = 5;

/// How to start a part on given ports.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) launch: Launch,
    pub(crate) ready: Ready,
    /// What its clients connect to.
    pub(crate) address: String,
}

/// A part that was started.
#[derive(Debug)]
pub(crate) struct Service {
    plan: Plan,
    /// Held across kills and restarts, so that they follow each other.
    process: tokio::sync::Mutex<Option<Process>>,
}

impl Service {
    /// Starts a part on `count` free ports and waits until it answers. Another program may take
    /// a port in the instant between our giving it up and the child's binding it: then again.
    pub(crate) async fn start(
        part: Part,
        count: usize,
        progress: Progress,
        plan: impl Fn(&[u16]) -> Result<Plan, StackError>,
    ) -> Result<Self, StackError> {
        let begun = Instant::now();
        let mut attempt = 1;
        loop {
            let reserved = (0..count)
                .map(|_| ports::reserve())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|source| StackError::Spawn { part, source })?;
            let numbers: Vec<u16> = reserved.iter().map(Reserved::port).collect();
            let plan = plan(&numbers)?;
            for port in reserved {
                port.release();
            }
            match start_and_wait(&plan).await {
                Ok(process) => {
                    let seconds = begun.elapsed().as_secs_f32();
                    progress.say(&format!(
                        "{part} ready in {seconds:.1} s ({})",
                        plan.address
                    ));
                    return Ok(Self {
                        plan,
                        process: tokio::sync::Mutex::new(Some(process)),
                    });
                }
                Err(StackError::NotReady { log, .. })
                    if attempt < START_ATTEMPTS && ports::clashed(&log) =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.plan.address
    }

    /// The address at which it is asked whether it is ready; empty where that is no address.
    pub(crate) fn asked_at(&self) -> &str {
        match &self.plan.ready {
            Ready::Http { url } => url,
            _ => "",
        }
    }

    /// The process id, while it runs.
    pub(crate) async fn id(&self) -> Option<u32> {
        let mut process = self.process.lock().await;
        let process = process.as_mut()?;
        if process.ended().is_some() {
            None
        } else {
            Some(process.id())
        }
    }

    /// `kill -9`.
    pub(crate) async fn kill(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.kill().await;
        }
    }

    /// Starts it again, on the same port and data, after killing it if it still runs.
    pub(crate) async fn restart(&self) -> Result<(), StackError> {
        let mut slot = self.process.lock().await;
        if let Some(process) = slot.take() {
            process.kill().await;
        }
        let until = Instant::now() + READY_WITHIN;
        loop {
            match start_and_wait(&self.plan).await {
                Ok(process) => {
                    *slot = Some(process);
                    return Ok(());
                }
                // What the killed one leaves behind may be around for a moment: its sockets,
                // Postgres' shared memory.
                Err(StackError::NotReady { log, .. })
                    if Instant::now() < until
                        && (ports::clashed(&log) || log.contains("pre-existing shared memory")) =>
                {
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Stops it cleanly, or kills it when that takes too long.
    pub(crate) async fn stop(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.stop(STOP_WITHIN).await;
        }
    }

    /// `kill -9` without an await, for a drop.
    pub(crate) fn kill_and_reap(&mut self) {
        if let Some(mut process) = self.process.get_mut().take() {
            process.kill_and_reap();
        }
    }
}

/// A part that started while another failed is not left behind.
impl Drop for Service {
    fn drop(&mut self) {
        self.kill_and_reap();
    }
}

/// A process that is killed when the wait for it fails or is given up.
struct Unready(Option<Process>);

impl Drop for Unready {
    fn drop(&mut self) {
        if let Some(mut process) = self.0.take() {
            process.kill_and_reap();
        }
    }
}

async fn start_and_wait(plan: &Plan) -> Result<Process, StackError> {
    let mut unready = Unready(Some(plan.launch.start()?));
    if let Some(process) = unready.0.as_mut() {
        plan.ready.wait(process, READY_WITHIN).await?;
    }
    unready.0.take().ok_or(StackError::Ports {
        part: plan.launch.part,
    })
}

fn archive_name(part: Part, tools: &Tools) -> String {
    format!("{part}-{}.jsa", tools.java_build)
}

/// A JVM starts in half the time when it maps its classes instead of loading them. The archive
/// is written at a clean stop into the run folder and kept by [`keep_shared_classes`].
pub(crate) fn shared_classes(home: &Path, run: &Path, part: Part, tools: &Tools) -> String {
    let name = archive_name(part, tools);
    let kept = home.join(&name);
    if kept.exists() {
        format!("-XX:SharedArchiveFile={}", kept.display())
    } else {
        format!("-XX:ArchiveClassesAtExit={}", run.join(name).display())
    }
}

/// Moves the archive of a cleanly stopped JVM beside its jars, for the next start.
pub(crate) fn keep_shared_classes(home: &Path, run: &Path, part: Part, tools: &Tools) {
    let name = archive_name(part, tools);
    let (written, kept): (PathBuf, PathBuf) = (run.join(&name), home.join(&name));
    if written.exists() && !kept.exists() {
        // Without it the next start is slower, and no worse.
        let _ = fs::rename(written, kept);
    }
}
