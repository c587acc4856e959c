//! A chain in process, served over HTTP, with clients.

#![allow(dead_code, reason = "each test file uses its own part")]

use counterparties_tfchain::{
    ActivatorKey, ChainKey, ContractKind, ContractPlan, ContractProof, OwnershipProof, Tfchain,
    TfchainClient, TfchainConfig, TwinPlan, TwinProof, UserSeed, deployment_hash,
};
use events::ids::{DeploymentId, EventId, NodeId, TwinId, UserId};
use events::money::Amount;
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use sandbox_tfchain::chain::Status;
use sandbox_tfchain::extrinsic::{Bound, Rejected, sign};
use sandbox_tfchain::runtime::Version;
use sandbox_tfchain::runtime::pallet_balances::Call as Balances;
use sandbox_tfchain::runtime::sp_core::crypto::AccountId32;
use sandbox_tfchain::runtime::sp_runtime::generic::era::Era;
use sandbox_tfchain::runtime::sp_runtime::multiaddress::MultiAddress;
use sandbox_tfchain::runtime::tfchain_runtime::RuntimeCall;
use sandbox_tfchain::{Chain, Pace, Rules};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

pub const FEE: u64 = 10_000;
const SEED: &str = "0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
const ACTIVATOR: &str = "0x0101010101010101010101010101010101010101010101010101010101010101";
/// Long enough for every wait; a test that needs it all has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct World {
    pub chain: Arc<Chain>,
    pub url: String,
    pub control: String,
    pub seed: UserSeed,
    pub activator: ActivatorKey,
    _stop: DropGuard,
}

pub const SUBMIT: &str = "author_submitAndWatchExtrinsic";

/// Blocks by the clock, with finality behind: what is read trails what has happened.
pub const TRAILING: Pace = Pace {
    block: Duration::from_millis(10),
    idle: Duration::from_millis(10),
    finality_lag: 2,
};

/// A block for each submission; empty ones seldom, so that tests say when time passes.
pub const ON_SUBMISSION: Pace = Pace {
    block: Duration::ZERO,
    idle: Duration::from_secs(1),
    finality_lag: 0,
};

/// A transfer of so many base units.
pub fn pay(to: &ChainKey, value: u128) -> RuntimeCall {
    let dest = MultiAddress::Id(to.account_id().into());
    RuntimeCall::Balances(Balances::transfer_keep_alive { dest, value })
}

pub async fn world(pace: Pace) -> World {
    let activator = ActivatorKey::parse(ACTIVATOR).unwrap();
    let rules = Rules {
        nodes: 10,
        extrinsic_fee: FEE,
        deposit_fee: 10_000_000,
    };
    let chain = Arc::new(Chain::new(
        rules,
        pace,
        activator.key().account_id(),
        10_000_000_000_000,
    ));
    let stop = CancellationToken::new();
    let sealing = Arc::clone(&chain);
    tokio::spawn(
        stop.clone()
            .run_until_cancelled_owned(async move { sealing.run().await }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let faults = sandbox_kit::Faults::default();
    tokio::spawn(sandbox_kit::serve_with(
        listener,
        sandbox_tfchain::router(Arc::clone(&chain), faults.clone()),
        faults,
        stop.clone(),
    ));
    World {
        chain,
        url: format!("ws://{address}"),
        control: format!("http://{address}"),
        seed: UserSeed::parse(SEED).unwrap(),
        activator,
        _stop: stop.drop_guard(),
    }
}

impl World {
    /// A client of its own, as another process would have.
    pub fn client(&self) -> TfchainClient {
        let config = TfchainConfig {
            url: self.url.clone(),
            timeout: Duration::from_secs(10),
        };
        TfchainClient::new(&config)
            .unwrap()
            .with_finality_wait(Duration::from_secs(10))
    }

    pub fn key(&self, user: &str) -> ChainKey {
        self.seed.user_key(&UserId::derive(&[user]))
    }

    pub fn now(&self) -> i64 {
        self.chain.finalized().timestamp_ms / 1000
    }

    pub fn twin_plan(&self, user: &str) -> TwinPlan {
        TwinPlan {
            user: UserId::derive(&[user]),
            request: EventId::derive(&["twin", user]),
            deadline: self.now() + 600,
            activation: Amount::parse("0.5").unwrap(),
        }
    }

    /// What a task of its own needs to walk to the user's twin.
    pub fn walk(
        &self,
        client: &TfchainClient,
        user: &str,
    ) -> (TfchainClient, TwinPlan, ChainKey, ActivatorKey) {
        let (client, activator) = (client.clone(), self.activator.clone());
        (client, self.twin_plan(user), self.key(user), activator)
    }

    pub async fn twin(&self, user: &str) -> TwinProof {
        let plan = self.twin_plan(user);
        match self
            .client()
            .make_twin(&plan, &self.key(user), &self.activator)
            .await
        {
            Attempt::Landed(proof) => proof,
            other => panic!("no twin: {other:?}"),
        }
    }

    pub fn contract_plan(&self, user: &str, twin: TwinId, name: &str) -> ContractPlan {
        let deployment = DeploymentId::derive(&[user, name]);
        let data = format!(r#"{{"name":"{name}"}}"#);
        ContractPlan {
            deployment,
            kind: ContractKind::Node,
            above: 0,
            version: 1,
            request: EventId::derive(&["contract", user, name]),
            requested_at: Timestamp(self.chain.finalized().timestamp_ms),
            user: UserId::derive(&[user]),
            twin,
            node: NodeId(3),
            hash: deployment_hash(&deployment, 1, &data),
            data,
            public_ips: 0,
            solution_provider: None,
            deadline: self.now() + 600,
            minimum_balance: Amount::parse("0.1").unwrap(),
        }
    }

    /// Arms a fault of the stand-in for calls of a method.
    pub async fn fault(&self, method: &str, kind: &str, times: u32) {
        let path = format!("/rpc/{method}");
        let body = serde_json::json!({"method": "RPC", "path": path, "kind": kind, "times": times});
        let answer = reqwest::Client::new()
            .post(format!("{}/_control/faults", self.control))
            .json(&body)
            .send()
            .await;
        assert!(answer.unwrap().status().is_success());
    }

    /// Signs a call by hand, as no client would; `change` spoils the bytes' parts before that.
    pub fn signed(&self, key: &ChainKey, call: &RuntimeCall, nonce: u32) -> Vec<u8> {
        let at = self.chain.finalized();
        let bound = Bound {
            version: Version::FIRST,
            genesis: self.chain.genesis(),
            birth: at.hash,
        };
        let era = Era::mortal(64, u64::from(at.number));
        let account = AccountId32::from(key.account_id());
        let call = codec::Encode::encode(call);
        sign(&call, account, nonce, era, bound, |message| {
            key.sign(message)
        })
    }

    /// Signs and submits a call with the account's next nonce; what was said of it in the end.
    pub fn submit(&self, key: &ChainKey, call: &RuntimeCall) -> Result<Status, Rejected> {
        let nonce = self.chain.account(key.account_id()).nonce;
        let (hash, from) = self.chain.submit(&self.signed(key, call, nonce))?;
        Ok(*self.chain.said(&hash, from).last().unwrap())
    }

    /// Why the call of a transaction failed, as the client reads it in its block: the dispatch
    /// error in SCALE and what follows, hex. `None` when it was carried out.
    pub async fn error(&self, status: Status) -> Option<String> {
        let Status::Finalized(hash) = status else {
            panic!("not final: {status:?}");
        };
        let number = self.chain.number_of(hash).unwrap();
        let block = self
            .client()
            .blocks(number, number)
            .await
            .unwrap()
            .remove(0);
        block.events.into_iter().find_map(|event| match event {
            counterparties_tfchain::ChainEvent::Other { name, raw, .. }
                if name == "System.ExtrinsicFailed" =>
            {
                Some(raw)
            }
            _ => None,
        })
    }

    /// Sets the clock past this deadline and makes blocks until nothing can land any more.
    pub fn pass(&self, deadline: i64) {
        self.chain.advance_clock((deadline - self.now() + 2) * 1000);
        self.chain.seal_blocks(300);
    }
}

/// Ownership that always holds, or never.
pub struct Owner(pub bool);

impl OwnershipProof for Owner {
    fn prove(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(self.0))
    }
}

/// Finds and tries as the runtime does, until a contract is there.
pub async fn drive_contract(
    chain: &TfchainClient,
    plan: &ContractPlan,
    key: &ChainKey,
) -> ContractProof {
    let work = async {
        loop {
            match chain.find_contract(plan, key).await {
                Find::Landed(proof) => return proof,
                Find::Absent => {}
                Find::Pending(_) | Find::NoAnswer(_) => {
                    tokio::task::yield_now().await;
                    continue;
                }
                other => panic!("{other:?}"),
            }
            match chain.create_contract(plan, key, &Owner(true)).await {
                Attempt::Landed(proof) => return proof,
                Attempt::Unknown(_) | Attempt::NoAnswer(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap()
}

/// Finds and tries as the runtime does, until a twin is there.
pub async fn drive_twin(
    chain: &TfchainClient,
    plan: &TwinPlan,
    key: &ChainKey,
    activator: &ActivatorKey,
) -> TwinProof {
    let work = async {
        loop {
            match chain.find_twin(plan, key).await {
                Find::Landed(proof) => return proof,
                Find::Absent | Find::Pending(_) | Find::NoAnswer(_) => {}
                other => panic!("{other:?}"),
            }
            match chain.make_twin(plan, key, activator).await {
                Attempt::Landed(proof) => return proof,
                Attempt::Unknown(_) | Attempt::NoAnswer(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap()
}

/// Three users' walks, several times each; one twin and one activation for each comes of it.
pub async fn many_walks(w: &World, walks: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for walk in 0..walks {
        let user = ["ada", "bob", "eve"][walk % 3];
        // Every other one with a client of its own: a process that was thought dead.
        let (client, plan, key, activator) = w.walk(&w.client(), user);
        tasks.spawn(async move { drive_twin(&client, &plan, &key, &activator).await });
    }
    let proofs = tasks.join_all().await;
    assert_eq!(proofs.len(), walks);
    let counts = w.chain.counts();
    assert_eq!(counts.twins, 3);
    assert_eq!(counts.activations.len(), 3);
    assert!(
        counts.activations.values().all(|n| *n == 1),
        "{:?}",
        counts.activations
    );
}
