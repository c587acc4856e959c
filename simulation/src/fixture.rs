//! What every world has of the product.

use crate::wire::PACE;
use counterparties_tfchain::{ActivatorKey, Metadata, UserSeed};
use events::codec::Codec;
use events::deployments::DeploymentEvent;
use events::deposits::DepositEvent;
use events::purchases::PurchaseEvent;
use events::registry::Registry;
use events::unmatched::UnmatchedEvent;
use events::users::UserEvent;
use pipeline::append::Codecs;
use sandbox_tfchain::metadata;
use sandbox_tfchain::runtime::Version;
use std::sync::Arc;

/// What a run needs of the product that does not change between worlds.
#[derive(Clone)]
pub struct Fixture {
    pub(crate) purchases: Codec<PurchaseEvent>,
    pub(crate) deployments: Codec<DeploymentEvent>,
    pub(crate) deposits: Codec<DepositEvent>,
    pub(crate) unmatched: Codec<UnmatchedEvent>,
    pub(crate) users: Codec<UserEvent>,
    pub(crate) users_seed: UserSeed,
    pub(crate) activator: ActivatorKey,
    /// Metadata of the first runtime of worlds over the wire: decoded once for all of them.
    pub(crate) metadata: Arc<Metadata>,
}

impl Fixture {
    /// Codecs and keys.
    ///
    /// # Errors
    /// When a schema of ours, or the stand-in's metadata, cannot be parsed.
    pub fn new() -> anyhow::Result<Self> {
        let registry = Registry::new("http://127.0.0.1:1")?;
        Ok(Self {
            purchases: Codec::local(&registry, 100)?,
            deployments: Codec::local(&registry, 200)?,
            users: Codec::local(&registry, 300)?,
            deposits: Codec::local(&registry, 400)?,
            unmatched: Codec::local(&registry, 500)?,
            users_seed: UserSeed::parse(&format!("0x{}", "22".repeat(32)))
                .map_err(|e| anyhow::anyhow!("{e}"))?,
            activator: ActivatorKey::parse(&format!("0x{}", "33".repeat(32)))
                .map_err(|e| anyhow::anyhow!("{e}"))?,
            metadata: Arc::new(
                counterparties_tfchain::guard::read_metadata(&metadata::encoded(
                    Version::FIRST,
                    PACE.block_ms(),
                ))
                .map_err(|e| anyhow::anyhow!("{e}"))?,
            ),
        })
    }

    pub(crate) fn codecs(&self) -> Codecs {
        Codecs::default()
            .with(self.purchases.clone())
            .with(self.deployments.clone())
            .with(self.users.clone())
            .with(self.deposits.clone())
            .with(self.unmatched.clone())
    }
}
