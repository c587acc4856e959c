//! `gridway topics`.

use crate::config::Config;
use crate::processors;
use anyhow::Result;
use clap::Subcommand;
use events::topics;

/// What to do with the topics.
#[derive(Subcommand)]
pub enum Action {
    /// Creates what is missing, then checks all.
    Create,
    /// Checks that all are there with their partitions.
    Check,
}

/// Carries it out.
///
/// # Errors
/// When Kafka is not reachable, or a topic is not as it must be.
pub async fn run(action: Action) -> Result<()> {
    let kafka = Config::kafka()?;
    match action {
        Action::Create => {
            let replication = Config::parse("GRIDWAY_KAFKA_REPLICATION")?;
            let min_isr = Config::parse("GRIDWAY_KAFKA_MIN_ISR")?;
            pipeline::kafka::create(&kafka, &processors::ALL, replication, min_isr).await?;
        }
        Action::Check => {
            for topic in topics::ALL {
                pipeline::kafka::check(&kafka, topic.name, topic.partitions)?;
            }
            for (processor, topic) in processors::ALL {
                pipeline::kafka::check(&kafka, &topics::dead_letters(processor), topic.partitions)?;
            }
        }
    }
    println!(
        "{} topics are as they must be",
        topics::ALL.len() + processors::ALL.len()
    );
    Ok(())
}
