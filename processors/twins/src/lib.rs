//! Users and their twins on TFChain.
//!
//! The policy `users` asks for a twin once a user is registered ([`decide`]); the hand `twins`
//! walks the chain's own state to it: activation, accepted terms, twin.

pub mod decide;

use counterparties_tfchain::{ActivatorKey, Tfchain, TwinPlan, TwinProof, UserSeed};
use decide::{Rules, Twin, transition};
use events::envelope::Record;
use events::ids::{EventId, UserId};
use events::outcome::{Attempt, Find, Refusal};
use events::users::{TimerFired, TwinCreated, TwinFailed, TwinRequested, UserEvent};
use pipeline::{Decision, Executor, Job, Policy, Timer, Verdict};
use std::sync::Arc;

/// The policy `users`.
#[derive(Debug, Clone, Default)]
pub struct Users {
    rules: Rules,
}

impl Users {
    /// The policy under these rules.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

impl Policy for Users {
    const NAME: &'static str = "users";
    type Event = UserEvent;
    type State = Twin;

    fn evolve(&self, state: Twin, record: &Record<UserEvent>) -> Twin {
        transition(&self.rules, state, record).0
    }

    fn decide(&self, state: &Twin, record: &Record<UserEvent>) -> Decision<UserEvent> {
        transition(&self.rules, state.clone(), record).1
    }

    fn timers(&self, state: &Twin) -> Vec<Timer> {
        state.timers()
    }

    fn timer_fired(&self, key: &str, timer: &Timer) -> Option<UserEvent> {
        let user_id: UserId = key.parse().ok()?;
        Some(
            TimerFired {
                user_id,
                timer: timer.name.clone(),
                due: timer.due,
            }
            .into(),
        )
    }
}

/// The executor `twins`.
pub struct Twins {
    chain: Arc<dyn Tfchain>,
    seed: UserSeed,
    activator: ActivatorKey,
}

impl Twins {
    /// The hand; user accounts derive from `seed`, `activator` pays for their activation.
    #[must_use]
    pub fn new(chain: Arc<dyn Tfchain>, seed: UserSeed, activator: ActivatorKey) -> Self {
        Self {
            chain,
            seed,
            activator,
        }
    }

    fn plan(job: &Job<Self>) -> TwinPlan {
        TwinPlan {
            user: job.request.user_id,
            request: job.record.id(),
            deadline: job.request.deadline.seconds(),
            activation: job.request.activation,
        }
    }
}

impl Executor for Twins {
    const NAME: &'static str = "twins";
    type Event = UserEvent;
    type Request = TwinRequested;
    type Proof = TwinProof;
    type Context = ();

    fn observe(&self, (): &mut (), _: &Record<UserEvent>) {}

    fn request(&self, record: &Record<UserEvent>) -> Option<TwinRequested> {
        match &record.event {
            UserEvent::TwinRequested(request) => Some(request.clone()),
            _ => None,
        }
    }

    fn closes(&self, event: &UserEvent) -> Option<EventId> {
        match event {
            UserEvent::TwinCreated(e) => Some(e.request_id),
            UserEvent::TwinFailed(e) => Some(e.request_id),
            _ => None,
        }
    }

    /// A user's chain account is one queue.
    fn queue(&self, job: &Job<Self>) -> String {
        job.record.envelope.subject.clone()
    }

    async fn find(&self, job: &Job<Self>) -> Find<TwinProof> {
        let key = self.seed.user_key(&job.request.user_id);
        self.chain.find_twin(&Self::plan(job), &key).await
    }

    async fn attempt(&self, job: &Job<Self>) -> Attempt<TwinProof> {
        let key = self.seed.user_key(&job.request.user_id);
        self.chain
            .make_twin(&Self::plan(job), &key, &self.activator)
            .await
    }

    async fn outcome(&self, job: &Job<Self>, verdict: Verdict<TwinProof>) -> UserEvent {
        let (request_id, user_id) = (job.record.id(), job.request.user_id);
        let refusal = match verdict {
            Verdict::Landed(proof) => {
                return TwinCreated {
                    user_id,
                    request_id,
                    twin_id: proof.twin,
                    account: proof.account,
                    block: i64::from(proof.block),
                }
                .into();
            }
            Verdict::Refused(refusal) => refusal,
            Verdict::NeverWill(reason) => Refusal::new("never_will", reason),
        };
        TwinFailed {
            user_id,
            request_id,
            attempt: job.request.attempt,
            code: refusal.code,
            detail: refusal.detail,
        }
        .into()
    }
}
