//! What became of a transaction: its account's sequence number and list tell, nothing else does.
//!
//! | what is read | answer |
//! |---|---|
//! | no such account, or its number below the lane's base | `Pending`: the lane is not opened |
//! | number below ours, no ledger closed after maxTime | `Absent` |
//! | number below ours, at or after a ledger that closed after maxTime | `NeverWill` |
//! | our hash (or a fee-bump of it), successful | `Landed` |
//! | our hash, failed | `Refused`, with the first failed operation's code |
//! | our hash, `tx_bad_seq` | `NeverWill`: fenced, never executed |
//! | another hash, executed with our number | `Pending`, an error is logged and counted: it stops the lane |
//! | number passed; the list shows what set it, reaches back beyond ours, and lacks ours | `NeverWill` |
//! | anything less | `Pending` |

use crate::ids::AccountId;
use crate::outcome::count_foreign;
use crate::port::{AccountView, LandedTransaction, ReadError, TransactionView};
use crate::records::{Listed, TransactionsPage};
use crate::results::{Applied, swapped};
use crate::signing::SignedTransaction;
use events::outcome::{Find, Refusal};
use events::time::Timestamp;
use std::future::Future;

/// Pages that are read back at most; a lane's list grows by one a record, strangers' dust aside.
const PAGES: usize = 40;
/// The first page is small: ours is nearly always the last transaction of its lane.
const FIRST_PAGE: u64 = 5;
const PAGE: u64 = 200;

type Found = Find<LandedTransaction>;

/// What is read of Horizon to find a transaction. Each read may be answered by another replica,
/// at another height.
pub trait LaneReads: Sync {
    /// The lane; `None` when there is no such account.
    fn lane(
        &self,
        lane: &AccountId,
    ) -> impl Future<Output = Result<Option<AccountView>, ReadError>> + Send;

    /// The last ledger that was ingested, with its closing time.
    fn last_ledger(&self) -> impl Future<Output = Result<(u32, Timestamp), ReadError>> + Send;

    /// A page of the lane's transactions, newest first, failed ones included.
    fn transactions_desc(
        &self,
        lane: &AccountId,
        cursor: Option<&str>,
        limit: u64,
    ) -> impl Future<Output = Result<TransactionsPage, ReadError>> + Send;

    /// Whether this Horizon still shows how the lane was created.
    fn shows_creation(
        &self,
        lane: &AccountId,
    ) -> impl Future<Output = Result<bool, ReadError>> + Send;
}

/// What became of a transaction.
///
/// # Errors
/// When Horizon does not answer.
pub async fn find<R: LaneReads>(horizon: &R, ours: &SignedTransaction) -> Result<Found, ReadError> {
    let Some(account) = horizon.lane(&ours.lane).await? else {
        return Ok(Find::Pending(format!(
            "lane {} is not opened: there is no such account",
            ours.lane
        )));
    };
    if account.sequence < ours.base {
        return Ok(Find::Pending(format!(
            "lane {} is not opened: its sequence is {}",
            ours.lane, account.sequence
        )));
    }
    if account.sequence < ours.sequence {
        return not_taken(horizon, ours).await;
    }
    taken(horizon, ours, &account).await
}

/// The number is free: before the deadline it may be tried, after it only a closed ledger tells.
async fn not_taken<R: LaneReads>(
    horizon: &R,
    ours: &SignedTransaction,
) -> Result<Found, ReadError> {
    let (ledger, closed) = horizon.last_ledger().await?;
    if closed.seconds() <= ours.deadline {
        return Ok(Find::Absent);
    }
    // A ledger closed after maxTime, so ours is in none after it. What the account shows at or
    // after that ledger is final; another replica may not be as far.
    Ok(match horizon.lane(&ours.lane).await? {
        Some(account) if account.ledger < ledger => Find::Pending(format!(
            "the account was read before ledger {ledger}, which closed after the deadline"
        )),
        Some(account) if account.sequence < ours.sequence => Find::NeverWill(format!(
            "ledger {ledger} closed after the deadline, and number {} was not taken",
            ours.sequence
        )),
        _ => Find::Pending("the lane moved while it was read".to_owned()),
    })
}

/// The number is taken, or was passed: the list says by whom.
async fn taken<R: LaneReads>(
    horizon: &R,
    ours: &SignedTransaction,
    account: &AccountView,
) -> Result<Found, ReadError> {
    let mut search = Search::new(ours, account);
    let mut cursor: Option<String> = None;
    for page in 0..PAGES {
        let limit = if page == 0 { FIRST_PAGE } else { PAGE };
        let read = horizon
            .transactions_desc(&ours.lane, cursor.as_deref(), limit)
            .await?;
        for record in &read.records {
            if let Some(found) = search.take(record) {
                return Ok(found);
            }
        }
        cursor = read.next;
        if cursor.is_none() {
            // A Horizon that keeps only recent history ends early; one that still shows how the
            // lane was created shows all of its life.
            let whole = horizon.shows_creation(&ours.lane).await?;
            return Ok(search.end(whole));
        }
    }
    Ok(Find::Pending(format!(
        "number {} is further back than {PAGES} pages",
        ours.sequence
    )))
}

/// Reads a lane's list, newest first.
struct Search<'a> {
    ours: &'a SignedTransaction,
    account: &'a AccountView,
    /// The list is at least as new as the account: it shows what set the account's number.
    shows_current: bool,
    /// A record that could not be read; it might be ours.
    unread: Option<String>,
}

impl<'a> Search<'a> {
    const fn new(ours: &'a SignedTransaction, account: &'a AccountView) -> Self {
        Self {
            ours,
            account,
            shows_current: false,
            unread: None,
        }
    }

    /// The answer, if this record gives one.
    fn take(&mut self, record: &Listed) -> Option<Found> {
        let view = match record {
            Listed::Read(view) => view,
            Listed::Unread(why) => {
                self.unread = Some(why.clone());
                return None;
            }
        };
        // Any record of that ledger shows that the list has it, and a ledger is ingested whole.
        self.shows_current |= self
            .account
            .sequence_ledger
            .is_some_and(|ledger| view.ledger >= ledger);
        let applied = Applied::read(&view.result);
        if is_ours(self.ours, view) {
            return Some(verdict(self.ours, view, applied));
        }
        if view.source_account != self.ours.lane {
            return None;
        }
        let Some(applied) = applied else {
            self.unread = Some(format!("the result of {} cannot be read", view.hash));
            return None;
        };
        // A record that was told tx_bad_seq says nothing about the account's number at its time.
        if applied.was_fenced() {
            return None;
        }
        self.shows_current |= view.sequence >= self.account.sequence;
        if view.sequence == self.ours.sequence {
            return Some(foreign(self.ours, view));
        }
        // Numbers are used in rising order: before this one, ours cannot have been.
        (view.sequence < self.ours.sequence && applied.used_its_number()).then(|| self.absent())
    }

    /// The list is at its end.
    fn end(&self, whole: bool) -> Found {
        if whole {
            self.absent()
        } else {
            Find::Pending("this Horizon does not reach back to the lane's creation".to_owned())
        }
    }

    /// The list goes back far enough and does not show ours.
    fn absent(&self) -> Found {
        if let Some(why) = &self.unread {
            return Find::Pending(format!("a record of the lane cannot be read: {why}"));
        }
        if !self.shows_current {
            return Find::Pending("the list is older than the account".to_owned());
        }
        Find::NeverWill(format!(
            "number {} was passed without this transaction",
            self.ours.sequence
        ))
    }
}

pub fn is_ours(ours: &SignedTransaction, view: &TransactionView) -> bool {
    view.hash == ours.hash || view.inner_hash.as_ref() == Some(&ours.hash)
}

fn foreign(ours: &SignedTransaction, view: &TransactionView) -> Found {
    if ours.base == 0 {
        // An ordinary account, which others may use as well: its number is gone.
        return Find::NeverWill(format!(
            "number {} was used by {}",
            ours.sequence, view.hash
        ));
    }
    count_foreign();
    tracing::error!(lane = %ours.lane, sequence = ours.sequence, ours = ours.hash, foreign = view.hash, "a foreign transaction has our number: the lane stops until an operator has looked");
    Find::Pending(format!(
        "foreign transaction {} at our number {}",
        view.hash, ours.sequence
    ))
}

fn verdict(ours: &SignedTransaction, view: &TransactionView, applied: Option<Applied>) -> Found {
    if view.successful {
        return Find::Landed(landed(ours, view));
    }
    let Some(applied) = applied else {
        return Find::Pending(format!(
            "{} failed, and its result cannot be read",
            view.hash
        ));
    };
    if applied.was_fenced() {
        return Find::NeverWill(format!(
            "{} was fenced: its number had been passed when it was applied",
            view.hash
        ));
    }
    let code = applied.reason();
    let detail = format!(
        "transaction {} failed in ledger {}: {code}",
        view.hash, view.ledger
    );
    Find::Refused(Refusal::new(code, detail).with_evidence(view.hash.clone()))
}

/// What a successful record proves about our transaction.
pub fn landed(ours: &SignedTransaction, view: &TransactionView) -> LandedTransaction {
    let amounts = Applied::read(&view.result).and_then(|applied| swapped(ours, &applied));
    LandedTransaction {
        hash: view.hash.clone(),
        ledger: view.ledger,
        closed_at: view.created_at,
        lane: ours.lane.clone(),
        sequence: ours.sequence,
        fee_charged: view.fee_charged,
        source_amount: amounts.map(|a| a.0),
        dest_amount: amounts.map(|a| a.1),
    }
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
