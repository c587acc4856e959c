//! How contracts come to be, one by one or in batches.

use super::{ATTEMPTS, BY_USER, Out, Rules, backoff, end, failed, join, rest};
use crate::state::{Contract, Deployment, Deployments, Doing, Stage};
use events::deployments::{
    BatchContractsRequested, BatchCreated, BatchFailed, BatchMember, BatchRequested,
    ContractRequested, DeploymentKind, DeploymentRequested,
};
use events::ids::{BatchId, DeploymentId, PurchaseId};
use events::time::Timestamp;
use pipeline::Decision;
use std::collections::BTreeMap;

/// Takes an order that is new.
pub(super) fn order(
    rules: &Rules,
    state: &mut Deployments,
    order: &DeploymentRequested,
    now: Timestamp,
) -> Out {
    if state.all.contains_key(&order.deployment_id) {
        return Decision::nothing();
    }
    begin(rules, state, vec![(order.clone(), None)], now)
}

/// Takes the orders of a batch that is new.
pub(super) fn batch(
    rules: &Rules,
    state: &mut Deployments,
    batch: &BatchRequested,
    now: Timestamp,
) -> Out {
    let mut members = batch.members.iter();
    if members.any(|member| state.all.contains_key(&member.deployment_id)) {
        return Decision::nothing();
    }
    let order = |member: &BatchMember| DeploymentRequested {
        deployment_id: member.deployment_id,
        user_id: batch.user_id,
        twin_id: batch.twin_id,
        node_id: member.node_id,
        version: member.version,
        data: member.data.clone(),
        hash: member.hash.clone(),
        public_ips: member.public_ips,
        solution_provider: member.solution_provider,
        waits_for: batch.waits_for,
        minimum_balance: batch.minimum_balance,
        requested_at: batch.requested_at,
        kind: member.kind,
        name: member.name.clone(),
    };
    let orders = batch.members.iter();
    let orders = orders.map(|member| (order(member), Some(batch.batch_id)));
    begin(rules, state, orders.collect(), now)
}

/// All of them begin, or none.
fn begin(
    rules: &Rules,
    state: &mut Deployments,
    orders: Vec<(DeploymentRequested, Option<BatchId>)>,
    now: Timestamp,
) -> Out {
    let mut ids = Vec::with_capacity(orders.len());
    let mut refused = None;
    let mut waits_for = None;
    for (order, batch) in orders {
        if in_use(state, &order) {
            refused = Some((
                "in_use",
                "another deployment of the user has this name, or rents this node",
            ));
        }
        waits_for = order.waits_for;
        ids.push(order.deployment_id);
        let deployment = Deployment {
            latest: order.version,
            batch,
            stage: Stage::Failed,
            next: None,
            cancel: false,
            order,
        };
        // In force from here on, so that a batch is held against itself, too.
        state
            .all
            .insert(deployment.order.deployment_id, waiting(deployment));
    }
    match waits_for {
        Some(purchase) if state.ended.contains(&purchase) => {
            refused = Some(("purchase_ended", "the purchase that it waits for has ended"));
        }
        Some(purchase) if refused.is_none() && !state.funded.contains(&purchase) => {
            for id in &ids {
                if let Some(deployment) = state.all.get_mut(id) {
                    deployment.stage = Stage::WaitingForFunds(purchase);
                }
            }
            return Decision::nothing();
        }
        Some(_) | None => {}
    }
    let Some((reason, detail)) = refused else {
        return create(rules, state, &ids, 1, now);
    };
    let mut out = Decision::nothing();
    for id in &ids {
        if let Some(deployment) = state.all.get_mut(id) {
            deployment.stage = Stage::Failed;
            out = out.and(failed(&deployment.order, reason, detail));
        }
    }
    out
}

/// As it is until it is asked for.
fn waiting(mut deployment: Deployment) -> Deployment {
    deployment.stage = Stage::Submitted {
        doing: Doing::Create,
        attempt: 0,
    };
    deployment
}

/// Of a name, and of a whole node, a user has one deployment at a time: whose contract one is could
/// not be told otherwise.
fn in_use(state: &Deployments, order: &DeploymentRequested) -> bool {
    state.all.values().any(|other| {
        let over = matches!(other.stage, Stage::Cancelled | Stage::Failed);
        let same = match (order.kind, other.order.kind) {
            (DeploymentKind::Name, DeploymentKind::Name) => order.name == other.order.name,
            (DeploymentKind::Rent, DeploymentKind::Rent) => order.node_id == other.order.node_id,
            (DeploymentKind::Node | DeploymentKind::Name | DeploymentKind::Rent, _) => false,
        };
        !over && same
    })
}

/// Those that wait for a purchase.
pub(super) fn waiting_for(state: &Deployments, purchase: PurchaseId) -> Vec<DeploymentId> {
    let all = state.all.iter();
    all.filter(|(_, deployment)| deployment.stage == Stage::WaitingForFunds(purchase))
        .map(|(id, _)| *id)
        .collect()
}

/// Asks the hand for contracts: those of a batch together.
pub(super) fn create(
    rules: &Rules,
    state: &mut Deployments,
    ids: &[DeploymentId],
    attempt: i32,
    now: Timestamp,
) -> Out {
    let (above, deadline) = (state.highest, now.after(rules.deadline));
    let mut out = Decision::nothing();
    let mut batches: BTreeMap<BatchId, BatchContractsRequested> = BTreeMap::new();
    for id in ids {
        let Some(deployment) = state.all.get_mut(id) else {
            continue;
        };
        deployment.stage = Stage::Submitted {
            doing: Doing::Create,
            attempt,
        };
        let order = &deployment.order;
        match deployment.batch {
            None => {
                out = out.and(ContractRequested {
                    deployment_id: order.deployment_id,
                    user_id: order.user_id,
                    twin_id: order.twin_id,
                    attempt,
                    node_id: order.node_id,
                    version: order.version,
                    hash: order.hash.clone(),
                    data: order.data.clone(),
                    public_ips: order.public_ips,
                    solution_provider: order.solution_provider,
                    minimum_balance: order.minimum_balance,
                    deadline,
                    kind: order.kind,
                    name: order.name.clone(),
                    above,
                });
            }
            Some(batch_id) => {
                let batch = batches.entry(batch_id).or_insert(BatchContractsRequested {
                    batch_id,
                    user_id: order.user_id,
                    twin_id: order.twin_id,
                    attempt,
                    members: Vec::new(),
                    minimum_balance: order.minimum_balance,
                    deadline,
                });
                batch.members.push(BatchMember {
                    deployment_id: order.deployment_id,
                    kind: order.kind,
                    node_id: order.node_id,
                    name: order.name.clone(),
                    version: order.version,
                    data: order.data.clone(),
                    hash: order.hash.clone(),
                    public_ips: order.public_ips,
                    solution_provider: order.solution_provider,
                    above,
                });
            }
        }
    }
    for batch in batches.into_values() {
        out = out.and(batch);
    }
    out
}

pub(super) fn batch_created(
    rules: &Rules,
    state: &mut Deployments,
    created: &BatchCreated,
    now: Timestamp,
) -> Out {
    let mut out = Decision::nothing();
    for made in &created.contracts {
        let contract = Contract {
            id: made.contract_id,
            block: created.block,
        };
        out = join(
            out,
            came_to_be(rules, state, made.deployment_id, contract, now),
        );
    }
    out
}

/// The contract of a deployment exists.
pub(super) fn came_to_be(
    rules: &Rules,
    state: &mut Deployments,
    deployment: DeploymentId,
    contract: Contract,
    now: Timestamp,
) -> Out {
    state.saw(contract.id);
    super::balance::began(&mut state.account, now);
    match state.all.get_mut(&deployment) {
        Some(deployment) if deployment.awaits_creation() => rest(rules, deployment, contract, now),
        Some(_) | None => Decision::nothing(),
    }
}

pub(super) fn batch_failed(
    rules: &Rules,
    state: &mut Deployments,
    event: &BatchFailed,
    now: Timestamp,
) -> Out {
    let mut out = Decision::nothing();
    let again = event.code == "never_will" && event.attempt < ATTEMPTS;
    for deployment in state.all.values_mut() {
        let awaited = matches!(
            &deployment.stage,
            Stage::Submitted { doing: Doing::Create, attempt } if *attempt == event.attempt
        );
        if deployment.batch != Some(event.batch_id) || !awaited {
            continue;
        }
        if deployment.cancel {
            let detail = "its owner cancelled it before there was a contract";
            out = join(out, end(deployment, None, BY_USER, detail));
        } else if again {
            deployment.renew();
            deployment.stage = Stage::Retrying {
                doing: Doing::Create,
                attempt: event.attempt,
                due: now.after(backoff(rules, event.attempt)),
            };
        } else {
            deployment.stage = Stage::Failed;
            out = out.and(failed(&deployment.order, &event.code, &event.detail));
        }
    }
    out
}
