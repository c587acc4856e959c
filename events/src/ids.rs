//! One newtype per identity. None of them is ever random: each is derived from business
//! identity (UUIDv5), so the same wish made twice has the same id.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Root of all derived ids. Changing it changes every id ever derived.
const GRIDWAY: Uuid = Uuid::from_u128(0x6772_6964_7761_7900_8000_7466_7467_7231);

/// Derives a UUIDv5 from parts. A zero byte ends each part, so that `("ab","c")` and
/// `("a","bc")` differ.
#[must_use]
pub fn derive(parts: &[&str]) -> Uuid {
    let mut name = Vec::with_capacity(parts.iter().map(|p| p.len() + 1).sum());
    for part in parts {
        name.extend_from_slice(part.as_bytes());
        name.push(0);
    }
    Uuid::new_v5(&GRIDWAY, &name)
}

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: expected a UUID such as 6f9619ff-8b86-5011-b42d-00c04fc964ff")]
pub struct InvalidId {
    kind: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps an existing UUID.
            #[must_use]
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// Derives the id from the parts of its business identity.
            #[must_use]
            pub fn derive(parts: &[&str]) -> Self {
                let mut all = vec![stringify!($name)];
                all.extend_from_slice(parts);
                Self(derive(&all))
            }

            /// The bare UUID.
            #[must_use]
            pub const fn uuid(&self) -> Uuid {
                self.0
            }

            /// The 16 bytes of the id.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(text).map(Self).map_err(|_| InvalidId { kind: stringify!($name) })
            }
        }

        // Ids travel as text in JSON and in Avro alike, so that a reader in any language
        // sees the same 36 characters.
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_id!(
    /// Identity of an event; equal ids are the same event (see [`crate::envelope`]).
    EventId
);
impl EventId {
    /// A number that is the same for the same event, to spread what must not happen in step.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.0.as_u64_pair().1
    }
}

uuid_id!(
    /// A purchase: one charge turned into TFT for one twin.
    PurchaseId
);
uuid_id!(
    /// A priced offer that a purchase accepts.
    QuoteId
);
uuid_id!(
    /// A person who buys.
    UserId
);
uuid_id!(
    /// A workload placed on a node, from its request to its end.
    DeploymentId
);

uuid_id!(
    /// Deployments that are made together, all or none.
    BatchId
);

uuid_id!(
    /// What one person is told of one event by one channel.
    NotificationId
);

uuid_id!(
    /// A webhook endpoint that a person registered.
    EndpointId
);

uuid_id!(
    /// A person's offer of a node.
    ApplicationId
);

uuid_id!(
    /// What an operator asks a second person to agree to.
    ApprovalId
);

/// A W3C trace id: the aggregate that a trace is about, or the trace of an outside caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(Uuid);

impl TraceId {
    /// Reads 32 hex digits, with or without the hyphens of a UUID; `None` for anything else and
    /// for the all-zero id, which W3C forbids.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::parse_str(text)
            .ok()
            .filter(|id| !id.is_nil())
            .map(Self)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A twin on TFChain. Stored on chain as `u32`.
    TwinId(u32)
);
number_id!(
    /// A node on TFChain. Stored on chain as `u32`.
    NodeId(u32)
);
/// A contract on TFChain. Stored on chain as `u64`; events carry it as an Avro long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContractId(pub u64);

impl fmt::Display for ContractId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ContractId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(i64::try_from(self.0).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for ContractId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        u64::try_from(i64::deserialize(d)?)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(derive(&["ab", "c"]), derive(&["a", "bc"]));
        assert_ne!(derive(&["a", ""]), derive(&["a"]));
    }

    #[test]
    fn derived_ids_are_stable() {
        assert_eq!(
            PurchaseId::derive(&["u", "k"]),
            PurchaseId::derive(&["u", "k"])
        );
        assert_ne!(
            PurchaseId::derive(&["u", "k"]).uuid(),
            QuoteId::derive(&["u", "k"]).uuid()
        );
    }

    #[test]
    fn a_bad_id_says_what_was_expected() {
        let error = "12".parse::<PurchaseId>().unwrap_err();
        assert!(error.to_string().contains("PurchaseId"));
    }
}
