//! What must hold once everything has come to rest.
//!
//! The rules work on plain counts. Whoever holds the counterparties gathers them (the crash harness
//! over HTTP and Kafka, a simulation from memory) and asks [`Observed::violations`].

mod books;
mod purchases;

pub use books::Books;
pub use purchases::{Contract, Outcome, Purchase};

use std::collections::BTreeMap;
use std::fmt;

/// Everything that was counted.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Every purchase that was ordered.
    pub purchases: Vec<Purchase>,
    /// Effects that no purchase accounts for, in words.
    pub unaccounted: Vec<String>,
    /// The sums.
    pub books: Books,
    /// What was appended, as readers of committed records see it.
    pub appends: Vec<Append>,
    /// Per user: how many twins they have.
    pub twins: BTreeMap<String, u32>,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Append {
    /// Topic.
    pub topic: String,
    /// Event id.
    pub id: String,
    /// Event type.
    pub kind: String,
    /// Who appended it, `/gridway/<processor>`.
    pub source: String,
}

/// In which way a rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Harm {
    /// Something happened more often than it should have.
    Doubled,
    /// Something did not happen, or not to its end.
    Lost,
    /// The books do not agree.
    Unbalanced,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// In which way.
    pub harm: Harm,
    /// What it is about: a purchase, a topic, a book.
    pub about: String,
    /// What was found, and what should have been.
    pub detail: String,
}

impl Violation {
    fn new(harm: Harm, about: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            harm,
            about: about.into(),
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}: {}", self.harm, self.about, self.detail)
    }
}

impl Observed {
    /// Every rule that is broken; none when all is as it must be.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let mut found: Vec<Violation> = self
            .purchases
            .iter()
            .flat_map(Purchase::violations)
            .collect();
        found.extend(
            self.unaccounted
                .iter()
                .map(|effect| Violation::new(Harm::Doubled, "no purchase", effect)),
        );
        found.extend(self.books.violations());
        found.extend(appended_twice(&self.appends));
        found.extend(twins(&self.twins));
        found
    }
}

/// Who appends what comes from outside, where a repetition is an echo that every reader ignores.
const OUTSIDE: [&str; 4] = [
    "/gridway/api",
    "/gridway/webhook",
    "/gridway/lanes",
    "/gridway/operator",
];

/// Policies, executors and sources append no event id twice; outside facts may have echoes.
fn appended_twice(appends: &[Append]) -> Vec<Violation> {
    let mut seen: BTreeMap<(&str, &str), (u32, &str)> = BTreeMap::new();
    for append in appends {
        if !OUTSIDE.contains(&append.source.as_str()) {
            let entry = seen
                .entry((&append.topic, &append.id))
                .or_insert((0, &append.kind));
            entry.0 += 1;
        }
    }
    seen.into_iter()
        .filter(|(_, (times, _))| *times > 1)
        .map(|((topic, id), (times, kind))| {
            Violation::new(
                Harm::Doubled,
                topic,
                format!("{kind} {id} stands there {times} times"),
            )
        })
        .collect()
}

fn twins(twins: &BTreeMap<String, u32>) -> Vec<Violation> {
    twins
        .iter()
        .filter(|(_, count)| **count != 1)
        .map(|(user, count)| {
            let harm = if *count == 0 {
                Harm::Lost
            } else {
                Harm::Doubled
            };
            Violation::new(harm, user, format!("{count} twins, should be 1"))
        })
        .collect()
}

/// A count that must be exactly so.
fn exactly<N: Copy + PartialOrd + fmt::Display>(
    about: &str,
    what: &str,
    found: N,
    wanted: N,
) -> Option<Violation> {
    if found == wanted {
        return None;
    }
    let harm = if found > wanted {
        Harm::Doubled
    } else {
        Harm::Lost
    };
    Some(Violation::new(
        harm,
        about,
        format!("{found} {what}, should be {wanted}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(id: &str, source: &str) -> Append {
        Append {
            topic: "purchases".to_owned(),
            id: id.to_owned(),
            kind: "SwapRequested".to_owned(),
            source: source.to_owned(),
        }
    }

    #[test]
    fn our_own_events_stand_once_and_outside_facts_may_echo() {
        let appends = [
            append("a", "/gridway/purchases"),
            append("b", "/gridway/api"),
            append("b", "/gridway/api"),
        ];
        assert_eq!(appended_twice(&appends), []);
        let twice = [appends[0].clone(), appends[0].clone()];
        let found = appended_twice(&twice);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].harm, Harm::Doubled);
    }

    #[test]
    fn every_user_has_one_twin() {
        let counts = |n| BTreeMap::from([("u".to_owned(), n)]);
        assert_eq!(twins(&counts(1)), []);
        assert_eq!(twins(&counts(0))[0].harm, Harm::Lost);
        assert_eq!(twins(&counts(2))[0].harm, Harm::Doubled);
    }

    #[test]
    fn an_effect_of_nobody_is_one_too_many() {
        let observed = Observed {
            unaccounted: vec!["a swap".to_owned()],
            ..Observed::default()
        };
        assert_eq!(observed.violations().len(), 1);
    }
}
