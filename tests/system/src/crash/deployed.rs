//! What must hold of deployments that were changed, cancelled and made by batches: what the log
//! says of each, held against what the chain has counted.

use events::deployments::{DeploymentEvent, DeploymentKind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Deployments by their id.
#[derive(Debug, Default)]
pub struct Deployments(BTreeMap<String, Deployment>);

/// A deployment as the log has it.
#[derive(Debug, Default)]
struct Deployment {
    /// Its first hash, by which the rules of purchases call it.
    hash: String,
    /// The purchase that it waits for.
    purchase: String,
    /// Its name, if it is one.
    name: Option<String>,
    /// Hashes of all versions that were wished for.
    hashes: BTreeSet<String>,
    /// Contracts that the log has of it.
    contracts: BTreeSet<u64>,
    /// Hashes that its contract got later.
    updated: BTreeSet<String>,
    /// The highest version wished for, and the highest of which something was said.
    wanted: i32,
    settled: i32,
    /// Whether a contract was asked for: before that a change only changes the order.
    asked: bool,
    /// Its owner wished its end, and that was not given up.
    cancelling: bool,
    /// How often it was cancelled, and the contract that it had.
    cancellations: u32,
    ended: Option<u64>,
    failed: bool,
    /// Contracts that were asked for when it was over.
    too_late: u32,
}

impl Deployment {
    fn over(&self) -> bool {
        self.failed || self.cancellations > 0
    }

    fn ask(&mut self, version: i32) {
        self.too_late += u32::from(self.over());
        self.asked = true;
        self.settled = self.settled.max(version);
    }
}

/// How the deployments of a run ended.
#[derive(Default)]
pub struct Ends {
    /// With a contract that stands.
    pub standing: usize,
    /// With one that their owner cancelled.
    pub cancelled: usize,
    /// Cancelled before they had one.
    pub never_made: usize,
    /// Given up.
    pub failed: usize,
    /// Changes that landed.
    pub updates: usize,
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} stand, {} were cancelled, {} before there was a contract, {} given up; {} changes landed",
            self.standing, self.cancelled, self.never_made, self.failed, self.updates
        )
    }
}

impl Deployments {
    fn of(&mut self, id: impl ToString) -> &mut Deployment {
        self.0.entry(id.to_string()).or_default()
    }

    /// Takes a fact of the log; the facts of a user come in the order of the log.
    pub fn take(&mut self, event: &DeploymentEvent) {
        match event {
            DeploymentEvent::DeploymentRequested(e) => {
                let seen = self.of(e.deployment_id);
                seen.hash.clone_from(&e.hash);
                seen.purchase = e.waits_for.map(|p| p.to_string()).unwrap_or_default();
                seen.name = e.name.clone().filter(|_| e.kind == DeploymentKind::Name);
                seen.hashes.insert(e.hash.clone());
                (seen.wanted, seen.settled) = (e.version, e.version);
            }
            DeploymentEvent::BatchRequested(e) => {
                for member in &e.members {
                    let seen = self.of(member.deployment_id);
                    seen.hash.clone_from(&member.hash);
                    seen.purchase = e.waits_for.map(|p| p.to_string()).unwrap_or_default();
                    let named = member.kind == DeploymentKind::Name;
                    seen.name = member.name.clone().filter(|_| named);
                    seen.hashes.insert(member.hash.clone());
                    (seen.wanted, seen.settled) = (member.version, member.version);
                }
            }
            DeploymentEvent::DeploymentUpdateRequested(e) => {
                let seen = self.of(e.deployment_id);
                seen.hashes.insert(e.hash.clone());
                seen.wanted = seen.wanted.max(e.version);
            }
            DeploymentEvent::DeploymentCancelRequested(e) => {
                self.of(e.deployment_id).cancelling = true;
            }
            DeploymentEvent::ContractRequested(e) => self.of(e.deployment_id).ask(e.version),
            DeploymentEvent::BatchContractsRequested(e) => {
                for member in &e.members {
                    self.of(member.deployment_id).ask(member.version);
                }
            }
            DeploymentEvent::DeploymentCreated(e) => {
                self.of(e.deployment_id).contracts.insert(e.contract_id.0);
            }
            DeploymentEvent::BatchCreated(e) => {
                for made in &e.contracts {
                    let contracts = &mut self.of(made.deployment_id).contracts;
                    contracts.insert(made.contract_id.0);
                }
            }
            DeploymentEvent::ContractUpdated(e) => {
                let seen = self.of(e.deployment_id);
                seen.settled = seen.settled.max(e.version);
                seen.updated.insert(e.hash.clone());
            }
            DeploymentEvent::DeploymentUpdateRejected(e) => {
                let seen = self.of(e.deployment_id);
                seen.settled = seen.settled.max(e.version);
            }
            DeploymentEvent::DeploymentUpdateFailed(e) => {
                let seen = self.of(e.deployment_id);
                seen.settled = seen.settled.max(e.version);
            }
            DeploymentEvent::DeploymentCancelFailed(e) => {
                self.of(e.deployment_id).cancelling = false;
            }
            DeploymentEvent::DeploymentCancelled(e) => {
                let seen = self.of(e.deployment_id);
                seen.cancellations += 1;
                seen.ended = e.contract_id.map(|contract| contract.0);
            }
            DeploymentEvent::DeploymentFailed(e) => self.of(e.deployment_id).failed = true,
            _ => {}
        }
    }

    /// For the rules of purchases: the purchase that each waits for, and its contract. `counts` is
    /// what the chain has counted.
    pub fn contracts(&self, counts: &Value) -> Vec<(String, invariants::Contract)> {
        let of = |seen: &Deployment| {
            let by_hash = seen
                .hashes
                .iter()
                .map(|hash| times(counts, "by_hash", hash));
            let by_name = seen.name.iter().map(|name| times(counts, "names", name));
            let created: u64 = by_hash.chain(by_name).sum();
            invariants::Contract {
                hash: seen.hash.clone(),
                created: u32::try_from(created).unwrap_or(u32::MAX),
                recorded: !seen.contracts.is_empty(),
                given_up: seen.failed,
                cancelled: seen.cancellations > 0,
            }
        };
        let all = self.0.values();
        all.map(|seen| (seen.purchase.clone(), of(seen))).collect()
    }

    /// What is wrong, and how they ended.
    pub fn check(&self, counts: &Value) -> (Vec<String>, Ends) {
        let mut wrong = Vec::new();
        let mut ends = Ends::default();
        for (id, seen) in &self.0 {
            let mut found = |what: String| wrong.push(format!("deployment {id}: {what}"));
            if seen.contracts.len() > 1 || seen.cancellations > 1 || seen.too_late > 0 {
                found(format!(
                    "{} contracts, cancelled {} times, asked for {} times when it was over",
                    seen.contracts.len(),
                    seen.cancellations,
                    seen.too_late
                ));
            }
            let over = seen.over();
            if !over && seen.cancelling {
                found("its owner cancelled it, and it goes on".to_owned());
            }
            if !over && seen.asked && seen.wanted > seen.settled {
                let (wanted, settled) = (seen.wanted, seen.settled);
                found(format!(
                    "version {wanted} was asked for, {settled} is there"
                ));
            }
            for hash in &seen.hashes {
                let (landed, told) = (times(counts, "updates", hash), seen.updated.contains(hash));
                // What ended at once may have been updated without an outcome.
                if landed > 1 || (told && landed == 0) || (landed == 1 && !told && !over) {
                    found(format!("update {hash} landed {landed} times, told: {told}"));
                }
            }
            for contract in &seen.contracts {
                let ended = times(counts, "cancellations", &contract.to_string());
                let due = u64::from(seen.ended == Some(*contract));
                if ended != due {
                    found(format!(
                        "contract {contract} was ended {ended} times, should be {due}"
                    ));
                }
            }
            match (seen.failed, seen.cancellations > 0, seen.ended) {
                (true, ..) => ends.failed += 1,
                (false, true, Some(_)) => ends.cancelled += 1,
                (false, true, None) => ends.never_made += 1,
                (false, false, _) => ends.standing += 1,
            }
            ends.updates += seen.updated.len();
        }
        wrong.extend(self.foreign(counts));
        (wrong, ends)
    }

    /// What the chain has and no deployment explains.
    fn foreign(&self, counts: &Value) -> Vec<String> {
        let all = || self.0.values();
        let hashes: BTreeSet<String> = all().flat_map(|seen| seen.hashes.clone()).collect();
        let names: BTreeSet<String> = all().filter_map(|seen| seen.name.clone()).collect();
        let contracts = all().flat_map(|seen| seen.contracts.iter().chain(&seen.ended));
        let contracts: BTreeSet<String> = contracts.map(ToString::to_string).collect();
        let mut wrong = Vec::new();
        for (what, known) in [
            ("by_hash", &hashes),
            ("updates", &hashes),
            ("names", &names),
            ("cancellations", &contracts),
        ] {
            for (thing, times) in counts[what].as_object().into_iter().flatten() {
                if !known.contains(thing) {
                    wrong.push(format!("{what} on TFChain: {thing}, {times} times"));
                }
            }
        }
        wrong
    }
}

fn times(counts: &Value, what: &str, thing: &str) -> u64 {
    counts[what][thing].as_u64().unwrap_or(0)
}
