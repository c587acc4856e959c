//! The fence before TFChain: a call about a contract leaves a process only once the log has confirmed,
//! in answer to the proof that was asked for this very call, that the partition is the process's own.
//!
//! TFChain would refuse most second calls, so that what the chain comes to hold says nothing about it.

use crate::broker::partition_of;
use crate::dice::Dice;
use crate::people::ids;
use crate::process::{Life, Process, at_once};
use crate::script::Script;
use crate::world::{Fixture, World};
use async_trait::async_trait;
use counterparties_tfchain::{
    AccountId32, ActivatorKey, BatchPlan, Block, BlockRef, CancelPlan, ChainKey, ContractPlan,
    ContractProof, OwnershipProof, ReadError, Tfchain, TwinPlan, TwinProof, UpdatePlan,
};
use events::deployments::DeploymentEvent;
use events::ids::TwinId;
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find};
use events::schema::EventSet;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the log has told a process about its partitions.
#[derive(Debug, Default)]
pub struct Standing {
    /// How often it took something of a partition from the process.
    confirmed: BTreeMap<i32, u64>,
    /// By account that signs: whether it confirmed the proof that was asked for last.
    proofs: BTreeMap<String, bool>,
}

impl Standing {
    /// The log took something of this partition from the process: it was its own.
    pub fn confirm(&mut self, partition: i32) {
        *self.confirmed.entry(partition).or_default() += 1;
    }

    fn confirmed(&self, partition: i32) -> u64 {
        self.confirmed.get(&partition).copied().unwrap_or_default()
    }

    /// A call that this account signs leaves the process; says what is wrong with that. A proof is
    /// good for one call.
    pub fn leaves(&mut self, account: &str) -> Option<&'static str> {
        match self.proofs.remove(account) {
            Some(true) => None,
            Some(false) => Some("the log had not confirmed that the partition was its own"),
            None => Some("it had asked for no proof that the partition was its own"),
        }
    }
}

/// What a world knows of the fence.
pub struct Fence {
    dice: Dice,
    /// Proofs that may yet take long.
    doubts: AtomicU64,
    /// In which partition the requests of an account stand.
    partitions: BTreeMap<String, i32>,
}

impl Fence {
    /// That of a world: accounts of others than its buyers sign no call about a contract.
    #[must_use]
    pub fn new(seed: u64, script: &Script, fixture: &Fixture) -> Self {
        let partitions = (0..script.buyers.len()).map(|number| {
            let (_, user) = ids(seed, number);
            let partition = partition_of(DeploymentEvent::TOPIC, user.to_string().as_bytes());
            (fixture.users_seed.user_key(&user).ss58(), partition)
        });
        Self {
            dice: Dice::new(seed, "fence"),
            doubts: AtomicU64::new(script.doubts),
            partitions: partitions.collect(),
        }
    }

    /// Whether the next proof takes long.
    fn doubts(&self) -> bool {
        let wanted = self.dice.percent(40);
        let fewer = |left: u64| left.checked_sub(1);
        wanted
            && self
                .doubts
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer)
                .is_ok()
    }
}

/// A process's way to TFChain, with the fence before it.
pub struct Fenced {
    chain: Arc<dyn Tfchain>,
    world: World,
    place: usize,
}

impl Fenced {
    /// The way of the process in this place.
    #[must_use]
    pub fn new(world: World, place: usize) -> Self {
        Self {
            chain: world.chain().client(),
            world,
            place,
        }
    }

    fn gate<'a>(&'a self, key: &ChainKey, owner: &'a dyn OwnershipProof) -> Gate<'a> {
        Gate {
            fenced: self,
            account: key.ss58(),
            owner,
        }
    }

    /// Stops the process, in some cases beyond its session.
    fn stop(&self, process: &Process) {
        let (process, fence) = (process.clone(), &self.world.fence);
        let away = fence.dice.millis(500, 30_000);
        self.world
            .trace
            .say(|| format!("stopped for {away:?} after asking for a proof"));
        process.set(Life::Frozen);
        self.world.watch_session(self.place, &process);
        tokio::spawn(async move {
            tokio::time::sleep(away).await;
            process.set(Life::Running);
        });
    }
}

/// Keeps what became of the proof for a call of this account.
struct Gate<'a> {
    fenced: &'a Fenced,
    account: String,
    owner: &'a dyn OwnershipProof,
}

impl Gate<'_> {
    async fn prove(&self) -> bool {
        let fence = &self.fenced.world.fence;
        let partition = fence.partitions.get(&self.account);
        let (Some(process), Some(partition)) = (Process::current(), partition) else {
            return self.owner.prove().await;
        };
        let before = process.standing().confirmed(*partition);
        // Asked for in the same breath, as nothing else of this process runs any more.
        if fence.doubts() {
            self.fenced.stop(&process);
        }
        let says = if fence.dice.percent(50) {
            at_once(self.owner.prove()).await
        } else {
            self.owner.prove().await
        };
        let mut standing = process.standing();
        let confirmed = standing.confirmed(*partition) > before;
        standing.proofs.insert(self.account.clone(), confirmed);
        says
    }
}

impl OwnershipProof for Gate<'_> {
    fn prove(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(Gate::prove(self))
    }
}

#[async_trait]
impl Tfchain for Fenced {
    async fn find_twin(&self, plan: &TwinPlan, key: &ChainKey) -> Find<TwinProof> {
        self.chain.find_twin(plan, key).await
    }

    async fn make_twin(
        &self,
        plan: &TwinPlan,
        key: &ChainKey,
        activator: &ActivatorKey,
    ) -> Attempt<TwinProof> {
        self.chain.make_twin(plan, key, activator).await
    }

    async fn find_contract(&self, plan: &ContractPlan, key: &ChainKey) -> Find<ContractProof> {
        self.chain.find_contract(plan, key).await
    }

    async fn create_contract(
        &self,
        plan: &ContractPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof> {
        let gate = self.gate(key, owner);
        self.chain.create_contract(plan, key, &gate).await
    }

    async fn find_batch(&self, plan: &BatchPlan, key: &ChainKey) -> Find<Vec<ContractProof>> {
        self.chain.find_batch(plan, key).await
    }

    async fn create_batch(
        &self,
        plan: &BatchPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<Vec<ContractProof>> {
        let gate = self.gate(key, owner);
        self.chain.create_batch(plan, key, &gate).await
    }

    async fn find_update(&self, plan: &UpdatePlan, key: &ChainKey) -> Find<ContractProof> {
        self.chain.find_update(plan, key).await
    }

    async fn update_contract(
        &self,
        plan: &UpdatePlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof> {
        let gate = self.gate(key, owner);
        self.chain.update_contract(plan, key, &gate).await
    }

    async fn find_cancel(&self, plan: &CancelPlan, key: &ChainKey) -> Find<ContractProof> {
        self.chain.find_cancel(plan, key).await
    }

    async fn cancel_contract(
        &self,
        plan: &CancelPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof> {
        let gate = self.gate(key, owner);
        self.chain.cancel_contract(plan, key, &gate).await
    }

    async fn finalized_head(&self) -> Result<BlockRef, ReadError> {
        self.chain.finalized_head().await
    }

    async fn blocks(&self, from: u32, to: u32) -> Result<Vec<Block>, ReadError> {
        self.chain.blocks(from, to).await
    }

    async fn wait_for_block_after(
        &self,
        number: u32,
        timeout: Duration,
    ) -> Result<BlockRef, ReadError> {
        self.chain.wait_for_block_after(number, timeout).await
    }

    async fn balance(&self, account: &AccountId32) -> Result<Amount<Tft>, ReadError> {
        self.chain.balance(account).await
    }

    async fn twin_of(&self, account: &AccountId32) -> Result<Option<TwinId>, ReadError> {
        self.chain.twin_of(account).await
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::time;
    use crate::trace::Trace;
    use counterparties_tfchain::ContractKind;
    use events::ids::{DeploymentId, EventId, NodeId, UserId};

    /// Says that the partition is its own, and has the log confirm it or not.
    struct Says {
        confirmed: Option<i32>,
    }

    impl OwnershipProof for Says {
        fn prove(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
            Box::pin(async {
                if let (Some(partition), Some(process)) = (self.confirmed, Process::current()) {
                    process.standing().confirm(partition);
                }
                true
            })
        }
    }

    fn plan(deadline: i64) -> ContractPlan {
        ContractPlan {
            deployment: DeploymentId::derive(&["a"]),
            kind: ContractKind::Node,
            above: 0,
            version: 1,
            request: EventId::derive(&["a"]),
            requested_at: time::now(),
            user: UserId::derive(&["a"]),
            twin: TwinId(1),
            node: NodeId(1),
            hash: "00".repeat(32),
            data: String::new(),
            public_ips: 0,
            solution_provider: None,
            deadline,
            minimum_balance: Amount::ZERO,
        }
    }

    /// What is wrong once a process has sent a call on its own word, while the log confirmed this of the
    /// partition that it is about.
    fn wrong(confirmed: fn(i32) -> Option<i32>) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            time::start();
            let (seed, fixture) = (1, Fixture::new().unwrap());
            let mut script = Script::of(seed);
            (script.wire, script.doubts, script.network) = (false, 0, 0);
            let world = World::new(seed, &script, &fixture, &Trace::default()).unwrap();
            let key = fixture.users_seed.user_key(&ids(seed, 0).1);
            let partition = world.fence.partitions[&key.ss58()];
            let (process, confirmed) = (Process::default(), confirmed(partition));
            let owner = Says { confirmed };
            let inner = world.clone();
            process.spawn(Box::pin(async move {
                let deadline = time::now().after(Duration::from_secs(60)).seconds();
                Fenced::new(inner, 0)
                    .create_contract(&plan(deadline), &key, &owner)
                    .await;
            }));
            tokio::time::sleep(Duration::from_secs(30)).await;
            world.network().unproven()
        })
    }

    #[test]
    fn a_call_leaves_on_what_the_log_confirms_and_not_on_what_the_process_says() {
        assert_eq!(wrong(Some), Vec::<String>::new());
        let refused = "the log had not confirmed that the partition was its own";
        let says: [fn(i32) -> Option<i32>; 2] = [|_| None, |own| Some(own + 1)];
        for confirmed in says {
            let found = wrong(confirmed);
            assert_eq!(found.len(), 1);
            assert!(found[0].ends_with(refused), "{found:?}");
        }
    }

    #[test]
    fn a_proof_is_good_for_one_call() {
        let mut standing = Standing::default();
        assert!(standing.leaves("anna").is_some(), "without any");
        standing.proofs.insert("anna".to_owned(), true);
        assert!(standing.leaves("bert").is_some(), "with another's");
        assert_eq!(standing.leaves("anna"), None);
        assert!(standing.leaves("anna").is_some(), "a second time");
    }
}
