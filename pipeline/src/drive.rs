//! The loop around every effect.
//!
//! It alone decides when an effect is tried: never while its outcome is unknown. After an
//! unknown answer only `find` is called, for the same record, until it is known.

use crate::gate::Gate;
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
pub(crate) async fn drive<E: Effect>(
    processor: &'static str,
    effect: &E,
    fresh: bool,
    gate: &Gate,
    seed: u64,
) -> Verdict<E::Proof> {
    let mut known = if fresh { Known::Free } else { Known::Nothing };
    let mut backoff = Backoff::new(seed);
    loop {
        let pass = gate.pass().await;
        match known {
            Known::Nothing => {
                let found = looked(effect).await;
                match &found {
                    Find::NoAnswer(_) => pass.silent(seed),
                    _ => pass.answered(),
                }
                match found {
                    Find::Landed(proof) => {
                        metrics::outcome(processor, "found");
                        return Verdict::Landed(proof);
                    }
                    Find::Refused(refusal) => {
                        metrics::outcome(processor, "refused");
                        return Verdict::Refused(refusal);
                    }
                    Find::NeverWill(reason) => {
                        metrics::outcome(processor, "never_will");
                        return Verdict::NeverWill(reason);
                    }
                    Find::Absent => known = Known::Free,
                    Find::Pending(reason) => {
                        metrics::outcome(processor, "pending");
                        tracing::debug!(processor, reason, "the effect is pending");
                        backoff.wait(SOON).await;
                    }
                    Find::NoAnswer(reason) => {
                        metrics::outcome(processor, "no_answer");
                        tracing::info!(processor, reason, "nobody says what became of the effect");
                        backoff.wait(TROUBLE).await;
                    }
                }
            }
            Known::Free => match tried(effect).await {
                Attempt::Landed(proof) => {
                    pass.answered();
                    metrics::outcome(processor, "landed");
                    return Verdict::Landed(proof);
                }
                Attempt::Refused(refusal) => {
                    pass.answered();
                    metrics::outcome(processor, "refused");
                    return Verdict::Refused(refusal);
                }
                Attempt::NotSent(reason) => {
                    pass.silent(seed);
                    metrics::outcome(processor, "not_sent");
                    tracing::warn!(
                        processor,
                        reason,
                        "the effect was not sent, it will be tried again"
                    );
                    backoff.wait(TROUBLE).await;
                    // Its deadline may have passed meanwhile, and only `find` knows of deadlines.
                    known = Known::Nothing;
                }
                Attempt::NoAnswer(reason) => {
                    pass.silent(seed);
                    metrics::outcome(processor, "no_answer");
                    tracing::info!(
                        processor,
                        reason,
                        "the effect was sent and nobody answers, looking for it"
                    );
                    known = Known::Nothing;
                    backoff.wait(TROUBLE).await;
                }
                Attempt::Unknown(reason) => {
                    // Said by the counterparty or by ourselves: it tells nothing of an outage.
                    drop(pass);
                    metrics::outcome(processor, "unknown");
                    tracing::info!(
                        processor,
                        reason,
                        "the outcome of the effect is unknown, looking for it"
                    );
                    known = Known::Nothing;
                    backoff.wait(UNCLEAR).await;
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

/// The shortest first wait while the counterparty says that an effect is under way.
const SOON: Duration = Duration::from_millis(2);
/// The same after an answer that tells nothing.
const UNCLEAR: Duration = Duration::from_millis(20);
/// The same after technical trouble: what is in trouble needs time.
const TROUBLE: Duration = Duration::from_millis(120);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(2);

/// Waits longer each time, doubling up to [`LONGEST`].
struct Backoff {
    next: Duration,
    seed: u64,
}

impl Backoff {
    const fn new(seed: u64) -> Self {
        Self { next: SOON, seed }
    }

    fn next(&mut self, least: Duration) -> Duration {
        let wait = self.next.max(least).min(LONGEST);
        self.next = wait * 2;
        jittered(wait, &mut self.seed)
    }

    async fn wait(&mut self, least: Duration) {
        tokio::time::sleep(self.next(least)).await;
    }
}

/// A time up to an eighth longer or shorter, so that many do not march in step; moves the seed on.
pub(crate) fn jittered(time: Duration, seed: &mut u64) -> Duration {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let spread = u64::try_from(time.as_micros() / 4).unwrap_or(u64::MAX);
    time / 8 * 7 + Duration::from_micros((*seed >> 33) % spread.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Counterparty;
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
        drive(
            "test",
            script,
            fresh,
            &Gate::new(Counterparty::new("test")),
            1,
        )
        .await
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

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_it_only_looks_and_takes_its_time() {
        let gone = || Find::NoAnswer("down".into());
        let script = Script::new(
            vec![gone(), gone(), Find::Landed("p")],
            vec![Attempt::NoAnswer("lost".into()), Attempt::Landed("twice!")],
        );
        let began = tokio::time::Instant::now();
        assert_eq!(run(&script, true).await, Verdict::Landed("p"));
        assert_eq!(script.calls(), ["attempt", "find", "find", "find"]);
        assert!(began.elapsed() >= Duration::from_millis(100 + 200 + 400));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_do_not_tell_never_open_the_breaker() {
        let gate = Gate::new(Counterparty::new("test"));
        let pending = (0..20).map(|_| Find::Pending("?".into()));
        let script = Script::new(
            pending.chain([Find::Landed("p")]).collect(),
            vec![Attempt::Unknown("?".into())],
        );
        let began = tokio::time::Instant::now();
        let verdict = drive("test", &script, true, &gate, 1).await;
        assert_eq!(verdict, Verdict::Landed("p"));
        // Doubling from 20 ms: ten waits up to 2 s, then eleven of those, each at most an eighth
        // longer. A pause of the breaker would come on top.
        assert!(
            began.elapsed() < Duration::from_secs(35),
            "{:?}",
            began.elapsed()
        );
        assert!(!gate.is_down());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_opens_the_breaker_whatever_shape_it_has() {
        type Answers = (Vec<Find<&'static str>>, Vec<Attempt<&'static str>>);
        let silences: [fn() -> Answers; 3] = [
            || {
                let attempts = (0..6).map(|_| Attempt::NotSent("refused".into()));
                (
                    (0..6).map(|_| Find::NoAnswer("refused".into())).collect(),
                    attempts.collect(),
                )
            },
            || {
                let finds = (0..6).map(|_| Find::NoAnswer("time-out".into()));
                (finds.collect(), vec![Attempt::NoAnswer("time-out".into())])
            },
            || {
                (
                    (0..6).map(|_| Find::NoAnswer("503".into())).collect(),
                    vec![],
                )
            },
        ];
        for (number, silence) in silences.into_iter().enumerate() {
            let gate = Gate::new(Counterparty::new("test"));
            let (finds, attempts) = silence();
            let script = Script::new(finds, attempts);
            let work = drive("test", &script, number < 2, &gate, 1);
            let opened = async {
                while !gate.is_down() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                _ = work => panic!("case {number} ended"),
                () = opened => {}
            }
            assert_eq!(script.calls().len(), 5, "case {number}");
        }
    }

    #[test]
    fn the_first_wait_after_trouble_is_a_tenth_of_a_second_and_spread() {
        let waits: Vec<Duration> = (0..100)
            .map(|seed| Backoff::new(seed * 77).next(TROUBLE))
            .collect();
        assert!(waits.iter().all(|w| *w >= Duration::from_millis(100)));
        assert!(waits.iter().all(|w| *w <= Duration::from_millis(140)));
        let distinct: std::collections::BTreeSet<&Duration> = waits.iter().collect();
        assert!(distinct.len() > 30, "{}", distinct.len());
    }
}
