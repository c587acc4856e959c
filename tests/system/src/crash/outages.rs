//! The broker, Postgres and the registry go and come back; nobody of ours is started for it.
//!
//! All three are killed. What a killed single broker may leave behind is mended by
//! [`crate::hanging`], as an operator would.

use super::dice::Dice;
use super::stage::Stage;
use anyhow::Result;
use sandbox_stack::Part;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
        stage.say(&format!("{part} is killed"));
        stage.away.store(true, Ordering::Release);
        stage.stack.kill(part).await?;
        stage.pause(dice.ms(0, 1_500)).await;
        stage.stack.restart(part).await?;
        stage.away.store(false, Ordering::Release);
        stage.say(&format!("{part} is back"));
    }
    Ok(())
}
