//! Given / when / then over names, whole nodes and batches.
#![expect(clippy::panic, reason = "tests fail by panicking")]

use events::deployments::{
    BatchCreated, BatchFailed, BatchMember, BatchRequested, ContractFailed, CreatedContract,
    DeploymentCancelRequested, DeploymentCreated, DeploymentEvent, DeploymentKind,
    DeploymentRequested, DeploymentUpdateRequested, FundsArrived, Operation, PurchaseEnded,
    TimerFired,
};
use events::envelope::{Envelope, Record};
use events::ids::{BatchId, ContractId, DeploymentId, EventId, NodeId, PurchaseId, TwinId, UserId};
use events::money::Amount;
use events::schema::EventSet;
use events::time::Timestamp;
use processor_deployments::decide::{Rules, transition};
use processor_deployments::state::{Deployments, Stage};

const START: Timestamp = Timestamp(1_790_000_000_000);

fn user() -> UserId {
    UserId::derive(&["u"])
}

fn purchase() -> PurchaseId {
    PurchaseId::derive(&["p"])
}

fn batch_id() -> BatchId {
    BatchId::derive(&["b"])
}

fn id(name: &str) -> DeploymentId {
    DeploymentId::derive(&[name])
}

fn when(
    state: Deployments,
    fact: impl Into<DeploymentEvent>,
) -> (Deployments, Vec<DeploymentEvent>) {
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
    let (state, out) = transition(&Rules::default(), state, &record);
    (state, out.own.into_iter().map(|p| p.event).collect())
}

fn names(events: &[DeploymentEvent]) -> Vec<&'static str> {
    events.iter().map(EventSet::name).collect()
}

fn stage<'a>(state: &'a Deployments, name: &str) -> &'a Stage {
    match state.all.get(&id(name)) {
        Some(deployment) => &deployment.stage,
        None => panic!("there is no {name}"),
    }
}

fn member(name: &str, kind: DeploymentKind) -> BatchMember {
    BatchMember {
        deployment_id: id(name),
        kind,
        node_id: NodeId(if kind == DeploymentKind::Name { 0 } else { 3 }),
        name: (kind == DeploymentKind::Name).then(|| name.to_owned()),
        version: 1,
        data: String::new(),
        hash: format!("hash of {name}"),
        public_ips: 0,
        solution_provider: None,
        above: 0,
    }
}

fn batch(members: Vec<BatchMember>, waits_for: Option<PurchaseId>) -> DeploymentEvent {
    BatchRequested {
        batch_id: batch_id(),
        user_id: user(),
        twin_id: TwinId(7),
        members,
        waits_for,
        minimum_balance: Amount::ZERO,
        requested_at: START,
    }
    .into()
}

fn three(waits_for: Option<PurchaseId>) -> DeploymentEvent {
    let members = vec![
        member("node", DeploymentKind::Node),
        member("name", DeploymentKind::Name),
        member("rent", DeploymentKind::Rent),
    ];
    batch(members, waits_for)
}

fn single(name: &str, kind: DeploymentKind, called: &str) -> DeploymentEvent {
    let member = member(name, kind);
    DeploymentRequested {
        deployment_id: member.deployment_id,
        user_id: user(),
        twin_id: TwinId(7),
        node_id: member.node_id,
        version: 1,
        data: member.data,
        hash: member.hash,
        public_ips: 0,
        solution_provider: None,
        waits_for: None,
        minimum_balance: Amount::ZERO,
        requested_at: START,
        kind,
        name: member.name.map(|_| called.to_owned()),
    }
    .into()
}

fn created(members: &[&str]) -> DeploymentEvent {
    let contracts = (11..).zip(members).map(|(number, name)| CreatedContract {
        deployment_id: id(name),
        node_id: NodeId(3),
        contract_id: ContractId(number),
        hash: String::new(),
    });
    BatchCreated {
        batch_id: batch_id(),
        user_id: user(),
        request_id: EventId::derive(&["request"]),
        contracts: contracts.collect(),
        extrinsic: "x".into(),
        block: 70,
    }
    .into()
}

fn failed(attempt: i32, code: &str) -> DeploymentEvent {
    BatchFailed {
        batch_id: batch_id(),
        user_id: user(),
        request_id: EventId::derive(&["request"]),
        attempt,
        code: code.into(),
        detail: "because".into(),
    }
    .into()
}

fn cancel(name: &str) -> DeploymentEvent {
    DeploymentCancelRequested {
        deployment_id: id(name),
        user_id: user(),
        requested_at: START,
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

/// The deployments of the only request.
fn asked(out: &[DeploymentEvent]) -> (i32, Vec<DeploymentId>) {
    let [DeploymentEvent::BatchContractsRequested(request)] = out else {
        panic!("{out:?}")
    };
    let members = request.members.iter();
    (request.attempt, members.map(|m| m.deployment_id).collect())
}

#[test]
fn a_batch_is_one_request_and_its_deployments_live_on_their_own() {
    let (state, out) = when(Deployments::default(), three(None));
    assert_eq!(asked(&out).1.len(), 3);
    let (_, out) = when(state.clone(), three(None));
    assert!(out.is_empty(), "asked for twice it is made once");
    let (state, out) = when(state, created(&["node", "name", "rent"]));
    assert!(out.is_empty());
    for name in ["node", "name", "rent"] {
        assert!(matches!(stage(&state, name), Stage::Created(_)), "{name}");
    }
    let (_, out) = when(state, cancel("name"));
    assert_eq!(names(&out), ["ContractCancelRequested"]);
}

#[test]
fn a_batch_waits_for_its_purchase_and_ends_with_it() {
    let (state, out) = when(Deployments::default(), three(Some(purchase())));
    assert!(out.is_empty());
    let funds = FundsArrived {
        user_id: user(),
        purchase_id: purchase(),
        amount: Amount::from_whole(5),
        block: 9,
    };
    let (_, out) = when(state.clone(), funds);
    assert_eq!(asked(&out), (1, state.all.keys().copied().collect()));
    let ended = PurchaseEnded {
        user_id: user(),
        purchase_id: purchase(),
        detail: "refunded".into(),
    };
    let (_, out) = when(state, ended);
    assert_eq!(names(&out), ["DeploymentFailed"; 3]);
}

#[test]
fn a_batch_is_tried_again_together_without_what_was_cancelled() {
    let (state, _) = when(Deployments::default(), three(None));
    let (state, out) = when(state, failed(1, "never_will"));
    assert!(out.is_empty());
    let (state, out) = when(state, cancel("rent"));
    assert_eq!(names(&out), ["DeploymentCancelled"]);
    let fired = timer(&state);
    let (state, out) = when(state, fired.clone());
    let (attempt, members) = asked(&out);
    assert_eq!((attempt, members.len()), (2, 2));
    let (state, out) = when(state, fired);
    assert!(out.is_empty(), "a timer fires once");
    let (_, out) = when(state.clone(), failed(1, "never_will"));
    assert!(out.is_empty(), "that attempt is over");
    let (state, out) = when(state, failed(2, "NodeNotExists"));
    assert_eq!(names(&out), ["DeploymentFailed"; 2]);
    assert!(state.timers().is_empty());
}

#[test]
fn a_cancellation_waits_for_what_came_of_the_batch() {
    let (state, _) = when(Deployments::default(), three(None));
    let (state, out) = when(state, cancel("name"));
    assert!(out.is_empty());
    let (_, out) = when(state.clone(), created(&["node", "name", "rent"]));
    let [DeploymentEvent::ContractCancelRequested(request)] = out.as_slice() else {
        panic!("{out:?}")
    };
    assert_eq!(request.deployment_id, id("name"));
    assert_eq!(request.contract_id, ContractId(12));
    let (state, out) = when(state, failed(1, "never_will"));
    assert_eq!(names(&out), ["DeploymentCancelled"]);
    assert_eq!(stage(&state, "name"), &Stage::Cancelled);
}

#[test]
fn of_a_name_and_a_whole_node_a_user_has_one_at_a_time() {
    for (kind, called) in [(DeploymentKind::Name, "same"), (DeploymentKind::Rent, "")] {
        let (state, out) = when(Deployments::default(), single("first", kind, called));
        assert_eq!(names(&out), ["ContractRequested"]);
        let (_, out) = when(state.clone(), single("second", kind, called));
        assert!(matches!(
            out.as_slice(),
            [DeploymentEvent::DeploymentFailed(e)] if e.reason == "in_use"
        ));
        // Within a batch, too: then none of it begins.
        let twice = vec![
            member("node", DeploymentKind::Node),
            BatchMember {
                name: (kind == DeploymentKind::Name).then(|| called.to_owned()),
                ..member("second", kind)
            },
        ];
        let (_, out) = when(state.clone(), batch(twice, None));
        assert_eq!(names(&out), ["DeploymentFailed"; 2]);
        // It can be had again once it is over; the older contract is told apart by its number.
        let made = DeploymentCreated {
            deployment_id: id("first"),
            user_id: user(),
            request_id: EventId::derive(&["request"]),
            node_id: NodeId(3),
            contract_id: ContractId(44),
            hash: String::new(),
            extrinsic: String::new(),
            block: 8,
        };
        let (state, _) = when(state, made);
        let (state, _) = when(state, cancel("first"));
        let ended = ContractFailed {
            deployment_id: id("first"),
            user_id: user(),
            request_id: EventId::derive(&["request"]),
            attempt: 1,
            code: "contract_ended".into(),
            detail: String::new(),
            operation: Operation::Cancel,
        };
        let (state, _) = when(state, ended);
        let (_, out) = when(state, single("third", kind, called));
        assert!(matches!(
            out.as_slice(),
            [DeploymentEvent::ContractRequested(e)] if e.above == 44
        ));
    }
}

#[test]
fn only_a_deployment_on_a_node_has_a_workload() {
    let (state, _) = when(
        Deployments::default(),
        single("first", DeploymentKind::Name, "a-name"),
    );
    let update = DeploymentUpdateRequested {
        deployment_id: id("first"),
        user_id: user(),
        version: 2,
        data: String::new(),
        hash: String::new(),
        requested_at: START,
    };
    let (_, out) = when(state, update);
    assert!(matches!(
        out.as_slice(),
        [DeploymentEvent::DeploymentUpdateRejected(e)] if e.reason == "no_workload"
    ));
}
