//! Apache Kafka: one KRaft node that is broker and controller.

use crate::child::{Launch, spawn, tail};
use crate::ready::Ready;
use crate::service::{Plan, shared_classes};
use crate::{Part, StackError, StackOptions, places, tools::Tools};
use nix::sys::signal::Signal;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// The one node.
pub(crate) const NODE_ID: u32 = 1;
/// The node's own log folder, formatted once beside the jars and copied for each run.
const FORMATTED: &str = "formatted";
/// Any 16 bytes in base64; each sandbox is a cluster of its own on its own port.
const CLUSTER_ID: &str = "Z3JpZHdheS1zYW5kYm94MQ";

/// A JVM that starts quickly and leaves the cores to others.
const QUICK: &[&str] = &["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
/// As Kafka's own start script has it (`kafka-run-class.sh`, `kafka-server-start.sh`).
const AS_IN_PRODUCTION: &[&str] = &[
    "-Xms1G",
    "-Xmx1G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
];

const LOG4J: &str = "\
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1} %m%n
";

/// The settings that differ from production are those of a single node and of short waits. The
/// controller writes its idle records seldom: each is forced to the disk that the brokers' logs and
/// Postgres share here.
///
/// The broker's session at the controller is so short that it ends while a killed node starts
/// again. Ending later, it takes the leaders away when the transaction coordinator already works:
/// that then takes partitions without a leader for deleted, leaves out their markers, and the
/// transaction stays open for ever. Other nodes would lead them in production.
fn properties(logs: &Path, broker: u16, controller: u16) -> String {
    let logs = logs.display();
    format!(
        "\
process.roles=broker,controller
node.id={NODE_ID}
controller.quorum.voters={NODE_ID}@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={logs}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
unclean.leader.election.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
log.retention.ms=-1
log.retention.bytes=-1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=200
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
metadata.max.idle.interval.ms=5000
"
    )
}

/// Makes `formatted` in `folder`, which holds the jars in `lib`. Blocks.
pub(crate) fn format(tools: &Tools, folder: &Path) -> Result<(), StackError> {
    let failed = |detail: String| StackError::Download {
        what: "Kafka's log folder".to_owned(),
        detail,
    };
    let logs = folder.join(FORMATTED);
    let settings = folder.join("format.properties");
    // The ports are not recorded by the formatting.
    fs::write(&settings, properties(&logs, 1, 2)).map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(&tools.java);
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command
        .arg(format!("{}/lib/*", folder.display()))
        .arg("kafka.tools.StorageTool");
    command
        .args(["format", "-t", CLUSTER_ID, "-c"])
        .arg(&settings);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = spawn(command)
        .and_then(std::process::Child::wait_with_output)
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let told = [output.stdout, output.stderr].concat();
    Err(failed(tail(&String::from_utf8_lossy(&told), 10)))
}

/// The log's folder in a run folder.
pub(crate) fn log_folder(run: &Path) -> std::path::PathBuf {
    run.join("kafka").join("logs")
}

/// How to start Kafka from `home` (the download) with its files in `run`.
pub(crate) fn plan(
    tools: &Tools,
    home: &Path,
    run: &Path,
    ports: &[u16],
    options: &StackOptions,
) -> Result<Plan, StackError> {
    let &[broker, controller] = ports else {
        return Err(StackError::Ports { part: Part::Kafka });
    };
    let dir = run.join("kafka");
    let logs = log_folder(run);
    let settings = dir.join("server.properties");
    let log4j = dir.join("log4j2.properties");
    let write = || {
        if dir.exists() {
            places::unmount(run);
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&logs)?;
        if let Some(mib) = options.kafka_disk_mib {
            places::mount(run, &logs, mib)?;
        }
        copy(&home.join(FORMATTED), &logs)?;
        fs::write(&settings, properties(&logs, broker, controller))?;
        fs::write(&log4j, LOG4J)
    };
    write().map_err(|source| StackError::Folder {
        path: dir.clone(),
        source,
    })?;
    let jvm = if options.kafka_as_in_production {
        AS_IN_PRODUCTION
    } else {
        QUICK
    };
    let mut args: Vec<String> = jvm.iter().copied().map(String::from).collect();
    args.push("-XX:-UsePerfData".to_owned());
    args.push(shared_classes(home, run, Part::Kafka, tools));
    args.push(format!("-Djava.io.tmpdir={}", dir.display()));
    args.push(format!(
        "-Dlog4j2.configurationFile=file:{}",
        log4j.display()
    ));
    args.push("-cp".to_owned());
    args.push(format!("{}/lib/*", home.display()));
    args.push("kafka.Kafka".to_owned());
    args.push(settings.display().to_string());
    let address = format!("127.0.0.1:{broker}");
    Ok(Plan {
        launch: Launch {
            part: Part::Kafka,
            program: tools.java.clone(),
            args,
            env: Vec::new(),
            dir,
            account: None,
            stop: Signal::SIGTERM,
            log: run.join("kafka.log"),
        },
        ready: Ready::Kafka {
            brokers: address.clone(),
        },
        address,
    })
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
