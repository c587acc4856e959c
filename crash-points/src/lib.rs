//! Named steps at which a process can be made to die: what lies between two steps is what a crash
//! can separate.
//!
//! Without the feature `armed` a step is an empty function, and nothing of this is in the program.
//! With it, `GRIDWAY_CRASH_AT=after_attempt:3`, given at the start, kills the process with `SIGKILL`
//! when it passes that step for the third time. `cargo build -p gridway` never turns the feature on;
//! a build of the whole workspace does, because the crash harness asks for it.

/// The variable that arms a step.
pub const VARIABLE: &str = "GRIDWAY_CRASH_AT";

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A step.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// Every step.
            pub const ALL: &'static [Self] = &[$(Self::$point),*];

            /// As it is written in the variable.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// A processor was given partitions and has not read them.
    Assigned = "assigned",
    /// A partition was folded and goes live.
    Live = "live",
    /// An effect is about to be looked for.
    BeforeFind = "before_find",
    /// An effect was looked for; nothing of that is recorded.
    AfterFind = "after_find",
    /// An effect is about to be tried.
    BeforeAttempt = "before_attempt",
    /// An effect was tried; nothing of that is recorded.
    AfterAttempt = "after_attempt",
    /// Outcomes are known, nothing of them is sent to Kafka.
    BeforeTransaction = "before_transaction",
    /// The records are in Kafka, uncommitted; the offsets are not.
    AfterProduce = "after_produce",
    /// Records and offsets are in Kafka, uncommitted.
    AfterOffsets = "after_offsets",
    /// The transaction is committed; nobody in the process knows yet.
    AfterTransaction = "after_transaction",
    /// The API is about to append a command or a webhook.
    BeforeAppend = "before_append",
    /// Kafka has the command or the webhook; the caller has no answer.
    AfterAppend = "after_append",
    /// The rows of a batch are written, uncommitted.
    BeforeCommit = "before_commit",
    /// Rows and offsets are committed; nobody in the process knows yet.
    AfterCommit = "after_commit",
}

/// The process passes a step.
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn pass(_: Point) {}

/// The process passes a step, and dies there if that was asked for.
#[cfg(feature = "armed")]
pub fn pass(point: Point) {
    armed::pass(point);
}

#[cfg(feature = "armed")]
mod armed {
    use super::{Point, VARIABLE};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ARMED: OnceLock<Option<(Point, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);

    pub(super) fn pass(point: Point) {
        let armed = ARMED.get_or_init(|| {
            #[expect(
                clippy::disallowed_methods,
                reason = "the harness arms a process from outside, at its start"
            )]
            let text = std::env::var(VARIABLE).ok()?;
            parse(&text)
        });
        let Some((at, nth)) = armed else { return };
        if *at == point && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *nth {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
            std::process::abort();
        }
    }

    pub(super) fn parse(text: &str) -> Option<(Point, u32)> {
        let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
        let point = Point::ALL.iter().find(|point| point.name() == name)?;
        Some((*point, nth.parse().ok().filter(|n| *n > 0)?))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_step_and_its_passage_are_read() {
            assert_eq!(parse("after_find:3"), Some((Point::AfterFind, 3)));
            assert_eq!(parse("live"), Some((Point::Live, 1)));
            for text in ["", "somewhere:1", "live:0", "live:x"] {
                assert_eq!(parse(text), None, "{text}");
            }
        }
    }
}
