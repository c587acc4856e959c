//! Free loopback ports.
//!
//! A port is found by binding it, held until just before the child starts, and kept for the
//! child's restarts. Ports come from below the range that Linux gives to outgoing connections,
//! so nobody's client takes one while its server is down.

use std::io;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

const RANGE: Range<u16> = 16_000..32_000;

/// A port that is bound until [`Reserved::release`].
#[derive(Debug)]
pub(crate) struct Reserved {
    listener: TcpListener,
    port: u16,
}

impl Reserved {
    /// The port's number.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Gives the port up for the child to bind.
    pub(crate) fn release(self) -> u16 {
        drop(self.listener);
        self.port
    }
}

/// Reserves one free port of 127.0.0.1. Where the search starts differs between processes, and
/// within a process it goes on from the last one, so that two stacks seldom meet.
pub(crate) fn reserve() -> io::Result<Reserved> {
    static STEP: AtomicU16 = AtomicU16::new(0);
    let width = RANGE.end - RANGE.start;
    let start = u16::try_from(std::process::id().wrapping_mul(61) % u32::from(width)).unwrap_or(0);
    for _ in 0..width {
        let step = STEP.fetch_add(1, Ordering::Relaxed) % width;
        let port = RANGE.start + (start + step) % width;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok(Reserved { listener, port });
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "no free loopback port between 16000 and 31999",
    ))
}

/// Whether a child's log says that somebody else had its port.
pub(crate) fn clashed(log: &str) -> bool {
    let log = log.to_ascii_lowercase();
    [
        "address already in use",
        "address in use",
        "already bound",
        "already in use by another process",
    ]
    .iter()
    .any(|words| log.contains(words))
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test may stop where it finds the fault"
    )]
    use super::*;

    #[test]
    fn a_reserved_port_is_given_once() {
        let first = reserve().unwrap();
        let second = reserve().unwrap();
        assert_ne!(first.port(), second.port());
        let port = first.release();
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn the_servers_words_for_a_clash_are_known() {
        for words in [
            "Could not create server TCP listening socket 127.0.0.1:1: bind: Address already in use",
            "java.net.BindException: Address already in use",
            "Port(s) already bound: 18999: Address already in use",
            "could not bind IPv4 address \"127.0.0.1\": Address already in use",
        ] {
            assert!(clashed(words), "{words}");
        }
        assert!(!clashed("out of memory"));
    }
}
