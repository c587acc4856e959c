//! Lines for the person who waits.

/// Says what happens, on stderr, unless told to be quiet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) quiet: bool,
}

impl Progress {
    pub(crate) fn say(self, line: &str) {
        if !self.quiet {
            eprintln!("sandbox: {line}");
        }
    }
}
