//! What people want to be told, where, and that it is theirs alone.

use super::People;
use super::support::{ANNA, Answer, BERT, CARA, World, eventually, user};
use events::ids::{EndpointId, EventId, NotificationId};
use events::notifications::{
    Channel, NotificationAttemptFailed, NotificationDelivered, NotificationEvent,
    NotificationRequested, WebhookEndpointDisabled,
};
use serde_json::{Value, json};
use sqlx::Row;

pub async fn as_they_want(people: &People<'_>) {
    let world = people.world;
    preferences(world).await;
    a_phone_shows_its_code_or_is_none(world).await;
    endpoints(world).await;
    deliveries(world).await;
    the_list_comes_in_pages(world).await;
}

async fn command(world: &World, method: &str, path: &str, key: &str, body: &Value) -> Answer {
    let request = world.request(method, path, ANNA);
    let request = request.header("Idempotency-Key", format!("told {key}"));
    world.send(request.json(body)).await
}

async fn after(world: &World, answer: &Answer, path: &str) -> Value {
    let request = world.request("GET", path, ANNA);
    let token = answer.header("consistency-token").to_owned();
    let read = world.send(request.header("Consistency-Token", token)).await;
    assert_eq!(read.status, 200, "{}", read.text);
    read.json()
}

async fn preferences(world: &World) {
    let path = "/notifications/preferences";
    let usual = world.get(path, ANNA).await.json();
    assert_eq!(usual["language"], "en");
    let choices = usual["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 6);
    assert!(choices.iter().all(|c| c["wanted"] == c["usual"]));
    for (body, field) in [
        (json!({"language": "xx"}), "language"),
        (
            json!({"choices": [{"kind": "nothing", "channel": "sms", "wanted": true}]}),
            "choices.kind",
        ),
        (
            json!({"choices": [{"kind": "deployment_failed", "channel": "pigeon", "wanted": true}]}),
            "choices.channel",
        ),
        (
            json!({"choices": [
                {"kind": "deployment_failed", "channel": "sms", "wanted": true},
                {"kind": "deployment_failed", "channel": "sms", "wanted": false},
            ]}),
            "choices",
        ),
    ] {
        let answer = command(world, "PUT", path, "bad", &body).await;
        answer.is_problem(422, "invalid-field");
        assert_eq!(answer.json()["field"], field);
    }
    let wish =
        json!({"choices": [{"kind": "deployment_failed", "channel": "sms", "wanted": false}]});
    let set = command(world, "PUT", path, "preferences", &wish).await;
    assert_eq!(set.status, 202, "{}", set.text);
    let shown = after(world, &set, path).await;
    assert_eq!(shown, set.json());
    let sms = |c: &&Value| c["kind"] == "deployment_failed" && c["channel"] == "sms";
    let choice = shown["choices"]
        .as_array()
        .unwrap()
        .iter()
        .find(sms)
        .unwrap();
    assert_eq!(
        (&choice["wanted"], &choice["usual"]),
        (&json!(false), &json!(true))
    );
    // What is set later replaces all of it; another's stays as it is.
    let set = command(world, "PUT", path, "none", &json!({})).await;
    assert_eq!(after(world, &set, path).await, usual);
    assert_eq!(world.get(path, BERT).await.json(), usual);
    world.get(path, CARA).await.is_problem(403, "forbidden");
}

async fn a_phone_shows_its_code_or_is_none(world: &World) {
    let path = "/notifications/phone";
    let verify = "/notifications/phone/verify";
    for bad in ["", "12", "+0123456789", "+49 170 1234567", "01701234567"] {
        let answer = command(world, "PUT", path, "bad phone", &json!({"number": bad})).await;
        answer.is_problem(422, "invalid-field");
    }
    let refused = json!({"number": "+15005550001"});
    let answer = command(world, "PUT", path, "refused", &refused).await;
    answer.is_problem(422, "invalid-field");
    let down = json!({"number": "+15005550002"});
    let answer = command(world, "PUT", path, "down", &down).await;
    answer.is_problem(503, "texts-unavailable");

    let number = json!({"number": "+491701234567"});
    let asked = command(world, "PUT", path, "phone", &number).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    // Repeated, the command sends no second message.
    let again = command(world, "PUT", path, "phone", &number).await;
    assert_eq!(
        (again.header("idempotency-hit"), &again.text),
        ("true", &asked.text)
    );
    let texts = world.texts.lock().clone();
    assert_eq!(texts.len(), 1);
    let code = texts[0].1.split("code is ").nth(1).unwrap()[..6].to_owned();
    // The code is nowhere in the clear.
    let row = sqlx::query("SELECT phones::text AS all FROM phones WHERE user_id = $1")
        .bind(user("anna").uuid())
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(!row.get::<String, _>("all").contains(&code));

    // Another's code is none.
    let bert = world.request("POST", verify, BERT);
    let bert = bert.header("Idempotency-Key", "told verify");
    let answer = world.send(bert.json(&json!({"code": code}))).await;
    answer.is_problem(409, "code-invalid");
    // Five wrong ones use it up, and then the right one is too late.
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for attempt in 0..5 {
        let key = format!("wrong {attempt}");
        let answer = command(world, "POST", verify, &key, &json!({"code": wrong})).await;
        answer.is_problem(409, "code-invalid");
    }
    let late = command(world, "POST", verify, "late", &json!({"code": code})).await;
    late.is_problem(409, "code-invalid");

    let asked = command(world, "PUT", path, "phone 2", &number).await;
    assert_eq!(asked.json()["number"], Value::Null);
    let text = world.texts.lock()[1].1.clone();
    let code = text.split("code is ").nth(1).unwrap()[..6].to_owned();
    // One that is too old is none.
    let older = "UPDATE phones SET code_until = code_until - interval '1 hour'";
    sqlx::query(older).execute(&world.pool).await.unwrap();
    let old = command(world, "POST", verify, "old", &json!({"code": code})).await;
    old.is_problem(409, "code-invalid");
    let younger = "UPDATE phones SET code_until = code_until + interval '1 hour'";
    sqlx::query(younger).execute(&world.pool).await.unwrap();
    let verified = command(world, "POST", verify, "right", &json!({"code": code})).await;
    assert_eq!(
        verified.json()["number"],
        "+491701234567",
        "{}",
        verified.text
    );
    let shown = world.get(path, ANNA).await.json();
    assert_eq!(shown, verified.json());

    // Whoever keeps asking is told to wait: two were asked for, and two that failed count, too.
    let fifth = command(world, "PUT", path, "phone 5", &number).await;
    assert_eq!(fifth.status, 202, "{}", fifth.text);
    let sixth = command(world, "PUT", path, "phone 6", &number).await;
    sixth.is_problem(429, "too-many-attempts");
    let gone = command(world, "DELETE", path, "no phone", &json!({})).await;
    assert_eq!(
        gone.json(),
        json!({"number": null, "verified_at": null, "pending": null})
    );
    let still = command(world, "PUT", path, "phone 7", &number).await;
    still.is_problem(429, "too-many-attempts");
}

async fn endpoints(world: &World) {
    let path = "/webhook-endpoints";
    for url in [
        "http://example.org/",
        "https://10.0.0.1/",
        "https://a:b@example.org/",
        "x",
    ] {
        let answer = command(world, "POST", path, "bad url", &json!({"url": url})).await;
        answer.is_problem(422, "invalid-field");
        assert_eq!(answer.json()["field"], "url");
    }
    let long = json!({"url": "https://example.org/", "description": "x".repeat(201)});
    let answer = command(world, "POST", path, "long", &long).await;
    assert_eq!(answer.json()["field"], "description");

    let wish = json!({"url": "https://example.org/hook", "description": "mine"});
    let made = command(world, "POST", path, "made", &wish).await;
    assert_eq!(made.status, 202, "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"));
    // Sent again it makes no second one, and shows the same.
    let again = command(world, "POST", path, "made", &wish).await;
    assert_eq!(
        (again.header("idempotency-hit"), again.json()),
        ("true", made.json())
    );
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let own = format!("{path}/{id}");
    let shown = after(world, &made, &own).await;
    assert_eq!(shown["state"], "active");
    assert!(shown.get("secret").is_none());
    let kept =
        sqlx::query("SELECT string_agg(answers::text, ' ') AS all FROM command_answers answers")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert!(!kept.get::<String, _>("all").contains(&secret[6..]));
    world.get(&own, BERT).await.is_problem(404, "not-found");

    // A rotation that is repeated rotates once; the one before signs for a day.
    let rotate = format!("{own}/rotate-secret");
    let rotated = command(world, "POST", &rotate, "rotate", &json!({})).await;
    let again = command(world, "POST", &rotate, "rotate", &json!({})).await;
    assert_eq!(rotated.json()["secret"], again.json()["secret"]);
    assert_ne!(rotated.json()["secret"], secret.as_str());
    let generations = async || {
        let id: EndpointId = id.parse().unwrap();
        let row = api::contacts::endpoint(&world.pool, id, super::now()).await;
        row.unwrap().map(|row| row.generations)
    };
    assert_eq!(generations().await, Some(vec![2, 1]));
    let age = "UPDATE webhook_endpoints SET previous_until = previous_until - interval '25 hours'";
    sqlx::query(age).execute(&world.pool).await.unwrap();
    assert_eq!(generations().await, Some(vec![2]));
    assert_eq!(
        world.get(&own, ANNA).await.json()["previous_secret_until"],
        Value::Null
    );

    // Ten of them, and no more.
    for number in 1..10 {
        let more = command(world, "POST", path, &format!("more {number}"), &wish).await;
        assert_eq!(more.status, 202, "{}", more.text);
    }
    let eleventh = command(world, "POST", path, "eleventh", &wish).await;
    eleventh.is_problem(409, "too-many-endpoints");
    let gone = command(world, "DELETE", &own, "gone", &json!({})).await;
    assert_eq!(gone.status, 202, "{}", gone.text);
    let again = command(world, "DELETE", &own, "gone", &json!({})).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-hit")),
        (202, "true")
    );
    let other = command(world, "DELETE", &own, "gone twice", &json!({})).await;
    other.is_problem(404, "not-found");
    world.get(&own, ANNA).await.is_problem(404, "not-found");
    assert_eq!(generations().await, None);
    let left = world.get(path, ANNA).await.json();
    assert_eq!(left["endpoints"].as_array().unwrap().len(), 9);
}

/// What the policy and the hand tell is seen by its owner.
async fn deliveries(world: &World) {
    let wish = json!({"url": "https://example.org/other"});
    let made = world.request("POST", "/webhook-endpoints", BERT);
    let made = made.header("Idempotency-Key", "told bert").json(&wish);
    let made = world.send(made).await.json();
    let bert = user("bert");
    let name = bert.to_string();
    let endpoint_id: EndpointId = made["id"].as_str().unwrap().parse().unwrap();
    let id = NotificationId::derive(&["told"]);
    let request_id = EventId::derive(&["told request"]);
    let requested = |attempt| NotificationRequested {
        user_id: bert,
        notification_id: id,
        kind: "purchase_settled".to_owned(),
        language: "en".to_owned(),
        source_event_id: EventId::derive(&["told source"]),
        figures: vec![events::notifications::Figure {
            name: "tft".to_owned(),
            value: "1 TFT".to_owned(),
        }],
        happened_at: super::now(),
        channel: Channel::Webhook,
        endpoint_id: Some(endpoint_id),
        attempt,
        retry_after_ms: Some(5_000),
        deadline: super::now(),
    };
    let failed = NotificationAttemptFailed {
        user_id: bert,
        notification_id: id,
        request_id,
        channel: Channel::Webhook,
        endpoint_id: Some(endpoint_id),
        attempt: 1,
        status: Some(500),
        code: "http_status".to_owned(),
        detail: "the receiver answered with another status than 2xx".to_owned(),
        failed_at: super::now(),
        next_at: Some(super::now()),
    };
    let delivered = NotificationDelivered {
        user_id: bert,
        notification_id: id,
        request_id,
        channel: Channel::Webhook,
        endpoint_id: Some(endpoint_id),
        attempt: 2,
        status: Some(204),
        reference: None,
        delivered_at: super::now(),
    };
    let disabled = WebhookEndpointDisabled {
        user_id: bert,
        endpoint_id,
        reason: "failing".to_owned(),
        failing_since: super::now(),
    };
    let path = format!("/webhook-endpoints/{endpoint_id}/deliveries");
    let append = async |step: &str, event: NotificationEvent| {
        world
            .append::<NotificationEvent>(&name, &["told", step], &name, event)
            .await;
    };
    let seen = async |state: &str| {
        eventually(|| async {
            let page = world.get(&path, BERT).await.json();
            let row = page["notifications"][0].clone();
            (row["state"] == state).then_some(row)
        })
        .await
    };
    append("1", requested(1).into()).await;
    let row = seen("sending").await;
    assert_eq!(
        (&row["figures"]["tft"], &row["attempts"]),
        (&json!("1 TFT"), &json!([]))
    );
    append("2", failed.into()).await;
    let row = seen("waiting").await;
    assert_eq!(
        (&row["code"], row["next_at"].is_string()),
        (&json!("http_status"), true)
    );
    // An echo changes nothing.
    append("1", requested(1).into()).await;
    append("3", requested(2).into()).await;
    append("4", delivered.into()).await;
    let row = seen("delivered").await;
    let told: Vec<(i64, Value)> = row["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (a["status"].as_i64().unwrap(), a["code"].clone()))
        .collect();
    assert_eq!(told, [(500, json!("http_status")), (204, Value::Null)]);
    assert_eq!(
        world.get("/notifications", BERT).await.json()["notifications"][0],
        row
    );
    // Others see none of it.
    world.get(&path, ANNA).await.is_problem(404, "not-found");
    let theirs = world.get("/notifications", ANNA).await.json();
    assert!(!theirs.to_string().contains(&id.to_string()));
    let resend = format!("{path}/{id}/resend");
    let foreign = command(world, "POST", &resend, "foreign", &json!({})).await;
    foreign.is_problem(404, "not-found");

    append("5", disabled.into()).await;
    let own = format!("/webhook-endpoints/{endpoint_id}");
    let state = async |wanted: &str| {
        eventually(|| async {
            let shown = world.get(&own, BERT).await.json();
            (shown["state"] == wanted).then_some(shown)
        })
        .await
    };
    assert_eq!(state("disabled").await["reason"], "failing");
    let bert_asks = async |path: &str, key: &str| {
        let request = world.request("POST", path, BERT);
        let request = request.header("Idempotency-Key", format!("told bert {key}"));
        let answer = world.send(request.json(&json!({}))).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    };
    bert_asks(&format!("{own}/enable"), "enable").await;
    state("active").await;
    bert_asks(&resend, "resend").await;
    let asked = "SELECT count(*) FROM timeline WHERE type = 'gridway.notifications.ResendRequested'
                    AND correlation = $1";
    eventually(|| async {
        let count: i64 = sqlx::query_scalar(asked)
            .bind(bert.uuid())
            .fetch_one(&world.pool)
            .await
            .unwrap();
        (count == 1).then_some(())
    })
    .await;
}

/// Pages go from one to the next without a row twice.
async fn the_list_comes_in_pages(world: &World) {
    let name = user("bert").to_string();
    for number in 0..5 {
        let number = number.to_string();
        let requested = NotificationRequested {
            user_id: user("bert"),
            notification_id: NotificationId::derive(&["page", &number]),
            kind: "deployment_failed".to_owned(),
            language: "en".to_owned(),
            source_event_id: EventId::derive(&["page", &number]),
            figures: Vec::new(),
            happened_at: super::now(),
            channel: Channel::Email,
            endpoint_id: None,
            attempt: 1,
            retry_after_ms: None,
            deadline: super::now(),
        };
        world
            .append::<NotificationEvent>(&name, &["page", &number], &name, requested)
            .await;
    }
    let all = eventually(|| async {
        let page = world.get("/notifications", BERT).await.json();
        let rows = page["notifications"].as_array()?.clone();
        (rows.len() == 6).then_some(rows)
    })
    .await;
    let mut paged = Vec::new();
    let mut path = "/notifications?limit=4".to_owned();
    loop {
        let page = world.get(&path, BERT).await.json();
        paged.extend(page["notifications"].as_array().unwrap().clone());
        if page["has_more"] == false {
            break;
        }
        let last = paged.last().unwrap()["id"].as_str().unwrap();
        path = format!("/notifications?limit=4&starting_after={last}");
    }
    assert_eq!(paged, all);
    let foreign = format!(
        "/notifications?starting_after={}",
        all[0]["id"].as_str().unwrap()
    );
    world
        .get(&foreign, ANNA)
        .await
        .is_problem(422, "invalid-field");
}
