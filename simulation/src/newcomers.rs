//! People for whom a twin is asked, and what must hold of them.

use crate::dice::Dice;
use crate::tfchain::Holds;
use crate::time;
use crate::world::World;
use events::ids::{EventId, TwinId, UserId};
use events::money::Amount;
use events::users::{TwinRequested, UserEvent};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// No world troubles TFChain for so long: whoever asks gets a twin.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// Somebody who wants a twin, as the log has them.
#[derive(Debug, Clone, Default)]
pub struct Newcomer {
    /// Account and twin, each time that it is said.
    twins: Vec<(String, TwinId)>,
    open: BTreeSet<EventId>,
}

impl Newcomer {
    /// Whether they have a twin, and nothing is under way.
    pub fn at_rest(&self) -> bool {
        self.open.is_empty() && !self.twins.is_empty()
    }
}

impl World {
    /// Asks for a twin for somebody at this time, in the place of the policy `users`.
    pub async fn newcomer(self, seed: u64, number: usize, at: u64) {
        let dice = Dice::new(seed, &format!("newcomer {number}"));
        tokio::time::sleep(Duration::from_millis(at)).await;
        let user = UserId::derive(&["newcomer", &seed.to_string(), &number.to_string()]);
        let event = UserEvent::from(TwinRequested {
            user_id: user,
            attempt: 1,
            activation: Amount::from_whole(1),
            deadline: time::now().after(PATIENCE),
        });
        let id = EventId::derive(&["twin", &user.to_string()]);
        if let Ok(append) = self.encode(&self.fixture.users, &user.to_string(), id, &event) {
            let times = 1 + dice.below(3);
            self.tell(append, &dice, times).await;
        }
    }
}

/// Takes a fact of the log.
pub fn take(all: &mut BTreeMap<UserId, Newcomer>, event: &UserEvent, id: EventId) {
    match event {
        UserEvent::TwinRequested(e) => {
            all.entry(e.user_id).or_default().open.insert(id);
        }
        UserEvent::TwinCreated(e) => {
            let seen = all.entry(e.user_id).or_default();
            seen.open.remove(&e.request_id);
            seen.twins.push((e.account.clone(), e.twin_id));
        }
        UserEvent::TwinFailed(e) => {
            all.entry(e.user_id).or_default().open.remove(&e.request_id);
        }
        UserEvent::UserRegistered(_)
        | UserEvent::RoleGranted(_)
        | UserEvent::RoleRevoked(_)
        | UserEvent::TimerFired(_)
        | UserEvent::DeadLetterReleased(_) => {}
    }
}

/// What must not be; `asked` is for how many a twin was asked.
pub fn violations(all: &BTreeMap<UserId, Newcomer>, asked: usize, chain: &Holds) -> Vec<String> {
    let mut wrong = Vec::new();
    if all.len() != asked || chain.twins.len() > asked {
        let made = chain.twins.len();
        wrong.push(format!(
            "{asked} people want a twin, {} are known, {made} have one",
            all.len()
        ));
    }
    for (user, seen) in all {
        let [(account, twin)] = seen.twins.as_slice() else {
            let told = seen.twins.len();
            wrong.push(format!("user {user}: {told} twins are told of"));
            continue;
        };
        let made = chain.twins.get(account).map(Vec::as_slice);
        if made != Some(&[twin.0]) {
            wrong.push(format!("user {user}: twin {twin} is told, {made:?} stand"));
        }
        if !seen.open.is_empty() {
            wrong.push(format!("user {user}: a request for a twin is still open"));
        }
    }
    for (account, times) in &chain.activations {
        if *times != 1 {
            wrong.push(format!("{account} was activated {times} times"));
        }
    }
    wrong
}
