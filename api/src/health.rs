//! Whether the process lives, and whether it can do its work.

use crate::contract::Routes;
use crate::metrics;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::routes;

const WITHIN: Duration = Duration::from_secs(2);

/// The routes that machines ask.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(alive))
        .routes(routes!(ready))
        .routes(routes!(metrics::show))
}

/// How the process is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    status: &'static str,
    /// What each part that it needs says.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    checks: BTreeMap<&'static str, String>,
}

/// Says that the process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    responses((status = 200, description = "It lives.", body = Health))
)]
async fn alive() -> Json<Health> {
    Json(Health {
        status: "alive",
        checks: BTreeMap::new(),
    })
}

/// Says whether Kafka with its topics, the registry, Postgres and Redis answer, or which do not.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    responses((status = 200, description = "All of them answer.", body = Health))
)]
async fn ready(State(state): State<ApiState>) -> Result<Json<Health>, Problem> {
    let (kafka, registry, postgres, redis) = tokio::join!(
        kafka(&state),
        registry(&state),
        postgres(&state),
        redis(&state)
    );
    let mut checks = BTreeMap::new();
    let mut missing = Vec::new();
    for (part, result) in [
        ("kafka", kafka),
        ("registry", registry),
        ("postgres", postgres),
        ("redis", redis),
    ] {
        let said = match result {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                missing.push(part);
                error
            }
        };
        checks.insert(part, said);
    }
    if missing.is_empty() {
        return Ok(Json(Health {
            status: "ready",
            checks,
        }));
    }
    Err(Problem::new(
        Kind::NotReady,
        format!("not reachable: {}", missing.join(", ")),
    )
    .with("checks", json!(checks)))
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

async fn redis(state: &ApiState) -> Result<(), String> {
    state.auth.sessions.ping().await.map_err(|error| {
        tracing::warn!(%error, "Redis does not answer the readiness check");
        "Redis does not answer: nobody is let in by a session, logged in or out".to_owned()
    })
}
