//! Counting what was done, for tests that look for doubled work.

use crate::runtime::sp_core::crypto::AccountId32;
use std::collections::BTreeMap;

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tally {
    /// A node contract, by its hash.
    Contract(String),
    /// An update of one, by its new hash.
    Update(String),
    /// A name contract, by its name.
    Name(String),
    /// A rent contract, by its node.
    Rent(u32),
    /// A contract ended, by its number.
    Cancelled(u64),
    /// A mint, by the deposit's hash.
    Mint(String),
    /// A deposit paid back, by its hash.
    Refund(String),
    /// A twin.
    Twin,
    /// A transfer by the activator.
    Activation(AccountId32),
}

/// Counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Node contracts created, cancelled ones included.
    pub contracts: u64,
    /// Node contracts created, by deployment hash.
    pub by_hash: BTreeMap<String, u64>,
    /// Updates of node contracts, by their new hash.
    pub updates: BTreeMap<String, u64>,
    /// Name contracts created, by name.
    pub names: BTreeMap<String, u64>,
    /// Rent contracts created, by node.
    pub rents: BTreeMap<String, u64>,
    /// Contracts of all kinds that ended.
    pub cancelled: u64,
    /// The same, by contract.
    pub cancellations: BTreeMap<String, u64>,
    /// Mints.
    pub mints: u64,
    /// Mints, by hash of the deposit.
    pub by_stellar_tx: BTreeMap<String, u64>,
    /// Deposits paid back, by hash of the deposit.
    pub refunds: BTreeMap<String, u64>,
    /// Twins.
    pub twins: u64,
    /// Transfers by the activator, by receiver (SS58).
    pub activations: BTreeMap<String, u64>,
    /// Forks so far.
    pub forks: u64,
    /// Transactions that were dropped from the pool on purpose.
    pub dropped: u64,
}

fn change(counts: &mut BTreeMap<String, u64>, name: String, up: bool) {
    let count = counts.entry(name.clone()).or_default();
    step(count, up);
    if *count == 0 {
        counts.remove(&name);
    }
}

fn step(count: &mut u64, up: bool) {
    *count = if up {
        *count + 1
    } else {
        count.saturating_sub(1)
    };
}

impl Counts {
    /// Adds what was done, or takes it back when its block was retracted.
    pub fn count(&mut self, tally: &Tally, up: bool) {
        match tally {
            Tally::Contract(hash) => {
                step(&mut self.contracts, up);
                change(&mut self.by_hash, hash.clone(), up);
            }
            Tally::Update(hash) => change(&mut self.updates, hash.clone(), up),
            Tally::Name(name) => change(&mut self.names, name.clone(), up),
            Tally::Rent(node) => change(&mut self.rents, node.to_string(), up),
            Tally::Cancelled(contract) => {
                step(&mut self.cancelled, up);
                change(&mut self.cancellations, contract.to_string(), up);
            }
            Tally::Mint(deposit) => {
                step(&mut self.mints, up);
                change(&mut self.by_stellar_tx, deposit.clone(), up);
            }
            Tally::Refund(deposit) => change(&mut self.refunds, deposit.clone(), up),
            Tally::Twin => step(&mut self.twins, up),
            Tally::Activation(account) => change(&mut self.activations, account.to_string(), up),
        }
    }
}
