//! Given / when / then over claimable balances: when they are claimed, and what they are until then.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use events::deposits::{
    BalanceClaimed, BalanceLapsed, ClaimFailed, ClaimRequested, ClaimWindow,
    ClaimableBalanceCreated, DepositAssigned, DepositEvent, DepositReturnOrdered, TimerFired,
};
use events::envelope::{Envelope, Record};
use events::ids::{EventId, TwinId};
use events::schema::EventSet;
use events::time::Timestamp;
use events::unmatched::UnmatchedEvent;
use pipeline::{Decision, Timer};
use processor_deposits::decide::transition;
use processor_deposits::state::{Next, Standing};
use processor_deposits::{Aggregate, Rules};
use std::time::Duration;

const START: Timestamp = Timestamp(1_790_000_000_000);
const USDC: &str = "USDC:GISSUER";

fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

fn window(from: Option<u64>, until: Option<u64>) -> ClaimWindow {
    ClaimWindow {
        from: from.map(at),
        until: until.map(at),
    }
}

fn set_aside(claimable: Vec<ClaimWindow>) -> ClaimableBalanceCreated {
    ClaimableBalanceCreated {
        deposit_id: "42".into(),
        balance_id: format!("00000000{}", "ab".repeat(32)),
        from: "GSENDER".into(),
        asset: USDC.into(),
        amount: 50_000_000,
        claimable,
        predicate: "{}".into(),
        memo_type: "id".into(),
        memo: Some("7".into()),
        transaction: "aa".repeat(32),
        ledger: 60,
        closed_at: START,
    }
}

fn always() -> Vec<ClaimWindow> {
    vec![window(None, None)]
}

fn when(
    state: Aggregate,
    time: Timestamp,
    fact: impl Into<DepositEvent>,
) -> (Aggregate, Decision<DepositEvent>) {
    let event = fact.into();
    let envelope = Envelope {
        id: EventId::derive(&[event.name(), &time.to_string()]),
        source: "/test".into(),
        time,
        subject: "42".into(),
        correlation: None,
        causation: None,
        traceparent: None,
    };
    let record = Record {
        partition: 0,
        offset: 0,
        envelope,
        event,
    };
    let mut rules = Rules::new(USDC);
    rules.own.insert("GFUNDER".to_owned());
    transition(&rules, state, &record)
}

fn claimed(attempt: i32) -> DepositEvent {
    BalanceClaimed {
        deposit_id: "42".into(),
        balance_id: format!("00000000{}", "ab".repeat(32)),
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

fn failed(attempt: i32, code: &str) -> DepositEvent {
    ClaimFailed {
        deposit_id: "42".into(),
        balance_id: format!("00000000{}", "ab".repeat(32)),
        request_id: EventId::derive(&["r"]),
        attempt,
        code: code.into(),
        detail: "d".into(),
        transaction: None,
    }
    .into()
}

fn fired() -> DepositEvent {
    TimerFired {
        key: "42".into(),
        timer: "claim".into(),
        due: START,
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

fn assigned() -> DepositEvent {
    DepositAssigned {
        deposit_id: "42".into(),
        twin_id: TwinId(7),
        reason: "asked".into(),
        by: "op".into(),
        assigned_at: START,
    }
    .into()
}

/// Names of what is appended, with where it goes.
fn names(out: &Decision<DepositEvent>) -> Vec<String> {
    let own = out.own.iter().map(|p| p.event.name().to_owned());
    let forward = out.forward.iter().map(|f| {
        let name = None
            .or_else(|| f.event::<DepositEvent>().map(EventSet::name))
            .or_else(|| f.event::<UnmatchedEvent>().map(EventSet::name))
            .unwrap();
        format!("{name} to {}", f.key())
    });
    own.chain(forward).collect()
}

fn request(out: &Decision<DepositEvent>) -> &ClaimRequested {
    match &out.own[..] {
        [planned] => match &planned.event {
            DepositEvent::ClaimRequested(request) => request,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn standing(state: &Aggregate) -> Standing {
    let Aggregate::Deposit(deposit) = state else {
        panic!("no deposit: {state:?}")
    };
    deposit.standing
}

fn due(state: &Aggregate) -> Option<Timestamp> {
    match &state.timers()[..] {
        [] => None,
        [Timer { due, name }] if name == "claim" => Some(*due),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_may_be_claimed_now_is_claimed_and_is_no_deposit_before() {
    let (state, out) = when(Aggregate::New, at(3), set_aside(always()));
    let asked = request(&out);
    assert_eq!((asked.attempt, asked.amount), (1, 50_000_000));
    assert_eq!(asked.deadline, at(123));
    assert_eq!(standing(&state), Standing::SetAside);
    // It can be neither somebody's nor sent back before it is ours.
    for order in [assigned(), return_ordered()] {
        let (same, out) = when(state.clone(), at(4), order);
        assert_eq!(
            (names(&out), &same),
            (vec!["DepositAlarmed".to_owned()], &state)
        );
    }
    let (state, out) = when(state, at(9), claimed(1));
    assert_eq!(names(&out), ["UsdcDeposited", "CreditBooked to twin-7"]);
    assert_eq!(standing(&state), Standing::Credited(TwinId(7)));
    // Told again, it is the same deposit.
    let (same, out) = when(state.clone(), at(10), claimed(1));
    assert_eq!((names(&out), same), (vec![], state));
}

#[test]
fn the_claim_ends_before_its_time_does() {
    let (_, out) = when(
        Aggregate::New,
        START,
        set_aside(vec![window(None, Some(30))]),
    );
    assert_eq!(request(&out).deadline, at(29));
}

#[test]
fn what_opens_later_is_claimed_later() {
    let windows = vec![window(None, Some(0)), window(Some(90), Some(200))];
    let (state, out) = when(Aggregate::New, at(5), set_aside(windows));
    assert_eq!((names(&out), due(&state)), (vec![], Some(at(90))));
    let (state, out) = when(state, at(91), fired());
    assert_eq!(request(&out).deadline, at(199));
    assert_eq!(due(&state), None);
    // Fired twice, it is asked for once.
    assert_eq!(names(&when(state, at(92), fired()).1), [] as [String; 0]);
}

#[test]
fn what_can_never_be_claimed_is_no_deposit() {
    for windows in [vec![], vec![window(None, Some(5))]] {
        let (state, out) = when(Aggregate::New, at(5), set_aside(windows));
        assert_eq!(names(&out), ["BalanceLapsed"]);
        assert_eq!((standing(&state), due(&state)), (Standing::Lapsed, None));
    }
}

#[test]
fn what_was_taken_back_is_no_deposit() {
    let (state, _) = when(Aggregate::New, START, set_aside(always()));
    let (state, out) = when(state, at(6), failed(1, "op_does_not_exist"));
    let [lapsed] = &out.own[..] else {
        panic!("{out:?}")
    };
    assert!(matches!(
        &lapsed.event,
        DepositEvent::BalanceLapsed(BalanceLapsed { reason, .. }) if reason == "taken_back"
    ));
    assert_eq!((standing(&state), due(&state)), (Standing::Lapsed, None));
}

#[test]
fn a_claim_that_failed_is_tried_again_for_as_long_as_it_may_be() {
    let (mut state, _) = when(
        Aggregate::New,
        START,
        set_aside(vec![window(None, Some(400))]),
    );
    let mut now = START;
    let mut alarms = 0;
    for attempt in 1.. {
        let (next, out) = when(state, now, failed(attempt, "op_no_trust"));
        alarms += names(&out)
            .iter()
            .filter(|n| *n == "DepositAlarmed")
            .count();
        let Some(waits) = due(&next) else {
            assert_eq!(names(&out).last().unwrap(), "BalanceLapsed");
            assert_eq!(standing(&next), Standing::Lapsed);
            break;
        };
        assert!(waits > now && waits < at(400));
        // An answer to an earlier attempt changes nothing.
        let (same, out) = when(
            next.clone(),
            waits,
            failed(attempt - 1, "op_does_not_exist"),
        );
        assert_eq!((&same, names(&out)), (&next, vec![]));
        let (asked, out) = when(next, waits, fired());
        assert_eq!(request(&out).attempt, attempt + 1);
        (state, now) = (asked, waits);
    }
    assert_eq!(alarms, 1);
}

#[test]
fn a_claim_never_overtakes_its_window() {
    // It opens again after a gap: the pause ends where the gap does.
    let windows = vec![window(None, Some(10)), window(Some(600), None)];
    let (state, _) = when(Aggregate::New, at(9), set_aside(windows));
    let (state, _) = when(state, at(9), failed(1, "op_cannot_claim"));
    assert_eq!(due(&state), Some(at(600)));
}

#[test]
fn only_our_usdc_is_claimed() {
    for (asset, reason) in [
        ("native", "wrong_asset"),
        ("EURC:GISSUER", "wrong_asset"),
        ("USDC:GOTHER", "wrong_issuer"),
    ] {
        let fact = ClaimableBalanceCreated {
            asset: asset.into(),
            ..set_aside(always())
        };
        let (state, out) = when(Aggregate::New, START, fact);
        assert_eq!(names(&out), ["DepositUnmatched", "DepositUnmatched to 42"]);
        let DepositEvent::DepositUnmatched(told) = &out.own[0].event else {
            panic!("{out:?}")
        };
        assert_eq!(told.reason, reason);
        assert_eq!(
            told.balance_id.as_deref(),
            Some(&*format!("00000000{}", "ab".repeat(32)))
        );
        assert_eq!((standing(&state), due(&state)), (Standing::NotTaken, None));
        // It is not ours to give; an operator can only leave it.
        let (same, out) = when(state.clone(), at(1), assigned());
        assert_eq!(
            (names(&out), &same),
            (vec!["DepositAlarmed".to_owned()], &state)
        );
        let (left, out) = when(state, at(2), return_ordered());
        assert_eq!(names(&out), ["BalanceLapsed"]);
        assert_eq!(standing(&left), Standing::Lapsed);
    }
}

#[test]
fn usdc_that_names_nobody_is_claimed_and_then_waits_for_an_operator() {
    let fact = ClaimableBalanceCreated {
        memo_type: "none".into(),
        memo: None,
        ..set_aside(always())
    };
    let (state, out) = when(Aggregate::New, START, fact);
    assert_eq!(request(&out).attempt, 1);
    let (state, out) = when(state, at(5), claimed(1));
    assert_eq!(names(&out), ["DepositUnmatched", "DepositUnmatched to 42"]);
    assert_eq!(standing(&state), Standing::Unmatched);
    // From here on it is like any other.
    let (_, out) = when(state.clone(), at(6), assigned());
    assert_eq!(names(&out), ["UsdcDeposited", "CreditBooked to twin-7"]);
    let (returning, out) = when(state, at(6), return_ordered());
    let DepositEvent::DepositReturnRequested(back) = &out.own[0].event else {
        panic!("{out:?}")
    };
    assert_eq!(
        (
            back.destination.as_str(),
            back.amount,
            &*back.deposit_transaction
        ),
        ("GSENDER", 50_000_000, &*"aa".repeat(32))
    );
    assert_eq!(standing(&returning), Standing::Returning);
}

#[test]
fn what_fills_the_treasury_is_claimed_and_is_no_deposit() {
    let fact = ClaimableBalanceCreated {
        from: "GFUNDER".into(),
        ..set_aside(always())
    };
    let (state, _) = when(Aggregate::New, START, fact);
    let (state, out) = when(state, at(5), claimed(1));
    assert_eq!((names(&out), standing(&state)), (vec![], Standing::Own));
}

#[test]
fn a_balance_is_taken_in_once() {
    let (state, _) = when(Aggregate::New, START, set_aside(always()));
    let (same, out) = when(state.clone(), at(1), set_aside(always()));
    assert_eq!((names(&out), &same), (vec![], &state));
    let Aggregate::Deposit(deposit) = &state else {
        panic!("{state:?}")
    };
    assert_eq!(deposit.aside.as_ref().unwrap().next, Next::UnderWay);
}
