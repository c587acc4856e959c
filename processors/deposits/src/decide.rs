//! Every rule of deposits and of the credit of twins.
//!
//! [`transition`] is one function from (state, fact) to (state, events). What the policy itself
//! appends about an aggregate does not change that aggregate.

mod claim;
mod credit;
mod deposit;

use crate::state::{Aggregate, CLAIM, Credit, Rules};
use events::deposits::DepositEvent;
use events::envelope::Record;
use events::ids::TwinId;
use events::time::Timestamp;
use pipeline::{Decision, Forward, Planned};

struct Rulebook<'a> {
    rules: &'a Rules,
    now: Timestamp,
    out: Decision<DepositEvent>,
}

impl Rulebook<'_> {
    /// The only event of its type that the fact leads to.
    fn push(&mut self, event: impl Into<DepositEvent>) {
        self.out.own.push(Planned::new(event));
    }

    /// One of several events of its type.
    fn push_one(&mut self, event: impl Into<DepositEvent>, discriminator: impl Into<String>) {
        self.out
            .own
            .push(Planned::new(event).discriminated(discriminator));
    }

    fn forward(&mut self, forward: Forward) {
        self.out.forward.push(forward);
    }
}

/// The state after the fact, and what is to be appended because of it.
#[must_use]
pub fn transition(
    rules: &Rules,
    mut state: Aggregate,
    record: &Record<DepositEvent>,
) -> (Aggregate, Decision<DepositEvent>) {
    let mut book = Rulebook {
        rules,
        now: record.time(),
        out: Decision::nothing(),
    };
    match &record.event {
        DepositEvent::PaymentReceived(event) => {
            if state == Aggregate::New {
                state = Aggregate::Deposit(book.received(event));
            }
        }
        DepositEvent::PaymentUnreadable(event) => {
            if state == Aggregate::New {
                state = Aggregate::Deposit(book.unreadable(event));
            }
        }
        DepositEvent::ClaimableBalanceCreated(event) => {
            if state == Aggregate::New {
                state = Aggregate::Deposit(book.set_aside(event));
            }
        }
        DepositEvent::BalanceClaimed(_) => {
            if let Aggregate::Deposit(deposit) = &mut state {
                book.claimed(deposit);
            }
        }
        DepositEvent::ClaimFailed(event) => {
            if let Aggregate::Deposit(deposit) = &mut state {
                book.claim_failed(deposit, event);
            }
        }
        DepositEvent::AccountOpened(event) => {
            if let Some(credit) = credit_of(&mut state, event.twin_id) {
                credit.user.get_or_insert(event.user_id);
            }
        }
        DepositEvent::CreditBooked(event) => {
            if let Some(credit) = credit_of(&mut state, event.twin_id) {
                book.booked(credit, event);
            }
        }
        DepositEvent::FundsWanted(event) => {
            if let Some(credit) = credit_of(&mut state, event.twin_id) {
                book.wanted(credit, event);
            }
        }
        DepositEvent::CreditRefused(event) => {
            // In the aggregate of the credit it is our own decision.
            if let Aggregate::Deposit(deposit) = &mut state {
                book.refused(deposit, event);
            }
        }
        DepositEvent::DepositAssigned(event) => {
            if let Aggregate::Deposit(deposit) = &mut state {
                book.assigned(deposit, event);
            }
        }
        DepositEvent::DepositReturnOrdered(_) => {
            if let Aggregate::Deposit(deposit) = &mut state {
                book.return_ordered(deposit);
            }
        }
        DepositEvent::PartReturnWanted(event) => {
            if let Aggregate::Deposit(deposit) = &mut state {
                book.part_wanted(deposit, event);
            }
        }
        DepositEvent::DepositReturned(event) => {
            if let Aggregate::Deposit(deposit) = &mut state {
                book.returned(deposit, event);
            }
        }
        DepositEvent::DepositReturnFailed(event) => {
            if let Aggregate::Deposit(deposit) = &mut state {
                book.return_failed(deposit, event);
            }
        }
        DepositEvent::TimerFired(event) => match &mut state {
            Aggregate::New => {}
            Aggregate::Deposit(deposit) if event.timer == CLAIM => book.claim_due(deposit),
            Aggregate::Deposit(deposit) => book.retry(deposit, &event.timer),
            Aggregate::Credit(credit) => book.expired(credit, &event.timer),
        },
        // Our own decisions, and the lanes of the hand.
        DepositEvent::LanesOpened(_)
        | DepositEvent::ClaimRequested(_)
        | DepositEvent::BalanceLapsed(_)
        | DepositEvent::UsdcDeposited(_)
        | DepositEvent::DepositUnmatched(_)
        | DepositEvent::FundsGranted(_)
        | DepositEvent::FundsExpired(_)
        | DepositEvent::DepositReturnRequested(_)
        | DepositEvent::PartReturned(_)
        | DepositEvent::DepositAlarmed(_)
        | DepositEvent::DeadLetterReleased(_) => {}
    }
    (state, book.out)
}

/// The credit of the twin; `None` when the aggregate is a deposit.
fn credit_of(state: &mut Aggregate, twin: TwinId) -> Option<&mut Credit> {
    if *state == Aggregate::New {
        *state = Aggregate::Credit(Credit::new(twin));
    }
    match state {
        Aggregate::Credit(credit) => Some(credit),
        Aggregate::New | Aggregate::Deposit(_) => None,
    }
}
