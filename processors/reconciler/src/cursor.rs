//! How far Stripe's list was read.

use crate::listing::Seen;
use events::time::Timestamp;
use std::fmt;
use std::time::Duration;

/// An event is settled when it is older than this: what was made before it is listed by then.
const SETTLES_AFTER: Duration = Duration::from_secs(30);

/// Place in the list of events. Written `<ms> <settled> [<reached>]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// When the settled event was made.
    pub settled_at: Timestamp,
    /// The newest settled event: whatever was made before it was read.
    settled: String,
    /// Where the next page begins, while the end of the list was not reached.
    pub reached: Option<String>,
}

impl Cursor {
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Self {
            settled_at: Timestamp(words.next()?.parse().ok()?),
            settled: words.next().filter(|id| !id.is_empty())?.to_owned(),
            reached: words.next().map(str::to_owned),
        })
    }

    /// The event after which to read on.
    pub fn next(&self) -> &str {
        self.reached.as_deref().unwrap_or(&self.settled)
    }

    /// The cursor after what was seen; `None` while Stripe has listed nothing at all.
    pub fn over(before: Option<Self>, seen: &Seen) -> Option<Self> {
        let before = before.filter(|_| !seen.anew);
        let settled = seen
            .events
            .iter()
            .rev()
            .find(|event| event.created.after(SETTLES_AFTER) <= seen.asked_at);
        // The oldest event counts as settled however young it is: nothing is before it.
        let first = || seen.events.first().filter(|_| seen.anew);
        let mut cursor = match settled.or_else(first) {
            Some(event) => Self {
                settled_at: event.created,
                settled: event.stripe_event_id.clone(),
                reached: None,
            },
            None => before?,
        };
        let last = seen.events.last().map(|e| e.stripe_event_id.clone());
        cursor.reached = last.filter(|_| !seen.to_the_end);
        Some(cursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.settled_at.0, self.settled)?;
        self.reached.iter().try_for_each(|id| write!(f, " {id}"))
    }
}
