//! What TFChain came to hold: a world that never came to an effect says nothing about it.

use crate::check::Books;
use crate::tfchain::Contract;
use events::deployments::DeploymentKind;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::ops::AddAssign;

/// How often each effect was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached(BTreeMap<&'static str, usize>);

impl Reached {
    /// That of a world.
    #[must_use]
    pub fn of(books: &Books) -> Self {
        let chain = &books.chain;
        let all = &chain.contracts;
        let count = |is: &dyn Fn(&&Contract) -> bool| all.iter().filter(is).count();
        let of_kind = |kind| count(&|c| c.kind == kind);
        Self(BTreeMap::from([
            ("workloads", of_kind(DeploymentKind::Node)),
            ("names", of_kind(DeploymentKind::Name)),
            ("whole nodes", of_kind(DeploymentKind::Rent)),
            ("batches", books.batches),
            ("updates", all.iter().map(|c| c.workloads.len() - 1).sum()),
            ("cancelled", count(&|c| c.ended.is_some() && !c.by_chain)),
            ("ended by the chain", count(&|c| c.by_chain)),
            ("mints", chain.mints.len()),
            ("returns", chain.returns.len()),
            ("activations", chain.activations.len()),
            ("twins", chain.twins.len()),
        ]))
    }

    /// Effects that were never reached.
    #[cfg(test)]
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = self.0.iter().filter(|(_, count)| **count == 0);
        missing.map(|(effect, _)| *effect).collect()
    }
}

impl AddAssign for Reached {
    fn add_assign(&mut self, other: Self) {
        for (effect, count) in other.0 {
            *self.0.entry(effect).or_default() += count;
        }
    }
}

impl Display for Reached {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let effects = self.0.iter();
        let effects: Vec<String> = effects.map(|(effect, n)| format!("{n} {effect}")).collect();
        f.write_str(&effects.join(", "))
    }
}
