//! Quotes: their price, their terms, their end.

use super::support::{ANNA, BERT, World};
use events::money::{Amount, Usdc};
use serde_json::{Value, json};

pub async fn a_quote_is_priced_and_kept(world: &World) -> Value {
    let body = json!({"tft": "250"});
    let made = world.post("/quotes", ANNA, "quote-1", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let quote = made.json();
    assert_eq!(quote["tft"], "250.0000000");
    assert_eq!(quote["usdc"], "2.5100000");
    assert_eq!(quote["usdc_cap"], "2.5351000");
    assert_eq!(quote["charge"], json!({"minor": 259, "currency": "USD"}));
    assert_eq!(quote["ledger"], 60_000_007);
    let id = quote["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("/quotes/{id}"));

    let again = world.post("/quotes", ANNA, "quote-1", &body).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-hit")),
        (201, "true")
    );
    assert_eq!(again.json(), quote);
    // The same command in another spelling.
    let spelt = world
        .request("POST", "/quotes", ANNA)
        .header("Idempotency-Key", "quote-1");
    let spelt = spelt
        .header("Content-Type", "application/json")
        .body(r#" { "tft" : "250" } "#);
    assert_eq!(world.send(spelt).await.json(), quote);
    let other = world
        .post("/quotes", ANNA, "quote-1", &json!({"tft": "251"}))
        .await;
    other.is_problem(422, "idempotency-key-reused");
    // A key is a user's own.
    assert_ne!(
        world.post("/quotes", BERT, "quote-1", &body).await.json()["id"],
        quote["id"]
    );

    assert_eq!(
        world.get(&format!("/quotes/{id}"), ANNA).await.json(),
        quote
    );
    world
        .get(&format!("/quotes/{id}"), BERT)
        .await
        .is_problem(404, "not-found");
    world
        .get("/quotes/17", ANNA)
        .await
        .is_problem(404, "not-found");
    world
        .post("/quotes", ANNA, "much", &json!({"tft": "10000"}))
        .await
        .is_problem(422, "no-path");
    world
        .post("/quotes", ANNA, "mute", &json!({"tft": "666"}))
        .await
        .is_problem(503, "market-unavailable");
    quote
}

/// Its terms, and the other ways to ask.
pub async fn a_quote_says_its_terms(world: &World, quote: &Value) {
    assert_eq!(quote["swap_tft"], "251.0000000");
    assert_eq!(quote["rate"], "0.0100000000");
    assert_eq!(quote["send_max"], quote["usdc_cap"]);
    assert_eq!(
        (&quote["price_impact_bps"], &quote["slippage_bps"]),
        (&json!(0), &json!(100))
    );
    assert_eq!(quote["spread"], json!({"bps": 300, "usdc": "0.0753000"}));
    assert_eq!(quote["fee"]["tft"], "1.0000000");

    let bought = world
        .post("/quotes", ANNA, "by-usdc", &json!({"usdc": "5"}))
        .await;
    assert_eq!(bought.status, 201, "{}", bought.text);
    let usdc: Amount<Usdc> = Amount::parse(bought.json()["usdc"].as_str().unwrap()).unwrap();
    let total = usdc.plus_bps_ceil(300).unwrap();
    assert!(total <= Amount::from_whole(5) && total >= Amount::parse("4.999").unwrap());
    let bought = world
        .post(
            "/quotes",
            ANNA,
            "by-fiat",
            &json!({"fiat": "10.00", "currency": "EUR"}),
        )
        .await;
    assert_eq!(
        bought.json()["charge"],
        json!({"minor": 1000, "currency": "EUR"})
    );
    for wrong in [
        json!({}),
        json!({"tft": "1", "usdc": "1"}),
        json!({"fiat": "10.001"}),
        json!({"fiat": "0.10"}),
        json!({"usdc": "0.01"}),
        json!({"usdc": "x"}),
    ] {
        let answer = world.post("/quotes", ANNA, "wrong", &wrong).await;
        answer.is_problem(422, "invalid-field");
    }
    let thin = world
        .post("/quotes", ANNA, "thin", &json!({"usdc": "500"}))
        .await;
    thin.is_problem(422, "no-path");
    assert_eq!(thin.json()["reason"], "too-thin");
}

pub async fn an_expired_quote_is_not_accepted(world: &World) {
    let quote = world
        .post("/quotes", ANNA, "quote-old", &json!({"tft": "5"}))
        .await
        .json();
    expire(world, &quote).await;
    let late = world
        .post(
            "/payments/create-intent",
            ANNA,
            "late",
            &json!({"quote_id": quote["id"]}),
        )
        .await;
    late.is_problem(410, "quote-expired");
}

pub async fn expire(world: &World, quote: &Value) {
    let id: uuid::Uuid = quote["id"].as_str().unwrap().parse().unwrap();
    sqlx::query("UPDATE quotes SET expires_at = now() - interval '1 second' WHERE id = $1")
        .bind(id)
        .execute(&world.pool)
        .await
        .unwrap();
}
