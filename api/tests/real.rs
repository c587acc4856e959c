//! The API against a real Kafka, registry and Postgres, over HTTP.
//!
//! One stack for all scenarios, one after the other: the last ones kill its parts.

#![expect(clippy::unwrap_used, reason = "tests")]

mod changes;
mod crowd;
mod outages;
mod quotes;
mod support;
mod treasury;

use events::deployments::{DeploymentCreated, DeploymentEvent};
use events::ids::{ContractId, DeploymentId, EventId, NodeId, PurchaseId, TwinId};
use events::money::{Currency, Fiat};
use events::purchases::{PaymentIntentCreated, PurchaseEvent};
use events::users::{TwinCreated, UserEvent};
use projections::progress::{self, Position};
use sandbox_stack::{Stack, StackOptions};
use serde_json::{Value, json};
use sqlx::Row;
use std::time::Instant;
use support::{ANNA, BERT, World, eventually, user};

async fn strangers_are_turned_away(world: &World) {
    for path in [
        "/users/me",
        "/purchases",
        "/deployments",
        "/quotes/x",
        "/purchases/x/timeline",
    ] {
        world
            .get(path, "not-a-token-at-all")
            .await
            .is_problem(401, "unauthorized");
    }
    let bare = world
        .send(world.client.get(format!("{}/purchases", world.base)))
        .await;
    bare.is_problem(401, "unauthorized");
    assert_eq!(bare.header("www-authenticate"), "Bearer");
}

async fn malformed_requests_get_problems(world: &World) {
    world
        .get("/nowhere", ANNA)
        .await
        .is_problem(404, "not-found");
    world
        .get("/quotes", ANNA)
        .await
        .is_problem(405, "method-not-allowed");
    let post = || world.request("POST", "/quotes", ANNA);
    world
        .send(post().json(&json!({"tft": "1"})))
        .await
        .is_problem(400, "idempotency-key-missing");
    let keyed = || post().header("Idempotency-Key", "k");
    world
        .send(
            post()
                .header("Idempotency-Key", "x".repeat(256))
                .json(&json!({"tft": "1"})),
        )
        .await
        .is_problem(400, "idempotency-key-invalid");
    world
        .send(keyed().body("tft=1"))
        .await
        .is_problem(415, "unsupported-media-type");
    let json = || keyed().header("Content-Type", "application/json");
    world
        .send(json().body("{"))
        .await
        .is_problem(400, "malformed-json");
    world
        .send(json().body(r#"{"tft":1}"#))
        .await
        .is_problem(422, "invalid-field");
    world
        .send(json().body(vec![b' '; 70_000]))
        .await
        .is_problem(413, "too-large");
    for tft in [
        "0",
        "-1",
        "1e3",
        "0.00000001",
        "1000001",
        "99999999999999999999",
    ] {
        world
            .post("/quotes", ANNA, "k", &json!({ "tft": tft }))
            .await
            .is_problem(422, "invalid-field");
    }
    world
        .post(
            "/quotes",
            ANNA,
            "k",
            &json!({"tft": "1", "currency": "TFT"}),
        )
        .await
        .is_problem(422, "invalid-field");
}

async fn who_registers_gets_a_twin(world: &World, quote: &Value) {
    let anna = user("anna");
    let buy = json!({"quote_id": quote["id"]});
    let early = world
        .post("/payments/create-intent", ANNA, "too-early", &buy)
        .await;
    early.is_problem(409, "no-twin-yet");
    assert_eq!(early.json()["next"], "POST /users");
    world
        .get("/users/me", ANNA)
        .await
        .is_problem(404, "not-found");

    let registered = world.post("/users", ANNA, "register", &json!({})).await;
    assert_eq!(registered.status, 202, "{}", registered.text);
    assert_eq!(registered.header("location"), "/users/me");
    let token = registered.header("consistency-token");
    let me = world
        .send(
            world
                .request("GET", "/users/me", ANNA)
                .header("Consistency-Token", token),
        )
        .await;
    assert_eq!(me.json()["id"], anna.to_string());
    assert_eq!(me.json()["twin_id"], Value::Null);
    let early = world
        .post("/payments/create-intent", ANNA, "too-early", &buy)
        .await;
    early.is_problem(409, "no-twin-yet");
    assert_eq!(early.json()["next"], "GET /users/me");

    let nothing = json!({});
    let waiting = world.post_waiting("/users", ANNA, "register", &nothing);
    let twin = async {
        let event = TwinCreated {
            user_id: anna,
            request_id: EventId::derive(&["twin"]),
            twin_id: TwinId(7),
            account: "5Grw".to_owned(),
            block: 12,
        };
        world
            .append::<UserEvent>(
                &anna.to_string(),
                &["twin", "made"],
                &anna.to_string(),
                event,
            )
            .await
    };
    let (answer, _) = tokio::join!(waiting, twin);
    assert_eq!(
        (answer.status.as_u16(), answer.header("idempotency-hit")),
        (202, "true")
    );
    assert_eq!(answer.json()["twin_id"], 7);
}

async fn an_accepted_quote_becomes_a_purchase(world: &World, quote: &Value) -> PurchaseId {
    let buy = json!({"quote_id": quote["id"]});
    world
        .post(
            "/payments/create-intent",
            ANNA,
            "nothing",
            &json!({"quote_id": EventId::derive(&["x"])}),
        )
        .await
        .is_problem(422, "unknown-quote");
    world
        .post("/payments/create-intent", BERT, "theft", &buy)
        .await
        .is_problem(422, "unknown-quote");

    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = world
        .request("POST", "/payments/create-intent", ANNA)
        .header("Idempotency-Key", "buy");
    let taken = world
        .send(request.header("traceparent", traceparent).json(&buy))
        .await;
    assert_eq!(taken.status, 202, "{}", taken.text);
    let body = taken.json();
    assert_eq!(body["state"], "opened");
    let text = body["purchase_id"].as_str().unwrap();
    assert_eq!(taken.header("location"), format!("/purchases/{text}"));
    let token = taken.header("consistency-token");
    let path = format!("/purchases/{text}");
    let shown = world
        .send(
            world
                .request("GET", &path, ANNA)
                .header("Consistency-Token", token),
        )
        .await;
    assert_eq!(shown.json()["state"], "opened", "{}", shown.text);
    assert_eq!(
        shown.json()["charge"],
        json!({"minor": 259, "currency": "USD"})
    );
    // A quote is accepted once.
    world
        .post("/payments/create-intent", ANNA, "buy-again", &buy)
        .await
        .is_problem(409, "quote-used");
    world.get(&path, BERT).await.is_problem(404, "not-found");
    world
        .get(&format!("{path}/timeline"), BERT)
        .await
        .is_problem(404, "not-found");

    let id: PurchaseId = text.parse().unwrap();
    let again = world.post_waiting("/payments/create-intent", ANNA, "buy", &buy);
    let created = async {
        let event = PaymentIntentCreated {
            purchase_id: id,
            request_id: EventId::derive(&["intent"]),
            intent_id: "pi_1".to_owned(),
            status: "requires_payment_method".to_owned(),
            amount: Fiat {
                minor: 259,
                currency: Currency::Usd,
            },
            livemode: false,
        };
        world
            .append::<PurchaseEvent>(text, &["intent", "created"], text, event)
            .await
    };
    let again = async { (again.await, Instant::now()) };
    let created = async { (created.await, Instant::now()) };
    let ((again, answered), (_, appended)) = tokio::join!(again, created);
    println!(
        "a waiting buyer was answered {:?} after the event",
        answered - appended
    );
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-hit")),
        (202, "true")
    );
    let body = again.json();
    assert_eq!(body["purchase_id"], text);
    assert_eq!(body["state"], "awaiting_payment");
    assert_eq!(body["intent_id"], "pi_1");
    assert_eq!(body["client_secret"], "pi_1_secret_x");
    assert_eq!(again.header("cache-control"), "no-store");
    // Nowhere but in that answer.
    for path in [path.clone(), format!("{path}/timeline")] {
        assert!(!world.get(&path, ANNA).await.text.contains("secret"));
    }
    let listed = world.get("/purchases", ANNA).await.json();
    assert_eq!(listed["purchases"].as_array().unwrap().len(), 1);
    let timeline = world.get(&format!("{path}/timeline"), ANNA).await.json();
    let events = timeline["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["type"], "gridway.purchases.PurchaseRequested");
    assert_eq!(events[0]["facts"]["swap_tft"], "251.0000000 TFT");
    id
}

/// The process died between binding the key and appending: the command is appended when it is
/// sent again, even though its quote has expired since.
async fn a_lost_append_is_made_good(world: &World) {
    let quote = world
        .post("/quotes", ANNA, "quote-lost", &json!({"tft": "6"}))
        .await
        .json();
    let buy = json!({"quote_id": quote["id"]});
    let first = world
        .post("/payments/create-intent", ANNA, "lost", &buy)
        .await
        .json();
    let id: uuid::Uuid = first["purchase_id"].as_str().unwrap().parse().unwrap();
    let path = format!("/purchases/{id}");
    eventually(|| async { (world.get(&path, ANNA).await.status == 200).then_some(()) }).await;
    for (statement, key) in [
        (
            "UPDATE quotes SET expires_at = now() - interval '1 hour' WHERE id = $1",
            &quote["id"],
        ),
        ("DELETE FROM purchases WHERE id = $1", &first["purchase_id"]),
    ] {
        let key: uuid::Uuid = key.as_str().unwrap().parse().unwrap();
        sqlx::query(statement)
            .bind(key)
            .execute(&world.pool)
            .await
            .unwrap();
    }
    let again = world
        .post("/payments/create-intent", ANNA, "lost", &buy)
        .await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-hit")),
        (202, "true")
    );
    let token: Position = again.header("consistency-token").parse().unwrap();
    eventually(|| async {
        progress::passed(&world.pool, &token)
            .await
            .unwrap()
            .then_some(())
    })
    .await;
    // The same event id: an echo, of which the read models keep the first record alone.
    let rows = sqlx::query("SELECT count(*) AS n FROM timeline WHERE correlation = $1")
        .bind(id)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(rows.get::<i64, _>("n"), 1);
}

async fn a_webhook_is_in_the_log_before_it_is_answered(world: &World, purchase: PurchaseId) {
    world
        .webhook(None, "evt_1")
        .await
        .is_problem(400, "signature-missing");
    world
        .webhook(Some(""), "evt_1")
        .await
        .is_problem(400, "signature-malformed");
    world
        .webhook(Some("bad"), "evt_1")
        .await
        .is_problem(400, "signature-wrong");
    world
        .webhook(Some("old"), "evt_1")
        .await
        .is_problem(400, "signature-time");
    world
        .webhook(Some("good"), vec![b'x'; 256 * 1024 + 1])
        .await
        .is_problem(413, "too-large");

    let body = format!("evt_1,{purchase}");
    let first = world.webhook(Some("good"), body.clone()).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let second = world.webhook(Some("good"), body).await;
    assert_eq!(second.status, 200);
    let position = second.json()["position"].as_str().unwrap().to_owned();
    assert!(position.starts_with("purchases:"));
    let path = format!("/purchases/{purchase}/timeline");
    let caught_up = world
        .request("GET", &path, ANNA)
        .header("Consistency-Token", position);
    let timeline = world.send(caught_up).await.json();
    let of_stripe: Vec<&Value> = timeline["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["type"] == "gridway.purchases.StripeEventReceived")
        .collect();
    assert_eq!(
        of_stripe.len(),
        1,
        "two deliveries of one event are one fact"
    );
    assert_eq!(of_stripe[0]["facts"]["stripe_event_id"], "evt_1");

    let stray = world.webhook(Some("good"), "evt_2,").await;
    assert_eq!(stray.status, 200);
    assert!(
        stray.json()["position"]
            .as_str()
            .unwrap()
            .starts_with("unmatched:")
    );
}

async fn a_deployment_is_requested_and_shown(world: &World, purchase: PurchaseId) {
    let data = |length| json!({"node_id": 14, "data": "x".repeat(length)});
    world
        .post("/deployments", ANNA, "long", &data(513))
        .await
        .is_problem(422, "invalid-field");
    for body in [
        json!({"node_id": 0, "data": ""}),
        json!({"node_id": -1, "data": ""}),
        json!({"node_id": 1, "data": "", "hours": 0}),
        json!({"node_id": 1, "data": "", "public_ips": 17}),
        json!({"node_id": 1, "data": "", "purchase_id": "17"}),
        json!({"node_id": 1}),
    ] {
        world
            .post("/deployments", ANNA, "odd", &body)
            .await
            .is_problem(422, "invalid-field");
    }
    let mut body = data(512);
    world
        .post("/deployments", BERT, "d", &body)
        .await
        .is_problem(409, "no-twin-yet");
    let quote = world
        .post("/quotes", ANNA, "no-purchase", &json!({"tft": "5"}))
        .await
        .json();
    for stranger in [
        json!(PurchaseId::derive(&["nobody's"])),
        quote["id"].clone(),
    ] {
        body["purchase_id"] = stranger;
        world
            .post("/deployments", ANNA, "d0", &body)
            .await
            .is_problem(422, "unknown-purchase");
    }

    body["purchase_id"] = json!(purchase);
    let taken = world.post("/deployments", ANNA, "d1", &body).await;
    assert_eq!(taken.status, 202, "{}", taken.text);
    let id: DeploymentId = taken.json()["id"].as_str().unwrap().parse().unwrap();
    let path = format!("/deployments/{id}");
    assert_eq!(taken.header("location"), path);
    let token = taken.header("consistency-token");
    let shown = world
        .send(
            world
                .request("GET", &path, ANNA)
                .header("Consistency-Token", token),
        )
        .await;
    assert_eq!(shown.json()["state"], "waiting_for_funds");
    assert_eq!(shown.json()["hash"], format!("{id}-1-512"));
    world.get(&path, BERT).await.is_problem(404, "not-found");

    let anna = user("anna");
    let waiting = world.post_waiting("/deployments", ANNA, "d1", &body);
    let created = async {
        let event = DeploymentCreated {
            deployment_id: id,
            user_id: anna,
            request_id: EventId::derive(&["contract"]),
            node_id: NodeId(14),
            contract_id: ContractId(1001),
            hash: "ab".repeat(32),
            extrinsic: "cc".repeat(32),
            block: 120,
        };
        let purchase = purchase.to_string();
        world
            .append::<DeploymentEvent>(&anna.to_string(), &["d1", "created"], &purchase, event)
            .await
    };
    let (answer, _) = tokio::join!(waiting, created);
    assert_eq!(answer.header("idempotency-hit"), "true");
    assert_eq!(answer.json()["state"], "created");
    assert_eq!(answer.json()["contract_id"], 1001);
    let timeline = world
        .get(&format!("/purchases/{purchase}/timeline"), ANNA)
        .await
        .text;
    assert!(timeline.contains("gridway.deployments.DeploymentCreated"));
    assert_eq!(
        world.get("/deployments", ANNA).await.json()["deployments"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

async fn it_says_how_it_is(world: &World) {
    assert_eq!(world.get("/healthz", "").await.json()["status"], "alive");
    let ready = world.get("/readyz", "").await;
    assert_eq!(ready.status, 200, "{}", ready.text);
    let metrics = world.get("/metrics", "").await.text;
    assert!(
        metrics
            .contains(r#"gridway_http_requests_total{method="POST",route="/quotes",status="201"}"#)
    );
    assert!(metrics.contains("gridway_http_request_seconds_bucket"));
    assert!(metrics.contains("gridway_projections_records_total"));
    assert!(!metrics.contains("nowhere"));
    eventually(|| async {
        let metrics = world.get("/metrics", "").await.text;
        metrics
            .contains(r#"gridway_projections_lag_records{partition="0",topic="users"} 0"#)
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_queries_over_http() {
    let options = StackOptions {
        stand_ins: false,
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await.unwrap();
    let world = World::open(&stack).await;
    strangers_are_turned_away(&world).await;
    malformed_requests_get_problems(&world).await;
    let quote = quotes::a_quote_is_priced_and_kept(&world).await;
    quotes::a_quote_says_its_terms(&world, &quote).await;
    who_registers_gets_a_twin(&world, &quote).await;
    let purchase = an_accepted_quote_becomes_a_purchase(&world, &quote).await;
    a_webhook_is_in_the_log_before_it_is_answered(&world, purchase).await;
    a_deployment_is_requested_and_shown(&world, purchase).await;
    changes::a_deployment_is_changed_and_ended(&world).await;
    changes::a_batch_is_requested_and_shown(&world).await;
    quotes::an_expired_quote_is_not_accepted(&world).await;
    crowd::one_wish_of_many_requests_is_one(&world).await;
    crowd::many_at_once_get_each_their_own(&world).await;
    a_lost_append_is_made_good(&world).await;
    treasury::operators_see_it(&world, purchase).await;
    it_says_how_it_is(&world).await;
    outages::without_kafka_nothing_is_confirmed(&world, &stack, purchase).await;
    outages::without_a_registry_the_rest_goes_on(&world, &stack, purchase).await;
    outages::without_postgres_webhooks_are_still_taken(&world, &stack, purchase).await;
    world.close().await;
    stack.stop().await;
}
