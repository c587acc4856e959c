//! The source `treasury-watcher`: where what our accounts hold crosses what they should.
//!
//! It reads all balances at an interval. Only a crossing is an event: the first time that a balance is
//! below its threshold, and the first time after that it is a tenth above it. Its id derives from the
//! holding and the number of the crossing, which the log tells, so two watchers that see the same
//! crossing append one event and its echo.

mod holdings;
mod metrics;

use async_trait::async_trait;
use events::envelope::Record;
use events::ids::EventId;
use events::time::Timestamp;
use events::treasury::{TreasuryBalanceLow, TreasuryBalanceRestored, TreasuryEvent};
pub use holdings::{Accounts, CHAIN_TFT, Holding, Lane, Thresholds};
use pipeline::{Claim, Reading, Source, clock};
use std::collections::BTreeMap;
use std::time::Duration;

/// The cursor of a source that has nothing to read on from.
const NO_CURSOR: &str = "-";

/// Tells which lanes there are.
#[async_trait]
pub trait Lanes: Send + Sync + 'static {
    /// All that were ever opened.
    ///
    /// # Errors
    /// A sentence for the log; the other accounts are read all the same.
    async fn lanes(&self) -> Result<Vec<Lane>, String>;
}

/// The source `treasury-watcher`.
pub struct TreasuryWatcher<L> {
    accounts: Accounts,
    lanes: L,
    every: Duration,
}

/// A balance as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What is held and where, such as `treasury/USDC`.
    pub holding: String,
    /// The account.
    pub account: String,
    /// The asset.
    pub asset: String,
    /// In 10^-7 units.
    pub balance: i64,
    /// The least that it should be, in 10^-7 units.
    pub threshold: i64,
    /// When it was read.
    pub at: Timestamp,
}

/// How often a holding has crossed its threshold, and on which side it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Side {
    crossings: i32,
    low: bool,
}

impl<L: Lanes> TreasuryWatcher<L> {
    /// The source; it reads all balances, then waits for as long as `every` says.
    #[must_use]
    pub const fn new(accounts: Accounts, lanes: L, every: Duration) -> Self {
        Self {
            accounts,
            lanes,
            every,
        }
    }
}

impl<L: Lanes> Source for TreasuryWatcher<L> {
    const NAME: &'static str = "treasury-watcher";
    type Event = TreasuryEvent;
    type Fact = Seen;
    type State = BTreeMap<String, Side>;

    fn evolve(&self, state: &mut Self::State, record: &Record<TreasuryEvent>) {
        let (holding, crossings, low) = match &record.event {
            TreasuryEvent::TreasuryBalanceLow(e) => (&e.holding, e.crossing, true),
            TreasuryEvent::TreasuryBalanceRestored(e) => (&e.holding, e.crossing, false),
            TreasuryEvent::DeadLetterReleased(_) => return,
        };
        state.insert(holding.clone(), Side { crossings, low });
    }

    async fn read(&self, _: Option<&str>, restarted: bool) -> Reading<Seen> {
        if !restarted {
            tokio::time::sleep(self.every).await;
        }
        let lanes = self.lanes.lanes().await;
        if let Err(error) = &lanes {
            tracing::warn!(%error, "the lanes are not known, so what they hold is not read");
        }
        let holdings = self
            .accounts
            .read(lanes.as_deref().unwrap_or_default())
            .await;
        metrics::show(&holdings);
        let (at, mut whole) = (clock::now(), lanes.is_ok());
        let mut facts = Vec::new();
        for holding in holdings {
            match holding.balance {
                Ok(balance) => facts.push(Seen {
                    holding: holding.name,
                    account: holding.account,
                    asset: holding.asset,
                    balance,
                    threshold: holding.threshold,
                    at,
                }),
                Err(error) => {
                    whole = false;
                    tracing::warn!(holding = holding.name, account = holding.account, %error, "a balance cannot be read");
                }
            }
        }
        Reading {
            facts,
            cursor: NO_CURSOR.to_owned(),
            up_to: whole.then_some(at),
        }
    }

    /// The topic has one partition, and everything is its.
    fn claim(&self, state: &Self::State, _: i32, fact: &Seen) -> Claim<TreasuryEvent> {
        let side = state.get(&fact.holding).copied().unwrap_or_default();
        let low = if side.low {
            // A tenth above it, so that a balance at its threshold does not ring all the time.
            fact.balance < fact.threshold.saturating_add(fact.threshold / 10)
        } else {
            fact.balance < fact.threshold
        };
        if low == side.low {
            return Claim::NotMine;
        }
        let crossing = side.crossings.saturating_add(1);
        let number = crossing.to_string();
        Claim::Outside {
            subject: fact.holding.clone(),
            id: EventId::derive(&["treasury", &fact.holding, &number]),
            event: Box::new(crossed(fact, crossing, low)),
        }
    }
}

fn crossed(fact: &Seen, crossing: i32, low: bool) -> TreasuryEvent {
    let Seen {
        holding,
        account,
        asset,
        balance,
        threshold,
        at: observed_at,
    } = fact.clone();
    if low {
        tracing::warn!(
            holding,
            account,
            balance_units = balance,
            threshold_units = threshold,
            "an account of ours holds less than it should"
        );
        TreasuryBalanceLow {
            holding,
            account,
            asset,
            balance,
            threshold,
            crossing,
            observed_at,
        }
        .into()
    } else {
        TreasuryBalanceRestored {
            holding,
            account,
            asset,
            balance,
            threshold,
            crossing,
            observed_at,
        }
        .into()
    }
}
