//! A claimable balance: when it is claimed, and what it is before and after that.
//!
//! Its sender may be able to take it back, and only the ledger says who was first. So it is no deposit
//! until it is claimed; then it is one like any other.

use super::Rulebook;
use super::deposit::named;
use crate::state::{Aside, Deposit, Next, Standing};
use events::deposits::{
    BalanceLapsed, ClaimFailed, ClaimRequested, ClaimableBalanceCreated, CreditReason,
};
use events::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Attempts at a claim before a person is called. It is tried again all the same, for as long as
/// it may be claimed: what stands in its way is for us to mend.
const CLAIM_ATTEMPTS: i32 = 5;
/// What the network says of a balance that is there no more.
const GONE: &str = "op_does_not_exist";

impl Rulebook<'_> {
    pub(super) fn set_aside(&mut self, event: &ClaimableBalanceCreated) -> Deposit {
        let mut deposit = Deposit {
            id: event.deposit_id.clone(),
            from: event.from.clone(),
            asset: event.asset.clone(),
            amount: event.amount,
            transaction: event.transaction.clone(),
            standing: Standing::SetAside,
            parts: BTreeMap::new(),
            aside: Some(Aside {
                balance: event.balance_id.clone(),
                claimable: event.claimable.clone(),
                memo_type: event.memo_type.clone(),
                memo: event.memo.clone(),
                attempt: 0,
                next: Next::Done,
            }),
        };
        match self.usdc(&event.asset, event.amount) {
            Ok(_) => self.claim_from(&mut deposit, self.now),
            Err(why) => {
                self.unmatched(&mut deposit, &why);
                deposit.standing = Standing::NotTaken;
            }
        }
        deposit
    }

    /// Claims it now, or at the first time from `at` on at which we may; it lapses if that is never.
    fn claim_from(&mut self, deposit: &mut Deposit, at: Timestamp) {
        let Some(aside) = &mut deposit.aside else {
            return;
        };
        let Some((when, until)) = aside.claimable_from(at) else {
            let detail = "our account may claim it no more";
            self.lapse(deposit, "expired", detail);
            return;
        };
        if when > self.now {
            aside.next = Next::At(when);
            return;
        }
        aside.attempt += 1;
        aside.next = Next::UnderWay;
        let deadline = self.now.after(self.rules.stellar_deadline);
        // The last ledger in which it may be claimed closes before the window does.
        let last = until.map(|until| until.before(Duration::from_secs(1)));
        let request = ClaimRequested {
            deposit_id: deposit.id.clone(),
            balance_id: aside.balance.clone(),
            attempt: aside.attempt,
            amount: deposit.amount,
            deadline: last.map_or(deadline, |last| last.min(deadline)),
        };
        self.push(request);
    }

    pub(super) fn claim_due(&mut self, deposit: &mut Deposit) {
        let waits = deposit
            .aside
            .as_ref()
            .is_some_and(|aside| matches!(aside.next, Next::At(_)));
        if waits {
            self.claim_from(deposit, self.now);
        }
    }

    /// It is ours: now it is known whose it is.
    pub(super) fn claimed(&mut self, deposit: &mut Deposit) {
        let Some(aside) = &mut deposit.aside else {
            return;
        };
        if !matches!(deposit.standing, Standing::SetAside | Standing::Lapsed) {
            return;
        }
        aside.next = Next::Done;
        if self.rules.own.contains(&deposit.from) {
            deposit.standing = Standing::Own;
            return;
        }
        // A claimant is an account, never a muxed address.
        let twin = named(&aside.memo_type, aside.memo.as_deref(), None);
        match self
            .usdc(&deposit.asset, deposit.amount)
            .and_then(|amount| Ok((amount, twin?)))
        {
            Ok((amount, twin)) => self.offer(deposit, twin, amount, CreditReason::Deposit),
            Err(why) => self.unmatched(deposit, &why),
        }
    }

    pub(super) fn claim_failed(&mut self, deposit: &mut Deposit, event: &ClaimFailed) {
        let Some(aside) = &deposit.aside else {
            return;
        };
        if aside.next != Next::UnderWay || aside.attempt != event.attempt {
            return;
        }
        let attempt = aside.attempt;
        if event.code == GONE {
            let detail = "it was taken back, or claimed by somebody else, before we claimed it";
            self.lapse(deposit, "taken_back", detail);
            return;
        }
        if attempt == CLAIM_ATTEMPTS {
            let detail = format!(
                "claimable balance {} cannot be claimed: {} {}",
                event.balance_id, event.code, event.detail
            );
            self.alarm(deposit, "claim_failed", detail);
        }
        self.claim_from(deposit, self.rules.retry_at(self.now, attempt));
    }

    /// It will never be ours.
    pub(super) fn lapse(&mut self, deposit: &mut Deposit, reason: &str, detail: &str) {
        let Some(aside) = &mut deposit.aside else {
            return;
        };
        aside.next = Next::Done;
        deposit.standing = Standing::Lapsed;
        self.push(BalanceLapsed {
            deposit_id: deposit.id.clone(),
            balance_id: aside.balance.clone(),
            reason: reason.to_owned(),
            detail: detail.to_owned(),
        });
    }
}
