//! Sign-up, sessions and roles against real Redis, Postgres, Kafka and a real mail server.
//!
//! One stack for all scenarios, one after the other: the last ones kill its parts.

#![expect(clippy::unwrap_used, reason = "tests")]

mod applications;
mod approvals;
mod contract;
mod edges;
mod hostile;
mod matrix;
#[path = "../support/mod.rs"]
mod support;
mod told;

use api::auth::rules::Role;
use api::auth::{accounts, tokens};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::ids::UserId;
use events::time::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sandbox_stack::{Stack, StackOptions};
use serde_json::{Value, json};
use sqlx::Row;
use std::time::{Duration, Instant};
use support::{AUDIENCE, Answer, ISSUER, SEED, World, eventually};

const PASSWORD: &str = "correct horse battery";

struct People<'a> {
    world: &'a World,
    mailbox: String,
}

impl People<'_> {
    async fn post(&self, path: &str, body: &Value) -> Answer {
        let url = format!("{}{path}", self.world.base);
        self.world
            .send(self.world.client.post(url).json(body))
            .await
    }

    async fn mails(&self, email: &str) -> Vec<String> {
        let url = format!("{}/api/user/{email}/messages/INBOX", self.mailbox);
        let answer = self.world.client.get(url).send().await.unwrap();
        let mails: Value = answer.json().await.unwrap_or_default();
        let texts = mails.as_array().into_iter().flatten();
        texts
            .filter_map(|mail| mail["mimeMessage"].as_str().map(ToOwned::to_owned))
            .collect()
    }

    /// The token in the nth mail to an address.
    async fn mailed(&self, email: &str, nth: usize) -> String {
        let mail = eventually(|| async { self.mails(email).await.get(nth).cloned() }).await;
        mail.lines()
            .find_map(|line| line.strip_prefix("Token: "))
            .unwrap()
            .trim()
            .to_owned()
    }

    async fn sign_up(&self, email: &str, password: &str) -> Answer {
        self.post(
            "/auth/sign-up",
            &json!({"email": email, "password": password}),
        )
        .await
    }

    async fn login(&self, email: &str, password: &str) -> Answer {
        self.post(
            "/auth/login",
            &json!({"email": email, "password": password}),
        )
        .await
    }

    async fn refresh(&self, token: &str) -> Answer {
        self.post("/auth/refresh", &json!({"refresh_token": token}))
            .await
    }

    async fn me(&self, token: &str) -> Answer {
        self.world.get("/auth/me", token).await
    }

    /// A person with an account and a session.
    async fn person(&self, email: &str) -> Value {
        assert_eq!(self.sign_up(email, PASSWORD).await.status, 202);
        let token = self.mailed(email, 0).await;
        let verified = self.post("/auth/verify", &json!({"token": token})).await;
        assert_eq!(verified.status, 200, "{}", verified.text);
        let tokens = self.login(email, PASSWORD).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text);
        assert_eq!(tokens.header("cache-control"), "no-store");
        tokens.json()
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

async fn a_person_signs_up_and_is_told_to_the_log(people: &People<'_>) -> UserId {
    let email = "Dora.D@example.org";
    let answer = people.sign_up(email, PASSWORD).await;
    assert_eq!(answer.status, 202);
    // Nothing is in the log, and nobody comes in, before the address is verified.
    people
        .login(email, PASSWORD)
        .await
        .is_problem(403, "email-not-verified");
    let rows = "SELECT count(*) FROM outbox";
    let outbox = || async {
        let row = sqlx::query(rows)
            .fetch_one(&people.world.pool)
            .await
            .unwrap();
        row.get::<i64, _>(0)
    };
    assert_eq!(outbox().await, 0);
    let token = people.mailed(email, 0).await;
    people
        .post("/auth/verify", &json!({"token": "another"}))
        .await
        .is_problem(400, "token-invalid");
    let verified = people.post("/auth/verify", &json!({"token": token})).await;
    let user: UserId = text(&verified.json(), "user_id").parse().unwrap();
    // Once.
    people
        .post("/auth/verify", &json!({"token": token}))
        .await
        .is_problem(400, "token-invalid");
    let tokens = people.login("dora.d@EXAMPLE.org", PASSWORD).await.json();
    let access = text(&tokens, "access_token");
    let me = people.me(access).await.json();
    assert_eq!(text(&me, "user_id"), user.to_string());
    assert_eq!(text(&me, "email"), email);
    assert_eq!(me["roles"], json!(["user"]));
    // The registration and the role come through the outbox, Kafka and the projections.
    let shown = eventually(|| async {
        let me = people.world.get("/users/me", access).await;
        (me.status == 200).then_some(me)
    })
    .await;
    assert_eq!(text(&shown.json(), "id"), user.to_string());
    eventually(|| async {
        let types = "SELECT type FROM timeline WHERE correlation = $1 ORDER BY \"offset\"";
        let rows = sqlx::query(types)
            .bind(user.uuid())
            .fetch_all(&people.world.pool)
            .await
            .unwrap();
        let types: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        (types == ["gridway.users.UserRegistered", "gridway.users.RoleGranted"]).then_some(())
    })
    .await;
    user
}

/// Signing up, logging in and asking for a reset say nothing of whether there is an account.
async fn nobody_learns_who_has_an_account(people: &People<'_>) {
    let known = people
        .sign_up("dora.d@example.org", "another password")
        .await;
    let unknown = people.sign_up("nobody.yet@example.org", PASSWORD).await;
    assert_eq!((known.status, &known.text), (unknown.status, &unknown.text));
    let mails = eventually(|| async {
        let mails = people.mails("Dora.D@example.org").await;
        (mails.len() == 2).then_some(mails)
    })
    .await;
    assert!(mails[1].contains("account already"), "{}", mails[1]);
    // The password stays.
    assert_eq!(
        people.login("dora.d@example.org", PASSWORD).await.status,
        200
    );
    let wrong = people.login("dora.d@example.org", "wrong password").await;
    let nobody = people.login("no.one@example.org", "wrong password").await;
    wrong.is_problem(401, "wrong-credentials");
    assert_eq!(wrong.text, nobody.text);
    let known = people
        .post(
            "/auth/password-reset",
            &json!({"email": "dora.d@example.org"}),
        )
        .await;
    let unknown = people
        .post(
            "/auth/password-reset",
            &json!({"email": "no.one@example.org"}),
        )
        .await;
    assert_eq!((known.status, &known.text), (unknown.status, &unknown.text));
    assert!(people.mails("no.one@example.org").await.is_empty());
}

/// Whoever signs up first with somebody else's address does not choose their password.
async fn the_mailbox_decides_about_the_password(people: &People<'_>) {
    let email = "erik@example.org";
    people.sign_up(email, "chosen by a thief").await;
    let thiefs = people.mailed(email, 0).await;
    people.sign_up(email, PASSWORD).await;
    let own = people.mailed(email, 1).await;
    let verified = people.post("/auth/verify", &json!({"token": own})).await;
    assert_eq!(verified.status, 200);
    people
        .login(email, "chosen by a thief")
        .await
        .is_problem(401, "wrong-credentials");
    assert_eq!(people.login(email, PASSWORD).await.status, 200);
    people
        .post("/auth/verify", &json!({"token": thiefs}))
        .await
        .is_problem(400, "token-invalid");
}

async fn a_stolen_refresh_token_ends_its_session(people: &People<'_>) {
    let first = people.person("fred@example.org").await;
    let other = people.login("fred@example.org", PASSWORD).await.json();
    let second = people.refresh(text(&first, "refresh_token")).await;
    assert_eq!(second.status, 200, "{}", second.text);
    let second = second.json();
    assert_ne!(
        text(&first, "refresh_token"),
        text(&second, "refresh_token")
    );
    assert_eq!(people.me(text(&second, "access_token")).await.status, 200);
    // The first one comes again, from whoever stole it.
    people
        .refresh(text(&first, "refresh_token"))
        .await
        .is_problem(401, "refresh-invalid");
    // The whole family is over: the fresh token, and the access tokens of both.
    people
        .refresh(text(&second, "refresh_token"))
        .await
        .is_problem(401, "refresh-invalid");
    for tokens in [&first, &second] {
        people
            .me(text(tokens, "access_token"))
            .await
            .is_problem(401, "unauthorized");
    }
    assert_eq!(people.me(text(&other, "access_token")).await.status, 200);
    for nonsense in ["", ".", "x.y", "a.b.c", "\u{202e}.\u{0}"] {
        people
            .refresh(nonsense)
            .await
            .is_problem(401, "refresh-invalid");
    }
}

async fn a_session_that_ended_lets_nobody_in(people: &People<'_>) {
    let tokens = people.person("gina@example.org").await;
    let (access, refresh) = (
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
    );
    let out = people
        .world
        .send(people.world.request("POST", "/auth/logout", access))
        .await;
    let ended = Instant::now();
    assert_eq!(out.status, 204, "{}", out.text);
    people.me(access).await.is_problem(401, "unauthorized");
    assert!(ended.elapsed() < Duration::from_secs(1));
    people
        .refresh(refresh)
        .await
        .is_problem(401, "refresh-invalid");

    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(people.login("gina@example.org", PASSWORD).await.json());
    }
    let everywhere =
        people
            .world
            .request("POST", "/auth/logout-all", text(&all[0], "access_token"));
    assert_eq!(people.world.send(everywhere).await.status, 204);
    for tokens in &all {
        people
            .me(text(tokens, "access_token"))
            .await
            .is_problem(401, "unauthorized");
    }
}

async fn a_forgotten_password_is_replaced(people: &People<'_>) {
    let email = "hans@example.org";
    let before = people.person(email).await;
    people
        .post("/auth/password-reset", &json!({"email": email}))
        .await;
    let token = people.mailed(email, 1).await;
    let confirm = |password: &str| json!({"token": token, "password": password});
    people
        .post("/auth/password-reset/confirm", &confirm("short"))
        .await
        .is_problem(422, "invalid-field");
    let done = people
        .post("/auth/password-reset/confirm", &confirm("a new password"))
        .await;
    assert_eq!(done.status, 204, "{}", done.text);
    people
        .post("/auth/password-reset/confirm", &confirm("another password"))
        .await
        .is_problem(400, "token-invalid");
    people
        .me(text(&before, "access_token"))
        .await
        .is_problem(401, "unauthorized");
    people
        .login(email, PASSWORD)
        .await
        .is_problem(401, "wrong-credentials");
    assert_eq!(people.login(email, "a new password").await.status, 200);
}

/// The same for an account and for none.
async fn guessing_is_locked_out(people: &People<'_>) {
    people.person("ines@example.org").await;
    let mut said = Vec::new();
    for email in ["ines@example.org", "phantom@example.org"] {
        for _ in 0..5 {
            people
                .login(email, "a wrong guess")
                .await
                .is_problem(401, "wrong-credentials");
        }
        let locked = people.login(email, PASSWORD).await;
        locked.is_problem(429, "too-many-attempts");
        let seconds: u64 = locked.header("retry-after").parse().unwrap();
        assert!((1..=900).contains(&seconds));
        said.push(text(&locked.json(), "title").to_owned());
    }
    assert_eq!(said[0], said[1]);
    // Guesses at once are no more than one after the other.
    let guesses = (0..20).map(|_| people.login("ines2@example.org", "a wrong guess"));
    let answers = futures::future::join_all(guesses).await;
    let tried = answers.iter().filter(|a| a.status == 401).count();
    assert!(tried <= 5, "{tried}");
}

async fn forged_tokens_let_nobody_in(people: &People<'_>) {
    let tokens = people.person("jana@example.org").await;
    let access = text(&tokens, "access_token");
    let parts: Vec<&str> = access.split('.').collect();
    let kid = jsonwebtoken::decode_header(access).unwrap().kid.unwrap();
    let payload = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let refused = |token: String| async move {
        people.me(&token).await.is_problem(401, "unauthorized");
    };
    let b64 = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = json!({"alg": "none", "typ": "at+jwt", "kid": kid});
    refused(format!("{}.{}.", b64(&none), parts[1])).await;
    refused(format!("{}.{}.{}", b64(&none), parts[1], parts[2])).await;
    // Other roles under the same signature.
    let mut admin = claims.clone();
    admin["roles"] = json!(["admin"]);
    refused(format!("{}.{}.{}", parts[0], b64(&admin), parts[2])).await;
    // A key of somebody else, under our key's name.
    let wrong = tokens::Tokens::new(
        &"6b".repeat(32),
        Duration::from_secs(86_400),
        ISSUER,
        AUDIENCE,
    )
    .unwrap();
    let user: UserId = text(&claims, "sub").parse().unwrap();
    let (session, iat) = (text(&claims, "sid"), claims["iat"].as_i64().unwrap());
    let lifetime = Duration::from_secs(600);
    refused(
        wrong
            .sign(user, session, &[Role::User], iat, lifetime)
            .unwrap(),
    )
    .await;
    // Our public key as a shared secret, as the set of keys shows it.
    let jwks = people.world.get("/.well-known/jwks.json", "").await.json();
    let published = jwks["keys"].as_array().unwrap();
    let ours = published.iter().find(|key| key["kid"] == *kid).unwrap();
    let public = URL_SAFE_NO_PAD.decode(text(ours, "x")).unwrap();
    refused(shared(&public, &kid, &claims)).await;
    // Our own key, and yet: expired, not yet good, for others, by others, without its session.
    let day = Duration::from_secs(86_400);
    let ours = tokens::Tokens::new(SEED, day, ISSUER, AUDIENCE).unwrap();
    let sign = |tokens: &tokens::Tokens, session: &str, at: i64| {
        tokens
            .sign(user, session, &[Role::User], at, lifetime)
            .unwrap()
    };
    refused(sign(&ours, session, iat - 601)).await;
    refused(sign(&ours, session, iat + 300)).await;
    refused(sign(&ours, "no such session", iat)).await;
    for (issuer, audience) in [(ISSUER, "another"), ("https://evil.test", AUDIENCE)] {
        let other = tokens::Tokens::new(SEED, day, issuer, audience).unwrap();
        refused(sign(&other, session, iat)).await;
    }
    assert_eq!(people.me(&sign(&ours, session, iat)).await.status, 200);
    for nonsense in ["", "x", "a.b.c", "Bearer", &"x".repeat(9_000)] {
        refused(nonsense.to_owned()).await;
    }
}

/// A token under a shared secret.
fn shared(secret: &[u8], kid: &str, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests stand at the edge")]
fn now() -> Timestamp {
    Timestamp::from(chrono::Utc::now())
}

async fn a_granted_role_counts_from_the_next_login(people: &People<'_>) {
    let tokens = people.person("kurt@example.org").await;
    let me = people.me(text(&tokens, "access_token")).await.json();
    let user: UserId = text(&me, "user_id").parse().unwrap();
    let pool = &people.world.pool;
    accounts::grant(pool, user, Role::Auditor, "root", now())
        .await
        .unwrap();
    accounts::grant(pool, user, Role::Auditor, "root", now())
        .await
        .unwrap();
    let tokens = people.login("kurt@example.org", PASSWORD).await.json();
    let me = people.me(text(&tokens, "access_token")).await.json();
    assert_eq!(me["roles"], json!(["user", "auditor"]));
    accounts::revoke(pool, user, Role::Auditor, "root", now())
        .await
        .unwrap();
    let moments = eventually(|| async {
        let types = "SELECT facts FROM timeline WHERE correlation = $1 AND type LIKE '%.Role%' ORDER BY \"offset\"";
        let rows = sqlx::query(types).bind(user.uuid()).fetch_all(pool).await.unwrap();
        (rows.len() >= 3).then(|| rows.iter().map(|row| row.get::<Value, _>(0)).collect::<Vec<_>>())
    })
    .await;
    // Granted once, however often it was asked.
    assert_eq!(moments.len(), 3);
    assert_eq!(moments[1], json!({"role": "auditor", "by": "root"}));
}

/// Rows whose transactions commit late are found, and everything is appended once.
async fn nothing_is_skipped_in_the_outbox(people: &People<'_>) {
    let pool = &people.world.pool;
    let insert = "INSERT INTO outbox (event_id, topic, key, type, event, created_at)
                  VALUES ($1, 'users', $2, 'RoleGranted', $3, now())";
    let user = |n: i32| UserId::derive(&["outbox", &n.to_string()]);
    let event = |n: i32| json!({"user_id": user(n), "role": "auditor", "by": "root", "granted_at": 1_800_000_000_000_i64});
    let mut late = pool.begin().await.unwrap();
    for n in 0..50 {
        // Every other row is numbered first and committed last.
        let query = sqlx::query(insert)
            .bind(user(n).uuid())
            .bind(user(n).to_string())
            .bind(event(n));
        if n % 2 == 0 {
            query.execute(&mut *late).await.unwrap();
        } else {
            query.execute(pool).await.unwrap();
        }
    }
    let appended = |parity: i32| async move {
        let ids: Vec<uuid::Uuid> = (0..50)
            .filter(|n| n % 2 == parity)
            .map(|n| user(n).uuid())
            .collect();
        let found = "SELECT count(*) FROM timeline WHERE event_id = ANY($1)";
        let row = sqlx::query(found).bind(ids).fetch_one(pool).await.unwrap();
        row.get::<i64, _>(0)
    };
    eventually(|| async { (appended(1).await == 25).then_some(()) }).await;
    assert_eq!(appended(0).await, 0);
    late.commit().await.unwrap();
    eventually(|| async { (appended(0).await == 25).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_and_go() {
    let stack = Stack::start(StackOptions {
        stand_ins: false,
        quiet: true,
        ..StackOptions::default()
    })
    .await
    .unwrap();
    let world = World::open(&stack).await;
    let people = People {
        world: &world,
        mailbox: stack.mailbox_url().to_owned(),
    };
    a_person_signs_up_and_is_told_to_the_log(&people).await;
    nobody_learns_who_has_an_account(&people).await;
    the_mailbox_decides_about_the_password(&people).await;
    a_stolen_refresh_token_ends_its_session(&people).await;
    a_session_that_ended_lets_nobody_in(&people).await;
    a_forgotten_password_is_replaced(&people).await;
    guessing_is_locked_out(&people).await;
    forged_tokens_let_nobody_in(&people).await;
    a_granted_role_counts_from_the_next_login(&people).await;
    nothing_is_skipped_in_the_outbox(&people).await;
    applications::from_the_offer_to_the_role(&people).await;
    approvals::two_people_agree(&people).await;
    matrix::everybody_asks_for_everything(&people).await;
    told::as_they_want(&people).await;
    hostile::nothing_breaks(&people).await;
    contract::answers_pages_and_streams(&people).await;
    edges::another_issuers_people_come_in(&stack).await;
    edges::limits_are_told_and_kept(&stack).await;
    edges::without_redis_nobody_is_let_in(&people, &stack).await;
    world.close().await;
    stack.stop().await;
}
