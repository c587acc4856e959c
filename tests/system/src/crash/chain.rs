//! A chain that takes blocks back before they are final, drops transactions from its pool, goes
//! away, and gets another runtime.

use super::dice::Dice;
use super::stage::{Stage, TFCHAIN};
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::Arc;

/// The runtime that the stand-in begins with.
const FIRST_SPEC: u32 = 149;

/// Something every one to three seconds, until the trouble is over.
pub async fn run(stage: Arc<Stage>, mut dice: Dice) -> Result<()> {
    let mut spec = FIRST_SPEC;
    let mut moved = false;
    while !stage.is_over() {
        stage.pause(dice.ms(1_000, 3_000)).await;
        let (path, body): (&str, Value) = match dice.below(10) {
            0..=4 => (
                "/_control/fork",
                json!({ "depth": 1 + dice.below(2), "lose": dice.percent(40) }),
            ),
            5 | 6 => {
                let each = [0, 0, 3, 5][usize::try_from(dice.below(4)).unwrap_or(0)];
                ("/_control/pool", json!({ "drop_each": each }))
            }
            7 => (
                "/_control/restart",
                json!({ "down_ms": 100 + dice.below(900) }),
            ),
            8 => {
                spec += 1;
                moved = !moved;
                let change = if moved { "indices" } else { "nothing" };
                (
                    "/_control/upgrade",
                    json!({ "spec": spec, "change": change }),
                )
            }
            _ => {
                // Shapes that nobody knows: signing has to stop, until the next version mends it.
                let upgrade = json!({ "spec": spec + 1, "change": "field" });
                stage
                    .control(TFCHAIN, "/_control/upgrade", &upgrade)
                    .await?;
                stage.say(&format!("chain      spec {}, unknown shapes", spec + 1));
                stage.pause(dice.ms(500, 2_000)).await;
                spec += 2;
                moved = false;
                ("/_control/upgrade", json!({ "spec": spec }))
            }
        };
        stage.say(&format!("chain      {path} {body}"));
        stage.control(TFCHAIN, path, &body).await?;
    }
    Ok(())
}

/// The chain is well again, with the runtime that it has by now.
pub async fn heal(stage: &Stage) -> Result<()> {
    stage
        .control(
            TFCHAIN,
            "/_control/pool",
            &json!({ "held": false, "drop_each": 0 }),
        )
        .await
}
