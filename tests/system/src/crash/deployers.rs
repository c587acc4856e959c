//! People who deploy, change their mind and end what they have, whatever happens meanwhile.

use super::dice::Dice;
use super::shoppers::again;
use super::stage::Stage;
use anyhow::{Context, Result, bail};
use gridway::demo::{Buyer, text};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What a person deploys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deploys {
    /// Nothing.
    Nothing,
    /// A workload, which stays as it is.
    Once,
    /// One or several, which they change and cancel as they like.
    AndChanges,
}

/// Something that a person has deployed.
pub struct Deployment {
    id: String,
    /// Whether it has a workload, which can be changed.
    workload: bool,
}

/// Asks for what is deployed, for a purchase; every third who changes their mind for several at once.
pub async fn deploy(
    buyer: &Buyer,
    number: usize,
    deploys: Deploys,
    key: &str,
    purchase: &str,
) -> Result<Vec<Deployment>> {
    let command = format!("{key}-deployment");
    let workload = |place: usize| {
        json!({
            "node_id": 1 + (number + place) % 10,
            "data": format!("{{\"name\":\"{key}\",\"place\":{place}}}"),
        })
    };
    match deploys {
        Deploys::Nothing => Ok(Vec::new()),
        Deploys::AndChanges if number.is_multiple_of(3) => {
            let name = json!({"kind": "name", "name": key});
            let members = [workload(0), workload(1), name];
            let body = json!({"deployments": members, "purchase_id": purchase});
            let made = again("asking for a batch", || {
                buyer.command("/deployments/batch", &command, &body, 0)
            })
            .await?;
            let ids = made["deployment_ids"].as_array().context("members")?;
            let workloads = [true, true, false];
            let members = ids.iter().zip(workloads).map(|(id, workload)| {
                let id = id.as_str().context("a member's id")?.to_owned();
                Ok(Deployment { id, workload })
            });
            members.collect()
        }
        Deploys::Once | Deploys::AndChanges => {
            let mut body = workload(0);
            body["purchase_id"] = purchase.into();
            let made = again("asking for a deployment", || {
                buyer.command("/deployments", &command, &body, 0)
            })
            .await?;
            let id = text(&made, "id")?;
            Ok(vec![Deployment { id, workload: true }])
        }
    }
}

/// Changes and cancels them, at once and much later: before there is a contract, while one is being
/// made or changed, and when it stands.
pub async fn changes(
    stage: &Stage,
    buyer: &Buyer,
    key: &str,
    deployments: &[Deployment],
) -> Result<()> {
    let mut dice = Dice::new(stage.plan.seed, key);
    for (place, deployment) in deployments.iter().enumerate() {
        for version in 0..dice.below(4) {
            tokio::time::sleep(dice.ms(0, 5_000)).await;
            let cancels = dice.percent(35);
            if !cancels && !deployment.workload {
                continue;
            }
            let command = format!("{key}-{place}-{version}");
            let (method, body) = if cancels {
                (Method::DELETE, None)
            } else {
                let data = format!("{{\"name\":\"{key}\",\"change\":{version}}}");
                (Method::PUT, Some(json!({ "data": data })))
            };
            let path = format!("/deployments/{}", deployment.id);
            change(buyer, &method, &path, &command, body.as_ref()).await?;
            if cancels {
                break;
            }
        }
    }
    Ok(())
}

/// Until it is taken, or refused because the deployment is ending or over.
async fn change(
    buyer: &Buyer,
    method: &Method,
    path: &str,
    key: &str,
    body: Option<&Value>,
) -> Result<()> {
    again("changing a deployment", || async {
        let (status, answer) = buyer.ask(method.clone(), path, key, body).await?;
        if status.is_success() || status == StatusCode::CONFLICT {
            Ok(())
        } else {
            bail!("{method} {path}: {status}: {answer}")
        }
    })
    .await
}
