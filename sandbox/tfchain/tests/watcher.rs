//! The source of contracts' facts, reading the stand-in through the client.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod world;

use counterparties_tfchain::{ContractPlan, ContractProof, Tfchain};
use events::deployments::{
    ContractAppeared, ContractCancelRequested, ContractRequested, ContractUpdateRequested,
    DeploymentCreated, DeploymentEvent, DeploymentKind,
};
use events::envelope::{Envelope, Record};
use events::ids::EventId;
use events::money::Amount;
use events::schema::EventSet;
use events::time::Timestamp;
use pipeline::{Claim, Source};
use processor_watcher::{ContractWatcher, Contracts};
use sandbox_tfchain::ledger::OfItself;
use sandbox_tfchain::runtime::pallet_smart_contract::Call;
use sandbox_tfchain::runtime::tfchain_runtime::RuntimeCall;
use std::sync::Arc;
use world::{ON_SUBMISSION, World, drive_contract, world};

/// A source with the state of its partition.
struct Watching {
    source: ContractWatcher,
    state: Contracts,
    cursor: Option<String>,
    restarted: bool,
}

impl Watching {
    fn new(w: &World) -> Self {
        Self {
            source: ContractWatcher::new(Arc::new(w.client()), 1),
            state: Contracts::default(),
            cursor: None,
            restarted: false,
        }
    }

    fn take(&mut self, event: impl Into<DeploymentEvent>) {
        let event = event.into();
        let record = Record {
            partition: 0,
            offset: 0,
            envelope: Envelope {
                id: EventId::derive(&[event.name()]),
                source: "/test".into(),
                time: Timestamp(1),
                subject: "ada".into(),
                correlation: None,
                causation: None,
                traceparent: None,
            },
            event,
        };
        self.source.evolve(&mut self.state, &record);
    }

    /// What is appended because of the blocks up to the head.
    async fn read(&mut self) -> Vec<DeploymentEvent> {
        let mut told = Vec::new();
        loop {
            let cursor = self.cursor.clone();
            let reading = self.source.read(cursor.as_deref(), self.restarted).await;
            self.restarted = false;
            for fact in &reading.facts {
                match self.source.claim(&self.state, 0, fact) {
                    Claim::Mine(_, planned) => told.push(planned.event),
                    Claim::Outside { .. } => panic!("{fact:?}"),
                    Claim::NotMine => {}
                }
            }
            self.cursor = Some(reading.cursor);
            if reading.up_to.is_some() {
                return told;
            }
        }
    }

    async fn names(&mut self) -> Vec<&'static str> {
        self.read().await.iter().map(EventSet::name).collect()
    }
}

fn wanted(plan: &ContractPlan) -> ContractRequested {
    ContractRequested {
        deployment_id: plan.deployment,
        user_id: plan.user,
        twin_id: plan.twin,
        attempt: 1,
        node_id: plan.node,
        version: 1,
        hash: plan.hash.clone(),
        data: plan.data.clone(),
        public_ips: 0,
        solution_provider: None,
        minimum_balance: Amount::ZERO,
        deadline: Timestamp(1),
        kind: DeploymentKind::Node,
        name: None,
        above: 0,
    }
}

fn created(plan: &ContractPlan, made: &ContractProof) -> DeploymentCreated {
    DeploymentCreated {
        deployment_id: plan.deployment,
        user_id: plan.user,
        request_id: EventId::derive(&["request"]),
        node_id: plan.node,
        contract_id: made.contract,
        hash: plan.hash.clone(),
        extrinsic: made.extrinsic_hash.clone(),
        block: i64::from(made.block),
    }
}

async fn deployed(w: &World, user: &str) -> (ContractPlan, ContractProof) {
    let twin = w.twin(user).await.twin;
    let plan = w.contract_plan(user, twin, "web");
    let made = drive_contract(&w.client(), &plan, &w.key(user)).await;
    (plan, made)
}

#[tokio::test]
async fn what_happens_before_the_outcome_is_known_is_not_lost() {
    let w = world(ON_SUBMISSION).await;
    let (plan, made) = deployed(&w, "ada").await;
    let (_, strangers) = deployed(&w, "bob").await;
    for contract in [made.contract.0, strangers.contract.0] {
        w.chain
            .of_itself(OfItself::Bill {
                contract,
                amount: 7,
            })
            .unwrap();
        w.chain
            .of_itself(OfItself::StartGrace { contract })
            .unwrap();
    }
    let mut watching = Watching::new(&w);
    watching.take(wanted(&plan));
    let told = watching.read().await;
    let names: Vec<&str> = told.iter().map(EventSet::name).collect();
    assert_eq!(
        names,
        ["ContractAppeared", "ContractBilled", "GracePeriodStarted"]
    );
    assert!(matches!(
        &told[1],
        DeploymentEvent::ContractBilled(e)
            if e.amount.minor() == 7 && e.contract_id == made.contract && e.deployment_id == plan.deployment
    ));
    // Another process goes on far behind the creation: what was found stands in the log.
    let DeploymentEvent::ContractAppeared(appeared) = &told[0] else {
        panic!("{told:?}")
    };
    let mut next = Watching::new(&w);
    next.take(wanted(&plan));
    next.take(ContractAppeared { ..appeared.clone() });
    w.chain.seal_blocks(60);
    next.cursor = Some(w.chain.finalized().number.to_string());
    let contract = made.contract.0;
    w.chain.of_itself(OfItself::EndGrace { contract }).unwrap();
    assert_eq!(next.names().await, ["GracePeriodEnded"]);
    // The same once the outcome is known; the creation is no news then.
    next.take(created(&plan, &made));
    w.chain
        .of_itself(OfItself::OutOfFunds { contract })
        .unwrap();
    assert_eq!(next.names().await, ["ContractCancelledByChain"]);
    // Blocks are read again after a restart: the same facts, with the same ids.
    (next.cursor, next.restarted) = (Some("1".to_owned()), false);
    assert_eq!(
        next.names().await,
        [
            "ContractBilled",
            "GracePeriodStarted",
            "GracePeriodEnded",
            "ContractCancelledByChain"
        ]
    );
}

#[tokio::test]
async fn what_gridway_did_itself_is_no_news() {
    let w = world(ON_SUBMISSION).await;
    let (plan, made) = deployed(&w, "ada").await;
    let mut watching = Watching::new(&w);
    watching.take(wanted(&plan));
    watching.take(created(&plan, &made));
    assert!(watching.read().await.is_empty());
    let (ours, theirs) = ([0x11; 32], [0x22; 32]);
    watching.take(ContractUpdateRequested {
        deployment_id: plan.deployment,
        user_id: plan.user,
        twin_id: plan.twin,
        attempt: 1,
        node_id: plan.node,
        contract_id: made.contract,
        created_block: i64::from(made.block),
        version: 2,
        hash: hex::encode(ours),
        data: String::new(),
        deadline: Timestamp(1),
    });
    let key = w.key("ada");
    let contract_id = made.contract.0;
    for deployment_hash in [ours, theirs] {
        let update = RuntimeCall::SmartContractModule(Call::update_node_contract {
            contract_id,
            deployment_hash,
            deployment_data: Vec::new(),
        });
        w.submit(&key, &update).unwrap();
    }
    let told = watching.read().await;
    assert!(
        matches!(
            told.as_slice(),
            [DeploymentEvent::ContractUpdatedByOther(e)] if e.hash == hex::encode(theirs)
        ),
        "{told:?}"
    );
    watching.take(ContractCancelRequested {
        deployment_id: plan.deployment,
        user_id: plan.user,
        twin_id: plan.twin,
        attempt: 1,
        contract_id: made.contract,
        created_block: i64::from(made.block),
        deadline: Timestamp(1),
    });
    let cancel = RuntimeCall::SmartContractModule(Call::cancel_contract { contract_id });
    w.submit(&key, &cancel).unwrap();
    assert!(watching.read().await.is_empty());
    assert!(w.client().finalized_head().await.unwrap().number > made.block);
}
