//! The broker, Postgres and the registry go and come back; nobody of ours is started for it.
//!
//! Postgres and the registry are killed; the broker is asked to stop. A single KRaft node that is
//! killed may lose the end of an open transaction by itself. By its log, the session of the dead
//! broker ends when the new one's transaction coordinator already works, it takes the partitions without a
//! leader for deleted and leaves out their markers, and nobody who reads committed gets past
//! that place again. With several nodes another leads them meanwhile.

use super::dice::Dice;
use super::stage::Stage;
use anyhow::Result;
use sandbox_stack::Part;
use std::sync::Arc;

const PARTS: [Part; 3] = [Part::Kafka, Part::Postgres, Part::Registry];

/// Each of the three at least once, and once more per fifty kills, spread over the run.
pub async fn run(stage: Arc<Stage>, mut dice: Dice) -> Result<()> {
    if stage.plan.kills == 0 {
        return Ok(());
    }
    let count = u64::from(stage.plan.kills / 50).max(3);
    let turn = usize::try_from(dice.below(3))?;
    for number in 0..count {
        stage.progress(number * 4 + 2, count * 4 + 2).await;
        stage.pause(dice.ms(0, 1_000)).await;
        let part = PARTS[(turn + usize::try_from(number)?) % PARTS.len()];
        if part == Part::Kafka {
            stage.say("kafka is stopped");
            stage.stack.shut_down(part).await?;
        } else {
            stage.say(&format!("{part} is killed"));
            stage.stack.kill(part).await?;
        }
        stage.pause(dice.ms(0, 1_500)).await;
        stage.stack.restart(part).await?;
        stage.say(&format!("{part} is back"));
    }
    Ok(())
}
