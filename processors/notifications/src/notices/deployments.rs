//! Deployments: created, failed, cancelled by whom; a grace period with what was billed before it;
//! a balance that will not last.

use super::to_person;
use crate::kinds::figure;
use events::deployments::DeploymentEvent;
use events::envelope::Record;
use events::ids::{ContractId, UserId};
use events::money::{Amount, Asset, Tft};
use events::notifications::Figure;
use pipeline::{Decision, Policy, Timer};
use std::collections::BTreeMap;

/// The policy `deployment-notices`.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeploymentNotices;

/// What each contract of a user was billed, and whether their balance was low.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Billed {
    contracts: BTreeMap<ContractId, Bill>,
    low: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bill {
    last: Amount<Tft>,
    all: Amount<Tft>,
}

fn coins(amount: Amount<Tft>) -> String {
    format!("{amount} {}", Tft::CODE)
}

fn hours(seconds: i64) -> String {
    match seconds / 3_600 {
        1 => "1 hour".to_owned(),
        hours => format!("{hours} hours"),
    }
}

/// What a record tells its user.
fn told(billed: &Billed, event: &DeploymentEvent) -> Option<(UserId, &'static str, Vec<Figure>)> {
    Some(match event {
        DeploymentEvent::DeploymentCreated(e) => (
            e.user_id,
            "deployment_created",
            vec![
                figure("deployment_id", e.deployment_id),
                figure("contract_id", e.contract_id),
                figure("node_id", e.node_id),
                figure("block", e.block),
            ],
        ),
        DeploymentEvent::BatchCreated(e) => {
            let ids: Vec<String> = e
                .contracts
                .iter()
                .map(|c| c.contract_id.to_string())
                .collect();
            (
                e.user_id,
                "batch_created",
                vec![
                    figure("batch_id", e.batch_id),
                    figure("count", ids.len()),
                    figure("contract_ids", ids.join(", ")),
                    figure("block", e.block),
                ],
            )
        }
        DeploymentEvent::DeploymentFailed(e) => (
            e.user_id,
            "deployment_failed",
            vec![
                figure("deployment_id", e.deployment_id),
                figure("reason", &e.reason),
                figure("detail", &e.detail),
            ],
        ),
        DeploymentEvent::DeploymentUpdateFailed(e) => (
            e.user_id,
            "deployment_update_failed",
            vec![
                figure("deployment_id", e.deployment_id),
                figure("version", e.version),
                figure("reason", &e.reason),
                figure("detail", &e.detail),
            ],
        ),
        DeploymentEvent::DeploymentCancelFailed(e) => (
            e.user_id,
            "deployment_cancel_failed",
            vec![
                figure("deployment_id", e.deployment_id),
                figure("reason", &e.reason),
                figure("detail", &e.detail),
            ],
        ),
        DeploymentEvent::DeploymentCancelled(e) => {
            let contract = e
                .contract_id
                .map_or_else(|| "none".to_owned(), |c| c.to_string());
            let kind = if e.reason == "by_chain" {
                "deployment_cancelled_by_chain"
            } else {
                "deployment_cancelled"
            };
            let figures = vec![
                figure("deployment_id", e.deployment_id),
                figure("contract_id", contract),
                figure("detail", &e.detail),
            ];
            (e.user_id, kind, figures)
        }
        DeploymentEvent::GracePeriodStarted(e) => {
            let bill = billed.contracts.get(&e.contract_id);
            let zero = || coins(Amount::ZERO);
            (
                e.user_id,
                "grace_period_started",
                vec![
                    figure("deployment_id", e.deployment_id),
                    figure("contract_id", e.contract_id),
                    figure("block", e.block),
                    figure("last_billed", bill.map_or_else(zero, |b| coins(b.last))),
                    figure("billed", bill.map_or_else(zero, |b| coins(b.all))),
                ],
            )
        }
        DeploymentEvent::GracePeriodEnded(e) => (
            e.user_id,
            "grace_period_ended",
            vec![
                figure("deployment_id", e.deployment_id),
                figure("contract_id", e.contract_id),
                figure("block", e.block),
            ],
        ),
        // Once, until it was enough again.
        DeploymentEvent::UserBalanceAssessed(e) if e.low && !billed.low => (
            e.user_id,
            "balance_low",
            vec![
                figure("balance", coins(e.balance)),
                figure("spent_per_day", coins(e.spent_per_day)),
                figure("lasts", hours(e.lasts_seconds.unwrap_or_default())),
                figure("threshold", hours(e.threshold_seconds)),
            ],
        ),
        DeploymentEvent::WorkloadFailed(e) => (
            e.user_id,
            "workload_failed",
            vec![
                figure("deployment_id", e.deployment_id),
                figure("contract_id", e.contract_id),
                figure("node_id", e.node_id),
                figure("version", e.version),
                figure("reason", &e.reason),
                figure("detail", &e.detail),
            ],
        ),
        DeploymentEvent::DeploymentRequested(_)
        | DeploymentEvent::FundsArrived(_)
        | DeploymentEvent::PurchaseEnded(_)
        | DeploymentEvent::ContractRequested(_)
        | DeploymentEvent::ContractFailed(_)
        | DeploymentEvent::DeploymentUpdateRequested(_)
        | DeploymentEvent::ContractUpdateRequested(_)
        | DeploymentEvent::ContractUpdated(_)
        | DeploymentEvent::DeploymentUpdateRejected(_)
        | DeploymentEvent::DeploymentCancelRequested(_)
        | DeploymentEvent::ContractCancelRequested(_)
        | DeploymentEvent::ContractCancelled(_)
        | DeploymentEvent::BatchRequested(_)
        | DeploymentEvent::BatchContractsRequested(_)
        | DeploymentEvent::BatchFailed(_)
        | DeploymentEvent::ContractAppeared(_)
        | DeploymentEvent::ContractBilled(_)
        | DeploymentEvent::ContractCancelledByChain(_)
        | DeploymentEvent::ContractUpdatedByOther(_)
        | DeploymentEvent::WorkloadDelivered(_)
        | DeploymentEvent::WorkloadRunning(_)
        | DeploymentEvent::UserBalanceRequested(_)
        | DeploymentEvent::UserBalanceObserved(_)
        | DeploymentEvent::UserBalanceAssessed(_)
        | DeploymentEvent::TimerFired(_)
        | DeploymentEvent::DeadLetterReleased(_) => return None,
    })
}

impl Policy for DeploymentNotices {
    const NAME: &'static str = "deployment-notices";
    type Event = DeploymentEvent;
    type State = Billed;

    fn evolve(&self, mut state: Billed, record: &Record<DeploymentEvent>) -> Billed {
        match &record.event {
            DeploymentEvent::ContractBilled(e) => {
                let bill = state.contracts.entry(e.contract_id).or_insert(Bill {
                    last: Amount::ZERO,
                    all: Amount::ZERO,
                });
                bill.last = e.amount;
                bill.all = bill.all.checked_add(e.amount).unwrap_or(bill.all);
            }
            DeploymentEvent::DeploymentCancelled(e) => {
                if let Some(contract) = e.contract_id {
                    state.contracts.remove(&contract);
                }
            }
            DeploymentEvent::UserBalanceAssessed(e) => state.low = e.low,
            _ => {}
        }
        state
    }

    fn decide(
        &self,
        state: &Billed,
        record: &Record<DeploymentEvent>,
    ) -> Decision<DeploymentEvent> {
        match told(state, &record.event) {
            Some((user, kind, figures)) => {
                Decision::nothing().forward(to_person(record, user, kind, figures))
            }
            None => Decision::nothing(),
        }
    }

    fn timers(&self, _: &Billed) -> Vec<Timer> {
        Vec::new()
    }

    fn timer_fired(&self, _: &str, _: &Timer) -> Option<DeploymentEvent> {
        None
    }
}
