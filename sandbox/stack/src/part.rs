//! The parts of the stack.

use crate::StackError;
use std::fmt;
use std::str::FromStr;

/// A part of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Apache Kafka, one KRaft node.
    Kafka,
    /// Apicurio Registry.
    Registry,
    /// Postgres.
    Postgres,
    /// Redis.
    Redis,
    /// GreenMail.
    Mail,
    /// The stand-in for Stripe.
    Stripe,
    /// The stand-in for Horizon.
    Horizon,
    /// The stand-in for TFChain.
    Tfchain,
    /// The stand-ins for SendGrid and Twilio.
    Messaging,
}

impl Part {
    /// All parts, in the order in which they are stopped.
    pub const ALL: [Self; 9] = [
        Self::Messaging,
        Self::Tfchain,
        Self::Horizon,
        Self::Stripe,
        Self::Mail,
        Self::Registry,
        Self::Kafka,
        Self::Redis,
        Self::Postgres,
    ];

    /// Its name in logs and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Registry => "registry",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Mail => "mail",
            Self::Stripe => "stripe",
            Self::Horizon => "horizon",
            Self::Tfchain => "tfchain",
            Self::Messaging => "messaging",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = StackError;

    fn from_str(name: &str) -> Result<Self, StackError> {
        let found = Self::ALL.into_iter().find(|part| part.name() == name);
        found.ok_or_else(|| StackError::UnknownPart(name.to_owned()))
    }
}
