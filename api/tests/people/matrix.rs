//! Every route, asked by everybody, for what is theirs and what is not.
//!
//! The routes come from the rules, which a test of the crate holds equal to the router's own list.
//! What everybody is answered is written down in `matrix.txt`, to be read and agreed to by people;
//! a route, a role or an answer that is not there fails.

use super::applications::offer;
use super::support::World;
use super::{PASSWORD, People, now, text};
use api::auth::accounts;
use api::auth::passwords::Passwords;
use api::auth::rules::{self, Access, Role};
use events::deployments::{
    BatchMember, BatchRequested, DeploymentEvent, DeploymentKind, DeploymentRequested,
};
use events::ids::{
    ApplicationId, ApprovalId, BatchId, DeploymentId, EndpointId, EventId, NodeId, NotificationId,
    PurchaseId, QuoteId, TwinId, UserId,
};
use events::money::{Amount, Currency, Fiat};
use events::notifications::{Channel, NotificationEvent, NotificationRequested};
use events::purchases::{Funding, PurchaseEvent, PurchaseRequested};
use projections::progress;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Somebody with exactly one role, who owns one of everything.
struct Person {
    email: String,
    token: String,
    things: Things,
}

/// One of everything that a person may own.
pub struct Things {
    quote: QuoteId,
    purchase: PurchaseId,
    pub deployment: DeploymentId,
    batch: BatchId,
    endpoint: EndpointId,
    delivery: NotificationId,
    pub application: ApplicationId,
    pub approval: ApprovalId,
}

impl Person {
    async fn with(people: &People<'_>, role: Role) -> Self {
        let world = people.world;
        let email = format!("matrix.{}@example.org", role.as_str().replace('_', "-"));
        let hash = Passwords::new()
            .unwrap()
            .hash(PASSWORD.to_owned())
            .await
            .unwrap();
        let chance = format!("matrix {role}");
        let user = accounts::create(&world.pool, (&email, &email), &hash, &chance, now())
            .await
            .unwrap()
            .unwrap();
        if role != Role::User {
            accounts::revoke(&world.pool, user, Role::User, "matrix", now())
                .await
                .unwrap();
            accounts::grant(&world.pool, user, role, "matrix", now())
                .await
                .unwrap();
        }
        let tokens = people.login(&email, PASSWORD).await.json();
        Self {
            token: text(&tokens, "access_token").to_owned(),
            email,
            things: belongings(world, user).await,
        }
    }

    /// The address of a route for one of this person's objects; `None` for a route without one.
    fn path(&self, route: &str) -> Option<String> {
        let id = if route.starts_with("/quotes") {
            self.things.quote.to_string()
        } else if route.starts_with("/purchases") {
            self.things.purchase.to_string()
        } else if route.starts_with("/deployments/batch") {
            self.things.batch.to_string()
        } else if route.starts_with("/deployments") {
            self.things.deployment.to_string()
        } else if route.starts_with("/webhook-endpoints") {
            self.things.endpoint.to_string()
        } else if route.starts_with("/node-applications") {
            self.things.application.to_string()
        } else if route.starts_with("/approvals") {
            self.things.approval.to_string()
        } else {
            assert!(!route.contains("{id}"), "teach the matrix whose {route} is");
            return None;
        };
        let delivery = self.things.delivery.to_string();
        let route = route
            .replace("{delivery}", &delivery)
            .replace("{kind}", "hardware_proof");
        route.contains("{id}").then(|| route.replace("{id}", &id))
    }
}

/// Gives a user one of everything.
pub async fn belongings(world: &World, user: UserId) -> Things {
    let name = user.to_string();
    let (quote, purchase, deployment) = (
        QuoteId::derive(&[&name]),
        PurchaseId::derive(&[&name]),
        DeploymentId::derive(&[&name]),
    );
    sqlx::query(
        "INSERT INTO quotes (id, user_id, tft, swap_tft, usdc, usdc_cap, usdc_due, charge_minor, currency, path, ledger, expires_at)
         VALUES ($1, $2, 10000000, 20000000, 200000, 210000, 210000, 50, 'USD', '{}', 7, now() + interval '1 hour')",
    )
    .bind(quote.uuid())
    .bind(user.uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    let application = ApplicationId::derive(&[&name]);
    let approval = ApprovalId::derive(&[&name]);
    sqlx::query(
        "INSERT INTO approvals (id, action, target, second_person, state, asked_by, reason, requested_at, expires_at,
                                fingerprint, effect_key)
         VALUES ($1, 'treasury_transfer', 'matrix ' || $1, true, 'waiting', $2, 'a test', now(), now() + interval '1 day', '', 'lanes')",
    )
    .bind(approval.uuid())
    .bind(user.uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    for statement in [
        "INSERT INTO applications VALUES ($1, $2, 'submitted', 1, 'farm-' || $1, 'BE', 'Gent', 'stellar', 'G', 2, 4, 500, 0,
             10, 0, 'a street', 'a name', 'a@example.org', NULL, NULL, now(), now())",
        "INSERT INTO application_documents SELECT $1, 'hardware_proof', 'application/pdf', 5, 'x', '%PDF-', now()
          WHERE $2::uuid IS NOT NULL",
    ] {
        sqlx::query(statement)
            .bind(application.uuid())
            .bind(user.uuid())
            .execute(&world.pool)
            .await
            .unwrap();
    }
    let bought = PurchaseRequested {
        purchase_id: purchase,
        user_id: user,
        twin_id: TwinId(7),
        quote_id: quote,
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
    };
    let purchased = purchase.to_string();
    world
        .append::<PurchaseEvent>(&purchased, &["matrix", &name], &purchased, bought)
        .await;
    let asked = DeploymentRequested {
        deployment_id: deployment,
        user_id: user,
        twin_id: TwinId(7),
        node_id: NodeId(1),
        version: 1,
        data: "{}".to_owned(),
        hash: "00".repeat(32),
        public_ips: 0,
        solution_provider: None,
        waits_for: None,
        minimum_balance: Amount::from_whole(1),
        requested_at: now(),
        kind: DeploymentKind::Node,
        name: None,
    };
    world
        .append::<DeploymentEvent>(
            &name,
            &["matrix", &name, "d"],
            &deployment.to_string(),
            asked,
        )
        .await;
    let batch = BatchId::derive(&[&name]);
    let member = BatchMember {
        deployment_id: DeploymentId::derive(&[&name, "member"]),
        kind: DeploymentKind::Rent,
        node_id: NodeId(1),
        name: None,
        version: 1,
        data: String::new(),
        hash: String::new(),
        public_ips: 0,
        solution_provider: None,
        above: 0,
    };
    let asked = BatchRequested {
        batch_id: batch,
        user_id: user,
        twin_id: TwinId(7),
        members: vec![member],
        waits_for: None,
        minimum_balance: Amount::from_whole(1),
        requested_at: now(),
    };
    let position = world
        .append::<DeploymentEvent>(&name, &["matrix", &name, "b"], &batch.to_string(), asked)
        .await;
    let (endpoint, delivery) = webhook(world, user).await;
    super::eventually(|| async {
        let passed = progress::passed(&world.pool, &position).await.unwrap();
        let sent = projections::notifications::get(&world.pool, delivery)
            .await
            .unwrap();
        let bought = projections::purchases::get(&world.pool, purchase)
            .await
            .unwrap();
        (passed && bought.is_some() && sent.is_some()).then_some(())
    })
    .await;
    Things {
        quote,
        purchase,
        deployment,
        batch,
        endpoint,
        delivery,
        application,
        approval,
    }
}

/// Gives a user an endpoint, to which something is being sent.
async fn webhook(world: &World, user: UserId) -> (EndpointId, NotificationId) {
    let name = user.to_string();
    let (endpoint, delivery) = (
        EndpointId::derive(&[&name]),
        NotificationId::derive(&[&name]),
    );
    sqlx::query(
        "INSERT INTO webhook_endpoints (id, user_id, url, description, created_at)
         VALUES ($1, $2, 'https://example.org/', '', now())",
    )
    .bind(endpoint.uuid())
    .bind(user.uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    let requested = NotificationRequested {
        user_id: user,
        notification_id: delivery,
        kind: "purchase_settled".to_owned(),
        language: "en".to_owned(),
        source_event_id: EventId::derive(&[&name]),
        figures: Vec::new(),
        happened_at: now(),
        channel: Channel::Webhook,
        endpoint_id: Some(endpoint),
        attempt: 1,
        retry_after_ms: None,
        deadline: now(),
    };
    world
        .append::<NotificationEvent>(&name, &["matrix", &name, "w"], &name, requested)
        .await;
    (endpoint, delivery)
}

/// What an answer says of whether its asker may: `in` is whatever only whoever may is told.
fn word(status: u16) -> String {
    match status {
        401 | 403 | 404 => status.to_string(),
        500.. => format!("broken ({status})"),
        _ => "in".to_owned(),
    }
}

async fn ask(world: &World, method: &str, path: &str, token: Option<&str>) -> String {
    let mut request = world
        .client
        .request(method.parse().unwrap(), format!("{}{path}", world.base));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if method != "GET" {
        // What changes an object is well-formed, so that it is the object that is asked for.
        request = request.header("Idempotency-Key", format!("matrix {method} {path}"));
        request = if path.contains("/documents/") {
            let pdf = request.header("Content-Type", "application/pdf");
            pdf.body("%PDF-")
        } else {
            request.json(&body(method, path))
        };
    }
    // The head is enough: one of the answers never ends.
    word(request.send().await.unwrap().status().as_u16())
}

/// What a command says, well-formed where it is about an object.
fn body(method: &str, path: &str) -> Value {
    match path.rsplit('/').next() {
        _ if method == "PUT" => json!({"data": "{}"}),
        Some("approve") if path.starts_with("/approvals") => json!({}),
        Some("reject") if path.starts_with("/approvals") => json!({"reason": "a test"}),
        Some("approve") => json!({"revision": 1}),
        Some("reject" | "request-changes") => json!({"revision": 1, "reason": "a test"}),
        Some("resubmit") => offer("matrix-farm"),
        _ => json!({}),
    }
}

pub async fn everybody_asks_for_everything(people: &People<'_>) {
    let world = people.world;
    let mut by_role = BTreeMap::new();
    for role in Role::ALL {
        by_role.insert(role, Person::with(people, role).await);
    }
    // Whose things the others ask for.
    let owner = Person::with_email(people).await;
    let mut table = String::from("# route, object: what each is answered\n");
    // What ends every session of a person comes last, so that everybody is still in.
    let mut routes: Vec<_> = rules::routes().collect();
    routes.sort_by_key(|(_, path, _)| path.starts_with("/auth/logout"));
    for (method, route, access) in routes {
        let objects: &[&str] = if route.contains("{id}") {
            &["own", "foreign"]
        } else {
            &["-"]
        };
        for object in objects {
            write!(table, "{method} {route} {object}:").unwrap();
            let path_for = |person: &Person| {
                let whose = if *object == "foreign" { &owner } else { person };
                whose
                    .path(route)
                    .unwrap_or_else(|| route.replace("{*rest}", "index.html"))
            };
            let anonymous = ask(world, method, &path_for(&owner), None).await;
            write!(table, " nobody={anonymous}").unwrap();
            for (role, person) in &by_role {
                // What ends a session is asked by one of its own.
                let token = if route.starts_with("/auth/logout") {
                    let tokens = people.login(&person.email, PASSWORD).await.json();
                    text(&tokens, "access_token").to_owned()
                } else {
                    person.token.clone()
                };
                let answer = ask(world, method, &path_for(person), Some(&token)).await;
                write!(table, " {role}={answer}").unwrap();
                match access {
                    Access::SignedIn | Access::Roles(_) => assert_eq!(anonymous, "401", "{table}"),
                    Access::Probe | Access::Anyone | Access::Guest | Access::Signed => {}
                }
                // A buyer never sees what is not theirs.
                if *object == "foreign" && *role == Role::User {
                    let kept_out = if rules::admits(access, &[Role::User]) {
                        "404"
                    } else {
                        "403"
                    };
                    assert_eq!(answer, kept_out, "{table}");
                }
            }
            table.push('\n');
        }
    }
    assert!(!table.contains("broken"), "{table}");
    let kept = std::fs::read_to_string("tests/people/matrix.txt").unwrap_or_default();
    assert!(
        kept == table,
        "who may do what has changed; if that is meant, tests/people/matrix.txt becomes:\n{table}"
    );
}

impl Person {
    async fn with_email(people: &People<'_>) -> Self {
        let tokens = people.person("matrix.owner@example.org").await;
        let access = text(&tokens, "access_token");
        let me = people.me(access).await.json();
        let user: UserId = text(&me, "user_id").parse().unwrap();
        Self {
            email: "matrix.owner@example.org".to_owned(),
            token: access.to_owned(),
            things: belongings(people.world, user).await,
        }
    }
}
