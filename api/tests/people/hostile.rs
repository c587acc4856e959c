//! Every route, sent what it should not be sent: each is refused as a problem, and nothing breaks.

use super::People;
use super::applications::offer;
use super::matrix::belongings;
use super::support::{ANNA, DORA, World, user};
use api::auth::rules::{self, Access, Role};
use serde_json::{Value, json};

/// Texts that break what does not expect them.
fn hostile() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        " ",
        "\0",
        "a\0b",
        "'",
        "'; DROP TABLE accounts; --",
        "\" OR \"\"=\"",
        "1) UNION SELECT password_hash FROM accounts --",
        "$1",
        "%00",
        "%0d%0aSet-Cookie: a=b",
        "\r\nX-Injected: 1\r\n",
        "../../etc/passwd",
        "{{7*7}}",
        "${jndi:ldap://127.0.0.1/a}",
        "\u{202e}abc\u{200b}",
        "\u{feff}",
        "é\u{301}",
        "ﬀ𝓐ΣﬁİIı",
        "👩‍👩‍👧‍👦",
        "\u{10ffff}",
        "NaN",
        "-1",
        "1e999",
        "9223372036854775808",
        "null",
        "[]",
        "00000000-0000-0000-0000-000000000000",
        "6f9619ff-8b86-5011-b42d-00c04fc964ff",
        "urn:uuid:6f9619ff-8b86-5011-b42d-00c04fc964ff",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    all.push("x".repeat(5_000));
    all
}

/// A body for each command, valid but for what it names.
fn bodies() -> Vec<(&'static str, Value)> {
    let id = "6f9619ff-8b86-5011-b42d-00c04fc964ff";
    vec![
        (
            "/auth/sign-up",
            json!({"email": "h@example.org", "password": "long enough it is"}),
        ),
        ("/auth/verify", json!({"token": "t"})),
        (
            "/auth/login",
            json!({"email": "h@example.org", "password": "long enough it is"}),
        ),
        ("/auth/refresh", json!({"refresh_token": "t"})),
        ("/auth/password-reset", json!({"email": "h@example.org"})),
        (
            "/auth/password-reset/confirm",
            json!({"token": "t", "password": "long enough it is"}),
        ),
        ("/users", json!({})),
        ("/quotes", json!({"tft": "1", "currency": "USD"})),
        ("/payments/create-intent", json!({"quote_id": id})),
        ("/purchases", json!({"quote_id": id, "funding": "usdc"})),
        (
            "/deployments",
            json!({"kind": "node", "node_id": 1, "data": "{}", "public_ips": 0, "solution_provider": 1, "purchase_id": id, "hours": 1}),
        ),
        (
            "/deployments/batch",
            json!({"deployments": [{"node_id": 1, "data": "{}"}, {"kind": "name", "name": "a-name"}], "purchase_id": id, "hours": 1}),
        ),
        ("/deployments/{id}", json!({"data": "{}"})),
        (
            "/notifications/preferences",
            json!({"language": "en", "choices": []}),
        ),
        ("/notifications/phone", json!({"number": "+491701234567"})),
        ("/notifications/phone/verify", json!({"code": "123456"})),
        (
            "/webhook-endpoints",
            json!({"url": "https://example.org/", "description": "mine"}),
        ),
        ("/webhook-endpoints/{id}/rotate-secret", json!({})),
        ("/webhook-endpoints/{id}/enable", json!({})),
        (
            "/webhook-endpoints/{id}/deliveries/{delivery}/resend",
            json!({}),
        ),
        ("/node-applications", offer("hostile-farm")),
        ("/node-applications/{id}/resubmit", offer("hostile-farm")),
        ("/node-applications/{id}/approve", json!({"revision": 1})),
        (
            "/node-applications/{id}/reject",
            json!({"revision": 1, "reason": "hostile"}),
        ),
        (
            "/node-applications/{id}/request-changes",
            json!({"revision": 1, "reason": "hostile"}),
        ),
        ("/node-applications/{id}/withdraw", json!({})),
        (
            "/approvals",
            json!({"action": "purchase_refund", "target": id, "reason": "hostile"}),
        ),
        ("/approvals/{id}/approve", json!({})),
        ("/approvals/{id}/reject", json!({"reason": "hostile"})),
    ]
}

async fn refused(world: &World, what: &str, request: reqwest::RequestBuilder) {
    let answer = world.send(request).await;
    let status = answer.status.as_u16();
    assert!(status < 500, "{what}: {status} {}", answer.text);
    assert!(answer.headers.get("x-injected").is_none(), "{what}");
    assert!(answer.headers.get("set-cookie").is_none(), "{what}");
    if status >= 400 {
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{what}"
        );
        let problem = answer.json();
        assert!(
            problem["type"]
                .as_str()
                .unwrap()
                .starts_with("https://gridway.dev/problems/"),
            "{what}"
        );
    }
}

/// Must not be taken.
async fn not_taken(world: &World, what: &str, request: reqwest::RequestBuilder) {
    let answer = world.send(request).await;
    let status = answer.status.as_u16();
    assert!(
        (400..500).contains(&status),
        "{what}: {status} {}",
        answer.text
    );
}

pub async fn nothing_breaks(people: &People<'_>) {
    let world = people.world;
    let url = |path: &str| format!("{}{path}", world.base);
    let bodies = bodies();
    let things = belongings(world, user("anna")).await;
    for (method, route, access) in rules::routes() {
        // By somebody whom the rules let in, so that it is the handler that is asked.
        let token = if rules::admits(access, &[Role::User]) {
            ANNA
        } else {
            DORA
        };
        let request = |path: &str| {
            let request = world.client.request(method.parse().unwrap(), url(path));
            request
                .bearer_auth(token)
                .header("Idempotency-Key", "hostile")
        };
        for text in hostile() {
            if route.contains("{id}") {
                let encoded: String =
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
                let encoded = encoded.replace('+', "%20");
                let path = route.replace("{id}", &encoded).replace("{kind}", &encoded);
                refused(world, &format!("{method} {path}"), request(&path)).await;
            }
            if method == "GET" && !route.contains('{') && route != "/events" {
                let asked = request(route).query(&[("limit", &text), ("starting_after", &text)]);
                refused(world, &format!("{method} {route}?limit={text:?}"), asked).await;
            }
        }
        let takes_a_body = bodies
            .iter()
            .find(|(path, _)| matches!(method, "POST" | "PUT") && *path == route);
        let Some((_, good)) = takes_a_body else {
            let without = matches!(access, Access::SignedIn | Access::Signed);
            assert!(
                matches!(method, "GET" | "DELETE")
                    || without
                    || route.ends_with("/documents/{kind}"),
                "teach this test a body of {method} {route}"
            );
            continue;
        };
        // Of an object of the caller's, so that nothing but the body is wrong.
        let id = if route.starts_with("/node-applications") {
            things.application.to_string()
        } else if route.starts_with("/approvals") {
            things.approval.to_string()
        } else {
            things.deployment.to_string()
        };
        let address = route.replace("{id}", &id);
        let address = address.as_str();
        let json = |body: Value| {
            let body = body.to_string();
            request(address)
                .header("Content-Type", "application/json")
                .body(body)
        };
        for raw in [
            "{",
            "[1,",
            "\"",
            "{\"a\":1}}",
            "\u{feff}{}",
            "{'a':1}",
            "nul",
        ] {
            let sent = request(address)
                .header("Content-Type", "application/json")
                .body(raw);
            not_taken(world, &format!("{route} {raw}"), sent).await;
        }
        let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        let sent = request(address)
            .header("Content-Type", "application/json")
            .body(deep);
        not_taken(world, &format!("{route}, nested"), sent).await;
        let large = request(address)
            .header("Content-Type", "application/json")
            .body(vec![b' '; 70_000]);
        not_taken(world, &format!("{route}, large"), large).await;
        let typeless = request(address).body(good.to_string());
        not_taken(world, &format!("{route} without a type"), typeless).await;
        for wrong in [
            json!([]),
            json!("x"),
            json!(1),
            json!(null),
            json!({"unknown": 1}),
        ] {
            not_taken(world, &format!("{route} {wrong}"), json(wrong)).await;
        }
        for field in good.as_object().unwrap().keys() {
            let with = |value: Value| {
                let mut body = good.clone();
                body[field] = value;
                body
            };
            for wrong in [json!({}), json!([1]), json!(true), json!(1.5), json!(-1)] {
                not_taken(
                    world,
                    &format!("{route} {field}={wrong}"),
                    json(with(wrong)),
                )
                .await;
            }
            for text in hostile() {
                refused(
                    world,
                    &format!("{route} {field}={text:?}"),
                    json(with(json!(text))),
                )
                .await;
            }
            let mut twice = good.to_string();
            twice.insert_str(1, &format!("\"{field}\":null,"));
            let sent = request(address)
                .header("Content-Type", "application/json")
                .body(twice);
            not_taken(world, &format!("{route} {field} twice"), sent).await;
        }
    }
    members_are_refused_too(world).await;
    headers_are_refused_too(world).await;
}

/// What is wrong with one deployment of a batch.
async fn members_are_refused_too(world: &World) {
    let good = json!({"node_id": 1, "data": "{}"});
    for (n, wrong) in [
        json!([]),
        json!(["node", 1, null, "{}", 0, null]),
        json!("node"),
        json!(null),
        json!({}),
        json!({"unknown": 1, "node_id": 1, "data": "{}"}),
        json!({"kind": "Node", "node_id": 1, "data": "{}"}),
        json!({"node_id": 0, "data": "{}"}),
        json!({"node_id": 4_294_967_296_u64, "data": "{}"}),
        json!({"node_id": 1, "data": "x".repeat(513)}),
        json!({"node_id": 1, "data": "{}", "public_ips": 17}),
        json!({"kind": "name", "name": "a\0b"}),
        json!({"kind": "name", "name": "'; DROP TABLE deployments; --"}),
        json!({"kind": "rent", "node_id": 1, "name": "a-name"}),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"deployments": [good, wrong]});
        world
            .post("/deployments/batch", ANNA, &format!("member {n}"), &body)
            .await
            .is_problem(422, "invalid-field");
    }
    for count in [0, 101] {
        let body = json!({"deployments": vec![good.clone(); count]});
        world
            .post("/deployments/batch", ANNA, &format!("count {count}"), &body)
            .await
            .is_problem(422, "invalid-field");
    }
    let twice = r#"{"deployments":[{"node_id":1,"node_id":2,"data":""}]}"#;
    let twice = world
        .request("POST", "/deployments/batch", ANNA)
        .header("Idempotency-Key", "member twice")
        .header("Content-Type", "application/json")
        .body(twice);
    world.send(twice).await.is_problem(422, "invalid-field");
}

async fn headers_are_refused_too(world: &World) {
    let quote = json!({"tft": "1"});
    for key in ["", " ", "\t", "é", &"k".repeat(256)] {
        let Ok(value) = reqwest::header::HeaderValue::from_bytes(key.as_bytes()) else {
            continue;
        };
        let request = world
            .request("POST", "/quotes", ANNA)
            .header("Idempotency-Key", value)
            .json(&quote);
        world
            .send(request)
            .await
            .is_problem(400, "idempotency-key-invalid");
    }
    let two = world
        .request("POST", "/quotes", ANNA)
        .header("Idempotency-Key", "one")
        .header("Idempotency-Key", "two")
        .json(&quote);
    world
        .send(two)
        .await
        .is_problem(400, "idempotency-key-invalid");
    for token in [
        "x",
        "a:b:c",
        "purchases:1",
        "purchases:-1:2",
        "purchases:99:2",
        "nowhere:0:2",
        "purchases:0:9223372036854775808",
    ] {
        let request = world
            .request("GET", "/purchases", ANNA)
            .header("Consistency-Token", token);
        world.send(request).await.is_problem(422, "invalid-field");
    }
    for id in ["x", "*", "AAAA", "////"] {
        let request = world
            .request("GET", "/events", ANNA)
            .header("Last-Event-ID", id);
        world.send(request).await.is_problem(422, "invalid-field");
    }
    for prefer in [
        "wait=-1",
        "wait=1e9",
        "wait",
        "a;b=c,,,=",
        "wait=99999999999999999999",
    ] {
        let request = world
            .request("GET", "/purchases", ANNA)
            .header("Prefer", prefer);
        assert_eq!(world.send(request).await.status, 200, "{prefer}");
    }
    let odd = world
        .request("GET", "/purchases", ANNA)
        .header("X-Request-Id", "a b<script>");
    let odd = world.send(odd).await;
    assert!(odd.header("x-request-id").len() == 32);
    let fit = world
        .request("GET", "/purchases", ANNA)
        .header("X-Request-Id", "mine-17");
    assert_eq!(world.send(fit).await.header("x-request-id"), "mine-17");
}
