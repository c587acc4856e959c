//! What a counterparty's answer means. Clients map every code they know onto these types;
//! the runtime owns what happens next, so that no client and no processor decides on its
//! own to try an effect again.

use std::fmt;

/// What is known of an effect by looking, without trying it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Find<P> {
    /// It happened; the proof is what the counterparty shows of it.
    Landed(P),
    /// The counterparty decided against it and will never carry out this very request.
    Refused(Refusal),
    /// Nothing of it is there and its key is still free: trying (again) cannot do it twice.
    Absent,
    /// It may be under way, or what was read is too old to tell: look again later.
    Pending(String),
    /// The counterparty did not answer, or with nothing but that it cannot (time-out, 5xx): look
    /// again later. Unlike `Pending` it speaks against the counterparty.
    NoAnswer(String),
    /// It has not happened and no longer can (deadline passed and proven closed, key consumed otherwise).
    NeverWill(String),
}

/// What came of trying an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt<P> {
    /// It happened.
    Landed(P),
    /// The counterparty decided against it and will never carry out this very request.
    Refused(Refusal),
    /// It certainly did not reach the counterparty (connection refused), or was turned away before
    /// any work: may be tried again.
    NotSent(String),
    /// It may have happened: the counterparty answered, and the answer does not tell. Only `find`
    /// may follow.
    Unknown(String),
    /// It may have happened: the counterparty did not answer, or with nothing but that it cannot
    /// (time-out, 5xx). Only `find` may follow. Unlike `Unknown` it speaks against the counterparty.
    NoAnswer(String),
}

impl<P> Find<P> {
    /// The same with another form of the proof.
    pub fn map<Q>(self, proof: impl FnOnce(P) -> Q) -> Find<Q> {
        match self {
            Self::Landed(p) => Find::Landed(proof(p)),
            Self::Refused(refusal) => Find::Refused(refusal),
            Self::Absent => Find::Absent,
            Self::Pending(reason) => Find::Pending(reason),
            Self::NoAnswer(reason) => Find::NoAnswer(reason),
            Self::NeverWill(reason) => Find::NeverWill(reason),
        }
    }
}

impl<P> Attempt<P> {
    /// The same with another form of the proof.
    pub fn map<Q>(self, proof: impl FnOnce(P) -> Q) -> Attempt<Q> {
        match self {
            Self::Landed(p) => Attempt::Landed(proof(p)),
            Self::Refused(refusal) => Attempt::Refused(refusal),
            Self::NotSent(reason) => Attempt::NotSent(reason),
            Self::Unknown(reason) => Attempt::Unknown(reason),
            Self::NoAnswer(reason) => Attempt::NoAnswer(reason),
        }
    }
}

/// A definite refusal, in the counterparty's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The counterparty's code, such as `card_declined` or `op_over_source_max`.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// What shows it, such as the hash of a failed transaction; empty where there is nothing.
    pub evidence: String,
}

impl Refusal {
    /// A refusal without evidence.
    #[must_use]
    pub fn new(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            detail: detail.into(),
            evidence: String::new(),
        }
    }

    /// Adds what shows it.
    #[must_use]
    pub fn with_evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}
