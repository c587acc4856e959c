//! The topic catalogue. Partition counts are fixed for life: a lane's sequence number is an
//! offset of its partition, and an aggregate's order is the order of its partition.

use crate::schema::EventSet;

/// A topic and how many partitions it has, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Name.
    pub name: &'static str,
    /// Partitions.
    pub partitions: i32,
    /// What its records are keyed by.
    pub key: &'static str,
}

/// Purchases, from the accepted quote to the settled hand-off or the refund.
pub const PURCHASES: Topic = Topic {
    name: "purchases",
    partitions: 6,
    key: "purchase id",
};
/// Deployments; a user's chain account is one queue, so the key is the user.
pub const DEPLOYMENTS: Topic = Topic {
    name: "deployments",
    partitions: 6,
    key: "user id",
};
/// Users and their twins.
pub const USERS: Topic = Topic {
    name: "users",
    partitions: 6,
    key: "user id",
};
/// What is paid to our account on Stellar, and the credit of twins. One partition: an account's
/// payments have one order, which one cursor follows.
pub const DEPOSITS: Topic = Topic {
    name: "deposits",
    partitions: 1,
    key: "Horizon operation id, or twin-<id>",
};
/// Outside facts that name nothing of ours.
pub const UNMATCHED: Topic = Topic {
    name: "unmatched",
    partitions: 1,
    key: "id of the outside object",
};

/// What our accounts hold, where it falls below what they should.
pub const TREASURY: Topic = Topic {
    name: "treasury",
    partitions: 1,
    key: "what is held and where",
};

/// Who is told what, how, and what came of it.
pub const NOTIFICATIONS: Topic = Topic {
    name: "notifications",
    partitions: 6,
    key: "user id of whoever is told, or operators",
};

/// People who offer nodes, and what operators decide.
pub const NODE_APPLICATIONS: Topic = Topic {
    name: "node-applications",
    partitions: 6,
    key: "application id",
};

/// What operators have done, and who agreed to it. One partition: auditors read it in one order.
pub const APPROVALS: Topic = Topic {
    name: "approvals",
    partitions: 1,
    key: "approval id",
};

/// Every topic that carries events.
pub const ALL: [Topic; 9] = [
    PURCHASES,
    DEPLOYMENTS,
    USERS,
    DEPOSITS,
    UNMATCHED,
    TREASURY,
    NOTIFICATIONS,
    NODE_APPLICATIONS,
    APPROVALS,
];

/// The topic of an event set; `None` for a set that is not in the catalogue.
#[must_use]
pub fn of<E: EventSet>() -> Option<Topic> {
    ALL.into_iter().find(|t| t.name == E::TOPIC)
}

/// What the names of dead-letter topics end with.
pub const DEAD_LETTERS: &str = ".dead-letters";

/// Name of the dead-letter topic of a processor. It has as many partitions as the topic that the
/// processor reads, and a dead letter goes to the partition it came from.
#[must_use]
pub fn dead_letters(processor: &str) -> String {
    format!("{processor}{DEAD_LETTERS}")
}
