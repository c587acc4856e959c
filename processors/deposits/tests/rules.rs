//! Given / when / then over the policy of deposits and credit.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use events::deposits::{
    AccountOpened, CreditBooked, CreditReason, CreditRefused, DepositAssigned, DepositEvent,
    DepositReturnFailed, DepositReturnOrdered, DepositReturned, FundsWanted, PartReturnWanted,
    PaymentReceived, PaymentUnreadable, TimerFired,
};
use events::envelope::{Envelope, Record};
use events::ids::{EventId, PurchaseId, TwinId, UserId};
use events::money::{Amount, Portion, Usdc};
use events::purchases::PurchaseEvent;
use events::schema::EventSet;
use events::time::Timestamp;
use events::unmatched::UnmatchedEvent;
use pipeline::Decision;
use processor_deposits::decide::transition;
use processor_deposits::state::{Credit, Deposit, Next, Standing};
use processor_deposits::{Aggregate, Rules};
use std::time::Duration;

const START: Timestamp = Timestamp(1_790_000_000_000);
const USDC: &str = "USDC:GISSUER";

fn rules() -> Rules {
    let mut rules = Rules::new(USDC);
    rules.own.insert("GBRIDGE".to_owned());
    rules
}

fn record(time: Timestamp, event: impl Into<DepositEvent>) -> Record<DepositEvent> {
    let event = event.into();
    let envelope = Envelope {
        id: EventId::derive(&[event.name(), &time.to_string()]),
        source: "/test".into(),
        time,
        subject: "key".into(),
        correlation: None,
        causation: None,
        traceparent: None,
    };
    Record {
        partition: 0,
        offset: 0,
        envelope,
        event,
    }
}

fn when(state: Aggregate, fact: impl Into<DepositEvent>) -> (Aggregate, Decision<DepositEvent>) {
    transition(&rules(), state, &record(START, fact))
}

fn given(facts: impl IntoIterator<Item = DepositEvent>) -> Aggregate {
    facts
        .into_iter()
        .fold(Aggregate::New, |state, fact| when(state, fact).0)
}

/// Names of what is appended, with where it goes.
fn names(out: &Decision<DepositEvent>) -> Vec<String> {
    let own = out.own.iter().map(|p| p.event.name().to_owned());
    let forward = out.forward.iter().map(|f| {
        let name = None
            .or_else(|| f.event::<DepositEvent>().map(EventSet::name))
            .or_else(|| f.event::<PurchaseEvent>().map(EventSet::name))
            .or_else(|| f.event::<UnmatchedEvent>().map(EventSet::name))
            .unwrap();
        format!("{name} to {}", f.key())
    });
    own.chain(forward).collect()
}

fn payment() -> PaymentReceived {
    PaymentReceived {
        deposit_id: "42".into(),
        kind: "payment".into(),
        from: "GSENDER".into(),
        muxed_id: None,
        asset: USDC.into(),
        amount: 50_000_000,
        memo_type: "id".into(),
        memo: Some("7".into()),
        transaction: "aa".repeat(32),
        ledger: 60,
        closed_at: START,
    }
}

fn deposit(state: &Aggregate) -> &Deposit {
    let Aggregate::Deposit(deposit) = state else {
        panic!("no deposit: {state:?}")
    };
    deposit
}

fn credit(state: &Aggregate) -> &Credit {
    let Aggregate::Credit(credit) = state else {
        panic!("no credit: {state:?}")
    };
    credit
}

fn purchase(name: &str) -> PurchaseId {
    PurchaseId::derive(&[name])
}

fn user() -> UserId {
    UserId::derive(&["anna"])
}

fn coins(whole: u32) -> Amount<Usdc> {
    Amount::from_whole(whole)
}

fn opened() -> DepositEvent {
    AccountOpened {
        twin_id: TwinId(7),
        user_id: user(),
    }
    .into()
}

fn booked(deposit: &str, whole: u32) -> DepositEvent {
    CreditBooked {
        twin_id: TwinId(7),
        deposit_id: Some(deposit.into()),
        purchase_id: None,
        amount: coins(whole),
        reason: CreditReason::Deposit,
    }
    .into()
}

fn wanted(name: &str, whole: u32) -> DepositEvent {
    FundsWanted {
        purchase_id: purchase(name),
        user_id: user(),
        twin_id: TwinId(7),
        amount: coins(whole),
        until: START.after(Duration::from_secs(3600)),
    }
    .into()
}

fn expire(name: &str) -> DepositEvent {
    TimerFired {
        key: "twin-7".into(),
        timer: format!("expire:{}", purchase(name)),
        due: START,
    }
    .into()
}

/// Amounts by the deposit that they came with.
type Parts = Vec<(Option<String>, Amount<Usdc>)>;

/// Purchases that are paid, with what pays for them.
fn funded(out: &Decision<DepositEvent>) -> Vec<(PurchaseId, Parts)> {
    out.forward
        .iter()
        .filter_map(|f| match f.event::<PurchaseEvent>() {
            Some(PurchaseEvent::PurchaseFunded(e)) => {
                let sum = e
                    .portions
                    .iter()
                    .try_fold(Amount::ZERO, |sum, p| sum.checked_add(p.amount));
                assert_eq!(sum.unwrap(), e.amount);
                let portions = e.portions.iter().cloned();
                let parts = portions.map(|Portion { deposit_id, amount }| (deposit_id, amount));
                Some((e.purchase_id, parts.collect()))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn usdc_that_names_a_twin_is_offered_to_its_credit() {
    let by_address = PaymentReceived {
        memo_type: "none".into(),
        memo: None,
        muxed_id: Some("7".into()),
        ..payment()
    };
    let both = PaymentReceived {
        muxed_id: Some("7".into()),
        ..payment()
    };
    let text = PaymentReceived {
        memo_type: "text".into(),
        memo: Some("thanks".into()),
        ..by_address.clone()
    };
    for fact in [payment(), by_address, both, text] {
        let (state, out) = when(Aggregate::New, fact);
        assert_eq!(names(&out), ["UsdcDeposited", "CreditBooked to twin-7"]);
        assert_eq!(deposit(&state).standing, Standing::Credited(TwinId(7)));
    }
}

#[test]
fn whatever_else_comes_waits_for_an_operator() {
    type Change = fn(&mut PaymentReceived);
    let cases: [(&str, Change); 11] = [
        ("wrong_asset", |p| p.asset = "native".into()),
        ("wrong_asset", |p| p.asset = "EURC:GISSUER".into()),
        ("wrong_issuer", |p| p.asset = "USDC:GOTHER".into()),
        ("no_memo", |p| (p.memo_type, p.memo) = ("none".into(), None)),
        ("bad_memo", |p| p.memo_type = "text".into()),
        ("bad_memo", |p| p.memo_type = "hash".into()),
        ("bad_memo", |p| p.memo = Some("0".into())),
        ("bad_memo", |p| p.memo = Some("4294967296".into())),
        ("bad_memo", |p| p.muxed_id = Some("8".into())),
        ("bad_memo", |p| {
            p.muxed_id = Some("18446744073709551615".into());
        }),
        ("unreadable", |p| p.amount = 0),
    ];
    for (reason, change) in cases {
        let mut fact = payment();
        change(&mut fact);
        let (state, out) = when(Aggregate::New, fact);
        assert_eq!(names(&out), ["DepositUnmatched", "DepositUnmatched to 42"]);
        let DepositEvent::DepositUnmatched(told) = &out.own[0].event else {
            panic!("{out:?}")
        };
        assert_eq!(told.reason, reason);
        assert_eq!(deposit(&state).standing, Standing::Unmatched);
    }
}

#[test]
fn what_fills_the_treasury_or_comes_from_the_bridge_is_no_deposit() {
    let fact = PaymentReceived {
        from: "GBRIDGE".into(),
        ..payment()
    };
    let (state, out) = when(Aggregate::New, fact);
    assert!(names(&out).is_empty());
    assert_eq!(deposit(&state).standing, Standing::Own);
}

#[test]
fn what_cannot_be_read_is_kept_and_can_be_neither_assigned_nor_returned() {
    let fact = PaymentUnreadable {
        deposit_id: "42".into(),
        problem: "type x is unknown".into(),
        raw: "{}".into(),
    };
    let (state, out) = when(Aggregate::New, fact);
    assert_eq!(names(&out), ["DepositUnmatched", "DepositUnmatched to 42"]);
    for order in [assigned(7), return_ordered()] {
        let (same, out) = when(state.clone(), order);
        assert_eq!(
            (&same, names(&out)),
            (&state, vec!["DepositAlarmed".to_owned()])
        );
    }
}

fn assigned(twin: u32) -> DepositEvent {
    DepositAssigned {
        deposit_id: "42".into(),
        twin_id: TwinId(twin),
        reason: "asked by mail".into(),
        by: "op".into(),
        assigned_at: START,
    }
    .into()
}

fn return_ordered() -> DepositEvent {
    DepositReturnOrdered {
        deposit_id: "42".into(),
        reason: "nobody's".into(),
        by: "op".into(),
        ordered_at: START,
    }
    .into()
}

fn part_wanted(name: &str, whole: u32) -> DepositEvent {
    PartReturnWanted {
        deposit_id: "42".into(),
        purchase_id: purchase(name),
        amount: coins(whole),
        reason: "no swap".into(),
    }
    .into()
}

fn returned(of: Option<PurchaseId>, attempt: i32) -> DepositEvent {
    DepositReturned {
        deposit_id: "42".into(),
        purchase_id: of,
        request_id: EventId::derive(&["r"]),
        attempt,
        transaction: "bb".into(),
        ledger: 61,
        lane: "GLANE".into(),
        sequence: 1,
        amount: 50_000_000,
        fee_stroops: 100,
    }
    .into()
}

fn return_failed(of: Option<PurchaseId>, attempt: i32) -> DepositEvent {
    DepositReturnFailed {
        deposit_id: "42".into(),
        purchase_id: of,
        request_id: EventId::derive(&["r"]),
        attempt,
        code: "op_no_trust".into(),
        detail: "d".into(),
        transaction: None,
    }
    .into()
}

fn no_memo() -> DepositEvent {
    PaymentReceived {
        memo_type: "none".into(),
        memo: None,
        ..payment()
    }
    .into()
}

#[test]
fn an_unmatched_deposit_is_assigned_once() {
    let (state, out) = when(given([no_memo()]), assigned(7));
    assert_eq!(names(&out), ["UsdcDeposited", "CreditBooked to twin-7"]);
    for order in [assigned(8), return_ordered()] {
        let (same, out) = when(state.clone(), order);
        assert_eq!(
            (&same, names(&out)),
            (&state, vec!["DepositAlarmed".to_owned()])
        );
    }
    // Only our USDC can be anybody's credit.
    let wrong = PaymentReceived {
        asset: "USDC:GOTHER".into(),
        ..payment()
    };
    let (state, out) = when(given([wrong.into()]), assigned(7));
    assert_eq!(names(&out), ["DepositAlarmed"]);
    assert_eq!(deposit(&state).standing, Standing::Unmatched);
}

#[test]
fn a_twin_that_nobody_knows_leaves_the_deposit_to_an_operator() {
    let (state, out) = when(Aggregate::New, booked("42", 5));
    assert_eq!(names(&out), ["CreditRefused", "CreditRefused to 42"]);
    assert!(credit(&state).lots.is_empty());
    let refused = CreditRefused {
        twin_id: TwinId(7),
        deposit_id: "42".into(),
        amount: coins(5),
    };
    let (state, out) = when(given([payment().into()]), refused);
    assert_eq!(names(&out), ["DepositUnmatched", "DepositUnmatched to 42"]);
    assert_eq!(deposit(&state).standing, Standing::Unmatched);
}

#[test]
fn an_unmatched_deposit_goes_back_whole_and_once() {
    let (state, out) = when(given([no_memo()]), return_ordered());
    assert_eq!(names(&out), ["DepositReturnRequested"]);
    let DepositEvent::DepositReturnRequested(request) = &out.own[0].event else {
        panic!("{out:?}")
    };
    assert_eq!(
        (request.destination.as_str(), request.amount),
        ("GSENDER", 50_000_000)
    );
    assert_eq!(request.deposit_transaction, "aa".repeat(32));
    assert_eq!(request.purchase_id, None);
    // Ordered again while it is under way, or assigned: nothing more is paid.
    for order in [return_ordered(), assigned(7)] {
        let (same, out) = when(state.clone(), order);
        assert_eq!(
            (&same, names(&out)),
            (&state, vec!["DepositAlarmed".to_owned()])
        );
    }
    let (state, out) = when(state, returned(None, 1));
    assert!(names(&out).is_empty());
    assert_eq!(deposit(&state).standing, Standing::Returned);
    for order in [return_ordered(), assigned(7)] {
        let (same, out) = when(state.clone(), order);
        assert_eq!(
            (&same, names(&out)),
            (&state, vec!["DepositAlarmed".to_owned()])
        );
    }
}

/// The one timer of the state fires, and the return is asked for again.
fn tried_again(waiting: Aggregate) -> Aggregate {
    let timers = waiting.timers();
    assert_eq!(timers.len(), 1);
    let fired = TimerFired {
        key: "42".into(),
        timer: timers[0].name.clone(),
        due: timers[0].due,
    };
    let (next, out) = when(waiting, fired);
    assert_eq!(names(&out), ["DepositReturnRequested"]);
    next
}

#[test]
fn a_return_that_fails_is_tried_again_until_an_operator_is_called() {
    let mut state = given([no_memo(), return_ordered()]);
    for attempt in 1..5 {
        let (waiting, out) = when(state, return_failed(None, attempt));
        assert!(names(&out).is_empty());
        state = tried_again(waiting);
    }
    let (held, out) = when(state, return_failed(None, 5));
    assert_eq!(names(&out), ["DepositAlarmed"]);
    assert!(held.timers().is_empty());
    // An operator tries once more, or gives it to somebody.
    let (again, out) = when(held.clone(), return_ordered());
    assert_eq!(names(&out), ["DepositReturnRequested"]);
    assert_eq!(deposit(&again).parts[&None].attempt, 6);
    let (given_away, out) = when(held, assigned(7));
    assert_eq!(names(&out), ["UsdcDeposited", "CreditBooked to twin-7"]);
    assert_eq!(deposit(&given_away).given_back(), 0);
}

#[test]
fn a_return_that_nobody_refuses_is_tried_for_as_long_as_it_takes() {
    let of = Some(purchase("a"));
    let unlanded = |attempt| {
        let DepositEvent::DepositReturnFailed(mut failed) = return_failed(of, attempt) else {
            panic!("another event")
        };
        "never_landed".clone_into(&mut failed.code);
        DepositEvent::from(failed)
    };
    let mut state = given([payment().into(), part_wanted("a", 3)]);
    for attempt in 1..=12 {
        let (waiting, out) = when(state, unlanded(attempt));
        let told = format!("UsdcCompensationFailed to {}", purchase("a"));
        match attempt {
            // The purchase is told, so that it is alarmed, too; once.
            5 => assert_eq!(names(&out), ["DepositAlarmed".to_owned(), told]),
            _ => assert!(names(&out).is_empty()),
        }
        state = tried_again(waiting);
    }
    let (_, out) = when(state, returned(of, 13));
    assert_eq!(names(&out)[0], "PartReturned");
}

#[test]
fn purchases_give_their_parts_back_but_never_more_than_came() {
    let state = given([payment().into(), part_wanted("a", 3)]);
    assert_eq!(deposit(&state).given_back(), 30_000_000);
    let (same, out) = when(state.clone(), part_wanted("a", 3));
    assert_eq!((&same, names(&out).len()), (&state, 0));
    let (same, out) = when(state.clone(), part_wanted("b", 3));
    assert_eq!(
        (&same, names(&out)),
        (&state, vec!["DepositAlarmed".to_owned()])
    );
    let (state, out) = when(state, part_wanted("b", 2));
    assert_eq!(names(&out), ["DepositReturnRequested"]);
    let (state, out) = when(state, returned(Some(purchase("a")), 1));
    let told = format!("UsdcCompensationSettled to {}", purchase("a"));
    assert_eq!(names(&out), ["PartReturned".to_owned(), told]);
    let (state, out) = when(state, returned(Some(purchase("a")), 1));
    assert!(names(&out).is_empty());
    assert_eq!(deposit(&state).parts[&Some(purchase("a"))].next, Next::Done);
    assert_eq!(
        deposit(&state).parts[&Some(purchase("b"))].next,
        Next::UnderWay
    );
}

#[test]
fn a_deposit_of_the_amount_pays_for_the_purchase() {
    let (state, out) = when(given([wanted("p", 5)]), booked("42", 5));
    assert_eq!(
        funded(&out),
        [(purchase("p"), vec![(Some("42".to_owned()), coins(5))])]
    );
    assert_eq!(credit(&state).balance().unwrap(), Amount::ZERO);
    assert!(state.timers().is_empty());
}

#[test]
fn deposits_add_up_and_what_is_too_much_stays_credit() {
    let state = given([wanted("p", 5)]);
    let (state, out) = when(state, booked("1", 2));
    assert!(funded(&out).is_empty());
    let (state, out) = when(state, booked("2", 4));
    let parts = vec![
        (Some("1".to_owned()), coins(2)),
        (Some("2".to_owned()), coins(3)),
    ];
    assert_eq!(funded(&out), [(purchase("p"), parts)]);
    assert_eq!(credit(&state).balance().unwrap(), coins(1));
    // It pays for the next purchase, without another deposit.
    let (state, out) = when(state, wanted("q", 1));
    assert_eq!(
        funded(&out),
        [(purchase("q"), vec![(Some("2".to_owned()), coins(1))])]
    );
    assert_eq!(credit(&state).balance().unwrap(), Amount::ZERO);
}

#[test]
fn what_comes_late_is_credit() {
    let (state, out) = when(given([wanted("p", 5), booked("1", 4)]), expire("p"));
    let told = format!("PurchaseUnfunded to {}", purchase("p"));
    assert_eq!(names(&out), ["FundsExpired".to_owned(), told]);
    let (state, out) = when(state, booked("2", 5));
    assert!(funded(&out).is_empty());
    assert_eq!(credit(&state).balance().unwrap(), coins(9));
    // A purchase waits once, however often it is told.
    let (same, out) = when(state.clone(), wanted("p", 5));
    assert_eq!((&same, names(&out).len()), (&state, 0));
}

#[test]
fn the_oldest_is_served_first_but_an_exact_deposit_is_for_its_purchase() {
    let state = given([wanted("first", 10), wanted("second", 5)]);
    let (state, out) = when(state, booked("1", 4));
    assert!(funded(&out).is_empty());
    let (state, out) = when(state, booked("2", 5));
    assert_eq!(
        funded(&out),
        [(purchase("second"), vec![(Some("2".to_owned()), coins(5))])]
    );
    let (state, out) = when(state, booked("3", 7));
    let parts = vec![
        (Some("1".to_owned()), coins(4)),
        (Some("3".to_owned()), coins(6)),
    ];
    assert_eq!(funded(&out), [(purchase("first"), parts)]);
    assert_eq!(credit(&state).balance().unwrap(), coins(1));
}

#[test]
fn one_deposit_may_pay_for_several_and_each_is_told_apart() {
    let state = given([wanted("a", 2), wanted("b", 3)]);
    let (_, out) = when(state, booked("1", 7));
    assert_eq!(funded(&out).len(), 2);
    let apart: std::collections::BTreeSet<&str> =
        out.own.iter().map(|p| p.discriminator.as_str()).collect();
    assert_eq!(apart.len(), 2);
}

#[test]
fn an_expired_purchase_no_longer_stands_before_the_next() {
    let state = given([wanted("big", 10), wanted("small", 4), booked("1", 5)]);
    assert_eq!(credit(&state).balance().unwrap(), coins(5));
    let (state, out) = when(state, expire("big"));
    assert_eq!(
        funded(&out),
        [(purchase("small"), vec![(Some("1".to_owned()), coins(4))])]
    );
    assert_eq!(credit(&state).balance().unwrap(), coins(1));
}

#[test]
fn credit_pays_for_nobody_but_its_own_user() {
    let other = FundsWanted {
        purchase_id: purchase("p"),
        user_id: UserId::derive(&["bert"]),
        twin_id: TwinId(7),
        amount: coins(1),
        until: START,
    };
    let (state, out) = when(given([opened(), booked("1", 5)]), other);
    let told = format!("PurchaseUnfunded to {}", purchase("p"));
    assert_eq!(names(&out), ["FundsExpired".to_owned(), told]);
    assert_eq!(credit(&state).balance().unwrap(), coins(5));
}

/// Whatever comes in whatever order: no unit is granted twice or lost, and nothing of ours that
/// we append about an aggregate changes it.
#[test]
fn credit_is_conserved() {
    let mut seed = 1_u64;
    for round in 0..2_000 {
        let mut state = given([opened()]);
        let (mut came, mut paid) = (0_i64, 0_i64);
        for step in 0..30 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let dice = u32::try_from(seed >> 33).unwrap();
            let name = format!("{}", dice % 6);
            let whole = 1 + (dice >> 4) % 6;
            let fact = match dice % 3 {
                0 => wanted(&name, whole),
                1 => expire(&name),
                _ => {
                    came += coins(whole).minor();
                    booked(&format!("{round}-{step}"), whole)
                }
            };
            let (next, out) = when(state, fact);
            for (_, portions) in funded(&out) {
                paid += portions.iter().map(|(_, a)| a.minor()).sum::<i64>();
            }
            for planned in &out.own {
                let (same, more) = when(next.clone(), planned.event.clone());
                assert_eq!(same, next, "{} changed the state", planned.event.name());
                assert!(more.own.is_empty() && more.forward.is_empty());
            }
            state = next;
            assert_eq!(credit(&state).balance().unwrap().minor(), came - paid);
        }
    }
}
