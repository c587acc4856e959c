//! Redis, without persistence.

use crate::child::Launch;
use crate::ready::Ready;
use crate::service::Plan;
use crate::{Part, StackError, tools::Tools};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;

/// How to start Redis with its files in `run`.
pub(crate) fn plan(tools: &Tools, run: &Path, ports: &[u16]) -> Result<Plan, StackError> {
    let &[port] = ports else {
        return Err(StackError::Ports { part: Part::Redis });
    };
    let dir = run.join("redis");
    fs::create_dir_all(&dir).map_err(|source| StackError::Folder {
        path: dir.clone(),
        source,
    })?;
    let args = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--save",
        "",
        "--appendonly",
        "no",
    ];
    Ok(Plan {
        launch: Launch {
            part: Part::Redis,
            program: tools.redis.clone(),
            args: args.map(String::from).into(),
            env: Vec::new(),
            dir,
            account: None,
            stop: Signal::SIGTERM,
            log: run.join("redis.log"),
        },
        ready: Ready::Redis { port },
        address: format!("redis://127.0.0.1:{port}"),
    })
}
