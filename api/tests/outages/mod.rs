//! What is answered while a part of the stack is away.

use super::quotes::expire;
use super::support::{ANNA, World, eventually};
use events::ids::PurchaseId;
use sandbox_stack::{Part, Stack};
use serde_json::json;
use std::time::Instant;

pub async fn without_kafka_nothing_is_confirmed(
    world: &World,
    stack: &Stack,
    purchase: PurchaseId,
) {
    stack.kill(Part::Kafka).await.unwrap();
    let body = format!("evt_3,{purchase}");
    let begun = Instant::now();
    let refused = world.webhook(Some("good"), body.clone()).await;
    refused.is_problem(503, "log-unavailable");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(begun.elapsed().as_secs() < 30);
    let ready = world.get("/readyz", "").await;
    ready.is_problem(503, "not-ready");
    assert_eq!(ready.json()["checks"]["postgres"], "ok");
    assert_ne!(ready.json()["checks"]["kafka"], "ok");
    assert_eq!(world.get("/healthz", "").await.status, 200);
    // Queries do not need Kafka.
    assert_eq!(
        world
            .get(&format!("/purchases/{purchase}"), ANNA)
            .await
            .status,
        200
    );
    // A command that was bound but not appended, and whose quote expires meanwhile.
    let quote = world
        .post("/quotes", ANNA, "quote-dark", &json!({"tft": "8"}))
        .await
        .json();
    let buy = json!({"quote_id": quote["id"]});
    world
        .post("/payments/create-intent", ANNA, "dark", &buy)
        .await
        .is_problem(503, "log-unavailable");
    expire(world, &quote).await;
    stack.restart(Part::Kafka).await.unwrap();
    let taken = eventually(|| async {
        let answer = world
            .post("/payments/create-intent", ANNA, "dark", &buy)
            .await;
        (answer.status == 202).then_some(answer)
    })
    .await;
    assert_eq!(taken.header("idempotency-hit"), "true");
    let path = taken.header("location").to_owned();
    eventually(|| async { (world.get(&path, ANNA).await.status == 200).then_some(()) }).await;
    eventually(|| async {
        (world.webhook(Some("good"), body.clone()).await.status == 200).then_some(())
    })
    .await;
}

pub async fn without_a_registry_the_rest_goes_on(
    world: &World,
    stack: &Stack,
    purchase: PurchaseId,
) {
    stack.kill(Part::Registry).await.unwrap();
    let ready = world.get("/readyz", "").await;
    ready.is_problem(503, "not-ready");
    assert_eq!(ready.json()["detail"], "not reachable: registry");
    // The schemas are known already.
    assert_eq!(
        world
            .webhook(Some("good"), format!("evt_4,{purchase}"))
            .await
            .status,
        200
    );
    stack.restart(Part::Registry).await.unwrap();
}

pub async fn without_postgres_webhooks_are_still_taken(
    world: &World,
    stack: &Stack,
    purchase: PurchaseId,
) {
    stack.kill(Part::Postgres).await.unwrap();
    world
        .get("/purchases", ANNA)
        .await
        .is_problem(503, "database-unavailable");
    world
        .post("/quotes", ANNA, "no-db", &json!({"tft": "1"}))
        .await
        .is_problem(503, "database-unavailable");
    assert_eq!(
        world
            .webhook(Some("good"), format!("evt_5,{purchase}"))
            .await
            .status,
        200
    );
    stack.restart(Part::Postgres).await.unwrap();
    let path = format!("/purchases/{purchase}/timeline");
    eventually(|| async {
        world
            .get(&path, ANNA)
            .await
            .text
            .contains("evt_5")
            .then_some(())
    })
    .await;
}
