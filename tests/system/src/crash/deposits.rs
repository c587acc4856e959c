//! Deposits, credit and returns, as the log and as the ledger have them.

use super::gather::units;
use crate::log::Entry;
use anyhow::{Context, Result};
use counterparties_stellar::base;
use events::deposits::{CreditReason, DepositEvent};
use invariants::{Books, Purchase};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What the log says of deposits.
#[derive(Default)]
pub struct Deposits {
    /// Accounts whose payments are no deposits.
    own: BTreeSet<String>,
    usdc: String,
    /// Lane account → base.
    lanes: HashMap<String, i64>,
    /// Offset → the purchase that the return asked for there is of.
    requests: HashMap<i64, Option<String>>,
    /// Deposits in the log.
    seen: BTreeSet<String>,
}

impl Deposits {
    /// Nothing yet; payments of `own` accounts are no deposits.
    pub fn new<'a>(own: impl Iterator<Item = &'a str>) -> Self {
        Self {
            own: own.map(ToOwned::to_owned).collect(),
            ..Self::default()
        }
    }

    /// Takes an event of the topic.
    pub fn take(
        &mut self,
        entry: &Entry,
        event: &DepositEvent,
        books: &mut Books,
        purchases: &mut BTreeMap<String, Purchase>,
        usdc: &str,
    ) {
        usdc.clone_into(&mut self.usdc);
        match event {
            DepositEvent::LanesOpened(e) => {
                let base = u32::try_from(e.epoch).ok().and_then(|e| base(e).ok());
                for account in &e.accounts {
                    self.lanes.insert(account.clone(), base.unwrap_or(i64::MAX));
                }
            }
            DepositEvent::PaymentReceived(e) if !self.own.contains(&e.from) => {
                self.seen.insert(e.deposit_id.clone());
                if e.asset == usdc {
                    books.deposits += e.amount;
                }
            }
            DepositEvent::ClaimableBalanceCreated(e) => {
                self.seen.insert(e.deposit_id.clone());
            }
            DepositEvent::BalanceClaimed(e) => books.deposits += e.amount,
            DepositEvent::UsdcDeposited(e) => books.credit_due += e.amount.minor(),
            DepositEvent::CreditBooked(e) => {
                books.credited += e.amount.minor();
                if let (CreditReason::Refund, Some(purchase)) = (e.reason, e.purchase_id) {
                    purchases.entry(purchase.to_string()).or_default().usdc_back +=
                        e.amount.minor();
                }
            }
            DepositEvent::CreditRefused(e) if entry.envelope.subject == e.deposit_id => {
                books.credit_due -= e.amount.minor();
            }
            DepositEvent::CreditRefused(e) => books.credited -= e.amount.minor(),
            DepositEvent::DepositReturnRequested(e) => {
                self.requests
                    .insert(entry.offset, e.purchase_id.map(|p| p.to_string()));
            }
            DepositEvent::DepositReturned(e) => books.returns += e.amount,
            _ => {}
        }
    }

    /// Whether a payment on the ledger is a deposit or a return.
    pub fn counts(&self, record: &Value, treasury: &str) -> bool {
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        let payment = record["type"] == "payment";
        let came = text("to") == treasury && !self.own.contains(text("from"));
        payment && (came || text("from") == treasury)
    }

    /// Counts a claimable balance that the treasury has claimed, by the operation that created it.
    pub fn claimed(
        &self,
        created: &Value,
        books: &mut Books,
        unaccounted: &mut Vec<String>,
    ) -> Result<()> {
        let text = |name: &str| created[name].as_str().unwrap_or_default();
        if !self.seen.contains(text("id")) || text("asset") != self.usdc {
            unaccounted.push(format!("claim of what operation {} created", text("id")));
        }
        books.deposited += units(text("amount"))?;
        Ok(())
    }

    /// Counts one.
    pub fn landed(
        &self,
        record: &Value,
        treasury: &str,
        books: &mut Books,
        purchases: &mut BTreeMap<String, Purchase>,
        unaccounted: &mut Vec<String>,
    ) -> Result<()> {
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        let amount = units(text("amount"))?;
        let ours = format!("{}:{}", text("asset_code"), text("asset_issuer")) == self.usdc;
        if text("to") == treasury {
            if !self.seen.contains(text("id")) {
                unaccounted.push(format!("deposit {} is not in the log", text("id")));
            }
            if ours {
                books.deposited += amount;
            }
            return Ok(());
        }
        if ours {
            books.sent_back += amount;
        }
        let transaction = &record["transaction"];
        let lane = transaction["source_account"].as_str().unwrap_or_default();
        let sequence: i64 = transaction["source_account_sequence"]
            .as_str()
            .context("a sequence")?
            .parse()?;
        let request = self
            .lanes
            .get(lane)
            .and_then(|base| self.requests.get(&(sequence - base - 1)));
        match request {
            Some(Some(purchase)) => {
                purchases.entry(purchase.clone()).or_default().usdc_back += amount;
            }
            Some(None) => {}
            None => unaccounted.push(format!("return {}", text("transaction_hash"))),
        }
        Ok(())
    }
}
