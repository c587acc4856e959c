//! What each topic's events tell, to whom, with which figures.
#![expect(clippy::panic, reason = "tests fail by panicking")]

use events::applications::{
    NodeApplicationEvent, NodeApplicationRejected, NodeApplicationSubmitted, NodeOffer,
    WalletNetwork,
};
use events::deployments::{
    ContractBilled, DeploymentCancelled, DeploymentEvent, DeploymentFailed, GracePeriodStarted,
    UserBalanceAssessed,
};
use events::deposits::{DepositAlarmed, DepositEvent, DepositUnmatched};
use events::envelope::{Envelope, Record};
use events::ids::{
    ApplicationId, ContractId, DeploymentId, EventId, PurchaseId, QuoteId, TwinId, UserId,
};
use events::money::{Amount, Currency, Fiat};
use events::notifications::{NotificationEvent, OPERATORS};
use events::purchases::{
    CompensationSettled, Funding, HandoffSettled, PaymentQuarantined, PurchaseAlarmed,
    PurchaseEnded, PurchaseEvent, PurchaseOutcome, PurchaseRequested,
};
use events::schema::EventSet;
use events::time::Timestamp;
use events::treasury::{TreasuryBalanceLow, TreasuryEvent};
use events::users::{RoleGranted, RoleRevoked, TwinFailed, UserEvent};
use pipeline::Policy;
use processor_notifications::kinds::Kind;
use processor_notifications::notices::{
    ApplicationNotices, DeploymentNotices, DepositNotices, PurchaseNotices, TreasuryNotices,
    UserNotices,
};
use std::collections::BTreeMap;

const START: Timestamp = Timestamp(1_790_000_000_000);

fn user() -> UserId {
    UserId::derive(&["u"])
}

fn purchase() -> PurchaseId {
    PurchaseId::derive(&["p"])
}

/// Whom the last of these facts tells what: key, kind or event, figures.
type Told = Vec<(String, String, BTreeMap<String, String>)>;

fn told<P: Policy>(policy: &P, facts: Vec<P::Event>) -> Told {
    let mut state = P::State::default();
    let mut out = Vec::new();
    for (number, event) in facts.into_iter().enumerate() {
        let record = Record {
            partition: 0,
            offset: 0,
            envelope: Envelope {
                id: EventId::derive(&[event.name(), &number.to_string()]),
                source: "/test".into(),
                time: START,
                subject: String::new(),
                correlation: None,
                causation: None,
                traceparent: None,
            },
            event,
        };
        let decision = policy.decide(&state, &record);
        assert!(decision.own.is_empty());
        assert!(policy.timers(&state).is_empty());
        state = policy.evolve(state, &record);
        out = decision
            .forward
            .iter()
            .map(|forward| {
                let Some(event) = forward.event::<NotificationEvent>() else {
                    panic!("to another topic: {forward:?}")
                };
                let (kind, figures) = match event {
                    NotificationEvent::NoticeRaised(e) => {
                        assert_eq!(
                            (e.user_id.to_string(), e.happened_at),
                            (forward.key().to_owned(), START)
                        );
                        assert_eq!(e.source_event_id, record.id());
                        (e.kind.clone(), e.figures.clone())
                    }
                    NotificationEvent::OperatorsNoticeRaised(e) => {
                        assert_eq!(forward.key(), OPERATORS);
                        (e.kind.clone(), e.figures.clone())
                    }
                    other => {
                        return (
                            forward.key().to_owned(),
                            other.name().to_owned(),
                            BTreeMap::new(),
                        );
                    }
                };
                let figures: BTreeMap<String, String> =
                    figures.into_iter().map(|f| (f.name, f.value)).collect();
                // Exactly the figures that the template names.
                let Some(known) = Kind::of(&kind) else {
                    panic!("{kind} is no kind")
                };
                let named: Vec<&str> = figures.keys().map(String::as_str).collect();
                let mut wanted = known.figures.to_vec();
                wanted.sort_unstable();
                assert_eq!(named, wanted, "{kind}");
                (forward.key().to_owned(), kind, figures)
            })
            .collect();
    }
    out
}

fn kinds(told: &Told) -> Vec<(&str, &str)> {
    told.iter()
        .map(|(key, kind, _)| (key.as_str(), kind.as_str()))
        .collect()
}

fn requested() -> PurchaseEvent {
    PurchaseRequested {
        purchase_id: purchase(),
        user_id: user(),
        twin_id: TwinId(7),
        quote_id: QuoteId::derive(&["q"]),
        tft: Amount::from_whole(250),
        swap_tft: Amount::from_whole(251),
        usdc_quoted: Amount::from_whole(5),
        usdc_cap: Amount::from_whole(5),
        path: Vec::new(),
        charge: eur(530),
        quote_expires_at: START,
        requested_at: START,
        funding: Funding::Card,
        usdc_due: None,
        pay_until: None,
        give_up_after_ms: None,
    }
    .into()
}

fn eur(minor: i64) -> Fiat {
    Fiat {
        minor,
        currency: Currency::Eur,
    }
}

fn ended(outcome: PurchaseOutcome) -> PurchaseEvent {
    PurchaseEnded {
        purchase_id: purchase(),
        user_id: user(),
        outcome,
        detail: "why".to_owned(),
    }
    .into()
}

fn alarmed(alarm: &str) -> PurchaseEvent {
    PurchaseAlarmed {
        purchase_id: purchase(),
        alarm: alarm.to_owned(),
        detail: "look".to_owned(),
    }
    .into()
}

fn refunded() -> PurchaseEvent {
    CompensationSettled {
        purchase_id: purchase(),
        request_id: EventId::derive(&["r"]),
        intent_id: "pi_1".to_owned(),
        refund_id: "re_1".to_owned(),
        status: "succeeded".to_owned(),
        amount: eur(500),
    }
    .into()
}

#[test]
fn a_purchase_tells_its_buyer_how_it_ends() {
    let owner = user().to_string();
    let mint = HandoffSettled {
        purchase_id: purchase(),
        request_id: EventId::derive(&["h"]),
        transaction: "ab".to_owned(),
        block: 7,
        event_index: 1,
        account: "5F".to_owned(),
        amount: Amount::from_whole(249),
    };
    for (facts, expected, figure, value) in [
        (vec![requested()], None, "", ""),
        (
            vec![requested(), mint.into(), ended(PurchaseOutcome::Settled)],
            Some("purchase_settled"),
            "arrived",
            "249.0000000 TFT",
        ),
        (
            vec![requested(), refunded(), ended(PurchaseOutcome::Refunded)],
            Some("purchase_refunded"),
            "refunded",
            "5.00 EUR",
        ),
        (
            vec![requested(), ended(PurchaseOutcome::NotPaid)],
            Some("purchase_not_paid"),
            "charge",
            "5.30 EUR",
        ),
        (
            vec![requested(), ended(PurchaseOutcome::Lost)],
            Some("purchase_lost"),
            "tft",
            "250.0000000 TFT",
        ),
        // A refund before the end is told with it, one after it by itself.
        (vec![requested(), refunded()], None, "", ""),
        (
            vec![requested(), ended(PurchaseOutcome::NotPaid), refunded()],
            Some("payment_refunded"),
            "refunded",
            "5.00 EUR",
        ),
        // One whose beginning is not known tells nobody.
        (vec![ended(PurchaseOutcome::Settled)], None, "", ""),
    ] {
        let told = told(&PurchaseNotices, facts);
        match expected {
            None => assert!(told.is_empty(), "{told:?}"),
            Some(kind) => {
                assert_eq!(kinds(&told), [(owner.as_str(), kind)]);
                assert_eq!(told[0].2[figure], value);
            }
        }
    }
    let quarantined = PaymentQuarantined {
        purchase_id: purchase(),
        intent_id: "pi_1".to_owned(),
        reason: "amount_mismatch".to_owned(),
        expected: eur(530),
        received_minor: 1,
        received_currency: "usd".to_owned(),
    };
    let told = told(&PurchaseNotices, vec![requested(), quarantined.into()]);
    assert_eq!(kinds(&told), [(owner.as_str(), "payment_quarantined")]);
}

#[test]
fn alarms_go_to_operators_and_some_to_the_buyer() {
    let owner = user().to_string();
    let end = || ended(PurchaseOutcome::NotPaid);
    for (facts, expected) in [
        (vec![requested(), alarmed("treasury_dry")], None),
        (
            vec![requested(), alarmed("disputed")],
            Some("purchase_disputed"),
        ),
        (
            vec![requested(), end(), alarmed("paid_again")],
            Some("purchase_paid_late"),
        ),
        (vec![requested(), alarmed("paid_again")], None),
    ] {
        let told = told(&PurchaseNotices, facts);
        let mut wanted = vec![(OPERATORS, "purchase_alarmed")];
        wanted.extend(expected.map(|kind| (owner.as_str(), kind)));
        assert_eq!(kinds(&told), wanted);
    }
}

#[test]
fn a_low_balance_is_told_once_until_it_was_enough_again() {
    let assessed = |coins, low| -> DeploymentEvent {
        UserBalanceAssessed {
            user_id: user(),
            balance: Amount::from_whole(coins),
            spent_per_day: Amount::from_whole(24),
            lasts_seconds: Some(i64::from(coins) * 3_600),
            threshold_seconds: 48 * 3_600,
            low,
            observed_at: START,
        }
        .into()
    };
    let facts = [
        assessed(50, false),
        assessed(47, true),
        assessed(46, true),
        assessed(90, false),
        assessed(1, true),
    ];
    let after = |count: usize| told(&DeploymentNotices, facts[..count].to_vec());
    assert!(after(1).is_empty());
    let told_of = after(2);
    let (_, kind, figures) = &told_of[0];
    assert_eq!(
        (kind.as_str(), figures["lasts"].as_str()),
        ("balance_low", "47 hours")
    );
    assert_eq!(figures["balance"], "47.0000000 TFT");
    assert_eq!(figures["spent_per_day"], "24.0000000 TFT");
    assert_eq!(figures["threshold"], "48 hours");
    assert!(after(3).is_empty() && after(4).is_empty());
    assert_eq!(after(5)[0].2["lasts"], "1 hour");
}

#[test]
fn a_grace_period_names_what_was_billed_before_it() {
    let deployment_id = DeploymentId::derive(&["d"]);
    let contract_id = ContractId(42);
    let billed = |coins, block| -> DeploymentEvent {
        ContractBilled {
            deployment_id,
            user_id: user(),
            contract_id,
            amount: Amount::from_whole(coins),
            block,
            event_index: 0,
            billed_at: None,
        }
        .into()
    };
    let started = GracePeriodStarted {
        deployment_id,
        user_id: user(),
        contract_id,
        block: 99,
        event_index: 3,
    };
    let told_of = told(
        &DeploymentNotices,
        vec![billed(2, 1), billed(3, 2), started.into()],
    );
    let (_, kind, figures) = &told_of[0];
    assert_eq!(kind, "grace_period_started");
    assert_eq!(figures["contract_id"], "42");
    assert_eq!(figures["last_billed"], "3.0000000 TFT");
    assert_eq!(figures["billed"], "5.0000000 TFT");
    for (reason, kind) in [
        ("by_user", "deployment_cancelled"),
        ("by_chain", "deployment_cancelled_by_chain"),
    ] {
        let cancelled = DeploymentCancelled {
            deployment_id,
            user_id: user(),
            contract_id: Some(contract_id),
            reason: reason.to_owned(),
            detail: "so it is".to_owned(),
        };
        let told = told(&DeploymentNotices, vec![cancelled.into()]);
        assert_eq!(told[0].1, kind);
    }
    let failed = DeploymentFailed {
        deployment_id,
        user_id: user(),
        reason: "in_use".to_owned(),
        detail: "the name is taken".to_owned(),
    };
    let told = told(&DeploymentNotices, vec![failed.into()]);
    assert_eq!(
        (told[0].1.as_str(), told[0].2["reason"].as_str()),
        ("deployment_failed", "in_use")
    );
}

#[test]
fn a_twin_that_keeps_failing_is_told_once() {
    let failed = |attempt| -> UserEvent {
        TwinFailed {
            user_id: user(),
            request_id: EventId::derive(&["r"]),
            attempt,
            code: "never_will".to_owned(),
            detail: "the chain is far".to_owned(),
        }
        .into()
    };
    for (attempt, expected) in [(1, 0), (2, 0), (3, 1), (4, 0)] {
        assert_eq!(told(&UserNotices, vec![failed(attempt)]).len(), expected);
    }
}

#[test]
fn operators_are_those_with_an_operating_role() {
    let granted = |role: &str| -> UserEvent {
        RoleGranted {
            user_id: user(),
            role: role.to_owned(),
            by: "x".to_owned(),
            granted_at: START,
        }
        .into()
    };
    let revoked = |role: &str| -> UserEvent {
        RoleRevoked {
            user_id: user(),
            role: role.to_owned(),
            by: "x".to_owned(),
            revoked_at: START,
        }
        .into()
    };
    let (operator, admin) = ("dashboard_operator", "admin");
    for (facts, expected) in [
        (vec![granted("user")], None),
        (vec![granted("auditor")], None),
        (vec![granted(operator)], Some("OperatorAdded")),
        (vec![granted(admin)], Some("OperatorAdded")),
        (vec![granted(operator), granted(admin)], None),
        (
            vec![granted(operator), granted(admin), revoked(admin)],
            None,
        ),
        (
            vec![granted(operator), revoked(operator)],
            Some("OperatorRemoved"),
        ),
        (vec![granted(operator), revoked("user")], None),
        (vec![revoked(operator)], None),
    ] {
        let told = told(&UserNotices, facts.clone());
        let expected: Vec<(&str, &str)> = expected.map(|e| (OPERATORS, e)).into_iter().collect();
        assert_eq!(kinds(&told), expected, "{facts:?}");
    }
}

#[test]
fn a_decision_on_an_offer_is_told_with_its_farm_and_reason() {
    let (application_id, applicant, by) = (
        ApplicationId::derive(&["offer"]),
        UserId::derive(&["applicant"]),
        UserId::derive(&["operator"]),
    );
    let submitted = NodeApplicationSubmitted {
        application_id,
        applicant_id: applicant,
        revision: 1,
        offer: NodeOffer {
            farm_name: "hilltop".to_owned(),
            country: "CH".to_owned(),
            city: "Zug".to_owned(),
            wallet_network: WalletNetwork::Stellar,
            wallet: "GA".to_owned(),
            cpu_cores: 16,
            memory_gib: 64,
            ssd_gib: 1_000,
            hdd_gib: 0,
            uplink_mbps: 1_000,
            public_ipv4_count: 0,
        },
        submitted_at: START,
    };
    let rejected = NodeApplicationRejected {
        application_id,
        applicant_id: applicant,
        revision: 1,
        by,
        reason: "the uplink is shared".to_owned(),
        rejected_at: START,
    };
    let log = vec![
        NodeApplicationEvent::from(submitted),
        NodeApplicationEvent::from(rejected),
    ];
    let first = told::<ApplicationNotices>(&ApplicationNotices, log[..1].to_vec());
    let (key, kind, figures) = &first[0];
    assert_eq!(
        (key.as_str(), kind.as_str()),
        (OPERATORS, "node_application_waits")
    );
    assert_eq!(figures["country"], "CH");
    let last = told::<ApplicationNotices>(&ApplicationNotices, log);
    let (key, kind, figures) = &last[0];
    assert_eq!(key, &applicant.to_string());
    assert_eq!(kind, "node_application_rejected");
    assert_eq!(figures["farm"], "hilltop");
    assert_eq!(figures["reason"], "the uplink is shared");
}

#[test]
fn a_low_balance_is_told_with_balance_threshold_and_account() {
    let low = TreasuryBalanceLow {
        holding: "treasury/USDC".to_owned(),
        account: "GA".to_owned(),
        asset: "USDC:GB".to_owned(),
        balance: 125_000_000,
        threshold: 10_000_000_000,
        crossing: 1,
        observed_at: START,
    };
    let told = told::<TreasuryNotices>(&TreasuryNotices, vec![TreasuryEvent::from(low)]);
    let (key, kind, figures) = &told[0];
    assert_eq!((key.as_str(), kind.as_str()), (OPERATORS, "treasury_low"));
    assert_eq!(figures["balance"], "12.5000000");
    assert_eq!(figures["threshold"], "1000.0000000");
    assert_eq!(figures["account"], "GA");
}

#[test]
fn what_came_and_is_nobodys_is_told_unless_it_is_no_usdc() {
    let unmatched = |reason: &str| {
        DepositEvent::from(DepositUnmatched {
            deposit_id: "17".to_owned(),
            reason: reason.to_owned(),
            detail: "it has no memo".to_owned(),
            from: "GB".to_owned(),
            asset: "USDC:GC".to_owned(),
            amount: 70_000_000,
            transaction: "aa".to_owned(),
            balance_id: None,
        })
    };
    for reason in ["no_memo", "bad_memo", "unknown_twin", "unreadable"] {
        let told = told::<DepositNotices>(&DepositNotices, vec![unmatched(reason)]);
        let (key, kind, figures) = &told[0];
        assert_eq!(
            (key.as_str(), kind.as_str()),
            (OPERATORS, "deposit_unmatched")
        );
        assert_eq!(figures["amount"], "7.0000000");
        assert_eq!(figures["reason"], reason);
    }
    for reason in ["wrong_asset", "wrong_issuer"] {
        assert!(told::<DepositNotices>(&DepositNotices, vec![unmatched(reason)]).is_empty());
    }
    let DepositEvent::DepositUnmatched(mut dust) = unmatched("no_memo") else {
        panic!("another event")
    };
    dust.amount = 9_999_999;
    assert!(told::<DepositNotices>(&DepositNotices, vec![dust.into()]).is_empty());
    let alarmed = DepositEvent::from(DepositAlarmed {
        deposit_id: "17".to_owned(),
        alarm: "return_failed".to_owned(),
        detail: "op_no_trust".to_owned(),
    });
    let told = told::<DepositNotices>(&DepositNotices, vec![alarmed]);
    assert_eq!(
        (told[0].0.as_str(), told[0].1.as_str()),
        (OPERATORS, "deposit_alarmed")
    );
}
