//! Every rule of a user's twin.

use events::deposits::{AccountOpened, DepositEvent, credit_key};
use events::envelope::Record;
use events::ids::UserId;
use events::money::{Amount, Tft};
use events::time::Timestamp;
use events::users::{TwinFailed, TwinRequested, UserEvent};
use pipeline::{Decision, Forward, Timer};
use std::time::Duration;

/// Timer: the next attempt at a twin.
pub const RETRY: &str = "retry_twin";

/// The policy's figures.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What activates an account on TFChain.
    pub activation: Amount<Tft>,
    /// How long one attempt may take.
    pub deadline: Duration,
    /// Wait before another attempt; doubles each time, up to an hour.
    pub retry: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            activation: Amount::from_whole(1),
            deadline: Duration::from_secs(300),
            retry: Duration::from_secs(5),
        }
    }
}

/// How far a user is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Twin {
    /// Not registered.
    #[default]
    New,
    /// A twin is being made.
    Requested {
        /// The user.
        user: UserId,
        /// Attempt under way.
        attempt: i32,
    },
    /// The next attempt waits.
    Waiting {
        /// The user.
        user: UserId,
        /// Attempt that failed.
        attempt: i32,
        /// When the next one is due.
        due: Timestamp,
    },
    /// The twin exists.
    Created,
}

impl Twin {
    /// The timers that run in this state.
    #[must_use]
    pub fn timers(&self) -> Vec<Timer> {
        match self {
            Self::Waiting { due, .. } => vec![Timer {
                due: *due,
                name: RETRY.to_owned(),
            }],
            Self::New | Self::Requested { .. } | Self::Created => Vec::new(),
        }
    }
}

/// The state after the fact, and what is to be appended because of it.
#[must_use]
pub fn transition(
    rules: &Rules,
    state: Twin,
    record: &Record<UserEvent>,
) -> (Twin, Decision<UserEvent>) {
    let request = |user: UserId, attempt: i32| {
        let deadline = record.time().after(rules.deadline);
        let event = TwinRequested {
            user_id: user,
            attempt,
            activation: rules.activation,
            deadline,
        };
        (
            Twin::Requested { user, attempt },
            Decision::nothing().and(event),
        )
    };
    match (&record.event, state) {
        (UserEvent::UserRegistered(event), Twin::New) => request(event.user_id, 1),
        (UserEvent::TwinCreated(event), _) => {
            // From now on deposits that name the twin are this user's.
            let opened = AccountOpened {
                twin_id: event.twin_id,
                user_id: event.user_id,
            };
            let forward = Forward::new::<DepositEvent>(credit_key(event.twin_id), opened);
            (Twin::Created, Decision::nothing().forward(forward))
        }
        (
            UserEvent::TwinFailed(TwinFailed {
                attempt: failed, ..
            }),
            Twin::Requested { user, attempt },
        ) if *failed == attempt => {
            let wait = (rules.retry
                * 2_u32.saturating_pow(u32::try_from(attempt).unwrap_or(1).min(10)))
            .min(Duration::from_secs(3600));
            (
                Twin::Waiting {
                    user,
                    attempt,
                    due: record.time().after(wait),
                },
                Decision::nothing(),
            )
        }
        (UserEvent::TimerFired(timer), Twin::Waiting { user, attempt, .. })
            if timer.timer == RETRY =>
        {
            request(user, attempt + 1)
        }
        (
            UserEvent::UserRegistered(_)
            | UserEvent::TwinRequested(_)
            | UserEvent::TwinFailed(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::TimerFired(_)
            | UserEvent::DeadLetterReleased(_),
            state,
        ) => (state, Decision::nothing()),
    }
}
