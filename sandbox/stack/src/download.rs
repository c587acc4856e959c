//! The servers that come from Maven Central, fetched once and kept.

use crate::child::{kill_group, spawn, tail};
use crate::{StackError, places, progress::Progress, tools::Tools};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What the machine that builds or runs this can fetch without asking anybody.
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";
const KAFKA_VERSION: &str = "4.4.0";
const MAIL_VERSION: &str = "2.1.8";
const REGISTRY_VERSION: &str = "2.6.13.Final";
/// Without the binding, Kafka logs nothing, not even why it does not start.
const SLF4J_BINDING_VERSION: &str = "2.25.5";

/// What Kafka's tools read their command lines with.
const ARGUMENT_PARSER_VERSION: &str = "0.7.0";

const SAY_EVERY: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_mins(20);

/// Where the servers are kept.
#[derive(Debug, Clone)]
pub(crate) struct Downloads {
    pub(crate) folder: PathBuf,
    pub(crate) tools: Tools,
    pub(crate) progress: Progress,
    /// Set when nobody waits for the download any more.
    pub(crate) given_up: Arc<AtomicBool>,
}

impl Downloads {
    /// The folder with Kafka's jars in `lib` and a formatted log folder in `formatted`. Blocks
    /// while it downloads.
    pub(crate) fn kafka(&self) -> Result<PathBuf, StackError> {
        self.once(&format!("kafka-{KAFKA_VERSION}"), |work| {
            fs::write(
                work.join("pom.xml"),
                pom(&[
                    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
                    (
                        "org.apache.logging.log4j",
                        "log4j-slf4j-impl",
                        SLF4J_BINDING_VERSION,
                    ),
                ]),
            )
            .map_err(|source| folder_error(work, source))?;
            let output = format!("-DoutputDirectory={}", work.join("lib").display());
            let goal = format!("{PLUGIN}:copy-dependencies");
            self.maven(
                &format!("Kafka {KAFKA_VERSION}"),
                work,
                &[&goal, &output, "-DincludeScope=runtime"],
                "org/apache/kafka",
            )?;
            crate::kafka::format(&self.tools, work)
        })
    }

    /// A folder with what Kafka's own tools need besides its jars, in `lib`. Blocks while it
    /// downloads.
    pub(crate) fn kafka_tools(&self) -> Result<PathBuf, StackError> {
        self.once(&format!("kafka-tools-{KAFKA_VERSION}"), |work| {
            fs::write(work.join("pom.xml"), pom(&[]))
                .map_err(|source| folder_error(work, source))?;
            let tools = format!("org.apache.kafka:kafka-tools:{KAFKA_VERSION}");
            let parser = format!("net.sourceforge.argparse4j:argparse4j:{ARGUMENT_PARSER_VERSION}");
            let output = format!("-DoutputDirectory={}", work.join("lib").display());
            for artifact in [tools, parser] {
                self.maven(
                    &artifact,
                    work,
                    &[
                        &format!("{PLUGIN}:copy"),
                        &format!("-Dartifact={artifact}"),
                        &output,
                    ],
                    "org/apache/kafka",
                )?;
            }
            Ok(())
        })
    }

    /// The unpacked registry. Blocks while it downloads.
    pub(crate) fn registry(&self) -> Result<PathBuf, StackError> {
        self.once(&format!("apicurio-registry-{REGISTRY_VERSION}"), |work| {
            fs::write(work.join("pom.xml"), pom(&[]))
                .map_err(|source| folder_error(work, source))?;
            let artifact = format!(
                "-Dartifact=io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all"
            );
            let output = format!("-DoutputDirectory={}", work.display());
            let goal = format!("{PLUGIN}:unpack");
            self.maven(
                &format!("Apicurio Registry {REGISTRY_VERSION}"),
                work,
                &[&goal, &artifact, &output],
                "io/apicurio",
            )
        })
    }

    /// The mail server's jar. Blocks while it downloads.
    pub(crate) fn mail(&self) -> Result<PathBuf, StackError> {
        let home = self.once(&format!("greenmail-{MAIL_VERSION}"), |work| {
            fs::write(work.join("pom.xml"), pom(&[]))
                .map_err(|source| folder_error(work, source))?;
            let artifact =
                format!("-Dartifact=com.icegreen:greenmail-standalone:{MAIL_VERSION}:jar");
            let output = format!("-DoutputDirectory={}", work.display());
            let goal = format!("{PLUGIN}:copy");
            self.maven(
                &format!("GreenMail {MAIL_VERSION}"),
                work,
                &[&goal, &artifact, &output],
                "com/icegreen",
            )
        })?;
        Ok(home.join(format!("greenmail-standalone-{MAIL_VERSION}.jar")))
    }

    /// Makes `name` by `fetch` in a folder beside it, then renames: what is there is whole.
    fn once(
        &self,
        name: &str,
        fetch: impl FnOnce(&Path) -> Result<(), StackError>,
    ) -> Result<PathBuf, StackError> {
        let done = self.folder.join(name);
        if done.exists() {
            return Ok(done);
        }
        let waiting = || {
            self.progress
                .say(&format!("{name} waits for another download"));
        };
        let lock = places::lock(&self.folder.join("lock"), &self.given_up, waiting)
            .map_err(|source| folder_error(&self.folder, source))?;
        let Some(_held) = lock else {
            return Err(StackError::Download {
                what: name.to_owned(),
                detail: "given up".to_owned(),
            });
        };
        if done.exists() {
            return Ok(done);
        }
        let work = self.folder.join(format!("{name}.part"));
        let fresh = || {
            if work.exists() {
                fs::remove_dir_all(&work)?;
            }
            fs::create_dir_all(&work)
        };
        fresh().map_err(|source| folder_error(&work, source))?;
        fetch(&work)?;
        fs::rename(&work, &done).map_err(|source| folder_error(&done, source))?;
        Ok(done)
    }

    /// Runs Maven and shows how it gets on. Maven says when a file is there, not how far the
    /// one it is at has come; `partial` is the repository folder in which that shows.
    fn maven(
        &self,
        what: &str,
        work: &Path,
        args: &[&str],
        partial: &str,
    ) -> Result<(), StackError> {
        self.progress.say(&format!("fetching {what} with Maven"));
        let failed = |detail: String| StackError::Download {
            what: what.to_owned(),
            detail,
        };
        let log = work.join("maven.log");
        let output = File::create(&log).map_err(|source| folder_error(&log, source))?;
        let errors = output
            .try_clone()
            .map_err(|source| folder_error(&log, source))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&self.tools.maven);
        // Maven keeps our environment: proxies and mirrors may be set there.
        command.arg("--batch-mode").args(args).current_dir(work);
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        let mut maven = spawn(command).map_err(|error| failed(error.to_string()))?;
        let begun = Instant::now();
        let mut said = begun;
        let status = loop {
            if let Some(status) = maven
                .try_wait()
                .map_err(|error| failed(error.to_string()))?
            {
                break status;
            }
            let given_up = self.given_up.load(Ordering::Relaxed);
            if given_up || begun.elapsed() > DEADLINE {
                kill_group(&mut maven);
                return Err(failed(if given_up {
                    "given up".to_owned()
                } else {
                    format!("not done after {} s", DEADLINE.as_secs())
                }));
            }
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                self.progress
                    .say(&state(what, &log, partial, begun.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        if status.success() {
            self.progress.say(&format!(
                "fetched {what} in {:.1} s",
                begun.elapsed().as_secs_f32()
            ));
            return Ok(());
        }
        let told = fs::read_to_string(&log).unwrap_or_default();
        // The first lines name the fault, what follows tells how to learn about Maven.
        let errors: Vec<&str> = told
            .lines()
            .filter_map(|line| line.split_once("[ERROR] "))
            .map(|(_, error)| error.trim())
            .filter(|error| !error.is_empty())
            .take(2)
            .collect();
        Err(failed(if errors.is_empty() {
            tail(&told, 10)
        } else {
            errors.join("\n")
        }))
    }
}

fn folder_error(path: &Path, source: io::Error) -> StackError {
    StackError::Folder {
        path: path.to_path_buf(),
        source,
    }
}

/// A project that has nothing but dependencies. Without one, Maven takes `${project.basedir}`
/// for a folder's name.
fn pom(dependencies: &[(&str, &str, &str)]) -> String {
    use std::fmt::Write as _;
    let mut listed = String::new();
    for (group, artifact, version) in dependencies {
        let _ = writeln!(
            listed,
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        );
    }
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>gridway</groupId><artifactId>sandbox</artifactId><version>1</version>\
         <packaging>pom</packaging><dependencies>\n{listed}</dependencies></project>\n"
    )
}

/// One line on a running download: files and bytes that are there, and the time.
fn state(what: &str, log: &Path, partial: &str, elapsed: Duration) -> String {
    let told = fs::read_to_string(log).unwrap_or_default();
    let (files, whole) = downloaded(&told);
    let repository =
        crate::tools::variable("HOME").map(|home| Path::new(&home).join(".m2/repository"));
    let part = repository.map_or(0, |repository| unfinished(&repository.join(partial)));
    // What Maven has in its cache is only copied.
    let there = log.parent().map_or(0, |work| size(work, &|_| true));
    let megabytes = (whole + part).max(there) / 100_000;
    format!(
        "fetching {what}: {files} files, {}.{} MB, {} s",
        megabytes / 10,
        megabytes % 10,
        elapsed.as_secs()
    )
}

/// Counts Maven's lines `Downloaded from central: <address> (142 MB at 30 MB/s)`; in bytes.
fn downloaded(told: &str) -> (u64, u64) {
    let sizes = told
        .lines()
        .filter(|line| line.contains("Downloaded from"))
        .map(|line| {
            let size = line.rsplit_once('(').map_or("", |(_, size)| size);
            let mut words = size.split(' ');
            let (number, unit) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let (units, tenths) = number.split_once('.').unwrap_or((number, "0"));
            let tenths: u64 =
                units.parse::<u64>().unwrap_or(0) * 10 + tenths.parse::<u64>().unwrap_or(0).min(9);
            let scale = match unit {
                "kB" => 100,
                "MB" => 100_000,
                "GB" => 100_000_000,
                _ => return tenths / 10,
            };
            tenths * scale
        });
    sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
}

/// The bytes of files below `folder` that Maven has not finished.
fn unfinished(folder: &Path) -> u64 {
    size(folder, &|name| {
        matches!(name.rsplit_once('.'), Some((_, "tmp" | "part")))
    })
}

/// The bytes of the files below `folder` whose name counts.
fn size(folder: &Path, counts: &dyn Fn(&str) -> bool) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path(), counts),
            Ok(data) if counts(&entry.file_name().to_string_lossy()) => data.len(),
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mavens_lines_are_counted() {
        let told = "[INFO] x\nDownloading from central: a\n\
                    Downloaded from central: a (4.1 kB at 9.3 kB/s)\n\
                    Downloaded from central: b (142 MB at 30 MB/s)\n\
                    Downloaded from central: c (512 B at 1 kB/s)\n";
        assert_eq!(downloaded(told), (3, 142_004_612));
        assert_eq!(downloaded(""), (0, 0));
    }
}
