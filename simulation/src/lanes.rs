//! Payment lanes, open from the beginning.

use crate::broker::PARTITIONS;
use crate::time;
use crate::world::World;
use counterparties_stellar::{LaneName, base};
use events::codec::Codec;
use events::ids::EventId;
use events::lanes::LanesOpened;
use events::schema::EventSet;

const EPOCH: u32 = 1 << 18;
const LANES: u16 = 2;

impl World {
    /// Opens the lanes of every hand on Stellar.
    ///
    /// # Errors
    /// When a key cannot be derived.
    pub fn open_lanes(&self) -> anyhow::Result<()> {
        for executor in ["swaps", "handoffs"] {
            for partition in 0..PARTITIONS {
                self.open_lane(&self.fixture.purchases, executor, partition)?;
            }
        }
        self.open_lane(&self.fixture.deposits, "returns", 0)?;
        self.open_lane(&self.fixture.deposits, "claims", 0)
    }

    fn open_lane<E: EventSet + From<LanesOpened>>(
        &self,
        codec: &Codec<E>,
        executor: &str,
        partition: i32,
    ) -> anyhow::Result<()> {
        let mut accounts = Vec::new();
        for index in 0..LANES {
            let name = LaneName {
                cluster: &self.treasury.cluster,
                executor,
                topic: E::TOPIC,
                partition,
                epoch: EPOCH,
                index,
            };
            let lane = self.treasury.seed.derive(name)?.account();
            self.stellar.open(&lane, base(EPOCH)?);
            accounts.push(lane.to_string());
        }
        let event = E::from(LanesOpened {
            executor: executor.to_owned(),
            epoch: i32::try_from(EPOCH)?,
            lanes: i32::from(LANES),
            accounts,
            opened_at: time::now(),
        });
        let id = EventId::derive(&["lanes", executor, &partition.to_string()]);
        let key = format!("lanes-{executor}-{partition}");
        let mut append = self.encode(codec, &key, id, &event)?;
        append.partition = Some(partition);
        self.broker.produce(&append);
        Ok(())
    }
}
