//! Many requests at once, whose writes share statements.

use crate::support::{ANNA, World, eventually};
use projections::progress::{self, Position};
use serde_json::json;
use std::collections::HashSet;

/// One wish, sent many times at once.
pub(crate) async fn one_wish_of_many_requests_is_one(world: &World) {
    let quote = world
        .post("/quotes", ANNA, "quote-hasty", &json!({"tft": "9"}))
        .await
        .json();
    let buy = json!({"quote_id": quote["id"]});
    let sent = (0..20).map(|_| world.post("/payments/create-intent", ANNA, "hasty", &buy));
    let answers = futures::future::join_all(sent).await;
    // While one is carried out the others are told so; afterwards they are told what came of it.
    let (taken, told): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 202);
    for answer in told {
        answer.is_problem(409, "command-in-progress");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let first = taken[0].json();
    assert!(
        taken
            .iter()
            .all(|a| a.json()["purchase_id"] == first["purchase_id"])
    );
    assert_eq!(
        taken
            .iter()
            .filter(|a| a.header("idempotency-hit").is_empty())
            .count(),
        1
    );
    for answer in answers
        .iter()
        .filter(|a| !a.header("consistency-token").is_empty())
    {
        let position: Position = answer.header("consistency-token").parse().unwrap();
        eventually(|| async {
            progress::passed(&world.pool, &position)
                .await
                .unwrap()
                .then_some(())
        })
        .await;
    }
    let path = format!("{}/timeline", taken[0].header("location"));
    assert_eq!(
        world.get(&path, ANNA).await.json()["events"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// Many wishes at once: each is carried out and answered for itself, and the same again.
pub(crate) async fn many_at_once_get_each_their_own(world: &World) {
    let wish = |n: usize| json!({"tft": format!("{}.5", n + 1)});
    let all = || async {
        let sent = (0..150).map(|n| async move {
            world
                .post("/quotes", ANNA, &format!("crowd-{n}"), &wish(n))
                .await
        });
        futures::future::join_all(sent).await
    };
    let first = all().await;
    let mut ids = HashSet::new();
    for (n, answer) in first.iter().enumerate() {
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert_eq!(answer.header("idempotency-hit"), "");
        let quote = answer.json();
        assert_eq!(quote["tft"], format!("{}.5000000", n + 1));
        assert!(ids.insert(quote["id"].to_string()), "{}", answer.text);
    }
    for (again, first) in all().await.iter().zip(&first) {
        assert_eq!(again.status, 201, "{}", again.text);
        assert_eq!(again.header("idempotency-hit"), "true");
        assert_eq!(again.text, first.text);
    }
    let other = world.post("/quotes", ANNA, "crowd-1", &wish(100)).await;
    other.is_problem(422, "idempotency-key-reused");
}
