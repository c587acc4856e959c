//! Gridway's own processes on one machine: each part of the product as a child process.

use crate::processors;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a part may take until it listens.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running part.
struct Running {
    child: Child,
    address: String,
}

/// The processes, by the name of their part: `api`, `projections`, or a processor's name.
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
        let path = self.logs.join(format!("{part}.log"));
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))
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
        let running = self.launch(part)?.await?;
        self.parts.insert(part.to_owned(), running);
        Ok(())
    }

    fn launch(&self, part: &str) -> Result<impl Future<Output = Result<Running>> + use<>> {
        let arguments: Vec<&str> = match part {
            "api" | "projections" => vec!["serve", part],
            processor => vec!["serve", "processor", processor],
        };
        let mut child = self
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::from(self.log(part)?))
            .spawn()
            .with_context(|| format!("starting {part}: is setpriv (util-linux) there?"))?;
        let stdout = child.stdout.take().context("the child has no stdout")?;
        let log = self.logs.join(format!("{part}.log"));
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
            starting.push(((*part).to_owned(), tokio::spawn(self.launch(part)?)));
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

    /// Kills a part as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self, part: &str) -> Result<()> {
        let Some(mut running) = self.parts.remove(part) else {
            bail!("{part} does not run")
        };
        running
            .child
            .kill()
            .await
            .with_context(|| format!("killing {part}"))
    }

    /// The parts that have ended by themselves.
    pub fn dead(&mut self) -> Vec<String> {
        self.parts
            .iter_mut()
            .filter_map(|(name, running)| {
                running
                    .child
                    .try_wait()
                    .ok()
                    .flatten()
                    .map(|status| format!("{name} ({status})"))
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
