//! Gridway's own processes on one machine: each part of the product as a child process.

use crate::processors;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a part may take until it listens.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running process.
pub struct Running {
    child: Child,
    address: String,
}

impl Running {
    /// Process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("killing a process")
    }
}

/// The processes, by the name of their part: `api`, `projections`, a processor's name, or
/// `<processor>/<slot>` for its further processes.
pub struct Fleet {
    program: PathBuf,
    environment: Vec<(String, String)>,
    logs: PathBuf,
    parts: BTreeMap<String, Running>,
}

/// Every part of the product.
#[must_use]
pub fn parts() -> Vec<&'static str> {
    let mut parts = vec!["projections", "api"];
    parts.extend(processors::ALL.iter().map(|(name, _)| *name));
    parts
}

impl Fleet {
    /// An empty fleet. `program` is the `gridway` binary; `environment` is what its processes
    /// get besides ours; each writes `<part>.log` into `logs`.
    #[must_use]
    pub fn new(program: PathBuf, environment: Vec<(String, String)>, logs: &Path) -> Self {
        Self {
            program,
            environment,
            logs: logs.to_path_buf(),
            parts: BTreeMap::new(),
        }
    }

    fn log(&self, part: &str) -> Result<File> {
        let path = self.log_path(part);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))
    }

    fn log_path(&self, part: &str) -> PathBuf {
        self.logs.join(format!("{}.log", part.replace('/', "-")))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // The kernel ends the child when this process dies, however it dies.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&self.program)
            .args(arguments);
        command
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command of `gridway` to its end and gives what it printed.
    ///
    /// # Errors
    /// When it fails; the error holds what it said.
    pub async fn once(&self, arguments: &[&str]) -> Result<String> {
        let output = self
            .command(arguments)
            .output()
            .await
            .context("starting gridway")?;
        if !output.status.success() {
            bail!(
                "gridway {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a part and waits until it listens. A part that was running is replaced.
    ///
    /// # Errors
    /// When it does not come up; the error names its log.
    pub async fn start(&mut self, part: &str) -> Result<()> {
        self.start_with(part, &[]).await
    }

    /// As [`Fleet::start`], with further environment variables for this process alone.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub async fn start_with(&mut self, part: &str, environment: &[(&str, &str)]) -> Result<()> {
        let running = self.launch(part, environment)?.await?;
        self.parts.insert(part.to_owned(), running);
        Ok(())
    }

    /// Starts a further process of a part, which is not one of the fleet.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub async fn extra(&self, part: &str, environment: &[(&str, &str)]) -> Result<Running> {
        self.launch(part, environment)?.await
    }

    fn launch(
        &self,
        part: &str,
        environment: &[(&str, &str)],
    ) -> Result<impl Future<Output = Result<Running>> + use<>> {
        let (name, slot) = part.split_once('/').unwrap_or((part, "0"));
        let arguments: Vec<&str> = match name {
            "api" | "projections" => vec!["serve", name],
            processor => vec!["serve", "processor", processor, "--slot", slot],
        };
        let mut child = self
            .command(&arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(self.log(part)?))
            .spawn()
            .with_context(|| format!("starting {part}: is setpriv (util-linux) there?"))?;
        let stdout = child.stdout.take().context("the child has no stdout")?;
        let log = self.log_path(part);
        let part = part.to_owned();
        Ok(async move {
            let mut lines = BufReader::new(stdout).lines();
            let first = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
            let Ok(Ok(Some(line))) = first else {
                bail!(
                    "{part} did not come up; the end of {}:\n{}",
                    log.display(),
                    tail(&log)
                );
            };
            let ready: serde_json::Value =
                serde_json::from_str(&line).with_context(|| format!("{part} said {line}"))?;
            let address = ready["listening"].as_str().unwrap_or_default().to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            Ok(Running { child, address })
        })
    }

    /// Starts all parts at once.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub async fn start_all(&mut self, parts: &[&str]) -> Result<()> {
        let mut starting = Vec::new();
        for part in parts {
            starting.push(((*part).to_owned(), tokio::spawn(self.launch(part, &[])?)));
        }
        for (part, running) in starting {
            let running = running.await??;
            self.parts.insert(part, running);
        }
        Ok(())
    }

    /// Where a part listens, `http://…`.
    #[must_use]
    pub fn address(&self, part: &str) -> Option<&str> {
        self.parts.get(part).map(|p| p.address.as_str())
    }

    /// Process id of a part, while it runs.
    #[must_use]
    pub fn pid(&self, part: &str) -> Option<u32> {
        self.parts.get(part).and_then(|p| p.child.id())
    }

    /// Every process, by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.keys().map(String::as_str)
    }

    /// Takes a process out of the fleet, so that another can be started in its place.
    pub fn take(&mut self, part: &str) -> Option<Running> {
        self.parts.remove(part)
    }

    /// Puts a process back that was taken out.
    pub fn put(&mut self, part: &str, running: Running) {
        self.parts.insert(part.to_owned(), running);
    }

    /// How a part ended, if it has ended by itself.
    pub fn ended(&mut self, part: &str) -> Option<ExitStatus> {
        self.parts.get_mut(part).and_then(Running::ended)
    }

    /// Kills a part as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self, part: &str) -> Result<()> {
        let Some(mut running) = self.parts.remove(part) else {
            bail!("{part} does not run")
        };
        running.kill().await.with_context(|| part.to_owned())
    }

    /// The parts that have ended by themselves.
    pub fn dead(&mut self) -> Vec<String> {
        self.parts
            .iter_mut()
            .filter_map(|(name, running)| {
                let status = running.ended()?;
                Some(format!("{name} ({status})"))
            })
            .collect()
    }

    /// Stops everything: asks first, kills after ten seconds.
    pub async fn stop(&mut self) {
        let pids: Vec<String> = self
            .parts
            .values()
            .filter_map(|p| p.child.id())
            .map(|id| id.to_string())
            .collect();
        if !pids.is_empty() {
            let _ = Command::new("kill").arg("-TERM").args(&pids).status().await;
        }
        for running in self.parts.values_mut() {
            if tokio::time::timeout(Duration::from_secs(10), running.child.wait())
                .await
                .is_err()
            {
                let _ = running.child.kill().await;
            }
        }
        self.parts.clear();
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
