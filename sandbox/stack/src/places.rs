//! The sandbox folder: downloads that are kept, and run folders that are not.
//!
//! ```text
//! .sandbox/downloads/…         kept, shared by all stacks
//! .sandbox/run-<pid>[-<n>]/    one stack: settings, data, logs; gone after a clean stop
//! ```
//! A run folder holds a locked file `owner`. The lock ends with the process, however it ended,
//! so the next start knows the leftovers of a killed stack from a stack that runs.

use crate::child::LOOK;
use crate::{StackError, tools};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The folder of one stack, for as long as it runs.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Held for its lock.
    _owner: File,
}

/// Where the sandbox keeps its files: `dir`, or `$GRIDWAY_SANDBOX_DIR`, or `.sandbox` here.
pub(crate) fn root(dir: Option<&Path>) -> Result<PathBuf, StackError> {
    let root = dir
        .map(Path::to_path_buf)
        .or_else(|| tools::variable("GRIDWAY_SANDBOX_DIR").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(".sandbox"));
    fs::create_dir_all(&root)
        .and_then(|()| fs::canonicalize(&root))
        .map_err(|source| StackError::Folder { path: root, source })
}

impl RunFolder {
    /// Makes a fresh run folder below `root` and removes those whose owner is gone.
    pub(crate) fn create(root: &Path) -> Result<Self, StackError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let name = if number == 0 {
            format!("run-{pid}")
        } else {
            format!("run-{pid}-{number}")
        };
        let path = root.join(name);
        let make = || {
            // Nobody may see a run folder between its making and its locking.
            let gate = File::create(root.join("lock"))?;
            gate.lock()?;
            remove_abandoned(root);
            fs::create_dir(&path)?;
            let owner = File::create(path.join("owner"))?;
            owner.lock()?;
            Ok(owner)
        };
        match make() {
            Ok(owner) => Ok(Self {
                path,
                _owner: owner,
            }),
            Err(source) => Err(StackError::Folder { path, source }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes everything that the stack wrote, except what another account's folder needs.
    pub(crate) fn remove(&self) {
        remove_run(&self.path);
    }
}

/// Where a run keeps what lies outside its folder, one path a line; see `postgres`.
pub(crate) const ELSEWHERE: &str = "elsewhere";

/// Where a run keeps the folders on which it has mounted a file system, one path a line.
const MOUNTED: &str = "mounted";

/// Whether this process may mount file systems: root that was not stripped of it, as root in many
/// containers is.
#[must_use]
pub fn may_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["--mount", "true"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Mounts a file system in memory of so many MiB on `folder`, until the run is removed. Needs root.
pub(crate) fn mount(run: &Path, folder: &Path, mib: u32) -> io::Result<()> {
    fs::write(run.join(MOUNTED), format!("{}\n", folder.display()))?;
    let output = Command::new("mount")
        .args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={mib}m"),
            "gridway-sandbox",
        ])
        .arg(folder)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("mounting a small disk: {told}")))
}

/// Undoes [`mount`].
pub(crate) fn unmount(run: &Path) {
    if let Ok(mounted) = fs::read_to_string(run.join(MOUNTED)) {
        for folder in mounted.lines().filter(|line| line.contains("/run-")) {
            // Lazily: somebody may still look at it.
            let _ = Command::new("umount").args(["--lazy", folder]).status();
        }
        let _ = fs::remove_file(run.join(MOUNTED));
    }
}

fn remove_run(path: &Path) {
    unmount(path);
    if let Ok(elsewhere) = fs::read_to_string(path.join(ELSEWHERE)) {
        for folder in elsewhere
            .lines()
            .filter(|line| line.contains("/gridway-sandbox-"))
        {
            let _ = fs::remove_dir_all(folder);
        }
    }
    let _ = fs::remove_dir_all(path);
}

/// A kept run is marked with this file; a person who asked for it removes it by hand.
pub(crate) const KEEP: &str = "keep";

fn remove_abandoned(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_run = entry.file_name().to_string_lossy().starts_with("run-");
        if is_run && !path.join(KEEP).exists() && !owned(&path) {
            remove_run(&path);
        }
    }
}

fn owned(run: &Path) -> bool {
    match File::open(run.join("owner")).and_then(|owner| owner.try_lock().map_err(io::Error::from))
    {
        Ok(()) => false,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Locks `path` across processes until the file is dropped. Blocks until it has the lock or
/// `given_up` is set; then there is none.
pub(crate) fn lock(
    path: &Path,
    given_up: &AtomicBool,
    waiting: impl FnOnce(),
) -> io::Result<Option<File>> {
    let file = File::create(path)?;
    let mut waiting = Some(waiting);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if given_up.load(Ordering::Relaxed) => return Ok(None),
            Err(TryLockError::WouldBlock) => {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                std::thread::sleep(LOOK);
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test may stop where it finds the fault"
    )]
    use super::*;

    #[test]
    fn an_abandoned_run_goes_and_a_living_or_kept_one_stays() {
        let root = root(Some(
            &std::env::temp_dir().join(format!("gridway-places-{}", std::process::id())),
        ))
        .unwrap();
        let abandoned = root.join("run-1");
        fs::create_dir_all(&abandoned).unwrap();
        File::create(abandoned.join("owner")).unwrap();
        let kept = root.join("run-2");
        fs::create_dir_all(&kept).unwrap();
        File::create(kept.join(KEEP)).unwrap();
        let living = RunFolder::create(&root).unwrap();
        let second = RunFolder::create(&root).unwrap();
        assert!(!abandoned.exists() && kept.exists() && living.path().exists());
        second.remove();
        assert!(!second.path().exists());
        fs::remove_dir_all(root).unwrap();
    }
}
