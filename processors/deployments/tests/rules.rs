//! Given / when / then over the policy of deployments.
#![expect(clippy::panic, reason = "tests fail by panicking")]

use events::deployments::{
    ContractCancelled, ContractCancelledByChain, ContractFailed, ContractUpdated,
    DeploymentCancelRequested, DeploymentCreated, DeploymentEvent, DeploymentKind,
    DeploymentRequested, DeploymentUpdateRequested, FundsArrived, Operation, PurchaseEnded,
    TimerFired,
};
use events::envelope::{Envelope, Record};
use events::ids::{ContractId, DeploymentId, EventId, NodeId, PurchaseId, TwinId, UserId};
use events::money::Amount;
use events::schema::EventSet;
use events::time::Timestamp;
use pipeline::Decision;
use processor_deployments::decide::{Rules, transition};
use processor_deployments::state::{Contract, Deployment, Deployments, Doing, Stage};

const START: Timestamp = Timestamp(1_790_000_000_000);

fn id() -> DeploymentId {
    DeploymentId::derive(&["d"])
}

fn user() -> UserId {
    UserId::derive(&["u"])
}

fn purchase() -> PurchaseId {
    PurchaseId::derive(&["p"])
}

fn when(
    state: Deployments,
    fact: impl Into<DeploymentEvent>,
) -> (Deployments, Decision<DeploymentEvent>) {
    let event = fact.into();
    let envelope = Envelope {
        id: EventId::derive(&[event.name()]),
        source: "/test".into(),
        time: START,
        subject: user().to_string(),
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
    transition(&Rules::default(), state, &record)
}

fn given(facts: impl IntoIterator<Item = DeploymentEvent>) -> Deployments {
    facts
        .into_iter()
        .fold(Deployments::default(), |state, fact| when(state, fact).0)
}

/// What is appended after these facts because of the last one.
fn told(facts: impl IntoIterator<Item = DeploymentEvent>) -> (Deployments, Vec<DeploymentEvent>) {
    let mut facts: Vec<DeploymentEvent> = facts.into_iter().collect();
    let Some(last) = facts.pop() else {
        panic!("no facts")
    };
    let (state, out) = when(given(facts), last);
    assert!(out.forward.is_empty());
    (state, out.own.into_iter().map(|p| p.event).collect())
}

fn names(events: &[DeploymentEvent]) -> Vec<&'static str> {
    events.iter().map(EventSet::name).collect()
}

fn deployment(state: &Deployments) -> &Deployment {
    match state.all.get(&id()) {
        Some(deployment) => deployment,
        None => panic!("there is no deployment"),
    }
}

fn order(waits_for: Option<PurchaseId>) -> DeploymentEvent {
    DeploymentRequested {
        deployment_id: id(),
        user_id: user(),
        twin_id: TwinId(7),
        node_id: NodeId(3),
        version: 1,
        data: "{}".into(),
        hash: "h1".into(),
        public_ips: 1,
        solution_provider: None,
        waits_for,
        minimum_balance: Amount::from_whole(2),
        requested_at: START,
        kind: DeploymentKind::Node,
        name: None,
    }
    .into()
}

fn update(version: i32) -> DeploymentEvent {
    DeploymentUpdateRequested {
        deployment_id: id(),
        user_id: user(),
        version,
        data: format!("data {version}"),
        hash: format!("h{version}"),
        requested_at: START,
    }
    .into()
}

fn cancel() -> DeploymentEvent {
    DeploymentCancelRequested {
        deployment_id: id(),
        user_id: user(),
        requested_at: START,
    }
    .into()
}

fn created() -> DeploymentEvent {
    DeploymentCreated {
        deployment_id: id(),
        user_id: user(),
        request_id: EventId::derive(&["create"]),
        node_id: NodeId(3),
        contract_id: ContractId(9),
        hash: "h1".into(),
        extrinsic: "x".into(),
        block: 70,
    }
    .into()
}

fn updated(version: i32) -> DeploymentEvent {
    ContractUpdated {
        deployment_id: id(),
        user_id: user(),
        request_id: EventId::derive(&["update"]),
        contract_id: ContractId(9),
        version,
        hash: format!("h{version}"),
        extrinsic: "x".into(),
        block: 71,
    }
    .into()
}

fn cancelled() -> DeploymentEvent {
    ContractCancelled {
        deployment_id: id(),
        user_id: user(),
        request_id: EventId::derive(&["cancel"]),
        contract_id: ContractId(9),
        extrinsic: "x".into(),
        block: 72,
    }
    .into()
}

fn failed(operation: Operation, attempt: i32, code: &str) -> DeploymentEvent {
    ContractFailed {
        deployment_id: id(),
        user_id: user(),
        request_id: EventId::derive(&["failed"]),
        attempt,
        code: code.into(),
        detail: "because".into(),
        operation,
    }
    .into()
}

fn timer(state: &Deployments) -> DeploymentEvent {
    let timers = state.timers();
    let [timer] = timers.as_slice() else {
        panic!("not one timer: {timers:?}")
    };
    TimerFired {
        user_id: user(),
        timer: timer.name.clone(),
        due: timer.due,
    }
    .into()
}

const STANDS: Contract = Contract {
    id: ContractId(9),
    block: 70,
};

#[test]
fn a_deployment_is_made_changed_and_ended() {
    let (state, out) = told([order(None)]);
    assert_eq!(names(&out), ["ContractRequested"]);
    let (state, _) = when(state, created());
    let (state, out) = when(state, update(2));
    let DeploymentEvent::ContractUpdateRequested(asked) = &out.own[0].event else {
        panic!("{out:?}")
    };
    assert_eq!((asked.version, asked.hash.as_str()), (2, "h2"));
    assert_eq!((asked.contract_id, asked.created_block), (STANDS.id, 70));
    let (state, out) = when(state, updated(2));
    assert!(out.own.is_empty());
    assert_eq!(deployment(&state).stage, Stage::Created(STANDS));
    let (state, out) = when(state, cancel());
    assert!(matches!(
        &out.own[0].event,
        DeploymentEvent::ContractCancelRequested(e) if e.contract_id == STANDS.id && e.attempt == 1
    ));
    let (state, out) = when(state, cancelled());
    assert!(matches!(
        &out.own[0].event,
        DeploymentEvent::DeploymentCancelled(e)
            if e.reason == "by_user" && e.contract_id == Some(STANDS.id)
    ));
    assert_eq!(deployment(&state).stage, Stage::Cancelled);
}

#[test]
fn asked_for_twice_it_is_made_once() {
    let (_, out) = told([order(None), order(None)]);
    assert!(out.is_empty());
    let (_, out) = told([order(None), created(), order(None)]);
    assert!(out.is_empty());
    let (_, out) = told([order(None), created(), cancel(), cancelled(), order(None)]);
    assert!(out.is_empty(), "what was cancelled is never made again");
}

#[test]
fn a_cancellation_waits_for_what_came_of_the_creation() {
    let (state, out) = told([order(None), cancel()]);
    assert!(
        out.is_empty(),
        "nobody knows yet whether there is a contract"
    );
    assert!(deployment(&state).cancel);
    let (state, out) = when(state, cancel());
    assert!(out.own.is_empty(), "twice is once");
    let (created, out) = when(state.clone(), created());
    assert!(matches!(
        &out.own[0].event,
        DeploymentEvent::ContractCancelRequested(e) if e.contract_id == STANDS.id
    ));
    assert!(matches!(
        deployment(&created).stage,
        Stage::Submitted {
            doing: Doing::Cancel(STANDS),
            attempt: 1
        }
    ));
    for code in ["never_will", "NodeNotExists"] {
        let (state, out) = when(state.clone(), failed(Operation::Create, 1, code));
        assert!(matches!(
            &out.own[0].event,
            DeploymentEvent::DeploymentCancelled(e) if e.contract_id.is_none()
        ));
        assert_eq!(deployment(&state).stage, Stage::Cancelled);
        assert!(state.timers().is_empty(), "nothing is tried again");
    }
}

#[test]
fn what_waits_is_cancelled_at_once_and_never_made() {
    for before in [
        vec![order(Some(purchase()))],
        vec![order(None), failed(Operation::Create, 1, "never_will")],
    ] {
        let state = given(before);
        let late = state.timers();
        let (state, out) = when(state, cancel());
        assert!(matches!(
            &out.own[0].event,
            DeploymentEvent::DeploymentCancelled(e) if e.reason == "by_user"
        ));
        assert!(state.timers().is_empty());
        let funds = FundsArrived {
            user_id: user(),
            purchase_id: purchase(),
            amount: Amount::from_whole(5),
            block: 9,
        };
        let (state, out) = when(state, funds);
        assert!(out.own.is_empty());
        let ended = PurchaseEnded {
            user_id: user(),
            purchase_id: purchase(),
            detail: "refunded".into(),
        };
        let (mut state, out) = when(state, ended);
        assert!(out.own.is_empty(), "it has ended once");
        for timer in late {
            let fired = TimerFired {
                user_id: user(),
                timer: timer.name,
                due: timer.due,
            };
            let (after, out) = when(state, fired);
            assert!(out.own.is_empty());
            state = after;
        }
        let (_, out) = when(state, update(2));
        assert_eq!(out.own[0].event.name(), "DeploymentUpdateRejected");
    }
}

#[test]
fn a_refunded_purchase_ends_what_waits_for_it() {
    let ended = PurchaseEnded {
        user_id: user(),
        purchase_id: purchase(),
        detail: "refunded".into(),
    };
    let (state, out) = told([order(Some(purchase())), ended.clone().into()]);
    assert_eq!(names(&out), ["DeploymentFailed"]);
    assert_eq!(deployment(&state).stage, Stage::Failed);
    let (_, out) = when(state.clone(), cancel());
    assert!(out.own.is_empty());
    let (_, out) = when(state, update(2));
    assert!(matches!(
        &out.own[0].event,
        DeploymentEvent::DeploymentUpdateRejected(e) if e.reason == "ended"
    ));
    let (_, out) = told([ended.into(), order(Some(purchase()))]);
    assert_eq!(names(&out), ["DeploymentFailed"]);
}

#[test]
fn the_newest_workload_waits_for_its_turn() {
    let before = [order(None), update(2), update(3)];
    let (state, out) = told(before);
    assert!(out.is_empty());
    let (state, out) = when(state, created());
    assert!(matches!(
        &out.own[0].event,
        DeploymentEvent::ContractUpdateRequested(e) if e.version == 3 && e.data == "data 3"
    ));
    // A newer one than that which is under way.
    let (state, out) = when(state, update(4));
    assert!(out.own.is_empty());
    let (state, out) = when(state, updated(3));
    assert!(matches!(
        &out.own[0].event,
        DeploymentEvent::ContractUpdateRequested(e) if e.version == 4
    ));
    let (state, _) = when(state, updated(4));
    assert_eq!(deployment(&state).stage, Stage::Created(STANDS));
}

#[test]
fn before_there_is_a_contract_the_order_changes() {
    let (state, out) = told([order(Some(purchase())), update(2)]);
    assert!(out.is_empty());
    let funds = FundsArrived {
        user_id: user(),
        purchase_id: purchase(),
        amount: Amount::from_whole(5),
        block: 9,
    };
    let (_, out) = when(state, funds);
    assert!(matches!(
        &out.own[0].event,
        DeploymentEvent::ContractRequested(e) if e.version == 2 && e.hash == "h2"
    ));
    let state = given([
        order(None),
        update(2),
        failed(Operation::Create, 1, "never_will"),
    ]);
    let fired = timer(&state);
    let (_, out) = when(state, fired);
    assert!(matches!(
        &out.own[0].event,
        DeploymentEvent::ContractRequested(e) if e.version == 2 && e.attempt == 2
    ));
}

#[test]
fn an_update_that_comes_too_late_is_rejected() {
    let up = |reason: &str, facts: Vec<DeploymentEvent>| {
        let (_, out) = told(facts);
        match out.as_slice() {
            [DeploymentEvent::DeploymentUpdateRejected(e)] => assert_eq!(e.reason, reason),
            other => panic!("{other:?}"),
        }
    };
    up("no_deployment", vec![update(2)]);
    up("version_conflict", vec![order(None), created(), update(1)]);
    up(
        "version_conflict",
        vec![order(None), created(), update(2), update(2)],
    );
    up("cancelling", vec![order(None), cancel(), update(2)]);
    up(
        "cancelling",
        vec![order(None), created(), cancel(), update(2)],
    );
    up(
        "ended",
        vec![order(None), created(), cancel(), cancelled(), update(2)],
    );
}

#[test]
fn what_never_landed_is_tried_again_and_then_given_up() {
    let tries = |before: Vec<DeploymentEvent>, operation, end: &str| {
        let mut state = given(before);
        for attempt in 1..5 {
            let (after, out) = when(state, failed(operation, attempt, "never_will"));
            assert!(out.own.is_empty(), "{out:?}");
            let fired = timer(&after);
            let (after, out) = when(after, fired.clone());
            assert_eq!(out.own.len(), 1);
            let (after, out) = when(after, fired);
            assert!(out.own.is_empty(), "a timer fires once");
            state = after;
        }
        let (after, out) = when(state, failed(operation, 5, "never_will"));
        assert_eq!(out.own[0].event.name(), end);
        assert!(after.timers().is_empty());
        deployment(&after).stage.clone()
    };
    let stage = tries(vec![order(None)], Operation::Create, "DeploymentFailed");
    assert_eq!(stage, Stage::Failed);
    let before = vec![order(None), created(), update(2)];
    let stage = tries(before, Operation::Update, "DeploymentUpdateFailed");
    assert_eq!(stage, Stage::Created(STANDS));
    let before = vec![order(None), created(), cancel()];
    let stage = tries(before, Operation::Cancel, "DeploymentCancelFailed");
    assert_eq!(stage, Stage::Created(STANDS));
}

#[test]
fn what_is_refused_by_name_is_not_tried_again() {
    let (state, out) = told([order(None), failed(Operation::Create, 1, "NodeNotExists")]);
    assert_eq!(names(&out), ["DeploymentFailed"]);
    assert_eq!(deployment(&state).stage, Stage::Failed);
    let refused = failed(Operation::Cancel, 1, "NodeHasActiveContracts");
    let (state, out) = told([order(None), created(), cancel(), refused]);
    assert_eq!(names(&out), ["DeploymentCancelFailed"]);
    // It may be asked for again, and the deployment goes on until then.
    let (state, out) = when(state, update(2));
    assert_eq!(out.own[0].event.name(), "ContractUpdateRequested");
    // A cancellation waits for an update, and comes though the update failed.
    let (state, out) = when(state, cancel());
    assert!(out.own.is_empty());
    let (_, out) = when(state, failed(Operation::Update, 1, "never_will"));
    let out: Vec<&str> = out.own.iter().map(|p| p.event.name()).collect();
    assert_eq!(out, ["DeploymentUpdateFailed", "ContractCancelRequested"]);
}

#[test]
fn what_others_ended_before_the_outcome_was_known_has_ended() {
    for before in [
        vec![order(None), failed(Operation::Create, 1, "contract_ended")],
        vec![
            order(None),
            created(),
            update(2),
            failed(Operation::Update, 1, "contract_ended"),
        ],
    ] {
        let (state, out) = told(before);
        assert!(matches!(
            &out[..],
            [DeploymentEvent::DeploymentCancelled(e)] if e.reason == "by_chain"
        ));
        assert_eq!(deployment(&state).stage, Stage::Cancelled);
        let (_, out) = when(state, created());
        assert!(out.own.is_empty());
    }
}

#[test]
fn an_outcome_of_another_attempt_changes_nothing() {
    let before = [order(None), created(), update(2)];
    for late in [
        failed(Operation::Create, 1, "never_will"),
        failed(Operation::Update, 2, "never_will"),
        failed(Operation::Cancel, 1, "NodeHasActiveContracts"),
        updated(7),
        created(),
    ] {
        let state = given(before.clone());
        let (after, out) = when(state.clone(), late);
        assert!(out.own.is_empty(), "{out:?}");
        assert_eq!(after, state);
    }
}

#[test]
fn whatever_is_under_way_what_others_end_has_ended() {
    let by_chain = || ContractCancelledByChain {
        deployment_id: id(),
        user_id: user(),
        contract_id: STANDS.id,
        block: 80,
        event_index: 2,
    };
    for before in [
        vec![order(None)],
        vec![order(None), created()],
        vec![order(None), created(), update(2)],
        vec![order(None), created(), cancel()],
    ] {
        let (state, out) = when(given(before), by_chain());
        assert!(matches!(
            &out.own[0].event,
            DeploymentEvent::DeploymentCancelled(e)
                if e.reason == "by_chain" && e.contract_id == Some(STANDS.id)
        ));
        // The outcome of what was under way comes later.
        for late in [
            created(),
            updated(2),
            cancelled(),
            failed(Operation::Update, 1, "contract_ended"),
            by_chain().into(),
        ] {
            let (after, out) = when(state.clone(), late);
            assert!(out.own.is_empty(), "{out:?}");
            assert_eq!(after.all, state.all);
        }
    }
}
