//! Rows from event to event.
#![expect(clippy::panic, reason = "tests fail by panicking")]

use super::*;
use events::deployments::{
    ContractBilled, ContractCancelledByChain, ContractFailed, ContractRequested, ContractUpdated,
    DeploymentCancelFailed, DeploymentCancelRequested, DeploymentCancelled, DeploymentCreated,
    DeploymentUpdateFailed, DeploymentUpdateRequested, GracePeriodEnded, GracePeriodStarted,
    Operation,
};
use events::deployments::{DeploymentKind, WorkloadDelivered, WorkloadFailed, WorkloadRunning};
use events::ids::EventId;
use events::ids::{ContractId, NodeId, TwinId, UserId};

const AT: Timestamp = Timestamp(1_790_000_000_000);

fn id() -> DeploymentId {
    DeploymentId::derive(&["d"])
}

fn user() -> UserId {
    UserId::derive(&["u"])
}

fn order() -> DeploymentRequested {
    DeploymentRequested {
        deployment_id: id(),
        user_id: user(),
        twin_id: TwinId(7),
        node_id: NodeId(3),
        version: 1,
        data: String::new(),
        hash: "h1".to_owned(),
        public_ips: 0,
        solution_provider: None,
        waits_for: None,
        minimum_balance: Amount::ZERO,
        requested_at: AT,
        kind: DeploymentKind::Node,
        name: None,
    }
}

fn asked(version: i32) -> DeploymentEvent {
    DeploymentUpdateRequested {
        deployment_id: id(),
        user_id: user(),
        version,
        data: String::new(),
        hash: format!("h{version}"),
        requested_at: AT,
    }
    .into()
}

fn submitted() -> DeploymentEvent {
    ContractRequested {
        deployment_id: id(),
        user_id: user(),
        twin_id: TwinId(7),
        attempt: 1,
        node_id: NodeId(3),
        version: 1,
        hash: "h1".to_owned(),
        data: String::new(),
        public_ips: 0,
        solution_provider: None,
        minimum_balance: Amount::ZERO,
        deadline: AT,
        kind: DeploymentKind::Node,
        name: None,
        above: 0,
    }
    .into()
}

fn created() -> DeploymentEvent {
    DeploymentCreated {
        deployment_id: id(),
        user_id: user(),
        request_id: EventId::derive(&["c"]),
        node_id: NodeId(3),
        contract_id: ContractId(9),
        hash: "h1".to_owned(),
        extrinsic: "x1".to_owned(),
        block: 5,
    }
    .into()
}

fn updated(version: i32) -> DeploymentEvent {
    ContractUpdated {
        deployment_id: id(),
        user_id: user(),
        request_id: EventId::derive(&["u"]),
        contract_id: ContractId(9),
        version,
        hash: format!("h{version}"),
        extrinsic: format!("x{version}"),
        block: 6,
    }
    .into()
}

fn update_failed(version: i32) -> DeploymentEvent {
    DeploymentUpdateFailed {
        deployment_id: id(),
        user_id: user(),
        version,
        reason: "never_will".to_owned(),
        detail: String::new(),
    }
    .into()
}

fn end_asked() -> DeploymentEvent {
    DeploymentCancelRequested {
        deployment_id: id(),
        user_id: user(),
        requested_at: AT,
    }
    .into()
}

fn end_failed() -> DeploymentEvent {
    DeploymentCancelFailed {
        deployment_id: id(),
        user_id: user(),
        reason: "NodeHasActiveContracts".to_owned(),
        detail: String::new(),
    }
    .into()
}

fn ended() -> DeploymentEvent {
    DeploymentCancelled {
        deployment_id: id(),
        user_id: user(),
        contract_id: Some(ContractId(9)),
        reason: "by_user".to_owned(),
        detail: String::new(),
    }
    .into()
}

/// The states after each event of a deployment that was asked for, and the row in the end.
fn states(events: &[DeploymentEvent]) -> (Vec<&'static str>, Deployment) {
    let Some(at) = AT.to_datetime() else {
        panic!("no time")
    };
    let mut row = requested(&order(), at, 0);
    let states = (1..).zip(events).map(|(offset, event)| {
        fold(&mut row, event, AT, offset);
        row.state.as_str()
    });
    (states.collect(), row)
}

#[test]
fn a_deployment_goes_from_workload_to_workload_to_its_end() {
    let way = [
        submitted(),
        created(),
        asked(2),
        updated(2),
        end_asked(),
        ended(),
    ];
    let (seen, row) = states(&way);
    let wanted = [
        "submitted",
        "created",
        "updating",
        "created",
        "cancelling",
        "cancelled",
    ];
    assert_eq!(seen, wanted);
    assert_eq!((row.hash.as_str(), row.workload_version), ("h2", 2));
    assert_eq!(row.extrinsic.as_deref(), Some("x2"));
    assert_eq!(
        (row.contract_id, row.version),
        (Some(ContractId(9)), 6),
        "{row:?}"
    );
    assert!(row.state.has_ended());
}

#[test]
fn what_was_asked_meanwhile_shows_until_it_is_done() {
    let (seen, _) = states(&[submitted(), asked(2), created(), updated(2)]);
    assert_eq!(seen, ["submitted", "submitted", "updating", "created"]);
    let (seen, _) = states(&[submitted(), end_asked(), created(), ended(), created()]);
    assert_eq!(
        seen[1..],
        ["cancelling", "cancelling", "cancelled", "cancelled"]
    );
}

#[test]
fn what_failed_leaves_the_deployment_as_it_was() {
    let (seen, row) = states(&[created(), asked(2), asked(2), update_failed(2)]);
    assert_eq!(seen, ["created", "updating", "updating", "created"]);
    assert_eq!((row.workload_version, row.wanted_version), (1, 2));
    assert_eq!(row.reason.as_deref(), Some("never_will"));
    let (seen, _) = states(&[created(), asked(2), asked(3), update_failed(2), updated(3)]);
    assert_eq!(seen[3..], ["updating", "created"]);
    let (seen, _) = states(&[created(), end_asked(), end_failed()]);
    assert_eq!(seen[1..], ["cancelling", "created"]);
    let failed = ContractFailed {
        deployment_id: id(),
        user_id: user(),
        request_id: EventId::derive(&["c"]),
        attempt: 1,
        code: "never_will".to_owned(),
        detail: String::new(),
        operation: Operation::Create,
    };
    let (seen, row) = states(&[submitted(), failed.into()]);
    assert_eq!(seen[1], "submitted");
    assert_eq!(row.reason.as_deref(), Some("never_will"));
}

#[test]
fn what_the_chain_does_by_itself_shows() {
    let billed = |amount| {
        DeploymentEvent::from(ContractBilled {
            deployment_id: id(),
            user_id: user(),
            contract_id: ContractId(9),
            amount: Amount::from_whole(amount),
            block: 20,
            event_index: 1,
            billed_at: None,
        })
    };
    let started = DeploymentEvent::from(GracePeriodStarted {
        deployment_id: id(),
        user_id: user(),
        contract_id: ContractId(9),
        block: 21,
        event_index: 1,
    });
    let before = [created(), billed(2), billed(3), started];
    let (seen, row) = states(&before);
    assert!(seen.iter().all(|state| *state == "created"));
    assert_eq!(
        (row.billed, row.grace_since),
        (Amount::from_whole(5), Some(21))
    );
    let ended = DeploymentEvent::from(GracePeriodEnded {
        deployment_id: id(),
        user_id: user(),
        contract_id: ContractId(9),
        block: 22,
        event_index: 1,
    });
    let whole = [before.as_slice(), &[ended]].concat();
    assert_eq!(states(&whole).1.grace_since, None);
    // Its beginning was lost and comes again.
    let (_, row) = states(&[whole.as_slice(), &before[3..]].concat());
    assert_eq!(row.grace_since, None);
    let gone = DeploymentEvent::from(ContractCancelledByChain {
        deployment_id: id(),
        user_id: user(),
        contract_id: ContractId(9),
        block: 23,
        event_index: 1,
    });
    let (seen, row) = states(&[created(), gone, self::ended()]);
    assert_eq!(seen, ["created", "created", "cancelled"]);
    assert_eq!((row.extrinsic.as_deref(), row.block), (Some(""), Some(23)));
}

#[test]
fn created_is_not_yet_running() {
    let delivered = |version| {
        DeploymentEvent::from(WorkloadDelivered {
            deployment_id: id(),
            user_id: user(),
            contract_id: ContractId(9),
            node_id: NodeId(3),
            version,
        })
    };
    let running = |version| {
        DeploymentEvent::from(WorkloadRunning {
            deployment_id: id(),
            user_id: user(),
            contract_id: ContractId(9),
            node_id: NodeId(3),
            version,
        })
    };
    let failed = DeploymentEvent::from(WorkloadFailed {
        deployment_id: id(),
        user_id: user(),
        contract_id: ContractId(9),
        node_id: NodeId(3),
        version: 2,
        reason: "no_image".to_owned(),
        detail: "the node does not find the image".to_owned(),
    });
    let way = [
        submitted(),
        created(),
        delivered(1),
        running(1),
        asked(2),
        updated(2),
    ];
    let workloads: Vec<Workload> = (1..=way.len())
        .map(|steps| states(&way[..steps]).1.workload)
        .collect();
    assert_eq!(
        workloads,
        [
            Workload::None,
            Workload::None,
            Workload::Delivered,
            Workload::Running,
            Workload::Running,
            Workload::None,
        ]
    );
    // The node still speaks of the workload before.
    let (_, row) = states(&[way.as_slice(), &[running(1)]].concat());
    assert_eq!(row.workload, Workload::None);
    let (seen, row) = states(&[way.as_slice(), &[delivered(2), failed]].concat());
    assert_eq!((seen[7], row.workload), ("created", Workload::Failed));
    assert_eq!(row.reason.as_deref(), Some("no_image"));
}
