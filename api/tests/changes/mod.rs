//! Deployments that are changed and ended.

use crate::support::{ANNA, Answer, BERT, World, eventually, user};
use events::deployments::{
    BatchCreated, ContractUpdateRequested, ContractUpdated, CreatedContract, DeploymentCancelled,
    DeploymentEvent,
};
use events::ids::{ContractId, DeploymentId, EventId, NodeId, TwinId};
use events::time::Timestamp;
use serde_json::{Value, json};

async fn change(
    world: &World,
    method: &str,
    path: &str,
    key: &str,
    body: Option<&Value>,
) -> Answer {
    let request = world
        .request(method, path, ANNA)
        .header("Idempotency-Key", key);
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    world.send(request).await
}

async fn tell(world: &World, step: &str, event: impl Into<DeploymentEvent>) {
    let anna = user("anna");
    world
        .append::<DeploymentEvent>(
            &anna.to_string(),
            &["change", step],
            &anna.to_string(),
            event,
        )
        .await;
}

/// The deployment of anna's that was created before.
async fn deployment(world: &World) -> DeploymentId {
    let listed = world.get("/deployments", ANNA).await.json();
    listed["deployments"][0]["id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

async fn state_becomes(world: &World, path: &str, state: &str) -> Value {
    eventually(|| async {
        let shown = world.get(path, ANNA).await.json();
        (shown["state"] == state).then_some(shown)
    })
    .await
}

pub async fn a_deployment_is_changed_and_ended(world: &World) {
    let id = deployment(world).await;
    let path = format!("/deployments/{id}");
    let body = json!({"data": "{\"version\":2}"});

    change(
        world,
        "PUT",
        &path,
        "long",
        Some(&json!({"data": "x".repeat(513)})),
    )
    .await
    .is_problem(422, "invalid-field");
    for (method, body) in [("PUT", Some(&body)), ("DELETE", None)] {
        let nobody = format!("/deployments/{}", DeploymentId::derive(&["nobody's"]));
        change(world, method, &nobody, "nobody", body)
            .await
            .is_problem(404, "not-found");
        let request = world
            .request(method, &path, BERT)
            .header("Idempotency-Key", "bert");
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        world.send(request).await.is_problem(404, "not-found");
        let keyless = world
            .request(method, &path, ANNA)
            .json(&json!({"data": ""}));
        world
            .send(keyless)
            .await
            .is_problem(400, "idempotency-key-missing");
    }

    let taken = change(world, "PUT", &path, "u2", Some(&body)).await;
    assert_eq!(taken.status, 202, "{}", taken.text);
    let shown = state_becomes(world, &path, "updating").await;
    assert_eq!(
        (&shown["version"], &shown["wanted_version"]),
        (&json!(1), &json!(2))
    );
    let again = change(world, "PUT", &path, "u2", Some(&body)).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-hit")),
        (202, "true")
    );
    change(world, "PUT", &path, "u2", Some(&json!({"data": "other"})))
        .await
        .is_problem(422, "idempotency-key-reused");
    let request_id = EventId::derive(&["update"]);
    let asked = ContractUpdateRequested {
        deployment_id: id,
        user_id: user("anna"),
        twin_id: TwinId(7),
        attempt: 1,
        node_id: NodeId(14),
        contract_id: ContractId(1001),
        created_block: 120,
        version: 2,
        hash: format!("{id}-2-13"),
        data: "{\"version\":2}".into(),
        deadline: Timestamp(1_790_000_000_000),
    };
    tell(world, "asked", asked).await;
    let updated = ContractUpdated {
        deployment_id: id,
        user_id: user("anna"),
        request_id,
        contract_id: ContractId(1001),
        version: 2,
        hash: format!("{id}-2-13"),
        extrinsic: "dd".repeat(32),
        block: 130,
    };
    tell(world, "updated", updated).await;
    let shown = state_becomes(world, &path, "created").await;
    assert_eq!(shown["hash"], format!("{id}-2-13"));
    assert_eq!(
        (&shown["version"], &shown["block"]),
        (&json!(2), &json!(130))
    );

    let asked = change(world, "DELETE", &path, "end", None).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    state_becomes(world, &path, "cancelling").await;
    change(world, "PUT", &path, "u3", Some(&json!({"data": "late"})))
        .await
        .is_problem(409, "deployment-ended");
    let cancelled = DeploymentCancelled {
        deployment_id: id,
        user_id: user("anna"),
        contract_id: Some(ContractId(1001)),
        reason: "by_user".into(),
        detail: "its owner cancelled it".into(),
    };
    tell(world, "cancelled", cancelled).await;
    let shown = state_becomes(world, &path, "cancelled").await;
    assert_eq!(shown["reason"], "by_user");
    for (method, key, body) in [("PUT", "u4", Some(&body)), ("DELETE", "end2", None)] {
        let late = change(world, method, &path, key, body).await;
        late.is_problem(409, "deployment-ended");
        assert_eq!(late.json()["state"], "cancelled");
    }
    // Asked in time, and asked again: the answer is the same.
    let again = change(world, "DELETE", &path, "end", None).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-hit")),
        (202, "true")
    );
    assert_eq!(again.text, asked.text);
    assert_eq!(again.header("location"), path);
    // Who waits for the outcome is told it.
    let waiting = world
        .request("DELETE", &path, ANNA)
        .header("Idempotency-Key", "end")
        .header("Prefer", "wait=20");
    let waiting = world.send(waiting).await;
    assert_eq!(
        (waiting.status.as_u16(), waiting.header("idempotency-hit")),
        (202, "true")
    );
    assert_eq!(waiting.json()["state"], "cancelled");
    a_key_that_redis_forgot_stands_for_its_command(world).await;
}

/// The event is appended while the key is bound, but not of a key that is bound to something else.
async fn a_key_that_redis_forgot_stands_for_its_command(world: &World) {
    let workload = |data: &str| json!({"node_id": 15, "data": data});
    let first = workload("{}");
    let taken = world.post("/deployments", ANNA, "two", &first).await;
    assert_eq!(taken.status, 202, "{}", taken.text);
    let id = taken.json()["id"].as_str().unwrap().to_owned();
    world.lose_answer("anna", "two").await;
    world.forget("anna", "two").await;
    world
        .post("/deployments", ANNA, "two", &workload("{\"other\":1}"))
        .await
        .is_problem(422, "idempotency-key-reused");
    let again = world.post("/deployments", ANNA, "two", &first).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-hit")),
        (202, "true")
    );
    let shown = world
        .request("GET", &format!("/deployments/{id}"), ANNA)
        .header("Consistency-Token", again.header("consistency-token"));
    assert_eq!(world.send(shown).await.json()["hash"], format!("{id}-1-2"));

    // Nor if what it was bound to has left nothing in the topic, and nobody remembers the answer.
    let quote = world
        .post("/quotes", ANNA, "elsewhere", &json!({"tft": "5"}))
        .await;
    assert_eq!(quote.status, 201, "{}", quote.text);
    world.lose_answer("anna", "elsewhere").await;
    world.forget("anna", "elsewhere").await;
    world
        .post("/deployments", ANNA, "elsewhere", &first)
        .await
        .is_problem(422, "idempotency-key-reused");
    let after = world.post("/deployments", ANNA, "after", &first).await;
    let listed = world
        .request("GET", "/deployments", ANNA)
        .header("Consistency-Token", after.header("consistency-token"));
    let listed = world.send(listed).await.json();
    let on_15 = listed["deployments"].as_array().unwrap().iter();
    let on_15 = on_15.filter(|deployment| deployment["node_id"] == 15);
    assert_eq!(on_15.count(), 2, "{listed}");
}

pub async fn a_batch_is_requested_and_shown(world: &World) {
    let anna = user("anna");
    let node = json!({"node_id": 3, "data": "{}"});
    let many = vec![node.clone(); 101];
    for wrong in [
        json!({"deployments": []}),
        json!({"deployments": many}),
        json!({"deployments": [node, {"kind": "name", "name": "No"}]}),
        json!({"deployments": [{"kind": "rent"}]}),
        json!({"deployments": [{"kind": "cloud", "node_id": 3}]}),
        json!({"deployments": [node], "hours": 0}),
    ] {
        world
            .post("/deployments/batch", ANNA, "odd batch", &wrong)
            .await
            .is_problem(422, "invalid-field");
    }
    let body = json!({"deployments": [
        node,
        {"kind": "name", "name": "a-name"},
        {"kind": "rent", "node_id": 4},
    ]});
    let taken = world.post("/deployments/batch", ANNA, "batch", &body).await;
    assert_eq!(taken.status, 202, "{}", taken.text);
    let ids: Vec<DeploymentId> = taken.json()["deployment_ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(ids.len(), 3);
    let path = taken.header("location").to_owned();
    let all = |state: &'static str| {
        let path = &path;
        async move {
            eventually(|| async {
                let shown = world.get(path, ANNA).await.json();
                let members = shown["deployments"].as_array()?.clone();
                let done = members.len() == 3 && members.iter().all(|d| d["state"] == state);
                done.then_some(members)
            })
            .await
        }
    };
    let members = all("requested").await;
    let kinds: Vec<&Value> = ids
        .iter()
        .filter_map(|id| members.iter().find(|d| d["id"] == json!(id)))
        .map(|d| &d["kind"])
        .collect();
    assert_eq!(kinds, ["node", "name", "rent"]);
    world.get(&path, BERT).await.is_problem(404, "not-found");
    let again = world.post("/deployments/batch", ANNA, "batch", &body).await;
    assert_eq!(again.header("idempotency-hit"), "true");
    assert_eq!(
        again.json()["deployment_ids"],
        taken.json()["deployment_ids"]
    );

    let contracts = (31..).zip(&ids).map(|(number, id)| CreatedContract {
        deployment_id: *id,
        node_id: NodeId(3),
        contract_id: ContractId(number),
        hash: String::new(),
    });
    let created = BatchCreated {
        batch_id: path.rsplit('/').next().unwrap().parse().unwrap(),
        user_id: anna,
        request_id: EventId::derive(&["batch"]),
        contracts: contracts.collect(),
        extrinsic: "ee".repeat(32),
        block: 140,
    };
    tell(world, "batch", created).await;
    let members = all("created").await;
    let mut numbers: Vec<u64> = members
        .iter()
        .filter_map(|d| d["contract_id"].as_u64())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [31, 32, 33]);
    // A name carries no workload.
    let name = format!("/deployments/{}", ids[1]);
    change(
        world,
        "PUT",
        &name,
        "no workload",
        Some(&json!({"data": ""})),
    )
    .await
    .is_problem(409, "no-workload");
}
