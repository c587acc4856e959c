//! GreenMail: a mail server that keeps what it is sent, and shows it over HTTP.

use crate::child::Launch;
use crate::ready::Ready;
use crate::service::Plan;
use crate::{Part, StackError, tools::Tools};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;

/// Where it says that it is ready.
pub(crate) const READY: &str = "/api/service/readiness";

/// How to start it from `jar` with its files in `run`. It makes a mailbox for whoever mail comes.
pub(crate) fn plan(
    tools: &Tools,
    jar: &Path,
    run: &Path,
    ports: &[u16],
) -> Result<Plan, StackError> {
    let &[smtp, http] = ports else {
        return Err(StackError::Ports { part: Part::Mail });
    };
    let dir = run.join("mail");
    fs::create_dir_all(&dir).map_err(|source| StackError::Folder {
        path: dir.clone(),
        source,
    })?;
    let mut args: Vec<String> = [
        "-Xmx64m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-Dgreenmail.auth.disabled",
        "-Dgreenmail.smtp.hostname=127.0.0.1",
        "-Dgreenmail.api.hostname=127.0.0.1",
    ]
    .map(String::from)
    .into();
    args.push(format!("-Djava.io.tmpdir={}", dir.display()));
    args.push(format!("-Dgreenmail.smtp.port={smtp}"));
    args.push(format!("-Dgreenmail.api.port={http}"));
    args.extend(["-jar".to_owned(), jar.display().to_string()]);
    let ready = format!("http://127.0.0.1:{http}{READY}");
    Ok(Plan {
        launch: Launch {
            part: Part::Mail,
            program: tools.java.clone(),
            args,
            env: Vec::new(),
            dir,
            account: None,
            stop: Signal::SIGTERM,
            log: run.join("mail.log"),
        },
        ready: Ready::Http { url: ready },
        address: format!("smtp://127.0.0.1:{smtp}"),
    })
}
