//! Whether the process lives, and whether it can do its work.

use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(2);

/// `GET /healthz`: the process answers.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// `GET /readyz`: Kafka with its topics, the registry and Postgres answer; else which do not.
pub(crate) async fn ready(State(state): State<ApiState>) -> Result<Json<Value>, Problem> {
    let (kafka, registry, postgres) =
        tokio::join!(kafka(&state), registry(&state), postgres(&state));
    let mut checks = Map::new();
    let mut missing = Vec::new();
    for (part, result) in [
        ("kafka", kafka),
        ("registry", registry),
        ("postgres", postgres),
    ] {
        let said = match result {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                missing.push(part);
                error
            }
        };
        checks.insert(part.to_owned(), json!(said));
    }
    if missing.is_empty() {
        return Ok(Json(json!({ "status": "ready", "checks": checks })));
    }
    Err(Problem::new(
        Kind::NotReady,
        format!("not reachable: {}", missing.join(", ")),
    )
    .with("checks", checks))
}

async fn kafka(state: &ApiState) -> Result<(), String> {
    state.log.check(WITHIN).await
}

async fn registry(state: &ApiState) -> Result<(), String> {
    let url = format!("{}/schemas/types", state.registry_url.trim_end_matches('/'));
    let asked = async {
        let response = reqwest::get(&url)
            .await
            .map_err(|e| e.without_url().to_string())?;
        // Whatever it says of this address: it answers.
        if response.status().is_server_error() {
            Err(format!("the registry answers {}", response.status()))
        } else {
            Ok(())
        }
    };
    timeout(WITHIN, asked)
        .await
        .map_err(|_| "the registry does not answer".to_owned())?
}

async fn postgres(state: &ApiState) -> Result<(), String> {
    let asked = sqlx::query("SELECT 1").execute(&state.pool);
    match timeout(WITHIN, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "Postgres does not answer the readiness check");
            Err("Postgres does not answer".to_owned())
        }
        Err(_) => Err("Postgres does not answer".to_owned()),
    }
}
