//! What goes wrong at the counterparties, changing every few seconds.

use super::dice::Dice;
use super::stage::{HORIZON, STRIPE, Stage, TFCHAIN};
use anyhow::Result;
use serde_json::json;
use std::sync::Arc;

/// Whatever the stand-ins can do to a request; the second is whether it is for requests that only
/// read, too.
const KINDS: [(&str, bool); 12] = [
    ("lose_answer", true),
    ("late_work", false),
    ("late_answer", true),
    ("duplicate", false),
    ("garble", true),
    ("reset", true),
    ("http429", true),
    ("http500", true),
    ("http500_after_work", false),
    ("http503", true),
    ("http504", true),
    ("http504_after_work", false),
];

/// Where effects are tried.
const EFFECTS: [(&str, &str, &str); 4] = [
    (STRIPE, "POST", "/v1/payment_intents"),
    (STRIPE, "POST", "/v1/refunds"),
    (HORIZON, "POST", "/transactions"),
    (TFCHAIN, "RPC", "/rpc/author_submitAndWatchExtrinsic"),
];
/// Where is looked.
const READS: [(&str, &str, &str); 3] = [
    (STRIPE, "GET", "/v1/"),
    (HORIZON, "GET", "/"),
    (TFCHAIN, "RPC", "/rpc/"),
];

/// Arms others every two to five seconds, until the trouble is over.
pub async fn run(stage: Arc<Stage>, mut dice: Dice) -> Result<()> {
    // A share of the payments comes back from the bridge, one time in five.
    stage
        .control(TFCHAIN, "/_control/bridge", &json!({ "returns": 5 }))
        .await?;
    while !stage.is_over() {
        clear(&stage).await?;
        let mut said = Vec::new();
        for (stand_in, method, path) in EFFECTS {
            for _ in 0..=dice.below(2) {
                if let Some((kind, _)) = dice.pick(&KINDS) {
                    let every = 2 + dice.below(4);
                    arm(&stage, &mut dice, stand_in, method, path, kind, every).await?;
                    said.push(format!("{path} {kind}/{every}"));
                }
            }
        }
        for (stand_in, method, path) in READS {
            let reads: Vec<&str> = KINDS.iter().filter(|(_, r)| *r).map(|(k, _)| *k).collect();
            if dice.percent(50)
                && let Some(kind) = dice.pick(&reads)
            {
                let every = 4 + dice.below(8);
                arm(&stage, &mut dice, stand_in, method, path, kind, every).await?;
                said.push(format!("reads {path} {kind}/{every}"));
            }
        }
        let (every, behind) = if dice.percent(60) {
            (2 + dice.below(4), 1 + dice.below(8))
        } else {
            (0, 0)
        };
        stage
            .control(
                HORIZON,
                "/_control/replicas",
                &json!({ "every": every, "behind": behind }),
            )
            .await?;
        if every > 0 {
            said.push(format!("replicas {behind} behind/{every}"));
        }
        stage.say(&format!("faults     {}", said.join(", ")));
        stage.pause(dice.ms(2_000, 5_000)).await;
    }
    Ok(())
}

async fn arm(
    stage: &Stage,
    dice: &mut Dice,
    stand_in: &str,
    method: &str,
    path: &str,
    kind: &str,
    every: u64,
) -> Result<()> {
    let fault = json!({
        "method": method, "path": path, "kind": kind, "every": every,
        "delay_ms": 300 + dice.below(2_700),
    });
    stage.control(stand_in, "/_control/faults", &fault).await
}

async fn clear(stage: &Stage) -> Result<()> {
    for stand_in in [STRIPE, HORIZON, TFCHAIN] {
        stage
            .calm
            .delete(stage.url(stand_in, "/_control/faults"))
            .send()
            .await?
            .error_for_status()?;
    }
    Ok(())
}

/// All counterparties are well again.
pub async fn heal(stage: &Stage) -> Result<()> {
    clear(stage).await?;
    stage
        .control(HORIZON, "/_control/replicas", &json!({ "every": 0 }))
        .await?;
    stage
        .control(TFCHAIN, "/_control/bridge", &json!({ "returns": 0 }))
        .await
}

/// Every fifth event is never sent: only the reconciler hears of it. The others come twice, and
/// overtake each other.
pub async fn unreliable_webhooks(stage: &Stage) -> Result<()> {
    let secrets = stage.setting("GRIDWAY_STRIPE_WEBHOOK_SECRETS");
    let target = json!({
        "url": format!("{}/payments/webhook", stage.api),
        "secret": secrets.split(',').next().unwrap_or_default(),
        "copies": 2,
        "jitter_ms": 400,
        "drop_every": 5,
    });
    stage.control(STRIPE, "/_control/webhook", &target).await
}
