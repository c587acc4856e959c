//! The loop around every effect.
//!
//! It alone decides when an effect is tried: never while its outcome is unknown. After an
//! unknown answer only `find` is called, for the same record, until it is known.

use crate::breaker::Breaker;
use crate::metrics;
use crash_points::{Point, pass};
use events::outcome::{Attempt, Find, Refusal};
use std::future::Future;
use std::time::Duration;

/// How a request ended, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<P> {
    /// The effect happened.
    Landed(P),
    /// The counterparty refused it and will never carry it out.
    Refused(Refusal),
    /// It has not happened and no longer can.
    NeverWill(String),
}

/// The two things that can be done about an effect.
pub trait Effect {
    /// What shows that it happened.
    type Proof;
    /// Looks whether it happened.
    fn find(&self) -> impl Future<Output = Find<Self::Proof>> + Send;
    /// Tries it.
    fn attempt(&self) -> impl Future<Output = Attempt<Self::Proof>> + Send;
}

/// What is known before the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The effect has not been tried since its key was seen free.
    Free,
    /// It may have been tried: look first.
    Nothing,
}

/// Drives an effect to its end. `fresh` says that nobody can have tried it yet, so the first
/// look is left out. `seed` spreads the waits of effects that fail together. Ends only with a
/// verdict; the caller may drop the future at any time.
pub async fn drive<E: Effect>(
    processor: &'static str,
    effect: &E,
    fresh: bool,
    breaker: &Breaker,
    seed: u64,
) -> Verdict<E::Proof> {
    let mut known = if fresh { Known::Free } else { Known::Nothing };
    let mut backoff = Backoff::new(seed);
    loop {
        breaker.ready().await;
        match known {
            Known::Nothing => match looked(effect).await {
                Find::Landed(proof) => {
                    breaker.success();
                    metrics::outcome(processor, "found");
                    return Verdict::Landed(proof);
                }
                Find::Refused(refusal) => {
                    breaker.success();
                    metrics::outcome(processor, "refused");
                    return Verdict::Refused(refusal);
                }
                Find::NeverWill(reason) => {
                    breaker.success();
                    metrics::outcome(processor, "never_will");
                    return Verdict::NeverWill(reason);
                }
                Find::Absent => known = Known::Free,
                Find::Pending(reason) => {
                    metrics::outcome(processor, "pending");
                    tracing::debug!(processor, reason, "the effect is pending");
                    backoff.wait().await;
                }
            },
            Known::Free => match tried(effect).await {
                Attempt::Landed(proof) => {
                    breaker.success();
                    metrics::outcome(processor, "landed");
                    return Verdict::Landed(proof);
                }
                Attempt::Refused(refusal) => {
                    breaker.success();
                    metrics::outcome(processor, "refused");
                    return Verdict::Refused(refusal);
                }
                Attempt::NotSent(reason) => {
                    breaker.failure();
                    metrics::outcome(processor, "not_sent");
                    tracing::warn!(
                        processor,
                        reason,
                        "the effect was not sent, it will be tried again"
                    );
                    backoff.wait().await;
                    // Its deadline may have passed meanwhile, and only `find` knows of deadlines.
                    known = Known::Nothing;
                }
                Attempt::Unknown(reason) => {
                    metrics::outcome(processor, "unknown");
                    tracing::info!(
                        processor,
                        reason,
                        "the outcome of the effect is unknown, looking for it"
                    );
                    known = Known::Nothing;
                    backoff.wait().await;
                }
            },
        }
    }
}

async fn looked<E: Effect>(effect: &E) -> Find<E::Proof> {
    pass(Point::BeforeFind);
    let found = effect.find().await;
    pass(Point::AfterFind);
    found
}

async fn tried<E: Effect>(effect: &E) -> Attempt<E::Proof> {
    pass(Point::BeforeAttempt);
    let attempted = effect.attempt().await;
    pass(Point::AfterAttempt);
    attempted
}

/// Waits longer each time: 2 ms doubling to 2 s, ± a quarter so that many do not march in step.
struct Backoff {
    step: u32,
    seed: u64,
}

impl Backoff {
    const fn new(seed: u64) -> Self {
        Self { step: 0, seed }
    }

    fn next(&mut self) -> Duration {
        let base = 2_000_u64
            .saturating_mul(1 << self.step.min(10))
            .min(2_000_000);
        self.step += 1;
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let spread = base / 4;
        Duration::from_micros(base - spread / 2 + (self.seed >> 33) % spread.max(1))
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Script {
        finds: Mutex<Vec<Find<&'static str>>>,
        attempts: Mutex<Vec<Attempt<&'static str>>>,
        calls: Mutex<Vec<&'static str>>,
    }

    impl Script {
        fn new(finds: Vec<Find<&'static str>>, attempts: Vec<Attempt<&'static str>>) -> Self {
            let reversed = |mut v: Vec<_>| {
                v.reverse();
                v
            };
            let mut attempts = attempts;
            attempts.reverse();
            Self {
                finds: Mutex::new(reversed(finds)),
                attempts: Mutex::new(attempts),
                calls: Mutex::default(),
            }
        }

        fn calls(&self) -> Vec<&'static str> {
            self.calls.lock().map(|c| c.clone()).unwrap_or_default()
        }
    }

    impl Effect for Script {
        type Proof = &'static str;
        async fn find(&self) -> Find<&'static str> {
            self.calls.lock().map(|mut c| c.push("find")).ok();
            self.finds
                .lock()
                .ok()
                .and_then(|mut f| f.pop())
                .unwrap_or(Find::NeverWill("script ended".into()))
        }
        async fn attempt(&self) -> Attempt<&'static str> {
            self.calls.lock().map(|mut c| c.push("attempt")).ok();
            self.attempts
                .lock()
                .ok()
                .and_then(|mut a| a.pop())
                .unwrap_or(Attempt::Unknown("script ended".into()))
        }
    }

    async fn run(script: &Script, fresh: bool) -> Verdict<&'static str> {
        drive("test", script, fresh, &Breaker::new("test"), 1).await
    }

    #[tokio::test]
    async fn a_fresh_request_is_tried_at_once() {
        let script = Script::new(vec![], vec![Attempt::Landed("p")]);
        assert_eq!(run(&script, true).await, Verdict::Landed("p"));
        assert_eq!(script.calls(), ["attempt"]);
    }

    #[tokio::test]
    async fn a_request_that_was_there_before_is_looked_for_first() {
        let script = Script::new(vec![Find::Landed("p")], vec![]);
        assert_eq!(run(&script, false).await, Verdict::Landed("p"));
        assert_eq!(script.calls(), ["find"]);
    }

    #[tokio::test]
    async fn after_unknown_it_only_looks_until_it_knows() {
        let pending = || Find::Pending("?".into());
        let script = Script::new(
            vec![pending(), pending(), Find::Landed("p")],
            vec![Attempt::Unknown("lost".into()), Attempt::Landed("twice!")],
        );
        assert_eq!(run(&script, true).await, Verdict::Landed("p"));
        assert_eq!(script.calls(), ["attempt", "find", "find", "find"]);
    }

    #[tokio::test]
    async fn only_an_absence_that_was_seen_leads_to_another_attempt() {
        let script = Script::new(
            vec![Find::Absent],
            vec![Attempt::Unknown("lost".into()), Attempt::Landed("p")],
        );
        assert_eq!(run(&script, true).await, Verdict::Landed("p"));
        assert_eq!(script.calls(), ["attempt", "find", "attempt"]);
    }

    #[tokio::test]
    async fn what_was_not_sent_is_looked_for_and_then_tried_again() {
        let script = Script::new(
            vec![Find::Absent],
            vec![Attempt::NotSent("down".into()), Attempt::Landed("p")],
        );
        assert_eq!(run(&script, true).await, Verdict::Landed("p"));
        assert_eq!(script.calls(), ["attempt", "find", "attempt"]);
    }
}
