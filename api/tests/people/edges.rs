//! Where the API meets others: their limits, another issuer, a Redis that is gone.

use super::support::{ANNA, Terrain, World, eventually};
use super::{PASSWORD, People, now, shared, text};
use api::auth::Limits;
use api::auth::oidc::OidcSettings;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sandbox_stack::{Part, Stack};
use serde_json::{Value, json};

pub async fn limits_are_told_and_kept(stack: &Stack) {
    let terrain = Terrain {
        limits: Limits {
            user: 5,
            address: 40,
            guest: 3,
        },
        oidc: None,
        projections: false,
    };
    let world = World::open_with(stack, terrain).await;
    let people = People {
        world: &world,
        mailbox: stack.mailbox_url().to_owned(),
    };
    // A fresh window: other worlds have counted under the same address.
    let mut redis = redis::Client::open(stack.redis_url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let _: () = redis::cmd("FLUSHALL")
        .query_async(&mut redis)
        .await
        .unwrap();
    let tokens = people.login("kurt@example.org", PASSWORD).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    assert!(
        tokens
            .header("ratelimit-policy")
            .contains("\"guest\";q=3;w=60")
    );
    assert!(tokens.header("ratelimit").starts_with("\"guest\";r=2;t="));
    let tokens = tokens.json();
    let access = text(&tokens, "access_token");
    for left in (0..5).rev() {
        let me = people.me(access).await;
        assert_eq!(me.status, 200);
        assert!(
            me.header("ratelimit")
                .starts_with(&format!("\"user\";r={left};t=")),
            "{}",
            me.header("ratelimit")
        );
    }
    let refused = people.me(access).await;
    refused.is_problem(429, "too-many-requests");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=12).contains(&seconds), "{seconds}");
    for _ in 0..2 {
        people
            .login("x@example.org", "a wrong guess")
            .await
            .is_problem(401, "wrong-credentials");
    }
    people
        .login("x@example.org", "a wrong guess")
        .await
        .is_problem(429, "too-many-requests");
    // Tokens that are tried are counted, too.
    let mut refusals = 0;
    for _ in 0..60 {
        refusals += usize::from(people.me("not a token").await.status == 429);
    }
    assert!(refusals >= 20, "{refusals}");
    // A service token is not counted, and probes are free.
    assert_eq!(world.get("/purchases", ANNA).await.status, 200);
    assert_eq!(world.get("/healthz", "").await.status, 200);
    world.close().await;
}

pub async fn another_issuers_people_come_in(stack: &Stack) {
    // The issuer: its discovery and its keys, of which the first is unknown to it at first.
    let public = SigningKey::from_bytes(&[7; 32]).verifying_key();
    let public = URL_SAFE_NO_PAD.encode(public.as_bytes());
    // RFC 8410: what stands before the secret in PKCS#8.
    let mut secret = hex::decode("302e020100300506032b657004220420").unwrap();
    secret.extend([7; 32]);
    let issuer_key = EncodingKey::from_ed_der(&secret);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let discovery = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
    let keys = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": public, "alg": "EdDSA", "use": "sig"},
        {"kty": "oct", "kid": "k2", "k": URL_SAFE_NO_PAD.encode(b"a shared secret"), "alg": "HS256"},
    ]});
    let answer = |value: Value| move || async move { axum::Json(value) };
    let app = axum::Router::new()
        .route(
            "/.well-known/openid-configuration",
            axum::routing::get(answer(discovery)),
        )
        .route("/keys", axum::routing::get(answer(keys)));
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let terrain = Terrain {
        oidc: Some(OidcSettings {
            issuer: issuer.clone(),
            audience: "gridway".to_owned(),
            roles_claim: Some("gridway_roles".to_owned()),
        }),
        projections: false,
        ..Terrain::default()
    };
    let world = World::open_with(stack, terrain).await;
    let people = People {
        world: &world,
        mailbox: String::new(),
    };
    let seconds = now().seconds();
    let claims = |audience: &str, exp: i64, verified: bool| {
        json!({"iss": issuer, "aud": audience, "sub": "auth0|17", "iat": seconds, "exp": exp,
               "email": "lena@example.org", "email_verified": verified, "gridway_roles": ["user", "auditor", "king"]})
    };
    let token = |kid: &str, claims: &Value| {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, claims, &issuer_key).unwrap()
    };
    let good = token("k1", &claims("gridway", seconds + 300, true));
    let me = people.me(&good).await;
    assert_eq!(me.status, 200, "{}", me.text);
    assert_eq!(me.json()["roles"], json!(["user", "auditor"]));
    assert_eq!(text(&me.json(), "email"), "lena@example.org");
    for bad in [
        token("k1", &claims("others", seconds + 300, true)),
        token("k1", &claims("gridway", seconds - 1, true)),
        shared(
            b"a shared secret",
            "k2",
            &claims("gridway", seconds + 300, true),
        ),
        token("k3", &claims("gridway", seconds + 300, true)),
    ] {
        people.me(&bad).await.is_problem(401, "unauthorized");
    }
    // A twin costs money: their address must be verified there.
    let doubtful = token("k1", &claims("gridway", seconds + 300, false));
    world
        .post("/users", &doubtful, "register", &json!({}))
        .await
        .is_problem(403, "email-not-verified");
    assert_eq!(
        world
            .post("/users", &good, "register", &json!({}))
            .await
            .status,
        202
    );
    // Their tokens can be ended here, too: one, and all.
    let out = world
        .send(world.request("POST", "/auth/logout", &good))
        .await;
    assert_eq!(out.status, 204, "{}", out.text);
    people.me(&good).await.is_problem(401, "unauthorized");
    assert_eq!(people.me(&doubtful).await.status, 200);
    let everywhere = world.request("POST", "/auth/logout-all", &doubtful);
    assert_eq!(world.send(everywhere).await.status, 204);
    people.me(&doubtful).await.is_problem(401, "unauthorized");
    world.close().await;
    serving.abort();
}

/// What is refused while Redis is down, and what is not.
pub async fn without_redis_nobody_is_let_in(people: &People<'_>, stack: &Stack) {
    let tokens = people.login("kurt@example.org", PASSWORD).await.json();
    let access = text(&tokens, "access_token");
    stack.kill(Part::Redis).await.unwrap();
    people
        .me(access)
        .await
        .is_problem(503, "sessions-unavailable");
    people
        .login("kurt@example.org", PASSWORD)
        .await
        .is_problem(503, "sessions-unavailable");
    people
        .refresh(text(&tokens, "refresh_token"))
        .await
        .is_problem(503, "sessions-unavailable");
    let ready = people.world.get("/readyz", "").await;
    ready.is_problem(503, "not-ready");
    assert!(text(&ready.json()["checks"], "redis").contains("nobody is let in"));
    // Webhooks are money that came in; service tokens have no session; the keys are public.
    assert_eq!(
        people
            .world
            .webhook(Some("good"), "evt_redis,")
            .await
            .status,
        200
    );
    assert_eq!(people.world.get("/purchases", ANNA).await.status, 200);
    assert_eq!(
        people.world.get("/.well-known/jwks.json", "").await.status,
        200
    );
    stack.restart(Part::Redis).await.unwrap();
    // It forgot every session: people log in again.
    eventually(|| async { (people.me(access).await.status == 401).then_some(()) }).await;
    assert_eq!(people.login("kurt@example.org", PASSWORD).await.status, 200);
}
