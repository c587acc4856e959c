//! TFChain, modelled: blocks, finality that lags, contracts, and the bridge.

mod contracts;

use self::contracts::{Call, Contracts, Signed, index};
use crate::dice::Dice;
use crate::net::{Network, Unanswered};
use crate::process::Process;
use crate::stellar::Stellar;
use crate::tfchain::{FEE, Habits, Holds};
use crate::time;
use async_trait::async_trait;
use counterparties_tfchain::{
    AccountId32, ActivatorKey, BatchPlan, Block, BlockRef, CancelPlan, ChainEvent, ChainKey,
    ContractKind, ContractPlan, ContractProof, OwnershipProof, ReadError, Tfchain, TwinPlan,
    TwinProof, UpdatePlan,
};
use events::ids::TwinId;
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

const EVERY: Duration = Duration::from_secs(6);
/// Blocks that finality is behind.
const FINALITY: u32 = 2;

#[derive(Default)]
struct Model {
    blocks: Vec<(Timestamp, Vec<ChainEvent>)>,
    contracts: Contracts,
    answered: BTreeSet<String>,
    mints: BTreeMap<String, i64>,
    returns: BTreeMap<String, i64>,
    /// It leaves contracts alone.
    calm: bool,
}

/// TFChain. Cloning is cheap.
#[derive(Clone)]
pub struct Chain {
    model: Arc<Mutex<Model>>,
    network: Network,
    /// Wakes who waits for a block, in the order of their waiting.
    made: Arc<Notify>,
}

impl Chain {
    /// A chain with an empty first block.
    #[must_use]
    pub fn new(network: Network) -> Self {
        let model = Model {
            blocks: vec![(time::now(), Vec::new())],
            ..Model::default()
        };
        Self {
            model: Arc::new(Mutex::new(model)),
            network,
            made: Arc::default(),
        }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it leaves contracts alone.
    pub fn calm(&self) {
        self.model().calm = true;
    }

    /// Makes blocks for ever; the bridge answers payments.
    pub async fn run(self, stellar: Stellar, seed: u64, habits: Habits) {
        let dice = Dice::new(seed, "bridge");
        let whims = Dice::new(seed, "whims");
        loop {
            tokio::time::sleep(EVERY).await;
            let mut events = Vec::new();
            let mut model = self.model();
            let number = u32::try_from(model.blocks.len()).unwrap_or(u32::MAX);
            for payment in stellar.bridge_payments() {
                if dice.percent(30) || !model.answered.insert(payment.hash.clone()) {
                    continue;
                }
                let index = index(&events);
                if dice.percent(habits.returns) {
                    stellar.pay_back(payment.amount);
                    model.returns.insert(payment.hash.clone(), payment.amount);
                    if let Ok(amount) = Amount::from_minor(payment.amount) {
                        events.push(ChainEvent::BridgeRefunded {
                            index,
                            stellar_tx: payment.hash,
                            target: "treasury".to_owned(),
                            amount,
                        });
                    }
                } else if let Ok(amount) = Amount::from_minor(payment.amount - FEE) {
                    model.mints.insert(payment.hash.clone(), amount.minor());
                    events.push(ChainEvent::BridgeMinted {
                        index,
                        stellar_tx: payment.hash,
                        account: format!("account of twin {}", payment.twin),
                        amount,
                    });
                }
            }
            let now = time::now();
            model.contracts.seal(number, now, &mut events);
            if !model.calm && whims.percent(habits.of_itself) {
                model.contracts.of_itself(&whims, number, &mut events);
            }
            model.blocks.push((now, events));
            self.made.notify_waiters();
        }
    }

    /// What it holds.
    #[must_use]
    pub fn holds(&self) -> Holds {
        let model = self.model();
        Holds {
            contracts: model.contracts.all(),
            mints: model.mints.clone(),
            returns: model.returns.clone(),
            ..Holds::default()
        }
    }

    fn finalized(model: &Model) -> u32 {
        u32::try_from(model.blocks.len() - 1)
            .unwrap_or(0)
            .saturating_sub(FINALITY)
    }

    fn head(&self) -> BlockRef {
        let model = self.model();
        let lag = u32::try_from(self.network.lag(3)).unwrap_or_default();
        let number = Self::finalized(&model).saturating_sub(lag);
        BlockRef {
            number,
            hash: String::new(),
            timestamp: model.blocks[usize::try_from(number).unwrap_or(0)].0,
        }
    }
}

fn unreachable(_: Unanswered) -> ReadError {
    ReadError::Unreachable("no answer".to_owned())
}

/// What a node knows of a plan that has not been carried out.
fn open(head: &BlockRef, deadline: i64) -> Find<Vec<ContractProof>> {
    // Past the deadline at a final block, nothing signed before can land.
    if head.timestamp.seconds() > deadline {
        return Find::NeverWill("its era is over".to_owned());
    }
    if time::now().seconds() > deadline {
        return Find::Pending("waiting for finality".to_owned());
    }
    Find::Absent
}

fn one(find: Find<Vec<ContractProof>>) -> Find<ContractProof> {
    match find {
        Find::Landed(proofs) => match proofs.into_iter().next() {
            Some(proof) => Find::Landed(proof),
            None => Find::Pending("no proof".to_owned()),
        },
        Find::Refused(refusal) => Find::Refused(refusal),
        Find::Absent => Find::Absent,
        Find::Pending(reason) => Find::Pending(reason),
        Find::NoAnswer(reason) => Find::NoAnswer(reason),
        Find::NeverWill(reason) => Find::NeverWill(reason),
    }
}

fn first(attempt: Attempt<Vec<ContractProof>>) -> Attempt<ContractProof> {
    match attempt {
        Attempt::Landed(proofs) => match proofs.into_iter().next() {
            Some(proof) => Attempt::Landed(proof),
            None => Attempt::Unknown("no proof".to_owned()),
        },
        Attempt::Refused(refusal) => Attempt::Refused(refusal),
        Attempt::NotSent(reason) => Attempt::NotSent(reason),
        Attempt::Unknown(reason) => Attempt::Unknown(reason),
        Attempt::NoAnswer(reason) => Attempt::NoAnswer(reason),
    }
}

/// A request for a contract, by its kind.
fn creating(kind: &ContractKind) -> &'static str {
    match kind {
        ContractKind::Node => "create contract",
        ContractKind::Name(_) => "create name",
        ContractKind::Rent => "create rent",
    }
}

impl Chain {
    async fn find(
        &self,
        what: &'static str,
        deadline: i64,
        known: impl Fn(&Contracts, u32) -> Option<Find<Vec<ContractProof>>> + Send + Sync + 'static,
    ) -> Find<Vec<ContractProof>> {
        let chain = self.clone();
        let answer = self
            .network
            .call(what, move || {
                let head = chain.head();
                let found = known(&chain.model().contracts, head.number);
                found.unwrap_or_else(|| open(&head, deadline))
            })
            .await;
        answer.unwrap_or(Find::NoAnswer("no answer".to_owned()))
    }

    /// Signs with the nonce that was read at the block at which the wish was not granted.
    async fn send(
        &self,
        what: &'static str,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
        call: Call,
    ) -> Attempt<Vec<ContractProof>> {
        let (head, account) = (self.head().number, key.ss58());
        let nonce = {
            let model = self.model();
            let known = match &call {
                Call::Create(plan) => model.contracts.creation(plan, head),
                Call::Batch(plan) => model.contracts.batch(plan, head),
                Call::Update(plan) => model.contracts.update(plan, head),
                Call::Cancel(plan) => model.contracts.cancellation(plan, head),
            };
            match known {
                Some(Find::Landed(proof)) => return Attempt::Landed(proof),
                Some(Find::Refused(refusal)) => return Attempt::Refused(refusal),
                Some(_) => return Attempt::Unknown("the node lags".to_owned()),
                None => model.contracts.nonce(&account, head),
            }
        };
        if !owner.prove().await {
            return Attempt::Unknown("the partition is another's".to_owned());
        }
        self.network
            .signed(what, Process::current().as_ref(), &account);
        let signed = Signed {
            account,
            nonce,
            call,
        };
        let chain = self.clone();
        let answer = self
            .network
            .call(what, move || {
                chain.model().contracts.submit(signed.clone());
            })
            .await;
        match answer {
            Ok(()) => Attempt::Unknown("submitted".to_owned()),
            Err(Unanswered::NotSent) => Attempt::NotSent("connection refused".to_owned()),
            Err(Unanswered::Lost) => Attempt::NoAnswer("no answer".to_owned()),
            Err(Unanswered::Unavailable) => Attempt::NoAnswer("503".to_owned()),
        }
    }
}

#[async_trait]
impl Tfchain for Chain {
    async fn find_twin(&self, _: &TwinPlan, _: &ChainKey) -> Find<TwinProof> {
        Find::Pending("twins are there from the beginning".to_owned())
    }

    async fn make_twin(&self, _: &TwinPlan, _: &ChainKey, _: &ActivatorKey) -> Attempt<TwinProof> {
        Attempt::NotSent("twins are there from the beginning".to_owned())
    }

    async fn find_contract(&self, plan: &ContractPlan, _: &ChainKey) -> Find<ContractProof> {
        let (plan, deadline) = (plan.clone(), plan.deadline);
        let known = move |contracts: &Contracts, head| contracts.creation(&plan, head);
        one(self.find("find contract", deadline, known).await)
    }

    async fn create_contract(
        &self,
        plan: &ContractPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof> {
        let call = Call::Create(plan.clone());
        first(self.send(creating(&plan.kind), key, owner, call).await)
    }

    async fn find_batch(&self, plan: &BatchPlan, _: &ChainKey) -> Find<Vec<ContractProof>> {
        let (plan, deadline) = (plan.clone(), plan.deadline);
        let known = move |contracts: &Contracts, head| contracts.batch(&plan, head);
        self.find("find batch", deadline, known).await
    }

    async fn create_batch(
        &self,
        plan: &BatchPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<Vec<ContractProof>> {
        let call = Call::Batch(plan.clone());
        self.send("create batch", key, owner, call).await
    }

    async fn find_update(&self, plan: &UpdatePlan, _: &ChainKey) -> Find<ContractProof> {
        let (plan, deadline) = (plan.clone(), plan.deadline);
        let known = move |contracts: &Contracts, head| contracts.update(&plan, head);
        one(self.find("find update", deadline, known).await)
    }

    async fn update_contract(
        &self,
        plan: &UpdatePlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof> {
        let call = Call::Update(plan.clone());
        first(self.send("update contract", key, owner, call).await)
    }

    async fn find_cancel(&self, plan: &CancelPlan, _: &ChainKey) -> Find<ContractProof> {
        let (plan, deadline) = (plan.clone(), plan.deadline);
        let known = move |contracts: &Contracts, head| contracts.cancellation(&plan, head);
        one(self.find("find cancel", deadline, known).await)
    }

    async fn cancel_contract(
        &self,
        plan: &CancelPlan,
        key: &ChainKey,
        owner: &dyn OwnershipProof,
    ) -> Attempt<ContractProof> {
        let call = Call::Cancel(plan.clone());
        first(self.send("cancel contract", key, owner, call).await)
    }

    async fn finalized_head(&self) -> Result<BlockRef, ReadError> {
        let chain = self.clone();
        self.network
            .call("head", move || chain.head())
            .await
            .map_err(unreachable)
    }

    async fn blocks(&self, from: u32, to: u32) -> Result<Vec<Block>, ReadError> {
        let chain = self.clone();
        self.network
            .call("blocks", move || {
                let model = chain.model();
                let last = to.min(Self::finalized(&model));
                (from..=last)
                    .filter_map(|number| {
                        let (timestamp, events) =
                            model.blocks.get(usize::try_from(number).ok()?)?;
                        Some(Block {
                            number,
                            hash: String::new(),
                            timestamp: *timestamp,
                            events: events.clone(),
                        })
                    })
                    .collect()
            })
            .await
            .map_err(unreachable)
    }

    async fn wait_for_block_after(
        &self,
        number: u32,
        timeout: Duration,
    ) -> Result<BlockRef, ReadError> {
        let until = tokio::time::Instant::now() + timeout;
        loop {
            if self.network.outage("head").is_some() {
                return self.finalized_head().await;
            }
            let head = self.head();
            if head.number > number || tokio::time::Instant::now() >= until {
                return Ok(head);
            }
            let _ = tokio::time::timeout_at(until, self.made.notified()).await;
        }
    }

    async fn balance(&self, _: &AccountId32) -> Result<Amount<Tft>, ReadError> {
        Ok(Amount::from_whole(1_000_000))
    }

    async fn twin_of(&self, _: &AccountId32) -> Result<Option<TwinId>, ReadError> {
        Ok(None)
    }
}
