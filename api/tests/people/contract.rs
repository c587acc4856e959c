//! What holds for every route: answers that are kept, pages, streams, headers.

use super::support::{ANNA, BERT, CARA, World, eventually, user};
use super::{People, now};
use events::ids::{PurchaseId, QuoteId, TwinId, UserId};
use events::money::{Amount, Currency, Fiat};
use events::purchases::{Funding, PurchaseAlarmed, PurchaseEvent, PurchaseRequested};
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

pub async fn answers_pages_and_streams(people: &People<'_>) {
    let world = people.world;
    the_first_answer_comes_again(world).await;
    one_of_two_at_once_is_told_to_wait(world).await;
    redis_forgets_and_nothing_changes(world).await;
    a_long_list_comes_in_pages(world).await;
    everybody_hears_what_is_theirs(world).await;
    browsers_are_told_what_they_may(world).await;
}

async fn the_first_answer_comes_again(world: &World) {
    let body = json!({"tft": "33", "currency": "EUR"});
    let first = world.post("/quotes", ANNA, "kept", &body).await;
    assert_eq!(first.status, 201, "{}", first.text);
    // Not even a changed row changes what was said.
    let id: uuid::Uuid = first.json()["id"].as_str().unwrap().parse().unwrap();
    let change = "UPDATE quotes SET charge_minor = 7777 WHERE id = $1";
    sqlx::query(change)
        .bind(id)
        .execute(&world.pool)
        .await
        .unwrap();
    let again = world.post("/quotes", ANNA, "kept", &body).await;
    assert_eq!(again.header("idempotency-hit"), "true");
    assert_eq!(
        (
            again.status,
            &again.text,
            again.header("location"),
            again.header("content-type")
        ),
        (
            first.status,
            &first.text,
            first.header("location"),
            first.header("content-type")
        )
    );
    world
        .post("/quotes", ANNA, "kept", &json!({"tft": "34"}))
        .await
        .is_problem(422, "idempotency-key-reused");
    // The same key for another address is another command.
    world
        .post("/users", ANNA, "kept", &json!({}))
        .await
        .is_problem(422, "idempotency-key-reused");
    // A day later the aggregate answers, as it stands then.
    let age = "UPDATE command_answers SET created_at = created_at - interval '24 hours' WHERE key = 'kept'";
    assert_eq!(
        sqlx::query(age)
            .execute(&world.pool)
            .await
            .unwrap()
            .rows_affected(),
        1
    );
    let late = world.post("/quotes", ANNA, "kept", &body).await;
    assert_eq!(
        (late.status.as_u16(), late.header("idempotency-hit")),
        (201, "true")
    );
    assert_eq!(late.json()["id"], first.json()["id"]);
    assert_eq!(late.json()["charge"]["minor"], 7777);
    // What failed binds nothing.
    let much = json!({"tft": "10000"});
    world
        .post("/quotes", ANNA, "failed", &much)
        .await
        .is_problem(422, "no-path");
    assert_eq!(
        world.post("/quotes", ANNA, "failed", &body).await.status,
        201
    );
}

async fn one_of_two_at_once_is_told_to_wait(world: &World) {
    let slow = json!({"tft": "677"});
    let first = world.post("/quotes", ANNA, "slow", &slow);
    let second = async {
        // Once the first is being carried out.
        eventually(|| async { world.leased("anna", "slow").await }).await;
        let other = world
            .post("/quotes", ANNA, "slow", &json!({"tft": "1"}))
            .await;
        other.is_problem(422, "idempotency-key-reused");
        world.post("/quotes", ANNA, "slow", &slow).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, 201, "{}", first.text);
    second.is_problem(409, "command-in-progress");
    assert_eq!(second.header("retry-after"), "1");
    assert_eq!(
        world.post("/quotes", ANNA, "slow", &slow).await.text,
        first.text
    );
    // What its process has not answered when it dies is free after some seconds, not locked for ever.
    let fingerprint = world.answered("anna", "slow").await;
    world.lose_answer("anna", "slow").await;
    let soon = world.redis_ms().await + 400;
    let left = format!("running:{fingerprint}:{soon}:dead:1");
    world.lease("anna", "slow", &left).await;
    world
        .post("/quotes", ANNA, "slow", &slow)
        .await
        .is_problem(409, "command-in-progress");
    let after = eventually(|| async {
        let after = world.post("/quotes", ANNA, "slow", &slow).await;
        (after.status == 201).then_some(after)
    })
    .await;
    assert_eq!(after.json()["id"], first.json()["id"]);
    // How far it came, nobody knows: with its key there is no other command.
    world.lease("anna", "left", &left).await;
    world
        .post("/quotes", ANNA, "left", &json!({"tft": "1"}))
        .await
        .is_problem(422, "idempotency-key-reused");
    assert_eq!(world.post("/quotes", ANNA, "left", &slow).await.status, 201);
}

/// Redis may lose what it was told, or be emptied: what was answered is still answered the same.
async fn redis_forgets_and_nothing_changes(world: &World) {
    let body = json!({"tft": "35", "currency": "EUR"});
    let first = world.post("/quotes", ANNA, "forgotten", &body).await;
    assert_eq!(first.status, 201, "{}", first.text);
    world.answered("anna", "forgotten").await;
    sqlx::query("UPDATE quotes SET charge_minor = 7777 WHERE id = $1")
        .bind(
            first.json()["id"]
                .as_str()
                .unwrap()
                .parse::<uuid::Uuid>()
                .unwrap(),
        )
        .execute(&world.pool)
        .await
        .unwrap();
    world.forget("anna", "forgotten").await;
    let again = world.post("/quotes", ANNA, "forgotten", &body).await;
    assert_eq!(
        (again.status, again.header("idempotency-hit"), &again.text),
        (first.status, "true", &first.text)
    );
    // It has learnt it again.
    world.answered("anna", "forgotten").await;
    world.forget("anna", "forgotten").await;
    world
        .post("/quotes", ANNA, "forgotten", &json!({"tft": "36"}))
        .await
        .is_problem(422, "idempotency-key-reused");
}

fn purchase(name: &str, owner: UserId) -> PurchaseRequested {
    PurchaseRequested {
        purchase_id: PurchaseId::derive(&["contract", name]),
        user_id: owner,
        twin_id: TwinId(7),
        quote_id: QuoteId::derive(&["contract", name]),
        tft: Amount::from_whole(1),
        swap_tft: Amount::from_whole(2),
        usdc_quoted: Amount::from_whole(1),
        usdc_cap: Amount::from_whole(1),
        path: Vec::new(),
        charge: Fiat {
            minor: 50,
            currency: Currency::Usd,
        },
        quote_expires_at: now(),
        requested_at: now(),
        funding: Funding::Card,
        usdc_due: None,
        pay_until: None,
        give_up_after_ms: None,
    }
}

async fn append(world: &World, name: &str, event: impl Into<PurchaseEvent>) {
    let id = PurchaseId::derive(&["contract", name]).to_string();
    let event = event.into();
    let kind = format!("{event:?}");
    world
        .append::<PurchaseEvent>(&id, &["contract", name, &kind], &id, event)
        .await;
}

async fn a_long_list_comes_in_pages(world: &World) {
    for n in 0..7 {
        let name = format!("page {n}");
        append(world, &name, purchase(&name, user("bert"))).await;
    }
    let last = PurchaseId::derive(&["contract", "page 6"]);
    for n in 0..7 {
        let id = PurchaseId::derive(&["contract", &format!("page {n}")]);
        eventually(|| async { projections::purchases::get(&world.pool, id).await.unwrap() }).await;
    }
    let mut seen = HashSet::new();
    let mut address = "/purchases?limit=3".to_owned();
    let mut pages = 0;
    loop {
        let page = world.get(&address, BERT).await.json();
        let rows = page["purchases"].as_array().unwrap();
        assert!(rows.len() <= 3);
        for row in rows {
            assert!(seen.insert(row["id"].as_str().unwrap().to_owned()), "twice");
        }
        pages += 1;
        if page["has_more"] == false {
            break;
        }
        let id = rows.last().unwrap()["id"].as_str().unwrap();
        address = format!("/purchases?limit=3&starting_after={id}");
    }
    // Bert has these, and what other tests gave him.
    for n in 0..7 {
        let id = PurchaseId::derive(&["contract", &format!("page {n}")]);
        assert!(seen.contains(&id.to_string()), "page {n}");
    }
    assert_eq!(pages, seen.len().div_ceil(3));
    // Somebody else's row is not a place in one's own list.
    let foreign = format!("/purchases?starting_after={last}");
    world
        .get(&foreign, ANNA)
        .await
        .is_problem(422, "invalid-field");
    world
        .get("/purchases?scope=all", ANNA)
        .await
        .is_problem(403, "forbidden");
    let all = world
        .get("/purchases?scope=all&limit=100", CARA)
        .await
        .json();
    let ids: HashSet<&str> = all["purchases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    assert!(seen.iter().all(|id| ids.contains(id.as_str())));
    let own = world.get("/purchases", CARA).await.json();
    assert_eq!(own["purchases"], json!([]));
}

/// A stream, read as a browser reads it.
struct Heard {
    chunks: futures::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    rest: String,
}

impl Heard {
    async fn open(world: &World, token: &str, last: Option<&str>) -> Self {
        let mut request = world.request("GET", "/events", token);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let chunks = answer
            .bytes_stream()
            .map(|chunk| chunk.map(|bytes| bytes.to_vec()))
            .boxed();
        Self {
            chunks,
            rest: String::new(),
        }
    }

    /// The next event: its id and its data.
    async fn next(&mut self) -> (String, Value) {
        loop {
            while let Some((event, rest)) = self.rest.split_once("\n\n") {
                let line = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
                };
                let found = line("id:").zip(line("data:"));
                let rest = rest.to_owned();
                self.rest = rest;
                if let Some((id, data)) = found {
                    return (id, serde_json::from_str(&data).unwrap());
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.chunks.next());
            let chunk = chunk.await.unwrap().unwrap().unwrap();
            self.rest.push_str(&String::from_utf8(chunk).unwrap());
        }
    }

    /// The next event of our scenario.
    async fn next_of(&mut self, name: &str) -> (String, Value) {
        loop {
            let (id, data) = self.next().await;
            if data["type"].as_str().unwrap().ends_with(name) {
                return (id, data);
            }
        }
    }
}

async fn everybody_hears_what_is_theirs(world: &World) {
    let mut anna = Heard::open(world, ANNA, None).await;
    let mut cara = Heard::open(world, CARA, None).await;
    append(world, "of bert", purchase("of bert", user("bert"))).await;
    append(world, "of anna", purchase("of anna", user("anna"))).await;
    // Anna's is the first that Anna hears; the auditor hears both.
    let (id, first) = anna.next().await;
    assert_eq!(
        first["facts"]["quote_id"],
        QuoteId::derive(&["contract", "of anna"]).to_string()
    );
    let mut heard = HashSet::new();
    for _ in 0..2 {
        let (_, data) = cara.next_of("PurchaseRequested").await;
        heard.insert(data["facts"]["quote_id"].as_str().unwrap().to_owned());
    }
    for name in ["of bert", "of anna"] {
        assert!(
            heard.contains(&QuoteId::derive(&["contract", name]).to_string()),
            "{name}"
        );
    }
    // Away for a while: nothing is left out, nothing comes twice.
    drop(anna);
    let alarm = |n: i32| PurchaseAlarmed {
        purchase_id: PurchaseId::derive(&["contract", "of anna"]),
        alarm: format!("alarm {n}"),
        detail: "a test".to_owned(),
    };
    for n in 0..3 {
        append(world, "of anna", alarm(n)).await;
    }
    let mut anna = Heard::open(world, ANNA, Some(&id)).await;
    for n in 0..3 {
        let (_, data) = anna.next().await;
        assert_eq!(data["facts"]["alarm"], format!("alarm {n}"));
    }
    append(world, "of anna", alarm(3)).await;
    assert_eq!(anna.next().await.1["facts"]["alarm"], "alarm 3");
}

async fn browsers_are_told_what_they_may(world: &World) {
    let from = |origin: &str| {
        world
            .request("GET", "/purchases", ANNA)
            .header("Origin", origin)
    };
    let ours = world.send(from("https://console.test")).await;
    assert_eq!(
        ours.header("access-control-allow-origin"),
        "https://console.test"
    );
    assert!(
        ours.header("access-control-expose-headers")
            .contains("consistency-token")
    );
    let other = world.send(from("https://evil.test")).await;
    assert!(other.headers.get("access-control-allow-origin").is_none());
    let ask = |origin: &str| {
        world
            .client
            .request(reqwest::Method::OPTIONS, format!("{}/quotes", world.base))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header(
                "Access-Control-Request-Headers",
                "authorization,idempotency-key",
            )
    };
    let asked = world.send(ask("https://console.test")).await;
    assert_eq!(asked.status, 204);
    assert!(
        asked
            .header("access-control-allow-headers")
            .contains("idempotency-key")
    );
    let asked = world.send(ask("https://evil.test")).await;
    assert!(asked.headers.get("access-control-allow-origin").is_none());
    for answer in [
        ours,
        world.get("/nowhere", "").await,
        world.get("/docs/", "").await,
    ] {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'")
        );
        assert!(
            answer
                .header("strict-transport-security")
                .contains("max-age")
        );
        assert!(!answer.header("x-request-id").is_empty());
    }
    let contract = world.get("/openapi.yaml", "").await;
    assert_eq!(contract.text, api::contract::yaml());
    let wrong = world.send(world.request("PUT", "/quotes", ANNA)).await;
    wrong.is_problem(405, "method-not-allowed");
    assert_eq!(wrong.header("allow"), "POST");
}
