//! Replicas of Horizon that are not all as far as the network.
//!
//! `POST /_control/replicas {"every": 3, "behind": 4}`: each third request that reads is answered as
//! of one to four ledgers ago, accounts and lists alike; `{"every": 0}` ends that. Streams, offers
//! and paths are of now. A request with the header `x-sandbox-calm` is answered as of now.

use crate::service::Service;
use crate::state::REMEMBERED;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use serde::Deserialize;
use std::convert::Infallible;

/// How replicas lag.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Replicas {
    /// Each so-manieth read is answered by one that lags; 0: none.
    pub every: u32,
    /// By how many ledgers at most.
    pub behind: u32,
}

/// What was asked so far.
#[derive(Debug, Default)]
pub struct Asked {
    /// How replicas lag.
    pub replicas: Replicas,
    reads: u32,
}

impl Asked {
    /// How many ledgers the replica that answers now is behind.
    fn behind(&mut self) -> u32 {
        self.reads = self.reads.wrapping_add(1);
        let Replicas { every, behind } = self.replicas;
        if every == 0 || behind == 0 || !self.reads.is_multiple_of(every) {
            return 0;
        }
        let most = u32::try_from(REMEMBERED).unwrap_or(u32::MAX) - 1;
        1 + (self.reads / every) % behind.min(most)
    }
}

/// The last ledger of the replica that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View(pub u32);

impl View {
    /// Whether this replica has what stands at a paging token.
    pub fn has(self, id: i64) -> bool {
        id >> 32 <= i64::from(self.0)
    }
}

impl FromRequestParts<Service> for View {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Infallible> {
        let latest = service.with(|network| network.latest());
        let streaming = parts
            .headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/event-stream"));
        if streaming || parts.headers.contains_key(sandbox_kit::CALM) {
            return Ok(Self(latest));
        }
        let behind = service.asked().behind();
        // The first ledger is there from the beginning.
        Ok(Self(latest.saturating_sub(behind).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_third_read_lags_by_one_to_four() {
        let mut asked = Asked {
            replicas: Replicas {
                every: 3,
                behind: 4,
            },
            reads: 0,
        };
        let lags: Vec<u32> = (0..15).map(|_| asked.behind()).collect();
        assert_eq!(lags, [0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0, 1, 0, 0, 2]);
        asked.replicas.every = 0;
        assert_eq!(asked.behind(), 0);
    }
}
