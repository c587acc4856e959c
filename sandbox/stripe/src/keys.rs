//! Idempotency keys, as the real API treats them: the first answer is stored, whatever it is,
//! once the endpoint began to execute; the same key with other parameters is refused; the same
//! key while the first request is at work is refused too. Keys are forgotten after 24 hours.

use serde::Deserialize;
use std::collections::{HashMap, VecDeque};

const KEPT_SECONDS: i64 = 24 * 3600;

/// An answer as it was given.
#[derive(Debug, Clone)]
pub struct Stored {
    pub status: u16,
    pub body: String,
    pub request_id: String,
}

#[derive(Debug)]
struct Record {
    path: String,
    fingerprint: String,
    answer: Option<Stored>,
    since: i64,
}

/// A fault inside the key handling, which a fault in front of the server cannot stand for.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KeyFault {
    /// A 500 is answered *and stored* under the key: each later use of the key gets it too.
    /// With `work` the work is done all the same.
    #[serde(rename = "store_500")]
    Store500 {
        /// Whether the work is done.
        #[serde(default)]
        work: bool,
    },
    /// The request works for this long before it executes; meanwhile its key is in use.
    Hold {
        /// Milliseconds.
        delay_ms: u64,
    },
}

#[derive(Debug)]
struct Armed {
    path: String,
    times: u32,
    fault: KeyFault,
}

/// What is to be done with a request that brings a key.
#[derive(Debug)]
pub enum Begin {
    /// The key is new and now in use; the request is to be executed, with this fault.
    Execute(Option<KeyFault>),
    InUse,
    Replay(Stored),
    OtherPath,
    OtherParameters,
}

/// All keys.
#[derive(Debug, Default)]
pub struct Keys {
    records: HashMap<String, Record>,
    by_age: VecDeque<(i64, String)>,
    armed: VecDeque<Armed>,
}

impl Keys {
    pub fn begin(&mut self, key: &str, path: &str, fingerprint: String, now: i64) -> Begin {
        self.forget_old(now);
        if let Some(record) = self.records.get(key) {
            return if record.path != path {
                Begin::OtherPath
            } else if record.fingerprint != fingerprint {
                Begin::OtherParameters
            } else {
                record.answer.clone().map_or(Begin::InUse, Begin::Replay)
            };
        }
        let record = Record {
            path: path.to_owned(),
            fingerprint,
            answer: None,
            since: now,
        };
        self.records.insert(key.to_owned(), record);
        self.by_age.push_back((now, key.to_owned()));
        Begin::Execute(self.take_fault(path))
    }

    /// Ends a use: `None` frees the key, because nothing was executed.
    pub fn end(&mut self, key: &str, answer: Option<Stored>) {
        match answer {
            None => drop(self.records.remove(key)),
            Some(answer) => {
                if let Some(record) = self.records.get_mut(key) {
                    record.answer = Some(answer);
                }
            }
        }
    }

    pub fn arm(&mut self, path: String, times: u32, fault: KeyFault) {
        self.armed.push_back(Armed {
            path,
            times: times.max(1),
            fault,
        });
    }

    pub fn disarm(&mut self) {
        self.armed.clear();
    }

    /// Forgets all keys that are not in use, as the real API does after 24 hours.
    pub fn forget_all(&mut self) {
        self.records.retain(|_, record| record.answer.is_none());
    }

    fn take_fault(&mut self, path: &str) -> Option<KeyFault> {
        let at = self
            .armed
            .iter()
            .position(|armed| path.starts_with(&armed.path))?;
        let armed = self.armed.get_mut(at)?;
        armed.times -= 1;
        let fault = armed.fault.clone();
        if armed.times == 0 {
            self.armed.remove(at);
        }
        Some(fault)
    }

    fn forget_old(&mut self, now: i64) {
        while let Some((since, key)) = self.by_age.front() {
            if now - since <= KEPT_SECONDS {
                break;
            }
            // A key that was freed and taken again has a younger record.
            if self
                .records
                .get(key)
                .is_some_and(|record| record.since == *since)
            {
                self.records.remove(key);
            }
            self.by_age.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        Stored {
            status: 500,
            body: "{}".into(),
            request_id: "req_1".into(),
        }
    }

    #[test]
    fn a_key_is_used_once_then_replayed_then_forgotten() {
        let mut keys = Keys::default();
        let begin = |keys: &mut Keys, path: &str, print: &str, now| {
            keys.begin("k", path, print.into(), now)
        };
        assert!(matches!(
            begin(&mut keys, "/a", "1", 0),
            Begin::Execute(None)
        ));
        assert!(matches!(begin(&mut keys, "/a", "1", 0), Begin::InUse));
        keys.end("k", Some(stored()));
        assert!(matches!(
            begin(&mut keys, "/a", "1", KEPT_SECONDS),
            Begin::Replay(Stored { status: 500, .. })
        ));
        assert!(matches!(
            begin(&mut keys, "/a", "2", 1),
            Begin::OtherParameters
        ));
        assert!(matches!(begin(&mut keys, "/b", "1", 1), Begin::OtherPath));
        assert!(matches!(
            begin(&mut keys, "/a", "1", KEPT_SECONDS + 1),
            Begin::Execute(None)
        ));
    }

    #[test]
    fn a_key_is_free_again_when_nothing_was_executed() {
        let mut keys = Keys::default();
        assert!(matches!(
            keys.begin("k", "/a", "1".into(), 0),
            Begin::Execute(None)
        ));
        keys.end("k", None);
        assert!(matches!(
            keys.begin("k", "/a", "2".into(), 0),
            Begin::Execute(None)
        ));
    }

    #[test]
    fn a_fault_hits_as_often_as_armed() {
        let mut keys = Keys::default();
        keys.arm("/a".into(), 1, KeyFault::Store500 { work: true });
        assert!(matches!(
            keys.begin("1", "/b", String::new(), 0),
            Begin::Execute(None)
        ));
        assert!(matches!(
            keys.begin("2", "/a/x", String::new(), 0),
            Begin::Execute(Some(_))
        ));
        assert!(matches!(
            keys.begin("3", "/a/x", String::new(), 0),
            Begin::Execute(None)
        ));
    }
}
