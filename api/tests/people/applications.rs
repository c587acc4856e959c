//! Offering a node, from the offer to the role: over HTTP, with operators who decide at once.

use super::support::{Answer, World, eventually};
use super::{PASSWORD, People, now, text};
use api::auth::accounts;
use api::auth::passwords::Passwords;
use api::auth::rules::Role;
use events::ids::{ApplicationId, EventId, UserId};
use serde_json::{Value, json};
use sqlx::Row;

const WALLET: &str = "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ";
const STREET: &str = "Korenmarkt 1, behind the blue door";
const CONTACT: &str = "applicant.contact@example.org";
const PDF: &[u8] = b"%PDF-1.7 a photograph of a node";

/// Somebody with these roles and a session.
pub struct Somebody {
    pub user: UserId,
    pub token: String,
    refresh: String,
}

pub async fn somebody(people: &People<'_>, name: &str, roles: &[Role]) -> Somebody {
    let pool = &people.world.pool;
    let email = format!("{name}@example.org");
    let hash = Passwords::new()
        .unwrap()
        .hash(PASSWORD.to_owned())
        .await
        .unwrap();
    let chance = format!("somebody {name}");
    let user = accounts::create(pool, (&email, &email), &hash, &chance, now())
        .await
        .unwrap()
        .unwrap();
    if !roles.contains(&Role::User) {
        accounts::revoke(pool, user, Role::User, "test", now())
            .await
            .unwrap();
    }
    for role in roles {
        accounts::grant(pool, user, *role, "test", now())
            .await
            .unwrap();
    }
    let tokens = people.login(&email, PASSWORD).await.json();
    Somebody {
        user,
        token: text(&tokens, "access_token").to_owned(),
        refresh: text(&tokens, "refresh_token").to_owned(),
    }
}

pub fn offer(farm: &str) -> Value {
    json!({
        "farm_name": farm, "country": "BE", "city": "Gent", "street_address": STREET,
        "contact_name": "A. Pplicant", "contact_email": CONTACT, "wallet": WALLET, "cpu_cores": 8,
        "memory_gib": 32, "ssd_gib": 1000, "hdd_gib": 0, "uplink_mbps": 100, "public_ipv4_count": 1,
    })
}

async fn submit(world: &World, who: &Somebody, farm: &str) -> String {
    let key = format!("offer {farm} {}", who.user);
    let answer = world
        .post("/node-applications", &who.token, &key, &offer(farm))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    text(&answer.json(), "id").to_owned()
}

async fn act(world: &World, who: &Somebody, id: &str, verb: &str, body: &Value) -> Answer {
    // The same command has the same key, however long it is.
    let key = EventId::derive(&[verb, id, &body.to_string(), &who.user.to_string()]);
    let path = format!("/node-applications/{id}/{verb}");
    world.post(&path, &who.token, &key.to_string(), body).await
}

async fn attach(
    world: &World,
    who: &Somebody,
    id: &str,
    (content_type, content): (&str, Vec<u8>),
    key: &str,
) -> Answer {
    let path = format!("/node-applications/{id}/documents/hardware_proof");
    let request = world
        .request("PUT", &path, &who.token)
        .header("Idempotency-Key", key)
        .header("Content-Type", content_type)
        .body(content);
    world.send(request).await
}

async fn with_document(world: &World, who: &Somebody, farm: &str) -> String {
    let id = submit(world, who, farm).await;
    let pdf = ("application/pdf", PDF.to_vec());
    let attached = attach(world, who, &id, pdf, &format!("proof {id}")).await;
    assert_eq!(attached.status, 200, "{}", attached.text);
    id
}

pub async fn from_the_offer_to_the_role(people: &People<'_>) {
    let world = people.world;
    let applicant = somebody(people, "applicant", &[Role::User]).await;
    let other = somebody(people, "another.applicant", &[Role::User]).await;
    let operators = [
        somebody(people, "operator.one", &[Role::DashboardOperator]).await,
        somebody(people, "operator.two", &[Role::DashboardOperator]).await,
    ];
    let auditor = somebody(people, "auditor.of.nodes", &[Role::Auditor]).await;
    what_is_asked_is_what_is_checked(world, &applicant).await;
    an_application_goes_its_way(people, &applicant, &other, &operators, &auditor).await;
    one_of_two_decisions_wins(world, &applicant, &operators).await;
    nobody_decides_on_their_own(people).await;
    a_farm_is_one_persons(people).await;
    lists_are_filtered(world, &applicant, &auditor, &other).await;
    nothing_private_is_in_an_event(world).await;
}

async fn what_is_asked_is_what_is_checked(world: &World, applicant: &Somebody) {
    let asked = world.get("/node-applications/requirements", "").await;
    assert_eq!(asked.status, 200);
    let asked = asked.json();
    for bounds in asked["hardware"].as_array().unwrap() {
        let mut body = offer("refused-farm");
        body[text(bounds, "field")] = json!(bounds["most"].as_u64().unwrap() + 1);
        let key = format!("too much {bounds}");
        world
            .post("/node-applications", &applicant.token, &key, &body)
            .await
            .is_problem(422, "invalid-field");
    }
    for (field, wrong) in [
        ("wallet", json!("GA")),
        ("country", json!("XX")),
        ("farm_name", json!("a farm")),
        ("cpu_cores", json!(1)),
        ("memory_gib", json!(15)),
        ("street_address", json!("a\0bcde")),
        ("contact_email", json!("a@b")),
        ("unknown", json!(1)),
    ] {
        let mut body = offer("refused-farm");
        body[field] = wrong;
        world
            .post(
                "/node-applications",
                &applicant.token,
                &format!("wrong {field}"),
                &body,
            )
            .await
            .is_problem(422, "invalid-field");
    }
}

async fn an_application_goes_its_way(
    people: &People<'_>,
    applicant: &Somebody,
    other: &Somebody,
    operators: &[Somebody; 2],
    auditor: &Somebody,
) {
    let world = people.world;
    let id = submit(world, applicant, "green-edge").await;
    assert_eq!(submit(world, applicant, "green-edge").await, id);
    let key = format!("offer green-edge {}", applicant.user);
    let changed = offer("green-edge-2");
    world
        .post("/node-applications", &applicant.token, &key, &changed)
        .await
        .is_problem(422, "idempotency-key-reused");
    let path = format!("/node-applications/{id}");
    let shown = world.get(&path, &applicant.token).await.json();
    assert_eq!(
        (
            text(&shown, "status"),
            &shown["revision"],
            text(&shown, "street_address")
        ),
        ("submitted", &json!(1), STREET)
    );
    world
        .get(&path, &other.token)
        .await
        .is_problem(404, "not-found");
    let audited = world.get(&path, &auditor.token).await.json();
    assert_eq!(audited["street_address"], Value::Null);
    assert_eq!(audited["contact_email"], Value::Null);
    let [one, two] = operators;
    let by_operator = world.get(&path, &one.token).await.json();
    assert_eq!(text(&by_operator, "contact_email"), CONTACT);

    // Nothing is approved without what is asked for.
    let approve = |revision: i32| json!({"revision": revision});
    act(world, one, &id, "approve", &approve(1))
        .await
        .is_problem(409, "documents-missing");
    documents_are_bounded(world, (applicant, other, one, auditor), &id).await;

    // A decision is about what was looked at.
    act(world, one, &id, "approve", &approve(1))
        .await
        .is_problem(409, "application-changed");
    let reason = json!({"revision": 3, "reason": "which rack?"});
    let asked = act(world, one, &id, "request-changes", &reason).await;
    assert_eq!(asked.status, 200, "{}", asked.text);
    assert_eq!(text(&asked.json(), "status"), "changes_requested");
    act(world, two, &id, "approve", &approve(3))
        .await
        .is_problem(409, "application-decided");
    let mut anew = offer("green-edge");
    anew["city"] = json!("Brugge");
    act(world, other, &id, "resubmit", &anew)
        .await
        .is_problem(404, "not-found");
    let anew = act(world, applicant, &id, "resubmit", &anew).await;
    assert_eq!(anew.status, 200, "{}", anew.text);
    assert_eq!(
        (&anew.json()["revision"], text(&anew.json(), "city")),
        (&json!(4), "Brugge")
    );
    act(world, two, &id, "approve", &json!({"revision": 3}))
        .await
        .is_problem(409, "application-changed");
    let approved = act(world, two, &id, "approve", &approve(4)).await;
    assert_eq!(approved.status, 200, "{}", approved.text);
    let approved = approved.json();
    assert_eq!(text(&approved, "status"), "approved");
    assert_eq!(text(&approved, "decided_by"), two.user.to_string());
    // The same command again is answered the same, another one is told that it is too late.
    let again = act(world, two, &id, "approve", &approve(4)).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-hit")),
        (200, "true")
    );
    // Also when the kept answer is gone: the row knows what it has taken.
    sqlx::query("DELETE FROM command_answers WHERE user_id = $1")
        .bind(two.user.uuid())
        .execute(&world.pool)
        .await
        .unwrap();
    let again = act(world, two, &id, "approve", &approve(4)).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-hit")),
        (200, "true")
    );
    for (who, verb) in [(one, "approve"), (one, "reject"), (two, "request-changes")] {
        let mut body = approve(4);
        if verb != "approve" {
            body["reason"] = json!("too late");
        }
        act(world, who, &id, verb, &body)
            .await
            .is_problem(409, "application-decided");
    }
    act(world, applicant, &id, "withdraw", &json!({}))
        .await
        .is_problem(409, "application-decided");
    they_are_node_operators_once(people, applicant, two).await;
    the_history_is_whole(world, applicant, &id, operators).await;
}

async fn documents_are_bounded(
    world: &World,
    (applicant, other, operator, auditor): (&Somebody, &Somebody, &Somebody, &Somebody),
    id: &str,
) {
    let pdf = |content: &[u8]| ("application/pdf", content.to_vec());
    attach(world, applicant, id, ("text/html", PDF.to_vec()), "doc 1")
        .await
        .is_problem(415, "unsupported-media-type");
    attach(world, applicant, id, ("image/png", PDF.to_vec()), "doc 2")
        .await
        .is_problem(422, "invalid-field");
    let large = [PDF, &vec![0; 2 * 1024 * 1024][..]].concat();
    attach(world, applicant, id, pdf(&large), "doc 3")
        .await
        .is_problem(413, "too-large");
    attach(world, other, id, pdf(PDF), "doc 4")
        .await
        .is_problem(404, "not-found");
    let most = [PDF, &vec![7; 2 * 1024 * 1024 - PDF.len()][..]].concat();
    let first = attach(world, applicant, id, pdf(&most), "doc 5").await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(first.json()["revision"], 2);
    // Another one takes its place.
    let second = attach(world, applicant, id, pdf(PDF), "doc 6").await.json();
    assert_eq!(second["revision"], 3);
    assert_eq!(second["documents"].as_array().unwrap().len(), 1);
    assert_eq!(second["documents"][0]["size_bytes"], PDF.len());
    // The same bytes under another key of the same name are another command.
    attach(world, applicant, id, pdf(PDF), "doc 5")
        .await
        .is_problem(422, "idempotency-key-reused");
    let path = format!("/node-applications/{id}/documents/hardware_proof");
    for who in [applicant, operator] {
        let got = world.get(&path, &who.token).await;
        assert_eq!(
            (got.status.as_u16(), got.text.as_bytes()),
            (200, PDF),
            "{}",
            got.text
        );
        assert_eq!(got.header("content-type"), "application/pdf");
        assert!(got.header("content-disposition").starts_with("attachment"));
    }
    world
        .get(&path, &auditor.token)
        .await
        .is_problem(403, "forbidden");
    world
        .get(&path, &other.token)
        .await
        .is_problem(404, "not-found");
    let none = format!("/node-applications/{id}/documents/identity");
    world
        .get(&none, &applicant.token)
        .await
        .is_problem(404, "not-found");
}

async fn they_are_node_operators_once(people: &People<'_>, applicant: &Somebody, by: &Somebody) {
    let pool = &people.world.pool;
    let roles = accounts::roles(pool, applicant.user).await.unwrap();
    assert_eq!(roles, [Role::User, Role::NodeOperator]);
    let tokens = people.refresh(&applicant.refresh).await.json();
    let me = people.me(text(&tokens, "access_token")).await.json();
    assert_eq!(me["roles"], json!(["user", "node_operator"]));
    let granted = eventually(|| async {
        let rows = sqlx::query(
            "SELECT facts FROM timeline WHERE correlation = $1 AND type = 'gridway.users.RoleGranted'
                AND facts->>'role' = 'node_operator'",
        )
        .bind(applicant.user.uuid())
        .fetch_all(pool)
        .await
        .unwrap();
        (!rows.is_empty()).then_some(rows)
    })
    .await;
    assert_eq!(granted.len(), 1);
    let facts: Value = granted[0].get(0);
    assert_eq!(text(&facts, "by"), by.user.to_string());
}

async fn the_history_is_whole(
    world: &World,
    applicant: &Somebody,
    id: &str,
    [one, two]: &[Somebody; 2],
) {
    let path = format!("/node-applications/{id}/history");
    let history = world.get(&path, &applicant.token).await.json();
    let events = history["events"].as_array().unwrap();
    let names: Vec<&str> = events
        .iter()
        .map(|event| text(event, "type").rsplit('.').next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "NodeApplicationSubmitted",
            "NodeApplicationDocumentAttached",
            "NodeApplicationDocumentAttached",
            "NodeApplicationChangesRequested",
            "NodeApplicationResubmitted",
            "NodeApplicationApproved"
        ]
    );
    assert_eq!(text(&events[3]["facts"], "by"), one.user.to_string());
    assert_eq!(text(&events[3]["facts"], "reason"), "which rack?");
    assert_eq!(text(&events[5]["facts"], "by"), two.user.to_string());
    assert_eq!(events[5]["facts"]["revision"], 4);
    let page = format!(
        "{path}?limit=2&starting_after={}",
        text(&events[1], "event_id")
    );
    let page = world.get(&page, &applicant.token).await.json();
    assert_eq!(page["events"][0], events[2]);
    assert_eq!(page["has_more"], true);
    // The log alone gives what the row says.
    let folded = projections::applications::get(&world.pool, id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (folded.status.as_str(), folded.revision, folded.decided_by),
        ("approved", 4, Some(two.user))
    );
    assert_eq!(
        (folded.city.as_str(), folded.applicant_id),
        ("Brugge", applicant.user)
    );
}

/// Two operators decide at once, many times: exactly one is the first, and the log has one decision.
async fn one_of_two_decisions_wins(
    world: &World,
    applicant: &Somebody,
    [one, two]: &[Somebody; 2],
) {
    let mut winners = [0, 0];
    for n in 0..8 {
        let id = with_document(world, applicant, &format!("race-{n}")).await;
        let verb = ["reject", "approve", "request-changes"][n % 3];
        let mut second = json!({"revision": 2});
        if verb != "approve" {
            second["reason"] = json!("at once");
        }
        let (approve, second_body) = (json!({"revision": 2}), second);
        let (first, second) = tokio::join!(
            act(world, one, &id, "approve", &approve),
            act(world, two, &id, verb, &second_body),
        );
        let winner = usize::from(second.status == 200);
        winners[winner] += 1;
        let [won, lost] = if winner == 0 {
            [&first, &second]
        } else {
            [&second, &first]
        };
        assert_eq!(won.status, 200, "{} {}", first.text, second.text);
        lost.is_problem(409, "application-decided");
        let path = format!("/node-applications/{id}/history");
        let history = world.get(&path, &one.token).await.json();
        assert_eq!(history["events"].as_array().unwrap().len(), 3, "{history}");
        let shown = world
            .get(&format!("/node-applications/{id}"), &one.token)
            .await;
        assert_eq!(shown.json()["status"], won.json()["status"]);
        if shown.json()["status"] == "changes_requested" {
            let back = act(world, applicant, &id, "withdraw", &json!({})).await;
            assert_eq!(back.status, 200, "{}", back.text);
        }
    }
    assert_eq!(winners[0] + winners[1], 8);
}

async fn nobody_decides_on_their_own(people: &People<'_>) {
    let world = people.world;
    let both = somebody(people, "both", &[Role::User, Role::DashboardOperator]).await;
    let id = with_document(world, &both, "own-farm").await;
    act(world, &both, &id, "approve", &json!({"revision": 2}))
        .await
        .is_problem(403, "own-application");
    for verb in ["reject", "request-changes"] {
        let body = json!({"revision": 2, "reason": "mine"});
        act(world, &both, &id, verb, &body)
            .await
            .is_problem(403, "own-application");
    }
    let shown = world
        .get(&format!("/node-applications/{id}"), &both.token)
        .await;
    assert_eq!(text(&shown.json(), "status"), "submitted");
    let back = act(world, &both, &id, "withdraw", &json!({})).await;
    assert_eq!(text(&back.json(), "status"), "withdrawn");
    // Its documents are gone with it.
    assert_eq!(back.json()["documents"], json!([]));
}

async fn a_farm_is_one_persons(people: &People<'_>) {
    let world = people.world;
    let (a, b) = (
        somebody(people, "farmer.a", &[Role::User]).await,
        somebody(people, "farmer.b", &[Role::NodeOperator]).await,
    );
    for n in 0..4 {
        let farm = format!("Contested-{n}");
        let other = farm.to_lowercase();
        let (mine, theirs) = (offer(&farm), offer(&other));
        let (first, second) = tokio::join!(
            world.post("/node-applications", &a.token, &farm, &mine),
            world.post("/node-applications", &b.token, &farm, &theirs),
        );
        let mut told = [first.status.as_u16(), second.status.as_u16()];
        told.sort_unstable();
        assert_eq!(told, [201, 409], "{} {}", first.text, second.text);
    }
    // Another node for the same farm of one's own, until there are too many.
    let mut taken = 0;
    loop {
        let key = format!("own node {taken}");
        let answer = world
            .post("/node-applications", &a.token, &key, &offer("farm-of-a"))
            .await;
        if answer.status != 201 {
            answer.is_problem(409, "too-many-applications");
            break;
        }
        taken += 1;
    }
    let open = "SELECT count(*) FROM applications WHERE applicant_id = $1";
    let open: i64 = sqlx::query_scalar(open)
        .bind(a.user.uuid())
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(open, 10);
}

async fn lists_are_filtered(
    world: &World,
    applicant: &Somebody,
    auditor: &Somebody,
    other: &Somebody,
) {
    let list = |query: String, who: &Somebody| {
        let (path, token) = (format!("/node-applications?{query}"), who.token.clone());
        async move { world.get(&path, &token).await.json() }
    };
    let rows = |page: &Value| page["applications"].as_array().unwrap().clone();
    let all = rows(&list("limit=100".to_owned(), applicant).await);
    assert_eq!(all.len(), 9);
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = list(format!("limit=4{after}"), applicant).await;
        seen.extend(rows(&page));
        if page["has_more"] == false {
            break;
        }
        after = format!("&starting_after={}", text(seen.last().unwrap(), "id"));
    }
    assert_eq!(seen, all);
    for status in [
        "submitted",
        "approved",
        "rejected",
        "withdrawn",
        "changes_requested",
    ] {
        let some = rows(&list(format!("limit=100&status={status}"), applicant).await);
        let expected = all.iter().filter(|row| row["status"] == status).count();
        assert_eq!(some.len(), expected, "{status}");
    }
    let query = format!(
        "scope=all&limit=100&applicant={}&country=BE",
        applicant.user
    );
    assert_eq!(rows(&list(query.clone(), auditor).await).len(), 9);
    let elsewhere = query.replace("country=BE", "country=NL");
    assert!(rows(&list(elsewhere, auditor).await).is_empty());
    assert!(rows(&list(String::new(), other).await).is_empty());
    let foreign = format!("applicant={}", applicant.user);
    assert!(rows(&list(foreign, other).await).is_empty());
    for (query, status, slug) in [
        ("scope=all", 403, "forbidden"),
        ("status=new", 422, "invalid-field"),
        ("country=ZZ", 422, "invalid-field"),
        ("applicant=me", 422, "invalid-field"),
        ("status=approved&status=rejected", 422, "invalid-field"),
    ] {
        world
            .get(&format!("/node-applications?{query}"), &other.token)
            .await
            .is_problem(status, slug);
    }
    let place = format!("starting_after={}", text(&all[0], "id"));
    world
        .get(&format!("/node-applications?{place}"), &other.token)
        .await
        .is_problem(422, "invalid-field");
}

async fn nothing_private_is_in_an_event(world: &World) {
    let told: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM outbox WHERE event::text LIKE '%Korenmarkt%' OR event::text LIKE '%contact@%'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(told, 0);
    let events: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE topic = 'node-applications'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert!(events > 40, "{events}");
    let unknown = ApplicationId::derive(&["nobody's"]);
    let found = projections::applications::get(&world.pool, unknown).await;
    assert!(found.unwrap().is_none());
}
