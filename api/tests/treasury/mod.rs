//! What operators see of our accounts.

use super::support::{ANNA, CARA, World, eventually};
use events::ids::{EventId, PurchaseId};
use events::money::Amount;
use events::purchases::{LanesOpened, PurchaseEvent, SwapCompleted};
use events::time::Timestamp;
use serde_json::{Value, json};

/// Balances as they are, how long they last, what rang; for operators alone.
pub async fn operators_see_it(world: &World, purchase: PurchaseId) {
    world
        .get("/treasury", "not-a-token-at-all")
        .await
        .is_problem(401, "unauthorized");
    world
        .get("/treasury", ANNA)
        .await
        .is_problem(403, "forbidden");
    let quiet = world.get("/treasury", CARA).await;
    assert_eq!(quiet.status, 200, "{}", quiet.text);
    let quiet = quiet.json();
    assert_eq!(quiet["holdings"][0]["balance"], "10.0000000");
    assert_eq!(quiet["holdings"][0]["days_of_cover"], Value::Null);
    assert_eq!(quiet["lanes"], json!([]));

    let opened = PurchaseEvent::from(LanesOpened {
        executor: "swaps".to_owned(),
        epoch: 1 << 18,
        lanes: 2,
        accounts: vec!["GRICH".to_owned(), "GPOOR".to_owned()],
        opened_at: Timestamp(1_796_000_000_000),
    });
    let key = purchase.to_string();
    world
        .append::<PurchaseEvent>(&key, &["opened"], &key, opened)
        .await;
    let swapped = PurchaseEvent::from(SwapCompleted {
        purchase_id: purchase,
        request_id: EventId::derive(&["swap"]),
        attempt: 1,
        transaction: "aa".repeat(32),
        ledger: 7,
        lane: "GRICH".to_owned(),
        sequence: 1,
        usdc_spent: Amount::from_whole(2),
        tft: Amount::from_whole(100),
        fee_stroops: 100,
        rest: Amount::ZERO,
    });
    world
        .append::<PurchaseEvent>(&key, &["swapped"], &key, swapped)
        .await;
    sqlx::query(
        "INSERT INTO treasury_crossings VALUES
            ('treasury/XLM', 'GT', 'native', true, 7, 8, 3, '2026-11-25T00:00:00Z', 1)",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let seen = eventually(|| async {
        let seen = world.get("/treasury", CARA).await.json();
        // They are read one after the other, and the fold may come between.
        (seen["spent"]["usdc"] == "2.0000000" && seen["lanes"] != json!([])).then_some(seen)
    })
    .await;
    let holding = |n: usize| seen["holdings"][n].clone();
    // Two of ten in a week: five weeks.
    assert_eq!(holding(0)["days_of_cover"], 35);
    assert_eq!(holding(0)["alarm"], Value::Null);
    assert_eq!(holding(1)["low"], true);
    assert_eq!(holding(1)["alarm"]["ringing"], true);
    assert_eq!(holding(1)["alarm"]["crossings"], 3);
    assert_eq!(holding(2)["balance"], Value::Null);
    assert_eq!(holding(2)["problem"], "504");
    assert_eq!(
        seen["lanes"],
        json!([{
            "hand": "swaps", "lanes": 2, "lowest": "1.1000000", "threshold": "1.2000000",
            "low": ["GPOOR"], "ringing": 0, "unreadable": 0,
        }])
    );
}
