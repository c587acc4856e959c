//! Apicurio Registry, spoken to through its Confluent API.

use crate::child::Launch;
use crate::ready::Ready;
use crate::service::{Plan, shared_classes};
use crate::{Part, StackError, tools::Tools};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;

/// How to start the registry from `home` (the download) with its files in `run`.
pub(crate) fn plan(
    tools: &Tools,
    home: &Path,
    run: &Path,
    ports: &[u16],
) -> Result<Plan, StackError> {
    let &[port] = ports else {
        return Err(StackError::Ports {
            part: Part::Registry,
        });
    };
    let dir = run.join("registry");
    fs::create_dir_all(&dir).map_err(|source| StackError::Folder {
        path: dir.clone(),
        source,
    })?;
    let jar = runner(home).ok_or_else(|| StackError::Download {
        what: "Apicurio Registry".to_owned(),
        detail: format!(
            "no runner jar in {}; remove that folder and start again",
            home.display()
        ),
    })?;
    let mut args: Vec<String> = [
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
    ]
    .map(String::from)
    .into();
    args.push(shared_classes(home, run, Part::Registry, tools));
    args.push(format!("-Djava.io.tmpdir={}", dir.display()));
    args.extend(["-jar".to_owned(), jar]);
    let url = format!("http://127.0.0.1:{port}/apis/ccompat/v7");
    // A file, and written through: schemas and ids survive a `kill -9` as they would in
    // production. The app's default is memory.
    let store = format!("jdbc:h2:file:{};WRITE_DELAY=0", dir.join("store").display());
    let env = [
        ("QUARKUS_HTTP_HOST", "127.0.0.1".to_owned()),
        ("QUARKUS_HTTP_PORT", port.to_string()),
        ("REGISTRY_DATASOURCE_URL", store),
        // Twenty connections would be opened at the start.
        ("QUARKUS_DATASOURCE_JDBC_INITIAL_SIZE", "1".to_owned()),
        ("QUARKUS_DATASOURCE_JDBC_MIN_SIZE", "1".to_owned()),
    ];
    Ok(Plan {
        launch: Launch {
            part: Part::Registry,
            program: tools.java.clone(),
            args,
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
            dir,
            account: None,
            stop: Signal::SIGTERM,
            log: run.join("registry.log"),
        },
        ready: Ready::Registry { url: url.clone() },
        address: url,
    })
}

fn runner(home: &Path) -> Option<String> {
    let jars = fs::read_dir(home)
        .ok()?
        .flatten()
        .map(|entry| entry.path().display().to_string());
    jars.into_iter().find(|jar| jar.ends_with("-runner.jar"))
}
