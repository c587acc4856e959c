//! Two people for what moves much, over HTTP: who may agree, and that it happens once.

use super::applications::{Somebody, somebody};
use super::support::{Answer, World, eventually, user};
use super::{People, now, text};
use api::approvals::{NotUsable, Sum, use_up};
use api::auth::rules::Role;
use events::deposits::{DepositEvent, DepositUnmatched, PaymentReceived};
use events::ids::{PurchaseId, QuoteId, TwinId};
use events::money::{Amount, Currency, Fiat};
use events::purchases::{Funding, PurchaseEvent, PurchaseRequested, UserPaid};
use serde_json::{Value, json};
use sqlx::Row;

/// One person may move 100 USD and 500 USDC alone.
const MUCH: i64 = 10_001;

async fn ask(world: &World, who: &Somebody, key: &str, body: &Value) -> Answer {
    world.post("/approvals", &who.token, key, body).await
}

async fn say(world: &World, who: &Somebody, id: &str, verb: &str, key: &str) -> Answer {
    let body = match verb {
        "reject" => json!({"reason": "not like this"}),
        _ => json!({}),
    };
    let path = format!("/approvals/{id}/{verb}");
    world.post(&path, &who.token, key, &body).await
}

/// A purchase that is paid, of so many cents.
async fn paid(world: &World, name: &str, cents: i64) -> PurchaseId {
    let purchase = PurchaseId::derive(&[name]);
    let (key, charge) = (
        purchase.to_string(),
        Fiat {
            minor: cents,
            currency: Currency::Usd,
        },
    );
    let requested = PurchaseRequested {
        purchase_id: purchase,
        user_id: user("bert"),
        twin_id: TwinId(7),
        quote_id: QuoteId::derive(&[name]),
        tft: Amount::from_whole(1),
        swap_tft: Amount::from_whole(2),
        usdc_quoted: Amount::from_whole(1),
        usdc_cap: Amount::from_whole(1),
        path: Vec::new(),
        charge,
        quote_expires_at: now(),
        requested_at: now(),
        funding: Funding::Card,
        usdc_due: None,
        pay_until: None,
        give_up_after_ms: None,
    };
    world
        .append::<PurchaseEvent>(&key, &[name, "requested"], &key, requested)
        .await;
    let paid = UserPaid {
        purchase_id: purchase,
        user_id: user("bert"),
        intent_id: "pi_1".to_owned(),
        charge,
    };
    world
        .append::<PurchaseEvent>(&key, &[name, "paid"], &key, paid)
        .await;
    eventually(|| async {
        let found = projections::purchases::get(&world.pool, purchase).await;
        found
            .unwrap()
            .filter(|p| p.state == projections::purchases::State::Paid)
    })
    .await;
    purchase
}

/// What was appended of a type about an aggregate, once something is there.
async fn told(world: &World, correlation: &str, kind: &str) -> Vec<Value> {
    let rows = sqlx::query(
        "SELECT t.facts, t.partition FROM timeline t JOIN outbox o USING (event_id)
          WHERE o.key = $1 AND t.type LIKE '%.' || $2",
    )
    .bind(correlation)
    .bind(kind)
    .fetch_all(&world.pool)
    .await
    .unwrap();
    rows.iter()
        .map(|row| {
            let mut facts: Value = row.get("facts");
            facts["partition_of_record"] = json!(row.get::<i32, _>("partition"));
            facts
        })
        .collect()
}

async fn once(world: &World, key: &str, kind: &str) -> Value {
    let found = eventually(|| async {
        let found = told(world, key, kind).await;
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(found.len(), 1, "{kind}");
    found[0].clone()
}

pub async fn two_people_agree(people: &People<'_>) {
    let world = people.world;
    let one = somebody(people, "money.one", &[Role::DashboardOperator]).await;
    let two = somebody(people, "money.two", &[Role::DashboardOperator]).await;
    let admin = somebody(people, "money.admin", &[Role::Admin]).await;
    let auditor = somebody(people, "money.auditor", &[Role::Auditor]).await;
    let all = [one, two, admin, auditor];
    a_small_sum_needs_nobody_else(world, &all).await;
    a_large_one_is_agreed_to_once(world, &all).await;
    what_has_no_sum_waits(world, &all).await;
    nothing_happens_without_agreement(world, &all).await;
    deposits_are_ordered(world, &all).await;
    a_transfer_is_used_once(world, &all).await;
    what_makes_no_sense_is_refused(world, &all).await;
}

async fn a_small_sum_needs_nobody_else(world: &World, [one, ..]: &[Somebody; 4]) {
    let purchase = paid(world, "small refund", MUCH - 1).await.to_string();
    let body = json!({"action": "purchase_refund", "target": purchase, "reason": "asked by mail"});
    let asked = ask(world, one, "small", &body).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    let asked = asked.json();
    assert_eq!(
        (text(&asked, "state"), &asked["second_person"]),
        ("granted", &json!(false))
    );
    assert_eq!(
        (&asked["amount_minor"], text(&asked, "asset")),
        (&json!(10_000), "USD")
    );
    let ordered = once(world, &purchase, "RefundOrdered").await;
    assert_eq!(text(&ordered, "by"), one.user.to_string());
    assert_eq!(text(&ordered, "reason"), "asked by mail");
}

async fn a_large_one_is_agreed_to_once(world: &World, [one, two, admin, auditor]: &[Somebody; 4]) {
    for n in 0..4 {
        let name = format!("large refund {n}");
        let purchase = paid(world, &name, MUCH).await.to_string();
        let body = json!({"action": "purchase_refund", "target": purchase, "reason": "asked"});
        let asked = ask(world, one, &name, &body).await;
        assert_eq!(asked.status, 201, "{}", asked.text);
        let shown = asked.json();
        let id = text(&shown, "id");
        assert_eq!(
            (
                text(&shown, "state"),
                &shown["second_person"],
                &shown["threshold_minor"]
            ),
            ("waiting", &json!(true), &json!(10_000))
        );
        let again = ask(world, one, &name, &body).await;
        assert_eq!(
            (again.status.as_u16(), again.json()["id"].as_str()),
            (201, Some(id))
        );
        // The same is asked for once at a time.
        ask(world, two, &format!("{name} too"), &body)
            .await
            .is_problem(409, "nothing-to-approve");
        say(world, one, id, "approve", &format!("own {n}"))
            .await
            .is_problem(403, "own-approval");
        say(world, auditor, id, "approve", &format!("auditor {n}"))
            .await
            .is_problem(403, "forbidden");
        assert!(told(world, &purchase, "RefundOrdered").await.is_empty());
        let (a, b) = (format!("a {n}"), format!("b {n}"));
        let other = ["approve", "reject"][n % 2];
        let (first, second) = tokio::join!(
            say(world, two, id, "approve", &a),
            say(world, admin, id, other, &b),
        );
        let (won, lost) = if first.status == 200 {
            (first, second)
        } else {
            (second, first)
        };
        assert_eq!(won.status, 200, "{} {}", won.text, lost.text);
        lost.is_problem(409, "approval-ended");
        say(world, admin, id, "approve", &format!("late {n}"))
            .await
            .is_problem(409, "approval-ended");
        let won = won.json();
        if text(&won, "state") == "granted" {
            let ordered = once(world, &purchase, "RefundOrdered").await;
            let by = text(&won, "decided_by");
            assert_eq!(
                text(&ordered, "by"),
                format!("{}, agreed to by {by}", one.user)
            );
            // Said again under its key, it is the same word.
            let (who, key) = if by == two.user.to_string() {
                (two, &a)
            } else {
                (admin, &b)
            };
            sqlx::query("DELETE FROM command_answers WHERE user_id = $1")
                .bind(who.user.uuid())
                .execute(&world.pool)
                .await
                .unwrap();
            let again = say(world, who, id, "approve", key).await;
            assert_eq!(
                (again.status.as_u16(), again.header("idempotency-hit")),
                (200, "true")
            );
            assert_eq!(told(world, &purchase, "RefundOrdered").await.len(), 1);
        }
        let path = format!("/approvals/{id}/history");
        let history = eventually(|| async {
            let history = world.get(&path, &auditor.token).await.json();
            (history["events"].as_array().unwrap().len() == 2).then_some(history)
        })
        .await;
        assert_eq!(
            text(&history["events"][0], "type"),
            "gridway.approvals.ApprovalRequested"
        );
        assert_eq!(
            text(&history["events"][0]["facts"], "asked_by"),
            one.user.to_string()
        );
        assert_eq!(
            history["events"][1]["facts"]["by"], won["decided_by"],
            "{history}"
        );
    }
}

/// A dead letter of a purchase that nobody knows: what is at stake cannot be said.
async fn what_has_no_sum_waits(world: &World, [one, two, ..]: &[Somebody; 4]) {
    let body =
        json!({"action": "redrive", "target": "purchases/3/8", "reason": "its schema is there"});
    let asked = ask(world, one, "redrive", &body).await.json();
    assert_eq!(
        (text(&asked, "state"), &asked["amount_minor"]),
        ("waiting", &Value::Null)
    );
    let id = text(&asked, "id");
    let agreed = say(world, two, id, "approve", "redrive yes").await;
    assert_eq!(agreed.status, 200, "{}", agreed.text);
    let key = PurchaseId::derive(&["letter", "8"]).to_string();
    let released = once(world, &key, "DeadLetterReleased").await;
    // In the partition of the record, whatever its key says.
    assert_eq!(
        (
            &released["partition_of_record"],
            &released["offset"],
            text(&released, "action")
        ),
        (&json!(3), &json!(8), "REDRIVE")
    );
    eventually(|| async {
        let written: bool = sqlx::query_scalar(
            "SELECT appended FROM outbox WHERE key = $1 AND topic = 'purchases.dead-letters'",
        )
        .bind(&key)
        .fetch_one(&world.pool)
        .await
        .unwrap();
        written.then_some(())
    })
    .await;
    // Of a purchase that is known its charge is at stake.
    let small = PurchaseId::derive(&["letter", "10"]);
    assert_eq!(paid_as_letter(world, 10).await, small);
    let body = json!({"action": "discard", "target": "purchases/3/10", "reason": "no event"});
    let asked = ask(world, one, "discard", &body).await.json();
    assert_eq!(
        (text(&asked, "state"), &asked["amount_minor"]),
        ("granted", &json!(50))
    );
    let released = once(world, &small.to_string(), "DeadLetterReleased").await;
    assert_eq!(text(&released, "action"), "DISCARD");
}

async fn paid_as_letter(world: &World, offset: i64) -> PurchaseId {
    let purchase = PurchaseId::derive(&["letter", &offset.to_string()]);
    let name = format!("letter {offset}");
    let requested = PurchaseRequested {
        purchase_id: purchase,
        user_id: user("bert"),
        twin_id: TwinId(7),
        quote_id: QuoteId::derive(&[&name]),
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
    let key = purchase.to_string();
    world
        .append::<PurchaseEvent>(&key, &[&name, "requested"], &key, requested)
        .await;
    eventually(|| async {
        projections::purchases::get(&world.pool, purchase)
            .await
            .unwrap()
    })
    .await;
    purchase
}

async fn nothing_happens_without_agreement(world: &World, [one, two, ..]: &[Somebody; 4]) {
    let body = |offset: i64| json!({"action": "redrive", "target": format!("purchases/1/{offset}"), "reason": "try"});
    let rejected = ask(world, one, "to be rejected", &body(20)).await.json();
    let no = say(world, two, text(&rejected, "id"), "reject", "no").await;
    assert_eq!(
        (
            text(&no.json(), "state"),
            text(&no.json(), "decision_reason")
        ),
        ("rejected", "not like this")
    );
    // Whoever asked may take it back.
    let mine = ask(world, one, "to be taken back", &body(22)).await.json();
    let back = say(world, one, text(&mine, "id"), "reject", "back").await;
    assert_eq!(text(&back.json(), "state"), "rejected");
    // Too late is too late, also for who comes again.
    let old = ask(world, one, "to expire", &body(24)).await.json();
    let id = text(&old, "id").to_owned();
    sqlx::query("UPDATE approvals SET expires_at = now() - interval '1 second' WHERE id = $1")
        .bind(id.parse::<uuid::Uuid>().unwrap())
        .execute(&world.pool)
        .await
        .unwrap();
    for key in ["late 1", "late 2"] {
        say(world, two, &id, "approve", key)
            .await
            .is_problem(410, "approval-expired");
    }
    once(world, &id, "ApprovalExpired").await;
    for offset in [20, 22, 24] {
        let key = PurchaseId::derive(&["letter", &offset.to_string()]).to_string();
        assert!(told(world, &key, "DeadLetterReleased").await.is_empty());
    }
    // And it may be asked for again.
    let again = ask(world, one, "asked again", &body(24)).await;
    assert_eq!(again.status, 201, "{}", again.text);
}

async fn unmatched(world: &World, id: &str, coins: i64) {
    let (asset, minor) = ("USDC:GISSUER".to_owned(), coins * 10_000_000);
    let received = PaymentReceived {
        deposit_id: id.to_owned(),
        kind: "payment".to_owned(),
        from: "GSENDER".to_owned(),
        muxed_id: None,
        asset: asset.clone(),
        amount: minor,
        memo_type: "none".to_owned(),
        memo: None,
        transaction: "ab".to_owned(),
        ledger: 7,
        closed_at: now(),
    };
    world
        .append::<DepositEvent>(id, &["test", id, "received"], id, received)
        .await;
    let nobodys = DepositUnmatched {
        deposit_id: id.to_owned(),
        reason: "no_memo".to_owned(),
        detail: "it names nobody".to_owned(),
        from: "GSENDER".to_owned(),
        asset,
        amount: minor,
        transaction: "ab".to_owned(),
        balance_id: None,
    };
    world
        .append::<DepositEvent>(id, &["test", id, "unmatched"], id, nobodys)
        .await;
    eventually(|| async {
        let found = projections::deposits::get(&world.pool, id).await.unwrap();
        found.filter(api::approvals::waits)
    })
    .await;
}

async fn deposits_are_ordered(world: &World, [one, two, ..]: &[Somebody; 4]) {
    unmatched(world, "9001", 501).await;
    unmatched(world, "9002", 500).await;
    let body = json!({"action": "deposit_return", "target": "9001", "reason": "its sender asked"});
    let asked = ask(world, one, "return", &body).await.json();
    assert_eq!(
        (text(&asked, "state"), text(&asked, "asset")),
        ("waiting", "USDC")
    );
    let agreed = say(world, two, text(&asked, "id"), "approve", "return yes").await;
    assert_eq!(agreed.status, 200, "{}", agreed.text);
    once(world, "9001", "DepositReturnOrdered").await;
    let body =
        json!({"action": "deposit_assignment", "target": "9002", "twin_id": 7, "reason": "theirs"});
    let asked = ask(world, one, "assign", &body).await.json();
    assert_eq!(text(&asked, "state"), "granted");
    let assigned = once(world, "9002", "DepositAssigned").await;
    assert_eq!(assigned["twin_id"], 7);
}

async fn a_transfer_is_used_once(world: &World, [one, two, ..]: &[Somebody; 4]) {
    let body = json!({
        "action": "treasury_transfer", "target": "lanes", "amount": "600", "asset": "XLM", "reason": "lanes run dry",
    });
    let asked = ask(world, one, "transfer", &body).await.json();
    let id = text(&asked, "id");
    let xlm = |coins: i64| Sum {
        asset: "XLM".to_owned(),
        minor: coins * 10_000_000,
    };
    let take = |sum: Sum| async move {
        use_up(
            &world.pool,
            id.parse().unwrap(),
            ("lanes", &sum),
            "one",
            now(),
        )
        .await
    };
    assert!(matches!(take(xlm(1)).await, Err(NotUsable::Refused(_))));
    say(world, two, id, "approve", "transfer yes").await;
    assert!(matches!(take(xlm(601)).await, Err(NotUsable::Refused(_))));
    let both = tokio::join!(take(xlm(600)), take(xlm(600)));
    assert_eq!(
        usize::from(both.0.is_ok()) + usize::from(both.1.is_ok()),
        1,
        "{both:?}"
    );
    once(world, id, "ApprovalUsed").await;
}

async fn what_makes_no_sense_is_refused(world: &World, [one, _, admin, auditor]: &[Somebody; 4]) {
    let refund = PurchaseId::derive(&["nobody's"]).to_string();
    for (n, (body, status, slug)) in [
        (json!({"action": "redrive", "target": "purchases/1/21"}), 409, "nothing-to-approve"),
        (json!({"action": "redrive", "target": "purchases/1/1000"}), 409, "nothing-to-approve"),
        (json!({"action": "redrive", "target": "nobody/1/2"}), 409, "nothing-to-approve"),
        (json!({"action": "redrive", "target": "mute/1/2"}), 503, "log-unavailable"),
        (json!({"action": "redrive", "target": "purchases"}), 422, "invalid-field"),
        (json!({"action": "refund", "target": refund}), 422, "invalid-field"),
        (json!({"action": "purchase_refund", "target": refund}), 409, "nothing-to-approve"),
        (json!({"action": "purchase_refund", "target": "x"}), 422, "invalid-field"),
        (json!({"action": "deposit_return", "target": "1"}), 409, "nothing-to-approve"),
        (json!({"action": "deposit_return", "target": "9001", "twin_id": 7}), 422, "invalid-field"),
        (json!({"action": "deposit_assignment", "target": "9001"}), 422, "invalid-field"),
        (
            json!({"action": "treasury_transfer", "target": "me", "amount": "1", "asset": "XLM"}),
            422,
            "invalid-field",
        ),
        (
            json!({"action": "treasury_transfer", "target": "lanes", "amount": "-1", "asset": "XLM"}),
            422,
            "invalid-field",
        ),
        (json!({"action": "treasury_transfer", "target": "lanes"}), 422, "invalid-field"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = body;
        body["reason"] = json!("a test");
        ask(world, admin, &format!("nonsense {n}"), &body)
            .await
            .is_problem(status, slug);
    }
    let body = json!({"action": "redrive", "target": "purchases/1/30", "reason": "try"});
    ask(world, auditor, "not mine to ask", &body)
        .await
        .is_problem(403, "forbidden");
    let all = "/approvals?scope=all&limit=100";
    let all = world.get(all, &auditor.token).await.json();
    let listed = all["approvals"].as_array().unwrap().len();
    let own = world.get("/approvals?limit=100", &one.token).await.json();
    assert_eq!(own["approvals"].as_array().unwrap().len(), listed);
    let waiting = "/approvals?state=waiting&limit=100";
    let waiting = world.get(waiting, &one.token).await.json();
    assert_eq!(waiting["approvals"].as_array().unwrap().len(), 1);
    world
        .get("/approvals?state=new", &one.token)
        .await
        .is_problem(422, "invalid-field");
}
