//! What must hold of users' balances: each reading that is asked for is answered once, and tells
//! of no more than was billed.

use events::deployments::DeploymentEvent;
use events::ids::{EventId, UserId};
use std::collections::BTreeMap;

/// The readings of a user's balance, as the log has them.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// What the user's contracts were billed, in 10^-7 TFT.
    billed: i64,
    /// What the requests say that they were billed.
    spent: i64,
    /// Answers to each request.
    answers: BTreeMap<EventId, u32>,
    assessed: u32,
}

impl Readings {
    /// Whether nothing is asked.
    pub fn at_rest(&self) -> bool {
        self.answers.values().all(|answers| *answers > 0)
    }
}

/// Takes a fact of the log.
pub fn take(all: &mut BTreeMap<UserId, Readings>, event: &DeploymentEvent, id: EventId) {
    match event {
        DeploymentEvent::ContractBilled(e) => {
            all.entry(e.user_id).or_default().billed += e.amount.minor();
        }
        DeploymentEvent::UserBalanceRequested(e) => {
            let seen = all.entry(e.user_id).or_default();
            seen.spent += e.spent.minor();
            seen.answers.entry(id).or_default();
        }
        DeploymentEvent::UserBalanceObserved(e) => {
            let seen = all.entry(e.user_id).or_default();
            *seen.answers.entry(e.request_id).or_default() += 1;
        }
        DeploymentEvent::UserBalanceAssessed(e) => {
            all.entry(e.user_id).or_default().assessed += 1;
        }
        _ => {}
    }
}

/// What must not be.
pub fn violations(all: &BTreeMap<UserId, Readings>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (user, seen) in all {
        let answers: u32 = seen.answers.values().sum();
        if seen.answers.values().any(|answers| *answers != 1) || seen.assessed != answers {
            wrong.push(format!(
                "the balance of user {user} was asked for {} times, read {answers} times and judged {} times",
                seen.answers.len(),
                seen.assessed
            ));
        }
        if seen.spent > seen.billed {
            wrong.push(format!(
                "user {user} was billed {}, and is told to have spent {}",
                seen.billed, seen.spent
            ));
        }
    }
    wrong
}
