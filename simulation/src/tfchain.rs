//! TFChain as a world has it: modelled behind the port, or over the wire.

use crate::chain::Chain;
use crate::stellar::Stellar;
use crate::wire::Wired;
use counterparties_tfchain::Tfchain;
use events::deployments::DeploymentKind;
use events::ids::DeploymentId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The bridge keeps this much.
pub const FEE: i64 = 10_000_000;

/// A contract that came to be, ended or not.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    pub deployment: DeploymentId,
    /// What it is for.
    pub kind: DeploymentKind,
    /// Block and hash of each workload, the first at its creation.
    pub workloads: Vec<(u32, String)>,
    /// The block in which it ended.
    pub ended: Option<u32>,
    /// Whether the chain ended it by itself.
    pub by_chain: bool,
    /// What was billed, in 10^-7 TFT.
    pub billed: Vec<i64>,
    /// Grace periods that began and that ended.
    pub grace: (u32, u32),
}

/// What the chain holds.
#[derive(Debug, Clone, Default)]
pub struct Holds {
    /// Every contract that ever was.
    pub contracts: Vec<Contract>,
    /// What was minted, by hash of the payment.
    pub mints: BTreeMap<String, i64>,
    /// What the bridge sent back, by hash of the payment.
    pub returns: BTreeMap<String, i64>,
    /// Twins that were made, by account.
    pub twins: BTreeMap<String, Vec<u32>>,
    /// How often each account was activated.
    pub activations: BTreeMap<String, u32>,
}

/// What the chain does beside what it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Of so many percent of the payments the bridge sends the money back.
    pub returns: u64,
    /// In so many percent of the blocks the chain does something to a contract.
    pub of_itself: u64,
}

/// TFChain. Cloning is cheap.
#[derive(Clone)]
pub enum Ledger {
    /// A model behind the port.
    Model(Chain),
    /// The stand-in, reached by the client over Substrate's JSON-RPC.
    Wire(Wired),
}

impl Ledger {
    /// What a process reaches it by; to be called by the process.
    #[must_use]
    pub fn client(&self) -> Arc<dyn Tfchain> {
        match self {
            Self::Model(chain) => Arc::new(chain.clone()),
            Self::Wire(wired) => Arc::new(wired.client()),
        }
    }

    /// From now on it leaves contracts alone, and all goes well with it.
    pub fn calm(&self) {
        match self {
            Self::Model(chain) => chain.calm(),
            Self::Wire(wired) => wired.calm(),
        }
    }

    /// Makes blocks for ever; the bridge answers payments.
    pub async fn run(self, stellar: Stellar, seed: u64, habits: Habits) {
        match self {
            Self::Model(chain) => chain.run(stellar, seed, habits).await,
            Self::Wire(wired) => wired.run(stellar, seed, habits).await,
        }
    }

    /// What it holds.
    #[must_use]
    pub fn holds(&self) -> Holds {
        match self {
            Self::Model(chain) => chain.holds(),
            Self::Wire(wired) => wired.holds(),
        }
    }
}
