//! Postgres, with fsync on: what is committed survives its `kill -9`.
//!
//! It listens on loopback only and trusts whoever connects there, as Kafka and Redis of the
//! sandbox do: nothing of value is in it.

use crate::child::{Account, Launch, clean_environment, spawn, tail};
use crate::ready::Ready;
use crate::service::Plan;
use crate::{Part, StackError, places, tools::Tools};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The account that Debian's package makes. Postgres refuses to run as root.
const ACCOUNT: &str = "postgres";
const OWNER: &str = "gridway";
const DATABASE: &str = "gridway";

/// A data folder and who may use it.
#[derive(Debug)]
pub(crate) struct Cluster {
    data: PathBuf,
    account: Option<Account>,
}

/// Makes an empty cluster. Blocks.
pub(crate) fn init(tools: &Tools, run: &Path) -> Result<Cluster, StackError> {
    let cluster = folder(run)?;
    let failed = |reason: String| StackError::NotReady {
        part: Part::Postgres,
        reason,
        log: String::new(),
    };
    let mut command = Command::new("setpriv");
    if let Some(Account(name)) = &cluster.account {
        command.args(["--reuid", name, "--regid", name, "--clear-groups"]);
    }
    command
        .args(["--pdeathsig", "TERM", "--"])
        .arg(tools.postgres.join("initdb"));
    // Not synced here: a run that dies in its first second is started anew.
    command.args([
        "-U",
        OWNER,
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "-D",
    ]);
    command.arg(&cluster.data).current_dir("/");
    clean_environment(&mut command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = spawn(command)
        .and_then(std::process::Child::wait_with_output)
        .map_err(|error| failed(format!("initdb: {error}")))?;
    if output.status.success() {
        return Ok(cluster);
    }
    let told = [output.stdout, output.stderr].concat();
    Err(failed(format!(
        "initdb: {}",
        tail(&String::from_utf8_lossy(&told), 10)
    )))
}

/// As root the data lies outside the run folder: the account that Postgres then runs as may not
/// be able to reach that.
fn folder(run: &Path) -> Result<Cluster, StackError> {
    let inside = run.join("postgres");
    let make = || {
        if !geteuid().is_root() {
            fs::create_dir_all(&inside)?;
            return Ok(Cluster {
                data: inside.join("data"),
                account: None,
            });
        }
        let user = User::from_name(ACCOUNT)?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no account `{ACCOUNT}`"))
        })?;
        let outside = private_folder()?;
        fs::write(
            run.join(places::ELSEWHERE),
            format!("{}\n", outside.display()),
        )?;
        chown(&outside, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        Ok(Cluster {
            data: outside.join("data"),
            account: Some(Account(ACCOUNT.to_owned())),
        })
    };
    make().map_err(|source| StackError::Folder {
        path: inside.clone(),
        source,
    })
}

fn private_folder() -> io::Result<PathBuf> {
    let pid = std::process::id();
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for number in 0..1000 {
        let path = Path::new("/tmp").join(format!("gridway-sandbox-{pid}-{number}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// How to start Postgres on `cluster`.
pub(crate) fn plan(
    tools: &Tools,
    cluster: &Cluster,
    run: &Path,
    ports: &[u16],
) -> Result<Plan, StackError> {
    let &[port] = ports else {
        return Err(StackError::Ports {
            part: Part::Postgres,
        });
    };
    let mut args = vec!["-D".to_owned(), cluster.data.display().to_string()];
    args.extend(["-p".to_owned(), port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        // Loopback is enough, and a socket's path has a length that a checkout's may exceed.
        "unix_socket_directories=",
        "max_connections=200",
        "shared_buffers=128MB",
        "max_wal_size=2GB",
        "fsync=on",
        "synchronous_commit=on",
        "jit=off",
        "timezone=UTC",
        "log_timezone=UTC",
    ] {
        args.extend(["-c".to_owned(), setting.to_owned()]);
    }
    let server = format!("postgres://{OWNER}@127.0.0.1:{port}");
    Ok(Plan {
        launch: Launch {
            part: Part::Postgres,
            program: tools.postgres.join("postgres"),
            args,
            env: Vec::new(),
            dir: PathBuf::from("/"),
            account: cluster.account.clone(),
            // The fast shutdown: the other one waits for clients to leave.
            stop: Signal::SIGINT,
            log: run.join("postgres.log"),
        },
        ready: Ready::Postgres {
            server: server.clone(),
            database: DATABASE,
        },
        address: format!("{server}/{DATABASE}"),
    })
}
