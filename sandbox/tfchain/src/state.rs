//! The chain's state: storage keys and values as Substrate has them, in every version since
//! block 0, so that any finalized block can be asked, and blocks above can be retracted.

use crate::runtime::blake2_128;
use codec::{Decode, Encode};
use frame_decode::storage::encode_storage_key_prefix;
use std::collections::BTreeMap;

/// A storage key.
pub type Key = Vec<u8>;
/// Value of a key; `None` when it is not there.
type Value = Option<Vec<u8>>;

/// Key of an entry without parameters.
#[must_use]
pub fn plain(pallet: &str, entry: &str) -> Key {
    encode_storage_key_prefix(pallet, entry).to_vec()
}

/// Key of an entry with a parameter, hashed with `Blake2_128Concat`.
#[must_use]
pub fn map(pallet: &str, entry: &str, parameter: &impl Encode) -> Key {
    let mut key = plain(pallet, entry);
    concat(&mut key, parameter);
    key
}

/// Key of an entry with two parameters.
#[must_use]
pub fn double_map(pallet: &str, entry: &str, first: &impl Encode, second: &impl Encode) -> Key {
    let mut key = map(pallet, entry, first);
    concat(&mut key, second);
    key
}

fn concat(key: &mut Key, parameter: &impl Encode) {
    let bytes = parameter.encode();
    key.extend(blake2_128(&bytes));
    key.extend(bytes);
}

/// Every version of every entry.
#[derive(Debug, Default)]
pub struct State {
    entries: BTreeMap<Key, Vec<(u32, Value)>>,
    number: u32,
    /// What to put back, newest last: the key with the value that this block had before, or
    /// nothing when this block had none.
    journal: Vec<(Key, Option<Value>)>,
}

impl State {
    /// From here on block `number` is being made.
    pub fn begin(&mut self, number: u32) {
        self.number = number;
        self.journal.clear();
    }

    /// A place to which [`Self::roll_back`] returns, within the block.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Undoes what was written since the mark.
    pub fn roll_back(&mut self, mark: usize) {
        while self.journal.len() > mark {
            let Some((key, before)) = self.journal.pop() else {
                return;
            };
            let versions = self.entries.entry(key).or_default();
            versions.pop();
            if let Some(before) = before {
                versions.push((self.number, before));
            }
        }
    }

    /// Forgets blocks above `number`.
    pub fn retract(&mut self, number: u32) {
        self.number = number;
        self.journal.clear();
        self.entries.retain(|_, versions| {
            while versions.last().is_some_and(|(at, _)| *at > number) {
                versions.pop();
            }
            !versions.is_empty()
        });
    }

    fn set(&mut self, key: Key, value: Value) {
        let versions = self.entries.entry(key.clone()).or_default();
        let before = if versions.last().is_some_and(|(at, _)| *at == self.number) {
            versions.pop().map(|(_, value)| value)
        } else {
            None
        };
        versions.push((self.number, value));
        self.journal.push((key, before));
    }

    /// Writes bytes.
    pub fn put_raw(&mut self, key: Key, value: Vec<u8>) {
        self.set(key, Some(value));
    }

    /// Writes a value.
    pub fn put(&mut self, key: Key, value: &impl Encode) {
        self.set(key, Some(value.encode()));
    }

    /// Removes an entry.
    pub fn take(&mut self, key: Key) {
        self.set(key, None);
    }

    /// The value as the newest block has it.
    #[must_use]
    pub fn get<T: Decode>(&self, key: &[u8]) -> Option<T> {
        self.get_at(key, u32::MAX)
    }

    /// The value as block `number` has it.
    #[must_use]
    pub fn get_at<T: Decode>(&self, key: &[u8], number: u32) -> Option<T> {
        T::decode(&mut self.raw_at(key, number)?).ok()
    }

    /// The bytes as block `number` has them.
    #[must_use]
    pub fn raw_at(&self, key: &[u8], number: u32) -> Option<&[u8]> {
        let versions = self.entries.get(key)?;
        let (_, value) = versions.iter().rev().find(|(at, _)| *at <= number)?;
        value.as_deref()
    }

    /// Keys with this prefix, after `start`, in block `number`; at most `count`.
    #[must_use]
    pub fn keys(&self, prefix: &[u8], start: &[u8], count: usize, number: u32) -> Vec<Key> {
        self.entries
            .range(prefix.to_vec()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(prefix))
            .filter(|key| key.as_slice() > start && self.raw_at(key, number).is_some())
            .take(count)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_leaves_nothing_and_a_retracted_block_neither() {
        let mut state = State::default();
        let key = plain("System", "Number");
        state.begin(1);
        state.put(key.clone(), &1_u32);
        let mark = state.mark();
        state.put(key.clone(), &2_u32);
        state.put(plain("System", "Other"), &3_u32);
        state.take(key.clone());
        state.roll_back(mark);
        assert_eq!(state.get::<u32>(&key), Some(1));
        assert_eq!(state.get::<u32>(&plain("System", "Other")), None);
        state.begin(2);
        state.put(key.clone(), &9_u32);
        assert_eq!(state.get_at::<u32>(&key, 1), Some(1));
        assert_eq!(state.get::<u32>(&key), Some(9));
        state.retract(1);
        assert_eq!(state.get::<u32>(&key), Some(1));
        state.retract(0);
        assert_eq!(state.get::<u32>(&key), None);
    }
}
