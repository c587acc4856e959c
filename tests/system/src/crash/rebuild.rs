//! The read models must be what a rebuild makes of the log.

use super::stage::Stage;
use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::time::{Duration, Instant};

/// How long the rebuild may take.
const WITHIN: Duration = Duration::from_secs(120);
const DATABASE: &str = "rebuilt";
/// Tables of the read models, with what orders their rows and what may differ.
const TABLES: [(&str, &str, &str); 7] = [
    ("timeline", "topic, partition, \"offset\"", ""),
    ("undecodable", "topic, partition, \"offset\"", "seen_at"),
    ("users", "id", ""),
    ("purchases", "id", ""),
    ("deployments", "id", ""),
    ("deposits", "id", ""),
    ("credits", "twin_id", ""),
];

/// Folds the whole log into an empty database and says what differs.
pub async fn compare(stage: &Stage) -> Result<Vec<String>> {
    let live = stage.stack.database_url();
    let (server, _) = live.rsplit_once('/').context("a database URL")?;
    let rebuilt = format!("{server}/{DATABASE}");
    let mut admin = PgConnection::connect(live).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {DATABASE}")))
        .execute(&mut admin)
        .await?;
    admin.close().await?;
    let mut folding = {
        let fleet = stage.fleet.lock().await;
        let database = [("GRIDWAY_DATABASE_URL", rebuilt.as_str())];
        fleet.extra("projections/rebuild", &database).await?
    };
    let until = Instant::now() + WITHIN;
    let differences = loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let differences = match differences(live, &rebuilt).await {
            Ok(differences) => differences,
            // Its tables are not made yet.
            Err(error) => vec![format!("the read models cannot be compared: {error:#}")],
        };
        if differences.is_empty() || Instant::now() > until {
            break differences;
        }
    };
    folding.kill().await?;
    if differences.is_empty() {
        stage.say("the read models equal a rebuild");
    }
    Ok(differences)
}

async fn differences(live: &str, rebuilt: &str) -> Result<Vec<String>> {
    let mut live = PgConnection::connect(live).await?;
    let mut rebuilt = PgConnection::connect(rebuilt).await?;
    let mut found = Vec::new();
    for (table, order, free) in TABLES {
        let here = rows(&mut live, table, order, free).await?;
        let there = rows(&mut rebuilt, table, order, free).await?;
        if here.len() != there.len() {
            found.push(format!(
                "{table}: {} rows, a rebuild has {}",
                here.len(),
                there.len()
            ));
        }
        let first = here.iter().zip(&there).find(|(here, there)| here != there);
        if let Some((here, there)) = first {
            found.push(format!("{table}: {here}, a rebuild has {there}"));
        }
    }
    if !rows(&mut live, "undecodable", "1", "").await?.is_empty() {
        found.push("there are records that cannot be read".to_owned());
    }
    Ok(found)
}

async fn rows(
    database: &mut PgConnection,
    table: &str,
    order: &str,
    free: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let query = format!("SELECT (to_jsonb(t) - '{free}')::text FROM {table} t ORDER BY {order}");
    sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_all(database)
        .await
}
