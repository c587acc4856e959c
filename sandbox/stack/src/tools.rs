//! What the stack needs of the machine, and how it comes by what is missing.

use crate::{StackError, progress::Progress};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A variable of our own environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the stack stands at the edge: it adapts to its machine"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The oldest JDK that both servers run on.
const JAVA_MAJOR: u32 = 17;

/// The programs that the stack runs.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    pub(crate) java: PathBuf,
    /// Tells one Java from another, in characters fit for a file name.
    pub(crate) java_build: String,
    pub(crate) maven: PathBuf,
    /// The folder with `initdb` and `postgres`.
    pub(crate) postgres: PathBuf,
    pub(crate) redis: PathBuf,
}

/// A tool that is not there.
struct Missing {
    what: &'static str,
    debian: &'static str,
}

impl Tools {
    /// Finds the tools; as root on Debian installs those that are missing.
    ///
    /// # Errors
    /// [`StackError::MissingTools`], whose text is the one line that says what to install.
    pub(crate) fn ensure(progress: Progress) -> Result<Self, StackError> {
        let missing = match Self::find() {
            Ok(tools) => return Ok(tools),
            Err(missing) => missing,
        };
        let packages: Vec<&str> = missing.iter().map(|tool| tool.debian).collect();
        let names = missing
            .iter()
            .map(|tool| tool.what)
            .collect::<Vec<_>>()
            .join(", ");
        let told = format!("the sandbox lacks {names}; install: {}", packages.join(" "));
        if !nix::unistd::geteuid().is_root() || !Path::new("/etc/debian_version").exists() {
            return Err(StackError::MissingTools(told));
        }
        progress.say(&format!("installing {}", packages.join(" ")));
        install(&packages).map_err(|why| StackError::MissingTools(format!("{told} ({why})")))?;
        Self::find().map_err(|_| {
            StackError::MissingTools(format!("{told} (installed, and still not found)"))
        })
    }

    fn find() -> Result<Self, Vec<Missing>> {
        let mut missing = Vec::new();
        let mut need = |found: Option<PathBuf>, what, debian| {
            found.unwrap_or_else(|| {
                missing.push(Missing { what, debian });
                PathBuf::new()
            })
        };
        let java = java();
        let tools = Self {
            java: need(
                java.as_ref().map(|(path, _)| path.clone()),
                "java 17 or newer",
                "default-jdk-headless",
            ),
            java_build: java.map(|(_, build)| build).unwrap_or_default(),
            maven: need(on_path("mvn"), "mvn", "maven"),
            postgres: need(postgres(), "postgres", "postgresql"),
            redis: need(on_path("redis-server"), "redis-server", "redis-server"),
        };
        need(on_path("setpriv"), "setpriv", "util-linux");
        if missing.is_empty() {
            Ok(tools)
        } else {
            Err(missing)
        }
    }
}

fn install(packages: &[&str]) -> Result<(), String> {
    let apt = |args: &[&str]| {
        let output = Command::new("apt-get")
            .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .map_err(|error| format!("apt-get: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(crate::child::tail(
            &String::from_utf8_lossy(&output.stderr),
            3,
        ))
    };
    apt(&["update"])?;
    let mut args = vec!["install", "-y", "--no-install-recommends"];
    args.extend(packages);
    apt(&args)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = variable("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// `initdb` and `postgres` stand beside each other, on Debian outside the PATH; the newest wins.
fn postgres() -> Option<PathBuf> {
    let has_both =
        |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    versions
        .map(|version| version.path().join("bin"))
        .filter(has_both)
        .max_by_key(|folder| {
            folder
                .parent()
                .and_then(Path::file_name)
                .and_then(|name| name.to_str()?.parse::<u32>().ok())
        })
        .or_else(|| {
            on_path("initdb")?
                .parent()
                .map(Path::to_path_buf)
                .filter(has_both)
        })
}

/// A Java that is new enough, with a name for its build.
fn java() -> Option<(PathBuf, String)> {
    let home = variable("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    home.into_iter().chain(on_path("java")).find_map(|java| {
        let output = Command::new(&java).arg("-version").output().ok()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (java_major(&told)? >= JAVA_MAJOR).then(|| (java, file_name(&told)))
    })
}

/// The major version in what `java -version` prints: `openjdk version "17.0.15" 2025-04-15`.
fn java_major(told: &str) -> Option<u32> {
    let (_, rest) = told.split_once("version \"")?;
    rest.split(['.', '"', '-']).next()?.parse().ok()
}

/// The last line of `java -version`, which names the virtual machine's build.
fn file_name(told: &str) -> String {
    let line = told
        .lines()
        .rfind(|line| line.contains("build"))
        .unwrap_or(told);
    let build = line.split("build ").nth(1).unwrap_or(line);
    let build = build.split([',', ')']).next().unwrap_or(build);
    build
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6-Debian-1deb12u1)\nOpenJDK 64-Bit Server VM (build 17.0.15+6-Debian-1deb12u1, mixed mode, sharing)\n";

    #[test]
    fn java_versions_are_read() {
        assert_eq!(java_major(TOLD), Some(17));
        assert_eq!(java_major("openjdk version \"25\" 2025-09-16"), Some(25));
        assert_eq!(java_major("java version \"1.8.0_302\""), Some(1));
        assert_eq!(java_major("no java here"), None);
        assert_eq!(file_name(TOLD), "17.0.15-6-Debian-1deb12u1");
    }
}
