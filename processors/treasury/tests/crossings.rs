//! What is read of our accounts, and what of it becomes an event.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use async_trait::async_trait;
use counterparties_stellar::{
    AccountId, AccountView, AssetId, LandedTransaction, PathAsset, PaymentsPage, QuoteError,
    ReadError, SecretKey, SignedTransaction, Stellar, StrictReceiveQuote, TransactionView,
};
use events::envelope::{Envelope, Record};
use events::ids::EventId;
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use events::treasury::TreasuryEvent;
use pipeline::{Claim, Source};
use processor_treasury::{Accounts, Lane, Lanes, Seen, Thresholds, TreasuryWatcher};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn key(n: u8) -> AccountId {
    SecretKey::from_seed(&[n; 32]).account()
}

fn asset(code: &str) -> AssetId {
    format!("{code}:{}", key(9)).parse().unwrap()
}

/// Knows balances and nothing else.
#[derive(Default)]
struct Ledger(Mutex<BTreeMap<String, Vec<(PathAsset, i64)>>>);

#[async_trait]
impl Stellar for Ledger {
    async fn submit(&self, _: &SignedTransaction) -> Attempt<LandedTransaction> {
        panic!("nothing is sent by who only looks")
    }
    async fn find(&self, _: &SignedTransaction) -> Find<LandedTransaction> {
        panic!("nothing was sent by who only looks")
    }
    async fn quote_strict_receive(
        &self,
        _: &AssetId,
        _: &AssetId,
        _: Amount<Tft>,
    ) -> Result<StrictReceiveQuote, QuoteError> {
        Err(QuoteError::NoPath)
    }
    async fn account(&self, account: &AccountId) -> Result<Option<AccountView>, ReadError> {
        let known = self.0.lock().unwrap();
        if *account == key(66) {
            return Err(ReadError::Unreachable("504".into()));
        }
        Ok(known.get(account.as_str()).map(|balances| AccountView {
            sequence: 1,
            sequence_ledger: None,
            balances: balances.clone(),
            ledger: 7,
        }))
    }
    async fn transaction(&self, _: &str) -> Result<Option<TransactionView>, ReadError> {
        Ok(None)
    }
    async fn latest_ledger(&self) -> Result<(u32, Timestamp), ReadError> {
        Ok((7, Timestamp(0)))
    }
    async fn payments_after(
        &self,
        _: &AccountId,
        _: Option<&str>,
        _: u8,
    ) -> Result<PaymentsPage, ReadError> {
        Err(ReadError::Unreachable("nobody asks".into()))
    }
}

struct Known(Result<Vec<Lane>, String>);

#[async_trait]
impl Lanes for Known {
    async fn lanes(&self) -> Result<Vec<Lane>, String> {
        self.0.clone()
    }
}

fn lane(account: &AccountId) -> Lane {
    Lane {
        executor: "swaps".into(),
        account: account.to_string(),
    }
}

fn watcher(lanes: Result<Vec<Lane>, String>) -> TreasuryWatcher<Known> {
    let ledger = Ledger::default();
    let credit = |code| PathAsset::Credit(asset(code));
    ledger.0.lock().unwrap().extend([
        (
            key(1).to_string(),
            vec![
                (credit("USDC"), 500),
                (credit("TFT"), 40),
                (PathAsset::Native, 70),
            ],
        ),
        (key(2).to_string(), vec![(credit("TFT"), 9_000)]),
        (key(3).to_string(), vec![(PathAsset::Native, 11)]),
    ]);
    let accounts = Accounts {
        stellar: Arc::new(ledger),
        activator: None,
        treasury: key(1),
        bridge: key(2),
        usdc: asset("USDC"),
        tft: asset("TFT"),
        thresholds: Thresholds {
            usdc: 1_000,
            tft: 0,
            xlm: 70,
            lane_xlm: 12,
            activator_tft: 0,
        },
    };
    TreasuryWatcher::new(accounts, Known(lanes), Duration::from_secs(30))
}

#[tokio::test(start_paused = true)]
async fn every_account_is_read_and_one_that_cannot_be_hides_no_other() {
    let lanes = vec![lane(&key(3)), lane(&key(66)), lane(&key(4))];
    let reading = watcher(Ok(lanes)).read(None, true).await;
    let seen: Vec<(&str, i64, i64)> = reading
        .facts
        .iter()
        .map(|f| (f.holding.as_str(), f.balance, f.threshold))
        .collect();
    let poor = format!("lane/swaps/{}", key(3));
    assert_eq!(
        seen,
        [
            ("treasury/USDC", 500, 1_000),
            ("treasury/TFT", 40, 0),
            ("treasury/XLM", 70, 70),
            ("bridge/TFT", 9_000, 0),
            (poor.as_str(), 11, 12),
        ]
    );
    // Two lanes were not read: nobody may think that all was seen.
    assert_eq!(reading.up_to, None);
    let unknown = watcher(Err("no Postgres".into())).read(None, true).await;
    assert_eq!((unknown.facts.len(), unknown.up_to), (4, None));
    let whole = watcher(Ok(vec![])).read(None, true).await;
    assert!(whole.up_to.is_some());
}

fn seen(balance: i64) -> Seen {
    Seen {
        holding: "treasury/USDC".into(),
        account: key(1).to_string(),
        asset: asset("USDC").to_string(),
        balance,
        threshold: 1_000,
        at: Timestamp(5),
    }
}

/// What is appended, with its id.
fn claimed(
    source: &TreasuryWatcher<Known>,
    state: &BTreeMap<String, processor_treasury::Side>,
    balance: i64,
) -> Option<(EventId, TreasuryEvent)> {
    match source.claim(state, 0, &seen(balance)) {
        Claim::NotMine => None,
        Claim::Outside { subject, id, event } => {
            assert_eq!(subject, "treasury/USDC");
            Some((id, *event))
        }
        Claim::Mine(..) => panic!("nothing in the log causes it"),
    }
}

#[test]
fn only_a_crossing_is_an_event_and_the_same_crossing_is_one() {
    let source = watcher(Ok(vec![]));
    let mut state = BTreeMap::new();
    let mut said = Vec::new();
    let mut ids = Vec::new();
    for balance in [2_000, 1_000, 999, 500, 1_000, 1_099, 1_100, 1_000, 999, 0] {
        let Some((id, event)) = claimed(&source, &state, balance) else {
            continue;
        };
        // Another watcher that saw it at the same time says the same.
        assert_eq!(claimed(&source, &state, balance).unwrap().0, id);
        assert!(!ids.contains(&id));
        ids.push(id);
        said.push(match &event {
            TreasuryEvent::TreasuryBalanceLow(e) => ("low", e.balance, e.crossing),
            TreasuryEvent::TreasuryBalanceRestored(e) => ("restored", e.balance, e.crossing),
            TreasuryEvent::DeadLetterReleased(_) => panic!("another event"),
        });
        let record = Record {
            partition: 0,
            offset: 0,
            envelope: Envelope {
                id,
                source: "/test".into(),
                time: Timestamp(5),
                subject: "treasury/USDC".into(),
                correlation: None,
                causation: None,
                traceparent: None,
            },
            event,
        };
        source.evolve(&mut state, &record);
    }
    assert_eq!(
        said,
        [("low", 999, 1), ("restored", 1_100, 2), ("low", 999, 3)]
    );
}
