//! What is known of a deposit, and of the credit of a twin: a fold of facts and timers.

use events::deposits::ClaimWindow;
use events::ids::{PurchaseId, TwinId, UserId};
use events::money::{Amount, MoneyError, Portion, Usdc};
use events::time::Timestamp;
use pipeline::Timer;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The policy's figures. Durations count from the causing fact's own time.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The USDC that is taken, `CODE:ISSUER`. Both count.
    pub usdc: String,
    /// Accounts whose payments are no deposits: those that fill the treasury, and the bridge,
    /// whose returns are told by TFChain.
    pub own: BTreeSet<String>,
    /// How long one attempt on Stellar may take: the transaction's maxTime.
    pub stellar_deadline: Duration,
    /// Wait before the second attempt at a return or a claim; doubles each time.
    pub first_retry: Duration,
    /// The longest wait between attempts.
    pub longest_retry: Duration,
}

impl Rules {
    /// Minutes for an attempt.
    #[must_use]
    pub fn new(usdc: impl Into<String>) -> Self {
        Self {
            usdc: usdc.into(),
            own: BTreeSet::new(),
            stellar_deadline: Duration::from_secs(120),
            first_retry: Duration::from_secs(2),
            longest_retry: Duration::from_secs(600),
        }
    }

    /// When an attempt may follow the one that failed at `failed`.
    pub(crate) fn retry_at(&self, failed: Timestamp, attempt: i32) -> Timestamp {
        let doublings = u32::try_from(attempt.saturating_sub(1))
            .unwrap_or_default()
            .min(16);
        failed.after((self.first_retry * 2_u32.saturating_pow(doublings)).min(self.longest_retry))
    }
}

/// What is known of an aggregate of the topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Aggregate {
    /// Nothing yet.
    #[default]
    New,
    /// A deposit.
    Deposit(Deposit),
    /// The credit of a twin.
    Credit(Credit),
}

impl Aggregate {
    /// The timers that run in this state.
    #[must_use]
    pub fn timers(&self) -> Vec<Timer> {
        match self {
            Self::New => Vec::new(),
            Self::Deposit(deposit) => deposit.timers(),
            Self::Credit(credit) => credit.timers(),
        }
    }
}

/// Where a deposit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is set aside for us in a claimable balance: no deposit until it is claimed.
    SetAside,
    /// It is set aside for us, and is nothing that we take: an operator looks at it.
    NotTaken,
    /// It was set aside for us and will never be ours.
    Lapsed,
    /// Ours: it filled the treasury.
    Own,
    /// It was offered to the credit of this twin.
    Credited(TwinId),
    /// It waits for an operator.
    Unmatched,
    /// An operator sends it back.
    Returning,
    /// It is back at its sender.
    Returned,
}

/// How far a return is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// An attempt is under way.
    UnderWay,
    /// The next one waits for this time.
    At(Timestamp),
    /// It waits for an operator.
    Held,
    /// It is done.
    Done,
}

/// A part of a deposit that goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// How much, in 10^-7 units.
    pub amount: i64,
    /// Attempt under way, or the last one.
    pub attempt: i32,
    /// What comes next.
    pub next: Next,
}

/// How far the claim of a claimable balance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// The balance, as Horizon writes it.
    pub balance: String,
    /// When we may claim it, oldest first.
    pub claimable: Vec<ClaimWindow>,
    /// Type of the memo with which it was set aside.
    pub memo_type: String,
    /// That memo.
    pub memo: Option<String>,
    /// Attempt under way, or the last one; 0 before the first.
    pub attempt: i32,
    /// What comes next.
    pub next: Next,
}

impl Aside {
    /// The first time from `at` on at which we may claim it, and until when; `None`: never.
    #[must_use]
    pub fn claimable_from(&self, at: Timestamp) -> Option<(Timestamp, Option<Timestamp>)> {
        let window = self
            .claimable
            .iter()
            .find(|window| window.until.is_none_or(|until| until > at))?;
        Some((window.from.map_or(at, |from| from.max(at)), window.until))
    }
}

/// A payment to our account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// Horizon's operation id.
    pub id: String,
    /// Who paid; empty where unknown.
    pub from: String,
    /// `native` or `CODE:ISSUER`; empty where unknown.
    pub asset: String,
    /// In 10^-7 units.
    pub amount: i64,
    /// Hash of its transaction.
    pub transaction: String,
    /// Where it stands.
    pub standing: Standing,
    /// What goes back, by the purchase that gives it; `None` for the whole.
    pub parts: BTreeMap<Option<PurchaseId>, Part>,
    /// The claimable balance that it came as; `None`: it was paid.
    pub aside: Option<Aside>,
}

/// Timer: the next attempt at a return, followed by the purchase, or by nothing for the whole.
pub const RETRY_RETURN: &str = "retry_return:";
/// Timer: the next attempt at claiming a claimable balance.
pub const CLAIM: &str = "claim";
/// Timer: a purchase waits no more, followed by its id.
pub const EXPIRE: &str = "expire:";

impl Deposit {
    /// What has gone back or is going, in 10^-7 units. Never more than came.
    #[must_use]
    pub fn given_back(&self) -> i64 {
        self.parts
            .values()
            .fold(0_i64, |sum, part| sum.saturating_add(part.amount))
    }

    fn timers(&self) -> Vec<Timer> {
        let due = |(purchase, part): (&Option<PurchaseId>, &Part)| match part.next {
            Next::At(due) => Some(Timer {
                due,
                name: purchase.map_or_else(
                    || RETRY_RETURN.to_owned(),
                    |purchase| format!("{RETRY_RETURN}{purchase}"),
                ),
            }),
            Next::UnderWay | Next::Held | Next::Done => None,
        };
        let claim = self.aside.iter().filter_map(|aside| match aside.next {
            Next::At(due) => Some(Timer {
                due,
                name: CLAIM.to_owned(),
            }),
            Next::UnderWay | Next::Held | Next::Done => None,
        });
        self.parts.iter().filter_map(due).chain(claim).collect()
    }
}

/// A purchase that waits for USDC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The purchase.
    pub purchase: PurchaseId,
    /// What it costs.
    pub amount: Amount<Usdc>,
    /// After this it waits no more.
    pub until: Timestamp,
}

/// The credit of a twin: USDC that was paid or left over and bought nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// The twin.
    pub twin: TwinId,
    /// Whose it is; `None`: nobody is known by this twin.
    pub user: Option<UserId>,
    /// The credit by origin, oldest first.
    pub lots: VecDeque<Portion>,
    /// The purchases that wait, oldest first.
    pub wants: Vec<Want>,
    /// The purchases that ever waited: each is granted or expires once.
    pub asked: BTreeSet<PurchaseId>,
}

impl Credit {
    /// The credit of a twin that nothing is known of.
    #[must_use]
    pub const fn new(twin: TwinId) -> Self {
        Self {
            twin,
            user: None,
            lots: VecDeque::new(),
            wants: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    /// What it amounts to.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn balance(&self) -> Result<Amount<Usdc>, MoneyError> {
        self.lots
            .iter()
            .try_fold(Amount::ZERO, |sum, lot| sum.checked_add(lot.amount))
    }

    fn timers(&self) -> Vec<Timer> {
        let expire = |want: &Want| Timer {
            due: want.until,
            name: format!("{EXPIRE}{}", want.purchase),
        };
        self.wants.iter().map(expire).collect()
    }
}
