//! Where webhooks may go: to public addresses, and to networks that were allowed by name.
//!
//! The address is judged when it is connected to: a name is resolved once, what it resolved to is
//! judged, and the connection goes there and nowhere else. So a name that means another address a
//! moment later gains nothing.

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Nothing is sent there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("webhooks do not go to addresses that are not public")]
pub struct Forbidden;

/// Where webhooks may go.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    allowed: Arc<[IpNet]>,
    /// Whether public addresses are taken, too.
    public: bool,
}

impl Targets {
    /// Public addresses, and these networks (`127.0.0.1/32,…`) whatever they are.
    ///
    /// # Errors
    /// With the part that is not a network.
    pub fn parse(allowed: &str) -> Result<Self, String> {
        let parts = allowed.split(',').map(str::trim).filter(|p| !p.is_empty());
        let networks: Result<Vec<IpNet>, String> = parts
            .map(|part| part.parse().map_err(|_| part.to_owned()))
            .collect();
        Ok(Self {
            allowed: networks?.into(),
            public: true,
        })
    }

    /// The allowed networks alone: where a webhook may go without TLS.
    #[must_use]
    pub fn allowed_only(&self) -> Self {
        Self {
            allowed: Arc::clone(&self.allowed),
            public: false,
        }
    }

    /// Whether a webhook may go to this address.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed
            .iter()
            .any(|network| network.contains(&address))
            || (self.public && is_public(address))
    }

    /// Whether no network was allowed by name.
    #[must_use]
    pub fn is_public_only(&self) -> bool {
        self.allowed.is_empty()
    }
}

impl Resolve for Targets {
    fn resolve(&self, name: Name) -> Resolving {
        let targets = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One that is not public among them is reason enough: it is no honest name.
            if !found.iter().all(|address| targets.admits(address.ip())) {
                return Err(Forbidden.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address is reachable from anywhere (the IANA registries of special addresses).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        // This network, private use, loopback, link-local, multicast and above.
        (0 | 10 | 127 | 224..=255, _, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            // Shared by providers, 6to4 relays.
            | (100, 64..=127, _)
            | (192, 88, 99)
            // Protocol assignments, documentation and benchmarks.
            | (192, 0, 0 | 2)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Those that hold an address of version 4 reach what that one reaches.
    if let Some(inner) = embedded(&segments) {
        return is_public_v4(inner);
    }
    // Only 2000::/3 is given out; of it, protocol assignments (2001::/23, Teredo among them) and
    // documentation are not reachable.
    (segments[0] & 0xe000) == 0x2000
        && !(segments[0] == 0x2001 && segments[1] < 0x0200)
        && !(segments[0] == 0x2001 && segments[1] == 0x0db8)
        && !(segments[0] == 0x3fff && segments[1] < 0x1000)
}

/// The address of version 4 in 6to4 (`2002::/16`) and NAT64 (`64:ff9b::/96`).
fn embedded(segments: &[u16; 8]) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0x2002, high, low, ..] => Some(join(*high, *low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(*high, *low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_public_addresses_are_admitted() {
        let targets = Targets::parse("").unwrap();
        for (address, expected) in [
            ("93.184.216.34", true),
            ("1.1.1.1", true),
            ("2606:4700:4700::1111", true),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("192.0.0.170", false),
            ("198.19.0.1", false),
            ("203.0.113.7", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::ffff:1.1.1.1", true),
            ("::127.0.0.1", false),
            ("fe80::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("2002:7f00:1::", false),
            ("2002:a9fe:a9fe::1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b::101:101", true),
            ("64:ff9b:1::1", false),
        ] {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!(targets.admits(ip), expected, "{address}");
        }
    }

    #[test]
    fn what_was_allowed_by_name_is_admitted_and_no_more() {
        let targets = Targets::parse(" 127.0.0.1/32, fd00::/8").unwrap();
        for (address, expected) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("fc00::1", false),
            ("1.1.1.1", true),
        ] {
            assert_eq!(
                targets.admits(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
        assert!(!targets.allowed_only().admits("1.1.1.1".parse().unwrap()));
        assert_eq!(Targets::parse("127.0.0.1").unwrap_err(), "127.0.0.1");
    }
}
