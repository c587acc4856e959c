//! The purchase table of `ARCHITECTURE.md`.

use super::support::{
    compensated, compensation_failed, funded, given, handoff_failed, intent_created, intent_failed,
    names, ours, paid, refund_ordered, requested, requested_by_usdc, returned, sent, settled,
    stages, stripe_event, swap_completed, swap_failed, swap_for, timer, told, unfunded, usdc_back,
    usdc_held, when,
};
use events::purchases::{PurchaseEvent, SwapFailure};

pub struct Fact {
    name: &'static str,
    from: &'static str,
    pub event: PurchaseEvent,
    /// Further facts that must come before for this one to make sense.
    after: Vec<PurchaseEvent>,
}

pub fn facts() -> Vec<Fact> {
    let fact = |name, from, event| Fact {
        name,
        from,
        event,
        after: vec![],
    };
    let dispute = || {
        stripe_event(
            "charge.dispute.created",
            "pi_1",
            523,
            "usd",
            false,
            "needs_response",
        )
    };
    let dry = || swap_failed(1, SwapFailure::TreasuryDry, None);
    let failures: Vec<PurchaseEvent> = (1..=2).map(handoff_failed).collect();
    vec![
        fact("PurchaseRequested", "API", requested()),
        fact("PurchaseRequested, by USDC", "API", requested_by_usdc()),
        fact("PurchaseFunded", "deposits", funded()),
        fact("PurchaseUnfunded", "deposits", unfunded()),
        fact("PaymentIntentCreated", "payments", intent_created()),
        fact("PaymentIntentFailed", "payments", intent_failed(1)),
        Fact {
            name: "PaymentIntentFailed, the third",
            from: "payments",
            event: intent_failed(3),
            after: vec![intent_failed(1), intent_failed(2)],
        },
        fact("StripeEventReceived: succeeded", "webhook", paid()),
        fact(
            "StripeEventReceived: succeeded, of another intent",
            "webhook",
            stripe_event(
                "payment_intent.succeeded",
                "pi_2",
                523,
                "usd",
                false,
                "succeeded",
            ),
        ),
        fact(
            "StripeEventReceived: succeeded, with another amount",
            "webhook",
            stripe_event(
                "payment_intent.succeeded",
                "pi_3",
                522,
                "usd",
                false,
                "succeeded",
            ),
        ),
        fact(
            "StripeEventReceived: canceled",
            "webhook",
            stripe_event(
                "payment_intent.canceled",
                "pi_1",
                0,
                "usd",
                false,
                "canceled",
            ),
        ),
        fact(
            "StripeEventReceived: refunded by somebody else",
            "webhook",
            stripe_event("charge.refunded", "pi_1", 523, "usd", false, "succeeded"),
        ),
        fact(
            "StripeEventReceived: processing",
            "webhook",
            told("payment_intent.processing", "pi_1", 0, "processing"),
        ),
        Fact {
            name: "StripeEventReceived: failed after processing",
            from: "webhook",
            event: told("payment_intent.payment_failed", "pi_1", 0, "failed"),
            after: vec![told("payment_intent.processing", "pi_1", 0, "processing")],
        },
        fact(
            "StripeEventReceived: part refunded by somebody else",
            "webhook",
            told("refund.created", "re_1", 200, "succeeded"),
        ),
        Fact {
            name: "StripeEventReceived: our refund failed later",
            from: "webhook",
            event: ours(told("refund.failed", "re_1", 523, "failed")),
            after: vec![],
        },
        fact("StripeEventReceived: dispute opened", "webhook", dispute()),
        Fact {
            name: "StripeEventReceived: dispute won",
            from: "webhook",
            event: stripe_event("charge.dispute.closed", "pi_1", 523, "usd", false, "won"),
            after: vec![dispute()],
        },
        Fact {
            name: "StripeEventReceived: dispute lost",
            from: "webhook",
            event: stripe_event("charge.dispute.closed", "pi_1", 523, "usd", false, "lost"),
            after: vec![dispute()],
        },
        fact("SwapCompleted", "swaps", swap_completed()),
        fact(
            "SwapCompleted, for more than was set aside",
            "swaps",
            swap_for(8),
        ),
        fact(
            "SwapFailed, affordable now",
            "swaps",
            swap_failed(1, SwapFailure::TooExpensive, Some(6)),
        ),
        fact(
            "SwapFailed, above the cap",
            "swaps",
            swap_failed(1, SwapFailure::TooExpensive, Some(7)),
        ),
        fact("SwapFailed, treasury dry", "swaps", dry()),
        fact("TftSentToBridge", "handoffs", sent()),
        fact("HandoffFailed", "handoffs", handoff_failed(1)),
        Fact {
            name: "HandoffFailed, the sixth",
            from: "handoffs",
            event: handoff_failed(6),
            after: failures
                .into_iter()
                .chain([
                    handoff_failed(3),
                    timer("retry_handoff"),
                    handoff_failed(4),
                    timer("retry_handoff"),
                    handoff_failed(5),
                    timer("retry_handoff"),
                ])
                .collect(),
        },
        fact("HandoffSettled", "tfchain-watcher", settled()),
        fact("HandoffReturned", "tfchain-watcher", returned()),
        Fact {
            name: "HandoffReturned, the third",
            from: "tfchain-watcher",
            event: returned(),
            after: vec![returned(), returned()],
        },
        fact("RefundOrdered", "approvals", refund_ordered()),
        fact("CompensationSettled", "payments", compensated("pi_1")),
        fact("CompensationFailed", "payments", compensation_failed(1)),
        Fact {
            name: "UsdcCompensationFailed",
            from: "deposits",
            event: usdc_held("12", 2),
            after: vec![],
        },
        Fact {
            name: "UsdcCompensationSettled, the last",
            from: "deposits",
            event: usdc_back("12", 2),
            after: vec![usdc_back("11", 4)],
        },
        fact("TimerFired: expire", "timer", timer("expire")),
        fact(
            "TimerFired: funding_overdue",
            "timer",
            timer("funding_overdue"),
        ),
        Fact {
            name: "TimerFired: retry_swap",
            from: "timer",
            event: timer("retry_swap"),
            after: vec![dry()],
        },
        Fact {
            name: "TimerFired: retry_handoff",
            from: "timer",
            event: timer("retry_handoff"),
            after: vec![handoff_failed(1), handoff_failed(2), handoff_failed(3)],
        },
        fact("TimerFired: mint_overdue", "timer", timer("mint_overdue")),
        Fact {
            name: "TimerFired: retry_refund",
            from: "timer",
            event: timer("retry_refund:pi_1"),
            after: vec![compensation_failed(1)],
        },
    ]
}

/// The purchase table: every pair of fact and state in which something follows. A pair that is
/// not in it changes nothing.
fn table() -> String {
    let mut rows: Vec<(&str, &str, Vec<String>, String)> = Vec::new();
    for fact in facts() {
        for way in stages() {
            let mut history = way.clone();
            let base = given(&history);
            history.extend(fact.after.iter().cloned());
            let before = given(&history);
            if before.stage.name() != base.stage.name() {
                continue;
            }
            let (after, out) = when(before.clone(), fact.event.clone());
            if after == before && out.own.is_empty() && out.forward.is_empty() {
                continue;
            }
            let state = if before.stage.name() == after.stage.name() {
                let how = match (before.held(), after.held()) {
                    _ if after.stopped => ", stopped",
                    (false, true) => ", held",
                    (true, false) => ", released",
                    _ => "",
                };
                format!("{}{how}", after.stage.name())
            } else {
                let how = if after.stopped { ", stopped" } else { "" };
                format!("{} → {}{how}", before.stage.name(), after.stage.name())
            };
            let out = names(&out);
            let out = if out.is_empty() {
                "–".to_owned()
            } else {
                out.join(", ")
            };
            match rows.iter_mut().find(|r| r.0 == fact.name && r.3 == out) {
                Some(row) if row.2.contains(&state) => {}
                Some(row) => row.2.push(state),
                None => rows.push((fact.name, fact.from, vec![state], out)),
            }
        }
    }
    let mut lines = vec![
        "| fact | from | state before → after | appended |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    lines.extend(rows.iter().map(|(fact, from, states, out)| {
        format!("| {fact} | {from} | {} | {out} |", states.join("; "))
    }));
    lines.join("\n")
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "only says whether to write the table anew"
)]
fn the_purchase_table_of_the_documentation_is_the_code() {
    let path = "../../ARCHITECTURE.md";
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = (
        "<!-- purchase table -->\n",
        "\n<!-- end of the purchase table -->",
    );
    let start = text.find(begin).unwrap() + begin.len();
    let stop = text.find(end).unwrap();
    let table = table();
    if std::env::var("UPDATE_TABLE").is_ok() {
        let updated = format!("{}{table}{}", &text[..start], &text[stop..]);
        std::fs::write(path, updated).unwrap();
        return;
    }
    assert!(
        text[start..stop] == table,
        "run this test with UPDATE_TABLE=1 and review the change:\n{table}"
    );
}
