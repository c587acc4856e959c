//! Hanging transactions: the end of one was lost with its broker, and readers of committed records
//! do not get past its first record any more. Kafka's own tool finds and aborts them.

use crate::child::{clean_environment, spawn, tail};
use crate::tools::Tools;
use crate::{StackError, kafka};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where one begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hanging {
    /// Topic, internal ones included.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset of its first record: readers of committed records stop there.
    pub start_offset: i64,
}

/// Runs `kafka-transactions`. Blocks.
fn tool(
    tools: &Tools,
    homes: (&Path, &Path),
    brokers: &str,
    arguments: &[&str],
) -> Result<String, StackError> {
    let (kafka, extra) = homes;
    let failed = |detail: String| StackError::Transactions {
        command: arguments.join(" "),
        detail,
    };
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(&tools.java);
    clean_environment(&mut command);
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(format!(
        "{}/lib/*:{}/lib/*",
        kafka.display(),
        extra.display()
    ));
    command.arg("org.apache.kafka.tools.TransactionsCommand");
    command
        .args(["--bootstrap-server", brokers])
        .args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = spawn(command)
        .and_then(std::process::Child::wait_with_output)
        .map_err(|error| failed(error.to_string()))?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(told);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(failed(tail(&format!("{told}\n{errors}"), 6)))
}

/// Aborts those that begin at one of these places, and gives them. Blocks for some seconds.
pub(crate) fn abort(
    tools: &Tools,
    homes: (&Path, &Path),
    brokers: &str,
    places: &[Hanging],
) -> Result<Vec<Hanging>, StackError> {
    // Without minutes of grace: whoever asks has waited longer than any transaction may last. So the
    // tool names those that are merely open just now, too, which must be left alone.
    let node = kafka::NODE_ID.to_string();
    let search = [
        "find-hanging",
        "--broker-id",
        &node,
        "--max-transaction-timeout",
        "0",
    ];
    let mut found = read(&tool(tools, homes, brokers, &search)?);
    found.retain(|open| places.contains(open));
    for hanging in &found {
        let (partition, start) = (
            hanging.partition.to_string(),
            hanging.start_offset.to_string(),
        );
        let abort = [
            "abort",
            "--topic",
            &hanging.topic,
            "--partition",
            &partition,
            "--start-offset",
            &start,
        ];
        tool(tools, homes, brokers, &abort)?;
    }
    Ok(found)
}

/// Reads the table that `find-hanging` prints.
fn read(table: &str) -> Vec<Hanging> {
    let mut lines = table.lines();
    let Some(header) = lines.find(|line| line.starts_with("Topic")) else {
        return Vec::new();
    };
    let columns: Vec<&str> = header.split_whitespace().collect();
    let place = |name: &str| columns.iter().position(|column| *column == name);
    let (Some(topic), Some(partition), Some(start)) =
        (place("Topic"), place("Partition"), place("StartOffset"))
    else {
        return Vec::new();
    };
    lines
        .filter_map(|line| {
            let cells: Vec<&str> = line.split_whitespace().collect();
            Some(Hanging {
                topic: (*cells.get(topic)?).to_owned(),
                partition: cells.get(partition)?.parse().ok()?,
                start_offset: cells.get(start)?.parse().ok()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_table_is_read() {
        let table = "\
Topic    \tPartition\tProducerId\tProducerEpoch\tCoordinatorEpoch\tStartOffset\tLastTimestamp\tDuration(min)
purchases\t3        \t4001      \t17           \t2               \t915        \t1795000000000\t0            \t
__consumer_offsets\t0\t4001\t17\t2\t88\t1795000000000\t0
";
        let hanging = |topic: &str, partition, start_offset| Hanging {
            topic: topic.to_owned(),
            partition,
            start_offset,
        };
        assert_eq!(
            read(table),
            [
                hanging("purchases", 3, 915),
                hanging("__consumer_offsets", 0, 88)
            ]
        );
        assert!(read("").is_empty());
    }
}
