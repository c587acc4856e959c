//! What is offered for a place in a ledger.
//!
//! A record's own transaction offers [`LANE_FEE`], always: the fee is part of its hash, so it may
//! depend on nothing but the record. When that is too little, the same signed transaction goes
//! into a fee-bump of the treasury (`crate::fee_bump`): as much as `/fee_stats` says, ten times as
//! much after each refusal or after three ledgers that passed it over, and never more than the cap.
//! Ten times, because that is what replaces an offer that still waits; and a refused envelope is
//! banned for ten ledgers, while one with a higher fee is another envelope.
//!
//! What was offered is only remembered, never relied on: whoever forgets it begins again, and
//! whatever lands, lands once.

use crate::fee_bump::{self, fee_bump};
use crate::ids::SecretKey;
use crate::port::ReadError;
use crate::records;
use crate::signing::SignedTransaction;
use serde_json::Value;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What a lane's own transaction, of one operation, offers at most, in stroops; the network takes
/// what the ledger costs. Changing it changes the hash of every transaction not yet in a ledger.
pub const LANE_FEE: u32 = 1_000;

/// What the network wants to see before it replaces an offer that waits.
const RAISE: i64 = 10;
/// Ledgers that may pass a transaction over before more is offered.
const PASSED_OVER: u32 = 3;
/// How long fee statistics are taken to be true; about a ledger.
const STATISTICS_AGE: Duration = Duration::from_secs(1);
/// Seconds after its deadline until an offer is forgotten.
const REMEMBERED: i64 = 600;

/// What ledgers cost lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeStats {
    /// The last ledger that they are about.
    pub last_ledger: u32,
    /// What nine tenths of the last ledgers' operations were charged at most, in stroops.
    pub charged_p90: i64,
}

impl FeeStats {
    /// Reads Horizon's `/fee_stats`.
    pub(crate) fn read(answer: &Value) -> Result<Self, ReadError> {
        Ok(Self {
            last_ledger: records::ledger_number(answer, "last_ledger")?,
            charged_p90: records::number(&answer["fee_charged"], "p90")?,
        })
    }
}

/// What is offered for one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// What is sent, XDR in base64.
    pub(crate) envelope: String,
    /// Hash of the outer transaction; the transaction's own where it is sent as it is.
    pub(crate) hash: String,
    bid: Bid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bid {
    /// Stroops for each operation.
    rate: i64,
    /// The last ledger that was closed when it was first sent; 0 if that is not known.
    since: u32,
    /// Deadline of the transaction, to forget it.
    deadline: i64,
}

/// Who raises fees, and how far.
pub struct Fees {
    payer: SecretKey,
    passphrase: String,
    /// The most that one transaction may cost, in stroops.
    cap: i64,
    bids: Mutex<HashMap<String, Bid>>,
    statistics: tokio::sync::Mutex<Option<(Instant, Option<FeeStats>)>>,
}

impl std::fmt::Debug for Fees {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fees")
            .field("payer", &self.payer.account())
            .field("cap", &self.cap)
            .finish_non_exhaustive()
    }
}

impl Fees {
    /// `payer` pays for fee-bumps, and no transaction costs more than `cap` stroops.
    #[must_use]
    pub fn new(payer: SecretKey, cap: i64, passphrase: &str) -> Self {
        Self {
            payer,
            passphrase: passphrase.to_owned(),
            cap,
            bids: Mutex::default(),
            statistics: tokio::sync::Mutex::default(),
        }
    }

    fn bids(&self) -> MutexGuard<'_, HashMap<String, Bid>> {
        self.bids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The statistics, asked for at most once a second; `None` while they cannot be had.
    pub(crate) async fn statistics<F>(&self, ask: impl FnOnce() -> F) -> Option<FeeStats>
    where
        F: Future<Output = Result<FeeStats, ReadError>>,
    {
        let mut kept = self.statistics.lock().await;
        if let Some((at, statistics)) = &*kept
            && at.elapsed() < STATISTICS_AGE
        {
            return *statistics;
        }
        // One that cannot be had is not asked for again at once either.
        let statistics = ask().await.ok();
        *kept = Some((Instant::now(), statistics));
        statistics
    }

    /// What to send now: what was sent before, or what the statistics suggest.
    pub(crate) fn offer(
        &self,
        transaction: &SignedTransaction,
        statistics: Option<FeeStats>,
    ) -> Offer {
        let before = self.bids().get(&transaction.hash).copied();
        let now = statistics.map_or(0, |s| s.last_ledger);
        let mut bid = before.unwrap_or_else(|| Bid {
            rate: suggested(statistics).min(self.most_for(transaction)),
            since: now,
            deadline: transaction.deadline,
        });
        if bid.since == 0 {
            bid.since = now;
        }
        self.sealed(transaction, bid)
    }

    /// More than `offer`, or `None` where no more may be offered.
    pub(crate) fn raise(
        &self,
        transaction: &SignedTransaction,
        offer: &Offer,
        statistics: Option<FeeStats>,
    ) -> Option<Offer> {
        let rate = offer
            .bid
            .rate
            .max(i64::from(LANE_FEE))
            .saturating_mul(RAISE)
            .max(suggested(statistics))
            .min(self.most_for(transaction));
        if rate <= offer.bid.rate.max(i64::from(LANE_FEE)) {
            crate::metrics::offer("capped");
            return None;
        }
        let bid = Bid {
            rate,
            since: statistics.map_or(offer.bid.since, |s| s.last_ledger),
            deadline: transaction.deadline,
        };
        tracing::info!(lane = %transaction.lane, sequence = transaction.sequence, stroops_per_operation = rate, "the fee is raised");
        Some(self.sealed(transaction, bid))
    }

    /// Whether ledgers closed without it since it was offered. While none close (a frozen
    /// network), more money would change nothing.
    pub(crate) fn passed_over(offer: &Offer, statistics: Option<FeeStats>) -> bool {
        offer.bid.since > 0
            && statistics.is_some_and(|s| s.last_ledger >= offer.bid.since + PASSED_OVER)
    }

    /// Forgets what was offered.
    pub(crate) fn settled(&self, transaction: &SignedTransaction) {
        self.bids().remove(&transaction.hash);
    }

    /// The highest rate under the cap.
    fn most_for(&self, transaction: &SignedTransaction) -> i64 {
        self.cap / (fee_bump::operations(transaction).unwrap_or(1) + 1)
    }

    fn sealed(&self, transaction: &SignedTransaction, bid: Bid) -> Offer {
        let bumped = (bid.rate > i64::from(LANE_FEE))
            .then(|| fee_bump(transaction, &self.payer, bid.rate, &self.passphrase).ok())
            .flatten();
        let mut bids = self.bids();
        bids.retain(|_, other| other.deadline + REMEMBERED > transaction.deadline);
        bids.insert(transaction.hash.clone(), bid);
        match bumped {
            Some(bump) => {
                crate::metrics::offer("bumped");
                Offer {
                    envelope: bump.envelope,
                    hash: bump.hash,
                    bid,
                }
            }
            None => Offer {
                bid,
                ..Offer::plain(transaction)
            },
        }
    }
}

impl Offer {
    /// The transaction as it is.
    pub(crate) fn plain(transaction: &SignedTransaction) -> Self {
        crate::metrics::offer("plain");
        Self {
            envelope: transaction.envelope.clone(),
            hash: transaction.hash.clone(),
            bid: Bid {
                rate: i64::from(LANE_FEE),
                since: 0,
                deadline: transaction.deadline,
            },
        }
    }
}

/// Stroops for each operation: twice what nine tenths were charged, where that is more than the
/// transaction offers by itself. The network takes no more than the ledger's price.
fn suggested(statistics: Option<FeeStats>) -> i64 {
    let own = i64::from(LANE_FEE);
    match statistics {
        Some(s) if s.charged_p90 >= own => s.charged_p90.saturating_mul(2),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::setup::{SetupOperation, sign_setup};

    fn transaction() -> SignedTransaction {
        let us = SecretKey::from_seed(&[1; 32]);
        let create = SetupOperation::CreateAccount {
            account: SecretKey::from_seed(&[2; 32]).account(),
            balance: 1,
        };
        sign_setup(&us, 1, &[create], 1_900_000_000, "p").unwrap()
    }

    fn fees(cap: i64) -> Fees {
        Fees::new(SecretKey::from_seed(&[1; 32]), cap, "p")
    }

    fn at(last_ledger: u32, charged_p90: i64) -> FeeStats {
        FeeStats {
            last_ledger,
            charged_p90,
        }
    }

    #[test]
    fn a_calm_network_is_sent_the_transaction_itself() {
        let (fees, ours) = (fees(200_000), transaction());
        for statistics in [Some(at(7, 100)), Some(at(7, 999)), None] {
            fees.settled(&ours);
            let offer = fees.offer(&ours, statistics);
            assert_eq!(
                (offer.hash, offer.envelope),
                (ours.hash.clone(), ours.envelope.clone())
            );
        }
    }

    #[test]
    fn a_dear_network_is_offered_twice_its_price_at_once() {
        let (fees, ours) = (fees(200_000), transaction());
        let offer = fees.offer(&ours, Some(at(7, 3_000)));
        assert_eq!(offer.bid.rate, 6_000);
        assert_ne!(offer.hash, ours.hash);
        // The offer stays what it was until it is raised, whatever the statistics say now.
        assert_eq!(fees.offer(&ours, Some(at(9, 100))), offer);
    }

    #[test]
    fn each_raise_is_tenfold_and_none_exceeds_the_cap() {
        let (fees, ours) = (fees(150_000), transaction());
        let mut offer = fees.offer(&ours, Some(at(7, 100)));
        let mut rates = Vec::new();
        while let Some(higher) = fees.raise(&ours, &offer, Some(at(8, 100))) {
            rates.push(higher.bid.rate);
            offer = higher;
        }
        // One operation and the envelope: 2 × 75,000 is the cap.
        assert_eq!(rates, [10_000, 75_000]);
        assert_eq!(fees.offer(&ours, Some(at(20, 1_000_000))).bid.rate, 75_000);
        // A cap below what the transaction itself offers leaves it as it is.
        let poor = self::fees(100);
        let offer = poor.offer(&ours, Some(at(7, 50_000)));
        assert_eq!(offer.hash, ours.hash);
        assert_eq!(poor.raise(&ours, &offer, Some(at(8, 50_000))), None);
    }

    #[test]
    fn only_ledgers_that_closed_pass_a_transaction_over() {
        let (fees, ours) = (fees(150_000), transaction());
        let offer = fees.offer(&ours, Some(at(7, 100)));
        assert!(!Fees::passed_over(&offer, Some(at(9, 100))));
        assert!(Fees::passed_over(&offer, Some(at(10, 100))));
        assert!(!Fees::passed_over(&offer, None));
        let blind = Fees::new(SecretKey::from_seed(&[1; 32]), 1_000_000, "p").offer(&ours, None);
        assert!(!Fees::passed_over(&blind, Some(at(99, 100))));
    }

    #[tokio::test(start_paused = true)]
    async fn statistics_are_asked_for_once_a_second_even_when_they_cannot_be_had() {
        let fees = fees(1);
        let mut asked = 0;
        for (pause_ms, known) in [
            (0, true),
            (100, true),
            (1_000, false),
            (100, true),
            (1_000, true),
        ] {
            tokio::time::advance(Duration::from_millis(pause_ms)).await;
            let answer = known.then_some(FeeStats {
                last_ledger: 1,
                charged_p90: 2,
            });
            fees.statistics(|| {
                asked += 1;
                async move { answer.ok_or(ReadError::Unreachable(String::new())) }
            })
            .await;
        }
        assert_eq!(asked, 3);
    }
}
