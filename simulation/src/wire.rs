//! TFChain over the wire: the stand-in's ledger and pool, reached by the client of production over
//! Substrate's JSON-RPC, carried by the network of the world.

mod books;
mod line;

use self::books::{Books, Owners};
use self::line::Line;
use crate::dice::Dice;
use crate::net::Network;
use crate::people::ids;
use crate::process::Process;
use crate::script::{Script, Trouble};
use crate::stellar::Stellar;
use crate::tfchain::{FEE, Habits, Holds};
use crate::time;
use crate::trace::Trace;
use crate::world::Fixture;
use counterparties_tfchain::{Metadata, TfchainClient};
use sandbox_tfchain::ledger::OfItself;
use sandbox_tfchain::runtime::{Change, Version};
use sandbox_tfchain::{Chain, Pace, Person, Rules};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A block every six seconds, final when two others stand on it.
pub const PACE: Pace = Pace {
    block: Duration::from_secs(6),
    idle: Duration::from_secs(6),
    finality_lag: 2,
};
/// Nodes 1 to this exist: that of workloads, and one of each buyer's own.
const NODES: u32 = 110;
/// What a transaction costs, in 10^-7 TFT.
const EXTRINSIC_FEE: u64 = 10_000;
/// What everybody has at the beginning, in 10^-7 TFT.
const ENDOWMENT: u64 = 1_000_000 * 10_000_000;
/// For one answer, and for a connection.
const TIMEOUT: Duration = Duration::from_secs(10);
/// When the shapes of the runtime become the known ones again.
const UNKNOWN_FOR: Duration = Duration::from_secs(40);
/// When a block that holds what was just submitted has been made, and is not final.
const IN_A_BLOCK: Duration = Duration::from_secs(7);

struct Node {
    chain: Arc<Chain>,
    owners: Owners,
    network: Network,
    trace: Trace,
    metadata: Arc<Metadata>,
    troubles: Vec<(u64, Trouble)>,
    calm: AtomicBool,
    /// What befalls when the next transaction comes.
    armed: Mutex<Option<Trouble>>,
}

/// The chain and the way to it. Cloning is cheap.
#[derive(Clone)]
pub struct Wired(Arc<Node>);

impl Wired {
    /// A chain at block 0, on which every buyer has a twin.
    ///
    /// # Errors
    /// When the buyers' accounts cannot be derived.
    pub fn new(
        seed: u64,
        script: &Script,
        fixture: &Fixture,
        network: &Network,
        trace: &Trace,
    ) -> anyhow::Result<Self> {
        let rules = Rules {
            nodes: NODES,
            extrinsic_fee: EXTRINSIC_FEE,
            deposit_fee: u64::try_from(FEE)?,
        };
        let account = |number: usize| {
            let key = fixture.users_seed.user_key(&ids(seed, number).1);
            key.account_id().into()
        };
        let people: Vec<Person> = (0..script.buyers.len())
            .map(|number| Person {
                account: account(number),
                endowment: ENDOWMENT,
            })
            .collect();
        let clock = Arc::new(|| u64::try_from(time::now().0).unwrap_or_default());
        let activator = fixture.activator.key().account_id();
        let chain = Chain::inhabited(rules, PACE, activator, ENDOWMENT, &people, clock);
        Ok(Self(Arc::new(Node {
            chain: Arc::new(chain),
            owners: Owners::of(seed, script),
            network: network.clone(),
            trace: trace.clone(),
            metadata: Arc::clone(&fixture.metadata),
            troubles: script.troubles.clone(),
            calm: AtomicBool::new(false),
            armed: Mutex::default(),
        })))
    }

    /// The client of the process that calls this.
    #[must_use]
    pub fn client(&self) -> TfchainClient {
        let line = Line::new(self.clone(), Process::current());
        let known = vec![(Version::FIRST.spec, Arc::clone(&self.0.metadata))];
        TfchainClient::over(Arc::new(line), known, TIMEOUT)
    }

    /// From now on it leaves contracts alone, and all goes well with it.
    pub fn calm(&self) {
        self.0.calm.store(true, Ordering::Relaxed);
    }

    fn is_calm(&self) -> bool {
        self.0.calm.load(Ordering::Relaxed)
    }

    /// What the ledger holds, final or not.
    #[must_use]
    pub fn holds(&self) -> Holds {
        self.books().holds()
    }

    fn books(&self) -> Books {
        Books::read(&self.0.chain.happened(), &self.0.owners)
    }

    /// Makes blocks for ever; the bridge answers payments.
    pub async fn run(self, stellar: Stellar, seed: u64, habits: Habits) {
        tokio::spawn(self.clone().troubles());
        let (dice, whims) = (Dice::new(seed, "bridge"), Dice::new(seed, "whims"));
        let mut answered = BTreeSet::new();
        loop {
            tokio::time::sleep(PACE.block).await;
            for payment in stellar.bridge_payments() {
                if dice.percent(30) || !answered.insert(payment.hash.clone()) {
                    continue;
                }
                let amount = u64::try_from(payment.amount).unwrap_or_default();
                if dice.percent(habits.returns) {
                    stellar.pay_back(payment.amount);
                    let sequence = u64::try_from(answered.len()).unwrap_or_default();
                    let chain = &self.0.chain;
                    chain.refunded(&payment.hash, "treasury", amount, sequence);
                } else if let Err(why) = self.0.chain.mint(&payment.hash, payment.twin, amount) {
                    let trace = &self.0.trace;
                    trace.say(|| format!("bridge: {} is not minted: {why:?}", payment.hash));
                }
            }
            let act = if !self.is_calm() && whims.percent(habits.of_itself) {
                self.books().whim(&whims)
            } else {
                None
            };
            self.seal(act);
        }
    }

    fn seal(&self, act: Option<OfItself>) {
        let Some(act) = act else {
            self.0.chain.seal_blocks(1);
            return;
        };
        // The block is made whether the contract still stands or not.
        if let Err(why) = self.0.chain.of_itself(act) {
            self.0.trace.say(|| format!("chain: not {act:?}: {why}"));
        }
    }

    /// What befalls it by the script.
    async fn troubles(self) {
        let begun = tokio::time::Instant::now();
        for (at, trouble) in &self.0.troubles {
            tokio::time::sleep_until(begun + Duration::from_millis(*at)).await;
            if self.is_calm() {
                return;
            }
            self.befall(*trouble);
        }
    }

    fn befall(&self, trouble: Trouble) {
        let chain = &self.0.chain;
        self.0.trace.say(|| format!("chain: {trouble:?}"));
        match trouble {
            Trouble::Drop => chain.drop_next(),
            Trouble::Fork { depth, lose } => drop(chain.fork(depth, lose)),
            Trouble::Restart(down) => chain.restart(Duration::from_millis(down)),
            Trouble::Upgrade(change) => {
                self.upgrade(change);
                if change == Change::Field {
                    let wired = self.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(UNKNOWN_FOR).await;
                        wired.upgrade(Change::Nothing);
                    });
                }
            }
        }
    }

    fn upgrade(&self, change: Change) {
        let chain = &self.0.chain;
        let version = chain.version(chain.best().number);
        chain.upgrade(version.unwrap_or(Version::FIRST).spec + 1, change);
    }

    /// Lets this befall it when the next transaction comes.
    pub fn arm(&self, trouble: Trouble) {
        *self.armed() = Some(trouble);
    }

    fn armed(&self) -> std::sync::MutexGuard<'_, Option<Trouble>> {
        self.0.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction is about to reach the node.
    fn comes(&self) {
        let Some(trouble) = self.armed().take() else {
            return;
        };
        let after = match trouble {
            Trouble::Drop => return self.befall(trouble),
            // The pool takes it first.
            Trouble::Restart(_) | Trouble::Upgrade(_) => Duration::from_millis(1),
            Trouble::Fork { .. } => IN_A_BLOCK,
        };
        let wired = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            wired.befall(trouble);
        });
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::reached::Reached;
    use crate::script::{Buyer, Change, Kind, What};
    use crate::world::live;
    use sandbox_tfchain::runtime::Change as Upgrade;

    /// Somebody buys, deploys, changes their mind, and everything befalls the chain meanwhile.
    fn script() -> Script {
        let mut script = Script::of(7);
        script.wire = true;
        (script.network, script.tears) = (30, 2);
        (script.returns, script.of_itself) = (0, 30);
        // With books that stay empty nothing would ever be handed to the chain.
        script
            .mishaps
            .retain(|m| matches!(m.kind, Kind::Kill { .. } | Kind::Freeze { .. }));
        script.buyers = vec![Buyer {
            changes: vec![Change::Update(120_000), Change::Cancel(60_000)],
            ..Buyer::prompt(0, What::Batch)
        }];
        script.troubles = vec![
            (30_000, Trouble::Drop),
            (
                60_000,
                Trouble::Fork {
                    depth: 2,
                    lose: true,
                },
            ),
            (90_000, Trouble::Restart(5_000)),
            (100_000, Trouble::Upgrade(Upgrade::Indices)),
        ];
        script
    }

    #[test]
    fn the_same_seed_gives_the_same_world() {
        let fixture = Fixture::new().unwrap();
        let life = || {
            let trace = Trace::kept();
            let outcome = live(7, &script(), &fixture, &trace).unwrap();
            assert_eq!(outcome.violations, Vec::<String>::new());
            (trace.lines(), outcome.records, outcome.lived)
        };
        let (first, second) = (life(), life());
        for effect in ["create batch", "update contract", "cancel contract"] {
            let arrives = format!("wire: {effect} arrives");
            assert!(
                first.0.iter().any(|line| line.contains(&arrives)),
                "{effect}"
            );
        }
        assert_eq!(first, second);
    }

    #[test]
    fn seeds_reach_every_effect_over_the_wire() {
        let fixture = Fixture::new().unwrap();
        let mut reached = Reached::default();
        // Most of them to see all kinds; in the last two somebody changes a workload.
        for seed in (1..=12).chain([17, 21]) {
            let mut script = Script::of(seed);
            script.wire = true;
            let outcome = live(seed, &script, &fixture, &Trace::default()).unwrap();
            assert_eq!(outcome.violations, Vec::<String>::new(), "seed {seed}");
            reached += outcome.reached;
        }
        assert_eq!(reached.missing(), Vec::<&str>::new(), "{reached}");
    }
}
