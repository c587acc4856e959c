//! Lanes: which account carries a record, and with which number.

use crate::ids::{AccountId, SecretKey};
use crate::setup::SetupOperation;
use events::ids::EventId;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The first epoch that a base may be made of.
const FIRST_EPOCH: u32 = 1 << 18;
/// One past the last: its base would exceed 63 bits.
const END_EPOCH: u32 = 1 << 19;
/// Bits for the offset: a partition may hold 2^44 records under one opening.
const OFFSET_BITS: u32 = 44;

/// A lane that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLane {
    /// The epoch is out of range.
    #[error("epoch {0} is out of range: 2^18 <= epoch < 2^19")]
    Epoch(u32),
    /// The offset does not fit below the next epoch.
    #[error("offset {0} does not fit a lane's numbers")]
    Offset(i64),
    /// The seed is not one.
    #[error("not a lane seed: expected 64 hex digits")]
    Seed,
    /// No key can be derived for the name.
    #[error("no key can be derived for this lane's name")]
    Name,
}

/// The number that a lane is bumped to when it is opened: `epoch << 44`.
///
/// # Errors
/// [`InvalidLane::Epoch`].
pub const fn base(epoch: u32) -> Result<i64, InvalidLane> {
    if epoch < FIRST_EPOCH || epoch >= END_EPOCH {
        return Err(InvalidLane::Epoch(epoch));
    }
    Ok((epoch as i64) << OFFSET_BITS)
}

/// The sequence number of the record at `offset`: `base + offset + 1`.
///
/// # Errors
/// [`InvalidLane::Offset`].
pub const fn sequence(base: i64, offset: i64) -> Result<i64, InvalidLane> {
    if offset < 0 || offset >= (1 << OFFSET_BITS) - 1 {
        return Err(InvalidLane::Offset(offset));
    }
    match base.checked_add(offset + 1) {
        Some(sequence) => Ok(sequence),
        None => Err(InvalidLane::Offset(offset)),
    }
}

/// Which of `lanes` lanes a record uses: the hash of its event id, modulo.
#[must_use]
pub fn lane_index(event: &EventId, lanes: u16) -> u16 {
    let hash = Sha256::digest(event.as_bytes());
    let number = u64::from_be_bytes([
        hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7],
    ]);
    u16::try_from(number % u64::from(lanes.max(1))).unwrap_or_default()
}

/// What a lane is called; its key derives from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneName<'a> {
    /// Id of the Kafka cluster.
    pub cluster: &'a str,
    /// The executor that pays through it.
    pub executor: &'a str,
    /// Topic of its records.
    pub topic: &'a str,
    /// Partition of its records.
    pub partition: i32,
    /// Epoch of its opening.
    pub epoch: u32,
    /// Its place among the lanes of the opening.
    pub index: u16,
}

/// The seed of all lane keys. Secret.
#[derive(Clone)]
pub struct LaneSeed([u8; 32]);

impl LaneSeed {
    /// The key of a lane: HKDF-SHA256 of the seed over the lane's name.
    ///
    /// # Errors
    /// [`InvalidLane::Name`], which does not happen for 32 bytes of output.
    pub fn derive(&self, name: LaneName<'_>) -> Result<LaneKey, InvalidLane> {
        let mut info = Vec::new();
        for part in ["gridway lane", name.cluster, name.executor, name.topic] {
            info.extend_from_slice(part.as_bytes());
            info.push(0);
        }
        info.extend_from_slice(&name.partition.to_be_bytes());
        info.extend_from_slice(&name.epoch.to_be_bytes());
        info.extend_from_slice(&name.index.to_be_bytes());
        let mut seed = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(&info, &mut seed)
            .map_err(|_| InvalidLane::Name)?;
        Ok(LaneKey(SecretKey::from_seed(&seed)))
    }
}

impl FromStr for LaneSeed {
    type Err = InvalidLane;
    fn from_str(text: &str) -> Result<Self, InvalidLane> {
        let bytes = hex::decode(text.trim()).map_err(|_| InvalidLane::Seed)?;
        bytes.try_into().map(Self).map_err(|_| InvalidLane::Seed)
    }
}

impl fmt::Debug for LaneSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneSeed(hidden)")
    }
}

/// The key of a lane.
#[derive(Debug, Clone)]
pub struct LaneKey(pub(crate) SecretKey);

impl LaneKey {
    /// The lane's account.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.0.account()
    }

    /// Moves the lane's number on, in an ordinary transaction: opens it, or fences what is below.
    #[must_use]
    pub fn bump_to(&self, to: i64) -> SetupOperation {
        SetupOperation::BumpSequence {
            account: self.0.clone(),
            to,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn name() -> LaneName<'static> {
        LaneName {
            cluster: "c",
            executor: "swaps",
            topic: "purchases",
            partition: 0,
            epoch: FIRST_EPOCH,
            index: 0,
        }
    }

    #[test]
    fn bases_fit_63_bits_and_never_meet() {
        assert_eq!(base(FIRST_EPOCH).unwrap(), 1 << 62);
        assert!(base(END_EPOCH - 1).unwrap() > 0);
        assert_eq!(base(END_EPOCH), Err(InvalidLane::Epoch(END_EPOCH)));
        assert_eq!(
            base(FIRST_EPOCH - 1),
            Err(InvalidLane::Epoch(FIRST_EPOCH - 1))
        );
        let last = sequence(base(FIRST_EPOCH).unwrap(), (1 << OFFSET_BITS) - 2).unwrap();
        assert!(last < base(FIRST_EPOCH + 1).unwrap());
        assert!(sequence(base(FIRST_EPOCH).unwrap(), -1).is_err());
        assert!(sequence(base(FIRST_EPOCH).unwrap(), (1 << OFFSET_BITS) - 1).is_err());
        assert_eq!(
            sequence(base(FIRST_EPOCH).unwrap(), 0).unwrap(),
            (1 << 62) + 1
        );
    }

    #[test]
    fn every_part_of_the_name_makes_another_key() {
        let seed: LaneSeed = "11".repeat(32).parse().unwrap();
        let key = |name| seed.derive(name).unwrap().account();
        let first = key(name());
        assert_eq!(first, key(name()));
        for other in [
            LaneName {
                cluster: "d",
                ..name()
            },
            LaneName {
                executor: "handoffs",
                ..name()
            },
            LaneName {
                topic: "t",
                ..name()
            },
            LaneName {
                partition: 1,
                ..name()
            },
            LaneName {
                epoch: FIRST_EPOCH + 1,
                ..name()
            },
            LaneName { index: 1, ..name() },
        ] {
            assert_ne!(key(other), first, "{other:?}");
        }
        assert!("11".repeat(31).parse::<LaneSeed>().is_err());
    }

    #[test]
    fn records_spread_over_all_lanes() {
        let used: std::collections::BTreeSet<u16> = (0..200)
            .map(|n| lane_index(&EventId::derive(&[&n.to_string()]), 8))
            .collect();
        assert_eq!(used.len(), 8);
        assert!(used.iter().all(|n| *n < 8));
    }
}
