//! The source `deposit-watcher`: what our account is paid on Stellar, and what is set aside for it in
//! claimable balances.
//!
//! Pages through the account's operations with a cursor, in the ledger's order. A page is whole up to
//! its last record, whatever height the Horizon that answers has, so nothing between two pages can be
//! missed, however long it was down. A record that cannot be read is a fact, too, by itself.

use counterparties_stellar::{
    AccountId, ClaimableView, PaymentRecord, PaymentView, PaymentsPage, ReadError, Stellar, Window,
};
use events::deposits::{
    ClaimWindow, ClaimableBalanceCreated, DepositEvent, PaymentReceived, PaymentUnreadable,
};
use events::envelope::Record;
use events::ids::EventId;
use events::time::Timestamp;
use pipeline::{Claim, Reading, Source};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Records of a page.
const PAGE: u8 = 200;
/// Ledgers that are read again after a start.
const OVERLAP: i64 = 20;
/// How long the account is left alone after its end was reached.
const POLL: Duration = Duration::from_millis(500);
/// Horizon's operation ids hold the ledger in their upper half.
const LEDGER_BITS: u32 = 32;

/// The source `deposit-watcher`.
pub struct DepositWatcher {
    stellar: Arc<dyn Stellar>,
    account: AccountId,
    first: String,
    every: Duration,
    /// The last page was not full: there is nothing more for now.
    at_end: AtomicBool,
}

/// What Horizon lists about our account.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Somebody paid us.
    Payment(Box<PaymentView>),
    /// Somebody set something aside for us.
    SetAside(Box<ClaimableView>),
    /// It cannot be read.
    Unreadable {
        /// Horizon's id of the record, or its paging token.
        id: String,
        /// What is wrong with it.
        problem: String,
        /// The record.
        raw: String,
    },
}

impl DepositWatcher {
    /// The source; without a cursor it begins after `first`, which is `0` for the whole history.
    #[must_use]
    pub fn new(stellar: Arc<dyn Stellar>, account: AccountId, first: impl Into<String>) -> Self {
        Self {
            stellar,
            account,
            first: first.into(),
            every: POLL,
            at_end: AtomicBool::new(false),
        }
    }

    /// Looks so often once it has read to the end, instead of twice a second.
    #[must_use]
    pub const fn polling(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Where to read on. After a start some ledgers are read again.
    fn from(&self, cursor: Option<&str>, restarted: bool) -> String {
        match cursor {
            None => self.first.clone(),
            Some(cursor) if restarted => back(cursor, &self.first),
            Some(cursor) => cursor.to_owned(),
        }
    }

    /// The next page, with the ledger time up to which everything is covered by it, where it tells.
    async fn page(&self, from: &str) -> Result<(PaymentsPage, Option<Timestamp>), ReadError> {
        // The ledger's time first: what closed until then is on the page, if it is not a full one.
        let (_, closed_at) = self.stellar.latest_ledger().await?;
        let page = self
            .stellar
            .payments_after(&self.account, Some(from), PAGE)
            .await?;
        self.at_end.store(!page.full, Ordering::Relaxed);
        if !page.full {
            return Ok((page, Some(closed_at)));
        }
        let up_to = page.records.iter().rev().find_map(|record| match record {
            PaymentRecord::Read(view) => Some(view.created_at),
            PaymentRecord::SetAside(view) => Some(view.created_at),
            PaymentRecord::Unread { .. } => None,
        });
        Ok((page, up_to))
    }

    fn seen(&self, record: PaymentRecord) -> Option<Seen> {
        match record {
            PaymentRecord::Read(view) => {
                // What we pay ourselves, such as a swap, and what we pay others is no deposit.
                let received = view.to == self.account && view.from != self.account;
                (received && view.successful).then_some(Seen::Payment(view))
            }
            PaymentRecord::SetAside(view) => {
                let others = view.from != self.account;
                (others && view.successful).then_some(Seen::SetAside(view))
            }
            PaymentRecord::Unread { why, raw } => {
                let ours = self.account.as_str();
                if raw["from"] == ours || raw["transaction_successful"] == false {
                    return None;
                }
                let text = |field: &str| raw[field].as_str().map(ToOwned::to_owned);
                let id = text("id").or_else(|| text("paging_token"));
                Some(Seen::Unreadable {
                    id: id.unwrap_or_else(|| EventId::derive(&[&raw.to_string()]).to_string()),
                    problem: why,
                    raw: raw.to_string(),
                })
            }
        }
    }
}

/// The cursor some ledgers earlier, but not before the first.
fn back(cursor: &str, first: &str) -> String {
    let (Ok(at), Ok(first_at)) = (cursor.parse::<i64>(), first.parse::<i64>()) else {
        return cursor.to_owned();
    };
    at.saturating_sub(OVERLAP << LEDGER_BITS)
        .max(first_at)
        .to_string()
}

impl Source for DepositWatcher {
    const NAME: &'static str = "deposit-watcher";
    type Event = DepositEvent;
    type Fact = Seen;
    type State = ();

    fn evolve(&self, (): &mut (), _: &Record<DepositEvent>) {}

    /// The cursor is the paging token of the last record that was read.
    async fn read(&self, cursor: Option<&str>, restarted: bool) -> Reading<Seen> {
        let from = self.from(cursor, restarted);
        let mut wait = self.every;
        if !restarted && self.at_end.load(Ordering::Relaxed) {
            tokio::time::sleep(self.every).await;
        }
        loop {
            match self.page(&from).await {
                Ok((page, up_to)) => {
                    return Reading {
                        facts: page
                            .records
                            .into_iter()
                            .filter_map(|record| self.seen(record))
                            .collect(),
                        cursor: page.cursor.unwrap_or(from),
                        up_to,
                    };
                }
                Err(error) => {
                    tracing::warn!(%error, account = %self.account, cursor = from, "reading the deposits failed");
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }

    /// The topic has one partition, and everything is its.
    fn claim(&self, (): &(), _: i32, fact: &Seen) -> Claim<DepositEvent> {
        let (key, event): (String, DepositEvent) = match fact {
            Seen::Payment(view) => (view.id.clone(), received(view).into()),
            Seen::SetAside(view) => (view.id.clone(), set_aside(view).into()),
            Seen::Unreadable { id, problem, raw } => {
                let event = PaymentUnreadable {
                    deposit_id: id.clone(),
                    problem: problem.clone(),
                    raw: raw.clone(),
                };
                (id.clone(), event.into())
            }
        };
        let id = EventId::derive(&["horizon", &key]);
        Claim::Outside {
            subject: key,
            id,
            event: Box::new(event),
        }
    }
}

fn received(view: &PaymentView) -> PaymentReceived {
    PaymentReceived {
        deposit_id: view.id.clone(),
        kind: view.kind.clone(),
        from: view.from.to_string(),
        muxed_id: view.to_muxed_id.map(|id| id.to_string()),
        asset: view.asset.to_string(),
        amount: view.amount,
        memo_type: view.memo_type.clone(),
        memo: view.memo.clone(),
        transaction: view.transaction_hash.clone(),
        ledger: ledger_of(&view.id),
        closed_at: view.created_at,
    }
}

fn set_aside(view: &ClaimableView) -> ClaimableBalanceCreated {
    let window = |window: &Window| ClaimWindow {
        from: window.from.map(Timestamp::from_seconds),
        until: window.until.map(Timestamp::from_seconds),
    };
    ClaimableBalanceCreated {
        deposit_id: view.id.clone(),
        balance_id: view.balance.to_string(),
        from: view.from.to_string(),
        asset: view.asset.to_string(),
        amount: view.amount,
        claimable: view.claimable.iter().map(window).collect(),
        predicate: view.predicate.clone(),
        memo_type: view.memo_type.clone(),
        memo: view.memo.clone(),
        transaction: view.transaction_hash.clone(),
        ledger: ledger_of(&view.id),
        closed_at: view.created_at,
    }
}

/// The ledger of an operation, by its id.
fn ledger_of(operation: &str) -> i64 {
    operation
        .parse::<i64>()
        .map_or(0, |operation| operation >> LEDGER_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_reads_an_overlap_again_but_nothing_before_the_first() {
        let ledger = |n: i64| (n << LEDGER_BITS).to_string();
        assert_eq!(back(&ledger(100), "0"), ledger(80));
        assert_eq!(back(&ledger(5), "0"), "0");
        assert_eq!(back(&ledger(100), &ledger(95)), ledger(95));
        assert_eq!(back("odd", "0"), "odd");
    }
}
